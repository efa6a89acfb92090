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
use trailhose::query::{PartitionPruning, QuerySummary, ScanProgress, ScanReport};

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
///
/// `stopped` says why not every row was printed.
pub(crate) fn summary(plan: &Plan, summary: &QuerySummary, stopped: Option<&str>) -> String {
    let scanned = &summary.scanned;
    let mut text = String::new();
    let mut line = |line: String| {
        let _ = writeln!(text, "{}", one_line(&line));
    };
    let searched = match plan.scope() {
        Scope::Time(span) => Some(*span),
        Scope::EventId(_) => None,
    };
    not_read(scanned, unless_all_time(searched, "search --time 'all time'")).into_iter().for_each(&mut line);
    if let Some(stopped) = stopped {
        line(stopped.to_owned());
        return text;
    }
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
        selected => format!("{at_least}{}; searched {read}", events_match(selected, &span)),
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
        && let Some(hint) = longer_span(*span, "--time 'all time'")
    {
        line(hint);
    }
    if scanned.stopped {
        line("interrupted: the result covers only what was read".into());
    }
    text
}

/// Returns what a scan did not read: files with the reasons, files that contain no events, and folders outside of CloudTrail's
/// layout. `all_time` is the option that reads these folders too, or `None` if all time was searched.
pub(crate) fn not_read(scanned: &ScanReport, all_time: Option<&str>) -> Vec<String> {
    let skipped = scanned.skipped.iter().map(|skipped| format!("warning: {}: {}", skipped.name, skipped.reason));
    let mut lines: Vec<String> = skipped.collect();
    let more = scanned.skipped_files.saturating_sub(scanned.skipped.len() as u64);
    if more > 0 {
        lines.push(format!("warning: {} not read", counted(more, "further path")));
    }
    let advice = all_time.map(|option| format!(", or {option}")).unwrap_or_default();
    lines.extend(scanned.unvisited_folders.iter().map(|folder| {
        format!("not searched: {folder} is outside of CloudTrail's layout: query it as a separate source{advice}")
    }));
    let more = scanned.unvisited.saturating_sub(scanned.unvisited_folders.len() as u64);
    if more > 0 {
        lines.push(format!("not searched: {} outside of CloudTrail's layout", counted(more, "further folder")));
    }
    if scanned.other_files > 0 {
        let are = match scanned.other_files {
            1 => "1 file is neither a log nor a JSON Lines file".to_owned(),
            files => format!("{} are neither logs nor JSON Lines files", counted(files, "file")),
        };
        lines.push(format!("not searched: {are}: {}", names(scanned.other_files, &scanned.other_names)));
    }
    if scanned.foreign_files > 0 {
        lines.push(format!(
            "not searched: {} not in the ledger's record of this folder: {}",
            match scanned.foreign_files {
                1 => "1 file is".to_owned(),
                files => format!("{} are", counted(files, "file")),
            },
            names(scanned.foreign_files, &scanned.foreign_names)
        ));
    }
    if scanned.longer_files > 0 {
        lines.push(format!(
            "not searched: bytes after the committed length of {}: {}",
            counted(scanned.longer_files, "file"),
            names(scanned.longer_files, &scanned.longer_names)
        ));
    }
    if scanned.arrival_ignored {
        lines.push(
            "warning: --delivered-until has no effect: the source has no folders of days of arrival (dt=YYYY-MM-DD)"
                .into(),
        );
    }
    lines.extend(scanned.empty_source.iter().map(|reason| format!("nothing to search: {reason}")));
    lines
}

/// Returns the first names of `count` files, and how many more there are.
fn names(count: u64, names: &[String]) -> String {
    let more = count.saturating_sub(names.len() as u64);
    let more = if more > 0 { format!(" and {} more", HumanCount(more)) } else { String::new() };
    format!("{}{more}", names.join(", "))
}

/// Returns the option that searches all time, unless this span contains all time. `None` is every time.
pub(crate) fn unless_all_time(span: Option<TimeSpan>, option: &str) -> Option<&str> {
    (!PartitionPruning::of_span(span).is_all_time()).then_some(option)
}

/// Returns a hint with the option for a longer time span. `None` if the span is so long that a longer one has no further
/// events. `all_time` is the option that searches all time.
pub(crate) fn longer_span(span: TimeSpan, all_time: &str) -> Option<String> {
    let days = span.until().duration_since(span.since()).as_hours() / 24;
    let longer = match days {
        ..7 => "--since 7d",
        7..90 => "--since 90d",
        90..3_650 => all_time,
        _ => return None,
    };
    Some(format!("a longer time span may contain such events: for example {longer}"))
}

/// Returns for example `1 event of any time matches`. `span` describes the time.
pub(crate) fn events_match(events: u64, span: &str) -> String {
    format!("{} {span} {}", counted(events, "event"), if events == 1 { "matches" } else { "match" })
}

fn copies(count: u64) -> String {
    if count == 1 { "1 copy".to_owned() } else { format!("{} copies", HumanCount(count)) }
}

fn events_have(events: u64) -> String {
    format!("{} {}", counted(events, "event"), if events == 1 { "has" } else { "have" })
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
    if explained.other_files > 0 {
        let names = names(explained.other_files, &explained.other_names);
        let _ = writeln!(
            text,
            "does not read {}",
            one_line(&format!("{}: {names}", counted(explained.other_files, "other file")))
        );
    }
    if !explained.prefilter.is_empty() {
        let _ = writeln!(text, "parses only lines that contain one of {}", one_line(&explained.prefilter.join(", ")));
    }
    text
}
