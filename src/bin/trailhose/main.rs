//! The `trailhose` command-line program: reads a folder or a bucket and writes JSON Lines files or a Firehose stream.
#![forbid(unsafe_code)]
// Settings and texts of commands that this build does not contain are still parsed, so that the error can say so.
#![cfg_attr(not(feature = "full"), allow(dead_code, unused_imports))]

mod args;
#[cfg(feature = "backfill")]
mod backfill;
mod components;
mod cost;
mod explain;
mod generate;
#[cfg(feature = "init")]
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

/// Exit code: nothing was started. The arguments are invalid, or a source, destination or ledger cannot be opened.
const NOTHING_STARTED: u8 = 2;

/// Exit code: interrupted. The value that a shell reports for a program stopped by Ctrl-C.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return print_parse_error(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start the worker threads: {error}")),
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Sync(args) => sync::run(*args, interrupt_receiver()).await,
            #[cfg(feature = "init")]
            Command::Init(args) => init::run(&args).await,
            Command::Explain(args) => explain::run(args).await,
            Command::Generate(args) => generate::run(&args),
            #[cfg(feature = "backfill")]
            Command::Backfill(args) => backfill::run(*args, interrupt_receiver()).await,
            Command::Ledger(args) => ledger::run(args).await,
            #[cfg(not(feature = "init"))]
            Command::Init(_) => Err(components::missing_feature("`trailhose init`", "init")),
            #[cfg(not(feature = "backfill"))]
            Command::Backfill(_) => Err(components::missing_feature("`trailhose backfill`", "backfill")),
            Command::Cost(args) => cost::run(&args).await,
        }
    });
    // Do not wait for reads and requests whose result is no longer needed.
    runtime.shutdown_background();
    result.map_or_else(|error| fail(&error), ExitCode::from)
}

fn fail(error: &str) -> ExitCode {
    anstream::eprintln!("{}: {}", summary::error_word(), labels::one_line(error));
    ExitCode::from(NOTHING_STARTED)
}

/// Prints help unchanged, and an error as one line.
fn print_parse_error(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        // A closed pipe is not an error.
        let _ = error.print();
        return ExitCode::from(if error.use_stderr() { NOTHING_STARTED } else { 0 });
    }
    let text = error.to_string();
    let message: Vec<&str> = text.split("\n\n").next().unwrap_or_default().split_whitespace().collect();
    let message = message.join(" ");
    fail(&format!("{} (see trailhose --help)", message.strip_prefix("error: ").unwrap_or(&message)))
}

/// Returns a receiver that becomes true on the first Ctrl-C or SIGTERM; the second signal ends the program.
///
/// Signals are handled on a separate thread, because all worker threads may be busy decompressing.
fn interrupt_receiver() -> watch::Receiver<bool> {
    let (halt, halted) = watch::channel(false);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        // Without a handler the signal ends the program immediately, which loses no events either.
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            for is_second in [false, true] {
                if wait_for_signal().await.is_err() {
                    return;
                }
                if is_second {
                    std::process::exit(INTERRUPTED.into());
                }
                halt.send_replace(true);
            }
        });
    });
    halted
}

#[cfg(unix)]
async fn wait_for_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn wait_for_signal() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
