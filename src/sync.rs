//! Sync: every object under a prefix, several at a time, each until it is done or can say why not.
//!
//! Listing and ingesting overlap. What is listed and not yet begun is bounded, and so is what waits for another
//! attempt: memory does not grow with the bucket.

mod again;
mod select;
mod walk;

pub use again::Patience;
pub use select::{Choice, Select};

use crate::ingest::{Deadline, Failure, Ingest, Outcome};
use crate::object::ObjectRef;
use crate::source::Pages;
use crate::tally::Tally;
use again::{Attempt, Next, Waiting};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use walk::Walk;

/// How long one attempt at one object may take. As long as a Lambda invocation, so that a lease that a killed process
/// leaves in a shared ledger is no longer in the way than that of one.
const ATTEMPT: Duration = Duration::from_secs(900);

/// So many objects that fail one after the other, none succeeding, are not a matter of the objects: a permission or a
/// network is missing, and asking for the rest of a bucket costs time and requests and says nothing new.
const FAILURES_IN_A_ROW: u32 = 20;

/// Pages of the listing that may lie ready.
const PAGES_AHEAD: usize = 2;

/// One walk over a source.
#[derive(Debug)]
pub struct Sync {
    /// The way of one object.
    pub ingest: Ingest,
    /// The bucket, as in [`ObjectRef::bucket`].
    pub bucket: String,
    /// Only keys that start with this.
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
    /// So many more objects are listed and selected, with so many bytes as stored.
    Found {
        /// Objects.
        objects: u64,
        /// Their bytes.
        bytes: u64,
    },
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
    /// Objects that the selection left out.
    pub left_out: u64,
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
        let mut listing = self.pages.unwrap_or_else(|| {
            let (pages, listing) = mpsc::channel(PAGES_AHEAD);
            let walk = Walk { source: Arc::clone(&self.ingest.source), bucket: self.bucket, prefix: self.prefix };
            tokio::spawn(walk.run(pages));
            listing
        });
        let mut run = Run {
            ingest: Arc::new(self.ingest),
            select: self.select,
            listed: VecDeque::new(),
            flying: JoinSet::new(),
            waiting: Waiting::new(self.patience),
            failures: 0,
            ended: Ended { tally: Tally::default(), left_out: 0, how: How::Complete },
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
                    Ok((attempt, outcome)) => run.end(attempt, outcome),
                    Err(panic) => std::panic::resume_unwind(panic.into_panic()),
                },
                page = listing.recv(), if wants_page => match page {
                    Some(Ok(page)) => run.take(page),
                    Some(Err(error)) => run.stop(How::GaveUp(format!("the listing broke off: {error}"))),
                    None => {
                        more = false;
                        (run.watch)(News::Listed);
                    }
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
    select: Select,
    /// Listed, selected, not begun.
    listed: VecDeque<ObjectRef>,
    flying: JoinSet<(Attempt, Outcome)>,
    waiting: Waiting,
    /// Objects that failed since the last that did not.
    failures: u32,
    ended: Ended,
    watch: &'w mut (dyn FnMut(News<'_>) + Send),
}

impl Run<'_> {
    /// Takes over a page of the listing.
    fn take(&mut self, page: Vec<ObjectRef>) {
        let mut bytes = 0;
        let mut unsaid = Vec::new();
        for at in page {
            match self.select.choose(&at.key) {
                Choice::LeaveOut => self.ended.left_out += 1,
                Choice::Unsaid => unsaid.push(at),
                Choice::Take => {
                    bytes += at.size.unwrap_or(0);
                    self.listed.push_back(at);
                }
            }
        }
        (self.watch)(News::Found { objects: (self.listed.len() + unsaid.len()) as u64, bytes });
        for at in unsaid {
            self.last_word(&at, &Outcome::Skipped("unselectable"));
        }
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
            let ingest = Arc::clone(&self.ingest);
            // A task of its own: inflating and scanning keep a core busy, and there is more than one.
            self.flying.spawn(async move {
                let outcome = ingest.object(attempt.at(), Deadline::within(ATTEMPT)).await;
                (attempt, outcome)
            });
        }
    }

    /// One attempt ended: was it the last?
    fn end(&mut self, mut attempt: Attempt, outcome: Outcome) {
        let going_on = self.ended.how == How::Complete;
        let next = attempt.next(&outcome, self.waiting.patience(), self.ingest.ledger.now());
        match next {
            Next::Again(wait) if going_on && self.waiting.has_room() => {
                (self.watch)(News::PutOff(attempt.at(), &outcome));
                self.waiting.add(attempt, outcome, wait);
            }
            Next::Again(_) | Next::Never => {
                self.last_word(attempt.at(), &outcome);
                if let Outcome::Failed(failure) = &outcome
                    && going_on
                {
                    self.failed(failure);
                }
            }
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
        if !again::of_the_object(failure) {
            self.stop(How::GaveUp(failure.to_string()));
        } else if self.failures == FAILURES_IN_A_ROW {
            self.stop(How::GaveUp(format!("{FAILURES_IN_A_ROW} objects in a row failed, the last with: {failure}")));
        }
    }

    /// Begins nothing new. What was put off ends with the outcome it had.
    fn stop(&mut self, how: How) {
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
