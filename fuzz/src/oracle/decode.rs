//! Decode: the same events as a naive decoder, whole, compressed, and cut into members; refused by both, or by neither.

use super::naive::{self, DecodedEvent};
use crate::decode::{DecodeError, DecodeLimits, EventReader};
use flate2::{Compression, GzBuilder};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Write;

/// The smallest buffer of the decoder: inputs are moved to lie across its end.
const BUFFER: usize = 4 << 10;

/// # Panics
/// If the decoder and the naive one disagree on these bytes, in any way of storing them.
pub fn check(input: &[u8]) {
    let expected = naive::inflate(input).and_then(|json| naive::events(&json));
    same(&decode(input, DecodeLimits::default()), expected.as_deref(), "as it is");
    limited(input, expected.as_deref());
    if input.starts_with(&[0x1f, 0x8b]) || input.is_empty() {
        return;
    }

    // Where the input is cut, and how, follows from it: the fuzzer need not learn a header.
    let seed = input.iter().fold(0usize, |sum, &byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    let cut = seed % input.len();
    if seed % 16 == 0 {
        // A compressor costs more than all else here together.
        same(&decode(&gzip(input), DecodeLimits::default()), expected.as_deref(), "in one member");
    }
    let halves = [stored(&input[..cut]), stored(b""), stored(&input[cut..])].concat();
    same(&decode(&halves, DecodeLimits::default()), expected.as_deref(), "in two members and an empty one");
    // White space before it, so that the byte at `cut` is the first that the buffer does not hold, if that is the
    // smallest one; a large input has a larger one.
    let moved = [padding(BUFFER.saturating_sub(cut)), stored(input), stored(b"")].concat();
    same(&decode(&moved, DecodeLimits::default()), expected.as_deref(), "across the end of the buffer");
    // What is cut short is not taken for whole, unless nothing but white space is missing.
    if expected.is_some() && input[cut..].iter().any(|byte| !byte.is_ascii_whitespace()) {
        assert!(decode(&input[..cut], DecodeLimits::default()).is_err(), "cut at {cut}, and read");
        assert!(decode(&halves[..halves.len() - 1], DecodeLimits::default()).is_err(), "gzip cut, and read");
    }
}

/// A limit refuses for itself, and for nothing else; below it nothing changes.
fn limited(input: &[u8], expected: Option<&[DecodedEvent]>) {
    let Some(json) = naive::inflate(input) else { return };
    let most = (json.len() as u64).saturating_sub(u64::from(json.first().is_some_and(|byte| byte % 2 == 0)));
    match decode(input, DecodeLimits { object_bytes: most, value_bytes: 64, events: 3 }) {
        Err(DecodeError::TooLarge { limit, .. }) => assert!(json.len() as u64 > limit, "refused at {limit}"),
        Err(DecodeError::ValueTooLong { limit, at }) => {
            assert!(json.len() as u64 - at > limit as u64, "a value at {at} is no longer than {limit}");
        }
        Err(DecodeError::TooMany { limit, .. }) => {
            assert!(
                expected.is_none_or(|expected| expected.len() > limit as usize),
                "no more than {limit}, and refused"
            );
        }
        other => {
            assert!(other.as_ref().is_ok_and(|found| found.len() <= 3) || other.is_err());
            same(&other, expected, "within limits");
            assert!(other.is_err() || json.len() as u64 <= most, "more bytes than {most}, and read");
        }
    }
}

fn same(found: &Result<Vec<DecodedEvent>, DecodeError>, expected: Option<&[DecodedEvent]>, how: &str) {
    match (found, expected) {
        (Ok(found), Some(expected)) => assert_eq!(found, expected, "{how}"),
        (Err(error), None) => plain(&error.to_string()),
        (Ok(found), None) => panic!("{how}: read as {found:?}, and the oracle refuses it"),
        (Err(error), Some(expected)) => panic!("{how}: refused, {error}; the oracle reads {expected:?}"),
    }
}

/// Errors end in logs and terminals: one line, and nothing of the input but a byte.
fn plain(error: &str) {
    assert!(error.len() < 200 && error.chars().all(|letter| !letter.is_control()), "{error:?}");
}

fn decode(stored: &[u8], limits: DecodeLimits) -> Result<Vec<DecodedEvent>, DecodeError> {
    let mut events = EventReader::new(stored, limits);
    let mut found = Vec::new();
    while let Some(event) = events.next()? {
        assert_eq!(event.ordinal as usize, found.len());
        let (line, id, fingerprint) = (event.line.to_vec(), event.id, event.fingerprint);
        found.push((line, id, fingerprint, event.seconds, event.scope as usize));
    }
    let scopes = events.into_scopes();
    for (index, scope) in scopes.iter().enumerate() {
        assert!(!scopes[..index].contains(scope), "{scope:?} stands twice among the places");
    }
    let decoded = |(line, id, fingerprint, seconds, scope): (_, _, _, _, usize)| DecodedEvent {
        line,
        id,
        fingerprint,
        scope: scopes[scope].clone(),
        seconds,
    };
    Ok(found.into_iter().map(decoded).collect())
}

/// A member with every optional part of the header.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let header = GzBuilder::new().filename("a.json").comment("c").extra(vec![1, 2]).mtime(7);
    let mut encoder = header.write(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// A member of so many spaces, made once.
fn padding(length: usize) -> Vec<u8> {
    thread_local!(static MADE: RefCell<HashMap<usize, Vec<u8>>> = RefCell::default());
    MADE.with_borrow_mut(|made| made.entry(length).or_insert_with(|| gzip(&vec![b' '; length])).clone())
}

/// A member that holds the bytes as they are, in blocks of 64 KiB: RFC 1952, RFC 1951 section 3.2.4.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    for block in bytes.chunks(0xffff) {
        let length = block.len() as u16;
        member.push(0);
        member.extend(length.to_le_bytes());
        member.extend((!length).to_le_bytes());
        member.extend(block);
    }
    member.extend([1, 0, 0, 0xff, 0xff]);
    member.extend(crc32fast::hash(bytes).to_le_bytes());
    member.extend((bytes.len() as u32).to_le_bytes());
    member
}
