//! Arguments of `trailhose rules`.

use super::value;
use clap::{Args, Subcommand};
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose rules check ./rules
  trailhose rules list ./rules --json
  trailhose rules publish ./rules s3://security-rules/trailhose";

const CHECK_EXIT_CODES: &str = "\
Exit codes:
  0    all rules and filters are valid
  1    all are valid, but a field is unknown, a suppression has ended, or the event filter drops what a rule watches
  2    a rule is invalid, or the folder cannot be read";

const LIST_EXIT_CODES: &str = "\
Exit codes:
  0    the rules were listed
  2    a rule is invalid, or the folder cannot be read";

const PUBLISH_EXIT_CODES: &str = "\
Exit codes:
  0    the rules were published
  2    a rule is invalid, or a file cannot be read or written. The published set is unchanged";

#[derive(Debug, Args)]
pub(crate) struct RulesArgs {
    #[command(subcommand)]
    pub(crate) command: RulesCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// Load all rules of DIR and report each invalid one with file, line and reason
    #[command(after_help = CHECK_EXIT_CODES)]
    Check(RuleFolderArgs),
    /// List the rules of DIR: level, title, ATT&CK techniques and watched event names
    #[command(after_help = LIST_EXIT_CODES)]
    List(RuleFolderArgs),
    /// Publish the rules of DIR for the detect function: write the files, and then the manifest
    #[command(after_help = PUBLISH_EXIT_CODES)]
    Publish(PublishArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// Folder with Sigma rules (*.yml)
    #[arg(value_name = "DIR", value_parser = value::path)]
    pub(crate) rules: PathBuf,

    /// Where to publish: the stack parameter RulesLocation
    #[arg(value_name = "s3://BUCKET/PREFIX")]
    pub(crate) location: String,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RuleFolderArgs {
    /// Folder with Sigma rules (*.yml), or one file
    #[arg(value_name = "DIR", value_parser = value::path)]
    pub(crate) rules: PathBuf,

    /// Print JSON: one object for `check`, JSON Lines for `list`
    #[arg(long)]
    pub(crate) json: bool,
}
