//! Ledger: what has been delivered. The protocol is written once here; a store keeps rows and pages and refuses a write
//! whose condition does not hold.
//!
//! # The states of an object
//!
//! *Open*: there is work to do; the first `cursor` events it owns are delivered. *Settled*: all it owns is delivered, and
//! the question is what others owe. *Done*: every event in it is delivered, by whomever. *Quarantined*: set aside with a
//! reason. An open or settled row is worked on under a *lease* that outlives the worker; a row is deleted only after
//! *done*, so a row that is missing was done.
//!
//! # The states of an event
//!
//! *Nobody's*, then *owned* by the object whose claim was first, then perhaps *delivered* by a helper. An owner never
//! changes. That an owned event is delivered is written in its owner's row: by the cursor, or by *settled*.
//!
//! # The race that remains
//!
//! Between a sink's acknowledgement and the note of it a worker can die, or the reply can be lost. Then that call, and
//! only that call, is delivered again. A worker that goes on beyond its lease, a page that expired while its events still
//! arrive, and *forget* can repeat more; none of them loses.

pub mod cost;
pub mod inspect;
pub mod metered;
pub mod model;
mod protocol;
pub mod store;

pub use inspect::{EventTrace, ObjectState, OwnershipCounts};
pub use protocol::{Claim, Claims, EventMeta, ForeignClaim, Help, HelpOutcome, Lease, LeaseOutcome, ReopenOutcome};

use model::page;
use model::row::Seconds;
use protocol::page_locks::PageLocks;
use std::sync::Arc;
use store::{Store, StoreError};

/// Tells the time. Injected, so that tests can let leases and pages expire.
pub type Clock = Arc<dyn Fn() -> Seconds + Send + Sync>;

/// The machine's clock.
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
    /// How long a done row and a page are kept after their last write. Longer than any queue keeps a message (14 days)
    /// and than the backfill looks back.
    retention: Seconds,
    /// Store requests of one object under way at once.
    concurrency: usize,
    /// Encoded bytes at which a page of one minute is full.
    page_bytes: usize,
    page_locks: Arc<PageLocks>,
}

/// A page that ends sooner than this is extended before it is relied on: longer than any lease.
const PAGE_MARGIN: Seconds = 24 * 3600;

impl Ledger {
    /// A ledger in `store` that remembers for `retention` seconds.
    pub fn new(store: Arc<dyn Store>, clock: Clock, retention: Seconds) -> Self {
        Self {
            store,
            clock,
            retention: retention.max(4 * PAGE_MARGIN),
            concurrency: 16,
            page_bytes: page::CAPACITY,
            page_locks: Arc::default(),
        }
    }

    /// The same ledger with pages that are full at so many encoded bytes, so that a test can fill one: see
    /// [`page::CAPACITY`].
    #[must_use]
    pub fn with_page_bytes(self, page_bytes: usize) -> Self {
        Self { page_bytes, ..self }
    }

    /// The same ledger, taking turns at pages with `other`: two ways to one store from one process, as clones of a
    /// ledger are.
    #[must_use]
    pub fn sharing_page_locks_with(self, other: &Self) -> Self {
        Self { page_locks: Arc::clone(&other.page_locks), ..self }
    }

    /// The time by this ledger's clock.
    pub fn now(&self) -> Seconds {
        (self.clock)()
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("store", &self.store).field("keep", &self.retention).finish_non_exhaustive()
    }
}

/// Why work on an object ends before it is done.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another worker holds the lease: nothing more may be written.
    #[error("the lease was lost to another worker")]
    LeaseLost,
    /// Others wrote to the same item so often that it was never ours to write.
    #[error("{0} changed on each of {1} attempts to write it")]
    Contended(String, u32),
    /// What a claim said no longer stands: claim again.
    #[error("a ledger entry that was relied on is gone")]
    Gone,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}
