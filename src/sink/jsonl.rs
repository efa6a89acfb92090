//! JSON Lines files: `account=…/region=…/date=YYYY-MM-DD/*.jsonl`, exactly once, through `kill -9`.
//!
//! What is delivered waits in memory until a checkpoint writes it, syncs it and commits the files' lengths; how, and what
//! a killed process leaves behind, is told in `checkpoint.rs`. Where the ledger is SQLite, the same commit holds its
//! writes, and a [`Span`] keeps a checkpoint from falling between a delivery and its note. Where the ledger is elsewhere,
//! the sink keeps its own state in the destination, and every delivery is a checkpoint.

mod buffer;
mod checkpoint;
mod file;
mod intent;
mod partition;
// The tests use every compression.
#[cfg(all(test, feature = "zstd"))]
mod tests;

use super::{Oversize, Sink, SinkError, Span, SpanEnd};
use crate::ledger::store::StoreError;
use crate::ledger::store::sqlite::{CommitMode, Journal, Sqlite};
use crate::pack::{Call, LinesPerRecord, PackLimits};
use async_trait::async_trait;
use buffer::Buffer;
use checkpoint::{Destination, STATE_FOLDER};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::RwLock;
use tokio::time::Instant;

/// How files are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// `*.jsonl`.
    #[default]
    None,
    /// `*.jsonl.gz`, one member a checkpoint: `zcat` and every reader that knows several members.
    Gzip,
    #[cfg(feature = "zstd")]
    /// `*.jsonl.zst`, one frame a checkpoint, with checksums.
    Zstd,
}

/// How files are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How files are compressed.
    pub compression: Compression,
    /// A file grows to this many bytes, before compression, and then another is begun. One longer line is a file by itself.
    pub file_bytes: u64,
    /// Bytes that may wait in memory; then a checkpoint is made and new spans wait for it. Calls under way add their own.
    pub checkpoint_bytes: usize,
    /// How long anything waits for its checkpoint.
    pub checkpoint_every: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            compression: Compression::None,
            file_bytes: 256 * 1024 * 1024,
            checkpoint_bytes: 16 * 1024 * 1024,
            checkpoint_every: Duration::from_secs(2),
        }
    }
}

/// Bytes of one call. Small enough that a few of them in flight stay well below a checkpoint; with more of both, an object
/// of 200 MB took 119 MiB.
const CALL_BYTES: usize = 4 * 1024 * 1024;

/// No line of a file is too long: far above what fits in memory, and safe to add to.
const NO_LIMIT: usize = usize::MAX / 4;

/// A folder of JSON Lines files.
#[derive(Debug)]
pub struct Jsonl {
    shared: Arc<JsonlState>,
}

#[derive(Debug)]
struct JsonlState {
    folder: Destination,
    buffer: Mutex<Buffer>,
    /// Spans hold it shared, a checkpoint alone.
    gate: Arc<RwLock<()>>,
    checkpoint_bytes: usize,
}

impl Jsonl {
    /// Delivers into `folder`, its files and `ledger` committed together. One process of a ledger at a time, any number of
    /// ledgers in a folder. While it is open, what the ledger writes is durable with the next checkpoint only.
    ///
    /// # Errors
    /// The ledger commits each write by itself; the folder cannot be written, or does not fit the ledger.
    pub async fn with_ledger(folder: &Path, options: Options, ledger: &Sqlite) -> Result<Self, SinkError> {
        if ledger.journal().mode() != CommitMode::Grouped {
            return Err(SinkError::Unavailable(
                "a ledger beside JSON Lines files must be opened to commit in groups, or a kill could repeat events"
                    .into(),
            ));
        }
        Self::open(folder, options, Arc::clone(ledger.journal())).await
    }

    /// Delivers into `folder`, whose files' lengths are kept in `.trailhose/` there: for a ledger that is elsewhere. A
    /// delivery is durable when it is acknowledged; a crash between that and the ledger's note repeats one call.
    ///
    /// # Errors
    /// Another process delivers into it in this way; the folder cannot be written.
    pub async fn standalone(folder: &Path, options: Options) -> Result<Self, SinkError> {
        let state = folder.join(STATE_FOLDER).join("files.db");
        let journal = blocking(move || Journal::open(&state, CommitMode::Durable).map_err(sink_error)).await?;
        Self::open(folder, options, Arc::new(journal)).await
    }

    async fn open(folder: &Path, options: Options, journal: Arc<Journal>) -> Result<Self, SinkError> {
        let (checkpoint_bytes, every) = (options.checkpoint_bytes, options.checkpoint_every);
        let folder = folder.to_owned();
        let folder = blocking(move || Destination::open(&folder, journal, options)).await?;
        let shared = Arc::new(JsonlState { folder, buffer: Mutex::default(), gate: Arc::default(), checkpoint_bytes });
        if shared.grouped() {
            tokio::spawn(checkpoint_periodically(Arc::downgrade(&shared), every));
        }
        Ok(Self { shared })
    }
}

/// Makes a checkpoint every so often, so that nothing waits longer, until the sink is gone or void.
async fn checkpoint_periodically(shared: std::sync::Weak<JsonlState>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(shared) = shared.upgrade() else { return };
        if shared.checkpoint(0).await.is_err() {
            // The reason is kept: whoever delivers or flushes next is told.
            return;
        }
    }
}

impl JsonlState {
    fn grouped(&self) -> bool {
        self.folder.journal.mode() == CommitMode::Grouped
    }

    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a call's lines to their partitions.
    fn add(&self, call: &Call) -> Result<(), SinkError> {
        // A call that is taken in part can only be taken back with everything else that waits.
        self.append_lines(call).inspect_err(|error| self.void(&error.to_string()))
    }

    fn append_lines(&self, call: &Call) -> Result<(), SinkError> {
        let folders: Vec<String> = call.scopes.iter().map(partition::folder).collect();
        let mut buffer = self.buffer();
        let mut start = 0;
        for line in &call.lines {
            let text = call.body.get(start..line.end).filter(|text| text.ends_with(b"\n"));
            let (Some(text), Some(folder)) = (text, folders.get(line.scope as usize)) else {
                return Err(SinkError::Unavailable(format!(
                    "a call's line ends at byte {} of {} in place {} of {}: expected a whole line in a known place",
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

    /// Gives up what is not committed: see [`Journal::void`].
    fn void(&self, reason: &str) {
        *self.buffer() = Buffer::default();
        self.folder.journal.invalidate(reason);
    }

    /// Makes everything durable, if at least `bytes` wait once no span is open. A caller that goes away does not stop it.
    async fn checkpoint(self: &Arc<Self>, bytes: usize) -> Result<(), SinkError> {
        let standalone = Arc::clone(&self.gate).write_owned().await;
        let shared = Arc::clone(self);
        blocking(move || {
            let _alone = standalone;
            shared.folder.journal.check().map_err(sink_error)?;
            if shared.buffer().bytes < bytes {
                return Ok(());
            }
            shared.write()
        })
        .await
    }

    fn write(&self) -> Result<(), SinkError> {
        let buffer = std::mem::take(&mut *self.buffer());
        if buffer.lines.is_empty() && !self.folder.journal.pending() {
            return Ok(());
        }
        self.folder.checkpoint(&buffer.lines).inspect_err(|error| self.void(&error.to_string()))?;
        self.buffer().recycle(buffer.lines);
        Ok(())
    }
}

#[async_trait]
impl Sink for Jsonl {
    fn limits(&self) -> PackLimits {
        PackLimits {
            record_bytes: NO_LIMIT,
            call_records: NO_LIMIT,
            call_bytes: CALL_BYTES,
            lines: LinesPerRecord::Packed,
        }
    }

    /// Waits while a checkpoint is made, and makes one where too much waits. A task must not open a span, nor flush,
    /// while it holds one: it would wait for itself.
    async fn span(&self) -> Result<Span, SinkError> {
        let shared = &self.shared;
        shared.folder.journal.check().map_err(sink_error)?;
        if !shared.grouped() {
            return Ok(Span::none());
        }
        let full = shared.buffer().bytes >= shared.checkpoint_bytes;
        if full {
            shared.checkpoint(shared.checkpoint_bytes).await?;
        }
        let guard = Arc::clone(&shared.gate).read_owned().await;
        let shared = Arc::clone(shared);
        Ok(Span::new(move |end| {
            if end == SpanEnd::Aborted {
                // Before the guard goes: no checkpoint may see the delivery without its note.
                shared.void("a delivery was broken off before the ledger noted it");
            }
            drop(guard);
        }))
    }

    async fn deliver(&self, call: &Call, _deadline: Instant) -> Result<(), SinkError> {
        let shared = &self.shared;
        shared.folder.journal.check().map_err(sink_error)?;
        if shared.grouped() {
            return shared.add(call);
        }
        let standalone = Arc::clone(&shared.gate).write_owned().await;
        shared.add(call)?;
        let shared = Arc::clone(shared);
        blocking(move || {
            let _alone = standalone;
            shared.write()
        })
        .await
    }

    /// Never asked for: no event is too long for a file.
    async fn store_oversize(&self, event: &Oversize<'_>) -> Result<String, SinkError> {
        Err(SinkError::NoOversizeStore(format!(
            "{}: event {} of {} bytes was to be set aside, though JSON Lines files take any length",
            event.object,
            event.ordinal,
            event.line.len()
        )))
    }

    async fn flush(&self) -> Result<(), SinkError> {
        match self.shared.grouped() {
            true => self.shared.checkpoint(0).await,
            false => self.shared.folder.journal.check().map_err(sink_error),
        }
    }
}

fn sink_error(error: StoreError) -> SinkError {
    match error {
        StoreError::Denied(text) => SinkError::Denied(text),
        StoreError::Unknown(text) | StoreError::Unreadable(text) => SinkError::Unavailable(text),
    }
}

/// Runs what waits for the disk on a thread that may wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SinkError> + Send + 'static,
) -> Result<T, SinkError> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.unwrap_or_else(|error| Err(SinkError::Unavailable(format!("writing JSON Lines broke off: {error}"))))
}
