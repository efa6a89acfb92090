//! `trailhose prune`: deletes the delivered files of past days.

use crate::args::{Dest, PruneArgs};
use crate::followers::FollowedFolder;
use crate::ledger::confirm::confirmed;
use crate::print::{print, print_json};
use crate::settings::Settings;
use crate::table::Table;
use crate::text::{counted, one_line};
use indicatif::HumanBytes;
use serde::Serialize;
use trailhose::follow;
use trailhose::retention::{self, RetentionPlan, UnreadByFollower};
use trailhose::sink::jsonl::PrunedFiles;
use trailhose::state::StateDatabase;

/// Exit code: refused, not confirmed, or incomplete.
const NOT_DONE: u8 = 1;

/// The result of `prune`.
#[derive(Debug, Serialize)]
struct PruneReport {
    dest: String,
    /// The first day whose files are kept.
    before: String,
    files: u64,
    events: u64,
    bytes: u64,
    /// Files whose events have no valid time. They are kept.
    undated_files: u64,
    undated_bytes: u64,
    /// The followers that have not read the files and are not ignored.
    unread: Vec<UnreadView>,
    dry_run: bool,
    /// Files that were deleted, including those of an interrupted prune.
    deleted: u64,
    not_deleted: Vec<NotDeleted>,
}

#[derive(Debug, Serialize)]
struct UnreadView {
    follower: String,
    segments: u64,
    events: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl From<&UnreadByFollower> for UnreadView {
    fn from(unread: &UnreadByFollower) -> Self {
        Self {
            follower: unread.name.clone(),
            segments: unread.segments,
            events: unread.events,
            error: unread.error.clone(),
        }
    }
}

/// A file that could not be deleted. The next prune tries again.
#[derive(Debug, Serialize)]
struct NotDeleted {
    path: String,
    reason: String,
}

/// Runs the command and returns the exit code.
pub(crate) async fn run(args: PruneArgs) -> Result<u8, String> {
    let before = args.first_kept_day().ok_or("--before or --older-than is missing")?;
    let followed = FollowedFolder::open(&args.dest)?;
    let state = if args.dry_run { followed.state_read_only() } else { followed.state() }?;
    if !args.dry_run {
        register_followers(&followed, &state)?;
    }
    let planned = || {
        let plan = RetentionPlan::new(&followed.segments, &state, before, &args.ignore_follower);
        plan.map_err(|error| error.to_string())
    };
    let plan = planned()?;
    let mut report = PruneReport {
        dest: followed.segments.root().display().to_string(),
        before: before.to_string(),
        files: plan.files.files,
        events: plan.files.events,
        bytes: plan.files.bytes,
        undated_files: plan.files.undated_files,
        undated_bytes: plan.files.undated_bytes,
        unread: plan.unread.iter().map(UnreadView::from).collect(),
        dry_run: args.dry_run,
        deleted: 0,
        not_deleted: Vec::new(),
    };
    let refused = plan.files.files > 0 && !plan.unread.is_empty();
    if args.dry_run || refused || plan.is_empty() {
        show(&report, &plan, args.json);
        return Ok(if refused { NOT_DONE } else { 0 });
    }
    let question = format!(
        "Delete {} with {} ({}) of the days before {before} from {}?",
        counted(plan.files.files, "file"),
        counted(plan.files.events, "event"),
        HumanBytes(plan.files.bytes),
        report.dest
    );
    let effect = "They are not delivered again.";
    if !confirmed(&question, effect, args.yes)? {
        anstream::eprintln!("no changes made");
        return Ok(NOT_DONE);
    }
    // The open sink excludes every other writer. Files that were delivered before it was opened are part of the second plan.
    let sink = followed.open_sink().await?;
    let pruned = retention::prune(&sink, &followed.segments, &state, planned()?).await;
    let PrunedFiles { files, events, deleted, not_deleted } = pruned.map_err(|error| error.to_string())?;
    report.files = files;
    report.events = events;
    report.deleted = deleted;
    report.not_deleted =
        not_deleted.into_iter().map(|(path, reason)| NotDeleted { path: path.display().to_string(), reason }).collect();
    show(&report, &plan, args.json);
    Ok(if report.not_deleted.is_empty() { 0 } else { NOT_DONE })
}

/// Registers the followers that the settings of this folder configure, as a sync does. One that has not run yet, or whose
/// position was lost, has read nothing.
fn register_followers(followed: &FollowedFolder, state: &StateDatabase) -> Result<(), String> {
    let Some(settings) = Settings::find(None)? else { return Ok(()) };
    let is_dest = match &settings.dest {
        Some(Dest::Folder(dest)) => dest.canonicalize().ok() == followed.segments.root().canonicalize().ok(),
        _ => false,
    };
    for name in settings.follower_names().iter().filter(|_| is_dest) {
        follow::register(name, &followed.segments, state).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn show(report: &PruneReport, plan: &RetentionPlan, json: bool) {
    if json {
        print_json(report);
        return;
    }
    let mut table = Table::new(16, 16);
    table.head(&report.dest);
    let days = plan.files.days.map_or_else(String::new, |(first, last)| format!("of {first} to {last}"));
    table.row(if report.deleted > 0 { "pruned files" } else { "files" }, report.files, &days);
    table.row("events", report.events, &HumanBytes(report.bytes).to_string());
    let interrupted =
        if plan.files.interrupted_files > 0 { "files, including those of an interrupted prune" } else { "files" };
    table.row_if("deleted now", report.deleted, interrupted);
    table.row_if("kept", report.undated_files, "files whose events have no valid time; see `trailhose ledger release`");
    for unread in &report.unread {
        match &unread.error {
            Some(error) => table.line(&format!("  {}", one_line(error))),
            None => table.line(&format!(
                "  The follower {} has not read {} of these files. Run it first, or let it skip them with \
                 --ignore-follower {}. If it is no longer used, remove it with `trailhose followers remove {}`",
                unread.follower,
                counted(unread.events, "event"),
                unread.follower,
                unread.follower
            )),
        }
    }
    for NotDeleted { path, reason } in &report.not_deleted {
        table.line(&one_line(&format!("  not deleted: {path}: {reason}. The next prune tries again")));
    }
    table.line(match (report.files, report.deleted) {
        (_, 1..) if !report.not_deleted.is_empty() => "Some files could not be deleted. The others are deleted.",
        (0, 0) if report.not_deleted.is_empty() => "Nothing to delete.",
        (_, 0) => "Nothing was deleted.",
        _ => "The files are deleted. The ledger still knows their events, so they are not delivered again.",
    });
    print(&table.into_text());
}
