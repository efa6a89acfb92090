//! An answer for people.

use super::{JsonAnswer, summary};
use crate::query::{output, report};
use crate::text::{counted, one_line};
use indicatif::HumanBytes;
use jiff::SignedDuration;
use std::fmt::Write as _;
use trailhose::plan::{Plan, Scope};
use trailhose::query::ScanReport;
use trailhose::question::Question;

/// Returns the first line: the question, restated from the plan.
pub(super) fn introduction(question: &Question) -> String {
    let note =
        if question.has_default_span { " The question names no time, so these are the last 24 hours." } else { "" };
    format!("{}{note}", one_line(&question.restate()))
}

/// Returns the summary and the table.
pub(super) fn answer(answer: &JsonAnswer<'_>) -> String {
    if answer.is_empty() {
        return format!("\nNo event matches. {}\n", advice(answer.plan));
    }
    let mut text = String::new();
    if let Some(totals) = &answer.totals {
        let at_least = if answer.has_more_events { "At least " } else { "" };
        let _ = writeln!(text, "\n{at_least}{totals}\n");
        text.push_str(&output::table(&summary::COLUMNS.map(str::to_owned), &summary::rows(&answer.summary)));
    } else {
        let events = answer.events.map(|events| format!("{} in ", counted(events, "event"))).unwrap_or_default();
        let _ = writeln!(text, "\n{events}{}", counted(answer.rows.len() as u64, "row"));
    }
    let _ = writeln!(text);
    text.push_str(&output::table(&answer.columns, &answer.rows));
    if answer.has_more_events {
        let _ = writeln!(
            text,
            "There are more events, which the summary does not contain. Ask for groups, for example \"by user\"."
        );
    } else if answer.is_limited {
        let _ = writeln!(text, "There are more rows. Ask for more of them, for example for the last 1000 events.");
    }
    text
}

/// Returns what to ask if no event of the span matches.
fn advice(plan: &Plan) -> String {
    let Scope::Time(span) = plan.scope() else {
        return "The source contains no event with this ID.".to_owned();
    };
    if report::unless_all_time(Some(*span), "").is_none() {
        return "Names are case-sensitive.".to_owned();
    }
    let length = span.since().duration_until(span.until());
    let wider = [(24, "in the last 7 days"), (7 * 24, "in the last 30 days"), (31 * 24, "in the last 365 days")];
    let wider = wider.iter().find(|(hours, _)| length <= SignedDuration::from_hours(*hours));
    let wider = wider.map_or("all time", |(_, words)| words);
    format!("Ask about a longer time, for example \"{wider}\". Names are case-sensitive.")
}

/// Returns what was read and what was not, for standard error.
pub(super) fn searched(plan: &Plan, scanned: &ScanReport) -> String {
    let mut text = String::new();
    let span = match plan.scope() {
        Scope::Time(span) => Some(*span),
        Scope::EventId(_) => None,
    };
    for line in report::not_read(scanned, report::unless_all_time(span, "ask about all time")) {
        let _ = writeln!(text, "{}", one_line(&line));
    }
    if scanned.without_time > 0 {
        let _ = writeln!(text, "not searched: {} without a valid eventTime", counted(scanned.without_time, "event"));
    }
    let _ = writeln!(
        text,
        "searched {} in {} ({})",
        counted(scanned.events, "event"),
        counted(scanned.files, "file"),
        HumanBytes(scanned.bytes)
    );
    if scanned.stopped {
        let _ = writeln!(text, "interrupted: the answer covers only what was read");
    }
    text
}
