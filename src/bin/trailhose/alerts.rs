//! `trailhose alerts`: lists the outbox of alerts, retries failed ones, and sends test messages.

#[cfg(feature = "operate")]
mod function_test;

use crate::args::{AlertStateArg, AlertsArgs, AlertsCommand};
use crate::components::Aws;
use crate::findings::{open_store, print_table};
use crate::print::{print, print_json};
use crate::settings::Settings;
use crate::sync::detection::destinations;
use crate::text::{counted, one_line};
use serde::Serialize;
use std::path::Path;
use trailhose::alert::SendOutcome;
use trailhose::finding::{Alert, AlertKind, AlertWindow, DetectionFinding, EventPointer, RuleSummary};
use trailhose::finding_store::{AlertState, FindingReview, StoredAlert};

/// Exit code: a test message was not accepted, or nothing was retried.
const NOT_SENT: u8 = 1;

/// Runs the command and returns the exit code.
pub(crate) async fn run(args: AlertsArgs) -> Result<u8, String> {
    let (json, table) = (args.json, &args.table);
    match args.command {
        AlertsCommand::List { folder, state, limit } => {
            list(&*open_store(folder.dest.as_deref(), table).await?, state.map(stored_state), limit, json).await
        }
        AlertsCommand::Retry { numbers, dest } => {
            let store = open_store(dest.as_deref(), table).await?;
            let now = jiff::Timestamp::now().as_second();
            let retried = store.retry_alerts(&numbers, now).await?;
            let sender = if table.is_given() { "the detect function" } else { "`trailhose sync`" };
            match json {
                true => print_json(&serde_json::json!({"retried": retried})),
                false => {
                    print(&format!("pending again: {}; {sender} sends them.\n", counted(retried, "failed alert")));
                }
            }
            Ok(if retried > 0 { 0 } else { NOT_SENT })
        }
        #[cfg(feature = "operate")]
        AlertsCommand::Test { names, wait, .. } if table.is_given() => {
            function_test::run(&names, table, std::time::Duration::from_secs(wait), json).await
        }
        #[cfg(not(feature = "operate"))]
        AlertsCommand::Test { .. } if table.is_given() => {
            Err(crate::components::missing_feature("--stack and --table", "operate"))
        }
        AlertsCommand::Test { names, config, .. } => test(&names, &config, json).await,
    }
}

fn stored_state(state: AlertStateArg) -> AlertState {
    match state {
        AlertStateArg::Pending => AlertState::Pending,
        AlertStateArg::Sent => AlertState::Sent,
        AlertStateArg::Failed => AlertState::Failed,
    }
}

/// An alert as JSON.
#[derive(Debug, Serialize)]
struct AlertView<'a> {
    number: i64,
    id: String,
    destination: &'a str,
    state: &'a str,
    kind: &'a str,
    title: String,
    group: &'a str,
    recorded: String,
    sent: Option<String>,
    attempts: u32,
    error: Option<&'a str>,
}

async fn list(store: &dyn FindingReview, only: Option<AlertState>, limit: u32, json: bool) -> Result<u8, String> {
    let found = store.alerts(only, limit).await?;
    let time = |at: i64| jiff::Timestamp::from_second(at).map_or_else(|_| "?".to_owned(), |time| time.to_string());
    if !json {
        let row = |StoredAlert { number, alert, destination, state, attempts, error, .. }: &StoredAlert| {
            let values = [number.to_string(), time(alert.recorded), state.clone(), destination.clone(), alert.title()];
            let attempts = [Some(attempts.to_string()), error.clone()];
            values.into_iter().map(Some).chain(attempts).collect()
        };
        let columns = ["number", "recorded", "state", "destination", "alert", "attempts", "last error"];
        print_table("No alerts.\n", columns, &found.iter().map(row).collect::<Vec<_>>());
        return Ok(0);
    }
    for StoredAlert { number, alert, destination, state, attempts, sent, error, .. } in &found {
        print_json(&AlertView {
            number: *number,
            id: alert.id(),
            destination,
            state,
            kind: alert.kind.name(),
            title: alert.title(),
            group: &alert.group,
            recorded: time(alert.recorded),
            sent: sent.map(time),
            attempts: *attempts,
            error: error.as_deref(),
        });
    }
    Ok(0)
}

/// The result of a test message.
#[derive(Debug, Serialize)]
struct TestView<'a> {
    destination: &'a str,
    accepted: bool,
    reason: Option<String>,
}

/// Sends a test message to each named destination, or to all destinations of the settings if none is named.
async fn test(names: &[String], config: &Path, json: bool) -> Result<u8, String> {
    let settings = Settings::read(config)?;
    let Some(detect) = settings.detect else { return Err(format!("{}: there is no [detect]", config.display())) };
    let known: Vec<&str> = detect.destinations.iter().map(|destination| destination.name.as_str()).collect();
    if known.is_empty() {
        return Err(format!("{}: there is no [[detect.destination]]", config.display()));
    }
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("there is no destination {unknown}; the destinations are: {}", known.join(", ")));
    }
    let alert = test_alert(jiff::Timestamp::now().as_second());
    let mut code = 0;
    for destination in destinations(&detect, &Aws::default()).await? {
        let name = destination.name();
        if !names.is_empty() && !names.iter().any(|wanted| wanted == name) {
            continue;
        }
        let reason = match destination.send(&alert, alert.recorded).await {
            SendOutcome::Delivered => None,
            SendOutcome::Retry { reason, .. }
            | SendOutcome::DestinationUnusable { reason }
            | SendOutcome::AlertRefused { reason } => {
                code = NOT_SENT;
                Some(one_line(&reason))
            }
        };
        match (json, &reason) {
            (true, _) => print_json(&TestView { destination: name, accepted: reason.is_none(), reason }),
            (false, None) => print(&format!("{name}: accepted\n")),
            (false, Some(reason)) => print(&format!("{name}: not accepted: {reason}\n")),
        }
    }
    Ok(code)
}

fn test_alert(now: i64) -> Alert {
    let rule = RuleSummary {
        id: "trailhose-test".into(),
        title: "trailhose sends alerts to this destination".into(),
        level: "informational".into(),
        ..RuleSummary::default()
    };
    let event = EventPointer {
        id: "00000000-0000-4000-8000-000000000000".into(),
        time: Some(now),
        account: "111122223333".into(),
        region: "us-east-1".into(),
        name: "Test".into(),
        source: "trailhose".into(),
        principal: "trailhose alerts test".into(),
        ..EventPointer::default()
    };
    Alert {
        kind: AlertKind::Test,
        group: "test".into(),
        window: AlertWindow { start: now, end: now },
        count: 1,
        finding: DetectionFinding::new(rule, event, []),
        recorded: now,
    }
}
