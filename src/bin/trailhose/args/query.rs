//! Arguments of `trailhose query`.

use super::access::AccessArgs;
use super::value::{LedgerLocation, Location, account, day, ledger, location, region, whole};
use clap::Args;
use jiff::civil::Date;
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose query ./events --error AccessDenied --since 7d
  trailhose query ./events --group-by principal,eventName --since 7d
  trailhose query --athena trailhose --error AccessDenied --since 7d
  trailhose query s3://my-trail-bucket --name DeleteBucket --where requestParameters.bucketName=reports-prod";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    success
  1    some files or lines could not be read: the messages name them
  2    invalid arguments, or the source cannot be opened or listed
  4    no event matches
  130  interrupted by Ctrl-C (143: by SIGTERM): the result covers what was read until then";

/// Where the events are, and how they are read.
#[derive(Debug, Args)]
pub(crate) struct EventSourceArgs {
    /// Folder of `trailhose sync`, downloaded lake, or CloudTrail folder or bucket (s3://bucket[/prefix]) [default: dest in
    /// ./trailhose.toml]
    #[arg(value_name = "SOURCE", value_parser = location)]
    pub(crate) source: Option<Location>,

    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
}

/// How the events of a source are read.
#[derive(Debug, Args)]
pub(crate) struct ReadingArgs {
    /// Number of files that are read at once [default: one for each core; more for a bucket]
    #[arg(long, value_name = "COUNT", value_parser = whole::<usize>(1..=256))]
    pub(crate) threads: Option<usize>,

    /// Do not read objects that were delivered after this day (UTC). Only use it if no event of the span was delivered later
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub(crate) delivered_until: Option<Date>,

    /// The ledger of a folder of `trailhose sync` [default: DEST/.trailhose/ledger.db]
    #[arg(long, value_name = "FILE|dynamodb://TABLE", value_parser = ledger)]
    pub(crate) ledger: Option<LedgerLocation>,

    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

/// Services in AWS that run the query.
#[derive(Debug, Args)]
#[command(next_help_heading = "Query in AWS")]
pub(crate) struct RemoteArgs {
    /// Query a lake with Athena: the stack's outputs LakeDatabaseName and LakeWorkGroupName [default workgroup: the name of
    /// the database]
    #[arg(long, value_name = "DATABASE[@WORKGROUP]", conflicts_with = "event_data_store")]
    pub(crate) athena: Option<String>,

    /// Query an event data store of CloudTrail Lake
    #[arg(long, value_name = "ID|ARN")]
    pub(crate) event_data_store: Option<String>,

    /// Read the table `lines`, which contains the events' own bytes, instead of the table `events`
    #[arg(long, requires = "athena")]
    pub(crate) raw_lines: bool,

    /// Read the table `events_by_day` of `trailhose lake compact`. It contains the days of arrival that are compacted
    #[arg(long, requires = "athena", conflicts_with_all = ["raw_lines", "delivered_until"])]
    pub(crate) by_day: bool,

    /// Location where Athena stores the result, if the workgroup neither manages results nor has a location
    #[arg(long, value_name = "s3://BUCKET/PREFIX/", requires = "athena")]
    pub(crate) result_location: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    #[command(flatten)]
    pub(crate) from: EventSourceArgs,

    #[command(flatten)]
    pub(crate) remote: RemoteArgs,

    /// Earliest event time: 2026-11-01T10:00:00Z, 2026-11-01, yesterday, Monday, or 90m, 12h or 7d before now [default: 24
    /// hours before the end]
    #[arg(long, value_name = "TIME", help_heading = "Time span (UTC)")]
    pub(crate) since: Option<String>,

    /// Latest event time. A day includes its last second; a time is excluded [default: now]
    #[arg(long, value_name = "TIME", help_heading = "Time span (UTC)")]
    pub(crate) until: Option<String>,

    /// Time span in words, for example 'last 7 days' or 'between 2026-11-01 and 2026-11-07'
    #[arg(long, value_name = "SPAN", conflicts_with_all = ["since", "until"], help_heading = "Time span (UTC)")]
    pub(crate) time: Option<String>,

    #[command(flatten)]
    pub(crate) conditions: ConditionArgs,

    #[command(flatten)]
    pub(crate) result: ResultArgs,

    /// Run this plan (JSON; - for standard input) instead of the options for time, conditions and result
    #[arg(long, value_name = "FILE|-")]
    #[arg(conflicts_with_all = ["since", "until", "time", "ConditionArgs", "ResultArgs"])]
    pub(crate) plan: Option<PathBuf>,

    /// Print the plan, and how many files it reads, without running it
    #[arg(long)]
    pub(crate) explain: bool,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Which events are selected. All conditions must hold. If an option is repeated, one of its values must match.
#[derive(Debug, Args)]
#[group(id = "ConditionArgs", multiple = true)]
#[command(next_help_heading = "Conditions (all must hold; repeat an option for alternatives)")]
pub(crate) struct ConditionArgs {
    /// Event ID. Without a time span, events of any time are searched
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,

    /// eventName, for example DeleteBucket
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Vec<String>,

    /// eventSource, for example s3.amazonaws.com
    #[arg(long, value_name = "SOURCE")]
    pub(crate) event_source: Vec<String>,

    /// recipientAccountId: the account that received the event
    #[arg(long, value_name = "ACCOUNT", value_parser = account)]
    pub(crate) account: Vec<String>,

    /// awsRegion
    #[arg(long, value_name = "REGION", value_parser = region)]
    pub(crate) region: Vec<String>,

    /// ARN of the principal. Without an ARN in the event: the service that made the request, or the principal ID
    #[arg(long, value_name = "ARN")]
    pub(crate) principal: Vec<String>,

    /// Access key ID
    #[arg(long, value_name = "ID")]
    pub(crate) access_key: Vec<String>,

    /// sourceIPAddress: an address, or a network such as 10.0.0.0/8
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) address: Vec<String>,

    /// errorCode, for example AccessDenied
    #[arg(long, value_name = "CODE")]
    pub(crate) error: Vec<String>,

    /// Text that a value anywhere in the event contains (repeatable: all texts must occur)
    #[arg(long, value_name = "TEXT")]
    pub(crate) anywhere: Vec<String>,

    /// FIELD=VALUE, != (not), ^= (starts with), $= (ends with), ~= (contains), @= (in a network); FIELD (has a value) or
    /// !FIELD (has none) (repeatable: all conditions must hold)
    #[arg(long = "where", value_name = "CONDITION")]
    pub(crate) conditions: Vec<String>,

    /// Exclude events that fulfill this condition, in the form of --where
    #[arg(long, value_name = "CONDITION")]
    pub(crate) not: Vec<String>,
}

/// What is computed from the selected events.
#[derive(Debug, Args)]
#[group(id = "ResultArgs", multiple = true)]
#[command(next_help_heading = "Result")]
pub(crate) struct ResultArgs {
    /// Columns of a list of events, separated by commas [default: eventTime, eventSource, eventName, principal,
    /// sourceIPAddress, errorCode]
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', conflicts_with = "group_by")]
    pub(crate) columns: Vec<String>,

    /// Group the events by these fields, separated by commas
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    pub(crate) group_by: Vec<String>,

    /// Count the events of each group, or all events [default if there is no other aggregate]
    #[arg(long)]
    pub(crate) count: bool,

    /// Count the distinct values of a field (repeatable)
    #[arg(long, value_name = "FIELD")]
    pub(crate) count_distinct: Vec<String>,

    /// Smallest value of a field, for example eventTime (repeatable)
    #[arg(long, value_name = "FIELD")]
    pub(crate) min: Vec<String>,

    /// Largest value of a field (repeatable)
    #[arg(long, value_name = "FIELD")]
    pub(crate) max: Vec<String>,

    /// Only groups that fulfill this condition, for example 'count>=10' (repeatable)
    #[arg(long, value_name = "CONDITION")]
    pub(crate) having: Vec<String>,

    /// Order of events: newest, oldest or as-read. Order of groups: a column, with :asc or :desc (repeatable) [default: newest;
    /// the first aggregate, largest first]
    #[arg(long, value_name = "ORDER")]
    pub(crate) order: Vec<String>,

    /// Maximum number of rows, or none [default: 100]
    #[arg(long, value_name = "COUNT|none")]
    pub(crate) limit: Option<String>,

    /// Print the events' own bytes, one event on each line, instead of columns
    #[arg(long, conflicts_with_all = ["columns", "group_by", "count", "count_distinct", "min", "max", "csv"])]
    pub(crate) raw: bool,
}

/// How rows are printed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputArgs {
    /// Print JSON Lines: one object for each row
    #[arg(long)]
    pub(crate) json: bool,

    /// Print CSV with a header
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
}
