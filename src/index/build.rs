//! Adds the delivered events to the index of a folder. Only one process at a time can do so.

use super::{FOLLOWER, Index, IndexError, IndexFollower, build_command};
use crate::follow::{self, FollowError, FollowProgress};
use crate::sink::SinkError;
use crate::sink::jsonl::CommittedSegments;
use crate::state::{Cursor, FollowerLock, StateDatabase, StateError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An index that is open for writes, with the exclusive right to write it.
#[derive(Debug)]
pub struct IndexBuild {
    follower: IndexFollower,
    /// Taken before the index is opened, because a new build deletes the files of the old index.
    lock: FollowerLock,
    restored: Option<String>,
}

/// Why an index cannot be opened for writes.
#[derive(Debug, thiserror::Error)]
pub enum IndexBuildError {
    /// The index contains the events of another folder.
    #[error("{} belongs to another folder: build the index again with `{} --again`", .0.display(), build_command(.0))]
    OtherFolder(PathBuf),
    /// The index cannot be opened.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The record of the files cannot be read.
    #[error(transparent)]
    Record(#[from] SinkError),
    /// The state database cannot be used, or another process writes the index.
    #[error(transparent)]
    State(#[from] StateError),
    /// The position cannot be stored.
    #[error(transparent)]
    Follow(#[from] FollowError),
}

impl IndexBuild {
    /// Opens the index at `path`. An index without a stored position starts from the first segment, for example after
    /// `followers reset index --to start`. With `again`, every index does, and so does an index whose own position is not the
    /// stored one: one of the two files was restored from a backup. Removes the events of files that a prune or a rebuild
    /// deleted.
    ///
    /// # Errors
    /// [`StateError::InUse`] if another process writes the index; the other errors of [`IndexBuildError`].
    pub fn open(
        path: &Path,
        segments: &CommittedSegments,
        state: &StateDatabase,
        again: bool,
    ) -> Result<Self, IndexBuildError> {
        let lock = state.lock_follower(FOLLOWER)?;
        let stored = state.follower(FOLLOWER)?;
        if !again && stored.as_ref().is_some_and(|state| state.folder != segments.folder_id()) {
            return Err(IndexBuildError::OtherFolder(path.to_owned()));
        }
        let cursor = stored.map(|state| state.cursor).unwrap_or_default();
        let is_current = Index::is_current(path)?;
        let restored = match is_current && !again && cursor.segment > 0 {
            true => restored(&Index::open_read_only(path)?, segments.folder_id(), &cursor, state)?,
            false => None,
        };
        let rebuild = again || cursor.segment == 0 || restored.is_some();
        // The position is reset before an index is deleted. If the process ends in between, the next build deletes the index:
        // with a position at the start, it does not continue an index.
        if rebuild || !is_current {
            follow::reset_locked(&lock, FOLLOWER, segments, state, false)?;
        }
        let index = Index::open(path, rebuild)?;
        let acknowledged = state.follower(FOLLOWER)?.unwrap_or_default().cursor;
        let folder = segments.folder_id().to_owned();
        let mut build = Self { follower: IndexFollower { index, folder, acknowledged }, lock, restored };
        build.retain(segments)?;
        Ok(build)
    }

    /// Adds every committed event that the index lacks. See [`follow::follow`].
    ///
    /// # Errors
    /// Those of [`follow::follow`].
    pub async fn follow(
        &mut self,
        segments: &Arc<CommittedSegments>,
        state: &StateDatabase,
        stop: &(dyn Fn() -> bool + Sync),
        each: &(dyn Fn(&FollowProgress) + Sync),
    ) -> Result<FollowProgress, FollowError> {
        self.follower.acknowledged = state.follower(FOLLOWER)?.unwrap_or_default().cursor;
        follow::follow_locked(&self.lock, &mut self.follower, segments, state, stop, each).await
    }

    /// Removes the events of files that a prune or a rebuild deleted.
    ///
    /// # Errors
    /// Errors of the record and of SQLite.
    pub fn retain(&mut self, segments: &CommittedSegments) -> Result<(), IndexBuildError> {
        let retained = segments.retained_files()?;
        self.follower.index.retain_files(&retained)?;
        Ok(())
    }

    /// Returns why the index is built again, if its position was not the stored one.
    pub fn restored(&self) -> Option<&str> {
        self.restored.as_deref()
    }

    /// Returns the index.
    pub fn index(&self) -> &Index {
        &self.follower.index
    }
}

/// Returns why an index cannot be continued from the stored position of its follower, if it cannot.
fn restored(index: &Index, folder: &str, stored: &Cursor, state: &StateDatabase) -> Result<Option<String>, IndexError> {
    if index.continues(folder, stored)? {
        return Ok(None);
    }
    Ok(Some(format!(
        "the index is built again: it ends at segment {}, but its position in {} is segment {}. One of the two files was restored \
         from a backup",
        index.last_segment(folder)?,
        state.path().display(),
        stored.segment
    )))
}
