//! Recognizes copies of an event in several objects, with bounded memory.

use crate::event::EventId;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The maximum number of events that are remembered. They take about 150 MB.
const MAX_SEEN: usize = 4_000_000;

/// The number of sets, so that threads rarely wait for each other. A power of two.
const SETS: usize = 16;

/// The IDs of the selected events so far.
#[derive(Debug, Default)]
pub(super) struct SeenEvents {
    sets: [Mutex<HashSet<EventId, foldhash::fast::RandomState>>; SETS],
    number: AtomicUsize,
    is_full: AtomicBool,
}

impl SeenEvents {
    /// Returns whether an event is the first with its ID. After [`MAX_SEEN`] events, further IDs are not remembered, and each
    /// copy counts as the first.
    pub(super) fn is_first(&self, id: EventId) -> bool {
        let set = &self.sets[usize::from(id.0[15]) % SETS];
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        if self.number.load(Ordering::Relaxed) >= MAX_SEEN {
            self.is_full.store(true, Ordering::Relaxed);
            return !set.contains(&id);
        }
        let is_first = set.insert(id);
        if is_first {
            self.number.fetch_add(1, Ordering::Relaxed);
        }
        is_first
    }

    /// Returns whether some copies may have counted as events.
    pub(super) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }
}
