//! `trailhose filter test`: counts the events of a source that each rule keeps or drops.

use crate::args::FilterTestArgs;
use crate::components::{self, Aws};
use crate::print::{print, print_json};
use crate::sync::empty::{Found, warning};
use crate::table::Table;
use crate::text::{counted, one_line};
use indicatif::{HumanCount, ProgressBar};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Receiver;
use trailhose::aws::BucketAccess;
use trailhose::decode::DecodeLimits;
use trailhose::event::filter::{Filter, RuleKind};
use trailhose::sync::ObjectSelection;
use trailhose::trial::{FilterTrial, RuleTally, SampleEvent, TrialReport};

/// Exit code: some objects could not be read, or the listing failed.
const INCOMPLETE: u8 = 1;

pub(super) async fn run(args: FilterTestArgs, halt: &Receiver<bool>) -> Result<u8, String> {
    let filter = super::read(&args.file)?;
    let opened = components::source(&args.source, &BucketAccess::default(), &Aws::default()).await?;
    let selection = ObjectSelection {
        since: args.selection.since,
        until: args.selection.until,
        filters: args.selection.filters(),
        exclude: None,
        is_look_back: false,
    };
    let trial = Arc::new(FilterTrial {
        source: opened.source,
        bucket: opened.bucket,
        prefix: opened.prefix,
        selection,
        filter: filter.clone(),
        limits: DecodeLimits::default(),
        jobs: args.jobs.unwrap_or_else(|| components::jobs(&args.source)),
        samples: args.samples,
    });
    // indicatif draws nothing if standard error is not a terminal.
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut show = |report: &TrialReport| {
        let dropped = HumanCount(report.dropped);
        bar.set_message(format!(
            "{} read  {}, {dropped} dropped",
            counted(report.objects, "object"),
            counted(report.events, "event")
        ));
    };
    let result = trial.run(halt, &mut show).await;
    bar.finish_and_clear();
    let report = match result {
        Ok(report) => report,
        Err(error) => return Ok(crate::report_failure("aborted", &format!("listing failed: {error}"), INCOMPLETE)),
    };
    for (object, reason) in &report.unread_names {
        anstream::eprintln!("not read: {}: {}", one_line(object), one_line(reason));
    }
    let exit_code = exit_code(&args, &report);
    if args.json {
        print_json(&TestResult::new(&filter, &report, exit_code));
    } else {
        print(&table(&args, &filter, &report));
    }
    if exit_code == crate::NOTHING_MATCHED {
        let skipped = [("other".to_owned(), report.not_logs)].into_iter().filter(|(_, count)| *count > 0).collect();
        let found = Found {
            skipped: &skipped,
            excluded: report.excluded,
            excluded_folders: report.excluded_folders,
            unvisited: report.unvisited,
            can_read_all_files: false,
            has_days: args.selection.since.is_some() || args.selection.until.is_some(),
        };
        anstream::eprintln!("{}", warning(&args.source.to_string(), &found.reason(&args.source)));
    }
    Ok(exit_code)
}

fn exit_code(args: &FilterTestArgs, report: &TrialReport) -> u8 {
    match report {
        report if report.stopped => crate::interrupt::exit_code(),
        report if report.unread > 0 => INCOMPLETE,
        report if report.objects == 0 && !args.selection.allow_empty => crate::NOTHING_MATCHED,
        _ => 0,
    }
}

/// The result as JSON.
#[derive(Debug, Serialize)]
struct TestResult<'a> {
    result: &'static str,
    objects: u64,
    objects_not_read: u64,
    not_read: Vec<UnreadObject<'a>>,
    not_logs: u64,
    excluded: u64,
    events: u64,
    kept: u64,
    dropped: u64,
    rules: Vec<RuleResult<'a>>,
    /// Events that are dropped because no include rule matches them.
    not_included: RuleSamples<'a>,
    exit_code: u8,
}

#[derive(Debug, Serialize)]
struct UnreadObject<'a> {
    object: &'a str,
    reason: &'a str,
}

#[derive(Debug, Serialize)]
struct RuleResult<'a> {
    kind: &'static str,
    name: &'a str,
    line: usize,
    #[serde(flatten)]
    decided: RuleSamples<'a>,
}

#[derive(Debug, Serialize)]
struct RuleSamples<'a> {
    events: u64,
    samples: &'a [SampleEvent],
}

impl<'a> RuleSamples<'a> {
    fn new(tally: &'a RuleTally) -> Self {
        Self { events: tally.events, samples: &tally.samples }
    }
}

impl<'a> TestResult<'a> {
    fn new(filter: &'a Filter, report: &'a TrialReport, exit_code: u8) -> Self {
        let rules = filter.rules().zip(&report.rules).map(|(rule, tally)| RuleResult {
            kind: rule.kind().as_str(),
            name: rule.name(),
            line: rule.line(),
            decided: RuleSamples::new(tally),
        });
        Self {
            result: if report.stopped { "interrupted" } else { "completed" },
            objects: report.objects,
            objects_not_read: report.unread,
            not_read: report.unread_names.iter().map(|(object, reason)| UnreadObject { object, reason }).collect(),
            not_logs: report.not_logs,
            excluded: report.excluded,
            events: report.events,
            kept: report.events - report.dropped,
            dropped: report.dropped,
            rules: rules.collect(),
            not_included: RuleSamples::new(&report.not_included),
            exit_code,
        }
    }
}

fn table(args: &FilterTestArgs, filter: &Filter, report: &TrialReport) -> String {
    let mut table = Table::new(24, 14);
    table.head(&format!("{} with {}", args.source, args.file.display()));
    table.row("objects read", report.objects, "");
    table.bad("objects not read", report.unread, "their events are not counted");
    table.row_if("not logs", report.not_logs, "");
    table.row_if("excluded", report.excluded, "by the selection");
    table.row_if("unvisited folders", report.unvisited, "outside CloudTrail's layout");
    table.row("events", report.events, "");
    table.row("kept", report.events - report.dropped, "");
    table.row("dropped", report.dropped, &percent(report.dropped, report.events));
    for (rule, tally) in filter.rules().zip(&report.rules) {
        let verb = match rule.kind() {
            RuleKind::Include => "kept by",
            RuleKind::Exclude => "dropped by",
        };
        let name = format!("{} (line {})", one_line(rule.name()), rule.line());
        samples(&mut table, verb, tally, &name);
    }
    if filter.rules().any(|rule| rule.kind() == RuleKind::Include) {
        samples(&mut table, "dropped", &report.not_included, "no include rule matches");
    }
    if report.stopped {
        table.line("Interrupted: the remaining objects were not read.");
    }
    table.into_text()
}

/// Adds the number of events that a rule decided, and its samples.
fn samples(table: &mut Table, verb: &str, tally: &RuleTally, remark: &str) {
    table.row(verb, tally.events, remark);
    for SampleEvent { time, source, name, object, ordinal } in &tally.samples {
        table.line(&format!("    {}", one_line(&format!("{time} {source} {name}  event {ordinal} of {object}"))));
    }
}

fn percent(part: u64, all: u64) -> String {
    if all == 0 { String::new() } else { format!("{:.1} %", part as f64 * 100.0 / all as f64) }
}
