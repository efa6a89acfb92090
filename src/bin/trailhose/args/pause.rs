//! Arguments of `trailhose pause` and `trailhose resume`.

use clap::Args;

pub(super) const PAUSE_EXAMPLES: &str = "\
Examples:
  trailhose pause --stack trailhose --dry-run   list what would change
  trailhose pause --stack trailhose             stop ingestion; notifications wait in the queues
  trailhose pause --stack trailhose --status    show whether ingestion runs, and how many messages wait";

pub(super) const RESUME_EXAMPLES: &str = "\
Examples:
  trailhose resume --stack trailhose --dry-run  list what would change
  trailhose resume --stack trailhose            start ingestion; the waiting objects are delivered";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  the stack is in the requested state, or the state or the steps were printed
  1  a step failed after others took effect, or the state is not the requested one; run the command again
  2  nothing was changed: the stack cannot be read, its template is too old, or an update is in progress";

#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    #[command(flatten)]
    pub(crate) common: PauseOptions,

    /// Only show the state
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) status: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    pub(crate) common: PauseOptions,
}

/// Arguments of both commands.
#[derive(Debug, Args)]
pub(crate) struct PauseOptions {
    /// Name of the stack
    #[arg(long, value_name = "NAME")]
    pub(crate) stack: String,

    /// Change nothing; list the steps
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
