//! One condition of a rule: a test of a field's values.

#[cfg(feature = "filter-file")]
use super::network::address;
use crate::event::json::Leaf;
#[cfg(feature = "filter-file")]
use ipnet::IpNet;
#[cfg(feature = "filter-file")]
use regex::bytes::Regex;

/// A condition: whether the values of a field pass a test, or with `negated`, whether they do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    /// Index of the field in the filter's list of paths.
    pub(super) path: usize,
    pub(super) test: Test,
    pub(super) negated: bool,
}

/// A test of a field. It passes if one of the field's values passes. A field that is missing has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Test {
    /// The text of the value is one of these, which are sorted. `or_null`: `null` passes too.
    AnyOf { texts: Vec<String>, or_null: bool },
    /// The text starts with one of these.
    #[cfg(feature = "filter-file")]
    Prefix(Vec<String>),
    /// The text ends with one of these.
    #[cfg(feature = "filter-file")]
    Suffix(Vec<String>),
    /// The text is an IP address within one of these networks.
    #[cfg(feature = "filter-file")]
    Network(Vec<IpNet>),
    /// One of these regular expressions matches a part of the text.
    #[cfg(feature = "filter-file")]
    Regex(Vec<Pattern>),
    /// The field is present, with any value.
    #[cfg(feature = "filter-file")]
    Exists,
    /// The value is `null`.
    #[cfg(feature = "filter-file")]
    Null,
}

/// A compiled regular expression. Two patterns are equal if their texts are.
#[cfg(feature = "filter-file")]
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pub(super) regex: Regex,
    /// Its number in the set of its field.
    pub(super) number: usize,
}

#[cfg(feature = "filter-file")]
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.regex.as_str() == other.regex.as_str()
    }
}

#[cfg(feature = "filter-file")]
impl Eq for Pattern {}

impl Condition {
    /// Returns whether the values of the field fulfill the condition.
    pub(super) fn matches(&self, values: &[Leaf<'_>]) -> bool {
        values.iter().any(|value| self.test.passes(value)) != self.negated
    }

    /// Returns the accepted texts, if the condition accepts no other value.
    pub(super) fn required_texts(&self) -> Option<&[String]> {
        match &self.test {
            Test::AnyOf { texts, or_null: false } if !self.negated => Some(texts),
            _ => None,
        }
    }
}

impl Test {
    /// Returns an order of the tests by their cost.
    pub(super) fn cost(&self) -> u8 {
        match self {
            Self::AnyOf { .. } => 0,
            #[cfg(feature = "filter-file")]
            Self::Exists | Self::Null | Self::Prefix(_) | Self::Suffix(_) => 0,
            #[cfg(feature = "filter-file")]
            Self::Network(_) => 1,
            #[cfg(feature = "filter-file")]
            Self::Regex(_) => 2,
        }
    }

    /// Returns the networks of the test.
    #[cfg(feature = "filter-file")]
    pub(super) fn networks(&self) -> &[IpNet] {
        if let Self::Network(networks) = self { networks } else { &[] }
    }

    /// Returns whether one value passes.
    pub(super) fn passes(&self, value: &Leaf<'_>) -> bool {
        match (self, value) {
            (Self::AnyOf { or_null, .. }, Leaf::Null) => *or_null,
            #[cfg(feature = "filter-file")]
            (Self::Exists, _) | (Self::Null, Leaf::Null) => true,
            #[cfg(feature = "filter-file")]
            (Self::Null, _) => false,
            (test, Leaf::Text(text)) => test.passes_text(text),
            (_, _) => false,
        }
    }

    /// Returns whether a text passes.
    pub(super) fn passes_text(&self, text: &[u8]) -> bool {
        match self {
            Self::AnyOf { texts, .. } => match &texts[..] {
                // The lengths of a few texts are compared faster than the texts of a search.
                few if few.len() <= 8 => few.iter().any(|known| known.as_bytes() == text),
                texts => texts.binary_search_by(|known| known.as_bytes().cmp(text)).is_ok(),
            },
            #[cfg(feature = "filter-file")]
            Self::Prefix(prefixes) => prefixes.iter().any(|prefix| text.starts_with(prefix.as_bytes())),
            #[cfg(feature = "filter-file")]
            Self::Suffix(suffixes) => suffixes.iter().any(|suffix| text.ends_with(suffix.as_bytes())),
            #[cfg(feature = "filter-file")]
            Self::Network(networks) => {
                address(text).is_some_and(|at| networks.iter().any(|network| network.contains(&at)))
            }
            #[cfg(feature = "filter-file")]
            Self::Regex(patterns) => patterns.iter().any(|pattern| pattern.regex.is_match(text)),
            #[cfg(feature = "filter-file")]
            Self::Exists => true,
            #[cfg(feature = "filter-file")]
            Self::Null => false,
        }
    }
}
