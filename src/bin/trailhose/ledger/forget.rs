//! `trailhose ledger forget`: an object is worked on once more.

use super::confirm::confirmed;
use super::object::ObjectSelector;
use super::open::{OpenedLedger, failed};
use super::show::{nothing, show};
use super::view::{named, say};
use crate::components::Aws;
use trailhose::ledger::ReopenOutcome;

pub(super) async fn run(open: &OpenedLedger, aws: &Aws, object: &str, scan: bool, yes: bool, json: bool) -> Result<u8, String> {
    let found = ObjectSelector::parse(object)?.find(open, aws, scan).await?;
    let row = match &found.rows[..] {
        [] => {
            say(&nothing(open, object, found.other_versions_possible).await);
            return Ok(super::NOT_FOUND);
        }
        [row] => row,
        rows => {
            show(open, rows, json);
            return Err(format!("{} versions of it are known, as above: name one of them with its #ETAG", rows.len()));
        }
    };
    let owns = match row.counts {
        Some(counts) => format!("{} events that it delivered", counts.delivered + counts.oversize),
        None => "what it delivered".to_owned(),
    };
    let name = named(row);
    if !confirmed(&format!("{name} is {}, and {owns} will be delivered again", row.status.as_str()), yes)? {
        say("nothing is changed");
        return Ok(super::NOT_FOUND);
    }
    match open.ledger.forget(row.object.id()).await.map_err(failed)? {
        ReopenOutcome::Reopened(row) => {
            show(open, &[row], json);
            say("forgotten: the next sync over it, or a backfill over its day, delivers it again");
            Ok(0)
        }
        ReopenOutcome::Leased(row) => {
            show(open, &[row], json);
            say("refused: somebody is at work on it; ask again when the lease has ended");
            Ok(super::NOT_FOUND)
        }
        ReopenOutcome::NotApplicable(_) | ReopenOutcome::NotFound => {
            say(&nothing(open, object, false).await);
            Ok(super::NOT_FOUND)
        }
    }
}
