//! Queues of notifications. Each adapter has a file of its own.

#[cfg(feature = "sqs")]
pub mod sqs;

use crate::notification::Message;
use async_trait::async_trait;
use std::time::Duration;

/// A queue of notifications.
#[async_trait]
pub trait Queue: Send + Sync + std::fmt::Debug {
    /// Sets a received message's visibility timeout to `time` from now.
    async fn hide(&self, message: &Message, time: Duration) -> Result<(), QueueError>;

    /// Sends a body to the queue that `source` came from, or to the ingest queue without a `source`. The delivery is
    /// delayed by `delay`, limited to SQS's maximum of 15 minutes.
    async fn send(&self, body: &str, delay: Duration, source: Option<&Message>) -> Result<(), QueueError>;
}

/// The maximum number of bodies in one batch (`SendMessageBatch`).
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>
pub const MAX_BATCH_BODIES: usize = 10;

/// A queue that accepts batches of message bodies.
#[async_trait]
pub trait Outbox: Send + Sync + std::fmt::Debug {
    /// Sends at most [`MAX_BATCH_BODIES`] bodies and returns those that were *not* accepted.
    ///
    /// # Errors
    /// Returns an error if the result of the batch is unknown: each of its bodies may have been accepted.
    async fn send_batch(&self, bodies: &[&str]) -> Result<Vec<UnsentBody>, QueueError>;

    /// Sends a body whose delivery is delayed by `delay`, limited to SQS's maximum of 15 minutes.
    ///
    /// # Errors
    /// Returns an error if the body was not accepted, or if that is unknown.
    async fn send_delayed(&self, body: &str, delay: Duration) -> Result<(), QueueError>;
}

/// A body of a batch that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsentBody {
    /// The index in the batch.
    pub index: usize,
    /// Whether a retry can succeed.
    pub transient: bool,
    /// The reason that the queue reported.
    pub reason: String,
}

/// The reason why a queue request failed. An affected message becomes visible again after its visibility timeout.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct QueueError(pub String);
