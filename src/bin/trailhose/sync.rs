//! `trailhose sync`: opens the parts, lets them run, and says what became of it.

pub(crate) mod plan;
mod round;
mod watch;

use crate::args::SyncArgs;
use crate::progress::Progress;
use crate::summary::Summary;
use plan::Plan;
use round::{Parts, nothing_begun};
use std::time::{Duration, Instant};
use tokio::sync::watch::Receiver;
use trailhose::sync::Ended;

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Print {
    Table,
    Json,
    Nothing,
}

/// Runs the command and returns the exit code.
pub(crate) async fn run(args: SyncArgs, halt: Receiver<bool>) -> Result<u8, String> {
    let mut progress = Progress::new(args.quiet, args.verbose);
    let print = match (args.json, args.quiet) {
        (true, _) => Print::Json,
        (false, true) => Print::Nothing,
        (false, false) => Print::Table,
    };
    let plan = Plan::new(args)?;
    progress.log();
    let parts = Parts::open(&plan).await?;
    match plan.watch {
        Some(pause) => watch::run(&plan, parts, pause, halt, &mut progress, print).await,
        None => once(&plan, &parts, halt, &mut progress, print).await,
    }
}

async fn once(
    plan: &Plan,
    parts: &Parts,
    halt: Receiver<bool>,
    progress: &mut Progress,
    print: Print,
) -> Result<u8, String> {
    let started = Instant::now();
    let ended = parts.round(plan, None, &halt, progress).await;
    let took = started.elapsed();
    if let Some(reason) = nothing_begun(&ended) {
        return Err(reason);
    }
    let summary = summary(plan, parts, &ended, took, progress, None);
    match print {
        Print::Table => summary.print(),
        Print::Json => summary.print_json(),
        Print::Nothing => {}
    }
    if let Some(verdict) = summary.trouble() {
        progress.line(&verdict);
    }
    Ok(summary.exit_code())
}

fn summary<'a>(
    plan: &Plan,
    parts: &Parts,
    ended: &'a Ended,
    took: Duration,
    progress: &'a Progress,
    round: Option<u64>,
) -> Summary<'a> {
    Summary {
        round,
        source: plan.source_names(),
        dest: plan.delivery.dest.to_string(),
        ledger: plan.delivery.ledger.to_string(),
        ended,
        took,
        names: &progress.names,
        source_spent: parts.source_usage.spent(),
        ledger_spent: parts.delivery.ledger_usage.spent(),
        firehose_spent: parts.delivery.firehose_usage.as_ref().map(|usage| usage.spent()),
        sent: parts.delivery.sent.spent(),
    }
}
