//! Arguments of `trailhose findings` and `trailhose alerts`.

use super::value::{path, time, whole};
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use std::path::PathBuf;

pub(super) const FINDINGS_EXAMPLES: &str = "\
Examples:
  trailhose findings list --state open                  the open findings, newest first
  trailhose findings rules                              the number of findings of each rule
  trailhose findings show 3f9a                          one finding as OCSF Detection Finding
  trailhose findings close 3f9a --note 'planned work'   close a finding
  trailhose findings list --stack trailhose             the findings of the detect function of a stack";

pub(super) const FINDINGS_EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  a named finding does not exist, several start with the named ID, or the finding to show has no details
  2  invalid arguments, or the folder, its state or the table cannot be opened";

pub(super) const ALERTS_EXAMPLES: &str = "\
Examples:
  trailhose alerts list --state failed   the alerts that were not accepted, with the reason
  trailhose alerts retry                 send all failed alerts again with the next run of `sync`
  trailhose alerts test oncall           send a test message to one destination
  trailhose alerts test --stack trailhose   let the detect function of a stack send test messages";

pub(super) const ALERTS_EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  a test message was not accepted, or there is no failed alert to retry
  2  invalid arguments, the folder, its state or the table cannot be opened, or a secret cannot be read";

/// The folder that `trailhose sync` delivered to.
#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    /// Folder that `trailhose sync` delivered to [default: dest in ./trailhose.toml]
    #[arg(value_name = "DEST", value_parser = path)]
    pub(crate) dest: Option<PathBuf>,
}

/// The table of a deployed stack, instead of a folder.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct FindingTableArgs {
    /// Deployed stack, whose table of findings is used instead of a folder
    #[arg(long, value_name = "NAME", global = true, conflicts_with = "table")]
    pub(crate) stack: Option<String>,
    /// DynamoDB table of findings, instead of a folder
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) table: Option<String>,
}

impl FindingTableArgs {
    /// Whether a table is named.
    pub(crate) fn is_given(&self) -> bool {
        self.stack.is_some() || self.table.is_some()
    }
}

#[derive(Debug, Args)]
pub(crate) struct FindingsArgs {
    #[command(subcommand)]
    pub(crate) command: FindingsCommand,

    #[command(flatten)]
    pub(crate) table: FindingTableArgs,

    /// Print JSON: one object on each line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FindingsCommand {
    /// List findings, the newest first
    List {
        #[command(flatten)]
        folder: StateArgs,
        /// Only findings in this state
        #[arg(long, value_enum)]
        state: Option<FindingStateArg>,
        /// Only findings of the rule with this ID
        #[arg(long, value_name = "ID")]
        rule: Option<String>,
        /// Only findings in events since this time: 2026-11-01, 2026-11-01T10:00:00Z, 7d
        #[arg(long, value_name = "TIME", value_parser = time)]
        since: Option<Timestamp>,
        /// Print at most this many findings
        #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = whole::<u32>(1..=1_000_000))]
        limit: u32,
    },
    /// Show the number of findings, windows and late findings of each rule
    Rules {
        #[command(flatten)]
        folder: StateArgs,
    },
    /// Print a finding as OCSF Detection Finding (JSON)
    Show {
        /// ID of the finding, or the start of it
        id: String,
        #[command(flatten)]
        folder: StateArgs,
    },
    /// Record that a person works on findings
    Acknowledge(ChangeArgs),
    /// Record that findings need no further work
    Close(ChangeArgs),
    /// Record that findings are known and harmless
    Suppress(ChangeArgs),
    /// Record that findings need work again
    Reopen(ChangeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    /// IDs of findings, or the starts of them
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// The reason
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
    /// Folder that `trailhose sync` delivered to [default: dest in ./trailhose.toml]
    #[arg(long, value_name = "DEST", value_parser = path)]
    pub(crate) dest: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FindingStateArg {
    Open,
    Acknowledged,
    Closed,
    Suppressed,
}

#[derive(Debug, Args)]
pub(crate) struct AlertsArgs {
    #[command(subcommand)]
    pub(crate) command: AlertsCommand,

    #[command(flatten)]
    pub(crate) table: FindingTableArgs,

    /// Print JSON: one object on each line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AlertsCommand {
    /// List alerts in the order in which they were recorded
    List {
        #[command(flatten)]
        folder: StateArgs,
        /// Only alerts in this state
        #[arg(long, value_enum)]
        state: Option<AlertStateArg>,
        /// Print at most this many alerts, the newest ones
        #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = whole::<u32>(1..=1_000_000))]
        limit: u32,
    },
    /// Make failed alerts pending again, and close open circuits
    Retry {
        /// Numbers of failed alerts [default: all]
        #[arg(value_name = "NUMBER")]
        numbers: Vec<i64>,
        /// Folder that `trailhose sync` delivered to [default: dest in ./trailhose.toml]
        #[arg(long, value_name = "DEST", value_parser = path)]
        dest: Option<PathBuf>,
    },
    /// Send a test message to the destinations of the settings file, or let the function of a stack send it
    Test {
        /// Names of destinations [default: all]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Settings file
        #[arg(long, value_name = "FILE", default_value = super::value::SETTINGS_FILE, value_parser = path)]
        config: PathBuf,
        /// Seconds to wait for the function of a stack, which sends once a minute
        #[arg(long, value_name = "SECONDS", default_value_t = 150, value_parser = whole::<u64>(1..=3_600))]
        wait: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AlertStateArg {
    Pending,
    Sent,
    Failed,
}
