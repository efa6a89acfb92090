//! The path of a field, and the values that it has in an event.

use crate::decode::{IDENTITY, MAX_JSON_DEPTH, SelectedFields};
use crate::event::field::FieldKind;
use crate::event::json::{self, Leaf};

/// The path of a field: the names from the outermost object inwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldPath {
    pub(super) names: Vec<String>,
    pub(super) kind: FieldKind,
}

/// The position in the selected fields, from which the values of a path are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotedPosition {
    /// That of the path's first name.
    TopLevel(usize),
    /// That of the path's second name, a member of `userIdentity`.
    Identity(usize),
}

impl FieldPath {
    /// Returns the member of `userIdentity` that the path names, or that contains the field.
    pub(super) fn identity_member(&self) -> Option<&str> {
        match &self.names[..] {
            [first, member, ..] if first == IDENTITY => Some(member),
            _ => None,
        }
    }

    /// Returns the position from which the values of the path are read.
    pub(super) fn position(&self, selected: &SelectedFields) -> NotedPosition {
        match self.identity_member().and_then(|member| selected.identity_position(member)) {
            Some(position) => NotedPosition::Identity(position),
            // All first names are selected: they are names of CloudTrail, which has fewer than the maximum.
            None => NotedPosition::TopLevel(selected.position(&self.names[0]).unwrap_or_default()),
        }
    }

    /// Splits `userIdentity.sessionContext` at its dots. A backslash before a dot or a backslash removes its meaning.
    ///
    /// # Errors
    /// A name is empty, or a backslash precedes another character.
    #[cfg(feature = "filter-file")]
    pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
        let (mut names, mut name) = (Vec::new(), String::new());
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '.' => names.push(std::mem::take(&mut name)),
                '\\' => match characters.next() {
                    Some(escaped @ ('.' | '\\')) => name.push(escaped),
                    _ => {
                        return Err(format!(
                            r"invalid field {text:?}: a backslash is only valid before a dot or a backslash"
                        ));
                    }
                },
                other => name.push(other),
            }
        }
        names.push(name);
        if names.iter().any(String::is_empty) {
            return Err(format!("invalid field {text:?}: expected names separated by dots, such as userIdentity.arn"));
        }
        Ok(names)
    }

    /// Whether the path is the name of a top-level field.
    pub(super) fn is_top_level(&self) -> bool {
        self.names.len() == 1
    }

    /// Returns the values of the field in an event. The value of the path's first `known` names starts at `start`, or at the
    /// first byte after white space there. An array on the way or at the end is replaced by its elements. Without the field,
    /// there is no value.
    pub(super) fn values<'e>(&self, line: &'e [u8], start: usize, known: usize) -> Vec<Leaf<'e>> {
        let mut found = Vec::new();
        if let Some(start) = json::value_start(line, start) {
            collect(line, start, &self.names[known..], MAX_JSON_DEPTH, &mut found);
        }
        found
    }
}

impl std::fmt::Display for FieldPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, name) in self.names.iter().enumerate() {
            let dot = if number == 0 { "" } else { "." };
            write!(f, "{dot}{}", name.replace('\\', r"\\").replace('.', r"\."))?;
        }
        Ok(())
    }
}

/// Adds the values at a path below the value at `at` to `found`. Returns the offset of the value's end, or `None` if the bytes
/// are invalid. Each byte is read once: the end of an inner value is found by reading it, not in advance.
fn collect<'e>(line: &'e [u8], at: usize, names: &[String], depth: u32, found: &mut Vec<Leaf<'e>>) -> Option<usize> {
    let skip = |at| json::value(line, at).map(|(end, _)| end);
    // The decoder accepts no deeper value.
    let Some(depth) = depth.checked_sub(1) else { return skip(at) };
    match (line[at], names) {
        (b'[', _) => {
            let mut is_empty = true;
            let end = json::read_elements(line, at, |at| {
                is_empty = false;
                collect(line, at, names, depth, found)
            });
            // An empty array is present, but has no value.
            if is_empty && names.is_empty() {
                found.push(Leaf::Other);
            }
            end
        }
        (_, []) => {
            let (end, value) = json::value(line, at)?;
            found.push(value.leaf());
            Some(end)
        }
        (b'{', [name, rest @ ..]) => {
            let outer = found.len();
            json::read_members(line, at, |member, at| {
                if *member.text() != *name.as_bytes() {
                    return skip(at);
                }
                // On duplicate names the last value wins.
                found.truncate(outer);
                collect(line, at, rest, depth, found)
            })
        }
        (_, [_, ..]) => skip(at),
    }
}
