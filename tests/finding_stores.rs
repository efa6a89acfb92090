//! SQLite and DynamoDB record the same findings, windows, counts and alerts, in every order and with repetitions. The tables
//! are in two independent emulators.

mod bed;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use bed::emulator::Emulator;
use bed::faults::{Fault, Faults};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use trailhose::aws;
use trailhose::detect::RuleLevel;
use trailhose::finding::{Alert, AlertKind, DetectionFinding, EventPointer, Grouping, RuleSummary};
use trailhose::finding_store::dynamodb::DynamoFindings;
use trailhose::finding_store::{
    Circuit, FindingReview, FindingState, FindingStore, PendingAlerts, RecordedFindings, Route,
};
use trailhose::state::{AlertState, FindingFilter, STATE_FILE, StateDatabase};

const NOW: i64 = 1_793_530_800;

const KEEP: Duration = Duration::from_secs(30 * 86_400);

fn finding(rule: u32, event: u32, time: i64, principal: u32) -> DetectionFinding {
    let rule = RuleSummary { id: format!("rule-{rule}"), level: "high".into(), ..RuleSummary::default() };
    let event = EventPointer {
        id: format!("event-{event}"),
        time: Some(time),
        account: "111122223333".into(),
        principal: format!("user-{principal}"),
        ..EventPointer::default()
    };
    DetectionFinding::new(rule, event, [("eventName", "StopLogging")])
}

fn routes() -> Vec<Route> {
    vec![Route { destination: "oncall".into(), min_level: RuleLevel::Medium }]
}

/// The contents of a store that do not depend on the order of arrival.
#[derive(Debug, Default, PartialEq, Eq)]
struct Contents {
    findings: BTreeSet<String>,
    /// The number of findings that are stored with their details.
    detailed: usize,
    /// The number of findings of each group and start.
    windows: BTreeMap<(String, i64), i64>,
}

/// A store whose contents a test can read.
#[async_trait]
trait Inspected: FindingStore {
    async fn contents(&self) -> Contents;
    /// Returns the alerts that are not sent, in order.
    async fn alerts(&self) -> Vec<Alert>;
}

#[async_trait]
impl Inspected for StateDatabase {
    async fn contents(&self) -> Contents {
        let filter = FindingFilter { limit: u32::MAX, ..FindingFilter::default() };
        let stored = self.findings(&filter).unwrap();
        let file = rusqlite::Connection::open(self.path()).unwrap();
        let mut windows = file.prepare("SELECT group_id, start, findings FROM windows").unwrap();
        let windows = windows.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?))).unwrap();
        Contents {
            detailed: stored.iter().filter(|stored| stored.finding.is_some()).count(),
            findings: stored.into_iter().map(|stored| stored.id).collect(),
            windows: windows.map(Result::unwrap).collect(),
        }
    }

    async fn alerts(&self) -> Vec<Alert> {
        let pending = self.alerts(Some(AlertState::Pending), u32::MAX).unwrap();
        pending.into_iter().map(|stored| stored.alert).collect()
    }
}

/// A store in an emulator, and a client that reads its table.
#[derive(Debug)]
struct Table {
    store: DynamoFindings,
    client: Client,
    name: String,
}

impl Table {
    async fn create(emulator: &Emulator, name: &str) -> Self {
        let client = aws::dynamodb(&emulator.config());
        let mut table = client.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
        for (key, kind) in [("pk", KeyType::Hash), ("sk", KeyType::Range)] {
            let text = AttributeDefinition::builder().attribute_name(key).attribute_type(ScalarAttributeType::S);
            let schema = KeySchemaElement::builder().attribute_name(key).key_type(kind);
            table = table.attribute_definitions(text.build().unwrap()).key_schema(schema.build().unwrap());
        }
        table.send().await.unwrap();
        Self { store: DynamoFindings::new(client.clone(), name, KEEP), client, name: name.to_owned() }
    }

    async fn items(&self) -> Vec<HashMap<String, AttributeValue>> {
        let pages = self.client.scan().table_name(&self.name).consistent_read(true).into_paginator().items().send();
        pages.collect::<Result<_, _>>().await.unwrap()
    }
}

fn text<'a>(item: &'a HashMap<String, AttributeValue>, name: &str) -> &'a str {
    item[name].as_s().unwrap()
}

fn number(item: &HashMap<String, AttributeValue>, name: &str) -> i64 {
    item[name].as_n().unwrap().parse().unwrap()
}

#[async_trait]
impl Inspected for Table {
    async fn contents(&self) -> Contents {
        let mut contents = Contents::default();
        for item in self.items().await {
            if let Some(id) = text(&item, "sk").strip_prefix("finding#") {
                assert!(number(&item, "expires") >= NOW + 30 * 86_400);
                contents.findings.insert(id.to_owned());
                contents.detailed += usize::from(item.contains_key("content"));
            } else if let Some(group) = text(&item, "pk").strip_prefix("window#") {
                let start = number(&item, "window_end") - 3_600;
                contents.windows.insert((group.to_owned(), start), number(&item, "findings"));
            }
        }
        contents
    }

    async fn alerts(&self) -> Vec<Alert> {
        let mut items = self.items().await;
        items.retain(|item| text(item, "pk") == "pending#oncall");
        items.sort_by(|one, other| text(one, "sk").cmp(text(other, "sk")));
        items.iter().map(|item| serde_json::from_str(text(item, "content")).unwrap()).collect()
    }
}

#[async_trait]
impl FindingStore for Table {
    type Error = <DynamoFindings as FindingStore>::Error;

    async fn record_findings(
        &self,
        findings: &[DetectionFinding],
        grouping: &Grouping,
        routes: &[Route],
        now: i64,
    ) -> Result<RecordedFindings, Self::Error> {
        self.store.record_findings(findings, grouping, routes, now).await
    }

    async fn close_windows(&self, routes: &[Route], grace: i64, now: i64) -> Result<u64, Self::Error> {
        self.store.close_windows(routes, grace, now).await
    }

    async fn next_alert(
        &self,
        destination: &str,
        now: i64,
    ) -> Result<Option<trailhose::finding_store::PendingAlert>, Self::Error> {
        self.store.next_alert(destination, now).await
    }

    async fn pending_alerts(&self, destination: &str) -> Result<PendingAlerts, Self::Error> {
        self.store.pending_alerts(destination).await
    }

    async fn record_sent(&self, destination: &str, number: i64, now: i64) -> Result<(), Self::Error> {
        self.store.record_sent(destination, number, now).await
    }

    async fn record_retry(&self, to: &str, number: i64, due: i64, circuit: &Circuit) -> Result<(), Self::Error> {
        self.store.record_retry(to, number, due, circuit).await
    }

    async fn record_failed(&self, destination: &str, number: i64, error: &str) -> Result<(), Self::Error> {
        self.store.record_failed(destination, number, error).await
    }

    async fn record_refused_alert(&self, destination: &str, number: i64, error: &str) -> Result<(), Self::Error> {
        self.store.record_refused_alert(destination, number, error).await
    }

    async fn circuit(&self, destination: &str) -> Result<Circuit, Self::Error> {
        self.store.circuit(destination).await
    }
}

fn kinds(alerts: &[Alert]) -> Vec<AlertKind> {
    alerts.iter().map(|alert| alert.kind).collect()
}

/// Runs every check on one empty store. Each check uses its own rules.
async fn conforms(store: &impl Inspected) {
    let (grouping, routes) = (Grouping::default(), routes());
    let record = async |findings: &[DetectionFinding], now| {
        store.record_findings(findings, &grouping, &routes, now).await.unwrap()
    };
    // A window has one first alert and one summary. Repetitions have no effect, and late findings are counted.
    let findings: Vec<_> = (0..50).map(|event| finding(1, event, NOW + i64::from(event), 1)).collect();
    assert_eq!(record(&findings, NOW).await, RecordedFindings { new: 50, alerts: 1, ..Default::default() });
    let twice = [&findings[..], &findings[..1]].concat();
    assert_eq!(record(&twice, NOW + 1).await, RecordedFindings { repeated: 51, ..Default::default() });
    assert_eq!(store.close_windows(&routes, 900, NOW + 3_600 + 899).await.unwrap(), 0, "the grace period is not over");
    assert_eq!(store.close_windows(&routes, 900, NOW + 3_600 + 900).await.unwrap(), 1);
    assert_eq!(store.close_windows(&routes, 900, NOW + 9_000).await.unwrap(), 0, "a window is closed once");
    let alerts = store.alerts().await;
    assert_eq!(kinds(&alerts), [AlertKind::First, AlertKind::Summary]);
    assert_eq!((alerts[0].count, alerts[1].count, &alerts[1].finding), (1, 50, &findings[0]));
    let late = record(&[finding(1, 99, NOW, 1)], NOW + 9_000).await;
    assert_eq!(late, RecordedFindings { new: 1, late: 1, ..Default::default() });

    // The outbox: alerts are in order within a group, groups do not wait for each other, circuits open, and alerts fail.
    record(&[finding(2, 7, NOW, 2)], NOW).await;
    let first = store.next_alert("oncall", 0).await.unwrap().unwrap();
    assert_eq!((first.alert.kind, first.attempts, first.recorded), (AlertKind::First, 0, NOW));
    let circuit = Circuit { failures: 1, refusals: 2, open_until: 5, error: "status 500".into() };
    store.record_retry("oncall", first.number, 1_000, &circuit).await.unwrap();
    assert_eq!(store.circuit("oncall").await.unwrap(), circuit);
    let other = store.next_alert("oncall", 999).await.unwrap().unwrap();
    assert_eq!(other.alert.rule().id, "rule-2");
    store.record_sent("oncall", other.number, NOW).await.unwrap();
    assert_eq!(store.circuit("oncall").await.unwrap(), Circuit::default(), "a success closes the circuit");
    assert_eq!(store.next_alert("oncall", 999).await.unwrap(), None, "the summary waits for the first alert");
    assert_eq!(store.pending_alerts("oncall").await.unwrap(), PendingAlerts { count: 2, next_due: Some(0) });
    let retried = store.next_alert("oncall", 1_000).await.unwrap().unwrap();
    assert_eq!((retried.number, retried.attempts), (first.number, 1));
    store.record_refused_alert("oncall", retried.number, "status 400").await.unwrap();
    let refused = Circuit { refusals: 1, error: "status 400".into(), ..Circuit::default() };
    assert_eq!(store.circuit("oncall").await.unwrap(), refused, "refusals are counted without a circuit, too");
    let summary = store.next_alert("oncall", 1_000).await.unwrap().unwrap();
    assert_eq!(summary.alert.kind, AlertKind::Summary);
    store.record_sent("oncall", summary.number, NOW).await.unwrap();
    assert_eq!(store.circuit("oncall").await.unwrap(), Circuit::default(), "a success ends the row");
    assert_eq!(store.pending_alerts("oncall").await.unwrap(), PendingAlerts { count: 0, next_due: None });

    // Old events, suppressed findings and rules below the level of the route cause no alerts.
    let mut suppressed = finding(3, 20, NOW, 1);
    suppressed.suppression = Some("migration".into());
    let mut low = finding(4, 21, NOW, 1);
    low.rule.level = "low".into();
    let silent = record(&[suppressed, low, finding(5, 22, NOW - 86_401, 1)], NOW).await;
    assert_eq!(silent, RecordedFindings { new: 3, ..Default::default() });
    assert_eq!(store.close_windows(&routes, 0, NOW + 9_000).await.unwrap(), 3);
    assert_eq!(store.alerts().await, []);
    assert_eq!(store.contents().await.windows.len(), 4, "a suppressed finding is in no window");

    // The limit of findings in an hour.
    let few = Grouping { findings_per_hour: 3, ..Grouping::default() };
    // Suppressed findings have a limit of their own.
    let harmless = |event| DetectionFinding { suppression: Some("migration".into()), ..finding(6, event, NOW, 0) };
    let suppressed: Vec<_> = (200..205).map(harmless).collect();
    let recorded = store.record_findings(&suppressed, &few, &routes, NOW).await.unwrap();
    assert_eq!(recorded, RecordedFindings { new: 5, overflow: 2, ..Default::default() });
    let many: Vec<_> = (0..10).map(|event| finding(6, 100 + event, NOW, event)).collect();
    let before = store.contents().await.detailed;
    let recorded = store.record_findings(&many, &few, &routes, NOW).await.unwrap();
    assert_eq!(recorded, RecordedFindings { new: 10, overflow: 7, alerts: 4, ..Default::default() });
    let recorded = store.record_findings(&[finding(6, 120, NOW, 0)], &few, &routes, NOW).await.unwrap();
    assert_eq!(recorded, RecordedFindings { new: 1, overflow: 1, ..Default::default() });
    assert_eq!(store.contents().await.detailed, before + 3);
    let recorded = store.record_findings(&many, &few, &routes, NOW).await.unwrap();
    assert_eq!(recorded, RecordedFindings { repeated: 10, ..Default::default() });
    let first = AlertKind::First;
    assert_eq!(kinds(&store.alerts().await), [first, first, first, AlertKind::Overflow]);
}

#[tokio::test]
async fn sqlite_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conforms(&StateDatabase::open(&folder.path().join(STATE_FILE)).unwrap()).await;
}

#[tokio::test]
async fn dynamodb_on_ministack_conforms() {
    conforms(&Table::create(Emulator::shared_ministack(), "suite").await).await;
}

#[tokio::test]
async fn dynamodb_on_moto_conforms() {
    conforms(&Table::create(Emulator::shared_moto(), "suite").await).await;
}

/// After a change of the length, a finding is in a new window, also if a closed one has the same start.
async fn changed_window_alerts(store: &impl Inspected) {
    let midnight = NOW.div_euclid(86_400) * 86_400;
    let record = async |event, window| {
        let grouping = Grouping { window: Duration::from_secs(window), ..Grouping::default() };
        store.record_findings(&[finding(1, event, midnight, 1)], &grouping, &routes(), midnight).await.unwrap()
    };
    record(1, 3_600).await;
    assert_eq!(store.close_windows(&routes(), 0, midnight + 3_600).await.unwrap(), 1);
    assert_eq!(record(2, 86_400).await, RecordedFindings { new: 1, alerts: 1, ..Default::default() });
    assert_eq!(store.close_windows(&routes(), 0, midnight + 86_399).await.unwrap(), 0);
    assert_eq!(store.close_windows(&routes(), 0, midnight + 86_400).await.unwrap(), 1);
}

#[tokio::test]
async fn changed_window_alerts_in_every_store() {
    let folder = tempfile::tempdir().unwrap();
    changed_window_alerts(&StateDatabase::open(&folder.path().join(STATE_FILE)).unwrap()).await;
    changed_window_alerts(&Table::create(Emulator::shared_ministack(), "changed").await).await;
}

/// Checks what users read and change. It is the same in every store.
async fn review_conforms(store: &(impl FindingStore + FindingReview)) {
    let mut suppressed = finding(1, 3, NOW + 3, 1);
    suppressed.suppression = Some("migration".into());
    let mut undated = finding(2, 4, 0, 1);
    undated.event.time = None;
    let recorded = [finding(1, 1, NOW + 1, 1), finding(2, 2, NOW + 2, 1), suppressed.clone(), undated.clone()];
    store.record_findings(&recorded, &Grouping::default(), &routes(), NOW).await.unwrap();
    let every = FindingFilter { limit: 100, ..FindingFilter::default() };
    let list = async |filter: &FindingFilter| -> Vec<String> {
        FindingReview::findings(store, filter).await.unwrap().into_iter().map(|stored| stored.id).collect()
    };
    let ids: Vec<String> = recorded.iter().map(|finding| finding.id().to_string()).collect();
    let [first, second, third, fourth] = [0, 1, 2, 3].map(|at: usize| ids[at].clone());
    // The newest first. Without a valid time of the event, the time of recording counts.
    assert_eq!(list(&every).await, [third.clone(), second.clone(), first.clone(), fourth.clone()]);
    assert_eq!(list(&FindingFilter { limit: 2, ..every.clone() }).await, [third.clone(), second.clone()]);
    let of_rule = FindingFilter { rule: Some("rule-2".into()), ..every.clone() };
    assert_eq!(list(&of_rule).await, [second.clone(), fourth.clone()]);
    let since = FindingFilter { since: Some(NOW + 2), ..every.clone() };
    assert_eq!(list(&since).await, [third.clone(), second.clone()]);
    let in_state = |state| FindingFilter { state: Some(state), ..every.clone() };
    assert_eq!(list(&in_state(FindingState::Suppressed)).await, std::slice::from_ref(&third));

    for id in [&first, &fourth] {
        let found = FindingReview::findings_by_id(store, &id[..12].to_uppercase()).await.unwrap();
        let [stored] = &found[..] else { panic!("{found:?}") };
        FindingReview::set_finding_state(store, stored, FindingState::Closed, Some("planned")).await.unwrap();
        FindingReview::set_finding_state(store, stored, FindingState::Acknowledged, None).await.unwrap();
    }
    let acknowledged = FindingReview::findings(store, &in_state(FindingState::Acknowledged)).await.unwrap();
    let notes: Vec<_> = acknowledged.iter().map(|stored| (stored.id.as_str(), stored.note.as_deref())).collect();
    assert_eq!(notes, [(first.as_str(), Some("planned")), (fourth.as_str(), Some("planned"))]);
    assert_eq!(acknowledged[0].finding.as_ref(), Some(&recorded[0]));
    assert_eq!(FindingReview::findings_by_id(store, "").await.unwrap().len(), 2, "at most two");
    // A replay does not open a finding again.
    store.record_findings(&recorded, &Grouping::default(), &routes(), NOW).await.unwrap();
    assert_eq!(list(&in_state(FindingState::Acknowledged)).await.len(), 2);

    let reports = FindingReview::rule_reports(store).await.unwrap();
    let counts: Vec<_> = reports.iter().map(|report| (report.rule.as_str(), report.findings, report.windows)).collect();
    assert_eq!(counts, [("rule-1", 2, 1), ("rule-2", 2, 2)]);

    let pending = FindingReview::alerts(store, Some(AlertState::Pending), 100).await.unwrap();
    assert_eq!(pending.len(), 3);
    let circuit = Circuit { failures: 5, refusals: 0, open_until: i64::MAX, error: "status 500".into() };
    store.record_retry("oncall", pending[0].number, i64::MAX, &circuit).await.unwrap();
    store.record_failed("oncall", pending[1].number, "status 400").await.unwrap();
    let failed = FindingReview::alerts(store, Some(AlertState::Failed), 100).await.unwrap();
    let [stored] = &failed[..] else { panic!("{failed:?}") };
    assert_eq!((stored.number, stored.error.as_deref()), (pending[1].number, Some("status 400")));
    assert_eq!(FindingReview::retry_alerts(store, &[0], NOW).await.unwrap(), 0, "no failed alert has this number");
    assert_eq!(store.circuit("oncall").await.unwrap(), circuit, "nothing changes");
    assert_eq!(store.pending_alerts("oncall").await.unwrap(), PendingAlerts { count: 2, next_due: Some(0) });
    assert_eq!(FindingReview::retry_alerts(store, &[], NOW + 9).await.unwrap(), 1);
    assert_eq!(store.circuit("oncall").await.unwrap(), Circuit::default());
    assert_eq!(
        store.pending_alerts("oncall").await.unwrap(),
        PendingAlerts { count: 3, next_due: Some(0) },
        "all are due at once"
    );
    store.record_sent("oncall", pending[0].number, NOW).await.unwrap();
    let retried = FindingReview::alerts(store, None, 100).await.unwrap();
    let retried = retried.iter().find(|alert| alert.number == pending[1].number).unwrap();
    assert_eq!((retried.state.as_str(), retried.attempts, retried.due), ("pending", 0, 0));
}

#[tokio::test]
async fn review_of_sqlite_conforms() {
    let folder = tempfile::tempdir().unwrap();
    review_conforms(&StateDatabase::open(&folder.path().join(STATE_FILE)).unwrap()).await;
}

#[tokio::test]
async fn review_of_dynamodb_conforms() {
    for emulator in [Emulator::shared_ministack(), Emulator::shared_moto()] {
        review_conforms(&Table::create(emulator, "review").await.store).await;
    }
}

/// Records findings in a random order, in batches of random sizes, with repetitions, while windows are closed.
async fn record_in_random_order(store: &impl Inspected, findings: &[DetectionFinding], random: &mut fastrand::Rng) {
    let grouping = Grouping { findings_per_hour: 4, ..Grouping::default() };
    let repeated: Vec<_> = findings.iter().filter(|_| random.bool()).cloned().collect();
    let mut order = [findings, &repeated].concat();
    random.shuffle(&mut order);
    let (mut now, mut rest) = (NOW, &order[..]);
    while !rest.is_empty() {
        let (batch, others) = rest.split_at(random.usize(1..=rest.len()));
        store.record_findings(batch, &grouping, &routes(), now).await.unwrap();
        store.close_windows(&routes(), 900, now).await.unwrap();
        now += random.i64(0..3_600);
        rest = others;
    }
    let alerts = store.alerts().await;
    let distinct: BTreeSet<String> = alerts.iter().map(Alert::id).collect();
    assert_eq!(distinct.len(), alerts.len(), "a window has at most one first alert and one summary");
}

#[tokio::test]
async fn ten_random_orders_with_repetitions_have_the_same_results_in_both_stores() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let findings: Vec<_> = (0..60)
        .map(|event| finding(random.u32(0..3), event, NOW + random.i64(-7_200..7_200), random.u32(0..3)))
        .collect();
    let mut expected = None;
    for order in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let sqlite = StateDatabase::open(&folder.path().join(STATE_FILE)).unwrap();
        record_in_random_order(&sqlite, &findings, &mut random).await;
        let table = Table::create(Emulator::shared_ministack(), &format!("order-{order}")).await;
        record_in_random_order(&table, &findings, &mut random).await;
        let contents = sqlite.contents().await;
        assert_eq!(contents, table.contents().await, "{seed}");
        assert_eq!(contents.windows.values().sum::<i64>(), 60, "{seed}");
        assert_eq!(*expected.get_or_insert(contents), sqlite.contents().await, "{seed}");
    }
}

/// Records the same findings with several processes at the same time, and loses replies.
#[tokio::test]
async fn concurrent_writers_count_each_finding_once() {
    let table = Table::create(Emulator::shared_ministack(), "concurrent").await;
    let faults = Faults::before(Emulator::shared_ministack());
    faults.on("TransactWriteItems", 1..3, Fault::LoseReply);
    let store = Arc::new(DynamoFindings::new(aws::dynamodb(&faults.config()), "concurrent", KEEP));
    let findings: Vec<_> = (0..90).map(|event| finding(1, event, NOW + i64::from(event), 1)).collect();
    let writers = (0..4usize).map(|writer| {
        let (store, mut findings) = (Arc::clone(&store), findings.clone());
        tokio::spawn(async move {
            findings.rotate_left(writer * 20);
            for batch in findings.chunks(15) {
                store.record_findings(batch, &Grouping::default(), &routes(), NOW).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let contents = table.contents().await;
    assert_eq!((contents.findings.len(), contents.windows.values().sum::<i64>()), (90, 90));
    assert_eq!(kinds(&table.alerts().await), [AlertKind::First]);
    assert!(store.consumed_units().1 > 0, "the emulator reports consumed units");
}

/// A conflict with another transaction is repeated: the result of an attempt is not lost.
#[tokio::test]
async fn conflict_of_transactions_is_repeated() {
    let table = Table::create(Emulator::shared_ministack(), "conflict").await;
    let faults = Faults::before(Emulator::shared_ministack());
    let store = DynamoFindings::new(aws::dynamodb(&faults.config()), "conflict", KEEP);
    faults.on("TransactWriteItems", 0..1, Fault::Conflict);
    store.record_findings(&[finding(1, 1, NOW, 1)], &Grouping::default(), &routes(), NOW).await.unwrap();
    assert_eq!(faults.count("TransactWriteItems"), 2);
    let alert = store.next_alert("oncall", NOW).await.unwrap().unwrap();

    faults.clear_calls();
    store.record_failed("oncall", alert.number, "status 400").await.unwrap();
    assert_eq!(store.next_alert("oncall", NOW).await.unwrap(), None);

    faults.clear_calls();
    assert_eq!(FindingReview::retry_alerts(&store, &[alert.number], NOW).await.unwrap(), 1);

    faults.clear_calls();
    store.record_sent("oncall", alert.number, NOW).await.unwrap();
    assert!(table.alerts().await.is_empty());
}

#[tokio::test]
async fn alerts_of_a_group_are_in_order_if_several_processes_record_them() {
    let table = Table::create(Emulator::shared_ministack(), "processes").await;
    let process = || DynamoFindings::new(aws::dynamodb(&Emulator::shared_ministack().config()), "processes", KEEP);
    for group in 0..10 {
        let pair = [finding(1, 2 * group, NOW, group), finding(1, 2 * group + 1, NOW, group)];
        process().record_findings(&pair, &Grouping::default(), &routes(), NOW).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
        process().close_windows(&routes(), 0, NOW + 3_600).await.unwrap();
    }
    let kinds = kinds(&table.alerts().await);
    assert_eq!(kinds, [[AlertKind::First, AlertKind::Summary]; 10].concat());
}

/// A store with a retention of [`Duration::MAX`] keeps everything: DynamoDB does not delete an item that expires in 9999.
#[tokio::test]
async fn items_that_are_kept_for_any_time_expire_in_9999() {
    let table = Table::create(Emulator::shared_ministack(), "kept").await;
    let client = aws::dynamodb(&Emulator::shared_ministack().config());
    let store = DynamoFindings::new(client, "kept", Duration::MAX);
    store.record_findings(&[finding(1, 1, NOW, 1)], &Grouping::default(), &routes(), NOW).await.unwrap();
    let items = table.items().await;
    let expiring: Vec<_> = items.iter().filter(|item| item.contains_key("expires")).collect();
    assert_eq!(expiring.len(), 4, "the finding, its count, its window and its alert");
    assert!(expiring.iter().all(|item| number(item, "expires") == 253_402_300_799), "{expiring:?}");
}

#[tokio::test]
async fn one_process_at_a_time_sends_to_a_destination() {
    let Table { store, .. } = Table::create(Emulator::shared_ministack(), "lease").await;
    let lease = store.lease("oncall", NOW, NOW + 60).await.unwrap().unwrap();
    assert!(store.lease("oncall", NOW + 59, NOW + 120).await.unwrap().is_none());
    assert!(store.lease("other", NOW, NOW + 60).await.unwrap().is_some(), "each destination has a lease of its own");
    let taken = store.lease("oncall", NOW + 60, NOW + 120).await.unwrap().expect("the first lease is over");
    store.release(lease).await.unwrap();
    assert!(store.lease("oncall", NOW + 61, NOW + 120).await.unwrap().is_none(), "only the holder ends a lease");
    store.release(taken).await.unwrap();
    assert!(store.lease("oncall", NOW + 61, NOW + 120).await.unwrap().is_some());
}

/// `docs/cost.md` contains the write units of findings, as the emulator counts them. It does not count the units of
/// `BatchGetItem`.
#[tokio::test]
async fn units_of_findings_are_those_of_the_cost_page() {
    let Table { store, .. } = Table::create(Emulator::shared_ministack(), "units").await;
    let page = std::fs::read_to_string(bed::root().join("docs/cost.md")).unwrap();
    let (mut before, mut missing) = (0, Vec::new());
    let mut row = |what: &str| {
        let (_, now) = store.consumed_units();
        let row = format!("| {what} | {} |", now - before);
        before = now;
        if !page.contains(&row) {
            missing.push(row);
        }
    };
    let record = async |findings: &[DetectionFinding]| {
        store.record_findings(findings, &Grouping::default(), &routes(), NOW).await.unwrap();
    };
    let findings: Vec<_> = (0..41).map(|event| finding(1, event, NOW, 1)).collect();
    record(&findings[..1]).await;
    row("first finding of a window, with its alert");
    record(&findings[1..]).await;
    row("40 further findings of the window in one object");
    record(&findings[1..]).await;
    row("the same 40 findings again");
    let few = Grouping { findings_per_hour: 0, ..Grouping::default() };
    let excess: Vec<_> = (100..140).map(|event| finding(1, event, NOW, 1)).collect();
    store.record_findings(&excess, &few, &[], NOW).await.unwrap();
    row("40 findings over the limit of their hour");
    store.close_windows(&routes(), 0, NOW + 9_000).await.unwrap();
    row("closing the window, with its summary");
    assert_eq!(missing, [""; 0], "rows that docs/cost.md does not have");
}
