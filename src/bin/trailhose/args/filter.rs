//! Arguments of `trailhose filter`.

use super::selection::Selection;
use super::value::{self, Location};
use clap::{Args, Subcommand};
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose filter check filter.toml
  trailhose filter test filter.toml s3://my-trail-bucket --since 1d";

const CHECK_EXIT_CODES: &str = "\
Exit codes:
  0    the file is valid
  1    the file is valid, but a rule has no effect, or the filter drops every event
  2    the file is invalid or cannot be read";

const TEST_EXIT_CODES: &str = "\
Exit codes:
  0    the selected objects were read
  1    some objects could not be read, or the listing failed; their events are not counted
  2    nothing was started: invalid arguments, or the file or SOURCE cannot be opened
  4    no object matched the selection; --allow-empty makes it 0
  130  interrupted by Ctrl-C; what was read is printed
  143  interrupted by SIGTERM, otherwise as 130";

#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    #[command(subcommand)]
    pub(crate) command: FilterCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FilterCommand {
    /// Check a filter file: report invalid rules, rules without effect, and a filter that drops every event
    #[command(after_help = CHECK_EXIT_CODES)]
    Check(FilterCheckArgs),
    /// Count the events of SOURCE that each rule would keep or drop, with samples (read-only)
    #[command(after_help = TEST_EXIT_CODES)]
    Test(Box<FilterTestArgs>),
}

#[derive(Debug, Args)]
pub(crate) struct FilterCheckArgs {
    /// The filter file
    #[arg(value_parser = value::path)]
    pub(crate) file: PathBuf,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FilterTestArgs {
    /// The filter file
    #[arg(value_parser = value::path)]
    pub(crate) file: PathBuf,

    /// A folder, or s3://bucket[/prefix]
    #[arg(value_parser = value::location)]
    pub(crate) source: Location,

    #[command(flatten)]
    pub(crate) selection: Selection,

    /// Maximum number of sample events for each rule
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value::whole::<usize>(0..=1000))]
    pub(crate) samples: usize,

    /// Number of objects read concurrently [default: the number of cores for a folder; twice that, at most 16, for a
    /// bucket]
    #[arg(long, short, value_name = "N", value_parser = value::whole::<usize>(1..=10_000))]
    pub(crate) jobs: Option<usize>,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
