//! Keeps the index up to date beside the runs of sources.

use crate::follow::FollowError;
use crate::index::IndexBuild;
use crate::sink::jsonl::CommittedSegments;
use crate::state::StateDatabase;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The time between two reads of the segments.
const PAUSE: Duration = Duration::from_millis(500);

/// The time between two removals of the events of pruned files.
const RETAIN_INTERVAL: Duration = Duration::from_secs(60);

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
    let mut opened: Option<IndexBuild> = None;
    let mut retained = Instant::now();
    let mut last_error = String::new();
    loop {
        // Everything that is committed before this point is read below.
        let is_last = *ends.borrow();
        let mut pause = PAUSE;
        let mut followed = follow_once(&segments, &state, path, &mut opened).await;
        if let Some(build) = opened.as_mut().filter(|_| followed.is_ok() && retained.elapsed() >= RETAIN_INTERVAL) {
            followed = build.retain(&segments).map_err(|error| error.to_string());
            retained = Instant::now();
        }
        if let Err(error) = &followed {
            opened = None;
            pause = PAUSE_AFTER_ERROR;
            if *error != last_error {
                tracing::warn!("the index is not updated, the next attempt is in {} s: {error}", pause.as_secs());
            }
        }
        // An error that occurs again after a success is logged again.
        last_error = followed.err().unwrap_or_default();
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
    opened: &mut Option<IndexBuild>,
) -> Result<(), String> {
    let build = match opened {
        Some(build) => build,
        None => opened.insert(open(segments, state, path)?),
    };
    let followed = build.follow(segments, state, &|| false, &|_| {}).await;
    followed.map(drop).map_err(|error: FollowError| error.to_string())
}

fn open(segments: &CommittedSegments, state: &StateDatabase, path: &Path) -> Result<IndexBuild, String> {
    let build = IndexBuild::open(path, segments, state, false).map_err(|error| error.to_string())?;
    if let Some(reason) = build.restored() {
        tracing::warn!("{reason}");
    }
    if build.index().has_skipped_events().map_err(|error| error.to_string())? {
        tracing::warn!(
            "the index lacks events that were skipped, so queries read all files: stop the server and build the index again with \
             `trailhose index build {} --again`",
            segments.arguments()
        );
    }
    Ok(build)
}
