//! Finds the rules that can match an event without testing every rule.
//!
//! A rule that requires certain values of `eventSource` and `eventName` is listed under each pair of these values. A rule that
//! requires values of one of the two is listed under these. With thousands of rules, an event is compared with a few of them.
//! The other rules are tested for every event, unless a gate excludes them.

#[cfg(feature = "filter-file")]
use super::gate::{Gate, GateFields};
use super::text_map::TextMap;
use super::{EventFields, Rule};

/// Maximum number of pairs under which a rule is listed. A rule with more pairs is listed under its values of `eventSource`, so
/// that the index has a size proportional to the number of rules.
const MAX_PAIRS: usize = 32;

/// The rules of one list of a filter, by the values that they require. The numbers of rules are ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RuleIndex {
    /// The indices of `eventSource` and `eventName` in the filter's list of paths.
    source: Option<usize>,
    name: Option<usize>,
    by_source: TextMap<SourceRules>,
    /// The rules that require values of `eventName` only.
    by_name: TextMap<Vec<u32>>,
    /// The rules that require values of neither field, if a gate can exclude them.
    #[cfg(feature = "filter-file")]
    gates: Vec<Gate>,
    /// The other rules.
    always: Vec<u32>,
}

/// The rules that require a value of `eventSource`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct SourceRules {
    /// The rules that also require a value of `eventName`.
    by_name: TextMap<Vec<u32>>,
    /// The other rules.
    any_name: Vec<u32>,
}

impl RuleIndex {
    /// Lists the rules, and moves the conditions by which a rule is listed to its first places. `path_of` returns the index
    /// of a field in the filter's list of paths.
    pub(super) fn new(rules: &mut [Rule], path_of: impl Fn(&str) -> Option<usize>) -> Self {
        let mut index = Self { source: path_of("eventSource"), name: path_of("eventName"), ..Self::default() };
        for (number, rule) in (0..).zip(rules) {
            index.add(number, rule);
        }
        index
    }

    fn add(&mut self, number: u32, rule: &mut Rule) {
        let required = |rule: &Rule, path: Option<usize>| {
            let is_required =
                |path| rule.conditions.iter().position(|known| known.path == path && known.required_texts().is_some());
            path.and_then(is_required)
        };
        // The condition of `eventName` is moved first, so that the one of `eventSource` is moved before it.
        let name = required(rule, self.name);
        if let Some(at) = name {
            rule.conditions[..=at].rotate_right(1);
        }
        let source = required(rule, self.source);
        if let Some(at) = source {
            rule.conditions[..=at].rotate_right(1);
        }
        let texts = |at: usize| {
            let texts = rule.conditions[at].required_texts().unwrap_or_default();
            texts.iter().map(|text| Box::<[u8]>::from(text.as_bytes()))
        };
        match (source, name) {
            (Some(_), Some(_)) if texts(0).len() * texts(1).len() <= MAX_PAIRS => {
                for source in texts(0) {
                    let of_source = self.by_source.entry(source).or_default();
                    texts(1).for_each(|name| of_source.by_name.entry(name).or_default().push(number));
                }
            }
            (Some(_), _) => {
                texts(0).for_each(|source| self.by_source.entry(source).or_default().any_name.push(number));
            }
            (None, Some(_)) => texts(0).for_each(|name| self.by_name.entry(name).or_default().push(number)),
            (None, None) => self.always.push(number),
        }
    }

    /// Moves rules that are tested for every event to gates, if a gate can exclude them.
    #[cfg(feature = "filter-file")]
    pub(super) fn with_gates(self, rules: &[Rule], fields: GateFields<'_>) -> Self {
        let (gates, always) = fields.gates(rules, &self.always);
        Self { gates, always, ..self }
    }

    /// Returns the number of the first rule that matches.
    pub(super) fn first_match(&self, rules: &[Rule], event: &EventFields<'_, '_>) -> Option<usize> {
        let mut first = None;
        let mut search = |numbers: &[u32], fulfilled| {
            let candidates = numbers.iter().map(|&number| number as usize);
            // Only the first matching rule decides, so rules after the one that was found are not tested.
            let mut before = candidates.take_while(|&number| first.is_none_or(|found| number < found));
            first = before.find(|&number| event.fulfills(&rules[number], fulfilled)).or(first);
        };
        if let Some(of_source) = find(&self.by_source, self.source, event) {
            search(&of_source.any_name, 1);
            if let Some(numbers) = find(&of_source.by_name, self.name, event) {
                search(numbers, 2);
            }
        }
        if let Some(numbers) = find(&self.by_name, self.name, event) {
            search(numbers, 1);
        }
        #[cfg(feature = "filter-file")]
        for gate in self.gates.iter().filter(|gate| gate.is_open(event)) {
            search(gate.rules(), 0);
        }
        search(&self.always, 0);
        first
    }
}

/// Returns what a map has for the text of a field of an event.
#[inline]
fn find<'m, V>(map: &'m TextMap<V>, path: Option<usize>, event: &EventFields<'_, '_>) -> Option<&'m V> {
    let path = path.filter(|_| !map.is_empty())?;
    map.get(&*event.text(path)?)
}

#[cfg(test)]
mod tests {
    use super::super::Filter;
    use super::*;

    fn index(rules: &str) -> RuleIndex {
        Filter::parse(rules).unwrap().0.unwrap().exclude_index.clone()
    }

    /// The texts from `a0` to the one before `a{count}`.
    fn texts(count: usize) -> String {
        (0..count).map(|number| format!("a{number}")).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn rule_is_listed_under_each_pair_or_under_one_field() {
        let pairs = index("eventName=x|y,eventSource=s|t,readOnly=true");
        let rules = &pairs.by_source[&b"s"[..]];
        assert_eq!((pairs.by_source.len(), rules.by_name.len(), rules.any_name.len()), (2, 2, 0));
        assert_eq!((pairs.by_name.len(), pairs.always.len()), (0, 0));
        let source = index("eventSource=s,readOnly=true");
        assert_eq!((source.by_source[&b"s"[..]].any_name.len(), source.always.len()), (1, 0));
        let name = index("readOnly=true,eventName=x|y");
        assert_eq!((name.by_source.len(), name.by_name.len(), name.always.len()), (0, 2, 0));
        assert_eq!(index("readOnly=true").always.len(), 1);
    }

    #[test]
    fn rule_with_too_many_pairs_is_listed_by_its_services_only() {
        for (count, pairs, services) in [(MAX_PAIRS, MAX_PAIRS, 0), (MAX_PAIRS + 1, 0, 1)] {
            let index = index(&format!("eventSource=s,eventName={}", texts(count)));
            let rules = &index.by_source[&b"s"[..]];
            assert_eq!((rules.by_name.len(), rules.any_name.len()), (pairs, services), "{count}");
        }
    }
}
