//! Tests of pruning: a kill at any point, files that change after the plan, and a ledger that is stored elsewhere.

use super::*;
use jiff::civil::date;
use rebuild::{EVENT, claim};

/// The partition of [`scope`] has the date 2023-03-28.
fn plan(root: &Path, record: &str) -> PrunePlan {
    let segments = CommittedSegments::open(root, &root.join(".trailhose").join(record)).unwrap();
    assert_eq!(segments.plan_prune(date(2023, 3, 28)).unwrap().files, 0);
    segments.plan_prune(date(2023, 3, 29)).unwrap()
}

fn forgotten(root: &Path) -> bool {
    let committed = CommittedSegments::open(root, &root.join(".trailhose/ledger.db")).unwrap();
    committed.after(0, 9).unwrap().is_empty()
}

#[tokio::test]
async fn prune_that_is_killed_at_any_point_is_completed_by_the_next_one() {
    let home = tempfile::tempdir().unwrap();
    let live = home.path().join("live");
    let (ledger, sink) = open(&live, options(Compression::Gzip)).await;
    claim(&ledger, 1).await;
    ingest(&ledger, &sink, 1, &[("1", EVENT)]).await;
    ingest(&ledger, &sink, 2, &[("2", "b")]).await;
    sink.flush().await.unwrap();
    let (from, to) = (live.clone(), home.path().to_owned());
    sink.state.destination.probe.set(move |moment| copy(&from, &to.join(moment)));
    let pruned = sink.prune(plan(&live, "ledger.db"), Vec::new()).await.unwrap();
    // The events as they are in the files. The ledger knows one of them.
    assert_eq!((pruned.files, pruned.events, pruned.deleted), (2, 2, 2));
    drop((ledger, sink));
    for moment in ["pruned", "deleted", "live"] {
        let root = home.path().join(moment);
        assert_eq!(files(&root).len(), if moment == "pruned" { 2 } else { 0 }, "{moment}");
        assert_eq!(forgotten(&root), moment == "live");
        let (ledger, sink) = open(&root, options(Compression::Gzip)).await;
        assert_eq!(sink.check_files().await.unwrap(), FileCheck::default(), "no file is missing");
        let planned = plan(&root, "ledger.db");
        assert_eq!((planned.files, planned.interrupted_files > 0), (0, moment != "live"), "{moment}");
        let again = sink.prune(planned, Vec::new()).await.unwrap();
        assert_eq!((again.files, again.deleted), (0, if moment == "pruned" { 2 } else { 0 }), "{moment}");
        assert!(files(&root).is_empty() && forgotten(&root), "{moment}");
        assert!(!root.join("account=1").exists(), "empty folders are removed");
        // The ledger still proves that the event is delivered, and no rebuild delivers it again.
        assert_eq!(sink.rebuild(std::collections::HashSet::new()).await.unwrap(), Rebuild::default());
        drop((ledger, sink));
        let verified = verify(&root, &root.join(".trailhose/ledger.db"), true).await.unwrap();
        assert!(verified.is_intact() && verified.compared, "{verified:?}");
    }
}

#[tokio::test]
async fn file_that_received_events_after_the_plan_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let (ledger, sink) = open(root.path(), options(Compression::None)).await;
    ingest(&ledger, &sink, 1, &[("1", "a"), ("2", "b")]).await;
    sink.flush().await.unwrap();
    let plan = plan(root.path(), "ledger.db");
    ingest(&ledger, &sink, 2, &[("1", "c"), ("3", "d")]).await;
    let pruned = sink.prune(plan, Vec::new()).await.unwrap();
    assert_eq!((pruned.files, pruned.deleted), (1, 1));
    assert_eq!(lines(root.path()), ["a", "c", "d"].map(|line| (line.to_owned(), 1)).into());
}

/// Only the segments name the file that is left.
#[tokio::test]
async fn file_that_cannot_be_deleted_is_deleted_by_a_later_prune() {
    let root = tempfile::tempdir().unwrap();
    let (ledger, sink) = open(root.path(), options(Compression::None)).await;
    ingest(&ledger, &sink, 1, &[("1", "a")]).await;
    sink.flush().await.unwrap();
    let file = files(root.path()).remove(0);
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let pruned = sink.prune(plan(root.path(), "ledger.db"), Vec::new()).await.unwrap();
    assert_eq!((pruned.files, pruned.deleted, &pruned.not_deleted[0].0), (1, 0, &file));
    std::fs::remove_dir(&file).unwrap();
    std::fs::write(&file, "a\n").unwrap();
    let planned = plan(root.path(), "ledger.db");
    assert_eq!(planned.interrupted_files, 1);
    let again = sink.prune(planned, Vec::new()).await.unwrap();
    assert_eq!((again.deleted, again.not_deleted, file.exists()), (1, Vec::new(), false));
    assert!(forgotten(root.path()));
}

#[tokio::test]
async fn segments_are_kept_while_a_follower_needs_them() {
    let root = tempfile::tempdir().unwrap();
    let (ledger, sink) = open(root.path(), options(Compression::None)).await;
    for number in 1..=3 {
        ingest(&ledger, &sink, number, &[("1", "a")]).await;
        sink.flush().await.unwrap();
    }
    let committed = CommittedSegments::open(root.path(), &root.path().join(".trailhose/ledger.db")).unwrap();
    let kept = |positions: &[(i64, Option<u64>)]| {
        let positions = positions.iter().map(|&(segment, lines)| ReadPosition { segment, lines }).collect();
        let (sink, root) = (&sink, root.path());
        async move {
            sink.prune(plan(root, "ledger.db"), positions).await.unwrap();
            let committed = CommittedSegments::open(root, &root.join(".trailhose/ledger.db")).unwrap();
            committed.after(0, 9).unwrap().iter().map(|segment| segment.id).collect::<Vec<_>>()
        }
    };
    let plan = plan(root.path(), "ledger.db");
    let unread = |segment, lines| committed.unread(&plan, ReadPosition { segment, lines }).unwrap();
    assert_eq!(unread(1, None), UnreadPart { segments: 2, events: 2 });
    assert_eq!(unread(2, Some(1)), UnreadPart { segments: 2, events: 1 });
    assert_eq!(unread(3, None), UnreadPart::default());
    // The second segment is partly read, and the third is not.
    assert_eq!(kept(&[(3, None), (2, Some(1))]).await, [2, 3]);
    // A position remains, so that a follower recognizes its record.
    assert_eq!(kept(&[(3, None)]).await, [3]);
    assert!(kept(&[]).await.is_empty());
}

#[tokio::test]
async fn files_of_a_ledger_elsewhere_are_pruned() {
    let root = tempfile::tempdir().unwrap();
    let sink = Jsonl::standalone(root.path(), options(Compression::Zstd)).await.unwrap();
    sink.deliver(&call(&[("1", "a"), ("2", "b")]), distant_deadline()).await.unwrap();
    let pruned = sink.prune(plan(root.path(), "files.db"), Vec::new()).await.unwrap();
    assert_eq!((pruned.files, pruned.events, pruned.deleted), (2, 2, 2));
    assert!(files(root.path()).is_empty());
    sink.deliver(&call(&[("1", "c")]), distant_deadline()).await.unwrap();
    assert_eq!(lines(root.path()), [("c".to_owned(), 1)].into());
}
