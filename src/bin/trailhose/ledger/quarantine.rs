//! `trailhose ledger quarantine`: lists, accepts and retries quarantined objects.

use super::confirm::confirmed;
use super::object::ObjectSelector;
use super::open::{OpenedLedger, failed};
use super::view::{RowView, named, say};
use crate::components::Aws;
use crate::print::{print, print_json};
use crate::text::{counted, objects_are, one_line};
use serde::Serialize;
use trailhose::ledger::inspect::scan::ScanFilter;
use trailhose::ledger::model::row::{Row, Status};
use trailhose::ledger::{AcceptOutcome, ReopenOutcome};
use trailhose::shell;

pub(super) async fn list(open: &OpenedLedger, json: bool) -> Result<u8, String> {
    let (mut count, mut accepted) = (0u64, 0u64);
    let mut walk = open.walk(ScanFilter::Quarantined);
    while let Some(batch) = walk.next().await? {
        for row in open.reread(&batch.rows).await?.iter().filter(|row| row.status == Status::Quarantined) {
            count += 1;
            accepted += u64::from(row.accepted.is_some());
            let view = RowView::of(row, open.ledger.now());
            if json { print_json(&view) } else { print(&line(&view)) }
        }
    }
    if !json {
        let accepted = match accepted {
            0 => String::new(),
            accepted => format!(", {accepted} of them accepted"),
        };
        say(&format!("{} quarantined{accepted}", objects_are(count)));
    }
    Ok(0)
}

/// Returns a quarantined object as one line: since when, the object, why, and why this was accepted.
fn line(view: &RowView) -> String {
    let since = view.quarantined_at.as_deref().unwrap_or("at an unknown time");
    let reason = one_line(view.reason.as_deref().unwrap_or_default());
    let accepted = view.accepted.as_deref().map(|why| format!("  (accepted: {})", one_line(why))).unwrap_or_default();
    format!("{since}  {}  {reason}{accepted}\n", one_line(&view.object))
}

/// Accepts that the given quarantined objects stay undelivered, for this reason, or withdraws this.
pub(super) async fn accept(
    open: &OpenedLedger,
    aws: &Aws,
    objects: &[String],
    reason: Option<&str>,
    json: bool,
) -> Result<u8, String> {
    let rows = quarantined(open, aws, objects).await?;
    let (mut changed, mut refused) = (0, 0);
    for row in &rows {
        let id = row.object.id();
        let outcome = match reason {
            Some(reason) => open.ledger.accept(id, reason).await,
            None => open.ledger.withdraw_acceptance(id).await,
        };
        let (status, hint) = match outcome.map_err(failed)? {
            AcceptOutcome::Changed(row) if row.accepted.is_some() => ("accepted", ""),
            AcceptOutcome::Changed(_) => ("quarantined", ""),
            AcceptOutcome::Leased(_) => ("leased", ": another worker uses the row, try again later"),
            AcceptOutcome::NotQuarantined(row) => (row.status.as_str(), ": no longer quarantined"),
            AcceptOutcome::NotFound => ("absent", ": the ledger has no row for it any more"),
        };
        match status {
            "accepted" | "quarantined" => changed += 1,
            _ => refused += 1,
        }
        let object = named(row);
        match json {
            true => print_json(&ChangeResult { object, status }),
            false => print(&format!("{status:<13}{}{hint}\n", one_line(&object))),
        }
    }
    let effect = match reason {
        Some(_) => "accepted: not delivered, and without effect on exit codes. Withdraw this with --undo",
        None => "no longer accepted",
    };
    say(&format!("{} {effect}", counted(changed, "object")));
    Ok(if refused > 0 { super::NOT_FOUND } else { 0 })
}

/// Looks up the given objects.
///
/// # Errors
/// One of them is not quarantined.
async fn quarantined(open: &OpenedLedger, aws: &Aws, objects: &[String]) -> Result<Vec<Row>, String> {
    let mut found = Vec::new();
    for object in objects {
        let mut rows = ObjectSelector::parse(object)?.find(open, aws, false).await?.rows;
        rows.retain(|row| row.status == Status::Quarantined);
        if rows.is_empty() {
            return Err(format!(
                "{object} is not quarantined in {}; list quarantined objects with `trailhose ledger quarantine list --ledger \
                 {}`",
                open.at,
                shell::word(&open.at.to_string())
            ));
        }
        found.extend(rows);
    }
    Ok(found)
}

/// Result of a change of one object.
#[derive(Debug, Serialize)]
struct ChangeResult {
    object: String,
    /// `open`, `accepted`, `leased`, `absent` or the object's state.
    status: &'static str,
}

/// Reopens the given quarantined objects, or all that are not accepted if none is given.
pub(super) async fn retry(
    open: &OpenedLedger,
    aws: &Aws,
    objects: &[String],
    yes: bool,
    json: bool,
) -> Result<u8, String> {
    let rows_to_retry = quarantined(open, aws, objects).await?;
    let question = match objects {
        [] => "Reopen all quarantined objects that are not accepted?".to_owned(),
        _ => format!("Reopen {}?", counted(rows_to_retry.len() as u64, "object")),
    };
    let effect = "Events that they delivered before they were quarantined will be delivered again.";
    if !confirmed(&question, effect, yes)? {
        say("no changes made");
        return Ok(super::NOT_FOUND);
    }
    let mut totals = RetryTotals::default();
    if objects.is_empty() {
        let mut walk = open.walk(ScanFilter::Quarantined);
        while let Some(batch) = walk.next().await? {
            let mut rows = open.reread(&batch.rows).await?;
            rows.retain(|row| row.status == Status::Quarantined && row.accepted.is_none());
            totals.open(open, &rows, json).await?;
        }
    } else {
        totals.open(open, &rows_to_retry, json).await?;
    }
    say(&format!(
        "{} open; the next sync or backfill that covers them processes them again",
        objects_are(totals.opened)
    ));
    Ok(if totals.refused > 0 { super::NOT_FOUND } else { 0 })
}

/// Number of reopened and refused objects.
#[derive(Default)]
struct RetryTotals {
    opened: u64,
    refused: u64,
}

impl RetryTotals {
    async fn open(&mut self, open: &OpenedLedger, rows: &[Row], json: bool) -> Result<(), String> {
        for row in rows {
            let (status, hint) = match open.ledger.reopen_quarantined(row.object.id()).await.map_err(failed)? {
                ReopenOutcome::Reopened(_) => ("open", ""),
                ReopenOutcome::Leased(_) => ("leased", ": another worker is processing it, try again later"),
                // Another process reopened and processed it since it was listed.
                ReopenOutcome::NotApplicable(row) => (row.status.as_str(), ""),
                ReopenOutcome::NotFound => ("absent", ": the ledger has no row for it any more"),
            };
            match status {
                "open" => self.opened += 1,
                "leased" => self.refused += 1,
                _ => {}
            }
            let object = named(row);
            match json {
                true => print_json(&ChangeResult { object, status }),
                false => print(&format!("{status:<10}{}{hint}\n", one_line(&object))),
            }
        }
        Ok(())
    }
}
