//! `--keep-days`: deletes the delivered files of past days before each round. For a spool folder: deletes the files that the
//! forward has sent.

use super::plan::SyncPlan;
use crate::args::Dest;
use crate::components::Delivery;
use crate::followers::FollowedFolder;
use crate::progress::Progress;
use crate::text::{counted, one_line};
use jiff::{Span, Timestamp, tz::TimeZone};
use trailhose::follow;
use trailhose::retention::{self, RetentionPlan, RetentionTarget};
use trailhose::sink::jsonl::PrunedFiles;

/// The retention of the delivered files.
#[derive(Debug, Default)]
pub(crate) struct KeptDays {
    /// The files that were deleted before this round.
    pub(super) pruned: PrunedFiles,
    /// The last warning, so that a watch prints it once.
    warning: Option<String>,
}

impl KeptDays {
    /// Deletes the files of days before the retention of the plan, if it has one. A failure is a warning: files that are
    /// kept for too long are no reason to deliver nothing.
    pub(crate) async fn apply(&mut self, plan: &SyncPlan, delivery: &Delivery, progress: &Progress) {
        if plan.delivery.keep_days.is_none() && !plan.is_spool {
            return;
        }
        self.pruned = PrunedFiles::default();
        let warning = match prune(plan, delivery).await {
            Ok(pruned) => {
                let (undeleted, count) = (pruned.not_deleted.first(), pruned.not_deleted.len());
                let warning = undeleted.map(|(path, reason)| {
                    format!(
                        "{} cannot be deleted, the first is {}: {reason}",
                        counted(count as u64, "old file"),
                        path.display()
                    )
                });
                self.pruned = pruned;
                warning
            }
            Err(reason) => Some(format!("old files are kept: {reason}")),
        };
        if warning != self.warning
            && let Some(text) = &warning
        {
            progress.line(&format!("warning: {}", one_line(text)));
        }
        self.warning = warning;
    }
}

async fn prune(plan: &SyncPlan, delivery: &Delivery) -> Result<PrunedFiles, String> {
    let (Dest::Folder(dest), Some(sink)) = (&plan.delivery.dest, &delivery.files) else {
        // A stream is refused when it is opened.
        return Ok(PrunedFiles::default());
    };
    let followed = FollowedFolder::open_folder(dest, Some(&plan.delivery.ledger))?;
    let state = followed.state()?;
    // A consumer that has not run yet, or whose position was lost, has read nothing.
    for name in &plan.followers {
        follow::register(name, &followed.segments, &state).map_err(|error| error.to_string())?;
    }
    let planned = match plan.delivery.keep_days {
        // A spool keeps only what the forward has not sent.
        _ if plan.is_spool => RetentionPlan::released(&followed.segments, &state),
        None => return Ok(PrunedFiles::default()),
        Some(days) => {
            let now = Timestamp::now();
            let ahead = retention::check_clock(RetentionTarget::Files, &followed.segments, &state, now.as_second());
            if let Some(ahead) = ahead.map_err(|error| error.to_string())? {
                return Err(ahead.to_string());
            }
            let today = now.to_zoned(TimeZone::UTC).date();
            let span = Span::new().try_days(days).map_err(|error| error.to_string())?;
            let before = today.checked_sub(span).map_err(|error| error.to_string())?;
            RetentionPlan::new(&followed.segments, &state, before, &[])
        }
    };
    let planned = planned.map_err(|error| error.to_string())?;
    if planned.is_empty() {
        return Ok(PrunedFiles::default());
    }
    retention::prune(sink, &followed.segments, &state, planned).await.map_err(|error| error.to_string())
}
