//! Arguments of `trailhose ledger`.

use super::value::{LedgerLocation, account, ledger, whole};
use clap::{ArgGroup, Args, Subcommand};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose ledger stats --ledger ./events/.trailhose/ledger.db
  trailhose ledger show s3://my-trail-bucket/AWSLogs/…/x.json.gz --ledger dynamodb://trailhose
  trailhose ledger event ID --account 111122223333 --region eu-west-1 --time 2026-11-01T10:05:00Z --ledger …
  trailhose ledger verify ./events
  trailhose ledger release ./events/account=*/region=*/date=2026-11-01/*
  trailhose ledger quarantine list --ledger dynamodb://trailhose
  trailhose ledger quarantine accept s3://…/x.json.gz#ETAG --reason 'truncated at the source' --ledger …
  trailhose ledger quarantine retry --all --ledger dynamodb://trailhose
  trailhose ledger reset ./bucket/AWSLogs/…/x.json.gz --ledger ./events/.trailhose/ledger.db";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  not found, files differ from the ledger, or refused (for example because another worker holds a lease)
  2  invalid arguments, the ledger cannot be opened, a ledger request failed, or --yes is missing";

#[derive(Debug, Args)]
pub(crate) struct LedgerArgs {
    #[command(subcommand)]
    pub(crate) command: LedgerCommand,

    /// The ledger: an SQLite file, or dynamodb://table
    #[arg(long, global = true, value_name = "FILE|dynamodb://TABLE", value_parser = ledger)]
    pub(crate) ledger: Option<LedgerLocation>,

    /// Print JSON: one object on each line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Show the size of the ledger and, with --scan, its contents
    Stats {
        /// Read the whole DynamoDB table and count its items; an SQLite file is always read
        #[arg(long)]
        scan: bool,
    },
    /// Show what the ledger records about one object, for every known version
    Show {
        /// s3://bucket/key or a path; append #ETAG to select one version
        object: String,
        /// Read the whole table to find versions that are no longer in the bucket
        #[arg(long)]
        scan: bool,
    },
    /// Show the page and the owner of one event, and whether it is delivered
    Event(EventArgs),
    /// List, accept or retry quarantined objects
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Compare every byte and every event of the JSON Lines files in a folder with the ledger
    Verify {
        /// The folder. Its ledger is DEST/.trailhose/ledger.db unless --ledger names another file
        dest: PathBuf,
    },
    /// Record that JSON Lines files were moved away or deleted on purpose, so that they are no longer missing
    Release {
        /// The files: DEST/account=…/region=…/date=…/NAME, whether they exist or not
        #[arg(required_unless_present = "not_rebuilt")]
        files: Vec<PathBuf>,
        /// Accept that the events which `sync --rebuild` could not deliver again to this folder stay undelivered
        #[arg(long, value_name = "DEST", conflicts_with = "files")]
        not_rebuilt: Option<PathBuf>,
        /// Do not ask for confirmation
        #[arg(long, short)]
        yes: bool,
    },
    /// Reset an object so that its events are delivered again
    Reset {
        /// s3://bucket/key or a path; append #ETAG if several versions are known
        object: String,
        /// Read the whole table to find versions that are no longer in the bucket
        #[arg(long)]
        scan: bool,
        /// Do not ask for confirmation
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// List quarantined objects, each with the time and the reason of its quarantine
    List,
    /// Accept that quarantined objects stay undelivered, so that runs exit with 0 again; or withdraw this
    Accept {
        /// s3://bucket/key#ETAG, as printed by `list`
        #[arg(required = true)]
        objects: Vec<String>,
        /// The reason, for example a ticket number. `list` shows it
        #[arg(long, value_name = "TEXT", value_parser = reason, required_unless_present = "undo")]
        reason: Option<String>,
        /// Withdraw the acceptance: the objects count as quarantined again
        #[arg(long, conflicts_with = "reason")]
        undo: bool,
    },
    /// Reopen quarantined objects; the next sync or backfill processes them again
    #[command(group(ArgGroup::new("which").required(true).args(["objects", "all"])))]
    Retry {
        /// s3://bucket/key#ETAG, as printed by `list`
        objects: Vec<String>,
        /// All quarantined objects, except those that are accepted
        #[arg(long)]
        all: bool,
        /// Do not ask for confirmation
        #[arg(long, short)]
        yes: bool,
    },
}

/// Arguments that locate an event. The ID is not sufficient: account, region and time determine the ledger page.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("where").required(true).args(["accounts", "scan"])))]
pub(crate) struct EventArgs {
    /// `eventID`, exactly as written in the event
    pub(crate) id: String,

    /// `recipientAccountId` of the event (repeatable)
    #[arg(long = "account", value_name = "ID", value_parser = account)]
    #[arg(requires_all = ["regions", "time"])]
    pub(crate) accounts: Vec<String>,

    /// `awsRegion` of the event (repeatable)
    #[arg(long = "region", value_name = "REGION", conflicts_with = "scan", requires = "accounts")]
    pub(crate) regions: Vec<String>,

    /// `eventTime` of the event: 2026-11-01T10:05:00Z
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "scan", requires = "accounts")]
    pub(crate) time: Option<i64>,

    /// Also search N minutes before and after (one read per page)
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole::<i64>(0..=1440))]
    pub(crate) minutes: i64,

    /// Read the whole table instead of searching by account, region and time
    #[arg(long)]
    pub(crate) scan: bool,
}

/// Checks the reason of an acceptance.
fn reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("expected a reason, found an empty text".into()),
        text if text.len() > 1000 => Err("expected at most 1000 bytes".into()),
        text => Ok(text.to_owned()),
    }
}

/// Parses a time and returns seconds since 1970.
fn time(text: &str) -> Result<i64, String> {
    let utc = |text: &str| text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
    let time = text.parse().ok().or_else(|| utc(text.trim_end_matches('Z')).map(|time| time.timestamp()));
    let expected = || format!("invalid time {text:?}: expected eventTime as 2026-11-01T10:05:00Z");
    time.map(Timestamp::as_second).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_without_zone_is_utc() {
        assert_eq!(time("1970-01-01T00:01:30Z"), Ok(90));
        assert_eq!(time("1970-01-01T01:01:30+01:00"), Ok(90));
        assert_eq!(time("1970-01-01T00:01Z"), Ok(60));
        assert_eq!(time("1970-01-02"), Ok(86_400));
        assert!(time("noon").unwrap_err().contains("expected eventTime"));
    }
}
