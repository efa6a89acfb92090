//! An event: one element of `Records`. Its identity, and the place where the ledger looks for it.

pub mod filter;
pub mod members;

use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// An event's identity: its `eventID`, or where it has none, its content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub [u8; 16]);

impl EventId {
    /// The identity of an event whose `eventID` reads `text`. A UUID in its canonical spelling (lower case, hyphens)
    /// is taken as its 16 bytes; any other text as the first 128 bits of its SHA-256, so that two spellings are never
    /// taken for one.
    pub fn from_text(text: &[u8]) -> Self {
        parse_uuid(text).map_or_else(|| Self::hash(b"eventID", text), Self)
    }

    /// The identity of an event without an ID: the hash of the bytes it leaves as.
    pub fn from_content(line: &[u8]) -> Self {
        Self::hash(b"content", line)
    }

    fn hash(domain: &[u8], bytes: &[u8]) -> Self {
        let full: [u8; 32] = Sha256::new().chain_update(domain).chain_update([0]).chain_update(bytes).finalize().into();
        let mut id = [0; 16];
        id.copy_from_slice(&full[..16]);
        Self(id)
    }
}

/// 36 bytes `8-4-4-4-12` of lower-case hexadecimal, or nothing.
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

/// The value of each lower-case hexadecimal digit, and 0xff for everything else.
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

/// Where an event belongs by its own account: the same in every object that holds a copy of it. The ledger's pages and
/// the files of the lake are both divided by it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct EventScope {
    /// `recipientAccountId` (Aggregated: `accountId`), see [`EventScope::text`], or empty where the event has none.
    pub account: String,
    /// `awsRegion`, see [`EventScope::text`], or empty.
    pub region: String,
    /// `eventTime` (Aggregated: none) in whole minutes since 1970, or nothing where it is absent or unreadable.
    pub minute: Option<i64>,
}

impl EventScope {
    /// The longest text that a place has as it is written. No account's and no region's is half as long.
    const LONGEST: usize = 64;

    /// A text as places have it: as it is written, or where it is longer than any account's or region's, its hash. An object
    /// may have as many places as events, which all stay in memory until it is done.
    pub fn text(written: &[u8]) -> Cow<'_, str> {
        if written.len() <= Self::LONGEST {
            return String::from_utf8_lossy(written);
        }
        format!("={}", EventId::hash(b"place", written)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canonical_uuid_is_its_own_bytes() {
        let id = EventId::from_text(b"0a1b2c3d-4e5f-6789-abcd-ef0123456789");
        assert_eq!(id.to_string(), "0a1b2c3d-4e5f-6789-abcd-ef0123456789");
    }

    #[test]
    fn another_spelling_is_another_identity() {
        let lower = EventId::from_text(b"0a1b2c3d-4e5f-6789-abcd-ef0123456789");
        for other in ["0A1B2C3D-4e5f-6789-abcd-ef0123456789", "0a1b2c3d4e5f6789abcdef0123456789", "", "x"] {
            assert_ne!(EventId::from_text(other.as_bytes()), lower, "{other}");
        }
        assert_ne!(EventId::from_text(b"x"), EventId::from_content(b"x"));
    }
}
