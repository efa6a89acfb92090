//! Strings: sixteen bytes at a time up to the byte that ends one, or that asks for a closer look.
//!
//! Most of a CloudTrail file is string, so that this is where the time goes. `wide` gives the vectors that every x86-64
//! and every arm64 has, without `unsafe` here.

use super::fault::{Fault, invalid, peek};
use wide::{i8x16, u8x16};

/// Bytes of a vector.
const BLOCK: usize = 16;

/// What [`rest`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ScannedString {
    /// Behind the closing quote.
    pub end: usize,
    /// It holds an escape.
    pub escaped: bool,
    /// It may hold bytes beyond ASCII: never false if it does.
    pub non_ascii: bool,
}

/// What follows the closing quote of a string whose content goes on with `rest`; or, where a byte comes first that is not
/// skip_plain ASCII or the end is near, from where [`rest`](self::rest) has to look.
#[inline(always)]
pub(super) fn skip_plain(mut rest: &[u8]) -> Result<&[u8], &[u8]> {
    while let Some((block, behind)) = rest.split_first_chunk::<BLOCK>() {
        let lanes = i8x16::from(block.map(|byte| byte as i8));
        // As signed numbers control characters and what is beyond ASCII are both below the space.
        let special = lanes.simd_eq(i8x16::splat(b'"' as i8))
            | lanes.simd_eq(i8x16::splat(b'\\' as i8))
            | lanes.simd_lt(i8x16::splat(b' ' as i8));
        let marks = special.to_bitmask();
        if marks != 0 {
            let first = marks.trailing_zeros() as usize % BLOCK;
            return if rest[first] == b'"' { Ok(&rest[first + 1..]) } else { Err(&rest[first..]) };
        }
        rest = behind;
    }
    Err(rest)
}

/// Reads the string whose content goes on at `at` to its end, whatever it holds.
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
            _ => return invalid(at, "no control character within a string"),
        }
    }
}

/// How many bytes from `at` are neither a quote, a backslash nor a control character, and whether some that were looked at
/// are beyond ASCII.
#[inline(always)]
fn length(bytes: &[u8], start: usize) -> (usize, bool) {
    let (mut at, mut beyond) = (start, 0);
    while let Some(block) = block(bytes, at) {
        let lanes = u8x16::from(*block);
        let special =
            lanes.simd_eq(u8x16::splat(b'"')) | lanes.simd_eq(u8x16::splat(b'\\')) | lanes.simd_lt(u8x16::splat(b' '));
        let marks = special.to_bitmask();
        beyond |= lanes.to_bitmask();
        if marks != 0 {
            return (at - start + marks.trailing_zeros() as usize, beyond != 0);
        }
        at += BLOCK;
    }
    let mut beyond = beyond != 0;
    let tail = bytes.get(at..).unwrap_or_default();
    let special = |byte: &u8| {
        beyond |= !byte.is_ascii();
        *byte < b' ' || *byte == b'"' || *byte == b'\\'
    };
    let length = tail.iter().position(special).unwrap_or(tail.len());
    (at - start + length, beyond)
}

#[inline(always)]
fn block(bytes: &[u8], at: usize) -> Option<&[u8; BLOCK]> {
    bytes.get(at..)?.first_chunk()
}

/// Behind the escape whose second character is at `at`.
fn escape(bytes: &[u8], mut at: usize) -> Result<usize, Fault> {
    match peek(bytes, at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 1),
        b'u' => {
            at += 1;
            for _ in 0..4 {
                if !peek(bytes, at)?.is_ascii_hexdigit() {
                    return invalid(at, "four hexadecimal digits");
                }
                at += 1;
            }
            Ok(at)
        }
        _ => invalid(at, "an escape of JSON"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn a_plain_run_ends_where_a_bytewise_search_says(bytes in proptest::collection::vec(prop_oneof![
            1 => any::<u8>(), 1 => Just(b'"'), 1 => Just(b'\\'), 30 => Just(b'a')], 0..70), from in 0usize..70) {
            let from = from.min(bytes.len());
            let tail = &bytes[from..];
            let end = |special: fn(u8) -> bool| tail.iter().position(|&byte| special(byte)).unwrap_or(tail.len());
            let naive = end(|byte| byte < 0x20 || byte == b'"' || byte == b'\\');
            let (found, beyond) = length(&bytes, from);
            prop_assert_eq!(found, naive);
            prop_assert!(beyond || tail[..naive].is_ascii());

            let naive = from + end(|byte| byte < 0x20 || byte == b'"' || byte == b'\\' || byte > 0x7f);
            match skip_plain(tail) {
                Ok(behind) => prop_assert!(bytes.len() - behind.len() == naive + 1 && bytes[naive] == b'"'),
                // It may give up near the end of the bytes, but never passes by what it should have seen.
                Err(rest) => {
                    let at = bytes.len() - rest.len();
                    prop_assert!(at <= naive && (at == naive || rest.len() < BLOCK));
                }
            }
        }
    }
}
