//! Claim: the conditional write by which an object becomes the owner of event IDs, a page at a time. All pages are
//! claimed before anything is delivered: an event that is delivered before it is claimed can be delivered again by
//! another, and one that is claimed page by page between deliveries can be lost.

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

/// Attempts to write one page before the object is handed back. Each refusal means that another worker's write went
/// through, so this many in a row want a very busy minute.
const MAX_WRITE_ATTEMPTS: u32 = 64;

/// Whose an event is to deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// This object's.
    Mine,
    /// Another's.
    Foreign,
    /// Nobody's any more: a helper delivered it.
    Delivered,
    /// The same event stands earlier in this file.
    Repeat,
    /// Nobody's: the filter drops it.
    Filtered,
}

/// An event another object owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignClaim {
    /// Its index in this file.
    pub ordinal: u32,
    /// Whose it is.
    pub owner: ObjectId,
    /// Its index in its owner's file, if that is known.
    pub owner_ordinal: Option<u32>,
}

/// What became of the claim on each event of a file.
#[derive(Debug, Default)]
pub struct Claims {
    /// By index in the file.
    pub of: Vec<Claim>,
    /// The events others own, as the pages stood when they were claimed.
    pub foreign: Vec<ForeignClaim>,
    /// Events that share an ID with another of different content. The first is delivered.
    pub conflicts: u64,
}

impl Claims {
    /// Notes whose an event is by its entry in the ledger.
    fn note(&mut self, ordinal: u32, entry: &Entry, mine: ObjectId, events: &[EventMeta]) {
        self.conflicts += u64::from(entry.fingerprint != events[ordinal as usize].fingerprint);
        self.of[ordinal as usize] = match entry.owner {
            Owner::Object(owner) if owner == mine => Claim::Mine,
            Owner::Object(owner) => {
                self.foreign.push(ForeignClaim { ordinal, owner, owner_ordinal: entry.ordinal });
                Claim::Foreign
            }
            Owner::Delivered => Claim::Delivered,
        };
    }
}

impl Ledger {
    /// Claims the events of a file. `numbered`: the file needs several calls, so its ordinals are written with its IDs.
    pub async fn claim(
        &self,
        lease: &mut Lease,
        events: &[EventMeta],
        scopes: &[EventScope],
        numbered: bool,
    ) -> Result<Claims, LedgerError> {
        let mut claims = Claims { of: vec![Claim::Filtered; events.len()], ..Claims::default() };
        let mut wanted = self.group(events, scopes, &mut claims);
        let mine = lease.id;
        let lease = Mutex::new(lease);
        while !wanted.is_empty() {
            let names: Vec<_> = wanted.keys().cloned().collect();
            let pages = self.store.pages(&names).await?;
            let visits = names.into_iter().zip(pages).map(|(name, page)| {
                let events_here = wanted.remove(&name).unwrap_or_default();
                let visit = Visit { ledger: self, lease: &lease, name, events: events_here, numbered };
                visit.run(page)
            });
            // Visits are built before they run, so that each is one future under the bound.
            let visits: Vec<_> = visits.collect();
            let mut visits = stream::iter(visits).buffer_unordered(self.concurrency);
            // Counted as they come and let go: all the entries of a large file together are more than its lines.
            while let Some(visited) = visits.try_next().await? {
                for (ordinal, entry) in visited.entries {
                    claims.note(ordinal, &entry, mine, events);
                }
                wanted.extend(visited.deeper);
            }
        }
        claims.foreign.sort_unstable_by_key(|foreign| foreign.ordinal);
        Ok(claims)
    }

    /// The file's events by page, each ID once.
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
                    claims.of[ordinal as usize] = Claim::Repeat;
                    let earlier = &events[*earlier.get() as usize];
                    claims.conflicts += u64::from(earlier.fingerprint != event.fingerprint);
                }
            }
        }
        let mut named: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for ((scope, _), lookups) in roots {
            match named.entry(PageName::root(&scopes[scope as usize], lookups[0].id)) {
                btree_map::Entry::Vacant(vacant) => drop(vacant.insert(lookups)),
                // Added to, never put in place of: an event that fell out here would be neither claimed nor delivered.
                btree_map::Entry::Occupied(mut others) => others.get_mut().extend(lookups),
            }
        }
        named
    }
}

/// One page and the events of one file that belong there.
struct Visit<'a> {
    ledger: &'a Ledger,
    lease: &'a Mutex<&'a mut Lease>,
    name: PageName,
    events: Vec<EventLookup>,
    numbered: bool,
}

/// What a visit found and left.
#[derive(Default)]
struct Visited {
    /// By index in the file: what the page says of the event.
    entries: Vec<(u32, Entry)>,
    /// What belongs into the pages behind a full one.
    deeper: BTreeMap<PageName, Vec<EventLookup>>,
}

impl Visit<'_> {
    /// Writes the page until it holds every event or is full.
    async fn run(mut self, read: Option<Page>) -> Result<Visited, LedgerError> {
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
            // An expired page counts as absent, and what it said with it; only its version still guards the write.
            let mut page = current.filter(|page| page.live(now)).unwrap_or_else(|| Page::new(expires));
            let mut visited = Visited::default();
            let new = partition(&page, &pending.events, |ordinal, entry| visited.entries.push((ordinal, entry)));
            let settled = page.full || new.is_empty();
            if settled && !expires_soon(&page, now) {
                debug_assert!(page.full || new.is_empty());
                lock.release(Some(page));
                return Ok(self.deeper(visited, new));
            }
            page.version = Version::fresh();
            page.expires = expires;
            if !settled {
                self.fill(&mut page, &new, &pending, &lock).await?;
            }
            current = match self.ledger.store.write_page(&self.name, version, &page).await {
                // Written, or found as another left it: either way the page as it now stands is looked at anew.
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

    /// Adds as many of the new events as fit. What does not fit makes the page full in the same write: from then on
    /// everybody looks for it behind this page.
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
            // The cursor says "all I own below is delivered": it must be taken back before that becomes untrue.
            if added.iter().any(|event| event.ordinal < lease.cursor) {
                self.ledger.reopen(&mut lease).await?;
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

    /// What is not in a full page is looked for behind it.
    fn deeper(&self, mut visited: Visited, new: Vec<EventLookup>) -> Visited {
        for event in new {
            visited.deeper.entry(self.name.deeper(event.minute, event.id)).or_default().push(event);
        }
        visited
    }
}
