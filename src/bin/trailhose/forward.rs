//! `trailhose forward`: shows the states of forwards, pauses and resumes them, and lets them send again.

use crate::args::{ForwardArgs, ForwardCommand, ForwardNameArgs};
use crate::followers::{FollowedFolder, default_folder};
use crate::print::{print, print_json};
use crate::text::{counted, one_line};
use serde::Serialize;
use std::path::Path;
use trailhose::state::{RefusedEvent, STATE_FILE, StateDatabase};

/// Exit code: nothing was changed.
const UNCHANGED: u8 = 1;

/// Runs the command and returns the exit code.
pub(crate) fn run(args: &ForwardArgs) -> Result<u8, String> {
    let json = args.json;
    match &args.command {
        ForwardCommand::Status { dest, refused, limit } => {
            let followed = FollowedFolder::open(dest)?;
            match refused {
                true => list_refused(&followed, *limit, json),
                false => status(&followed, json),
            }
        }
        ForwardCommand::Retry(args) => retry(args, json),
        ForwardCommand::Pause(args) => pause(args, true, json),
        ForwardCommand::Resume(args) => pause(args, false, json),
    }
}

fn status(followed: &FollowedFolder, json: bool) -> Result<u8, String> {
    let mut found = false;
    for view in followed.followers()?.iter().filter(|view| view.is_forward()) {
        found = true;
        match json {
            true => print_json(view),
            false => print(&view.table()),
        }
    }
    if !found && !json {
        print("No forward has read this folder yet.\n");
    }
    Ok(0)
}

/// A refused event, for people and programs. It does not contain the event itself.
#[derive(Debug, Serialize)]
struct RefusedView<'a> {
    forward: &'a str,
    number: i64,
    event_id: &'a str,
    status: u16,
    response: &'a str,
    /// The time of the last refusal.
    refused: String,
    attempts: u32,
    retry: bool,
}

fn list_refused(followed: &FollowedFolder, limit: u32, json: bool) -> Result<u8, String> {
    let state = followed.state_read_only()?;
    for (forward, _) in state.forwards().map_err(|error| error.to_string())? {
        for refused in state.refused_events(&forward, limit).map_err(|error| error.to_string())? {
            let RefusedEvent { number, event_id, status, response, recorded, attempts, retry, .. } = &refused;
            let time = jiff::Timestamp::from_second(*recorded).map_or_else(|_| "?".to_owned(), |at| at.to_string());
            match json {
                true => print_json(&RefusedView {
                    forward: &forward,
                    number: *number,
                    event_id,
                    status: *status,
                    response,
                    refused: time,
                    attempts: *attempts,
                    retry: *retry,
                }),
                false => print(&format!(
                    "{status}  {time}  {forward}  {}  {}{}\n",
                    one_line(event_id),
                    one_line(response),
                    if *retry { "  (will be sent again)" } else { "" }
                )),
            }
        }
    }
    Ok(0)
}

/// Opens the state database, and returns the name of the selected forward, or the names of all.
fn open(args: &ForwardNameArgs) -> Result<(StateDatabase, Vec<String>), String> {
    let dest = args.dest.clone().map_or_else(|| default_folder("--dest DEST"), Ok)?;
    let path = Path::new(&dest).join(".trailhose").join(STATE_FILE);
    let failed = |error: trailhose::state::StateError| error.to_string();
    if !path.is_file() {
        let dest = dest.display();
        return Err(format!("{dest} has no forwards: `trailhose sync` with [[forward]] has not delivered to it"));
    }
    let state = StateDatabase::open(&path).map_err(failed)?;
    let known: Vec<String> = state.forwards().map_err(failed)?.into_iter().map(|(name, _)| name).collect();
    match &args.name {
        Some(name) if !known.contains(name) => {
            let names = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(format!("there is no forward {name}; the forwards of this folder are: {names}"))
        }
        Some(name) => Ok((state, vec![name.clone()])),
        None if known.is_empty() => {
            let dest = dest.display();
            Err(format!("{dest} has no forwards: `trailhose sync` with [[forward]] has not delivered to it"))
        }
        None => Ok((state, known)),
    }
}

fn retry(args: &ForwardNameArgs, json: bool) -> Result<u8, String> {
    let (state, names) = open(args)?;
    for name in &names {
        let refused = state.retry_forward(name).map_err(|error| error.to_string())?;
        match json {
            true => print_json(&serde_json::json!({"forward": name, "refused_events": refused})),
            false => {
                let events = counted(refused, "refused event");
                print(&format!(
                    "{name}: the circuit is closed. A running or the next `trailhose sync` also sends {events} again.\n"
                ));
            }
        }
    }
    Ok(0)
}

fn pause(args: &ForwardNameArgs, paused: bool, json: bool) -> Result<u8, String> {
    let (state, names) = open(args)?;
    let mut changed_any = false;
    for name in &names {
        let changed = state.pause_forward(name, paused).map_err(|error| error.to_string())?;
        changed_any |= changed;
        let word = if paused { "paused" } else { "resumed" };
        match (json, changed) {
            (true, _) => print_json(&serde_json::json!({"forward": name, "paused": paused, "changed": changed})),
            (false, true) => print(&format!("{name}: {word}. Its position is kept.\n")),
            (false, false) => print(&format!("{name}: was already {word}.\n")),
        }
    }
    Ok(if changed_any { 0 } else { UNCHANGED })
}
