//! Lookup: finds the ledger entries of events, in their pages and in the overflow pages of full pages.

use crate::event::{EventId, EventScope};
use crate::ledger::Ledger;
use crate::ledger::model::page::{BUCKET_MINUTES, Entry, Page, PageName};
use crate::ledger::model::row::Seconds;
use crate::ledger::store::StoreError;
use std::collections::{BTreeMap, HashMap};

/// Metadata of one event of an object, as the ledger needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventMeta {
    /// The event ID.
    pub id: EventId,
    /// Index into the object's scopes.
    pub scope: u32,
    /// 16 bits of a hash of the event's content.
    pub fingerprint: u16,
    /// Whether the configured filter drops the event. Filtered events are not claimed.
    pub filtered: bool,
}

/// An event to look up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventLookup {
    /// Index of the event in the object.
    pub ordinal: u32,
    /// The event ID.
    pub id: EventId,
    /// The event's minute, if it has a time.
    pub minute: Option<i64>,
    /// 16 bits of a hash of the event's content.
    pub fingerprint: u16,
}

impl EventLookup {
    /// Returns the lookup of the event with this index.
    pub(crate) fn new(ordinal: u32, event: &EventMeta, scopes: &[EventScope]) -> Self {
        let minute = scopes[event.scope as usize].minute;
        Self { ordinal, id: event.id, minute, fingerprint: event.fingerprint }
    }
}

/// Result of a lookup.
#[derive(Debug, Default)]
pub(crate) struct EventLookupResult {
    /// By index in the object: the page that holds the event, and its entry.
    pub entries: HashMap<u32, (PageName, Entry)>,
    /// All live pages that were read.
    pub pages: HashMap<PageName, Page>,
}

impl Ledger {
    /// Looks up events with strongly consistent reads, one level of pages at a time.
    pub(crate) async fn find(
        &self,
        mut lookups: BTreeMap<PageName, Vec<EventLookup>>,
    ) -> Result<EventLookupResult, StoreError> {
        let mut found = EventLookupResult::default();
        while !lookups.is_empty() {
            let names: Vec<_> = lookups.keys().cloned().collect();
            let pages = self.store.pages(&names).await?;
            let mut overflow = BTreeMap::new();
            for (name, page) in names.into_iter().zip(pages) {
                let events = lookups.remove(&name).unwrap_or_default();
                let Some(page) = page.filter(|page| page.live(self.now())) else { continue };
                let others = partition(&page, &events, |ordinal, entry| {
                    found.entries.insert(ordinal, (name.clone(), entry));
                });
                for event in others {
                    if page.full {
                        overflow.entry(name.overflow(event.minute, event.id)).or_insert_with(Vec::new).push(event);
                    }
                }
                found.pages.insert(name, page);
            }
            lookups = overflow;
        }
        Ok(found)
    }
}

/// Passes the page's entries of `events` to `found` and returns the events that are not in the page.
pub(crate) fn partition(page: &Page, events: &[EventLookup], mut found: impl FnMut(u32, Entry)) -> Vec<EventLookup> {
    let mut others = Vec::new();
    for &event in events {
        match page.entries.get(&event.id) {
            Some(&entry) => found(event.ordinal, entry),
            None => others.push(event),
        }
    }
    others
}

/// Returns for each scope the index of the first scope that has the same root page. Two events with the same ID are the
/// same event only if they map to the same page, also within one object.
pub(crate) fn roots(scopes: &[EventScope]) -> Vec<u32> {
    let mut seen = HashMap::new();
    let bucket = |scope: &EventScope| scope.minute.map(|minute| minute.div_euclid(BUCKET_MINUTES));
    let roots = (0u32..).zip(scopes);
    roots.map(|(at, scope)| *seen.entry((&scope.account, &scope.region, bucket(scope))).or_insert(at)).collect()
}

/// Returns whether a page expires so soon that it must be extended before it is relied on.
pub(crate) fn expires_soon(page: &Page, now: Seconds) -> bool {
    page.expires - now < crate::ledger::PAGE_MARGIN
}
