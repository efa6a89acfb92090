//! Outcome: the result of processing one object.

use crate::ledger::LedgerError;
use crate::ledger::model::quarantine::QuarantineKind;
use crate::ledger::model::row::{Counts, Seconds};
use crate::sink::SinkError;
use crate::source::SourceError;
use serde::Serialize;

/// The result of processing one object.
#[derive(Debug)]
pub enum Outcome {
    /// Every event of the object is delivered.
    Done(IngestReport),
    /// The object was already done.
    AlreadyDone,
    /// The key does not name a CloudTrail log; contains the reason.
    Skipped(&'static str),
    /// The object is quarantined, by this attempt or an earlier one.
    Quarantined(Quarantined),
    /// The object must be retried later. This is not an error.
    Deferred(Deferred),
    /// The attempt failed. The object must be retried.
    Failed(IngestError),
}

/// Why an object is quarantined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The kind of problem in one word, for metrics and summaries.
    pub kind: String,
    /// What was expected, what was found, and where.
    pub reason: String,
    /// Whether an earlier attempt quarantined the object.
    pub by_earlier_attempt: bool,
    /// Why a person accepted that the object stays quarantined, if so.
    pub accepted: Option<String>,
}

impl Quarantined {
    /// Returns whether discovery reopens the object without further action when the cause is gone: it is archived, or
    /// its KMS key cannot be used.
    pub fn is_reopened_by_discovery(&self) -> bool {
        [QuarantineKind::ARCHIVED, QuarantineKind::KMS].contains(&self.kind.as_str())
    }
}

/// When and why an object must be retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deferred {
    /// Another worker holds the object's lease. The message should be hidden until the lease expires.
    Leased {
        /// When the lease expires, in seconds since 1970.
        until: Seconds,
    },
    /// Another object owns some of the events and is in progress. A new copy of the message should be sent with a delay
    /// until the owner's lease expires, and this message acknowledged.
    OwnerInProgress {
        /// When the owner's lease expires, in seconds since 1970.
        until: Seconds,
    },
    /// Time ran out. Progress is recorded in the ledger.
    OutOfTime,
}

/// The counts of one or several objects that are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct IngestReport {
    /// Events by outcome.
    #[serde(flatten)]
    pub counts: Counts,
    /// Duplicates whose first copy is in the same object. Included in `counts.duplicate`.
    pub repeats: u64,
    /// Events that have the same ID as an event with different content.
    pub conflicts: u64,
    /// Objects of a kind of CloudTrail file that this version does not know. Their events are delivered.
    pub unknown_kinds: u64,
    /// Events delivered on behalf of a stalled owner. Included in `counts.delivered` and `counts.oversize`.
    pub helped: u64,
    /// Calls to the sink by this attempt.
    pub calls: u64,
    /// Stored (compressed) bytes.
    pub stored_bytes: u64,
    /// Decompressed bytes.
    pub json_bytes: u64,
    /// Bytes sent to the sink by this attempt.
    pub sent_bytes: u64,
    /// `eventTime` of the newest event, in seconds since 1970.
    pub newest: Option<Seconds>,
    /// Number of the sink's checkpoint that makes the completion durable. See [`crate::sink::Transaction::checkpoint`].
    #[serde(skip)]
    pub checkpoint: u64,
}

impl IngestReport {
    /// Adds the counts of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        let Self { counts, repeats, conflicts, unknown_kinds, helped, .. } = other;
        let Self { calls, stored_bytes, json_bytes, sent_bytes, newest, checkpoint, .. } = other;
        self.counts.merge(counts);
        self.repeats += repeats;
        self.conflicts += conflicts;
        self.unknown_kinds += unknown_kinds;
        self.helped += helped;
        self.calls += calls;
        self.stored_bytes += stored_bytes;
        self.json_bytes += json_bytes;
        self.sent_bytes += sent_bytes;
        self.newest = self.newest.max(*newest);
        self.checkpoint = self.checkpoint.max(*checkpoint);
    }
}

/// An error of an attempt at an object.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Fetching failed.
    #[error("fetch: {0}")]
    Source(#[from] SourceError),
    /// A ledger operation failed.
    #[error("ledger: {0}")]
    Ledger(#[from] LedgerError),
    /// Delivery failed.
    #[error("deliver: {0}")]
    Sink(#[from] SinkError),
    /// The object decoded differently the second time, which indicates defective memory or a bug.
    #[error("decode: {0}")]
    Decode(#[from] crate::decode::DecodeError),
    /// Packing failed: a line exceeds the record limit and was not stored as oversize.
    #[error("pack: {0}")]
    Pack(#[from] crate::pack::PackError),
}
