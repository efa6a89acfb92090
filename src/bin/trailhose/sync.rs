//! `trailhose sync`: opens the components, runs them, and prints the result.

#[cfg(feature = "detect")]
pub(crate) mod detection;
pub(crate) mod empty;
#[cfg(feature = "forward")]
pub(crate) mod forwarding;
pub(crate) mod keep;
pub(crate) mod look_back;
pub(crate) mod open_sources;
pub(crate) mod output;
pub(crate) mod plan;
pub(crate) mod round;
mod watch;

use crate::args::SyncArgs;
use crate::detection_counts::DetectionCounts;
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
    #[cfg(feature = "forward")]
    let forwards = forwarding::PreparedForwards::new(&plan)?;
    let mut components = Components::open(&plan, plan.rebuild).await?;
    components.prune(&plan, &progress).await;
    #[cfg(feature = "detect")]
    let mut detection = detection.map(|detection| detection.start(&plan)).transpose()?;
    #[cfg(feature = "detect")]
    let mut detected = None;
    #[cfg(feature = "forward")]
    let forwards = forwards.start(&plan)?;
    let code = match plan.watch {
        Some(pause) => {
            let counts = || {
                #[cfg(feature = "detect")]
                return detection.as_ref().map(detection::RunningDetection::counts);
                #[cfg(not(feature = "detect"))]
                None
            };
            let code = watch::run(&plan, components, pause, halt.clone(), &mut progress, print, &counts).await;
            #[cfg(feature = "forward")]
            if let (Some(forwards), true) = (forwards, code.is_ok()) {
                end_forwards(forwards, &plan, &halt, &progress).await?;
            }
            code
        }
        None => {
            let started = Instant::now();
            let round = components.round(&plan, &[], &halt, &mut progress).await;
            let took = started.elapsed();
            match round.not_started() {
                Some(reason) => Err(reason),
                None => {
                    let ended = BesideResult::default();
                    #[cfg(feature = "forward")]
                    let ended = match forwards {
                        Some(forwards) => {
                            BesideResult { forwards: end_forwards(forwards, &plan, &halt, &progress).await?, ..ended }
                        }
                        None => ended,
                    };
                    #[cfg(feature = "detect")]
                    let ended = match detection.take() {
                        Some(detection) => {
                            let report = detected.insert(detection.end().await?);
                            BesideResult { detection: Some(detection::final_counts(report)), ..ended }
                        }
                        None => ended,
                    };
                    if plan.is_spool {
                        components.prune(&plan, &progress).await;
                    }
                    let round = Round { followers: round::followers(&plan), ..round };
                    Ok(print_once(&plan, &components, &round, took, ended, &progress, print))
                }
            }
        }
    };
    #[cfg(feature = "detect")]
    if let Some(detection) = detection {
        detected = Some(detection.end().await?);
    }
    #[cfg(feature = "detect")]
    if let Some(report) = detected {
        detection::lines(&report).iter().for_each(|line| progress.line(line));
        // Not every delivered event was evaluated.
        if report.error.is_some() && code == Ok(0) {
            return Ok(STOPPED);
        }
    }
    code
}

/// What ran beside a sync, and has ended.
#[derive(Debug, Clone, Copy, Default)]
struct BesideResult {
    forwards: ForwardResult,
    /// `None` without a detection.
    detection: Option<DetectionCounts>,
}

/// What the forwards of a run leave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ForwardResult {
    /// The number of forwards that have not sent everything, although they are not paused.
    pub(crate) incomplete: u64,
    /// The number of events that destinations refused in this run.
    pub(crate) refused: u64,
}

/// Waits for the end of the forwards, and prints what they did.
#[cfg(feature = "forward")]
async fn end_forwards(
    forwards: forwarding::RunningForwards,
    plan: &SyncPlan,
    halt: &Receiver<bool>,
    progress: &Progress,
) -> Result<ForwardResult, String> {
    let reports = forwards.end(halt.clone()).await?;
    reports.iter().flat_map(|report| forwarding::lines(report, plan)).for_each(|line| progress.line(&line));
    Ok(forwarding::result(&reports))
}

/// Prints the result of a run without `--watch`, and returns the exit code.
fn print_once(
    plan: &SyncPlan,
    components: &Components,
    round: &Round,
    took: Duration,
    beside: BesideResult,
    progress: &Progress,
    print: Print,
) -> u8 {
    let BesideResult { forwards, detection } = beside;
    let summary = Summary { forwards, detection, ..summary(plan, components, round, took, progress, None) };
    match print {
        Print::Table => summary.print(),
        Print::Json => summary.print_json(),
        Print::Nothing => {}
    }
    summary.advice().iter().for_each(|line| progress.line(line));
    summary.exit_code()
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
        is_local: components.is_local(plan),
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
        forwards: ForwardResult::default(),
        detection: None,
        missing_files: components.output.faulty.len() as u64,
        rebuild: components.output.rebuild.as_ref(),
        not_rebuilt: &round.not_rebuilt,
    }
}
