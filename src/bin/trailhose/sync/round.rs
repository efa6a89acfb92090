//! One round: processes every source once, in order, with one destination and one ledger.

use super::empty::EmptySource;
use super::keep::KeptDays;
use super::look_back::LookBack;
use super::open_sources::{self, FailedSource, RoundSource};
use super::output::OutputFiles;
use super::plan::{PlannedSource, SyncPlan};
use crate::args::{Dest, LedgerLocation, Location};
use crate::components::{self, Aws, Delivery, OpenedSource};
use crate::followers::{FollowedFolder, FollowerView};
use crate::inventory;
use crate::not_ingested::UnvisitedCause;
use crate::progress::Progress;
use crate::summary::error_word;
use crate::text::one_line;
use jiff::civil::Date;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch::Receiver;
use trailhose::decode::DecodeLimits;
use trailhose::ingest::{CHUNK_BYTES, Ingest, KeyPolicy, MAX_BUFFERED_BYTES};
use trailhose::listing::inventory::Inventory;
use trailhose::sink::jsonl::Outstanding;
use trailhose::source::Pages;
use trailhose::source::metered::SourceCounters;
use trailhose::sync::{Completion, ObjectSelection, RetryPolicy, SyncReport, SyncRun};
use trailhose::tally::Tally;

/// Result of one round.
pub(super) struct Round {
    pub(super) report: SyncReport,
    /// The sources without a matching object, unless this is expected.
    pub(super) empty: Vec<EmptySource>,
    /// The sources that cannot be read, or were not processed to their end.
    pub(super) failed: Vec<FailedSource>,
    /// The result of each source in the order of the plan; `None` if it was not started.
    pub(super) ends: Vec<Option<SourceEnd>>,
    /// The events that a rebuild should have delivered again.
    pub(super) not_rebuilt: Outstanding,
    /// The followers of the folder, with their lag at the end of the round.
    pub(super) followers: Vec<FollowerView>,
}

/// The result of one source in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SourceEnd {
    /// The newest day of delivery in the names of its listed logs.
    pub(crate) newest_day: Option<Date>,
    /// Whether it was processed to its end, without failed or deferred objects.
    pub(crate) is_clean: bool,
    /// Why folders were not listed, if there are some.
    pub(crate) unvisited: Option<UnvisitedCause>,
}

impl SourceEnd {
    /// Returns the end of a round of this source. `is_look_back`: whether the round looked back a few days.
    pub(crate) fn of(report: &SyncReport, planned: &PlannedSource, is_look_back: bool) -> Self {
        let is_clean = report.completion == Completion::Complete && report.tally.failed + report.tally.deferred == 0;
        let cause = match &planned.location {
            _ if planned.selects() || !is_look_back => UnvisitedCause::Selection,
            Location::Path(_) => UnvisitedCause::ReadNext,
            Location::S3 { .. } => UnvisitedCause::LookBack,
        };
        Self { newest_day: report.newest_day, is_clean, unvisited: (report.unvisited > 0).then_some(cause) }
    }

    /// Adds the round to the look-back of its source.
    pub(crate) fn add_to(self, look_back: &mut LookBack, today: Date) {
        look_back.add_round(today, self.newest_day, self.is_clean);
        if self.unvisited == Some(UnvisitedCause::ReadNext) {
            look_back.switch_off();
        }
    }
}

/// The sources, and the opened destination and ledger.
pub(super) struct Components {
    sources: Vec<RoundSource>,
    pub(super) source_usage: Arc<SourceCounters>,
    pub(super) delivery: Delivery,
    /// The inventory that replaces the listing, if there is one. Only the first round uses it.
    report: Mutex<Option<Inventory>>,
    /// The state of the files that earlier runs delivered.
    pub(super) output: OutputFiles,
    /// The retention of these files.
    pub(super) kept: KeptDays,
}

impl Components {
    /// Opens the components of the plan. With `rebuild`, the first round delivers the events of missing files again.
    ///
    /// # Errors
    /// No source can be read, or the destination or the ledger cannot be opened. Nothing is started then.
    pub(super) async fn open(plan: &SyncPlan, rebuild: bool) -> Result<Self, String> {
        let aws = Aws::default();
        let source_usage = Arc::<SourceCounters>::default();
        let sources = open_sources::open(plan, &aws, &source_usage).await?;
        // Open the report before creating or leasing anything, so that an invalid report has no side effects.
        let opened: Vec<&OpenedSource> = sources.iter().filter_map(|source| source.opened.as_ref().ok()).collect();
        let report = match (&plan.inventory, opened.first()) {
            (Some(manifest), Some(opened)) => Some(inventory::open(manifest, &opened.bucket, &aws).await?),
            _ => None,
        };
        let report = Mutex::new(report);
        let delivery = components::delivery(&plan.delivery, &aws).await?;
        let output = OutputFiles::open(&delivery, rebuild, &opened).await?;
        Ok(Self { sources, source_usage, delivery, report, output, kept: KeptDays::default() })
    }

    /// Whether AWS bills nothing: destination and ledger are on this machine, and so are all sources that can be read.
    pub(super) fn is_local(&self, plan: &SyncPlan) -> bool {
        matches!((&plan.delivery.dest, &plan.delivery.ledger), (Dest::Folder(_), LedgerLocation::File(_)))
            && self.sources.iter().all(|source| source.opened.as_ref().map_or(true, |opened| opened.folder.is_some()))
    }

    /// Checks that the files which earlier rounds delivered are still present.
    pub(super) async fn check_output(&mut self, progress: &Progress) {
        if let Err(error) = self.output.check(&self.delivery).await {
            progress.line(&format!("cannot check the delivered files: {error}"));
        }
    }

    /// Deletes the delivered files that are older than the plan keeps them.
    pub(super) async fn prune(&mut self, plan: &SyncPlan, progress: &Progress) {
        self.kept.apply(plan, &self.delivery, progress).await;
    }

    /// Returns the objects of the inventory report, once; `None` without a report.
    fn take_inventory_pages(&self, prefix: &str) -> Option<Pages> {
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner).take();
        report.map(|report| {
            tracing::warn!("{}", inventory::age_warning(&report));
            report.pages(prefix)
        })
    }

    /// Processes every source until its end or until `halt` becomes true. If `look_back_from` contains a day for a source,
    /// only its objects delivered on or after that day minus the plan's look-back are scanned; it is then normal that no
    /// object matches. A source that fails does not stop the others.
    pub(super) async fn round(
        &self,
        plan: &SyncPlan,
        look_back_from: &[Option<Date>],
        halt: &Receiver<bool>,
        progress: &mut Progress,
    ) -> Round {
        let (mut ended, mut empty, mut failed) = (SyncReport::default(), Vec::new(), Vec::new());
        for source in &self.sources {
            if let Err(reason) = &source.opened {
                progress.line(&cannot_be_read(&source.failed(reason)));
            }
        }
        let mut ends = vec![None; self.sources.len()];
        let mut unvisited = Vec::new();
        for (index, source) in self.sources.iter().enumerate() {
            let look_back_from = look_back_from.get(index).copied().flatten();
            let mut report = match &source.opened {
                Ok(opened) => {
                    let pages = self.take_inventory_pages(&opened.prefix);
                    let walk = sync_run(plan, &self.delivery, &source.planned, opened, look_back_from, pages);
                    walk.run(halt.clone(), &mut |event| progress.handle(&event)).await
                }
                Err(reason) => SyncReport { completion: Completion::Aborted(reason.clone()), ..SyncReport::default() },
            };
            if look_back_from.is_none() && !source.planned.allow_empty {
                empty.extend(EmptySource::of(&source.planned, plan.all_files, &report));
            }
            let end = SourceEnd::of(&report, &source.planned, look_back_from.is_some());
            if let Some(cause) = end.unvisited {
                unvisited.push((report.unvisited_names.clone(), cause));
            }
            ends[index] = Some(end);
            if let Completion::Aborted(reason) = &mut report.completion {
                let failure = source.failed(reason);
                if self.sources.len() > 1 {
                    *reason = format!("{}: {}", failure.source, failure.reason);
                }
                failed.push(failure);
            }
            ended.merge(report);
            if *halt.borrow() {
                break;
            }
        }
        progress.end();
        unvisited.iter().for_each(|(names, cause)| progress.print_unvisited(names, *cause));
        progress.not_ingested.rest().iter().for_each(|line| progress.line(line));
        let not_rebuilt = self.output.not_rebuilt(&self.delivery).await;
        Round { report: ended, empty, failed, ends, not_rebuilt, followers: followers(plan) }
    }
}

/// Returns the pass over one source of a plan. If `look_back_from` is a day, only its objects delivered on or after that day
/// minus the plan's look-back are scanned. `pages` replace the listing.
pub(crate) fn sync_run(
    plan: &SyncPlan,
    delivery: &Delivery,
    planned: &PlannedSource,
    opened: &OpenedSource,
    look_back_from: Option<Date>,
    pages: Option<Pages>,
) -> SyncRun {
    let default = DecodeLimits::default();
    let limits = DecodeLimits { object_bytes: plan.max_object_bytes.unwrap_or(default.object_bytes), ..default };
    let full = ObjectSelection {
        since: planned.since,
        until: planned.until,
        filters: planned.filters.clone(),
        exclude: destination_keys(opened, &plan.delivery.dest),
        is_look_back: false,
    };
    let selection = match look_back_from {
        // The name of a file that is not a log does not contain its day.
        Some(day) if !plan.all_files => ObjectSelection {
            // Without list requests, every round looks for logs outside of the day folders.
            is_look_back: matches!(planned.location, Location::S3 { .. }),
            ..full.looking_back(day, plan.look_back)
        },
        _ => full,
    };
    SyncRun {
        ingest: Ingest {
            source: opened.source.clone(),
            ledger: delivery.ledger.clone(),
            sink: delivery.sink.clone(),
            limits,
            filter: plan.filter.clone(),
            max_buffered_bytes: MAX_BUFFERED_BYTES,
            chunk_bytes: CHUNK_BYTES,
            key_policy: if plan.all_files { KeyPolicy::AnyKey } else { KeyPolicy::CloudTrailLogs },
        },
        bucket: opened.bucket.clone(),
        prefix: opened.prefix.clone(),
        pages,
        selection,
        jobs: plan.jobs.unwrap_or_else(|| components::jobs(&planned.location)),
        retry_policy: RetryPolicy::default(),
    }
}

/// Returns the followers of the destination, if it is a folder that has any. What cannot be read is reported by
/// `trailhose followers list`, and does not fail a sync.
pub(super) fn followers(plan: &SyncPlan) -> Vec<FollowerView> {
    let Dest::Folder(dest) = &plan.delivery.dest else { return Vec::new() };
    match FollowedFolder::open_folder(dest, Some(&plan.delivery.ledger)) {
        Ok(followed) if followed.has_state() => followed.followers().unwrap_or_default(),
        _ => Vec::new(),
    }
}

impl Round {
    /// Returns the error if nothing was started: every source failed before its first object.
    pub(super) fn not_started(&self) -> Option<String> {
        let Self { report, failed, ends, .. } = self;
        match &report.completion {
            Completion::Aborted(reason)
                if failed.len() == ends.len()
                    && report.tally == Tally::default()
                    && report.excluded + report.rolled_back == 0 =>
            {
                Some(reason.clone())
            }
            _ => None,
        }
    }
}

/// Returns the message about a source that cannot be read, while others can.
fn cannot_be_read(failed: &FailedSource) -> String {
    let FailedSource { source, reason } = failed;
    let reason = one_line(reason);
    format!("{}: source {source} cannot be read and is skipped; the others are processed: {reason}", error_word())
}

/// Returns the key prefix of the destination if it is a subfolder of the source.
fn destination_keys(opened: &OpenedSource, dest: &Dest) -> Option<String> {
    let Dest::Folder(dest) = dest else { return None };
    let dest = dest.canonicalize().ok()?;
    let inner = dest.strip_prefix(opened.folder.as_ref()?).ok()?;
    Some(format!("{}/", inner.to_str()?))
}
