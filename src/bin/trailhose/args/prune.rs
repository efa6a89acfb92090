//! Arguments of `trailhose prune`.

use super::DestArgs;
use super::value::{age, day};
use clap::{ArgGroup, Args};
use jiff::civil::Date;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose prune ./events --older-than 90d --dry-run   show what would be deleted
  trailhose prune ./events --before 2026-01-01          delete the files of all earlier days";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  the files are deleted, or there are none
  1  refused because a follower has not read the files, not confirmed, or some files could not be deleted
  2  invalid arguments, the folder or its ledger cannot be opened, or --yes is missing";

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("days").required(true).args(["before", "older_than"])))]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    pub(crate) dest: DestArgs,

    /// Delete the files of the days before this day (date of the events, UTC): 2026-01-01
    #[arg(long, value_name = "DAY", value_parser = day)]
    before: Option<Date>,

    /// Delete the files of days that are older than this: 90d, 12w
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Option<Date>,

    /// Delete files that this follower has not read. It skips their events, and counts them (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(crate) ignore_follower: Vec<String>,

    /// Only show what would be deleted
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Do not ask for confirmation
    #[arg(long, short)]
    pub(crate) yes: bool,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl PruneArgs {
    /// Returns the first day whose files are kept.
    pub(crate) fn first_kept_day(&self) -> Option<Date> {
        self.before.or(self.older_than)
    }
}
