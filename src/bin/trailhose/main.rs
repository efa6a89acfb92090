//! The `trailhose` command-line program: reads a folder or a bucket and writes JSON Lines files or a Firehose stream.
#![forbid(unsafe_code)]
// Arguments and settings of commands that this build does not contain are still parsed, so that the error can name the
// missing feature.
#![cfg_attr(not(feature = "full"), allow(dead_code, unused_imports))]

#[cfg(feature = "detect")]
mod alerts;
mod args;
mod ask;
#[cfg(feature = "backfill")]
mod backfill;
mod components;
mod cost;
#[cfg(feature = "detect")]
mod detect;
mod detection_counts;
#[cfg(feature = "operate")]
mod doctor;
mod events;
mod explain;
mod filter;
#[cfg(all(feature = "detect", feature = "operate"))]
mod finding_table;
#[cfg(feature = "detect")]
mod findings;
mod followers;
#[cfg(feature = "forward")]
mod forward;
mod forward_view;
mod generate;
#[cfg(feature = "init")]
mod init;
mod interrupt;
mod inventory;
#[cfg(feature = "parquet")]
mod lake;
mod ledger;
mod not_ingested;
#[cfg(feature = "operate")]
mod pause;
mod print;
mod progress;
mod prune;
mod query;
#[cfg(feature = "sqs")]
mod redrive;
mod reference;
#[cfg(feature = "operate")]
mod replay;
#[cfg(feature = "detect")]
mod rules;
#[cfg(feature = "serve")]
mod serve;
mod settings;
mod sql;
mod startup_check;
mod summary;
mod sync;
mod table;
mod text;
#[cfg(feature = "serve")]
mod token;
mod webhook;
#[cfg(feature = "operate")]
mod wire;

use args::{Cli, Command};
use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::process::ExitCode;

/// Exit code: nothing was started. The arguments are invalid, or a source, destination or ledger cannot be opened.
const NOTHING_STARTED: u8 = 2;

/// Exit code: completed, but no object of at least one source matched the selection.
const NOTHING_MATCHED: u8 = 4;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return print_parse_error(&error),
    };
    if let Some(profile) = cli.profile {
        components::use_profile(profile);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start the worker threads: {error}")),
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Sync(args) => sync::run(*args, interrupt::receiver()).await,
            #[cfg(feature = "init")]
            Command::Init(args) => init::run(&args).await,
            Command::Explain(args) => explain::run(args).await,
            Command::Filter(args) => filter::run(args, interrupt::receiver()).await,
            Command::Generate(args) => generate::run(&args).await,
            Command::Events(args) => events::run(&args).await,
            Command::Query(args) => query::run(*args, interrupt::receiver()).await,
            Command::Ask(args) => ask::run(*args, interrupt::receiver()).await,
            Command::Sql(args) => sql::run(*args, interrupt::receiver()).await,
            #[cfg(feature = "detect")]
            Command::Detect(args) => detect::run(*args, interrupt::receiver()).await,
            #[cfg(feature = "detect")]
            Command::Rules(args) => rules::run(&args).await,
            #[cfg(not(feature = "detect"))]
            Command::Detect(_) => Err(components::missing_feature("`trailhose detect`", "detect")),
            #[cfg(not(feature = "detect"))]
            Command::Rules(_) => Err(components::missing_feature("`trailhose rules`", "detect")),
            #[cfg(feature = "parquet")]
            Command::Lake(args) => lake::run(args, interrupt::receiver()).await,
            #[cfg(not(feature = "parquet"))]
            Command::Lake(_) => Err(components::missing_feature("`trailhose lake`", "parquet")),
            Command::Index(args) => followers::index(args, interrupt::receiver()).await,
            Command::Followers(args) => followers::run(args).await,
            #[cfg(feature = "forward")]
            Command::Forward(args) => forward::run(&args),
            #[cfg(not(feature = "forward"))]
            Command::Forward(_) => Err(components::missing_feature("`trailhose forward`", "forward")),
            #[cfg(feature = "serve")]
            Command::Serve(args) => serve::run(args, interrupt::receiver()).await,
            #[cfg(not(feature = "serve"))]
            Command::Serve(_) => Err(components::missing_feature("`trailhose serve`", "serve")),
            #[cfg(feature = "serve")]
            Command::Token(args) => token::run(args),
            #[cfg(not(feature = "serve"))]
            Command::Token(_) => Err(components::missing_feature("`trailhose token`", "serve")),
            Command::Prune(args) => prune::run(args).await,
            #[cfg(feature = "detect")]
            Command::Findings(args) => findings::run(&args).await,
            #[cfg(not(feature = "detect"))]
            Command::Findings(_) => Err(components::missing_feature("`trailhose findings`", "detect")),
            #[cfg(feature = "detect")]
            Command::Alerts(args) => alerts::run(args).await,
            #[cfg(not(feature = "detect"))]
            Command::Alerts(_) => Err(components::missing_feature("`trailhose alerts`", "detect")),
            #[cfg(feature = "backfill")]
            Command::Backfill(args) => backfill::run(*args, interrupt::receiver()).await,
            Command::Ledger(args) => ledger::run(args).await,
            #[cfg(not(feature = "init"))]
            Command::Init(_) => Err(components::missing_feature("`trailhose init`", "init")),
            #[cfg(not(feature = "backfill"))]
            Command::Backfill(_) => Err(components::missing_feature("`trailhose backfill`", "backfill")),
            #[cfg(feature = "sqs")]
            Command::Redrive(args) => redrive::run(args).await,
            #[cfg(not(feature = "sqs"))]
            Command::Redrive(_) => Err(components::missing_feature("`trailhose redrive`", "sqs")),
            #[cfg(feature = "operate")]
            Command::Pause(args) => pause::pause(args).await,
            #[cfg(feature = "operate")]
            Command::Resume(args) => pause::resume(args).await,
            #[cfg(feature = "operate")]
            Command::Doctor(args) => doctor::run(*args).await,
            #[cfg(not(feature = "operate"))]
            Command::Doctor(_) => Err(components::missing_feature("`trailhose doctor`", "operate")),
            #[cfg(feature = "operate")]
            Command::Replay(args) => replay::run(*args, interrupt::receiver()).await,
            #[cfg(not(feature = "operate"))]
            Command::Replay(_) => Err(components::missing_feature("`trailhose replay`", "operate")),
            #[cfg(not(feature = "operate"))]
            Command::Pause(_) => Err(components::missing_feature("`trailhose pause`", "operate")),
            #[cfg(not(feature = "operate"))]
            Command::Resume(_) => Err(components::missing_feature("`trailhose resume`", "operate")),
            #[cfg(feature = "operate")]
            Command::Wire(args) => wire::run(args).await,
            #[cfg(not(feature = "operate"))]
            Command::Wire(_) => Err(components::missing_feature("`trailhose wire`", "operate")),
            Command::Cost(args) => cost::run(&args).await,
            Command::Completions(args) => reference::completions(&args),
            Command::Man(args) => reference::man(&args),
        }
    });
    // Do not wait for reads and requests whose result is no longer needed.
    runtime.shutdown_background();
    result.map_or_else(|error| fail(&error), |code| ExitCode::from(print::exit_code(code)))
}

/// Prints an error as one line. With `--json`, also prints it as one JSON object to standard output, so that a script
/// finds the reason where it expects the result.
fn fail(error: &str) -> ExitCode {
    ExitCode::from(report_failure("not_started", error, NOTHING_STARTED))
}

/// Prints an error like [`fail`] and returns its exit code.
pub(crate) fn report_failure(result: &'static str, error: &str, exit_code: u8) -> u8 {
    let reason = text::one_line(error);
    anstream::eprintln!("{}: {reason}", summary::error_word());
    // The arguments may be invalid, so they are searched as text.
    if std::env::args_os().any(|arg| arg == "--json") {
        print::print_json(&Failure { result, reason: &reason, exit_code });
    }
    exit_code
}

/// The JSON object of a command that has no result.
#[derive(serde::Serialize)]
struct Failure<'a> {
    result: &'static str,
    reason: &'a str,
    exit_code: u8,
}

/// Prints help unchanged, and an error as one line with the suggestions and the command whose help describes it.
fn print_parse_error(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        print::check(error.print());
        return ExitCode::from(if error.use_stderr() { NOTHING_STARTED } else { print::exit_code(0) });
    }
    let text = error.to_string();
    let message: Vec<&str> = text.split("\n\n").next().unwrap_or_default().split_whitespace().collect();
    let message = message.join(" ");
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    let message = match variable(error) {
        Some(variable) => format!("{variable}: {message}"),
        None => message.to_owned(),
    };
    let hint = suggestion(error).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    let command = args::command_path(std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()));
    fail(&format!("{message}{hint} (see {command} --help)"))
}

/// Returns the environment variable that contains the invalid value of an option, if it is not an argument.
fn variable(error: &clap::Error) -> Option<String> {
    let ContextValue::String(option) = error.get(ContextKind::InvalidArg)? else { return None };
    let option = option.split(' ').next()?;
    let is_argument = |arg: std::ffi::OsString| arg.to_string_lossy().split('=').next() == Some(option);
    if std::env::args_os().any(is_argument) {
        return None;
    }
    args::variable(option.strip_prefix("--")?).filter(|name| std::env::var_os(name).is_some())
}

/// Returns the similar argument, value or subcommand that clap found.
fn suggestion(error: &clap::Error) -> Option<&str> {
    let kinds = [ContextKind::SuggestedArg, ContextKind::SuggestedValue, ContextKind::SuggestedSubcommand];
    kinds.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(name) => Some(name.as_str()),
        ContextValue::Strings(names) => names.first().map(String::as_str),
        _ => None,
    })
}
