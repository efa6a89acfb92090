//! Backfill in this process: a dry run, or enqueueing the missing objects of an inventory.

use super::plan::{BackfillPlan, PlannedRun, SourceLocation};
use super::view::{LocalReport, UnlistedFolders};
use crate::args::Location;
use crate::components::{self, Aws, OpenedSource};
use crate::inventory;
use crate::print::{print, print_json};
use crate::sync::empty::{Found, warning};
use crate::text::counted;
use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use indicatif::{HumanCount, ProgressBar};
use jiff::civil::Date;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Receiver;
use tokio::time::Instant;
use trailhose::backfill::budget::Budget;
use trailhose::backfill::dispatch::{MessageSender, Packing, QueueDispatcher};
use trailhose::backfill::run::{RunOptions, SourceRoot};
use trailhose::backfill::{DispatchError, Dispatcher, RunId, Submitted, UnitEnd, UnitProcessor, UnitReport};
use trailhose::ledger::Ledger;
use trailhose::listing::ListingCounts;
use trailhose::listing::day_range::LOOK_BACK;
use trailhose::listing::discover::{Discovery, DiscoveryProgress, DiscoveryRequest};
use trailhose::listing::unit::BackfillMode;
use trailhose::object::ObjectRef;
use trailhose::queue::sqs::Sqs;

/// Number of units processed concurrently.
const CONCURRENT_UNITS: usize = 16;

/// First day for an inventory without `--since`; no bucket has older objects.
const EARLIEST_DAY: Date = jiff::civil::date(2000, 1, 1);

/// Time limit of a unit: effectively none.
const UNLIMITED_TIME: Duration = Duration::from_secs(365 * 86_400);

pub(super) async fn run(plan: &BackfillPlan, aws: &Aws, halt: Receiver<bool>) -> Result<u8, String> {
    let Some(at) = &plan.ledger else { return Err("--ledger is required: use --ledger dynamodb://TABLE".into()) };
    let ledger = components::open_read_only(at, aws).await?;
    let LocalTotals { counts, unlisted, empty } = match totals(plan, &ledger, aws, halt).await {
        Ok(totals) => totals,
        Err(LocalBackfillError::Halted) => return Ok(crate::interrupt::exit_code()),
        Err(LocalBackfillError::NothingDone(reason)) => return Err(reason),
        Err(LocalBackfillError::PartlyDone(reason)) => {
            return Ok(crate::report_failure("aborted", &reason, super::INCOMPLETE));
        }
    };
    let rate = plan.runs.first().and_then(|planned| planned.request.bytes_per_second);
    unlisted.print();
    let is_complete = unlisted.denied.is_empty();
    let report = LocalReport::of(counts, unlisted, plan.dry_run, rate);
    if plan.json {
        print_json(&report)
    } else {
        print(&report.table())
    }
    empty.iter().for_each(|warning| anstream::eprintln!("{warning}"));
    Ok(match (is_complete, empty.is_empty()) {
        (false, _) => super::INCOMPLETE,
        (true, false) => crate::NOTHING_MATCHED,
        (true, true) => 0,
    })
}

/// What a local backfill counted.
pub(crate) struct LocalTotals {
    pub(crate) counts: ListingCounts,
    pub(crate) unlisted: UnlistedFolders,
    /// A warning for each source without a matching object.
    pub(crate) empty: Vec<String>,
}

/// Compares all sources of the plan with `ledger`, and enqueues the missing objects if the plan says so.
pub(crate) async fn totals(
    plan: &BackfillPlan,
    ledger: &Ledger,
    aws: &Aws,
    mut halt: Receiver<bool>,
) -> Result<LocalTotals, LocalBackfillError> {
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(200));
    let work = async {
        let (mut counts, mut unlisted) = (ListingCounts::default(), UnlistedFolders::default());
        let mut empty = Vec::new();
        for planned in &plan.runs {
            for at in &planned.sources {
                let (before, unvisited_before) = (counts, unlisted.count);
                run_source(plan, planned, at, ledger, aws, &bar, &mut counts, &mut unlisted).await?;
                if counts.matched() == before.matched() && !at.allow_empty {
                    let found = [
                        counts.not_logs - before.not_logs,
                        counts.excluded - before.excluded,
                        unlisted.count - unvisited_before,
                    ];
                    let is_default = planned.request.since.is_none() && plan.inventory.is_none();
                    empty.push(empty_warning(at, found, is_default));
                }
            }
        }
        Ok(LocalTotals { counts, unlisted, empty })
    };
    // An interrupt drops the unfinished work. Enqueued objects stay enqueued, and the next run finds them in the ledger
    // when they are processed.
    let result = tokio::select! {
        result = work => result,
        Ok(_) = halt.wait_for(|&halt| halt) => Err(LocalBackfillError::Halted),
    };
    bar.finish_and_clear();
    result
}

/// Returns the warning about a source in which no object matched. The days of a backfill are always limited. `found`
/// contains the files that are not logs, the excluded objects and the unvisited folders.
/// `is_default` is whether the first day is the default.
fn empty_warning(at: &SourceLocation, found: [u64; 3], is_default: bool) -> String {
    let [not_logs, excluded, unvisited] = found;
    let skipped = [("other".to_owned(), not_logs)].into_iter().filter(|(_, count)| *count > 0).collect();
    let found = Found {
        skipped: &skipped,
        excluded,
        excluded_folders: 0,
        unvisited,
        can_read_all_files: false,
        has_days: true,
    };
    let default = match is_default {
        true => format!("; without --since, only the last {} are selected", counted(LOOK_BACK.into(), "day")),
        false => String::new(),
    };
    warning(&at.location.to_string(), &(found.reason(&at.location) + &default))
}

/// Error of a local backfill.
pub(crate) enum LocalBackfillError {
    /// It was interrupted.
    Halted,
    /// It failed before any object was read.
    NothingDone(String),
    /// It failed after some objects were read, and possibly enqueued.
    PartlyDone(String),
}

#[allow(clippy::too_many_arguments, reason = "the parameters are independent, and there is one caller")]
async fn run_source(
    plan: &BackfillPlan,
    planned: &PlannedRun,
    at: &SourceLocation,
    ledger: &Ledger,
    aws: &Aws,
    bar: &ProgressBar,
    counts: &mut ListingCounts,
    unlisted: &mut UnlistedFolders,
) -> Result<(), LocalBackfillError> {
    // A report needs no list request per day, so without --since all its days are read.
    let since = plan.inventory.as_ref().map(|_| EARLIEST_DAY);
    let options = planned.resolve(RunId::at(0, 0), since).map_err(LocalBackfillError::NothingDone)?.options;
    let started = counts.listed > 0;
    let failed = |reason: String| {
        if started { LocalBackfillError::PartlyDone(reason) } else { LocalBackfillError::NothingDone(reason) }
    };
    let opened = components::source(&at.location, &at.access, aws).await.map_err(failed)?;
    let processor = UnitProcessor { source: Arc::clone(&opened.source), ledger: ledger.clone() };
    let request =
        options.discovery_request(&SourceRoot { bucket: opened.bucket.clone(), prefix: opened.prefix.clone() });
    match &plan.inventory {
        Some(manifest) => {
            run_over_inventory(plan, manifest, &opened, &request, &options, &processor, aws, counts).await
        }
        None => run_over_listing(&opened, request, &processor, bar, counts, unlisted).await,
    }
}

async fn run_over_listing(
    opened: &OpenedSource,
    request: DiscoveryRequest,
    processor: &UnitProcessor,
    bar: &ProgressBar,
    counts: &mut ListingCounts,
    unlisted: &mut UnlistedFolders,
) -> Result<(), LocalBackfillError> {
    let request = DiscoveryRequest { mode: BackfillMode::Count, ..request };
    let discovery = Discovery::new(Arc::clone(&opened.source), request);
    let units = stream::unfold(Some(discovery), async |discovery| {
        let mut discovery = discovery?;
        match discovery.next().await {
            Ok(Some(unit)) => Some((DiscoveryStep::Unit(unit), Some(discovery))),
            Ok(None) => Some((DiscoveryStep::End(discovery.progress().clone()), None)),
            Err(error) => Some((DiscoveryStep::Failed(error.to_string()), None)),
        }
    });
    let steps = units.map(async |step| match step {
        DiscoveryStep::Unit(unit) => {
            DiscoveryStep::Unit(processor.run(unit, &DryRunDispatcher, Instant::now() + UNLIMITED_TIME).await)
        }
        DiscoveryStep::End(progress) => DiscoveryStep::End(progress),
        DiscoveryStep::Failed(reason) => DiscoveryStep::Failed(reason),
    });
    let mut steps = std::pin::pin!(steps.buffer_unordered(CONCURRENT_UNITS));
    while let Some(step) = steps.next().await {
        match step {
            DiscoveryStep::Unit(report) => add_report(report, counts)?,
            DiscoveryStep::End(progress) => {
                counts.list_requests += progress.requests;
                unlisted.add(&opened.bucket, &progress);
            }
            DiscoveryStep::Failed(reason) if counts.listed == 0 => return Err(LocalBackfillError::NothingDone(reason)),
            DiscoveryStep::Failed(reason) => return Err(LocalBackfillError::PartlyDone(reason)),
        }
        bar.set_message(format!("{} objects, {} missing", HumanCount(counts.listed), HumanCount(counts.sent)));
    }
    Ok(())
}

/// One step of discovery. `U` is the unit, and after it is processed, its report.
enum DiscoveryStep<U> {
    Unit(U),
    /// The end, with what discovery found in addition to the units.
    End(DiscoveryProgress),
    Failed(String),
}

#[allow(clippy::too_many_arguments, reason = "the parameters are independent, and there is one caller")]
async fn run_over_inventory(
    plan: &BackfillPlan,
    manifest: &Location,
    opened: &OpenedSource,
    request: &DiscoveryRequest,
    options: &RunOptions,
    processor: &UnitProcessor,
    aws: &Aws,
    counts: &mut ListingCounts,
) -> Result<(), LocalBackfillError> {
    let report = inventory::open(manifest, &opened.bucket, aws).await.map_err(LocalBackfillError::NothingDone)?;
    anstream::eprintln!("{}", inventory::age_warning(&report));
    let dispatcher: Box<dyn Dispatcher> = match (&plan.ingest_queue, plan.dry_run) {
        (Some(url), false) => {
            let budget = options.bytes_per_second.map_or_else(Budget::unlimited, Budget::of);
            let sqs = aws.sqs().await.map_err(LocalBackfillError::NothingDone)?;
            let sender = MessageSender::new(Arc::new(Sqs::new(sqs, url.clone())), Arc::new(budget));
            Box::new(QueueDispatcher::new(sender, Packing::default()))
        }
        _ => Box::new(DryRunDispatcher),
    };
    let pages = report.pages(&opened.prefix);
    add_report(
        processor.run_over_pages(pages, request.flat_unit(), &*dispatcher, Instant::now() + UNLIMITED_TIME).await,
        counts,
    )
}

fn add_report(report: UnitReport, counts: &mut ListingCounts) -> Result<(), LocalBackfillError> {
    counts.merge(&report.counts);
    let failed = match report.end {
        UnitEnd::Done => return Ok(()),
        UnitEnd::OutOfTime(left) | UnitEnd::AwaitingBudget { left, .. } => format!("{left}: time limit reached"),
        UnitEnd::Failed { left, error } => format!("{left}: {error}"),
    };
    Err(if counts.listed == 0 {
        LocalBackfillError::NothingDone(failed)
    } else {
        LocalBackfillError::PartlyDone(failed)
    })
}

/// A dispatcher that accepts nothing: a dry run only counts.
#[derive(Debug)]
struct DryRunDispatcher;

#[async_trait]
impl Dispatcher for DryRunDispatcher {
    async fn submit(&self, _objects: &[ObjectRef], _stop: Instant) -> Submitted {
        Submitted { error: Some(DispatchError::Failed("a dry run enqueues nothing".into())), ..Submitted::default() }
    }
}
