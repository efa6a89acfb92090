//! Dispatch: objects as messages, in the shape of an S3 notification, so that they are ingested by the way that every
//! object goes. And the post beneath it, which sends units to the backfill queue too.

use super::budget::Budget;
use super::{Broke, HandedIn, Intake};
use crate::backoff::{Backoff, Pace};
use crate::notification;
use crate::object::ObjectRef;
use crate::queue::{BODIES_AT_ONCE, Outbox};
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
pub struct Parcel {
    /// Its body.
    pub body: String,
    /// The objects it holds.
    pub objects: usize,
    /// Their stored bytes, which count against the budget.
    pub stored_bytes: u64,
}

impl Parcel {
    /// A message that costs nothing of the budget.
    pub fn of(body: String) -> Self {
        Self { body, objects: 0, stored_bytes: 0 }
    }
}

/// Packs objects into as few messages as `packing` allows, in their order.
pub fn pack(objects: &[ObjectRef], packing: Packing) -> Vec<Parcel> {
    let mut parcels = Vec::new();
    let mut open = Open::default();
    for object in objects {
        let body = notification::render(object);
        let record = record(&body);
        let bytes = object.size.unwrap_or(0);
        let full = open.objects >= packing.objects
            || open.records.len() + record.len() + 1 + FRAME > packing.body_bytes
            || open.stored_bytes.saturating_add(bytes) > packing.stored_bytes;
        if full && open.objects > 0 {
            parcels.push(std::mem::take(&mut open).close());
        }
        open.add(record, bytes);
    }
    if open.objects > 0 {
        parcels.push(open.close());
    }
    parcels
}

/// The bytes of a body around its records.
const FRAME: usize = r#"{"Records":[]}"#.len();

/// A message that is being packed.
#[derive(Debug, Default)]
struct Open {
    records: String,
    objects: usize,
    stored_bytes: u64,
}

impl Open {
    fn add(&mut self, record: &str, bytes: u64) {
        if self.objects > 0 {
            self.records.push(',');
        }
        self.records.push_str(record);
        self.objects += 1;
        self.stored_bytes = self.stored_bytes.saturating_add(bytes);
    }

    fn close(self) -> Parcel {
        let Self { records, objects, stored_bytes } = self;
        Parcel { body: format!(r#"{{"Records":[{records}]}}"#), objects, stored_bytes }
    }
}

/// The only record of a notification of one object, as it is spelled there.
fn record(body: &str) -> &str {
    #[derive(Deserialize)]
    struct One<'b> {
        #[serde(borrow, rename = "Records")]
        records: [&'b RawValue; 1],
    }
    // `render` writes exactly one; were it otherwise, the receiver would say so of the message.
    serde_json::from_str::<One<'_>>(body).map_or(body, |one| one.records[0].get())
}

/// Sends messages in batches, and of a batch again only what was not accepted.
#[derive(Debug, Clone)]
pub struct Post {
    outbox: Arc<dyn Outbox>,
    budget: Arc<Budget>,
    pace: Pace,
}

impl Post {
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
    pub async fn send(&self, parcels: &[Parcel], stop: Instant) -> (usize, Option<Broke>) {
        let mut sent = 0;
        while sent < parcels.len() {
            let batch = batch(&parcels[sent..]);
            let bytes = batch.iter().map(|parcel| parcel.stored_bytes).sum();
            let Some(at) = self.budget.reserve(bytes, Instant::now(), stop) else {
                return (sent, Some(Broke::OutOfTime));
            };
            sleep_until(at).await;
            if let Err(broke) = self.send_batch(batch, stop).await {
                // Some of the batch may have gone; which does not matter, for what is sent twice is ingested once.
                return (sent, Some(broke));
            }
            sent += batch.len();
        }
        (sent, None)
    }

    async fn send_batch(&self, batch: &[Parcel], stop: Instant) -> Result<(), Broke> {
        let mut bodies: Vec<&str> = batch.iter().map(|parcel| parcel.body.as_str()).collect();
        let mut backoff = Backoff::new(self.pace, fastrand::f64);
        let mut attempt = 1;
        loop {
            let reason = match self.outbox.send_batch(&bodies).await {
                Ok(missed) if missed.is_empty() => return Ok(()),
                Ok(missed) => {
                    if let Some(refused) = missed.iter().find(|missed| !missed.passing) {
                        return Err(Broke::Failed(refused.reason.clone()));
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
                return Err(Broke::Failed(format!(
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
fn batch(parcels: &[Parcel]) -> &[Parcel] {
    let mut bytes = 0;
    let fits = parcels.iter().take(BODIES_AT_ONCE).take_while(|parcel| {
        bytes += parcel.body.len();
        bytes <= BATCH_BYTES
    });
    let fit = fits.count().max(1).min(parcels.len());
    &parcels[..fit]
}

/// Hands objects in by way of a queue.
#[derive(Debug, Clone)]
pub struct Dispatch {
    post: Post,
    packing: Packing,
}

impl Dispatch {
    /// Sends by `post`, packed so.
    pub fn new(post: Post, packing: Packing) -> Self {
        Self { post, packing }
    }
}

#[async_trait]
impl Intake for Dispatch {
    async fn hand_in(&self, objects: &[ObjectRef], stop: Instant) -> HandedIn {
        let parcels = pack(objects, self.packing);
        let (sent, broke) = self.post.send(&parcels, stop).await;
        let taken = parcels[..sent].iter().map(|parcel| parcel.objects).sum();
        HandedIn { taken, messages: sent as u64, broke }
    }
}

#[cfg(test)]
mod tests;
