//! `trailhose sql`: runs a `SELECT` statement over delivered files or a CloudTrail bucket.

mod output;

use crate::args::{Location, SqlArgs};
use crate::components::Aws;
use crate::query::open;
use crate::query::report::{longer_span, not_read, progress_bar, unless_all_time};
use crate::text::{counted, one_line};
use crate::{NOTHING_MATCHED, followers, interrupt, print, report_failure};
use indicatif::HumanBytes;
use jiff::Timestamp;
use output::SqlPrinter;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Receiver;
use trailhose::plan::{TimeSpan, parse_end, parse_start};
use trailhose::query::QueryControl;
use trailhose::sql::{SqlEngine, SqlError, SqlLimits, SqlSpan, SqlSummary, duckdb_view};

/// Exit code: some files or lines could not be read, or a limit stopped the statement.
const INCOMPLETE: u8 = 1;

/// The maximum size of a statement on standard input, in bytes.
const MAX_STATEMENT_BYTES: u64 = 1 << 20;

/// Runs `trailhose sql` and returns the exit code.
pub(crate) async fn run(mut args: SqlArgs, halt: Receiver<bool>) -> Result<u8, String> {
    if args.duckdb_view {
        let location = match &args.from.source {
            Some(location) => location.to_string(),
            None => followers::default_folder("SOURCE")?.display().to_string(),
        };
        print::print(&duckdb_view(&location));
        return Ok(0);
    }
    let statement = statement(&mut args)?;
    let span = span(&args, Timestamp::now())?;
    let limits = SqlLimits { rows: args.limit, timeout: Duration::from_secs(args.timeout), memory: args.memory << 20 };
    let engine = open::engine(args.from.source.as_ref(), &args.from.reading, &Aws::default()).await?;
    let engine = SqlEngine::new(Arc::clone(engine.scan()), span, args.from.reading.delivered_until, limits);
    let control = QueryControl { halt, ..QueryControl::default() };
    let bar = progress_bar(&control.progress);
    let mut rows = SqlPrinter::new(args.output, bar.bar());
    let running = tokio::task::spawn_blocking(move || {
        let result = engine.run(&statement, &control, &mut rows);
        (result, rows)
    });
    let (result, rows) = running.await.map_err(|error| format!("the statement failed: {error}"))?;
    bar.end();
    // Rows that were returned before an error are printed too.
    let stopped = rows.finish();
    match result {
        Ok(summary) => {
            anstream::eprint!("{}", report(&summary, args.limit, stopped));
            Ok(exit_code(&summary))
        }
        Err(SqlError::Interrupted) => {
            Ok(report_failure("interrupted", &SqlError::Interrupted.to_string(), interrupt::exit_code()))
        }
        Err(error @ (SqlError::TimeLimit(_) | SqlError::Memory(_) | SqlError::Failed(_))) => {
            Ok(report_failure("failed", &error.to_string(), INCOMPLETE))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Returns the statement. If the only argument is a statement, the source is the one of the settings.
fn statement(args: &mut SqlArgs) -> Result<String, String> {
    let statement = match (args.statement.take(), args.from.source.take()) {
        (None, Some(Location::Path(path))) if path.to_str().is_some_and(is_statement) => {
            path.to_string_lossy().into_owned()
        }
        (Some(statement), source) => {
            args.from.source = source;
            statement
        }
        (None, _) => return Err("the SQL statement is missing: trailhose sql SOURCE 'SELECT … FROM events'".into()),
    };
    if statement != "-" {
        return Ok(statement);
    }
    let mut text = String::new();
    let read = std::io::stdin().lock().take(MAX_STATEMENT_BYTES + 1).read_to_string(&mut text);
    match read {
        Ok(length) if length as u64 > MAX_STATEMENT_BYTES => Err("the statement exceeds 1 MiB".into()),
        Ok(_) => Ok(text),
        Err(error) => Err(format!("cannot read the statement from standard input: {error}")),
    }
}

fn is_statement(text: &str) -> bool {
    let first = text.trim_start().split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    ["select", "with", "explain", "values"].contains(&first.to_ascii_lowercase().as_str()) && text.contains(' ')
}

fn span(args: &SqlArgs, now: Timestamp) -> Result<SqlSpan, String> {
    let until = match &args.until {
        Some(text) => parse_end(text, now).map_err(|error| format!("--until: {error}"))?,
        None => now,
    };
    let Some(since) = &args.since else { return Ok(SqlSpan::Until(until)) };
    let since = parse_start(since, now).map_err(|error| format!("--since: {error}"))?;
    TimeSpan::new(since, until).map(SqlSpan::Given).map_err(|error| error.to_string())
}

fn exit_code(summary: &SqlSummary) -> u8 {
    match summary {
        summary if !summary.is_complete() => INCOMPLETE,
        summary if summary.rows == 0 => NOTHING_MATCHED,
        _ => 0,
    }
}

/// The option that reads the events of all time.
const ALL_TIME: &str = "--since 2013-11-01";

/// Returns what was searched and what was not read, for standard error. `stopped` says why not every row was printed.
fn report(summary: &SqlSummary, limit: u64, stopped: Option<&str>) -> String {
    let mut lines = Vec::new();
    for read in &summary.reads {
        let scanned = &read.scanned;
        let all_time = format!("use {ALL_TIME}");
        lines.extend(not_read(scanned, unless_all_time(Some(read.span), &all_time)));
        if stopped.is_some() {
            continue;
        }
        lines.push(format!(
            "searched {} in {} ({}) from {} to {}",
            counted(scanned.events, "event"),
            counted(scanned.files, "file"),
            HumanBytes(scanned.bytes),
            read.span.since(),
            read.span.until()
        ));
        if scanned.selected == 0 {
            lines.extend(longer_span(read.span, ALL_TIME));
        }
        if scanned.without_time > 0 {
            let number = counted(scanned.without_time, "event");
            lines.push(format!("{number} without a valid eventTime: no time span contains them"));
        }
        if scanned.may_count_copies {
            lines.push(
                "warning: too many events match to recognize all of their copies, so some may be returned twice".into(),
            );
        }
    }
    if let Some(stopped) = stopped {
        lines.push(stopped.to_owned());
    } else if summary.is_limited {
        lines.push(format!("warning: there are more than {} rows: raise --limit", limit));
    }
    lines.iter().map(|line| one_line(line) + "\n").collect()
}
