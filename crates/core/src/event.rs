//! An event is one element of `Records`. This module contains its ID and its scope: account, region and minute.

pub mod field;
pub mod filter;
pub mod json;
pub mod members;

use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// The event ID: `eventID`, or `eventId` if `eventID` is missing or empty. Without both, a hash of the event's content and
/// of the number of earlier events of the object with the same content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub [u8; 16]);

impl EventId {
    /// Returns the ID of an event whose `eventID` is `text`. A UUID in canonical form (lower case, hyphens) maps to its
    /// 16 bytes. Any other text maps to the first 128 bits of a SHA-256 hash, so different texts are different IDs.
    pub fn from_text(text: &[u8]) -> Self {
        parse_uuid(text).map_or_else(|| Self::hash(b"eventID", text), Self)
    }

    /// Returns the ID of the first event without `eventID` that has this content: a hash of the event's bytes without
    /// insignificant white space.
    pub fn from_content(compact: &[u8]) -> Self {
        Self::hash(b"content", compact)
    }

    /// Returns the ID of a further event of the same object with the same content. `self` is the ID of the first one,
    /// whose number is 0. Equal content does not prove that two events are the same event.
    pub fn occurrence(self, number: u32) -> Self {
        match number {
            0 => self,
            _ => Self::hash(b"occurrence", &[&self.0[..], &number.to_le_bytes()].concat()),
        }
    }

    fn hash(domain: &[u8], bytes: &[u8]) -> Self {
        let full: [u8; 32] = Sha256::new().chain_update(domain).chain_update([0]).chain_update(bytes).finalize().into();
        let mut id = [0; 16];
        id.copy_from_slice(&full[..16]);
        Self(id)
    }
}

/// Parses `8-4-4-4-12` lower-case hexadecimal digits. Returns `None` for any other text.
fn parse_uuid(text: &[u8]) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.try_into().ok()?;
    if [8, 13, 18, 23].iter().any(|&hyphen| text[hyphen] != b'-') {
        return None;
    }
    let mut out = [0u8; 16];
    const DIGITS: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
    let mut bad = 0;
    for (byte, &at) in out.iter_mut().zip(&DIGITS) {
        let (high, low) = (HEX[text[at] as usize], HEX[text[at + 1] as usize]);
        bad |= high | low;
        *byte = high << 4 | low & 0x0f;
    }
    (bad & 0xf0 == 0).then_some(out)
}

/// Maps each lower-case hexadecimal digit to its value and all other bytes to 0xff.
const HEX: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut digit = 0;
    while digit < 16 {
        table[b"0123456789abcdef"[digit] as usize] = digit as u8;
        digit += 1;
    }
    table
};

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        uuid::Uuid::from_bytes(self.0).fmt(f)
    }
}

impl std::fmt::Debug for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EventId({self})")
    }
}

/// The account, region and minute that an event itself contains. The scope is the same in every object that contains a
/// copy of the event. The ledger's pages and the folders of JSON Lines files are selected by it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct EventScope {
    /// `recipientAccountId` (aggregated events: `accountId`), see [`EventScope::text`]. Empty if missing.
    pub account: String,
    /// `awsRegion`, see [`EventScope::text`]. Empty if missing.
    pub region: String,
    /// `eventTime` in whole minutes since 1970. Without a valid `eventTime`: a minute of the time window, see
    /// [`minute_in_window`]. `None` if the event has neither.
    pub minute: Option<i64>,
}

/// The minutes that the time window of an aggregated event covers.
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-aggregated-events.html>
pub const WINDOW_MINUTES: i64 = 5;

/// Returns the minute of an event whose time window starts at `start` (seconds since 1970). All events of a window have
/// the same start. The event ID therefore selects one of the window's minutes, so that these events are distributed
/// like events with a time. All minutes of a window are on one day.
pub fn minute_in_window(start: i64, id: EventId) -> i64 {
    let minute = start.div_euclid(60);
    // All bytes of the ID, because some are equal in all UUIDs of a version.
    let sum: i64 = id.0.iter().map(|&byte| i64::from(byte)).sum();
    minute - minute.rem_euclid(WINDOW_MINUTES) + sum % WINDOW_MINUTES
}

impl EventScope {
    /// Maximum bytes of a text that is stored unchanged. Accounts and regions are less than half as long.
    const MAX_SCOPE_TEXT_BYTES: usize = 64;

    /// Returns the text as stored in a scope: unchanged, or its hash if it is longer than any account or region. An
    /// object may have as many scopes as events, and all of them stay in memory until the object is done.
    pub fn text(text: &[u8]) -> Cow<'_, str> {
        if text.len() <= Self::MAX_SCOPE_TEXT_BYTES {
            return String::from_utf8_lossy(text);
        }
        format!("={}", EventId::hash(b"place", text)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_uuid_maps_to_its_bytes() {
        let id = EventId::from_text(b"0a1b2c3d-4e5f-6789-abcd-ef0123456789");
        assert_eq!(id.to_string(), "0a1b2c3d-4e5f-6789-abcd-ef0123456789");
    }

    #[test]
    fn different_texts_are_different_ids() {
        let lower = EventId::from_text(b"0a1b2c3d-4e5f-6789-abcd-ef0123456789");
        for other in ["0A1B2C3D-4e5f-6789-abcd-ef0123456789", "0a1b2c3d4e5f6789abcdef0123456789", "", "x"] {
            assert_ne!(EventId::from_text(other.as_bytes()), lower, "{other}");
        }
        assert_ne!(EventId::from_text(b"x"), EventId::from_content(b"x"));
    }

    #[test]
    fn first_occurrence_has_the_hash_of_the_content() {
        let id = EventId::from_content(b"{}");
        // The ledgers of earlier versions contain this ID.
        assert_eq!(id.to_string(), "0a54fbe3-dd36-1ac2-53c4-07257fa9b846");
        assert_eq!(id.occurrence(0), id);
        let further: std::collections::HashSet<_> = (0..1000).map(|number| id.occurrence(number)).collect();
        assert_eq!(further.len(), 1000);
        assert_ne!(EventId::from_content(b"[]").occurrence(1), id.occurrence(1));
    }

    #[test]
    fn minutes_of_a_window_are_within_its_day_and_five_minutes() {
        for start in [0, 59, 1_767_225_540, -1, -86_400] {
            let minutes: std::collections::BTreeSet<_> =
                (0..=255).map(|byte| minute_in_window(start, EventId([byte; 16]))).collect();
            assert_eq!(minutes.len(), 5);
            assert!(minutes.contains(&start.div_euclid(60)), "{start}");
            assert!(minutes.iter().all(|minute| minute.div_euclid(1440) == start.div_euclid(86_400)), "{start}");
        }
    }
}
