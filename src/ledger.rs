//! Ledger: what has been delivered. The protocol is written once here; a store keeps rows and pages and refuses a write
//! whose condition does not hold.

pub mod page;
pub mod row;
pub mod store;

pub mod cost;

pub mod dynamodb;
#[cfg(feature = "cli")]
pub mod sqlite;
