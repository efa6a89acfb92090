//! Detection: Sigma rules over events. The package `trailhose-rules` contains the rules and their evaluation without I/O.
//!
//! A `Hunt` evaluates rules over the events of a bucket, a folder or output files, without a ledger. A `Detection` evaluates
//! rules beside a sync, and records findings and alerts.

#[cfg(feature = "cli")]
mod context;
#[cfg(feature = "cli")]
mod filtered;
mod findings_in;
#[cfg(feature = "cli")]
mod follower;
#[cfg(feature = "cli")]
mod hunt;
#[cfg(feature = "cli")]
mod rule_files;

#[cfg(feature = "cli")]
pub use context::EventContext;
#[cfg(feature = "cli")]
pub use filtered::{FilteredRule, filtered_rules};
#[cfg(feature = "cli")]
pub use follower::{DetectFollower, Detection, DetectionReport, FOLLOWER};
#[cfg(feature = "cli")]
pub use hunt::{Hunt, HuntMatch, HuntReport, HuntSink, RuleHits};
#[cfg(feature = "cli")]
pub use rule_files::{RuleFilesError, read_rules};
pub use trailhose_rules::{
    DetectionRule, InvalidRule, LoadedRules, MatchedField, RuleLevel, RuleMatch, RuleSet, Suppression,
    hide_messages_of_rule_panics,
};
