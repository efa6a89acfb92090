//! The fields of an event as `rsigma` compares them, read from the event's bytes without a tree.
//!
//! | value | compared as |
//! |---|---|
//! | missing or `null` | `null` |
//! | object | its JSON text without insignificant white space |
//! | array | each of its elements; one must match |
//! | number | its JSON text, or its value for a number in a rule |
//! | boolean | `true` or `false`, also for a text in a rule |
//!
//! A string is compared without its escapes. A string within an object that is compared as text keeps its escapes: the
//! quotes of a policy document, which is a string, are `\"` there. Compare such a field itself, not the object around it.

use rsigma_eval::{Event, EventValue};
use std::borrow::Cow;
use std::cell::Cell;
use trailhose_core::decode::{FieldOffsets, SelectedFields};
use trailhose_core::event::json::{RawValue, for_each_element, for_each_member};

/// The top-level field whose members a selection can contain.
const IDENTITY: &str = "userIdentity";

/// One event.
#[derive(Debug)]
pub(crate) struct RuleEvent<'e> {
    line: &'e [u8],
    selected: &'e SelectedFields,
    /// The offsets of the selected fields in the line.
    offsets: &'e FieldOffsets,
    /// The last top-level object or array that was read, with its position. Finding the end of a large one takes long, and
    /// most rules compare several members of the same one.
    container: Cell<Option<(usize, RawValue<'e>)>>,
}

/// The position of a field among the selected ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldPosition {
    /// A top-level field.
    TopLevel(usize),
    /// A member of `userIdentity`.
    Identity(usize),
}

impl FieldPosition {
    /// Returns the position of a field, or `None` if it is not selected.
    pub(crate) fn find(path: &str, selected: &SelectedFields) -> Option<Self> {
        match split(path) {
            (_, "") => selected.position(path).map(Self::TopLevel),
            (IDENTITY, member) => selected.identity_position(member).map(Self::Identity),
            _ => None,
        }
    }
}

/// Returns the selection of these fields.
pub(crate) fn select<'n>(paths: impl Iterator<Item = &'n str> + Clone) -> SelectedFields {
    let members = paths.clone().map(split).filter(|(top, nested)| *top == IDENTITY && !nested.is_empty());
    SelectedFields::new(paths.map(|path| split(path).0), members.map(|(_, nested)| split(nested).0))
}

impl<'e> RuleEvent<'e> {
    /// Creates an event from a line and the offsets of its selected fields.
    pub(crate) fn new(line: &'e [u8], selected: &'e SelectedFields, offsets: &'e FieldOffsets) -> Self {
        Self { line, selected, offsets, container: Cell::new(None) }
    }

    /// Returns the value of a selected field. If `userIdentity` is an array, the value is that array.
    #[inline]
    pub(crate) fn value_at(&self, field: FieldPosition) -> Option<RawValue<'e>> {
        match field {
            FieldPosition::TopLevel(position) => self.offsets.value(self.line, position),
            FieldPosition::Identity(position) => {
                self.selected.identity_value(self.offsets, self.line, position).unwrap_or_else(Some)
            }
        }
    }

    /// Returns the value of a top-level field. On duplicate names the last value wins, as in the decoder.
    pub(crate) fn top_level(&self, name: &str) -> Option<RawValue<'e>> {
        if let Some(position) = self.selected.position(name) {
            return self.top_level_at(position);
        }
        // The rules compare more fields than a selection can contain.
        let mut last = None;
        for_each_member(self.line, |member, value, _| {
            if *member.text() == *name.as_bytes() {
                last = Some(value);
            }
        });
        last
    }

    fn top_level_at(&self, position: usize) -> Option<RawValue<'e>> {
        if let Some((known, value)) = self.container.get()
            && known == position
        {
            return Some(value);
        }
        let value = self.offsets.value(self.line, position)?;
        if matches!(value.bytes.first(), Some(b'{' | b'[')) {
            self.container.set(Some((position, value)));
        }
        Some(value)
    }
}

/// Returns the values at `path` below a value.
fn values_at<'e>(value: RawValue<'e>, path: &str) -> Option<EventValue<'e>> {
    if path.is_empty() && !matches!(value.bytes.first(), Some(b'[')) {
        return scalar(value);
    }
    let mut found = Vec::new();
    collect(value, path, &mut found);
    if found.len() > 1 { Some(EventValue::Array(found)) } else { found.pop() }
}

impl Event for RuleEvent<'_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        let (top, nested) = split(path);
        let (member, rest) = split(nested);
        if top == IDENTITY
            && !nested.is_empty()
            && let Some(position) = self.selected.identity_position(member)
        {
            return match self.selected.identity_value(self.offsets, self.line, position) {
                Ok(value) => values_at(value?, rest),
                Err(array) => values_at(array, nested),
            };
        }
        values_at(self.top_level(top)?, nested)
    }

    fn any_string_value(&self, accepts: &dyn Fn(&str) -> bool) -> bool {
        let mut any = false;
        self.visit_string_values(&mut |text| any = any || accepts(text));
        any
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        let mut all = Vec::new();
        self.visit_string_values(&mut |text| all.push(Cow::Owned(text.to_owned())));
        all
    }

    fn visit_string_values(&self, visit: &mut dyn FnMut(&str)) {
        for_each_member(self.line, |_, value, _| strings(value, visit));
    }

    /// Not called: rules cannot ask for the whole event.
    fn to_json(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

/// Splits a path into its first name and the rest.
fn split(path: &str) -> (&str, &str) {
    path.split_once('.').unwrap_or((path, ""))
}

/// Collects the values at `path` below `value`, in all elements of the arrays on the way. The nesting is limited by the
/// decoder.
fn collect<'e>(value: RawValue<'e>, path: &str, found: &mut Vec<EventValue<'e>>) {
    match value.bytes.first() {
        Some(b'[') => {
            let before = found.len();
            let mut is_empty = true;
            for_each_element(value.bytes, |element| {
                is_empty = false;
                collect(element, path, found);
            });
            // An empty array is present, although no text matches it.
            if is_empty && path.is_empty() && found.len() == before {
                found.push(EventValue::Array(Vec::new()));
            }
        }
        _ if path.is_empty() => found.extend(scalar(value)),
        Some(b'{') => {
            let (name, rest) = split(path);
            let mut last = None;
            for_each_member(value.bytes, |member, value, _| {
                if *member.text() == *name.as_bytes() {
                    last = Some(value);
                }
            });
            if let Some(value) = last {
                collect(value, rest, found);
            }
        }
        _ => {}
    }
}

/// Returns a value that is not an array, or `None` for `null`.
fn scalar(value: RawValue<'_>) -> Option<EventValue<'_>> {
    Some(match value.bytes {
        b"null" => return None,
        b"true" => EventValue::Bool(true),
        b"false" => EventValue::Bool(false),
        [b'"', ..] => EventValue::Str(text(value)),
        [b'{', ..] => EventValue::Str(compact(value.bytes)),
        number => EventValue::Str(String::from_utf8_lossy(number)),
    })
}

/// Returns the text of a string without quotes and escapes, or with its escapes if they are not valid Unicode.
pub(crate) fn text(string: RawValue<'_>) -> Cow<'_, str> {
    let within = string.bytes.get(1..string.bytes.len() - 1).unwrap_or_default();
    if string.has_escape
        && let Ok(text) = serde_json::from_slice::<String>(string.bytes)
    {
        return Cow::Owned(text);
    }
    String::from_utf8_lossy(within)
}

/// Returns JSON text without insignificant white space.
fn compact(json: &[u8]) -> Cow<'_, str> {
    let (mut in_string, mut is_escaped) = (false, false);
    let mut is_kept = |byte: &u8| {
        match (in_string, byte) {
            (true, _) if is_escaped => is_escaped = false,
            (true, b'\\') => is_escaped = true,
            (_, b'"') => in_string = !in_string,
            _ => {}
        }
        in_string || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
    };
    // CloudTrail writes no white space between tokens, so in most cases there is nothing to remove.
    let Some(first) = json.iter().position(|byte| !is_kept(byte)) else { return String::from_utf8_lossy(json) };
    let mut kept = json[..first].to_vec();
    kept.extend(json[first + 1..].iter().filter(|byte| is_kept(byte)));
    Cow::Owned(String::from_utf8_lossy(&kept).into_owned())
}

/// Passes all strings in a value to `visit`, without names of members.
fn strings(value: RawValue<'_>, visit: &mut dyn FnMut(&str)) {
    match value.bytes.first() {
        Some(b'"') => visit(&text(value)),
        Some(b'[') => {
            for_each_element(value.bytes, |element| strings(element, visit));
        }
        Some(b'{') => {
            for_each_member(value.bytes, |_, member, _| strings(member, visit));
        }
        _ => {}
    }
}
