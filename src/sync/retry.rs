//! Again: which objects come back within one walk, when, and how often.

use crate::backoff::{Backoff, Pace};
use crate::ingest::{Failure, Later, Outcome};
use crate::ledger::Stop;
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
pub struct Patience {
    /// Attempts at an object that fails.
    pub attempts: u32,
    /// Attempts at an object whose time runs out: each goes on where the one before was.
    pub rounds: u32,
    /// How long to wait for other workers, counted from the first attempt.
    pub wait: Duration,
    /// Objects that may wait at once. One more ends with the outcome it has.
    pub waiting: usize,
    /// Waits between attempts at an object that fails.
    pub rests: Pace,
    /// Waits between looks at an object, or an owner of its events, that another worker has. The first are short, because
    /// within one walk that worker is most often a neighbour about to end; the last do not press a shared ledger.
    pub looks: Pace,
}

impl Default for Patience {
    /// 3 attempts; 16 rounds, 4 hours; 20 minutes, a little longer than a Lambda can hold a lease; 10,000 objects.
    fn default() -> Self {
        let pace = |base, cap| Pace { base: Duration::from_millis(base), cap: Duration::from_millis(cap) };
        Self {
            attempts: 3,
            rounds: 16,
            wait: Duration::from_secs(1200),
            waiting: 10_000,
            rests: pace(1_000, 30_000),
            looks: pace(100, 60_000),
        }
    }
}

/// An object and what was tried with it.
#[derive(Debug)]
pub(super) struct Attempt {
    at: ObjectRef,
    patience: Patience,
    since: Instant,
    failures: u32,
    rounds: u32,
    looks: Backoff<fn() -> f64>,
    rests: Backoff<fn() -> f64>,
}

/// Whether an object comes back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// After this time.
    Again(Duration),
    /// Its outcome stands.
    Never,
}

impl Attempt {
    /// The first attempt at an object.
    pub(super) fn first(at: ObjectRef, patience: Patience) -> Self {
        let random: fn() -> f64 = fastrand::f64;
        let (looks, rests) = (Backoff::new(patience.looks, random), Backoff::new(patience.rests, random));
        Self { at, patience, since: Instant::now(), failures: 0, rounds: 0, looks, rests }
    }

    pub(super) fn at(&self) -> &ObjectRef {
        &self.at
    }

    pub(super) fn patience(&self) -> Patience {
        self.patience
    }

    /// An attempt at the same key after its object was replaced, and how long to wait for it; nothing if that happened too
    /// often: something writes to it all the time, and the next walk may find it at rest.
    pub(super) fn replaced(mut self) -> Option<(Self, Duration)> {
        self.failures += 1;
        let wait = self.rests.wait();
        self.at = ObjectRef::new(self.at.bucket, self.at.key);
        (self.failures < self.patience.attempts).then_some((self, wait))
    }

    /// What an attempt's outcome means for the next one. `now` by the ledger's clock.
    pub(super) fn next(&mut self, outcome: &Outcome, now: Seconds) -> Next {
        let patience = self.patience;
        match outcome {
            Outcome::Done(_) | Outcome::Already | Outcome::Skipped(_) | Outcome::Quarantined(_) => Next::Never,
            Outcome::Later(Later::OutOfTime) => {
                self.rounds += 1;
                if self.rounds < patience.rounds { Next::Again(Duration::ZERO) } else { Next::Never }
            }
            Outcome::Later(Later::Leased { until } | Later::OwnerAtWork { until }) => {
                // A lease is live through its last second.
                let left = Duration::from_secs(u64::try_from(until.saturating_sub(now)).unwrap_or(0) + 1);
                let wait = self.looks.wait().min(left);
                if self.since.elapsed() + wait > patience.wait { Next::Never } else { Next::Again(wait) }
            }
            Outcome::Failed(failure) => {
                self.failures += 1;
                let again = self.failures < patience.attempts && may_pass(failure);
                if again { Next::Again(self.rests.wait()) } else { Next::Never }
            }
        }
    }
}

/// Whether a failure may be gone at the next attempt without anybody changing anything.
fn may_pass(failure: &Failure) -> bool {
    match failure {
        Failure::Source(error) => !matches!(error, SourceError::Denied(_) | SourceError::NoBucket(_)),
        Failure::Sink(error) => !matches!(error, SinkError::Denied(_) | SinkError::NowhereAside(_)),
        Failure::Ledger(Stop::Store(error)) => matches!(error, StoreError::Unknown(_)),
        Failure::Ledger(Stop::LeaseLost | Stop::Contended(..) | Stop::Gone) => true,
        Failure::Decode(_) | Failure::Pack(_) => false,
    }
}

/// Whether a failure says something of its object, and nothing of the ledger, the sink or the bucket that all share.
pub(super) fn of_the_object(failure: &Failure) -> bool {
    match failure {
        Failure::Source(error) => !matches!(error, SourceError::NoBucket(_)),
        Failure::Sink(error) => matches!(error, SinkError::NowhereAside(_)),
        Failure::Ledger(stop) => !matches!(stop, Stop::Store(_)),
        Failure::Decode(_) | Failure::Pack(_) => true,
    }
}

/// The objects that come back, by the time at which they do.
#[derive(Debug)]
pub(super) struct Waiting {
    patience: Patience,
    /// How many of them wait for something that every object needs.
    troubled: usize,
    heap: BinaryHeap<Reverse<Entry>>,
}

#[derive(Debug)]
struct Entry {
    due: Instant,
    attempt: Attempt,
    outcome: Outcome,
}

impl Waiting {
    pub(super) fn new(patience: Patience) -> Self {
        Self { patience, troubled: 0, heap: BinaryHeap::new() }
    }

    pub(super) fn patience(&self) -> Patience {
        self.patience
    }

    pub(super) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.heap.len() < self.patience.waiting
    }

    /// Puts an object off; `outcome` stands if it gets no other turn.
    pub(super) fn add(&mut self, attempt: Attempt, outcome: Outcome, wait: Duration) {
        let entry = Entry { due: Instant::now() + wait, attempt, outcome };
        self.troubled += usize::from(entry.troubled());
        self.heap.push(Reverse(entry));
    }

    /// An object whose time has come.
    pub(super) fn ready(&mut self) -> Option<Attempt> {
        let Reverse(first) = self.heap.peek()?;
        if first.due > Instant::now() {
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        self.troubled -= usize::from(entry.troubled());
        Some(entry.attempt)
    }

    /// Whether something is amiss that every object needs: to begin others would only make them fail too.
    pub(super) fn troubled(&self) -> bool {
        self.troubled > 0
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
        self.troubled = 0;
        std::mem::take(&mut self.heap).into_iter().map(|Reverse(entry)| (entry.attempt, entry.outcome))
    }
}

impl Entry {
    fn troubled(&self) -> bool {
        matches!(&self.outcome, Outcome::Failed(failure) if !of_the_object(failure))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.due.cmp(&other.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt() -> Attempt {
        Attempt::first(ObjectRef::new("b", "k"), Patience::default())
    }

    fn denied() -> Outcome {
        Outcome::Failed(Failure::Source(SourceError::Denied("no".into())))
    }

    fn broken() -> Outcome {
        Outcome::Failed(Failure::Source(SourceError::Unavailable("no".into())))
    }

    #[tokio::test]
    async fn what_fails_is_tried_three_times_and_what_is_denied_once() {
        let mut tried = attempt();
        let verdicts = [(); 3].map(|()| tried.next(&broken(), 0) != Next::Never);
        assert_eq!(verdicts, [true, true, false]);
        assert_eq!(attempt().next(&denied(), 0), Next::Never);
    }

    #[tokio::test]
    async fn an_object_that_ran_out_of_time_goes_on_at_once() {
        let out = Outcome::Later(Later::OutOfTime);
        assert_eq!(attempt().next(&out, 0), Next::Again(Duration::ZERO));
    }

    #[tokio::test]
    async fn another_workers_lease_is_waited_for_and_not_for_ever() {
        let leased = Outcome::Later(Later::Leased { until: 1000 });
        let mut tried = attempt();
        let Next::Again(wait) = tried.next(&leased, 999) else { panic!("not again") };
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
        tried.patience.wait = Duration::ZERO;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(tried.next(&leased, 999), Next::Never);
    }

    #[tokio::test]
    async fn what_waits_comes_back_in_the_order_of_its_time() {
        let mut waiting = Waiting::new(Patience::default());
        for (key, seconds) in [("late", 3600), ("early", 1)] {
            let attempt = Attempt::first(ObjectRef::new("b", key), Patience::default());
            waiting.add(attempt, Outcome::Later(Later::OutOfTime), Duration::from_secs(seconds));
        }
        assert!(waiting.ready().is_none());
        waiting.due().await;
        assert_eq!(waiting.ready().unwrap().at().key, "early");
        assert!(waiting.ready().is_none());
        assert_eq!(waiting.give_up().count(), 1);
    }
}
