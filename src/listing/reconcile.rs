//! Reconcile: compares a page of listed keys with the ledger.

use super::counts::ListingCounts;
use super::folder_level::{KeyClass, classify};
use super::unit::{Layout, StateSelection, Unit};
use crate::ledger::model::quarantine::QuarantineKind;
use crate::ledger::store::StoreError;
use crate::ledger::{Ledger, ObjectState};
use crate::object::{ArchiveState, Object, ObjectRef};
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
    /// A selected log: its state in the ledger, its day of delivery if its name contains it, and whether that day is
    /// older than the ledger's retention.
    Log {
        state: ObjectState,
        day: Option<Date>,
        past_retention: bool,
    },
}

impl ListedKey {
    /// Returns whether the object must be ingested: it is absent or unfinished, or it is quarantined and `states`
    /// includes quarantined objects. Objects that are archived, done or under an unexpired lease are not selected, nor
    /// are objects whose quarantine was accepted.
    pub(crate) fn is_selected(&self, states: StateSelection) -> bool {
        match self.state {
            KeyState::Log { .. } if self.at.archive == ArchiveState::Archived => false,
            KeyState::Log { state: ObjectState::Absent | ObjectState::Unfinished, .. } => true,
            KeyState::Log { state: ObjectState::Quarantined(_), .. } => {
                states == StateSelection::UnfinishedAndQuarantined
            }
            _ => false,
        }
    }

    /// Adds the key to `counts`. Called when the cursor passes the key.
    pub(crate) fn count(&self, counts: &mut ListingCounts) {
        counts.listed += 1;
        match self.state {
            KeyState::NotALog => counts.not_logs += 1,
            KeyState::Excluded => counts.excluded += 1,
            KeyState::Log { state, .. } if is_archived(&self.at, state) => counts.archived += 1,
            KeyState::Log { state: ObjectState::Absent, past_retention, .. } => {
                counts.missing += 1;
                counts.past_retention += u64::from(past_retention);
            }
            KeyState::Log { state: ObjectState::Unfinished, .. } => counts.unfinished += 1,
            KeyState::Log { state: ObjectState::Leased { .. }, .. } => counts.leased += 1,
            KeyState::Log { state: ObjectState::Done, .. } => counts.done += 1,
            KeyState::Log { state: ObjectState::Quarantined(kind), .. } => match kind {
                QuarantineKind::Archived => counts.archived += 1,
                QuarantineKind::Kms { .. } => counts.kms += 1,
                QuarantineKind::Other => counts.quarantined += 1,
            },
            KeyState::Log { state: ObjectState::QuarantineAccepted, .. } => counts.quarantined += 1,
        }
    }

    /// Returns the state of a log in the ledger.
    pub(super) fn log_state(&self) -> Option<ObjectState> {
        match self.state {
            KeyState::Log { state, .. } => Some(state),
            KeyState::NotALog | KeyState::Excluded => None,
        }
    }

    /// Sets the state of a log after it was changed in the ledger.
    pub(super) fn set_log_state(&mut self, new: ObjectState) {
        if let KeyState::Log { state, .. } = &mut self.state {
            *state = new;
        }
    }
}

/// Returns whether the object has no row or an unfinished one, and cannot be read because it is archived.
pub(super) fn is_archived(at: &ObjectRef, state: ObjectState) -> bool {
    at.archive == ArchiveState::Archived && matches!(state, ObjectState::Absent | ObjectState::Unfinished)
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
    let logs: Vec<Object> = page
        .iter()
        .zip(&classes)
        .filter(|(_, class)| matches!(class, KeyClass::Selected(_)))
        .filter_map(|(at, _)| at.object())
        .collect();
    let mut states = ledger.states(&logs).await?.into_iter();
    let listed_key = |(at, class): (ObjectRef, KeyClass)| {
        let state = match class {
            KeyClass::NotALog => KeyState::NotALog,
            KeyClass::Excluded => KeyState::Excluded,
            KeyClass::Selected(day) => {
                // An object that was listed without an ETag cannot be looked up. It is treated as absent, and ingestion
                // determines its version.
                let state = at.etag.as_ref().and_then(|_| states.next()).unwrap_or(ObjectState::Absent);
                KeyState::Log { state, day, past_retention: day.is_some_and(|day| day < oldest_kept) }
            }
        };
        ListedKey { at, state }
    };
    Ok(page.into_iter().zip(classes).map(listed_key).collect())
}

pub(crate) fn classify_object(at: &ObjectRef, unit: &Unit) -> KeyClass {
    match (classify(&at.key, &unit.filters), unit.layout) {
        // In a flat folder, only the key's name contains the delivery day.
        (KeyClass::Selected(Some(day)), Layout::Flat) if !unit.day_range.contains(day) => KeyClass::Excluded,
        (class, _) => class,
    }
}

/// Returns the oldest delivery day whose rows have not expired.
fn retention_start(ledger: &Ledger) -> Date {
    let since = Timestamp::from_second(ledger.retention_start()).unwrap_or(Timestamp::UNIX_EPOCH);
    since.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::store::memory::Memory;
    use crate::listing::DayRange;
    use crate::listing::discover::DiscoveryRequest;
    use std::sync::Arc;

    /// Only objects of days before the first kept day can have lost their rows.
    #[tokio::test]
    async fn first_day_of_the_retention_is_not_past_it() {
        let now = "2026-11-20T12:00:00Z".parse::<Timestamp>().unwrap().as_second();
        let ledger = Ledger::new(Arc::new(Memory::default()), Arc::new(move || now), 10 * 86_400);
        let range = DayRange::parse("2026-11-01", "2026-11-20").unwrap();
        let unit = DiscoveryRequest::new("b", "", range).flat_unit();
        let at = |day: &str| {
            let name = format!("111122223333_CloudTrail_eu-west-1_{day}T0000Z_a.json.gz");
            ObjectRef::new("b", name).with_version("e", 1)
        };
        let listed = reconcile(&ledger, &unit, vec![at("20261109"), at("20261110")]).await.unwrap();
        let past = listed.iter().map(|listed| match listed.state {
            KeyState::Log { past_retention, .. } => past_retention,
            KeyState::NotALog | KeyState::Excluded => panic!("{listed:?}"),
        });
        assert_eq!(past.collect::<Vec<_>>(), [true, false]);
    }
}
