//! Encoding of a page's entries in one binary attribute.
//!
//! One format byte, then groups. A group consists of the owner (16 bytes, all zero for `Owner::Delivered`), one byte
//! that is 1 if ordinals follow, the number of entries (4 bytes), and the entries: event ID (16 bytes), fingerprint
//! (2 bytes), ordinal (4 bytes, or absent). Numbers are little-endian. Groups and entries are sorted, so that a page
//! has exactly one encoding.

use super::{Entries, Entry, Owner};
use crate::event::EventId;
use crate::object::ObjectId;
use std::collections::{BTreeMap, HashSet};

const FORMAT: u8 = 1;

// Sizes in bytes: the head of a group, an entry without its ordinal, and an ordinal.
const GROUP: usize = 16 + 1 + 4;
const ENTRY: usize = 16 + 2;
const ORDINAL: usize = 4;

/// The owner, and whether ordinals follow.
type Group = ([u8; 16], bool);

fn group(entry: &Entry) -> Group {
    let owner = match entry.owner {
        Owner::Object(ObjectId(id)) => id,
        Owner::Delivered => [0; 16],
    };
    (owner, entry.ordinal.is_some())
}

pub(super) fn encoded_len<'a>(entries: impl Iterator<Item = &'a Entry>) -> usize {
    let (mut groups, mut last) = (HashSet::new(), None);
    entries.fold(1, |len, entry| {
        let group = group(entry);
        // Most pages contain the events of one object only.
        let head = if last != Some(group) && groups.insert(group) { GROUP } else { 0 };
        last = Some(group);
        len + head + ENTRY + entry.ordinal.map_or(0, |_| ORDINAL)
    })
}

pub(super) fn encode(entries: &Entries) -> Vec<u8> {
    let mut groups: BTreeMap<Group, Vec<(&EventId, &Entry)>> = BTreeMap::new();
    for (id, entry) in entries {
        groups.entry(group(entry)).or_default().push((id, entry));
    }
    let mut out = vec![FORMAT];
    for ((owner, ordinals), mut members) in groups {
        members.sort_unstable_by_key(|(id, _)| **id);
        out.extend_from_slice(&owner);
        out.push(u8::from(ordinals));
        out.extend_from_slice(&u32::try_from(members.len()).unwrap_or(u32::MAX).to_le_bytes());
        for (id, entry) in members {
            out.extend_from_slice(&id.0);
            out.extend_from_slice(&entry.fingerprint.to_le_bytes());
            if let Some(ordinal) = entry.ordinal {
                out.extend_from_slice(&ordinal.to_le_bytes());
            }
        }
    }
    out
}

pub(super) fn decode(bytes: &[u8]) -> Result<Entries, String> {
    let mut rest = ByteReader { bytes, at: 0 };
    let [format] = rest.take()?;
    if format != FORMAT {
        return Err(format!("unsupported page format {format}: this program reads format {FORMAT}"));
    }
    let mut entries = Entries::default();
    while rest.at < bytes.len() {
        let owner = match rest.take()? {
            zero if zero == [0; 16] => Owner::Delivered,
            id => Owner::Object(ObjectId(id)),
        };
        let [ordinals] = rest.take()?;
        let count = u32::from_le_bytes(rest.take()?);
        // The count is untrusted: reserve no more than the remaining bytes can hold.
        entries.reserve((count as usize).min((bytes.len() - rest.at) / ENTRY));
        for _ in 0..count {
            let id = EventId(rest.take()?);
            let fingerprint = u16::from_le_bytes(rest.take()?);
            let ordinal = if ordinals == 0 { None } else { Some(u32::from_le_bytes(rest.take()?)) };
            entries.insert(id, Entry { owner, fingerprint, ordinal });
        }
    }
    Ok(entries)
}

struct ByteReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl ByteReader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let end = self.at + N;
        let taken = self.bytes.get(self.at..end).and_then(|taken| taken.try_into().ok());
        let taken = taken.ok_or_else(|| {
            format!(
                "page is truncated: it has {} bytes, expected {N} more bytes at offset {}",
                self.bytes.len(),
                self.at
            )
        })?;
        self.at = end;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries() -> impl Strategy<Value = Entries> {
        let owner = prop_oneof![Just(Owner::Delivered), (1u8..4).prop_map(|n| Owner::Object(ObjectId([n; 16])))];
        let entry = (owner, any::<u16>(), any::<Option<u32>>()).prop_map(|(owner, fingerprint, ordinal)| Entry {
            owner,
            fingerprint,
            ordinal,
        });
        proptest::collection::vec((any::<[u8; 16]>().prop_map(EventId), entry), 0..40).prop_map(Entries::from_iter)
    }

    proptest! {
        #[test]
        fn encoded_entries_decode_to_the_same_entries(entries in entries()) {
            let bytes = encode(&entries);
            prop_assert_eq!(bytes.len(), encoded_len(entries.values()));
            prop_assert_eq!(decode(&bytes).unwrap(), entries);
        }

        #[test]
        fn truncated_page_is_rejected_or_has_fewer_groups(entries in entries(), cut in any::<prop::sample::Index>()) {
            let bytes = encode(&entries);
            let cut = cut.index(bytes.len());
            if let Ok(part) = decode(&bytes[..cut]) {
                prop_assert!(part.len() < entries.len());
            }
        }
    }

    #[test]
    fn unknown_format_is_rejected() {
        assert!(decode(&[2]).unwrap_err().contains("format 2"));
    }
}
