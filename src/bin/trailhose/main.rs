//! trailhose on a laptop: a folder or a bucket in, JSON Lines files or a Firehose stream out.
#![forbid(unsafe_code)]

mod args;
mod backfill;
mod components;
mod cost;
mod explain;
mod generate;
mod init;
mod inventory;
mod labels;
mod ledger;
mod print;
mod progress;
mod settings;
mod summary;
mod sync;
mod table;

use args::{Cli, Command};
use clap::Parser;
use clap::error::ErrorKind;
use std::process::ExitCode;
use tokio::sync::watch;

/// Nothing was begun: the command line cannot be meant, or a part cannot be opened.
const NOT_BEGUN: u8 = 2;

/// What a shell reports for a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return told(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refused(&format!("the threads could not be started: {error}")),
    };
    let ended = runtime.block_on(async {
        match cli.command {
            Command::Sync(args) => sync::run(*args, on_interrupt()).await,
            Command::Init(args) => init::run(&args).await,
            Command::Explain(args) => explain::run(args).await,
            Command::Generate(args) => generate::run(&args),
            Command::Backfill(args) => backfill::run(*args, on_interrupt()).await,
            Command::Ledger(args) => ledger::run(args).await,
            Command::Cost(args) => cost::run(&args).await,
        }
    });
    // What is still being read or sent for nobody need not be waited for.
    runtime.shutdown_background();
    ended.map_or_else(|error| refused(&error), ExitCode::from)
}

fn refused(error: &str) -> ExitCode {
    anstream::eprintln!("{}: {}", summary::error_word(), labels::one_line(error));
    ExitCode::from(NOT_BEGUN)
}

/// Prints help as it is, and an error in one line.
fn told(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        // A reader that has gone away needs no help.
        let _ = error.print();
        return ExitCode::from(if error.use_stderr() { NOT_BEGUN } else { 0 });
    }
    let text = error.to_string();
    let what: Vec<&str> = text.split("\n\n").next().unwrap_or_default().split_whitespace().collect();
    let what = what.join(" ");
    refused(&format!("{} (see trailhose --help)", what.strip_prefix("error: ").unwrap_or(&what)))
}

/// Turns true at the first Ctrl-C or SIGTERM; the second ends the program. On a thread of its own: while every worker
/// inflates, a signal must still be heard.
fn on_interrupt() -> watch::Receiver<bool> {
    let (halt, halted) = watch::channel(false);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        // Without a listener the signal ends the program at once, which loses nothing either.
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            for told in [false, true] {
                if signalled().await.is_err() {
                    return;
                }
                if told {
                    std::process::exit(INTERRUPTED.into());
                }
                halt.send_replace(true);
            }
        });
    });
    halted
}

#[cfg(unix)]
async fn signalled() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        told = tokio::signal::ctrl_c() => told,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn signalled() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
