//! `trailhose detect`: evaluates rules over delivered files or a CloudTrail bucket.

mod output;

use crate::args::DetectArgs;
use crate::components::Aws;
use crate::query::open;
use crate::query::report::{events_match, not_read, progress_bar, unless_all_time};
use crate::text::{counted, one_line};
use crate::{NOTHING_MATCHED, NOTHING_STARTED, interrupt, rules};
use indicatif::HumanBytes;
use jiff::Timestamp;
use output::MatchPrinter;
use std::sync::Arc;
use tokio::sync::watch::Receiver;
use trailhose::detect::{Hunt, HuntReport, RuleSet, hide_messages_of_rule_panics};
use trailhose::plan::{TimeSpan, parse_end, parse_start};
use trailhose::query::{QueryControl, ScanLayout};

/// Exit code: some files or lines could not be read, or a rule failed.
const INCOMPLETE: u8 = 1;

/// Runs `trailhose detect` and returns the exit code.
pub(crate) async fn run(args: DetectArgs, halt: Receiver<bool>) -> Result<u8, String> {
    let span = span(&args, Timestamp::now())?;
    let Some(rules) = rules::read_valid(&args.rules, args.skip_invalid)? else {
        return Ok(crate::report_failure(
            "not_started",
            "a rule is invalid: correct it, or use --skip-invalid",
            NOTHING_STARTED,
        ));
    };
    rules::unknown_fields(&rules).iter().for_each(|warning| anstream::eprintln!("warning: {warning}"));
    hide_messages_of_rule_panics();
    let rules = Arc::new(rules);
    let engine = open::engine(args.from.source.as_ref(), &args.from.reading, &Aws::default()).await?;
    if matches!(engine.scan().layout(), ScanLayout::Lines(_)) {
        rules::filter_warnings(&rules)?.iter().for_each(|warning| anstream::eprintln!("warning: {warning}"));
    }
    let hunt = Hunt {
        scan: Arc::clone(engine.scan()),
        rules: Arc::clone(&rules),
        span,
        arrived_until: args.from.reading.delivered_until,
    };
    let control = QueryControl { halt, ..QueryControl::default() };
    let bar = progress_bar(&control.progress);
    let mut matches = MatchPrinter::new(&args.output, &rules, bar.bar());
    let result = hunt.run(&control, &mut matches).await;
    bar.end();
    let report = result.map_err(|error| error.to_string())?;
    let stopped = matches.finish(&report);
    anstream::eprint!("{}", summary(span, &rules, &report, stopped));
    Ok(exit_code(&report))
}

/// Returns the span of the arguments, or `None` for events of any time.
fn span(args: &DetectArgs, now: Timestamp) -> Result<Option<TimeSpan>, String> {
    let Some(since) = &args.since else { return Ok(None) };
    let since = parse_start(since, now).map_err(|error| format!("--since: {error}"))?;
    let until = match &args.until {
        Some(text) => parse_end(text, now).map_err(|error| format!("--until: {error}"))?,
        None => now,
    };
    TimeSpan::new(since, until).map(Some).map_err(|error| error.to_string())
}

fn exit_code(report: &HuntReport) -> u8 {
    match &report.scanned {
        scanned if scanned.stopped => interrupt::exit_code(),
        _ if !report.is_complete() => INCOMPLETE,
        scanned if scanned.selected == 0 => NOTHING_MATCHED,
        _ => 0,
    }
}

/// Returns what was searched, found and not read, for standard error. `stopped` says why not every match was printed.
fn summary(span: Option<TimeSpan>, rules: &RuleSet, report: &HuntReport, stopped: Option<&str>) -> String {
    let scanned = &report.scanned;
    let mut lines = not_read(scanned, unless_all_time(span, "search all time (without --since)"));
    for (rule, hits) in rules.rules().zip(&report.rules).filter(|(_, hits)| hits.failed > 0) {
        let events = counted(hits.failed, "event");
        lines.push(format!("warning: {}: the evaluation of rule {:?} failed for {events}", rule.file, rule.title));
    }
    let text = |lines: Vec<String>| lines.iter().map(|line| one_line(line) + "\n").collect();
    if let Some(stopped) = stopped {
        lines.push(stopped.to_owned());
        return text(lines);
    }
    let span =
        span.map_or_else(|| "of any time".to_owned(), |span| format!("from {} to {}", span.since(), span.until()));
    let read = format!(
        "{} in {} ({}) with {}",
        counted(scanned.events, "event"),
        counted(scanned.files, "file"),
        HumanBytes(scanned.bytes),
        counted(rules.rules().len() as u64, "rule")
    );
    lines.push(match scanned.selected {
        0 => format!("no event {span} matches; evaluated {read}"),
        selected => format!("{}; evaluated {read}", events_match(selected, &span)),
    });
    if scanned.without_time > 0 {
        let events = counted(scanned.without_time, "matching event");
        lines.push(format!("{events} without a valid eventTime: no time span contains them"));
    }
    if scanned.stopped {
        lines.push("interrupted: the result covers only what was read".into());
    }
    text(lines)
}
