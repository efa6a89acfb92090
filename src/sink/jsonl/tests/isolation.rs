//! Tests of other processes, other ledgers, foreign files and malicious names.

use super::*;
use std::collections::HashSet;

#[tokio::test]
async fn second_process_cannot_open_the_ledger() {
    let root = tempfile::tempdir().unwrap();
    let (_ledger, sink) = open(root.path(), options(Compression::None)).await;
    let second = Sqlite::open(&root.path().join(".trailhose/ledger.db"), CommitMode::Grouped).unwrap_err();
    assert!(second.to_string().contains("in use by process"), "{second}");
    drop(sink);
    let first = Jsonl::standalone(root.path(), options(Compression::None)).await.unwrap();
    let second = Jsonl::standalone(root.path(), options(Compression::None)).await.unwrap_err();
    assert!(second.to_string().contains("in use by process"), "{second}");
    drop(first);
}

#[tokio::test]
async fn foreign_files_are_not_changed() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("out");
    let (ledger, sink) = open(&root, options(Compression::None)).await;
    ingest(&ledger, &sink, 1, &[("1", "a")]).await;
    sink.flush().await.unwrap();
    // Another ledger and a person write to the same folder.
    let other = Sqlite::open(&home.path().join("other.db"), CommitMode::Grouped).unwrap();
    let other_sink = Jsonl::with_ledger(&root, options(Compression::None), &other).await.unwrap();
    ingest(&other, &other_sink, 1, &[("1", "b")]).await;
    other_sink.flush().await.unwrap();
    std::fs::write(root.join("account=1/region=eu-west-1/date=2023-03-28/mine.jsonl"), "c\n").unwrap();
    drop((ledger, sink, other, other_sink));
    drop(open(&root, options(Compression::None)).await);
    assert_eq!(lines(&root), ["a", "b", "c"].map(|line| (line.to_owned(), 1)).into());
}

/// Recovery changes files only after an interrupted checkpoint. The intent names both files also after a committed one.
#[tokio::test]
async fn files_are_not_changed_after_a_committed_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let (ledger, sink) = open(root.path(), options(Compression::None)).await;
    ingest(&ledger, &sink, 1, &[("1", "a"), ("2", "b")]).await;
    sink.flush().await.unwrap();
    let files = files(root.path());
    // One file is released, but not moved yet. Another program appends to the other one.
    assert_eq!(sink.release(vec![files[0].clone()]).await.unwrap().files, 1);
    std::fs::write(&files[1], "b\nforeign\n").unwrap();
    drop((ledger, sink));
    drop(open(root.path(), options(Compression::None)).await);
    assert_eq!(lines(root.path()), ["a", "b", "foreign"].map(|line| (line.to_owned(), 1)).into());
}

/// The ledger does not record to which of the folders an event was delivered.
#[tokio::test]
async fn rebuild_of_one_of_several_folders_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let (first, second) = (home.path().join("first"), home.path().join("second"));
    let ledger = ledger(home.path());
    for (number, root) in [(1, &first), (2, &second)] {
        let sink = Jsonl::with_ledger(root, options(Compression::None), &ledger).await.unwrap();
        ingest(&ledger, &sink, number, &[("1", "a")]).await;
        sink.flush().await.unwrap();
    }
    let file = files(&first).remove(0);
    let sink = Jsonl::with_ledger(&first, options(Compression::None), &ledger).await.unwrap();
    assert_eq!(sink.rebuild(HashSet::new()).await.unwrap(), Rebuild::default(), "no file is missing");
    std::fs::remove_file(&file).unwrap();
    let error = sink.rebuild(HashSet::new()).await.unwrap_err().to_string();
    assert!(error.contains("delivered to several folders") && error.contains(first.to_str().unwrap()), "{error}");
    drop((sink, ledger));
    let ledger = super::ledger(home.path());
    let sink = Jsonl::with_ledger(&first, options(Compression::None), &ledger).await.unwrap();
    let check = sink.check_files().await.unwrap();
    assert_eq!((check.files, check.faulty.len()), (1, 1), "the missing file is still expected: {check:?}");
}

#[tokio::test]
async fn truncated_file_is_an_error_that_names_it() {
    let root = tempfile::tempdir().unwrap();
    let (ledger, sink) = open(root.path(), options(Compression::None)).await;
    ingest(&ledger, &sink, 1, &[("1", "a")]).await;
    sink.flush().await.unwrap();
    let file = files(root.path()).remove(0);
    std::fs::write(&file, "").unwrap();
    ingest(&ledger, &sink, 2, &[("1", "b")]).await;
    let error = sink.flush().await.unwrap_err().to_string();
    assert!(
        error.contains(file.to_str().unwrap()) && error.contains("0 bytes long, but 2 bytes are committed"),
        "{error}"
    );
}

#[tokio::test]
async fn removed_and_appended_files_are_not_written_again() {
    let root = tempfile::tempdir().unwrap();
    let (ledger, sink) = open(root.path(), options(Compression::None)).await;
    ingest(&ledger, &sink, 1, &[("1", "a"), ("2", "b")]).await;
    sink.flush().await.unwrap();
    let before = files(root.path());
    std::fs::remove_file(&before[0]).unwrap();
    std::fs::write(&before[1], "b\nforeign\n").unwrap();
    ingest(&ledger, &sink, 2, &[("1", "c"), ("2", "d")]).await;
    sink.flush().await.unwrap();
    assert_eq!(lines(root.path()), ["b", "c", "d", "foreign"].map(|line| (line.to_owned(), 1)).into());
}

#[tokio::test]
async fn ledger_older_than_its_folder_is_rejected_without_changes() {
    let home = tempfile::tempdir().unwrap();
    let (root, backup) = (home.path().join("out"), home.path().join("backup"));
    let (ledger, sink) = open(&root, options(Compression::None)).await;
    ingest(&ledger, &sink, 1, &[("1", "a")]).await;
    sink.flush().await.unwrap();
    copy(&root.join(STATE_FOLDER), &backup);
    for number in 2..5 {
        ingest(&ledger, &sink, number, &[("1", "b")]).await;
        sink.flush().await.unwrap();
    }
    drop((ledger, sink));
    let before = lines(&root);
    for name in ["ledger.db", "ledger.db-wal"] {
        if backup.join(name).exists() {
            std::fs::copy(backup.join(name), root.join(STATE_FOLDER).join(name)).unwrap();
        }
    }
    let ledger = super::ledger(&root);
    let error = Jsonl::with_ledger(&root, options(Compression::None), &ledger).await.unwrap_err().to_string();
    assert!(error.contains("checkpoint 4 and its ledger") && error.contains("restored or copied"), "{error}");
    assert_eq!(lines(&root), before);
}

#[tokio::test]
async fn folder_older_than_its_ledger_is_rejected_without_changes() {
    let home = tempfile::tempdir().unwrap();
    let (root, backup) = (home.path().join("out"), home.path().join("backup"));
    let ledger_path = home.path().join("ledger.db");
    let open_ledger = || Sqlite::open(&ledger_path, CommitMode::Grouped).unwrap();
    let ledger = open_ledger();
    let sink = Jsonl::with_ledger(&root, options(Compression::None), &ledger).await.unwrap();
    ingest(&ledger, &sink, 1, &[("1", "a")]).await;
    sink.flush().await.unwrap();
    copy(&root, &backup);
    ingest(&ledger, &sink, 2, &[("1", "b")]).await;
    sink.flush().await.unwrap();
    drop((ledger, sink));
    std::fs::remove_dir_all(&root).unwrap();
    copy(&backup, &root);
    let error = Jsonl::with_ledger(&root, options(Compression::None), &open_ledger()).await.unwrap_err().to_string();
    assert!(error.contains("checkpoint 1 and its ledger") && error.contains("is at checkpoint 2"), "{error}");
    assert_eq!(lines(&root), [("a".to_owned(), 1)].into());
}

#[tokio::test]
async fn standalone_delivery_is_durable_once_acknowledged() {
    for compression in ALL {
        let home = tempfile::tempdir().unwrap();
        let (live, killed) = (home.path().join("live"), home.path().join("killed"));
        let sink = Jsonl::standalone(&live, options(compression)).await.unwrap();
        let transaction = sink.begin().await.unwrap();
        sink.deliver(&call(&[("1", "a"), ("2", "b")]), distant_deadline()).await.unwrap();
        copy(&live, &killed);
        // An aborted transaction causes a repeat here, as with every sink whose acknowledged deliveries are durable.
        drop(transaction);
        sink.deliver(&call(&[("1", "c")]), distant_deadline()).await.unwrap();
        let again = Jsonl::standalone(&killed, options(compression)).await.unwrap();
        assert_eq!(lines(&killed), ["a", "b"].map(|line| (line.to_owned(), 1)).into());
        assert_eq!(lines(&live), ["a", "b", "c"].map(|line| (line.to_owned(), 1)).into());
        drop(again);
    }
}

#[tokio::test]
async fn changed_compression_starts_new_files() {
    let root = tempfile::tempdir().unwrap();
    for (number, compression) in ALL.into_iter().enumerate() {
        let (ledger, sink) = open(root.path(), options(compression)).await;
        ingest(&ledger, &sink, number as u32, &[("1", &number.to_string())]).await;
        sink.flush().await.unwrap();
    }
    assert_eq!(lines(root.path()), ["0", "1", "2"].map(|line| (line.to_owned(), 1)).into());
    assert_eq!(files(root.path()).len(), 3);
}

#[tokio::test]
async fn path_traversal_stays_inside_the_folder() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("out");
    let (ledger, sink) = open(&root, options(Compression::None)).await;
    ingest(&ledger, &sink, 1, &[("../../../evil", "a"), ("/etc", "b"), ("..", "c"), ("", "d")]).await;
    sink.flush().await.unwrap();
    assert_eq!(lines(&root).len(), 4);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 5);
}

#[tokio::test]
async fn ledger_that_commits_each_write_is_rejected() {
    let root = tempfile::tempdir().unwrap();
    let ledger = Sqlite::open(&root.path().join("l.db"), CommitMode::Durable).unwrap();
    let error = Jsonl::with_ledger(root.path(), Options::default(), &ledger).await.unwrap_err();
    assert!(error.to_string().contains("commit in groups"), "{error}");
}

/// An earlier version recorded only the last file of each partition.
#[tokio::test]
async fn older_record_of_files_is_completed() {
    let root = tempfile::tempdir().unwrap();
    let options = Options { file_bytes: 2, ..options(Compression::None) };
    let (ledger, sink) = open(root.path(), options.clone()).await;
    for (number, line) in [(1, "a"), (2, "b")] {
        ingest(&ledger, &sink, number, &[("1", line), ("2", line)]).await;
        sink.flush().await.unwrap();
    }
    drop((ledger, sink));
    let older = rusqlite::Connection::open(root.path().join(".trailhose/ledger.db")).unwrap();
    let sql = "ALTER TABLE files RENAME TO all_files;
        CREATE TABLE files (folder TEXT NOT NULL, partition TEXT NOT NULL, name TEXT NOT NULL, length INTEGER NOT NULL,
            content INTEGER NOT NULL, PRIMARY KEY (folder, partition)) WITHOUT ROWID;
        INSERT INTO files SELECT folder, partition, max(name), length, content FROM all_files GROUP BY folder, partition;
        DROP TABLE all_files; DROP TABLE segments; DROP TABLE segment_files; ALTER TABLE folders DROP COLUMN complete;
        DELETE FROM meta WHERE name = 'jsonl'";
    older.execute_batch(sql).unwrap();
    drop(older);
    let (ledger, sink) = open(root.path(), options.clone()).await;
    let files = files(root.path());
    assert_eq!((files.len(), sink.check_files().await.unwrap().files), (4, 4));
    assert_eq!(segments::check(root.path()).len(), 4, "every file is one segment");
    ingest(&ledger, &sink, 3, &[("1", "c")]).await;
    sink.flush().await.unwrap();
    assert_eq!(lines(root.path()), [("a", 2), ("b", 2), ("c", 1)].map(|(line, count)| (line.to_owned(), count)).into());
    assert_eq!(segments::check(root.path()).len(), 5);
    std::fs::remove_file(&files[0]).unwrap();
    let check = sink.check_files().await.unwrap();
    assert_eq!((check.files, check.faulty.len(), &check.faulty[0].fault), (5, 1, &FileFault::Missing));
}

/// A backup that is one checkpoint older looks like an interrupted checkpoint. Truncating the files would lose events.
#[tokio::test]
async fn ledger_restored_from_before_the_last_checkpoint_changes_no_file() {
    let root = tempfile::tempdir().unwrap();
    let (ledger, sink) = open(root.path(), options(Compression::None)).await;
    ingest(&ledger, &sink, 1, &[("1", "a")]).await;
    sink.flush().await.unwrap();
    drop((ledger, sink));
    let (database, backup) = (root.path().join(".trailhose/ledger.db"), root.path().join("backup"));
    std::fs::copy(&database, &backup).unwrap();
    let (ledger, sink) = open(root.path(), options(Compression::None)).await;
    ingest(&ledger, &sink, 2, &[("1", "b")]).await;
    sink.flush().await.unwrap();
    drop((ledger, sink));
    std::fs::rename(&backup, &database).unwrap();
    let restored = super::ledger(root.path());
    let error = Jsonl::with_ledger(root.path(), options(Compression::None), &restored).await.unwrap_err();
    assert!(error.to_string().contains("was restored"), "{error}");
    assert_eq!(lines(root.path()), [("a".to_owned(), 1), ("b".to_owned(), 1)].into());
}

/// Without its identity the folder would be a new one, and deleted files would never be noticed.
#[tokio::test]
async fn folder_without_its_identity_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (ledger, sink) = open(root.path(), options(Compression::None)).await;
    ingest(&ledger, &sink, 1, &[("1", "a")]).await;
    sink.flush().await.unwrap();
    let intent = sink.state.destination.root.join(".trailhose").join(format!("{}.json", &ledger.journal().id()[..12]));
    drop((ledger, sink));
    std::fs::remove_file(&intent).unwrap();
    let ledger = super::ledger(root.path());
    let error = Jsonl::with_ledger(root.path(), options(Compression::None), &ledger).await.unwrap_err();
    assert!(error.to_string().contains("identifies this folder"), "{error}");
}

#[tokio::test]
async fn rebuild_of_a_new_folder_of_a_used_ledger_is_refused() {
    let (root, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ledger = Sqlite::open(&state.path().join("l.db"), CommitMode::Grouped).unwrap();
    let sink = Jsonl::with_ledger(&root.path().join("old"), options(Compression::None), &ledger).await.unwrap();
    ingest(&ledger, &sink, 1, &[("1", "a")]).await;
    sink.flush().await.unwrap();
    drop(sink);
    let sink = Jsonl::with_ledger(&root.path().join("new"), options(Compression::None), &ledger).await.unwrap();
    let error = sink.rebuild(Default::default()).await.unwrap_err();
    assert!(error.to_string().contains("several folders"), "{error}");
}
