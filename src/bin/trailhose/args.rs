//! What may stand on the command line, and what it means.

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::civil::Date;
use jiff::{Span, Timestamp, tz::TimeZone};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;
use trailhose::filter::Filter;
use trailhose::generate::{ACCOUNTS, REGIONS};
use trailhose::object::key::Kind;

const EXAMPLES: &str = "\
Examples:
  trailhose sync ./bucket ./events                          a folder into JSON Lines files
  trailhose sync s3://my-trail-bucket ./events --since 7d   a week of a bucket
  trailhose explain ./bucket/AWSLogs/…/x.json.gz            what would be done with one file, and why
  trailhose generate ./bucket                               a bucket to try it on, without a trail";

const SYNC_EXAMPLES: &str = "\
Examples:
  trailhose sync ./bucket ./events
  trailhose sync s3://my-trail-bucket ./events --since 2026-11-01 --account 111122223333
  trailhose sync s3://my-trail-bucket firehose://events --ledger dynamodb://trailhose

Run it again, and only what is new is delivered.";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  trailhose explain ./bucket/AWSLogs/…/x.json.gz
  trailhose explain s3://my-trail-bucket/AWSLogs/…/x.json.gz --ledger ./events/.trailhose/ledger.db";

const GENERATE_EXAMPLES: &str = "\
Examples:
  trailhose generate ./bucket
  trailhose generate ./busy --files 4 --events 50000 --accounts 1 --regions 1 --overlap 0";

const EXIT_CODES: &str = "\
Exit codes:
  0    everything selected is delivered, now or before
  1    something failed or must come back; the same command goes on where it stopped
  2    nothing was begun: the command line cannot be meant, or a part cannot be opened
  3    all is delivered but what is quarantined; each such object is named with its reason
  130  interrupted; what was in flight is finished, the same command goes on";

const EXPLAIN_EXIT_CODES: &str = "\
Exit codes:
  0    the object is read whole, or is no log
  1    it could not be fetched
  2    the command line cannot be meant, or the ledger cannot be opened
  3    it cannot be read, and would be quarantined";

/// CloudTrail in, one clean stream out: every event once, as the bytes it came in.
#[derive(Debug, Parser)]
#[command(name = "trailhose", version, before_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Deliver every event of SOURCE to DEST that was not delivered before
    #[command(before_help = SYNC_EXAMPLES, after_help = EXIT_CODES)]
    Sync(Box<SyncArgs>),
    /// Say what would be done with one object, and why; writes nothing
    #[command(before_help = EXPLAIN_EXAMPLES, after_help = EXPLAIN_EXIT_CODES)]
    Explain(ExplainArgs),
    /// Make a bucket of realistic log files in DIR, of accounts that do not exist
    #[command(before_help = GENERATE_EXAMPLES)]
    Generate(GenerateArgs),
    /// Say what so many events cost on AWS, by the requests that made-up ones ask for; sends nothing
    #[command(before_help = crate::cost::EXAMPLES)]
    Cost(crate::cost::CostArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    /// A folder, or s3://bucket[/prefix]
    #[arg(value_parser = place)]
    pub(crate) source: Place,

    /// A folder for JSON Lines files, or firehose://stream
    #[arg(value_parser = dest)]
    pub(crate) dest: Dest,

    /// What has been delivered: an SQLite file, or dynamodb://table [default: DEST/.trailhose/ledger.db for a folder]
    #[arg(long, value_name = "FILE|dynamodb://TABLE", value_parser = ledger)]
    pub(crate) ledger: Option<LedgerAt>,

    /// Days for which a DynamoDB ledger remembers; one in a file never forgets
    #[arg(long, value_name = "DAYS", default_value_t = 90, env = "TRAILHOSE_LEDGER_DAYS", hide_env_values = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(15..=36_500))]
    pub(crate) ledger_days: u32,

    /// Delivered by CloudTrail on this day (UTC) or later: 2026-11-01, or 7d for seven days ago
    #[arg(long, value_name = "DATE", value_parser = day, help_heading = "Which objects")]
    pub(crate) since: Option<Date>,

    /// Delivered by CloudTrail on this day (UTC) or earlier
    #[arg(long, value_name = "DATE", value_parser = day, help_heading = "Which objects")]
    pub(crate) until: Option<Date>,

    /// Of this account; may be given several times
    #[arg(long = "account", value_name = "ID", value_parser = account, help_heading = "Which objects")]
    pub(crate) accounts: Vec<String>,

    /// Of this region; may be given several times
    #[arg(long = "region", value_name = "REGION", help_heading = "Which objects")]
    pub(crate) regions: Vec<String>,

    /// Of this kind: CloudTrail, Insight, NetworkActivity or Aggregated; may be given several times
    #[arg(long = "kind", value_name = "KIND", value_parser = kind, help_heading = "Which objects")]
    pub(crate) kinds: Vec<Kind>,

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
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds, help_heading = "Delivery")]
    pub(crate) checkpoint: Duration,

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

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A file, or s3://bucket/key
    #[arg(value_parser = place)]
    pub(crate) object: Place,

    /// Also say what this ledger knows of it: an SQLite file, or dynamodb://table
    #[arg(long, value_name = "FILE|dynamodb://TABLE", value_parser = ledger)]
    pub(crate) ledger: Option<LedgerAt>,

    /// Decompressed bytes at which an object is taken for a decompression bomb [default: 2 GiB]
    #[arg(long, value_name = "BYTES", env = "TRAILHOSE_MAX_OBJECT_BYTES", hide_env_values = true)]
    pub(crate) max_object_bytes: Option<u64>,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// A folder that is empty, or is yet to be made
    #[arg(value_parser = path)]
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

/// Where objects lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Path(PathBuf),
    S3 { bucket: String, key: String },
}

/// Where events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dest {
    Folder(PathBuf),
    Firehose(String),
}

/// Where the ledger is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LedgerAt {
    File(PathBuf),
    DynamoDb(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compress {
    None,
    Gzip,
    Zstd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lines {
    Packed,
    OnePerRecord,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::S3 { bucket, key } if key.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
        }
    }
}

impl std::fmt::Display for Dest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Firehose(stream) => write!(f, "firehose://{stream}"),
        }
    }
}

impl std::fmt::Display for LedgerAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::DynamoDb(table) => write!(f, "dynamodb://{table}"),
        }
    }
}

/// `scheme://rest`, or a path. A path that holds `://` can be given with `./` before it.
fn scheme(text: &str) -> Option<(&str, &str)> {
    text.split_once("://").filter(|(scheme, _)| !scheme.contains(['/', '.']))
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("expected a path, found nothing".into()) } else { Ok(text.into()) }
}

fn place(text: &str) -> Result<Place, String> {
    match scheme(text) {
        None => path(text).map(Place::Path),
        Some(("s3", rest)) => match rest.split_once('/').unwrap_or((rest, "")) {
            ("", _) => Err("no bucket is named; expected s3://bucket[/prefix]".into()),
            (bucket, key) => Ok(Place::S3 { bucket: bucket.into(), key: key.into() }),
        },
        Some((other, _)) => Err(format!("unknown scheme {other}://; expected a path or s3://bucket[/prefix]")),
    }
}

fn dest(text: &str) -> Result<Dest, String> {
    match scheme(text) {
        None => path(text).map(Dest::Folder),
        Some(("firehose", "")) => Err("no stream is named; expected firehose://stream".into()),
        Some(("firehose", stream)) => Ok(Dest::Firehose(stream.into())),
        Some((other, _)) => Err(format!("unknown scheme {other}://; expected a folder or firehose://stream")),
    }
}

fn ledger(text: &str) -> Result<LedgerAt, String> {
    match scheme(text) {
        None => path(text).map(LedgerAt::File),
        Some(("dynamodb", "")) => Err("no table is named; expected dynamodb://table".into()),
        Some(("dynamodb", table)) => Ok(LedgerAt::DynamoDb(table.into())),
        Some((other, _)) => Err(format!("unknown scheme {other}://; expected a file or dynamodb://table")),
    }
}

/// A date, or a number of days or weeks before today (UTC).
fn day(text: &str) -> Result<Date, String> {
    day_before(Timestamp::now().to_zoned(TimeZone::UTC).date(), text)
}

fn day_before(today: Date, text: &str) -> Result<Date, String> {
    let expected = || format!("{text:?} is no day; expected a date as 2026-11-01, or days or weeks ago as 7d or 2w");
    let ago = |number: &str, unit: i32| {
        let number: i32 = number.parse().ok().filter(|&number| number >= 0)?;
        today.checked_sub(Span::new().try_days(number.checked_mul(unit)?).ok()?).ok()
    };
    let relative = text.strip_suffix('d').map(|n| ago(n, 1)).or_else(|| text.strip_suffix('w').map(|n| ago(n, 7)));
    let date = match relative {
        Some(date) => date,
        None => (text.len() == "2026-11-01".len()).then(|| text.parse().ok()).flatten(),
    };
    date.ok_or_else(expected)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let seconds = seconds.filter(|seconds| (Duration::from_millis(10)..=Duration::from_secs(3600)).contains(seconds));
    seconds.ok_or_else(|| format!("{text:?} is no time; expected seconds from 0.01 to 3600"))
}

fn account(text: &str) -> Result<String, String> {
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is no account; expected its 12 digits"))
}

fn kind(text: &str) -> Result<Kind, String> {
    let wanted = text.to_ascii_lowercase();
    let named = |kind: Kind| {
        let name = kind.as_str().to_ascii_lowercase();
        name == wanted || name.strip_prefix("cloudtrail-") == Some(&wanted)
    };
    match Kind::ALL.into_iter().find(|&kind| named(kind)) {
        Some(Kind::Digest) => Err("digests hold no events; they are for verification".into()),
        Some(kind) => Ok(kind),
        None => Err(format!("{text:?} is no kind; expected CloudTrail, Insight, NetworkActivity or Aggregated")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use jiff::civil::date;

    #[test]
    fn the_command_line_is_consistent_in_itself() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_day_is_a_date_or_so_long_ago() {
        let today = date(2026, 11, 21);
        for (text, day) in
            [("2026-11-01", date(2026, 11, 1)), ("0d", today), ("7d", date(2026, 11, 14)), ("2w", date(2026, 11, 7))]
        {
            assert_eq!(day_before(today, text), Ok(day), "{text}");
        }
        for text in ["", "d", "-1d", "7", "7h", "2026-13-01", "20261101", "2026-11-01T00:00", "99999999999w"] {
            assert!(day_before(today, text).unwrap_err().contains("expected a date"), "{text}");
        }
    }

    #[test]
    fn a_place_is_a_path_unless_it_names_a_scheme() {
        let s3 = |bucket: &str, key: &str| Place::S3 { bucket: bucket.into(), key: key.into() };
        assert_eq!(place("s3://b"), Ok(s3("b", "")));
        assert_eq!(place("s3://b/p/q/"), Ok(s3("b", "p/q/")));
        assert_eq!(place("./gs://b"), Ok(Place::Path("./gs://b".into())));
        assert!(place("gs://b").unwrap_err().contains("unknown scheme gs://"));
        assert!(dest("s3://b").unwrap_err().contains("firehose://stream"));
        for empty in ["s3://", "s3:///k", ""] {
            assert!(place(empty).is_err(), "{empty}");
        }
    }

    #[test]
    fn a_kind_is_named_in_full_or_by_its_last_word() {
        assert_eq!(kind("CloudTrail"), Ok(Kind::CloudTrail));
        assert_eq!(kind("insight"), Ok(Kind::Insight));
        assert_eq!(kind("CloudTrail-NetworkActivity"), Ok(Kind::NetworkActivity));
        assert!(kind("Digest").unwrap_err().contains("verification"));
        assert!(kind("trail").is_err());
    }
}
