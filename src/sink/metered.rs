//! A sink that counts what Firehose would bill for what another sink is given.

use super::cost::SinkCounters;
use super::{Oversize, Sink, SinkError, Span};
use crate::pack::{Call, PackLimits};
use async_trait::async_trait;
use std::sync::Arc;
use tokio::time::Instant;

/// Counts what Firehose would bill for the calls that the sink within takes. A record longer than Firehose's limit, as
/// files have it, counts as the records it would be: their limit is a whole number of billed steps.
#[derive(Debug)]
pub struct MeteredSink {
    within: Arc<dyn Sink>,
    usage: Arc<SinkCounters>,
}

impl MeteredSink {
    /// Counts what is given to `within` through this.
    pub fn new(within: Arc<dyn Sink>) -> Self {
        Self { within, usage: Arc::default() }
    }

    /// The counters.
    pub fn usage(&self) -> Arc<SinkCounters> {
        Arc::clone(&self.usage)
    }
}

#[async_trait]
impl Sink for MeteredSink {
    fn limits(&self) -> PackLimits {
        self.within.limits()
    }

    async fn span(&self) -> Result<Span, SinkError> {
        self.within.span().await
    }

    async fn deliver(&self, call: &Call, deadline: Instant) -> Result<(), SinkError> {
        self.within.deliver(call, deadline).await?;
        self.usage.took(call);
        Ok(())
    }

    async fn store_oversize(&self, event: &Oversize<'_>) -> Result<String, SinkError> {
        self.within.store_oversize(event).await
    }

    async fn flush(&self) -> Result<(), SinkError> {
        self.within.flush().await
    }
}
