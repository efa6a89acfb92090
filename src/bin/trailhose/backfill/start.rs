//! Starts runs on AWS: sends one message per run to the backfill queue.

use super::plan::BackfillPlan;
use crate::components::Aws;
use crate::print::{print, print_json};
use serde::Serialize;
use trailhose::backfill::{Request, RunId, Task};
use trailhose::ledger::system_clock;
use trailhose::queue::Outbox;
use trailhose::queue::sqs::Sqs;

/// A requested run.
#[derive(Debug, Serialize)]
struct StartedRun {
    run: RunId,
    request: Request,
}

pub(super) async fn run(plan: BackfillPlan, aws: &Aws) -> Result<u8, String> {
    // A folder is refused before a missing queue: a queue does not help.
    let mut started = Vec::new();
    for planned in &plan.runs {
        let run = plan.name.clone().unwrap_or_else(|| RunId::at(system_clock()(), fastrand::u32(..)));
        started.push(StartedRun { run, request: planned.request()? });
    }
    let Some(queue) = plan.queue else {
        return Err(
            "--queue is required: use --queue URL (stack output BackfillQueueUrl), or set queue under [backfill] \
                    in trailhose.toml"
                .into(),
        );
    };
    let outbox = Sqs::new(aws.sqs().await?, queue.clone());
    for StartedRun { run, request } in &started {
        let body = Task::Start { run: run.clone(), request: request.clone() }.body();
        // Sending a request twice is safe: a second message with the same run name has no effect.
        let refused = outbox.send_batch(&[&body]).await.map_err(|error| error.to_string())?;
        if let Some(refused) = refused.first() {
            return Err(format!("{queue} rejected the run {run}: {}", refused.reason));
        }
    }
    for started in &started {
        match plan.json {
            true => print_json(started),
            false => print(&format!(
                "run {} requested; show its progress with: trailhose backfill status {}\n",
                started.run, started.run
            )),
        }
    }
    Ok(0)
}
