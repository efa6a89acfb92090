//! Page: a ledger item with the event IDs of one account, region and time bucket, and each ID's owner.
//!
//! Fifteen minutes share one page while it is small, so an account with few events pays one write per file. When that
//! page is full, each minute gets a page of its own, so that the files of a busy account, which cover a few minutes
//! each, do not rewrite the same items repeatedly. When a minute's page is full, its events go to shards by event ID.

mod codec;

use crate::event::{EventId, EventScope};
use crate::ledger::model::row::Seconds;
use crate::object::ObjectId;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Encoded size in bytes at which a page of one minute, or a shard of it, is full. Every write is billed for the
/// whole item, one unit per started kilobyte, so a page that many small files touch should stay small. A full page
/// must also stay below DynamoDB's limit of 400 KB when its entries later change to `Owner::Delivered`, which never
/// makes them longer.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
///
/// Chosen with `benches/pages.rs`, as are the two constants below. docs/cost.md has the results.
pub const CAPACITY: usize = 128 * 1024;

/// Number of minutes that share a page while there are few events.
pub const BUCKET_MINUTES: i64 = 15;

/// The capacity of a page of [`BUCKET_MINUTES`] minutes is the capacity of a minute's page divided by this number. Such
/// a page must stay small: every later file of a busy account reads the full page of its time bucket and finds none of
/// its events there.
pub(crate) const BUCKET_CAPACITY_DIVISOR: usize = 4;

/// The capacity of a page of events without a time is the capacity of a minute's page divided by this number: 4 KiB.
/// The number of such events grows without limit, and each new event can belong to any of their 256 root pages. So
/// almost every event causes one write, which is billed for the whole page.
pub(crate) const TIMELESS_CAPACITY_DIVISOR: usize = 32;

/// Minimum capacity of a page in bytes. One event with its owner fits.
const MIN_CAPACITY: usize = 64;

/// Version of a page. Every write sets a new random version, so that a page that was deleted and created again is
/// never mistaken for the one that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(pub u64);

impl Version {
    /// Returns a new random version.
    pub(crate) fn fresh() -> Self {
        Self(fastrand::u64(..))
    }
}

/// Name of a page or of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageName(pub String);

impl PageName {
    /// Returns the name of the page where an event is looked up first. The name depends only on the event, so every
    /// copy of the event, in any object, maps to the same page. Events without a time are distributed by event ID.
    /// Their prefix is `none` and not a number, because every number can be a minute: minutes before 1970 are negative.
    pub fn root(scope: &EventScope, id: EventId) -> Self {
        let (account, region) = (name_part(&scope.account), name_part(&scope.region));
        Self(match scope.minute {
            Some(minute) => format!("{account}/{region}/{}", minute - minute.rem_euclid(BUCKET_MINUTES)),
            None => format!("{account}/{region}/none{:02x}", id.0[0]),
        })
    }

    /// Returns the name of the overflow page where an event of this minute is looked up when this page is full. The
    /// overflow pages of a whole time bucket are the pages of its minutes. The overflow pages of a minute are shards:
    /// each level adds one hexadecimal digit of the event ID, taken from its end.
    pub(crate) fn overflow(&self, minute: Option<i64>, id: EventId) -> Self {
        let depth = self.0.rsplit_once('~').map_or(0, |(_, path)| path.len());
        let byte = id.0[15 - (depth / 2).min(15)];
        let digit = if depth.is_multiple_of(2) { byte & 0x0f } else { byte >> 4 };
        match (depth, minute) {
            (0, Some(minute)) if self.is_time_bucket() => {
                Self(format!("{}+{}", self.0, minute.rem_euclid(BUCKET_MINUTES)))
            }
            (0, _) => Self(format!("{}~{digit:x}", self.0)),
            _ => Self(format!("{}{digit:x}", self.0)),
        }
    }

    /// Returns the name of the root page of this page: its name without the parts that distinguish overflow pages.
    #[cfg(feature = "cli")]
    pub(crate) fn root_part(&self) -> &str {
        let bucket = self.0.rfind('/').map_or(0, |at| at + 1);
        self.0[bucket..].find(['+', '~']).map_or(&self.0, |at| &self.0[..bucket + at])
    }

    /// Returns the encoded size in bytes at which this page is full, given the capacity of a minute's page.
    pub(crate) fn capacity(&self, minute_capacity: usize) -> usize {
        if self.is_time_bucket() {
            minute_capacity / BUCKET_CAPACITY_DIVISOR
        } else if self.last_part().starts_with("none") {
            (minute_capacity / TIMELESS_CAPACITY_DIVISOR).max(MIN_CAPACITY)
        } else {
            minute_capacity
        }
    }

    /// Returns whether this is the page of a whole time bucket, which has [`BUCKET_MINUTES`] minutes.
    fn is_time_bucket(&self) -> bool {
        let last = self.last_part();
        !last.starts_with("none") && !last.contains(['+', '~'])
    }

    /// Returns the part of the name after account and region.
    fn last_part(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl std::fmt::Display for PageName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns an event's account or region as part of a page name: unchanged if it has the form of an account ID or a
/// region, otherwise as a hash, so that no event can produce the name of another event's page.
fn name_part(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.len() <= 32 && text.bytes().all(plain) {
        return text.to_owned();
    }
    Sha256::digest(text).iter().take(16).fold(String::from("="), |name, byte| format!("{name}{byte:02x}"))
}

/// Page entries by event ID. Event IDs are already random, and the hash is seeded anew in every process. The standard
/// library's hasher, which also resists attackers who measure it, takes three times as long, and every event needs a
/// lookup and an insertion.
pub(crate) type Entries = HashMap<EventId, Entry, foldhash::fast::RandomState>;

/// The event IDs of one account, region and time bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Version of this page.
    pub version: Version,
    /// No more events are added to this page. Events that are not in it are in its overflow pages.
    pub full: bool,
    /// Time from which the page counts as absent. Much later than the end of any lease. A write extends the page if
    /// less than the retention remains.
    pub expires: Seconds,
    /// Entries by event ID.
    pub entries: Entries,
}

/// Entry of one event in a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The owner responsible for delivering the event.
    pub owner: Owner,
    /// 16 bits of a hash of the event's content, to detect the same ID with different content.
    pub fingerprint: u16,
    /// Index of the event in its owner. Present if the owner needs several sink calls, or if its only call was
    /// acknowledged in part.
    pub ordinal: Option<u32>,
}

/// The owner responsible for delivering an event. Changes only from unclaimed to an object, and from an object to
/// `Delivered`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// This object owns the event. The object's row records whether the event is delivered.
    Object(ObjectId),
    /// The event is delivered: a helper delivered it on behalf of its owner, or the owner was done when the page was
    /// extended.
    Delivered,
}

impl Page {
    /// Returns an empty page with a fresh version.
    pub fn new(expires: Seconds) -> Self {
        Self { version: Version::fresh(), full: false, expires, entries: Entries::default() }
    }

    /// Returns whether the page has not expired.
    pub fn live(&self, now: Seconds) -> bool {
        self.expires > now
    }

    /// Returns the entries in the stored format. [`Page::decode`] is the inverse.
    pub(crate) fn encode(&self) -> Vec<u8> {
        codec::encode(&self.entries)
    }

    /// Returns the page whose entries are stored as `bytes`.
    ///
    /// # Errors
    /// Describes the expected format if `bytes` are not valid page entries.
    pub(crate) fn decode(version: Version, full: bool, expires: Seconds, bytes: &[u8]) -> Result<Self, String> {
        Ok(Self { version, full, expires, entries: codec::decode(bytes)? })
    }

    /// Returns the length of the result of [`Page::encode`] in bytes.
    pub(crate) fn encoded_len(&self) -> usize {
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
    fn full_page_overflows_to_minutes_and_then_to_shards_by_one_digit() {
        let (minute, id) = (Some(28_000_004), id(0x5a));
        let scope = EventScope { account: "111122223333".into(), region: "eu-west-1".into(), minute };
        let mut names = vec![PageName::root(&scope, id)];
        for _ in 0..4 {
            names.push(names[names.len() - 1].overflow(minute, id));
        }
        let expected = ["27999990", "27999990+14", "27999990+14~a", "27999990+14~a5", "27999990+14~a57"];
        let expected = expected.map(|name| format!("111122223333/eu-west-1/{name}"));
        assert_eq!(names.iter().map(|name| name.0.as_str()).collect::<Vec<_>>(), expected);
        assert_eq!(names.iter().map(|name| name.capacity(4096)).collect::<Vec<_>>(), [1024, 4096, 4096, 4096, 4096]);
    }

    #[test]
    fn events_without_time_overflow_by_event_id() {
        let root = PageName::root(&EventScope::default(), id(0x5a));
        assert_eq!(root.0, "//none07");
        assert_eq!(root.overflow(None, id(0x5a)).0, "//none07~a");
        assert_eq!((root.capacity(CAPACITY), root.overflow(None, id(0x5a)).capacity(CAPACITY)), (4096, 4096));
        assert_eq!(root.capacity(256), 64, "one event always fits");
    }

    #[test]
    fn minutes_before_1970_have_a_time_bucket() {
        let scope = |minute| EventScope { minute: Some(minute), ..EventScope::default() };
        assert_eq!(PageName::root(&scope(-1), id(1)).0, "//-15");
        assert_eq!(PageName::root(&scope(-1), id(1)).overflow(Some(-1), id(1)).0, "//-15+14");
    }

    #[test]
    fn forged_account_cannot_produce_the_page_name_of_another_event() {
        let forged = EventScope { account: "111122223333/eu-west-1/5".into(), region: String::new(), minute: None };
        let name = PageName::root(&forged, id(1));
        assert!(name.0.starts_with('='), "{name}");
        let long = EventScope { account: "1".repeat(4096), region: "~".into(), minute: Some(-1) };
        assert!(PageName::root(&long, id(1)).0.len() < 100);
    }
}
