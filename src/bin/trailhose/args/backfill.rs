//! Arguments of `trailhose backfill`.

use super::selection::Selection;
use super::value::{self, LedgerLocation, Location};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use trailhose::backfill::RunId;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose backfill s3://my-trail-bucket --queue https://sqs.…/backfill      start a run on AWS
  trailhose backfill --since 2026-01-01                                       use ./trailhose.toml
  trailhose backfill s3://my-trail-bucket --ledger dynamodb://… --dry-run     estimate the run
  trailhose backfill status --ledger dynamodb://…                             progress of the last run";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    the run was requested, the preview is complete, or the run is done or in progress
  1    the run has failures or does not exist, or --dry-run or --inventory failed after it read objects
  2    nothing was started: invalid arguments, or a source, queue or ledger cannot be used
  4    with --dry-run or --inventory: no object of a source matched the selection; --allow-empty makes it 0
  130  interrupted by Ctrl-C; 143 by SIGTERM";

const SINCE: &str = "Only objects delivered by CloudTrail on or after this day (UTC): 2026-11-01, or 7d \
                     [default: 3 days ago; with --inventory: no limit]";

const UNTIL: &str = "Only objects delivered by CloudTrail on or before this day (UTC) [default: today]";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_precedence_over_arg = true)]
#[command(mut_arg("since", |arg| arg.help(SINCE)), mut_arg("until", |arg| arg.help(UNTIL)))]
pub(crate) struct BackfillArgs {
    #[command(subcommand)]
    pub(crate) command: Option<BackfillCommand>,

    /// s3://bucket[/prefix], or a folder with --dry-run [default: the sources of trailhose.toml, or those that the stack
    /// is configured for]
    #[arg(value_name = "SOURCE", value_parser = value::location)]
    pub(crate) sources: Vec<Location>,

    /// Settings file with sources, ledger and queue [default: ./trailhose.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// URL of the stack's backfill queue (stack output BackfillQueueUrl)
    #[arg(long, value_name = "URL", conflicts_with_all = ["dry_run", "inventory"])]
    pub(crate) queue: Option<String>,

    /// Name of the run; a repeated name does not start a second run [default: the time and a random number]
    #[arg(long, value_name = "NAME", value_parser = run, conflicts_with_all = ["dry_run", "inventory"])]
    pub(crate) name: Option<RunId>,

    /// Enqueue nothing: count locally, and print objects, bytes, and estimated events, time and cost
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Ledger for --dry-run and --inventory: dynamodb://table, or an SQLite file
    #[arg(long, value_name = "dynamodb://TABLE", value_parser = value::ledger)]
    pub(crate) ledger: Option<LedgerLocation>,

    /// Take the list of objects from this S3 Inventory report (CSV or Parquet) instead of listing the bucket. The objects
    /// are compared with the ledger locally, and the missing ones are enqueued
    #[arg(long, value_name = "[s3://…/]manifest.json", value_parser = value::location)]
    pub(crate) inventory: Option<Location>,

    /// URL of the queue for the missing objects of --inventory (stack output BackfillIngestQueueUrl)
    #[arg(long, value_name = "URL", requires = "inventory", conflicts_with = "dry_run")]
    pub(crate) ingest_queue: Option<String>,

    #[command(flatten)]
    pub(crate) selection: Selection,

    /// Also reopen and enqueue quarantined objects, except those that are accepted
    #[arg(long, help_heading = "Object selection")]
    pub(crate) quarantined: bool,

    /// Maximum rate at which objects are enqueued, in stored bytes per second over all workers
    #[arg(long, value_name = "BYTES")]
    #[arg(value_parser = value::whole::<u64>(trailhose::backfill::run::MIN_BYTES_PER_SECOND..=u64::MAX))]
    pub(crate) bytes_per_second: Option<u64>,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BackfillCommand {
    /// Show the progress of a run, with a bar for each account
    Status {
        /// Name of the run [default: the last run]
        #[arg(value_parser = run)]
        run: Option<RunId>,
        /// The stack's ledger table [default: the ledger of trailhose.toml]
        #[arg(long, value_name = "dynamodb://TABLE", value_parser = value::ledger)]
        ledger: Option<LedgerLocation>,
        /// Settings file that names the ledger [default: ./trailhose.toml]
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
