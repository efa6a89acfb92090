//! Batch: processes the objects of an invocation's messages in parallel, and decides for each message whether it is
//! acknowledged, retried, or moved to another queue.

mod breaker;
mod message;

pub use message::Deferral;

use crate::ingest::{Deadline, Deferred, Ingest, IngestError, Outcome};
use crate::ledger::model::row::Seconds;
use crate::notification::{self, Message, Notice};
use crate::object::ObjectRef;
use crate::queue::{Queue, queue_name};
use crate::source::SourceError;
use crate::tally::Tally;
use breaker::{Admission, Breaker};
use futures_util::future::join_all;
use std::sync::Arc;
use tokio::sync::Semaphore;

const MIB: u64 = 1 << 20;

/// Memory in MiB that an object needs in addition to its bytes: the decompression buffer, one call to the sink, and its
/// copy in the HTTP client.
const OVERHEAD_MIB: u64 = 10;

/// Decompressed bytes per stored byte. It is between 5.7 and 6.8 for whole buckets, and 10 for large objects.
const EXPANSION: u64 = 10;

/// Decompressed bytes of a typical event.
const EVENT_JSON_BYTES: u64 = 1_200;

/// Memory in bytes that each event needs until its object is done. `tests/memory.rs` measures it.
const EVENT_BYTES: u64 = 40;

/// Assumed size in bytes of an object whose notification does not contain its size.
const UNKNOWN_SIZE: u64 = MIB;

/// Processes the objects of an invocation in parallel, within a concurrency limit and a memory budget.
#[derive(Debug)]
pub struct Batch {
    ingest: Ingest,
    /// The queues of the messages. Without it, deferred objects fail and the caller retries them.
    queue: Option<Arc<dyn Queue>>,
    /// Where messages wait during an outage. Without it, they stay in their queue.
    deferral: Option<Deferral>,
    /// The URL of the queue of new objects. With it, the report contains the age of events of its objects only.
    lag_queue: Option<String>,
    breaker: Breaker,
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
    /// Objects that were not started because the circuit breaker is open.
    pub objects_not_started: u64,
    /// Messages moved to the deferred queue.
    pub messages_deferred: u64,
    /// Messages moved to the dead-letter queue.
    pub messages_dead_lettered: u64,
    /// When the oldest of the unfinished messages was first sent, in seconds since 1970.
    pub oldest_unfinished: Option<Seconds>,
    /// Whether the circuit breaker was open at the end of the invocation.
    pub breaker_open: bool,
}

/// Whether a message is acknowledged or retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disposition {
    Acknowledge,
    Retry,
}

/// What has to happen next with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
enum NextStep {
    /// Nothing.
    Finished,
    /// Another worker holds the object's lease until this time.
    WaitForLease { until: Seconds },
    /// Another object must finish first. Its lease ends at this time.
    WaitForOwner { until: Seconds },
    /// A later attempt can succeed without a change of the object: a service failed, or time ran out.
    Postpone { reason: String },
    /// The object must be retried. If no retry succeeds, its message goes to the dead-letter queue.
    Retry { reason: String },
}

impl Batch {
    /// Creates a batch that processes at most `concurrency` objects at a time, which together use about `memory_mib`
    /// MiB.
    pub fn new(ingest: Ingest, queue: Option<Arc<dyn Queue>>, concurrency: usize, memory_mib: u32) -> Self {
        let slots = Semaphore::new(concurrency.max(1));
        let memory = Semaphore::new(memory_mib.max(1) as usize);
        let (deferral, lag_queue, breaker) = (None, None, Breaker::default());
        Self { ingest, queue, deferral, lag_queue, breaker, slots, memory, memory_mib: memory_mib.max(1) }
    }

    /// Moves messages to these queues: to the deferred queue during an outage, and to the dead-letter queue if they are
    /// invalid or waited too long.
    #[must_use]
    pub fn with_deferral(self, deferral: Deferral) -> Self {
        Self { deferral: Some(deferral), ..self }
    }

    /// Reports the newest event only for objects whose message was first sent to this queue. The events of objects that
    /// a backfill found are old, although the stream is not behind.
    #[must_use]
    pub fn with_lag_queue(self, url: String) -> Self {
        Self { lag_queue: Some(url), ..self }
    }

    /// Processes the messages of a queue. Each message is retried or moved on its own if it is invalid or if one of its
    /// objects is not finished.
    pub async fn messages(&self, messages: &[Message], deadline: Deadline) -> BatchReport {
        let results = join_all(messages.iter().map(|message| self.process_message(message, deadline)));
        let mut report = BatchReport::default();
        for (message, (disposition, mut message_report)) in messages.iter().zip(results.await) {
            if self.lag_queue.as_ref().is_some_and(|queue| queue_name(queue) != queue_name(message.source_arn())) {
                message_report.tally.done.newest = None;
            }
            report.merge(&message_report);
            if disposition == Disposition::Retry {
                report.failed.push(message.id.clone());
            }
        }
        report.breaker_open = self.breaker.is_open();
        report
    }

    /// Processes a direct notification. `failed` contains the names of the objects that must be retried.
    pub async fn notices(&self, notices: &[Notice], deadline: Deadline) -> BatchReport {
        let mut report = BatchReport::default();
        let steps = self.process_notices(notices, deadline, &mut report).await;
        let dispositions = join_all(steps.iter().map(|(object, step)| self.finish_direct(object, step)));
        for ((object, _), disposition) in steps.iter().zip(dispositions.await) {
            if disposition == Disposition::Retry {
                report.failed.push(object.to_string());
            }
        }
        report.breaker_open = self.breaker.is_open();
        report
    }

    async fn process_message(&self, message: &Message, deadline: Deadline) -> (Disposition, BatchReport) {
        let mut report = BatchReport::default();
        let disposition = match notification::parse(&message.body) {
            _ if self.is_overdue(message) => self.give_up_overdue(message, &mut report).await,
            Ok(notices) => {
                let steps = self.process_notices(&notices, deadline, &mut report).await;
                self.finish_message(message, &steps, &mut report).await
            }
            Err(error) => {
                // Acknowledging an invalid message without a copy would silently lose events.
                tracing::error!(message_id = message.id, queue = message.queue_arn, %error, "invalid message");
                report.tally.invalid_messages += 1;
                self.give_up(message, &format!("invalid message: {error}"), &mut report).await
            }
        };
        (disposition, report)
    }

    /// Processes the objects of some notices and returns what has to happen next with each of them.
    async fn process_notices<'n>(
        &self,
        notices: &'n [Notice],
        deadline: Deadline,
        report: &mut BatchReport,
    ) -> Vec<(&'n ObjectRef, NextStep)> {
        let mut objects = Vec::with_capacity(notices.len());
        for notice in notices {
            match notice {
                Notice::Object(at) => objects.push(at),
                Notice::Ignored(ignored) => report.tally.ignore(ignored.name()),
            }
        }
        let outcomes = join_all(objects.iter().map(|at| self.process_object(at, deadline))).await;
        let steps = objects.into_iter().zip(outcomes).map(|(at, outcome)| match outcome {
            Ok(outcome) => {
                report.tally.add(&outcome);
                log(at, &outcome);
                (at, next_step(outcome))
            }
            Err(last_error) => {
                report.objects_not_started += 1;
                tracing::debug!(object = %at, "not started: the circuit breaker is open");
                (at, NextStep::Postpone { reason: format!("not started during an outage: {last_error}") })
            }
        });
        steps.collect()
    }

    /// Processes one object. If the circuit breaker rejects it, returns the last error of the failing service.
    async fn process_object(&self, at: &ObjectRef, deadline: Deadline) -> Result<Outcome, String> {
        let size = at.size.unwrap_or(UNKNOWN_SIZE);
        let weight = weight_mib(size, self.ingest.max_buffered_bytes as u64, self.ingest.limits.events);
        // An object that exceeds the whole budget is processed alone.
        let permits = (self.slots.acquire(), self.memory.acquire_many(weight.min(self.memory_mib)));
        match tokio::time::timeout_at(deadline.stop, async { (permits.0.await, permits.1.await) }).await {
            Ok((Ok(_slot), Ok(_memory))) => {
                // Checked before the lease, and after the wait, during which the breaker may have opened.
                let admission = self.breaker.admit(self.ingest.ledger.now());
                let deadline = match &admission {
                    Admission::Admitted => deadline,
                    Admission::Probe => Breaker::probe_deadline(deadline),
                    Admission::Rejected(last_error) => return Err(last_error.clone()),
                };
                let outcome = self.ingest.object(at, deadline).await;
                self.breaker.record(&outcome, &admission, self.ingest.ledger.now());
                Ok(outcome)
            }
            _ => Ok(Outcome::Deferred(Deferred::OutOfTime)),
        }
    }
}

impl BatchReport {
    fn merge(&mut self, other: &Self) {
        self.tally.merge(&other.tally);
        self.objects_not_started += other.objects_not_started;
        self.messages_deferred += other.messages_deferred;
        self.messages_dead_lettered += other.messages_dead_lettered;
        self.record_unfinished(other.oldest_unfinished);
    }

    /// Records that a message that was first sent at this time is unfinished.
    fn record_unfinished(&mut self, first_seen: Option<Seconds>) {
        self.oldest_unfinished = match (self.oldest_unfinished, first_seen) {
            (Some(oldest), Some(first_seen)) => Some(oldest.min(first_seen)),
            (oldest, first_seen) => oldest.or(first_seen),
        };
    }
}

/// Returns the memory in MiB that an object of `size` stored bytes needs, if its events are typical. Many small events
/// need more: their number is not known before the object is read.
fn weight_mib(size: u64, max_buffered_bytes: u64, max_events: u32) -> u32 {
    let decompressed = size.saturating_mul(EXPANSION);
    let events = (decompressed / EVENT_JSON_BYTES).min(max_events.into());
    let buffered = size.min(max_buffered_bytes).saturating_add(decompressed.min(max_buffered_bytes));
    u32::try_from((buffered.saturating_add(events * EVENT_BYTES)).div_ceil(MIB) + OVERHEAD_MIB).unwrap_or(u32::MAX)
}

fn next_step(outcome: Outcome) -> NextStep {
    match outcome {
        Outcome::Done(_) | Outcome::AlreadyDone | Outcome::Skipped(_) | Outcome::Quarantined(_) => NextStep::Finished,
        Outcome::Deferred(Deferred::Leased { until }) => NextStep::WaitForLease { until },
        Outcome::Deferred(Deferred::OwnerInProgress { until }) => NextStep::WaitForOwner { until },
        Outcome::Deferred(Deferred::OutOfTime) => NextStep::Postpone { reason: "time ran out".to_owned() },
        Outcome::Failed(error) if is_outage(&error) => NextStep::Postpone { reason: error.to_string() },
        Outcome::Failed(error) => NextStep::Retry { reason: error.to_string() },
    }
}

/// Returns whether the ledger, the destination or the source failed. The cause of any other failure does not end with
/// an outage.
fn is_outage(error: &IngestError) -> bool {
    breaker::is_ledger_outage(error)
        || breaker::is_sink_outage(error)
        || matches!(error, IngestError::Source(SourceError::Unavailable(_)))
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
            tracing::error!(object = %at, kind = quarantined.kind, reason = quarantined.reason, before = quarantined.by_earlier_attempt, "quarantined");
        }
        Outcome::Deferred(deferred) => tracing::info!(object = %at, ?deferred, "deferred"),
        Outcome::Failed(error) => tracing::error!(object = %at, %error, "failed; will be retried"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The measurements of docs/performance.md.
    #[test]
    fn weight_is_not_less_than_the_measured_memory() {
        let weight = |stored_mb: f64| weight_mib((stored_mb * 1e6) as u64, 10 << 20, 1_000_000);
        // 43 MiB at the peak, and 6.9 MiB when idle.
        assert!(weight(24.2) >= 37, "{}", weight(24.2));
        // Three such objects take 80 MiB at the peak.
        assert!(3 * weight(8.6) >= 74, "{}", weight(8.6));
        assert_eq!(weight(0.0), 10);
    }

    #[test]
    fn largest_size_does_not_overflow() {
        assert_eq!(weight_mib(u64::MAX, 10 << 20, 1_000_000), 10 + 20 + 39);
    }
}
