//! Retries within one run: which objects are retried, when, and how often.

use crate::backoff::{Backoff, Pace};
use crate::ingest::{Deferred, IngestError, Outcome};
use crate::ledger::LedgerError;
use crate::ledger::model::row::Seconds;
use crate::ledger::store::StoreError;
use crate::object::ObjectRef;
use crate::sink::SinkError;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Limits and delays of the retries within one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The number of failed attempts after which an object is not retried.
    pub max_failures: u32,
    /// The number of attempts that may end because time runs out. Each attempt resumes where the previous one
    /// ended.
    pub max_resumes: u32,
    /// The maximum time to wait for other workers, measured from the first attempt.
    pub max_wait: Duration,
    /// The maximum number of waiting objects. When it is reached, a further object keeps its outcome and is not
    /// retried.
    pub max_waiting_objects: usize,
    /// The delays between attempts at an object that fails.
    pub failure_backoff: Pace,
    /// The delays between attempts at an object that another worker processes, or whose events belong to such an
    /// object. The first delays are short, because within one run the other worker is usually another task of this
    /// process that ends soon. The last delays are long, because frequent attempts would load a shared ledger.
    pub poll_backoff: Pace,
}

impl Default for RetryPolicy {
    /// Returns the default policy: 3 failures, 16 resumes (4 hours), and 10,000 waiting objects. The wait of 20 minutes
    /// is a little longer than the longest lease of a Lambda function.
    fn default() -> Self {
        let pace = |base, cap| Pace { base: Duration::from_millis(base), cap: Duration::from_millis(cap) };
        Self {
            max_failures: 3,
            max_resumes: 16,
            max_wait: Duration::from_secs(1200),
            max_waiting_objects: 10_000,
            failure_backoff: pace(1_000, 30_000),
            poll_backoff: pace(100, 60_000),
        }
    }
}

/// An object with the history of its attempts.
#[derive(Debug)]
pub(super) struct Attempt {
    at: ObjectRef,
    retry_policy: RetryPolicy,
    since: Instant,
    failures: u32,
    resumes: u32,
    poll_backoff: Backoff<fn() -> f64>,
    failure_backoff: Backoff<fn() -> f64>,
}

/// Whether an object is retried.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RetryDecision {
    /// The object is retried after this time.
    After(Duration),
    /// The object is not retried, and its outcome is final.
    Never,
}

impl Attempt {
    /// Creates the first attempt at an object.
    pub(super) fn first(at: ObjectRef, retry_policy: RetryPolicy) -> Self {
        let random: fn() -> f64 = fastrand::f64;
        let (poll_backoff, failure_backoff) =
            (Backoff::new(retry_policy.poll_backoff, random), Backoff::new(retry_policy.failure_backoff, random));
        Self { at, retry_policy, since: Instant::now(), failures: 0, resumes: 0, poll_backoff, failure_backoff }
    }

    pub(super) fn at(&self) -> &ObjectRef {
        &self.at
    }

    pub(super) fn retry_policy(&self) -> RetryPolicy {
        self.retry_policy
    }

    /// Returns the next attempt at the same key after its object was replaced, and the delay before it. Returns `None`
    /// if the attempts are used up: the object is replaced continuously, and the next run tries again.
    pub(super) fn replaced(mut self) -> Option<(Self, Duration)> {
        self.failures += 1;
        let wait = self.failure_backoff.wait();
        self.at = ObjectRef::new(self.at.bucket, self.at.key);
        (self.failures < self.retry_policy.max_failures).then_some((self, wait))
    }

    /// Decides from an attempt's outcome whether the object is retried. `now` is the time of the ledger's clock.
    pub(super) fn next(&mut self, outcome: &Outcome, now: Seconds) -> RetryDecision {
        let retry_policy = self.retry_policy;
        match outcome {
            Outcome::Done(_) | Outcome::AlreadyDone | Outcome::Skipped(_) | Outcome::Quarantined(_) => {
                RetryDecision::Never
            }
            Outcome::Deferred(Deferred::OutOfTime) => {
                self.resumes += 1;
                if self.resumes < retry_policy.max_resumes {
                    RetryDecision::After(Duration::ZERO)
                } else {
                    RetryDecision::Never
                }
            }
            Outcome::Deferred(Deferred::Leased { until } | Deferred::OwnerInProgress { until }) => {
                // A lease remains valid until its last second has passed.
                let left = Duration::from_secs(u64::try_from(until.saturating_sub(now)).unwrap_or(0) + 1);
                let wait = self.poll_backoff.wait().min(left);
                if self.since.elapsed() + wait > retry_policy.max_wait {
                    RetryDecision::Never
                } else {
                    RetryDecision::After(wait)
                }
            }
            Outcome::Failed(failure) => {
                self.failures += 1;
                let retry = self.failures < retry_policy.max_failures && is_transient(failure);
                if retry { RetryDecision::After(self.failure_backoff.wait()) } else { RetryDecision::Never }
            }
        }
    }
}

/// Returns whether the next attempt may succeed without a change by the user.
fn is_transient(failure: &IngestError) -> bool {
    match failure {
        IngestError::Source(error) => error.is_transient(),
        IngestError::Sink(error) => !matches!(
            error,
            SinkError::Denied(_) | SinkError::NotFound(_) | SinkError::NoOversizeStore(_) | SinkError::LowSpace(_)
        ),
        IngestError::Ledger(LedgerError::Store(error)) => matches!(error, StoreError::Unknown(_)),
        IngestError::Ledger(
            LedgerError::LeaseLost | LedgerError::Contended(..) | LedgerError::OwnersChanged(_) | LedgerError::Gone,
        ) => true,
        IngestError::Decode(_) | IngestError::Pack(_) => false,
    }
}

/// Returns whether a failure concerns only its object, and not the ledger, the sink or the bucket that all objects
/// share.
pub(super) fn is_object_specific(failure: &IngestError) -> bool {
    match failure {
        IngestError::Source(error) => !error.concerns_source(),
        IngestError::Sink(error) => matches!(error, SinkError::NoOversizeStore(_)),
        IngestError::Ledger(error) => !matches!(error, LedgerError::Store(_)),
        IngestError::Decode(_) | IngestError::Pack(_) => true,
    }
}

/// The objects that wait for a retry, ordered by due time.
#[derive(Debug)]
pub(super) struct RetryQueue {
    retry_policy: RetryPolicy,
    /// The number of objects whose failure affects every object.
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
        self.heap.len() < self.retry_policy.max_waiting_objects
    }

    /// Defers an object by `wait`. `outcome` becomes final if the object is not retried.
    pub(super) fn add(&mut self, attempt: Attempt, outcome: Outcome, wait: Duration) {
        let entry = QueueEntry { due: Instant::now() + wait, attempt, outcome };
        self.blocked += usize::from(entry.blocked());
        self.heap.push(Reverse(entry));
    }

    /// Removes and returns an object that is due.
    pub(super) fn ready(&mut self) -> Option<Attempt> {
        let Reverse(first) = self.heap.peek()?;
        if first.due > Instant::now() {
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        self.blocked -= usize::from(entry.blocked());
        Some(entry.attempt)
    }

    /// Returns whether a failure affects every object. Further objects would fail too, so none should be started.
    pub(super) fn blocked(&self) -> bool {
        self.blocked > 0
    }

    /// Waits until an object is due. Never returns if no object waits.
    pub(super) async fn due(&self) {
        match self.heap.peek() {
            Some(Reverse(first)) => sleep_until(first.due).await,
            None => std::future::pending().await,
        }
    }

    /// Removes and returns all waiting objects with their last outcomes.
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
    use crate::source::SourceError;

    fn attempt() -> Attempt {
        Attempt::first(ObjectRef::new("b", "k"), RetryPolicy::default())
    }

    fn denied() -> Outcome {
        Outcome::Failed(IngestError::Source(SourceError::Denied("no".into())))
    }

    fn unavailable() -> Outcome {
        Outcome::Failed(IngestError::Source(SourceError::Unavailable("no".into())))
    }

    #[tokio::test]
    async fn failure_is_attempted_three_times_and_denial_once() {
        let mut tried = attempt();
        let retried = [(); 3].map(|()| tried.next(&unavailable(), 0) != RetryDecision::Never);
        assert_eq!(retried, [true, true, false]);
        assert_eq!(attempt().next(&denied(), 0), RetryDecision::Never);
    }

    #[tokio::test]
    async fn object_out_of_time_is_retried_immediately() {
        let out = Outcome::Deferred(Deferred::OutOfTime);
        assert_eq!(attempt().next(&out, 0), RetryDecision::After(Duration::ZERO));
    }

    #[tokio::test]
    async fn wait_for_another_workers_lease_is_limited() {
        let leased = Outcome::Deferred(Deferred::Leased { until: 1000 });
        let mut tried = attempt();
        let RetryDecision::After(wait) = tried.next(&leased, 999) else { panic!("not retried") };
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
        tried.retry_policy.max_wait = Duration::ZERO;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(tried.next(&leased, 999), RetryDecision::Never);
    }

    #[tokio::test]
    async fn waiting_objects_are_retried_in_due_order() {
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

    #[test]
    fn failure_of_a_shared_service_is_not_specific_to_its_object() {
        let unanswered = || StoreError::Unknown("no answer".into());
        for (failure, is_specific) in [
            (IngestError::Ledger(LedgerError::Store(unanswered())), false),
            (IngestError::Ledger(LedgerError::LeaseLost), true),
            (IngestError::Ledger(LedgerError::Gone), true),
            (IngestError::Sink(SinkError::Unavailable("no answer".into())), false),
        ] {
            assert_eq!(is_object_specific(&failure), is_specific, "{failure}");
        }
    }
}
