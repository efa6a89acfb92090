//! `trailhose sync`: opens the components, runs them, and prints the result.

#[cfg(feature = "detect")]
pub(crate) mod detection;
pub(crate) mod empty;
mod keep;
mod look_back;
pub(crate) mod open_sources;
pub(crate) mod output;
pub(crate) mod plan;
mod round;
mod watch;

use crate::args::SyncArgs;
use crate::progress::Progress;
use crate::summary::Summary;
use crate::text::one_line;
use plan::SyncPlan;
use round::{Components, Round};
use std::time::{Duration, Instant};
use tokio::sync::watch::Receiver;

/// Output format of the summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Print {
    Table,
    Json,
    Nothing,
}

/// Exit code: everything is delivered, but the detection stopped before the last event.
#[cfg(feature = "detect")]
const STOPPED: u8 = 1;

/// Runs the command and returns the exit code.
pub(crate) async fn run(args: SyncArgs, halt: Receiver<bool>) -> Result<u8, String> {
    let mut progress = Progress::new(args.quiet, args.verbose);
    let print = match (args.json, args.quiet) {
        (true, _) => Print::Json,
        (false, true) => Print::Nothing,
        (false, false) => Print::Table,
    };
    let plan = SyncPlan::new(args)?;
    progress.start_logging();
    plan.filter_warnings.iter().for_each(|warning| progress.line(&format!("warning: {}", one_line(warning))));
    #[cfg(feature = "detect")]
    let detection = detection::PreparedDetection::new(&plan).await?;
    #[cfg(feature = "detect")]
    if let Some(detection) = &detection {
        detection.warnings(&plan.filter).iter().for_each(|warning| progress.line(warning));
    }
    let mut components = Components::open(&plan, plan.rebuild).await?;
    components.prune(&plan, &progress).await;
    #[cfg(feature = "detect")]
    let detection = detection.map(|detection| detection.start(&plan)).transpose()?;
    let code = match plan.watch {
        Some(pause) => watch::run(&plan, components, pause, halt, &mut progress, print).await,
        None => once(&plan, &components, halt, &mut progress, print).await,
    };
    #[cfg(feature = "detect")]
    if let Some(detection) = detection {
        let report = detection.end().await?;
        detection::lines(&report).iter().for_each(|line| progress.line(line));
        // What was delivered is not evaluated completely.
        if report.error.is_some() && code == Ok(0) {
            return Ok(STOPPED);
        }
    }
    code
}

async fn once(
    plan: &SyncPlan,
    components: &Components,
    halt: Receiver<bool>,
    progress: &mut Progress,
    print: Print,
) -> Result<u8, String> {
    let started = Instant::now();
    let round = components.round(plan, &[], &halt, progress).await;
    let took = started.elapsed();
    if let Some(reason) = round.not_started() {
        return Err(reason);
    }
    let summary = summary(plan, components, &round, took, progress, None);
    match print {
        Print::Table => summary.print(),
        Print::Json => summary.print_json(),
        Print::Nothing => {}
    }
    summary.advice().iter().for_each(|line| progress.line(line));
    Ok(summary.exit_code())
}

fn summary<'a>(
    plan: &SyncPlan,
    components: &'a Components,
    round: &'a Round,
    took: Duration,
    progress: &'a Progress,
    number: Option<u64>,
) -> Summary<'a> {
    Summary {
        round: number,
        empty: &round.empty,
        failed_sources: &round.failed,
        sources: plan.sources.len(),
        is_local: plan.is_local(),
        source: plan.source_names(),
        dest: plan.delivery.dest.to_string(),
        ledger: plan.delivery.ledger.to_string(),
        report: &round.report,
        took,
        not_ingested: &progress.not_ingested,
        source_spent: components.source_usage.usage(),
        ledger_spent: components.delivery.ledger_usage.usage(),
        firehose_spent: components.delivery.firehose_usage.as_ref().map(|usage| usage.usage()),
        sent: components.delivery.sent.usage(),
        pruned: &components.kept.pruned,
        followers: &round.followers,
        missing_files: components.output.faulty.len() as u64,
        rebuild: components.output.rebuild.as_ref(),
        not_rebuilt: &round.not_rebuilt,
    }
}
