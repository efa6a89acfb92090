//! `trailhose followers` and `trailhose index`: the consumers of the delivered files.

use crate::args::{
    Dest, DestArgs, FollowerPosition, FollowersArgs, FollowersCommand, IndexArgs, IndexCommand, LedgerLocation,
};
use crate::forward_view::ForwardView;
use crate::ledger::confirm::confirmed;
use crate::ledger::files::{self, FileRecord};
use crate::print::{print, print_json};
use crate::settings::Settings;
use crate::table::Table;
use crate::text::counted;
use crate::{interrupt, progress};
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;
use trailhose::follow::{self, FollowError, FollowProgress, SkippedSegment};
use trailhose::index::{FOLLOWER, INDEX_FILE, Index, IndexBuild, IndexContents};
use trailhose::sink::jsonl::{Backlog, CommittedSegments, Jsonl};
use trailhose::state::{FollowerState, STATE_FILE, StateDatabase};

/// Exit code: stopped early, or nothing was changed.
const STOPPED: u8 = 1;

/// Why an index can lack events that are in the files, and what to do.
pub(crate) const SKIPPED_EVENTS: &str =
    "it lacks events that were skipped (followers skip): build it again with `trailhose index build --again`";

/// A destination folder, with its segments and the databases of its consumers.
pub(crate) struct FollowedFolder {
    pub(crate) segments: Arc<CommittedSegments>,
    record: FileRecord,
    state_folder: PathBuf,
}

impl FollowedFolder {
    /// Opens the folder that the arguments or the settings name.
    pub(crate) fn open(args: &DestArgs) -> Result<Self, String> {
        let dest = match &args.dest {
            Some(dest) => dest.clone(),
            None => default_folder("DEST")?,
        };
        Self::open_folder(&dest, args.ledger.as_ref())
    }

    /// Opens a folder.
    pub(crate) fn open_folder(dest: &Path, ledger: Option<&LedgerLocation>) -> Result<Self, String> {
        let record = FileRecord::find(dest, ledger)?;
        let segments = CommittedSegments::open(dest, record.path()).map_err(|error| error.to_string())?;
        let state_folder = segments.root().join(".trailhose");
        Ok(Self { segments: Arc::new(segments), record, state_folder })
    }

    /// Opens the folder for changes. No other process may deliver to it meanwhile.
    pub(crate) async fn open_sink(&self) -> Result<Jsonl, String> {
        files::open(&self.record, self.segments.root()).await
    }

    pub(crate) fn state(&self) -> Result<StateDatabase, String> {
        StateDatabase::open(&self.state_folder.join(STATE_FILE)).map_err(|error| error.to_string())
    }

    /// Opens the state for reading, also without the permission to write it.
    pub(crate) fn state_read_only(&self) -> Result<StateDatabase, String> {
        StateDatabase::open_read_only(&self.state_folder.join(STATE_FILE)).map_err(|error| error.to_string())
    }

    pub(crate) fn index_path(&self) -> PathBuf {
        self.state_folder.join(INDEX_FILE)
    }

    /// Returns what a follower has not acknowledged.
    fn backlog(&self, state: Option<&FollowerState>) -> Result<Backlog, String> {
        let cursor = state.map(|state| state.cursor.clone()).unwrap_or_default();
        // A partly read segment counts as a whole, without the events that were read.
        let after = if cursor.lines.is_some() { cursor.segment - 1 } else { cursor.segment };
        let backlog = self.segments.backlog(after).map_err(|error| error.to_string())?;
        Ok(Backlog { events: backlog.events.saturating_sub(cursor.lines.unwrap_or(0)), ..backlog })
    }

    /// Returns the states of all followers.
    pub(crate) fn followers(&self) -> Result<Vec<FollowerView>, String> {
        let state = self.state_read_only()?;
        let followers = state.followers().map_err(|error| error.to_string())?;
        let view = |(name, stored): &(String, FollowerState)| {
            let error = follow::check_next(name, &self.segments, &state).err().map(|error| error.to_string());
            let view = FollowerView::new(name, stored, self.backlog(Some(stored))?, error);
            #[cfg(feature = "forward")]
            let view = match name.strip_prefix("forward-") {
                Some(forward) => FollowerView { forward: ForwardView::read(forward, &state)?, ..view },
                None => view,
            };
            Ok(view)
        };
        followers.iter().map(view).collect()
    }

    /// Returns whether a follower has ever read this folder.
    pub(crate) fn has_state(&self) -> bool {
        self.state_folder.join(STATE_FILE).is_file()
    }

    /// Returns the number of committed events that the index lacks.
    pub(crate) fn not_indexed(&self) -> Result<u64, String> {
        let index = Index::open_read_only(&self.index_path()).map_err(|error| error.to_string())?;
        Ok(self.index_backlog(&index)?.events)
    }

    /// Returns what the index lacks: after its own position, or after the stored position of its follower, if this is more. The two
    /// differ if one of the files was restored from a backup, and while the index is being built again.
    fn index_backlog(&self, index: &Index) -> Result<Backlog, String> {
        let lacking = index.backlog(&self.segments).map_err(|error| error.to_string())?;
        let state = self.state_read_only()?.follower(FOLLOWER).map_err(|error| error.to_string())?;
        let unread = self.backlog(state.as_ref())?;
        Ok(if unread.events > lacking.events { unread } else { lacking })
    }
}

/// Returns the folder that `./trailhose.toml` names as the destination. `argument` is the argument that names another one.
pub(crate) fn default_folder(argument: &str) -> Result<PathBuf, String> {
    match Settings::find(None)?.and_then(|settings| settings.dest) {
        Some(Dest::Folder(folder)) => Ok(folder),
        Some(Dest::Firehose(_)) => Err(format!(
            "trailhose.toml delivers to a stream, and only a folder can be read: name a folder ({argument})"
        )),
        None => Err(format!("name the folder that `trailhose sync` delivered to ({argument})")),
    }
}

/// The state of a follower, for people and programs.
#[derive(Debug, Serialize)]
pub(crate) struct FollowerView {
    name: String,
    /// The number of events that it acknowledged, including repeated ones.
    events: u64,
    /// The number of events that its filter dropped.
    filtered_events: u64,
    backlog_segments: u64,
    backlog_events: u64,
    backlog_bytes: u64,
    /// Seconds since the oldest event of the backlog was committed.
    lag_seconds: u64,
    skipped_segments: u64,
    skipped_events: u64,
    /// Why its next run fails before it reads anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// What it sent, if it is a forward.
    #[serde(skip_serializing_if = "Option::is_none")]
    forward: Option<ForwardView>,
}

impl FollowerView {
    pub(crate) fn is_forward(&self) -> bool {
        self.forward.is_some()
    }

    fn new(name: &str, state: &FollowerState, backlog: Backlog, error: Option<String>) -> Self {
        let lag = match backlog.oldest {
            0 => 0,
            oldest => u64::try_from(jiff::Timestamp::now().as_second() - oldest).unwrap_or(0),
        };
        Self {
            name: name.to_owned(),
            events: state.events,
            filtered_events: state.filtered,
            backlog_segments: backlog.segments,
            backlog_events: backlog.events,
            backlog_bytes: backlog.content,
            lag_seconds: lag,
            skipped_segments: state.skipped_segments,
            skipped_events: state.skipped_events,
            error,
            forward: None,
        }
    }

    pub(crate) fn table(&self) -> String {
        let mut table = Table::new(16, 16);
        table.head(&self.name);
        table.row("events", self.events, "acknowledged");
        table.row_if("filtered", self.filtered_events, "dropped by its filter");
        table.row("backlog", self.backlog_events, &format!("events, {}", HumanBytes(self.backlog_bytes)));
        if self.backlog_segments > 0 && self.lag_seconds > 0 {
            table.row("lag", self.lag_seconds, "seconds since the oldest of them was delivered");
        }
        add_skipped(&mut table, self.skipped_segments, self.skipped_events);
        if let Some(forward) = &self.forward {
            forward.add_to(&mut table);
        }
        if let Some(error) = &self.error {
            table.line(&format!("  {}", crate::text::one_line(error)));
        }
        table.into_text()
    }
}

/// Adds what a follower skipped. The number of events of a segment can be unknown.
fn add_skipped(table: &mut Table, segments: u64, events: u64) {
    match events {
        0 => table.bad("skipped segments", segments, "with an unknown number of events"),
        _ => table.bad("skipped events", events, &format!("in {}", counted(segments, "segment"))),
    }
}

/// Runs `trailhose followers` and returns the exit code.
pub(crate) async fn run(args: FollowersArgs) -> Result<u8, String> {
    match args.command {
        FollowersCommand::List { dest } => list(&FollowedFolder::open(&dest)?, args.json),
        FollowersCommand::Reset { name, dest, to, yes } => {
            reset(&FollowedFolder::open(&dest)?, &name, to, yes, args.json)
        }
        FollowersCommand::Remove { name, dest, yes } => remove(&FollowedFolder::open(&dest)?, &name, yes, args.json),
        FollowersCommand::Skip { name, dest, yes } => skip(&FollowedFolder::open(&dest)?, &name, yes, args.json),
    }
}

fn list(followed: &FollowedFolder, json: bool) -> Result<u8, String> {
    let followers = followed.followers()?;
    if followers.is_empty() && !json {
        print("No follower has read this folder yet.\n");
    }
    for view in &followers {
        match json {
            true => print_json(view),
            false => print(&view.table()),
        }
    }
    Ok(0)
}

/// Returns an error unless the follower exists, so that a misspelled name changes nothing.
fn check_name(state: &StateDatabase, name: &str) -> Result<(), String> {
    let followers = state.followers().map_err(|error| error.to_string())?;
    if followers.iter().any(|(known, _)| known == name) || name == FOLLOWER {
        return Ok(());
    }
    let names: Vec<&str> = followers.iter().map(|(name, _)| name.as_str()).collect();
    let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Err(format!("there is no follower {name}; the followers of this folder are: {known}"))
}

fn reset(followed: &FollowedFolder, name: &str, to: FollowerPosition, yes: bool, json: bool) -> Result<u8, String> {
    let state = followed.state()?;
    check_name(&state, name)?;
    if name == FOLLOWER && to == FollowerPosition::End {
        return Err(format!(
            "queries rely on an index with every delivered event, so it cannot skip to the end: use --to start, or add the \
             missing events with `trailhose index build {}`",
            followed.segments.arguments()
        ));
    }
    let effect = match to {
        FollowerPosition::Start => "It reads every event again.",
        FollowerPosition::End => "It skips every event that it has not read.",
    };
    if !confirmed(&format!("Reset the follower {name}?"), effect, yes)? {
        return Ok(STOPPED);
    }
    let to_end = to == FollowerPosition::End;
    let reset = follow::reset(name, &followed.segments, &state, to_end).map_err(|error| error.to_string())?;
    let view = FollowerView::new(name, &reset, followed.backlog(Some(&reset))?, None);
    match json {
        true => print_json(&view),
        false => print(&view.table()),
    }
    Ok(0)
}

fn remove(followed: &FollowedFolder, name: &str, yes: bool, json: bool) -> Result<u8, String> {
    let state = followed.state()?;
    check_name(&state, name)?;
    let refused = refused_events(&state, name)?;
    let mut effect =
        "Its position is deleted, and no prune waits for it. If it is still used, its next run adds it again, and \
        it reads every event from the start."
            .to_owned();
    if refused > 0 {
        let _ = write!(effect, " {} of its destination are deleted, too.", counted(refused, "refused event"));
    }
    if !confirmed(&format!("Remove the follower {name}?"), &effect, yes)? {
        return Ok(STOPPED);
    }
    let removed = follow::remove(name, &state).map_err(|error| error.to_string())?;
    match json {
        true => print_json(&serde_json::json!({"name": name, "removed": removed, "refused_events": refused})),
        false if removed => print(&format!("Removed the follower {name}.\n")),
        false => print(&format!("The follower {name} has no position: nothing was removed.\n")),
    }
    Ok(0)
}

/// Returns the number of stored events that the destination of a forward refused. Other followers have none.
#[cfg(feature = "forward")]
fn refused_events(state: &StateDatabase, name: &str) -> Result<u64, String> {
    let Some(forward) = name.strip_prefix("forward-") else { return Ok(0) };
    let counts = state.refused_by_status(forward).map_err(|error| error.to_string())?;
    Ok(counts.iter().map(|(_, events)| events).sum())
}

#[cfg(not(feature = "forward"))]
fn refused_events(_: &StateDatabase, _: &str) -> Result<u64, String> {
    Ok(0)
}

/// What `skip` found.
#[derive(Debug, Serialize)]
struct SkipReport {
    file: String,
    fault: String,
    offset: u64,
    events: Option<u64>,
    skipped: bool,
}

fn skip(followed: &FollowedFolder, name: &str, yes: bool, json: bool) -> Result<u8, String> {
    let state = followed.state()?;
    check_name(&state, name)?;
    let find = |skip| follow::skip_segment(name, &followed.segments, &state, skip).map_err(|error| error.to_string());
    let Some(SkippedSegment { segment, fault, events }) = find(false)? else {
        let reason = format!("the follower {name} does not stop at an unreadable file: there is nothing to skip");
        return Ok(crate::report_failure("nothing_to_skip", &reason, STOPPED));
    };
    let file = followed.segments.root().join(&segment.path).display().to_string();
    let count = events.map_or("an unknown number of events".to_owned(), |count| counted(count, "event"));
    let question = format!("{file} {fault}. Skip {count} at offset {}?", segment.start);
    let confirmed = confirmed(&question, &format!("The follower {name} will never read them."), yes)?;
    if confirmed && name == FOLLOWER {
        // Before the skip: the index must not seem complete if this process ends between the two.
        let stored = state.follower(FOLLOWER).map_err(|error| error.to_string())?.unwrap_or_default();
        let stored = FollowerState { folder: followed.segments.folder_id().to_owned(), ..stored };
        Index::record_skip(&followed.index_path(), &stored, &segment).map_err(|error| error.to_string())?;
    }
    let skipped = confirmed && find(true)?.is_some();
    let report = SkipReport { file, fault: fault.to_string(), offset: segment.start, events, skipped };
    match json {
        true => print_json(&report),
        false if skipped => print(&format!("Skipped {count} of {}.\n", report.file)),
        false => {}
    }
    Ok(if skipped { 0 } else { STOPPED })
}

/// The result of `index`.
#[derive(Debug, Serialize)]
struct IndexReport {
    /// Events indexed by this run.
    indexed: u64,
    #[serde(flatten)]
    contents: IndexContents,
    /// Delivered events that are not in the index.
    backlog_events: u64,
    backlog_bytes: u64,
    /// Segments that the index skipped, because a person decided so or because they were pruned.
    skipped_segments: u64,
    /// Events of these segments, as far as their number is known.
    skipped_events: u64,
}

/// Runs `trailhose index` and returns the exit code.
pub(crate) async fn index(args: IndexArgs, stop: watch::Receiver<bool>) -> Result<u8, String> {
    match args.command {
        IndexCommand::Build { dest, again } => build(&FollowedFolder::open(&dest)?, again, stop, args.json).await,
        IndexCommand::Status { dest } => {
            let followed = FollowedFolder::open(&dest)?;
            let index = Index::open_read_only(&followed.index_path()).map_err(|error| error.to_string())?;
            report(&followed, &index, 0, args.json)?;
            Ok(0)
        }
    }
}

async fn build(followed: &FollowedFolder, again: bool, stop: watch::Receiver<bool>, json: bool) -> Result<u8, String> {
    let state = followed.state()?;
    let opened = IndexBuild::open(&followed.index_path(), &followed.segments, &state, again);
    let mut index = opened.map_err(|error| error.to_string())?;
    if let Some(reason) = index.restored() {
        anstream::eprintln!("warning: {}", crate::text::one_line(reason));
    }
    let backlog = followed.backlog(state.follower(FOLLOWER).map_err(|error| error.to_string())?.as_ref())?;
    let bar = ProgressBar::with_draw_target(Some(backlog.events), ProgressDrawTarget::stderr());
    bar.set_style(progress::style("{wide_bar} {human_pos} of {human_len} events, {per_sec}, {eta}"));
    let indexed = AtomicU64::new(0);
    let each = |progress: &FollowProgress| {
        indexed.store(progress.events, Ordering::Relaxed);
        bar.set_position(progress.events);
    };
    let followed_to_end = index.follow(&followed.segments, &state, &|| *stop.borrow(), &each).await;
    bar.finish_and_clear();
    let indexed = indexed.into_inner();
    match followed_to_end {
        Ok(_) => {
            report(followed, index.index(), indexed, json)?;
            Ok(if *stop.borrow() { interrupt::exit_code() } else { 0 })
        }
        Err(error @ FollowError::Segment { .. }) => {
            report(followed, index.index(), indexed, json)?;
            anstream::eprintln!("{}: {}", crate::summary::error_word(), crate::text::one_line(&error.to_string()));
            Ok(STOPPED)
        }
        Err(error) => Err(error.to_string()),
    }
}

fn report(followed: &FollowedFolder, index: &Index, indexed: u64, json: bool) -> Result<(), String> {
    let contents = index.contents().map_err(|error| error.to_string())?;
    let state = followed.state_read_only()?.follower(FOLLOWER).map_err(|error| error.to_string())?;
    let backlog = followed.index_backlog(index)?;
    let state = state.unwrap_or_default();
    let report = IndexReport {
        indexed,
        contents,
        backlog_events: backlog.events,
        backlog_bytes: backlog.content,
        skipped_segments: state.skipped_segments,
        skipped_events: state.skipped_events,
    };
    if json {
        print_json(&report);
        return Ok(());
    }
    print(&table(&report, &followed.index_path()));
    Ok(())
}

fn table(report: &IndexReport, path: &Path) -> String {
    let contents = &report.contents;
    let mut table = Table::new(16, 16);
    table.head(&path.display().to_string());
    table.row_if("indexed now", report.indexed, "");
    let per_event = contents.bytes.checked_div(contents.events).unwrap_or(0);
    table.row("events", contents.events, &format!("{}, {per_event} bytes per event", HumanBytes(contents.bytes)));
    table.row_if("without a time", contents.without_time, "not found with --since or --until");
    if let (Some(first), Some(last)) = (contents.first, contents.last) {
        let text =
            |second| jiff::Timestamp::from_second(second).map_or_else(|_| "?".to_owned(), |time| time.to_string());
        table.line(&format!("  {:<16}{} to {}", "event times", text(first), text(last)));
    }
    table.bad("not indexed", report.backlog_events, "delivered events");
    add_skipped(&mut table, report.skipped_segments, report.skipped_events);
    table.into_text()
}
