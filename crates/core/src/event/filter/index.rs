//! Finds the rules that can match an event without testing every rule.
//!
//! A rule that requires certain values of `eventSource` or `eventName` is listed under each of these values. The other
//! rules are tested for every event. With thousands of rules, an event is compared with a few of them.

use super::{EventFields, Rule};

/// The fields by which rules are listed. A rule is listed by the first of them that it requires.
const KEYS: [&str; 2] = ["eventSource", "eventName"];

/// A value and the numbers of the rules that require it.
type ListedValue = (String, Vec<u32>);

/// The rules of one list of a filter, by the values that they require. The numbers of rules are ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RuleIndex {
    /// For each field of [`KEYS`]: its index in the filter's list of paths, and the values in ascending order, each with
    /// its rules.
    by_value: [(Option<usize>, Vec<ListedValue>); KEYS.len()],
    /// The rules that require no value of these fields.
    always: Vec<u32>,
}

impl RuleIndex {
    /// Lists the rules, and moves the condition by which a rule is listed to its first place. `path_of` returns the index
    /// of a field in the filter's list of paths.
    pub(super) fn new(rules: &mut [Rule], path_of: impl Fn(&str) -> Option<usize>) -> Self {
        let mut index = Self { by_value: KEYS.map(|key| (path_of(key), Vec::new())), always: Vec::new() };
        for (number, rule) in (0..).zip(rules) {
            let required = |key: usize| {
                rule.conditions
                    .iter()
                    .position(|condition| condition.path == key && condition.required_texts().is_some())
            };
            let listed = index.by_value.iter_mut().find_map(|(path, values)| Some((required((*path)?)?, values)));
            match listed {
                Some((at, values)) => {
                    rule.conditions[..=at].rotate_right(1);
                    let texts = rule.conditions[0].required_texts().unwrap_or_default();
                    texts.iter().for_each(|text| values.push((text.clone(), vec![number])));
                }
                None => index.always.push(number),
            }
        }
        for (_, values) in &mut index.by_value {
            // The sort is stable, so the numbers of a value stay ascending.
            values.sort_by(|(a, _), (b, _)| a.cmp(b));
            values.dedup_by(|(text, numbers), (kept, all)| {
                let is_same = text == kept;
                if is_same {
                    all.append(numbers);
                }
                is_same
            });
        }
        index
    }

    /// Returns the number of the first rule that matches.
    pub(super) fn first_match(&self, rules: &[Rule], event: &EventFields<'_, '_>) -> Option<usize> {
        let mut first = None;
        let mut search = |numbers: &[u32], is_listed| {
            let candidates = numbers.iter().map(|&number| number as usize);
            // Only the first matching rule decides, so rules after the one that was found are not tested.
            let mut before = candidates.take_while(|&number| first.is_none_or(|found| number < found));
            first = before.find(|&number| event.fulfills(&rules[number], is_listed)).or(first);
        };
        for (path, values) in &self.by_value {
            let Some(path) = path.filter(|_| !values.is_empty()) else { continue };
            let find = |text: &[u8]| values.binary_search_by(|(value, _)| value.as_bytes().cmp(text));
            if let Some(Ok(at)) = event.with_text(path, find) {
                search(&values[at].1, true);
            }
        }
        search(&self.always, false);
        first
    }
}
