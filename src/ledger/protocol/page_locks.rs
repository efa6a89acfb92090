//! Turn: within one process, one writer a page at a time, who also writes what the others wait to write.
//!
//! The objects of one invocation are often of the same account and minutes. Racing for the same page, each would be
//! refused by the others' writes, and a refused write is billed as one that went through. In turn each begins with the
//! page as the one before left it; and whoever writes takes along the entries of those who wait, so that one write does
//! for all of them. Other processes are still met by the page's version alone: a turn only saves writes, nothing relies
//! on it.

use crate::ledger::model::page::{Entry, Owner, Page, PageName};
use crate::ledger::protocol::lookup::EventLookup;
use crate::object::ObjectId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who waits for which page. Shared by all clones of a ledger.
#[derive(Debug, Default)]
pub(crate) struct PageLocks(Mutex<HashMap<PageName, Arc<PageSlot>>>);

/// One page's writers.
#[derive(Debug, Default)]
struct PageSlot {
    /// The page as the last writer left it, while others wait.
    current: tokio::sync::Mutex<Option<Option<Page>>>,
    waiting: Mutex<Vec<Arc<PendingClaim>>>,
}

/// What one object brings for one page.
#[derive(Debug)]
pub(crate) struct PendingClaim {
    /// Whose the entries become.
    pub owner: ObjectId,
    /// The object's cursor: an entry below it may only be granted by the object itself, which takes its cursor back first.
    pub cursor: u32,
    /// The events.
    pub events: Vec<EventLookup>,
    /// Whether ordinals are written.
    pub numbered: bool,
}

impl PendingClaim {
    /// The entry of one of its events.
    pub(crate) fn entry(&self, event: &EventLookup) -> Entry {
        let ordinal = self.numbered.then_some(event.ordinal);
        Entry { owner: Owner::Object(self.owner), fingerprint: event.fingerprint, ordinal }
    }

    /// An upper bound of the bytes that one more entry takes, and of those that the first of an owner takes besides.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        (if self.numbered { 22 } else { 18 }, 21)
    }
}

/// A place in the line for a page. Given up by dropping it.
pub(crate) struct Ticket<'a> {
    page_locks: &'a PageLocks,
    name: PageName,
    slot: Arc<PageSlot>,
    pending: Arc<PendingClaim>,
}

impl PageLocks {
    /// Takes a place in the line for a page.
    pub(crate) fn enqueue(&self, name: &PageName, pending: Arc<PendingClaim>) -> Ticket<'_> {
        let slot = Arc::clone(lock_of(&self.0).entry(name.clone()).or_default());
        lock_of(&slot.waiting).push(Arc::clone(&pending));
        Ticket { page_locks: self, name: name.clone(), slot, pending }
    }
}

impl Ticket<'_> {
    /// Waits until it is this one's turn. Says how the page stood when the one before was through with it, if there was
    /// one.
    pub(crate) async fn acquire(&self) -> PageLock<'_> {
        let mut current = self.slot.current.lock().await;
        self.leave_queue();
        let previous = current.take();
        PageLock { slot: &self.slot, current, previous }
    }

    fn leave_queue(&self) {
        lock_of(&self.slot.waiting).retain(|pending| !Arc::ptr_eq(pending, &self.pending));
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.leave_queue();
        let mut slots = lock_of(&self.page_locks.0);
        // The map's and this one: nobody else is in line.
        if Arc::strong_count(&self.slot) == 2 {
            slots.remove(&self.name);
        }
    }
}

/// The turn to read and write a page.
pub(crate) struct PageLock<'a> {
    slot: &'a PageSlot,
    current: tokio::sync::MutexGuard<'a, Option<Option<Page>>>,
    /// The page as the one before left it.
    pub previous: Option<Option<Page>>,
}

impl PageLock<'_> {
    /// Adds what those who wait would add, as far as it fits below `capacity`.
    pub(crate) fn merge_waiting(&self, page: &mut Page, capacity: usize) {
        let waiting = lock_of(&self.slot.waiting).clone();
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

    /// Ends the turn and leaves the page to the next as it stands.
    pub(crate) fn release(mut self, current: Option<Page>) {
        *self.current = Some(current);
    }
}

/// Every change below a lock is one step: a panic elsewhere leaves nothing half done.
fn lock_of<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
