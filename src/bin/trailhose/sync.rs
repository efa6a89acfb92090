//! `trailhose sync`: opens the parts, lets them run, and says what became of it.

use crate::args::{Dest, Place, SyncArgs};
use crate::parts::{self, Aws, Opened};
use crate::progress::Progress;
use crate::summary::Summary;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;
use trailhose::decode::Limits;
use trailhose::ingest::{Ingest, Names};
use trailhose::sink::metered::Metered;
use trailhose::sync::{How, Patience, Select, Sync};
use trailhose::tally::Tally;

/// Decompressed bytes of one object that are kept from the check for the delivery.
const HOLD: usize = 8 << 20;

/// Runs the command and returns the exit code.
pub(crate) async fn run(args: SyncArgs, halt: watch::Receiver<bool>) -> Result<u8, String> {
    if let (Some(since), Some(until)) = (args.since, args.until)
        && since > until
    {
        return Err(format!("--since {since} is after --until {until}: no day is both; exchange the two"));
    }
    let mut progress = Progress::new(args.quiet, args.verbose);
    progress.log();
    let aws = Aws::default();
    let opened = parts::source(&args.source, &aws).await?;
    apart(&opened, &args.dest)?;
    let at = parts::ledger_at(&args)?;
    let delivery = parts::delivery(&args, &at, &aws).await?;

    let sink = Metered::new(delivery.sink);
    let sent = sink.usage();
    let default = Limits::default();
    let limits = Limits { object_bytes: args.max_object_bytes.unwrap_or(default.object_bytes), ..default };
    let select = Select {
        since: args.since,
        until: args.until,
        accounts: args.accounts.clone(),
        regions: args.regions.clone(),
        kinds: args.kinds.clone(),
        except: within(&opened, &args.dest),
    };
    let ingest = Ingest {
        source: opened.source,
        ledger: delivery.ledger,
        sink: Arc::new(sink),
        limits,
        filter: args.filter.clone().unwrap_or_default(),
        hold: HOLD,
        names: if args.all_files { Names::Any } else { Names::Logs },
    };
    let walk = Sync {
        ingest,
        bucket: opened.bucket,
        prefix: opened.prefix,
        select,
        jobs: args.jobs.map_or_else(|| jobs(&args.source), Into::into),
        patience: Patience::default(),
    };
    let started = Instant::now();
    let ended = walk.run(halt, &mut |news| progress.news(&news)).await;
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
        source: args.source.to_string(),
        dest: args.dest.to_string(),
        ledger: at.to_string(),
        ended: &ended,
        took,
        names: &progress.names,
        ledger_spent: delivery.ledger_usage.spent(),
        firehose_spent: delivery.firehose_usage.map(|usage| usage.spent()),
        sent: sent.spent(),
    };
    if args.json {
        summary.print_json();
    } else if !args.quiet {
        summary.print();
    }
    if let Some(verdict) = summary.trouble() {
        progress.line(&verdict);
    }
    Ok(summary.exit_code())
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
