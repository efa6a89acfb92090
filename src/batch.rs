//! Batch: the messages of one invocation, their objects in parallel, and which messages must come back.

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

/// What an object may take beside its bytes: inflate buffer, one call and its copy on the wire, in MiB.
const OVERHEAD_MIB: u64 = 10;

/// What an object whose size the notification does not say is taken for, in bytes.
const UNKNOWN_SIZE: u64 = MIB;

/// Runs the objects of an invocation in parallel, within one concurrency and one memory budget.
#[derive(Debug)]
pub struct Batch {
    ingest: Ingest,
    /// Where deferred objects are sent again; without one they fail, and the caller repeats them.
    queue: Option<Arc<dyn Queue>>,
    slots: Semaphore,
    memory: Semaphore,
    memory_mib: u32,
}

/// What became of an invocation.
#[derive(Debug, Default)]
pub struct BatchReport {
    /// Of all its objects.
    pub tally: Tally,
    /// The messages that must come back, by the queue's names for them.
    pub failed: Vec<String>,
}

/// Whether a message may be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disposition {
    Acknowledge,
    Retry,
}

impl Batch {
    /// At most `concurrency` objects at once, which together take no more than about `memory_mib`.
    pub fn new(ingest: Ingest, queue: Option<Arc<dyn Queue>>, concurrency: usize, memory_mib: u32) -> Self {
        let slots = Semaphore::new(concurrency.max(1));
        let memory = Semaphore::new(memory_mib.max(1) as usize);
        Self { ingest, queue, slots, memory, memory_mib: memory_mib.max(1) }
    }

    /// Answers a queue's messages, each by itself: a message that is not understood, or one of whose objects failed,
    /// comes back alone.
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

    /// Answers a direct notification, as a whole: `failed` has a name for every object that must come back.
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
                // Acknowledging what is not understood is how events are lost in silence.
                tracing::error!(message = message.id, queue = message.queue_arn, %error, "not understood; left to the dead-letter queue");
                tally.not_understood += 1;
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
        // An object beyond the whole budget works alone, rather than never.
        let permits = (self.slots.acquire(), self.memory.acquire_many(weight.min(self.memory_mib)));
        match tokio::time::timeout_at(deadline.stop, async { (permits.0.await, permits.1.await) }).await {
            Ok((Ok(_slot), Ok(_memory))) => self.ingest.object(at, deadline).await,
            _ => Outcome::Deferred(Deferred::OutOfTime),
        }
    }

    async fn defer(&self, at: &ObjectRef, deferred: Deferred, message: Option<&Message>) -> Disposition {
        let now = self.ingest.ledger.now();
        let wait = |until: i64| Duration::from_secs(u64::try_from(until + 1 - now).unwrap_or(0).max(1));
        let told = match (&self.queue, deferred, message) {
            // Back now would only be refused again, and each return brings the message nearer to the dead letters.
            (Some(queue), Deferred::Leased { until }, Some(message)) => {
                queue.hide(message, wait(until)).await.map(|()| Disposition::Retry)
            }
            // A fresh copy: handing this one back would burn its receive count while it waits for another object.
            (Some(queue), Deferred::OwnerInProgress { until } | Deferred::Leased { until }, _) => {
                queue.send(&notification::render(at), wait(until), message).await.map(|()| Disposition::Acknowledge)
            }
            (_, Deferred::OutOfTime, _) | (None, _, _) => Ok(Disposition::Retry),
        };
        told.unwrap_or_else(|error| {
            tracing::warn!(object = %at, %error, "could not be put off; the message comes back by itself");
            Disposition::Retry
        })
    }
}

/// One line an object that did not simply go through.
fn log(at: &ObjectRef, outcome: &Outcome) {
    match outcome {
        Outcome::Done(report) if report.conflicts > 0 => {
            tracing::warn!(object = %at, conflicts = report.conflicts, "an event ID recurs with other content; the first was delivered");
        }
        Outcome::Done(_) | Outcome::AlreadyDone => tracing::debug!(object = %at, outcome = "done"),
        Outcome::Skipped(kind) => tracing::debug!(object = %at, kind, "no log file"),
        Outcome::Quarantined(aside) => {
            tracing::error!(object = %at, kind = aside.kind, reason = aside.reason, before = aside.before, "set aside");
        }
        Outcome::Deferred(deferred) => tracing::info!(object = %at, ?deferred, "not now"),
        Outcome::Failed(error) => tracing::error!(object = %at, %error, "failed; comes back"),
    }
}
