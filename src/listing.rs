//! Discovery and listing: finds the objects of a bucket that are not done according to the ledger. Used by
//! [`crate::sync`] and [`crate::backfill`].
//!
//! ```text
//! discover ─▶ unit ─▶ keys ─▶ reconcile ─▶ reopen
//!  folders           listing   ledger       archived objects, KMS keys
//! ```

mod counts;
pub mod day_range;
pub mod discover;
mod error;
pub mod folder_level;
pub(crate) mod keys;
#[cfg(feature = "cli")]
pub(crate) mod pages;
pub(crate) mod reconcile;
pub(crate) mod reopen;
pub mod unit;

#[cfg(feature = "cli")]
pub mod inventory;

pub use counts::ListingCounts;
pub use day_range::DayRange;
pub use error::ListingError;
pub use unit::Unit;
