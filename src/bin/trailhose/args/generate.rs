//! Arguments of `trailhose generate`.

use super::WebhookArgs;
use super::value;
use clap::Args;
use std::path::PathBuf;
use trailhose::generate::{ACCOUNTS, REGIONS};

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose generate ./bucket
  trailhose generate --to http://127.0.0.1:8000/ --allow-private --files 20
  trailhose generate ./busy --files 4 --events 50000 --accounts 1 --regions 1 --overlap 0";

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// Output directory (must be empty or not exist)
    #[arg(value_parser = value::path, required_unless_present = "to")]
    pub(crate) dir: Option<PathBuf>,

    /// Send the events to this URL as a forward does, instead of writing files
    #[arg(long, value_name = "URL", conflicts_with = "dir", help_heading = "Webhook")]
    pub(crate) to: Option<String>,

    #[command(flatten)]
    pub(crate) webhook: WebhookArgs,

    /// Seed of the random generator; the same seed generates the same files
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value::whole::<u64>(0..=u64::MAX))]
    pub(crate) seed: u64,

    /// Number of files
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = value::whole::<u32>(0..=u64::from(u32::MAX)))]
    pub(crate) files: u32,

    /// Events per file [default: distributed as in real accounts, median 5, mean 8.6]
    #[arg(long, value_name = "N", value_parser = value::whole::<u32>(0..=u64::from(u32::MAX)))]
    pub(crate) events: Option<u32>,

    /// Number of accounts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value::whole::<u32>(1..=u64::from(ACCOUNTS)))]
    pub(crate) accounts: u32,

    /// Number of regions of each account
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value::whole::<u32>(1..=u64::from(REGIONS)))]
    pub(crate) regions: u32,

    /// Number of days over which the files are delivered, starting on 15 January 2026
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value::whole::<u32>(1..=3_650))]
    pub(crate) days: u32,

    /// Percentage of events that a second trail also delivers
    #[arg(long, value_name = "PERCENT", default_value_t = 27, value_parser = value::whole::<u32>(0..=100))]
    pub(crate) overlap: u32,
}
