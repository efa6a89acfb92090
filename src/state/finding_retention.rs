//! Deletes old findings, with their windows and hourly counts, and old sent alerts.

use super::{StateDatabase, StateError};
use crate::finding_store::{AlertState, FindingState};
use rusqlite::params;
use std::time::Duration;

/// The maximum number of rows that one transaction deletes, so that other writers wait for a short time only.
const ROWS: u32 = 5_000;

/// Which findings are deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FindingRetention {
    /// How long findings and sent alerts are kept after they were recorded or sent.
    pub keep: Duration,
    /// Whether findings that are open or acknowledged are kept regardless of their age.
    pub keeps_open: bool,
}

/// What was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeletedFindings {
    /// Findings.
    pub findings: u64,
    /// Closed windows without findings.
    pub windows: u64,
    /// Sent alerts.
    pub alerts: u64,
}

impl StateDatabase {
    /// Deletes old findings, then old closed windows and old hourly counts that have no findings any more, and old sent
    /// alerts. Pending and failed alerts and windows that are not closed are kept. A kill between two of its
    /// transactions leaves rows that the next call deletes. `now` is in seconds since 1970.
    ///
    /// A finding without details, which exceeds the limit of its rule and hour, is deleted in every state, because there is
    /// nothing to review.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn delete_old_findings(&self, retention: &FindingRetention, now: i64) -> Result<DeletedFindings, StateError> {
        let until = now.saturating_sub(i64::try_from(retention.keep.as_secs()).unwrap_or(i64::MAX));
        let [closed, suppressed] = [FindingState::Closed, FindingState::Suppressed].map(FindingState::name);
        let findings = self.delete_in_parts(
            "DELETE FROM findings WHERE id IN (SELECT id FROM findings WHERE recorded < ?1
             AND (?2 OR content IS NULL OR state IN (?3, ?4)) LIMIT ?5)",
            params![until, !retention.keeps_open, closed, suppressed, ROWS],
        )?;
        // Each of the next two reads all remaining findings once.
        let windows = self.delete_in_parts(
            "DELETE FROM windows WHERE (group_id, start) IN (SELECT group_id, start FROM windows
             WHERE closed < ?1 AND stop <= ?1 EXCEPT SELECT group_id, window FROM findings LIMIT ?2)",
            params![until, ROWS],
        )?;
        // Rounds down, also before 1970.
        let hour = "coalesce(time, 0) - ((coalesce(time, 0) % 3600) + 3600) % 3600";
        self.delete_in_parts(
            &format!(
                "DELETE FROM rule_hours WHERE (rule, hour) IN (SELECT rule, hour FROM rule_hours
                 WHERE hour < ?1 - 3600 EXCEPT SELECT rule, {hour} FROM findings LIMIT ?2)"
            ),
            params![until, ROWS],
        )?;
        let alerts = self.delete_in_parts(
            "DELETE FROM alerts WHERE number IN (SELECT number FROM alerts WHERE state = ?1 AND sent < ?2 LIMIT ?3)",
            params![AlertState::Sent.name(), until, ROWS],
        )?;
        Ok(DeletedFindings { findings, windows, alerts })
    }

    /// Executes a statement until it deletes less than [`ROWS`] rows. Each execution is a transaction.
    fn delete_in_parts(&self, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Result<u64, StateError> {
        let mut deleted = 0;
        loop {
            let rows = self.connection().execute(sql, values).map_err(|error| self.failed(error))?;
            deleted += rows as u64;
            if rows < ROWS as usize {
                return Ok(deleted);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{DetectionFinding, EventPointer, Grouping, RuleSummary};
    use crate::finding_store::{Circuit, FindingFilter, Route};
    use crate::state::STATE_FILE;
    use trailhose_rules::RuleLevel;

    const NOW: i64 = 1_793_530_800;
    const DAY: i64 = 86_400;
    const RETENTION: FindingRetention = FindingRetention { keep: Duration::from_secs(30 * 86_400), keeps_open: true };

    fn finding(event: u32, time: Option<i64>, user: &str) -> DetectionFinding {
        let rule = RuleSummary { id: "rule".into(), level: "high".into(), ..RuleSummary::default() };
        let event =
            EventPointer { id: format!("event-{event}"), time, principal: user.into(), ..EventPointer::default() };
        DetectionFinding::new(rule, event, [("eventName", "StopLogging")])
    }

    fn rows(state: &StateDatabase, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        state.connection().query_row(&sql, [], |row| row.get(0)).unwrap()
    }

    fn ids(state: &StateDatabase) -> Vec<String> {
        let found = state.findings(&FindingFilter { limit: u32::MAX, ..FindingFilter::default() }).unwrap();
        let mut ids: Vec<String> = found.into_iter().map(|stored| stored.finding.unwrap().event.id).collect();
        ids.sort();
        ids
    }

    fn open() -> (tempfile::TempDir, StateDatabase) {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDatabase::open(&folder.path().join(STATE_FILE)).unwrap();
        (folder, state)
    }

    fn set(state: &StateDatabase, finding: &DetectionFinding, to: FindingState) {
        assert!(state.set_finding_state(&finding.id().to_string(), to, None).unwrap());
    }

    #[test]
    fn old_closed_findings_are_deleted_and_open_ones_are_kept() {
        let (_folder, state) = open();
        let routes = [Route { destination: "oncall".into(), min_level: RuleLevel::Low }];
        let grouping = Grouping { findings_per_hour: 3, ..Grouping::default() };
        let old = NOW - 31 * DAY;
        let mut suppressed = finding(3, Some(old), "carol");
        suppressed.suppression = Some("migration".into());
        let findings = [
            finding(0, Some(old), "open"),
            finding(1, Some(old), "closed"),
            finding(2, Some(old), "acknowledged"),
            suppressed,
            // Over the limit of the hour: the suppressed one does not count.
            finding(4, Some(old), "noisy"),
        ];
        assert_eq!(state.record_findings(&findings, &grouping, &routes, old).unwrap().overflow, 1);
        // An old event that was recorded today, and one of today.
        let young = [finding(5, Some(old - DAY), "backfilled"), finding(6, Some(NOW), "today")];
        state.record_findings(&young, &grouping, &routes, NOW).unwrap();
        state.close_windows(&routes, 0, NOW + 3_600).unwrap();
        set(&state, &findings[1], FindingState::Closed);
        set(&state, &findings[2], FindingState::Acknowledged);
        for finding in &young {
            set(&state, finding, FindingState::Closed);
        }
        let deleted = state.delete_old_findings(&RETENTION, NOW).unwrap();
        assert_eq!((deleted.findings, deleted.alerts), (3, 0), "closed, suppressed, without details; nothing is sent");
        assert_eq!(ids(&state), ["event-0", "event-2", "event-5", "event-6"]);
        // The windows were closed today.
        let deleted = state.delete_old_findings(&RETENTION, NOW + 32 * DAY).unwrap();
        assert_eq!((deleted.findings, deleted.windows), (2, 4), "{deleted:?}");
        assert_eq!((rows(&state, "windows"), rows(&state, "rule_hours")), (2, 1), "those of open findings");

        let all = FindingRetention { keeps_open: false, ..RETENTION };
        let deleted = state.delete_old_findings(&all, NOW + 32 * DAY).unwrap();
        assert_eq!((deleted.findings, deleted.windows), (2, 2));
        let left = ["findings", "windows", "rule_hours"].map(|table| rows(&state, table));
        assert_eq!(left, [0, 0, 0]);
        assert!(rows(&state, "alerts") > 0, "pending alerts are kept");
    }

    #[test]
    fn only_old_sent_alerts_are_deleted() {
        let (_folder, state) = open();
        let routes = [Route { destination: "oncall".into(), min_level: RuleLevel::Low }];
        let findings = ["a", "b", "c", "d"].map(|user| finding(1, Some(NOW), user));
        for (number, found) in findings.iter().enumerate() {
            let found = DetectionFinding {
                event: EventPointer { id: format!("event-{number}"), ..found.event.clone() },
                ..found.clone()
            };
            state.record_findings(&[found], &Grouping::default(), &routes, NOW).unwrap();
        }
        let numbers: Vec<i64> = state.alerts(None, 10).unwrap().iter().map(|alert| alert.number).collect();
        state.record_sent("oncall", numbers[0], NOW).unwrap();
        state.record_sent("oncall", numbers[1], NOW + 2 * DAY).unwrap();
        state.record_failed(numbers[2], "status 400").unwrap();
        state.record_retry("oncall", numbers[3], 0, &Circuit::default()).unwrap();
        let deleted = state.delete_old_findings(&RETENTION, NOW + 31 * DAY).unwrap();
        assert_eq!(deleted.alerts, 1);
        let left: Vec<String> = state.alerts(None, 10).unwrap().into_iter().map(|alert| alert.state).collect();
        assert_eq!(left, ["sent", "failed", "pending"]);
    }

    /// The events of deleted findings are evaluated again, for example after `followers reset`.
    #[test]
    fn deleted_finding_that_is_found_again_does_not_alert_again() {
        let (_folder, state) = open();
        let routes = [Route { destination: "oncall".into(), min_level: RuleLevel::Low }];
        let found = [finding(1, Some(NOW), "alice")];
        let record = |now| state.record_findings(&found, &Grouping::default(), &routes, now).unwrap();
        assert_eq!(record(NOW).alerts, 1);
        state.close_windows(&routes, 0, NOW + DAY).unwrap();
        set(&state, &found[0], FindingState::Closed);
        let later = NOW + 32 * DAY;
        assert_eq!(state.delete_old_findings(&RETENTION, later).unwrap().findings, 1);
        let again = record(later);
        assert_eq!((again.new, again.alerts), (1, 0));
    }

    #[test]
    fn many_rows_are_deleted_in_several_transactions() {
        let (_folder, state) = open();
        let findings: Vec<_> = (0..ROWS * 2 + 1).map(|event| finding(event, Some(NOW), &event.to_string())).collect();
        let grouping = Grouping { findings_per_hour: u64::MAX, ..Grouping::default() };
        state.record_findings(&findings, &grouping, &[], NOW).unwrap();
        state.close_windows(&[], 0, NOW + DAY).unwrap();
        let all = FindingRetention { keeps_open: false, ..RETENTION };
        let deleted = state.delete_old_findings(&all, NOW + 40 * DAY).unwrap();
        assert_eq!((deleted.findings, deleted.windows), (u64::from(ROWS) * 2 + 1, u64::from(ROWS) * 2 + 1));
    }
}
