//! All regular expressions for one field, which are searched together, once for each event.

use super::condition::{Pattern, Test};
use super::file::{PATTERN_BYTES, PATTERN_CACHE_BYTES};
use super::rule::Rule;
use regex::bytes::{RegexSet, RegexSetBuilder, SetMatches};

/// Maximum number of expressions of a set. More expressions for one field are tested one after another.
const MAX_SET: usize = 100;

/// The regular expressions of all rules for one field.
#[derive(Debug, Clone)]
pub(super) struct PatternSet(RegexSet);

/// Two sets are equal if their expressions are.
impl PartialEq for PatternSet {
    fn eq(&self, other: &Self) -> bool {
        self.0.patterns() == other.0.patterns()
    }
}

impl Eq for PatternSet {}

/// Which expressions of a set match a text. `None` if none does.
#[derive(Debug)]
pub(super) struct PatternMatches(Option<SetMatches>);

impl PatternMatches {
    /// Returns whether this expression matches.
    pub(super) fn contains(&self, pattern: &Pattern) -> bool {
        self.0.as_ref().is_some_and(|matches| matches.matched(pattern.number))
    }
}

impl PatternSet {
    /// Collects the expressions of the conditions of a field, and numbers them. `None` if a set is of no use: for fewer
    /// than two expressions, for too many, or if the set would need too much memory.
    pub(super) fn new<'r>(rules: impl Iterator<Item = &'r mut Rule>, path: usize) -> Option<Self> {
        let mut texts = Vec::new();
        for condition in rules.flat_map(|rule| &mut rule.conditions).filter(|condition| condition.path == path) {
            let Test::Regex(patterns) = &mut condition.test else { continue };
            for pattern in patterns {
                pattern.number = texts.len();
                texts.push(pattern.regex.as_str().to_owned());
            }
        }
        if !(2..=MAX_SET).contains(&texts.len()) {
            return None;
        }
        let built =
            RegexSetBuilder::new(&texts).size_limit(4 * PATTERN_BYTES).dfa_size_limit(4 * PATTERN_CACHE_BYTES).build();
        built.ok().map(Self)
    }

    /// Returns which expressions match a text.
    pub(super) fn matches(&self, text: &[u8]) -> PatternMatches {
        // Most texts match no expression, and `is_match` finds this faster than `matches`.
        PatternMatches(self.0.is_match(text).then(|| self.0.matches(text)))
    }
}
