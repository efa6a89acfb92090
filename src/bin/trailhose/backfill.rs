//! `trailhose backfill`: starts a run on AWS, previews it, or shows its progress.

pub(crate) mod local;
pub(crate) mod plan;
mod start;
mod status;
mod view;

use crate::args::{BackfillArgs, BackfillCommand};
use crate::components::Aws;
use plan::BackfillPlan;
use tokio::sync::watch::Receiver;

/// Exit code: the run has failures or does not exist, or a local run failed after it read objects.
const INCOMPLETE: u8 = 1;

/// Runs the command and returns the exit code.
pub(crate) async fn run(args: BackfillArgs, halt: Receiver<bool>) -> Result<u8, String> {
    let aws = Aws::default();
    match args.command {
        Some(BackfillCommand::Status { run, ledger, config, json }) => {
            let at = plan::ledger(ledger, config.as_deref())?;
            status::run(run.as_ref(), &at, &aws, json).await
        }
        None => {
            let plan = BackfillPlan::new(args)?;
            match plan.runs_locally() {
                true => local::run(&plan, &aws, halt).await,
                false => start::run(plan, &aws).await,
            }
        }
    }
}
