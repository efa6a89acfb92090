//! `trailhose query`: runs a query over delivered files or a CloudTrail bucket.

pub(crate) mod condition;
pub(crate) mod open;
pub(crate) mod output;
pub(crate) mod plan;
pub(crate) mod remote;
pub(crate) mod report;

use crate::args::QueryArgs;
use crate::components::Aws;
use crate::print::{print, print_json};
use crate::{NOTHING_MATCHED, interrupt, text};
use indicatif::HumanBytes;
use jiff::Timestamp;
use output::{OutputFormat, RowPrinter};
use serde::Serialize;
use tokio::sync::watch::Receiver;
use trailhose::plan::{Plan, Scope};
use trailhose::query::{FileTotals, LocalEngine, QueryControl, QueryEngine, QueryError, QuerySummary, ScanLayout};

/// Exit code: some files or lines could not be read.
const INCOMPLETE: u8 = 1;

/// Runs `trailhose query` and returns the exit code.
pub(crate) async fn run(args: QueryArgs, halt: Receiver<bool>) -> Result<u8, String> {
    let plan = plan::of_args(&args, Timestamp::now())?;
    let format = OutputFormat::new(args.output, args.result.raw);
    if plan.limit().is_none() && format == OutputFormat::Table && plan::lists_events(&plan) {
        return Err("a table of events needs a limit: use --limit COUNT, or --json, --csv or --raw".into());
    }
    let aws = Aws::default();
    if let Some(engine) =
        remote::engine(&args.remote, args.from.source.as_ref(), args.from.reading.delivered_until, &aws).await?
    {
        if args.explain {
            engine.explain(&plan, args.output.json).await?;
            return Ok(0);
        }
        return engine.run(&plan, QueryControl { halt, ..QueryControl::default() }, format).await;
    }
    let engine = open::engine(args.from.source.as_ref(), &args.from.reading, &aws).await?;
    let control = QueryControl { halt, ..QueryControl::default() };
    if args.explain {
        explain(&engine, &plan, &control, args.output.json).await?;
        return Ok(0);
    }
    answer(&engine, &plan, control, format).await
}

/// Runs a plan, prints its rows and what was read, and returns the exit code.
pub(crate) async fn answer(
    engine: &LocalEngine,
    plan: &Plan,
    control: QueryControl,
    format: OutputFormat,
) -> Result<u8, String> {
    if let Scope::EventId(id) = plan.scope()
        && engine.indexed(plan).await.is_none()
    {
        warn_of_cost(engine, plan, &control, id).await?;
    }
    let bar = report::progress_bar(&control.progress);
    let mut rows = RowPrinter::new(format, bar.bar());
    let result = engine.run(plan, &control, &mut rows).await;
    bar.end();
    let summary = result.map_err(|error| error.to_string())?;
    let stopped = rows.finish();
    anstream::eprint!("{}", report::summary(plan, &summary, stopped));
    Ok(exit_code(&summary))
}

fn exit_code(summary: &QuerySummary) -> u8 {
    match &summary.scanned {
        scanned if scanned.stopped => interrupt::exit_code(),
        scanned if !scanned.is_complete() => INCOMPLETE,
        scanned if scanned.selected == 0 => NOTHING_MATCHED,
        _ => 0,
    }
}

async fn warn_of_cost(engine: &LocalEngine, plan: &Plan, control: &QueryControl, id: &str) -> Result<(), String> {
    let totals = totals(engine, plan, control).await?;
    let advice = match engine.scan().layout() {
        ScanLayout::Lines(_) => "an index finds it without reading them (trailhose index build)",
        ScanLayout::CloudTrail => "a time span reads fewer of them (--since)",
    };
    anstream::eprintln!(
        "searching {} ({}) for the event {id}; {advice}",
        text::counted(totals.files, "file"),
        HumanBytes(totals.bytes)
    );
    Ok(())
}

async fn totals(engine: &LocalEngine, plan: &Plan, control: &QueryControl) -> Result<FileTotals, String> {
    let totals = engine.scan().totals(&engine.request(plan), control).await;
    totals.map_err(|error: QueryError| error.to_string())
}

/// What `--explain` prints.
#[derive(Debug, Serialize)]
struct PlanExplanation<'a> {
    plan: &'a Plan,
    meaning: String,
    layout: &'static str,
    /// Whether the index is used instead of the files.
    uses_index: bool,
    files: u64,
    bytes: u64,
    excluded: u64,
    /// Files that are neither logs nor JSON Lines, and the first of their names.
    other_files: u64,
    other_names: Vec<String>,
    /// A line is parsed only if it contains one of these texts.
    prefilter: Vec<String>,
}

async fn explain(engine: &LocalEngine, plan: &Plan, control: &QueryControl, json: bool) -> Result<(), String> {
    let totals = totals(engine, plan, control).await?;
    let explanation = PlanExplanation {
        plan,
        meaning: plan.restate(),
        layout: match engine.scan().layout() {
            ScanLayout::Lines(_) => "JSON Lines",
            ScanLayout::CloudTrail => "CloudTrail objects",
        },
        uses_index: engine.indexed(plan).await.is_some(),
        files: totals.files,
        bytes: totals.bytes,
        excluded: totals.report.excluded,
        other_files: totals.report.other_files,
        other_names: totals.report.other_names,
        prefilter: engine.request(plan).prefilter.map(|prefilter| prefilter.texts()).unwrap_or_default(),
    };
    if json {
        print_json(&explanation);
    } else {
        print(&report::explanation(&explanation));
    }
    Ok(())
}
