//! What must hold of any input at all. Each oracle panics where it does not.
//!
//! `tests/fuzz_oracles.rs` runs the same functions over the sample bucket and damaged copies of it.

pub mod decode;
pub mod key;
pub mod naive;
pub mod notification;
pub mod pack;
