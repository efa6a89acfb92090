//! What users read and change in a store of findings: findings, their states, and the outbox.

use crate::finding::{Alert, DetectionFinding};
use async_trait::async_trait;

/// Reads and changes a store for a person. Errors are texts with the next step.
#[async_trait]
pub trait FindingReview: Send + Sync {
    /// Returns findings, the newest first.
    ///
    /// # Errors
    /// Errors of the store.
    async fn findings(&self, filter: &FindingFilter) -> Result<Vec<StoredFinding>, String>;

    /// Returns the findings whose ID starts with a text, at most two.
    ///
    /// # Errors
    /// Errors of the store.
    async fn findings_by_id(&self, start: &str) -> Result<Vec<StoredFinding>, String>;

    /// Changes the state of a finding. Without a note, the last one is kept.
    ///
    /// # Errors
    /// Errors of the store.
    async fn set_finding_state(
        &self,
        finding: &StoredFinding,
        state: FindingState,
        note: Option<&str>,
    ) -> Result<(), String>;

    /// Returns the counts of each rule, ordered by rule.
    ///
    /// # Errors
    /// Errors of the store.
    async fn rule_reports(&self) -> Result<Vec<RuleReport>, String>;

    /// Returns the last `limit` alerts, in the order in which they were recorded. `state` is `None` for every state.
    ///
    /// # Errors
    /// Errors of the store, or a state that it does not keep.
    async fn alerts(&self, state: Option<AlertState>, limit: u32) -> Result<Vec<StoredAlert>, String>;

    /// Makes the failed alerts with these numbers pending again, or all failed alerts if there are no numbers. Returns how
    /// many they are. Also closes all circuits, and makes pending alerts due. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// Errors of the store.
    async fn retry_alerts(&self, numbers: &[i64], now: i64) -> Result<u64, String>;
}

/// The state of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingState {
    /// No person has decided about it.
    Open,
    /// A person works on it.
    Acknowledged,
    /// It needs no further work.
    Closed,
    /// It is known and harmless.
    Suppressed,
}

impl FindingState {
    /// Returns its name, as it is stored and printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Closed => "closed",
            Self::Suppressed => "suppressed",
        }
    }
}

/// A finding as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredFinding {
    /// Its ID.
    pub id: String,
    /// The ID of the rule.
    pub rule: String,
    /// Its group.
    pub group: String,
    /// The start of its window, in seconds since 1970.
    pub window_start: i64,
    /// The event time, in seconds since 1970, if it is valid.
    pub time: Option<i64>,
    /// When it was recorded, in seconds since 1970.
    pub recorded: i64,
    /// The name of its state.
    pub state: String,
    /// The note of the last change of its state.
    pub note: Option<String>,
    /// The details. `None` if its rule has too many findings in this hour.
    pub finding: Option<DetectionFinding>,
}

impl StoredFinding {
    /// Returns the time by which lists are ordered: the event time, or without a valid one the time of recording.
    #[cfg(feature = "operate")]
    pub(crate) fn order(&self) -> i64 {
        self.time.unwrap_or(self.recorded)
    }
}

/// Which findings are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FindingFilter {
    /// The state; `None` for every state.
    pub state: Option<FindingState>,
    /// The ID of the rule; `None` for every rule.
    pub rule: Option<String>,
    /// The earliest event time, in seconds since 1970.
    pub since: Option<i64>,
    /// The maximum number of findings, the newest ones.
    pub limit: u32,
    /// The finding after which the list starts: its event time, or without a valid one the time of recording, and its ID.
    /// Only the state database supports it.
    pub after: Option<(i64, String)>,
}

/// The findings of one rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct RuleReport {
    /// The ID of the rule.
    pub rule: String,
    /// The number of findings.
    pub findings: u64,
    /// The number of them that are stored as an ID only.
    pub overflow: u64,
    /// The number of windows.
    pub windows: u64,
    /// The number of findings that arrived after their window was closed.
    pub late: u64,
}

/// The state of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertState {
    /// It is not sent yet.
    Pending,
    /// The destination acknowledged it.
    Sent,
    /// The destination refused it, or it was retried for too long.
    Failed,
}

impl AlertState {
    /// Returns its name, as it is stored and printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }
}

/// An alert as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredAlert {
    /// Its number in the outbox.
    pub number: i64,
    /// The alert.
    pub alert: Alert,
    /// The name of the destination.
    pub destination: String,
    /// The name of its state.
    pub state: String,
    /// The number of attempts.
    pub attempts: u32,
    /// When it was sent, in seconds since 1970.
    pub sent: Option<i64>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// When the next attempt is due, in milliseconds since 1970. 0 before the first one.
    pub due: i64,
}
