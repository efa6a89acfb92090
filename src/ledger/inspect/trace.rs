//! Trace: where the ledger has one event, and whether it is proven delivered.

use crate::event::{EventId, EventScope};
use crate::ledger::Ledger;
use crate::ledger::model::page::{Entry, Owner, PageName};
use crate::ledger::model::row::Row;
use crate::ledger::protocol::lookup::EventLookup;
use crate::ledger::store::StoreError;
use crate::object::ObjectId;
use std::collections::{BTreeMap, HashMap};

/// What the ledger says of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTrace {
    /// The page that holds it.
    pub page: PageName,
    /// What the page says.
    pub entry: Entry,
    /// Its owner's row; none where a helper delivered it, or the owner is done and forgotten.
    pub owner: Option<Row>,
}

impl EventTrace {
    /// Whether the event is proven delivered.
    pub fn delivered(&self) -> bool {
        match (self.entry.owner, &self.owner) {
            // A row vanishes only after its object is done.
            (Owner::Delivered, _) | (Owner::Object(_), None) => true,
            (Owner::Object(_), Some(row)) => row.proves(self.entry.ordinal),
        }
    }
}

impl Ledger {
    /// Looks for an event in these places, through full pages into their shards; costs a read for each place, and one for
    /// each shard and owner. An event whose place is not among them is not found.
    ///
    /// # Errors
    /// The store's.
    pub async fn trace(&self, id: EventId, scopes: &[EventScope]) -> Result<Vec<EventTrace>, StoreError> {
        let mut roots: BTreeMap<PageName, Vec<EventLookup>> = BTreeMap::new();
        for (ordinal, scope) in (0u32..).zip(scopes) {
            // Minutes share a page, and behind a full one they part.
            let lookups = EventLookup { ordinal, id, minute: scope.minute, fingerprint: 0 };
            roots.entry(PageName::root(scope, id)).or_default().push(lookups);
        }
        let found = self.find(roots).await?;
        let mut entries: Vec<(PageName, Entry)> = found.entries.into_values().collect();
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        entries.dedup_by(|one, other| one.0 == other.0);
        self.owners(entries).await
    }

    /// Looks up who owns what was found. The rows are read after the pages: the other way round, a row would say nothing
    /// of an event that its object claimed in between.
    ///
    /// # Errors
    /// The store's.
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
    async fn an_event_is_found_in_its_own_place_and_in_the_shards_of_a_full_page() {
        let ledger = Ledger::new(Arc::new(Memory::default()), system_clock(), 0).with_page_bytes(256);
        let object = Object { bucket: "b".into(), key: "k".into(), etag: "e".into() };
        let LeaseOutcome::Granted(mut lease) = ledger.lease(&object, ledger.now() + 60).await.unwrap() else {
            panic!("not leased")
        };
        let scope = |minute| EventScope { account: "1".into(), region: "r".into(), minute: Some(minute) };
        let known =
            (0..100).map(|number| EventMeta { id: EventId([number; 16]), scope: 0, fingerprint: 0, filtered: false });
        ledger.claim(&mut lease, &known.collect::<Vec<_>>(), &[scope(7)], true).await.unwrap();
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
