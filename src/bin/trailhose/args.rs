//! Command-line arguments: one module for each subcommand, and the argument types they share.

mod access;
mod ask;
mod backfill;
mod cost;
mod detect;
mod doctor;
mod explain;
mod filter;
mod findings;
mod followers;
mod forward;
mod generate;
mod init;
mod lake;
mod ledger;
mod pause;
mod prune;
mod query;
mod redrive;
mod reference;
mod replay;
mod rules;
mod selection;
mod serve;
mod sql;
mod sync;
pub(crate) mod value;
mod wire;

pub(crate) use ask::{AskArgs, ModelArgs};
pub(crate) use backfill::{BackfillArgs, BackfillCommand};
pub(crate) use cost::CostArgs;
pub(crate) use detect::{DetectArgs, DetectOutputArgs};
pub(crate) use doctor::DoctorArgs;
pub(crate) use explain::ExplainArgs;
pub(crate) use filter::{FilterArgs, FilterCheckArgs, FilterCommand, FilterTestArgs};
pub(crate) use findings::{
    AlertStateArg, AlertsArgs, AlertsCommand, ChangeArgs, FindingStateArg, FindingTableArgs, FindingsArgs,
    FindingsCommand,
};
pub(crate) use followers::{
    DestArgs, EventsArgs, FollowerPosition, FollowersArgs, FollowersCommand, IndexArgs, IndexCommand,
};
pub(crate) use forward::{ForwardArgs, ForwardCommand, ForwardNameArgs};
pub(crate) use generate::GenerateArgs;
pub(crate) use init::InitArgs;
pub(crate) use lake::{CompactArgs, LakeArgs, LakeCommand, LakeTableArgs};
pub(crate) use ledger::{EventArgs, LedgerArgs, LedgerCommand, QuarantineCommand};
pub(crate) use pause::{PauseArgs, PauseOptions, ResumeArgs};
pub(crate) use prune::PruneArgs;
pub(crate) use query::{ConditionArgs, OutputArgs, QueryArgs, ReadingArgs, RemoteArgs, ResultArgs};
pub(crate) use redrive::RedriveArgs;
pub(crate) use reference::{CompletionsArgs, ManArgs};
pub(crate) use replay::ReplayArgs;
pub(crate) use rules::{PublishArgs, RuleFolderArgs, RulesArgs, RulesCommand};
pub(crate) use serve::{ScopeArg, ServeArgs, TokenArgs, TokenCommand};
pub(crate) use sql::SqlArgs;
pub(crate) use sync::{SyncArgs, WebhookArgs};
pub(crate) use value::{CompressMode, Dest, EventsPerRecord, LedgerLocation, Location, SyncDest};
pub(crate) use wire::WireArgs;

use clap::{CommandFactory, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  trailhose sync ./bucket ./events                          deliver a folder as JSON Lines files
  trailhose sync s3://my-trail-bucket ./events --since 7d   deliver the last 7 days of a bucket
  trailhose init && trailhose sync --watch 5m               every trail of this account, every 5 minutes
  trailhose explain ./bucket/AWSLogs/…/x.json.gz            show how sync processes one file
  trailhose generate ./bucket                               generate sample log files";

/// Deliver CloudTrail logs as one deduplicated event stream: every event once, with its bytes unchanged.
#[derive(Debug, Parser)]
#[command(name = "trailhose", version, before_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Profile of the AWS configuration files, instead of AWS_PROFILE
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Deliver to DEST all events of SOURCE that were not delivered before
    #[command(before_help = sync::EXAMPLES, after_help = sync::EXIT_CODES)]
    Sync(Box<SyncArgs>),
    /// Find the account's trails, write trailhose.toml, and list the remaining setup steps
    #[command(before_help = init::EXAMPLES, after_help = init::EXIT_CODES)]
    Init(InitArgs),
    /// Show how sync processes one object, and why (read-only)
    #[command(before_help = explain::EXAMPLES, after_help = explain::EXIT_CODES)]
    Explain(ExplainArgs),
    /// Check a filter file, or test it with the events of a source
    #[command(before_help = filter::EXAMPLES)]
    Filter(FilterArgs),
    /// Write realistic log files of fictional accounts to DIR
    #[command(before_help = generate::EXAMPLES)]
    Generate(GenerateArgs),
    /// Start a backfill on AWS, preview it, or show its progress
    #[command(before_help = backfill::EXAMPLES, after_help = backfill::EXIT_CODES)]
    Backfill(Box<BackfillArgs>),
    /// Inspect the ledger; retry or reset objects
    #[command(before_help = ledger::EXAMPLES, after_help = ledger::EXIT_CODES)]
    Ledger(LedgerArgs),
    /// Search events, and count or group them
    #[command(before_help = query::EXAMPLES, after_help = query::EXIT_CODES)]
    Query(Box<QueryArgs>),
    /// Answer a question in plain English about events
    #[command(before_help = ask::EXAMPLES, after_help = ask::EXIT_CODES)]
    Ask(Box<AskArgs>),
    /// Run a SELECT statement over events
    #[command(before_help = sql::EXAMPLES, after_help = sql::EXIT_CODES)]
    Sql(Box<SqlArgs>),
    /// Find the events of SOURCE that match detection rules
    #[command(before_help = detect::EXAMPLES, after_help = detect::EXIT_CODES)]
    Detect(Box<DetectArgs>),
    /// Check or list detection rules
    #[command(before_help = rules::EXAMPLES)]
    Rules(RulesArgs),
    /// Print delivered events, found with the index
    #[command(before_help = followers::EVENTS_EXAMPLES, after_help = followers::EVENTS_EXIT_CODES)]
    Events(Box<EventsArgs>),
    /// Build the index of the delivered events, or show its state
    #[command(before_help = followers::INDEX_EXAMPLES, after_help = followers::INDEX_EXIT_CODES)]
    Index(IndexArgs),
    /// Show or reset the positions of the consumers of the delivered files, or skip a file that cannot be read
    #[command(before_help = followers::FOLLOWERS_EXAMPLES, after_help = followers::FOLLOWERS_EXIT_CODES)]
    Followers(FollowersArgs),
    /// Show, pause, resume or retry the destinations that delivered events are sent to
    #[command(before_help = forward::EXAMPLES, after_help = forward::EXIT_CODES)]
    Forward(ForwardArgs),
    /// List the findings of detection rules, and change their states
    #[command(before_help = findings::FINDINGS_EXAMPLES, after_help = findings::FINDINGS_EXIT_CODES)]
    Findings(FindingsArgs),
    /// List alerts, retry failed ones, or send a test message
    #[command(before_help = findings::ALERTS_EXAMPLES, after_help = findings::ALERTS_EXIT_CODES)]
    Alerts(AlertsArgs),
    /// Rewrite the events of a lake as Parquet files
    #[command(before_help = lake::EXAMPLES)]
    Lake(LakeArgs),
    /// Run every source at its interval, and serve an HTTP API, metrics and a console in the browser
    #[command(before_help = serve::EXAMPLES, after_help = serve::EXIT_CODES)]
    Serve(ServeArgs),
    /// Create, revoke and list the tokens of the API of serve
    #[command(before_help = serve::TOKEN_EXAMPLES, after_help = serve::TOKEN_EXIT_CODES)]
    Token(TokenArgs),
    /// Delete the delivered files of past days
    #[command(before_help = prune::EXAMPLES, after_help = prune::EXIT_CODES)]
    Prune(PruneArgs),
    /// Return the messages of a dead-letter queue to the queues that they came from
    #[command(before_help = redrive::EXAMPLES, after_help = redrive::EXIT_CODES)]
    Redrive(RedriveArgs),
    /// Examine a deployed stack, and explain each problem with its next step (read-only)
    #[command(before_help = doctor::EXAMPLES, after_help = doctor::EXIT_CODES)]
    Doctor(Box<DoctorArgs>),
    /// Stop the ingestion of a deployed stack without losing a notification
    #[command(before_help = pause::PAUSE_EXAMPLES, after_help = pause::EXIT_CODES)]
    Pause(PauseArgs),
    /// Start the ingestion of a paused stack
    #[command(before_help = pause::RESUME_EXAMPLES, after_help = pause::EXIT_CODES)]
    Resume(ResumeArgs),
    /// Connect the bucket of a stack with its ingest queue, or disconnect it
    #[command(before_help = wire::EXAMPLES, after_help = wire::EXIT_CODES)]
    Wire(WireArgs),
    /// Deliver the events of some days again, although they were delivered
    #[command(before_help = replay::EXAMPLES, after_help = replay::EXIT_CODES)]
    Replay(Box<ReplayArgs>),
    /// Estimate AWS cost for a number of events (offline)
    #[command(before_help = cost::EXAMPLES)]
    Cost(CostArgs),
    /// Print the completion script of a shell
    #[command(hide = true)]
    Completions(CompletionsArgs),
    /// Write the manual pages to a folder
    #[command(hide = true)]
    Man(ManArgs),
}

/// Returns the command that these arguments name, for example `trailhose ledger quarantine retry`. The arguments may be
/// invalid.
pub(crate) fn command_path(args: impl Iterator<Item = String>) -> String {
    let mut command = &Cli::command();
    let mut path = command.get_name().to_owned();
    for arg in args {
        // Options and their values are not names of subcommands.
        if let Some(found) = command.find_subcommand(&arg) {
            path = format!("{path} {}", found.get_name());
            command = found;
        }
    }
    path
}

/// Returns the environment variable that an option of a command can have its value from.
pub(crate) fn variable(option: &str) -> Option<String> {
    let command = Cli::command();
    let mut options = command.get_subcommands().flat_map(clap::Command::get_arguments);
    let found = options.find(|arg| arg.get_long() == Some(option) && arg.get_env().is_some())?;
    found.get_env().map(|name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn command_path_ends_at_the_innermost_subcommand() {
        for (args, path) in [
            ("", "trailhose"),
            ("snyc a b", "trailhose"),
            ("sync a b --sinse 1d", "trailhose sync"),
            ("ledger --ledger x.db quarantine retry", "trailhose ledger quarantine retry"),
            ("backfill status", "trailhose backfill status"),
        ] {
            assert_eq!(command_path(args.split_whitespace().map(str::to_owned)), path);
        }
    }
}
