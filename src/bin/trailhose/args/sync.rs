//! `trailhose sync` on the command line.

use super::selection::Selection;
use super::value::{self, Compress, Dest, LedgerAt, Lines, Place};
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;
use trailhose::event::filter::Filter;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose sync ./bucket ./events
  trailhose sync s3://my-trail-bucket ./events --since 2026-11-01 --account 111122223333
  trailhose sync s3://my-trail-bucket firehose://events --ledger dynamodb://trailhose
  trailhose sync --watch 5m                                 the sources of ./trailhose.toml, again and again
  trailhose sync s3://my-trail-bucket ./events --inventory s3://reports/my-trail-bucket/all/2026-11-20T01-00Z/manifest.json

Run it again, and only what is new is delivered.";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    everything selected is delivered, now or before
  1    something failed or must come back; the same command goes on where it stopped
  2    nothing was begun: the command line cannot be meant, or a part cannot be opened
  3    all is delivered but what is quarantined; each such object is named with its reason
  130  interrupted; what was in flight is finished, the same command goes on";

#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    /// A folder, or s3://bucket[/prefix]; without it the sources of trailhose.toml
    #[arg(value_parser = value::place, requires = "dest")]
    pub(crate) source: Option<Place>,

    /// A folder for JSON Lines files, or firehose://stream
    #[arg(value_parser = value::dest)]
    pub(crate) dest: Option<Dest>,

    /// Several sources and their settings; what is given here as an option counts more [default: ./trailhose.toml]
    #[arg(long, value_name = "FILE", conflicts_with = "source")]
    pub(crate) config: Option<PathBuf>,

    /// Do not end, but look for new, late and replaced objects again and again, with so long a pause: 30s, 5m, 1h
    #[arg(long, value_name = "PAUSE", value_parser = value::pause, help_heading = "Watching")]
    pub(crate) watch: Option<Duration>,

    /// Days before today that each round but the first looks at again [default: 3]
    #[arg(long, value_name = "DAYS", requires = "watch", help_heading = "Watching")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=36_500))]
    pub(crate) look_back: Option<u32>,

    /// What has been delivered: an SQLite file, or dynamodb://table [default: DEST/.trailhose/ledger.db for a folder]
    #[arg(long, value_name = "FILE|dynamodb://TABLE", value_parser = value::ledger)]
    pub(crate) ledger: Option<LedgerAt>,

    /// Days for which a DynamoDB ledger remembers; one in a file never forgets [default: 90]
    #[arg(long, value_name = "DAYS", env = "TRAILHOSE_LEDGER_DAYS", hide_env_values = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(15..=36_500))]
    pub(crate) ledger_days: Option<u32>,

    #[command(flatten)]
    pub(crate) selection: Selection,

    /// The objects of this S3 Inventory report (CSV or Parquet), instead of listing the bucket; SOURCE must be it
    #[arg(long, value_name = "[s3://…/]manifest.json", value_parser = value::place, help_heading = "Which objects")]
    #[arg(conflicts_with = "watch")]
    pub(crate) inventory: Option<Place>,

    /// Also read files that are not named as CloudTrail names its logs
    #[arg(long, help_heading = "Which objects")]
    #[arg(conflicts_with_all = ["since", "until", "accounts", "regions", "kinds"])]
    pub(crate) all_files: bool,

    /// Drop events: `eventSource=kms.amazonaws.com,eventName=Decrypt|Encrypt; readOnly=true`
    #[arg(long, value_name = "RULES", value_parser = Filter::parse, help_heading = "Which events")]
    pub(crate) filter: Option<Filter>,

    /// How JSON Lines files are compressed [default: none]
    #[arg(long, value_name = "HOW", help_heading = "Delivery")]
    pub(crate) compress: Option<Compress>,

    /// How a Firehose stream takes events: many a record, or one (OpenSearch, Iceberg, Splunk) [default: packed]
    #[arg(long, value_name = "HOW", help_heading = "Delivery")]
    pub(crate) destination: Option<Lines>,

    /// Where events longer than a Firehose record (1,000 KiB) are kept; a line that points there is delivered
    #[arg(long, value_name = "s3://BUCKET[/PREFIX]", env = "TRAILHOSE_OVERSIZE", hide_env_values = true)]
    #[arg(help_heading = "Delivery")]
    pub(crate) oversize: Option<String>,

    /// Objects at once [default: the number of cores for a folder; twice that, at most 16, for a bucket]
    #[arg(long, short, value_name = "N", help_heading = "Delivery")]
    pub(crate) jobs: Option<NonZeroUsize>,

    /// Seconds after which JSON Lines files and ledger are made durable together; a kill costs at most so much work
    /// [default: 2]
    #[arg(long, value_name = "SECONDS", value_parser = value::seconds, help_heading = "Delivery")]
    pub(crate) checkpoint: Option<Duration>,

    /// Decompressed bytes at which an object is taken for a decompression bomb [default: 2 GiB]
    #[arg(long, value_name = "BYTES", env = "TRAILHOSE_MAX_OBJECT_BYTES", hide_env_values = true)]
    #[arg(help_heading = "Delivery")]
    pub(crate) max_object_bytes: Option<u64>,

    /// Print the summary as one JSON object
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,

    /// No progress, and no summary; what was not ingested is still named
    #[arg(long, short, help_heading = "Output", conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Name every object that was not ingested, not only the first 20 of each reason
    #[arg(long, short, help_heading = "Output")]
    pub(crate) verbose: bool,
}
