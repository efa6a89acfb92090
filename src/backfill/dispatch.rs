//! Dispatch: objects as messages, in the shape of an S3 notification, so that they are ingested by the way that every
//! object goes. And the post beneath it, which sends units to the backfill queue too.

use super::budget::Budget;
use super::{DispatchError, Dispatcher, Submitted};
use crate::backoff::{Backoff, Pace};
use crate::notification;
use crate::object::ObjectRef;
use crate::queue::{MAX_BATCH_BODIES, Outbox};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How many bytes the bodies of one batch may have together. SQS allows 1 MiB, and allowed 256 KiB until August 2025;
/// emulators still do.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
const BATCH_BYTES: usize = 256 * 1024 - 4096;

/// How often a body is sent before the unit fails, and comes back later by way of its own queue.
const ATTEMPTS: u32 = 8;

/// Between the attempts. The SDK has its own, shorter, around each of them.
const PACE: Pace = Pace { base: Duration::from_millis(200), cap: Duration::from_secs(10) };

/// What one message may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// Bytes of its body. SQS bills every 64 KiB begun.
    pub body_bytes: usize,
    /// Objects. One that fails brings its neighbours back with it: they are found done, for one write each.
    pub objects: usize,
    /// Stored bytes of its objects: a message must be worked off within one invocation.
    pub stored_bytes: u64,
}

impl Default for Packing {
    fn default() -> Self {
        Self { body_bytes: 64 * 1024, objects: 25, stored_bytes: 16 << 20 }
    }
}

/// A message to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundMessage {
    /// Its body.
    pub body: String,
    /// The objects it holds.
    pub objects: usize,
    /// Their stored bytes, which count against the budget.
    pub stored_bytes: u64,
}

impl OutboundMessage {
    /// A message that costs nothing of the budget.
    pub fn of(body: String) -> Self {
        Self { body, objects: 0, stored_bytes: 0 }
    }
}

/// Packs objects into as few messages as `packing` allows, in their order.
pub fn pack(objects: &[ObjectRef], packing: Packing) -> Vec<OutboundMessage> {
    let mut messages = Vec::new();
    let mut builder = MessageBuilder::default();
    for object in objects {
        let body = notification::render(object);
        let record = record(&body);
        let bytes = object.size.unwrap_or(0);
        let full = builder.objects >= packing.objects
            || builder.records.len() + record.len() + 1 + FRAME > packing.body_bytes
            || builder.stored_bytes.saturating_add(bytes) > packing.stored_bytes;
        if full && builder.objects > 0 {
            messages.push(std::mem::take(&mut builder).finish());
        }
        builder.add(record, bytes);
    }
    if builder.objects > 0 {
        messages.push(builder.finish());
    }
    messages
}

/// The bytes of a body around its records.
const FRAME: usize = r#"{"Records":[]}"#.len();

/// A message that is being packed.
#[derive(Debug, Default)]
struct MessageBuilder {
    records: String,
    objects: usize,
    stored_bytes: u64,
}

impl MessageBuilder {
    fn add(&mut self, record: &str, bytes: u64) {
        if self.objects > 0 {
            self.records.push(',');
        }
        self.records.push_str(record);
        self.objects += 1;
        self.stored_bytes = self.stored_bytes.saturating_add(bytes);
    }

    fn finish(self) -> OutboundMessage {
        let Self { records, objects, stored_bytes } = self;
        OutboundMessage { body: format!(r#"{{"Records":[{records}]}}"#), objects, stored_bytes }
    }
}

/// The only record of a notification of one object, as it is spelled there.
fn record(body: &str) -> &str {
    #[derive(Deserialize)]
    struct SingleRecord<'b> {
        #[serde(borrow, rename = "Records")]
        records: [&'b RawValue; 1],
    }
    // `render` writes exactly one; were it otherwise, the receiver would say so of the message.
    serde_json::from_str::<SingleRecord<'_>>(body).map_or(body, |notification| notification.records[0].get())
}

/// Sends messages in batches, and of a batch again only what was not accepted.
#[derive(Debug, Clone)]
pub struct MessageSender {
    outbox: Arc<dyn Outbox>,
    budget: Arc<Budget>,
    pace: Pace,
}

impl MessageSender {
    /// Sends into `outbox`, within `budget`.
    pub fn new(outbox: Arc<dyn Outbox>, budget: Arc<Budget>) -> Self {
        Self { outbox, budget, pace: PACE }
    }

    /// The same post, waiting at another pace between attempts.
    pub fn with_pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// Sends, batch after batch, until `stop`. Returns how many of the parcels, from the first on, are known to be
    /// accepted, and why not all.
    pub async fn send(&self, messages: &[OutboundMessage], stop: Instant) -> (usize, Option<DispatchError>) {
        let mut sent = 0;
        while sent < messages.len() {
            let batch = batch(&messages[sent..]);
            let bytes = batch.iter().map(|message| message.stored_bytes).sum();
            let Some(at) = self.budget.reserve(bytes, Instant::now(), stop) else {
                return (sent, Some(DispatchError::OutOfTime));
            };
            sleep_until(at).await;
            if let Err(error) = self.send_batch(batch, stop).await {
                // Some of the batch may have gone; which does not matter, for what is sent twice is ingested once.
                return (sent, Some(error));
            }
            sent += batch.len();
        }
        (sent, None)
    }

    async fn send_batch(&self, batch: &[OutboundMessage], stop: Instant) -> Result<(), DispatchError> {
        let mut bodies: Vec<&str> = batch.iter().map(|message| message.body.as_str()).collect();
        let mut backoff = Backoff::new(self.pace, fastrand::f64);
        let mut attempt = 1;
        loop {
            let reason = match self.outbox.send_batch(&bodies).await {
                Ok(missed) if missed.is_empty() => return Ok(()),
                Ok(missed) => {
                    if let Some(refused) = missed.iter().find(|missed| !missed.transient) {
                        return Err(DispatchError::Failed(refused.reason.clone()));
                    }
                    let again = bodies.iter().enumerate();
                    let again = again.filter(|(index, _)| missed.iter().any(|missed| missed.index == *index));
                    bodies = again.map(|(_, body)| *body).collect();
                    missed.into_iter().next().map(|missed| missed.reason).unwrap_or_default()
                }
                Err(error) => error.to_string(),
            };
            let at = Instant::now() + backoff.wait();
            if attempt >= ATTEMPTS || at >= stop {
                return Err(DispatchError::Failed(format!(
                    "{} messages not accepted in {attempt} attempts: {reason}",
                    bodies.len()
                )));
            }
            attempt += 1;
            sleep_until(at).await;
        }
    }
}

/// As many of the first parcels as one batch may hold; at least one.
fn batch(messages: &[OutboundMessage]) -> &[OutboundMessage] {
    let mut bytes = 0;
    let fits = messages.iter().take(MAX_BATCH_BODIES).take_while(|message| {
        bytes += message.body.len();
        bytes <= BATCH_BYTES
    });
    let fit = fits.count().max(1).min(messages.len());
    &messages[..fit]
}

/// Hands objects in by way of a queue.
#[derive(Debug, Clone)]
pub struct QueueDispatcher {
    sender: MessageSender,
    packing: Packing,
}

impl QueueDispatcher {
    /// Sends by `sender`, packed so.
    pub fn new(sender: MessageSender, packing: Packing) -> Self {
        Self { sender, packing }
    }
}

#[async_trait]
impl Dispatcher for QueueDispatcher {
    async fn submit(&self, objects: &[ObjectRef], stop: Instant) -> Submitted {
        let messages = pack(objects, self.packing);
        let (sent, error) = self.sender.send(&messages, stop).await;
        let accepted = messages[..sent].iter().map(|message| message.objects).sum();
        Submitted { accepted, messages: sent as u64, error }
    }
}

#[cfg(test)]
mod tests;
