//! Opens the sources of a plan. A source that cannot be read does not stop the others.

use super::plan::{PlannedSource, SyncPlan};
use crate::args::{Dest, Location};
use crate::components::{self, Aws, OpenedSource};
use serde::Serialize;
use std::sync::Arc;
use trailhose::source::Listing;
use trailhose::source::metered::{MeteredSource, SourceCounters};

/// A source that was not processed, or not completely.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FailedSource {
    /// The source, as the user named it.
    pub(crate) source: String,
    /// Why it failed.
    pub(crate) reason: String,
}

/// A source of the plan, and the opened source or the reason why it cannot be read.
pub(super) struct RoundSource {
    pub(super) planned: PlannedSource,
    pub(super) opened: Result<OpenedSource, String>,
}

impl RoundSource {
    /// Returns the failure of this source for `reason`.
    pub(super) fn failed(&self, reason: &str) -> FailedSource {
        let reason = reason.strip_prefix("SOURCE: ").unwrap_or(reason).to_owned();
        FailedSource { source: self.planned.location.to_string(), reason }
    }
}

/// Opens the sources of the plan. If there are several, the first page of each is listed, so that a source that cannot be
/// read is named before the others are processed.
///
/// # Errors
/// No source can be read, or the destination is one of the sources.
pub(super) async fn open(plan: &SyncPlan, aws: &Aws, usage: &Arc<SourceCounters>) -> Result<Vec<RoundSource>, String> {
    let mut sources = Vec::new();
    for planned in &plan.sources {
        let mut opened = open_source(planned, aws, usage).await;
        if let Ok(opened) = &opened {
            check_distinct(opened, &plan.delivery.dest)?;
        }
        if let (Ok(OpenedSource { source, bucket, prefix, .. }), true) = (&opened, plan.sources.len() > 1) {
            let listing = Listing { bucket, prefix, delimiter: Some('/'), token: None, start_after: None };
            if let Err(error) = source.list(&listing).await {
                opened = Err(error.to_string());
            }
        }
        sources.push(RoundSource { planned: planned.clone(), opened });
    }
    let reasons: Vec<&str> = sources.iter().filter_map(|source| source.opened.as_ref().err()).map(|s| &**s).collect();
    if reasons.len() == sources.len() {
        return Err(reasons.join("; "));
    }
    Ok(sources)
}

/// Opens a source and meters its requests.
///
/// # Errors
/// The source cannot be read.
pub(crate) async fn open_source(
    planned: &PlannedSource,
    aws: &Aws,
    usage: &Arc<SourceCounters>,
) -> Result<OpenedSource, String> {
    let mut opened = components::source(&planned.location, &planned.access, aws).await?;
    if matches!(planned.location, Location::S3 { .. }) {
        // Opening a bucket sends one list request before the source is metered.
        usage.count_list();
    }
    opened.source = Arc::new(MeteredSource::new(opened.source, Arc::clone(usage)));
    Ok(opened)
}

/// Fails if the destination is the source folder.
pub(crate) fn check_distinct(opened: &OpenedSource, dest: &Dest) -> Result<(), String> {
    let Dest::Folder(dest) = dest else { return Ok(()) };
    let same = opened.folder.is_some() && dest.canonicalize().ok() == opened.folder;
    if same {
        Err(format!("DEST {} is the same folder as SOURCE: specify another folder", dest.display()))
    } else {
        Ok(())
    }
}
