use super::*;
use crate::query::{Answer, LocalEngine, QueryEngine, QueryRow, RowSink};
use crate::source::directory::Directory;
use std::io::Write as _;
use std::ops::ControlFlow;

fn event(name: &str, time: &str, number: usize) -> String {
    format!(
        r#"{{"eventTime":"{time}","eventName":"{name}","eventID":"{number:08}-0000-4000-8000-000000000000","userIdentity":{{"arn":"arn:aws:iam::111122223333:user/u{number}"}}}}"#
    )
}

fn plan(rest: &str) -> Plan {
    let time = r#""time": {"since": "2026-02-01T00:00:00Z", "until": "2026-02-03T00:00:00Z"}"#;
    serde_json::from_str(&format!("{{{time}, {rest}}}")).unwrap()
}

async fn engine(folder: &Path) -> LocalEngine {
    let source = Directory::open(folder).unwrap();
    let bucket = source.bucket().to_owned();
    let scan = QueryScan::open(Arc::new(source), &bucket, "", Some(folder.to_owned()), 2).await.unwrap();
    LocalEngine::new(Arc::new(scan))
}

async fn answer(folder: &Path, plan: &Plan) -> Answer {
    engine(folder).await.answer(plan, &QueryControl::default()).await.unwrap()
}

fn write(folder: &Path, name: &str, content: &[u8]) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

const COUNT_BY_NAME: &str = r#""groups": {"by": ["eventName"], "aggregates": ["count"]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn plain_and_compressed_files_are_read_and_other_days_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let lines = |day: u32| {
        let lines: Vec<_> = (0..300)
            .map(|number| event(["A", "B", "C"][number % 3], &format!("2026-02-0{day}T01:00:00Z"), number) + "\n")
            .collect();
        lines.concat().into_bytes()
    };
    let days = "account=111122223333/region=eu-west-1/date=2026-02";
    write(folder.path(), &format!("{days}-01/events-1.jsonl"), &lines(1));
    write(folder.path(), &format!("{days}-02/events-1.jsonl.gz"), &[gzip(&lines(2)), gzip(&lines(2))].concat());
    write(folder.path(), &format!("{days}-03/events-1.jsonl"), b"is not read");
    write(folder.path(), ".trailhose/state.db", b"is not read");
    let found = answer(folder.path(), &plan(COUNT_BY_NAME)).await;
    let row = |name: &str| vec![Some(name.to_owned()), Some("300".to_owned())];
    assert_eq!(found.rows, [row("A"), row("B"), row("C")]);
    assert_eq!((found.scanned.files, found.scanned.events, found.scanned.selected), (2, 900, 900));
    assert_eq!((found.scanned.excluded, found.scanned.skipped_files, found.scanned.invalid_lines), (1, 0, 0));
}

fn lines(events: std::ops::Range<usize>) -> Vec<u8> {
    let lines = events.map(|number| event("A", "2026-02-01T01:00:00Z", number) + "\n");
    lines.collect::<String>().into_bytes()
}

const DAY: &str = "account=111122223333/region=eu-west-1/date=2026-02-01";

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_counted_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let name = |file: &str| format!("{DAY}/{file}");
    // A line that is still being written, next to a last line that is complete.
    write(folder.path(), &name("a.jsonl"), &[&lines(0..10)[..], br#"{"eventTime":"2026-02-01T0"#].concat());
    write(folder.path(), &name("b.jsonl"), lines(10..20).trim_ascii_end());
    // A truncated gzip member.
    let member = gzip(&lines(20..1_020));
    write(folder.path(), &name("c.jsonl.gz"), &[&gzip(&lines(1_020..1_030))[..], &member[..member.len() / 2]].concat());
    write(folder.path(), &name("d.jsonl"), b"not an event\n\n[]\n{\"eventTime\":5}\n");
    // A line that is longer than any event, between two events.
    let huge = format!(r#"{{"eventTime":"2026-02-01T01:00:00Z","a":"{}"}}"#, "x".repeat(33 << 20));
    write(folder.path(), &name("e.jsonl"), &[&lines(0..1)[..], huge.as_bytes(), b"\n", &lines(1..2)].concat());
    write(folder.path(), &name("notes.txt"), b"not read");
    let found = answer(folder.path(), &plan(COUNT_BY_NAME)).await;
    let scanned = &found.scanned;
    let reason = |file: &str| {
        let named = scanned.skipped.iter().find(|skipped| skipped.name.ends_with(file));
        named.map(|skipped| skipped.reason.clone()).unwrap_or_default()
    };
    assert!(reason("a.jsonl").contains("incomplete line of 26 bytes"), "{scanned:?}");
    assert!(reason("a.jsonl").contains("the 10 events before are included"), "{scanned:?}");
    assert_eq!(reason("b.jsonl"), "", "{scanned:?}");
    assert!(reason("c.jsonl.gz").contains("cannot be read: "), "{scanned:?}");
    assert!(reason("d.jsonl").contains("2 lines are not events"), "{scanned:?}");
    assert!(reason("e.jsonl").contains("1 line is not an event"), "{scanned:?}");
    let counts = (scanned.skipped_files, scanned.invalid_lines, scanned.without_time, scanned.other_files);
    assert_eq!(counts, (2, 3, 1, 1));
    let count: u64 = found.rows[0][1].as_deref().unwrap().parse().unwrap();
    // 10 events of each of the files a, b and c, 2 of e, and those of the truncated member that were decompressed.
    assert!((32..32 + 1_000).contains(&count), "{count}");
    assert!(!scanned.is_complete());
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_disappears_or_shrinks_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["a.jsonl", "b.jsonl", "c.jsonl"] {
        write(folder.path(), &format!("{DAY}/{file}"), &lines(0..10));
    }
    /// Changes the other files when the first event is read.
    struct Changing(PathBuf);
    impl ScanVisitor for Changing {
        fn visit(&mut self, _: ScannedEvent<'_>) -> Result<VisitOutcome, QueryError> {
            let _ = std::fs::remove_file(self.0.join(DAY).join("b.jsonl"));
            let last = std::fs::OpenOptions::new().write(true).open(self.0.join(DAY).join("c.jsonl"));
            last.unwrap().set_len(lines(0..2).len() as u64).unwrap();
            Ok(VisitOutcome::Selected)
        }
    }
    let source = Directory::open(folder.path()).unwrap();
    let bucket = source.bucket().to_owned();
    let scan = QueryScan::open(Arc::new(source), &bucket, "", Some(folder.path().to_owned()), 1).await.unwrap();
    let control = QueryControl::default();
    let new = || Changing(folder.path().to_owned());
    let (_, report) = scan.run(&ScanRequest::default(), &control, new).await.unwrap();
    assert_eq!((report.files, report.skipped_files, report.selected), (1, 2, 12));
    assert!(report.skipped[0].reason.contains("was removed during the scan"), "{report:?}");
    assert!(report.skipped[1].reason.contains("became shorter during the scan"), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_in_several_objects_count_once_and_late_deliveries_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let object = |day: &str, file: &str, events: &[String]| {
        let name = format!(
            "AWSLogs/111122223333/CloudTrail/eu-west-1/{}/111122223333_CloudTrail_eu-west-1_{}T0100Z_{file}.json.gz",
            day.replace('-', "/"),
            day.replace('-', "")
        );
        write(folder.path(), &name, &gzip(format!(r#"{{"Records":[{}]}}"#, events.join(",")).as_bytes()));
    };
    let at = |time: &str, number| event("A", time, number);
    object("2026-01-30", "aaaaaaaaaaaaaaaa", &[at("2026-01-30T12:00:00Z", 1)]);
    object("2026-02-01", "bbbbbbbbbbbbbbbb", &[at("2026-02-01T12:00:00Z", 2), at("2026-02-01T12:00:00Z", 3)]);
    object("2026-02-02", "cccccccccccccccc", &[at("2026-02-01T12:00:00Z", 3)]);
    // Delivered five months later.
    object("2026-07-01", "dddddddddddddddd", &[at("2026-02-02T12:00:00Z", 4), at("2026-07-01T00:00:00Z", 5)]);
    write(folder.path(), "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/02/01/broken.json.gz", b"not gzip");
    let found = answer(folder.path(), &plan(COUNT_BY_NAME)).await;
    assert_eq!(found.rows, [[Some("A".to_owned()), Some("3".to_owned())]], "{found:?}");
    assert_eq!((found.scanned.files, found.scanned.copies, found.scanned.skipped_files), (3, 1, 1), "{found:?}");
    // An upper limit that the user sets excludes the late delivery.
    let limited = engine(folder.path()).await.arrived_until(Some(jiff::civil::date(2026, 2, 2)));
    let found = limited.answer(&plan(COUNT_BY_NAME), &QueryControl::default()).await.unwrap();
    assert_eq!(found.scanned.selected, 2, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lake_is_read_from_its_folder_and_from_the_first_day_of_arrival() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "events/dt=2026-01-30/a.jsonl.gz", b"is not read");
    write(folder.path(), "events/dt=2026-02-01/a.jsonl.gz", &gzip(&lines(0..5)));
    write(folder.path(), "events/dt=2026-09-01/a.jsonl.gz", &gzip(&lines(5..6)));
    write(folder.path(), "oversize/a.json", b"is not read");
    let found = answer(folder.path(), &plan(COUNT_BY_NAME)).await;
    assert_eq!((found.scanned.selected, found.scanned.files, found.scanned.excluded), (6, 2, 1), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_as_read_end_with_the_limit_and_stop_the_scan() {
    let folder = tempfile::tempdir().unwrap();
    for file in 0..20 {
        write(folder.path(), &format!("{DAY}/{file}.jsonl"), &lines(file * 1_000..(file + 1) * 1_000));
    }
    let as_read = plan(r#""events": {"order": "as_read"}, "limit": 5"#);
    let found = answer(folder.path(), &as_read).await;
    assert_eq!((found.rows.len(), found.is_limited, &found.columns[..]), (5, true, &["event".to_owned()][..]));
    assert!(found.rows[0][0].as_deref().unwrap().starts_with(r#"{"eventTime":"2026-02-01T01:00:00Z","#));
    assert!(found.scanned.files < 20, "{found:?}");
    let newest = plan(r#""events": {"columns": ["eventID"], "order": "newest"}, "limit": 3"#);
    let found = answer(folder.path(), &newest).await;
    let ids: Vec<_> = found.rows.iter().map(|row| row[0].as_deref().unwrap()[..8].to_owned()).collect();
    assert_eq!((ids, found.is_limited), (vec!["00000000".into(), "00000001".into(), "00000002".into()], true));
    let halted = QueryControl { halt: watch::channel(true).1, ..QueryControl::default() };
    let found = engine(folder.path()).await.answer(&as_read, &halted).await.unwrap();
    assert!(found.rows.is_empty() && found.scanned.stopped);
}

/// A sink that ends the query at the first row.
struct NoFurtherRow;

impl RowSink for NoFurtherRow {
    fn columns(&mut self, _: &[String]) {}

    fn row(&mut self, _: QueryRow) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_as_read_contain_every_selected_event_once() {
    let folder = tempfile::tempdir().unwrap();
    for file in 0..7 {
        write(folder.path(), &format!("{DAY}/{file}.jsonl"), &lines(file * 500..(file + 1) * 500));
    }
    let all = plan(r#""where": {"field": "userIdentity.arn", "suffix": ["7"]}, "events": {"order": "as_read"}"#);
    let engine = engine(folder.path()).await;
    let found = engine.answer(&all, &QueryControl::default()).await.unwrap();
    let distinct: std::collections::HashSet<_> = found.rows.iter().collect();
    assert_eq!((found.rows.len(), distinct.len()), (350, 350));
    assert_eq!(found.scanned.selected, 350);
    // A consumer that needs no further row ends the scan. At most one row and a full channel are sent.
    let ended = engine.run(&all, &QueryControl::default(), &mut NoFurtherRow).await.unwrap();
    assert!(ended.scanned.selected < 350, "{ended:?}");
}
