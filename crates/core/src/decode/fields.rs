//! Notes where selected fields of an event are, while the event is scanned: top-level fields, and members of `userIdentity`.

use super::name_table::NameTable;
use crate::event::json::{RawValue, for_each_member, value_at, value_start};
use std::sync::Arc;

/// Maximum number of selected top-level fields. CloudTrail has fewer.
pub const MAX_SELECTED_FIELDS: usize = 40;

/// Maximum number of selected members of `userIdentity`. CloudTrail has fewer.
pub const MAX_IDENTITY_FIELDS: usize = 16;

/// The object whose members can be selected. Rules and filters use them more than the members of all other objects.
pub(crate) const IDENTITY: &str = "userIdentity";

/// The offset of a field that an event does not have.
const MISSING: u32 = u32::MAX;

/// For each selected field: the offset of its value in the event. White space may precede the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldOffsets([u32; MAX_SELECTED_FIELDS + MAX_IDENTITY_FIELDS]);

impl FieldOffsets {
    /// The offsets of an event without fields.
    pub(super) const NONE: Self = Self([MISSING; MAX_SELECTED_FIELDS + MAX_IDENTITY_FIELDS]);

    /// Returns the offset of the value of the selected field at this position, if the event has the field.
    #[inline]
    pub fn start(&self, position: usize) -> Option<usize> {
        match self.0[position] {
            MISSING => None,
            start => Some(start as usize),
        }
    }

    /// Returns the value of the selected field at this position, if the event has the field.
    #[inline]
    pub fn value<'e>(&self, line: &'e [u8], position: usize) -> Option<RawValue<'e>> {
        value_at(line, self.start(position)?)
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
    /// Selects top-level fields, and members of `userIdentity`, by their names. Ignores all names after the shortest
    /// [`MAX_SELECTED_FIELDS`] and [`MAX_IDENTITY_FIELDS`] ones: their position is `None`.
    pub fn new<'n>(top_level: impl IntoIterator<Item = &'n str>, identity: impl IntoIterator<Item = &'n str>) -> Self {
        let identity = NameTable::new(identity.into_iter().collect(), MAX_IDENTITY_FIELDS);
        let mut names: Vec<&str> = top_level.into_iter().collect();
        if !identity.is_empty() {
            names.push(IDENTITY);
        }
        let top_level = NameTable::new(names, MAX_SELECTED_FIELDS);
        let identity_position = top_level.find(IDENTITY.as_bytes()).filter(|_| !identity.is_empty());
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
        match self.identity_start(offsets, line, position) {
            Ok(start) => Ok(start.and_then(|start| value_at(line, start))),
            Err(start) => value_at(line, start).map_or(Ok(None), Err),
        }
    }

    /// Does the same as [`SelectedFields::identity_value`], but returns the offset of the value.
    #[inline]
    pub fn identity_start(&self, offsets: &FieldOffsets, line: &[u8], position: usize) -> Result<Option<usize>, usize> {
        match offsets.start(position) {
            None => self.missing_identity_start(offsets, line),
            start => Ok(start),
        }
    }

    #[inline(never)]
    fn missing_identity_start(&self, offsets: &FieldOffsets, line: &[u8]) -> Result<Option<usize>, usize> {
        let start = self.identity_position.and_then(|position| offsets.start(position));
        match start.and_then(|start| value_start(line, start)) {
            Some(start) if line[start] == b'[' => Err(start),
            _ => Ok(None),
        }
    }

    /// Returns false for most top-level fields that are not selected.
    #[inline(always)]
    pub(super) fn may_select(&self, name: &[u8], has_escape: bool) -> bool {
        self.top_level.may_contain(name, has_escape)
    }

    /// Returns false for most members of `userIdentity` that are not selected.
    #[inline(always)]
    pub(super) fn may_select_identity(&self, name: &[u8], has_escape: bool) -> bool {
        self.identity.may_contain(name, has_escape)
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

/// The selection of a reader and the offsets in its current event. In a box, so that a scan can borrow it without copies.
#[derive(Debug)]
pub(super) struct NotedEvent {
    pub(super) selected: Arc<SelectedFields>,
    pub(super) offsets: FieldOffsets,
}

impl NotedEvent {
    pub(super) fn new(selected: Arc<SelectedFields>) -> Box<Self> {
        Box::new(Self { selected, offsets: FieldOffsets::NONE })
    }
}
