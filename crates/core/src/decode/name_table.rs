//! Finds the name of a member among the selected ones.
//!
//! Most members of an event are not selected. For most of them, a look at an empty slot of a table is enough.

use crate::event::json::Name;

/// Number of slots. Few of them are used, so that most names that are not in the table have an empty slot.
const SLOTS: usize = 256;

/// The number in a slot without a name. It exceeds the number of names.
const EMPTY: u8 = u8::MAX;

/// Number of bytes in a word of a name.
const WORD: usize = 8;

/// Names, by a hash of their last bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NameTable {
    /// The distinct names in ascending order of their length.
    names: Vec<String>,
    /// The ends of each name.
    ends: Vec<NameEnds>,
    /// The numbers of the names. If the slot of a name is not empty, the name is in one of the next slots.
    slots: [u8; SLOTS],
}

impl NameTable {
    /// Creates a table of the shortest `maximum` names. `maximum` is less than the number of slots.
    pub(super) fn new(mut names: Vec<&str>, maximum: usize) -> Self {
        names.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
        names.dedup();
        names.truncate(maximum);
        let ends: Vec<NameEnds> = names.iter().map(|name| NameEnds::of(name.as_bytes())).collect();
        let mut slots = [EMPTY; SLOTS];
        for (number, name) in (0..).zip(&names) {
            let mut slot = slot(name.as_bytes());
            while slots[slot] != EMPTY {
                slot = (slot + 1) % SLOTS;
            }
            slots[slot] = number;
        }
        Self { names: names.into_iter().map(str::to_owned).collect(), ends, slots }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Returns false for most names that are not in the table: those with an empty slot.
    #[inline(always)]
    pub(super) fn may_contain(&self, name: &[u8], has_escape: bool) -> bool {
        self.slots[slot(name)] != EMPTY || has_escape
    }

    /// Returns the number of a name.
    #[inline(always)]
    pub(super) fn find(&self, name: &[u8]) -> Option<usize> {
        let ends = NameEnds::of(name);
        let mut slot = slot(name);
        loop {
            let number = usize::from(self.slots[slot]);
            // The number of an empty slot is not that of a name.
            let known = self.ends.get(number)?;
            // A name of at most two words has no bytes between its ends.
            if *known == ends && (name.len() <= 2 * WORD || self.names[number].as_bytes() == name) {
                return Some(number);
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// Returns the number of a name, which may contain escapes.
    #[inline(always)]
    pub(super) fn find_escaped(&self, name: &[u8], has_escape: bool) -> Option<usize> {
        if has_escape { self.find_unescaped(name) } else { self.find(name) }
    }

    #[cold]
    fn find_unescaped(&self, name: &[u8]) -> Option<usize> {
        self.find(&Name { bytes: name, has_escape: true }.text())
    }
}

/// The length, the first and the last bytes of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct NameEnds {
    length: usize,
    first: u64,
    last: u64,
}

impl NameEnds {
    #[inline(always)]
    fn of(name: &[u8]) -> Self {
        let length = name.len();
        match (name.first_chunk(), name.last_chunk()) {
            (Some(first), Some(last)) => {
                Self { length, first: u64::from_le_bytes(*first), last: u64::from_le_bytes(*last) }
            }
            _ => Self { length, first: name.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)), last: 0 },
        }
    }
}

/// Returns the first slot of a name: a hash of its last bytes, which differ for nearly all names of an event.
#[inline(always)]
fn slot(name: &[u8]) -> usize {
    match name.last_chunk() {
        Some(last) => {
            (u32::from_le_bytes(*last).wrapping_mul(0x9e37_79b1) >> (u32::BITS - SLOTS.trailing_zeros())) as usize
        }
        None => name.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        // Names of few letters, so that many have the same last bytes, the same ends or the same slot.
        #[test]
        fn names_are_found_and_others_are_not(
            names in proptest::collection::vec("[ab]{0,6}|a{7,20}|[ab]a{8}[ab]{2}a{8}[ab]|[a-z]{1,12}", 0..60),
            others in proptest::collection::vec("[ab]{0,6}|a{7,20}|[ab]a{8}[ab]{2}a{8}[ab]|[a-z]{1,12}", 0..60),
        ) {
            let table = NameTable::new(names.iter().map(String::as_str).collect(), 40);
            for name in names.iter().chain(&others) {
                let expected = table.names.iter().position(|known| known == name);
                prop_assert_eq!(table.find(name.as_bytes()), expected, "{}", name);
                prop_assert!(expected.is_none() || table.may_contain(name.as_bytes(), false), "{}", name);
                prop_assert!(expected.is_some() || table.names.len() == 40 || !names.contains(name), "{}", name);
                let escaped: String = name.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
                prop_assert!(table.may_contain(escaped.as_bytes(), true));
                prop_assert_eq!(table.find_escaped(escaped.as_bytes(), true), expected, "{}", name);
            }
        }
    }
}
