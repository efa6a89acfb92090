//! Queues of notifications. Each adapter has a file of its own.

#[cfg(all(feature = "cli", feature = "sqs"))]
pub mod redrive;
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

    /// Sends a message.
    async fn send(&self, target: Target<'_>, message: &OutgoingMessage<'_>) -> Result<(), QueueError>;
}

/// The maximum delay of a message (`DelaySeconds`). It is also the maximum of the increasing waits in the deferred
/// queue, so that a message is retried soon after an outage.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html>
pub const MAX_DELAY: Duration = Duration::from_secs(900);

/// The queue to which a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// The queue that this message was received from. `None`: the adapter's own queue.
    SourceOf(Option<&'a Message>),
    /// The queue with this URL.
    Url(&'a str),
}

/// A message to send.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutgoingMessage<'a> {
    /// The body.
    pub body: &'a str,
    /// The delay until the message can be received, limited to [`MAX_DELAY`].
    pub delay: Duration,
    /// The value of [`FIRST_SEEN_ATTRIBUTE`](crate::notification::FIRST_SEEN_ATTRIBUTE).
    pub first_seen: Option<i64>,
    /// The value of [`SOURCE_ATTRIBUTE`](crate::notification::SOURCE_ATTRIBUTE).
    pub source_arn: Option<&'a str>,
    /// The value of [`REASON_ATTRIBUTE`](crate::notification::REASON_ATTRIBUTE).
    pub reason: Option<&'a str>,
}

impl<'a> OutgoingMessage<'a> {
    /// Returns a copy of a received message, with the time at which it was first seen and its source.
    pub fn copy_of(message: &'a Message) -> Self {
        Self {
            body: &message.body,
            first_seen: message.first_seen(),
            source_arn: Some(message.source_arn()),
            ..Self::default()
        }
    }
}

/// Returns the name of a queue: the last part of its URL or its ARN.
pub fn queue_name(queue: &str) -> &str {
    queue.rsplit(['/', ':']).next().unwrap_or(queue)
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

    /// Sends a body whose delivery is delayed by `delay`, limited to [`MAX_DELAY`].
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
