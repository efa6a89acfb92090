use super::*;
use crate::plan::Plan;
use crate::query::{Answer, LocalEngine, QueryControl, QueryEngine, QueryScan};
use crate::source::directory::Directory;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

const LOG: &str = "111122223333/CloudTrail/eu-west-1/2026/02/01/111122223333_CloudTrail_eu-west-1_20260201T0100Z_aaaaaaaaaaaaaaaa.json.gz";

/// Writes empty files, and returns their folder.
fn folder_of(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|file| write(folder.path(), file, b""));
    folder
}

fn write(folder: &Path, file: &str, content: &[u8]) {
    let path = folder.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

async fn layout_of(files: &[&str]) -> ScanLayout {
    let folder = folder_of(files);
    let source = Directory::open(folder.path()).unwrap();
    let bucket = source.bucket().to_owned();
    ScanLayout::find(&source, &bucket, "").await.unwrap()
}

#[tokio::test]
async fn layout_is_found_at_the_top_and_further_below() {
    let lines = |prefix: &str| ScanLayout::Lines(prefix.to_owned());
    let (log, below) = (&*format!("AWSLogs/{LOG}"), &*format!("trail/AWSLogs/{LOG}"));
    let file = LOG.rsplit('/').next().unwrap();
    for (files, expected) in [
        (&[log][..], ScanLayout::CloudTrail),
        (&[log, "notes.jsonl"], ScanLayout::CloudTrail),
        (&[below, "notes.jsonl"], ScanLayout::CloudTrail),
        (&[log, "region=eu-west-1/notes.txt"], ScanLayout::CloudTrail),
        (&[below, "region=eu-west-1/notes.txt"], ScanLayout::CloudTrail),
        (&[file, "notes.jsonl"], ScanLayout::CloudTrail),
        (&["notes.txt"], ScanLayout::CloudTrail),
        (&["a.jsonl", "b/c.txt"], lines("")),
        (&["nest/sub/deeper/x.jsonl"], lines("")),
        (&["a/b/c/d.txt", "a/c/d.txt", "b/sub/deeper/x.jsonl"], lines("")),
        (&["account=111122223333/region=eu-west-1/date=2026-02-01/a.jsonl"], lines("")),
        (&[".trailhose/ledger.db", "a.txt"], lines("")),
        (&["events/dt=2026-02-01/a.jsonl.gz", "oversize/a.json", "a/b.jsonl"], lines("events/")),
    ] {
        assert_eq!(layout_of(files).await, expected, "{files:?}");
    }
}

fn event(number: usize) -> String {
    format!(
        r#"{{"eventTime":"2026-02-01T01:00:00Z","eventName":"A","eventID":"{number:08}-0000-4000-8000-000000000000"}}"#
    )
}

fn lines(events: std::ops::Range<usize>) -> Vec<u8> {
    events.map(|number| event(number) + "\n").collect::<String>().into_bytes()
}

fn object(events: std::ops::Range<usize>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let events: Vec<_> = events.map(event).collect();
    encoder.write_all(format!(r#"{{"Records":[{}]}}"#, events.join(",")).as_bytes()).unwrap();
    encoder.finish().unwrap()
}

async fn answer(folder: &Path) -> Answer {
    let source = Directory::open(folder).unwrap();
    let bucket = source.bucket().to_owned();
    let scan = QueryScan::open(Arc::new(source), &bucket, "", Some(folder.to_owned()), 2).await.unwrap();
    let time = r#""time": {"since": "2013-01-01T00:00:00Z", "until": "2026-02-03T00:00:00Z"}"#;
    let groups = r#""groups": {"by": ["eventName"], "aggregates": ["count"]}"#;
    let plan: Plan = serde_json::from_str(&format!("{{{time}, {groups}}}")).unwrap();
    LocalEngine::new(Arc::new(scan)).answer(&plan, &QueryControl::default()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_in_folders_without_partitions_are_read() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "nest/sub/deeper/x.jsonl", &lines(0..10));
    write(folder.path(), "nest/y.jsonl", &lines(10..15));
    let scanned = answer(folder.path()).await.scanned;
    assert_eq!((scanned.selected, scanned.files, scanned.is_complete()), (15, 2, true), "{scanned:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_lines_next_to_logs_do_not_hide_them_and_are_named() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &format!("AWSLogs/{LOG}"), &object(0..20));
    write(folder.path(), "notes.jsonl", &lines(100..110));
    write(folder.path(), "region=eu-west-1/notes.txt", b"not read");
    let scanned = answer(folder.path()).await.scanned;
    assert_eq!((scanned.selected, scanned.files, scanned.skipped_files), (20, 1, 1), "{scanned:?}");
    assert!(scanned.skipped[0].name.ends_with("notes.jsonl") && !scanned.is_complete(), "{scanned:?}");
}

/// The search for the layout ends after some folders, so logs further below are found only by the listing.
#[tokio::test(flavor = "multi_thread")]
async fn logs_next_to_json_lines_that_are_not_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &format!("a/b/AWSLogs/{LOG}"), &object(0..20));
    write(folder.path(), "notes.jsonl", &lines(100..110));
    let scanned = answer(folder.path()).await.scanned;
    assert_eq!((scanned.selected, scanned.files, scanned.skipped_files), (10, 1, 1), "{scanned:?}");
    assert!(scanned.skipped[0].name.ends_with(".json.gz") && !scanned.is_complete(), "{scanned:?}");
}
