//! Worker: starts runs, and does the tasks of the backfill queue, each by itself.
//!
//! What a task leads to is sent before the task is acknowledged, and nothing is acknowledged that did not end. So a
//! task may be done twice, and none is lost: a run that is begun twice is one ([`RunRecords::begin`]), a source that is
//! discovered twice makes the same units again, and a unit that is worked twice finds done what the first worker handed
//! in.

use super::budget::Budget;
use super::dispatch::{MessageSender, OutboundMessage, Packing, QueueDispatcher};
use super::record::{DiscoveryRecord, PartOutcome, RecordError, RunPart, RunRecords, UnitRecord};
use super::run::{Defaults, Request, RequestError, Run, RunId, RunOptions, SourceRoot};
use super::tally::BackfillTally;
use super::task::{Task, TaskError, Work};
use super::{Backfill, BackfillError, Counts, DispatchError, Unit, UnitEnd, UnitReport};
use crate::ingest::Deadline;
use crate::listing::discover::{Discovery, Shape};
use crate::notification::Message;
use crate::queue::{MAX_BATCH_BODIES, Outbox};
use crate::source::SourceError;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Budgets that a worker keeps. A run that was forgotten begins with a fresh one.
const MAX_BUDGETS: usize = 16;

/// For how many seconds' worth of the budget one message may hold objects: ten of them are a batch, and what is owed
/// for that must be waited off within an invocation.
const SECONDS_A_MESSAGE: u64 = 30;

/// The parts of a worker of the queue.
#[derive(Debug)]
pub struct Worker {
    /// Where objects lie, and what has been delivered.
    pub backfill: Backfill,
    /// Where runs are noted.
    pub records: Arc<dyn RunRecords>,
    /// The backfill queue.
    pub tasks: Arc<dyn Outbox>,
    /// The ingest queue for what is missing.
    pub ingest: Arc<dyn Outbox>,
    /// What a request leaves open.
    pub defaults: Defaults,
    /// How many of these workers there may be at once; each takes its share of a run's budget.
    pub workers: u32,
    /// What the runs that this worker last had to do with may yet hand in.
    pub budgets: Budgets,
}

/// The budgets of runs, which go on from one invocation to the next.
#[derive(Debug, Default)]
pub struct Budgets(Mutex<BTreeMap<RunId, Arc<Budget>>>);

/// What became of an invocation's messages.
#[derive(Debug, Default)]
pub struct TaskBatchReport {
    /// Of all of them.
    pub tally: BackfillTally,
    /// Those that must come back, by the queue's names for them.
    pub failed: Vec<String>,
}

/// Why a task did not end, and its message comes back.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Not a task.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// Not a run.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The source did not list.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The unit could not be worked.
    #[error(transparent)]
    Unit(#[from] BackfillError),
    /// It could not be noted.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// What follows from it was not accepted by the backfill queue.
    #[error("{0}")]
    UnsentBody(String),
    /// Time was up.
    #[error("time was up {0}")]
    OutOfTime(&'static str),
}

impl WorkerError {
    /// Whether what was asked for cannot be meant, so that asking again does not help.
    pub fn is_invalid_request(&self) -> bool {
        matches!(self, Self::Task(_) | Self::Request(_))
    }

    /// This failure, counted.
    pub fn tally(&self) -> BackfillTally {
        match self.is_invalid_request() {
            true => BackfillTally { not_understood: 1, ..BackfillTally::default() },
            false => BackfillTally { failed: 1, ..BackfillTally::default() },
        }
    }
}

/// Until when to work, of an invocation that is stopped after `left`: nothing new is begun in its last tenth, at most
/// 30 s, in which what is left of a unit is sent; a second is for the answer.
pub fn deadline(left: Duration) -> Deadline {
    let now = Instant::now();
    let end = left - (left / 20).min(Duration::from_secs(1));
    Deadline { stop: now + left - (left / 10).min(Duration::from_secs(30)), end: now + end }
}

impl Worker {
    /// Begins the run that `request` asks for, under this name. Repeated, it is the same run.
    ///
    /// # Errors
    /// Nothing of the run is begun if the request cannot be meant; otherwise the same call may be made again.
    pub async fn start(&self, id: RunId, request: Request, deadline: Deadline) -> Result<Run, WorkerError> {
        let run = request.resolve(id, &self.defaults, self.backfill.ledger.now())?;
        let run = self.records.start(&run).await?;
        let discover = |root: &SourceRoot| {
            let task = Task::Discover { run: run.id.clone(), root: root.clone(), terms: run.terms.clone() };
            OutboundMessage::of(task.body())
        };
        let messages: Vec<OutboundMessage> = run.sources.iter().map(discover).collect();
        self.send(&messages, deadline.end).await?;
        tracing::info!(run = %run.id, sources = run.sources.len(), days = %run.terms.span, "run begun");
        Ok(run)
    }

    /// Does the tasks of these messages, side by side; a task that fails comes back alone.
    pub async fn messages(&self, messages: &[Message], deadline: Deadline) -> TaskBatchReport {
        let answers = messages.iter().map(|message| self.message(message, deadline));
        let mut answered = TaskBatchReport::default();
        for (message, (tally, acknowledged)) in messages.iter().zip(join_all(answers).await) {
            answered.tally.merge(&tally);
            if !acknowledged {
                answered.failed.push(message.id.clone());
            }
        }
        answered
    }

    async fn message(&self, message: &Message, deadline: Deadline) -> (BackfillTally, bool) {
        let mut tally = BackfillTally::default();
        // One task that hangs must not take its neighbours' answers with it.
        let done = timeout_at(deadline.end, self.task(&message.body, deadline, &mut tally)).await;
        let Err(failure) = done.unwrap_or(Err(WorkerError::OutOfTime("before the task ended"))) else {
            return (tally, true);
        };
        tally.merge(&failure.tally());
        tracing::error!(message = message.id, queue = message.queue_arn, error = %failure, "failed; comes back");
        (tally, false)
    }

    async fn task(&self, body: &str, deadline: Deadline, tally: &mut BackfillTally) -> Result<(), WorkerError> {
        match Task::parse(body)? {
            Task::Start { run, request } => {
                self.start(run, request, deadline).await?;
                tally.runs += 1;
                Ok(())
            }
            Task::Discover { run, root, terms } => {
                let mut found = DiscoveryRecord::of(root);
                let ended = self.discover(&run, &terms, &mut found, deadline, tally).await;
                tally.counts.list_requests += found.list_requests;
                let ended = ended.map_err(|failure| (PartOutcome::Failed(failure.to_string()), failure));
                found.outcome = ended.as_ref().map_or_else(|(outcome, _)| outcome.clone(), |()| PartOutcome::Done);
                self.save(&run, RunPart::Discovered(found), ended.map_err(|(_, failure)| failure)).await?;
                tally.discovered += 1;
                Ok(())
            }
            Task::Work(work) => self.work(work, deadline, tally).await,
        }
    }

    /// Makes a source into units. They are sent as they are found, for they may be more than fit a memory.
    async fn discover(
        &self,
        run: &RunId,
        terms: &RunOptions,
        found: &mut DiscoveryRecord,
        deadline: Deadline,
        tally: &mut BackfillTally,
    ) -> Result<(), WorkerError> {
        let mut discovery = Discovery::new(Arc::clone(&self.backfill.source), terms.ask(&found.root));
        let mut messages = Vec::with_capacity(MAX_BATCH_BODIES);
        loop {
            // What is sent stands; the rest is found by the attempt that begins anew.
            if Instant::now() >= deadline.stop {
                return Err(WorkerError::OutOfTime("before the source was discovered; the discovery begins anew"));
            }
            let next = discovery.next().await;
            found.list_requests = discovery.progress().requests;
            found.shape = discovery.progress().shape;
            let last = match next? {
                Some(unit) => {
                    found.add(&unit);
                    tally.units += 1;
                    let (run, root, so_far) = (run.clone(), found.root.clone(), Counts::default());
                    let work = Work { run, root, unit, so_far, bytes_per_second: terms.bytes_per_second };
                    messages.push(OutboundMessage::of(Task::Work(work).body()));
                    false
                }
                None => true,
            };
            if last || messages.len() == MAX_BATCH_BODIES {
                self.send(&messages, deadline.end).await?;
                messages.clear();
            }
            if last {
                break;
            }
        }
        let progress = discovery.progress();
        if progress.shape == Shape::Empty || found.units.is_empty() {
            tally.empty += 1;
            tracing::warn!(%run, source = %found.root, "nothing to look at was found; is the prefix right, and are the accounts, regions and kinds?");
        }
        if progress.unvisited_count > 0 {
            let folders = progress.unvisited.join(", ");
            tracing::info!(%run, source = %found.root, count = progress.unvisited_count, folders, "folders passed over: not CloudTrail's");
        }
        Ok(())
    }

    async fn work(&self, work: Work, deadline: Deadline, tally: &mut BackfillTally) -> Result<(), WorkerError> {
        let intake = self.intake(&work.run, work.bytes_per_second);
        let UnitReport { mut counts, end } = self.backfill.run(work.unit.clone(), &intake, deadline.stop).await;
        tally.counts.merge(&counts);
        counts.merge(&work.so_far);
        let part = |unit: &Unit, outcome: PartOutcome| {
            let (root, unit) = (work.root.clone(), unit.clone());
            RunPart::Worked(Box::new(UnitRecord { root, unit, outcome, counts }))
        };
        match end {
            UnitEnd::Done => {
                self.save(&work.run, part(&work.unit, PartOutcome::Done), Ok(())).await?;
                tally.done += 1;
                Ok(())
            }
            // Sent again it would never come among the dead letters, and might never advance.
            UnitEnd::OutOfTime(left) if left.after == work.unit.after => {
                let failure = WorkerError::OutOfTime("before anything of the unit was worked off");
                self.save(&work.run, part(&left, PartOutcome::Failed(failure.to_string())), Err(failure)).await
            }
            UnitEnd::OutOfTime(left) => {
                let noted = part(&left, PartOutcome::Requeued);
                let rest = Task::Work(Work { unit: left, so_far: counts, ..work.clone() });
                self.send(&[OutboundMessage::of(rest.body())], deadline.end).await?;
                tally.requeued += 1;
                // The rest is on its way and will be noted with this: to come back for a note would work it twice.
                if let Err(error) = self.records.save(&work.run, &noted).await {
                    tracing::warn!(run = %work.run, %error, "not noted");
                }
                Ok(())
            }
            UnitEnd::Failed { left, error } => {
                let outcome = PartOutcome::Failed(format!("{}/{}: {error}", left.bucket, left.prefix));
                self.save(&work.run, part(&left, outcome), Err(error.into())).await
            }
        }
    }

    /// Notes a part that ended, and says how it ended. What failed is not hidden by a note that fails too.
    async fn save(&self, run: &RunId, part: RunPart, ended: Result<(), WorkerError>) -> Result<(), WorkerError> {
        match (ended, self.records.save(run, &part).await) {
            (Ok(()), noted) => Ok(noted?),
            (Err(failure), noted) => {
                if let Err(error) = noted {
                    tracing::warn!(%run, %error, "not noted");
                }
                Err(failure)
            }
        }
    }

    /// Sends into the backfill queue: all of it, or it is an error.
    async fn send(&self, messages: &[OutboundMessage], until: Instant) -> Result<(), WorkerError> {
        let sender = MessageSender::new(Arc::clone(&self.tasks), Arc::new(Budget::unlimited()));
        match sender.send(messages, until).await {
            (_, None) => Ok(()),
            (_, Some(DispatchError::OutOfTime)) => {
                Err(WorkerError::OutOfTime("before everything was sent to the backfill queue"))
            }
            (_, Some(DispatchError::Failed(reason))) => Err(WorkerError::UnsentBody(reason)),
        }
    }

    fn intake(&self, run: &RunId, bytes_per_second: Option<u64>) -> QueueDispatcher {
        let mut packing = Packing::default();
        let budget = match bytes_per_second {
            None => Arc::new(Budget::unlimited()),
            Some(rate) => {
                let share = (rate / u64::from(self.workers.max(1))).max(1);
                packing.stored_bytes = packing.stored_bytes.min(share.saturating_mul(SECONDS_A_MESSAGE));
                self.budgets.of(run, share)
            }
        };
        QueueDispatcher::new(MessageSender::new(Arc::clone(&self.ingest), budget), packing)
    }
}

impl Budgets {
    fn of(&self, run: &RunId, share: u64) -> Arc<Budget> {
        let mut budgets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if budgets.len() >= MAX_BUDGETS && !budgets.contains_key(run) {
            budgets.clear();
        }
        Arc::clone(budgets.entry(run.clone()).or_insert_with(|| Arc::new(Budget::of(share))))
    }
}
