//! A page: one ledger item holding the event IDs of one account, region and stretch of time, each with its owner. Pure.
//!
//! A quarter of an hour shares a page, as long as it is small: so a quiet account pays one write a file. Where that page is
//! full its minutes follow, each with a page of its own, so that the files of a busy account, each of which is of a few
//! minutes, do not write the same items again and again; and where a minute's page is full, shards by identity.

mod codec;

use crate::event::{EventId, EventScope};
use crate::ledger::model::row::Seconds;
use crate::object::ObjectId;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// A page of one minute, or a shard of it, grows to this many encoded bytes and is then full. Every write bills the whole
/// item, one unit per started kilobyte, so a page that many small files touch should stay small; and what is marked full
/// must leave room below DynamoDB's 400 KB for entries that later change to `Owner::Delivered`, which are never longer
/// than before. <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
/// Chosen by `benches/pages.rs`, as are the two below; docs/cost.md has the figures.
pub const CAPACITY: usize = 128 * 1024;

/// How many minutes share a page while there are few events.
pub const SPAN_MINUTES: i64 = 15;

/// The part of a page's capacity at which the page of a whole [`SPAN_MINUTES`] is full: once the account turns out to be busy,
/// every further file of the quarter reads this page for nothing.
pub const SPAN_CAPACITY_DIVISOR: usize = 4;

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
    pub fn root(scope: &EventScope, id: EventId) -> Self {
        let (account, region) = (name_part(&scope.account), name_part(&scope.region));
        Self(match scope.minute {
            Some(minute) => format!("{account}/{region}/{}", minute - minute.rem_euclid(SPAN_MINUTES)),
            None => format!("{account}/{region}/none{:02x}", id.0[0]),
        })
    }

    /// Where an event of this minute is looked for next when this page is full: behind the page of a whole span its own
    /// minute's, and behind that the shard one hexadecimal digit of its identity deeper, taken from the end.
    pub fn deeper(&self, minute: Option<i64>, id: EventId) -> Self {
        let depth = self.0.rsplit_once('~').map_or(0, |(_, path)| path.len());
        let byte = id.0[15 - (depth / 2).min(15)];
        let digit = if depth.is_multiple_of(2) { byte & 0x0f } else { byte >> 4 };
        match (depth, minute) {
            (0, Some(minute)) if self.is_span() => Self(format!("{}+{}", self.0, minute.rem_euclid(SPAN_MINUTES))),
            (0, _) => Self(format!("{}~{digit:x}", self.0)),
            _ => Self(format!("{}{digit:x}", self.0)),
        }
    }

    /// Encoded bytes at which this page is full where a minute's is at `minute`.
    pub fn capacity(&self, minute: usize) -> usize {
        if self.is_span() { minute / SPAN_CAPACITY_DIVISOR } else { minute }
    }

    /// Whether this is the page of a whole span.
    fn is_span(&self) -> bool {
        let last = self.0.rsplit('/').next().unwrap_or_default();
        !last.starts_with("none") && !last.contains(['+', '~'])
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

/// Entries by identity. Identities are random already, and the hash is seeded anew in every process: the standard library's,
/// which resists whoever can watch it at work, takes three times as long. There is a lookup and an insertion for each event.
pub type Entries = HashMap<EventId, Entry, foldhash::fast::RandomState>;

/// The event IDs of one account, region and stretch of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Which state of the page this is.
    pub version: Version,
    /// No more events are added here: what is not in it is in its shards.
    pub full: bool,
    /// From this moment on the page counts as absent. Well beyond any lease; every write extends it.
    pub expires: Seconds,
    /// The events.
    pub entries: Entries,
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
        Self { version: Version::fresh(), full: false, expires, entries: Entries::default() }
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
    fn a_full_page_is_followed_by_its_minutes_and_then_by_a_digit_at_a_time() {
        let (minute, id) = (Some(28_000_004), id(0x5a));
        let scope = EventScope { account: "111122223333".into(), region: "eu-west-1".into(), minute };
        let mut names = vec![PageName::root(&scope, id)];
        for _ in 0..4 {
            names.push(names[names.len() - 1].deeper(minute, id));
        }
        let expected = ["27999990", "27999990+14", "27999990+14~a", "27999990+14~a5", "27999990+14~a57"];
        let expected = expected.map(|name| format!("111122223333/eu-west-1/{name}"));
        assert_eq!(names.iter().map(|name| name.0.as_str()).collect::<Vec<_>>(), expected);
        assert_eq!(names.iter().map(|name| name.capacity(4096)).collect::<Vec<_>>(), [1024, 4096, 4096, 4096, 4096]);
    }

    #[test]
    fn events_without_a_time_spill_by_their_identity_alone() {
        let root = PageName::root(&EventScope::default(), id(0x5a));
        assert_eq!(root.0, "//none07");
        assert_eq!(root.deeper(None, id(0x5a)).0, "//none07~a");
        assert_eq!(root.capacity(4096), 4096);
    }

    #[test]
    fn minutes_before_1970_have_a_span_too() {
        let scope = |minute| EventScope { minute: Some(minute), ..EventScope::default() };
        assert_eq!(PageName::root(&scope(-1), id(1)).0, "//-15");
        assert_eq!(PageName::root(&scope(-1), id(1)).deeper(Some(-1), id(1)).0, "//-15+14");
    }

    #[test]
    fn no_event_can_spell_another_events_page() {
        let forged = EventScope { account: "111122223333/eu-west-1/5".into(), region: String::new(), minute: None };
        let name = PageName::root(&forged, id(1));
        assert!(name.0.starts_with('='), "{name}");
        let long = EventScope { account: "1".repeat(4096), region: "~".into(), minute: Some(-1) };
        assert!(PageName::root(&long, id(1)).0.len() < 100);
    }
}
