//! Tests whether events fulfill the predicate of a plan.

use super::fields::{FieldSlots, FieldTreeBuilder, ValueSource};
use crate::event::json::{Leaf, RawValue, for_each_element, for_each_member};
use crate::plan::{Network, Predicate, ValueTest};
use memchr::memmem::Finder;
use std::borrow::Cow;
use std::collections::HashSet;
use std::net::IpAddr;

/// Maximum nesting depth of a value, as in the decoder.
const MAX_VALUE_DEPTH: u32 = 128;

/// The predicate of a plan, with the sources of its values instead of fields.
#[derive(Debug)]
pub(super) enum PreparedPredicate {
    All(Vec<PreparedPredicate>),
    Any(Vec<PreparedPredicate>),
    Not(Box<PreparedPredicate>),
    Field(ValueSource, PreparedTest),
    Anywhere(Box<Finder<'static>>),
}

/// A test of a value.
#[derive(Debug)]
pub(super) enum PreparedTest {
    Equals(Vec<Vec<u8>>),
    /// More than [`MAX_COMPARED_VALUES`] values.
    OneOf(HashSet<Vec<u8>>),
    Prefix(Vec<Vec<u8>>),
    Suffix(Vec<Vec<u8>>),
    /// Lower-case texts.
    Contains(Vec<Finder<'static>>),
    Cidr(Vec<Network>),
    Null,
    SameAs(ValueSource),
}

/// Maximum number of values that are compared one by one. For more values, a hash set is faster.
const MAX_COMPARED_VALUES: usize = 8;

impl PreparedPredicate {
    pub(super) fn new(predicate: &Predicate, fields: &mut FieldTreeBuilder) -> Self {
        let mut several = |inner: &[Predicate]| inner.iter().map(|predicate| Self::new(predicate, fields)).collect();
        match predicate {
            Predicate::All(inner) => Self::All(several(inner)),
            Predicate::Any(inner) => Self::Any(several(inner)),
            Predicate::Not(inner) => Self::Not(Box::new(Self::new(inner, fields))),
            Predicate::Anywhere(text) => Self::Anywhere(Box::new(Finder::new(text).into_owned())),
            Predicate::Field(field, test) => {
                let source = fields.source(field);
                Self::Field(source, PreparedTest::new(test, fields))
            }
        }
    }

    /// Returns whether an event fulfills the predicate, or `None` if its values are invalid or nested too deeply.
    pub(super) fn holds(&self, event: &[u8], slots: &FieldSlots) -> Option<bool> {
        match self {
            Self::All(inner) => {
                for predicate in inner {
                    if !predicate.holds(event, slots)? {
                        return Some(false);
                    }
                }
                Some(true)
            }
            Self::Any(inner) => {
                for predicate in inner {
                    if predicate.holds(event, slots)? {
                        return Some(true);
                    }
                }
                Some(false)
            }
            Self::Not(inner) => Some(!inner.holds(event, slots)?),
            Self::Field(source, test) => Some(test.passes(source, event, slots)),
            Self::Anywhere(finder) => {
                // If the event contains no escapes and its bytes do not contain the text, no value contains it.
                if finder.find(event).is_none() && memchr::memchr(b'\\', event).is_none() {
                    return Some(false);
                }
                let bytes = event.trim_ascii();
                is_in_value(RawValue { bytes, has_escape: false }, finder, 0)
            }
        }
    }
}

impl PreparedTest {
    fn new(test: &ValueTest, fields: &mut FieldTreeBuilder) -> Self {
        let bytes = |values: &[String]| values.iter().map(|value| value.as_bytes().to_vec()).collect::<Vec<_>>();
        match test {
            ValueTest::Equals(values) if values.len() > MAX_COMPARED_VALUES => {
                Self::OneOf(values.iter().map(|value| value.as_bytes().to_vec()).collect())
            }
            ValueTest::Equals(values) => Self::Equals(bytes(values)),
            ValueTest::Prefix(values) => Self::Prefix(bytes(values)),
            ValueTest::Suffix(values) => Self::Suffix(bytes(values)),
            ValueTest::Contains(values) => {
                let finder = |value: &String| Finder::new(&value.to_ascii_lowercase()).into_owned();
                Self::Contains(values.iter().map(finder).collect())
            }
            ValueTest::Cidr(networks) => Self::Cidr(networks.clone()),
            ValueTest::Null => Self::Null,
            ValueTest::SameAs(field) => Self::SameAs(fields.source(field)),
        }
    }

    fn passes(&self, source: &ValueSource, event: &[u8], slots: &FieldSlots) -> bool {
        if let Self::Null = self {
            return source.is_null(event, slots);
        }
        let Some(value) = source.text(event, slots) else { return false };
        match self {
            Self::Equals(values) => values.iter().any(|known| **known == *value),
            Self::OneOf(values) => values.contains(&*value),
            Self::Prefix(values) => values.iter().any(|start| value.starts_with(start)),
            Self::Suffix(values) => values.iter().any(|end| value.ends_with(end)),
            Self::Contains(values) => {
                let value = value.to_ascii_lowercase();
                values.iter().any(|finder| finder.find(&value).is_some())
            }
            Self::Cidr(networks) => {
                let address = std::str::from_utf8(&value).ok().and_then(|text| text.parse::<IpAddr>().ok());
                address.is_some_and(|address| networks.iter().any(|network| network.contains(address)))
            }
            Self::Null => false,
            Self::SameAs(other) => other.text(event, slots).is_some_and(|other| other == value),
        }
    }
}

/// Returns whether a text is in a value or in the values within it, or `None` if they are nested too deeply or invalid. On
/// duplicate keys only the last value counts.
fn is_in_value(value: RawValue<'_>, finder: &Finder<'_>, depth: u32) -> Option<bool> {
    if depth > MAX_VALUE_DEPTH {
        return None;
    }
    match value.bytes.first()? {
        b'{' => {
            let mut found: Vec<Cow<'_, [u8]>> = Vec::new();
            let mut valid = Some(());
            for_each_member(value.bytes, |name, value, _| match is_in_value(value, finder, depth + 1) {
                None => valid = None,
                Some(true) => found.push(name.text()),
                Some(false) if !found.is_empty() => {
                    let name = name.text();
                    found.retain(|known| *known != name);
                }
                Some(false) => {}
            })?;
            valid.map(|()| !found.is_empty())
        }
        b'[' => {
            let mut found = Some(false);
            for_each_element(value.bytes, |element| {
                let inner = is_in_value(element, finder, depth + 1);
                found = match (found, inner) {
                    (Some(found), Some(inner)) => Some(found || inner),
                    _ => None,
                };
            })?;
            found
        }
        _ => match value.leaf() {
            Leaf::Text(text) => Some(finder.find(&text).is_some()),
            Leaf::Null | Leaf::Other => Some(false),
        },
    }
}
