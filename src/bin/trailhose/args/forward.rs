//! Arguments of `trailhose forward`.

use super::followers::DestArgs;
use super::value::{path, whole};
use clap::{Args, Subcommand};
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose forward status ./events             what each forward sent, its lag, and why it waits
  trailhose forward status ./events --refused   the refused events with their responses
  trailhose forward pause siem                  stop sending and keep the position
  trailhose forward retry siem                  send again at once, also the refused events";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  pause or resume changed nothing
  2  invalid arguments, or the folder, its state or a forward does not exist";

#[derive(Debug, Args)]
pub(crate) struct ForwardArgs {
    #[command(subcommand)]
    pub(crate) command: ForwardCommand,

    /// Print JSON: one object on each line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ForwardCommand {
    /// Show what each forward sent, its lag, and what its destination refused
    Status {
        #[command(flatten)]
        dest: DestArgs,
        /// List the refused events, ordered by status
        #[arg(long)]
        refused: bool,
        /// With --refused: at most this many events of each forward
        #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = whole::<u32>(1..=1_000_000))]
        limit: u32,
    },
    /// Send again at once, also the refused events
    Retry(ForwardNameArgs),
    /// Stop sending and keep the position. A running sync stops with the next request
    Pause(ForwardNameArgs),
    /// Continue a paused forward
    Resume(ForwardNameArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ForwardNameArgs {
    /// Name of the forward [default: all]
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Folder that `trailhose sync` delivered to [default: dest in ./trailhose.toml]
    #[arg(long, value_name = "DEST", value_parser = path)]
    pub(crate) dest: Option<PathBuf>,
}
