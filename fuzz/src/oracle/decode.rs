//! The oracle of the decoder. The decoder and the naive decoder return the same events for the whole input, for
//! compressed input and for several gzip members, and reject the same inputs.

use super::naive::{self, DecodedEvent};
use crate::decode::{DecodeError, DecodeLimits, EventReader};
use flate2::{Compression, GzBuilder};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Write;

/// Size of the decoder's smallest buffer in bytes. Inputs are shifted so that they cross its end.
const BUFFER_BYTES: usize = 4 << 10;

/// Checks the decoder with one input in several encodings.
///
/// # Panics
/// If the decoder and the naive decoder disagree.
pub fn check(input: &[u8]) {
    let expected = naive::inflate(input).and_then(|json| naive::events(&json));
    assert_same(&decode(input, DecodeLimits::default()), expected.as_deref(), "unchanged");
    check_limits(input, expected.as_deref());
    if input.starts_with(&[0x1f, 0x8b]) || input.is_empty() {
        return;
    }

    // The input determines where it is split, so that the fuzzer need not learn a header.
    let seed = input.iter().fold(0usize, |sum, &byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    let split = seed % input.len();
    if seed % 16 == 0 {
        // Compressing takes longer than all other checks together.
        assert_same(&decode(&gzip(input), DecodeLimits::default()), expected.as_deref(), "in one member");
    }
    let halves = [stored(&input[..split]), stored(b""), stored(&input[split..])].concat();
    assert_same(&decode(&halves, DecodeLimits::default()), expected.as_deref(), "in two members and an empty one");
    // White space before the input, so that the byte at `split` is the first byte after the smallest buffer. A large
    // input has a larger buffer. Only a byte order mark stays before it.
    let (mark, rest) = match input.strip_prefix(naive::BYTE_ORDER_MARK) {
        Some(rest) => (naive::BYTE_ORDER_MARK, rest),
        None => (&[][..], input),
    };
    let shifted = [stored(mark), padding(BUFFER_BYTES.saturating_sub(split)), stored(rest), stored(b"")].concat();
    assert_same(&decode(&shifted, DecodeLimits::default()), expected.as_deref(), "across the end of the buffer");
    // A truncated input is an error, unless only white space is missing.
    if expected.is_some() && input[split..].iter().any(|byte| !byte.is_ascii_whitespace()) {
        assert!(
            decode(&input[..split], DecodeLimits::default()).is_err(),
            "the input truncated at {split} is accepted"
        );
        assert!(
            decode(&halves[..halves.len() - 1], DecodeLimits::default()).is_err(),
            "the truncated gzip stream is accepted"
        );
    }
}

/// Checks that an error of a limit occurs only if the input exceeds that limit, and that limits change nothing else.
fn check_limits(input: &[u8], expected: Option<&[DecodedEvent]>) {
    let Some(json) = naive::inflate(input) else { return };
    let object_bytes = (json.len() as u64).saturating_sub(u64::from(json.first().is_some_and(|byte| byte % 2 == 0)));
    match decode(input, DecodeLimits { object_bytes, value_bytes: 64, events: 3 }) {
        Err(DecodeError::TooLarge { limit, .. }) => {
            assert!(json.len() as u64 > limit, "rejected with limit {limit}, which the input does not exceed")
        }
        Err(DecodeError::ValueTooLong { limit, at }) => {
            assert!(json.len() as u64 - at > limit as u64, "the value at {at} does not exceed {limit} bytes");
        }
        Err(DecodeError::TooMany { limit, .. }) => {
            assert!(
                expected.is_none_or(|expected| expected.len() > limit as usize),
                "rejected with limit {limit}, which the events do not exceed"
            );
        }
        other => {
            assert!(other.as_ref().is_ok_and(|found| found.len() <= 3) || other.is_err());
            assert_same(&other, expected, "within limits");
            assert!(other.is_err() || json.len() as u64 <= object_bytes, "more than {object_bytes} bytes are accepted");
        }
    }
}

fn assert_same(found: &Result<Vec<DecodedEvent>, DecodeError>, expected: Option<&[DecodedEvent]>, encoding: &str) {
    match (found, expected) {
        (Ok(found), Some(expected)) => assert_eq!(found, expected, "{encoding}"),
        (Err(error), None) => assert_one_line(&error.to_string()),
        (Ok(found), None) => panic!("{encoding}: accepted as {found:?}, but the oracle rejects it"),
        (Err(error), Some(expected)) => {
            panic!("{encoding}: rejected with {error}, but the oracle accepts {expected:?}")
        }
    }
}

/// Checks that an error is one short line without control characters, because it is printed to logs and terminals.
fn assert_one_line(error: &str) {
    assert!(error.len() < 300 && error.chars().all(|letter| !letter.is_control()), "{error:?}");
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
        assert!(!scopes[..index].contains(scope), "duplicate scope {scope:?}");
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

/// Returns a gzip member with all optional header fields.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let header = GzBuilder::new().filename("a.json").comment("c").extra(vec![1, 2]).mtime(7);
    let mut encoder = header.write(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("writing to memory succeeds");
    encoder.finish().expect("writing to memory succeeds")
}

/// Returns a gzip member of `length` spaces. Each is compressed once and cached.
fn padding(length: usize) -> Vec<u8> {
    thread_local!(static CACHE: RefCell<HashMap<usize, Vec<u8>>> = RefCell::default());
    CACHE.with_borrow_mut(|cache| cache.entry(length).or_insert_with(|| gzip(&vec![b' '; length])).clone())
}

/// Returns a gzip member with uncompressed blocks of 64 KiB: RFC 1952, RFC 1951 section 3.2.4.
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
