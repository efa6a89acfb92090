//! Reads values of an event without building a tree.
//!
//! The bytes are those of an event that the decoder accepted, so they are valid JSON. In other bytes some defects are
//! not noticed, because skipped values are not validated.

use crate::decode::string;
use std::borrow::Cow;

/// The bytes of a value: a string with its quotes, a number, a literal, an object or an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawValue<'a> {
    /// The bytes without white space before and after them.
    pub bytes: &'a [u8],
    /// Whether the value is a string with an escape.
    pub has_escape: bool,
}

/// A value as conditions compare it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaf<'a> {
    /// `null`.
    Null,
    /// A string without quotes and escapes, or the JSON text of a number or a boolean.
    Text(Cow<'a, [u8]>),
    /// An object, an array, or a string whose escapes are not valid Unicode. Only its presence can be tested.
    Other,
}

impl<'a> RawValue<'a> {
    /// Returns the value as conditions compare it.
    #[inline]
    pub fn leaf(self) -> Leaf<'a> {
        match self.bytes {
            [b'"', text @ .., b'"'] if !self.has_escape => Leaf::Text(Cow::Borrowed(text)),
            [b'"', ..] => unescaped(self.bytes),
            [b'{' | b'[', ..] => Leaf::Other,
            b"null" => Leaf::Null,
            number_or_boolean => Leaf::Text(Cow::Borrowed(number_or_boolean)),
        }
    }
}

#[cold]
fn unescaped(string: &[u8]) -> Leaf<'_> {
    serde_json::from_slice::<String>(string).map_or(Leaf::Other, |text| Leaf::Text(Cow::Owned(text.into_bytes())))
}

/// Passes each member of an object to `each`, in order: its name without quotes, its value, and the offset of the value.
/// Returns `None` if the bytes are not an object.
#[inline(always)]
pub fn for_each_member<'a>(object: &'a [u8], mut each: impl FnMut(Name<'a>, RawValue<'a>, usize)) -> Option<()> {
    let start = token(object, 0)?;
    let end = read_members(object, start, |name, at| {
        let (end, value) = value(object, at)?;
        each(name, value, at);
        Some(end)
    })?;
    token(object, end).is_none().then_some(())
}

/// Passes each element of an array to `each`, in order. Returns `None` if the bytes are not an array.
pub fn for_each_element<'a>(array: &'a [u8], mut each: impl FnMut(RawValue<'a>)) -> Option<()> {
    read_elements(array, token(array, 0)?, |at| {
        let (end, value) = value(array, at)?;
        each(value);
        Some(end)
    })
    .map(drop)
}

/// Reads the object at `at`. `read` reads each member, in order: it receives the name and the offset of the value, and returns
/// the offset of the value's end. Returns the offset of the object's end, or `None` if there is no object.
#[inline(always)]
pub(crate) fn read_members<'a>(
    bytes: &'a [u8],
    at: usize,
    mut read: impl FnMut(Name<'a>, usize) -> Option<usize>,
) -> Option<usize> {
    if bytes[at] != b'{' {
        return None;
    }
    let mut at = token(bytes, at + 1)?;
    if bytes[at] == b'}' {
        return Some(at + 1);
    }
    loop {
        if bytes[at] != b'"' {
            return None;
        }
        let (end, has_escape) = string::skip(bytes, at + 1)?;
        let name = Name { bytes: &bytes[at + 1..end - 1], has_escape };
        at = token(bytes, end)?;
        if bytes[at] != b':' {
            return None;
        }
        at = token(bytes, at + 1)?;
        at = token(bytes, read(name, at)?)?;
        match bytes[at] {
            b',' => at = token(bytes, at + 1)?,
            b'}' => return Some(at + 1),
            _ => return None,
        }
    }
}

/// Reads the array at `at`. `read` reads each element, in order: it receives the offset of the element and returns the offset
/// of its end. Returns the offset of the array's end, or `None` if there is no array.
#[inline(always)]
pub(crate) fn read_elements(bytes: &[u8], at: usize, mut read: impl FnMut(usize) -> Option<usize>) -> Option<usize> {
    if bytes[at] != b'[' {
        return None;
    }
    let mut at = token(bytes, at + 1)?;
    if bytes[at] == b']' {
        return Some(at + 1);
    }
    loop {
        at = token(bytes, read(at)?)?;
        match bytes[at] {
            b',' => at = token(bytes, at + 1)?,
            b']' => return Some(at + 1),
            _ => return None,
        }
    }
}

/// The name of a member, without its quotes.
#[derive(Debug, Clone, Copy)]
pub struct Name<'a> {
    /// The bytes between the quotes.
    pub bytes: &'a [u8],
    /// Whether the name contains an escape.
    pub has_escape: bool,
}

impl<'a> Name<'a> {
    /// Returns the name without escapes.
    #[inline(always)]
    pub fn text(self) -> Cow<'a, [u8]> {
        if self.has_escape { self.unescaped() } else { Cow::Borrowed(self.bytes) }
    }

    #[cold]
    fn unescaped(self) -> Cow<'a, [u8]> {
        match unescaped(&[b"\"", self.bytes, b"\""].concat()) {
            Leaf::Text(text) => Cow::Owned(text.into_owned()),
            Leaf::Null | Leaf::Other => Cow::Borrowed(self.bytes),
        }
    }
}

/// Returns the value at `at`, before which there may be white space.
pub fn value_at(bytes: &[u8], at: usize) -> Option<RawValue<'_>> {
    value(bytes, token(bytes, at)?).map(|(_, value)| value)
}

/// Returns the text of the value at `at`, before which there may be white space: that of [`Leaf::Text`].
#[inline]
pub(crate) fn text_at(bytes: &[u8], at: usize) -> Option<Cow<'_, [u8]>> {
    // Most values have no white space before them and no escape.
    if let Some([b'"', text @ ..]) = bytes.get(at..)
        && let Ok(rest) = string::skip_plain(text)
    {
        return Some(Cow::Borrowed(&text[..text.len() - rest.len() - 1]));
    }
    other_text_at(bytes, at)
}

#[inline(never)]
fn other_text_at(bytes: &[u8], at: usize) -> Option<Cow<'_, [u8]>> {
    match value_at(bytes, at)?.leaf() {
        Leaf::Text(text) => Some(text),
        Leaf::Null | Leaf::Other => None,
    }
}

/// Returns the offset of the first byte from `at` that is not white space, or `None` at the end.
#[inline]
pub(crate) fn value_start(bytes: &[u8], at: usize) -> Option<usize> {
    token(bytes, at)
}

/// Returns the value at `at` and the offset of its end.
#[inline(always)]
pub(crate) fn value(bytes: &[u8], at: usize) -> Option<(usize, RawValue<'_>)> {
    let (end, has_escape) = match bytes[at] {
        b'"' => string::skip(bytes, at + 1)?,
        b'{' | b'[' => (container_end(bytes, at)?, false),
        _ => (scalar_end(bytes, at)?, false),
    };
    Some((end, RawValue { bytes: &bytes[at..end], has_escape }))
}

/// Returns the offset of the end of the object or array at `at`.
fn container_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match *bytes.get(at)? {
            b'"' => {
                at = string::skip(bytes, at + 1)?.0;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// Returns the offset of the end of the number or literal at `at`, or `None` if there is none.
fn scalar_end(bytes: &[u8], at: usize) -> Option<usize> {
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'+' | b'-' | b'.' | b'E');
    let length = bytes[at..].iter().position(|byte| !is_part(byte)).unwrap_or(bytes.len() - at);
    (length > 0).then_some(at + length)
}

/// Skips white space. Returns the offset of the next byte, or `None` at the end.
#[inline(always)]
fn token(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match bytes.get(at)? {
            b' ' | b'\t' | b'\n' | b'\r' => at += 1,
            _ => return Some(at),
        }
    }
}
