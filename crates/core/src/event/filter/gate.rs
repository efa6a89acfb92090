//! Excludes many rules by one test of a field.
//!
//! Rules that require neither a service nor an event name are compared with every event. Those that require a network or a
//! regular expression of the same field are behind one gate: unless the value is in one of all their networks, or matches one
//! of all expressions for the field, none of them matches.

use super::condition::{Condition, Test};
use super::network::{self, NetworkSet};
use super::path::FieldPath;
use super::patterns::PatternSet;
use super::rule::Rule;
use super::values::EventFields;
use std::collections::BTreeMap;

/// Rules that one test can exclude.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gate {
    /// The index of the field in the filter's list of paths.
    path: usize,
    test: GateTest,
    /// The numbers of the rules, ascending.
    rules: Vec<u32>,
}

/// A test that every event passes if one of the rules matches it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum GateTest {
    /// The value matches one of the expressions of the field.
    AnyPattern,
    /// The value is an address in one of these networks, which are those of the rules.
    AnyNetwork(NetworkSet),
}

impl Gate {
    /// Returns whether the event passes the test. If not, none of the rules matches.
    #[inline]
    pub(super) fn is_open(&self, event: &EventFields<'_, '_>) -> bool {
        match &self.test {
            GateTest::AnyPattern => event.matches_any_pattern(self.path),
            GateTest::AnyNetwork(networks) => {
                let address = event.text(self.path).and_then(|text| network::address(&text));
                address.is_some_and(|address| networks.contains(address))
            }
        }
    }

    pub(super) fn rules(&self) -> &[u32] {
        &self.rules
    }
}

/// The fields of a filter for which there can be gates.
#[derive(Debug, Clone, Copy)]
pub(super) struct GateFields<'f> {
    pub(super) paths: &'f [FieldPath],
    /// For each path, its regular expressions, if they are searched together.
    pub(super) patterns: &'f [Option<PatternSet>],
}

impl GateFields<'_> {
    /// Divides rules into gates and the rules that no gate can exclude. `numbers` are those of the rules, ascending.
    pub(super) fn gates(self, rules: &[Rule], numbers: &[u32]) -> (Vec<Gate>, Vec<u32>) {
        let mut others = Vec::new();
        // By path and by whether the condition requires a network.
        let mut gated = BTreeMap::<(usize, bool), Vec<(u32, &Condition)>>::new();
        for &number in numbers {
            let conditions = &rules[number as usize].conditions;
            // A test of a network costs less than a search for expressions, and conditions are in the order of their cost.
            match conditions.iter().find(|condition| self.can_exclude(condition)) {
                Some(condition) => {
                    let key = (condition.path, matches!(condition.test, Test::Network(_)));
                    gated.entry(key).or_default().push((number, condition));
                }
                None => others.push(number),
            }
        }
        let gates = gated.into_iter().map(|((path, is_network), gated)| {
            let networks = gated.iter().flat_map(|(_, condition)| condition.test.networks());
            let test = if is_network { GateTest::AnyNetwork(NetworkSet::new(networks)) } else { GateTest::AnyPattern };
            Gate { path, test, rules: gated.iter().map(|(number, _)| *number).collect() }
        });
        (gates.collect(), others)
    }

    fn can_exclude(self, condition: &Condition) -> bool {
        !condition.negated
            && self.paths[condition.path].is_top_level()
            && match &condition.test {
                Test::Network(_) => true,
                Test::Regex(_) => self.patterns[condition.path].is_some(),
                _ => false,
            }
    }
}
