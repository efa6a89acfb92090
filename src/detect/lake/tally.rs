//! What an invocation did, for metrics.

use crate::alert::SendReport;
use crate::finding_store::RecordedFindings;

/// What an invocation did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LakeTally {
    /// Objects that were evaluated.
    pub objects: u64,
    /// Objects and other work that failed and is repeated.
    pub failed: u64,
    /// Messages that are not notifications.
    pub invalid_messages: u64,
    /// Notifications of other changes than a new object.
    pub ignored: u64,
    /// Events that were evaluated.
    pub events: u64,
    /// Lines that are not events.
    pub invalid_lines: u64,
    /// Findings.
    pub recorded: RecordedFindings,
    /// Windows that were closed.
    pub windows_closed: u64,
    /// Alerts.
    pub alerts: SendReport,
    /// Destinations of alerts whose secret cannot be used.
    pub destinations_unusable: u64,
    /// Changes of the rule set.
    pub rules_changed: u64,
    /// 1 if the published rule set cannot be used.
    pub rules_unusable: u64,
    /// Rules whose evaluation failed for an event since this instance loaded them.
    pub rules_failed: u64,
}
