//! The small parts of an event: identifiers, addresses, times, and a cast of resources that comes back.

use super::Variety;
use fastrand::Rng;
use std::fmt::Write;

/// How many resources of each sort an account uses in one region.
const CAST: usize = 48;

/// What values come from: an account's own resources, the same in all its files, or new ones.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) rng: Rng,
    /// Percent of values that are new.
    fresh: u32,
    hex: Vec<String>,
    names: Vec<String>,
    addresses: Vec<String>,
    keys: Vec<String>,
}

impl Content {
    /// `scope` is the same for all files of one account and region, `rng` another for each file.
    pub(super) fn new(scope: u64, rng: Rng, variety: Variety) -> Self {
        let mut cast = Rng::with_seed(scope);
        let mut some = |make: fn(&mut Rng) -> String| (0..CAST).map(|_| make(&mut cast)).collect();
        let (hex, names, addresses, keys) = (some(hex17), some(name), some(address), some(key));
        let fresh = match variety {
            Variety::Alike => 2,
            Variety::Usual => 14,
            Variety::Varied => 100,
        };
        Self { rng, fresh, hex, names, addresses, keys }
    }

    /// One of a list.
    pub(super) fn one<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.rng.usize(0..list.len())]
    }

    /// True so many times in a hundred.
    pub(super) fn percent(&mut self, percent: u32) -> bool {
        self.rng.u32(0..100) < percent
    }

    /// The 17 hexadecimal digits of a resource's ID.
    pub(super) fn hex(&mut self, out: &mut String) {
        put(&mut self.rng, self.fresh, &self.hex, hex17, out);
    }

    /// A resource's name.
    pub(super) fn name(&mut self, out: &mut String) {
        put(&mut self.rng, self.fresh, &self.names, name, out);
    }

    /// An IP address.
    pub(super) fn address(&mut self, out: &mut String) {
        put(&mut self.rng, self.fresh, &self.addresses, address, out);
    }

    /// An access key of a session.
    pub(super) fn key(&mut self, out: &mut String) {
        put(&mut self.rng, self.fresh, &self.keys, key, out);
    }

    /// A random UUID: a request's ID.
    pub(super) fn uuid(&mut self, out: &mut String) {
        let bits = self.rng.u128(..);
        uuid(bits, out);
    }

    /// So many characters of base64: what S3 calls a request's second ID.
    pub(super) fn base64(&mut self, count: usize, out: &mut String) {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        out.extend((0..count).map(|_| char::from(LETTERS[self.rng.usize(0..64)])));
    }
}

fn put(rng: &mut Rng, fresh: u32, cast: &[String], make: fn(&mut Rng) -> String, out: &mut String) {
    if rng.u32(0..100) < fresh {
        out.push_str(&make(rng));
    } else {
        // The lower of two draws: some resources are used far more than others.
        let at = rng.usize(0..cast.len()).min(rng.usize(0..cast.len()));
        out.push_str(&cast[at]);
    }
}

fn hex17(rng: &mut Rng) -> String {
    format!("0{:016x}", rng.u64(..))
}

fn name(rng: &mut Rng) -> String {
    const FIRST: &[&str] =
        &["orders", "billing", "search", "media", "auth", "étude", "ledger", "ingest", "web", "データ"];
    const SECOND: &[&str] = &["prod", "staging", "worker", "api", "archive", "index", "cache", "events"];
    let (first, second) = (FIRST[rng.usize(0..FIRST.len())], SECOND[rng.usize(0..SECOND.len())]);
    format!("{first}-{second}-{:06x}", rng.u32(0..1 << 24))
}

/// An address that belongs to nobody: RFC 1918, RFC 5737 and, one in eight, RFC 3849.
fn address(rng: &mut Rng) -> String {
    let last = rng.u8(1..255);
    match rng.u8(0..8) {
        0 => format!("2001:db8:{:x}:{:x}:{:x}::{:x}", rng.u16(1..), rng.u16(1..), rng.u16(1..), rng.u16(1..)),
        1 | 2 => format!("203.0.113.{last}"),
        3 => format!("198.51.100.{last}"),
        4 => format!("192.0.2.{last}"),
        _ => format!("10.{}.{}.{last}", rng.u8(0..16), rng.u8(..)),
    }
}

/// Twenty characters of which nobody takes the last seven for a key's.
fn key(rng: &mut Rng) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let middle: String = (0..9).map(|_| char::from(LETTERS[rng.usize(0..32)])).collect();
    format!("ASIA{middle}EXAMPLE")
}

/// A UUID of version 4 whose other 122 bits are given; the six that say the version are overwritten.
fn uuid(bits: u128, out: &mut String) {
    out.push_str(
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).as_uuid().hyphenated().encode_lower(&mut [0; 36]),
    );
}

/// A UUID that no other pair of object and ordinal has under this seed: the two numbers are scrambled, not drawn.
pub(super) fn event_id(seed: u64, object: u32, ordinal: u32, rng: &mut Rng, out: &mut String) {
    let unique = mix(u64::from(object) << 32 | u64::from(ordinal)) ^ mix(seed);
    // Its upper 48 bits lie before the version, its lower 16 behind the variant.
    let high = u128::from(unique >> 16) << 80;
    let low = u128::from(unique & 0xffff) << 32;
    let rest = rng.u128(..) & !(u128::from(u64::MAX >> 16) << 80) & !(0xffff << 32);
    uuid(high | low | rest, out);
}

/// The finaliser of SplitMix64: every number becomes another one, and no two the same.
/// Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
pub(super) fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// `2023-07-10T12:34:56Z`.
pub(super) fn time(seconds: i64, out: &mut String) {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    // Writing to a String cannot fail.
    let _ = write!(out, "{time}");
}
