//! Arguments that select objects of the sources.

use super::value;
use clap::Args;
use jiff::civil::Date;
use trailhose::listing::folder_level::Filters;
use trailhose::object::key::Kind;

/// Selects objects of the sources.
#[derive(Debug, Default, Args)]
pub(crate) struct Selection {
    /// Only objects delivered by CloudTrail on or after this day (UTC): 2026-11-01, or 7d for seven days ago
    #[arg(long, value_name = "DATE", value_parser = value::day, help_heading = "Object selection")]
    pub(crate) since: Option<Date>,

    /// Only objects delivered by CloudTrail on or before this day (UTC)
    #[arg(long, value_name = "DATE", value_parser = value::day, help_heading = "Object selection")]
    pub(crate) until: Option<Date>,

    /// Only this account ID (repeatable)
    #[arg(long = "account", value_name = "ID", value_parser = value::account, help_heading = "Object selection")]
    pub(crate) accounts: Vec<String>,

    /// Only this region (repeatable)
    #[arg(long = "region", value_name = "REGION", value_parser = value::region, help_heading = "Object selection")]
    pub(crate) regions: Vec<String>,

    /// Only this kind: CloudTrail, Insight, NetworkActivity or Aggregated (repeatable)
    #[arg(long = "kind", value_name = "KIND", value_parser = value::kind, help_heading = "Object selection")]
    pub(crate) kinds: Vec<Kind>,

    /// Exit with 0 if no object of a source matches, for schedules that expect this
    #[arg(long, help_heading = "Object selection")]
    pub(crate) allow_empty: bool,
}

impl Selection {
    /// Returns the selected accounts, kinds and regions.
    pub(crate) fn filters(&self) -> Filters {
        Filters {
            accounts: self.accounts.iter().cloned().collect(),
            kinds: self.kinds.iter().map(ToString::to_string).collect(),
            regions: self.regions.iter().cloned().collect(),
        }
    }
}
