//! A sink decorator that counts the usage Firehose would bill for the calls of another sink.

use super::cost::SinkCounters;
use super::{Oversize, Sink, SinkError, Transaction};
use crate::pack::{PackLimits, SinkCall};
use async_trait::async_trait;
use std::sync::Arc;
use tokio::time::Instant;

/// A sink that counts the usage Firehose would bill for the calls that the inner sink accepts.
///
/// A record of a JSON Lines file can exceed Firehose's record limit. It counts as one record, although Firehose would
/// receive several, each rounded up to the billing step. So the billed bytes can be too low, by at most one step for
/// each further record.
#[derive(Debug)]
pub struct MeteredSink {
    inner: Arc<dyn Sink>,
    usage: Arc<SinkCounters>,
}

impl MeteredSink {
    /// Wraps `inner` with counters that start at zero.
    pub fn new(inner: Arc<dyn Sink>) -> Self {
        Self { inner, usage: Arc::default() }
    }

    /// Returns the counters.
    pub fn counters(&self) -> Arc<SinkCounters> {
        Arc::clone(&self.usage)
    }
}

#[async_trait]
impl Sink for MeteredSink {
    fn limits(&self) -> PackLimits {
        self.inner.limits()
    }

    async fn begin(&self) -> Result<Transaction, SinkError> {
        self.inner.begin().await
    }

    async fn deliver(&self, call: &SinkCall, deadline: Instant) -> Result<(), SinkError> {
        self.inner.deliver(call, deadline).await?;
        self.usage.delivered(call);
        Ok(())
    }

    async fn store_oversize(&self, event: &Oversize<'_>) -> Result<String, SinkError> {
        self.inner.store_oversize(event).await
    }

    async fn flush(&self) -> Result<(), SinkError> {
        self.inner.flush().await
    }

    fn checkpoints(&self) -> Option<u64> {
        self.inner.checkpoints()
    }
}
