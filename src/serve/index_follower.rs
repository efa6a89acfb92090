//! Keeps the index up to date beside the runs of sources.

use crate::follow::{self, FollowError};
use crate::index::{FOLLOWER, Index, IndexFollower};
use crate::sink::jsonl::CommittedSegments;
use crate::state::StateDatabase;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The time between two reads of the segments.
const PAUSE: Duration = Duration::from_millis(500);

/// The time until the next attempt after an error.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(10);

/// Adds delivered events to the index until `ends` is true. Then one last attempt adds the remaining events. After an error,
/// which is logged, the work continues after a pause.
pub(super) async fn follow_index(
    segments: Arc<CommittedSegments>,
    state: Arc<StateDatabase>,
    path: &Path,
    mut ends: watch::Receiver<bool>,
) {
    let mut opened: Option<IndexFollower> = None;
    let mut last_error = String::new();
    loop {
        // Everything that is committed before this point is read below.
        let is_last = *ends.borrow();
        let mut pause = PAUSE;
        if let Err(error) = follow_once(&segments, &state, path, &mut opened).await {
            opened = None;
            pause = PAUSE_AFTER_ERROR;
            if error != last_error {
                tracing::warn!("the index is not updated, the next attempt is in {} s: {error}", pause.as_secs());
            }
            last_error = error;
        }
        if is_last {
            return;
        }
        let _ = tokio::time::timeout(pause, ends.wait_for(|&ends| ends)).await;
    }
}

async fn follow_once(
    segments: &Arc<CommittedSegments>,
    state: &Arc<StateDatabase>,
    path: &Path,
    opened: &mut Option<IndexFollower>,
) -> Result<(), String> {
    let follower = match opened {
        Some(follower) => follower,
        None => opened.insert(open(segments, state, path)?),
    };
    let followed = follow::follow(follower, segments, state, &|| false, &|_| {}).await;
    followed.map(drop).map_err(|error: FollowError| error.to_string())
}

/// Opens the index, and starts from the first segment if it is new.
fn open(segments: &CommittedSegments, state: &StateDatabase, path: &Path) -> Result<IndexFollower, String> {
    let stored = state.follower(FOLLOWER).map_err(|error| error.to_string())?;
    if stored.as_ref().is_some_and(|state| state.folder != segments.folder_id()) {
        return Err(format!(
            "{} belongs to another folder: build the index again with `trailhose index build --again`",
            path.display()
        ));
    }
    // Without a position, for example after `followers reset index --to start`, every event is indexed again.
    let rebuild = stored.is_none_or(|state| state.cursor.segment == 0);
    let (mut index, is_created) = Index::open(path, rebuild).map_err(|error| error.to_string())?;
    if is_created {
        follow::reset(FOLLOWER, segments, state, false).map_err(|error| error.to_string())?;
    }
    if index.has_skipped_events().map_err(|error| error.to_string())? {
        tracing::warn!(
            "the index lacks events that were skipped, so queries read all files: stop the server and build the index again with \
             `trailhose index build --again`"
        );
    }
    // Removes the events of files that a prune or a rebuild deleted.
    let retained = segments.retained_files().map_err(|error| error.to_string())?;
    index.retain_files(&retained).map_err(|error| error.to_string())?;
    Ok(IndexFollower(index))
}
