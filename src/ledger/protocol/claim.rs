//! Claim: the conditional write that makes an object the owner of event IDs, one page at a time. All pages are
//! claimed before anything is delivered. An event delivered before it is claimed could be delivered again by another
//! worker. If pages were claimed between deliveries, events could be lost.

use crate::event::EventScope;
use crate::ledger::model::page::{Entry, Owner, Page, PageName, Version};
use crate::ledger::protocol::Lease;
use crate::ledger::protocol::lookup::{EventLookup, EventMeta, expires_soon, partition, roots};
use crate::ledger::protocol::page_locks::{PageLock, PendingClaim};
use crate::ledger::store::{StoreError, WriteError};
use crate::ledger::{Ledger, LedgerError};
use crate::object::ObjectId;
use foldhash::fast::RandomState;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, HashMap, btree_map, hash_map};
use std::sync::Arc;
use tokio::sync::Mutex;

/// Maximum number of attempts to write one page before the object is returned to the queue. Each refusal means that
/// another worker's write succeeded, so this many refusals in a row require a very busy minute.
pub(super) const MAX_WRITE_ATTEMPTS: u32 = 64;

/// Result of the claim on one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// This object owns the event and delivers it.
    Mine,
    /// Another object owns the event.
    Foreign,
    /// A helper delivered the event on behalf of its owner.
    Delivered,
    /// The same event appears earlier in this file.
    Repeat,
    /// The configured filter drops the event; it is not claimed.
    Filtered,
}

/// Claim of another object on an event of this file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignClaim {
    /// Index of the event in this file.
    pub ordinal: u32,
    /// The object that owns the event.
    pub owner: ObjectId,
    /// Index of the event in its owner's file, if the page holds it.
    pub owner_ordinal: Option<u32>,
}

/// Results of the claims on all events of a file.
#[derive(Debug, Default)]
pub struct Claims {
    /// One result per event, by index in the file.
    pub results: Vec<Claim>,
    /// Events that other objects own, as the pages were when they were claimed.
    pub foreign: Vec<ForeignClaim>,
    /// Number of events that share an ID with an event of different content. The first one is delivered.
    pub conflicts: u64,
}

impl Claims {
    /// Records the result for one event from its entry in the ledger.
    fn record(&mut self, ordinal: u32, entry: &Entry, own_id: ObjectId, events: &[EventMeta]) {
        self.conflicts += u64::from(entry.fingerprint != events[ordinal as usize].fingerprint);
        self.results[ordinal as usize] = match entry.owner {
            Owner::Object(owner) if owner == own_id => Claim::Mine,
            Owner::Object(owner) => {
                self.foreign.push(ForeignClaim { ordinal, owner, owner_ordinal: entry.ordinal });
                Claim::Foreign
            }
            Owner::Delivered => Claim::Delivered,
        };
    }
}

impl Ledger {
    /// Claims the events of a file. With `numbered` the entries include ordinals, which a file needs if it takes
    /// several sink calls.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`] if the cursor must be reset and the lease is lost; [`LedgerError::Contended`] if a
    /// page changed on every attempt; errors of the store.
    pub async fn claim(
        &self,
        lease: &mut Lease,
        events: &[EventMeta],
        scopes: &[EventScope],
        numbered: bool,
    ) -> Result<Claims, LedgerError> {
        let mut claims = Claims { results: vec![Claim::Filtered; events.len()], ..Claims::default() };
        let mut remaining = self.group(events, scopes, &mut claims);
        let own_id = lease.id;
        let lease = Mutex::new(lease);
        while !remaining.is_empty() {
            let names: Vec<_> = remaining.keys().cloned().collect();
            let pages = self.store.pages(&names).await?;
            let updates = names.into_iter().zip(pages).map(|(name, page)| {
                let events = remaining.remove(&name).unwrap_or_default();
                let update = PageUpdate { ledger: self, lease: &lease, name, events, numbered };
                update.run(page)
            });
            // Build all updates before running them, so that each is one future under the concurrency limit.
            let updates: Vec<_> = updates.collect();
            let mut updates = stream::iter(updates).buffer_unordered(self.concurrency);
            // Process each result when it arrives and drop it: all entries of a large file need more memory than its
            // lines.
            while let Some(result) = updates.try_next().await? {
                for (ordinal, entry) in result.entries {
                    claims.record(ordinal, &entry, own_id, events);
                }
                remaining.extend(result.deeper);
            }
        }
        claims.foreign.sort_unstable_by_key(|foreign| foreign.ordinal);
        Ok(claims)
    }

    /// Groups the file's events by root page, each event ID once.
    fn group(
        &self,
        events: &[EventMeta],
        scopes: &[EventScope],
        claims: &mut Claims,
    ) -> BTreeMap<PageName, Vec<EventLookup>> {
        let root_of = roots(scopes);
        let mut first = HashMap::with_capacity_and_hasher(events.len(), RandomState::default());
        let mut roots: HashMap<(u32, Option<u8>), Vec<EventLookup>, RandomState> = HashMap::default();
        for (ordinal, event) in (0u32..).zip(events) {
            if event.filtered {
                continue;
            }
            let (root, minute) = (root_of[event.scope as usize], scopes[event.scope as usize].minute);
            match first.entry((root, event.id)) {
                hash_map::Entry::Vacant(vacant) => {
                    vacant.insert(ordinal);
                    let root = (root, minute.is_none().then_some(event.id.0[0]));
                    roots.entry(root).or_default().push(EventLookup::new(ordinal, event, scopes));
                }
                hash_map::Entry::Occupied(earlier) => {
                    claims.results[ordinal as usize] = Claim::Repeat;
                    let earlier = &events[*earlier.get() as usize];
                    claims.conflicts += u64::from(earlier.fingerprint != event.fingerprint);
                }
            }
        }
        let mut by_name: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for ((scope, _), lookups) in roots {
            match by_name.entry(PageName::root(&scopes[scope as usize], lookups[0].id)) {
                btree_map::Entry::Vacant(vacant) => drop(vacant.insert(lookups)),
                // Extend, never replace: a dropped event would be neither claimed nor delivered.
                btree_map::Entry::Occupied(mut others) => others.get_mut().extend(lookups),
            }
        }
        by_name
    }
}

/// Update of one page with the events of one file that belong there.
struct PageUpdate<'a> {
    ledger: &'a Ledger,
    lease: &'a Mutex<&'a mut Lease>,
    name: PageName,
    events: Vec<EventLookup>,
    numbered: bool,
}

/// Result of a page update.
#[derive(Default)]
struct PageUpdateResult {
    /// Entries of the page, with the event's index in the file.
    entries: Vec<(u32, Entry)>,
    /// Events that belong to the pages behind a full page.
    deeper: BTreeMap<PageName, Vec<EventLookup>>,
}

impl PageUpdate<'_> {
    /// Writes the page until it contains every event or is full.
    async fn run(mut self, read: Option<Page>) -> Result<PageUpdateResult, LedgerError> {
        let (owner, cursor) = {
            let lease = self.lease.lock().await;
            (lease.id, lease.cursor)
        };
        let events = std::mem::take(&mut self.events);
        let pending = Arc::new(PendingClaim { owner, cursor, events, numbered: self.numbered });
        let ticket = self.ledger.page_locks.enqueue(&self.name, Arc::clone(&pending));
        let mut lock = ticket.acquire().await;
        let mut current = lock.previous.take().unwrap_or(read);
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let now = self.ledger.now();
            let expires = now + self.ledger.retention;
            let version = current.as_ref().map(|page| page.version);
            // An expired page and its entries count as absent. Only its version still guards the write.
            let mut page = current.filter(|page| page.live(now)).unwrap_or_else(|| Page::new(expires));
            let mut result = PageUpdateResult::default();
            let new = partition(&page, &pending.events, |ordinal, entry| result.entries.push((ordinal, entry)));
            let complete = page.full || new.is_empty();
            if complete && !expires_soon(&page, now) {
                debug_assert!(page.full || new.is_empty());
                lock.release(Some(page));
                return Ok(self.deeper(result, new));
            }
            page.version = Version::fresh();
            page.expires = expires;
            if !complete {
                self.fill(&mut page, &new, &pending, &lock).await?;
            }
            current = match self.ledger.store.write_page(&self.name, version, &page).await {
                // Written by this attempt or by another worker: check the current page again.
                Ok(()) => Some(page),
                Err(WriteError::Refused(found)) => found.map(|page| *page),
                Err(WriteError::Store(StoreError::Unknown(_))) => {
                    self.ledger.store.pages(std::slice::from_ref(&self.name)).await?.pop().flatten()
                }
                Err(WriteError::Store(error)) => return Err(error.into()),
            };
        }
        Err(LedgerError::Contended(format!("page {}", self.name), MAX_WRITE_ATTEMPTS))
    }

    /// Adds as many of the new events as fit. If some do not fit, the same write marks the page as full; from then on
    /// every worker looks those events up behind this page.
    async fn fill(
        &self,
        page: &mut Page,
        new: &[EventLookup],
        pending: &PendingClaim,
        lock: &PageLock<'_>,
    ) -> Result<(), LedgerError> {
        let capacity = self.name.capacity(self.ledger.page_bytes);
        let (each, first) = pending.bytes();
        let fits = capacity.saturating_sub(page.encoded_len() + first) / each;
        let added = &new[..fits.min(new.len())];
        {
            let mut lease = self.lease.lock().await;
            // The cursor states that all owned events below it are delivered. Reset it before that becomes false.
            if added.iter().any(|event| event.ordinal < lease.cursor) {
                self.ledger.reset_cursor(&mut lease).await?;
            }
        }
        for event in added {
            page.entries.insert(event.id, pending.entry(event));
        }
        page.full = added.len() < new.len();
        if !page.full {
            lock.merge_waiting(page, capacity);
        }
        Ok(())
    }

    /// Assigns the events that are not in a full page to the pages behind it.
    fn deeper(&self, mut result: PageUpdateResult, new: Vec<EventLookup>) -> PageUpdateResult {
        for event in new {
            result.deeper.entry(self.name.deeper(event.minute, event.id)).or_default().push(event);
        }
        result
    }
}
