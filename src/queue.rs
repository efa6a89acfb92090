//! Queue: where notifications wait. One trait, one adapter a file.

#[cfg(feature = "sqs")]
pub mod sqs;

use crate::notification::Message;
use async_trait::async_trait;
use std::time::Duration;

/// Where notifications wait.
#[async_trait]
pub trait Queue: Send + Sync + std::fmt::Debug {
    /// Hides a received message for `time` from now.
    async fn hide(&self, message: &Message, time: Duration) -> Result<(), QueueError>;

    /// Sends a body into the queue `beside` came from, or into the ingest queue, delayed by at most `delay`: SQS allows
    /// 15 minutes.
    async fn send(&self, body: &str, delay: Duration, beside: Option<&Message>) -> Result<(), QueueError>;
}

/// Bodies in one batch: what one `SendMessageBatch` may hold.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>
pub const MAX_BATCH_BODIES: usize = 10;

/// Where many bodies are sent at once.
#[async_trait]
pub trait Outbox: Send + Sync + std::fmt::Debug {
    /// Sends at most [`MAX_BATCH_BODIES`] bodies and returns those that were *not* accepted; the others were.
    ///
    /// # Errors
    /// The batch as a whole was not answered: each of its bodies may or may not have been accepted.
    async fn send_batch(&self, bodies: &[&str]) -> Result<Vec<UnsentBody>, QueueError>;
}

/// A body that a batch was answered without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsentBody {
    /// Its index in the batch.
    pub index: usize,
    /// Whether sending it again can help.
    pub transient: bool,
    /// What the queue says.
    pub reason: String,
}

/// Why a queue did not answer. The message comes back by itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct QueueError(pub String);
