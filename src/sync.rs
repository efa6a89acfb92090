//! Sync: ingests every object of a source that is not done according to the ledger, several at a time, and retries each
//! until it is done or has a final error.
//!
//! ```text
//! discover ─▶ unit ─▶ keys ─▶ reconcile ─▶ ingest
//!  folders           listing   ledger      this process
//! ```
//!
//! Discovery, listing and ingestion overlap. The number of listed objects that are not yet started is bounded, and so
//! is the number of deferred objects, so memory does not grow with the bucket.
//!
//! # A source that changes during the run
//!
//! An object that exists during the whole run is listed exactly once (see `listing/keys.rs`). An object that is
//! replaced after it was listed and before it is fetched is quarantined as `changed`, and its key is retried in the
//! same run with the current version. An object that is added before the listing's current position is found by the next
//! run.

mod durable;
mod group;
mod retry;
mod selection;
mod walk;

pub use retry::RetryPolicy;
pub use selection::ObjectSelection;

use crate::ingest::{Deferred, Ingest, IngestError, KeyPolicy, Outcome, Quarantined};
use crate::ledger::ObjectState;
use crate::listing::discover::DiscoveryProgress;
use crate::listing::reconcile::{KeyState, ListedKey};
use crate::listing::reopen::KeyProbes;
use crate::object::ObjectRef;
use crate::object::key::{NotALog, Recognized, recognize};
use crate::source::{ListPage, Listing, Pages, SourceError, UnlistedEntry};
use crate::tally::Tally;
use durable::DurableTally;
use group::{GroupResult, ObjectGroup};
use jiff::civil::Date;
use retry::{Attempt, RetryDecision, RetryQueue};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use walk::{Walk, WalkFailure, WalkStep};

/// Number of consecutive objects for which the source does not answer or throttles the requests. After that many, one
/// list request decides whether the source can be reached. Failures of single objects, such as a missing permission for
/// one account's key, are answers and never stop the run.
const UNANSWERED_IN_A_ROW: u32 = 20;

/// The reason for skipping an entry of a folder that is neither a file nor a folder, and that has no log's name.
const NOT_A_FILE: &str = "not_a_file";

/// Maximum number of pages buffered ahead of ingestion, in addition to the page of each listing.
const PAGES_AHEAD: usize = 2;

/// Number of concurrent listings. A run with one job also lists one folder at a time, so that the order of the objects
/// is the same in every run and for every source.
const LISTINGS: usize = 16;

/// One pass over a source.
#[derive(Debug)]
pub struct SyncRun {
    /// Processes each object.
    pub ingest: Ingest,
    /// The bucket, as in [`ObjectRef::bucket`].
    pub bucket: String,
    /// The folder to ingest, with or without its final slash. If there is no such folder, the prefix of the keys to
    /// ingest.
    pub prefix: String,
    /// The objects, if they are known without listing (from an inventory report).
    pub pages: Option<Pages>,
    /// Which objects are ingested.
    pub selection: ObjectSelection,
    /// Number of objects processed concurrently.
    pub jobs: usize,
    /// How long and how often an object is retried.
    pub retry_policy: RetryPolicy,
}

/// A progress event of a run.
#[derive(Debug)]
pub enum SyncEvent<'a> {
    /// This many more objects are listed and selected.
    Found(u64),
    /// This many of the listed objects are already done; they are not started.
    AlreadyDone(u64),
    /// The listing is complete: no more objects will be found.
    Listed,
    /// The final outcome of an object in this run.
    Finished(&'a ObjectRef, &'a Outcome),
    /// An object will be retried later in this run.
    Deferred(&'a ObjectRef, &'a Outcome),
    /// No new objects are started, for this reason; this many groups of objects are still in progress.
    Stopping(&'a Completion, usize),
}

/// The result of one run or of several.
#[derive(Debug, Default)]
pub struct SyncReport {
    /// Counts of the objects by outcome, without those that were rolled back.
    pub tally: Tally,
    /// Number of objects whose events and ledger rows were rolled back, because the sink could not make them durable.
    pub rolled_back: u64,
    /// Number of listed objects that the selection excluded. Objects in excluded folders are not listed.
    pub excluded: u64,
    /// Number of folders that the selection excluded, including digest folders.
    pub excluded_folders: u64,
    /// Number of folders outside CloudTrail's layout that were not listed because a selection was given.
    pub unvisited: u64,
    /// The first unvisited folders.
    pub unvisited_names: Vec<ObjectRef>,
    /// The newest day of delivery in the names of the listed logs.
    pub newest_day: Option<Date>,
    /// How the run ended.
    pub completion: Completion,
    /// Whether the run was aborted because of the ledger or the sink, and not because of its source.
    pub has_delivery_failed: bool,
}

/// How a run ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Completion {
    /// Every selected object was processed.
    #[default]
    Complete,
    /// The run was asked to stop. Objects in progress were finished.
    Stopped,
    /// The run was aborted for this reason.
    Aborted(String),
}

impl SyncReport {
    /// Adds the result of another run.
    pub fn merge(&mut self, other: Self) {
        self.tally.merge(&other.tally);
        self.rolled_back += other.rolled_back;
        self.excluded += other.excluded;
        self.excluded_folders += other.excluded_folders;
        self.unvisited += other.unvisited;
        self.unvisited_names.extend(other.unvisited_names);
        self.newest_day = self.newest_day.max(other.newest_day);
        self.has_delivery_failed |= other.has_delivery_failed;
        self.completion = match (std::mem::take(&mut self.completion), other.completion) {
            (Completion::Aborted(one), Completion::Aborted(other)) => Completion::Aborted(format!("{one}; {other}")),
            (aborted @ Completion::Aborted(_), _) | (_, aborted @ Completion::Aborted(_)) => aborted,
            (Completion::Stopped, _) | (_, Completion::Stopped) => Completion::Stopped,
            (Completion::Complete, Completion::Complete) => Completion::Complete,
        };
    }
}

impl SyncRun {
    /// Runs until every object is processed or `halt` becomes true. Then objects in progress are finished and no new
    /// objects are started.
    pub async fn run(
        self,
        mut halt: watch::Receiver<bool>,
        on_event: &mut (dyn FnMut(SyncEvent<'_>) + Send),
    ) -> SyncReport {
        let (steps, mut walk) = mpsc::channel(PAGES_AHEAD);
        let listed_prefix = self.prefix.clone();
        let walker = Walk {
            source: Arc::clone(&self.ingest.source),
            ledger: self.ingest.ledger.clone(),
            bucket: self.bucket.clone(),
            prefix: self.prefix,
            pages: self.pages,
            selection: self.selection,
            listings: if self.jobs <= 1 { 1 } else { LISTINGS },
            pace: self.retry_policy.failure_backoff,
            probes: KeyProbes::default(),
        };
        // In a set, so that dropping this future also cancels the listing task.
        let mut walking = JoinSet::new();
        walking.spawn(walker.run(steps));
        let mut run = SyncState {
            prefix: listed_prefix,
            ingest: Arc::new(self.ingest),
            bucket: self.bucket,
            listed: VecDeque::new(),
            in_flight: JoinSet::new(),
            stopped: Arc::default(),
            retry_queue: RetryQueue::new(self.retry_policy),
            unanswered: 0,
            source_check: JoinSet::new(),
            tally: DurableTally::default(),
            report: SyncReport::default(),
            on_event,
        };
        let (mut more, mut can_halt) = (true, true);
        loop {
            if run.report.completion == Completion::Complete && run.source_check.is_empty() {
                run.start_objects(self.jobs.max(1));
            }
            let over = run.listed.is_empty() && run.retry_queue.is_empty() && run.source_check.is_empty() && !more;
            if run.in_flight.is_empty() && (over || run.report.completion != Completion::Complete) {
                break;
            }
            let wants_page = more && run.report.completion == Completion::Complete && run.listed.is_empty();
            tokio::select! {
                biased;
                is_halted = is_halted(&mut halt), if can_halt => {
                    can_halt = false;
                    if is_halted && run.report.completion == Completion::Complete {
                        run.stop(Completion::Stopped);
                    }
                }
                Some(joined) = run.in_flight.join_next() => match joined {
                    Ok(group_finished) => run.group_finished(group_finished),
                    Err(panic) => std::panic::resume_unwind(panic.into_panic()),
                },
                Some(checked) = run.source_check.join_next() => match checked {
                    Ok(result) => run.source_checked(result),
                    Err(panic) => std::panic::resume_unwind(panic.into_panic()),
                },
                step = walk.recv(), if wants_page => match step {
                    Some(Ok(WalkStep::Page(page))) => run.add_page(page),
                    Some(Ok(WalkStep::End(progress, unlisted))) => {
                        more = false;
                        run.add_unlisted(unlisted);
                        run.listing_ended(progress);
                    }
                    Some(Err(WalkFailure { reason, concerns_ledger })) => {
                        run.report.has_delivery_failed |= concerns_ledger;
                        run.stop(Completion::Aborted(reason));
                    }
                    None => match walking.join_next().await {
                        Some(Err(panic)) if panic.is_panic() => std::panic::resume_unwind(panic.into_panic()),
                        _ => run.stop(Completion::Aborted("the listing task ended unexpectedly".into())),
                    },
                },
                () = run.retry_queue.due(), if run.may_start(self.jobs) => {}
            }
        }
        run.finish().await
    }
}

/// Waits until the run is asked to stop. Returns false if the sender was dropped: the run can no longer be stopped and
/// continues.
async fn is_halted(halt: &mut watch::Receiver<bool>) -> bool {
    halt.wait_for(|&halt| halt).await.is_ok()
}

/// The state of a run in progress.
struct SyncState<'w> {
    ingest: Arc<Ingest>,
    bucket: String,
    prefix: String,
    /// Objects that are listed and selected, and not yet started.
    listed: VecDeque<ObjectRef>,
    in_flight: JoinSet<GroupResult>,
    /// Tells the groups in progress to start no further object.
    stopped: Arc<AtomicBool>,
    retry_queue: RetryQueue,
    /// Number of consecutive objects for which the source did not answer or throttled the requests.
    unanswered: u32,
    /// A list request that decides whether the source can be reached. No object is started until it is answered.
    source_check: JoinSet<Result<ListPage, SourceError>>,
    tally: DurableTally,
    report: SyncReport,
    on_event: &'w mut (dyn FnMut(SyncEvent<'_>) + Send),
}

impl SyncState<'_> {
    /// Adds a page of listed keys to the queue.
    fn add_page(&mut self, page: Vec<ListedKey>) {
        let mut already = 0;
        let mut not_started = Vec::new();
        for ListedKey { at, state } in page {
            if let KeyState::Log { day: Some(day), .. } = state {
                self.report.newest_day = self.report.newest_day.max(Some(day));
            }
            match state {
                // The key does not contain the fields that the selection needs. The object is reported and not read.
                KeyState::Excluded if recognize(&at.key) == Recognized::NotALog(NotALog::UnknownKind) => {
                    not_started.push((at, Outcome::Skipped("unselectable")));
                }
                KeyState::Excluded => self.report.excluded += 1,
                KeyState::Log { state: ObjectState::Done, .. } => already += 1,
                // The cause is not gone, so an attempt would only find the quarantine again.
                KeyState::Log { state: ObjectState::Quarantined(kind), .. }
                    if kind.reopened_by_discovery().is_some() =>
                {
                    let outcome = Outcome::Quarantined(Quarantined {
                        kind: kind.reopened_by_discovery().unwrap_or_default().to_owned(),
                        reason: kind.advice().to_owned(),
                        by_earlier_attempt: true,
                        accepted: None,
                    });
                    not_started.push((at, outcome));
                }
                KeyState::Log { .. } | KeyState::NotALog => self.listed.push_back(at),
            }
        }
        (self.on_event)(SyncEvent::Found(already + (self.listed.len() + not_started.len()) as u64));
        if already > 0 {
            self.tally.already_done(already);
            (self.on_event)(SyncEvent::AlreadyDone(already));
        }
        for (at, outcome) in not_started {
            self.finish_object(&at, &outcome);
        }
    }

    /// Reports the files and folders that could not be listed: as failed if they may be or contain logs.
    fn add_unlisted(&mut self, unlisted: Vec<UnlistedEntry>) {
        (self.on_event)(SyncEvent::Found(unlisted.len() as u64));
        for UnlistedEntry { key, reason, is_folder } in unlisted {
            let is_log =
                self.ingest.key_policy == KeyPolicy::AnyKey || matches!(recognize(&key), Recognized::Log { .. });
            let outcome = match is_folder || is_log {
                true => Outcome::Failed(IngestError::Source(SourceError::Denied(reason))),
                false => Outcome::Skipped(NOT_A_FILE),
            };
            self.finish_object(&ObjectRef::new(&self.bucket, key), &outcome);
        }
    }

    /// Records that every folder was listed.
    fn listing_ended(&mut self, progress: DiscoveryProgress) {
        self.report.excluded_folders = progress.excluded;
        self.report.unvisited = progress.unvisited_count;
        let at = |folder| ObjectRef::new(&self.bucket, folder);
        self.report.unvisited_names = progress.unvisited.into_iter().map(at).collect();
        (self.on_event)(SyncEvent::Listed);
    }

    /// Starts objects until `jobs` groups are in progress: first retries that are due, then newly listed objects.
    fn start_objects(&mut self, jobs: usize) {
        while self.in_flight.len() < jobs {
            let attempt = match (self.retry_queue.ready(), self.retry_queue.blocked()) {
                (Some(attempt), _) => attempt,
                (None, true) => return,
                (None, false) => match self.listed.pop_front() {
                    Some(at) => Attempt::first(at, self.retry_queue.retry_policy()),
                    None => return,
                },
            };
            let group = ObjectGroup::new(attempt, &mut self.listed, jobs);
            // A separate task, because decompressing and scanning are CPU-bound and can use several cores.
            self.in_flight.spawn(group.run(Arc::clone(&self.ingest), Arc::clone(&self.stopped)));
        }
    }

    fn group_finished(&mut self, result: GroupResult) {
        for (attempt, outcome) in result.outcomes {
            self.attempt_ended(attempt, outcome);
        }
        if self.report.completion == Completion::Complete {
            result.unstarted.into_iter().rev().for_each(|at| self.listed.push_front(at));
        }
    }

    /// Handles the outcome of an attempt: schedules a retry, or reports the object as finished.
    fn attempt_ended(&mut self, mut attempt: Attempt, outcome: Outcome) {
        let continues = self.report.completion == Completion::Complete;
        let next = attempt.next(&outcome, self.ingest.ledger.now());
        match next {
            RetryDecision::After(wait) if continues && self.retry_queue.has_capacity() => {
                (self.on_event)(SyncEvent::Deferred(attempt.at(), &outcome));
                self.retry_queue.add(attempt, outcome, wait);
            }
            RetryDecision::After(_) | RetryDecision::Never => {
                self.finish_object(attempt.at(), &outcome);
                if let Outcome::Quarantined(quarantined) = &outcome
                    && (quarantined.kind == "changed"
                        && !quarantined.by_earlier_attempt
                        && continues
                        && self.retry_queue.has_capacity())
                {
                    return self.retry_replaced(attempt);
                }
                if let Outcome::Failed(failure) = &outcome
                    && continues
                {
                    self.object_failed(failure);
                }
            }
        }
    }

    /// Schedules another attempt at the key of a replaced object, for its current version.
    fn retry_replaced(&mut self, attempt: Attempt) {
        if let Some((attempt, wait)) = attempt.replaced() {
            (self.on_event)(SyncEvent::Found(1));
            self.retry_queue.add(attempt, Outcome::Deferred(Deferred::OutOfTime), wait);
        }
    }

    fn finish_object(&mut self, at: &ObjectRef, outcome: &Outcome) {
        match outcome {
            Outcome::Failed(IngestError::Source(SourceError::Unreachable(_))) => {}
            // Any other failure of the source is an answer of the source.
            Outcome::Done(_) | Outcome::Failed(IngestError::Source(_)) => self.unanswered = 0,
            _ => {}
        }
        self.tally.add(outcome, self.ingest.sink.checkpoints());
        (self.on_event)(SyncEvent::Finished(at, outcome));
    }

    /// Aborts the run if a failure is not specific to its object. Starts a check of the source if the source did not
    /// answer for many objects in a row.
    fn object_failed(&mut self, failure: &IngestError) {
        if !retry::is_object_specific(failure) {
            self.report.has_delivery_failed |= !matches!(failure, IngestError::Source(_));
            return self.stop(Completion::Aborted(failure.to_string()));
        }
        if let IngestError::Source(SourceError::Unreachable(_)) = failure {
            self.unanswered += 1;
            if self.unanswered >= UNANSWERED_IN_A_ROW && self.source_check.is_empty() {
                let (source, bucket, prefix) =
                    (Arc::clone(&self.ingest.source), self.bucket.clone(), self.prefix.clone());
                self.source_check.spawn(async move {
                    let (bucket, prefix) = (&bucket, &prefix);
                    source.list(&Listing { bucket, prefix, delimiter: Some('/'), token: None, start_after: None }).await
                });
            }
        }
    }

    /// Handles the result of a check of the source. Any answer, also a refusal, shows that the source can be reached:
    /// the failures are then specific to their objects, and the run continues.
    fn source_checked(&mut self, result: Result<ListPage, SourceError>) {
        self.unanswered = 0;
        if let Err(error) = result
            && (error.concerns_source() || matches!(error, SourceError::Unreachable(_)))
            && self.report.completion == Completion::Complete
        {
            self.stop(Completion::Aborted(format!(
                "{UNANSWERED_IN_A_ROW} objects in a row failed, and the source does not answer: {error}"
            )));
        }
    }

    /// Returns whether an object may be started.
    fn may_start(&self, jobs: usize) -> bool {
        self.in_flight.len() < jobs && self.report.completion == Completion::Complete && self.source_check.is_empty()
    }

    /// Starts no further objects. Deferred objects are reported with their last outcome.
    fn stop(&mut self, completion: Completion) {
        self.stopped.store(true, Ordering::Relaxed);
        self.listed.clear();
        for (attempt, outcome) in self.retry_queue.give_up() {
            self.finish_object(attempt.at(), &outcome);
        }
        (self.on_event)(SyncEvent::Stopping(&completion, self.in_flight.len()));
        self.report.completion = completion;
    }

    async fn finish(mut self) -> SyncReport {
        if let Err(error) = self.ingest.sink.flush().await {
            // Overrides any other reason: the objects since the last checkpoint are rolled back.
            self.report.completion = Completion::Aborted(format!("deliver: {error}"));
            self.report.has_delivery_failed = true;
        }
        (self.report.tally, self.report.rolled_back) = self.tally.finish(self.ingest.sink.checkpoints());
        self.report
    }
}
