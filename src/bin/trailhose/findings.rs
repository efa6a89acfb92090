//! `trailhose findings`: lists findings and changes their states.

use crate::args::{ChangeArgs, FindingStateArg, FindingTableArgs, FindingsArgs, FindingsCommand};
use crate::followers::default_folder;
use crate::print::{print, print_json};
use crate::query::output::table;
use crate::text::one_line;
use serde::Serialize;
use std::path::Path;
use trailhose::finding::{DetectionFinding, ocsf};
use trailhose::finding_store::{FindingFilter, FindingReview, FindingState, RuleReport, StoredFinding};
use trailhose::query::QueryRow;
use trailhose::state::{STATE_FILE, StateDatabase};

/// Exit code: a named finding does not exist.
const NOT_FOUND: u8 = 1;

/// Runs the command and returns the exit code.
pub(crate) async fn run(args: &FindingsArgs) -> Result<u8, String> {
    let (json, table) = (args.json, &args.table);
    match &args.command {
        FindingsCommand::List { folder, state, rule, since, limit } => {
            let filter = FindingFilter {
                state: state.map(stored_state),
                rule: rule.clone(),
                since: since.map(|since| since.as_second()),
                limit: *limit,
                after: None,
            };
            list(&*open_store(folder.dest.as_deref(), table).await?, &filter, json).await
        }
        FindingsCommand::Rules { folder } => rules(&*open_store(folder.dest.as_deref(), table).await?, json).await,
        FindingsCommand::Show { id, folder } => show(&*open_store(folder.dest.as_deref(), table).await?, id).await,
        FindingsCommand::Acknowledge(args) => change(args, table, FindingState::Acknowledged, json).await,
        FindingsCommand::Close(args) => change(args, table, FindingState::Closed, json).await,
        FindingsCommand::Suppress(args) => change(args, table, FindingState::Suppressed, json).await,
        FindingsCommand::Reopen(args) => change(args, table, FindingState::Open, json).await,
    }
}

/// Opens the table that the arguments name, or the state database of a folder.
///
/// # Errors
/// Both a folder and a table are named, or the named one cannot be opened.
pub(crate) async fn open_store(
    dest: Option<&Path>,
    table: &FindingTableArgs,
) -> Result<Box<dyn FindingReview>, String> {
    if !table.is_given() {
        return Ok(Box::new(open(dest)?));
    }
    if let Some(dest) = dest {
        return Err(format!("name either the folder {}, or a table with --stack or --table", dest.display()));
    }
    #[cfg(feature = "operate")]
    return Ok(Box::new(crate::finding_table::FindingTable::open(table).await?.store));
    #[cfg(not(feature = "operate"))]
    return Err(crate::components::missing_feature("--stack and --table", "operate"));
}

/// Opens the state database of a folder, or of the folder that `./trailhose.toml` names.
///
/// # Errors
/// The folder has no state database, or the database cannot be opened.
fn open(dest: Option<&Path>) -> Result<StateDatabase, String> {
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

/// A finding as JSON.
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
    /// The details. Missing if the rule has too many findings in this hour.
    #[serde(flatten)]
    finding: Option<&'a DetectionFinding>,
}

fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "?".to_owned(), |time| time.to_string())
}

async fn list(store: &dyn FindingReview, filter: &FindingFilter, json: bool) -> Result<u8, String> {
    let found = store.findings(filter).await?;
    if !json {
        let columns = ["id", "time", "state", "level", "rule", "event", "account", "principal"];
        print_table("No findings.\n", columns, &found.iter().map(row).collect::<Vec<_>>());
        return Ok(0);
    }
    for stored in &found {
        print_json(&FindingView {
            id: &stored.id,
            state: &stored.state,
            note: stored.note.as_deref(),
            time: stored.time.map(rfc3339),
            recorded: rfc3339(stored.recorded),
            rule_id: &stored.rule,
            group: &stored.group,
            window: rfc3339(stored.window_start),
            finding: stored.finding.as_ref(),
        });
    }
    Ok(0)
}

/// Prints a table, or a text if it has no rows.
pub(crate) fn print_table<const COLUMNS: usize>(empty: &str, columns: [&str; COLUMNS], rows: &[QueryRow]) {
    match rows {
        [] => print(empty),
        rows => print(&table(&columns.map(str::to_owned), rows)),
    }
}

/// Returns the row of a finding. One without details has the ID of its rule instead of the title.
fn row(stored: &StoredFinding) -> QueryRow {
    let (rule, event) = stored.finding.as_ref().map(|finding| (&finding.rule, &finding.event)).unzip();
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    vec![
        text(&stored.id[..12]),
        stored.time.map(rfc3339),
        text(&stored.state),
        rule.and_then(|rule| text(&rule.level)),
        text(rule.map_or(&stored.rule, |rule| &rule.title)),
        event.and_then(|event| text(&event.name)),
        event.and_then(|event| text(&event.account)),
        event.and_then(|event| text(&event.principal)),
    ]
}

async fn rules(store: &dyn FindingReview, json: bool) -> Result<u8, String> {
    let reports = store.rule_reports().await?;
    if json {
        reports.iter().for_each(print_json);
        return Ok(0);
    }
    let rows: Vec<QueryRow> = reports
        .iter()
        .map(|RuleReport { rule, findings, overflow, windows, late }| {
            let counts = [findings, windows, overflow, late].map(|count| Some(count.to_string()));
            [Some(rule.clone())].into_iter().chain(counts).collect()
        })
        .collect();
    print_table("No findings.\n", ["rule", "findings", "windows", "without details", "late"], &rows);
    Ok(0)
}

/// Returns the only finding whose ID starts with a text, or prints why there is none.
async fn find(store: &dyn FindingReview, id: &str) -> Result<Option<StoredFinding>, String> {
    let mut found = store.findings_by_id(id).await?;
    let problem = match found.len() {
        1 => return Ok(found.pop()),
        0 => "there is no finding with this ID",
        _ => "several findings start with this ID; use more of it",
    };
    anstream::eprintln!("{}: {}: {problem}", crate::summary::error_word(), one_line(id));
    Ok(None)
}

async fn show(store: &dyn FindingReview, id: &str) -> Result<u8, String> {
    let Some(stored) = find(store, id).await? else { return Ok(NOT_FOUND) };
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

async fn change(args: &ChangeArgs, table: &FindingTableArgs, to: FindingState, json: bool) -> Result<u8, String> {
    let store = open_store(args.dest.as_deref(), table).await?;
    let mut code = 0;
    for id in &args.ids {
        let Some(stored) = find(&*store, id).await? else {
            code = NOT_FOUND;
            continue;
        };
        store.set_finding_state(&stored, to, args.note.as_deref()).await?;
        match json {
            true => print_json(&serde_json::json!({"id": stored.id, "state": to.name()})),
            false => print(&format!("{}  {}\n", &stored.id[..12], to.name())),
        }
    }
    Ok(code)
}
