//! All regular expressions for one field, which are searched together, once for each event.

use super::condition::{Pattern, Test};
use super::file::{PATTERN_BYTES, PATTERN_CACHE_BYTES};
use super::rule::Rule;
use regex::bytes::{RegexSet, RegexSetBuilder, SetMatches};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::Look;
use regex_syntax::hir::literal::Extractor;

/// Maximum number of expressions of a set. More expressions for one field are tested one after another.
const MAX_SET: usize = 100;

/// Maximum number of texts that are compared before a search. The search takes as long as about 40 comparisons.
const MAX_STARTS: usize = 10;

/// Maximum length of these texts in bytes.
const START_BYTES: usize = 4;

/// The regular expressions of all rules for one field.
#[derive(Debug, Clone)]
pub(super) struct PatternSet {
    set: RegexSet,
    /// Prefixes: each text that matches starts with one of them. `None` if there are too many, or if an expression can match
    /// later in a text.
    starts: Option<Vec<Box<[u8]>>>,
}

/// Two sets are equal if their expressions are.
impl PartialEq for PatternSet {
    fn eq(&self, other: &Self) -> bool {
        self.set.patterns() == other.set.patterns()
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
        Some(Self { set: built.ok()?, starts: starts(&texts) })
    }

    /// Returns whether an expression matches a text.
    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        let can_match = self.starts.as_ref().is_none_or(|starts| starts.iter().any(|start| text.starts_with(start)));
        can_match && self.set.is_match(text)
    }

    /// Returns which expressions match a text.
    pub(super) fn matches(&self, text: &[u8]) -> PatternMatches {
        // Most texts match no expression, and `is_match` finds this faster than `matches`.
        PatternMatches(self.is_match(text).then(|| self.set.matches(text)))
    }
}

/// Returns prefixes: each text that one of the expressions matches starts with one of them. `None` if there are too many, or
/// if an expression can match later in a text.
fn starts(expressions: &[String]) -> Option<Vec<Box<[u8]>>> {
    let mut starts = Vec::new();
    for expression in expressions {
        let parsed = ParserBuilder::new().utf8(false).build().parse(expression).ok()?;
        if !parsed.properties().look_set_prefix().contains(Look::Start) {
            return None;
        }
        let mut prefixes = Extractor::new().extract(&parsed);
        // Fewer texts, for example one instead of ten for a digit after this length.
        prefixes.keep_first_bytes(START_BYTES);
        starts.extend(prefixes.literals()?.iter().map(|prefix| Box::from(prefix.as_bytes())));
    }
    starts.sort();
    starts.dedup();
    (starts.len() <= MAX_STARTS).then_some(starts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_known_if_all_expressions_match_at_the_start() {
        let of = |expressions: &[&str]| {
            let texts: Vec<String> = expressions.iter().map(|&text| text.to_owned()).collect();
            let found = starts(&texts)?;
            Some(found.iter().map(|start| String::from_utf8_lossy(start).into_owned()).collect::<Vec<_>>().join(" "))
        };
        for (expressions, expected) in [
            (&["^Boto3/[0-9]+\\.1", "^Boto3/2"][..], Some("Boto")),
            (&["^(Get|Put)Object$", "^(?i:a)b"], Some("Ab GetO PutO ab")),
            (&["^a?b"], Some("ab b")),
            (&["^a", "b"], None),
            (&["a|^b"], None),
            (&["(?m)^a"], None),
            (&["^.a"], None),
            (&["^[a-z]"], None),
        ] {
            assert_eq!(of(expressions).as_deref(), expected, "{expressions:?}");
        }
    }
}
