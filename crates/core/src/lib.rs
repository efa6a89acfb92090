//! The pure modules of trailhose: no I/O, no async runtime, no AWS crate.
//!
//! ```text
//! notification ─▶ object ─▶ decode ─▶ event ─▶ pack
//!                                     generate (synthetic data)
//! ```
//!
//! The library, the programs, the fuzz targets and the benchmarks use these modules.
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub, rust_2018_idioms)]

pub mod notification;

pub mod object;

pub mod decode;
pub mod event;

pub mod pack;

pub mod generate;
pub mod suggest;

#[cfg(feature = "detect")]
pub mod finding;
#[cfg(feature = "query")]
pub mod plan;
#[cfg(feature = "query")]
pub mod question;
