//! What is done in this process: a dry run, and handing in what an inventory shows to be missing.

use super::plan::{PlannedRun, SourceLocation, BackfillPlan};
use super::view::LocalReport;
use crate::args::Location;
use crate::components::{self, Aws, OpenedSource};
use crate::inventory;
use crate::print::{print, print_json};
use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use indicatif::{HumanCount, ProgressBar};
use jiff::civil::Date;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Receiver;
use tokio::time::Instant;
use trailhose::backfill::budget::Budget;
use trailhose::backfill::dispatch::{QueueDispatcher, Packing, MessageSender};
use trailhose::backfill::run::{SourceRoot, RunOptions};
use trailhose::backfill::{Backfill, DispatchError, UnitEnd, UnitReport, Submitted, Dispatcher, RunId};
use trailhose::ledger::Ledger;
use trailhose::listing::discover::{DiscoveryRequest, Discovery};
use trailhose::listing::unit::Act;
use trailhose::listing::{Counts, Unit};
use trailhose::object::ObjectRef;
use trailhose::queue::sqs::Sqs;

/// Units worked at once.
const CONCURRENT_UNITS: usize = 16;

/// Nothing lies in a bucket from before this day.
const EARLIEST_DAY: Date = jiff::civil::date(2000, 1, 1);

/// As long as it takes.
const UNLIMITED_TIME: Duration = Duration::from_secs(365 * 86_400);

pub(super) async fn run(plan: &BackfillPlan, aws: &Aws, mut halt: Receiver<bool>) -> Result<u8, String> {
    let Some(at) = &plan.ledger else { return Err("no ledger is named: add --ledger dynamodb://TABLE".into()) };
    let ledger = components::open_read_only(at, aws).await?;
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(200));
    let worked = async {
        let mut counts = Counts::default();
        for asked in &plan.asked {
            for at in &asked.places {
                one(plan, asked, at, &ledger, aws, &bar, &mut counts).await?;
            }
        }
        Ok(counts)
    };
    // What was handed in stands, and a run that begins anew finds it so.
    let worked = tokio::select! {
        worked = worked => worked,
        Ok(_) = halt.wait_for(|&halt| halt) => {
            bar.finish_and_clear();
            return Ok(crate::INTERRUPTED);
        }
    };
    bar.finish_and_clear();
    let counts = match worked {
        Ok(counts) => counts,
        Err(LocalBackfillError::NothingDone(reason)) => return Err(reason),
        Err(LocalBackfillError::PartlyDone(reason)) => {
            anstream::eprintln!("{}: {}", crate::summary::error_word(), crate::labels::one_line(&reason));
            return Ok(super::INCOMPLETE);
        }
    };
    let rate = plan.asked.first().and_then(|asked| asked.request.bytes_per_second);
    let told = LocalReport::of(counts, plan.dry_run, rate);
    if plan.json {
        print_json(&told)
    } else {
        print(&told.table())
    }
    Ok(0)
}

/// Why it did not go to its end.
enum LocalBackfillError {
    /// Nothing was handed in, and nothing was looked at.
    NothingDone(String),
    /// Something was.
    PartlyDone(String),
}

async fn one(
    plan: &BackfillPlan,
    asked: &PlannedRun,
    at: &SourceLocation,
    ledger: &Ledger,
    aws: &Aws,
    bar: &ProgressBar,
    counts: &mut Counts,
) -> Result<(), LocalBackfillError> {
    // A report has no days that would cost requests: without any given, all are meant.
    let since = plan.inventory.as_ref().map(|_| EARLIEST_DAY);
    let terms = asked.run(RunId::at(0, 0), since).map_err(LocalBackfillError::NothingDone)?.terms;
    let begun = counts.listed > 0;
    let trouble = |reason: String| if begun { LocalBackfillError::PartlyDone(reason) } else { LocalBackfillError::NothingDone(reason) };
    let opened = components::source(&at.location, at.region.as_deref(), aws).await.map_err(trouble)?;
    let backfill = Backfill { source: Arc::clone(&opened.source), ledger: ledger.clone() };
    let ask = terms.ask(&SourceRoot { bucket: opened.bucket.clone(), prefix: opened.prefix.clone() });
    match &plan.inventory {
        Some(manifest) => over_inventory(plan, manifest, &opened, &ask, &terms, &backfill, aws, counts).await,
        None => over_listing(&opened, ask, &backfill, bar, counts).await,
    }
}

async fn over_listing(
    opened: &OpenedSource,
    ask: DiscoveryRequest,
    backfill: &Backfill,
    bar: &ProgressBar,
    counts: &mut Counts,
) -> Result<(), LocalBackfillError> {
    let ask = DiscoveryRequest { act: Act::Count, ..ask };
    let discovery = Discovery::new(Arc::clone(&opened.source), ask);
    let units = stream::unfold(Some(discovery), async |discovery| {
        let mut discovery = discovery?;
        match discovery.next().await {
            Ok(Some(unit)) => Some((DiscoveryStep::Unit(unit), Some(discovery))),
            Ok(None) => Some((DiscoveryStep::End(discovery.progress().requests), None)),
            Err(error) => Some((DiscoveryStep::Failed(error.to_string()), None)),
        }
    });
    let worked = units.map(async |found| match found {
        DiscoveryStep::Unit(unit) => Ok(backfill.run(unit, &DryRunDispatcher, Instant::now() + UNLIMITED_TIME).await),
        DiscoveryStep::End(requests) => Err(Ok(requests)),
        DiscoveryStep::Failed(reason) => Err(Err(reason)),
    });
    let mut worked = std::pin::pin!(worked.buffer_unordered(CONCURRENT_UNITS));
    while let Some(ended) = worked.next().await {
        match ended {
            Ok(ended) => take(ended, counts)?,
            Err(Ok(requests)) => counts.list_requests += requests,
            Err(Err(reason)) if counts.listed == 0 => return Err(LocalBackfillError::NothingDone(reason)),
            Err(Err(reason)) => return Err(LocalBackfillError::PartlyDone(reason)),
        }
        bar.set_message(format!("{} objects, {} missing", HumanCount(counts.listed), HumanCount(counts.sent)));
    }
    Ok(())
}

/// What discovery came upon.
enum DiscoveryStep {
    Unit(Unit),
    /// After so many list requests.
    End(u64),
    Failed(String),
}

#[allow(clippy::too_many_arguments, reason = "each is a part of its own, and there is one caller")]
async fn over_inventory(
    plan: &BackfillPlan,
    manifest: &Location,
    opened: &OpenedSource,
    ask: &DiscoveryRequest,
    terms: &RunOptions,
    backfill: &Backfill,
    aws: &Aws,
    counts: &mut Counts,
) -> Result<(), LocalBackfillError> {
    let report = inventory::open(manifest, &opened.bucket, aws).await.map_err(LocalBackfillError::NothingDone)?;
    anstream::eprintln!("{}", inventory::age(&report));
    let intake: Box<dyn Dispatcher> = match (&plan.ingest_queue, plan.dry_run) {
        (Some(url), false) => {
            let budget = terms.bytes_per_second.map_or_else(Budget::unlimited, Budget::of);
            let sender = MessageSender::new(Arc::new(Sqs::new(aws.sqs().await, url.clone())), Arc::new(budget));
            Box::new(QueueDispatcher::new(sender, Packing::default()))
        }
        _ => Box::new(DryRunDispatcher),
    };
    let pages = report.pages(&opened.prefix);
    take(backfill.run_over(pages, ask.flat_unit(), &*intake, Instant::now() + UNLIMITED_TIME).await, counts)
}

fn take(ended: UnitReport, counts: &mut Counts) -> Result<(), LocalBackfillError> {
    counts.merge(&ended.counts);
    let trouble = match ended.end {
        UnitEnd::Done => return Ok(()),
        UnitEnd::OutOfTime(left) => format!("{left}: time was up"),
        UnitEnd::Failed { left, error } => format!("{left}: {error}"),
    };
    Err(if counts.listed == 0 { LocalBackfillError::NothingDone(trouble) } else { LocalBackfillError::PartlyDone(trouble) })
}

/// Takes nothing: a dry run counts, and hands nothing in.
#[derive(Debug)]
struct DryRunDispatcher;

#[async_trait]
impl Dispatcher for DryRunDispatcher {
    async fn submit(&self, _objects: &[ObjectRef], _stop: Instant) -> Submitted {
        Submitted { error: Some(DispatchError::Failed("a dry run hands nothing in".into())), ..Submitted::default() }
    }
}
