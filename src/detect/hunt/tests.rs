use super::*;
use crate::source::directory::Directory;
use std::io::Write as _;
use std::path::Path;

fn event(name: &str, time: &str, number: usize) -> String {
    format!(
        r#"{{"eventTime":"{time}","eventName":"{name}","eventID":"{number:08}-0000-4000-8000-000000000000","userIdentity":{{"arn":"arn:aws:iam::111122223333:user/u{number}"}}}}"#
    )
}

fn rules(names: &[&str]) -> Arc<RuleSet> {
    let file = |name: &&str| {
        let text = format!(
            "title: {name}\nid: rule-{name}\nlogsource:\n    product: aws\n    service: cloudtrail\ndetection:\n    \
             selection:\n        eventName: {name}\n    condition: selection\n"
        );
        (format!("{name}.yml"), text.into_bytes())
    };
    let loaded = RuleSet::load(names.iter().map(file));
    assert_eq!(loaded.invalid, []);
    Arc::new(loaded.rules)
}

async fn hunt(folder: &Path, rules: &Arc<RuleSet>, span: Option<(&str, &str)>) -> Hunt {
    let source = Directory::open(folder).unwrap();
    let bucket = source.bucket().to_owned();
    let scan = QueryScan::open(Arc::new(source), &bucket, "", Some(folder.to_owned()), 2).await.unwrap();
    let span = span.map(|(since, until)| TimeSpan::new(since.parse().unwrap(), until.parse().unwrap()).unwrap());
    Hunt { scan: Arc::new(scan), rules: Arc::clone(rules), span, arrived_until: None }
}

fn write(folder: &Path, name: &str, content: &[u8]) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// Writes an object of CloudTrail with these events.
fn put_object(folder: &Path, day: &str, name: &str, events: &[String]) {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    write!(encoder, "{{\"Records\":[{}]}}", events.join(",")).unwrap();
    let compact = day.replace('/', "");
    let key = format!(
        "AWSLogs/111122223333/CloudTrail/us-east-1/{day}/111122223333_CloudTrail_us-east-1_{compact}T0000Z_{name}.json.gz"
    );
    write(folder, &key, &encoder.finish().unwrap());
}

#[derive(Default)]
struct FoundMatches {
    matches: Vec<HuntMatch>,
    limit: Option<usize>,
}

impl HuntSink for FoundMatches {
    fn found(&mut self, found: HuntMatch) -> ControlFlow<()> {
        self.matches.push(found);
        if self.limit == Some(self.matches.len()) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

async fn run(hunt: &Hunt) -> (HuntReport, Vec<HuntMatch>) {
    let mut collected = FoundMatches::default();
    let report = hunt.run(&QueryControl::default(), &mut collected).await.unwrap();
    collected.matches.sort_by_key(|found| (found.event.event_id.clone(), found.rule_index));
    (report, collected.matches)
}

#[tokio::test(flavor = "multi_thread")]
async fn matches_of_objects_are_found_once_and_counted_by_rule() {
    let folder = tempfile::tempdir().unwrap();
    let first = event("A", "2026-02-01T10:00:00Z", 1);
    put_object(
        folder.path(),
        "2026/02/01",
        "AAAAAAAAAAAAAAAA",
        &[first.clone(), event("B", "2026-02-01T11:00:00Z", 2)],
    );
    put_object(folder.path(), "2026/02/02", "BBBBBBBBBBBBBBBB", &[first, event("A", "2026-02-02T10:00:00Z", 3)]);
    let rules = rules(&["A", "B", "C"]);
    let (report, matches) = run(&hunt(folder.path(), &rules, None).await).await;
    let found: Vec<_> = matches.iter().map(|found| (found.rule_index, &*found.event.event_name)).collect();
    assert_eq!(found, [(0, "A"), (1, "B"), (0, "A")]);
    assert_eq!(matches[0].event.principal, "arn:aws:iam::111122223333:user/u1");
    assert_eq!(matches[0].matched_fields, [MatchedField { path: "eventName".into(), value: "A".into() }]);
    assert_eq!(report.rules.iter().map(|hits| hits.events).collect::<Vec<_>>(), [2, 1, 0]);
    let times = report.rules[0].times.map(|(from, to)| (from.to_string(), to.to_string()));
    assert_eq!(times, Some(("2026-02-01T10:00:00Z".to_owned(), "2026-02-02T10:00:00Z".to_owned())));
    assert_eq!((report.scanned.events, report.scanned.selected, report.scanned.copies), (4, 3, 1));
    assert!(report.is_complete());
}

#[tokio::test(flavor = "multi_thread")]
async fn span_selects_by_event_time_and_matches_without_time_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let events = [event("A", "2026-02-01T10:00:00Z", 1), event("A", "2026-02-02T10:00:00Z", 2), event("A", "soon", 3)];
    put_object(folder.path(), "2026/02/02", "AAAAAAAAAAAAAAAA", &events);
    let rules = rules(&["A"]);
    let span = Some(("2026-02-02T00:00:00Z", "2026-02-03T00:00:00Z"));
    let (report, matches) = run(&hunt(folder.path(), &rules, span).await).await;
    assert_eq!(matches.iter().map(|found| &found.event.event_id[..8]).collect::<Vec<_>>(), ["00000002"]);
    assert_eq!((report.scanned.without_time, report.scanned.selected), (1, 1));
    // Without a span, events of any time match.
    assert_eq!(run(&hunt(folder.path(), &rules, None).await).await.1.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn output_files_are_read_and_invalid_lines_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let lines = format!("{}\nnot an event\n{}\n", event("A", "2026-02-01T10:00:00Z", 1), event("B", "x", 2));
    let path = "account=111122223333/region=us-east-1/date=2026-02-01/events-1.jsonl";
    write(folder.path(), path, lines.as_bytes());
    let (report, matches) = run(&hunt(folder.path(), &rules(&["A"]), None).await).await;
    assert_eq!((matches.len(), report.scanned.invalid_lines, report.is_complete()), (1, 1, false));
    assert!(report.scanned.skipped[0].name.ends_with("events-1.jsonl"), "{:?}", report.scanned.skipped);
}

#[tokio::test(flavor = "multi_thread")]
async fn sink_that_needs_no_more_matches_ends_the_hunt() {
    let folder = tempfile::tempdir().unwrap();
    let events: Vec<_> = (0..2_000).map(|number| event("A", "2026-02-01T10:00:00Z", number)).collect();
    put_object(folder.path(), "2026/02/01", "AAAAAAAAAAAAAAAA", &events);
    let hunt = hunt(folder.path(), &rules(&["A"]), None).await;
    let mut collected = FoundMatches { limit: Some(3), ..FoundMatches::default() };
    let report = hunt.run(&QueryControl::default(), &mut collected).await.unwrap();
    assert_eq!(collected.matches.len(), 3);
    assert!(report.scanned.events < 2_000, "{}", report.scanned.events);
}
