//! Flight: a few small objects that one task takes one after the other. Starting a task for a file of some kilobytes,
//! and waking the walk when it is through with it, costs as much as reading the file.

use super::retry::Attempt;
use crate::ingest::{Deadline, Ingest, Outcome};
use crate::object::ObjectRef;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How long one attempt at one object may take. As long as a Lambda invocation, so that a lease that a killed process
/// leaves in a shared ledger is no longer in the way than that of one.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(900);

/// Objects of one flight, at most.
const MAX_GROUP_OBJECTS: usize = 16;

/// No object is begun later in a flight than this: what a network delays is brought home one by one.
const GROUP_TIME: Duration = Duration::from_millis(10);

/// Objects to be taken one after the other.
#[derive(Debug)]
pub(super) struct ObjectGroup {
    first: Attempt,
    others: Vec<ObjectRef>,
}

/// What became of a flight.
#[derive(Debug)]
pub(super) struct GroupResult {
    /// The objects that were tried, with what became of them.
    pub(super) outcomes: Vec<(Attempt, Outcome)>,
    /// Those that were not begun.
    pub(super) unstarted: Vec<ObjectRef>,
}

impl ObjectGroup {
    /// This attempt, and with it some of what is listed: never so many that another of the `jobs` goes without.
    pub(super) fn new(first: Attempt, listed: &mut VecDeque<ObjectRef>, jobs: usize) -> Self {
        let others = (listed.len() / (2 * jobs)).min(MAX_GROUP_OBJECTS - 1);
        Self { first, others: listed.drain(..others).collect() }
    }

    /// Takes the objects until time is up, one does not go through, or `stop`.
    pub(super) async fn run(self, ingest: Arc<Ingest>, stop: Arc<AtomicBool>) -> GroupResult {
        let started = Instant::now();
        let retry_policy = self.first.retry_policy();
        let mut result = GroupResult { outcomes: Vec::with_capacity(1 + self.others.len()), unstarted: Vec::new() };
        let mut others = self.others.into_iter();
        let mut next = Some(self.first);
        while let Some(attempt) = next {
            let outcome = ingest.object(attempt.at(), Deadline::within(ATTEMPT_TIMEOUT)).await;
            let through = !matches!(outcome, Outcome::Deferred(_) | Outcome::Failed(_));
            result.outcomes.push((attempt, outcome));
            let on = through && started.elapsed() < GROUP_TIME && !stop.load(Ordering::Relaxed);
            next = if on { others.next().map(|at| Attempt::first(at, retry_policy)) } else { None };
        }
        result.unstarted.extend(others);
        result
    }
}
