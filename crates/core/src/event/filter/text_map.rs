//! Maps from texts of rules, in which each event searches for its values.
//!
//! The hash function is faster than the standard one, and not safe against keys that are chosen to collide. The keys are the
//! texts of a filter, which its author chooses. The values of events are only searched for.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map from texts.
pub(super) type TextMap<V> = HashMap<Box<[u8]>, V, BuildHasherDefault<TextHasher>>;

/// Hashes eight bytes at a time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TextHasher(u64);

impl TextHasher {
    #[inline]
    fn add(&mut self, word: u64) {
        // An odd number without a pattern in its bits.
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    }
}

impl Hasher for TextHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        words.iter().for_each(|word| self.add(u64::from_le_bytes(*word)));
        // The last word may overlap the one before it.
        match bytes.last_chunk() {
            Some(last) => self.add(u64::from_le_bytes(*last)),
            None => self.add(rest.iter().fold(0, |word, &byte| word << 8 | u64::from(byte))),
        }
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.add(number as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        // The map uses the lowest bits, which depend on the fewest bits of the words.
        self.0 ^ self.0 >> 32
    }
}
