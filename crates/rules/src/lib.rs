//! Sigma detection rules over the bytes of CloudTrail events: no I/O, no async runtime, no AWS crate.
//!
//! ```text
//! files ─▶ document ─▶ check ─▶ rule set ─┐
//!                                         ├─▶ candidates ─▶ matches
//!                          event's bytes ─┘
//! ```
//!
//! `rsigma` parses and evaluates the rules. This crate limits the size of a file, rejects documents that would never
//! match, selects the rules that can match an event by the texts that they require, and reads fields from the event's bytes.
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub, rust_2018_idioms)]

mod candidates;
mod check;
mod document;
mod exclusion;
mod nulls;
mod panics;
mod required;
mod rule;
mod rule_event;
mod rule_set;
#[cfg(test)]
mod tests;

pub use document::MAX_FILE_BYTES;
pub use exclusion::Suppression;
pub use panics::hide_messages_of_rule_panics;
pub use rule::{DetectionRule, InvalidRule, RuleLevel};
pub use rule_set::{LoadedRules, RuleMatch, RuleSet};
pub use trailhose_core::finding::MatchedField;
