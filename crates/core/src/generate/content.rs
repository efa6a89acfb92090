//! Generates the values in an event: identifiers, addresses, times, and resources from a pool.

use super::Variety;
use fastrand::Rng;
use std::fmt::Write;

/// Number of resources of each type that an account uses in one region.
const POOL_SIZE: usize = 48;

/// The source of values. A value is new, or it comes from a pool that is the same in all files of an account and
/// region.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) rng: Rng,
    /// Percentage of new values.
    new_percent: u32,
    hex: Vec<String>,
    names: Vec<String>,
    addresses: Vec<String>,
    keys: Vec<String>,
}

impl Content {
    /// Creates the source. `scope` is the same for all files of one account and region; `rng` differs for each file.
    pub(super) fn new(scope: u64, rng: Rng, variety: Variety) -> Self {
        let mut pool = Rng::with_seed(scope);
        let mut values = |make: fn(&mut Rng) -> String| (0..POOL_SIZE).map(|_| make(&mut pool)).collect();
        let (hex, names, addresses, keys) = (values(hex17), values(name), values(address), values(key));
        let new_percent = match variety {
            Variety::Alike => 2,
            Variety::Usual => 14,
            Variety::Varied => 100,
        };
        Self { rng, new_percent, hex, names, addresses, keys }
    }

    /// Returns a random element of a list.
    pub(super) fn one<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.rng.usize(0..list.len())]
    }

    /// Returns true with a probability of `percent` %.
    pub(super) fn percent(&mut self, percent: u32) -> bool {
        self.rng.u32(0..100) < percent
    }

    /// Appends the 17 hexadecimal digits of a resource ID.
    pub(super) fn hex(&mut self, out: &mut String) {
        pick(&mut self.rng, self.new_percent, &self.hex, hex17, out);
    }

    /// Appends the name of a resource.
    pub(super) fn name(&mut self, out: &mut String) {
        pick(&mut self.rng, self.new_percent, &self.names, name, out);
    }

    /// Appends an IP address.
    pub(super) fn address(&mut self, out: &mut String) {
        pick(&mut self.rng, self.new_percent, &self.addresses, address, out);
    }

    /// Appends the access key of a session.
    pub(super) fn key(&mut self, out: &mut String) {
        pick(&mut self.rng, self.new_percent, &self.keys, key, out);
    }

    /// Appends a random UUID, such as a request ID.
    pub(super) fn uuid(&mut self, out: &mut String) {
        let bits = self.rng.u128(..);
        uuid(bits, out);
    }

    /// Appends `count` characters of base64, such as the second request ID of S3.
    pub(super) fn base64(&mut self, count: usize, out: &mut String) {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        out.extend((0..count).map(|_| char::from(LETTERS[self.rng.usize(0..64)])));
    }
}

fn pick(rng: &mut Rng, new_percent: u32, pool: &[String], make: fn(&mut Rng) -> String, out: &mut String) {
    if rng.u32(0..100) < new_percent {
        out.push_str(&make(rng));
    } else {
        // The lower of two random numbers: some resources are used far more often than others.
        let at = rng.usize(0..pool.len()).min(rng.usize(0..pool.len()));
        out.push_str(&pool[at]);
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

/// Returns a reserved address: of RFC 1918, RFC 5737 or, in one of eight cases, RFC 3849.
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

/// Returns an access key ID with 20 characters whose suffix shows that it is an example.
fn key(rng: &mut Rng) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let middle: String = (0..9).map(|_| char::from(LETTERS[rng.usize(0..32)])).collect();
    format!("ASIA{middle}EXAMPLE")
}

/// Appends a UUID of version 4 with these bits. The six bits of version and variant are overwritten.
fn uuid(bits: u128, out: &mut String) {
    out.push_str(
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).as_uuid().hyphenated().encode_lower(&mut [0; 36]),
    );
}

/// Appends a UUID that is unique for the object and ordinal under this seed. The UUID is a permutation of the two
/// numbers, not random.
pub(super) fn event_id(seed: u64, object: u32, ordinal: u32, rng: &mut Rng, out: &mut String) {
    let unique = mix(u64::from(object) << 32 | u64::from(ordinal)) ^ mix(seed);
    // The upper 48 bits are before the version, the lower 16 after the variant.
    let high = u128::from(unique >> 16) << 80;
    let low = u128::from(unique & 0xffff) << 32;
    let rest = rng.u128(..) & !(u128::from(u64::MAX >> 16) << 80) & !(0xffff << 32);
    uuid(high | low | rest, out);
}

/// The finalizer of SplitMix64, which is a permutation of the 64-bit numbers.
/// Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
pub(super) fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// Appends a time in the format `2023-07-10T12:34:56Z`.
pub(super) fn time(seconds: i64, out: &mut String) {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    // Writing to a String cannot fail.
    let _ = write!(out, "{time}");
}
