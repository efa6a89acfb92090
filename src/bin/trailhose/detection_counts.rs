//! What the detection beside a sync found and sent, for the summaries.

use serde::Serialize;

/// Counts of the detection, since the start or during a round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct DetectionCounts {
    /// Matches of rules.
    pub(crate) matched: u64,
    /// New findings. The other matches were recorded before.
    pub(crate) recorded: u64,
    /// New findings over the limit of their rule and hour, which are stored without details.
    pub(crate) overflow: u64,
    /// New findings whose window was closed before.
    pub(crate) late: u64,
    /// Alerts that destinations acknowledged.
    pub(crate) alerts_sent: u64,
    /// Attempts that failed and are repeated.
    pub(crate) alerts_retried: u64,
    /// Alerts that failed and are not sent again.
    pub(crate) alerts_failed: u64,
    /// Alerts that are not sent yet: the number at this time.
    pub(crate) alerts_pending: u64,
    /// Whether the detection stopped before the last event.
    #[serde(skip)]
    pub(crate) is_incomplete: bool,
}

impl DetectionCounts {
    /// Returns what was counted after `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            matched: self.matched.saturating_sub(before.matched),
            recorded: self.recorded.saturating_sub(before.recorded),
            overflow: self.overflow.saturating_sub(before.overflow),
            late: self.late.saturating_sub(before.late),
            alerts_sent: self.alerts_sent.saturating_sub(before.alerts_sent),
            alerts_retried: self.alerts_retried.saturating_sub(before.alerts_retried),
            alerts_failed: self.alerts_failed.saturating_sub(before.alerts_failed),
            ..self
        }
    }
}
