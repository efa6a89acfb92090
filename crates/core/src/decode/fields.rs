//! Notes where selected fields of an event are, while the event is scanned: top-level fields, and members of `userIdentity`.

use crate::event::json::{Name, RawValue, for_each_member, value_at};

/// Maximum number of selected top-level fields. CloudTrail has fewer.
pub const MAX_SELECTED_FIELDS: usize = 40;

/// Maximum number of selected members of `userIdentity`. CloudTrail has fewer.
pub const MAX_IDENTITY_FIELDS: usize = 16;

/// The object whose members can be selected. Rules and filters use them more than the members of all other objects.
const IDENTITY: &str = "userIdentity";

/// Maximum length of the name of a selected field in bytes.
const MAX_NAME: usize = 32;

/// Number of bytes of a name that are compared first.
const HEAD: usize = 8;

/// The offset of a field that an event does not have.
const MISSING: u32 = u32::MAX;

/// For each selected field: the offset of its value in the event. White space may precede the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldOffsets([u32; MAX_SELECTED_FIELDS + MAX_IDENTITY_FIELDS]);

impl FieldOffsets {
    /// The offsets of an event without fields.
    pub(super) const NONE: Self = Self([MISSING; MAX_SELECTED_FIELDS + MAX_IDENTITY_FIELDS]);

    /// Returns the value of the selected field at this position, if the event has the field.
    #[inline]
    pub fn value<'e>(&self, line: &'e [u8], position: usize) -> Option<RawValue<'e>> {
        match self.0[position] {
            MISSING => None,
            start => value_at(line, start as usize),
        }
    }
}

/// The names of the fields whose offsets are noted.
#[derive(Debug, PartialEq, Eq)]
pub struct SelectedFields {
    top_level: NameTable,
    /// The members of `userIdentity`. Their positions start at [`MAX_SELECTED_FIELDS`].
    identity: NameTable,
    /// The position of `userIdentity`, if members of it are selected.
    identity_position: Option<usize>,
}

impl Default for SelectedFields {
    /// Selects no field.
    fn default() -> Self {
        Self::new([], [])
    }
}

impl SelectedFields {
    /// Selects top-level fields, and members of `userIdentity`, by their names. Ignores names that are too long, and all
    /// names after the first [`MAX_SELECTED_FIELDS`] and [`MAX_IDENTITY_FIELDS`] ones: their position is `None`.
    pub fn new<'n>(top_level: impl IntoIterator<Item = &'n str>, identity: impl IntoIterator<Item = &'n str>) -> Self {
        let identity = NameTable::new(identity.into_iter().collect(), MAX_IDENTITY_FIELDS);
        let mut names: Vec<&str> = top_level.into_iter().collect();
        if !identity.names.is_empty() {
            names.push(IDENTITY);
        }
        let top_level = NameTable::new(names, MAX_SELECTED_FIELDS);
        let identity_position = top_level.find(IDENTITY.as_bytes()).filter(|_| !identity.names.is_empty());
        Self { top_level, identity, identity_position }
    }

    /// Returns the position of a top-level field among the selected ones.
    #[inline]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.top_level.find(name.as_bytes())
    }

    /// Returns the position of a member of `userIdentity` among the selected fields.
    #[inline]
    pub fn identity_position(&self, name: &str) -> Option<usize> {
        self.identity_position?;
        self.identity.find(name.as_bytes()).map(|position| MAX_SELECTED_FIELDS + position)
    }

    /// Returns the value of the member of `userIdentity` at this position. `Err` if `userIdentity` is an array, whose
    /// elements are not noted; the value is that of `userIdentity`.
    #[inline]
    pub fn identity_value<'e>(
        &self,
        offsets: &FieldOffsets,
        line: &'e [u8],
        position: usize,
    ) -> Result<Option<RawValue<'e>>, RawValue<'e>> {
        match offsets.0[position] {
            MISSING => self.missing_identity_value(offsets, line),
            start => Ok(value_at(line, start as usize)),
        }
    }

    #[cold]
    fn missing_identity_value<'e>(
        &self,
        offsets: &FieldOffsets,
        line: &'e [u8],
    ) -> Result<Option<RawValue<'e>>, RawValue<'e>> {
        let identity = self.identity_position.and_then(|position| offsets.value(line, position));
        match identity {
            Some(array) if array.bytes.first() == Some(&b'[') => Err(array),
            _ => Ok(None),
        }
    }

    /// Notes where the value of a top-level field starts, if the field is selected, and returns whether its members are to
    /// be noted. On duplicate names the last value wins.
    #[inline(always)]
    pub(super) fn note(&self, name: &[u8], has_escape: bool, start: usize, offsets: &mut FieldOffsets) -> bool {
        let Some(position) = self.top_level.find_escaped(name, has_escape) else { return false };
        // An event is smaller than 4 GiB.
        offsets.0[position] = start as u32;
        if self.identity_position != Some(position) {
            return false;
        }
        offsets.0[MAX_SELECTED_FIELDS..].fill(MISSING);
        true
    }

    /// Notes where the value of a member of `userIdentity` starts, if the member is selected.
    #[inline(always)]
    pub(super) fn note_identity(&self, name: &[u8], has_escape: bool, start: usize, offsets: &mut FieldOffsets) {
        if let Some(position) = self.identity.find_escaped(name, has_escape) {
            offsets.0[MAX_SELECTED_FIELDS + position] = start as u32;
        }
    }

    /// Returns the offsets of the fields in an event. Returns `None` if the line is not a JSON object.
    pub fn offsets(&self, line: &[u8]) -> Option<FieldOffsets> {
        let mut offsets = FieldOffsets::NONE;
        for_each_member(line, |name, value, start| {
            if self.note(name.bytes, name.has_escape, start, &mut offsets) {
                for_each_member(value.bytes, |name, _, within| {
                    self.note_identity(name.bytes, name.has_escape, start + within, &mut offsets);
                });
            }
        })?;
        Some(offsets)
    }
}

/// Names, found by their length and their first bytes.
#[derive(Debug, PartialEq, Eq)]
struct NameTable {
    /// The distinct names in ascending order of their length.
    names: Vec<String>,
    /// The first bytes of each name.
    heads: Vec<u64>,
    /// For each length of a name: the range of these names in `names`.
    by_length: [(u8, u8); MAX_NAME + 1],
}

impl NameTable {
    fn new(mut names: Vec<&str>, maximum: usize) -> Self {
        names.retain(|name| name.len() <= MAX_NAME);
        names.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
        names.dedup();
        names.truncate(maximum);
        let mut by_length = [(0, 0); MAX_NAME + 1];
        for (length, range) in by_length.iter_mut().enumerate() {
            let before = |limit: usize| names.partition_point(|name| name.len() < limit) as u8;
            *range = (before(length), before(length + 1));
        }
        let heads = names.iter().map(|name| head(name.as_bytes())).collect();
        Self { names: names.into_iter().map(str::to_owned).collect(), heads, by_length }
    }

    #[inline(always)]
    fn find(&self, name: &[u8]) -> Option<usize> {
        let &(first, end) = self.by_length.get(name.len())?;
        if first == end {
            return None;
        }
        let head = head(name);
        let known = self.heads[first as usize..end as usize].iter().zip(&self.names[first as usize..end as usize]);
        for (position, (known_head, known_name)) in (first as usize..).zip(known) {
            if *known_head == head && (name.len() <= HEAD || known_name.as_bytes()[HEAD..] == name[HEAD..]) {
                return Some(position);
            }
        }
        None
    }

    #[inline(always)]
    fn find_escaped(&self, name: &[u8], has_escape: bool) -> Option<usize> {
        if has_escape { self.find_unescaped(name) } else { self.find(name) }
    }

    #[cold]
    fn find_unescaped(&self, name: &[u8]) -> Option<usize> {
        self.find(&Name { bytes: name, has_escape: true }.text())
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
    #[inline]
    pub fn of(self, selected: &SelectedFields) -> Option<&'a FieldOffsets> {
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
