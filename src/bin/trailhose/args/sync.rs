//! Arguments of `trailhose sync`.

use super::access::AccessArgs;
use super::selection::Selection;
use super::value::{self, CompressMode, EventsPerRecord, LedgerLocation, Location, SyncDest};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;
use trailhose::event::filter::Filter;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose sync ./bucket ./events
  trailhose sync s3://my-trail-bucket ./events --since 2026-11-01 --account 111122223333
  trailhose sync s3://my-trail-bucket firehose://events --ledger dynamodb://trailhose
  trailhose sync ./bucket https://collector.example.com/hook --keys-file ./keys
  trailhose sync --watch 5m                                 the sources of ./trailhose.toml, every 5 minutes
  trailhose sync s3://my-trail-bucket ./events --inventory s3://reports/…/manifest.json

Rerun the command to deliver only new events.";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    all selected objects are delivered
  1    some objects failed or were deferred, or a forward or the detection is not complete; rerun to resume
  2    nothing was started: invalid arguments, or a source, destination or ledger cannot be opened
  3    completed, but some objects are quarantined and not accepted (each is listed with its reason), or events were refused
  4    completed, but no object of a source matched the selection; --allow-empty makes it 0
  130  interrupted by Ctrl-C; objects in progress were finished; rerun to resume
  143  interrupted by SIGTERM, otherwise as 130; with --watch it is 0, or 1 if the last round failed";

/// The webhook that events are sent to.
#[derive(Debug, Default, Args)]
pub(crate) struct WebhookArgs {
    /// Keys that sign the requests to the URL, one on each line
    #[arg(long, value_name = "FILE", value_parser = value::path, help_heading = "Webhook")]
    pub(crate) keys_file: Option<PathBuf>,

    /// Token of the header `Authorization: Bearer …`
    #[arg(long, value_name = "FILE", value_parser = value::path, help_heading = "Webhook")]
    pub(crate) token_file: Option<PathBuf>,

    /// Allow http:// and addresses that are not public
    #[arg(long, help_heading = "Webhook")]
    pub(crate) allow_private: bool,
}

#[derive(Debug, Default, Args)]
pub(crate) struct SyncArgs {
    /// A folder, or s3://bucket[/prefix] [default: the sources of trailhose.toml]
    #[arg(value_parser = value::location, requires = "dest")]
    pub(crate) source: Option<Location>,

    /// An output folder for JSON Lines files, firehose://stream, or the URL of a webhook
    #[arg(value_parser = value::sync_dest)]
    pub(crate) dest: Option<SyncDest>,

    /// Settings file with one or more sources. Command-line options take precedence [default: ./trailhose.toml]
    #[arg(long, value_name = "FILE", conflicts_with = "source")]
    pub(crate) config: Option<PathBuf>,

    /// Keep running: scan for new, late and replaced objects every INTERVAL: 30s, 5m, 1h
    #[arg(long, value_name = "INTERVAL", value_parser = value::pause, help_heading = "Watching")]
    pub(crate) watch: Option<Duration>,

    /// Days before the newest listed log that each round after the first scans again [default: 3]
    #[arg(long, value_name = "DAYS", requires = "watch", help_heading = "Watching")]
    #[arg(value_parser = value::whole::<u32>(0..=36_500))]
    pub(crate) look_back: Option<u32>,

    /// Ledger of delivered events: an SQLite file, or dynamodb://table [default for a folder: DEST/.trailhose/ledger.db]
    #[arg(long, value_name = "FILE|dynamodb://TABLE", value_parser = value::ledger)]
    pub(crate) ledger: Option<LedgerLocation>,

    /// Retention of a DynamoDB ledger in days; an SQLite ledger never expires [default: 90]
    #[arg(long, value_name = "DAYS", env = "TRAILHOSE_LEDGER_DAYS", hide_env_values = true)]
    #[arg(value_parser = value::whole::<u32>(30..=36_500))]
    pub(crate) ledger_days: Option<u32>,

    #[command(flatten)]
    pub(crate) selection: Selection,

    #[command(flatten)]
    pub(crate) access: AccessArgs,

    /// Take the list of objects from this S3 Inventory report (CSV or Parquet) instead of listing the bucket. SOURCE must
    /// be the bucket that the report describes
    #[arg(long, value_name = "[s3://…/]manifest.json", value_parser = value::location, help_heading = "Object selection")]
    #[arg(conflicts_with = "watch")]
    pub(crate) inventory: Option<Location>,

    /// Also read files whose names are not those of CloudTrail logs
    #[arg(long, help_heading = "Object selection")]
    #[arg(conflicts_with_all = ["since", "until", "accounts", "regions", "kinds"])]
    pub(crate) all_files: bool,

    /// Drop events: `eventSource=kms.amazonaws.com,eventName=Decrypt|Encrypt; readOnly=true`
    #[arg(long, value_name = "RULES", value_parser = Filter::parse, help_heading = "Event selection")]
    pub(crate) filter: Option<Filter>,

    /// Keep or drop events by the rules of this file; see trailhose filter
    #[arg(long, value_name = "FILE", value_parser = value::path, help_heading = "Event selection")]
    #[arg(conflicts_with = "filter")]
    pub(crate) filter_file: Option<PathBuf>,

    /// Deliver the events of missing JSON Lines files again, and no other delivered event
    #[arg(long, conflicts_with = "watch", help_heading = "Delivery")]
    pub(crate) rebuild: bool,

    /// Compression of JSON Lines files [default: none]
    #[arg(long, value_name = "FORMAT", help_heading = "Delivery")]
    pub(crate) compress: Option<CompressMode>,

    /// Events per Firehose record: many, or one (for OpenSearch, Iceberg and Splunk) [default: many]
    #[arg(long, value_name = "MODE", help_heading = "Delivery")]
    pub(crate) events_per_record: Option<EventsPerRecord>,

    /// S3 location for oversize events (over 1,000 KiB); a pointer record is delivered instead
    #[arg(long, value_name = "s3://BUCKET[/PREFIX]", env = "TRAILHOSE_OVERSIZE", hide_env_values = true)]
    #[arg(help_heading = "Delivery")]
    pub(crate) oversize: Option<String>,

    /// Number of objects processed concurrently [default: the number of cores for a folder; twice that, at most 16, for
    /// a bucket]
    #[arg(long, short, value_name = "N", value_parser = value::whole::<usize>(1..=10_000), help_heading = "Delivery")]
    pub(crate) jobs: Option<usize>,

    /// Checkpoint interval in seconds; at most this much work is redone after a crash [default: 2]
    #[arg(long, value_name = "SECONDS", value_parser = value::seconds, help_heading = "Delivery")]
    pub(crate) checkpoint: Option<Duration>,

    /// Stop before less than this is free on the disk of a folder destination: 500MB, 10GiB; 0: no limit [default: 1 GiB,
    /// or 5 % of the file system if that is less]
    #[arg(long, value_name = "SIZE", value_parser = value::size, help_heading = "Delivery")]
    pub(crate) min_free: Option<u64>,

    /// Delete the delivered files of days that are older than this many days, as `trailhose prune` does, before each run
    /// or round [default: keep all]
    #[arg(long, value_name = "DAYS", value_parser = value::whole::<u32>(1..=36_500), help_heading = "Delivery")]
    pub(crate) keep_days: Option<u32>,

    /// Quarantine objects larger than this when decompressed [default: 2 GiB]
    #[arg(long, value_name = "BYTES", env = "TRAILHOSE_MAX_OBJECT_BYTES", hide_env_values = true)]
    #[arg(value_parser = value::whole::<u64>(1..=u64::MAX))]
    #[arg(help_heading = "Delivery")]
    pub(crate) max_object_bytes: Option<u64>,

    #[command(flatten)]
    pub(crate) webhook: WebhookArgs,

    /// Folder that contains the events until the URL as DEST has accepted them, and the ledger [default:
    /// ./trailhose-spool/HOST-HASH]
    #[arg(long, value_name = "FOLDER", value_parser = value::path, help_heading = "Webhook")]
    pub(crate) spool: Option<PathBuf>,

    /// Print the summary as one JSON object
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,

    /// Print neither progress nor summary; objects that were not ingested are still listed
    #[arg(long, short, help_heading = "Output", conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// List every object that was not ingested, not only the first 20 for each reason
    #[arg(long, short, help_heading = "Output")]
    pub(crate) verbose: bool,
}
