//! The values of one event that the conditions of a filter test, and what is computed from them once for each event.

use super::Rules;
use super::condition::Condition;
#[cfg(feature = "filter-file")]
use super::condition::Test;
#[cfg(feature = "filter-file")]
use super::patterns::PatternMatches;
use super::rule::Rule;
use crate::decode::FieldOffsets;
use crate::event::json::{Leaf, RawValue};
use std::cell::OnceCell;
#[cfg(feature = "filter-file")]
use std::net::IpAddr;

/// Number of top-level fields whose values are kept while an event is compared with the rules, and the same number of
/// nested fields. The values of further fields are read again for each condition.
pub(super) const KEPT_FIELDS: usize = 8;

/// The fields of one event that the conditions use.
#[derive(Debug)]
pub(super) struct EventFields<'f, 'e> {
    rules: &'f Rules,
    line: &'e [u8],
    /// The offsets of the fields in [`Rules::selected`].
    offsets: &'e FieldOffsets,
    /// The values of top-level fields, read when a condition needs them first.
    single: [OnceCell<KeptValue<'e>>; KEPT_FIELDS],
    /// The values of nested fields, read when a condition needs them first.
    nested: [OnceCell<Vec<Leaf<'e>>>; KEPT_FIELDS],
}

/// The value of a top-level field, and the results of tests that are expensive.
#[derive(Debug)]
struct KeptValue<'e> {
    leaf: Option<Leaf<'e>>,
    /// The IP address that it is.
    #[cfg(feature = "filter-file")]
    address: OnceCell<Option<IpAddr>>,
    /// Which of the regular expressions for this field match.
    #[cfg(feature = "filter-file")]
    matches: OnceCell<PatternMatches>,
}

impl<'f, 'e> EventFields<'f, 'e> {
    pub(super) fn new(rules: &'f Rules, line: &'e [u8], offsets: &'e FieldOffsets) -> Self {
        Self {
            rules,
            line,
            offsets,
            single: [const { OnceCell::new() }; KEPT_FIELDS],
            nested: [const { OnceCell::new() }; KEPT_FIELDS],
        }
    }

    /// Returns the value of the top-level field of a path.
    fn top_value(&self, path: usize) -> Option<RawValue<'e>> {
        self.offsets.value(self.line, self.rules.top[path])
    }

    fn kept_value(&self, path: usize, kept: usize) -> &KeptValue<'e> {
        self.single[kept].get_or_init(|| KeptValue {
            leaf: self.top_value(path).map(RawValue::leaf),
            #[cfg(feature = "filter-file")]
            address: OnceCell::new(),
            #[cfg(feature = "filter-file")]
            matches: OnceCell::new(),
        })
    }

    /// Passes the text of a top-level field to `with`, if it has one.
    pub(super) fn with_text<T>(&self, path: usize, with: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let read;
        let leaf = match self.rules.kept[path] {
            Some(kept) => self.kept_value(path, kept).leaf.as_ref(),
            None => {
                read = self.top_value(path).map(RawValue::leaf);
                read.as_ref()
            }
        };
        match leaf {
            Some(Leaf::Text(text)) => Some(with(text)),
            _ => None,
        }
    }

    /// Returns whether the event fulfills all conditions of a rule. With `is_listed`, it fulfills the condition by which
    /// the rule is listed, which is the first one.
    #[inline]
    pub(super) fn fulfills(&self, rule: &Rule, is_listed: bool) -> bool {
        rule.conditions[usize::from(is_listed)..].iter().all(|condition| self.fulfills_condition(condition))
    }

    fn fulfills_condition(&self, condition: &Condition) -> bool {
        let path = &self.rules.paths[condition.path];
        match (path.is_top_level(), self.rules.kept[condition.path]) {
            (true, Some(kept)) => {
                let value = self.kept_value(condition.path, kept);
                let passes = value.leaf.as_ref().is_some_and(|leaf| self.passes(value, leaf, condition));
                passes != condition.negated
            }
            (true, None) => condition.matches(self.top_value(condition.path).map(RawValue::leaf).as_slice()),
            (false, Some(kept)) => condition.matches(self.nested[kept].get_or_init(|| self.values(condition.path))),
            (false, None) => condition.matches(&self.values(condition.path)),
        }
    }

    /// Returns whether a kept value passes the test of a condition, as its test of one value does.
    // Without filter files, no test needs the kept address or the kept matches.
    #[cfg_attr(not(feature = "filter-file"), allow(unused_variables))]
    #[inline]
    fn passes(&self, value: &KeptValue<'e>, leaf: &Leaf<'e>, condition: &Condition) -> bool {
        match (&condition.test, leaf) {
            #[cfg(feature = "filter-file")]
            (Test::Network(networks), Leaf::Text(text)) => {
                let address = value.address.get_or_init(|| super::condition::address(text));
                address.is_some_and(|address| networks.iter().any(|network| network.contains(&address)))
            }
            #[cfg(feature = "filter-file")]
            (Test::Regex(patterns), Leaf::Text(text)) => match &self.rules.patterns[condition.path] {
                Some(set) => {
                    let matches = value.matches.get_or_init(|| set.matches(text));
                    patterns.iter().any(|pattern| matches.contains(pattern))
                }
                None => condition.test.passes_text(text),
            },
            (test, leaf) => test.passes(leaf),
        }
    }

    fn values(&self, path: usize) -> Vec<Leaf<'e>> {
        self.top_value(path).map(|top| self.rules.paths[path].values(top)).unwrap_or_default()
    }
}
