//! Reads sources as `trailhose sync --watch` does: with one destination, one ledger, and the same look-back.

use super::sources::planned;
use crate::args::{Dest, Location};
use crate::components::{self, Aws, Delivery, OpenedSource};
use crate::progress::Progress;
use crate::sync::keep::KeptDays;
use crate::sync::look_back::LookBack;
use crate::sync::open_sources::{check_distinct, open_source};
use crate::sync::output::OutputFiles;
use crate::sync::plan::{PlannedSource, SyncPlan};
use crate::sync::round::{SourceEnd, sync_run};
use crate::text::{counted, one_line};
use async_trait::async_trait;
use jiff::{Timestamp, tz::TimeZone};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{RwLock, RwLockReadGuard, watch};
use trailhose::ingest::Outcome;
use trailhose::serve::{ApiSourceSettings, FinishedRun, LiveCounts, ScheduledSource, SourceOrigin, SourceRunner};
use trailhose::source::metered::SourceCounters;
use trailhose::state::RunCounts;
use trailhose::sync::{Completion, SyncEvent, SyncReport};

/// The time between two checks of the delivered files, and between two deletions of old ones.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(600);

/// The time after which runs wait for the check and the deletion, for example because a slow listing is always in progress.
const MAINTENANCE_LIMIT: Duration = Duration::from_secs(6 * 3_600);

/// What is remembered between the runs of a source.
struct SourceMemory {
    /// The settings of the source that was read. A source that was deleted during its run, and added again with the same ID, may
    /// have others.
    settings: ApiSourceSettings,
    opened: Option<OpenedSource>,
    look_back: LookBack,
    progress: Progress,
}

impl SourceMemory {
    fn new(settings: ApiSourceSettings) -> Self {
        Self { settings, opened: None, look_back: LookBack::default(), progress: Progress::new(true, false) }
    }
}

/// What is remembered of the sources that are not being read, by their IDs.
#[derive(Default)]
struct SourceMemories(Mutex<HashMap<String, SourceMemory>>);

impl SourceMemories {
    /// Takes what is remembered of a source. It is empty for a source with other settings.
    fn take(&self, id: &str, settings: &ApiSourceSettings) -> SourceMemory {
        let remembered = self.lock().remove(id).filter(|memory| memory.settings == *settings);
        remembered.unwrap_or_else(|| SourceMemory::new(settings.clone()))
    }

    fn put(&self, id: &str, memory: SourceMemory) {
        self.lock().insert(id.to_owned(), memory);
    }

    fn forget(&self, id: &str) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, SourceMemory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The opened destination, and what is done between runs.
struct OpenedDelivery {
    delivery: Delivery,
    output: OutputFiles,
    kept: KeptDays,
}

/// Reads sources. Each run has a thread of its own. The tasks that read its objects run on the threads of the runtime.
#[derive(Debug)]
pub(super) struct SyncRunner(Arc<RunnerParts>);

/// What the runs share.
struct RunnerParts {
    plan: Arc<SyncPlan>,
    /// The sources of the settings file by their IDs.
    planned: HashMap<String, PlannedSource>,
    aws: Aws,
    usage: Arc<SourceCounters>,
    /// Locked for reading by each run. It is opened again after an error, when no run is in progress.
    delivery: RwLock<Option<OpenedDelivery>>,
    /// When the delivered files were checked last, and old ones deleted.
    maintained: Mutex<Instant>,
    memories: SourceMemories,
}

impl std::fmt::Debug for RunnerParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunnerParts").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl SyncRunner {
    /// Opens the destination and the ledger.
    ///
    /// # Errors
    /// One of them cannot be opened, for example because another process uses the ledger.
    pub(super) async fn open(plan: Arc<SyncPlan>, planned: HashMap<String, PlannedSource>) -> Result<Self, String> {
        let parts = RunnerParts {
            plan,
            planned,
            aws: Aws::default(),
            usage: Arc::default(),
            delivery: RwLock::default(),
            maintained: Mutex::new(Instant::now()),
            memories: SourceMemories::default(),
        };
        drop(parts.delivery().await?);
        parts.maintain(true).await;
        Ok(Self(Arc::new(parts)))
    }
}

impl RunnerParts {
    /// Returns the opened destination, and opens it if an earlier run failed.
    async fn delivery(&self) -> Result<RwLockReadGuard<'_, Option<OpenedDelivery>>, String> {
        loop {
            let opened = self.delivery.read().await;
            if opened.is_some() {
                return Ok(opened);
            }
            drop(opened);
            let mut closed = self.delivery.write().await;
            if closed.is_none() {
                let delivery = components::delivery(&self.plan.delivery, &self.aws).await?;
                let output = OutputFiles::open(&delivery, false, &[]).await?;
                *closed = Some(OpenedDelivery { delivery, output, kept: KeptDays::default() });
            }
        }
    }

    /// Checks the delivered files and deletes old ones, if some time has passed. Waits until no run is in progress only if much
    /// time has passed, because no run starts while it waits.
    async fn maintain(&self, is_start: bool) {
        let since = self.maintained().elapsed();
        if !is_start && since < MAINTENANCE_INTERVAL {
            return;
        }
        let mut opened = match self.delivery.try_write() {
            Ok(opened) => opened,
            Err(_) if since < MAINTENANCE_LIMIT => return,
            Err(_) => self.delivery.write().await,
        };
        let Some(opened) = opened.as_mut() else { return };
        *self.maintained() = Instant::now();
        let progress = Progress::new(true, false);
        if !is_start && let Err(error) = opened.output.check(&opened.delivery).await {
            progress.line(&format!("cannot check the delivered files: {error}"));
        }
        opened.kept.apply(&self.plan, &opened.delivery, &progress).await;
    }

    fn maintained(&self) -> MutexGuard<'_, Instant> {
        self.maintained.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the destination if no run is in progress, so that the next run opens it again.
    fn close(&self) {
        if let Ok(mut opened) = self.delivery.try_write() {
            *opened = None;
        }
    }

    fn planned(&self, source: &ScheduledSource) -> Result<PlannedSource, String> {
        match source.origin {
            SourceOrigin::Settings => {
                self.planned.get(&source.id).cloned().ok_or_else(|| "the source is not in the settings".to_owned())
            }
            SourceOrigin::Api => planned(&source.settings),
        }
    }

    async fn read(
        &self,
        source: &ScheduledSource,
        memory: &mut SourceMemory,
        halt: watch::Receiver<bool>,
        counts: &LiveCounts,
    ) -> Result<SyncReport, String> {
        let planned = self.planned(source)?;
        if memory.opened.is_none() {
            memory.opened = Some(open_source(&planned, &self.aws, &self.usage).await?);
        }
        let Some(opened) = &memory.opened else { return Err("the source is not open".into()) };
        check_distinct(opened, &self.plan.delivery.dest)?;
        let delivery = self.delivery().await?;
        let Some(OpenedDelivery { delivery, .. }) = &*delivery else { return Err("the destination is closed".into()) };
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let look_back_from = memory.look_back.start(today);
        let sync = sync_run(&self.plan, delivery, &planned, opened, look_back_from, None);
        let progress = &mut memory.progress;
        progress.start_round();
        let mut on_event = |event: SyncEvent<'_>| {
            progress.handle(&event);
            if let SyncEvent::Finished(_, outcome) = event {
                counts.update(|counts| add(counts, outcome));
            }
        };
        let report = sync.run(halt, &mut on_event).await;
        progress.end();
        let end = SourceEnd::of(&report, &planned, look_back_from.is_some());
        if let Some(cause) = end.unvisited {
            progress.print_unvisited(&report.unvisited_names, cause);
        }
        progress.not_ingested.rest().iter().for_each(|line| progress.line(line));
        end.add_to(&mut memory.look_back, today);
        Ok(report)
    }
}

impl RunnerParts {
    async fn run(&self, source: &ScheduledSource, halt: watch::Receiver<bool>, counts: &LiveCounts) -> FinishedRun {
        let mut memory = self.memories.take(&source.id, &source.settings);
        let read = self.read(source, &mut memory, halt, counts).await;
        // A destination that cannot be opened is not open.
        let has_delivery_failed = read.as_ref().is_ok_and(|report| report.has_delivery_failed);
        let run = match read {
            Ok(report) => finished(report),
            Err(reason) => {
                let reason = one_line(reason.strip_prefix("SOURCE: ").unwrap_or(&reason));
                FinishedRun { error: Some(reason), ..FinishedRun::default() }
            }
        };
        if let Some(error) = &run.error {
            memory.progress.line(&format!("{}: source {}: {error}", crate::summary::error_word(), source.id));
            // The next run opens the source again. The destination is closed only if it failed: while it is closed, another
            // process can use the ledger.
            memory.opened = None;
            if has_delivery_failed {
                self.close();
            }
        } else if run.counts.objects > 0 {
            let (objects, events) = (counted(run.counts.objects, "object"), counted(run.counts.delivered, "event"));
            memory.progress.line(&format!("source {}: {objects}, {events} delivered", source.id));
        }
        self.memories.put(&source.id, memory);
        self.maintain(false).await;
        run
    }
}

/// Counts an object of a run that is not finished.
fn add(counts: &mut RunCounts, outcome: &Outcome) {
    match outcome {
        Outcome::Done(report) => {
            counts.objects += 1;
            counts.events += report.counts.seen;
            counts.delivered += report.counts.delivered + report.counts.oversize;
            counts.duplicates += report.counts.duplicate;
            counts.filtered += report.counts.filtered;
        }
        Outcome::Quarantined(quarantined) if !quarantined.by_earlier_attempt => counts.quarantined += 1,
        _ => {}
    }
}

fn finished(report: SyncReport) -> FinishedRun {
    let (tally, done) = (&report.tally, report.tally.done.counts);
    let failed_objects = tally.failed + tally.deferred + report.rolled_back;
    let error = match &report.completion {
        Completion::Aborted(reason) => Some(one_line(reason)),
        Completion::Complete if failed_objects > 0 => {
            Some(format!("{} failed; the next run retries them", counted(failed_objects, "object")))
        }
        _ => None,
    };
    FinishedRun {
        is_complete: report.completion == Completion::Complete && failed_objects == 0,
        is_stopped: report.completion == Completion::Stopped,
        counts: RunCounts {
            objects: tally.objects,
            events: done.seen,
            delivered: done.delivered + done.oversize,
            duplicates: done.duplicate,
            filtered: done.filtered,
            quarantined: tally.quarantined_by_this_run(),
        },
        failed_objects,
        quarantined: tally.quarantined.clone(),
        error,
    }
}

#[async_trait]
impl SourceRunner for SyncRunner {
    fn check(&self, settings: &ApiSourceSettings) -> Result<(), String> {
        let planned = planned(settings)?;
        let (Location::Path(folder), Dest::Folder(dest)) = (&planned.location, &self.0.plan.delivery.dest) else {
            return Ok(());
        };
        if !folder.is_dir() {
            return Err(format!("folder: {} does not exist or is not a folder", folder.display()));
        }
        if folder.canonicalize().ok().is_some_and(|folder| dest.canonicalize().ok() == Some(folder)) {
            return Err("folder: this is the destination".into());
        }
        Ok(())
    }

    async fn run(&self, source: &ScheduledSource, halt: watch::Receiver<bool>, counts: Arc<LiveCounts>) -> FinishedRun {
        let (parts, source, runtime) = (Arc::clone(&self.0), source.clone(), Handle::current());
        let run = tokio::task::spawn_blocking(move || runtime.block_on(parts.run(&source, halt, &counts)));
        run.await.unwrap_or_else(|error| {
            let error = Some(format!("the run ended unexpectedly: {error}"));
            FinishedRun { error, ..FinishedRun::default() }
        })
    }

    fn forget(&self, id: &str) {
        self.0.memories.forget(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn of(folder: &str) -> ApiSourceSettings {
        ApiSourceSettings { folder: Some(folder.into()), ..ApiSourceSettings::default() }
    }

    #[test]
    fn source_with_the_id_of_a_deleted_one_starts_without_its_memory() {
        let memories = SourceMemories::default();
        let today = date(2026, 11, 28);
        let mut memory = memories.take("logs", &of("/old"));
        memory.look_back.add_round(today, Some(today), true);
        // The source is deleted while its run is in progress.
        memories.forget("logs");
        memories.put("logs", memory);
        let whole = LookBack::default().start(today);
        assert_eq!(memories.take("logs", &of("/new")).look_back.start(today), whole);
    }

    #[test]
    fn source_remembers_its_last_run() {
        let memories = SourceMemories::default();
        let today = date(2026, 11, 28);
        let mut memory = memories.take("logs", &of("/old"));
        memory.look_back.add_round(today, Some(today), true);
        let next = memory.look_back.start(today);
        assert_ne!(next, LookBack::default().start(today));
        memories.put("logs", memory);
        assert_eq!(memories.take("logs", &of("/old")).look_back.start(today), next);
    }
}
