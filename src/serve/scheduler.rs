//! Runs every source at its own interval, in one process with one ledger.
//!
//! A run is recorded when it starts and when it ends. A source never has two runs at the same time: a request for a run
//! returns the run that is in progress or pending.

use super::becomes_true;
use super::source_settings::ApiSourceSettings;
use crate::state::{RunCounts, RunState, StateDatabase, StateError, StoredRun};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

/// The maximum number of sources that are read at the same time.
const CONCURRENT_RUNS: usize = 4;

/// The error of a run that an earlier process did not finish.
const PROCESS_ENDED: &str = "the process ended during the run; the next run continues";

/// Where a source comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceOrigin {
    /// The settings file. The API cannot change it.
    Settings,
    /// The API.
    Api,
}

impl SourceOrigin {
    /// Returns its name, as the API returns it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Api => "api",
        }
    }
}

/// A source that is read at intervals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduledSource {
    /// Its ID.
    pub id: String,
    /// Where it comes from.
    pub origin: SourceOrigin,
    /// What is read.
    pub settings: ApiSourceSettings,
    /// The time between the end of a run and the start of the next one.
    pub interval: Duration,
}

/// The result of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FinishedRun {
    /// Whether every selected object was processed, without failures.
    pub is_complete: bool,
    /// Whether the run was asked to stop.
    pub is_stopped: bool,
    /// What it did.
    pub counts: RunCounts,
    /// Objects that failed and are retried by the next run.
    pub failed_objects: u64,
    /// Quarantined objects by kind of reason.
    pub quarantined: BTreeMap<String, u64>,
    /// Why it did not complete.
    pub error: Option<String>,
}

/// The counts of a run that is not finished.
#[derive(Debug, Default)]
pub struct LiveCounts(Mutex<RunCounts>);

impl LiveCounts {
    /// Changes the counts.
    pub fn update(&self, change: impl FnOnce(&mut RunCounts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Returns the counts so far.
    pub fn get(&self) -> RunCounts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a source once.
#[async_trait]
pub trait SourceRunner: Send + Sync + Debug {
    /// Checks the settings of a source that is to be added.
    ///
    /// # Errors
    /// Why the settings are invalid.
    fn check(&self, settings: &ApiSourceSettings) -> Result<(), String>;

    /// Reads a source to its end or until `halt` becomes true. Then objects in progress are finished.
    async fn run(&self, source: &ScheduledSource, halt: watch::Receiver<bool>, counts: Arc<LiveCounts>) -> FinishedRun;

    /// Forgets what was remembered between the runs of a source.
    fn forget(&self, id: &str);
}

/// Receives the end of each run.
pub(super) trait RunObserver: Send + Sync + Debug {
    /// Receives the result of a run.
    fn run_ended(&self, source: &str, state: RunState, finished: &FinishedRun);
}

/// A run that is not finished.
#[derive(Debug, Clone)]
struct OpenRun {
    number: i64,
    started: i64,
    counts: Arc<LiveCounts>,
}

#[derive(Debug, Default)]
struct SourceStatus {
    open: Option<OpenRun>,
    last: Option<StoredRun>,
    /// When the next run starts, in seconds since 1970.
    next: Option<i64>,
    /// Whether the source is removed, so that no run starts any more.
    is_removed: bool,
}

#[derive(Debug)]
struct SourceEntry {
    source: ScheduledSource,
    wake: Notify,
    halt: watch::Sender<bool>,
    status: Mutex<SourceStatus>,
}

impl SourceEntry {
    fn status(&self) -> MutexGuard<'_, SourceStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A source with its current state.
#[derive(Debug, Clone)]
pub(super) struct SourceSnapshot {
    pub(super) source: ScheduledSource,
    pub(super) is_running: bool,
    pub(super) last: Option<StoredRun>,
    pub(super) next: Option<i64>,
}

/// Runs the sources.
#[derive(Debug)]
pub(super) struct Scheduler {
    state: Arc<StateDatabase>,
    runner: Arc<dyn SourceRunner>,
    observer: Arc<dyn RunObserver>,
    entries: Mutex<BTreeMap<String, Arc<SourceEntry>>>,
    permits: Arc<Semaphore>,
    tasks: Mutex<JoinSet<()>>,
    stops: watch::Sender<bool>,
}

impl Scheduler {
    /// Creates a scheduler without sources. Runs of an earlier process are recorded as stopped.
    ///
    /// # Errors
    /// Errors of the state database.
    pub(super) fn new(
        state: Arc<StateDatabase>,
        runner: Arc<dyn SourceRunner>,
        observer: Arc<dyn RunObserver>,
    ) -> Result<Arc<Self>, StateError> {
        state.stop_abandoned_runs(PROCESS_ENDED, now())?;
        Ok(Arc::new(Self {
            state,
            runner,
            observer,
            entries: Mutex::default(),
            permits: Arc::new(Semaphore::new(CONCURRENT_RUNS)),
            tasks: Mutex::default(),
            stops: watch::channel(false).0,
        }))
    }

    /// Returns the runner that reads the sources.
    pub(super) fn runner(&self) -> &Arc<dyn SourceRunner> {
        &self.runner
    }

    /// Starts to read a source. Does nothing if its ID exists.
    ///
    /// # Errors
    /// Errors of the state database.
    pub(super) fn add(self: &Arc<Self>, source: ScheduledSource) -> Result<(), StateError> {
        let last = self.state.last_run(&source.id)?;
        let status = Mutex::new(SourceStatus { last, next: Some(now()), ..SourceStatus::default() });
        let entry = Arc::new(SourceEntry { source, wake: Notify::new(), halt: watch::channel(false).0, status });
        let mut entries = self.entries();
        if entries.contains_key(&entry.source.id) {
            return Ok(());
        }
        entries.insert(entry.source.id.clone(), Arc::clone(&entry));
        drop(entries);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // Drops the tasks that have ended. They belong to removed sources.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(Arc::clone(self).drive(entry));
        Ok(())
    }

    /// Stops a source and forgets it. A run in progress finishes its objects in progress.
    pub(super) fn remove(&self, id: &str) {
        if let Some(entry) = self.entries().remove(id) {
            entry.halt.send_replace(true);
            self.runner.forget(id);
        }
    }

    /// Returns the number of the run in progress, or starts a run as soon as possible and returns its number. `None` if there
    /// is no such source.
    ///
    /// # Errors
    /// Errors of the state database.
    pub(super) fn run_now(&self, id: &str) -> Result<Option<i64>, StateError> {
        let Some(entry) = self.entries().get(id).cloned() else { return Ok(None) };
        let is_open = entry.status().open.is_some();
        let Some(run) = self.open_run(&entry)? else { return Ok(None) };
        if !is_open {
            entry.wake.notify_one();
        }
        Ok(Some(run.number))
    }

    /// Returns all sources with their states, in the order of their IDs.
    pub(super) fn snapshots(&self) -> Vec<SourceSnapshot> {
        self.entries().values().map(|entry| snapshot(entry)).collect()
    }

    /// Returns a source with its state.
    pub(super) fn snapshot(&self, id: &str) -> Option<SourceSnapshot> {
        self.entries().get(id).map(|entry| snapshot(entry))
    }

    /// Replaces the counts of a run that is not finished with its current ones.
    pub(super) fn with_live_counts(&self, run: StoredRun) -> StoredRun {
        let open = self.entries().get(&run.source).and_then(|entry| entry.status().open.clone());
        match open.filter(|open| open.number == run.number) {
            Some(open) => StoredRun { counts: open.counts.get(), ..run },
            None => run,
        }
    }

    /// Stops all sources, and waits until the objects in progress are finished. Returns whether this took less than the limit.
    pub(super) async fn drain(&self, limit: Duration) -> bool {
        self.stops.send_replace(true);
        self.entries().values().for_each(|entry| {
            entry.halt.send_replace(true);
        });
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let ended = async { while tasks.join_next().await.is_some() {} };
        tokio::time::timeout(limit, ended).await.is_ok()
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Arc<SourceEntry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the open run of a source, and records a new one if there is none. `None` if the source is removed: no task
    /// would end the run.
    fn open_run(&self, entry: &SourceEntry) -> Result<Option<OpenRun>, StateError> {
        let mut status = entry.status();
        if status.is_removed {
            return Ok(None);
        }
        if let Some(open) = &status.open {
            return Ok(Some(open.clone()));
        }
        let started = now();
        let number = self.state.start_run(&entry.source.id, started)?;
        let open = OpenRun { number, started, counts: Arc::default() };
        status.open = Some(open.clone());
        status.next = None;
        Ok(Some(open))
    }

    /// Runs a source until it is removed or all are stopped.
    async fn drive(self: Arc<Self>, entry: Arc<SourceEntry>) {
        let mut halt = entry.halt.subscribe();
        let mut stops = self.stops.subscribe();
        loop {
            if *halt.borrow() || *stops.borrow() {
                break;
            }
            let permit = tokio::select! {
                permit = Arc::clone(&self.permits).acquire_owned() => permit,
                () = becomes_true(&mut halt) => break,
                () = becomes_true(&mut stops) => break,
            };
            match self.open_run(&entry) {
                Ok(None) => break,
                Ok(Some(open)) => {
                    let finished = self.runner.run(&entry.source, halt.clone(), Arc::clone(&open.counts)).await;
                    self.end_run(&entry, &open, &finished);
                }
                Err(error) => tracing::error!(source = entry.source.id, "the run cannot be recorded: {error}"),
            }
            drop(permit);
            let next = now().saturating_add(i64::try_from(entry.source.interval.as_secs()).unwrap_or(i64::MAX));
            {
                let mut status = entry.status();
                // A run may have been requested meanwhile.
                status.next = status.open.is_none().then_some(next);
            }
            tokio::select! {
                () = tokio::time::sleep(entry.source.interval) => {}
                () = entry.wake.notified() => {}
                () = becomes_true(&mut halt) => {}
                () = becomes_true(&mut stops) => {}
            }
        }
        let open = {
            let mut status = entry.status();
            status.is_removed = true;
            status.open.clone()
        };
        // The run was requested and did not start.
        if let Some(open) = open {
            self.end_run(&entry, &open, &FinishedRun { is_stopped: true, ..FinishedRun::default() });
        }
    }

    fn end_run(&self, entry: &SourceEntry, open: &OpenRun, finished: &FinishedRun) {
        let state = match finished {
            FinishedRun { error: None, is_complete: true, .. } => RunState::Succeeded,
            FinishedRun { is_stopped: true, error: None, .. } => RunState::Stopped,
            _ => RunState::Failed,
        };
        let (id, ended) = (&entry.source.id, now());
        if let Err(error) = self.state.end_run(open.number, state, finished.counts, finished.error.as_deref(), ended) {
            tracing::error!(source = id, "the end of the run {} cannot be recorded: {error}", open.number);
        }
        self.observer.run_ended(id, state, finished);
        let mut status = entry.status();
        status.open = None;
        status.last = Some(StoredRun {
            number: open.number,
            source: id.clone(),
            started: open.started,
            ended: Some(ended),
            state,
            counts: finished.counts,
            error: finished.error.clone(),
        });
    }
}

fn snapshot(entry: &SourceEntry) -> SourceSnapshot {
    let status = entry.status();
    SourceSnapshot {
        source: entry.source.clone(),
        is_running: status.open.is_some(),
        last: status.last.clone(),
        next: status.next,
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::STATE_FILE;

    /// Runs until it is stopped.
    #[derive(Debug)]
    struct EndlessRunner;

    #[async_trait]
    impl SourceRunner for EndlessRunner {
        fn check(&self, _: &ApiSourceSettings) -> Result<(), String> {
            Ok(())
        }

        async fn run(&self, _: &ScheduledSource, mut halt: watch::Receiver<bool>, _: Arc<LiveCounts>) -> FinishedRun {
            becomes_true(&mut halt).await;
            FinishedRun { is_stopped: true, ..FinishedRun::default() }
        }

        fn forget(&self, _: &str) {}
    }

    impl RunObserver for EndlessRunner {
        fn run_ended(&self, _: &str, _: RunState, _: &FinishedRun) {}
    }

    #[tokio::test]
    async fn run_that_is_requested_after_its_source_ended_is_not_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(StateDatabase::open(&folder.path().join(STATE_FILE)).unwrap());
        let scheduler = Scheduler::new(Arc::clone(&state), Arc::new(EndlessRunner), Arc::new(EndlessRunner)).unwrap();
        let source = ScheduledSource {
            id: "logs".into(),
            origin: SourceOrigin::Api,
            settings: ApiSourceSettings::default(),
            interval: Duration::from_secs(3_600),
        };
        scheduler.add(source).unwrap();
        let entry = Arc::clone(&scheduler.entries()["logs"]);
        // A request can have found the entry before the source is removed.
        scheduler.remove("logs");
        assert!(scheduler.drain(Duration::from_secs(60)).await);
        assert!(scheduler.open_run(&entry).unwrap().is_none());
        assert_eq!(entry.status().open.as_ref().map(|open| open.number), None);
    }
}
