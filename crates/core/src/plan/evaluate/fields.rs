//! Reads the fields that a plan needs from the bytes of an event, in one pass.

use super::{day, hour};
use crate::decode::string;
use crate::event::json::{Leaf, RawValue, for_each_element, for_each_member};
use crate::plan::{Column, PathStep, QueryField};
use jiff::Timestamp;
use std::borrow::Cow;

/// The needed fields as a tree of names.
#[derive(Debug)]
pub(super) struct FieldTree {
    root: FieldNode,
    slots: usize,
}

/// The needed fields of an object or an array.
#[derive(Debug, Default)]
struct FieldNode {
    names: Vec<(Vec<u8>, FieldTarget)>,
    elements: Vec<(usize, FieldTarget)>,
    /// The lengths of `names` as a bit set. It excludes most members of an event without a comparison of names.
    lengths: u64,
}

/// What is needed of a value.
#[derive(Debug, Default)]
struct FieldTarget {
    /// Where the value itself is stored.
    slot: Option<usize>,
    /// The slots of the values within this value.
    below: Vec<usize>,
    node: Option<Box<FieldNode>>,
}

/// The range of a value in its event.
#[derive(Debug, Clone, Copy, Default)]
struct ValueRange {
    start: usize,
    /// 0 if the field is missing.
    end: usize,
    has_escape: bool,
}

/// The fields of an event. One set is used for all events of a thread.
#[derive(Debug, Default)]
pub struct FieldSlots {
    values: Vec<ValueRange>,
    /// The time of the event, if it is valid.
    pub(super) time: Option<Timestamp>,
}

/// Where the value of a field comes from.
#[derive(Debug, Clone)]
pub(super) enum ValueSource {
    /// A slot.
    Slot(usize),
    /// The first of these slots with a value.
    FirstOf(Vec<usize>),
    Day,
    Hour,
}

/// Collects the fields that a plan needs.
#[derive(Debug, Default)]
pub(super) struct FieldTreeBuilder {
    root: FieldNode,
    fields: Vec<QueryField>,
}

impl FieldTreeBuilder {
    /// Returns the slot of a field that is not computed. Each field has one slot.
    pub(super) fn slot(&mut self, field: &QueryField) -> usize {
        if let Some(slot) = self.fields.iter().position(|known| known == field) {
            return slot;
        }
        let slot = self.fields.len();
        self.fields.push(field.clone());
        let steps = match field {
            QueryField::Column(column) => column.path().iter().map(|name| PathStep::Name((*name).to_owned())).collect(),
            QueryField::Path(path) => {
                let mut steps = vec![PathStep::Name(path.root().name().to_owned())];
                steps.extend_from_slice(path.steps());
                steps
            }
        };
        self.root.insert(&steps, slot);
        slot
    }

    /// Returns where the value of a field comes from.
    pub(super) fn source(&mut self, field: &QueryField) -> ValueSource {
        match field {
            QueryField::Column(Column::Day) => ValueSource::Day,
            QueryField::Column(Column::Hour) => ValueSource::Hour,
            QueryField::Column(Column::Principal) => {
                ValueSource::FirstOf(Column::PRINCIPAL_PARTS.map(|column| self.slot(&column.into())).to_vec())
            }
            _ => ValueSource::Slot(self.slot(field)),
        }
    }

    pub(super) fn build(self) -> FieldTree {
        FieldTree { root: self.root, slots: self.fields.len() }
    }
}

impl FieldNode {
    fn insert(&mut self, steps: &[PathStep], slot: usize) {
        let Some((first, rest)) = steps.split_first() else { return };
        let target = match first {
            PathStep::Name(name) => {
                self.lengths |= length_bit(name.len());
                let name = name.as_bytes();
                let at = self.names.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                    self.names.push((name.to_owned(), FieldTarget::default()));
                    self.names.len() - 1
                });
                &mut self.names[at].1
            }
            PathStep::Index(index) => {
                let at = self.elements.iter().position(|(known, _)| known == index).unwrap_or_else(|| {
                    self.elements.push((*index, FieldTarget::default()));
                    self.elements.len() - 1
                });
                &mut self.elements[at].1
            }
        };
        if rest.is_empty() {
            target.slot = Some(slot);
        } else {
            target.below.push(slot);
            target.node.get_or_insert_default().insert(rest, slot);
        }
    }

    /// Reads the needed fields of an object or an array. Returns `None` if the bytes are neither.
    fn read(&self, event: &[u8], container: &[u8], values: &mut [ValueRange]) -> Option<()> {
        let mut valid = Some(());
        match container.first()? {
            b'[' if !self.elements.is_empty() => {
                let mut number = 0;
                for_each_element(container, |value| {
                    if let Some((_, target)) = self.elements.iter().find(|(index, _)| *index == number) {
                        valid = valid.and(target.store(event, value, values));
                    }
                    number += 1;
                })?;
            }
            b'{' => for_each_member(container, |name, value, _| {
                if self.lengths & length_bit(name.bytes.len()) == 0 && !name.has_escape {
                    return;
                }
                let name = name.text();
                if let Some((_, target)) = self.names.iter().find(|(known, _)| *known == *name) {
                    valid = valid.and(target.store(event, value, values));
                }
            })?,
            _ => {}
        }
        valid
    }
}

/// Returns the bit of a length. All lengths from 63 on have the same bit.
fn length_bit(length: usize) -> u64 {
    1 << length.min(63)
}

impl FieldTarget {
    fn store(&self, event: &[u8], value: RawValue<'_>, values: &mut [ValueRange]) -> Option<()> {
        if let Some(slot) = self.slot {
            let start = value.bytes.as_ptr().addr() - event.as_ptr().addr();
            values[slot] = ValueRange { start, end: start + value.bytes.len(), has_escape: value.has_escape };
        }
        let Some(node) = &self.node else { return Some(()) };
        // On duplicate keys the last value wins, so the values within an earlier one are removed.
        for &slot in &self.below {
            values[slot] = ValueRange::default();
        }
        match value.bytes.first() {
            Some(b'{' | b'[') => node.read(event, value.bytes, values),
            _ => Some(()),
        }
    }
}

impl FieldTree {
    /// Reads the needed fields of an event. Returns `None` if the event is not a JSON object.
    pub(super) fn read(&self, event: &[u8], slots: &mut FieldSlots) -> Option<()> {
        slots.values.clear();
        slots.values.resize(self.slots, ValueRange::default());
        match event.iter().find(|byte| !byte.is_ascii_whitespace())? {
            b'{' => {}
            _ => return None,
        }
        self.root.read(event, event.trim_ascii(), &mut slots.values)
    }
}

impl FieldSlots {
    /// Returns the raw value of a slot, or `None` if the field is missing.
    fn raw<'e>(&self, slot: usize, event: &'e [u8]) -> Option<RawValue<'e>> {
        let range = self.values[slot];
        (range.end > 0).then(|| RawValue { bytes: &event[range.start..range.end], has_escape: range.has_escape })
    }

    /// Returns the value of a slot as it is compared.
    pub(super) fn text<'e>(&self, slot: usize, event: &'e [u8]) -> Option<Cow<'e, [u8]>> {
        match self.raw(slot, event)?.leaf() {
            Leaf::Text(text) => Some(text),
            Leaf::Null | Leaf::Other => None,
        }
    }

    /// Returns the value of a slot as a column: its text, or the JSON text of an object or an array.
    fn column<'e>(&self, slot: usize, event: &'e [u8]) -> Option<Cow<'e, [u8]>> {
        let raw = self.raw(slot, event)?;
        match raw.leaf() {
            Leaf::Text(text) => Some(text),
            Leaf::Null => None,
            Leaf::Other => Some(compact(raw.bytes)),
        }
    }

    fn is_null(&self, slot: usize, event: &[u8]) -> bool {
        self.raw(slot, event).is_none_or(|raw| raw.bytes == b"null")
    }
}

/// Returns JSON text without the white space between its tokens.
fn compact(json: &[u8]) -> Cow<'_, [u8]> {
    if !json.iter().any(u8::is_ascii_whitespace) {
        return Cow::Borrowed(json);
    }
    let mut compact = Vec::with_capacity(json.len());
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        let end = match byte {
            // The scan of the event skipped this string, so it has an end.
            b'"' => string::skip(json, at + 1).map_or(json.len(), |(end, _)| end),
            _ => at + 1,
        };
        if !byte.is_ascii_whitespace() {
            compact.extend_from_slice(&json[at..end]);
        }
        at = end;
    }
    Cow::Owned(compact)
}

impl ValueSource {
    /// Returns the value as it is compared.
    pub(super) fn text<'e>(&self, event: &'e [u8], slots: &FieldSlots) -> Option<Cow<'e, [u8]>> {
        match self {
            Self::Slot(slot) => slots.text(*slot, event),
            Self::FirstOf(parts) => parts.iter().find_map(|slot| slots.text(*slot, event)),
            Self::Day => slots.time.map(|time| Cow::Owned(day(time).into_bytes())),
            Self::Hour => slots.time.map(|time| Cow::Owned(hour(time).into_bytes())),
        }
    }

    /// Returns the value as a column, as a group or in an aggregate.
    pub(super) fn column<'e>(&self, event: &'e [u8], slots: &FieldSlots) -> Option<Cow<'e, [u8]>> {
        match self {
            Self::Slot(slot) => slots.column(*slot, event),
            Self::FirstOf(_) | Self::Day | Self::Hour => self.text(event, slots),
        }
    }

    /// Returns whether the field is missing or `null`.
    pub(super) fn is_null(&self, event: &[u8], slots: &FieldSlots) -> bool {
        match self {
            Self::Slot(slot) => slots.is_null(*slot, event),
            Self::FirstOf(_) | Self::Day | Self::Hour => self.text(event, slots).is_none(),
        }
    }
}
