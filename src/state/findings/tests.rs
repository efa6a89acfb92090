use super::*;
use crate::finding::{EventPointer, RuleSummary};
use crate::finding_store::{Circuit, PendingAlerts};
use crate::state::{AlertState, STATE_FILE};
use proptest::prelude::*;
use trailhose_rules::RuleLevel;

const NOW: i64 = 1_793_530_800;

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

struct Opened {
    _folder: tempfile::TempDir,
    state: StateDatabase,
}

fn open() -> Opened {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDatabase::open(&folder.path().join(STATE_FILE)).unwrap();
    Opened { _folder: folder, state }
}

fn alert_kinds(state: &StateDatabase) -> Vec<AlertKind> {
    state.alerts(None, 1_000).unwrap().iter().map(|stored| stored.alert.kind).collect()
}

/// Returns the windows with their counts of findings. The counts of late findings are omitted, because they depend on when
/// a finding is recorded.
fn windows(state: &StateDatabase) -> Vec<(String, i64, i64)> {
    let connection = state.connection();
    let mut found = connection.prepare("SELECT group_id, start, findings FROM windows ORDER BY 1, 2").unwrap();
    found
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap()
}

fn ids(state: &StateDatabase) -> Vec<String> {
    let filter = FindingFilter { limit: u32::MAX, ..FindingFilter::default() };
    let mut ids: Vec<String> = state.findings(&filter).unwrap().into_iter().map(|stored| stored.id).collect();
    ids.sort();
    ids
}

#[test]
fn first_finding_alerts_and_closing_sends_one_summary() {
    let Opened { state, .. } = &open();
    let grouping = Grouping::default();
    let findings: Vec<DetectionFinding> = (0..5).map(|event| finding(1, event, NOW + i64::from(event), 1)).collect();
    let recorded = state.record_findings(&findings, &grouping, &routes(), NOW).unwrap();
    assert_eq!(recorded, RecordedFindings { new: 5, alerts: 1, ..RecordedFindings::default() });
    let repeated = state.record_findings(&findings, &grouping, &routes(), NOW + 1).unwrap();
    assert_eq!(repeated, RecordedFindings { repeated: 5, ..RecordedFindings::default() });
    assert_eq!(state.close_windows(&routes(), 900, NOW + 3_600 + 899).unwrap(), 0, "the grace period is not over");
    assert_eq!(state.close_windows(&routes(), 900, NOW + 3_600 + 900).unwrap(), 1);
    assert_eq!(state.close_windows(&routes(), 900, NOW + 9_000).unwrap(), 0, "a window is closed once");
    assert_eq!(alert_kinds(state), [AlertKind::First, AlertKind::Summary]);
    let summary = &state.alerts(None, 10).unwrap()[1].alert;
    assert_eq!(
        (summary.count, &summary.finding),
        (5, &findings[0]),
        "the summary contains the finding of the first alert"
    );

    let late = state.record_findings(&[finding(1, 9, NOW, 1)], &grouping, &routes(), NOW + 9_000).unwrap();
    assert_eq!(late, RecordedFindings { new: 1, late: 1, ..RecordedFindings::default() });
    let report = RuleReport { rule: "rule-1".into(), findings: 6, windows: 1, late: 1, ..RuleReport::default() };
    assert_eq!(state.rule_reports().unwrap(), [report]);
}

#[test]
fn window_with_one_finding_has_no_summary() {
    let Opened { state, .. } = &open();
    state.record_findings(&[finding(1, 1, NOW, 1)], &Grouping::default(), &routes(), NOW).unwrap();
    assert_eq!(state.close_windows(&routes(), 0, NOW + 9_000).unwrap(), 1);
    assert_eq!(alert_kinds(state), [AlertKind::First]);
}

#[test]
fn old_events_and_rules_below_the_level_are_recorded_without_alerts() {
    let Opened { state, .. } = &open();
    let old = finding(1, 1, NOW - 86_401, 1);
    let mut low = finding(2, 2, NOW, 1);
    low.rule.level = "low".into();
    let recorded = state.record_findings(&[old, low], &Grouping::default(), &routes(), NOW).unwrap();
    assert_eq!(recorded, RecordedFindings { new: 2, ..RecordedFindings::default() });
    state.close_windows(&routes(), 0, NOW + 9_000).unwrap();
    assert_eq!(alert_kinds(state), []);
}

#[test]
fn suppressed_findings_are_recorded_outside_of_windows() {
    let Opened { state, .. } = &open();
    let mut suppressed = finding(1, 1, NOW, 1);
    suppressed.suppression = Some("migration".into());
    let recorded = state.record_findings(&[suppressed, finding(1, 2, NOW, 1)], &Grouping::default(), &routes(), NOW);
    assert_eq!(recorded.unwrap(), RecordedFindings { new: 2, alerts: 1, ..RecordedFindings::default() });
    assert_eq!(windows(state).iter().map(|(.., count)| *count).collect::<Vec<_>>(), [1]);
    let filter = FindingFilter { state: Some(FindingState::Suppressed), limit: 9, ..FindingFilter::default() };
    assert_eq!(state.findings(&filter).unwrap()[0].note.as_deref(), Some("migration"));
}

#[test]
fn findings_over_the_limit_of_an_hour_are_counted_once() {
    let Opened { state, .. } = &open();
    let grouping = Grouping { findings_per_hour: 3, ..Grouping::default() };
    let findings: Vec<DetectionFinding> = (0..10).map(|event| finding(1, event, NOW, event)).collect();
    for _ in 0..2 {
        state.record_findings(&findings, &grouping, &routes(), NOW).unwrap();
    }
    let report = &state.rule_reports().unwrap()[0];
    assert_eq!((report.findings, report.overflow, report.windows), (10, 7, 10));
    let filter = FindingFilter { limit: 100, ..FindingFilter::default() };
    let stored = state.findings(&filter).unwrap();
    assert_eq!(stored.iter().filter(|stored| stored.finding.is_some()).count(), 3);
    let kinds = alert_kinds(state);
    assert_eq!(kinds, [AlertKind::First, AlertKind::First, AlertKind::First, AlertKind::Overflow]);
    state.record_findings(&[finding(1, 50, NOW + 3_600, 1)], &grouping, &routes(), NOW + 3_600).unwrap();
    assert_eq!(alert_kinds(state).len(), 5, "the next hour has a limit of its own");
}

#[test]
fn finding_is_found_by_the_start_of_its_id() {
    let Opened { state, .. } = &open();
    let found = finding(1, 1, NOW, 1);
    let id = found.id().to_string();
    state.record_findings(std::slice::from_ref(&found), &Grouping::default(), &[], NOW).unwrap();
    assert!(state.set_finding_state(&id, FindingState::Closed, Some("a test")).unwrap());
    assert!(!state.set_finding_state("0", FindingState::Closed, None).unwrap());
    let stored = state.findings_by_id(&id[..6].to_ascii_uppercase()).unwrap();
    assert_eq!(stored.len(), 1);
    assert_eq!((stored[0].state.as_str(), stored[0].note.as_deref()), ("closed", Some("a test")));
    assert_eq!(stored[0].finding.as_ref(), Some(&found));
    assert_eq!(state.findings_by_id("zz").unwrap(), []);
    let open = FindingFilter { state: Some(FindingState::Open), limit: 10, ..FindingFilter::default() };
    assert_eq!(state.findings(&open).unwrap(), []);
}

#[test]
fn alerts_of_a_group_are_due_in_order_and_do_not_delay_other_groups() {
    let Opened { state, .. } = &open();
    let findings: Vec<DetectionFinding> = (0..3).map(|event| finding(1, event, NOW + i64::from(event), 1)).collect();
    state.record_findings(&findings, &Grouping::default(), &routes(), NOW).unwrap();
    state.record_findings(&[finding(2, 7, NOW, 2)], &Grouping::default(), &routes(), NOW).unwrap();
    state.close_windows(&routes(), 0, NOW + 3_600).unwrap();
    let first = state.next_alert("oncall", 0).unwrap().unwrap();
    assert_eq!((first.number, first.alert.kind), (1, AlertKind::First));
    let circuit = Circuit { failures: 1, refusals: 2, open_until: 5, error: "status 500".into() };
    state.record_retry("oncall", first.number, 1_000, &circuit).unwrap();
    assert_eq!(state.circuit("oncall").unwrap(), circuit);
    let other = state.next_alert("oncall", 999).unwrap().unwrap();
    assert_eq!(other.alert.rule().id, "rule-2");
    state.record_sent("oncall", other.number, NOW).unwrap();
    assert_eq!(state.circuit("oncall").unwrap(), Circuit::default(), "a success closes the circuit");
    assert_eq!(state.next_alert("oncall", 999).unwrap(), None, "the summary waits for the first alert of its group");
    assert_eq!(state.pending_alerts("oncall").unwrap(), PendingAlerts { count: 2, next_due: Some(0) });
    let retried = state.next_alert("oncall", 1_000).unwrap().unwrap();
    assert_eq!((retried.number, retried.attempts), (first.number, 1));
    state.record_failed(retried.number, "status 400").unwrap();
    assert_eq!(state.next_alert("oncall", 1_000).unwrap().unwrap().alert.kind, AlertKind::Summary);
    assert_eq!(state.alerts(Some(AlertState::Failed), 10).unwrap()[0].error.as_deref(), Some("status 400"));
    assert_eq!(state.retry_alerts(&[99], NOW).unwrap(), 0);
    assert_eq!(state.retry_alerts(&[], NOW).unwrap(), 1);
    assert_eq!(state.next_alert("oncall", 1_000).unwrap().unwrap().number, first.number);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Ten random orders, in batches of random sizes, with repeated events and with windows that are closed meanwhile.
    #[test]
    fn order_and_repetition_change_neither_findings_nor_windows(
        events in prop::collection::vec((0u32..3, 0u32..40, -7_200i64..7_200, 0u32..3), 1..60),
        seed in any::<u64>(),
    ) {
        let grouping = Grouping { findings_per_hour: 4, ..Grouping::default() };
        // One event has one time and one principal.
        let mut of_event = std::collections::BTreeMap::new();
        let findings: Vec<DetectionFinding> = events
            .iter()
            .map(|&(rule, event, time, principal)| {
                let &mut (time, principal) = of_event.entry(event).or_insert((time, principal));
                finding(rule, event, NOW + time, principal)
            })
            .collect();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut expected = None;
        for _ in 0..10 {
            let Opened { state, _folder } = open();
            let repeated: Vec<DetectionFinding> = findings.iter().filter(|_| random.bool()).cloned().collect();
            let mut order = [findings.clone(), repeated].concat();
            random.shuffle(&mut order);
            let mut now = NOW;
            let mut rest = &order[..];
            while !rest.is_empty() {
                let (batch, others) = rest.split_at(random.usize(1..=rest.len()));
                state.record_findings(batch, &grouping, &routes(), now).unwrap();
                state.close_windows(&routes(), 900, now).unwrap();
                now += random.i64(0..3_600);
                rest = others;
            }
            let reports: Vec<_> = state.rule_reports().unwrap().into_iter().map(|report| RuleReport { late: 0, ..report }).collect();
            let found = (ids(&state), windows(&state), reports);
            let counted: i64 = found.1.iter().map(|(.., count)| count).sum();
            prop_assert_eq!(counted, found.0.len() as i64, "each finding is counted in one window, once");
            prop_assert_eq!(expected.get_or_insert_with(|| found.clone()), &found);
            // Each window alerts at most once, and has at most one summary.
            let alerts = state.alerts(None, u32::MAX).unwrap();
            let distinct: std::collections::HashSet<String> = alerts.iter().map(|stored| stored.alert.id()).collect();
            prop_assert_eq!(distinct.len(), alerts.len());
        }
    }
}
