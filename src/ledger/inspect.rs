//! Inspecting a ledger: the state of objects, the owner of an event, scans of everything.

mod lookup;
pub mod scan;
mod state;
mod trace;

pub use lookup::OwnershipCounts;
pub use state::ObjectState;
pub use trace::EventTrace;
