//! `trailhose pause` and `trailhose resume`: stop and start the ingestion of a deployed stack.

use crate::args::{PauseArgs, PauseOptions, ResumeArgs};
use crate::components::Aws;
use crate::print::{print, print_json};
use crate::table::Table;
use jiff::Timestamp;
use serde::Serialize;
use std::cell::Cell;
use std::time::Duration;
use trailhose::pause::{self, Clients, Ingestion, PauseChange, PauseState, Step};

/// Exit code: a step failed after others took effect, or the state is not the requested one.
const NOT_REACHED: u8 = 1;

/// Interval between two requests for a state that is expected to change.
const POLL: Duration = Duration::from_secs(2);

/// Alarms that a pause raises, each with the time until it does.
const ALARMS: &str =
    "BacklogAlarm after 1 hour, BackfillBacklogAlarm after 1 day, BackfillIngestBacklogAlarm after 3 days";

/// The result of `--dry-run`.
#[derive(Debug, Serialize)]
struct DryRun<'a> {
    dry_run: bool,
    steps: &'a [Step],
    state: &'a PauseState,
}

pub(crate) async fn pause(args: PauseArgs) -> Result<u8, String> {
    if args.status {
        let state = read(&clients().await?, &args.common.stack).await?;
        show(&state, args.common.json);
        return Ok(0);
    }
    run(&args.common, PauseChange::Pause(Timestamp::now()), Ingestion::Paused).await
}

pub(crate) async fn resume(args: ResumeArgs) -> Result<u8, String> {
    run(&args.common, PauseChange::Resume, Ingestion::Running).await
}

async fn run(args: &PauseOptions, change: PauseChange, requested: Ingestion) -> Result<u8, String> {
    let clients = clients().await?;
    if args.dry_run {
        let state = read(&clients, &args.stack).await?;
        let steps = state.steps(change);
        match args.json {
            true => print_json(&DryRun { dry_run: true, steps: &steps, state: &state }),
            false => print(&render_steps(&steps)),
        }
        return Ok(0);
    }
    let started = Cell::new(false);
    let report = |step: &Step| {
        started.set(true);
        anstream::eprintln!("{}", describe(step));
    };
    let state = match pause::change(&clients, &args.stack, change, report).await {
        Ok(state) => state,
        Err(error) if started.get() => {
            let advice = match requested {
                Ingestion::Paused => "until this command succeeds, a deployment can start ingestion again",
                _ => "a part of ingestion may still be stopped",
            };
            let text = format!("{error}. Steps before this one took effect; {advice}");
            return Ok(crate::report_failure("partly_done", &text, NOT_REACHED));
        }
        Err(error) => return Err(error.to_string()),
    };
    show(&state, args.json);
    Ok(if state.ingestion == requested { 0 } else { NOT_REACHED })
}

async fn clients() -> Result<Clients, String> {
    let aws = Aws::default();
    let config = aws.config().await?;
    Ok(Clients {
        cloudformation: aws_sdk_cloudformation::Client::new(config),
        lambda: aws_sdk_lambda::Client::new(config),
        sqs: aws.sqs().await?,
        poll: POLL,
    })
}

async fn read(clients: &Clients, stack: &str) -> Result<PauseState, String> {
    PauseState::read(clients, stack).await.map_err(|error| error.to_string())
}

fn describe(step: &Step) -> String {
    match step {
        Step::Disable(mapping) => format!("disable the event source mapping {}", mapping.name),
        Step::Enable(mapping) => format!("enable the event source mapping {}", mapping.name),
        Step::UpdateStack { paused_since } if paused_since.is_empty() => {
            format!("update the stack: remove the value of {} (takes some minutes)", pause::PARAMETER)
        }
        Step::UpdateStack { paused_since } => {
            format!("update the stack: set {}={paused_since} (takes some minutes)", pause::PARAMETER)
        }
    }
}

fn render_steps(steps: &[Step]) -> String {
    match steps {
        [] => "nothing to change\n".to_owned(),
        steps => steps.iter().map(|step| format!("would {}\n", describe(step))).collect(),
    }
}

fn show(state: &PauseState, json: bool) {
    match json {
        true => print_json(state),
        false => print(&render(state)),
    }
}

fn render(state: &PauseState) -> String {
    let mut table = Table::new(32, 22);
    let (name, remark) = match state.ingestion {
        Ingestion::Running => ("running", ""),
        Ingestion::Paused => ("paused", "running invocations end within 15 minutes"),
        Ingestion::Inconsistent => ("inconsistent", "run trailhose pause or trailhose resume"),
    };
    table.text(&format!("stack {}", state.stack), name, remark);
    if let Some(since) = state.paused_since {
        table.text("paused since", &since.to_string(), "");
    }
    if let Some(before) = state.resume_before {
        let remark = "then SQS deletes the oldest messages; only a backfill finds their objects";
        table.text("resume before", &before.to_string(), remark);
        table.text("alarms", "", ALARMS);
    }
    for mapping in &state.mappings {
        table.text(&format!("mapping {}", mapping.name), mapping.state.as_str(), "");
    }
    table.text("schedule of the backfill", if state.schedule_enabled { "enabled" } else { "disabled" }, "");
    for (queue, messages) in &state.waiting {
        table.row(&format!("messages in {}", queue.replace('_', " ")), *messages, "approximate");
    }
    table.into_text()
}
