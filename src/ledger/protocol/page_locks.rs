//! Page locks: within one process, only one task writes a page at a time, and it also writes the pending entries of
//! waiting tasks.
//!
//! The objects of one invocation often belong to the same account and minutes. If they wrote the same page
//! concurrently, each write would be refused because of another's, and a refused write is billed like a successful
//! one. With a lock, each task starts from the page that the previous holder left, and one write includes the entries
//! of all waiting tasks. The writes of other processes are still detected by the page's version.
//!
//! A task uses the view that a previous holder left only if the request that returned it was sent after the task's
//! lease was granted. Before that time, a helper may have marked events of the task's object as delivered. An older
//! view does not contain these marks, so the object would deliver the events again. The page's version does not prevent
//! this if the task need not write the page.

use crate::ledger::model::page::{Entry, Owner, Page, PageName};
use crate::ledger::protocol::lease::DeliveryProgress;
use crate::ledger::protocol::lookup::EventLookup;
use crate::object::ObjectId;
use std::collections::{HashMap, hash_map};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Page locks by page name. Shared by all clones of a ledger.
#[derive(Debug, Default)]
pub(crate) struct PageLocks {
    slots: Mutex<HashMap<PageName, CountedSlot>>,
    /// Number of ticks so far: see [`Tick`].
    ticks: AtomicU64,
}

/// A moment of this process, to order leases and store requests. A logical clock: two moments never compare as equal,
/// and a test can repeat their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(u64);

/// A slot and the number of its tickets. The number changes only under the lock of the map, so the last ticket always
/// detects that it is the last and removes the slot. The reference count of the `Arc` cannot be used for this, because
/// a ticket decrements it after it has unlocked the map.
#[derive(Debug, Default)]
struct CountedSlot {
    slot: Arc<PageSlot>,
    tickets: usize,
}

/// Lock and waiting list of one page.
#[derive(Debug, Default)]
struct PageSlot {
    /// The page as the previous holder left it.
    current: tokio::sync::Mutex<Option<PageView>>,
    waiting: Mutex<Vec<Arc<PendingClaim>>>,
}

/// A page as the store returned it or as it was written.
#[derive(Debug, Clone)]
pub(crate) struct PageView {
    /// A moment before the request to the store was sent.
    pub as_of: Tick,
    /// The page. `None` means that it does not exist.
    pub page: Option<Page>,
}

/// Events that one object claims in one page.
#[derive(Debug)]
pub(crate) struct PendingClaim {
    /// Owner of the new entries.
    pub owner: ObjectId,
    /// Progress of the object. Only the object itself may claim an event that its row states as delivered, because it
    /// must reset its cursor first.
    pub progress: DeliveryProgress,
    /// When the lease of the object was granted.
    pub leased: Tick,
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

/// Place of a task in the queue for a page. Dropping the ticket removes the task from the queue.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    page_locks: &'a PageLocks,
    name: PageName,
    slot: Arc<PageSlot>,
    pending: Arc<PendingClaim>,
}

impl PageLocks {
    /// Returns the present moment.
    pub(crate) fn tick(&self) -> Tick {
        Tick(self.ticks.fetch_add(1, Ordering::SeqCst))
    }

    /// Joins the queue for a page.
    pub(crate) fn enqueue(&self, name: &PageName, pending: Arc<PendingClaim>) -> Ticket<'_> {
        let slot = {
            let mut slots = lock_unpoisoned(&self.slots);
            let counted = slots.entry(name.clone()).or_default();
            counted.tickets += 1;
            Arc::clone(&counted.slot)
        };
        lock_unpoisoned(&slot.waiting).push(Arc::clone(&pending));
        Ticket { page_locks: self, name: name.clone(), slot, pending }
    }
}

impl Ticket<'_> {
    /// Waits for the lock. The lock contains the page as the previous holder left it, if that view is recent enough.
    pub(crate) async fn acquire(&self) -> PageLock<'_> {
        let mut current = self.slot.current.lock().await;
        self.leave_queue();
        let previous = current.take().filter(|view| view.as_of > self.pending.leased);
        PageLock { slot: &self.slot, current, previous }
    }

    fn leave_queue(&self) {
        lock_unpoisoned(&self.slot.waiting).retain(|pending| !Arc::ptr_eq(pending, &self.pending));
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.leave_queue();
        let mut slots = lock_unpoisoned(&self.page_locks.slots);
        if let hash_map::Entry::Occupied(mut counted) = slots.entry(self.name.clone()) {
            counted.get_mut().tickets -= 1;
            if counted.get().tickets == 0 {
                counted.remove();
            }
        }
    }
}

/// Exclusive access to a page within this process.
#[derive(Debug)]
pub(crate) struct PageLock<'a> {
    slot: &'a PageSlot,
    current: tokio::sync::MutexGuard<'a, Option<PageView>>,
    /// The page as the previous holder left it, if that view is recent enough.
    pub previous: Option<PageView>,
}

impl PageLock<'_> {
    /// Adds the entries of each waiting task if they fit into `capacity` bytes. Skips a task that must reset its cursor
    /// first.
    pub(crate) fn merge_waiting(&self, page: &mut Page, capacity: usize) {
        let waiting = lock_unpoisoned(&self.slot.waiting).clone();
        let mut length = page.encoded_len();
        for pending in waiting {
            let new = || pending.events.iter().filter(|event| !page.entries.contains_key(&event.id));
            let (each, first) = pending.bytes();
            let grown = first + each * new().count();
            if length + grown > capacity || new().any(|event| pending.progress.delivered(event.ordinal)) {
                continue;
            }
            length += grown;
            let new: Vec<_> = new().map(|event| (event.id, pending.entry(event))).collect();
            page.entries.extend(new);
        }
    }

    /// Releases the lock and passes the current page to the next holder.
    pub(crate) fn release(mut self, current: PageView) {
        *self.current = Some(current);
    }
}

/// Locks `mutex` and ignores poisoning: every change under a lock is a single step, so a panic leaves nothing half
/// done.
fn lock_unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
