//! `trailhose ledger show`: shows the rows of one object.

use super::object::ObjectSelector;
use super::open::OpenedLedger;
use super::view::{RowView, say};
use crate::components::Aws;
use crate::print::{print, print_json};
use trailhose::ledger::model::row::Row;

pub(super) async fn run(open: &OpenedLedger, aws: &Aws, object: &str, scan: bool, json: bool) -> Result<u8, String> {
    let found = ObjectSelector::parse(object)?.find(open, aws, scan).await?;
    show(open, &found.rows, json);
    if found.rows.is_empty() {
        say(&not_found_text(open, object, found.other_versions_possible).await);
        return Ok(super::NOT_FOUND);
    }
    if found.other_versions_possible {
        say(&format!("this is the current version; use --scan to find all versions ({})", cost_of_scan(open).await));
    }
    Ok(0)
}

/// Prints rows.
pub(super) fn show(open: &OpenedLedger, rows: &[Row], json: bool) {
    for row in rows {
        let view = RowView::of(row, open.ledger.now());
        if json { print_json(&view) } else { print(&view.text()) }
    }
}

/// Explains why no row was found, and what to try.
pub(super) async fn not_found_text(open: &OpenedLedger, object: &str, other_versions_possible: bool) -> String {
    match other_versions_possible {
        false => format!("{} has no row for {object}: not started, or done and expired", open.at),
        true => format!(
            "{} has no row for the current version of {object}; select another version with #ETAG, or use --scan to \
             find all versions ({})",
            open.at,
            cost_of_scan(open).await
        ),
    }
}

async fn cost_of_scan(open: &OpenedLedger) -> String {
    match open.scanner.size().await {
        Ok(size) => format!("about {}", open.cost_of_all(size.bytes)),
        Err(error) => format!("unknown cost: {error}"),
    }
}
