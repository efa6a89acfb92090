//! What became of one object.

use crate::ledger::LedgerError;
use crate::ledger::model::row::{Counts, Seconds};
use crate::sink::SinkError;
use crate::source::SourceError;
use serde::Serialize;

/// What became of one object.
#[derive(Debug)]
pub enum Outcome {
    /// Every event of it is delivered.
    Done(IngestReport),
    /// It was done before: nothing to do.
    AlreadyDone,
    /// No CloudTrail log by its name: digest or foreign.
    Skipped(&'static str),
    /// Set aside, now or before.
    Quarantined(Quarantined),
    /// Not now. Nothing is wrong; the object must come back.
    Deferred(Deferred),
    /// Something failed. The object must come back.
    Failed(IngestError),
}

/// Why an object is set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// One word, for metrics and summaries.
    pub kind: String,
    /// What was expected, found and where.
    pub reason: String,
    /// Set aside by an earlier attempt, and only met again now.
    pub before: bool,
}

/// When and why an object must come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deferred {
    /// Another worker has the object's lease until then: hide this message as long.
    Leased {
        /// When that lease ends.
        until: Seconds,
    },
    /// Another object owns some of its events and is being worked on until then: send a fresh copy of the message,
    /// delayed as long, and acknowledge this one.
    OwnerInProgress {
        /// When that lease ends.
        until: Seconds,
    },
    /// Time ran out. What was delivered is noted.
    OutOfTime,
}

/// What was done with an object that is done, or with several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct IngestReport {
    /// What became of the events.
    #[serde(flatten)]
    pub counts: Counts,
    /// Of the duplicates, those whose first copy stands in the same object.
    pub repeats: u64,
    /// Events that share an ID with another of different content.
    pub conflicts: u64,
    /// Events delivered in the stead of a stalled owner; among `counts.delivered`.
    pub helped: u64,
    /// Calls to the sink by this attempt.
    pub calls: u64,
    /// Bytes as stored.
    pub stored_bytes: u64,
    /// Bytes decompressed.
    pub json_bytes: u64,
    /// Bytes given to the sink by this attempt.
    pub sent_bytes: u64,
    /// `eventTime` of the newest event, in seconds since 1970.
    pub newest: Option<Seconds>,
}

impl IngestReport {
    /// Adds another object's.
    pub fn merge(&mut self, other: &Self) {
        let Self { counts, repeats, conflicts, helped, calls, stored_bytes, json_bytes, sent_bytes, newest } = other;
        self.counts.merge(counts);
        self.repeats += repeats;
        self.conflicts += conflicts;
        self.helped += helped;
        self.calls += calls;
        self.stored_bytes += stored_bytes;
        self.json_bytes += json_bytes;
        self.sent_bytes += sent_bytes;
        self.newest = self.newest.max(*newest);
    }
}

/// What failed.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Fetching.
    #[error("fetch: {0}")]
    Source(#[from] SourceError),
    /// The ledger.
    #[error("ledger: {0}")]
    Ledger(#[from] LedgerError),
    /// Delivering.
    #[error("deliver: {0}")]
    Sink(#[from] SinkError),
    /// The object read differently the second time: memory or program is broken.
    #[error("decode: {0}")]
    Decode(#[from] crate::decode::DecodeError),
    /// Packing: a line beyond the record limit that was not set aside.
    #[error("pack: {0}")]
    Pack(#[from] crate::pack::PackError),
}
