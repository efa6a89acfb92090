//! Page locks: within one process, only one task writes a page at a time, and it also writes the pending entries of
//! waiting tasks.
//!
//! The objects of one invocation often belong to the same account and minutes. If they wrote the same page
//! concurrently, each write would be refused because of another's, and a refused write is billed like a successful
//! one. With a lock, each task starts from the page that the previous holder left, and one write includes the entries
//! of all waiting tasks. The writes of other processes are still detected by the page's version: a lock only saves writes, and
//! correctness does not depend on it.

use crate::ledger::model::page::{Entry, Owner, Page, PageName};
use crate::ledger::protocol::lookup::EventLookup;
use crate::object::ObjectId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Page locks by page name. Shared by all clones of a ledger.
#[derive(Debug, Default)]
pub(crate) struct PageLocks(Mutex<HashMap<PageName, Arc<PageSlot>>>);

/// Lock and waiting list of one page.
#[derive(Debug, Default)]
struct PageSlot {
    /// The page as the previous holder left it. The inner `None` means that the page does not exist.
    current: tokio::sync::Mutex<Option<Option<Page>>>,
    waiting: Mutex<Vec<Arc<PendingClaim>>>,
}

/// Events that one object claims in one page.
#[derive(Debug)]
pub(crate) struct PendingClaim {
    /// Owner of the new entries.
    pub owner: ObjectId,
    /// Cursor of the object. Only the object itself may claim an event below it, because it must reset its cursor
    /// first.
    pub cursor: u32,
    /// The events to claim.
    pub events: Vec<EventLookup>,
    /// Whether entries include ordinals.
    pub numbered: bool,
}

impl PendingClaim {
    /// Returns the entry of one of the events.
    pub(crate) fn entry(&self, event: &EventLookup) -> Entry {
        let ordinal = self.numbered.then_some(event.ordinal);
        Entry { owner: Owner::Object(self.owner), fingerprint: event.fingerprint, ordinal }
    }

    /// Returns an upper bound of the bytes of one more entry, and of the additional bytes of an owner's first entry.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        (if self.numbered { 22 } else { 18 }, 21)
    }
}

/// Place in the queue for a page. Dropping it leaves the queue.
pub(crate) struct Ticket<'a> {
    page_locks: &'a PageLocks,
    name: PageName,
    slot: Arc<PageSlot>,
    pending: Arc<PendingClaim>,
}

impl PageLocks {
    /// Joins the queue for a page.
    pub(crate) fn enqueue(&self, name: &PageName, pending: Arc<PendingClaim>) -> Ticket<'_> {
        let slot = Arc::clone(lock_unpoisoned(&self.0).entry(name.clone()).or_default());
        lock_unpoisoned(&slot.waiting).push(Arc::clone(&pending));
        Ticket { page_locks: self, name: name.clone(), slot, pending }
    }
}

impl Ticket<'_> {
    /// Waits for the lock. The lock holds the page as the previous holder left it, if there was one.
    pub(crate) async fn acquire(&self) -> PageLock<'_> {
        let mut current = self.slot.current.lock().await;
        self.leave_queue();
        let previous = current.take();
        PageLock { slot: &self.slot, current, previous }
    }

    fn leave_queue(&self) {
        lock_unpoisoned(&self.slot.waiting).retain(|pending| !Arc::ptr_eq(pending, &self.pending));
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.leave_queue();
        let mut slots = lock_unpoisoned(&self.page_locks.0);
        // Two references are left, the map's and this one: no other task is in the queue.
        if Arc::strong_count(&self.slot) == 2 {
            slots.remove(&self.name);
        }
    }
}

/// Exclusive access to a page within this process.
pub(crate) struct PageLock<'a> {
    slot: &'a PageSlot,
    current: tokio::sync::MutexGuard<'a, Option<Option<Page>>>,
    /// The page as the previous holder left it, if there was one.
    pub previous: Option<Option<Page>>,
}

impl PageLock<'_> {
    /// Adds the entries of all waiting tasks that fit into `capacity` bytes.
    pub(crate) fn merge_waiting(&self, page: &mut Page, capacity: usize) {
        let waiting = lock_unpoisoned(&self.slot.waiting).clone();
        let mut length = page.encoded_len();
        for pending in waiting {
            let new = || pending.events.iter().filter(|event| !page.entries.contains_key(&event.id));
            let (each, first) = pending.bytes();
            let grown = first + each * new().count();
            if length + grown > capacity || new().any(|event| event.ordinal < pending.cursor) {
                continue;
            }
            length += grown;
            let new: Vec<_> = new().map(|event| (event.id, pending.entry(event))).collect();
            page.entries.extend(new);
        }
    }

    /// Releases the lock and passes the current page to the next holder.
    pub(crate) fn release(mut self, current: Option<Page>) {
        *self.current = Some(current);
    }
}

/// Locks `mutex` and ignores poisoning: every change under a lock is a single step, so a panic leaves nothing half
/// done.
fn lock_unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
