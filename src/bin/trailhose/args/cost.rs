//! Arguments of `trailhose cost`.

use super::value;
use clap::Args;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose cost --events 1000000                            files of 9 events, typical for small accounts
  trailhose cost --events 1000000000 --events-per-file 50000 a busy account
  trailhose cost --events 1000000 --object-size 5000000      files of 5 MB of JSON";

#[derive(Debug, Args)]
pub(crate) struct CostArgs {
    /// Number of events
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    #[arg(value_parser = value::whole::<u64>(1..=u64::MAX))]
    pub(crate) events: u64,

    /// Uncompressed size of a log file in bytes
    #[arg(long, value_name = "BYTES", conflicts_with = "events_per_file")]
    #[arg(value_parser = value::whole::<u64>(1..=500_000_000))]
    pub(crate) object_size: Option<u64>,

    /// Events per log file [default: 9]
    #[arg(long, value_name = "N", value_parser = value::whole::<u32>(1..=400_000))]
    pub(crate) events_per_file: Option<u32>,

    /// Print the estimate as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
