//! The values of one event that the conditions of a filter test, and what is computed from them once for each event.

use super::Rules;
use super::condition::Condition;
#[cfg(feature = "filter-file")]
use super::condition::Test;
use super::path::NotedPosition;
#[cfg(feature = "filter-file")]
use super::patterns::{PatternMatches, PatternSet};
use super::rule::Rule;
use crate::decode::FieldOffsets;
use crate::event::json::{self, Leaf, RawValue};
use std::borrow::Cow;
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
    single: KeptCells<KeptValue<'e>>,
    /// The values of nested fields, read when a condition needs them first.
    nested: KeptCells<Vec<Leaf<'e>>>,
}

/// Values that are computed once. Initialized with the first of them, because most events need none.
#[derive(Debug)]
struct KeptCells<V>(OnceCell<[OnceCell<V>; KEPT_FIELDS]>);

impl<V> Default for KeptCells<V> {
    fn default() -> Self {
        Self(OnceCell::new())
    }
}

impl<V> KeptCells<V> {
    /// Returns the value with this index, which is computed if it is missing.
    #[inline]
    fn get_or_init(&self, index: usize, init: impl FnOnce() -> V) -> &V {
        let cells = self.0.get_or_init(|| [const { OnceCell::new() }; KEPT_FIELDS]);
        cells[index].get_or_init(init)
    }
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

#[cfg(feature = "filter-file")]
impl KeptValue<'_> {
    fn address(&self) -> Option<IpAddr> {
        let Some(Leaf::Text(text)) = &self.leaf else { return None };
        *self.address.get_or_init(|| super::network::address(text))
    }

    /// Returns which of the expressions of the field match.
    fn matches(&self, set: &PatternSet) -> Option<&PatternMatches> {
        let Some(Leaf::Text(text)) = &self.leaf else { return None };
        Some(self.matches.get_or_init(|| set.matches(text)))
    }
}

impl<'f, 'e> EventFields<'f, 'e> {
    #[inline]
    pub(super) fn new(rules: &'f Rules, line: &'e [u8], offsets: &'e FieldOffsets) -> Self {
        Self { rules, line, offsets, single: KeptCells::default(), nested: KeptCells::default() }
    }

    /// Returns the offset of the value of a top-level field.
    #[inline]
    fn top_level_start(&self, path: usize) -> Option<usize> {
        match self.rules.positions[path] {
            NotedPosition::TopLevel(position) => self.offsets.start(position),
            NotedPosition::Identity(_) => None,
        }
    }

    /// Returns the value of a top-level field.
    #[inline]
    fn top_value(&self, path: usize) -> Option<RawValue<'e>> {
        json::value_at(self.line, self.top_level_start(path)?)
    }

    #[inline]
    fn kept_value(&self, path: usize, kept: usize) -> &KeptValue<'e> {
        self.single.get_or_init(kept, || KeptValue {
            leaf: self.top_value(path).map(RawValue::leaf),
            #[cfg(feature = "filter-file")]
            address: OnceCell::new(),
            #[cfg(feature = "filter-file")]
            matches: OnceCell::new(),
        })
    }

    /// Returns the text of a top-level field, if it has one. The text is not kept.
    #[inline]
    pub(super) fn text(&self, path: usize) -> Option<Cow<'e, [u8]>> {
        json::text_at(self.line, self.top_level_start(path)?)
    }

    /// Returns whether a top-level field matches one of its regular expressions, which are searched together.
    #[cfg(feature = "filter-file")]
    pub(super) fn matches_any_pattern(&self, path: usize) -> bool {
        let set = self.rules.patterns[path].as_ref();
        set.is_some_and(|set| self.text(path).is_some_and(|text| set.is_match(&text)))
    }

    /// Returns whether the event fulfills all conditions of a rule except the first `fulfilled` ones, which are known to be
    /// fulfilled.
    #[inline]
    pub(super) fn fulfills(&self, rule: &Rule, fulfilled: usize) -> bool {
        rule.conditions[fulfilled..].iter().all(|condition| self.fulfills_condition(condition))
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
            (false, Some(kept)) => condition.matches(self.nested.get_or_init(kept, || self.values(condition.path))),
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
            (Test::Network(networks), Leaf::Text(_)) => {
                value.address().is_some_and(|address| networks.iter().any(|network| network.contains(&address)))
            }
            #[cfg(feature = "filter-file")]
            (Test::Regex(patterns), Leaf::Text(_)) if let Some(set) = &self.rules.patterns[condition.path] => {
                let matches = value.matches(set);
                matches.is_some_and(|matches| patterns.iter().any(|pattern| matches.contains(pattern)))
            }
            (test, leaf) => test.passes(leaf),
        }
    }

    fn values(&self, path: usize) -> Vec<Leaf<'e>> {
        let (start, known) = match self.rules.positions[path] {
            NotedPosition::TopLevel(position) => (self.offsets.start(position), 1),
            NotedPosition::Identity(position) => {
                match self.rules.selected.identity_start(self.offsets, self.line, position) {
                    Ok(start) => (start, 2),
                    Err(array) => (Some(array), 1),
                }
            }
        };
        start.map(|start| self.rules.paths[path].values(self.line, start, known)).unwrap_or_default()
    }
}
