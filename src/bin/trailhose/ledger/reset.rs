//! `trailhose ledger reset`: resets an object so that its events are delivered again.

use super::confirm::confirmed;
use super::object::ObjectSelector;
use super::open::{OpenedLedger, failed};
use super::show::{not_found_text, show};
use super::view::{named, say};
use crate::components::Aws;
use crate::text::counted;
use trailhose::ledger::ReopenOutcome;
use trailhose::ledger::model::row::{CURSOR_END, Row};

pub(super) async fn run(
    open: &OpenedLedger,
    aws: &Aws,
    object: &str,
    scan: bool,
    yes: bool,
    json: bool,
) -> Result<u8, String> {
    let found = ObjectSelector::parse(object)?.find(open, aws, scan).await?;
    let row = match &found.rows[..] {
        [] => {
            say(&not_found_text(open, object, found.other_versions_possible).await);
            return Ok(super::NOT_FOUND);
        }
        [row] => row,
        rows => {
            show(open, rows, json);
            return Err(format!("{} versions are known, as listed above: select one with #ETAG", rows.len()));
        }
    };
    let question = format!("Reset {}, which is {}?", named(row), row.status.as_str());
    if !confirmed(&question, &effect(row), yes)? {
        say("no changes made");
        return Ok(super::NOT_FOUND);
    }
    match open.ledger.reset(row.object.id()).await.map_err(failed)? {
        ReopenOutcome::Reopened(row) => {
            show(open, &[row], json);
            say("reset: the next sync or backfill that covers the object processes it again");
            Ok(0)
        }
        ReopenOutcome::Leased(row) => {
            show(open, &[row], json);
            say("refused: another worker is processing it; try again after the lease expires");
            Ok(super::NOT_FOUND)
        }
        ReopenOutcome::NotApplicable(_) | ReopenOutcome::NotFound => {
            say(&not_found_text(open, object, false).await);
            Ok(super::NOT_FOUND)
        }
    }
}

/// Describes the effect of the reset. Events that the object owns and has already delivered are delivered again.
fn effect(row: &Row) -> String {
    match (row.counts, row.cursor) {
        (Some(counts), _) => {
            let owned = counts.delivered + counts.oversize;
            format!("At most {} that it delivered will be delivered again.", counted(owned, "event"))
        }
        (None, CURSOR_END) => "All events that it owns will be delivered again.".to_owned(),
        (None, 0) => {
            "An event that it delivered and whose delivery is not recorded will be delivered again.".to_owned()
        }
        (None, cursor) => format!("The events that it owns before event {cursor} will be delivered again."),
    }
}
