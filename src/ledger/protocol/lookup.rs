//! Find: where the ledger's entries of some events lie, through full pages into those behind them.

use crate::event::{EventId, EventScope};
use crate::ledger::Ledger;
use crate::ledger::model::page::{Entry, Page, PageName, SPAN_MINUTES};
use crate::ledger::model::row::Seconds;
use crate::ledger::store::StoreError;
use std::collections::{BTreeMap, HashMap};

/// What the ledger needs to know of one event of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventMeta {
    /// Its identity.
    pub id: EventId,
    /// Index into the file's places.
    pub scope: u32,
    /// 16 bits of its content.
    pub fingerprint: u16,
    /// Whether the configured filter drops it: then it is not claimed.
    pub filtered: bool,
}

/// An event that is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventLookup {
    /// Its index in the file.
    pub ordinal: u32,
    /// Its identity.
    pub id: EventId,
    /// Its minute, where it has one.
    pub minute: Option<i64>,
    /// 16 bits of its content.
    pub fingerprint: u16,
}

impl EventLookup {
    /// The event of this index.
    pub(crate) fn new(ordinal: u32, event: &EventMeta, scopes: &[EventScope]) -> Self {
        let minute = scopes[event.scope as usize].minute;
        Self { ordinal, id: event.id, minute, fingerprint: event.fingerprint }
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct LookupResult {
    /// By index in the file: the page that holds the event, and what it says.
    pub entries: HashMap<u32, (PageName, Entry)>,
    /// Every live page that was read.
    pub pages: HashMap<PageName, Page>,
}

impl Ledger {
    /// Looks events up by strongly consistent reads, a level of pages at a time.
    pub(crate) async fn find(
        &self,
        mut lookups: BTreeMap<PageName, Vec<EventLookup>>,
    ) -> Result<LookupResult, StoreError> {
        let mut found = LookupResult::default();
        while !lookups.is_empty() {
            let names: Vec<_> = lookups.keys().cloned().collect();
            let pages = self.store.pages(&names).await?;
            let mut deeper = BTreeMap::new();
            for (name, page) in names.into_iter().zip(pages) {
                let events = lookups.remove(&name).unwrap_or_default();
                let Some(page) = page.filter(|page| page.live(self.now())) else { continue };
                let others = partition(&page, &events, |ordinal, entry| {
                    found.entries.insert(ordinal, (name.clone(), entry));
                });
                for event in others {
                    if page.full {
                        deeper.entry(name.deeper(event.minute, event.id)).or_insert_with(Vec::new).push(event);
                    }
                }
                found.pages.insert(name, page);
            }
            lookups = deeper;
        }
        Ok(found)
    }
}

/// Shows what the page says of the events that it holds, and returns the others.
pub(crate) fn partition(page: &Page, events: &[EventLookup], mut held: impl FnMut(u32, Entry)) -> Vec<EventLookup> {
    let mut others = Vec::new();
    for &event in events {
        match page.entries.get(&event.id) {
            Some(&entry) => held(event.ordinal, entry),
            None => others.push(event),
        }
    }
    others
}

/// For each place the first one whose events are looked for in the same page. Within one file too the same ID is the
/// same event only where it belongs to the same page.
pub(crate) fn roots(scopes: &[EventScope]) -> Vec<u32> {
    let mut met = HashMap::new();
    let span = |scope: &EventScope| scope.minute.map(|minute| minute.div_euclid(SPAN_MINUTES));
    let roots = (0u32..).zip(scopes);
    roots.map(|(at, scope)| *met.entry((&scope.account, &scope.region, span(scope))).or_insert(at)).collect()
}

/// Whether a page is so near its end that it must be extended before it is relied on.
pub(crate) fn expires_soon(page: &Page, now: Seconds) -> bool {
    page.expires - now < crate::ledger::PAGE_MARGIN
}
