//! `trailhose backfill status`: shows the progress of a run.

use crate::args::LedgerLocation;
use crate::components::Aws;
use crate::print::{print, print_json};
use crate::text::one_line;
use clap::builder::styling::Style;
use indicatif::{DecimalBytes, HumanCount};
use serde::Serialize;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use trailhose::backfill::record::dynamodb::DynamoDbRunRecords;
use trailhose::backfill::record::{AccountProgress, RunProgress, RunRecords, Stage};
use trailhose::backfill::{Run, RunId};
use trailhose::ledger::system_clock;

/// Width of a bar in cells.
const BAR_CELLS: u64 = 24;

/// Maximum number of failures listed.
const MAX_LISTED_FAILURES: usize = 10;

/// A run and its progress.
#[derive(Debug, Serialize)]
struct StatusReport<'a> {
    run: &'a Run,
    progress: &'a RunProgress,
}

pub(super) async fn run(id: Option<&RunId>, at: &LedgerLocation, aws: &Aws, json: bool) -> Result<u8, String> {
    let LedgerLocation::DynamoDb(table) = at else {
        return Err(format!("{at}: runs are recorded in the stack's table: use --ledger dynamodb://TABLE"));
    };
    let records = DynamoDbRunRecords::new(aws.dynamodb().await?, table, system_clock());
    let found = match id {
        Some(id) => records.run(id).await,
        None => records.runs(1).await.map(|runs| runs.into_iter().next()),
    };
    let Some(run) = found.map_err(|error| error.to_string())? else {
        let text = match id {
            Some(id) => {
                format!("{at} has no record of run {id}: it has not started yet, or its record expired after 90 days")
            }
            None => format!("{at} has no record of a run: none has started yet, or all records expired after 90 days"),
        };
        anstream::eprintln!("{text}");
        return Ok(super::INCOMPLETE);
    };
    let parts = records.parts(&run.id).await.map_err(|error| error.to_string())?;
    let progress = RunProgress::of(&run, &parts);
    match json {
        true => print_json(&StatusReport { run: &run, progress: &progress }),
        false => print(&text(&run, &progress, std::io::stdout().is_terminal())),
    }
    Ok(if progress.stage == Stage::Failed { super::INCOMPLETE } else { 0 })
}

fn text(run: &Run, progress: &RunProgress, bars: bool) -> String {
    let bold = Style::new().bold();
    let started = jiff::Timestamp::from_second(run.started).map_or_else(|_| "?".to_owned(), |time| time.to_string());
    let stage = match progress.stage {
        Stage::Discovering => "discovering",
        Stage::Working => "in progress",
        Stage::Done => "done",
        Stage::Failed => "finished with failures",
    };
    let mut out = format!("{bold}run {}{bold:#}  {stage}; started {started}, {}\n", run.id, run.options.day_range);
    let counts = &progress.counts;
    let _ = writeln!(
        out,
        "  {} of {} units in {} of {} sources; {} objects listed, {} missing, {} enqueued ({})",
        HumanCount(progress.done),
        HumanCount(progress.units),
        progress.discovered,
        progress.sources,
        HumanCount(counts.listed),
        HumanCount(counts.missing),
        HumanCount(counts.sent),
        DecimalBytes(counts.bytes),
    );
    for (name, account) in &progress.accounts {
        let name = if name.is_empty() { "(no account)" } else { name };
        let bar = if bars { format!("{}  ", bar(account)) } else { String::new() };
        let failed = if account.failed > 0 { format!(", {} failed", account.failed) } else { String::new() };
        let _ = writeln!(
            out,
            "  {name:<14}{bar}{} of {} units{failed}, {} enqueued",
            HumanCount(account.done),
            HumanCount(account.units),
            HumanCount(account.counts.sent)
        );
    }
    for root in &progress.empty {
        let _ = writeln!(out, "  no CloudTrail folders found in {root}: check the prefix");
    }
    if progress.unvisited > 0 {
        let count = HumanCount(progress.unvisited);
        let folders = if progress.unvisited == 1 { "folder is" } else { "folders are" };
        let names = one_line(&progress.unvisited_names.join(", "));
        let _ = writeln!(out, "  {count} {folders} unvisited, not CloudTrail folders: {names}");
    }
    if progress.denied > 0 {
        let count = HumanCount(progress.denied);
        let folders = if progress.denied == 1 { "folder is" } else { "folders are" };
        let names = one_line(&progress.denied_names.join(", "));
        let _ = writeln!(out, "  {count} {folders} not listed, access denied: {names}");
    }
    for failure in progress.failures.iter().take(MAX_LISTED_FAILURES) {
        let _ = writeln!(out, "  failed, will be retried: {}", one_line(failure));
    }
    if progress.failures.len() > MAX_LISTED_FAILURES {
        let _ = writeln!(out, "  … and {} more; --json lists all", progress.failures.len() - MAX_LISTED_FAILURES);
    }
    out
}

/// Draws a bar with the shares of done and failed units among the known units of an account.
fn bar(account: &AccountProgress) -> String {
    let cells = |units: u64| (units * BAR_CELLS).checked_div(account.units).unwrap_or(0).min(BAR_CELLS) as usize;
    let done = cells(account.done);
    let failed = cells(account.done + account.failed) - done;
    let green = Style::new().fg_color(Some(clap::builder::styling::AnsiColor::Green.into()));
    let red = Style::new().fg_color(Some(clap::builder::styling::AnsiColor::Red.into()));
    let rest = "░".repeat(BAR_CELLS as usize - done - failed);
    let (filled, broken) = ("█".repeat(done), "█".repeat(failed));
    format!("{green}{filled}{green:#}{red}{broken}{red:#}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bar_shows_progress_and_never_overflows() {
        let cells = |units, done, failed| {
            let bar = bar(&AccountProgress { units, done, failed, ..AccountProgress::default() });
            let count = |cell: char| bar.chars().filter(|&c| c == cell).count();
            (count('█'), count('░'))
        };
        assert_eq!(cells(48, 12, 12), (12, 12));
        assert_eq!(cells(3, 3, 0), (24, 0));
        assert_eq!(cells(0, 0, 0), (0, 24));
        assert_eq!(cells(2, 3, 4), (24, 0), "a unit can finish before its discovery is recorded");
    }
}
