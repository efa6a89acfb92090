//! Find: where the ledger's entries of some events lie, through full pages into their shards.

use super::Ledger;
use super::page::{Entry, Page, PageName};
use super::row::Seconds;
use super::store::StoreError;
use crate::event::EventId;
use std::collections::{BTreeMap, HashMap};

/// An event that is looked for: its index in the file, and its identity.
pub(super) type Sought = (u32, EventId);

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// By index in the file: the page that holds the event, and what it says.
    pub entries: HashMap<u32, (PageName, Entry)>,
    /// Every live page that was read.
    pub pages: HashMap<PageName, Page>,
}

impl Ledger {
    /// Looks events up by strongly consistent reads, a level of shards at a time.
    pub(super) async fn find(&self, mut sought: BTreeMap<PageName, Vec<Sought>>) -> Result<Found, StoreError> {
        let mut found = Found::default();
        while !sought.is_empty() {
            let names: Vec<_> = sought.keys().cloned().collect();
            let pages = self.store.pages(&names).await?;
            let mut deeper = BTreeMap::new();
            for (name, page) in names.into_iter().zip(pages) {
                let events = sought.remove(&name).unwrap_or_default();
                let Some(page) = page.filter(|page| page.live(self.now())) else { continue };
                for event in part(&name, &page, &events, &mut found.entries) {
                    if page.full {
                        deeper.entry(name.shard(event.1)).or_insert_with(Vec::new).push(event);
                    }
                }
                found.pages.insert(name, page);
            }
            sought = deeper;
        }
        Ok(found)
    }
}

/// Puts the events that the page holds into `entries`, and returns the others.
pub(super) fn part(
    name: &PageName,
    page: &Page,
    events: &[Sought],
    entries: &mut HashMap<u32, (PageName, Entry)>,
) -> Vec<Sought> {
    let mut others = Vec::new();
    for &(ordinal, id) in events {
        match page.entries.get(&id) {
            Some(entry) => drop(entries.insert(ordinal, (name.clone(), *entry))),
            None => others.push((ordinal, id)),
        }
    }
    others
}

/// Whether a page is so near its end that it must be extended before it is relied on.
pub(super) fn ends_soon(page: &Page, now: Seconds) -> bool {
    page.expires - now < super::PAGE_MARGIN
}
