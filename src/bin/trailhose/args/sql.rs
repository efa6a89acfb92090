//! Arguments of `trailhose sql`.

use super::query::{EventSourceArgs, OutputArgs};
use super::value::whole;
use clap::Args;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose sql ./events 'SELECT eventName, count(*) FROM events GROUP BY 1 ORDER BY 2 DESC' --since 7d
  trailhose sql ./events \"SELECT eventTime, principal, requestParameters->>'$.bucketName' FROM events
    WHERE eventName = 'DeleteBucket' AND eventTime >= '2026-11-01'\"
  trailhose sql --duckdb-view ./events | duckdb -init /dev/stdin";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    success
  1    some files or lines could not be read, or the statement failed or was stopped by a limit
  2    invalid arguments or an invalid statement, or the source cannot be opened or listed
  4    the statement returns no row
  130  interrupted by Ctrl-C (143: by SIGTERM): there is no result";

#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    #[command(flatten)]
    pub(crate) from: EventSourceArgs,

    /// SELECT statement of SQLite over the table events (- for standard input). Its columns are the fields of CloudTrail, such
    /// as eventName and userIdentity.arn, and event, the event's own JSON
    #[arg(value_name = "SQL")]
    pub(crate) statement: Option<String>,

    /// Earliest event time: 2026-11-01T10:00:00Z, 2026-11-01, yesterday, Monday, or 90m, 12h or 7d before now [default: the
    /// lower limit of eventTime in the statement; without one, 24 hours before now]
    #[arg(long, value_name = "TIME", help_heading = "Time span (UTC)")]
    pub(crate) since: Option<String>,

    /// Latest event time. A day includes its last second; a time is excluded [default: now]
    #[arg(long, value_name = "TIME", help_heading = "Time span (UTC)")]
    pub(crate) until: Option<String>,

    /// Maximum number of rows
    #[arg(long, value_name = "COUNT", default_value = "1000", value_parser = whole::<u64>(1..=1_000_000_000))]
    #[arg(help_heading = "Limits")]
    pub(crate) limit: u64,

    /// Maximum duration in seconds
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = whole::<u64>(1..=86_400))]
    #[arg(help_heading = "Limits")]
    pub(crate) timeout: u64,

    /// Maximum memory of SQLite in MiB. SQLite writes no temporary files
    #[arg(long, value_name = "MIB", default_value = "512", value_parser = whole::<u64>(16..=1_048_576))]
    #[arg(help_heading = "Limits")]
    pub(crate) memory: u64,

    /// Print a CREATE VIEW statement for DuckDB over the files of SOURCE, instead of running a statement
    #[arg(long, conflicts_with_all = ["statement", "since", "until", "limit", "timeout", "memory", "json", "csv"])]
    pub(crate) duckdb_view: bool,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
