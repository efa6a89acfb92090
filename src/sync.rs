//! Sync: every object of a source that the ledger does not call done, several at a time, each until it is done or can say
//! why not.
//!
//! ```text
//! discover ─▶ unit ─▶ keys ─▶ reconcile ─▶ ingest
//!  folders           listing   ledger      this process
//! ```
//!
//! Discovery, listing and ingesting overlap. What is listed and not yet begun is bounded, and so is what waits for another
//! attempt: memory does not grow with the bucket.
//!
//! # A source that changes meanwhile
//!
//! An object that exists during the whole walk is listed exactly once (`backfill/keys.rs` says why). One that is replaced
//! between its listing and its turn is quarantined as `changed`, which it is, and its key comes back within the walk for the
//! version that lies there now. One that is put behind the walk is the next walk's.

mod group;
mod retry;
mod select;
mod walk;

pub use retry::RetryPolicy;
pub use select::Select;

use crate::ingest::{IngestError, Ingest, Deferred, Outcome};
use crate::ledger::ObjectState;
use crate::listing::discover::DiscoveryProgress;
use crate::listing::reconcile::{ListedKey, KeyState};
use crate::object::ObjectRef;
use crate::object::key::{NotALog, Recognized, recognize};
use crate::source::Pages;
use crate::tally::Tally;
use group::{ObjectGroup, GroupResult};
use retry::{Attempt, RetryDecision, RetryQueue};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use walk::{Walk, WalkStep};

/// So many objects that fail one after the other, none succeeding, are not a matter of the objects: a permission or a
/// network is missing, and asking for the rest of a bucket costs time and requests and says nothing new.
const FAILURES_IN_A_ROW: u32 = 20;

/// Pages that may lie ready, beside those that each listing holds.
const PAGES_AHEAD: usize = 2;

/// Listings at once. A walk that begins one object at a time also lists one folder at a time: then the order of the objects
/// is the same in every run and for every source.
const LISTINGS: usize = 16;

/// One walk over a source.
#[derive(Debug)]
pub struct SyncRun {
    /// The way of one object.
    pub ingest: Ingest,
    /// The bucket, as in [`ObjectRef::bucket`].
    pub bucket: String,
    /// Only what lies in this folder, with or without its last slash; where there is none of that name, keys that start so.
    pub prefix: String,
    /// The objects, where they are known without listing: an inventory's.
    pub pages: Option<Pages>,
    /// Which of them.
    pub select: Select,
    /// Objects at once.
    pub jobs: usize,
    /// How long, and how often, an object may come back.
    pub retry_policy: RetryPolicy,
}

/// What happens in a walk, for whoever watches.
#[derive(Debug)]
pub enum SyncEvent<'a> {
    /// So many more objects are listed and selected.
    Found(u64),
    /// So many of them the ledger calls done; they are not begun.
    AlreadyDone(u64),
    /// The listing is over: nothing more will be found.
    Listed,
    /// This object's outcome is its last in this walk.
    Finished(&'a ObjectRef, &'a Outcome),
    /// This object comes back later in this walk.
    Deferred(&'a ObjectRef, &'a Outcome),
    /// Nothing new is begun, for this reason; so many objects in flight are finished.
    Stopping(&'a Completion, usize),
}

/// What became of a walk, or of several.
#[derive(Debug, Default)]
pub struct SyncReport {
    /// What became of the objects.
    pub tally: Tally,
    /// Objects that were listed and that the selection left out. What lies in folders that it leaves out is not listed.
    pub excluded: u64,
    /// Folders that the selection left out, and digests.
    pub excluded_folders: u64,
    /// Folders that are none of CloudTrail's and, because there is a selection, were not looked into: how many.
    pub unvisited: u64,
    /// Where the first of them lie.
    pub unvisited_names: Vec<ObjectRef>,
    /// Whether it went to its end.
    pub completion: Completion,
}

/// Whether a walk went to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Completion {
    /// Every selected object had its turn.
    #[default]
    Complete,
    /// It was told to stop. What was in flight is finished.
    Stopped,
    /// It made no sense to go on, for this reason.
    Aborted(String),
}

impl SyncReport {
    /// Adds what became of another walk.
    pub fn merge(&mut self, other: Self) {
        self.tally.merge(&other.tally);
        self.excluded += other.excluded;
        self.excluded_folders += other.excluded_folders;
        self.unvisited += other.unvisited;
        self.unvisited_names.extend(other.unvisited_names);
        self.completion = match (std::mem::take(&mut self.completion), other.completion) {
            (Completion::Aborted(one), Completion::Aborted(other)) => Completion::Aborted(format!("{one}; {other}")),
            (aborted @ Completion::Aborted(_), _) | (_, aborted @ Completion::Aborted(_)) => aborted,
            (Completion::Stopped, _) | (_, Completion::Stopped) => Completion::Stopped,
            (Completion::Complete, Completion::Complete) => Completion::Complete,
        };
    }
}

impl SyncRun {
    /// Walks to the end, or until `halt` turns true; then what is in flight is finished and nothing new is begun.
    pub async fn run(self, mut halt: watch::Receiver<bool>, watch: &mut (dyn FnMut(SyncEvent<'_>) + Send)) -> SyncReport {
        let (steps, mut walk) = mpsc::channel(PAGES_AHEAD);
        let walker = Walk {
            source: Arc::clone(&self.ingest.source),
            ledger: self.ingest.ledger.clone(),
            bucket: self.bucket.clone(),
            prefix: self.prefix,
            pages: self.pages,
            select: self.select,
            listings: if self.jobs <= 1 { 1 } else { LISTINGS },
            pace: self.retry_policy.failure_backoff,
        };
        // In a set, so that a walk that nobody wants any more ends with this one.
        let mut walking = JoinSet::new();
        walking.spawn(walker.run(steps));
        let mut run = SyncState {
            ingest: Arc::new(self.ingest),
            bucket: self.bucket,
            listed: VecDeque::new(),
            in_flight: JoinSet::new(),
            stopped: Arc::default(),
            waiting: RetryQueue::new(self.retry_policy),
            failures: 0,
            report: SyncReport::default(),
            watch,
        };
        let (mut more, mut halts) = (true, true);
        loop {
            if run.report.completion == Completion::Complete {
                run.start_objects(self.jobs.max(1));
            }
            let over = run.listed.is_empty() && run.waiting.is_empty() && !more;
            if run.in_flight.is_empty() && (over || run.report.completion != Completion::Complete) {
                break;
            }
            let wants_page = more && run.report.completion == Completion::Complete && run.listed.is_empty();
            tokio::select! {
                biased;
                told = halt.wait_for(|&halt| halt), if halts => {
                    halts = false;
                    // An error: whoever could have halted the walk is gone, and it simply goes on.
                    if told.is_ok() && run.report.completion == Completion::Complete {
                        run.stop(Completion::Stopped);
                    }
                }
                Some(joined) = run.in_flight.join_next() => match joined {
                    Ok(group_finished) => run.group_finished(group_finished),
                    Err(panic) => std::panic::resume_unwind(panic.into_panic()),
                },
                step = walk.recv(), if wants_page => match step {
                    Some(Ok(WalkStep::Page(page))) => run.take(page),
                    Some(Ok(WalkStep::End(progress))) => {
                        more = false;
                        run.walked(progress);
                    }
                    Some(Err(trouble)) => run.stop(Completion::Aborted(trouble)),
                    None => match walking.join_next().await {
                        Some(Err(panic)) if panic.is_panic() => std::panic::resume_unwind(panic.into_panic()),
                        _ => run.stop(Completion::Aborted("the walk broke off without a word".into())),
                    },
                },
                () = run.waiting.due(), if run.in_flight.len() < self.jobs && run.report.completion == Completion::Complete => {}
            }
        }
        run.finish().await
    }
}

/// A walk on its way.
struct SyncState<'w> {
    ingest: Arc<Ingest>,
    bucket: String,
    /// Listed, selected, not begun.
    listed: VecDeque<ObjectRef>,
    in_flight: JoinSet<GroupResult>,
    /// Tells what flies to begin nothing new.
    stopped: Arc<AtomicBool>,
    waiting: RetryQueue,
    /// Objects that failed since the last that did not.
    failures: u32,
    report: SyncReport,
    watch: &'w mut (dyn FnMut(SyncEvent<'_>) + Send),
}

impl SyncState<'_> {
    /// Takes over a page of the walk.
    fn take(&mut self, page: Vec<ListedKey>) {
        let mut already = 0;
        let mut unsaid = Vec::new();
        for ListedKey { at, state } in page {
            match state {
                // Its key does not say what is asked. Not read, and not passed over in silence.
                KeyState::Excluded if recognize(&at.key) == Recognized::NotALog(NotALog::UnknownKind) => unsaid.push(at),
                KeyState::Excluded => self.report.excluded += 1,
                KeyState::Log { state: ObjectState::Done, .. } => already += 1,
                KeyState::Log { .. } | KeyState::NotALog => self.listed.push_back(at),
            }
        }
        (self.watch)(SyncEvent::Found(already + (self.listed.len() + unsaid.len()) as u64));
        if already > 0 {
            self.report.tally.already += already;
            (self.watch)(SyncEvent::AlreadyDone(already));
        }
        for at in unsaid {
            self.finish_object(&at, &Outcome::Skipped("unselectable"));
        }
    }

    /// Every folder is walked.
    fn walked(&mut self, progress: DiscoveryProgress) {
        self.report.excluded_folders = progress.not_asked;
        self.report.unvisited = progress.unvisited_count;
        let at = |folder| ObjectRef::new(&self.bucket, folder);
        self.report.unvisited_names = progress.unvisited.into_iter().map(at).collect();
        (self.watch)(SyncEvent::Listed);
    }

    /// Fills the free places: what waited long enough first, then what is listed.
    fn start_objects(&mut self, jobs: usize) {
        while self.in_flight.len() < jobs {
            let attempt = match (self.waiting.ready(), self.waiting.blocked()) {
                (Some(attempt), _) => attempt,
                (None, true) => return,
                (None, false) => match self.listed.pop_front() {
                    Some(at) => Attempt::first(at, self.waiting.retry_policy()),
                    None => return,
                },
            };
            let group = ObjectGroup::new(attempt, &mut self.listed, jobs);
            // A task of its own: inflating and scanning keep a core busy, and there is more than one.
            self.in_flight.spawn(group.run(Arc::clone(&self.ingest), Arc::clone(&self.stopped)));
        }
    }

    fn group_finished(&mut self, group_finished: GroupResult) {
        for (attempt, outcome) in group_finished.report {
            self.end(attempt, outcome);
        }
        if self.report.completion == Completion::Complete {
            group_finished.unstarted.into_iter().rev().for_each(|at| self.listed.push_front(at));
        }
    }

    /// One attempt ended: was it the last?
    fn end(&mut self, mut attempt: Attempt, outcome: Outcome) {
        let going_on = self.report.completion == Completion::Complete;
        let next = attempt.next(&outcome, self.ingest.ledger.now());
        match next {
            RetryDecision::After(wait) if going_on && self.waiting.has_capacity() => {
                (self.watch)(SyncEvent::Deferred(attempt.at(), &outcome));
                self.waiting.add(attempt, outcome, wait);
            }
            RetryDecision::After(_) | RetryDecision::Never => {
                self.finish_object(attempt.at(), &outcome);
                if let Outcome::Quarantined(aside) = &outcome
                    && (aside.kind == "changed" && !aside.before && going_on && self.waiting.has_capacity())
                {
                    return self.replaced(attempt);
                }
                if let Outcome::Failed(failure) = &outcome
                    && going_on
                {
                    self.failed(failure);
                }
            }
        }
    }

    /// The key of an object that was replaced before its turn comes back, for the version that lies there now.
    fn replaced(&mut self, attempt: Attempt) {
        if let Some((attempt, wait)) = attempt.replaced() {
            (self.watch)(SyncEvent::Found(1));
            self.waiting.add(attempt, Outcome::Deferred(Deferred::OutOfTime), wait);
        }
    }

    fn finish_object(&mut self, at: &ObjectRef, outcome: &Outcome) {
        if matches!(outcome, Outcome::Done(_) | Outcome::AlreadyDone) {
            self.failures = 0;
        }
        self.report.tally.add(outcome);
        (self.watch)(SyncEvent::Finished(at, outcome));
    }

    /// Decides whether a failure ends the walk.
    fn failed(&mut self, failure: &IngestError) {
        self.failures += 1;
        if !retry::is_object_specific(failure) {
            self.stop(Completion::Aborted(failure.to_string()));
        } else if self.failures == FAILURES_IN_A_ROW {
            self.stop(Completion::Aborted(format!("{FAILURES_IN_A_ROW} objects in a row failed, the last with: {failure}")));
        }
    }

    /// Begins nothing new. What was put off ends with the outcome it had.
    fn stop(&mut self, completion: Completion) {
        self.stopped.store(true, Ordering::Relaxed);
        self.listed.clear();
        for (attempt, outcome) in self.waiting.give_up() {
            self.finish_object(attempt.at(), &outcome);
        }
        (self.watch)(SyncEvent::Stopping(&completion, self.in_flight.len()));
        self.report.completion = completion;
    }

    async fn finish(mut self) -> SyncReport {
        if let Err(error) = self.ingest.sink.flush().await {
            // Stronger than any other reason: what the tally counts since the last checkpoint is taken back.
            self.report.completion = Completion::Aborted(format!("deliver: {error}"));
        }
        self.report
    }
}
