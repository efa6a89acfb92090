//! Detection: Sigma rules over events. The package `trailhose-rules` contains the rules and their evaluation without I/O.
//!
//! A [`Detection`] evaluates rules beside a sync, and records findings and alerts.

mod filtered;
mod follower;
mod rule_files;

pub use filtered::{FilteredRule, filtered_rules};
pub use follower::{DetectFollower, Detection, DetectionReport, FOLLOWER};
pub use rule_files::{RuleFilesError, read_rules};
pub use trailhose_rules::{
    DetectionRule, InvalidRule, LoadedRules, MatchedField, RuleLevel, RuleMatch, RuleSet, Suppression,
    hide_messages_of_rule_panics,
};
