//! Windows and groups: which findings belong to one alert.

use super::{DetectionFinding, hash, hex, without_session};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A field of an event by which findings are grouped, in addition to the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupField {
    /// The account.
    Account,
    /// The principal, without the name of a role session.
    Principal,
    /// The region.
    Region,
    /// The name of the event.
    Name,
    /// The source address.
    Address,
}

/// How findings are grouped into alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grouping {
    /// The length of a window.
    pub window: Duration,
    /// The fields that form a group, in addition to the rule.
    pub fields: Vec<GroupField>,
    /// Findings in events that are older than this are recorded and do not alert.
    pub alert_max_age: Duration,
    /// The number of findings of one rule in one hour of event time that are stored with their details. Further ones are
    /// counted.
    pub findings_per_hour: u64,
}

impl Default for Grouping {
    /// Windows of one hour by rule, account and principal; alerts for events of the last 24 hours; 1,000 findings of each
    /// rule and hour with their details.
    fn default() -> Self {
        Self {
            window: Duration::from_secs(3_600),
            fields: vec![GroupField::Account, GroupField::Principal],
            alert_max_age: Duration::from_secs(86_400),
            findings_per_hour: 1_000,
        }
    }
}

impl Grouping {
    /// Returns the start of the window that contains an event time, in seconds since 1970. Windows are aligned to 1970, so
    /// they do not depend on the first event. Events without a valid time are in the window that starts at 0.
    pub fn window_start(&self, time: Option<i64>) -> i64 {
        let length = self.window_seconds();
        time.map_or(0, |time| time.div_euclid(length) * length)
    }

    /// Returns the end of the window with this start.
    pub fn window_end(&self, start: i64) -> i64 {
        start.saturating_add(self.window_seconds())
    }

    fn window_seconds(&self) -> i64 {
        i64::try_from(self.window.as_secs()).unwrap_or(i64::MAX).max(1)
    }

    /// Returns the group of a finding: a hash of the rule and of the values of the group's fields.
    pub fn group(&self, finding: &DetectionFinding) -> String {
        let event = &finding.event;
        let mut texts = vec![finding.rule.id.as_str()];
        for field in &self.fields {
            texts.push(match field {
                GroupField::Account => &event.account,
                GroupField::Principal => without_session(&event.principal),
                GroupField::Region => &event.region,
                GroupField::Name => &event.name,
                GroupField::Address => &event.address,
            });
        }
        hex(&hash("group", &texts))
    }

    /// Returns whether a finding with this event time is recent enough for an alert. A finding without a valid event time is,
    /// because its age is unknown.
    pub fn may_alert(&self, time: Option<i64>, now: i64) -> bool {
        let age = i64::try_from(self.alert_max_age.as_secs()).unwrap_or(i64::MAX);
        time.is_none_or(|time| now.saturating_sub(time) <= age)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::finding;
    use super::*;

    #[test]
    fn windows_are_aligned_to_the_epoch() {
        let grouping = Grouping::default();
        for (time, start) in [(0, 0), (3_599, 0), (3_600, 3_600), (-1, -3_600), (1_793_527_200 + 59, 1_793_527_200)] {
            assert_eq!(grouping.window_start(Some(time)), start, "{time}");
        }
        assert_eq!(grouping.window_start(None), 0);
        assert_eq!(grouping.window_end(3_600), 7_200);
        assert_eq!(grouping.window_end(i64::MAX), i64::MAX);
    }

    #[test]
    fn group_depends_on_rule_and_selected_fields() {
        let grouping = Grouping::default();
        let group = |rule: &str, event: &str, principal: &str| grouping.group(&finding(rule, event, 0, principal));
        let [one, other] = ["a", "b"].map(|session| format!("arn:aws:sts::111122223333:assumed-role/ci/{session}"));
        assert_eq!(group("r", "1", &one), group("r", "2", &other));
        assert_ne!(group("r", "1", "alice"), group("r", "1", "bob"));
        assert_ne!(group("r", "1", "alice"), group("s", "1", "alice"));
        let by_rule = Grouping { fields: Vec::new(), ..Grouping::default() };
        assert_eq!(by_rule.group(&finding("r", "1", 0, "alice")), by_rule.group(&finding("r", "1", 0, "bob")));
    }

    #[test]
    fn old_events_do_not_alert() {
        let grouping = Grouping::default();
        assert!(grouping.may_alert(Some(0), 86_400));
        assert!(!grouping.may_alert(Some(0), 86_401));
        assert!(grouping.may_alert(Some(i64::MAX), 0));
        assert!(grouping.may_alert(None, i64::MAX));
    }
}
