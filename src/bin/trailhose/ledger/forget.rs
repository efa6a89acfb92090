//! `trailhose ledger forget`: resets an object so that its events are delivered again.

use super::confirm::confirmed;
use super::object::ObjectSelector;
use super::open::{OpenedLedger, failed};
use super::show::{not_found_text, show};
use super::view::{named, say};
use crate::components::Aws;
use trailhose::ledger::ReopenOutcome;

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
    let owns = match row.counts {
        Some(counts) => format!("the {} events that it delivered", counts.delivered + counts.oversize),
        None => "the events that it delivered".to_owned(),
    };
    let name = named(row);
    if !confirmed(&format!("{name} is {}, and {owns} will be delivered again", row.status.as_str()), yes)? {
        say("no changes made");
        return Ok(super::NOT_FOUND);
    }
    match open.ledger.forget(row.object.id()).await.map_err(failed)? {
        ReopenOutcome::Reopened(row) => {
            show(open, &[row], json);
            say("reset: the next sync or backfill that covers the object delivers it again");
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
