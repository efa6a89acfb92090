//! Queue: where notifications wait. One trait, one adapter a file.

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

/// Why a queue did not answer. The message comes back by itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct QueueError(pub String);
