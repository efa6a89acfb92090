//! Sinks: the destinations that events are delivered to. Each adapter has a file of its own.

pub mod cost;
#[cfg(feature = "firehose")]
pub mod firehose;
#[cfg(feature = "cli")]
pub mod jsonl;
pub mod metered;
pub mod oversize;

use crate::event::{EventId, EventScope};
use crate::object::Object;
use crate::pack::{PackLimits, SinkCall};
use async_trait::async_trait;
use tokio::time::Instant;

/// A destination of events: a Firehose stream or a folder of JSON Lines files.
#[async_trait]
pub trait Sink: Send + Sync + std::fmt::Debug {
    /// Returns the size limits of one call and of its records.
    fn limits(&self) -> PackLimits;

    /// Opens a transaction. Deliveries and ledger writes within the transaction become durable together if the sink
    /// supports this (JSON Lines files with an SQLite ledger). For every other sink a transaction has no effect.
    ///
    /// # Errors
    /// Returns an error if an earlier failure invalidated the sink.
    async fn begin(&self) -> Result<Transaction, SinkError>;

    /// Delivers one call and returns when all of its records are acknowledged. Only failed records are sent again,
    /// until `deadline`.
    ///
    /// # Errors
    /// [`SinkError::Partial`] if some records are acknowledged and others are not. On any other error the call counts
    /// as not delivered, although some of its records may have arrived.
    async fn deliver(&self, call: &SinkCall, deadline: Instant) -> Result<(), SinkError>;

    /// Stores an event that exceeds the record limit and returns its location. The name of the stored copy depends only
    /// on the object and the event's index, so a retry overwrites it.
    ///
    /// # Errors
    /// Returns [`SinkError::NoOversizeStore`] if the sink has no oversize store, [`SinkError::Denied`] if a permission
    /// is missing, or [`SinkError::Unavailable`] if the store fails.
    async fn store_oversize(&self, event: &Oversize<'_>) -> Result<String, SinkError>;

    /// Makes all deliveries so far durable. Does nothing if a delivery is durable once it is acknowledged.
    ///
    /// # Errors
    /// Returns an error if the deliveries since the last checkpoint could not be written.
    async fn flush(&self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Returns how many checkpoints are complete. A transaction is durable once this number reaches
    /// [`Transaction::checkpoint`]. `None` if a delivery is durable once it is acknowledged.
    fn checkpoints(&self) -> Option<u64> {
        None
    }
}

/// An event that exceeds the sink's record limit.
#[derive(Debug, Clone, Copy)]
pub struct Oversize<'a> {
    /// The object that contains the event.
    pub object: &'a Object,
    /// The event's index in `Records`.
    pub ordinal: u32,
    /// The event's ID.
    pub id: EventId,
    /// The event's account, region and time.
    pub scope: &'a EventScope,
    /// The event's bytes, without a line end.
    pub line: &'a [u8],
}

/// A transaction: one or more deliveries and the ledger writes that record them. See [`Sink::begin`].
///
/// [`Transaction::commit`] ends it. If a transaction is dropped without a commit, its sink must assume that the ledger
/// did not record a delivery.
#[must_use = "a transaction that is dropped without commit counts as aborted"]
pub struct Transaction {
    checkpoint: u64,
    end: Option<Box<dyn FnOnce(TransactionEnd) + Send + Sync>>,
}

/// The result of a [`Transaction`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionEnd {
    /// The deliveries and the ledger writes that record them are complete.
    Committed,
    /// The transaction was dropped because of an error or a panic between the delivery and its ledger write.
    Aborted,
}

impl Transaction {
    /// Returns a transaction that has no effect.
    pub fn none() -> Self {
        Self { checkpoint: 0, end: None }
    }

    /// Returns a transaction that becomes durable with the checkpoint of this number, counted from 1, and that calls
    /// `end` once, when it ends.
    pub fn new(checkpoint: u64, end: impl FnOnce(TransactionEnd) + Send + Sync + 'static) -> Self {
        Self { checkpoint, end: Some(Box::new(end)) }
    }

    /// Returns the number of the checkpoint that makes the transaction durable, or 0 if it is durable when it ends.
    pub fn checkpoint(&self) -> u64 {
        self.checkpoint
    }

    /// Ends the transaction after the deliveries and their ledger writes are complete.
    pub fn commit(mut self) {
        if let Some(end) = self.end.take() {
            end(TransactionEnd::Committed);
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end(TransactionEnd::Aborted);
        }
    }
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Transaction").field(&self.end.is_some()).finish()
    }
}

/// The reason why a sink did not deliver a call.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The deadline passed before all records were acknowledged. A later attempt may succeed.
    #[error("{failed} of {records} records were not delivered before the deadline; last error: {code}")]
    OutOfTime {
        /// Records not acknowledged.
        failed: usize,
        /// Records in the call.
        records: usize,
        /// The sink's last error code.
        code: String,
    },
    /// Some records of the call are acknowledged and durable, the others are not.
    #[error("{error}")]
    Partial {
        /// Indices of the records that are not acknowledged, in ascending order: at least one record of the call, but
        /// not all.
        unacknowledged: Vec<usize>,
        /// Why these records are not acknowledged.
        error: Box<SinkError>,
    },
    /// Access was denied. The text names the missing permission.
    #[error("{0}")]
    Denied(String),
    /// The destination does not exist. Repeating the call does not help until a person creates it or corrects its name.
    #[error("{0}")]
    NotFound(String),
    /// An event exceeds the sink's record limit and no oversize store is configured.
    #[error("{0}")]
    NoOversizeStore(String),
    /// The disk of the destination has less free space than the limit. Repeating the call does not help until a person
    /// frees space.
    #[error("{0}")]
    LowSpace(String),
    /// Any other error. A later attempt may succeed.
    #[error("{0}")]
    Unavailable(String),
}
