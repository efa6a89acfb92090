//! A page: one ledger item holding the event IDs of one account, region and minute, each with its owner. Pure.

mod codec;

use super::row::Seconds;
use crate::event::{EventId, Place};
use crate::object::ObjectId;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// A page grows to this many encoded bytes and then spills into shards. Every write bills the whole item, one unit per
/// started kilobyte, so a page that many small files touch should stay small; and what is marked full must leave room
/// below DynamoDB's 400 KB for entries that later change to `Owner::Delivered`, which are never longer than before.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
pub const CAPACITY: usize = 32 * 1024;

/// Marks one state of a page: fresh for every write, so that a page that was deleted and made anew can never be
/// mistaken for the one that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(pub u64);

impl Version {
    /// A version no page has.
    pub fn fresh() -> Self {
        Self(fastrand::u64(..))
    }
}

/// The name of a page, and of a shard it spilled into.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageName(pub String);

impl PageName {
    /// Where an event is looked for first. Follows from the event alone, so that every copy of it, in whatever object,
    /// is looked for in the same page. Events without a time are spread by their identity, under a word that no minute
    /// is spelled as: minutes before 1970 are negative.
    pub fn root(place: &Place, id: EventId) -> Self {
        let (account, region) = (name_part(&place.account), name_part(&place.region));
        Self(match place.minute {
            Some(minute) => format!("{account}/{region}/{minute}"),
            None => format!("{account}/{region}/none{:02x}", id.0[0]),
        })
    }

    /// The shard of a full page in which an event is looked for next: one hexadecimal digit of its identity deeper,
    /// taken from the end of the identity.
    pub fn shard(&self, id: EventId) -> Self {
        let depth = self.0.rsplit_once('~').map_or(0, |(_, path)| path.len());
        let byte = id.0[15 - (depth / 2).min(15)];
        let digit = if depth.is_multiple_of(2) { byte & 0x0f } else { byte >> 4 };
        match depth {
            0 => Self(format!("{}~{digit:x}", self.0)),
            _ => Self(format!("{}{digit:x}", self.0)),
        }
    }
}

impl std::fmt::Display for PageName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An event's text as part of a page's name: as it is where it could be an account or a region, else its hash, so that
/// no event can spell another's page.
fn name_part(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.len() <= 32 && text.bytes().all(plain) {
        return text.to_owned();
    }
    Sha256::digest(text).iter().take(16).fold(String::from("="), |name, byte| format!("{name}{byte:02x}"))
}

/// The event IDs of one account, region and minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Which state of the page this is.
    pub version: Version,
    /// No more events are added here: what is not in it is in its shards.
    pub full: bool,
    /// From this moment on the page counts as absent. Well beyond any lease; every write extends it.
    pub expires: Seconds,
    /// The events.
    pub entries: HashMap<EventId, Entry>,
}

/// What a page says of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Whose it is to deliver.
    pub owner: Owner,
    /// 16 bits of the event's content, so that the same ID with other content is noticed.
    pub fingerprint: u16,
    /// The event's index in its owner's file, where the owner needs several calls.
    pub ordinal: Option<u32>,
}

/// Whose it is to deliver an event. Moves only from nobody to an object, and from there to `Delivered`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// This object's. Whether it is delivered is written in the object's row.
    Object(ObjectId),
    /// Delivered by a helper, in its owner's stead.
    Delivered,
}

impl Page {
    /// An empty page.
    pub fn new(expires: Seconds) -> Self {
        Self { version: Version::fresh(), full: false, expires, entries: HashMap::new() }
    }

    /// Whether the page still counts.
    pub fn live(&self, now: Seconds) -> bool {
        self.expires > now
    }

    /// The entries as stored: see [`Page::decode`] for the inverse.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(&self.entries)
    }

    /// The page whose entries were stored as `bytes`.
    ///
    /// # Errors
    /// Says what was expected where the bytes are not a page's.
    pub fn decode(version: Version, full: bool, expires: Seconds, bytes: &[u8]) -> Result<Self, String> {
        Ok(Self { version, full, expires, entries: codec::decode(bytes)? })
    }

    /// How many bytes [`Page::encode`] gives.
    pub fn encoded_len(&self) -> usize {
        codec::encoded_len(self.entries.values())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(last: u8) -> EventId {
        let mut id = [7; 16];
        id[15] = last;
        EventId(id)
    }

    #[test]
    fn shards_deepen_by_a_digit_and_part_the_ids() {
        let place = Place { account: "111122223333".into(), region: "eu-west-1".into(), minute: Some(28_000_000) };
        let root = PageName::root(&place, id(0x5a));
        assert_eq!(root.0, "111122223333/eu-west-1/28000000");
        let one = root.shard(id(0x5a));
        assert_eq!(one.0, "111122223333/eu-west-1/28000000~a");
        assert_eq!(one.shard(id(0x5a)).0, "111122223333/eu-west-1/28000000~a5");
        assert_eq!(one.shard(id(0x5a)).shard(id(0x5a)).0, "111122223333/eu-west-1/28000000~a57");
    }

    #[test]
    fn no_event_can_spell_another_events_page() {
        let forged = Place { account: "111122223333/eu-west-1/5".into(), region: String::new(), minute: None };
        let name = PageName::root(&forged, id(1));
        assert!(name.0.starts_with('='), "{name}");
        let long = Place { account: "1".repeat(4096), region: "~".into(), minute: Some(-1) };
        assert!(PageName::root(&long, id(1)).0.len() < 100);
    }
}
