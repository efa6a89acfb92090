//! `trailhose ask`: answers a question in plain English about events.

mod ordered_rows;
mod summary;

use crate::args::AskArgs;
use crate::components::Aws;
use crate::print::{print, print_json};
use crate::query::{open, output, report};
use crate::text::{counted, one_line};
use crate::{NOTHING_MATCHED, interrupt};
use indicatif::HumanBytes;
use jiff::{SignedDuration, Timestamp};
use ordered_rows::OrderedRows;
use serde::Serialize;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use summary::{AnswerSummary, EventSummary, Totals};
use tokio::sync::watch::Receiver;
use trailhose::plan::{Column, EventOrder, Plan, PlanOutput, Scope};
use trailhose::query::{LocalEngine, QueryControl, QueryEngine, QueryRow, RowSink, ScanReport};
use trailhose::question::{self, Question, Refusal};

/// Exit code: some files or lines could not be read.
const INCOMPLETE: u8 = 1;

/// What is read of each event. The event ID orders events of the same time and is not printed.
const COLUMNS: [Column; 9] = [
    Column::EventTime,
    Column::EventSource,
    Column::EventName,
    Column::Principal,
    Column::RecipientAccountId,
    Column::AwsRegion,
    Column::SourceIpAddress,
    Column::ErrorCode,
    Column::EventId,
];

/// An answer, as JSON.
#[derive(Debug, Serialize)]
struct JsonAnswer<'a> {
    /// The question, restated from the plan.
    meaning: String,
    /// Whether the question names no time.
    default_span: bool,
    plan: &'a Plan,
    /// Events that match.
    events: u64,
    totals: Option<Totals>,
    summary: Vec<EventSummary>,
    columns: Vec<String>,
    rows: Vec<QueryRow>,
    /// Whether there are more rows than the limit of the plan.
    is_limited: bool,
    scanned: ScanReport,
}

/// Runs `trailhose ask` and returns the exit code.
pub(crate) async fn run(args: AskArgs, halt: Receiver<bool>) -> Result<u8, String> {
    // The end of the span is excluded, so the next second includes the events of the current one.
    let now = Timestamp::from_second(Timestamp::now().as_second() + 1).map_err(|error| error.to_string())?;
    let question = question::interpret(&args.question, now).map_err(|refusal| refused(&refusal))?;
    let plan = &question.plan;
    if args.show_plan {
        print_json(plan);
        return Ok(0);
    }
    let engine = open::engine(&args.from, &Aws::default()).await?;
    if !args.json {
        print(&format!("{}\n", introduction(&question)));
    }
    let answer = answer(&engine, &question, QueryControl { halt, ..QueryControl::default() }).await?;
    if args.json {
        print_json(&answer);
    } else {
        print(&text(&question, &answer));
    }
    anstream::eprint!("{}", searched(&answer));
    Ok(match &answer.scanned {
        scanned if scanned.stopped => interrupt::exit_code(),
        scanned if !scanned.is_complete() => INCOMPLETE,
        scanned if scanned.selected == 0 => NOTHING_MATCHED,
        _ => 0,
    })
}

/// Why a question is not run, with the closest plan.
fn refused(refusal: &Refusal) -> String {
    let closest =
        refusal.closest.as_ref().map(|plan| format!("; without that, the question means: {}", plan.restate()));
    format!("the question cannot be answered: {}{}", refusal.reason, closest.unwrap_or_default())
}

fn introduction(question: &Question) -> String {
    let note =
        if question.has_default_span { " The question names no time, so these are the last 24 hours." } else { "" };
    format!("{}{note}", one_line(&question.plan.restate()))
}

async fn answer<'q>(
    engine: &LocalEngine,
    question: &'q Question,
    control: QueryControl,
) -> Result<JsonAnswer<'q>, String> {
    let plan = &question.plan;
    let bar = report::progress_bar(&control.progress);
    let base = |columns, rows, is_limited, scanned: ScanReport| JsonAnswer {
        meaning: plan.restate(),
        default_span: question.has_default_span,
        plan,
        events: scanned.selected,
        totals: None,
        summary: Vec::new(),
        columns,
        rows,
        is_limited,
        scanned,
    };
    let answered = match plan.output() {
        PlanOutput::Groups(_) => engine
            .answer(plan, &control)
            .await
            .map(|answer| base(answer.columns, answer.rows, answer.is_limited, answer.scanned)),
        PlanOutput::Events { order, .. } => {
            let mut read = ListedEvents {
                summary: AnswerSummary::default(),
                rows: OrderedRows::new(*order, plan.limit().unwrap_or(1)),
            };
            // All events are read for the summary, and the table has the first of them.
            let columns = COLUMNS.iter().map(|&column| column.into()).collect();
            let output = PlanOutput::Events { columns, order: EventOrder::AsRead };
            let every = Plan::new(plan.scope().clone(), plan.predicate().clone(), output, None);
            let every = every.map_err(|error| error.to_string())?;
            engine.run(&every, &control, &mut read).await.map(|found| {
                let is_limited = read.rows.is_limited();
                let names = COLUMNS.iter().take(COLUMNS.len() - 1).map(|column| column.name()).collect();
                let (totals, summary) = read.summary.finish();
                let answer = base(names, read.rows.finish(), is_limited, found.scanned);
                JsonAnswer { totals: Some(totals), summary, ..answer }
            })
        }
    };
    bar.end();
    answered.map_err(|error| error.to_string())
}

/// Receives every event that matches.
struct ListedEvents {
    summary: AnswerSummary,
    rows: OrderedRows,
}

impl RowSink for ListedEvents {
    fn columns(&mut self, _: &[String]) {}

    fn row(&mut self, row: QueryRow) -> ControlFlow<()> {
        self.summary.add(&row);
        self.rows.add(row);
        ControlFlow::Continue(())
    }
}

/// The summary and the table for people.
fn text(question: &Question, answer: &JsonAnswer<'_>) -> String {
    if answer.events == 0 {
        return format!("\nNo event matches. {}\n", advice(&question.plan));
    }
    let mut text = String::new();
    if let Some(totals) = &answer.totals {
        let _ = writeln!(text, "\n{totals}\n");
        text.push_str(&output::table(&summary::COLUMNS.map(str::to_owned), &summary::rows(&answer.summary)));
    } else {
        let _ = writeln!(text, "\n{} in {}", counted(answer.events, "event"), counted(answer.rows.len() as u64, "row"));
    }
    let _ = writeln!(text);
    text.push_str(&output::table(&answer.columns, &answer.rows));
    if answer.is_limited {
        let _ = writeln!(text, "There are more rows. Ask for more of them, for example for the last 1000 events.");
    }
    text
}

/// What to ask if there is no event in the span.
fn advice(plan: &Plan) -> String {
    let Scope::Time(span) = plan.scope() else {
        return "The source contains no event with this ID.".to_owned();
    };
    let length = span.since().duration_until(span.until());
    let wider = [(24, "in the last 7 days"), (7 * 24, "in the last 30 days"), (31 * 24, "in the last 365 days")];
    let wider = wider.iter().find(|(hours, _)| length <= SignedDuration::from_hours(*hours));
    let wider = wider.map_or("all time", |(_, words)| words);
    format!("Ask about a longer time, for example \"{wider}\". Names are case-sensitive.")
}

/// What was read and what was not, for standard error.
fn searched(answer: &JsonAnswer<'_>) -> String {
    let scanned = &answer.scanned;
    let mut text = String::new();
    for skipped in &scanned.skipped {
        let _ = writeln!(text, "warning: {}", one_line(&format!("{}: {}", skipped.name, skipped.reason)));
    }
    let more = scanned.skipped_files.saturating_sub(scanned.skipped.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "warning: {} more could not be read", counted(more, "file"));
    }
    for folder in &scanned.unvisited_folders {
        let _ = writeln!(text, "not searched: {} is outside of CloudTrail's layout", one_line(folder));
    }
    let more = scanned.unvisited.saturating_sub(scanned.unvisited_folders.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "not searched: {} outside of CloudTrail's layout", counted(more, "more folder"));
    }
    if scanned.without_time > 0 {
        let _ = writeln!(text, "not searched: {} without a valid eventTime", counted(scanned.without_time, "event"));
    }
    let _ = writeln!(
        text,
        "searched {} in {} ({})",
        counted(scanned.events, "event"),
        counted(scanned.files, "file"),
        HumanBytes(scanned.bytes)
    );
    if scanned.stopped {
        let _ = writeln!(text, "interrupted: the answer covers only what was read");
    }
    text
}
