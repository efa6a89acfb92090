//! Read-only inspection of a ledger: the state of objects, the owner of an event, and scans of the whole ledger.

mod lookup;
pub mod scan;
mod state;
mod trace;

pub use lookup::OwnershipCounts;
pub use state::ObjectState;
pub use trace::EventTrace;
