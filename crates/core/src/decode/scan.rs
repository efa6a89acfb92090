//! Finds the end of a JSON value, checks its grammar, and records the ranges of the fields that the pipeline reads.
//!
//! The scan allocates nothing and returns ranges of its input. A value whose end is missing is [`Fault::Incomplete`];
//! the caller then reads more bytes and scans the value again from its start.
//!
//! `Scan::run` contains the common cases, inlined into one loop that keeps its state in registers. Rare cases (white
//! space, escapes, non-ASCII bytes, the last bytes of the buffer) are in separate functions that never receive the
//! whole state.

use super::error::JsonDefect;
use super::fault::{Fault, invalid, peek};
use super::fields::{FieldOffsets, SelectedFields};
use super::string::{self, ScannedString};
use std::ops::Range;

/// Maximum nesting depth, as in `serde_json`. A CloudTrail event has a depth of about 10.
pub(crate) const MAX_JSON_DEPTH: u32 = 128;

/// A field of an event that the pipeline reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Id,
    Time,
    Account,
    Region,
    /// The ID of an aggregated event.
    AggregatedId,
    /// The account of an aggregated event.
    AggregatedAccount,
}

impl Field {
    /// Returns the field of this name. Aggregated events have other names for two of the fields.
    #[inline]
    fn named(name: &[u8]) -> Option<Self> {
        // Compare the length first: most names have another length.
        match name.len() {
            7 if name == b"eventID" => Some(Self::Id),
            7 if name == b"eventId" => Some(Self::AggregatedId),
            9 if name == b"eventTime" => Some(Self::Time),
            9 if name == b"awsRegion" => Some(Self::Region),
            9 if name == b"accountId" => Some(Self::AggregatedAccount),
            18 if name == b"recipientAccountId" => Some(Self::Account),
            _ => None,
        }
    }
}

/// The result of a scan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    /// Offset of the end of the value.
    pub end: usize,
    /// Whether there is white space between the tokens.
    pub has_white_space: bool,
    /// Whether that white space contains a line break.
    pub has_line_break: bool,
    /// Whether the value contains non-ASCII bytes. The caller must then check that it is UTF-8.
    pub non_ascii: bool,
    /// The values of the fields in the order of [`Field`]: a string without its quotes, or a number.
    fields: [Option<FieldValue>; 6],
}

/// The range of a field's value.
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

/// Scans the value at `start`.
pub(super) fn value(bytes: &[u8], start: usize) -> Result<Scanned, Fault> {
    scan(bytes, start, ())
}

/// Scans the event at `start` and notes the offsets of the selected fields, relative to the start.
pub(super) fn event_fields(
    bytes: &[u8],
    start: usize,
    selected: &SelectedFields,
    offsets: &mut FieldOffsets,
) -> Result<Scanned, Fault> {
    *offsets = FieldOffsets::NONE;
    scan(bytes, start, &mut NotedFields { start, selected, offsets, is_identity: false })
}

fn scan(bytes: &[u8], start: usize, members: impl MemberRecorder) -> Result<Scanned, Fault> {
    Scan { bytes, rest: &bytes[start..], depth: 0, objects: 0, pending: None, found: Scanned::default(), members }.run()
}

/// Records members of the event, or does nothing without a cost.
trait MemberRecorder {
    /// Whether members of the values of top-level members are recorded.
    const RECORDS_NESTED: bool;

    /// Records a top-level member: the bytes of its name without quotes, whether the name has an escape, and the offset of
    /// its value.
    fn record(&mut self, name: &[u8], has_escape: bool, value: usize);

    /// Records a member of the object that is the value of the last top-level member.
    fn record_nested(&mut self, name: &[u8], has_escape: bool, value: usize);
}

impl MemberRecorder for () {
    const RECORDS_NESTED: bool = false;

    #[inline(always)]
    fn record(&mut self, _: &[u8], _: bool, _: usize) {}

    #[inline(always)]
    fn record_nested(&mut self, _: &[u8], _: bool, _: usize) {}
}

/// Notes the selected fields of the event at `start`.
struct NotedFields<'m> {
    start: usize,
    selected: &'m SelectedFields,
    offsets: &'m mut FieldOffsets,
    /// Whether the last top-level member is `userIdentity`, and members of it are selected.
    is_identity: bool,
}

// By reference, and with functions for the selected fields that are not inlined, so that the scan keeps its state in registers.
impl MemberRecorder for &mut NotedFields<'_> {
    const RECORDS_NESTED: bool = true;

    #[inline(always)]
    fn record(&mut self, name: &[u8], has_escape: bool, value: usize) {
        self.is_identity = false;
        if self.selected.may_select(name, has_escape) {
            self.note(name, has_escape, value);
        }
    }

    #[inline(always)]
    fn record_nested(&mut self, name: &[u8], has_escape: bool, value: usize) {
        if self.is_identity && self.selected.may_select_identity(name, has_escape) {
            self.note_identity(name, has_escape, value);
        }
    }
}

impl NotedFields<'_> {
    #[inline(never)]
    fn note(&mut self, name: &[u8], has_escape: bool, value: usize) {
        self.is_identity = self.selected.note(name, has_escape, value - self.start, self.offsets);
    }

    #[inline(never)]
    fn note_identity(&mut self, name: &[u8], has_escape: bool, value: usize) {
        self.selected.note_identity(name, has_escape, value - self.start, self.offsets);
    }
}

/// The values of the parameter `LEVEL` of [`Scan::members`]: members of the event, of the value of one of its members, and of
/// other objects.
const OUTERMOST: u8 = 1;
const NESTED: u8 = 2;
const DEEPER: u8 = 3;

struct Scan<'a, M> {
    bytes: &'a [u8],
    /// The unread bytes. A slice instead of an index, because it needs fewer bounds checks.
    rest: &'a [u8],
    depth: u32,
    /// One bit per level, with the innermost level in the lowest bit: 1 for an object, 0 for an array.
    objects: u128,
    /// The field that the next value belongs to.
    pending: Option<Field>,
    found: Scanned,
    members: M,
}

/// The position of a scan within a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ScanState {
    BeforeValue,
    /// After an opening bracket, before the first element or member.
    InContainer,
    AfterValue,
}

// All methods are inlined. If `self` is passed to a function, even to one that only reports an error, the compiler
// keeps it in memory instead of in registers.
impl<'a, M: MemberRecorder> Scan<'a, M> {
    fn run(mut self) -> Result<Scanned, Fault> {
        loop {
            let state = match (self.objects & 1, self.depth) {
                (0, _) => ScanState::BeforeValue,
                (_, 1) => self.members::<OUTERMOST>()?,
                (_, 2) if M::RECORDS_NESTED => self.members::<NESTED>()?,
                (_, _) => self.members::<DEEPER>()?,
            };
            let state = if state == ScanState::BeforeValue { self.scalar_or_opening()? } else { state };
            if state == ScanState::AfterValue && self.closings()? {
                self.found.end = self.at();
                return Ok(self.found);
            }
        }
    }

    /// Reads members while their values are strings, which is most of an event. Only members of the outermost object
    /// can be fields: a nested `eventID`, for example in `requestParameters`, is not the event's ID.
    #[inline(always)]
    fn members<const LEVEL: u8>(&mut self) -> Result<ScanState, Fault> {
        let (b'"', rest) = self.token()? else { return self.invalid(&JsonDefect::Expected("a name in quotes")) };
        self.rest = rest;
        loop {
            let from = self.rest;
            let (length, escaped) = self.string()?;
            let field = if LEVEL == OUTERMOST { named(&from[..length], escaped) } else { None };
            if let Some(field) = field {
                // On duplicate names the last value wins, as in other JSON readers. Clear the earlier value now.
                self.found.fields[field as usize] = None;
            }
            if !self.take(b":\"") {
                let (b':', rest) = self.token()? else { return self.invalid(&JsonDefect::Expected("':'")) };
                self.rest = rest;
                self.record::<LEVEL>(&from[..length], escaped, self.at());
                self.pending = field;
                return Ok(ScanState::BeforeValue);
            }
            let start = self.at();
            self.record::<LEVEL>(&from[..length], escaped, start - 1);
            let (length, escaped) = self.string()?;
            if let Some(field) = field {
                self.found.fields[field as usize] = Some(FieldValue { range: start..start + length, escaped });
            }
            if !self.take(b",\"") {
                return Ok(ScanState::AfterValue);
            }
        }
    }

    #[inline(always)]
    fn record<const LEVEL: u8>(&mut self, name: &[u8], has_escape: bool, value: usize) {
        match LEVEL {
            OUTERMOST => self.members.record(name, has_escape, value),
            NESTED => self.members.record_nested(name, has_escape, value),
            _ => {}
        }
    }

    /// Reads a scalar or an opening bracket.
    #[inline(always)]
    fn scalar_or_opening(&mut self) -> Result<ScanState, Fault> {
        let (first, rest) = self.token()?;
        // A field whose value is an object or an array counts as absent.
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
            _ => return self.invalid(&JsonDefect::Expected("a value")),
        }
        Ok(ScanState::AfterValue)
    }

    /// Reads the closing brackets and the comma after a value. Returns true at the end of the outermost value.
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
                (_, true) => return self.invalid(&JsonDefect::Expected("',' or '}'")),
                (_, false) => return self.invalid(&JsonDefect::Expected("',' or ']'")),
            }
        }
        Ok(true)
    }

    #[inline(always)]
    fn descend(&mut self, object: u128, rest: &'a [u8]) -> Result<(), Fault> {
        if self.depth == MAX_JSON_DEPTH {
            return self.invalid(&JsonDefect::Nesting);
        }
        self.depth += 1;
        self.objects = self.objects << 1 | object;
        self.rest = rest;
        Ok(())
    }

    /// Reads from after the opening quote to after the closing quote. Returns the number of bytes between the quotes
    /// and whether they contain an escape.
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
        if self.take(word) { Ok(()) } else { misspelled(self.bytes, self.at(), word) }
    }

    /// Skips white space. Returns the next byte, without consuming it, and the bytes after it.
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

    /// Consumes these bytes if they come next.
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

    /// Returns the offset of the unread bytes.
    #[inline(always)]
    fn at(&self) -> usize {
        self.bytes.len() - self.rest.len()
    }

    #[inline(always)]
    fn invalid<T>(&self, defect: &'static JsonDefect) -> Result<T, Fault> {
        invalid(self.at(), defect)
    }
}

/// Returns the field of this name. `name` has no quotes.
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

/// Returns the offset of the end of the number at `at`.
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
        return invalid(at, &JsonDefect::Expected("a digit"));
    }
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    Ok(at)
}

/// Returns the error for bytes at `at` that are not `word`.
#[cold]
fn misspelled(bytes: &[u8], at: usize, word: &[u8]) -> Result<(), Fault> {
    for (at, &letter) in (at..).zip(word) {
        if peek(bytes, at)? != letter {
            return invalid(at, &JsonDefect::Expected("true, false or null"));
        }
    }
    Ok(())
}

/// Returns the bytes after the white space and whether the white space contains a line break.
#[cold]
fn white_space(mut rest: &[u8]) -> (&[u8], bool) {
    let mut has_line_break = false;
    while let [byte @ (b' ' | b'\t' | b'\n' | b'\r'), after @ ..] = rest {
        has_line_break |= matches!(byte, b'\n' | b'\r');
        rest = after;
    }
    (rest, has_line_break)
}

/// Copies `value`, which must be scanned, without the insignificant white space that `which` selects.
pub(super) fn strip(value: &[u8], which: Strip, out: &mut Vec<u8>) {
    let mut at = 0;
    while at < value.len() {
        let start = at;
        match value[at] {
            b'"' => {
                // All strings of a scanned value are terminated. Without an end, the rest is copied and nothing is
                // lost.
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
    /// Runs that contain a line break. All other bytes are preserved.
    Breaks,
    /// All insignificant white space. The result is the same for all layouts of an event.
    All,
}

#[cfg(test)]
mod tests;
