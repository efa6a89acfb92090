//! Worker: starts runs, and processes each task of the backfill queue on its own.
//!
//! The tasks that follow from a task are sent before it is acknowledged, and a task that did not finish is not
//! acknowledged. So a task may be processed twice, but none is lost: starting a run twice gives one run
//! ([`RunRecords::start`]), discovering a source twice yields the same units, and processing a unit twice finds the
//! enqueued objects done.
//!
//! A task that runs out of time sends the rest of its work as new messages: a unit sends one, a discovery one or several.
//! A unit that waits for the budget sends itself with a delay. A task is continued in this way only if it advanced, or if
//! other tasks, which advance, use the budget. Otherwise it fails, so that a task that never advances reaches the
//! dead-letter queue.

use super::budget::Budget;
use super::dispatch::{MessageSender, OutboundMessage, Packing, QueueDispatcher};
use super::record::{DiscoveryRecord, PartOutcome, RecordError, RunPart, RunRecords, UnitRecord, part_name};
use super::run::{Defaults, Request, RequestError, Run, RunId, RunOptions, SourceRoot};
use super::tally::BackfillTally;
use super::task::{Task, TaskError, Work};
use super::{BackfillError, DispatchError, ListingCounts, Unit, UnitEnd, UnitProcessor, UnitReport};
use crate::ingest::Deadline;
use crate::listing::discover::{Discovery, DiscoveryRest};
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

/// Maximum number of seconds of the budget that one message may use. A batch has at most ten messages and so uses at most
/// 300 s of the budget, unless a message contains a single larger object.
const BUDGET_SECONDS_PER_MESSAGE: u64 = 30;

/// Minimum delay of a unit that waits for the budget.
const MIN_BUDGET_DELAY: Duration = Duration::from_secs(1);

/// Maximum number of denied folders whose reasons an error contains.
const MAX_NAMED_DENIED: usize = 5;

/// Maximum bytes of the folders in a task that continues a discovery. A message of the queue can contain 256 KiB.
const CONTINUATION_BYTES: usize = 64 * 1024;

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
    /// Maximum number of concurrent workers. Each has an equal share of a run's budget.
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
    NotSent(String),
    /// Time ran out.
    #[error("out of time {0}")]
    OutOfTime(&'static str),
    /// The listing of these folders is denied, so their units are not known.
    #[error("folders that cannot be listed: {0}")]
    FoldersDenied(String),
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
            let task =
                Task::Discover { run: run.id.clone(), root: root.clone(), options: run.options.clone(), rest: None };
            OutboundMessage::of(task.body())
        };
        let messages: Vec<OutboundMessage> = run.sources.iter().map(discover).collect();
        self.send(&messages, deadline.end).await?;
        tracing::info!(run = %run.id, sources = run.sources.len(), days = %run.options.day_range, "run started");
        Ok(run)
    }

    /// Processes the tasks of these messages concurrently. Each task that fails is retried on its own.
    pub async fn messages(&self, messages: &[Message], deadline: Deadline) -> TaskBatchReport {
        let results = messages.iter().map(|message| self.message(message, deadline));
        let mut report = TaskBatchReport::default();
        for (message, (tally, acknowledged)) in messages.iter().zip(join_all(results).await) {
            report.tally.merge(&tally);
            if !acknowledged {
                report.failed.push(message.id.clone());
            }
        }
        report
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
            Task::Discover { run, root, options, rest } => {
                self.discover(run, root, options, rest, deadline, tally).await
            }
            Task::Work(work) => self.work(work, deadline, tally).await,
        }
    }

    /// Discovers the units of a source, or of the rest of it, and saves the record.
    async fn discover(
        &self,
        run: RunId,
        root: SourceRoot,
        options: RunOptions,
        rest: Option<DiscoveryRest>,
        deadline: Deadline,
        tally: &mut BackfillTally,
    ) -> Result<(), WorkerError> {
        let mut found = DiscoveryRecord::of_part(root, rest.as_ref().map(part_name));
        let ended = self.send_units(&run, &options, rest, &mut found, deadline, tally).await;
        tally.counts.list_requests += found.list_requests;
        found.outcome = match &ended {
            Ok(()) => PartOutcome::Done,
            Err(failure) => PartOutcome::Failed(failure.to_string()),
        };
        let DiscoveryRecord { root, part, continued_by, .. } = &found;
        let (is_first, continued) = (part.is_none(), continued_by.len() as u64);
        if ended.is_ok() && is_first && continued == 0 && found.units.is_empty() {
            tally.empty += 1;
            tracing::warn!(%run, source = %root, "no CloudTrail folders found: check the prefix, accounts, regions and kinds");
        }
        if ended.is_ok() && continued > 0 {
            tracing::info!(%run, source = %root, tasks = continued, "further tasks continue the discovery");
        }
        if ended.is_ok() && found.unvisited > 0 {
            let folders = found.unvisited_names.join(", ");
            tracing::warn!(%run, source = %root, count = found.unvisited, folders, "folders not visited: outside CloudTrail's layout");
        }
        if found.denied > 0 {
            // Also if the task fails.
            tally.denied += found.denied;
            let folders = found.denied_names.join(", ");
            tracing::error!(%run, source = %root, count = found.denied, folders, "folders not listed: access denied; a further task lists them again");
        }
        let unvisited = found.unvisited;
        self.save(&run, RunPart::Discovered(Box::new(found)), ended).await?;
        tally.discovered += u64::from(is_first);
        tally.continued += continued;
        tally.unvisited += unvisited;
        Ok(())
    }

    /// Sends the units of a source as they are found, because all of them may not fit into memory. If time runs out,
    /// sends tasks that continue with the folders that are left.
    async fn send_units(
        &self,
        run: &RunId,
        options: &RunOptions,
        rest: Option<DiscoveryRest>,
        found: &mut DiscoveryRecord,
        deadline: Deadline,
        tally: &mut BackfillTally,
    ) -> Result<(), WorkerError> {
        let (source, request) = (Arc::clone(&self.processor.source), options.discovery_request(&found.root));
        let mut discovery = match rest {
            None => Discovery::new(source, request),
            Some(rest) => Discovery::resume(source, request, rest),
        };
        let mut messages = Vec::with_capacity(MAX_BATCH_BODIES);
        loop {
            // The check is necessary: a future that is ready at once never times out.
            let next = match Instant::now() < deadline.stop {
                true => timeout_at(deadline.stop, discovery.next()).await.ok(),
                false => None,
            };
            found.update(discovery.progress());
            match next {
                Some(unit) => match unit? {
                    Some(unit) => {
                        found.add(&unit);
                        tally.units += 1;
                        let (run, root, so_far) = (run.clone(), found.root.clone(), ListingCounts::default());
                        let work = Work { run, root, unit, so_far, bytes_per_second: options.bytes_per_second };
                        messages.push(OutboundMessage::of(Task::Work(work).body()));
                    }
                    None => {
                        messages.extend(retry_denied(run, options, &mut discovery, found)?);
                        break;
                    }
                },
                None => {
                    messages.extend(continue_discovery(run, options, &mut discovery, found)?);
                    break;
                }
            }
            if messages.len() >= MAX_BATCH_BODIES {
                self.send(&messages, deadline.end).await?;
                messages.clear();
            }
        }
        self.send(&messages, deadline.end).await
    }

    async fn work(&self, work: Work, deadline: Deadline, tally: &mut BackfillTally) -> Result<(), WorkerError> {
        let dispatcher = self.dispatcher(&work.run, work.bytes_per_second);
        if let Some(until) = dispatcher.budget_used_until(deadline.stop) {
            // Nothing could be enqueued, so nothing is listed.
            return self.await_budget(&work, until, tally).await;
        }
        let UnitReport { mut counts, end } = self.processor.run(work.unit.clone(), &dispatcher, deadline.stop).await;
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
                let record = part(&left, PartOutcome::Requeued);
                let rest = Task::Work(Work { unit: left, so_far: counts, ..work.clone() });
                self.send(&[OutboundMessage::of(rest.body())], deadline.end).await?;
                tally.requeued += 1;
                self.save_requeued(&work.run, &record).await;
                Ok(())
            }
            UnitEnd::AwaitingBudget { left, until } => {
                let record = part(&left, PartOutcome::Requeued);
                let rest = Work { unit: left, so_far: counts, ..work.clone() };
                self.await_budget(&rest, until, tally).await?;
                if rest.unit.after != work.unit.after {
                    self.save_requeued(&work.run, &record).await;
                }
                Ok(())
            }
            UnitEnd::Failed { left, error } => {
                let outcome = PartOutcome::Failed(format!("{}/{}: {error}", left.bucket, left.prefix));
                self.save(&work.run, part(&left, outcome), Err(error.into())).await
            }
        }
    }

    /// Sends the unit again, to be received when the budget permits a batch. This is a new message, so waiting does not
    /// bring the unit closer to the dead-letter queue.
    async fn await_budget(&self, work: &Work, until: Instant, tally: &mut BackfillTally) -> Result<(), WorkerError> {
        let delay = until.saturating_duration_since(Instant::now()).max(MIN_BUDGET_DELAY);
        let sent = self.tasks.send_delayed(&Task::Work(work.clone()).body(), delay).await;
        sent.map_err(|error| WorkerError::NotSent(error.to_string()))?;
        tracing::info!(run = %work.run, unit = %work.unit, seconds = delay.as_secs(), "waits for the budget");
        tally.awaiting_budget += 1;
        Ok(())
    }

    /// Saves the record of a unit whose rest is already sent. The record of the rest will include this one. Retrying the
    /// task only to save this record would process the rest twice.
    async fn save_requeued(&self, run: &RunId, part: &RunPart) {
        if let Err(error) = self.records.save(run, part).await {
            tracing::warn!(%run, %error, "could not save the record");
        }
    }

    /// Saves the record of a part and returns the part's result. An error of the part takes precedence over an error of
    /// saving.
    async fn save(&self, run: &RunId, part: RunPart, ended: Result<(), WorkerError>) -> Result<(), WorkerError> {
        match (ended, self.records.save(run, &part).await) {
            (Ok(()), saved) => Ok(saved?),
            (Err(failure), saved) => {
                if let Err(error) = saved {
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
            // Tasks have no budget.
            (_, Some(DispatchError::OutOfTime | DispatchError::BudgetUsed { .. })) => {
                Err(WorkerError::OutOfTime("before everything was sent to the backfill queue"))
            }
            (_, Some(DispatchError::Failed(reason))) => Err(WorkerError::NotSent(reason)),
        }
    }

    fn dispatcher(&self, run: &RunId, bytes_per_second: Option<u64>) -> QueueDispatcher {
        let mut packing = Packing::default();
        let budget = match bytes_per_second {
            None => Arc::new(Budget::unlimited()),
            Some(rate) => {
                let share = (rate / u64::from(self.workers.max(1))).max(1);
                packing.stored_bytes = packing.stored_bytes.min(share.saturating_mul(BUDGET_SECONDS_PER_MESSAGE));
                self.budgets.of(run, share)
            }
        };
        QueueDispatcher::new(MessageSender::new(Arc::clone(&self.ingest), budget), packing)
    }
}

/// Returns the tasks that continue this discovery, and names them in its record.
///
/// # Errors
/// Fails if the tasks would not advance the discovery. A new message would reset the receive count, so such a discovery
/// would never reach the dead-letter queue.
fn continue_discovery(
    run: &RunId,
    options: &RunOptions,
    discovery: &mut Discovery,
    found: &mut DiscoveryRecord,
) -> Result<Vec<OutboundMessage>, WorkerError> {
    let Some(rest) = discovery.take_rest() else {
        return Err(WorkerError::OutOfTime("before all folders were searched for AWSLogs/; the search starts again"));
    };
    found.update(discovery.progress());
    let is_unchanged = found.part.as_deref() == Some(&part_name(&rest));
    if is_unchanged || (found.list_requests == 0 && found.units.is_empty()) {
        return Err(WorkerError::OutOfTime("before any folder of the source was listed"));
    }
    Ok(continuations(run, options, rest, found))
}

/// Returns the tasks that list the denied folders of this discovery again, and names them in its record. A task that
/// contains nothing else fails, so its message reaches the dead-letter queue, and the run is not done without these folders.
///
/// # Errors
/// Fails if the discovery consists of these folders: nothing changed since the task was sent.
fn retry_denied(
    run: &RunId,
    options: &RunOptions,
    discovery: &mut Discovery,
    found: &mut DiscoveryRecord,
) -> Result<Vec<OutboundMessage>, WorkerError> {
    let Some(rest) = discovery.take_denied() else { return Ok(Vec::new()) };
    if found.part.as_deref() == Some(&part_name(&rest)) {
        let denied = &discovery.progress().denied;
        let mut reasons: Vec<&str> = denied.iter().take(MAX_NAMED_DENIED).map(|entry| entry.reason.as_str()).collect();
        let more = format!("and {} more", denied.len() - reasons.len());
        reasons.extend((denied.len() > reasons.len()).then_some(more.as_str()));
        return Err(WorkerError::FoldersDenied(reasons.join("; ")));
    }
    Ok(continuations(run, options, rest, found))
}

fn continuations(
    run: &RunId,
    options: &RunOptions,
    rest: DiscoveryRest,
    found: &mut DiscoveryRecord,
) -> Vec<OutboundMessage> {
    let tasks = rest.split(CONTINUATION_BYTES).into_iter().map(|part| {
        found.continued_by.push(part_name(&part));
        let (run, root, options) = (run.clone(), found.root.clone(), options.clone());
        OutboundMessage::of(Task::Discover { run, root, options, rest: Some(part) }.body())
    });
    tasks.collect()
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
