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

/// Parses a time span of seconds, minutes, hours or days, such as `15m`: from 1 second to 366 days.
///
/// # Errors
/// Returns a text with the value and the expected values.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let unit = |unit: char| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3_600),
        'd' => Some(86_400),
        _ => None,
    };
    let seconds = text.char_indices().next_back().and_then(|(at, last)| {
        let number: u64 = text[..at].parse().ok()?;
        number.checked_mul(unit(last)?)
    });
    let seconds = seconds.filter(|seconds| (1..=366 * 86_400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| format!("{text:?}: expected 1s to 366d, for example 15m, 1h or 7d"))
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
    /// Returns windows of one hour by rule, account and principal; alerts for events of the last 24 hours; 1,000 findings of
    /// each rule and hour with their details.
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

    /// Returns the group of a finding: a hash of the rule and of the values of the group's fields. Windows of different
    /// lengths have different groups. Otherwise a closed window could contain the start of a longer one after a change of
    /// the length, and the findings of the longer one would not alert.
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
        // Without the length for the default, so that the groups of existing findings stay the same.
        let length = format!("window {}", self.window.as_secs());
        if self.window != Self::default().window {
            texts.push(&length);
        }
        hex(&hash("group", &texts))
    }

    /// Returns whether a finding with this event time is recent enough for an alert. Returns true without a valid event time,
    /// because the age is unknown.
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
    fn span_has_a_unit_and_limits() {
        for (text, seconds) in [("1s", 1), ("15m", 900), ("1h", 3_600), ("366d", 366 * 86_400), ("8784h", 366 * 86_400)]
        {
            assert_eq!(parse_span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0s", "367d", "15", "m", "-1h", "1w", "1 h", "99999999999999999999d", "300000000000000d", "1é"]
        {
            assert!(
                parse_span(text).unwrap_err().ends_with("expected 1s to 366d, for example 15m, 1h or 7d"),
                "{text}"
            );
        }
    }

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
        let of_day = Grouping { window: Duration::from_secs(86_400), ..Grouping::default() };
        assert_ne!(of_day.group(&finding("r", "1", 0, "alice")), group("r", "1", "alice"));
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
