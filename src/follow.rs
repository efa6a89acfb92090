//! Followers: consumers that read the delivered events from the committed files, each from its own position.
//!
//! A follower gets batches of events in commit order and acknowledges each one. Its position is in the state database
//! ([`crate::state`]), so it continues where it stopped, also after a kill. Then the batch that was not acknowledged is
//! delivered again, with the same events: a batch never contains events of two checkpoints, so its boundaries do not
//! depend on the time at which it is read. A follower reads committed files only. It never delays a sync.
//!
//! A segment that cannot be read stops the follower. Its events are skipped only if a person decides so, with
//! [`skip_segment`] or with a prune that ignores this follower. Segments of pruned files are omitted and counted as
//! skipped. Segments of files that `sync --rebuild` delivered again are omitted too, because their events are in later
//! segments.

mod batch;

pub use batch::{BatchLimits, EventBatch, FollowedEvent};

use crate::event::filter::Filter;
use crate::sink::SinkError;
use crate::sink::jsonl::{CommittedSegments, FileFault, Segment};
use crate::state::{Cursor, FollowerLock, FollowerState, StateDatabase, StateError};
use async_trait::async_trait;
use batch::{BatchReader, NextBatch, OmittedSegments};
use std::path::PathBuf;
use std::sync::Arc;

/// A consumer of the delivered events.
#[async_trait]
pub trait Follower: Send {
    /// Returns the name under which its position is stored. It consists of letters, digits and hyphens.
    fn name(&self) -> &str;

    /// Returns the limits of its batches. A change also changes the boundaries of a batch that is delivered again.
    fn limits(&self) -> BatchLimits;

    /// Returns the filter of its events. Events that the filter drops are counted and not delivered. A change also changes
    /// the boundaries of a batch that is delivered again. By default, it gets every event.
    fn filter(&self) -> Filter {
        Filter::default()
    }

    /// Processes a batch. If it returns `Ok`, the batch is acknowledged. A batch whose acknowledgement was lost is
    /// delivered again.
    ///
    /// # Errors
    /// Why the batch is not acknowledged. The follower stops.
    async fn deliver(&mut self, batch: &EventBatch) -> Result<(), String>;

    /// Is called before a position is stored that no batch ends at, for example after segments without events for this follower.
    /// By default, does nothing.
    ///
    /// # Errors
    /// Why the position is not stored. The follower stops.
    async fn advance(&mut self, _position: &Cursor) -> Result<(), String> {
        Ok(())
    }
}

/// Why a follower stopped.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The record of the segments cannot be read.
    #[error(transparent)]
    Record(#[from] SinkError),
    /// The state database cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// A segment cannot be read. The events before it are acknowledged.
    #[error(
        "{} {fault}: the follower {name} stops, because it has not read {} at offset {}. Restore the file, or skip these \
         events with `trailhose followers skip {name} {dest}`",
        path.display(), events(segment), segment.start
    )]
    Segment {
        /// The name of the follower.
        name: String,
        /// The arguments that name the folder on the command line.
        dest: String,
        /// The file.
        path: PathBuf,
        /// The segment.
        segment: Box<Segment>,
        /// What is wrong with the file.
        fault: FileFault,
    },
    /// The stored position does not belong to the record of this folder.
    #[error(
        "the position of the follower {name} (segment {segment}) is not in the record of this folder: the ledger or the \
         state database was restored from a backup. Restore both from the same time, or choose a new position with \
         `trailhose followers reset {name} {dest} --to start` (or end)"
    )]
    Position {
        /// The name of the follower.
        name: String,
        /// The arguments that name the folder on the command line.
        dest: String,
        /// The ID of the segment.
        segment: i64,
    },
    /// The follower refused a batch.
    #[error("the follower {name} failed: {reason}")]
    Follower {
        /// The name of the follower.
        name: String,
        /// Its reason.
        reason: String,
    },
    /// Reading ended unexpectedly.
    #[error("the task that reads segments ended unexpectedly: {0}")]
    Task(String),
}

fn events(segment: &Segment) -> String {
    match segment.events {
        Some(1) => "1 event".into(),
        Some(count) => format!("{count} events"),
        None => "an unknown number of events".into(),
    }
}

/// What a follower did in one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FollowProgress {
    /// Acknowledged batches.
    pub batches: u64,
    /// Acknowledged events.
    pub events: u64,
    /// Omitted segments: a rebuild delivered the events of their files again, in later segments.
    pub rebuilt_segments: u64,
    /// Events that the filter of the follower dropped.
    pub filtered: u64,
    /// Segments of pruned files that this follower had not read. They are counted as skipped.
    pub pruned_segments: u64,
}

/// Stores the start as the position of a follower that has none. From then on, a prune keeps the files that it has not read,
/// and its position can be reset. A follower is registered before anything is pruned, because it may not have run yet.
///
/// # Errors
/// Errors of the state database.
pub fn register(name: &str, segments: &CommittedSegments, state: &StateDatabase) -> Result<(), StateError> {
    match state.follower(name)? {
        Some(_) => Ok(()),
        None => {
            let start = FollowerState { folder: segments.folder_id().to_owned(), ..FollowerState::default() };
            state.put_follower(name, &start)
        }
    }
}

/// Delivers everything that is committed to a follower, and returns. `stop` is called before each batch, and ends the run if
/// it returns true. `each` is called with the progress after each batch.
///
/// # Errors
/// Returns why the follower stopped before the last committed event. The events before are acknowledged.
pub async fn follow(
    follower: &mut dyn Follower,
    segments: &Arc<CommittedSegments>,
    state: &StateDatabase,
    stop: &(dyn Fn() -> bool + Sync),
    each: &(dyn Fn(&FollowProgress) + Sync),
) -> Result<FollowProgress, FollowError> {
    let lock = state.lock_follower(follower.name())?;
    follow_locked(&lock, follower, segments, state, stop, each).await
}

/// Does what [`follow`] does, with a lock of the follower that the caller keeps.
///
/// # Errors
/// Those of [`follow`].
pub async fn follow_locked(
    _lock: &FollowerLock,
    follower: &mut dyn Follower,
    segments: &Arc<CommittedSegments>,
    state: &StateDatabase,
    stop: &(dyn Fn() -> bool + Sync),
    each: &(dyn Fn(&FollowProgress) + Sync),
) -> Result<FollowProgress, FollowError> {
    let name = follower.name().to_owned();
    // A follower that stops at its first segment is listed too, and its position can be reset.
    register(&name, segments, state)?;
    let mut stored = position(&name, segments, state)?;
    let mut progress = FollowProgress::default();
    let mut counted = Counted::default();
    let mut reader =
        BatchReader::new(Arc::clone(segments), stored.cursor.clone(), follower.limits()).with_filter(follower.filter());
    while !stop() {
        let (read, next) = read_batch(reader).await?;
        reader = read;
        progress.rebuilt_segments = reader.omitted().rebuilt;
        progress.pruned_segments = reader.omitted().pruned;
        progress.filtered = reader.filtered();
        match next? {
            NextBatch::End => break,
            NextBatch::Batch(batch) => {
                let delivered = follower.deliver(&batch).await;
                delivered.map_err(|reason| FollowError::Follower { name: name.clone(), reason })?;
                stored.cursor = batch.end.clone();
                stored.events += batch.events.len() as u64;
                counted.add(&mut stored, &reader);
                state.put_follower(&name, &stored)?;
                progress.batches += 1;
                progress.events += batch.events.len() as u64;
                each(&progress);
            }
            NextBatch::Unreadable { segment, fault } => {
                // Stores the position, so that what was omitted or dropped before this segment is not read again.
                let position = reader.position().clone();
                advance(follower, &position, &stored.cursor).await?;
                save_position(&name, &mut stored, &mut counted, &reader, state)?;
                return Err(unreadable(&name, segments, segment, fault));
            }
        }
    }
    // The position of the reader is also after segments without events for this follower.
    let position = reader.position().clone();
    advance(follower, &position, &stored.cursor).await?;
    save_position(&name, &mut stored, &mut counted, &reader, state)?;
    Ok(progress)
}

/// Calls [`Follower::advance`] with a position, if it is not the stored one.
async fn advance(follower: &mut dyn Follower, position: &Cursor, stored: &Cursor) -> Result<(), FollowError> {
    if position == stored {
        return Ok(());
    }
    let advanced = follower.advance(position).await;
    advanced.map_err(|reason| FollowError::Follower { name: follower.name().to_owned(), reason })
}

/// Stores the position of the reader, if it is after the stored one.
fn save_position(
    name: &str,
    stored: &mut FollowerState,
    counted: &mut Counted,
    reader: &BatchReader,
    state: &StateDatabase,
) -> Result<(), StateError> {
    if *reader.position() == stored.cursor {
        return Ok(());
    }
    stored.cursor = reader.position().clone();
    counted.add(stored, reader);
    state.put_follower(name, stored)
}

/// The counts of a reader that the stored state of a follower already includes.
#[derive(Debug, Default)]
struct Counted {
    omitted: OmittedSegments,
    filtered: u64,
}

impl Counted {
    /// Adds the dropped events and the pruned segments that are not counted yet.
    fn add(&mut self, state: &mut FollowerState, reader: &BatchReader) {
        let now = Self { omitted: reader.omitted(), filtered: reader.filtered() };
        state.filtered += now.filtered - self.filtered;
        state.skipped_segments += now.omitted.pruned - self.omitted.pruned;
        state.skipped_events += now.omitted.pruned_events - self.omitted.pruned_events;
        *self = now;
    }
}

/// Reads the next batch on a thread for blocking work.
async fn read_batch(mut reader: BatchReader) -> Result<(BatchReader, Result<NextBatch, SinkError>), FollowError> {
    let read = tokio::task::spawn_blocking(move || {
        let next = reader.next_batch();
        (reader, next)
    });
    read.await.map_err(|error| FollowError::Task(error.to_string()))
}

/// Returns the stored state of a follower, after checking that its position belongs to these segments.
///
/// # Errors
/// [`FollowError::Position`] if it does not.
pub fn position(name: &str, segments: &CommittedSegments, state: &StateDatabase) -> Result<FollowerState, FollowError> {
    let new = || FollowerState { folder: segments.folder_id().to_owned(), ..FollowerState::default() };
    let stored = state.follower(name)?.unwrap_or_else(new);
    let unknown = || {
        let (name, dest) = (name.to_owned(), segments.arguments());
        Err(FollowError::Position { name, dest, segment: stored.cursor.segment })
    };
    if stored.folder != segments.folder_id() || stored.cursor.segment > segments.last_id()? {
        return unknown();
    }
    match segments.get(stored.cursor.segment)? {
        Some(segment) if segment.fingerprint() != stored.cursor.fingerprint => unknown(),
        // A segment that was read completely may be missing from the record. One that was read in part must be there.
        None if stored.cursor.lines.is_some() => unknown(),
        _ => Ok(stored),
    }
}

fn unreadable(name: &str, segments: &CommittedSegments, segment: Box<Segment>, fault: FileFault) -> FollowError {
    let path = segments.root().join(&segment.path);
    FollowError::Segment { name: name.to_owned(), dest: segments.arguments(), path, segment, fault }
}

/// Checks what can be checked of a follower's next run without its lock and without reading content: its position, and
/// whether the file of its next segment exists and is long enough.
///
/// # Errors
/// The error with which the next run stops before its first event.
pub fn check_next(name: &str, segments: &CommittedSegments, state: &StateDatabase) -> Result<(), FollowError> {
    let cursor = position(name, segments, state)?.cursor;
    let read = if cursor.lines.is_some() { cursor.segment - 1 } else { cursor.segment };
    let Some(next) = segments.next_read(read)? else { return Ok(()) };
    segments.check_length(&next).map_err(|fault| unreadable(name, segments, Box::new(next), fault))
}

/// A segment that a follower skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedSegment {
    /// The segment.
    pub segment: Segment,
    /// What is wrong with its file.
    pub fault: FileFault,
    /// The number of its events that were not acknowledged, if it is known.
    pub events: Option<u64>,
}

/// Returns the unreadable segment at which a follower stops, if it stops at one. With `skip`, moves the follower past it
/// and counts its events as skipped.
///
/// # Errors
/// Errors of the record and of the state database. [`StateError::InUse`] if the follower runs.
pub fn skip_segment(
    name: &str,
    segments: &Arc<CommittedSegments>,
    state: &StateDatabase,
    skip: bool,
) -> Result<Option<SkippedSegment>, FollowError> {
    let _lock = state.lock_follower(name)?;
    let mut stored = position(name, segments, state)?;
    let limits = BatchLimits { events: 1, bytes: 1 };
    let mut reader = BatchReader::new(Arc::clone(segments), stored.cursor.clone(), limits);
    let NextBatch::Unreadable { segment, fault } = reader.next_batch()? else { return Ok(None) };
    let read = if stored.cursor.segment == segment.id { stored.cursor.lines.unwrap_or(0) } else { 0 };
    let events = segment.events.map(|events| events.saturating_sub(read));
    if skip {
        stored.cursor = Cursor::after(&segment);
        Counted::default().add(&mut stored, &reader);
        stored.skipped_segments += 1;
        stored.skipped_events += events.unwrap_or(0);
        state.put_follower(name, &stored)?;
    }
    Ok(Some(SkippedSegment { segment: *segment, fault, events }))
}

/// Moves a follower to the start, so that it reads everything again, or to the end, so that it skips everything that is
/// committed. Returns the new state.
///
/// # Errors
/// Errors of the record and of the state database. [`StateError::InUse`] if the follower runs.
pub fn reset(
    name: &str,
    segments: &CommittedSegments,
    state: &StateDatabase,
    to_end: bool,
) -> Result<FollowerState, FollowError> {
    let lock = state.lock_follower(name)?;
    reset_locked(&lock, name, segments, state, to_end)
}

/// Removes a follower that is not used any more, so that no prune waits for it. Returns whether it existed. A follower that is still
/// used is added again by its next run, and reads everything from the start.
///
/// # Errors
/// Errors of the state database. [`StateError::InUse`] if the follower runs.
pub fn remove(name: &str, state: &StateDatabase) -> Result<bool, StateError> {
    let _lock = state.lock_follower(name)?;
    state.remove_follower(name)
}

/// Does what [`reset`] does, with a lock of the follower that the caller keeps.
///
/// # Errors
/// Errors of the record and of the state database.
pub fn reset_locked(
    _lock: &FollowerLock,
    name: &str,
    segments: &CommittedSegments,
    state: &StateDatabase,
    to_end: bool,
) -> Result<FollowerState, FollowError> {
    let before = state.follower(name)?.unwrap_or_default();
    let last = if to_end { segments.last_id()? } else { 0 };
    // The last segment of the ledger can belong to another folder.
    let at_last = || Cursor { segment: last, ..Cursor::default() };
    let cursor = segments.get(last)?.as_ref().map_or_else(at_last, Cursor::after);
    // A follower that starts from the first segment reads what it skipped before.
    let (skipped_segments, skipped_events) =
        if to_end { (before.skipped_segments, before.skipped_events) } else { (0, 0) };
    let folder = segments.folder_id().to_owned();
    let reset = FollowerState { folder, cursor, skipped_segments, skipped_events, ..before };
    state.put_follower(name, &reset)?;
    Ok(reset)
}
