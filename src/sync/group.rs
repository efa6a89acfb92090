//! Groups of small objects that one task processes in sequence. For a file of some kilobytes, starting a task and
//! waking the run when the task ends costs as much as reading the file.

use super::retry::Attempt;
use crate::ingest::{Deadline, Ingest, Outcome};
use crate::object::ObjectRef;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// The maximum duration of one attempt at an object. It equals the maximum duration of a Lambda invocation, so the
/// lease of a killed process does not block a shared ledger for longer than the lease of a killed function.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(900);

/// The maximum number of objects in a group.
const MAX_GROUP_OBJECTS: usize = 16;

/// No further object of a group is started after this time, so the objects after a slow object are returned to the run.
const GROUP_TIME: Duration = Duration::from_millis(10);

/// Objects that one task processes in sequence.
#[derive(Debug)]
pub(super) struct ObjectGroup {
    first: Attempt,
    others: Vec<ObjectRef>,
}

/// The result of processing a group.
#[derive(Debug)]
pub(super) struct GroupResult {
    /// The objects that were attempted, each with its outcome.
    pub(super) outcomes: Vec<(Attempt, Outcome)>,
    /// The objects that were not started.
    pub(super) unstarted: Vec<ObjectRef>,
}

impl ObjectGroup {
    /// Creates a group of this attempt and of listed objects, and leaves enough listed objects for the other `jobs`.
    pub(super) fn new(first: Attempt, listed: &mut VecDeque<ObjectRef>, jobs: usize) -> Self {
        let others = (listed.len() / (2 * jobs)).min(MAX_GROUP_OBJECTS - 1);
        Self { first, others: listed.drain(..others).collect() }
    }

    /// Processes the objects until `GROUP_TIME` has passed, an object is deferred or fails, or `stop` is set.
    pub(super) async fn run(self, ingest: Arc<Ingest>, stop: Arc<AtomicBool>) -> GroupResult {
        let started = Instant::now();
        let retry_policy = self.first.retry_policy();
        let mut result = GroupResult { outcomes: Vec::with_capacity(1 + self.others.len()), unstarted: Vec::new() };
        let mut others = self.others.into_iter();
        let mut next = Some(self.first);
        while let Some(attempt) = next {
            let outcome = ingest.object(attempt.at(), Deadline::within(ATTEMPT_TIMEOUT)).await;
            let finished = !matches!(outcome, Outcome::Deferred(_) | Outcome::Failed(_));
            result.outcomes.push((attempt, outcome));
            let proceed = finished && started.elapsed() < GROUP_TIME && !stop.load(Ordering::Relaxed);
            next = if proceed { others.next().map(|at| Attempt::first(at, retry_policy)) } else { None };
        }
        result.unstarted.extend(others);
        result
    }
}
