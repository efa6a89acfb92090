//! Turn: within one process, one writer a page at a time, who also writes what the others wait to write.
//!
//! The objects of one invocation are often of the same account and minutes. Racing for the same page, each would be
//! refused by the others' writes, and a refused write is billed as one that went through. In turn each begins with the
//! page as the one before left it; and whoever writes takes along the entries of those who wait, so that one write does
//! for all of them. Other processes are still met by the page's version alone: a turn only saves writes, nothing relies
//! on it.

use crate::ledger::model::page::{Entry, Owner, Page, PageName};
use crate::ledger::protocol::lookup::Sought;
use crate::object::ObjectId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who waits for which page. Shared by all clones of a ledger.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<PageName, Arc<Desk>>>);

/// One page's writers.
#[derive(Debug, Default)]
struct Desk {
    /// The page as the last writer left it, while others wait.
    stands: tokio::sync::Mutex<Option<Option<Page>>>,
    waiting: Mutex<Vec<Arc<Ask>>>,
}

/// What one object brings for one page.
#[derive(Debug)]
pub(crate) struct Ask {
    /// Whose the entries become.
    pub owner: ObjectId,
    /// The object's cursor: an entry below it may only be granted by the object itself, which takes its cursor back first.
    pub cursor: u32,
    /// The events.
    pub events: Vec<Sought>,
    /// Whether ordinals are written.
    pub numbered: bool,
}

impl Ask {
    /// The entry of one of its events.
    pub(crate) fn entry(&self, event: &Sought) -> Entry {
        let ordinal = self.numbered.then_some(event.ordinal);
        Entry { owner: Owner::Object(self.owner), fingerprint: event.fingerprint, ordinal }
    }

    /// An upper bound of the bytes that one more entry takes, and of those that the first of an owner takes besides.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        (if self.numbered { 22 } else { 18 }, 21)
    }
}

/// A place in the line for a page. Given up by dropping it.
pub(crate) struct Place<'a> {
    turns: &'a Turns,
    name: PageName,
    desk: Arc<Desk>,
    ask: Arc<Ask>,
}

impl Turns {
    /// Takes a place in the line for a page.
    pub(crate) fn line_up(&self, name: &PageName, ask: Arc<Ask>) -> Place<'_> {
        let desk = Arc::clone(locked(&self.0).entry(name.clone()).or_default());
        locked(&desk.waiting).push(Arc::clone(&ask));
        Place { turns: self, name: name.clone(), desk, ask }
    }
}

impl Place<'_> {
    /// Waits until it is this one's turn. Says how the page stood when the one before was through with it, if there was
    /// one.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        let mut stands = self.desk.stands.lock().await;
        self.withdraw();
        let left = stands.take();
        Turn { desk: &self.desk, stands, left }
    }

    fn withdraw(&self) {
        locked(&self.desk.waiting).retain(|ask| !Arc::ptr_eq(ask, &self.ask));
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.withdraw();
        let mut desks = locked(&self.turns.0);
        // The map's and this one: nobody else is in line.
        if Arc::strong_count(&self.desk) == 2 {
            desks.remove(&self.name);
        }
    }
}

/// The turn to read and write a page.
pub(crate) struct Turn<'a> {
    desk: &'a Desk,
    stands: tokio::sync::MutexGuard<'a, Option<Option<Page>>>,
    /// The page as the one before left it.
    pub left: Option<Option<Page>>,
}

impl Turn<'_> {
    /// Adds what those who wait would add, as far as it fits below `capacity`.
    pub(crate) fn take_along(&self, page: &mut Page, capacity: usize) {
        let waiting = locked(&self.desk.waiting).clone();
        let mut length = page.encoded_len();
        for ask in waiting {
            let new = || ask.events.iter().filter(|event| !page.entries.contains_key(&event.id));
            let (each, first) = ask.bytes();
            let grown = first + each * new().count();
            if length + grown > capacity || new().any(|event| event.ordinal < ask.cursor) {
                continue;
            }
            length += grown;
            let new: Vec<_> = new().map(|event| (event.id, ask.entry(event))).collect();
            page.entries.extend(new);
        }
    }

    /// Ends the turn and leaves the page to the next as it stands.
    pub(crate) fn leave(mut self, stands: Option<Page>) {
        *self.stands = Some(stands);
    }
}

/// Every change below a lock is one step: a panic elsewhere leaves nothing half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
