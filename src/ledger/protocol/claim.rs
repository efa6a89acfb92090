//! Claim: the conditional write that makes an object the owner of event IDs, one page at a time.
//!
//! All pages are claimed before anything is delivered:
//!
//! - If an event were delivered before it is claimed, another object could claim it meanwhile and deliver it again.
//! - If a page were claimed after a delivery, a crash between the two could lose events: the cursor states that every
//!   owned event below it is delivered, and an event below the cursor that is claimed later would never be delivered.
//!   For the same reason, the progress of the row is reset *before* an event that it states as delivered is claimed
//!   again.
//! - An expired page counts as absent. If a worker relied on it, the store could delete it meanwhile, another object
//!   could claim its events, and each of the two objects would count them as delivered by the other.
//! - A write is conditional on the version that was read, and a write with an unknown outcome is followed by a read. If
//!   a worker believed a refused write, it would deliver events that another object owns, or count them as owned by an
//!   object that never delivers them.

use crate::backoff::Backoff;
use crate::event::EventScope;
use crate::ledger::model::page::{Entry, Owner, Page, PageName, Version};
use crate::ledger::model::row::Status;
use crate::ledger::protocol::Lease;
use crate::ledger::protocol::lookup::{EventLookup, EventMeta, expires_soon, partition, roots};
use crate::ledger::protocol::page_locks::{PageLock, PageView, PendingClaim};
use crate::ledger::store::{StoreError, WriteError};
use crate::ledger::{Ledger, LedgerError};
use crate::object::ObjectId;
use foldhash::fast::RandomState;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, btree_map, hash_map};
use std::sync::Arc;
use tokio::sync::Mutex;

/// Maximum number of attempts to write one page before the object is returned to the queue. Each refusal means that
/// another worker's write succeeded, so this many refusals in a row occur only if very many processes write the page.
pub(super) const MAX_WRITE_ATTEMPTS: u32 = 64;

/// Result of the claim on one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// This object owns the event and delivers it.
    Mine,
    /// Another object owns the event.
    Foreign,
    /// The event's entry is marked as delivered: see [`Owner::Delivered`].
    Delivered,
    /// The same event appears earlier in the object.
    Repeat,
    /// The configured filter drops the event; it is not claimed.
    Filtered,
}

/// Claim of another object on an event of this object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignClaim {
    /// Index of the event in this object.
    pub ordinal: u32,
    /// The object that owns the event.
    pub owner: ObjectId,
    /// Index of the event in its owner, if the page records it.
    pub owner_ordinal: Option<u32>,
}

/// Results of the claims on all events of an object.
#[derive(Debug, Default)]
pub struct Claims {
    /// One result per event, by index in the object.
    pub results: Vec<Claim>,
    /// Events that other objects own, according to the pages at the time of the claim.
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
    /// Extends the life of a page. The caller then writes the page on condition of its version.
    ///
    /// First it looks for owners that are done, and sets their entries to `Owner::Delivered`, because their rows may
    /// expire before the extended page. The other owners are not done yet, so their rows will expire after the page:
    /// see [`Ledger::row_expiry`]. The rows are read after the page, for the reason given at [`Ledger::unproven`].
    pub(super) async fn extend(&self, page: &mut Page) -> Result<(), StoreError> {
        let owners = page.entries.values().filter_map(|entry| match entry.owner {
            Owner::Object(owner) => Some(owner),
            Owner::Delivered => None,
        });
        let owners: Vec<ObjectId> = owners.collect::<BTreeSet<_>>().into_iter().collect();
        let rows = self.store.rows(&owners).await?;
        // A row is deleted only after it is done.
        let done =
            owners.into_iter().zip(rows).filter(|(_, row)| row.as_ref().is_none_or(|row| row.status == Status::Done));
        let done: HashSet<Owner> = done.map(|(owner, _)| Owner::Object(owner)).collect();
        for entry in page.entries.values_mut().filter(|entry| done.contains(&entry.owner)) {
            entry.owner = Owner::Delivered;
            entry.ordinal = None;
        }
        page.expires = page.expires.max(self.page_expiry());
        Ok(())
    }

    /// Claims the events of an object. With `numbered` the entries include ordinals, which an object needs if it takes
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
            let as_of = self.page_locks.tick();
            let pages = self.store.pages(&names).await?;
            let updates = names.into_iter().zip(pages).map(|(name, page)| {
                let events = remaining.remove(&name).unwrap_or_default();
                let update = PageUpdate { ledger: self, lease: &lease, name, events, numbered };
                update.run(PageView { as_of, page })
            });
            // Build all updates before running them, so that each is one future under the concurrency limit.
            let updates: Vec<_> = updates.collect();
            let mut updates = stream::iter(updates).buffer_unordered(self.concurrency);
            // Process each result when it arrives and drop it: all entries of a large object need more memory than its
            // lines.
            while let Some(result) = updates.try_next().await? {
                for (ordinal, entry) in result.entries {
                    claims.record(ordinal, &entry, own_id, events);
                }
                remaining.extend(result.overflow);
            }
        }
        claims.foreign.sort_unstable_by_key(|foreign| foreign.ordinal);
        Ok(claims)
    }

    /// Groups the object's events by root page, each event ID once.
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

/// Update of one page with the events of one object that belong there.
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
    /// Entries of the page, with the event's index in the object.
    entries: Vec<(u32, Entry)>,
    /// Events that belong to the overflow pages of a full page.
    overflow: BTreeMap<PageName, Vec<EventLookup>>,
}

impl PageUpdate<'_> {
    /// Writes the page until it contains every event or is full.
    async fn run(mut self, read: PageView) -> Result<PageUpdateResult, LedgerError> {
        let (owner, progress, leased) = {
            let lease = self.lease.lock().await;
            (lease.id, lease.progress.clone(), lease.granted)
        };
        let events = std::mem::take(&mut self.events);
        let pending = Arc::new(PendingClaim { owner, progress, leased, events, numbered: self.numbered });
        let ticket = self.ledger.page_locks.enqueue(&self.name, Arc::clone(&pending));
        let mut lock = ticket.acquire().await;
        let mut view = lock.previous.take().unwrap_or(read);
        let mut backoff = self.ledger.write_pace.map(|pace| Backoff::new(pace, fastrand::f64));
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let now = self.ledger.now();
            let PageView { as_of, page: current } = view;
            let version = current.as_ref().map(|page| page.version);
            // An expired page and its entries count as absent. Only its version still guards the write.
            let page = current.filter(|page| page.live(now));
            let mut page = page.unwrap_or_else(|| Page::new(self.ledger.page_expiry()));
            let mut result = PageUpdateResult::default();
            let new = partition(&page, &pending.events, |ordinal, entry| result.entries.push((ordinal, entry)));
            let complete = page.full || new.is_empty();
            // A new event needs a page that lives for the whole retention.
            let extend = expires_soon(&page, now) || !complete && page.expires - now < self.ledger.retention;
            if complete && !extend {
                debug_assert!(page.full || new.is_empty());
                let mut lease = self.lease.lock().await;
                lease.pages_expire = lease.pages_expire.max(page.expires);
                lock.release(PageView { as_of, page: Some(page) });
                // Frees the list of all events before that of the overflow pages is created. Each takes 40 bytes per event
                // of a large object, and its capacity up to twice that.
                drop((ticket, pending));
                return Ok(self.overflow(result, new));
            }
            page.version = Version::fresh();
            if extend {
                self.ledger.extend(&mut page).await?;
            }
            if !complete {
                self.fill(&mut page, &new, &pending, &lock).await?;
            }
            let as_of = self.ledger.page_locks.tick();
            let page = match self.ledger.store.write_page(&self.name, version, &page).await {
                // Written by this attempt or by another worker: check the current page again.
                Ok(()) => Some(page),
                Err(WriteError::Refused(found)) => match &mut backoff {
                    // Another process writes this page too. Without a wait, each of them would be refused by every
                    // write of the others. The page is read again after the wait: it probably changed meanwhile, and
                    // a read costs a fifth of a refused write.
                    Some(backoff) => {
                        tokio::time::sleep(backoff.wait()).await;
                        self.read().await?
                    }
                    None => found.map(|page| *page),
                },
                Err(WriteError::Store(StoreError::Unknown(_))) => self.read().await?,
                Err(WriteError::Store(error)) => return Err(error.into()),
            };
            view = PageView { as_of, page };
        }
        Err(LedgerError::Contended(format!("page {}", self.name), MAX_WRITE_ATTEMPTS))
    }

    /// Reads the page.
    async fn read(&self) -> Result<Option<Page>, StoreError> {
        Ok(self.ledger.store.pages(std::slice::from_ref(&self.name)).await?.pop().flatten())
    }

    /// Adds as many of the new events as fit. If some do not fit, the same write marks the page as full; from then on
    /// every worker looks those events up in the overflow pages.
    async fn fill(
        &self,
        page: &mut Page,
        new: &[EventLookup],
        pending: &PendingClaim,
        lock: &PageLock<'_>,
    ) -> Result<(), LedgerError> {
        let capacity = self.name.capacity(self.ledger.page_bytes);
        let (entry_bytes, owner_bytes) = pending.bytes();
        let fits = capacity.saturating_sub(page.encoded_len() + owner_bytes) / entry_bytes;
        let added = &new[..fits.min(new.len())];
        {
            let mut lease = self.lease.lock().await;
            // The row states that these owned events are delivered. Reset it before that becomes false.
            if added.iter().any(|event| lease.progress.delivered(event.ordinal)) {
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

    /// Assigns the events that are not in a full page to its overflow pages.
    fn overflow(&self, mut result: PageUpdateResult, new: Vec<EventLookup>) -> PageUpdateResult {
        for event in new {
            result.overflow.entry(self.name.overflow(event.minute, event.id)).or_default().push(event);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventId;
    use crate::ledger::LeaseOutcome;
    use crate::ledger::model::row::{Change, Guard, Row};
    use crate::ledger::store::Store;
    use crate::ledger::store::memory::Memory;
    use crate::object::Object;
    use async_trait::async_trait;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    /// A store whose page requests take [`LATENCY`]. Counts refused page writes.
    #[derive(Debug, Default)]
    struct SlowStore {
        memory: Memory,
        refused: AtomicU64,
    }

    const LATENCY: Duration = Duration::from_millis(2);

    #[async_trait]
    impl Store for SlowStore {
        async fn change_row(&self, object: &Object, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
            self.memory.change_row(object, guard, change).await
        }

        async fn change_row_by_id(&self, id: ObjectId, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
            self.memory.change_row_by_id(id, guard, change).await
        }

        async fn rows(&self, ids: &[ObjectId]) -> Result<Vec<Option<Row>>, StoreError> {
            self.memory.rows(ids).await
        }

        async fn pages(&self, names: &[PageName]) -> Result<Vec<Option<Page>>, StoreError> {
            tokio::time::sleep(LATENCY).await;
            self.memory.pages(names).await
        }

        async fn write_page(
            &self,
            name: &PageName,
            current: Option<Version>,
            page: &Page,
        ) -> Result<(), WriteError<Page>> {
            tokio::time::sleep(LATENCY).await;
            let written = self.memory.write_page(name, current, page).await;
            self.refused.fetch_add(u64::from(written.is_err()), Ordering::Relaxed);
            written
        }
    }

    /// Simulates `processes` processes that claim one event each, in the same page and at the same time. Returns the
    /// number of refused writes and the time.
    async fn concurrent_claims(processes: u8, waits: bool) -> (u64, Duration) {
        let store = Arc::new(SlowStore::default());
        let started = tokio::time::Instant::now();
        let claims = (0..processes).map(async |process| {
            let ledger = Ledger::new(Arc::clone(&store) as _, Arc::new(|| 1_000), 0);
            let ledger = if waits { ledger } else { ledger.without_write_waits() };
            let object = Object { bucket: "b".into(), key: process.to_string(), etag: "e".into() };
            let Ok(LeaseOutcome::Granted(mut lease)) = ledger.lease(&object, 2_000).await else { panic!("not leased") };
            let event = EventMeta { id: EventId([process; 16]), scope: 0, fingerprint: 0, filtered: false };
            ledger.claim(&mut lease, &[event], &[EventScope { minute: Some(1), ..EventScope::default() }], false).await
        });
        for claims in futures_util::future::join_all(claims).await {
            assert_eq!(claims.unwrap().results, [Claim::Mine]);
        }
        (store.refused.load(Ordering::Relaxed), started.elapsed())
    }

    #[tokio::test]
    async fn processes_that_write_one_page_are_seldom_refused() {
        let (without_waits, fastest) = concurrent_claims(48, false).await;
        assert!(without_waits > 48 * 47 / 3, "without waits each write refuses almost all others: {without_waits}");
        let (with_waits, time) = concurrent_claims(48, true).await;
        println!("{without_waits} refused writes in {fastest:?} without waits, {with_waits} in {time:?} with waits");
        assert!(with_waits < without_waits / 3, "{with_waits} refused writes");
        assert!(time < Duration::from_secs(20), "{time:?}");
    }
}
