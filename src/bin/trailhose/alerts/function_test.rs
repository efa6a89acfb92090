//! Test messages that the detect function of a stack sends with its role, network and secrets.

use super::{NOT_SENT, TestView, test_alert};
use crate::args::FindingTableArgs;
use crate::finding_table::FindingTable;
use crate::print::{print, print_json};
use crate::text::one_line;
use std::time::{Duration, Instant};
use trailhose::finding_store::dynamodb::{DynamoFindings, TestProgress};

/// How often the outbox is read.
const POLL: Duration = Duration::from_secs(1);

/// Adds a test message to the outbox of each named destination, or of all, and waits until the function has sent them.
pub(super) async fn run(names: &[String], at: &FindingTableArgs, wait: Duration, json: bool) -> Result<u8, String> {
    let table = FindingTable::open(at).await?;
    let known = &table.destinations;
    let names = match (names, &at.stack) {
        ([], None) => {
            return Err("--table requires the names of destinations: topic ARNs, webhook, slack, pagerduty".into());
        }
        ([], Some(stack)) if known.is_empty() => {
            return Err(format!("stack {stack} has no destination of alerts: set AlertTopicArns or another parameter"));
        }
        ([], Some(_)) => known,
        (names, Some(stack)) => match names.iter().find(|name| !known.contains(name)) {
            Some(unknown) => {
                return Err(format!(
                    "stack {stack} has no destination {unknown}; its destinations are: {}",
                    known.join(", ")
                ));
            }
            None => &names.to_vec(),
        },
        (names, None) => &names.to_vec(),
    };
    let alert = test_alert(jiff::Timestamp::now().as_second());
    let mut numbers = Vec::new();
    for name in names {
        numbers.push((name, table.store.enqueue_test(name, &alert).await?));
    }
    let (deadline, mut code) = (Instant::now() + wait, 0);
    for (name, number) in numbers {
        let reason = outcome(&table.store, name, number, deadline, wait).await?;
        if reason.is_some() {
            code = NOT_SENT;
        }
        match (json, &reason) {
            (true, _) => print_json(&TestView { destination: name, accepted: reason.is_none(), reason }),
            (false, None) => print(&format!("{name}: accepted\n")),
            (false, Some(reason)) => print(&format!("{name}: not accepted: {reason}\n")),
        }
    }
    Ok(code)
}

/// Waits until a message is accepted. Otherwise removes it from the outbox, and returns why it was not accepted.
async fn outcome(
    store: &DynamoFindings,
    name: &str,
    number: i64,
    deadline: Instant,
    wait: Duration,
) -> Result<Option<String>, String> {
    let reason = loop {
        match store.test_progress(name, number).await? {
            TestProgress::Accepted => return Ok(None),
            TestProgress::NotAccepted(reason) => break one_line(&reason),
            TestProgress::Waiting if Instant::now() > deadline => {
                break format!(
                    "the detect function did not send it within {} s; its log contains the reason",
                    wait.as_secs()
                );
            }
            TestProgress::Waiting => tokio::time::sleep(POLL).await,
        }
    };
    store.remove_test(name, number).await?;
    Ok(Some(reason))
}
