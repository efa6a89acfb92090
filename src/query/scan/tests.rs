use super::*;
use crate::query::{Answer, LocalEngine, QueryEngine};
use crate::source::directory::Directory;
use std::io::Write as _;

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
async fn plain_and_compressed_files_are_read_and_other_days_are_pruned() {
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
    assert_eq!((found.scanned.pruned, found.scanned.skipped_files, found.scanned.invalid_lines), (1, 0, 0));
}
