//! Reconcile: compares a page of listed keys with the ledger.

use super::counts::ListingCounts;
use super::folder_level::{KeyClass, classify};
use super::unit::{Layout, StateSelection, Unit};
use crate::ledger::store::StoreError;
use crate::ledger::{Ledger, ObjectState};
use crate::object::{Object, ObjectRef};
use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};

/// A listed key and its state.
#[derive(Debug)]
pub(crate) struct ListedKey {
    pub(crate) at: ObjectRef,
    pub(crate) state: KeyState,
}

/// The state of a listed key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyState {
    NotALog,
    Excluded,
    /// A selected log: its state in the ledger, and whether it is older than the ledger's retention.
    Log {
        state: ObjectState,
        old: bool,
    },
}

impl ListedKey {
    /// Returns whether the object must be ingested: it is absent or unfinished, or it is quarantined and `states`
    /// includes quarantined objects. Objects that are done or have an unexpired lease are not selected.
    pub(crate) fn is_selected(&self, states: StateSelection) -> bool {
        match self.state {
            KeyState::Log { state: ObjectState::Absent | ObjectState::Unfinished, .. } => true,
            KeyState::Log { state: ObjectState::Quarantined, .. } => states == StateSelection::UnfinishedAndQuarantined,
            _ => false,
        }
    }

    /// Adds the key to `counts`. Called when the cursor passes the key.
    pub(crate) fn count(&self, counts: &mut ListingCounts) {
        counts.listed += 1;
        match self.state {
            KeyState::NotALog => counts.not_logs += 1,
            KeyState::Excluded => counts.excluded += 1,
            KeyState::Log { state: ObjectState::Absent, old } => {
                counts.missing += 1;
                counts.past_retention += u64::from(old);
            }
            KeyState::Log { state: ObjectState::Unfinished, .. } => counts.unfinished += 1,
            KeyState::Log { state: ObjectState::Leased { .. }, .. } => counts.leased += 1,
            KeyState::Log { state: ObjectState::Done, .. } => counts.done += 1,
            KeyState::Log { state: ObjectState::Quarantined, .. } => counts.quarantined += 1,
        }
    }
}

/// Looks up a page of listed objects in the ledger.
///
/// The result may be stale immediately, which is safe: an object that is finished in the meantime is enqueued and then
/// found done, at the cost of one write. An object that is found done stays done.
pub(crate) async fn reconcile(
    ledger: &Ledger,
    unit: &Unit,
    page: Vec<ObjectRef>,
) -> Result<Vec<ListedKey>, StoreError> {
    let oldest_kept = retention_start(ledger);
    let classes: Vec<KeyClass> = page.iter().map(|at| classify_object(at, unit)).collect();
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
                // An object that was listed without an ETag cannot be looked up. It is treated as absent, and ingestion
                // determines its version.
                let state = at.etag.as_ref().and_then(|_| states.next()).unwrap_or(ObjectState::Absent);
                KeyState::Log { state, old: day.is_some_and(|day| day < oldest_kept) }
            }
        };
        ListedKey { at, state }
    };
    Ok(page.into_iter().zip(classes).map(judge).collect())
}

fn classify_object(at: &ObjectRef, unit: &Unit) -> KeyClass {
    match (classify(&at.key, &unit.filters), unit.layout) {
        // In a flat folder, only the key's name contains the delivery day.
        (KeyClass::Selected(Some(day)), Layout::Flat) if !unit.span.contains(day) => KeyClass::Excluded,
        (class, _) => class,
    }
}

/// Returns the oldest delivery day whose rows have not expired.
fn retention_start(ledger: &Ledger) -> Date {
    let since = Timestamp::from_second(ledger.retention_start()).unwrap_or(Timestamp::UNIX_EPOCH);
    since.to_zoned(TimeZone::UTC).date()
}
