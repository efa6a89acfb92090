//! `trailhose generate` on the command line.

use super::value;
use clap::Args;
use std::path::PathBuf;
use trailhose::generate::{ACCOUNTS, REGIONS};

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose generate ./bucket
  trailhose generate ./busy --files 4 --events 50000 --accounts 1 --regions 1 --overlap 0";

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// A folder that is empty, or is yet to be made
    #[arg(value_parser = value::path)]
    pub(crate) dir: PathBuf,

    /// The same number makes the same events
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Files
    #[arg(long, value_name = "N", default_value_t = 400)]
    pub(crate) files: u32,

    /// Events of each file [default: as in real accounts, 5 in the median and 8.6 on average]
    #[arg(long, value_name = "N")]
    pub(crate) events: Option<u32>,

    /// Accounts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=i64::from(ACCOUNTS)))]
    pub(crate) accounts: u32,

    /// Regions of each account
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=i64::from(REGIONS)))]
    pub(crate) regions: u32,

    /// Days over which the files are delivered, from 15 January 2026
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    pub(crate) days: u32,

    /// Percent of the events that a second trail delivered as well
    #[arg(long, value_name = "PERCENT", default_value_t = 27, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) overlap: u32,
}
