//! Batch: processes the objects of an invocation's messages in parallel, and decides which messages must be retried.

use crate::ingest::{Deadline, Deferred, Ingest, Outcome};
use crate::notification::{self, Message, Notice};
use crate::object::ObjectRef;
use crate::queue::Queue;
use crate::tally::Tally;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

const MIB: u64 = 1 << 20;

/// Memory in MiB that an object needs in addition to its bytes: the decompression buffer, one call to the sink, and its
/// copy in the HTTP client.
const OVERHEAD_MIB: u64 = 10;

/// Assumed size in bytes of an object whose notification does not contain its size.
const UNKNOWN_SIZE: u64 = MIB;

/// Processes the objects of an invocation in parallel, within a concurrency limit and a memory budget.
#[derive(Debug)]
pub struct Batch {
    ingest: Ingest,
    /// The queue to which deferred objects are sent. Without a queue, deferred objects fail and the caller retries
    /// them.
    queue: Option<Arc<dyn Queue>>,
    slots: Semaphore,
    memory: Semaphore,
    memory_mib: u32,
}

/// The result of an invocation.
#[derive(Debug, Default)]
pub struct BatchReport {
    /// Counts of all objects by outcome.
    pub tally: Tally,
    /// IDs of the messages that must be retried.
    pub failed: Vec<String>,
}

/// Whether a message is acknowledged or retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disposition {
    Acknowledge,
    Retry,
}

impl Batch {
    /// Creates a batch that processes at most `concurrency` objects at a time, which together use about `memory_mib`
    /// MiB.
    pub fn new(ingest: Ingest, queue: Option<Arc<dyn Queue>>, concurrency: usize, memory_mib: u32) -> Self {
        let slots = Semaphore::new(concurrency.max(1));
        let memory = Semaphore::new(memory_mib.max(1) as usize);
        Self { ingest, queue, slots, memory, memory_mib: memory_mib.max(1) }
    }

    /// Processes the messages of a queue. Each message is retried on its own if it is invalid or if one of its objects
    /// failed.
    pub async fn messages(&self, messages: &[Message], deadline: Deadline) -> BatchReport {
        let answers = messages.iter().map(|message| self.message(message, deadline));
        let mut report = BatchReport::default();
        for (message, (answer, tally)) in messages.iter().zip(join_all(answers).await) {
            report.tally.merge(&tally);
            if answer == Disposition::Retry {
                report.failed.push(message.id.clone());
            }
        }
        report
    }

    /// Processes a direct notification. `failed` contains the names of the objects that must be retried.
    pub async fn notices(&self, notices: &[Notice], deadline: Deadline) -> BatchReport {
        let mut report = BatchReport::default();
        for (name, (answer, tally)) in self.all(notices, None, deadline).await {
            report.tally.merge(&tally);
            if answer == Disposition::Retry {
                report.failed.push(name);
            }
        }
        report
    }

    async fn message(&self, message: &Message, deadline: Deadline) -> (Disposition, Tally) {
        let mut tally = Tally::default();
        let notices = match notification::parse(&message.body) {
            Ok(notices) => notices,
            Err(error) => {
                // Acknowledging an invalid message would silently lose events.
                tracing::error!(message_id = message.id, queue = message.queue_arn, %error, "invalid message; not acknowledged");
                tally.invalid_messages += 1;
                return (Disposition::Retry, tally);
            }
        };
        let mut whole = Disposition::Acknowledge;
        for (_, (answer, part)) in self.all(&notices, Some(message), deadline).await {
            tally.merge(&part);
            if answer == Disposition::Retry {
                whole = Disposition::Retry;
            }
        }
        (whole, tally)
    }

    async fn all(
        &self,
        notices: &[Notice],
        message: Option<&Message>,
        deadline: Deadline,
    ) -> Vec<(String, (Disposition, Tally))> {
        let answers = notices.iter().map(async |notice| match notice {
            Notice::Object(at) => (at.to_string(), self.object(at, message, deadline).await),
            Notice::Ignored(ignored) => {
                let mut tally = Tally::default();
                tally.ignore(ignored.name());
                (ignored.name().to_owned(), (Disposition::Acknowledge, tally))
            }
        });
        join_all(answers).await
    }

    async fn object(&self, at: &ObjectRef, message: Option<&Message>, deadline: Deadline) -> (Disposition, Tally) {
        let outcome = self.within_budget(at, deadline).await;
        let mut tally = Tally::default();
        tally.add(&outcome);
        log(at, &outcome);
        let answer = match outcome {
            Outcome::Done(_) | Outcome::AlreadyDone | Outcome::Skipped(_) | Outcome::Quarantined(_) => {
                Disposition::Acknowledge
            }
            Outcome::Deferred(deferred) => self.defer(at, deferred, message).await,
            Outcome::Failed(_) => Disposition::Retry,
        };
        (answer, tally)
    }

    async fn within_budget(&self, at: &ObjectRef, deadline: Deadline) -> Outcome {
        let size = at.size.unwrap_or(UNKNOWN_SIZE);
        let held = (size.saturating_mul(10)).min(self.ingest.max_buffered_bytes as u64);
        let stored = size.min(self.ingest.max_buffered_bytes as u64);
        let weight = u32::try_from((stored.saturating_add(held)) / MIB + OVERHEAD_MIB).unwrap_or(u32::MAX);
        // An object that exceeds the whole budget is processed alone.
        let permits = (self.slots.acquire(), self.memory.acquire_many(weight.min(self.memory_mib)));
        match tokio::time::timeout_at(deadline.stop, async { (permits.0.await, permits.1.await) }).await {
            Ok((Ok(_slot), Ok(_memory))) => self.ingest.object(at, deadline).await,
            _ => Outcome::Deferred(Deferred::OutOfTime),
        }
    }

    async fn defer(&self, at: &ObjectRef, deferred: Deferred, message: Option<&Message>) -> Disposition {
        let now = self.ingest.ledger.now();
        let wait = |until: i64| Duration::from_secs(u64::try_from(until + 1 - now).unwrap_or(0).max(1));
        let result = match (&self.queue, deferred, message) {
            // An immediate retry would be deferred again, and each retry brings the message closer to the dead-letter
            // queue.
            (Some(queue), Deferred::Leased { until }, Some(message)) => {
                queue.hide(message, wait(until)).await.map(|()| Disposition::Retry)
            }
            // A new copy, because retrying this message would increase its receive count while it waits for another
            // object.
            (Some(queue), Deferred::OwnerInProgress { until } | Deferred::Leased { until }, _) => {
                queue.send(&notification::render(at), wait(until), message).await.map(|()| Disposition::Acknowledge)
            }
            (_, Deferred::OutOfTime, _) | (None, _, _) => Ok(Disposition::Retry),
        };
        result.unwrap_or_else(|error| {
            tracing::warn!(object = %at, %error, "could not defer the object; the message is retried by the queue");
            Disposition::Retry
        })
    }
}

/// Logs the outcome of an object.
fn log(at: &ObjectRef, outcome: &Outcome) {
    match outcome {
        Outcome::Done(report) if report.conflicts > 0 => {
            tracing::warn!(object = %at, conflicts = report.conflicts, "an event ID occurs with different content; the first event was delivered");
        }
        Outcome::Done(report) if report.unknown_kinds > 0 => {
            tracing::warn!(object = %at, events = report.counts.seen, "an unknown kind of CloudTrail file; its events were delivered. Check for a newer version of trailhose");
        }
        Outcome::Done(_) | Outcome::AlreadyDone => tracing::debug!(object = %at, outcome = "done"),
        Outcome::Skipped(kind) => tracing::debug!(object = %at, kind, "skipped: not a log file"),
        Outcome::Quarantined(quarantined) => {
            tracing::error!(object = %at, kind = quarantined.kind, reason = quarantined.reason, before = quarantined.before, "quarantined");
        }
        Outcome::Deferred(deferred) => tracing::info!(object = %at, ?deferred, "deferred"),
        Outcome::Failed(error) => tracing::error!(object = %at, %error, "failed; will be retried"),
    }
}
