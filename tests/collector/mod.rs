//! A follower that collects all events in memory.

use async_trait::async_trait;
use trailhose::follow::{BatchLimits, EventBatch, Follower};

/// Collects all events in memory.
#[derive(Debug)]
pub struct Collector {
    /// The collected events, in the order of the segments.
    pub events: Vec<String>,
    limits: BatchLimits,
}

impl Collector {
    /// Creates a follower whose batches have at most this many events.
    pub fn with_batches_of(events: usize) -> Self {
        Self { events: Vec::new(), limits: BatchLimits { events, bytes: 1 << 20 } }
    }
}

#[async_trait]
impl Follower for Collector {
    fn name(&self) -> &str {
        "collector"
    }

    fn limits(&self) -> BatchLimits {
        self.limits
    }

    async fn deliver(&mut self, batch: &EventBatch) -> Result<(), String> {
        self.events.extend(batch.iter().map(|(_, event)| String::from_utf8(event.to_vec()).unwrap()));
        Ok(())
    }
}
