//! Round: every source once, one after the other, into one destination and one ledger.

use super::plan::{Plan, Planned};
use crate::args::{Dest, Place};
use crate::components::{self, Aws, Delivery, Opened};
use crate::inventory;
use crate::progress::Progress;
use jiff::civil::Date;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch::Receiver;
use trailhose::decode::DecodeLimits;
use trailhose::ingest::{MAX_BUFFERED_BYTES, Ingest, KeyPolicy, CHUNK_BYTES};
use trailhose::listing::inventory::Inventory;
use trailhose::source::metered::{MeteredSource, SourceCounters};
use trailhose::source::{Listing, Pages};
use trailhose::sync::{SyncReport, Completion, RetryPolicy, Select, SyncRun};
use trailhose::tally::Tally;

/// Everything that is open while sources are walked.
pub(super) struct Parts {
    sources: Vec<(Planned, Opened)>,
    pub(super) source_usage: Arc<SourceCounters>,
    pub(super) delivery: Delivery,
    /// What stands for the listing of the only source.
    report: Mutex<Option<Inventory>>,
}

impl Parts {
    /// Opens what the plan names.
    ///
    /// # Errors
    /// Something is missing or denied. Nothing is begun then: of several sources each is asked for its first page before
    /// one of them is read.
    pub(super) async fn open(plan: &Plan) -> Result<Self, String> {
        let aws = Aws::default();
        let source_usage = Arc::<SourceCounters>::default();
        let mut sources = Vec::new();
        for planned in &plan.sources {
            let mut opened = components::source(&planned.place, planned.bucket_region.as_deref(), &aws).await?;
            apart(&opened, &plan.delivery.dest)?;
            opened.source = Arc::new(MeteredSource::new(opened.source, Arc::clone(&source_usage)));
            sources.push((planned.clone(), opened));
        }
        if sources.len() > 1 {
            for (_, opened) in &sources {
                let Opened { bucket, prefix, .. } = opened;
                let ask = Listing { bucket, prefix, delimiter: Some('/'), token: None, start_after: None };
                opened.source.list(&ask).await.map_err(|error| error.to_string())?;
            }
        }
        // Before anything is made or leased: a report that cannot be used leaves nothing half done.
        let report = match (&plan.inventory, sources.first()) {
            (Some(manifest), Some((_, opened))) => Some(inventory::open(manifest, &opened.bucket, &aws).await?),
            _ => None,
        };
        let report = Mutex::new(report);
        Ok(Self { sources, source_usage, delivery: components::delivery(&plan.delivery, &aws).await?, report })
    }

    /// The objects of the report, if there is one: it is walked once.
    fn reported(&self, prefix: &str) -> Option<Pages> {
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner).take();
        report.map(|report| {
            tracing::warn!("{}", inventory::age(&report));
            report.pages(prefix)
        })
    }

    /// Walks every source to its end, or until `halt`; with `last`, of the days before that day only that the plan looks
    /// back to. A source that cannot be walked does not keep the others from their turn.
    pub(super) async fn round(
        &self,
        plan: &Plan,
        last: Option<Date>,
        halt: &Receiver<bool>,
        progress: &mut Progress,
    ) -> SyncReport {
        let mut ended = SyncReport::default();
        for (planned, opened) in &self.sources {
            let walk = self.walk(plan, planned, opened, last);
            ended.merge(walk.run(halt.clone(), &mut |news| progress.news(&news)).await);
            if *halt.borrow() {
                break;
            }
        }
        progress.end();
        progress.passed_over(&ended.unvisited_names);
        progress.names.rest().iter().for_each(|line| progress.line(line));
        ended
    }

    fn walk(&self, plan: &Plan, planned: &Planned, opened: &Opened, last: Option<Date>) -> SyncRun {
        let default = DecodeLimits::default();
        let limits = DecodeLimits { object_bytes: plan.max_object_bytes.unwrap_or(default.object_bytes), ..default };
        let whole = Select {
            since: planned.since,
            until: planned.until,
            filters: planned.filters.clone(),
            exclude: within(opened, &plan.delivery.dest),
        };
        let select = match last {
            // The name of a file that is no log does not say its day.
            Some(day) if !plan.all_files => whole.looking_back(day, plan.look_back),
            _ => whole,
        };
        SyncRun {
            ingest: Ingest {
                source: opened.source.clone(),
                ledger: self.delivery.ledger.clone(),
                sink: self.delivery.sink.clone(),
                limits,
                filter: plan.filter.clone(),
                max_buffered_bytes: MAX_BUFFERED_BYTES,
                chunk_bytes: CHUNK_BYTES,
                key_policy: if plan.all_files { KeyPolicy::AnyKey } else { KeyPolicy::CloudTrailLogs },
            },
            bucket: opened.bucket.clone(),
            prefix: opened.prefix.clone(),
            pages: self.reported(&opened.prefix),
            select,
            jobs: plan.jobs.unwrap_or_else(|| jobs(&planned.place)),
            retry_policy: RetryPolicy::default(),
        }
    }
}

/// Why nothing was begun, if nothing was.
pub(super) fn nothing_begun(ended: &SyncReport) -> Option<String> {
    match &ended.completion {
        Completion::Aborted(reason) if ended.tally == Tally::default() && ended.excluded == 0 => Some(reason.clone()),
        _ => None,
    }
}

/// A folder is read by the processor, a bucket over the network.
fn jobs(source: &Place) -> usize {
    let cores = std::thread::available_parallelism().map_or(2, Into::into);
    match source {
        Place::Path(_) => cores,
        Place::S3 { .. } => (2 * cores).min(16),
    }
}

/// Refuses to write into the folder that is read.
fn apart(opened: &Opened, dest: &Dest) -> Result<(), String> {
    let Dest::Folder(dest) = dest else { return Ok(()) };
    let same = opened.folder.is_some() && dest.canonicalize().ok() == opened.folder;
    if same { Err(format!("DEST {} is SOURCE: name another folder", dest.display())) } else { Ok(()) }
}

/// The keys of the destination, where it lies within the source.
fn within(opened: &Opened, dest: &Dest) -> Option<String> {
    let Dest::Folder(dest) = dest else { return None };
    let dest = dest.canonicalize().ok()?;
    let inner = dest.strip_prefix(opened.folder.as_ref()?).ok()?;
    Some(format!("{}/", inner.to_str()?))
}
