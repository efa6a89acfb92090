//! The core modules of trailhose and an oracle for each fuzz target.
//!
//! The targets depend only on `trailhose-core`, which does not depend on the AWS SDK. With a sanitizer, the SDK alone
//! would take many minutes to build.
#![forbid(unsafe_code)]

pub use trailhose_core::*;

pub mod oracle;
