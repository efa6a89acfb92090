//! Reconcile: what of a page is in the bucket and not in the ledger.

use super::counts::Counts;
use super::folder_level::{KeyClass, classify};
use super::unit::{Layout, Pick, Unit};
use crate::ledger::store::StoreError;
use crate::ledger::{Ledger, ObjectState};
use crate::object::{Object, ObjectRef};
use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};

/// A listed key and what is to be done about it.
#[derive(Debug)]
pub(crate) struct ListedKey {
    pub(crate) at: ObjectRef,
    pub(crate) state: KeyState,
}

/// What is known of a listed key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyState {
    NotALog,
    Excluded,
    /// What the ledger says of it, and whether it is older than the ledger's memory.
    Log {
        state: ObjectState,
        old: bool,
    },
}

impl ListedKey {
    /// Whether it is handed in: every object that is not done or quarantined and not under a live lease, and on request
    /// the quarantined.
    pub(crate) fn is_picked(&self, pick: Pick) -> bool {
        match self.state {
            KeyState::Log { state: ObjectState::Absent | ObjectState::Unfinished, .. } => true,
            KeyState::Log { state: ObjectState::Quarantined, .. } => pick == Pick::UnfinishedAndQuarantined,
            _ => false,
        }
    }

    /// Counts it, once it is worked off.
    pub(crate) fn count(&self, counts: &mut Counts) {
        counts.listed += 1;
        match self.state {
            KeyState::NotALog => counts.no_logs += 1,
            KeyState::Excluded => counts.not_asked += 1,
            KeyState::Log { state: ObjectState::Absent, old } => {
                counts.missing += 1;
                counts.forgotten += u64::from(old);
            }
            KeyState::Log { state: ObjectState::Unfinished, .. } => counts.unfinished += 1,
            KeyState::Log { state: ObjectState::Leased { .. }, .. } => counts.leased += 1,
            KeyState::Log { state: ObjectState::Done, .. } => counts.done += 1,
            KeyState::Log { state: ObjectState::Quarantined, .. } => counts.quarantined += 1,
        }
    }
}

/// Holds a page against the ledger.
///
/// The view is stale as soon as it is read, and need not be more: an object that is finished meanwhile is handed in and
/// found done, at the price of one write; one that is found done, is done.
pub(crate) async fn reconcile(
    ledger: &Ledger,
    unit: &Unit,
    page: Vec<ObjectRef>,
) -> Result<Vec<ListedKey>, StoreError> {
    let memory = memory_begins(ledger);
    let classes: Vec<KeyClass> = page.iter().map(|at| wanted(at, unit)).collect();
    let asked: Vec<Object> = page
        .iter()
        .zip(&classes)
        .filter(|(_, class)| matches!(class, KeyClass::Selected(_)))
        .filter_map(|(at, _)| at.object())
        .collect();
    let mut states = ledger.states(&asked).await?.into_iter();
    let judge = |(at, class): (ObjectRef, KeyClass)| {
        let state = match class {
            KeyClass::NotALog => KeyState::NotALog,
            KeyClass::Excluded => KeyState::Excluded,
            KeyClass::Selected(day) => {
                // Listed without an ETag, it cannot be looked up: it is handed in, and ingestion asks for its version.
                let state = at.etag.as_ref().and_then(|_| states.next()).unwrap_or(ObjectState::Absent);
                KeyState::Log { state, old: day.is_some_and(|day| day < memory) }
            }
        };
        ListedKey { at, state }
    };
    Ok(page.into_iter().zip(classes).map(judge).collect())
}

fn wanted(at: &ObjectRef, unit: &Unit) -> KeyClass {
    match (classify(&at.key, &unit.filters), unit.layout) {
        // Nothing but its name says when it was delivered.
        (KeyClass::Selected(Some(day)), Layout::Flat) if !unit.span.contains(day) => KeyClass::Excluded,
        (class, _) => class,
    }
}

/// Rows of objects delivered before this day may have expired.
fn memory_begins(ledger: &Ledger) -> Date {
    let since = Timestamp::from_second(ledger.retention_start()).unwrap_or(Timestamp::UNIX_EPOCH);
    since.to_zoned(TimeZone::UTC).date()
}
