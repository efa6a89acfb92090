//! `trailhose backfill`.

use super::selection::Selection;
use super::value::{self, LedgerAt, Place};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use trailhose::backfill::RunId;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose backfill s3://my-trail-bucket --queue https://sqs.…/backfill        start a run on AWS
  trailhose backfill --since 2026-01-01 --quarantined                           of the sources in ./trailhose.toml
  trailhose backfill s3://my-trail-bucket --ledger dynamodb://trailhose --dry-run   what is missing, and what it takes
  trailhose backfill status --ledger dynamodb://trailhose                       how far the last run is";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    the run is asked for; or the dry run went to its end; or the run is done or under way
  1    something did not answer halfway, the run has failures, or there is no such run; ask again
  2    nothing was begun: the command line cannot be meant, or a part cannot be opened
  130  interrupted";

const SINCE: &str =
    "Delivered by CloudTrail on this day (UTC) or later: 2026-11-01, or 7d [default: 3 days back; --inventory: any]";

const UNTIL: &str = "Delivered by CloudTrail on this day (UTC) or earlier [default: today]";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_precedence_over_arg = true)]
#[command(mut_arg("since", |arg| arg.help(SINCE)), mut_arg("until", |arg| arg.help(UNTIL)))]
pub(crate) struct BackfillArgs {
    #[command(subcommand)]
    pub(crate) command: Option<BackfillCommand>,

    /// s3://bucket[/prefix]; without it the sources of trailhose.toml, or those that the stack is configured for. With
    /// --dry-run a folder too
    #[arg(value_name = "SOURCE", value_parser = value::place)]
    pub(crate) sources: Vec<Place>,

    /// Sources, ledger and queue [default: ./trailhose.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// URL of the stack's backfill queue: its output BackfillQueueUrl
    #[arg(long, value_name = "URL", conflicts_with_all = ["dry_run", "inventory"])]
    pub(crate) queue: Option<String>,

    /// The name of the run [default: the time, and a random number]; the same name twice is the same run
    #[arg(long, value_name = "NAME", value_parser = run, conflicts_with_all = ["dry_run", "inventory"])]
    pub(crate) name: Option<RunId>,

    /// Send nothing: look here, and print objects, bytes, estimated events, time and dollars
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// What has been delivered: dynamodb://table, or an SQLite file; for --dry-run and --inventory
    #[arg(long, value_name = "dynamodb://TABLE", value_parser = value::ledger)]
    pub(crate) ledger: Option<LedgerAt>,

    /// The objects of this S3 Inventory report (CSV or Parquet), instead of listing the bucket. They are held against the
    /// ledger here, and what is missing is handed in from here
    #[arg(long, value_name = "[s3://…/]manifest.json", value_parser = value::place)]
    pub(crate) inventory: Option<Place>,

    /// URL of the queue into which --inventory hands in: the stack's output BackfillIngestQueueUrl
    #[arg(long, value_name = "URL", requires = "inventory", conflicts_with = "dry_run")]
    pub(crate) ingest_queue: Option<String>,

    #[command(flatten)]
    pub(crate) selection: Selection,

    /// Open what is quarantined, and hand it in too
    #[arg(long, help_heading = "Which objects")]
    pub(crate) quarantined: bool,

    /// Hand in at most so many stored bytes a second, over all workers
    #[arg(long, value_name = "BYTES")]
    #[arg(value_parser = clap::value_parser!(u64).range(trailhose::backfill::run::LEAST_BYTES_PER_SECOND..))]
    pub(crate) bytes_per_second: Option<u64>,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BackfillCommand {
    /// How far a run is, with a bar for each account
    Status {
        /// Its name [default: the last run]
        #[arg(value_parser = run)]
        run: Option<RunId>,
        /// The stack's table [default: the ledger of trailhose.toml]
        #[arg(long, value_name = "dynamodb://TABLE", value_parser = value::ledger)]
        ledger: Option<LedgerAt>,
        /// The ledger [default: ./trailhose.toml]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

fn run(text: &str) -> Result<RunId, String> {
    RunId::try_from(text.to_owned()).map_err(|error| error.to_string())
}
