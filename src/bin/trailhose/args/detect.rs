//! Arguments of `trailhose detect`.

use super::query::EventSourceArgs;
use super::value::{path, whole};
use clap::Args;
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose detect ./events --rules ./rules --since 7d
  trailhose detect s3://my-trail-bucket --rules ./rules --since 2026-11-01 --until 2026-11-07
  trailhose detect ./events --rules ./rules --json > matches.jsonl";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    at least one event matches a rule
  1    some files or lines could not be read, or a rule failed: the messages name them
  2    invalid arguments, a rule is invalid, or the source cannot be opened or listed
  4    no event matches
  130  interrupted by Ctrl-C (143: by SIGTERM): the result covers what was read until then";

#[derive(Debug, Args)]
pub(crate) struct DetectArgs {
    /// Folder with Sigma rules (*.yml), or one file
    #[arg(long, value_name = "DIR", value_parser = path)]
    pub(crate) rules: PathBuf,

    /// Evaluate the valid rules although others are invalid. Each invalid rule is named
    #[arg(long)]
    pub(crate) skip_invalid: bool,

    /// Earliest event time: 2026-11-01T10:00:00Z, 2026-11-01, yesterday, Monday, or 90m, 12h or 7d before now [default: any
    /// time]
    #[arg(long, value_name = "TIME", help_heading = "Time span (UTC)")]
    pub(crate) since: Option<String>,

    /// Latest event time. A day includes its last second; a time is excluded [default: now, with --since]
    #[arg(long, value_name = "TIME", requires = "since", help_heading = "Time span (UTC)")]
    pub(crate) until: Option<String>,

    #[command(flatten)]
    pub(crate) output: DetectOutputArgs,

    #[command(flatten)]
    pub(crate) from: EventSourceArgs,
}

/// How matches are printed.
#[derive(Debug, Clone, Args)]
pub(crate) struct DetectOutputArgs {
    /// Maximum number of matches in the table: the newest ones. The summary and --json contain all
    #[arg(long, value_name = "COUNT", default_value = "50", value_parser = whole::<usize>(0..=100_000))]
    pub(crate) limit: usize,

    /// Print only the number of matches of each rule
    #[arg(long)]
    pub(crate) summary: bool,

    /// Print JSON Lines: one object for each match, or for each rule with --summary
    #[arg(long)]
    pub(crate) json: bool,
}
