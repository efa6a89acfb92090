//! Scans strings, 16 bytes at a time, up to the closing quote or the first byte that needs a check.
//!
//! Most bytes of a CloudTrail file are in strings, so most of the time is spent here. `wide` provides the vectors that
//! every x86-64 and arm64 processor supports, without `unsafe` in this crate.

use super::error::JsonDefect;
use super::fault::{Fault, invalid, peek};
use wide::{i8x16, u8x16};

/// Bytes per vector.
const BLOCK: usize = 16;

/// The result of [`scan_rest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ScannedString {
    /// Offset after the closing quote.
    pub end: usize,
    /// Whether the string contains an escape.
    pub escaped: bool,
    /// Whether the string may contain non-ASCII bytes. Never false if it does.
    pub non_ascii: bool,
}

/// Skips the content of a string that continues with `rest`. Returns the bytes after the closing quote. Otherwise
/// returns, as the error, the bytes that [`scan_rest`] must scan: from the first special or non-ASCII byte, or the last
/// bytes of the input if they are fewer than 16.
#[inline(always)]
pub(crate) fn skip_plain(mut rest: &[u8]) -> Result<&[u8], &[u8]> {
    while let Some((block, after)) = rest.split_first_chunk::<BLOCK>() {
        let lanes = i8x16::from(block.map(|byte| byte as i8));
        // As signed numbers, control characters and non-ASCII bytes are both less than a space.
        let special = lanes.simd_eq(i8x16::splat(b'"' as i8))
            | lanes.simd_eq(i8x16::splat(b'\\' as i8))
            | lanes.simd_lt(i8x16::splat(b' ' as i8));
        let marks = special.to_bitmask();
        if marks != 0 {
            let first = marks.trailing_zeros() as usize % BLOCK;
            return if rest[first] == b'"' { Ok(&rest[first + 1..]) } else { Err(&rest[first..]) };
        }
        rest = after;
    }
    Err(rest)
}

/// Skips the string whose content starts at `at`. Returns the offset after the closing quote and whether the string
/// contains an escape, or `None` if the string is invalid or has no end.
#[inline(always)]
pub(crate) fn skip(bytes: &[u8], at: usize) -> Option<(usize, bool)> {
    match skip_plain(bytes.get(at..)?) {
        Ok(rest) => Some((bytes.len() - rest.len(), false)),
        Err(rest) => {
            let ScannedString { end, escaped, .. } = scan_rest(bytes, bytes.len() - rest.len()).ok()?;
            Some((end, escaped))
        }
    }
}

/// Scans the string whose content continues at `at` to its end, with escapes and non-ASCII bytes.
#[inline(never)]
pub(super) fn scan_rest(bytes: &[u8], mut at: usize) -> Result<ScannedString, Fault> {
    let (mut escaped, mut non_ascii) = (false, false);
    loop {
        let (length, block_non_ascii) = length(bytes, at);
        at += length;
        non_ascii |= block_non_ascii;
        match peek(bytes, at)? {
            b'"' => return Ok(ScannedString { end: at + 1, escaped, non_ascii }),
            b'\\' => {
                escaped = true;
                at = escape(bytes, at + 1)?;
            }
            _ => return invalid(at, &JsonDefect::ControlCharacter),
        }
    }
}

/// Returns the number of bytes from `start` that are not a quote, backslash or control character, and whether any
/// inspected byte is non-ASCII.
#[inline(always)]
fn length(bytes: &[u8], start: usize) -> (usize, bool) {
    let (mut at, mut non_ascii) = (start, 0);
    while let Some(block) = block(bytes, at) {
        let lanes = u8x16::from(*block);
        let special =
            lanes.simd_eq(u8x16::splat(b'"')) | lanes.simd_eq(u8x16::splat(b'\\')) | lanes.simd_lt(u8x16::splat(b' '));
        let marks = special.to_bitmask();
        non_ascii |= lanes.to_bitmask();
        if marks != 0 {
            return (at - start + marks.trailing_zeros() as usize, non_ascii != 0);
        }
        at += BLOCK;
    }
    let mut non_ascii = non_ascii != 0;
    let tail = bytes.get(at..).unwrap_or_default();
    let special = |byte: &u8| {
        non_ascii |= !byte.is_ascii();
        *byte < b' ' || *byte == b'"' || *byte == b'\\'
    };
    let length = tail.iter().position(special).unwrap_or(tail.len());
    (at - start + length, non_ascii)
}

#[inline(always)]
fn block(bytes: &[u8], at: usize) -> Option<&[u8; BLOCK]> {
    bytes.get(at..)?.first_chunk()
}

/// Returns the offset after the escape whose second character is at `at`.
fn escape(bytes: &[u8], mut at: usize) -> Result<usize, Fault> {
    match peek(bytes, at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 1),
        b'u' => {
            at += 1;
            for _ in 0..4 {
                if !peek(bytes, at)?.is_ascii_hexdigit() {
                    return invalid(at, &JsonDefect::Expected("four hexadecimal digits"));
                }
                at += 1;
            }
            Ok(at)
        }
        _ => invalid(at, &JsonDefect::Escape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn vector_scan_agrees_with_bytewise_scan(bytes in proptest::collection::vec(prop_oneof![
            1 => any::<u8>(), 1 => Just(b'"'), 1 => Just(b'\\'), 30 => Just(b'a')], 0..70), from in 0usize..70) {
            let from = from.min(bytes.len());
            let tail = &bytes[from..];
            let end = |special: fn(u8) -> bool| tail.iter().position(|&byte| special(byte)).unwrap_or(tail.len());
            let naive = end(|byte| byte < 0x20 || byte == b'"' || byte == b'\\');
            let (found, non_ascii) = length(&bytes, from);
            prop_assert_eq!(found, naive);
            prop_assert!(non_ascii || tail[..naive].is_ascii());

            let naive = from + end(|byte| byte < 0x20 || byte == b'"' || byte == b'\\' || byte > 0x7f);
            match skip_plain(tail) {
                Ok(after) => prop_assert!(bytes.len() - after.len() == naive + 1 && bytes[naive] == b'"'),
                // It may stop early near the end of the input, but never skips a special byte.
                Err(rest) => {
                    let at = bytes.len() - rest.len();
                    prop_assert!(at <= naive && (at == naive || rest.len() < BLOCK));
                }
            }
        }
    }
}
