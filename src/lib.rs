//! CloudTrail in, one clean stream out.
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub, rust_2018_idioms)]

pub mod notification;
pub mod queue;

pub mod object;

pub mod decode;
pub mod event;
pub mod filter;
mod members;

pub mod ledger;

#[cfg(feature = "cli")]
pub mod inventory;
pub mod source;

pub mod sink;

pub mod batch;
pub mod ingest;
pub mod sync;

pub mod backfill;

pub mod config;
pub mod price;
pub mod tally;
pub mod telemetry;

pub mod aws;
pub mod backoff;

pub mod estimate;
pub mod generate;
