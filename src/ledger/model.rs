//! Data that the ledger stores: rows of objects and pages of events.

pub mod ordinals;
pub mod page;
pub mod quarantine;
pub mod row;
