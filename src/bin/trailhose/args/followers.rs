//! Arguments of `trailhose followers`, `trailhose index` and `trailhose events`.

use super::LedgerLocation;
use super::value::{account, ledger, path, region, time, time_end, whole};
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use std::path::PathBuf;

pub(super) const FOLLOWERS_EXAMPLES: &str = "\
Examples:
  trailhose followers list ./events           the position and the backlog of every follower
  trailhose followers skip index ./events     skip the unreadable part of a file at which `index` stops
  trailhose followers remove forward-siem ./events
                                              remove a forward that is no longer in the settings";

pub(super) const FOLLOWERS_EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  nothing to skip, or not confirmed
  2  invalid arguments, the folder or its state cannot be opened, or --yes is missing";

pub(super) const INDEX_EXAMPLES: &str = "\
Examples:
  trailhose index build ./events    index the events that are not indexed yet
  trailhose index status ./events   size and backlog of the index";

pub(super) const INDEX_EXIT_CODES: &str = "\
Exit codes:
  0    success
  1    stopped before the last delivered event: the message names the file
  2    invalid arguments, or the folder or its index cannot be opened
  130  interrupted by Ctrl-C (143: by SIGTERM)";

pub(super) const EVENTS_EXAMPLES: &str = "\
Examples:
  trailhose events ./events --access-key AKIAIOSFODNN7EXAMPLE --since 7d
  trailhose events ./events --name DeleteBucket --since 2026-11-01 --until 2026-11-05
  trailhose events ./events --id 11111111-2222-4333-8444-555555555555";

pub(super) const EVENTS_EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  some of the found events cannot be read: the messages name the files
  2  invalid arguments, or the folder or its index cannot be opened
  4  no event was found";

/// The folder that `trailhose sync` delivered to.
#[derive(Debug, Args)]
pub(crate) struct DestArgs {
    /// Folder that `trailhose sync` delivered to [default: dest in ./trailhose.toml]
    #[arg(value_name = "DEST", value_parser = path)]
    pub(crate) dest: Option<PathBuf>,

    /// The ledger of the folder [default: DEST/.trailhose/ledger.db]
    #[arg(long, value_name = "FILE|dynamodb://TABLE", value_parser = ledger)]
    pub(crate) ledger: Option<LedgerLocation>,
}

#[derive(Debug, Args)]
pub(crate) struct FollowersArgs {
    #[command(subcommand)]
    pub(crate) command: FollowersCommand,

    /// Print JSON: one object on each line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FollowersCommand {
    /// Show the position and the backlog of every follower
    List {
        #[command(flatten)]
        dest: DestArgs,
    },
    /// Move a follower to the start or to the end
    Reset {
        /// Name of the follower
        name: String,
        #[command(flatten)]
        dest: DestArgs,
        /// New position. start: read everything again; end: skip everything that is committed
        #[arg(long, value_enum)]
        to: FollowerPosition,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Remove a follower that is not used any more, such as a forward that is no longer in the settings
    Remove {
        /// Name of the follower
        name: String,
        #[command(flatten)]
        dest: DestArgs,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Skip the unreadable part of a file at which a follower stops
    Skip {
        /// Name of the follower
        name: String,
        #[command(flatten)]
        dest: DestArgs,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

/// A new position of a follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FollowerPosition {
    Start,
    End,
}

#[derive(Debug, Args)]
pub(crate) struct IndexArgs {
    #[command(subcommand)]
    pub(crate) command: IndexCommand,

    /// Print one JSON object
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum IndexCommand {
    /// Index the delivered events that are not indexed yet
    Build {
        #[command(flatten)]
        dest: DestArgs,
        /// Delete the index and build it again
        #[arg(long)]
        again: bool,
    },
    /// Show the size of the index, and how many delivered events are not in it
    Status {
        #[command(flatten)]
        dest: DestArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    #[command(flatten)]
    pub(crate) dest: DestArgs,

    /// Event ID
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,

    /// Earliest event time: 2026-11-01T10:00:00Z, 2026-11-01, or 90m, 12h or 7d before now
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) since: Option<Timestamp>,

    /// End of the event times: a day is included, a time is excluded
    #[arg(long, value_name = "TIME", value_parser = time_end)]
    pub(crate) until: Option<Timestamp>,

    /// eventName, for example DeleteBucket
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// eventSource, for example s3.amazonaws.com
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Option<String>,

    /// Account ID
    #[arg(long, value_name = "ACCOUNT", value_parser = account)]
    pub(crate) account: Option<String>,

    /// awsRegion
    #[arg(long, value_name = "REGION", value_parser = region)]
    pub(crate) region: Option<String>,

    /// ARN of the principal. For an event without it: the service that made the request, the principal ID, or its type
    #[arg(long, value_name = "ARN")]
    pub(crate) principal: Option<String>,

    /// Access key ID
    #[arg(long, value_name = "ID")]
    pub(crate) access_key: Option<String>,

    /// sourceIPAddress
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) address: Option<String>,

    /// errorCode, for example AccessDenied
    #[arg(long, value_name = "CODE")]
    pub(crate) error: Option<String>,

    /// Print at most this many events, the newest ones
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = whole::<u32>(1..=1_000_000))]
    pub(crate) limit: u32,
}
