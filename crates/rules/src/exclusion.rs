//! Sigma *filter* documents: they exclude events from rules or, with an expiry date, suppress matches until this date.

use crate::nulls::separate_nulls;
use crate::required::fields;
use crate::rule::DetectionRule;
use jiff::Timestamp;
use rsigma_eval::Event;
use rsigma_eval::compiler::{CompiledDetection, compile_detection, eval_condition};
use rsigma_parser::{ConditionExpr, FilterRule, FilterRuleTarget};
use std::collections::HashMap;

/// A filter document with an expiry date. An event that it excludes still matches, but the match is suppressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// The title of the filter document.
    pub title: String,
    /// Matches of events before this time are suppressed. The time of the event counts, so a repeated evaluation has the same
    /// result.
    pub until: Timestamp,
    /// The name of the file.
    pub file: String,
    /// The line of the file on which the document starts.
    pub line: usize,
}

/// A filter document.
#[derive(Debug)]
pub(crate) struct Exclusion {
    targets: FilterRuleTarget,
    detections: HashMap<String, CompiledDetection>,
    /// An event must fulfill one of these. An event that fulfills none is excluded.
    conditions: Vec<ConditionExpr>,
    /// The fields that the document compares.
    pub(crate) fields: Vec<String>,
    /// The expiry, if the document has one.
    pub(crate) suppression: Option<Suppression>,
}

impl Exclusion {
    /// Compiles a document that was checked.
    ///
    /// # Errors
    /// A detection that `rsigma` does not support, with its name.
    pub(crate) fn new(document: &FilterRule, suppression: Option<Suppression>) -> Result<Self, String> {
        let named = document.detection.named.iter();
        let compiled = named.map(|(name, detection)| {
            let mut detection = detection.clone();
            separate_nulls(&mut detection);
            let compiled = compile_detection(&detection).map_err(|error| format!("{name}: {error}"))?;
            Ok((name.clone(), compiled))
        });
        Ok(Self {
            targets: document.rules.clone(),
            detections: compiled.collect::<Result<_, String>>()?,
            conditions: document.detection.conditions.clone(),
            fields: fields(&document.detection),
            suppression,
        })
    }

    /// Returns the references that name no loaded rule.
    pub(crate) fn unknown_targets(&self, rules: &[DetectionRule]) -> Vec<String> {
        match &self.targets {
            FilterRuleTarget::Any => Vec::new(),
            FilterRuleTarget::Specific(targets) => {
                targets.iter().filter(|target| !rules.iter().any(|rule| refers_to(target, rule))).cloned().collect()
            }
        }
    }

    /// Returns whether the document applies to a rule.
    pub(crate) fn applies_to(&self, rule: &DetectionRule) -> bool {
        match &self.targets {
            FilterRuleTarget::Any => true,
            FilterRuleTarget::Specific(targets) => targets.iter().any(|target| refers_to(target, rule)),
        }
    }

    /// Returns whether the document excludes an event from its rules.
    pub(crate) fn excludes(&self, event: &impl Event) -> bool {
        !self.conditions.iter().any(|condition| eval_condition(condition, &self.detections, event, &mut Vec::new()))
    }
}

/// Returns whether a reference of a filter document names a rule.
fn refers_to(target: &str, rule: &DetectionRule) -> bool {
    target == rule.id || target == rule.title || rule.name.as_deref() == Some(target)
}
