//! One round: processes every source once, in order, with one destination and one ledger.

use super::empty::EmptySource;
use super::output::OutputFiles;
use super::plan::{PlannedSource, SyncPlan};
use crate::args::{Dest, Location};
use crate::components::{self, Aws, Delivery, OpenedSource};
use crate::inventory;
use crate::progress::Progress;
use jiff::civil::Date;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch::Receiver;
use trailhose::decode::DecodeLimits;
use trailhose::ingest::{CHUNK_BYTES, Ingest, KeyPolicy, MAX_BUFFERED_BYTES};
use trailhose::listing::inventory::Inventory;
use trailhose::sink::jsonl::Outstanding;
use trailhose::source::metered::{MeteredSource, SourceCounters};
use trailhose::source::{Listing, Pages};
use trailhose::sync::{Completion, ObjectSelection, RetryPolicy, SyncReport, SyncRun};
use trailhose::tally::Tally;

/// Result of one round.
pub(super) struct Round {
    pub(super) report: SyncReport,
    /// The sources without a matching object, unless this is expected.
    pub(super) empty: Vec<EmptySource>,
    /// The events that a rebuild should have delivered again.
    pub(super) not_rebuilt: Outstanding,
}

/// The opened sources, destination and ledger.
pub(super) struct Components {
    sources: Vec<(PlannedSource, OpenedSource)>,
    pub(super) source_usage: Arc<SourceCounters>,
    pub(super) delivery: Delivery,
    /// The inventory that replaces the listing, if there is one. Only the first round uses it.
    report: Mutex<Option<Inventory>>,
    /// The state of the files that earlier runs delivered.
    pub(super) output: OutputFiles,
}

impl Components {
    /// Opens the components of the plan. With `rebuild`, the first round delivers the events of missing files again.
    ///
    /// # Errors
    /// A component is missing or access is denied. Nothing is started then: if there are several sources, the first page
    /// of each is listed before any of them is processed.
    pub(super) async fn open(plan: &SyncPlan, rebuild: bool) -> Result<Self, String> {
        let aws = Aws::default();
        let source_usage = Arc::<SourceCounters>::default();
        let mut sources = Vec::new();
        for planned in &plan.sources {
            let mut opened = components::source(&planned.location, &planned.access, &aws).await?;
            check_distinct(&opened, &plan.delivery.dest)?;
            if matches!(planned.location, Location::S3 { .. }) {
                // Opening a bucket sends one list request before the source is metered.
                source_usage.count_list();
            }
            opened.source = Arc::new(MeteredSource::new(opened.source, Arc::clone(&source_usage)));
            sources.push((planned.clone(), opened));
        }
        if sources.len() > 1 {
            for (_, opened) in &sources {
                let OpenedSource { bucket, prefix, .. } = opened;
                let listing = Listing { bucket, prefix, delimiter: Some('/'), token: None, start_after: None };
                opened.source.list(&listing).await.map_err(|error| error.to_string())?;
            }
        }
        // Open the report before creating or leasing anything, so that an invalid report has no side effects.
        let report = match (&plan.inventory, sources.first()) {
            (Some(manifest), Some((_, opened))) => Some(inventory::open(manifest, &opened.bucket, &aws).await?),
            _ => None,
        };
        let report = Mutex::new(report);
        let delivery = components::delivery(&plan.delivery, &aws).await?;
        let opened: Vec<&OpenedSource> = sources.iter().map(|(_, opened)| opened).collect();
        let output = OutputFiles::open(&delivery, rebuild, &opened).await?;
        Ok(Self { sources, source_usage, delivery, report, output })
    }

    /// Checks that the files which earlier rounds delivered are still present.
    pub(super) async fn check_output(&mut self, progress: &Progress) {
        if let Err(error) = self.output.check(&self.delivery).await {
            progress.line(&format!("cannot check the delivered files: {error}"));
        }
    }

    /// Returns the objects of the inventory report, once; `None` without a report.
    fn take_inventory_pages(&self, prefix: &str) -> Option<Pages> {
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner).take();
        report.map(|report| {
            tracing::warn!("{}", inventory::age_warning(&report));
            report.pages(prefix)
        })
    }

    /// Processes every source until its end or until `halt` becomes true. With `look_back_from`, only objects delivered
    /// on or after that day minus the plan's look-back are scanned; it is then normal that no object matches. A source
    /// that fails does not stop the others.
    pub(super) async fn round(
        &self,
        plan: &SyncPlan,
        look_back_from: Option<Date>,
        halt: &Receiver<bool>,
        progress: &mut Progress,
    ) -> Round {
        let (mut ended, mut empty) = (SyncReport::default(), Vec::new());
        for (planned, opened) in &self.sources {
            let walk = self.walk(plan, planned, opened, look_back_from);
            let report = walk.run(halt.clone(), &mut |event| progress.handle(&event)).await;
            if look_back_from.is_none() && !planned.allow_empty {
                empty.extend(EmptySource::of(planned, plan.all_files, &report));
            }
            ended.merge(report);
            if *halt.borrow() {
                break;
            }
        }
        progress.end();
        progress.print_unvisited(&ended.unvisited_names);
        progress.not_ingested.rest().iter().for_each(|line| progress.line(line));
        let not_rebuilt = self.output.not_rebuilt(&self.delivery).await;
        Round { report: ended, empty, not_rebuilt }
    }

    fn walk(
        &self,
        plan: &SyncPlan,
        planned: &PlannedSource,
        opened: &OpenedSource,
        look_back_from: Option<Date>,
    ) -> SyncRun {
        let default = DecodeLimits::default();
        let limits = DecodeLimits { object_bytes: plan.max_object_bytes.unwrap_or(default.object_bytes), ..default };
        let full = ObjectSelection {
            since: planned.since,
            until: planned.until,
            filters: planned.filters.clone(),
            exclude: destination_keys(opened, &plan.delivery.dest),
        };
        let selection = match look_back_from {
            // The name of a file that is not a log does not contain its day.
            Some(day) if !plan.all_files => full.looking_back(day, plan.look_back),
            _ => full,
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
            pages: self.take_inventory_pages(&opened.prefix),
            selection,
            jobs: plan.jobs.unwrap_or_else(|| components::jobs(&planned.location)),
            retry_policy: RetryPolicy::default(),
        }
    }
}

/// Returns the error if nothing was started.
pub(super) fn not_started(ended: &SyncReport) -> Option<String> {
    match &ended.completion {
        Completion::Aborted(reason) if ended.tally == Tally::default() && ended.excluded + ended.rolled_back == 0 => {
            Some(reason.clone())
        }
        _ => None,
    }
}

/// Fails if the destination is the source folder.
fn check_distinct(opened: &OpenedSource, dest: &Dest) -> Result<(), String> {
    let Dest::Folder(dest) = dest else { return Ok(()) };
    let same = opened.folder.is_some() && dest.canonicalize().ok() == opened.folder;
    if same {
        Err(format!("DEST {} is the same folder as SOURCE: specify another folder", dest.display()))
    } else {
        Ok(())
    }
}

/// Returns the key prefix of the destination if it is a subfolder of the source.
fn destination_keys(opened: &OpenedSource, dest: &Dest) -> Option<String> {
    let Dest::Folder(dest) = dest else { return None };
    let dest = dest.canonicalize().ok()?;
    let inner = dest.strip_prefix(opened.folder.as_ref()?).ok()?;
    Some(format!("{}/", inner.to_str()?))
}
