//! Detection: Sigma rules over events. The package `trailhose-rules` contains the rules and their evaluation without I/O.
//!
//! A `Hunt` evaluates rules over the events of a bucket, a folder or output files, without a ledger. A `Detection` evaluates
//! rules during a sync, and records findings and alerts. A [`LakeDetection`] does this for the objects of a lake in AWS.

#[cfg(feature = "cli")]
mod context;
#[cfg(feature = "cli")]
mod filtered;
mod findings_in;
#[cfg(feature = "cli")]
mod follower;
#[cfg(feature = "cli")]
mod hunt;
#[cfg(feature = "dynamodb")]
mod lake;
#[cfg(feature = "cli")]
mod rule_files;
#[cfg(feature = "dynamodb")]
mod rule_loader;
#[cfg(feature = "dynamodb")]
mod rule_location;

#[cfg(feature = "cli")]
pub use context::EventContext;
#[cfg(feature = "cli")]
pub use filtered::{FilteredRule, filtered_rules};
#[cfg(feature = "cli")]
pub use follower::{DetectFollower, Detection, DetectionReport, FOLLOWER};
#[cfg(feature = "cli")]
pub use hunt::{Hunt, HuntMatch, HuntReport, HuntSink, RuleHits};
#[cfg(feature = "dynamodb")]
pub use lake::{LakeDetection, LakeTally};
#[cfg(feature = "cli")]
pub use rule_files::{RuleFilesError, read_rule_files, read_rules};
#[cfg(feature = "dynamodb")]
pub use rule_loader::{RuleLoader, RuleLoaderError, RulesInUse};
#[cfg(feature = "dynamodb")]
pub use rule_location::{PublishedRules, RuleLocation, RuleLocationError};
pub use trailhose_rules::{
    DetectionRule, InvalidRule, LoadedRules, MatchedField, RuleLevel, RuleMatch, RuleSet, Suppression,
    hide_messages_of_rule_panics,
};
