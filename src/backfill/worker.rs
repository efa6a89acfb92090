//! Worker: starts runs and processes the tasks of the backfill queue independently.
//!
//! The tasks that follow from a task are sent before it is acknowledged, and a task that did not finish is not
//! acknowledged. So a task may be processed twice, but none is lost: starting a run twice gives one run
//! ([`RunRecords::start`]), discovering a source twice yields the same units, and processing a unit twice finds the
//! enqueued objects done.

use super::budget::Budget;
use super::dispatch::{MessageSender, OutboundMessage, Packing, QueueDispatcher};
use super::record::{DiscoveryRecord, PartOutcome, RecordError, RunPart, RunRecords, UnitRecord};
use super::run::{Defaults, Request, RequestError, Run, RunId, RunOptions, SourceRoot};
use super::tally::BackfillTally;
use super::task::{Task, TaskError, Work};
use super::{BackfillError, DispatchError, ListingCounts, Unit, UnitEnd, UnitProcessor, UnitReport};
use crate::ingest::Deadline;
use crate::listing::discover::{DetectedLayout, Discovery};
use crate::notification::Message;
use crate::queue::{MAX_BATCH_BODIES, Outbox};
use crate::source::SourceError;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Maximum number of run budgets that a worker keeps. A run whose budget was dropped gets a new one.
const MAX_BUDGETS: usize = 16;

/// Maximum number of seconds of the budget that one message may use. A batch has ten messages, and the worker must be
/// able to wait for a batch's share of the budget within one invocation.
const SECONDS_A_MESSAGE: u64 = 30;

/// A worker of the backfill queue.
#[derive(Debug)]
pub struct Worker {
    /// Processes the units.
    pub processor: UnitProcessor,
    /// Stores the progress of runs.
    pub records: Arc<dyn RunRecords>,
    /// The backfill queue.
    pub tasks: Arc<dyn Outbox>,
    /// The ingest queue for missing objects.
    pub ingest: Arc<dyn Outbox>,
    /// Defaults for the fields that a request omits.
    pub defaults: Defaults,
    /// Maximum number of concurrent workers. Each uses an equal share of a run's budget.
    pub workers: u32,
    /// The budgets of the runs that this worker processed recently.
    pub budgets: Budgets,
}

/// The budgets of runs. They persist across invocations.
#[derive(Debug, Default)]
pub struct Budgets(Mutex<BTreeMap<RunId, Arc<Budget>>>);

/// The result of an invocation's messages.
#[derive(Debug, Default)]
pub struct TaskBatchReport {
    /// The counts of all messages.
    pub tally: BackfillTally,
    /// IDs of the messages that must be retried.
    pub failed: Vec<String>,
}

/// An error of a task. The task's message is retried.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The message is not a valid task.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The request is invalid.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The source could not be listed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The unit could not be processed.
    #[error(transparent)]
    Unit(#[from] BackfillError),
    /// The progress could not be stored.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The backfill queue did not accept the following tasks.
    #[error("{0}")]
    UnsentBody(String),
    /// Time ran out.
    #[error("out of time {0}")]
    OutOfTime(&'static str),
}

impl WorkerError {
    /// Returns whether the request or task is invalid, so that a retry does not help.
    pub fn is_invalid_request(&self) -> bool {
        matches!(self, Self::Task(_) | Self::Request(_))
    }

    /// Returns the tally of this error.
    pub fn tally(&self) -> BackfillTally {
        match self.is_invalid_request() {
            true => BackfillTally { invalid_messages: 1, ..BackfillTally::default() },
            false => BackfillTally { failed: 1, ..BackfillTally::default() },
        }
    }
}

/// Returns the deadline of an invocation that is stopped after `left`. Nothing new is started in the last tenth of that
/// time (at most 30 s), which is reserved for sending the rest of a unit. The last second is reserved for the response.
pub fn deadline(left: Duration) -> Deadline {
    let now = Instant::now();
    let end = left - (left / 20).min(Duration::from_secs(1));
    Deadline { stop: now + left - (left / 10).min(Duration::from_secs(30)), end: now + end }
}

impl Worker {
    /// Starts the requested run with this ID. Repeating the call returns the same run.
    ///
    /// # Errors
    /// Fails without starting the run if the request is invalid. After other errors the same call can be retried.
    pub async fn start(&self, id: RunId, request: Request, deadline: Deadline) -> Result<Run, WorkerError> {
        let run = request.resolve(id, &self.defaults, self.processor.ledger.now())?;
        let run = self.records.start(&run).await?;
        let discover = |root: &SourceRoot| {
            let task = Task::Discover { run: run.id.clone(), root: root.clone(), terms: run.terms.clone() };
            OutboundMessage::of(task.body())
        };
        let messages: Vec<OutboundMessage> = run.sources.iter().map(discover).collect();
        self.send(&messages, deadline.end).await?;
        tracing::info!(run = %run.id, sources = run.sources.len(), days = %run.terms.span, "run started");
        Ok(run)
    }

    /// Processes the tasks of these messages concurrently. Each task that fails is retried on its own.
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
        // The timeout keeps a task that hangs from losing the results of the other tasks.
        let done = timeout_at(deadline.end, self.task(&message.body, deadline, &mut tally)).await;
        let Err(failure) = done.unwrap_or(Err(WorkerError::OutOfTime("before the task ended"))) else {
            return (tally, true);
        };
        tally.merge(&failure.tally());
        tracing::error!(message_id = message.id, queue = message.queue_arn, error = %failure, "failed; will be retried");
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

    /// Discovers the units of a source. Units are sent as they are found, because all of them may not fit into memory.
    async fn discover(
        &self,
        run: &RunId,
        terms: &RunOptions,
        found: &mut DiscoveryRecord,
        deadline: Deadline,
        tally: &mut BackfillTally,
    ) -> Result<(), WorkerError> {
        let mut discovery = Discovery::new(Arc::clone(&self.processor.source), terms.ask(&found.root));
        let mut messages = Vec::with_capacity(MAX_BATCH_BODIES);
        loop {
            // Units that were sent remain valid; the next attempt starts again and finds the rest.
            if Instant::now() >= deadline.stop {
                return Err(WorkerError::OutOfTime("before the source was discovered; the discovery starts again"));
            }
            let next = discovery.next().await;
            found.list_requests = discovery.progress().requests;
            found.shape = discovery.progress().shape;
            let last = match next? {
                Some(unit) => {
                    found.add(&unit);
                    tally.units += 1;
                    let (run, root, so_far) = (run.clone(), found.root.clone(), ListingCounts::default());
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
        if progress.shape == DetectedLayout::Empty || found.units.is_empty() {
            tally.empty += 1;
            tracing::warn!(%run, source = %found.root, "no CloudTrail folders found: check the prefix, accounts, regions and kinds");
        }
        if progress.unvisited_count > 0 {
            let folders = progress.unvisited.join(", ");
            tracing::info!(%run, source = %found.root, count = progress.unvisited_count, folders, "folders not visited: outside CloudTrail's layout");
        }
        Ok(())
    }

    async fn work(&self, work: Work, deadline: Deadline, tally: &mut BackfillTally) -> Result<(), WorkerError> {
        let intake = self.intake(&work.run, work.bytes_per_second);
        let UnitReport { mut counts, end } = self.processor.run(work.unit.clone(), &intake, deadline.stop).await;
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
            // Requeueing would reset the receive count, so a unit that never advances would never reach the dead-letter
            // queue.
            UnitEnd::OutOfTime(left) if left.after == work.unit.after => {
                let failure = WorkerError::OutOfTime("before any part of the unit was processed");
                self.save(&work.run, part(&left, PartOutcome::Failed(failure.to_string())), Err(failure)).await
            }
            UnitEnd::OutOfTime(left) => {
                let noted = part(&left, PartOutcome::Requeued);
                let rest = Task::Work(Work { unit: left, so_far: counts, ..work.clone() });
                self.send(&[OutboundMessage::of(rest.body())], deadline.end).await?;
                tally.requeued += 1;
                // The rest is already sent and its record will include this one. Retrying only to save the record would
                // process the rest twice.
                if let Err(error) = self.records.save(&work.run, &noted).await {
                    tracing::warn!(run = %work.run, %error, "could not save the record");
                }
                Ok(())
            }
            UnitEnd::Failed { left, error } => {
                let outcome = PartOutcome::Failed(format!("{}/{}: {error}", left.bucket, left.prefix));
                self.save(&work.run, part(&left, outcome), Err(error.into())).await
            }
        }
    }

    /// Saves the record of a part and returns the part's result. An error of the part takes precedence over an error of
    /// saving.
    async fn save(&self, run: &RunId, part: RunPart, ended: Result<(), WorkerError>) -> Result<(), WorkerError> {
        match (ended, self.records.save(run, &part).await) {
            (Ok(()), noted) => Ok(noted?),
            (Err(failure), noted) => {
                if let Err(error) = noted {
                    tracing::warn!(%run, %error, "could not save the record");
                }
                Err(failure)
            }
        }
    }

    /// Sends messages to the backfill queue. Fails if not all of them are accepted.
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
