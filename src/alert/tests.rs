use super::*;
use crate::backoff::Pace;
use crate::finding::{AlertKind, AlertWindow, DetectionFinding, EventPointer, Grouping, RuleSummary};
use crate::finding_store::{Circuit, Route};
use crate::state::{AlertState, STATE_FILE, StateDatabase, StateError};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;
use trailhose_rules::RuleLevel;

const NOW: i64 = 1_793_530_800;

fn finding(event: u32, principal: u32) -> DetectionFinding {
    let rule = RuleSummary {
        id: "rule".into(),
        title: "Trail stopped".into(),
        level: "high".into(),
        ..RuleSummary::default()
    };
    let event = EventPointer {
        id: format!("event-{event}"),
        time: Some(NOW + i64::from(event)),
        account: "111122223333".into(),
        region: "eu-west-1".into(),
        name: "StopLogging".into(),
        principal: format!("user-{principal}"),
        ..EventPointer::default()
    };
    DetectionFinding::new(rule, event, [("eventName", "StopLogging")])
}

pub(super) fn alert(kind: AlertKind, event: u32) -> Alert {
    Alert {
        kind,
        group: format!("group-{event}"),
        window: AlertWindow { start: NOW, end: NOW + 3_600 },
        count: 1,
        finding: finding(event, 1),
        recorded: NOW,
    }
}

/// A destination that answers from a list, and then acknowledges everything.
#[derive(Debug, Default)]
struct TestDestination {
    /// The IDs and groups of the alerts in the order in which they were received, and whether they were acknowledged.
    received: Mutex<Vec<(String, String, bool)>>,
    answers: Mutex<Vec<SendOutcome>>,
    /// The number of requests that fail before the answers.
    failures: AtomicU64,
}

impl TestDestination {
    fn answering(answers: impl IntoIterator<Item = SendOutcome>) -> Arc<Self> {
        let answers = Mutex::new(answers.into_iter().collect());
        Arc::new(Self { answers, ..Self::default() })
    }

    /// Returns the IDs of the alerts that were acknowledged.
    fn delivered(&self) -> Vec<String> {
        let received = self.received.lock().unwrap();
        received.iter().filter(|(.., delivered)| *delivered).map(|(id, ..)| id.clone()).collect()
    }
}

#[async_trait]
impl AlertDestination for TestDestination {
    fn name(&self) -> &str {
        "oncall"
    }

    async fn send(&self, alert: &Alert, _: i64) -> SendOutcome {
        let fails = self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let mut answers = self.answers.lock().unwrap();
        let outcome = match fails {
            true => SendOutcome::Retry { after: None, reason: "status 500".into() },
            false if answers.is_empty() => SendOutcome::Delivered,
            false => answers.remove(0),
        };
        let is_delivered = outcome == SendOutcome::Delivered;
        self.received.lock().unwrap().push((alert.id(), alert.group.clone(), is_delivered));
        outcome
    }
}

/// Returns a policy whose waits are a few milliseconds.
fn short() -> SendPolicy {
    let milliseconds = Duration::from_millis;
    SendPolicy {
        retries: Pace { base: milliseconds(1), cap: milliseconds(20) },
        open_circuit: Pace { base: milliseconds(10), cap: milliseconds(40) },
        final_send_time: milliseconds(5_000),
        pause_after_error: milliseconds(5),
        // The findings of these tests were recorded long ago.
        give_up: Duration::MAX,
        ..SendPolicy::default()
    }
}

fn routes() -> Vec<Route> {
    vec![Route { destination: "oncall".into(), min_level: RuleLevel::Informational }]
}

fn open_state(folder: &Path) -> Arc<StateDatabase> {
    Arc::new(StateDatabase::open(&folder.join(STATE_FILE)).unwrap())
}

/// Sends everything that is due, as at the end of a sync.
async fn send(
    state: &Arc<StateDatabase>,
    recorder: &Arc<TestDestination>,
    policy: SendPolicy,
) -> Result<SendReport, StateError> {
    let (_sender, ends) = watch::channel(true);
    let destination: Arc<dyn AlertDestination> = recorder.clone();
    AlertSender::new(Arc::clone(state), vec![destination], policy).run(ends).await
}

#[tokio::test]
async fn destination_that_fails_for_long_gets_every_alert_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let state = open_state(folder.path());
    let grouping = Grouping::default();
    let findings: Vec<DetectionFinding> = (0..40).map(|event| finding(event, event % 8)).collect();
    state.record_findings(&findings, &grouping, &routes(), NOW).unwrap();
    state.close_windows(&routes(), 0, NOW + 7_200).unwrap();
    let recorder = Arc::new(TestDestination { failures: AtomicU64::new(60), ..TestDestination::default() });
    let mut total = SendReport::default();
    // Each run ends at an open circuit. In `sync --watch`, the same process continues.
    while total.sent == 0 || state.pending_alerts("oncall").unwrap().count > 0 {
        let report = send(&state, &recorder, short()).await.unwrap();
        total.sent += report.sent;
        total.retried += report.retried;
        assert_eq!(report.failed, 0);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((total.sent, total.retried), (16, 60));
    let received = recorder.received.lock().unwrap();
    for stored in state.alerts(None, 100).unwrap().iter().filter(|stored| stored.alert.kind == AlertKind::Summary) {
        let ids: Vec<&String> = received
            .iter()
            .filter(|(_, group, delivered)| *delivered && *group == stored.alert.group)
            .map(|(id, ..)| id)
            .collect();
        assert_eq!(ids.len(), 2);
        assert_eq!(*ids[1], stored.alert.id(), "the summary is after the first alert");
    }
}

#[tokio::test]
async fn open_circuit_lets_only_probes_pass() {
    let folder = tempfile::tempdir().unwrap();
    let state = open_state(folder.path());
    let findings: Vec<DetectionFinding> = (0..50).map(|event| finding(event, event)).collect();
    state.record_findings(&findings, &Grouping::default(), &routes(), NOW).unwrap();
    let recorder = Arc::new(TestDestination { failures: AtomicU64::new(u64::MAX), ..TestDestination::default() });
    let seconds = Duration::from_secs;
    let open_circuit = Pace { base: seconds(60), cap: seconds(60) };
    let report = send(&state, &recorder, SendPolicy { open_circuit, ..short() }).await.unwrap();
    assert_eq!((report.retried, report.pending), (5, 50), "no sixth request within a minute");
    let circuit = state.circuit("oncall").unwrap();
    assert_eq!((circuit.failures, circuit.error.as_str()), (5, "status 500"));
    state.retry_alerts(&[], NOW).unwrap();
    recorder.failures.store(0, Ordering::SeqCst);
    assert_eq!(send(&state, &recorder, short()).await.unwrap().sent, 50);
}

#[tokio::test]
async fn blocked_destination_keeps_its_alerts_and_a_refused_alert_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    let state = open_state(folder.path());
    let findings: Vec<DetectionFinding> = (0..3).map(|event| finding(event, event)).collect();
    state.record_findings(&findings, &Grouping::default(), &routes(), NOW).unwrap();
    let reason = || "status".to_owned();
    let recorder = TestDestination::answering([
        SendOutcome::DestinationUnusable { reason: reason() },
        SendOutcome::AlertRefused { reason: reason() },
        SendOutcome::Delivered,
    ]);
    let minute = Duration::from_secs(60);
    let policy = SendPolicy { open_circuit: Pace { base: minute, cap: minute }, ..short() };
    let report = send(&state, &recorder, policy).await.unwrap();
    assert_eq!(
        (report.sent, report.retried, report.pending),
        (0, 1, 3),
        "nothing else is sent to a blocked destination"
    );
    // Closes the circuit.
    state.retry_alerts(&[], NOW).unwrap();
    let report = send(&state, &recorder, short()).await.unwrap();
    assert_eq!((report.sent, report.retried, report.failed, report.pending), (2, 0, 1, 0));
    assert_eq!(state.alerts(Some(AlertState::Failed), 10).unwrap().len(), 1);
}

/// `Retry-After` concerns the destination, so it delays each of its alerts.
#[tokio::test]
async fn wait_that_a_destination_asks_for_delays_all_of_its_alerts() {
    let folder = tempfile::tempdir().unwrap();
    let state = open_state(folder.path());
    let findings: Vec<DetectionFinding> = (0..2).map(|event| finding(event, event)).collect();
    state.record_findings(&findings, &Grouping::default(), &routes(), NOW).unwrap();
    let asked = SendOutcome::Retry { after: Some(Duration::from_secs(60)), reason: "status 429".into() };
    let recorder = TestDestination::answering([asked]);
    let before = jiff::Timestamp::now().as_millisecond();
    let report = send(&state, &recorder, short()).await.unwrap();
    assert_eq!((report.sent, report.retried, report.pending), (0, 1, 2), "the other alert is not sent either");
    assert!(state.circuit("oncall").unwrap().open_until >= before + 60_000);
    assert!(state.next_alert("oncall", before + 59_000).unwrap().is_some_and(|next| next.attempts == 0));
}

/// Waits until a condition holds, for at most 10 seconds.
async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}");
}

#[tokio::test]
async fn sender_continues_after_an_error_of_the_store_and_sends_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let state = open_state(folder.path());
    let record = |event| state.record_findings(&[finding(event, event)], &Grouping::default(), &routes(), NOW).unwrap();
    record(0);
    let commits = Arc::new(AtomicU64::new(1_000));
    state.fail_commits_after(1_000, &commits);
    let recorder = Arc::new(TestDestination::default());
    let (sender, ends) = watch::channel(false);
    let running = {
        let destination: Arc<dyn AlertDestination> = recorder.clone();
        let sender = AlertSender::new(Arc::clone(&state), vec![destination], short());
        tokio::spawn(async move { sender.run(ends).await })
    };
    wait_until("several errors", || commits.load(Ordering::SeqCst) > 1_003).await;
    assert_eq!(state.pending_alerts("oncall").unwrap().count, 1);
    commits.store(0, Ordering::SeqCst);
    wait_until("the result is stored", || state.pending_alerts("oncall").unwrap().count == 0).await;
    record(1);
    wait_until("the sender continues", || state.pending_alerts("oncall").unwrap().count == 0).await;
    sender.send_replace(true);
    assert_eq!(running.await.unwrap().unwrap(), SendReport { sent: 2, ..SendReport::default() });
    assert_eq!(recorder.received.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn refusals_in_a_row_open_the_circuit_and_another_alert_is_the_probe() {
    let folder = tempfile::tempdir().unwrap();
    let state = open_state(folder.path());
    let findings: Vec<DetectionFinding> = (0..8).map(|event| finding(event, event)).collect();
    state.record_findings(&findings, &Grouping::default(), &routes(), NOW).unwrap();
    let recorder = TestDestination::answering(vec![SendOutcome::AlertRefused { reason: "status 400".into() }; 7]);
    let wait = Duration::from_millis(400);
    let policy = SendPolicy { open_circuit: Pace { base: wait, cap: wait }, ..short() };
    let report = send(&state, &recorder, policy).await.unwrap();
    assert_eq!((report.failed, report.retried, report.pending), (5, 1, 3));
    // A later process continues: the destination still refuses everything.
    for (sent, failed, retried) in [(0, 0, 1), (3, 0, 0)] {
        wait_until("a probe", || state.circuit("oncall").unwrap().open_until < jiff::Timestamp::now().as_millisecond())
            .await;
        let policy = SendPolicy { final_send_time: Duration::from_millis(if sent == 0 { 0 } else { 5_000 }), ..policy };
        let report = send(&state, &recorder, policy).await.unwrap();
        assert_eq!((report.sent, report.failed, report.retried), (sent, failed, retried));
    }
    let received = recorder.received.lock().unwrap();
    let order: Vec<usize> =
        received.iter().map(|(id, ..)| received.iter().position(|(first, ..)| first == id).unwrap()).collect();
    assert_eq!(order[..7], [0, 1, 2, 3, 4, 5, 6], "each probe is another alert");
    assert_eq!(state.pending_alerts("oncall").unwrap().count, 0, "{order:?}");
    assert_eq!(state.alerts(Some(AlertState::Failed), 10).unwrap().len(), 5);
}

/// Each run has one alert. A destination that refuses everything must not make one after the other fail.
#[tokio::test]
async fn refusals_of_several_runs_open_the_circuit() {
    let folder = tempfile::tempdir().unwrap();
    let refuses = || TestDestination::answering([SendOutcome::AlertRefused { reason: "status 400".into() }]);
    let record = |event: u32| {
        let state = open_state(folder.path());
        state.record_findings(&[finding(event, event)], &Grouping::default(), &routes(), NOW).unwrap();
        state
    };
    let policy = SendPolicy { final_send_time: Duration::ZERO, ..short() };
    // An acknowledged alert ends the row.
    for event in 0..5 {
        assert_eq!(send(&record(event), &refuses(), policy).await.unwrap().failed, 1, "{event}");
    }
    assert_eq!(record(5).circuit("oncall").unwrap().refusals, 5);
    let state = open_state(folder.path());
    assert_eq!(send(&state, &Arc::new(TestDestination::default()), policy).await.unwrap().sent, 1);
    assert_eq!(state.circuit("oncall").unwrap(), Circuit::default());
    for event in 6..11 {
        assert_eq!(send(&record(event), &refuses(), policy).await.unwrap().failed, 1, "{event}");
    }
    let minute = Duration::from_secs(60);
    let policy = SendPolicy { open_circuit: Pace { base: minute, cap: minute }, ..policy };
    let report = send(&record(11), &refuses(), policy).await.unwrap();
    assert_eq!((report.failed, report.retried, report.pending), (0, 1, 1), "the circuit opens");
    let report = send(&record(12), &refuses(), policy).await.unwrap();
    assert_eq!((report.failed, report.retried, report.pending), (0, 0, 2), "nothing is sent");
    let circuit = open_state(folder.path()).circuit("oncall").unwrap();
    assert!(circuit.refusals == 5 && circuit.failures >= policy.failures_to_open, "{circuit:?}");
}

#[tokio::test]
async fn waits_that_were_stored_while_the_clock_was_ahead_are_over() {
    let folder = tempfile::tempdir().unwrap();
    let state = open_state(folder.path());
    // The first alert and the summary of one group.
    state.record_findings(&[finding(0, 1), finding(1, 1)], &Grouping::default(), &routes(), NOW).unwrap();
    state.close_windows(&routes(), 0, NOW + 7_200).unwrap();
    let now = jiff::Timestamp::now().as_millisecond();
    let number = state.next_alert("oncall", now).unwrap().unwrap().number;
    let recorder = Arc::new(TestDestination::default());
    let hour = 3_600_000;
    for (wait, sent) in [(hour, 0), (10 * 365 * 24 * hour, 2)] {
        let until = now + wait;
        let circuit = Circuit { failures: 1, open_until: until, ..Circuit::default() };
        state.record_retry("oncall", number, until, &circuit).unwrap();
        assert_eq!(send(&state, &recorder, short()).await.unwrap().sent, sent, "circuit {wait}");
        if sent == 0 {
            let circuit = Circuit { open_until: 0, ..circuit };
            state.record_retry("oncall", number, until, &circuit).unwrap();
            let policy = SendPolicy { final_send_time: Duration::from_millis(100), ..short() };
            assert_eq!(send(&state, &recorder, policy).await.unwrap().sent, sent, "alert {wait}");
        }
    }
}

#[tokio::test]
async fn alert_is_given_up_after_the_time_and_the_attempts() {
    let folder = tempfile::tempdir().unwrap();
    let state = open_state(folder.path());
    state.record_findings(&[finding(0, 0)], &Grouping::default(), &routes(), NOW).unwrap();
    let recorder = Arc::new(TestDestination { failures: AtomicU64::new(u64::MAX), ..TestDestination::default() });
    let policy = SendPolicy { give_up: Duration::ZERO, ..short() };
    // The alert was recorded at `NOW`, which is in the past.
    state.retry_alerts(&[], 0).unwrap();
    let pending = |state: &StateDatabase| state.alerts(Some(AlertState::Pending), 1).unwrap();
    assert_eq!(pending(&state)[0].alert.recorded, NOW);
    let policy = SendPolicy { failures_to_open: u32::MAX, ..policy };
    let report = send(&state, &recorder, policy).await.unwrap();
    assert_eq!(report.failed, 1);
    assert_eq!(u64::from(sender::MIN_ATTEMPTS), report.retried + report.failed);
}

/// Records findings, closes their windows, and sends the alerts.
async fn work(state: &Arc<StateDatabase>, recorder: &Arc<TestDestination>) -> Result<(), StateError> {
    let grouping = Grouping::default();
    for batch in [[finding(0, 1), finding(1, 1)], [finding(2, 2), finding(3, 1)]] {
        state.record_findings(&batch, &grouping, &routes(), NOW)?;
    }
    state.close_windows(&routes(), 0, NOW + 7_200)?;
    send(state, recorder, short()).await.map(drop)
}

/// Stops the work before each write of the state database in turn, and then repeats it.
#[tokio::test]
async fn crash_before_each_write_loses_nothing_and_repeats_only_the_unrecorded_alert() {
    let mut repeated = 0;
    for crash_at in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let recorder = Arc::new(TestDestination { failures: AtomicU64::new(1), ..TestDestination::default() });
        let state = open_state(folder.path());
        let commits = Arc::new(AtomicU64::new(0));
        state.fail_commits_after(crash_at, &commits);
        let crashed = work(&state, &recorder).await;
        let before = recorder.delivered().len();
        drop(state);
        let state = open_state(folder.path());
        work(&state, &recorder).await.unwrap();

        let findings = state.findings(&crate::state::FindingFilter { limit: 100, ..Default::default() }).unwrap();
        assert_eq!(findings.len(), 4, "{crash_at}");
        let delivered = recorder.delivered();
        let distinct: std::collections::HashSet<&String> = delivered.iter().collect();
        assert_eq!(distinct.len(), 3, "{crash_at}: two first alerts and a summary");
        let twice = delivered.len() - distinct.len();
        assert!(twice <= 1, "{crash_at}: {delivered:?}");
        if twice == 1 {
            assert_eq!(delivered[before - 1], delivered[before], "{crash_at}: only the last one is repeated");
        }
        repeated += twice;
        if crashed.is_ok() {
            assert!(
                crash_at >= 7,
                "findings, windows, a failed attempt and three alerts are written one after another"
            );
            break;
        }
    }
    assert_eq!(repeated, 3, "each alert is repeated once: when the process stops before it is recorded as sent");
}
