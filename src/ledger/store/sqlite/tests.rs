use super::*;
use rusqlite::Connection;

const MINE: Token = Token(1);
const NOW: i64 = 1000;

fn object(key: &str) -> Object {
    Object { bucket: "logs".into(), key: key.into(), etag: "e".into() }
}

async fn lease(store: &Sqlite, key: &str) {
    let lease = Change::Lease { token: MINE, until: NOW + 60 };
    store.change_row(&object(key), Guard::Leasable { now: NOW, token: MINE }, &lease).await.unwrap();
}

async fn row(store: &Sqlite, key: &str) -> Option<Row> {
    store.rows(&[object(key).id()]).await.unwrap().remove(0)
}

#[tokio::test]
async fn leases_of_a_killed_process_end_and_its_writes_remain() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/folder/ledger.db");
    let store = Sqlite::open(&path, CommitMode::Durable).unwrap();
    let held = Guard::Held(MINE);
    let quarantine = Change::Quarantine { reason: "r".into(), at: NOW };
    let complete = Change::Complete { counts: Counts { seen: 3, ..Counts::default() }, expires: 5000 };
    for (key, changes) in [
        ("open", vec![Change::Advance(7)]),
        ("settled", vec![Change::Settle]),
        ("done", vec![complete]),
        ("helped", vec![quarantine, Change::Lease { token: MINE, until: NOW + 60 }]),
    ] {
        lease(&store, key).await;
        for change in changes {
            store.change_row(&object(key), held, &change).await.unwrap();
        }
    }
    let done = row(&store, "done").await;
    let page = Page::new(9);
    store.write_page(&PageName("p".into()), None, &page).await.unwrap();
    let id = store.journal().id().to_owned();
    drop(store);

    let store = Sqlite::open(&path, CommitMode::Durable).unwrap();
    assert_eq!(store.journal().id(), id);
    for key in ["open", "settled", "helped"] {
        let row = row(&store, key).await.unwrap();
        assert_eq!((row.token, row.until), (None, 0), "{key}");
    }
    assert_eq!(row(&store, "open").await.unwrap().cursor, 7);
    assert_eq!(row(&store, "done").await, done, "its token identifies a repeat of the last write");
    assert_eq!(store.pages(&[PageName("p".into())]).await.unwrap(), [Some(page)]);
    let quarantined = store.quarantined().await.unwrap();
    assert_eq!(quarantined.iter().map(|row| &*row.object.key).collect::<Vec<_>>(), ["helped"]);
}

#[tokio::test]
async fn grouped_writes_are_lost_unless_committed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let store = Sqlite::open(&path, CommitMode::Grouped).unwrap();
    lease(&store, "a").await;
    assert!(store.journal().pending());
    store.journal().commit(|_| Ok(())).unwrap();
    assert!(!store.journal().pending());
    lease(&store, "b").await;
    assert!(row(&store, "b").await.is_some(), "uncommitted writes are visible to reads");
    drop(store);
    let store = Sqlite::open(&path, CommitMode::Grouped).unwrap();
    assert!(row(&store, "a").await.is_some() && row(&store, "b").await.is_none());
}

#[tokio::test]
async fn failed_commit_invalidates_the_journal_and_keeps_the_last_commit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let store = Sqlite::open(&path, CommitMode::Grouped).unwrap();
    lease(&store, "a").await;
    store.journal().commit(|connection| connection.execute_batch("INSERT INTO nowhere VALUES (1)")).unwrap_err();
    let error = store.rows(&[object("a").id()]).await.unwrap_err();
    assert!(error.to_string().contains("rolled back"), "{error}");
    drop(store);
    let store = Sqlite::open(&path, CommitMode::Grouped).unwrap();
    assert_eq!(row(&store, "a").await, None);
}

#[tokio::test]
async fn panic_in_a_commit_invalidates_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let store = Sqlite::open(&path, CommitMode::Grouped).unwrap();
    lease(&store, "a").await;
    let commit = std::panic::AssertUnwindSafe(|| store.journal().commit(|_| panic!("in the middle of a commit")));
    std::panic::catch_unwind(commit).unwrap_err();
    assert!(!store.journal().pending());
    let error = store.journal().commit(|_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("a commit ended unexpectedly"), "{error}");
    drop(store);
    let store = Sqlite::open(&path, CommitMode::Grouped).unwrap();
    assert_eq!(row(&store, "a").await, None);
}

#[test]
fn tables_of_another_module_are_upgraded_step_by_step() {
    const ONE: &str = "CREATE TABLE songs (name TEXT)";
    const TWO: &str = "ALTER TABLE songs ADD COLUMN length INTEGER";
    let (first, second) = (Schema { name: "m", upgrades: &[ONE] }, Schema { name: "m", upgrades: &[ONE, TWO] });
    let folder = tempfile::tempdir().unwrap();
    for mode in [CommitMode::Grouped, CommitMode::Durable] {
        let path = folder.path().join(format!("{mode:?}.db"));
        let open = || Sqlite::open(&path, mode).unwrap();
        let insert = |store: &Sqlite, sql| store.journal().commit(|connection| connection.execute_batch(sql));
        let store = open();
        store.journal().register(&first).unwrap();
        insert(&store, "INSERT INTO songs VALUES ('a')").unwrap();
        drop(store);
        let store = open();
        assert_eq!(store.journal().schema_version(&second).unwrap(), 1);
        store.journal().register(&second).unwrap();
        store.journal().register(&second).unwrap();
        insert(&store, "INSERT INTO songs VALUES ('b', 1)").unwrap();
        let error = store.journal().register(&first).unwrap_err();
        assert!(matches!(&error, StoreError::Unreadable(text) if text.contains("have version 2")), "{error}");
    }
}

#[test]
fn ledger_in_use_cannot_be_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let first = Sqlite::open(&path, CommitMode::Durable).unwrap();
    let error = Sqlite::open(&path, CommitMode::Durable).unwrap_err();
    assert!(matches!(&error, StoreError::Denied(text) if text.contains("in use by process")), "{error:?}");
    drop(first);
    Sqlite::open(&path, CommitMode::Durable).unwrap();
}

/// The locks of this process on a file, as the system lists them.
#[cfg(target_os = "linux")]
fn locks(path: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let file = format!(":{} ", std::fs::metadata(path).unwrap().ino());
    let process = format!(" {} ", std::process::id());
    let listed = std::fs::read_to_string("/proc/locks").unwrap();
    let of_file = listed.lines().filter(|line| line.contains(&file) && line.contains(&process));
    of_file.map(|line| line.split_once(": ").unwrap().1.to_owned()).collect()
}

/// Without its locks, the files of an open ledger look abandoned, and another process resets them.
#[cfg(target_os = "linux")]
#[test]
fn opening_a_ledger_again_keeps_the_locks_of_the_first_connection() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let first = Sqlite::open(&path, CommitMode::Durable).unwrap();
    let files = [path.clone(), folder.path().join("ledger.db-shm")];
    let before = files.each_ref().map(|file| locks(file));
    assert!(before.iter().all(|locks| !locks.is_empty()), "{before:?}");
    let second = Journal::open_read_only(&path).unwrap();
    drop(second);
    assert_eq!(files.each_ref().map(|file| locks(file)), before);
    drop(first);
}

#[test]
fn file_that_is_not_a_ledger_is_rejected_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    let open = || Sqlite::open(&path, CommitMode::Durable).unwrap_err();
    std::fs::write(&path, "{\"Records\": []}".repeat(100)).unwrap();
    assert!(
        matches!(open(), StoreError::Unreadable(text) if text.contains("is not an SQLite file (it starts with the bytes 7b 22 52 65)"))
    );
    std::fs::remove_file(&path).unwrap();

    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE songs (name TEXT)").unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(
        matches!(open(), StoreError::Unreadable(text) if text.contains("another program, not a trailhose ledger (its tables are songs)"))
    );
    assert!(std::fs::read(&path).unwrap() == before, "the file of another program is unchanged");
    other.execute_batch("DROP TABLE songs").unwrap();
    drop(Sqlite::open(&path, CommitMode::Durable).unwrap());
    other.execute_batch("UPDATE meta SET value = '9' WHERE name = 'format'").unwrap();
    assert!(
        matches!(open(), StoreError::Unreadable(text) if text.contains("a newer version") && text.contains("format 9"))
    );
}

/// SQL that replaces the table `rows` by an empty one of format 1.
const ROWS_1: &str = "DROP TABLE rows; CREATE TABLE rows (
    id BLOB PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, etag TEXT NOT NULL, status TEXT NOT NULL,
    token BLOB, until INTEGER NOT NULL, cursor INTEGER NOT NULL, seen INTEGER, delivered INTEGER,
    duplicate INTEGER, filtered INTEGER, oversize INTEGER, reason TEXT, expires INTEGER
) WITHOUT ROWID; UPDATE meta SET value = '1' WHERE name = 'format'";

#[tokio::test]
async fn ledger_of_format_1_is_converted_when_it_is_opened_for_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    drop(Sqlite::open(&path, CommitMode::Durable).unwrap());
    let old = Connection::open(&path).unwrap();
    old.execute_batch(ROWS_1).unwrap();
    let id = object("a").id();
    let sql = "INSERT INTO rows (id, bucket, key, etag, status, until, cursor, reason)
               VALUES (?1, 'b', 'a', 'e', 'quarantined', 0, 0, 'r')";
    old.execute(sql, [&id.0[..]]).unwrap();
    drop(old);
    let error = Sqlite::open_read_only(&path).unwrap_err();
    assert!(matches!(&error, StoreError::Unreadable(text) if text.contains("has the older format 1")), "{error}");
    let store = Sqlite::open(&path, CommitMode::Durable).unwrap();
    let found = store.rows(&[id]).await.unwrap().remove(0).unwrap();
    assert_eq!((found.reason.as_deref(), found.quarantined_at, found.accepted), (Some("r"), None, None));
    let accept = Change::Accept { reason: "known".into() };
    let row = store.change_row_by_id(id, Guard::Quarantined { now: NOW }, &accept).await.unwrap();
    assert_eq!(row.accepted.as_deref(), Some("known"));
    drop(store);
    Sqlite::open_read_only(&path).unwrap();
}

#[tokio::test]
async fn local_ledger_counts_dynamodb_units() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("ledger.db"), CommitMode::Grouped).unwrap();
    lease(&store, "a").await;
    store.change_row(&object("a"), Guard::Held(Token(2)), &Change::Settle).await.unwrap_err();
    let ids: Vec<ObjectId> = (0..101).map(|number| ObjectId([number; 16])).collect();
    store.rows(&ids).await.unwrap();
    let spent = store.counters().usage();
    assert_eq!((spent.writes, spent.refused, spent.write_units, spent.reads, spent.read_units), (2, 1, 2, 2, 101));
}
