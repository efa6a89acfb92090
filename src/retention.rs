//! Retention: deletes the delivered files of past days, after every follower has read them.
//!
//! The steps that survive a kill are in the sink (`sink/jsonl/prune.rs`). This module decides whether a prune is allowed,
//! and removes the events from the index.

mod clock;

pub use clock::{ClockAhead, RetentionTarget, check_clock};

use crate::follow::{FollowError, position};
use crate::index::{FOLLOWER, INDEX_FILE, Index, IndexError};
use crate::sink::SinkError;
use crate::sink::jsonl::{CommittedSegments, Jsonl, PrunePlan, PrunedFiles, ReadPosition};
use crate::state::{Cursor, StateDatabase, StateError};
use jiff::civil::Date;

/// Why nothing was pruned.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The record of the files cannot be read or changed.
    #[error(transparent)]
    Record(#[from] SinkError),
    /// The state database cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// Followers have not read the files.
    #[error("{}", refusal(.0))]
    Unread(Vec<UnreadByFollower>),
    /// A follower to ignore does not exist.
    #[error("there is no follower {name}; the followers of this folder are: {known}")]
    NoFollower {
        /// The name.
        name: String,
        /// The existing names.
        known: String,
    },
}

/// What a follower has not read of the files to prune.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadByFollower {
    /// The name of the follower.
    pub name: String,
    /// The number of segments.
    pub segments: u64,
    /// The number of events, as far as it is known.
    pub events: u64,
    /// Why the position of the follower is invalid. It is then unknown what the follower has read.
    pub error: Option<String>,
}

fn refusal(unread: &[UnreadByFollower]) -> String {
    let each = unread.iter().map(|UnreadByFollower { name, events, error, .. }| match error {
        Some(error) => error.clone(),
        None => format!("the follower {name} has not read these files (unread events: {events})"),
    });
    let name = unread.first().map_or("NAME", |unread| &*unread.name);
    format!(
        "{}. Nothing was deleted: run the follower first, or let it skip these events with `trailhose prune --ignore-follower {name}`. \
         If it is no longer used, for example a forward that is not in the settings, remove it with `trailhose followers remove \
         {name}`",
        each.collect::<Vec<_>>().join("; ")
    )
}

/// What a prune would delete, and which followers prevent it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetentionPlan {
    /// The files.
    pub files: PrunePlan,
    /// The followers that have not read all of them, without the ignored ones.
    pub unread: Vec<UnreadByFollower>,
    /// The positions of all followers whose position is valid.
    positions: Vec<ReadPosition>,
}

impl RetentionPlan {
    /// Plans to delete the files of the days before `before`. The followers in `ignored` do not prevent it.
    ///
    /// # Errors
    /// Errors of the record and of the state database; [`RetentionError::NoFollower`].
    pub fn new(
        segments: &CommittedSegments,
        state: &StateDatabase,
        before: Date,
        ignored: &[String],
    ) -> Result<Self, RetentionError> {
        let mut plan = Self { files: segments.plan_prune(before)?, ..Self::default() };
        let followers = state.followers()?;
        if let Some(name) = ignored.iter().find(|name| followers.iter().all(|(known, _)| known != *name)) {
            let known: Vec<&str> = followers.iter().map(|(known, _)| known.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(RetentionError::NoFollower { name: name.clone(), known });
        }
        for (name, _) in followers {
            let unread = match position(&name, segments, state) {
                Ok(found) => {
                    let Cursor { segment, lines, .. } = found.cursor;
                    let at = ReadPosition { segment, lines };
                    plan.positions.push(at);
                    let unread = segments.unread(&plan.files, at)?;
                    UnreadByFollower { name, segments: unread.segments, events: unread.events, error: None }
                }
                Err(error @ FollowError::Position { .. }) => {
                    UnreadByFollower { name, segments: 0, events: 0, error: Some(error.to_string()) }
                }
                Err(FollowError::Record(error)) => return Err(error.into()),
                Err(FollowError::State(error)) => return Err(error.into()),
                Err(error) => return Err(SinkError::Unavailable(error.to_string()).into()),
            };
            if (unread.segments > 0 || unread.error.is_some()) && !ignored.contains(&unread.name) {
                plan.unread.push(unread);
            }
        }
        Ok(plan)
    }

    /// Plans to delete every file that all followers have read, regardless of its day. A file whose events have no valid
    /// time is kept. Without a follower, every file is kept: nothing has read them.
    ///
    /// # Errors
    /// Errors of the record and of the state database.
    pub fn released(segments: &CommittedSegments, state: &StateDatabase) -> Result<Self, RetentionError> {
        let followers = state.followers()?;
        if followers.is_empty() {
            return Ok(Self::default());
        }
        let mut plan = Self { files: segments.plan_prune(Date::MAX)?, ..Self::default() };
        for (name, _) in followers {
            let found = position(&name, segments, state);
            let cursor = found.map_err(|error| SinkError::Unavailable(error.to_string()))?.cursor;
            let at = ReadPosition { segment: cursor.segment, lines: cursor.lines };
            segments.keep_unread(&mut plan.files, at)?;
            plan.positions.push(at);
        }
        Ok(plan)
    }

    /// Returns whether there is nothing to delete.
    pub fn is_empty(&self) -> bool {
        self.files.files + self.files.interrupted_files == 0
    }
}

/// Deletes the files of a plan through the open sink of the folder. The index forgets their events, unless it is being
/// built: then the next build removes them.
///
/// # Errors
/// [`RetentionError::Unread`] if a follower has not read the files; errors of the record.
pub async fn prune(
    sink: &Jsonl,
    segments: &CommittedSegments,
    state: &StateDatabase,
    plan: RetentionPlan,
) -> Result<PrunedFiles, RetentionError> {
    if plan.files.files > 0 && !plan.unread.is_empty() {
        return Err(RetentionError::Unread(plan.unread));
    }
    let pruned = sink.prune(plan.files, plan.positions).await?;
    if let Err(error) = forget_in_index(segments, state) {
        tracing::warn!("the files are pruned, but the index still contains their events: {error}");
    }
    Ok(pruned)
}

/// Removes the events of files that do not exist any more from the index of the folder, if there is one.
fn forget_in_index(segments: &CommittedSegments, state: &StateDatabase) -> Result<(), String> {
    let path = segments.root().join(".trailhose").join(INDEX_FILE);
    match Index::open_read_only(&path) {
        // The next build creates it again.
        Err(IndexError::Missing(_)) => return Ok(()),
        opened => opened.map(drop).map_err(|error| error.to_string())?,
    }
    let lock = match state.lock_follower(FOLLOWER) {
        // It is being built. The next build removes the events.
        Err(StateError::InUse { .. }) => return Ok(()),
        lock => lock.map_err(|error| error.to_string())?,
    };
    let retained = segments.retained_files().map_err(|error| error.to_string())?;
    let mut index = Index::open(&path, false).map_err(|error| error.to_string())?;
    let removed = index.retain_files(&retained).map_err(|error| error.to_string());
    drop(lock);
    removed.map(drop)
}
