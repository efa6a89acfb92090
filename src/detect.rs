//! Detection: Sigma rules over events. The package `trailhose-rules` contains the rules and their evaluation without I/O.
//!
//! A [`Hunt`] evaluates rules over the events of a bucket, a folder or output files, without a ledger. A [`Detection`]
//! evaluates rules beside a sync, and records findings and alerts.

mod context;
mod filtered;
mod follower;
mod hunt;
mod rule_files;

pub use context::EventContext;
pub use filtered::{FilteredRule, filtered_rules};
pub use follower::{DetectFollower, Detection, DetectionReport, FOLLOWER};
pub use hunt::{Hunt, HuntMatch, HuntReport, HuntSink, RuleHits};
pub use rule_files::{RuleFilesError, read_rules};
pub use trailhose_rules::{
    DetectionRule, InvalidRule, LoadedRules, MatchedField, RuleLevel, RuleMatch, RuleSet, Suppression,
    hide_messages_of_rule_panics,
};
