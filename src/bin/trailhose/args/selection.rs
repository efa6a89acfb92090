//! Selection: which objects of the sources are meant.

use super::value;
use clap::Args;
use jiff::civil::Date;
use trailhose::listing::folder_level::Filters;
use trailhose::object::key::Kind;

/// Which objects of the sources are meant.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Delivered by CloudTrail on this day (UTC) or later: 2026-11-01, or 7d for seven days ago
    #[arg(long, value_name = "DATE", value_parser = value::day, help_heading = "Which objects")]
    pub(crate) since: Option<Date>,

    /// Delivered by CloudTrail on this day (UTC) or earlier
    #[arg(long, value_name = "DATE", value_parser = value::day, help_heading = "Which objects")]
    pub(crate) until: Option<Date>,

    /// Of this account; may be given several times
    #[arg(long = "account", value_name = "ID", value_parser = value::account, help_heading = "Which objects")]
    pub(crate) accounts: Vec<String>,

    /// Of this region; may be given several times
    #[arg(long = "region", value_name = "REGION", help_heading = "Which objects")]
    pub(crate) regions: Vec<String>,

    /// Of this kind: CloudTrail, Insight, NetworkActivity or Aggregated; may be given several times
    #[arg(long = "kind", value_name = "KIND", value_parser = value::kind, help_heading = "Which objects")]
    pub(crate) kinds: Vec<Kind>,
}

impl Selection {
    /// Accounts, kinds and regions.
    pub(crate) fn filters(&self) -> Filters {
        Filters {
            accounts: self.accounts.iter().cloned().collect(),
            kinds: self.kinds.iter().map(ToString::to_string).collect(),
            regions: self.regions.iter().cloned().collect(),
        }
    }
}
