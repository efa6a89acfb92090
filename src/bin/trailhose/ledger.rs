//! `trailhose ledger`: inspects a ledger, retries or resets objects, and compares a ledger with the files it delivered to.

pub(crate) mod confirm;
mod event;
pub(crate) mod files;
mod object;
mod open;
mod quarantine;
mod reset;
mod show;
mod stats;
mod view;

use crate::args::{LedgerArgs, LedgerCommand, QuarantineCommand};
use crate::components::Aws;
pub(crate) use object::is_etag;
use open::{LedgerAccess, OpenedLedger};

/// Exit code: not found, or refused.
const NOT_FOUND: u8 = 1;

/// Number of items in one batch of a scan.
const SCAN_BATCH_ITEMS: u32 = 1000;

/// Runs the command and returns the exit code.
pub(crate) async fn run(args: LedgerArgs) -> Result<u8, String> {
    match &args.command {
        LedgerCommand::Verify { dest } => return files::verify(dest, args.ledger.as_ref(), args.json).await,
        LedgerCommand::Release { not_rebuilt: Some(dest), yes, .. } => {
            return files::accept_not_rebuilt(dest, args.ledger.as_ref(), *yes, args.json).await;
        }
        LedgerCommand::Release { files, yes, .. } => {
            return files::release(files, args.ledger.as_ref(), *yes, args.json).await;
        }
        _ => {}
    }
    let Some(at) = args.ledger else {
        return Err("--ledger is required: use --ledger FILE or --ledger dynamodb://TABLE".into());
    };
    let aws = Aws::default();
    let access = match args.command {
        LedgerCommand::Reset { .. }
        | LedgerCommand::Quarantine(QuarantineCommand::Retry { .. } | QuarantineCommand::Accept { .. }) => {
            LedgerAccess::ReadWrite
        }
        _ => LedgerAccess::ReadOnly,
    };
    let open = OpenedLedger::at(at, access, &aws).await?;
    match args.command {
        // Handled above, because these two commands do not use the ledger's protocol.
        LedgerCommand::Verify { .. } | LedgerCommand::Release { .. } => Ok(0),
        LedgerCommand::Stats { scan } => stats::run(&open, scan, args.json).await,
        LedgerCommand::Show { object, scan } => show::run(&open, &aws, &object, scan, args.json).await,
        LedgerCommand::Event(event) => event::run(&open, &event, args.json).await,
        LedgerCommand::Quarantine(QuarantineCommand::List) => quarantine::list(&open, args.json).await,
        LedgerCommand::Quarantine(QuarantineCommand::Accept { objects, reason, undo: _ }) => {
            quarantine::accept(&open, &aws, &objects, reason.as_deref(), args.json).await
        }
        LedgerCommand::Quarantine(QuarantineCommand::Retry { objects, all: _, yes }) => {
            quarantine::retry(&open, &aws, &objects, yes, args.json).await
        }
        LedgerCommand::Reset { object, scan, yes } => reset::run(&open, &aws, &object, scan, yes, args.json).await,
    }
}
