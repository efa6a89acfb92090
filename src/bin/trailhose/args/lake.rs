//! Arguments of `trailhose lake`.

use super::access::AccessArgs;
use super::value::{Location, day, location, whole};
use clap::{Args, Subcommand};
use jiff::civil::Date;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose lake compact s3://lake-bucket s3://lake-bucket/parquet   rewrite past days as Parquet
  trailhose lake compact ./lake ./parquet --arrived-since 2026-11-01
  trailhose lake table s3://lake-bucket/parquet --database trailhose print the statement for the table";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    every day is compacted
  1    some days could not be compacted: the messages name them. The others are compacted
  2    invalid arguments, or the lake or the destination cannot be opened
  130  interrupted by Ctrl-C (143: by SIGTERM): the days before are compacted";

#[derive(Debug, Args)]
pub(crate) struct LakeArgs {
    #[command(subcommand)]
    pub(crate) command: LakeCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LakeCommand {
    /// Rewrite the events of a lake as Parquet files by event day. The lake is not changed
    #[command(after_help = EXIT_CODES)]
    Compact(Box<CompactArgs>),
    /// Print the Athena statement that creates a table over the Parquet files
    Table(LakeTableArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CompactArgs {
    /// The lake: its bucket, or a downloaded folder with events/dt=YYYY-MM-DD/
    #[arg(value_name = "LAKE", value_parser = location)]
    pub(crate) lake: Location,

    /// Where the Parquet files are stored: a folder or s3://bucket/prefix
    #[arg(value_name = "DEST", value_parser = location)]
    pub(crate) dest: Location,

    /// First day of arrival (UTC) [default: the first day of the lake]
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub(crate) arrived_since: Option<Date>,

    /// Last day of arrival (UTC) [default: the last day that ended at least an hour ago]
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub(crate) arrived_until: Option<Date>,

    /// Only count the files that would be compacted
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Number of files that are read at once [default: one for each core; more for a bucket]
    #[arg(long, value_name = "COUNT", value_parser = whole::<usize>(1..=256))]
    pub(crate) threads: Option<usize>,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LakeTableArgs {
    /// Where the Parquet files are: s3://bucket/prefix
    #[arg(value_name = "DEST", value_parser = location)]
    pub(crate) dest: Location,

    /// The database: the stack's output LakeDatabaseName
    #[arg(long, value_name = "DATABASE")]
    pub(crate) database: String,
}
