//! What may stand on the command line: one file for each subcommand, and the values they share.

mod backfill;
mod cost;
mod explain;
mod generate;
mod init;
mod ledger;
mod selection;
mod sync;
pub(crate) mod value;

pub(crate) use backfill::{BackfillArgs, BackfillCommand};
pub(crate) use cost::CostArgs;
pub(crate) use explain::ExplainArgs;
pub(crate) use generate::GenerateArgs;
pub(crate) use init::InitArgs;
pub(crate) use ledger::{EventsArgs, LedgerArgs, LedgerCommand, QuarantineCommand};
pub(crate) use sync::SyncArgs;
pub(crate) use value::{Compress, Dest, LedgerAt, Lines, Place};

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  trailhose sync ./bucket ./events                          a folder into JSON Lines files
  trailhose sync s3://my-trail-bucket ./events --since 7d   a week of a bucket
  trailhose init && trailhose sync --watch 5m               every trail of this account, again and again
  trailhose explain ./bucket/AWSLogs/…/x.json.gz            what would be done with one file, and why
  trailhose generate ./bucket                               a bucket to try it on, without a trail";

/// CloudTrail in, one clean stream out: every event once, as the bytes it came in.
#[derive(Debug, Parser)]
#[command(name = "trailhose", version, before_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Deliver every event of SOURCE to DEST that was not delivered before
    #[command(before_help = sync::EXAMPLES, after_help = sync::EXIT_CODES)]
    Sync(Box<SyncArgs>),
    /// Ask CloudTrail for its trails, write trailhose.toml, and say what wiring the buckets still need
    #[command(before_help = init::EXAMPLES, after_help = init::EXIT_CODES)]
    Init(InitArgs),
    /// Say what would be done with one object, and why; writes nothing
    #[command(before_help = explain::EXAMPLES, after_help = explain::EXIT_CODES)]
    Explain(ExplainArgs),
    /// Make a bucket of realistic log files in DIR, of accounts that do not exist
    #[command(before_help = generate::EXAMPLES)]
    Generate(GenerateArgs),
    /// Start a run of the backfill on AWS, try it dry, or see how far it is
    #[command(before_help = backfill::EXAMPLES, after_help = backfill::EXIT_CODES)]
    Backfill(Box<BackfillArgs>),
    /// Look into a ledger, and have an object worked on once more
    #[command(before_help = ledger::EXAMPLES, after_help = ledger::EXIT_CODES)]
    Ledger(LedgerArgs),
    /// Say what so many events cost on AWS, by the requests that made-up ones ask for; sends nothing
    #[command(before_help = cost::EXAMPLES)]
    Cost(CostArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_in_itself() {
        Cli::command().debug_assert();
    }
}
