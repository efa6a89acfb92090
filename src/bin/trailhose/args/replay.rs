//! Arguments of `trailhose replay`.

use super::selection::Selection;
use super::value::{self, Dest};
use clap::Args;
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose replay --stack trailhose --since 2026-11-01 --until 2026-11-03 --dry-run
  trailhose replay --stack trailhose --since 2026-11-01 --until 2026-11-03 --account 111122223333
  trailhose replay --stack trailhose --since 7d --until 0d --to firehose://other-stream";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    all selected events are delivered again, or nothing is left, or the estimate was printed
  1    some objects failed, were deferred, or the answer was no; rerun to resume
  2    nothing was started: invalid arguments, a missing permission, or no terminal and no --yes
  3    completed, but some objects are quarantined in the ledger of the replay; each is listed with its reason
  4    no object matched the selection
  130  interrupted by Ctrl-C; 143 by SIGTERM; rerun to resume";

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Name of the stack whose bucket, filter and destination are used
    #[arg(long, value_name = "NAME")]
    pub(crate) stack: String,

    #[command(flatten)]
    pub(crate) selection: Selection,

    /// Deliver to this stream, or to this folder as JSON Lines files [default: the stream of the stack]
    #[arg(long, value_name = "firehose://STREAM|FOLDER", value_parser = value::dest)]
    pub(crate) to: Option<Dest>,

    /// SQLite file that records what this replay has delivered. The same file continues the replay
    /// [default: a file in this folder, named after the destination and the days]
    #[arg(long, value_name = "FILE")]
    pub(crate) ledger: Option<PathBuf>,

    /// Number of objects processed concurrently. Fewer objects leave more of the stream's quota to new events
    #[arg(long, short, value_name = "N", value_parser = value::whole::<usize>(1..=10_000))]
    pub(crate) jobs: Option<usize>,

    /// Deliver nothing; print what is left, with estimated events, bytes and price
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Do not ask for confirmation
    #[arg(long, short, conflicts_with = "dry_run")]
    pub(crate) yes: bool,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
