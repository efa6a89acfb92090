//! Ordinal set: indices of events in their object, as ranges.

/// Format byte that [`OrdinalSet::encode`] writes.
const FORMAT: u8 = 1;

/// A set of ordinals, as sorted half-open ranges that do not touch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct OrdinalSet(Vec<(u32, u32)>);

impl OrdinalSet {
    /// Returns whether the set has no ordinals.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the set contains `ordinal`.
    pub fn contains(&self, ordinal: u32) -> bool {
        let after = self.0.partition_point(|&(first, _)| first <= ordinal);
        after > 0 && ordinal < self.0[after - 1].1
    }

    /// Adds the ordinals from `first` (inclusive) to `end` (exclusive).
    pub fn insert(&mut self, first: u32, end: u32) {
        if first >= end {
            return;
        }
        // The ranges that overlap or touch the new one become one range.
        let start = self.0.partition_point(|range| range.1 < first);
        let stop = self.0.partition_point(|range| range.0 <= end);
        let joined =
            self.0[start..stop].iter().fold((first, end), |all, range| (all.0.min(range.0), all.1.max(range.1)));
        self.0.splice(start..stop, [joined]);
    }

    /// Returns the ordinals that are not below `cursor`.
    #[must_use]
    pub fn at_or_after(&self, cursor: u32) -> Self {
        Self(self.0.iter().filter(|range| range.1 > cursor).map(|&(first, end)| (first.max(cursor), end)).collect())
    }

    /// Returns the set in the stored format: a format byte, then for each range the distance from the end of the range
    /// before it and the length, both as LEB128 numbers. A range takes 2 to 10 bytes, and at most 6 in an object of up
    /// to two million events.
    pub fn encode(&self) -> Vec<u8> {
        let (mut out, mut at) = (vec![FORMAT], 0);
        for &(first, end) in &self.0 {
            for mut number in [first - at, end - first] {
                while number >= 0x80 {
                    out.push((number & 0x7f) as u8 | 0x80);
                    number >>= 7;
                }
                out.push(number as u8);
            }
            at = end;
        }
        out
    }

    /// Returns the set that is stored as `bytes`.
    ///
    /// # Errors
    /// Describes the expected format if `bytes` are not an ordinal set.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut rest = bytes.iter();
        match rest.next() {
            Some(&FORMAT) => {}
            other => return Err(format!("unsupported format of an ordinal set: {other:?}, expected {FORMAT}")),
        }
        let (mut ranges, mut at) = (Vec::new(), 0u32);
        while !rest.as_slice().is_empty() {
            let mut next = || -> Option<u32> {
                let mut number = 0u64;
                for shift in (0..35).step_by(7) {
                    let byte = *rest.next()?;
                    number |= u64::from(byte & 0x7f) << shift;
                    if byte & 0x80 == 0 {
                        return u32::try_from(number).ok();
                    }
                }
                None
            };
            let range = next().zip(next()).and_then(|(gap, length)| {
                let first = at.checked_add(gap)?;
                let separate = length > 0 && (gap > 0 || at == 0);
                Some((first, first.checked_add(length)?)).filter(|_| separate)
            });
            let (first, end) = range.ok_or_else(|| format!("invalid range {} of an ordinal set", ranges.len()))?;
            ranges.push((first, end));
            at = end;
        }
        Ok(Self(ranges))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn set_contains_what_was_inserted(ranges in prop::collection::vec((0..200u32, 0..20u32), 0..20), cursor in 0..220u32) {
            let (mut set, mut expected) = (OrdinalSet::default(), BTreeSet::new());
            for (first, length) in ranges {
                set.insert(first, first + length);
                expected.extend(first..first + length);
            }
            let ordinals = |set: &OrdinalSet| (0..300).filter(|ordinal| set.contains(*ordinal)).collect::<BTreeSet<_>>();
            prop_assert_eq!(&ordinals(&set), &expected);
            prop_assert_eq!(set.is_empty(), expected.is_empty());
            prop_assert!(set.0.windows(2).all(|pair| pair[0].1 < pair[1].0), "{:?}", set);
            prop_assert_eq!(OrdinalSet::decode(&set.encode()), Ok(set.clone()));
            let rest = set.at_or_after(cursor);
            prop_assert_eq!(ordinals(&rest), expected.split_off(&cursor));
            prop_assert_eq!(OrdinalSet::decode(&rest.encode()), Ok(rest));
        }

        #[test]
        fn decoding_never_panics_and_accepts_one_encoding(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let mut bytes = bytes;
            bytes.insert(0, FORMAT);
            if let Ok(set) = OrdinalSet::decode(&bytes) {
                prop_assert_eq!(OrdinalSet::decode(&set.encode()), Ok(set));
            }
        }
    }

    #[test]
    fn set_of_every_second_record_takes_less_than_two_kilobytes() {
        let mut set = OrdinalSet::default();
        (0..250).for_each(|record| set.insert(1_000_000 - 2_000 * record, 1_001_000 - 2_000 * record));
        assert!(set.encode().len() < 2_048, "{}", set.encode().len());
    }

    #[test]
    fn largest_ordinals_are_stored() {
        let mut set = OrdinalSet::default();
        set.insert(u32::MAX - 1, u32::MAX);
        set.insert(0, 1);
        assert_eq!(OrdinalSet::decode(&set.encode()), Ok(set));
        assert!(OrdinalSet::decode(&[]).is_err() && OrdinalSet::decode(&[2]).is_err());
        assert!(OrdinalSet::decode(&[FORMAT, 3]).is_err() && OrdinalSet::decode(&[FORMAT, 0, 0]).is_err());
    }
}
