//! AWS costs: list prices, and an estimate of the cost of a number of events. The ledger, the sinks and the sources
//! count their requests themselves.

pub mod price;

#[cfg(feature = "cli")]
pub mod estimate;
