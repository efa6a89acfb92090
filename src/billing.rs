//! What AWS charges: list prices, and an estimate of what a number of events costs. Requests are counted where they are
//! sent, in the ledger, the sinks and the sources.

pub mod price;

#[cfg(feature = "cli")]
pub mod estimate;
