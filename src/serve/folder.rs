//! The destination folder that the server reads: its segments, its index and its databases.

use crate::index::{Index, IndexError};
use crate::ledger::inspect::scan::LedgerScan;
use crate::sink::SinkError;
use crate::sink::jsonl::{Backlog, CommittedSegments};
use crate::state::{FollowerState, StateDatabase, StateError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time for which an open index is used. Then it is opened again, because the index may have been built again.
const INDEX_FOR: Duration = Duration::from_secs(5);

/// The maximum number of unused connections to the index that are kept open.
const MAX_INDEXES: usize = 16;

/// The destination folder.
#[derive(Debug)]
pub struct ServedFolder {
    /// The committed segments.
    pub segments: Arc<CommittedSegments>,
    /// The state database.
    pub state: Arc<StateDatabase>,
    /// The ledger, for its scan.
    pub ledger: Arc<dyn LedgerScan>,
    /// The file of the ledger.
    pub ledger_path: PathBuf,
    /// The index.
    pub index: IndexPool,
}

/// How far a follower has read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct FollowerProgress {
    pub(super) acknowledged: u64,
    pub(super) backlog: Backlog,
    pub(super) skipped_segments: u64,
    pub(super) skipped_events: u64,
}

/// Why the progress of a follower is unknown.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgressError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Segments(#[from] SinkError),
}

impl ServedFolder {
    /// Returns how far a follower has read. If a segment is partly read, the backlog contains all bytes of the segment, but only
    /// the events that were not read.
    pub(super) fn progress(&self, follower: &str) -> Result<FollowerProgress, ProgressError> {
        let FollowerState { cursor, events, skipped_segments, skipped_events, .. } =
            self.state.follower(follower)?.unwrap_or_default();
        let after = if cursor.lines.is_some() { cursor.segment - 1 } else { cursor.segment };
        let backlog = self.segments.backlog(after)?;
        let behind = backlog.events.saturating_sub(cursor.lines.unwrap_or(0));
        let backlog = Backlog { events: behind, ..backlog };
        Ok(FollowerProgress { acknowledged: events, backlog, skipped_segments, skipped_events })
    }

    /// Returns the progress of the index. Its backlog is what follows its own position, or the stored position of its follower, if
    /// this is more. The two differ if one of the files was restored from a backup, and while the index is being built again.
    pub(super) fn index_progress(&self) -> Result<FollowerProgress, ProgressError> {
        // Not from the pool: an open connection can be that of an index that was deleted meanwhile.
        let index = Index::open_read_only(self.index.path()).ok();
        let lacking = match index.and_then(|index| index.backlog(&self.segments).ok()) {
            Some(lacking) => lacking,
            // An index that cannot be read lacks every event.
            None => self.segments.backlog(0)?,
        };
        let progress = self.progress(crate::index::FOLLOWER)?;
        let backlog = if progress.backlog.events > lacking.events { progress.backlog } else { lacking };
        Ok(FollowerProgress { backlog, ..progress })
    }
}

/// Open read-only connections to the index.
#[derive(Debug)]
pub struct IndexPool {
    path: PathBuf,
    idle: Mutex<Vec<(Instant, Index)>>,
}

impl IndexPool {
    /// Creates a pool for the index at `path`, which may not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::default() }
    }

    /// Returns the path of the index.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the index.
    pub(super) fn with<T>(&self, read: impl FnOnce(&Index) -> Result<T, IndexError>) -> Result<T, IndexError> {
        let idle = self.idle().pop().filter(|(opened, _)| opened.elapsed() < INDEX_FOR);
        let (opened, index) = match idle {
            Some(idle) => idle,
            None => (Instant::now(), Index::open_read_only(&self.path)?),
        };
        let result = read(&index)?;
        let mut idle = self.idle();
        if idle.len() < MAX_INDEXES {
            idle.push((opened, index));
        }
        Ok(result)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, Index)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A value that is computed again after a fixed time.
#[derive(Debug)]
pub(super) struct TimedValue<T> {
    value: Mutex<Option<(Instant, T)>>,
    lasts: Duration,
}

impl<T: Clone> TimedValue<T> {
    pub(super) fn new(lasts: Duration) -> Self {
        Self { value: Mutex::default(), lasts }
    }

    /// Returns the value, and computes it if it is too old.
    pub(super) fn get_or_update<E>(&self, update: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((computed, current)) = &*value
            && computed.elapsed() < self.lasts
        {
            return Ok(current.clone());
        }
        let updated = update()?;
        *value = Some((Instant::now(), updated.clone()));
        Ok(updated)
    }
}

/// Returns the size of an SQLite file and of its write-ahead log.
pub(super) fn size_with_log(path: &Path) -> u64 {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    size(path) + size(Path::new(&log))
}
