//! Again: which objects come back within one walk, when, and how often.

use crate::backoff::{Backoff, Pace};
use crate::ingest::{Deferred, IngestError, Outcome};
use crate::ledger::LedgerError;
use crate::ledger::model::row::Seconds;
use crate::ledger::store::StoreError;
use crate::object::ObjectRef;
use crate::sink::SinkError;
use crate::source::SourceError;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How often, how long and how many objects may come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts at an object that fails.
    pub attempts: u32,
    /// Attempts at an object whose time runs out: each goes on where the one before was.
    pub rounds: u32,
    /// How long to wait for other workers, counted from the first attempt.
    pub wait: Duration,
    /// Objects that may wait at once. One more ends with the outcome it has.
    pub waiting: usize,
    /// Waits between attempts at an object that fails.
    pub failure_backoff: Pace,
    /// Waits between looks at an object, or an owner of its events, that another worker has. The first are short,
    /// because within one walk that worker is most often a neighbour about to end; the last do not press a shared
    /// ledger.
    pub poll_backoff: Pace,
}

impl Default for RetryPolicy {
    /// 3 attempts; 16 rounds, 4 hours; 20 minutes, a little longer than a Lambda can hold a lease; 10,000 objects.
    fn default() -> Self {
        let pace = |base, cap| Pace { base: Duration::from_millis(base), cap: Duration::from_millis(cap) };
        Self {
            attempts: 3,
            rounds: 16,
            wait: Duration::from_secs(1200),
            waiting: 10_000,
            failure_backoff: pace(1_000, 30_000),
            poll_backoff: pace(100, 60_000),
        }
    }
}

/// An object and what was tried with it.
#[derive(Debug)]
pub(super) struct Attempt {
    at: ObjectRef,
    retry_policy: RetryPolicy,
    since: Instant,
    failures: u32,
    rounds: u32,
    poll_backoff: Backoff<fn() -> f64>,
    failure_backoff: Backoff<fn() -> f64>,
}

/// Whether an object comes back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RetryDecision {
    /// After this time.
    After(Duration),
    /// Its outcome stands.
    Never,
}

impl Attempt {
    /// The first attempt at an object.
    pub(super) fn first(at: ObjectRef, retry_policy: RetryPolicy) -> Self {
        let random: fn() -> f64 = fastrand::f64;
        let (poll_backoff, failure_backoff) =
            (Backoff::new(retry_policy.poll_backoff, random), Backoff::new(retry_policy.failure_backoff, random));
        Self { at, retry_policy, since: Instant::now(), failures: 0, rounds: 0, poll_backoff, failure_backoff }
    }

    pub(super) fn at(&self) -> &ObjectRef {
        &self.at
    }

    pub(super) fn retry_policy(&self) -> RetryPolicy {
        self.retry_policy
    }

    /// An attempt at the same key after its object was replaced, and how long to wait for it; nothing if that happened
    /// too often: something writes to it all the time, and the next walk may find it at rest.
    pub(super) fn replaced(mut self) -> Option<(Self, Duration)> {
        self.failures += 1;
        let wait = self.failure_backoff.wait();
        self.at = ObjectRef::new(self.at.bucket, self.at.key);
        (self.failures < self.retry_policy.attempts).then_some((self, wait))
    }

    /// What an attempt's outcome means for the next one. `now` by the ledger's clock.
    pub(super) fn next(&mut self, outcome: &Outcome, now: Seconds) -> RetryDecision {
        let retry_policy = self.retry_policy;
        match outcome {
            Outcome::Done(_) | Outcome::AlreadyDone | Outcome::Skipped(_) | Outcome::Quarantined(_) => {
                RetryDecision::Never
            }
            Outcome::Deferred(Deferred::OutOfTime) => {
                self.rounds += 1;
                if self.rounds < retry_policy.rounds {
                    RetryDecision::After(Duration::ZERO)
                } else {
                    RetryDecision::Never
                }
            }
            Outcome::Deferred(Deferred::Leased { until } | Deferred::OwnerInProgress { until }) => {
                // A lease is live through its last second.
                let left = Duration::from_secs(u64::try_from(until.saturating_sub(now)).unwrap_or(0) + 1);
                let wait = self.poll_backoff.wait().min(left);
                if self.since.elapsed() + wait > retry_policy.wait {
                    RetryDecision::Never
                } else {
                    RetryDecision::After(wait)
                }
            }
            Outcome::Failed(failure) => {
                self.failures += 1;
                let again = self.failures < retry_policy.attempts && may_pass(failure);
                if again { RetryDecision::After(self.failure_backoff.wait()) } else { RetryDecision::Never }
            }
        }
    }
}

/// Whether a failure may be gone at the next attempt without anybody changing anything.
fn may_pass(failure: &IngestError) -> bool {
    match failure {
        IngestError::Source(error) => !matches!(error, SourceError::Denied(_) | SourceError::NoBucket(_)),
        IngestError::Sink(error) => !matches!(error, SinkError::Denied(_) | SinkError::NoOversizeStore(_)),
        IngestError::Ledger(LedgerError::Store(error)) => matches!(error, StoreError::Unknown(_)),
        IngestError::Ledger(LedgerError::LeaseLost | LedgerError::Contended(..) | LedgerError::Gone) => true,
        IngestError::Decode(_) | IngestError::Pack(_) => false,
    }
}

/// Whether a failure says something of its object, and nothing of the ledger, the sink or the bucket that all share.
pub(super) fn is_object_specific(failure: &IngestError) -> bool {
    match failure {
        IngestError::Source(error) => !matches!(error, SourceError::NoBucket(_)),
        IngestError::Sink(error) => matches!(error, SinkError::NoOversizeStore(_)),
        IngestError::Ledger(stop) => !matches!(stop, LedgerError::Store(_)),
        IngestError::Decode(_) | IngestError::Pack(_) => true,
    }
}

/// The objects that come back, by the time at which they do.
#[derive(Debug)]
pub(super) struct RetryQueue {
    retry_policy: RetryPolicy,
    /// How many of them wait for something that every object needs.
    blocked: usize,
    heap: BinaryHeap<Reverse<QueueEntry>>,
}

#[derive(Debug)]
struct QueueEntry {
    due: Instant,
    attempt: Attempt,
    outcome: Outcome,
}

impl RetryQueue {
    pub(super) fn new(retry_policy: RetryPolicy) -> Self {
        Self { retry_policy, blocked: 0, heap: BinaryHeap::new() }
    }

    pub(super) fn retry_policy(&self) -> RetryPolicy {
        self.retry_policy
    }

    pub(super) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    pub(super) fn has_capacity(&self) -> bool {
        self.heap.len() < self.retry_policy.waiting
    }

    /// Puts an object off; `outcome` stands if it gets no other turn.
    pub(super) fn add(&mut self, attempt: Attempt, outcome: Outcome, wait: Duration) {
        let entry = QueueEntry { due: Instant::now() + wait, attempt, outcome };
        self.blocked += usize::from(entry.blocked());
        self.heap.push(Reverse(entry));
    }

    /// An object whose time has come.
    pub(super) fn ready(&mut self) -> Option<Attempt> {
        let Reverse(first) = self.heap.peek()?;
        if first.due > Instant::now() {
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        self.blocked -= usize::from(entry.blocked());
        Some(entry.attempt)
    }

    /// Whether something is amiss that every object needs: to begin others would only make them fail too.
    pub(super) fn blocked(&self) -> bool {
        self.blocked > 0
    }

    /// Returns when an object's time has come; never, if none waits.
    pub(super) async fn due(&self) {
        match self.heap.peek() {
            Some(Reverse(first)) => sleep_until(first.due).await,
            None => std::future::pending().await,
        }
    }

    /// All that wait, with the outcomes they had.
    pub(super) fn give_up(&mut self) -> impl Iterator<Item = (Attempt, Outcome)> + use<> {
        self.blocked = 0;
        std::mem::take(&mut self.heap).into_iter().map(|Reverse(entry)| (entry.attempt, entry.outcome))
    }
}

impl QueueEntry {
    fn blocked(&self) -> bool {
        matches!(&self.outcome, Outcome::Failed(failure) if !is_object_specific(failure))
    }
}

impl PartialEq for QueueEntry {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for QueueEntry {}

impl PartialOrd for QueueEntry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for QueueEntry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.due.cmp(&other.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt() -> Attempt {
        Attempt::first(ObjectRef::new("b", "k"), RetryPolicy::default())
    }

    fn denied() -> Outcome {
        Outcome::Failed(IngestError::Source(SourceError::Denied("no".into())))
    }

    fn broken() -> Outcome {
        Outcome::Failed(IngestError::Source(SourceError::Unavailable("no".into())))
    }

    #[tokio::test]
    async fn what_fails_is_tried_three_times_and_what_is_denied_once() {
        let mut tried = attempt();
        let verdicts = [(); 3].map(|()| tried.next(&broken(), 0) != RetryDecision::Never);
        assert_eq!(verdicts, [true, true, false]);
        assert_eq!(attempt().next(&denied(), 0), RetryDecision::Never);
    }

    #[tokio::test]
    async fn an_object_that_ran_out_of_time_goes_on_at_once() {
        let out = Outcome::Deferred(Deferred::OutOfTime);
        assert_eq!(attempt().next(&out, 0), RetryDecision::After(Duration::ZERO));
    }

    #[tokio::test]
    async fn another_workers_lease_is_waited_for_and_not_for_ever() {
        let leased = Outcome::Deferred(Deferred::Leased { until: 1000 });
        let mut tried = attempt();
        let RetryDecision::After(wait) = tried.next(&leased, 999) else { panic!("not again") };
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
        tried.retry_policy.wait = Duration::ZERO;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(tried.next(&leased, 999), RetryDecision::Never);
    }

    #[tokio::test]
    async fn what_waits_comes_back_in_the_order_of_its_time() {
        let mut waiting = RetryQueue::new(RetryPolicy::default());
        for (key, seconds) in [("late", 3600), ("early", 1)] {
            let attempt = Attempt::first(ObjectRef::new("b", key), RetryPolicy::default());
            waiting.add(attempt, Outcome::Deferred(Deferred::OutOfTime), Duration::from_secs(seconds));
        }
        assert!(waiting.ready().is_none());
        waiting.due().await;
        assert_eq!(waiting.ready().unwrap().at().key, "early");
        assert!(waiting.ready().is_none());
        assert_eq!(waiting.give_up().count(), 1);
    }
}
