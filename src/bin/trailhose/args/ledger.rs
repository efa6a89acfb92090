//! `trailhose ledger`.

use super::value::{LedgerAt, account, ledger};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose ledger stats --ledger ./events/.trailhose/ledger.db
  trailhose ledger show s3://my-trail-bucket/AWSLogs/…/x.json.gz --ledger dynamodb://trailhose
  trailhose ledger events 0a1b2c3d-… --account 111122223333 --region eu-west-1 --time 2026-11-01T10:05:00Z --ledger …
  trailhose ledger quarantine list --ledger dynamodb://trailhose
  trailhose ledger quarantine retry --all --ledger dynamodb://trailhose
  trailhose ledger forget ./bucket/AWSLogs/…/x.json.gz --ledger ./events/.trailhose/ledger.db";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done, or found
  1  nothing was found, or it was refused: a live lease, say; or the ledger did not answer halfway
  2  nothing was begun: the command line cannot be meant, the ledger cannot be opened, or --yes is missing";

#[derive(Debug, Args)]
pub(crate) struct LedgerArgs {
    #[command(subcommand)]
    pub(crate) command: LedgerCommand,

    /// The ledger: an SQLite file, or dynamodb://table
    #[arg(long, global = true, value_name = "FILE|dynamodb://TABLE", value_parser = ledger)]
    pub(crate) ledger: Option<LedgerAt>,

    /// Print JSON: one object, or one on each line where there are many
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// How large the ledger is, and with --scan what is in it
    Stats {
        /// Read the whole table, and count; a file is read anyway
        #[arg(long)]
        scan: bool,
    },
    /// What the ledger says of one object, in every version that is known
    Show {
        /// s3://bucket/key or a path; with #ETAG behind it, that version only
        object: String,
        /// Read the whole table for versions that are no longer in the bucket
        #[arg(long)]
        scan: bool,
    },
    /// Where one event is: its page, its owner, and whether it is delivered
    Events(EventsArgs),
    /// Objects that are set aside
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Take back what is noted of an object: what it owns is delivered again
    Forget {
        /// s3://bucket/key#ETAG, or without #ETAG if only one version is known; or a path
        object: String,
        /// Read the whole table for versions that are no longer in the bucket
        #[arg(long)]
        scan: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// Name them, each with its reason
    List,
    /// Open them again, for objects that can be read now; the next sync or backfill takes them up
    Retry {
        /// s3://bucket/key#ETAG, as `list` prints them
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        objects: Vec<String>,
        /// All that are set aside
        #[arg(long)]
        all: bool,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// An ID alone does not say where its event is kept: account, region and time do.
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// `eventID`, exactly as the event spells it
    pub(crate) id: String,

    /// `recipientAccountId`; may be given several times
    #[arg(long = "account", value_name = "ID", value_parser = account)]
    #[arg(required_unless_present = "scan", conflicts_with = "scan", requires_all = ["regions", "time"])]
    pub(crate) accounts: Vec<String>,

    /// `awsRegion`; may be given several times
    #[arg(long = "region", value_name = "REGION", conflicts_with = "scan", requires = "accounts")]
    pub(crate) regions: Vec<String>,

    /// `eventTime`: 2026-11-01T10:05:00Z
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "scan", requires = "accounts")]
    pub(crate) time: Option<i64>,

    /// Look so many minutes before and behind it too; each page of these costs a read
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..=1440))]
    pub(crate) minutes: i64,

    /// Look everywhere: reads the whole table
    #[arg(long)]
    pub(crate) scan: bool,
}

/// Seconds since 1970.
fn time(text: &str) -> Result<i64, String> {
    let utc = |text: &str| text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
    let time = text.parse().ok().or_else(|| utc(text.trim_end_matches('Z')).map(|time| time.timestamp()));
    let expected = || format!("{text:?} is no time; expected eventTime as 2026-11-01T10:05:00Z");
    time.map(Timestamp::as_second).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_an_instant_or_a_minute_of_utc() {
        assert_eq!(time("1970-01-01T00:01:30Z"), Ok(90));
        assert_eq!(time("1970-01-01T01:01:30+01:00"), Ok(90));
        assert_eq!(time("1970-01-01T00:01Z"), Ok(60));
        assert_eq!(time("1970-01-02"), Ok(86_400));
        assert!(time("noon").unwrap_err().contains("expected eventTime"));
    }
}
