//! Reads what the ledger knows of an object and its events, without writing.

use crate::event::EventScope;
use crate::ledger::model::page::{Owner, PageName};
use crate::ledger::model::row::Row;
use crate::ledger::protocol::EventMeta;
use crate::ledger::protocol::lookup::{EventLookup, roots};
use crate::ledger::store::StoreError;
use crate::ledger::{ForeignClaim, Ledger, LedgerError};
use crate::object::ObjectId;
use std::collections::{BTreeMap, HashSet};

/// Counts of an object's events by owner. Each event ID is counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnershipCounts {
    /// Events without an owner. An attempt at the object would claim and deliver them.
    pub unclaimed: u64,
    /// Events that the object owns.
    pub owned: u64,
    /// Events that another object owns and that are proven delivered.
    pub delivered_elsewhere: u64,
    /// Events that another object owns and that are not proven delivered.
    pub pending_elsewhere: u64,
}

impl Ledger {
    /// Returns the rows of these objects, in this order; `None` for an object without a row.
    pub async fn rows(&self, ids: &[ObjectId]) -> Result<Vec<Option<Row>>, StoreError> {
        self.store.rows(ids).await
    }

    /// Returns the current ownership of an object's events.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn ownership(
        &self,
        id: ObjectId,
        events: &[EventMeta],
        scopes: &[EventScope],
    ) -> Result<OwnershipCounts, LedgerError> {
        let mut lookups: BTreeMap<PageName, Vec<EventLookup>> = BTreeMap::new();
        let roots = roots(scopes);
        let mut seen = HashSet::new();
        for (ordinal, event) in (0u32..).zip(events) {
            if seen.insert((roots[event.scope as usize], event.id)) {
                let name = PageName::root(&scopes[event.scope as usize], event.id);
                lookups.entry(name).or_default().push(EventLookup::new(ordinal, event, scopes));
            }
        }
        let found = self.find(lookups).await?;
        let mut ownership =
            OwnershipCounts { unclaimed: (seen.len() - found.entries.len()) as u64, ..OwnershipCounts::default() };
        let mut foreign = Vec::new();
        for (ordinal, (_, entry)) in found.entries {
            match entry.owner {
                Owner::Object(owner) if owner == id => ownership.owned += 1,
                Owner::Object(owner) => foreign.push(ForeignClaim { ordinal, owner, owner_ordinal: entry.ordinal }),
                Owner::Delivered => ownership.delivered_elsewhere += 1,
            }
        }
        let others = foreign.len() as u64;
        // Read pages before rows: see `Ledger::unproven`.
        ownership.pending_elsewhere = self.unproven(foreign).await?.len() as u64;
        ownership.delivered_elsewhere += others - ownership.pending_elsewhere;
        Ok(ownership)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventId;
    use crate::ledger::store::memory::Memory;
    use crate::ledger::{LeaseOutcome, system_clock};
    use crate::object::Object;
    use std::sync::Arc;

    fn event(number: u8) -> EventMeta {
        EventMeta { id: EventId([number; 16]), scope: 0, fingerprint: 0, filtered: false }
    }

    #[tokio::test]
    async fn ownership_counts_unclaimed_owned_pending_and_delivered_events() {
        let ledger = Ledger::new(Arc::new(Memory::default()), system_clock(), 0);
        let object = |key: &str| Object { bucket: "b".into(), key: key.into(), etag: "e".into() };
        let scopes = [EventScope::default()];
        let mut leases = Vec::new();
        for (key, events) in [("a", [event(1), event(2)]), ("b", [event(3), event(4)])] {
            let LeaseOutcome::Granted(mut lease) = ledger.lease(&object(key), ledger.now() + 60).await.unwrap() else {
                panic!("not leased")
            };
            ledger.claim(&mut lease, &events, &scopes, false).await.unwrap();
            leases.push(lease);
        }
        let events = [1, 1, 2, 3, 5].map(event);
        let ownership = ledger.ownership(object("a").id(), &events, &scopes).await.unwrap();
        assert_eq!(ownership, OwnershipCounts { unclaimed: 1, owned: 2, delivered_elsewhere: 0, pending_elsewhere: 1 });
        ledger.settle(&mut leases[1]).await.unwrap();
        let ownership = ledger.ownership(object("a").id(), &events, &scopes).await.unwrap();
        assert_eq!(ownership, OwnershipCounts { unclaimed: 1, owned: 2, delivered_elsewhere: 1, pending_elsewhere: 0 });
    }
}
