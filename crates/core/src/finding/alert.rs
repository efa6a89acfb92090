//! Alerts: what destinations receive.

use super::{DetectionFinding, RuleSummary, hash, hex, ocsf};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Why an alert is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertKind {
    /// The first finding of a window.
    First,
    /// The number of findings of a window that is over.
    Summary,
    /// A rule has more findings in an hour than are stored with their details.
    Overflow,
    /// A message that a person sends to try a destination.
    Test,
}

impl AlertKind {
    /// Returns its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Summary => "summary",
            Self::Overflow => "overflow",
            Self::Test => "test",
        }
    }

    /// Returns the type of the webhook message.
    pub fn message_type(self) -> &'static str {
        match self {
            Self::First => "finding.created",
            Self::Summary => "window.closed",
            Self::Overflow => "rule.overflow",
            Self::Test => "alert.test",
        }
    }
}

/// The window of an alert, in seconds since 1970 of event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertWindow {
    /// The start.
    pub start: i64,
    /// The end, exclusive.
    pub end: i64,
}

/// A message about findings. It does not depend on the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Why it is sent.
    pub kind: AlertKind,
    /// The group of its findings, or the rule if the alert concerns the whole rule.
    pub group: String,
    /// The window.
    pub window: AlertWindow,
    /// The number of findings of the window so far. For an overflow: the number that is stored with details.
    pub count: u64,
    /// The first finding that was recorded in the window.
    pub finding: DetectionFinding,
    /// When the alert was recorded, in seconds since 1970.
    pub recorded: i64,
}

impl Alert {
    /// Returns the ID. It is the same on every retry, and also if the findings are recorded again.
    pub fn id(&self) -> String {
        let start = self.window.start.to_string();
        // Each test message is an alert of its own, so its ID depends on its time.
        let time = if self.kind == AlertKind::Test { self.recorded.to_string() } else { String::new() };
        format!("alert_{}", hex(&hash("alert", &[self.kind.name(), &self.group, &start, &time])))
    }

    /// Returns the key that the first alert and the summary of a window share. Any other alert has a key of its own.
    pub fn window_key(&self) -> String {
        match self.kind {
            AlertKind::First | AlertKind::Summary => {
                format!("window_{}", hex(&hash("window", &[&self.group, &self.window.start.to_string()])))
            }
            AlertKind::Overflow | AlertKind::Test => self.id(),
        }
    }

    /// Returns the rule.
    pub fn rule(&self) -> &RuleSummary {
        &self.finding.rule
    }

    /// Returns one line for people. It contains no text of the event.
    pub fn title(&self) -> String {
        let RuleSummary { title, level, .. } = self.rule();
        match self.kind {
            AlertKind::First => format!("[{level}] {title}"),
            AlertKind::Summary => format!("[{level}] {title}: {} findings in the window", self.count),
            AlertKind::Overflow => {
                format!("[{level}] {title}: more than {} findings in an hour; check the rule", self.count)
            }
            AlertKind::Test => format!("Test: {title}"),
        }
    }

    /// Returns the message for programs, as the webhook, SNS and EventBridge send it.
    pub fn message(&self) -> Value {
        let rule = self.rule();
        let event = &self.finding.event;
        json!({
            "type": self.kind.message_type(),
            "timestamp": rfc3339(self.recorded),
            "data": {
                "alert_id": self.id(),
                "title": self.title(),
                "group": self.group,
                "count": self.count,
                "window": {"start": rfc3339(self.window.start), "end": rfc3339(self.window.end)},
                "rule": rule,
                "account": event.account,
                "region": event.region,
                "principal": event.principal,
                "finding": ocsf(&self.finding, "open", self.recorded),
            },
        })
    }
}

pub(super) fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::tests::finding;
    use super::*;

    fn alert(kind: AlertKind) -> Alert {
        Alert {
            kind,
            group: "g".into(),
            window: AlertWindow { start: 3_600, end: 7_200 },
            count: 3,
            finding: finding("r", "e", 3_700, "alice"),
            recorded: 4_000,
        }
    }

    #[test]
    fn id_is_the_same_on_every_repetition() {
        let first = alert(AlertKind::First);
        let repeated = Alert { recorded: 9_000, count: 1, finding: finding("r", "f", 3_800, "alice"), ..first.clone() };
        assert_eq!(first.id(), repeated.id());
        assert_ne!(first.id(), alert(AlertKind::Summary).id());
        assert_ne!(first.id(), Alert { group: "h".into(), ..first.clone() }.id());
        let test = alert(AlertKind::Test);
        assert_ne!(test.id(), Alert { recorded: 4_001, ..test.clone() }.id(), "two tests are two messages");
    }

    #[test]
    fn message_names_rule_window_and_finding() {
        let message = alert(AlertKind::Summary).message();
        assert_eq!(message["type"], "window.closed");
        assert_eq!(message["data"]["window"]["start"], "1970-01-01T01:00:00Z");
        assert_eq!(message["data"]["rule"]["license"], "DRL-1.1");
        assert_eq!(message["data"]["finding"]["class_uid"], 2004);
        assert_eq!(message["data"]["title"], "[high] CloudTrail stopped: 3 findings in the window");
    }
}
