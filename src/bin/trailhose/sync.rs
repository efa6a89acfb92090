//! `trailhose sync`: opens the parts, lets them run, and says what became of it.

pub(crate) mod plan;

use crate::args::{Dest, Place, SyncArgs};
use crate::inventory;
use crate::parts::{self, Aws, Opened};
use crate::progress::Progress;
use crate::summary::Summary;
use plan::{Plan, Planned};
use std::time::Instant;
use tokio::sync::watch;
use trailhose::decode::Limits;
use trailhose::ingest::{Ingest, Names};
use trailhose::object::key::Kind;
use trailhose::sync::{Ended, How, Patience, Select, Sync};
use trailhose::tally::Tally;

/// Decompressed bytes of one object that are kept from the check for the delivery.
const HOLD: usize = 8 << 20;

/// Runs the command and returns the exit code.
pub(crate) async fn run(args: SyncArgs, halt: watch::Receiver<bool>) -> Result<u8, String> {
    let (quiet, verbose, json) = (args.quiet, args.verbose, args.json);
    let plan = Plan::new(args)?;
    let mut progress = Progress::new(quiet, verbose);
    progress.log();
    let aws = Aws::default();
    let mut opened = Vec::new();
    for source in &plan.sources {
        let parts = parts::source(&source.place, source.bucket_region.as_deref(), &aws).await?;
        apart(&parts, &plan.delivery.dest)?;
        opened.push((source, parts));
    }
    // Before anything is made or leased: a report that cannot be used leaves nothing half done.
    let mut report = match (&plan.inventory, opened.first()) {
        (Some(manifest), Some((_, parts))) => Some(inventory::open(manifest, &parts.bucket, &aws).await?),
        _ => None,
    };
    if let Some(report) = report.as_ref().filter(|_| !quiet) {
        progress.line(&inventory::age(report));
    }
    let delivery = parts::delivery(&plan.delivery, &aws).await?;
    let started = Instant::now();
    let mut ended = Ended::default();
    for (source, parts) in opened {
        let mut walk = walk(&plan, source, &parts, &delivery);
        let listed = report.take().map(|report| inventory::undone_of(report, &parts.prefix, &delivery.ledger));
        let (pages, done) = listed.unzip();
        walk.pages = pages;
        ended.merge(walk.run(halt.clone(), &mut |news| progress.news(&news)).await);
        ended.tally.already += done.map_or(0, |done| done.count());
    }
    let took = started.elapsed();
    progress.end();
    if let How::GaveUp(reason) = &ended.how
        && ended.tally == Tally::default()
        && ended.left_out == 0
    {
        return Err(reason.clone());
    }
    progress.names.rest().iter().for_each(|line| progress.line(line));

    let summary = Summary {
        source: plan.source_names(),
        dest: plan.delivery.dest.to_string(),
        ledger: plan.delivery.ledger.to_string(),
        ended: &ended,
        took,
        names: &progress.names,
        ledger_spent: delivery.ledger_usage.spent(),
        firehose_spent: delivery.firehose_usage.map(|usage| usage.spent()),
    };
    if json {
        summary.print_json();
    } else if !quiet {
        summary.print();
    }
    if let Some(verdict) = summary.trouble() {
        progress.line(&verdict);
    }
    Ok(summary.exit_code())
}

fn walk(plan: &Plan, source: &Planned, opened: &Opened, delivery: &parts::Delivery) -> Sync {
    let default = Limits::default();
    let limits = Limits { object_bytes: plan.max_object_bytes.unwrap_or(default.object_bytes), ..default };
    let select = Select {
        since: source.since,
        until: source.until,
        accounts: source.filters.accounts.iter().cloned().collect(),
        regions: source.filters.regions.iter().cloned().collect(),
        kinds: source.filters.kinds.iter().filter_map(|kind| Kind::parse(kind)).collect(),
        except: within(opened, &plan.delivery.dest),
    };
    Sync {
        ingest: Ingest {
            source: opened.source.clone(),
            ledger: delivery.ledger.clone(),
            sink: delivery.sink.clone(),
            limits,
            filter: plan.filter.clone(),
            hold: HOLD,
            names: if plan.all_files { Names::Any } else { Names::Logs },
        },
        bucket: opened.bucket.clone(),
        prefix: opened.prefix.clone(),
        pages: None,
        select,
        jobs: plan.jobs.unwrap_or_else(|| jobs(&source.place)),
        patience: Patience::default(),
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
