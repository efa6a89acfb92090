//! The path of a field, and the values that it has in an event.

use crate::decode::MAX_JSON_DEPTH;
use crate::event::field::FieldKind;
use crate::event::json::{Leaf, RawValue, for_each_element, for_each_member};

/// The path of a field: the names from the outermost object inwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldPath {
    pub(super) names: Vec<String>,
    pub(super) kind: FieldKind,
}

impl FieldPath {
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

    /// Returns the values of the field in `top`, the value of the path's first name. An array on the way or at the end is
    /// replaced by its elements. Without the field, there is no value.
    pub(super) fn values<'a>(&self, top: RawValue<'a>) -> Vec<Leaf<'a>> {
        let mut found = Vec::new();
        collect(top, &self.names[1..], MAX_JSON_DEPTH, &mut found);
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

fn collect<'a>(value: RawValue<'a>, names: &[String], depth: u32, found: &mut Vec<Leaf<'a>>) {
    // The decoder accepts no deeper value.
    let Some(depth) = depth.checked_sub(1) else { return };
    match (value.bytes.first(), names) {
        (Some(b'['), _) => {
            let mut is_empty = true;
            for_each_element(value.bytes, |element| {
                is_empty = false;
                collect(element, names, depth, found);
            });
            // An empty array is present, but has no value.
            if is_empty && names.is_empty() {
                found.push(Leaf::Other);
            }
        }
        (_, []) => found.push(value.leaf()),
        (Some(b'{'), [name, rest @ ..]) => {
            // On duplicate names the last value wins.
            let mut last = None;
            for_each_member(value.bytes, |member, value, _| {
                if *member.text() == *name.as_bytes() {
                    last = Some(value);
                }
            });
            if let Some(inner) = last {
                collect(inner, rest, depth, found);
            }
        }
        (_, [_, ..]) => {}
    }
}
