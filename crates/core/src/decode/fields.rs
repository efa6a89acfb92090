//! Notes where selected top-level fields of an event are, while the event is scanned.

use crate::event::json::{Name, RawValue, for_each_member, value_at};

/// Maximum number of selected fields. CloudTrail has fewer top-level fields.
pub const MAX_SELECTED_FIELDS: usize = 40;

/// Maximum length of the name of a selected field in bytes.
const MAX_NAME: usize = 32;

/// Number of bytes of a name that are compared first.
const HEAD: usize = 8;

/// The offset of a field that an event does not have.
const MISSING: u32 = u32::MAX;

/// For each selected field: the offset of its value in the event, or [`MISSING`]. White space may precede the value.
pub(crate) type FieldOffsets = [u32; MAX_SELECTED_FIELDS];

/// The offsets of an event without fields.
pub(crate) const NO_FIELDS: FieldOffsets = [MISSING; MAX_SELECTED_FIELDS];

/// The names of the top-level fields whose offsets are noted.
#[derive(Debug, PartialEq, Eq)]
pub struct SelectedFields {
    /// The distinct names in ascending order of their length.
    names: Vec<String>,
    /// The first bytes of each name.
    heads: Vec<u64>,
    /// For each length of a name: the range of these names in `names`.
    by_length: [(u8, u8); MAX_NAME + 1],
}

impl SelectedFields {
    /// Selects fields by their names. Ignores names that are too long, and all names after the first
    /// [`MAX_SELECTED_FIELDS`] ones: their position is `None`.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut names: Vec<String> =
            names.into_iter().filter(|name| name.len() <= MAX_NAME).map(str::to_owned).collect();
        names.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
        names.dedup();
        names.truncate(MAX_SELECTED_FIELDS);
        let mut by_length = [(0, 0); MAX_NAME + 1];
        for (length, range) in by_length.iter_mut().enumerate() {
            let before = |limit: usize| names.partition_point(|name| name.len() < limit) as u8;
            *range = (before(length), before(length + 1));
        }
        Self { heads: names.iter().map(|name| head(name.as_bytes())).collect(), names, by_length }
    }

    /// Returns the position of a name among the selected ones.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    /// Notes where the value of a field starts, if the field is selected. On duplicate names the last value wins.
    #[inline(always)]
    pub(super) fn note(&self, name: &[u8], has_escape: bool, start: usize, offsets: &mut FieldOffsets) {
        if has_escape {
            return self.note_escaped(name, start, offsets);
        }
        self.note_plain(name, start, offsets);
    }

    #[inline(always)]
    fn note_plain(&self, name: &[u8], start: usize, offsets: &mut FieldOffsets) {
        let Some(&(first, end)) = self.by_length.get(name.len()) else { return };
        if first == end {
            return;
        }
        let head = head(name);
        let range = first as usize..end as usize;
        let known = self.heads[range.clone()].iter().zip(&self.names[range.clone()]);
        for ((known_head, known_name), noted) in known.zip(&mut offsets[range]) {
            if *known_head == head && (name.len() <= HEAD || known_name.as_bytes()[HEAD..] == name[HEAD..]) {
                // An event is smaller than 4 GiB.
                *noted = start as u32;
            }
        }
    }

    #[cold]
    fn note_escaped(&self, name: &[u8], start: usize, offsets: &mut FieldOffsets) {
        let name = Name { bytes: name, has_escape: true };
        self.note_plain(&name.text(), start, offsets);
    }

    /// Returns the offsets of the fields in an event. Returns `None` if the line is not a JSON object.
    pub(crate) fn offsets(&self, line: &[u8]) -> Option<FieldOffsets> {
        let mut offsets = NO_FIELDS;
        for_each_member(line, |name, _, start| self.note(name.bytes, name.has_escape, start, &mut offsets))?;
        Some(offsets)
    }
}

/// Returns the value of the selected field at this position, if the event has the field.
#[inline]
pub(crate) fn value_of<'e>(line: &'e [u8], offsets: &FieldOffsets, position: usize) -> Option<RawValue<'e>> {
    match offsets[position] {
        MISSING => None,
        start => value_at(line, start as usize),
    }
}

/// The offsets of the selected fields of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventOffsets<'a> {
    pub(super) selected: &'a SelectedFields,
    pub(super) offsets: &'a FieldOffsets,
}

impl<'a> EventOffsets<'a> {
    /// Returns the offsets if they are those of this selection.
    pub(crate) fn of(self, selected: &SelectedFields) -> Option<&'a FieldOffsets> {
        std::ptr::eq(self.selected, selected).then_some(self.offsets)
    }
}

/// Returns the first bytes of a name as a number. Names of the same length that differ in them are different.
#[inline(always)]
fn head(name: &[u8]) -> u64 {
    match name.first_chunk::<HEAD>() {
        Some(first) => u64::from_le_bytes(*first),
        None => name.iter().fold(0, |head, &byte| head << 8 | u64::from(byte)),
    }
}
