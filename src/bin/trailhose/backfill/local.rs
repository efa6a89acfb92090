//! What is done in this process: a dry run, and handing in what an inventory shows to be missing.

use super::plan::{Asked, At, Plan};
use super::view::Told;
use crate::args::Place;
use crate::components::{self, Aws, Opened};
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
use trailhose::backfill::dispatch::{Dispatch, Packing, Post};
use trailhose::backfill::run::{Root, Terms};
use trailhose::backfill::{Backfill, Broke, End, Ended, HandedIn, Intake, RunId};
use trailhose::ledger::Ledger;
use trailhose::listing::discover::{Ask, Discovery};
use trailhose::listing::unit::Act;
use trailhose::listing::{Counts, Unit};
use trailhose::object::ObjectRef;
use trailhose::queue::sqs::Sqs;

/// Units worked at once.
const UNITS: usize = 16;

/// Nothing lies in a bucket from before this day.
const FIRST: Date = jiff::civil::date(2000, 1, 1);

/// As long as it takes.
const NO_END: Duration = Duration::from_secs(365 * 86_400);

pub(super) async fn run(plan: &Plan, aws: &Aws, mut halt: Receiver<bool>) -> Result<u8, String> {
    let Some(at) = &plan.ledger else { return Err("no ledger is named: add --ledger dynamodb://TABLE".into()) };
    let ledger = components::look(at, aws).await?;
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
        Err(Trouble::Before(reason)) => return Err(reason),
        Err(Trouble::Halfway(reason)) => {
            anstream::eprintln!("{}: {}", crate::summary::error_word(), crate::labels::one_line(&reason));
            return Ok(super::AGAIN);
        }
    };
    let rate = plan.asked.first().and_then(|asked| asked.request.bytes_per_second);
    let told = Told::of(counts, plan.dry_run, rate);
    if plan.json {
        print_json(&told)
    } else {
        print(&told.table())
    }
    Ok(0)
}

/// Why it did not go to its end.
enum Trouble {
    /// Nothing was handed in, and nothing was looked at.
    Before(String),
    /// Something was.
    Halfway(String),
}

async fn one(
    plan: &Plan,
    asked: &Asked,
    at: &At,
    ledger: &Ledger,
    aws: &Aws,
    bar: &ProgressBar,
    counts: &mut Counts,
) -> Result<(), Trouble> {
    // A report has no days that would cost requests: without any given, all are meant.
    let since = plan.inventory.as_ref().map(|_| FIRST);
    let terms = asked.run(RunId::at(0, 0), since).map_err(Trouble::Before)?.terms;
    let begun = counts.listed > 0;
    let trouble = |reason: String| if begun { Trouble::Halfway(reason) } else { Trouble::Before(reason) };
    let opened = components::source(&at.place, at.region.as_deref(), aws).await.map_err(trouble)?;
    let backfill = Backfill { source: Arc::clone(&opened.source), ledger: ledger.clone() };
    let ask = terms.ask(&Root { bucket: opened.bucket.clone(), prefix: opened.prefix.clone() });
    match &plan.inventory {
        Some(manifest) => over_inventory(plan, manifest, &opened, &ask, &terms, &backfill, aws, counts).await,
        None => over_listing(&opened, ask, &backfill, bar, counts).await,
    }
}

async fn over_listing(
    opened: &Opened,
    ask: Ask,
    backfill: &Backfill,
    bar: &ProgressBar,
    counts: &mut Counts,
) -> Result<(), Trouble> {
    let ask = Ask { act: Act::Count, ..ask };
    let discovery = Discovery::new(Arc::clone(&opened.source), ask);
    let units = stream::unfold(Some(discovery), async |discovery| {
        let mut discovery = discovery?;
        match discovery.next().await {
            Ok(Some(unit)) => Some((Found::Unit(unit), Some(discovery))),
            Ok(None) => Some((Found::End(discovery.progress().requests), None)),
            Err(error) => Some((Found::Broke(error.to_string()), None)),
        }
    });
    let worked = units.map(async |found| match found {
        Found::Unit(unit) => Ok(backfill.run(unit, &Nobody, Instant::now() + NO_END).await),
        Found::End(requests) => Err(Ok(requests)),
        Found::Broke(reason) => Err(Err(reason)),
    });
    let mut worked = std::pin::pin!(worked.buffer_unordered(UNITS));
    while let Some(ended) = worked.next().await {
        match ended {
            Ok(ended) => take(ended, counts)?,
            Err(Ok(requests)) => counts.list_requests += requests,
            Err(Err(reason)) if counts.listed == 0 => return Err(Trouble::Before(reason)),
            Err(Err(reason)) => return Err(Trouble::Halfway(reason)),
        }
        bar.set_message(format!("{} objects, {} missing", HumanCount(counts.listed), HumanCount(counts.sent)));
    }
    Ok(())
}

/// What discovery came upon.
enum Found {
    Unit(Unit),
    /// After so many list requests.
    End(u64),
    Broke(String),
}

#[allow(clippy::too_many_arguments, reason = "each is a part of its own, and there is one caller")]
async fn over_inventory(
    plan: &Plan,
    manifest: &Place,
    opened: &Opened,
    ask: &Ask,
    terms: &Terms,
    backfill: &Backfill,
    aws: &Aws,
    counts: &mut Counts,
) -> Result<(), Trouble> {
    let report = inventory::open(manifest, &opened.bucket, aws).await.map_err(Trouble::Before)?;
    anstream::eprintln!("{}", inventory::age(&report));
    let intake: Box<dyn Intake> = match (&plan.ingest_queue, plan.dry_run) {
        (Some(url), false) => {
            let budget = terms.bytes_per_second.map_or_else(Budget::unlimited, Budget::of);
            let post = Post::new(Arc::new(Sqs::new(aws.sqs().await, url.clone())), Arc::new(budget));
            Box::new(Dispatch::new(post, Packing::default()))
        }
        _ => Box::new(Nobody),
    };
    let pages = report.pages(&opened.prefix);
    take(backfill.run_over(pages, ask.flat_unit(), &*intake, Instant::now() + NO_END).await, counts)
}

fn take(ended: Ended, counts: &mut Counts) -> Result<(), Trouble> {
    counts.merge(&ended.counts);
    let trouble = match ended.end {
        End::Done => return Ok(()),
        End::OutOfTime(left) => format!("{left}: time was up"),
        End::Failed { left, trouble } => format!("{left}: {trouble}"),
    };
    Err(if counts.listed == 0 { Trouble::Before(trouble) } else { Trouble::Halfway(trouble) })
}

/// Takes nothing: a dry run counts, and hands nothing in.
#[derive(Debug)]
struct Nobody;

#[async_trait]
impl Intake for Nobody {
    async fn hand_in(&self, _objects: &[ObjectRef], _stop: Instant) -> HandedIn {
        HandedIn { broke: Some(Broke::Failed("a dry run hands nothing in".into())), ..HandedIn::default() }
    }
}
