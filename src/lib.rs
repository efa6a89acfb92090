//! Turns an organization's CloudTrail bucket into one complete, deduplicated stream of events.
//!
//! The modules are listed in the order in which data flows. Those that do no I/O are re-exported from
//! [`trailhose_core`].
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub, rust_2018_idioms)]

#[cfg(feature = "detection")]
pub use trailhose_core::finding;
pub use trailhose_core::{decode, event, generate, notification, object, pack, suggest};
#[cfg(feature = "cli")]
pub use trailhose_core::{plan, question};

pub mod queue;

pub mod listing;
pub mod source;

pub mod ledger;

pub mod sink;

pub mod batch;
pub mod ingest;

pub mod backfill;
pub mod sync;
#[cfg(feature = "cli")]
pub mod trial;

#[cfg(feature = "operate")]
pub mod pause;

#[cfg(all(feature = "cli", feature = "operate"))]
pub mod doctor;

#[cfg(feature = "detection")]
pub mod alert;
#[cfg(feature = "parquet")]
pub mod compact;
#[cfg(feature = "detection")]
pub mod detect;
#[cfg(feature = "detection")]
pub mod finding_store;
#[cfg(feature = "cli")]
pub mod follow;
#[cfg(feature = "forward")]
pub mod forward;
#[cfg(any(feature = "detection", feature = "forward"))]
pub mod http;
#[cfg(feature = "cli")]
pub mod index;
#[cfg(any(feature = "cli", feature = "detection"))]
pub mod indexed_fields;
#[cfg(feature = "model")]
pub mod model;
#[cfg(feature = "cli")]
pub mod query;
#[cfg(feature = "cli")]
pub mod retention;
#[cfg(feature = "serve")]
pub mod serve;
#[cfg(feature = "cli")]
pub mod sql;
#[cfg(feature = "cli")]
pub mod state;

pub mod billing;
#[cfg(feature = "init")]
pub mod setup;
#[cfg(feature = "wire")]
pub mod wire;

pub mod aws;
pub mod backoff;
pub mod config;
#[cfg(feature = "cli")]
pub(crate) mod disk;
#[cfg(feature = "lambda")]
pub mod invocation_error;
#[cfg(feature = "cli")]
pub mod shell;
#[cfg(feature = "cli")]
pub(crate) mod sqlite_file;
pub mod tally;
pub mod telemetry;
