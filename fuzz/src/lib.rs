//! The fuzz targets' input: the pure modules of trailhose, and an oracle for each.
//!
//! They are used through `trailhose-core`, which does not depend on the AWS SDK: under a sanitizer the SDK alone would
//! build for many minutes.
#![forbid(unsafe_code)]

pub use trailhose_core::*;

pub mod oracle;
