//! Finds the ledger entry of one event, and whether the event is proven delivered.

use crate::event::{EventId, EventScope};
use crate::ledger::Ledger;
use crate::ledger::model::page::{Entry, Owner, PageName};
use crate::ledger::model::row::Row;
use crate::ledger::protocol::lookup::EventLookup;
use crate::ledger::store::StoreError;
use crate::object::ObjectId;
use std::collections::{BTreeMap, HashMap};

/// Ledger entry of one event, with its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTrace {
    /// The page that contains the entry.
    pub page: PageName,
    /// The entry.
    pub entry: Entry,
    /// The owner's row. `None` if the event is marked as delivered, or if the owner is done and its row expired.
    pub owner: Option<Row>,
}

impl EventTrace {
    /// Returns whether the event is proven delivered.
    pub fn delivered(&self) -> bool {
        match (self.entry.owner, &self.owner) {
            // A row is deleted only after its object is done.
            (Owner::Delivered, _) | (Owner::Object(_), None) => true,
            (Owner::Object(_), Some(row)) => row.proves(self.entry.ordinal),
        }
    }
}

impl Ledger {
    /// Looks up an event in these scopes, including overflow pages. Costs one read per page and one per owner. An event
    /// whose scope is not given is not found.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn trace(&self, id: EventId, scopes: &[EventScope]) -> Result<Vec<EventTrace>, StoreError> {
        let mut roots: BTreeMap<PageName, Vec<EventLookup>> = BTreeMap::new();
        for (ordinal, scope) in (0u32..).zip(scopes) {
            // Minutes of one time bucket share a page. Each minute has an overflow page of its own, so every scope is
            // needed.
            let lookup = EventLookup { ordinal, id, minute: scope.minute, fingerprint: 0 };
            roots.entry(PageName::root(scope, id)).or_default().push(lookup);
        }
        let found = self.find(roots).await?;
        let mut entries: Vec<(PageName, Entry)> = found.entries.into_values().collect();
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        entries.dedup_by(|one, other| one.0 == other.0);
        self.owners(entries).await
    }

    /// Adds the owners' rows to these entries. The rows are read after the pages: see [`Ledger::unproven`].
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn owners(&self, found: Vec<(PageName, Entry)>) -> Result<Vec<EventTrace>, StoreError> {
        let owner = |entry: &Entry| match entry.owner {
            Owner::Object(id) => Some(id),
            Owner::Delivered => None,
        };
        let mut ids: Vec<ObjectId> = found.iter().filter_map(|(_, entry)| owner(entry)).collect();
        ids.sort_unstable();
        ids.dedup();
        let rows: HashMap<ObjectId, Option<Row>> = ids.iter().copied().zip(self.rows(&ids).await?).collect();
        let traces = found.into_iter().map(|(page, entry)| EventTrace {
            owner: owner(&entry).and_then(|id| rows.get(&id).cloned().flatten()),
            page,
            entry,
        });
        Ok(traces.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::store::memory::Memory;
    use crate::ledger::{EventMeta, LeaseOutcome, system_clock};
    use crate::object::Object;
    use std::sync::Arc;

    #[tokio::test]
    async fn event_is_found_in_its_own_scope_and_in_shards() {
        let ledger = Ledger::new(Arc::new(Memory::default()), system_clock(), 0).with_page_bytes(256);
        let object = Object { bucket: "b".into(), key: "k".into(), etag: "e".into() };
        let LeaseOutcome::Granted(mut lease) = ledger.lease(&object, ledger.now() + 60).await.unwrap() else {
            panic!("not leased")
        };
        let scope = |minute| EventScope { account: "1".into(), region: "r".into(), minute: Some(minute) };
        let events =
            (0..100).map(|number| EventMeta { id: EventId([number; 16]), scope: 0, fingerprint: 0, filtered: false });
        ledger.claim(&mut lease, &events.collect::<Vec<_>>(), &[scope(7)], true).await.unwrap();
        ledger.advance(&mut lease, 50).await.unwrap();
        let mut sharded = 0;
        for number in 0..100 {
            let found = ledger.trace(EventId([number; 16]), &[scope(6), scope(7), scope(8)]).await.unwrap();
            assert_eq!(found.len(), 1, "{number}");
            assert_eq!(found[0].delivered(), number < 50, "{number}");
            assert_eq!(found[0].owner.as_ref().unwrap().object, object);
            sharded += usize::from(found[0].page.0.contains('~'));
        }
        assert!(sharded > 50, "{sharded}");
        assert_eq!(ledger.trace(EventId([1; 16]), &[scope(36)]).await.unwrap(), []);
        ledger.settle(&mut lease).await.unwrap();
        assert!(ledger.trace(EventId([99; 16]), &[scope(7)]).await.unwrap()[0].delivered());
    }
}
