//! Stores of findings: findings, their windows, and the outbox of alerts. The command line program uses SQLite
//! ([`crate::state`] with the feature `cli`), and the function `detect` uses DynamoDB.
//!
//! Every store has the same results: a finding is recorded once, the count of a window is the number of different finding
//! IDs, and neither depends on the order in which findings arrive or on repetitions.

#[cfg(feature = "dynamodb")]
pub mod dynamodb;
#[cfg(any(feature = "detect", feature = "operate"))]
mod review;

#[cfg(any(feature = "detect", feature = "operate"))]
pub use review::{AlertState, FindingFilter, FindingReview, FindingState, RuleReport, StoredAlert, StoredFinding};

use crate::finding::{Alert, DetectionFinding, Grouping};
use async_trait::async_trait;
use trailhose_rules::RuleLevel;

/// Stores findings, windows and the alerts that follow from them.
#[async_trait]
pub trait FindingStore: Send + Sync + std::fmt::Debug {
    /// Why a request failed.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Durably records findings, their windows, and the alerts that follow from them. A finding that is recorded already
    /// has no effect. `now` is in seconds since 1970.
    async fn record_findings(
        &self,
        findings: &[DetectionFinding],
        grouping: &Grouping,
        routes: &[Route],
        now: i64,
    ) -> Result<RecordedFindings, Self::Error>;

    /// Closes windows that ended at least `grace` seconds before `now`, and records a summary for each one that alerted and
    /// has further findings. Returns the number of closed windows.
    async fn close_windows(&self, routes: &[Route], grace: i64, now: i64) -> Result<u64, Self::Error>;

    /// Returns the first alert of a destination that is due, in order within each group. `now` is in milliseconds since
    /// 1970.
    async fn next_alert(&self, destination: &str, now: i64) -> Result<Option<PendingAlert>, Self::Error>;

    /// Returns the number of pending alerts of a destination, and when the next one is due.
    async fn pending_alerts(&self, destination: &str) -> Result<PendingAlerts, Self::Error>;

    /// Durably records that a destination acknowledged an alert, and closes its circuit. `now` is in seconds since 1970.
    async fn record_sent(&self, destination: &str, number: i64, now: i64) -> Result<(), Self::Error>;

    /// Durably records a failed attempt: when the alert is due again, and the circuit of the destination.
    async fn record_retry(
        &self,
        destination: &str,
        number: i64,
        due: i64,
        circuit: &Circuit,
    ) -> Result<(), Self::Error>;

    /// Durably records that an alert has failed and is not sent again.
    async fn record_failed(&self, destination: &str, number: i64, error: &str) -> Result<(), Self::Error>;

    /// Does what [`Self::record_failed`] does, for an alert that its destination refused, and counts it in [`Circuit::refusals`].
    async fn record_refused_alert(&self, destination: &str, number: i64, error: &str) -> Result<(), Self::Error>;

    /// Returns the circuit of a destination.
    async fn circuit(&self, destination: &str) -> Result<Circuit, Self::Error>;
}

/// A destination of alerts, and the alerts that it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The name of the destination.
    pub destination: String,
    /// The lowest level of the rules whose alerts it gets.
    pub min_level: RuleLevel,
}

impl Route {
    /// Returns whether the destination gets an alert.
    pub(crate) fn gets(&self, alert: &Alert) -> bool {
        self.min_level <= RuleLevel::parse(&alert.rule().level).unwrap_or_default()
    }
}

/// What was done with a list of findings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordedFindings {
    /// New findings.
    pub new: u64,
    /// Findings that were recorded before.
    pub repeated: u64,
    /// New findings that are stored as an ID only, because their rule has too many in this hour.
    pub overflow: u64,
    /// New findings whose window was closed before.
    pub late: u64,
    /// New entries of the outbox.
    pub alerts: u64,
}

impl RecordedFindings {
    /// Adds the counts of another list.
    pub fn add(&mut self, other: Self) {
        self.new += other.new;
        self.repeated += other.repeated;
        self.overflow += other.overflow;
        self.late += other.late;
        self.alerts += other.alerts;
    }
}

/// An alert that is due.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingAlert {
    /// Its number in the outbox.
    pub number: i64,
    /// The alert.
    pub alert: Alert,
    /// The number of attempts so far.
    pub attempts: u32,
    /// When it was recorded, or when a person last retried it, in seconds since 1970.
    pub recorded: i64,
}

/// The pending alerts of a destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PendingAlerts {
    /// Their number.
    pub count: u64,
    /// When the next one is due, in milliseconds since 1970. The time is in the past if an alert is due that waits for an earlier
    /// one of its group. `None` if nothing is pending.
    pub next_due: Option<i64>,
}

/// The circuit of a destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Circuit {
    /// The number of consecutive failures.
    pub failures: u32,
    /// The number of alerts that were refused in a row since the last acknowledged one.
    pub refusals: u32,
    /// Nothing is sent before this time, in milliseconds since 1970.
    pub open_until: i64,
    /// The last error.
    pub error: String,
}
