//! The JSON Lines sink: `account=…/region=…/date=YYYY-MM-DD/*.jsonl`, exactly once, even after `kill -9`.
//!
//! Delivered lines are buffered in memory until a checkpoint writes and syncs them and commits the lengths of the
//! files. `checkpoint.rs` describes the steps and the recovery after a crash. With an SQLite ledger, one SQLite
//! transaction commits the lengths and the ledger's writes. While a sink transaction ([`Transaction`]) is open, no
//! checkpoint happens, so a checkpoint never separates a delivery from the ledger write that records it. With any other
//! ledger, the sink keeps its own state in the destination, and every delivery is a checkpoint.

mod buffer;
mod check;
mod checkpoint;
mod file;
mod file_events;
mod files;
mod foreign;
mod intent;
mod page_group;
mod partition;
mod prune;
mod rebuild;
mod scattered_events;
mod segment_reader;
mod segments;
mod space;
mod upgrade;
mod verify;
// The tests use every compression.
#[cfg(all(test, feature = "zstd"))]
mod tests;

pub use crate::ledger::store::sqlite::Outstanding;
pub use check::{FaultyFile, FileCheck, FileFault};
pub use foreign::ForeignFiles;
pub use prune::{PrunePlan, PrunedFiles, ReadPosition, UnreadPart};
pub use rebuild::{Rebuild, ReleasedFiles};
pub use scattered_events::read_scattered_events;
pub use segment_reader::{EventPosition, SegmentReader, read_event, read_events};
pub use segments::{Backlog, CommittedSegments, Removal, Segment};
pub use space::MinFree;
pub use verify::{Verification, verify};

use super::{Oversize, Sink, SinkError, Transaction, TransactionEnd};
use crate::disk::{Disk, SystemDisk};
use crate::ledger::store::StoreError;
use crate::ledger::store::sqlite::{CommitMode, Journal, Sqlite};
use crate::pack::{LinesPerRecord, PackLimits, SinkCall};
use async_trait::async_trait;
use buffer::Buffer;
use checkpoint::{Destination, STATE_FOLDER};
use space::SpaceCheck;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::RwLock;
use tokio::time::Instant;

/// The compression of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// `*.jsonl`.
    #[default]
    None,
    /// `*.jsonl.gz`, in members of at most 1 MiB before compression. Readers must support several members, as `zcat` does.
    Gzip,
    #[cfg(feature = "zstd")]
    /// `*.jsonl.zst`, in frames of at most 1 MiB before compression, with checksums.
    Zstd,
}

/// Options of the JSON Lines sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The compression of the files.
    pub compression: Compression,
    /// The maximum size of a file in bytes, before compression. A longer line gets a file of its own.
    pub file_bytes: u64,
    /// The buffered bytes at which a checkpoint starts and new transactions wait for it. Calls in progress can exceed
    /// this limit.
    pub checkpoint_bytes: usize,
    /// The maximum time between checkpoints.
    pub checkpoint_every: Duration,
    /// The free space below which no transaction starts. It is compared after each checkpoint, so a run can use about
    /// `checkpoint_bytes` of it.
    pub min_free: MinFree,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            compression: Compression::None,
            file_bytes: 256 * 1024 * 1024,
            checkpoint_bytes: 16 * 1024 * 1024,
            checkpoint_every: Duration::from_secs(2),
            min_free: MinFree::Default,
        }
    }
}

/// The maximum bytes of one call. A few calls in flight must stay well below the size of a checkpoint. With larger
/// calls and checkpoints, an object of 200 MB needed 119 MiB of memory.
const CALL_BYTES: usize = 4 * 1024 * 1024;

/// Represents "no limit": of the length of a record, and of the records of a call. It exceeds any memory size, and sums
/// with it do not overflow.
const NO_LIMIT: usize = usize::MAX / 4;

/// A sink that delivers to a folder of JSON Lines files.
#[derive(Debug)]
pub struct Jsonl {
    state: Arc<JsonlState>,
}

#[derive(Debug)]
struct JsonlState {
    destination: Destination,
    buffer: Mutex<Buffer>,
    /// A transaction holds a read lock. A checkpoint holds the write lock.
    gate: Arc<RwLock<()>>,
    /// The number of checkpoints since the sink was opened. It changes only under the write lock.
    checkpoints: AtomicU64,
    checkpoint_bytes: usize,
    space: SpaceCheck,
}

impl Jsonl {
    /// Opens a sink that delivers to `destination` and commits its files together with `ledger`. Only one process can
    /// use a ledger at a time; several ledgers can share a folder. While the sink is open, the ledger's writes become
    /// durable with the next checkpoint.
    ///
    /// # Errors
    /// Returns an error if the ledger does not commit in groups, if the folder is not writable, or if folder and ledger
    /// do not match.
    pub async fn with_ledger(destination: &Path, options: Options, ledger: &Sqlite) -> Result<Self, SinkError> {
        if ledger.journal().mode() != CommitMode::Grouped {
            return Err(SinkError::Unavailable(
                "the ledger of a JSON Lines destination must commit in groups; otherwise a crash could repeat events"
                    .into(),
            ));
        }
        Self::open(destination, options, Arc::clone(ledger.journal()), Arc::new(SystemDisk)).await
    }

    /// Opens a sink for a ledger that is not SQLite. The lengths of the files are stored in `.trailhose/` in
    /// `destination`. A delivery is durable when it is acknowledged. A crash before the ledger records the delivery
    /// repeats one call.
    ///
    /// # Errors
    /// Returns an error if another process delivers to the folder in this way, or if the folder is not writable.
    pub async fn standalone(destination: &Path, options: Options) -> Result<Self, SinkError> {
        let database = destination.join(STATE_FOLDER).join("files.db");
        let journal = blocking(move || Journal::open(&database, CommitMode::Durable).map_err(sink_error)).await?;
        Self::open(destination, options, Arc::new(journal), Arc::new(SystemDisk)).await
    }

    async fn open(
        destination: &Path,
        options: Options,
        journal: Arc<Journal>,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, SinkError> {
        let (checkpoint_bytes, every) = (options.checkpoint_bytes, options.checkpoint_every);
        let destination = destination.to_owned();
        let min_free = options.min_free;
        let opened = blocking(move || {
            let destination = Destination::open(&destination, journal, options, Arc::clone(&disk))?;
            let space = SpaceCheck::new(min_free, &destination.root, destination.journal.path(), disk);
            Ok((destination, space))
        });
        let (destination, space) = opened.await?;
        let state = Arc::new(JsonlState {
            destination,
            buffer: Mutex::default(),
            gate: Arc::default(),
            checkpoints: AtomicU64::new(0),
            checkpoint_bytes,
            space,
        });
        if state.grouped() {
            tokio::spawn(checkpoint_periodically(Arc::downgrade(&state), every));
        }
        Ok(Self { state })
    }
}

/// Makes a checkpoint at every interval until the sink is dropped or invalidated.
async fn checkpoint_periodically(state: std::sync::Weak<JsonlState>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(state) = state.upgrade() else { return };
        if state.checkpoint(0).await.is_err() {
            // The journal keeps the reason. The next delivery or flush returns it.
            return;
        }
    }
}

impl JsonlState {
    fn grouped(&self) -> bool {
        self.destination.journal.mode() == CommitMode::Grouped
    }

    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the lines of a call to the buffer.
    fn add(&self, call: &SinkCall) -> Result<(), SinkError> {
        // A partly buffered call can only be undone by discarding the whole buffer.
        self.append_lines(call).inspect_err(|error| self.invalidate(&error.to_string()))
    }

    fn append_lines(&self, call: &SinkCall) -> Result<(), SinkError> {
        let folders: Vec<String> = call.scopes.iter().map(partition::folder).collect();
        let mut buffer = self.buffer();
        let mut start = 0;
        for line in &call.lines {
            let text = call.body.get(start..line.end).filter(|text| text.ends_with(b"\n"));
            let (Some(text), Some(folder)) = (text, folders.get(line.scope as usize)) else {
                return Err(SinkError::Unavailable(format!(
                    "invalid call: a line ends at byte {} of {} with scope {} of {}; expected a complete line and a \
                     known scope",
                    line.end,
                    call.body.len(),
                    line.scope,
                    folders.len()
                )));
            };
            buffer.add(folder, text, self.checkpoint_bytes);
            start = line.end;
        }
        Ok(())
    }

    /// Discards everything that is not committed. See [`Journal::invalidate`].
    fn invalidate(&self, reason: &str) {
        *self.buffer() = Buffer::default();
        self.destination.journal.invalidate(reason);
    }

    /// Waits until no transaction is open, then makes everything durable if at least `min_bytes` are buffered. Dropping
    /// the future does not stop a checkpoint that has started.
    async fn checkpoint(self: &Arc<Self>, min_bytes: usize) -> Result<(), SinkError> {
        let guard = Arc::clone(&self.gate).write_owned().await;
        let state = Arc::clone(self);
        blocking(move || {
            let _guard = guard;
            state.destination.journal.check().map_err(sink_error)?;
            if state.buffer().bytes < min_bytes {
                return Ok(());
            }
            state.write()
        })
        .await
    }

    /// Writes and commits the buffer. The caller holds the write lock.
    fn write(&self) -> Result<(), SinkError> {
        let mut running = RunningCheckpoint { state: self, end: Err("a checkpoint ended unexpectedly".to_owned()) };
        let buffer = std::mem::take(&mut *self.buffer());
        if !buffer.lines.is_empty() || self.destination.journal.pending() {
            let outcome = self.destination.checkpoint(&buffer.lines);
            outcome.inspect_err(|error| running.end = Err(error.to_string()))?;
        }
        running.end = Ok(());
        self.buffer().recycle(buffer.lines);
        self.checkpoints.fetch_add(1, Ordering::Release);
        Ok(())
    }
}

/// A checkpoint in progress. It took the lines out of the buffer. If it fails or panics, a later checkpoint must not
/// commit the ledger writes that record these lines.
struct RunningCheckpoint<'a> {
    state: &'a JsonlState,
    /// The result, or the reason why everything that is not committed is discarded.
    end: Result<(), String>,
}

impl Drop for RunningCheckpoint<'_> {
    fn drop(&mut self) {
        if let Err(reason) = &self.end {
            self.state.invalidate(reason);
        }
    }
}

#[async_trait]
impl Sink for Jsonl {
    fn limits(&self) -> PackLimits {
        PackLimits {
            record_bytes: NO_LIMIT,
            call_records: NO_LIMIT,
            call_bytes: CALL_BYTES,
            lines: LinesPerRecord::Many,
        }
    }

    /// Waits for a running checkpoint, and makes one if the buffer is full. Fails if too little disk space is free. A task that
    /// holds a transaction must neither open another transaction nor flush, because it would wait for itself.
    async fn begin(&self) -> Result<Transaction, SinkError> {
        let state = &self.state;
        state.destination.journal.check().map_err(sink_error)?;
        let full = state.grouped() && state.buffer().bytes >= state.checkpoint_bytes;
        if full {
            state.checkpoint(state.checkpoint_bytes).await?;
        }
        state.space.check(state.checkpoints.load(Ordering::Acquire))?;
        if !state.grouped() {
            return Ok(Transaction::none());
        }
        let guard = Arc::clone(&state.gate).read_owned().await;
        let state = Arc::clone(state);
        Ok(Transaction::new(state.checkpoints.load(Ordering::Acquire) + 1, move |end| {
            if end == TransactionEnd::Aborted {
                // Invalidate before the guard is released, so that no checkpoint contains an unrecorded delivery.
                state.invalidate("a delivery was aborted before the ledger recorded it");
            }
            drop(guard);
        }))
    }

    async fn deliver(&self, call: &SinkCall, _deadline: Instant) -> Result<(), SinkError> {
        let state = &self.state;
        state.destination.journal.check().map_err(sink_error)?;
        if state.grouped() {
            return state.add(call);
        }
        let guard = Arc::clone(&state.gate).write_owned().await;
        state.add(call)?;
        let state = Arc::clone(state);
        blocking(move || {
            let _guard = guard;
            state.write()
        })
        .await
    }

    /// Always returns an error. It is never called, because the record limit of files is not reached.
    async fn store_oversize(&self, event: &Oversize<'_>) -> Result<String, SinkError> {
        Err(SinkError::NoOversizeStore(format!(
            "{}: event {} of {} bytes cannot be stored as oversize: JSON Lines files have no record limit",
            event.object,
            event.ordinal,
            event.line.len()
        )))
    }

    async fn flush(&self) -> Result<(), SinkError> {
        match self.state.grouped() {
            true => self.state.checkpoint(0).await,
            false => self.state.destination.journal.check().map_err(sink_error),
        }
    }

    fn checkpoints(&self) -> Option<u64> {
        self.state.grouped().then(|| self.state.checkpoints.load(Ordering::Acquire))
    }
}

fn sink_error(error: StoreError) -> SinkError {
    match error {
        StoreError::Denied(text) => SinkError::Denied(text),
        StoreError::Unknown(text) | StoreError::Unreadable(text) => SinkError::Unavailable(text),
    }
}

/// Runs disk I/O on a thread for blocking work.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SinkError> + Send + 'static,
) -> Result<T, SinkError> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.unwrap_or_else(|error| {
        Err(SinkError::Unavailable(format!("the task that writes JSON Lines files ended unexpectedly: {error}")))
    })
}
