//! Oracles that check the properties that must hold for any input. An oracle panics if a property does not hold.
//!
//! `tests/fuzz_oracles.rs` runs the same functions on the sample bucket and on damaged copies of it.

pub mod decode;
pub mod key;
pub mod naive;
pub mod notification;
pub mod pack;
