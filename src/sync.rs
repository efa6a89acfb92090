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

mod flight;
mod retry;
mod select;
mod walk;

pub use retry::Patience;
pub use select::Select;

use crate::ingest::{Failure, Ingest, Later, Outcome};
use crate::ledger::State;
use crate::listing::discover::Progress;
use crate::listing::reconcile::{Seen, Verdict};
use crate::object::ObjectRef;
use crate::object::key::{Foreign, Recognised, recognise};
use crate::source::Pages;
use crate::tally::Tally;
use flight::{Flight, Landed};
use retry::{Attempt, Next, Waiting};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use walk::{Step, Walk};

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
pub struct Sync {
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
    pub patience: Patience,
}

/// What happens in a walk, for whoever watches.
#[derive(Debug)]
pub enum News<'a> {
    /// So many more objects are listed and selected.
    Found(u64),
    /// So many of them the ledger calls done; they are not begun.
    Already(u64),
    /// The listing is over: nothing more will be found.
    Listed,
    /// This object's outcome is its last in this walk.
    Ended(&'a ObjectRef, &'a Outcome),
    /// This object comes back later in this walk.
    PutOff(&'a ObjectRef, &'a Outcome),
    /// Nothing new is begun, for this reason; so many objects in flight are finished.
    Halting(&'a How, usize),
}

/// What became of a walk, or of several.
#[derive(Debug, Default)]
pub struct Ended {
    /// What became of the objects.
    pub tally: Tally,
    /// Objects that were listed and that the selection left out. What lies in folders that it leaves out is not listed.
    pub left_out: u64,
    /// Folders that the selection left out, and digests.
    pub left_out_folders: u64,
    /// Folders that are none of CloudTrail's and, because there is a selection, were not looked into: how many.
    pub passed_over: u64,
    /// Where the first of them lie.
    pub passed_over_names: Vec<ObjectRef>,
    /// Whether it went to its end.
    pub how: How,
}

/// Whether a walk went to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum How {
    /// Every selected object had its turn.
    #[default]
    Complete,
    /// It was told to stop. What was in flight is finished.
    Halted,
    /// It made no sense to go on, for this reason.
    GaveUp(String),
}

impl Ended {
    /// Adds what became of another walk.
    pub fn merge(&mut self, other: Self) {
        self.tally.merge(&other.tally);
        self.left_out += other.left_out;
        self.left_out_folders += other.left_out_folders;
        self.passed_over += other.passed_over;
        self.passed_over_names.extend(other.passed_over_names);
        self.how = match (std::mem::take(&mut self.how), other.how) {
            (How::GaveUp(one), How::GaveUp(other)) => How::GaveUp(format!("{one}; {other}")),
            (gave_up @ How::GaveUp(_), _) | (_, gave_up @ How::GaveUp(_)) => gave_up,
            (How::Halted, _) | (_, How::Halted) => How::Halted,
            (How::Complete, How::Complete) => How::Complete,
        };
    }
}

impl Sync {
    /// Walks to the end, or until `halt` turns true; then what is in flight is finished and nothing new is begun.
    pub async fn run(self, mut halt: watch::Receiver<bool>, watch: &mut (dyn FnMut(News<'_>) + Send)) -> Ended {
        let (steps, mut walk) = mpsc::channel(PAGES_AHEAD);
        let walker = Walk {
            source: Arc::clone(&self.ingest.source),
            ledger: self.ingest.ledger.clone(),
            bucket: self.bucket.clone(),
            prefix: self.prefix,
            pages: self.pages,
            select: self.select,
            listings: if self.jobs <= 1 { 1 } else { LISTINGS },
            pace: self.patience.rests,
        };
        // In a set, so that a walk that nobody wants any more ends with this one.
        let mut walking = JoinSet::new();
        walking.spawn(walker.run(steps));
        let mut run = Run {
            ingest: Arc::new(self.ingest),
            bucket: self.bucket,
            listed: VecDeque::new(),
            flying: JoinSet::new(),
            stopped: Arc::default(),
            waiting: Waiting::new(self.patience),
            failures: 0,
            ended: Ended::default(),
            watch,
        };
        let (mut more, mut halts) = (true, true);
        loop {
            if run.ended.how == How::Complete {
                run.begin(self.jobs.max(1));
            }
            let over = run.listed.is_empty() && run.waiting.is_empty() && !more;
            if run.flying.is_empty() && (over || run.ended.how != How::Complete) {
                break;
            }
            let wants_page = more && run.ended.how == How::Complete && run.listed.is_empty();
            tokio::select! {
                biased;
                told = halt.wait_for(|&halt| halt), if halts => {
                    halts = false;
                    // An error: whoever could have halted the walk is gone, and it simply goes on.
                    if told.is_ok() && run.ended.how == How::Complete {
                        run.stop(How::Halted);
                    }
                }
                Some(joined) = run.flying.join_next() => match joined {
                    Ok(landed) => run.landed(landed),
                    Err(panic) => std::panic::resume_unwind(panic.into_panic()),
                },
                step = walk.recv(), if wants_page => match step {
                    Some(Ok(Step::Page(page))) => run.take(page),
                    Some(Ok(Step::End(progress))) => {
                        more = false;
                        run.walked(progress);
                    }
                    Some(Err(trouble)) => run.stop(How::GaveUp(trouble)),
                    None => match walking.join_next().await {
                        Some(Err(panic)) if panic.is_panic() => std::panic::resume_unwind(panic.into_panic()),
                        _ => run.stop(How::GaveUp("the walk broke off without a word".into())),
                    },
                },
                () = run.waiting.due(), if run.flying.len() < self.jobs && run.ended.how == How::Complete => {}
            }
        }
        run.finish().await
    }
}

/// A walk on its way.
struct Run<'w> {
    ingest: Arc<Ingest>,
    bucket: String,
    /// Listed, selected, not begun.
    listed: VecDeque<ObjectRef>,
    flying: JoinSet<Landed>,
    /// Tells what flies to begin nothing new.
    stopped: Arc<AtomicBool>,
    waiting: Waiting,
    /// Objects that failed since the last that did not.
    failures: u32,
    ended: Ended,
    watch: &'w mut (dyn FnMut(News<'_>) + Send),
}

impl Run<'_> {
    /// Takes over a page of the walk.
    fn take(&mut self, page: Vec<Seen>) {
        let mut already = 0;
        let mut unsaid = Vec::new();
        for Seen { at, verdict } in page {
            match verdict {
                // Its key does not say what is asked. Not read, and not passed over in silence.
                Verdict::NotAsked if recognise(&at.key) == Recognised::Foreign(Foreign::Kind) => unsaid.push(at),
                Verdict::NotAsked => self.ended.left_out += 1,
                Verdict::Log { state: State::Done, .. } => already += 1,
                Verdict::Log { .. } | Verdict::NoLog => self.listed.push_back(at),
            }
        }
        (self.watch)(News::Found(already + (self.listed.len() + unsaid.len()) as u64));
        if already > 0 {
            self.ended.tally.already += already;
            (self.watch)(News::Already(already));
        }
        for at in unsaid {
            self.last_word(&at, &Outcome::Skipped("unselectable"));
        }
    }

    /// Every folder is walked.
    fn walked(&mut self, progress: Progress) {
        self.ended.left_out_folders = progress.not_asked;
        self.ended.passed_over = progress.passed_over_count;
        let at = |folder| ObjectRef::new(&self.bucket, folder);
        self.ended.passed_over_names = progress.passed_over.into_iter().map(at).collect();
        (self.watch)(News::Listed);
    }

    /// Fills the free places: what waited long enough first, then what is listed.
    fn begin(&mut self, jobs: usize) {
        while self.flying.len() < jobs {
            let attempt = match (self.waiting.ready(), self.waiting.troubled()) {
                (Some(attempt), _) => attempt,
                (None, true) => return,
                (None, false) => match self.listed.pop_front() {
                    Some(at) => Attempt::first(at, self.waiting.patience()),
                    None => return,
                },
            };
            let flight = Flight::new(attempt, &mut self.listed, jobs);
            // A task of its own: inflating and scanning keep a core busy, and there is more than one.
            self.flying.spawn(flight.run(Arc::clone(&self.ingest), Arc::clone(&self.stopped)));
        }
    }

    fn landed(&mut self, landed: Landed) {
        for (attempt, outcome) in landed.ended {
            self.end(attempt, outcome);
        }
        if self.ended.how == How::Complete {
            landed.unbegun.into_iter().rev().for_each(|at| self.listed.push_front(at));
        }
    }

    /// One attempt ended: was it the last?
    fn end(&mut self, mut attempt: Attempt, outcome: Outcome) {
        let going_on = self.ended.how == How::Complete;
        let next = attempt.next(&outcome, self.ingest.ledger.now());
        match next {
            Next::Again(wait) if going_on && self.waiting.has_room() => {
                (self.watch)(News::PutOff(attempt.at(), &outcome));
                self.waiting.add(attempt, outcome, wait);
            }
            Next::Again(_) | Next::Never => {
                self.last_word(attempt.at(), &outcome);
                if let Outcome::Quarantined(aside) = &outcome
                    && (aside.kind == "changed" && !aside.before && going_on && self.waiting.has_room())
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
            (self.watch)(News::Found(1));
            self.waiting.add(attempt, Outcome::Later(Later::OutOfTime), wait);
        }
    }

    fn last_word(&mut self, at: &ObjectRef, outcome: &Outcome) {
        if matches!(outcome, Outcome::Done(_) | Outcome::Already) {
            self.failures = 0;
        }
        self.ended.tally.add(outcome);
        (self.watch)(News::Ended(at, outcome));
    }

    /// Decides whether a failure ends the walk.
    fn failed(&mut self, failure: &Failure) {
        self.failures += 1;
        if !retry::of_the_object(failure) {
            self.stop(How::GaveUp(failure.to_string()));
        } else if self.failures == FAILURES_IN_A_ROW {
            self.stop(How::GaveUp(format!("{FAILURES_IN_A_ROW} objects in a row failed, the last with: {failure}")));
        }
    }

    /// Begins nothing new. What was put off ends with the outcome it had.
    fn stop(&mut self, how: How) {
        self.stopped.store(true, Ordering::Relaxed);
        self.listed.clear();
        for (attempt, outcome) in self.waiting.give_up() {
            self.last_word(attempt.at(), &outcome);
        }
        (self.watch)(News::Halting(&how, self.flying.len()));
        self.ended.how = how;
    }

    async fn finish(mut self) -> Ended {
        if let Err(error) = self.ingest.sink.flush().await {
            // Stronger than any other reason: what the tally counts since the last checkpoint is taken back.
            self.ended.how = How::GaveUp(format!("deliver: {error}"));
        }
        self.ended
    }
}
