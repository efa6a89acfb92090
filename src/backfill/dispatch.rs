//! Dispatch: enqueues objects as S3 notifications, so that they are ingested like all other objects. Also contains the
//! message sender, which enqueues the backfill's tasks too.

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

/// Maximum total size of the bodies of one batch in bytes. SQS allows 1 MiB; until August 2025 the limit was 256 KiB,
/// which emulators still enforce.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
const BATCH_BYTES: usize = 256 * 1024 - 4096;

/// Number of attempts to send a message before the unit fails and is retried by its own queue.
const ATTEMPTS: u32 = 8;

/// Delays between the attempts. The SDK additionally retries each attempt with shorter delays.
const PACE: Pace = Pace { base: Duration::from_millis(200), cap: Duration::from_secs(10) };

/// The limits of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// Maximum size of the body in bytes. SQS bills each started 64 KiB as one request.
    pub body_bytes: usize,
    /// Maximum number of objects. If one object fails, the whole message is retried: the other objects are found done,
    /// at the cost of one write each.
    pub objects: usize,
    /// Maximum stored bytes of the objects. A message must be processed within one invocation.
    pub stored_bytes: u64,
}

impl Default for Packing {
    fn default() -> Self {
        Self { body_bytes: 64 * 1024, objects: 25, stored_bytes: 16 << 20 }
    }
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundMessage {
    /// The body of the message.
    pub body: String,
    /// Number of objects in the message.
    pub objects: usize,
    /// Stored bytes of the objects, which count against the budget.
    pub stored_bytes: u64,
}

impl OutboundMessage {
    /// Creates a message that does not count against the budget.
    pub fn of(body: String) -> Self {
        Self { body, objects: 0, stored_bytes: 0 }
    }
}

/// Packs objects in order into as few messages as `packing` allows.
pub(crate) fn pack(objects: &[ObjectRef], packing: Packing) -> Vec<OutboundMessage> {
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

/// Bytes of a body in addition to its records.
const FRAME: usize = r#"{"Records":[]}"#.len();

/// A message under construction.
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

/// Returns the text of the only record in the notification of one object.
fn record(body: &str) -> &str {
    #[derive(Deserialize)]
    struct SingleRecord<'b> {
        #[serde(borrow, rename = "Records")]
        records: [&'b RawValue; 1],
    }
    // `render` writes exactly one record. If that changed, the receiver would reject the message.
    serde_json::from_str::<SingleRecord<'_>>(body).map_or(body, |notification| notification.records[0].get())
}

/// Sends messages in batches, and retries only the messages of a batch that were not accepted.
#[derive(Debug, Clone)]
pub struct MessageSender {
    outbox: Arc<dyn Outbox>,
    budget: Arc<Budget>,
    pace: Pace,
}

impl MessageSender {
    /// Creates a sender for `outbox` within `budget`.
    pub fn new(outbox: Arc<dyn Outbox>, budget: Arc<Budget>) -> Self {
        Self { outbox, budget, pace: PACE }
    }

    /// Sets the delays between attempts.
    pub fn with_pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// Sends the messages in batches until `stop`. Returns how many messages, counted from the first, are known to be
    /// accepted, and why not all were.
    pub async fn send(&self, messages: &[OutboundMessage], stop: Instant) -> (usize, Option<DispatchError>) {
        let mut sent = 0;
        while sent < messages.len() {
            let batch = batch(&messages[sent..]);
            let bytes = batch.iter().map(|message| message.stored_bytes).sum();
            match self.budget.reserve(bytes, Instant::now(), stop) {
                Ok(at) => sleep_until(at).await,
                Err(error) => return (sent, Some(error)),
            }
            if let Err(error) = self.send_batch(batch, stop).await {
                // Part of the batch may have been sent. That is safe: an object that is sent twice is ingested once.
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
                    let retried = bodies.iter().enumerate();
                    let retried = retried.filter(|(index, _)| missed.iter().any(|missed| missed.index == *index));
                    bodies = retried.map(|(_, body)| *body).collect();
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

/// Returns the longest prefix of the messages that fits into one batch, at least one message.
fn batch(messages: &[OutboundMessage]) -> &[OutboundMessage] {
    let mut bytes = 0;
    let fits = messages.iter().take(MAX_BATCH_BODIES).take_while(|message| {
        bytes += message.body.len();
        bytes <= BATCH_BYTES
    });
    let fit = fits.count().max(1).min(messages.len());
    &messages[..fit]
}

/// Submits objects to a queue.
#[derive(Debug, Clone)]
pub struct QueueDispatcher {
    sender: MessageSender,
    packing: Packing,
}

impl QueueDispatcher {
    /// Creates a dispatcher that packs objects within the limits of `packing` and sends them with `sender`.
    pub fn new(sender: MessageSender, packing: Packing) -> Self {
        Self { sender, packing }
    }

    /// Returns the time until which other batches use the budget, if that is not before `stop`.
    pub(crate) fn budget_used_until(&self, stop: Instant) -> Option<Instant> {
        self.sender.budget.used_until(stop)
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
