//! `trailhose lake`: rewrites the events of a lake as Parquet files by event day.

use crate::args::{CompactArgs, LakeArgs, LakeCommand, LakeTableArgs, Location};
use crate::components::{self, Aws};
use crate::interrupt;
use crate::print::{print, print_json};
use crate::query::report;
use crate::text::{counted, one_line};
use indicatif::HumanBytes;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::watch::Receiver;
use trailhose::aws::BucketAccess;
use trailhose::compact::{
    BucketDestination, CompactDestination, CompactError, CompactedDay, FolderDestination, LakeCompaction,
    create_table_statement,
};
use trailhose::query::{QueryControl, QueryScan, ScanLayout};

/// Exit code: some days are not compacted.
const INCOMPLETE: u8 = 1;

/// The hours after the end of a day before it is compacted, because files with its events still arrive. Firehose buffers
/// events for at most 15 minutes. A file that arrives later is compacted by the next run.
const ARRIVAL_HOURS: i64 = 1;

/// The result of `lake compact`.
#[derive(Debug, Serialize)]
struct CompactReport {
    dry_run: bool,
    days: Vec<DayReport>,
    failed_days: usize,
    interrupted: bool,
}

/// The result of one day of arrival.
#[derive(Debug, Serialize)]
struct DayReport {
    arrived: String,
    #[serde(flatten)]
    done: Option<CompactedDay>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Runs the command and returns the exit code.
pub(crate) async fn run(args: LakeArgs, halt: Receiver<bool>) -> Result<u8, String> {
    match args.command {
        LakeCommand::Compact(args) => compact(&args, halt).await,
        LakeCommand::Table(args) => table(&args),
    }
}

fn table(args: &LakeTableArgs) -> Result<u8, String> {
    let Location::S3 { bucket, key } = &args.dest else {
        return Err("Athena reads buckets only: expected s3://bucket/prefix".into());
    };
    let is_plain = |text: &str| !text.contains(['\'', '`', '\\', '\n']);
    if !is_plain(key) || !is_plain(&args.database) {
        return Err("the location and the database must not contain quotes or backslashes".into());
    }
    let location = format!("s3://{bucket}/{key}");
    print(&format!("{}\n", create_table_statement(&args.database, &location)));
    Ok(0)
}

async fn compact(args: &CompactArgs, halt: Receiver<bool>) -> Result<u8, String> {
    let compaction = open(args).await?;
    let until = match args.arrived_until {
        Some(day) => day,
        None => last_complete_day(Timestamp::now())?,
    };
    let days = compaction.arrived_days(args.arrived_since, until).await.map_err(|error| error.to_string())?;
    if days.is_empty() && compaction.arrived_days(None, Date::MAX).await.map_err(|error| error.to_string())?.is_empty()
    {
        return Err(not_a_lake(args));
    }
    let mut report = CompactReport { dry_run: args.dry_run, days: Vec::new(), failed_days: 0, interrupted: false };
    for arrived in days {
        if *halt.borrow() {
            report.interrupted = true;
            break;
        }
        let control = QueryControl { halt: halt.clone(), ..QueryControl::default() };
        let bar = report::progress_bar(&control.progress);
        let result = compaction.compact(arrived, args.dry_run, &control).await;
        bar.end();
        let day = match result {
            Ok(done) => DayReport { arrived: arrived.to_string(), done: Some(done), error: None },
            Err(CompactError::Interrupted) => {
                report.interrupted = true;
                break;
            }
            Err(error) => {
                report.failed_days += 1;
                if let CompactError::Unreadable(scanned) = &error {
                    report::not_read(scanned, None).iter().for_each(|line| anstream::eprintln!("{}", one_line(line)));
                }
                DayReport { arrived: arrived.to_string(), done: None, error: Some(error.to_string()) }
            }
        };
        show_day(&day, args);
        report.days.push(day);
    }
    show(&report, args.json);
    Ok(match report {
        CompactReport { interrupted: true, .. } => interrupt::exit_code(),
        CompactReport { failed_days: 0, .. } => 0,
        _ => INCOMPLETE,
    })
}

/// Opens the lake and the destination.
async fn open(args: &CompactArgs) -> Result<LakeCompaction, String> {
    let aws = Aws::default();
    let mut access = BucketAccess::default();
    args.access.apply(&mut access);
    let opened = components::source(&args.lake, &access, &aws).await?;
    let threads = args.threads.unwrap_or_else(|| components::jobs(&args.lake));
    let source = Arc::clone(&opened.source);
    let scan = QueryScan::open(opened.source, &opened.bucket, &opened.prefix, opened.folder, threads).await;
    let scan = scan.map_err(|error| error.to_string())?;
    let ScanLayout::Lines(events) = scan.layout().clone() else {
        return Err(not_a_lake(args));
    };
    let destination: Box<dyn CompactDestination> = match &args.dest {
        Location::Path(folder) => {
            let folder = FolderDestination::open(folder);
            Box::new(folder.map_err(|error| format!("DEST: {error}"))?)
        }
        Location::S3 { bucket, key } => Box::new(BucketDestination::new(aws.s3().await?, bucket, key)),
    };
    Ok(LakeCompaction::new(source, &opened.bucket, &events, scan, destination))
}

fn not_a_lake(args: &CompactArgs) -> String {
    format!(
        "LAKE: {} is not a lake: there is no folder events/dt=YYYY-MM-DD/, or there are CloudTrail logs next to it (then name \
         the folder events/ itself)",
        args.lake
    )
}

/// Returns the last day for which no more files are expected.
fn last_complete_day(now: Timestamp) -> Result<Date, String> {
    let then = now.checked_sub(Span::new().hours(ARRIVAL_HOURS)).map_err(|error| error.to_string())?;
    TimeZone::UTC.to_datetime(then).date().yesterday().map_err(|error| error.to_string())
}

/// Prints what was done for a day, unless the result is one JSON object.
fn show_day(day: &DayReport, args: &CompactArgs) {
    let arrived = &day.arrived;
    match (&day.done, &day.error) {
        (_, Some(error)) => anstream::eprintln!("{}: {arrived}: {}", crate::summary::error_word(), one_line(error)),
        (Some(done), _) if !args.json => print(&day_line(arrived, done, args.dry_run)),
        _ => {}
    }
}

fn day_line(arrived: &str, done: &CompactedDay, dry_run: bool) -> String {
    let files = format!("{} ({})", counted(done.files, "file"), HumanBytes(done.bytes));
    if done.files == 0 {
        return format!("{arrived}: nothing new; {} compacted before\n", counted(done.earlier_files, "file"));
    }
    if dry_run {
        return format!("{arrived}: {files} to compact\n");
    }
    let mut line = format!(
        "{arrived}: {} of {files} in {} ({}) of {}",
        counted(done.events, "event"),
        counted(done.parquet_files, "Parquet file"),
        HumanBytes(done.parquet_bytes),
        counted(done.event_days, "event day"),
    );
    if done.without_time > 0 {
        line.push_str(&format!(
            "; {} without a valid time, stored under this day",
            counted(done.without_time, "event")
        ));
    }
    if done.not_objects > 0 {
        line.push_str(&format!("; {} without a JSON object, stored under this day", counted(done.not_objects, "line")));
    }
    if done.removed_files > 0 {
        line.push_str(&format!("; removed {} of an interrupted run", counted(done.removed_files, "file")));
    }
    line.push('\n');
    line
}

fn show(report: &CompactReport, json: bool) {
    if json {
        print_json(report);
        return;
    }
    if report.days.is_empty() && !report.interrupted {
        anstream::eprintln!("the lake has no events of these days");
    }
    if report.failed_days > 0 {
        anstream::eprintln!("{} not compacted", counted(report.failed_days as u64, "day"));
    }
    if report.interrupted {
        anstream::eprintln!("interrupted: run the command again to continue");
    }
}
