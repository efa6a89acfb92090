//! `trailhose ledger`: what a person may ask of a ledger, and the two ways to have an object worked on once more.

mod confirm;
mod events;
mod forget;
mod object;
mod open;
mod quarantine;
mod show;
mod stats;
mod view;

use crate::args::{LedgerArgs, LedgerCommand, QuarantineCommand};
use crate::components::Aws;
use open::{Access, Open};

/// Nothing was found, or it was refused.
const NOT: u8 = 1;

/// How much is read at once.
const AT_ONCE: u32 = 1000;

/// Runs the command and returns the exit code.
pub(crate) async fn run(args: LedgerArgs) -> Result<u8, String> {
    let Some(at) = args.ledger else {
        return Err("no ledger is named: add --ledger FILE or --ledger dynamodb://TABLE".into());
    };
    let aws = Aws::default();
    let access = match args.command {
        LedgerCommand::Forget { .. } | LedgerCommand::Quarantine(QuarantineCommand::Retry { .. }) => Access::Change,
        _ => Access::Look,
    };
    let open = Open::at(at, access, &aws).await?;
    match args.command {
        LedgerCommand::Stats { scan } => stats::run(&open, scan, args.json).await,
        LedgerCommand::Show { object, scan } => show::run(&open, &aws, &object, scan, args.json).await,
        LedgerCommand::Events(events) => events::run(&open, &events, args.json).await,
        LedgerCommand::Quarantine(QuarantineCommand::List) => quarantine::list(&open, args.json).await,
        LedgerCommand::Quarantine(QuarantineCommand::Retry { objects, all: _, yes }) => {
            quarantine::retry(&open, &aws, &objects, yes, args.json).await
        }
        LedgerCommand::Forget { object, scan, yes } => forget::run(&open, &aws, &object, scan, yes, args.json).await,
    }
}
