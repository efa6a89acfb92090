//! Ledger: records what has been delivered. This module implements the protocol once for all stores; a store keeps
//! rows and pages and refuses a write whose condition does not hold.
//!
//! # The states of an object
//!
//! *Open*: work remains. Every owned event whose ordinal is below `cursor` is delivered. *Settled*: all events that the
//! object owns are delivered. Events that other objects own may still be undelivered. *Done*: every event of the object
//! is delivered, by this object or by another one. *Quarantined*: excluded from processing, with a reason. A worker
//! holds a *lease* on an open or settled row, and a helper on an open or quarantined one. The lease ends later than the
//! worker can run. A row is deleted only after it is *done*, so a missing owner row means that the owner was done.
//!
//! # The states of an event
//!
//! *Unclaimed*, then *owned* by the first object that claims it, then possibly marked as *delivered*. Ownership never
//! moves to another object: the mark replaces the owner when a helper delivers the event, or when the page is extended
//! after the owner is done. The owner's row proves that an owned event is delivered: by its cursor, by its acknowledged
//! ordinals, or because the object is settled or done.
//!
//! # The race that remains
//!
//! A worker can die, or a reply can be lost, between a sink's acknowledgement and the ledger write that records it.
//! Then that call, and only that call, is delivered again. More events can be repeated when a worker continues beyond
//! its lease, when a page expires while its events still arrive, and after a *reset*. None of these cases loses
//! events.

pub mod cost;
pub mod inspect;
pub mod metered;
pub mod model;
mod protocol;
pub mod store;

pub use inspect::{EventTrace, ObjectState, OwnershipCounts};
pub use protocol::{
    AcceptOutcome, Claim, Claims, DeliveryProgress, EventMeta, ForeignClaim, Help, HelpOutcome, Lease, LeaseOutcome,
    ReopenOutcome,
};

use crate::backoff::Pace;
use model::page;
use model::row::Seconds;
use protocol::page_locks::PageLocks;
use std::sync::Arc;
use std::time::Duration;
use store::{Store, StoreError};

/// Returns the current time. Injected, so that tests can let leases and pages expire.
pub(crate) type Clock = Arc<dyn Fn() -> Seconds + Send + Sync>;

/// Returns a clock that reads the system time.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| Seconds::try_from(since.as_secs()).unwrap_or(Seconds::MAX))
    })
}

/// The protocol over a store.
#[derive(Clone)]
pub struct Ledger {
    store: Arc<dyn Store>,
    clock: Clock,
    /// Minimum time for which a page is kept after an event is added to it, and a done row after its completion. The
    /// settings of the functions require at least 30 days, the maximum time that a message can wait in the queues, and
    /// more than the look-back of the backfill.
    retention: Seconds,
    /// Maximum number of concurrent store requests for one object.
    concurrency: usize,
    /// Encoded size in bytes at which a page of one minute is full.
    page_bytes: usize,
    page_locks: Arc<PageLocks>,
    /// Waits after refused page writes. `None`: no waits.
    write_pace: Option<Pace>,
}

/// A page that expires within this time is extended before a worker relies on it. Longer than any lease.
pub const PAGE_MARGIN: Seconds = 24 * 3600;

/// Time that is added to the retention when a page is created or extended. A write extends a page only if less than the
/// retention is left, so no write within this time has to. An extension costs reads: see `Ledger::extend`.
pub const PAGE_SLACK: Seconds = 7 * 24 * 3600;

/// Limits of the waits between the attempts to write a page that other processes write too.
const WRITE_PACE: Pace = Pace { base: Duration::from_millis(20), cap: Duration::from_millis(500) };

impl Ledger {
    /// Returns a ledger in `store` that keeps done rows and pages for `retention` seconds, but at least four days.
    pub fn new(store: Arc<dyn Store>, clock: Clock, retention: Seconds) -> Self {
        Self {
            store,
            clock,
            retention: retention.max(4 * PAGE_MARGIN),
            concurrency: 16,
            page_bytes: page::CAPACITY,
            page_locks: Arc::default(),
            write_pace: Some(WRITE_PACE),
        }
    }

    /// Returns this ledger with the given page capacity in encoded bytes, so that a test can fill a page. See
    /// [`page::CAPACITY`].
    #[must_use]
    pub fn with_page_bytes(self, page_bytes: usize) -> Self {
        Self { page_bytes, ..self }
    }

    /// Returns this ledger with the page locks of `other`. Both must use the same store. Clones of a ledger share
    /// their page locks already.
    #[must_use]
    pub fn sharing_page_locks_with(self, other: &Self) -> Self {
        Self { page_locks: Arc::clone(&other.page_locks), ..self }
    }

    /// Returns this ledger without waits after refused page writes, for a test that determines the order of all calls
    /// and has no timer.
    #[must_use]
    pub fn without_write_waits(self) -> Self {
        Self { write_pace: None, ..self }
    }

    /// Returns the expiry of a page that is created or extended now.
    fn page_expiry(&self) -> Seconds {
        self.now() + self.retention + PAGE_SLACK
    }

    /// Returns the expiry of the row of an object that is completed now. Its pages expire at `pages_expire` at the
    /// latest. A row must outlive every page that names its object: without the row, an object that is announced
    /// again would own the events of these pages and deliver them again. The margin allows for clocks that differ.
    fn row_expiry(&self, pages_expire: Seconds) -> Seconds {
        self.page_expiry().max(pages_expire) + PAGE_MARGIN
    }

    /// Returns the current time of this ledger's clock.
    pub fn now(&self) -> Seconds {
        (self.clock)()
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("store", &self.store).field("keep", &self.retention).finish_non_exhaustive()
    }
}

/// Error of a ledger operation: the reason why a worker must stop processing an object.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another worker holds the lease. Nothing more may be written.
    #[error("another worker took over the lease")]
    LeaseLost,
    /// Other workers changed the same item on every attempt to write it.
    #[error("cannot write {0}: changed by other workers on each of {1} attempts")]
    Contended(String, u32),
    /// The rows of the objects that own events of this object changed in each of several rounds.
    #[error("the owners of this object's events changed state in each of {0} rounds; the object must be retried")]
    OwnersChanged(u32),
    /// A page entry that an earlier claim returned is gone. The events must be claimed again.
    #[error("a ledger entry expired or was deleted while its object was processed")]
    Gone,
    /// The store did not answer, or it answered with an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}
