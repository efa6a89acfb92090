//! The ledger protocol: the steps of a worker. Each step except *deliver* is a conditional write to the ledger. See
//! [`crate::ledger`] for the states.
//!
//! ```text
//! lease ─▶ claim (page_locks, lookup) ─▶ deliver ─▶ settle ─▶ help ─▶ done
//! ```

mod accept;
mod claim;
mod help;
mod lease;
pub(super) mod lookup;
pub(super) mod page_locks;
mod reset;

pub use accept::AcceptOutcome;
pub use claim::{Claim, Claims, ForeignClaim};
pub use help::{Help, HelpOutcome};
pub use lease::{DeliveryProgress, Lease, LeaseOutcome};
pub use lookup::EventMeta;
pub use reset::ReopenOutcome;
