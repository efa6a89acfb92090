//! `trailhose ask`: answers a question in plain English about events.

mod model;
mod ordered_rows;
mod summary;
mod text;

use crate::args::AskArgs;
use crate::components::Aws;
use crate::print::{print, print_json};
use crate::query::remote::RemoteEngine;
use crate::query::{open, remote, report};
use crate::{NOTHING_MATCHED, interrupt};
use jiff::Timestamp;
use ordered_rows::OrderedRows;
use serde::Serialize;
use std::ops::ControlFlow;
use summary::{AnswerSummary, EventSummary, Totals};
use tokio::sync::watch::Receiver;
use trailhose::plan::{Column, EventOrder, Plan, PlanOutput};
use trailhose::query::{LocalEngine, QueryControl, QueryEngine, QueryRow, RowSink, ScanReport};
use trailhose::question::{self, Question, Refusal};

/// Exit code: some files or lines could not be read.
const INCOMPLETE: u8 = 1;

/// The number of events that a service returns for the summary. Each page of 1,000 rows is one request.
const SERVICE_ROWS: u64 = 1_000;

/// The columns that are read of each event. The event ID orders events of the same time and is not printed.
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

/// A question, and the language model that read it.
struct UnderstoodQuestion {
    question: Question,
    model: Option<AnsweringModel>,
}

/// The language model that made the plan.
#[derive(Debug, Serialize)]
struct AnsweringModel {
    name: String,
    #[cfg(feature = "model")]
    #[serde(flatten)]
    usage: trailhose::model::ModelUsage,
}

/// The files or the service with the events.
#[derive(Debug)]
enum AnswerSource {
    Files(LocalEngine),
    Service(RemoteEngine),
}

impl AnswerSource {
    fn engine(&self) -> &dyn QueryEngine {
        match self {
            Self::Files(engine) => engine,
            Self::Service(engine) => engine.as_engine(),
        }
    }
}

/// An answer, as JSON.
#[derive(Debug, Serialize)]
struct JsonAnswer<'a> {
    /// The question, restated from the plan.
    meaning: String,
    /// Whether the question names no time.
    default_span: bool,
    /// What the answer does not show.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a AnsweringModel>,
    plan: &'a Plan,
    /// Events that match. Unknown for groups that a service computed.
    events: Option<u64>,
    /// Whether there are more events than `events`, which the summary does not contain.
    has_more_events: bool,
    totals: Option<Totals>,
    summary: Vec<EventSummary>,
    columns: Vec<String>,
    rows: Vec<QueryRow>,
    /// Whether there are more rows than the limit of the plan.
    is_limited: bool,
    scanned: ScanReport,
}

impl JsonAnswer<'_> {
    /// Returns whether no event matches.
    fn is_empty(&self) -> bool {
        match (self.events, self.plan.output()) {
            (Some(events), _) => events == 0,
            // Without fields to group by, there is one row, even if no event matches.
            (None, PlanOutput::Groups(groups)) if groups.by.is_empty() => {
                let is_none = |value: &Option<String>| value.as_deref().is_none_or(|value| value == "0");
                self.rows.iter().flatten().all(is_none)
            }
            (None, _) => self.rows.is_empty(),
        }
    }
}

/// Runs `trailhose ask` and returns the exit code.
pub(crate) async fn run(args: AskArgs, halt: Receiver<bool>) -> Result<u8, String> {
    // The end of the span is excluded, so the next second includes the events of the current one.
    let now = Timestamp::from_second(Timestamp::now().as_second() + 1).map_err(|error| error.to_string())?;
    let aws = Aws::default();
    let (source, question) = args.source_and_question()?;
    let understood = match &args.model.model {
        Some(model) => model::question(model, &args.model, question, now, &aws, halt.clone()).await?,
        None => {
            let question = question::interpret(question, now).map_err(|refusal| refused(&refusal))?;
            Some(UnderstoodQuestion { question, model: None })
        }
    };
    let Some(understood) = understood else {
        anstream::eprintln!("interrupted: nothing was searched");
        return Ok(interrupt::exit_code());
    };
    let plan = &understood.question.plan;
    if args.show_plan {
        print_json(plan);
        return Ok(0);
    }
    let source = match remote::engine(&args.remote, source.as_ref(), args.reading.delivered_until, &aws).await? {
        Some(engine) => AnswerSource::Service(engine),
        None => AnswerSource::Files(open::engine(source.as_ref(), &args.reading, &aws).await?),
    };
    if !args.json {
        print(&format!("{}\n", text::introduction(&understood.question)));
    }
    if let AnswerSource::Service(engine) = &source {
        engine.warn_of_cost(plan).await;
    }
    let answer = answer(&source, &understood, QueryControl { halt, ..QueryControl::default() }).await?;
    if args.json {
        print_json(&answer);
    } else {
        print(&text::answer(&answer));
    }
    let searched = match &source {
        AnswerSource::Files(_) => text::searched(plan, &answer.scanned),
        AnswerSource::Service(engine) => engine.read(&answer.scanned),
    };
    anstream::eprint!("{searched}");
    Ok(match &answer.scanned {
        scanned if scanned.stopped => interrupt::exit_code(),
        scanned if !scanned.is_complete() => INCOMPLETE,
        _ if answer.is_empty() => NOTHING_MATCHED,
        _ => 0,
    })
}

/// Returns why a question cannot be answered, with the meaning of the closest plan.
fn refused(refusal: &Refusal) -> String {
    let closest =
        refusal.closest.as_ref().map(|plan| format!("; without that, the question means: {}", plan.restate()));
    format!("the question cannot be answered: {}{}", refusal.reason, closest.unwrap_or_default())
}

async fn answer<'q>(
    source: &AnswerSource,
    understood: &'q UnderstoodQuestion,
    control: QueryControl,
) -> Result<JsonAnswer<'q>, String> {
    let plan = &understood.question.plan;
    let bar = report::progress_bar(&control.progress);
    let is_remote = matches!(source, AnswerSource::Service(_));
    let base = |columns, rows, is_limited, scanned: ScanReport| JsonAnswer {
        meaning: plan.restate(),
        default_span: understood.question.has_default_span,
        note: understood.question.note.as_deref(),
        model: understood.model.as_ref(),
        plan,
        events: (!is_remote).then_some(scanned.selected),
        has_more_events: false,
        totals: None,
        summary: Vec::new(),
        columns,
        rows,
        is_limited,
        scanned,
    };
    let answered = match plan.output() {
        PlanOutput::Groups(_) => source
            .engine()
            .answer(plan, &control)
            .await
            .map(|answer| base(answer.columns, answer.rows, answer.is_limited, answer.scanned)),
        PlanOutput::Events { order, .. } => {
            let limit = plan.limit().unwrap_or(1);
            let mut read = ListedEvents { summary: AnswerSummary::default(), rows: OrderedRows::new(*order, limit) };
            // All files are read anyway, so the summary covers all events. A service would return all rows, so it gets a
            // limit, and the summary covers the first events.
            let (order, rows) = match is_remote {
                true => (*order, Some(limit.max(SERVICE_ROWS))),
                false => (EventOrder::AsRead, None),
            };
            let columns = COLUMNS.iter().map(|&column| column.into()).collect();
            let output = PlanOutput::Events { columns, order };
            let listing = Plan::new(plan.scope().clone(), plan.predicate().clone(), output, rows);
            let listing = listing.map_err(|error| error.to_string())?;
            source.engine().run(&listing, &control, &mut read).await.map(|found| {
                let is_limited = read.rows.is_limited() || found.is_limited;
                let names = COLUMNS.iter().take(COLUMNS.len() - 1).map(|column| column.name()).collect();
                let (totals, summary) = read.summary.finish();
                let events = Some(found.scanned.selected);
                let answer = base(names, read.rows.finish(), is_limited, found.scanned);
                JsonAnswer { events, has_more_events: found.is_limited, totals: Some(totals), summary, ..answer }
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
