//! Finds the end of a JSON value, checks its grammar on the way, and remembers where an event's few needed fields lie.
//!
//! The scan builds nothing: it answers with ranges of the bytes it was given. A value that is not wholly there yet is
//! [`Fault::Incomplete`]; the caller reads on and scans that value again from its start.
//!
//! What every event is made of lies in `Scan::run`, inlined into one loop that keeps its state in registers; what is
//! rare (white space, escapes, letters beyond ASCII, the last bytes of the buffer) is in functions of its own, which are
//! never given the state as a whole.

use super::fault::{Fault, invalid, peek};
use super::string::{self, ScannedString};
use std::ops::Range;

/// The deepest nesting that is read, as in `serde_json`. An event of CloudTrail nests about ten deep.
pub(super) const MAX_DEPTH: u32 = 128;

/// A field of an event that the pipeline reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Id,
    Time,
    Account,
    Region,
}

impl Field {
    /// Aggregated events spell two of them differently.
    #[inline]
    fn named(name: &[u8]) -> Option<Self> {
        // By length first: most names are of another.
        match name.len() {
            7 if name == b"eventID" || name == b"eventId" => Some(Self::Id),
            9 if name == b"eventTime" => Some(Self::Time),
            9 if name == b"awsRegion" => Some(Self::Region),
            9 if name == b"accountId" => Some(Self::Account),
            18 if name == b"recipientAccountId" => Some(Self::Account),
            _ => None,
        }
    }
}

/// What a scan found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    /// Where the value ends.
    pub end: usize,
    /// White space stands between its tokens.
    pub has_white_space: bool,
    /// Some of it would break a line.
    pub has_line_break: bool,
    /// Not all of it is ASCII: whether it is UTF-8 is yet to be checked.
    pub non_ascii: bool,
    /// Where the fields' values lie, in the order of [`Field`]: a string without its quotes, or a number.
    fields: [Option<FieldValue>; 4],
}

/// Where a field's value lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldValue {
    pub range: Range<usize>,
    pub escaped: bool,
}

impl Scanned {
    pub(super) fn field(&self, field: Field) -> Option<&FieldValue> {
        self.fields[field as usize].as_ref()
    }
}

/// Scans the value that starts at `start`.
pub(super) fn value(bytes: &[u8], start: usize) -> Result<Scanned, Fault> {
    Scan { bytes, rest: &bytes[start..], depth: 0, objects: 0, pending: None, found: Scanned::default() }.run()
}

struct Scan<'a> {
    bytes: &'a [u8],
    /// What is not read yet: a slice, and no index, because then few bounds are left to check.
    rest: &'a [u8],
    depth: u32,
    /// One bit a level, the innermost lowest: whether it is an object.
    objects: u128,
    /// The field whose value comes next.
    pending: Option<Field>,
    found: Scanned,
}

/// The position of a scan within a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ScanState {
    /// Before a value.
    BeforeValue,
    /// After an opening bracket, before the first element or member.
    InContainer,
    /// After a value.
    AfterValue,
}

// Everything is inlined: a `self` that is handed to a function, even to one that only reports an error, lies in memory.
impl<'a> Scan<'a> {
    fn run(mut self) -> Result<Scanned, Fault> {
        loop {
            let state = match (self.objects & 1, self.depth) {
                (0, _) => ScanState::BeforeValue,
                (_, 1) => self.members::<true>()?,
                (_, _) => self.members::<false>()?,
            };
            let state = if state == ScanState::BeforeValue { self.one()? } else { state };
            if state == ScanState::AfterValue && self.closings()? {
                self.found.end = self.at();
                return Ok(self.found);
            }
        }
    }

    /// Reads members as long as their values are strings: most of an event is that. Only the outermost object's members
    /// can be fields: an `eventID` deeper down, in `requestParameters` say, is not the event's.
    #[inline(always)]
    fn members<const OUTERMOST: bool>(&mut self) -> Result<ScanState, Fault> {
        let (b'"', rest) = self.token()? else { return self.invalid("a name in quotes") };
        self.rest = rest;
        loop {
            let from = self.rest;
            let (length, escaped) = self.string()?;
            let field = if OUTERMOST { named(&from[..length], escaped) } else { None };
            if let Some(field) = field {
                // Of two members of one name the last counts, as JSON readers have it; until its value is read, none does.
                self.found.fields[field as usize] = None;
            }
            if !self.take(b":\"") {
                let (b':', rest) = self.token()? else { return self.invalid("':'") };
                self.rest = rest;
                self.pending = field;
                return Ok(ScanState::BeforeValue);
            }
            let start = self.at();
            let (length, escaped) = self.string()?;
            if let Some(field) = field {
                self.found.fields[field as usize] = Some(FieldValue { range: start..start + length, escaped });
            }
            if !self.take(b",\"") {
                return Ok(ScanState::AfterValue);
            }
        }
    }

    /// Reads a scalar or an opening bracket.
    #[inline(always)]
    fn one(&mut self) -> Result<ScanState, Fault> {
        let (first, rest) = self.token()?;
        // A field whose value is an object or an array is as good as absent.
        let field = self.pending.take();
        let start = self.at();
        match first {
            b'"' => {
                self.rest = rest;
                let (length, escaped) = self.string()?;
                if let Some(field) = field {
                    self.found.fields[field as usize] =
                        Some(FieldValue { range: start + 1..start + 1 + length, escaped });
                }
            }
            b'{' => {
                self.descend(1, rest)?;
                if self.token()?.0 != b'}' {
                    return Ok(ScanState::InContainer);
                }
            }
            b'[' => {
                self.descend(0, rest)?;
                if self.token()?.0 != b']' {
                    return Ok(ScanState::InContainer);
                }
            }
            b'-' | b'0'..=b'9' => {
                let end = number(self.bytes, start)?;
                self.rest = &self.bytes[end..];
                if let Some(field) = field {
                    self.found.fields[field as usize] = Some(FieldValue { range: start..end, escaped: false });
                }
            }
            b't' => self.literal(b"true")?,
            b'f' => self.literal(b"false")?,
            b'n' => self.literal(b"null")?,
            _ => return self.invalid("a value"),
        }
        Ok(ScanState::AfterValue)
    }

    /// Reads what may follow a value: closing brackets, then a comma. True when the outermost value has ended.
    #[inline(always)]
    fn closings(&mut self) -> Result<bool, Fault> {
        while self.depth > 0 {
            let (next, rest) = self.token()?;
            match (next, self.objects & 1 == 1) {
                (b',', _) => {
                    self.rest = rest;
                    return Ok(false);
                }
                (b'}', true) | (b']', false) => {
                    self.rest = rest;
                    self.depth -= 1;
                    self.objects >>= 1;
                }
                (_, true) => return self.invalid("',' or '}'"),
                (_, false) => return self.invalid("',' or ']'"),
            }
        }
        Ok(true)
    }

    #[inline(always)]
    fn descend(&mut self, object: u128, rest: &'a [u8]) -> Result<(), Fault> {
        if self.depth == MAX_DEPTH {
            return self.invalid("no more than 128 levels of nesting");
        }
        self.depth += 1;
        self.objects = self.objects << 1 | object;
        self.rest = rest;
        Ok(())
    }

    /// From behind the opening quote to behind the closing one: how many bytes are between them, and whether there is an
    /// escape.
    #[inline(always)]
    fn string(&mut self) -> Result<(usize, bool), Fault> {
        let from = self.rest.len();
        let escaped = match string::skip_plain(self.rest) {
            Ok(rest) => {
                self.rest = rest;
                false
            }
            Err(rest) => {
                let ScannedString { end, escaped, non_ascii } =
                    string::scan_rest(self.bytes, self.bytes.len() - rest.len())?;
                self.rest = &self.bytes[end..];
                self.found.non_ascii |= non_ascii;
                escaped
            }
        };
        Ok((from - self.rest.len() - 1, escaped))
    }

    #[inline(always)]
    fn literal<const N: usize>(&mut self, word: &'static [u8; N]) -> Result<(), Fault> {
        if self.take(word) { Ok(()) } else { misspelt(self.bytes, self.at(), word) }
    }

    /// The next byte that is no white space, and what follows it.
    #[inline(always)]
    fn token(&mut self) -> Result<(u8, &'a [u8]), Fault> {
        if let Some((&byte, rest)) = self.rest.split_first()
            && byte > b' '
        {
            return Ok((byte, rest));
        }
        let (rest, has_line_break) = white_space(self.rest);
        self.found.has_white_space |= rest.len() < self.rest.len();
        self.found.has_line_break |= has_line_break;
        self.rest = rest;
        rest.split_first().map(|(&byte, rest)| (byte, rest)).ok_or(Fault::Incomplete)
    }

    /// Skips these bytes, if they come next.
    #[inline(always)]
    fn take<const N: usize>(&mut self, bytes: &[u8; N]) -> bool {
        match self.rest.split_first_chunk() {
            Some((next, rest)) if next == bytes => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// The offset of what is not read yet.
    #[inline(always)]
    fn at(&self) -> usize {
        self.bytes.len() - self.rest.len()
    }

    #[inline(always)]
    fn invalid<T>(&self, expected: &'static str) -> Result<T, Fault> {
        invalid(self.at(), expected)
    }
}

/// The field of this name, which is given without its quotes.
#[inline(always)]
fn named(name: &[u8], escaped: bool) -> Option<Field> {
    if escaped {
        return unescaped(name).and_then(|name| Field::named(name.as_bytes()));
    }
    Field::named(name)
}

#[cold]
fn unescaped(text: &[u8]) -> Option<String> {
    serde_json::from_slice(&[b"\"", text, b"\""].concat()).ok()
}

/// Where the number that starts at `at` ends.
fn number(bytes: &[u8], mut at: usize) -> Result<usize, Fault> {
    if bytes[at] == b'-' {
        at += 1;
    }
    at = match peek(bytes, at)? {
        b'0' => at + 1,
        _ => digits(bytes, at)?,
    };
    if bytes.get(at) == Some(&b'.') {
        at = digits(bytes, at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        if matches!(peek(bytes, at)?, b'+' | b'-') {
            at += 1;
        }
        at = digits(bytes, at)?;
    }
    Ok(at)
}

fn digits(bytes: &[u8], mut at: usize) -> Result<usize, Fault> {
    if !peek(bytes, at)?.is_ascii_digit() {
        return invalid(at, "a digit");
    }
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    Ok(at)
}

/// What is wrong with a word that is not `word`.
#[cold]
fn misspelt(bytes: &[u8], at: usize, word: &[u8]) -> Result<(), Fault> {
    for (at, &letter) in (at..).zip(word) {
        if peek(bytes, at)? != letter {
            return invalid(at, "true, false or null");
        }
    }
    Ok(())
}

/// What follows the white space, and whether some of that would break a line.
#[cold]
fn white_space(mut rest: &[u8]) -> (&[u8], bool) {
    let mut has_line_break = false;
    while let [byte @ (b' ' | b'\t' | b'\n' | b'\r'), behind @ ..] = rest {
        has_line_break |= matches!(byte, b'\n' | b'\r');
        rest = behind;
    }
    (rest, has_line_break)
}

/// Copies `value`, a scanned one, without white space between its tokens: all of it, or only the runs that hold a line
/// break.
pub(super) fn strip(value: &[u8], which: Strip, out: &mut Vec<u8>) {
    let mut at = 0;
    while at < value.len() {
        let start = at;
        match value[at] {
            b'"' => {
                // A scanned value's strings all have an end; copying on would lose nothing.
                at = string::scan_rest(value, at + 1).map_or(value.len(), |rest| rest.end);
                out.extend_from_slice(&value[start..at]);
            }
            b' ' | b'\t' | b'\n' | b'\r' => {
                while at < value.len() && matches!(value[at], b' ' | b'\t' | b'\n' | b'\r') {
                    at += 1;
                }
                let run = &value[start..at];
                if which == Strip::Breaks && !run.iter().any(|&byte| byte == b'\n' || byte == b'\r') {
                    out.extend_from_slice(run);
                }
            }
            _ => {
                at += 1;
                out.push(value[start]);
            }
        }
    }
}

/// Which white space [`strip`] removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strip {
    /// Runs that hold a line break: the event's own bytes otherwise.
    Breaks,
    /// All: what two spellings of one event have in common.
    All,
}

#[cfg(test)]
mod tests;
