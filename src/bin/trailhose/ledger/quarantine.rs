//! `trailhose ledger quarantine`: lists and retries quarantined objects.

use super::confirm::confirmed;
use super::object::ObjectSelector;
use super::open::{OpenedLedger, failed};
use super::view::{RowView, named, say};
use crate::components::Aws;
use crate::print::{print, print_json};
use crate::text::{counted, objects_are};
use serde::Serialize;
use trailhose::ledger::ReopenOutcome;
use trailhose::ledger::inspect::scan::ScanFilter;
use trailhose::ledger::model::row::{Row, Status};

pub(super) async fn list(open: &OpenedLedger, json: bool) -> Result<u8, String> {
    let mut count = 0u64;
    let mut walk = open.walk(ScanFilter::Quarantined);
    while let Some(batch) = walk.next().await? {
        for row in open.reread(&batch.rows).await?.iter().filter(|row| row.status == Status::Quarantined) {
            count += 1;
            let view = RowView::of(row, open.ledger.now());
            if json {
                print_json(&view);
            } else {
                print(&format!("{}  {}\n", view.object, crate::text::one_line(view.reason.as_deref().unwrap_or(""))));
            }
        }
    }
    if !json {
        say(&format!("{} quarantined", objects_are(count)));
    }
    Ok(0)
}

/// Result of the retry of one object.
#[derive(Debug, Serialize)]
struct RetryResult {
    object: String,
    /// `open`, `leased`, `absent` or the object's state.
    status: &'static str,
}

/// Reopens the given quarantined objects, or all if none is given.
pub(super) async fn retry(
    open: &OpenedLedger,
    aws: &Aws,
    objects: &[String],
    yes: bool,
    json: bool,
) -> Result<u8, String> {
    let mut rows_to_retry = Vec::new();
    for object in objects {
        let mut rows = ObjectSelector::parse(object)?.find(open, aws, false).await?.rows;
        rows.retain(|row| row.status == Status::Quarantined);
        if rows.is_empty() {
            return Err(format!(
                "{object} is not quarantined in {}; list quarantined objects with trailhose ledger quarantine list",
                open.at
            ));
        }
        rows_to_retry.extend(rows);
    }
    let question = match objects {
        [] => "Reopen all quarantined objects?".to_owned(),
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
            totals.open(open, &batch.rows, json).await?;
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
                true => print_json(&RetryResult { object, status }),
                false => print(&format!("{status:<10}{object}{hint}\n")),
            }
        }
        Ok(())
    }
}
