//! A run on AWS is asked for: one message on the backfill queue.

use super::plan::BackfillPlan;
use crate::components::Aws;
use crate::print::{print, print_json};
use serde::Serialize;
use trailhose::backfill::{Request, RunId, Task};
use trailhose::ledger::system_clock;
use trailhose::queue::Outbox;
use trailhose::queue::sqs::Sqs;

/// A run that was asked for.
#[derive(Debug, Serialize)]
struct StartedRun {
    run: RunId,
    request: Request,
}

pub(super) async fn run(plan: BackfillPlan, aws: &Aws) -> Result<u8, String> {
    let Some(queue) = plan.queue else {
        return Err(
            "no backfill queue is named: add --queue URL (the stack's output BackfillQueueUrl), or write it as \
                    queue under [backfill] in trailhose.toml"
                .into(),
        );
    };
    let mut started = Vec::new();
    for asked in &plan.asked {
        let run = plan.name.clone().unwrap_or_else(|| RunId::at(system_clock()(), fastrand::u32(..)));
        started.push(StartedRun { run, request: asked.request()? });
    }
    let outbox = Sqs::new(aws.sqs().await, queue.clone());
    for StartedRun { run, request } in &started {
        let body = Task::Start { run: run.clone(), request: request.clone() }.body();
        // A name and a request are the same run however often they arrive: sending it again does no harm.
        let refused = outbox.send_batch(&[&body]).await.map_err(|error| error.to_string())?;
        if let Some(refused) = refused.first() {
            return Err(format!("{queue} did not accept the run {run}: {}", refused.reason));
        }
    }
    for started in &started {
        match plan.json {
            true => print_json(started),
            false => print(&format!(
                "run {} is asked for; see how far it is: trailhose backfill status {}\n",
                started.run, started.run
            )),
        }
    }
    Ok(0)
}
