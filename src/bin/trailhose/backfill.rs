//! `trailhose backfill`: a run on AWS is asked for, tried dry, or looked at.

mod local;
mod plan;
mod start;
mod status;
mod view;

use crate::args::{BackfillArgs, BackfillCommand};
use crate::components::Aws;
use plan::Plan;
use tokio::sync::watch::Receiver;

/// Something did not answer halfway, or failed.
const AGAIN: u8 = 1;

/// Runs the command and returns the exit code.
pub(crate) async fn run(args: BackfillArgs, halt: Receiver<bool>) -> Result<u8, String> {
    let aws = Aws::default();
    match args.command {
        Some(BackfillCommand::Status { run, ledger, config, json }) => {
            let at = plan::ledger(ledger, config.as_deref())?;
            status::run(run.as_ref(), &at, &aws, json).await
        }
        None => {
            let plan = Plan::new(args)?;
            match plan.is_here() {
                true => local::run(&plan, &aws, halt).await,
                false => start::run(plan, &aws).await,
            }
        }
    }
}
