//! Sink: where events go. One trait, one adapter a file.

pub mod cost;
#[cfg(feature = "firehose")]
pub mod firehose;
#[cfg(feature = "cli")]
pub mod jsonl;
pub mod metered;
pub mod oversize;

use crate::event::{EventId, EventScope};
use crate::object::Object;
use crate::pack::{Call, PackLimits};
use async_trait::async_trait;
use tokio::time::Instant;

/// Where events go: a Firehose stream, a folder of JSON Lines.
#[async_trait]
pub trait Sink: Send + Sync + std::fmt::Debug {
    /// What one call may hold.
    fn limits(&self) -> PackLimits;

    /// Opens a span: what is delivered and what the ledger notes within it become durable together, where the sink
    /// can do that (JSON Lines with the ledger in the same SQLite file). For every other sink a span is nothing.
    async fn span(&self) -> Result<Span, SinkError>;

    /// Delivers one call and returns when all of it is acknowledged. What failed of it is sent again, and only that,
    /// until `deadline`.
    ///
    /// # Errors
    /// On any error the call counts as not delivered, though parts of it may have arrived.
    async fn deliver(&self, call: &Call, deadline: Instant) -> Result<(), SinkError>;

    /// Keeps an event that is too long for any record aside, under a name that is the same each time, and returns
    /// where it lies.
    async fn store_oversize(&self, event: &Oversize<'_>) -> Result<String, SinkError>;

    /// Makes everything delivered so far durable. A no-op where a delivery is durable by its acknowledgement.
    async fn flush(&self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// An event longer than the sink's record limit.
#[derive(Debug, Clone, Copy)]
pub struct Oversize<'a> {
    /// The object it came in.
    pub object: &'a Object,
    /// Its index in `Records`.
    pub ordinal: u32,
    /// Its identity.
    pub id: EventId,
    /// Where it belongs.
    pub scope: &'a EventScope,
    /// The event, without line end.
    pub line: &'a [u8],
}

/// See [`Sink::span`]. Must be ended by [`Span::commit`]; a span that is dropped without tells its sink that a delivery
/// may stand without its note.
#[must_use = "a span that is not committed voids what was delivered in it"]
pub struct Span(Option<Box<dyn FnOnce(SpanEnd) + Send + Sync>>);

/// How a span ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanEnd {
    /// Delivery and note are both in.
    Committed,
    /// Dropped half way: an error or a panic between delivery and note.
    Broken,
}

impl Span {
    /// The span of a sink that has nothing to tie together.
    pub fn none() -> Self {
        Self(None)
    }

    /// A span that calls `end` once, when it ends.
    pub fn new(end: impl FnOnce(SpanEnd) + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(end)))
    }

    /// Delivery and note are both in.
    pub fn commit(mut self) {
        if let Some(end) = self.0.take() {
            end(SpanEnd::Committed);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end(SpanEnd::Broken);
        }
    }
}

impl std::fmt::Debug for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Span").field(&self.0.is_some()).finish()
    }
}

/// Why a sink did not take a call.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Time ran out while parts of the call still failed. Comes back later.
    #[error("{failed} of {records} records still refused when time ran out, the last with {code}")]
    OutOfTime {
        /// Records not acknowledged.
        failed: usize,
        /// Records in the call.
        records: usize,
        /// The sink's last error code.
        code: String,
    },
    /// Permission denied: says which.
    #[error("{0}")]
    Denied(String),
    /// An event is too long for this sink and there is nowhere to set it aside.
    #[error("{0}")]
    NoOversizeStore(String),
    /// Anything else. Comes back later.
    #[error("{0}")]
    Unavailable(String),
}
