//! `trailhose ledger quarantine`: what is set aside, and opening it again.

use super::confirm::confirmed;
use super::object::ObjectSelector;
use super::open::{OpenedLedger, failed};
use super::view::{RowView, named, say};
use crate::components::Aws;
use crate::print::{print, print_json};
use indicatif::HumanCount;
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
                print(&format!("{}  {}\n", view.object, crate::labels::one_line(view.reason.as_deref().unwrap_or(""))));
            }
        }
    }
    if !json {
        say(&format!("{} set aside", objects(count)));
    }
    Ok(0)
}

/// What became of one object.
#[derive(Debug, Serialize)]
struct RetryResult {
    object: String,
    /// `open`, `leased` or the state it is in.
    became: &'static str,
}

/// Opens the named objects again, or all where none is named.
pub(super) async fn retry(open: &OpenedLedger, aws: &Aws, objects: &[String], yes: bool, json: bool) -> Result<u8, String> {
    let mut meant = Vec::new();
    for object in objects {
        let mut rows = ObjectSelector::parse(object)?.find(open, aws, false).await?.rows;
        rows.retain(|row| row.status == Status::Quarantined);
        if rows.is_empty() {
            return Err(format!(
                "{object} is not set aside in {}; trailhose ledger quarantine list names all",
                open.at
            ));
        }
        meant.extend(rows);
    }
    let what = match objects {
        [] => "everything that is set aside is opened".to_owned(),
        _ => format!("{} opened", self::objects(meant.len() as u64)),
    };
    if !confirmed(&format!("{what} again, and what of it was delivered before is delivered again"), yes)? {
        say("nothing is changed");
        return Ok(super::NOT_FOUND);
    }
    let mut tried = RetryTotals::default();
    if objects.is_empty() {
        let mut walk = open.walk(ScanFilter::Quarantined);
        while let Some(batch) = walk.next().await? {
            tried.open(open, &batch.rows, json).await?;
        }
    } else {
        tried.open(open, &meant, json).await?;
    }
    say(&format!(
        "{} open; the next sync over them, or a backfill over their days, reads them again",
        self::objects(tried.opened)
    ));
    Ok(if tried.refused > 0 { super::NOT_FOUND } else { 0 })
}

#[derive(Default)]
struct RetryTotals {
    opened: u64,
    refused: u64,
}

impl RetryTotals {
    async fn open(&mut self, open: &OpenedLedger, rows: &[Row], json: bool) -> Result<(), String> {
        for row in rows {
            let (became, why) = match open.ledger.reopen_quarantined(row.object.id()).await.map_err(failed)? {
                ReopenOutcome::Reopened(_) => ("open", ""),
                ReopenOutcome::Leased(_) => ("leased", ": somebody is at work on it, ask again later"),
                // Opened, taken up and finished by others since it was listed.
                ReopenOutcome::NotApplicable(row) => (row.status.as_str(), ""),
                ReopenOutcome::NotFound => ("forgotten", ""),
            };
            match became {
                "open" => self.opened += 1,
                "leased" => self.refused += 1,
                _ => {}
            }
            let object = named(row);
            match json {
                true => print_json(&RetryResult { object, became }),
                false => print(&format!("{became:<10}{object}{why}\n")),
            }
        }
        Ok(())
    }
}

fn objects(count: u64) -> String {
    if count == 1 { "1 object is".into() } else { format!("{} objects are", HumanCount(count)) }
}
