//! What a query searched: the progress bar, the summary and the explanation of a plan.

use super::PlanExplanation;
use crate::progress;
use crate::text::{counted, one_line};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use trailhose::plan::{EventOrder, Plan, PlanOutput, Scope, TimeSpan};
use trailhose::query::{QuerySummary, ScanProgress, ScanReport};

/// A progress bar that shows the progress of a scan. It is drawn only if standard error is a terminal.
pub(crate) struct ScanBar {
    bar: ProgressBar,
    updates: JoinHandle<()>,
}

/// Starts a progress bar.
pub(crate) fn progress_bar(progress: &Arc<ScanProgress>) -> ScanBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    bar.set_style(progress::style("{wide_bar} {bytes} of {total_bytes}  {msg}  {elapsed}"));
    let (progress, shown) = (Arc::clone(progress), bar.clone());
    let updates = tokio::spawn(async move {
        // The bar is hidden unless standard error is a terminal. Five updates each second are enough.
        while !shown.is_hidden() {
            shown.set_length(progress.found().1);
            shown.set_position(progress.read().1);
            shown.set_message(format!(
                "{}, {}",
                counted(progress.read().0, "file"),
                counted(progress.events(), "event")
            ));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    ScanBar { bar, updates }
}

impl ScanBar {
    pub(crate) fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// Removes the bar.
    pub(crate) fn end(&self) {
        self.updates.abort();
        self.bar.finish_and_clear();
    }
}

/// Returns what was searched, found and not read, for standard error.
pub(crate) fn summary(plan: &Plan, summary: &QuerySummary) -> String {
    let scanned = &summary.scanned;
    let mut text = String::new();
    let mut line = |line: String| {
        let _ = writeln!(text, "{}", one_line(&line));
    };
    not_read(scanned).into_iter().for_each(&mut line);
    let span = match plan.scope() {
        Scope::Time(span) => format!("from {} to {}", span.since(), span.until()),
        Scope::EventId(_) => "of any time".to_owned(),
    };
    let read = match scanned.used_index {
        true => format!("{} found with the index", counted(scanned.events, "event")),
        false => format!(
            "{} in {} ({})",
            counted(scanned.events, "event"),
            counted(scanned.files, "file"),
            HumanBytes(scanned.bytes)
        ),
    };
    let ends_early =
        matches!(plan.output(), PlanOutput::Events { order: EventOrder::AsRead, .. }) && summary.is_limited;
    let at_least = if scanned.stopped || ends_early { "at least " } else { "" };
    line(match scanned.selected {
        0 => format!("no event {span} matches; searched {read}"),
        selected => format!("{at_least}{} {span} match; searched {read}", counted(selected, "event")),
    });
    if summary.is_limited {
        line("there are more rows than the limit: raise --limit to see them".into());
    }
    if scanned.copies > 0 {
        line(format!("{} in further objects: each event counts once", copies(scanned.copies)));
    }
    if scanned.may_count_copies {
        line(
            "warning: too many events match to recognize all copies in several objects, so some may count twice".into(),
        );
    }
    if scanned.without_time > 0 {
        line(format!("{} no valid eventTime, so no time span contains them", events_have(scanned.without_time)));
    }
    if scanned.selected == 0
        && let Scope::Time(span) = plan.scope()
        && let Some(longer) = longer_span(*span)
    {
        line(format!("a longer time span may contain such events: for example {longer}"));
    }
    if scanned.files == 0 && scanned.other_files > 0 && !scanned.used_index {
        line(format!("{} neither logs nor JSON Lines files", files_are(scanned.other_files)));
    }
    if scanned.stopped {
        line("interrupted: the result covers only what was read".into());
    }
    text
}

/// Returns what a scan did not read: files with the reasons, and folders outside of CloudTrail's layout.
pub(crate) fn not_read(scanned: &ScanReport) -> Vec<String> {
    let skipped = scanned.skipped.iter().map(|skipped| format!("warning: {}: {}", skipped.name, skipped.reason));
    let mut lines: Vec<String> = skipped.collect();
    let more = scanned.skipped_files.saturating_sub(scanned.skipped.len() as u64);
    if more > 0 {
        lines.push(format!("warning: {} not read", counted(more, "further path")));
    }
    lines.extend(scanned.unvisited_folders.iter().map(|folder| {
        format!(
            "not searched: {folder} is outside of CloudTrail's layout: query it as a separate source, or query all time"
        )
    }));
    let more = scanned.unvisited.saturating_sub(scanned.unvisited_folders.len() as u64);
    if more > 0 {
        lines.push(format!("not searched: {} outside of CloudTrail's layout", counted(more, "further folder")));
    }
    lines
}

/// Returns the option for a longer time span. `None` if the span is so long that a longer one has no further events.
fn longer_span(span: TimeSpan) -> Option<&'static str> {
    let days = span.until().duration_since(span.since()).as_hours() / 24;
    match days {
        ..7 => Some("--since 7d"),
        7..90 => Some("--since 90d"),
        90..3_650 => Some("--time 'all time'"),
        _ => None,
    }
}

fn copies(count: u64) -> String {
    if count == 1 { "1 copy".to_owned() } else { format!("{} copies", HumanCount(count)) }
}

fn events_have(events: u64) -> String {
    format!("{} {}", counted(events, "event"), if events == 1 { "has" } else { "have" })
}

/// Returns for example `2 files are`.
pub(crate) fn files_are(files: u64) -> String {
    format!("{} {}", counted(files, "file"), if files == 1 { "is" } else { "are" })
}

/// Returns the explanation of a plan for people.
pub(super) fn explanation(explained: &PlanExplanation<'_>) -> String {
    let plan = serde_json::to_string_pretty(explained.plan).unwrap_or_default();
    let mut text = format!("{}\n\n{plan}\n\n", one_line(&explained.meaning));
    let _ = match explained.uses_index {
        true => writeln!(text, "uses the index"),
        false => writeln!(
            text,
            "reads {} ({}) as {}; excludes {} by name",
            counted(explained.files, "file"),
            HumanBytes(explained.bytes),
            explained.layout,
            counted(explained.excluded, "path")
        ),
    };
    if !explained.prefilter.is_empty() {
        let _ = writeln!(text, "parses only lines that contain one of {}", one_line(&explained.prefilter.join(", ")));
    }
    text
}
