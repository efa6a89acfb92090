//! `trailhose findings`: lists findings and changes their states.

use crate::args::{ChangeArgs, FindingStateArg, FindingsArgs, FindingsCommand};
use crate::followers::default_folder;
use crate::print::{print, print_json};
use crate::text::{counted, one_line};
use serde::Serialize;
use std::path::Path;
use trailhose::finding::{DetectionFinding, ocsf};
use trailhose::state::{FindingFilter, FindingState, RuleReport, STATE_FILE, StateDatabase, StoredFinding};

/// Exit code: a named finding does not exist.
const NOT_FOUND: u8 = 1;

/// Runs the command and returns the exit code.
pub(crate) fn run(args: &FindingsArgs) -> Result<u8, String> {
    let json = args.json;
    match &args.command {
        FindingsCommand::List { folder, state, rule, since, limit } => {
            let filter = FindingFilter {
                state: state.map(stored_state),
                rule: rule.clone(),
                since: since.map(|since| since.as_second()),
                limit: *limit,
                after: None,
            };
            list(&open(folder.dest.as_deref())?, &filter, json)
        }
        FindingsCommand::Rules { folder } => rules(&open(folder.dest.as_deref())?, json),
        FindingsCommand::Show { id, folder } => show(&open(folder.dest.as_deref())?, id),
        FindingsCommand::Acknowledge(args) => change(args, FindingState::Acknowledged, json),
        FindingsCommand::Close(args) => change(args, FindingState::Closed, json),
        FindingsCommand::Suppress(args) => change(args, FindingState::Suppressed, json),
        FindingsCommand::Reopen(args) => change(args, FindingState::Open, json),
    }
}

/// Opens the state database of a folder, or of the folder that `./trailhose.toml` names.
///
/// # Errors
/// No consumer has read the folder, or the database cannot be opened.
pub(crate) fn open(dest: Option<&Path>) -> Result<StateDatabase, String> {
    let dest = dest.map_or_else(|| default_folder("DEST"), |dest| Ok(dest.to_owned()))?;
    let path = dest.join(".trailhose").join(STATE_FILE);
    if !path.is_file() {
        return Err(format!(
            "{} has no findings: `trailhose sync` with [detect] in its settings has not delivered to it",
            dest.display()
        ));
    }
    StateDatabase::open(&path).map_err(|error| error.to_string())
}

fn stored_state(state: FindingStateArg) -> FindingState {
    match state {
        FindingStateArg::Open => FindingState::Open,
        FindingStateArg::Acknowledged => FindingState::Acknowledged,
        FindingStateArg::Closed => FindingState::Closed,
        FindingStateArg::Suppressed => FindingState::Suppressed,
    }
}

/// A finding, for people and programs.
#[derive(Debug, Serialize)]
struct FindingView<'a> {
    id: &'a str,
    state: &'a str,
    note: Option<&'a str>,
    time: Option<String>,
    recorded: String,
    rule_id: &'a str,
    group: &'a str,
    window: String,
    /// Missing if the rule has too many findings in this hour.
    #[serde(flatten)]
    finding: Option<&'a DetectionFinding>,
}

fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "?".to_owned(), |time| time.to_string())
}

fn list(state: &StateDatabase, filter: &FindingFilter, json: bool) -> Result<u8, String> {
    let found = state.findings(filter).map_err(|error| error.to_string())?;
    if found.is_empty() && !json {
        print("No findings.\n");
    }
    for stored in &found {
        match json {
            true => print_json(&FindingView {
                id: &stored.id,
                state: &stored.state,
                note: stored.note.as_deref(),
                time: stored.time.map(rfc3339),
                recorded: rfc3339(stored.recorded),
                rule_id: &stored.rule,
                group: &stored.group,
                window: rfc3339(stored.window),
                finding: stored.finding.as_ref(),
            }),
            false => print(&line(stored)),
        }
    }
    Ok(0)
}

fn line(stored: &StoredFinding) -> String {
    let time = stored.time.map_or_else(|| "no time             ".to_owned(), rfc3339);
    let about = match &stored.finding {
        Some(DetectionFinding { rule, event, .. }) => {
            format!("[{}] {}  {}  {}  {}", rule.level, rule.title, event.name, event.account, event.principal)
        }
        None => format!("rule {}, without details: too many in this hour", stored.rule),
    };
    format!("{}  {time}  {:<12}  {}\n", &stored.id[..12], stored.state, one_line(&about))
}

fn rules(state: &StateDatabase, json: bool) -> Result<u8, String> {
    let reports = state.rule_reports().map_err(|error| error.to_string())?;
    if reports.is_empty() && !json {
        print("No findings.\n");
    }
    for report in &reports {
        if json {
            print_json(report);
            continue;
        }
        let RuleReport { rule, findings, overflow, windows, late } = report;
        let rule = one_line(rule);
        let (findings, windows) = (counted(*findings, "finding"), counted(*windows, "window"));
        print(&format!("{rule}  {findings} in {windows}, {overflow} without details, {late} late\n"));
    }
    Ok(0)
}

/// Returns the only finding whose ID starts with a text, or prints why there is none.
fn find(state: &StateDatabase, id: &str) -> Result<Option<StoredFinding>, String> {
    let mut found = state.findings_by_id(id).map_err(|error| error.to_string())?;
    let problem = match found.len() {
        1 => return Ok(found.pop()),
        0 => "there is no finding with this ID",
        _ => "several findings start with this ID; use more of it",
    };
    anstream::eprintln!("{}: {}: {problem}", crate::summary::error_word(), one_line(id));
    Ok(None)
}

fn show(state: &StateDatabase, id: &str) -> Result<u8, String> {
    let Some(stored) = find(state, id)? else { return Ok(NOT_FOUND) };
    match &stored.finding {
        Some(finding) => print_json(&ocsf(finding, &stored.state, stored.recorded)),
        None => {
            let rule = one_line(&stored.rule);
            anstream::eprintln!(
                "{}: the finding {} has no details, because the rule {rule} has too many in this hour",
                crate::summary::error_word(),
                stored.id
            );
            return Ok(NOT_FOUND);
        }
    }
    Ok(0)
}

fn change(args: &ChangeArgs, to: FindingState, json: bool) -> Result<u8, String> {
    let state = open(args.dest.as_deref())?;
    let mut code = 0;
    for id in &args.ids {
        let Some(stored) = find(&state, id)? else {
            code = NOT_FOUND;
            continue;
        };
        state.set_finding_state(&stored.id, to, args.note.as_deref()).map_err(|error| error.to_string())?;
        match json {
            true => print_json(&serde_json::json!({"id": stored.id, "state": to.name()})),
            false => print(&format!("{}  {}\n", &stored.id[..12], to.name())),
        }
    }
    Ok(code)
}
