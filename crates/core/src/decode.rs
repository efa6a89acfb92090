//! Decode: an object's bytes into events, each as the bytes it came in. Pure.
//!
//! The bytes are inflated into one buffer, and the events are found in place: nothing is copied, no tree is built, and
//! memory does not grow with the object. The gzip trailer and the end of the JSON are part of what is checked: an object
//! counts as read only when [`EventReader::next`] has answered `None`.

mod error;
mod fault;
mod input;
mod line_offsets;
mod scan;
mod string;
mod time;

pub use error::DecodeError;
pub use line_offsets::{LineOffsets, LineReader};

use crate::event::{EventId, EventScope};
use fault::Fault;
use input::Input;
use scan::{Field, Scanned, Strip};
use std::borrow::Cow;
use std::collections::HashMap;

/// How much an object may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Decompressed bytes of one object. A gzip stream can blow up a thousandfold.
    pub object_bytes: u64,
    /// Bytes of one event, or of any other value beside `Records`. CloudTrail's events have at most 1 MB.
    /// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/WhatIsCloudTrail-Limits.html>
    pub value_bytes: usize,
    /// Events of one object. What is known of each stays in memory until the object is done, and gzip can pack millions of
    /// empty ones into a file of some kilobytes. CloudTrail's own files hold tens of thousands at the most.
    pub events: u32,
}

impl Default for DecodeLimits {
    /// 2 GiB an object, 16 MiB a value, a million events.
    fn default() -> Self {
        Self { object_bytes: 2 << 30, value_bytes: 16 << 20, events: 1_000_000 }
    }
}

/// One event, as it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its index in `Records`.
    pub ordinal: u32,
    /// Its bytes, without line end: as they came, but for runs of white space that hold a line break.
    pub line: &'a [u8],
    /// Its identity.
    pub id: EventId,
    /// 16 bits of its content, the same however its tokens are spaced.
    pub fingerprint: u16,
    /// Where it belongs: an index into [`EventReader::scopes`].
    pub scope: u32,
    /// `eventTime` in seconds since 1970.
    pub seconds: Option<i64>,
    /// Where it begins in the decompressed object.
    pub at: u64,
    /// Whether `line` is what lies there, byte by byte.
    pub as_stored: bool,
}

/// Reads the events of one object, in order.
#[derive(Debug)]
pub struct EventReader<'a> {
    input: Input<'a>,
    limits: DecodeLimits,
    /// Inflated bytes; `buffer[at..filled]` is not read yet.
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
    /// Where in the buffer the step began that is under way: it begins again where the bytes end within it.
    step_start: usize,
    /// Offset of `buffer[0]` in the decompressed object, as far as what is behind `at` goes.
    base: u64,
    state: ReaderState,
    /// The event that is ready to be taken, at `at`.
    ready: Option<Scanned>,
    ordinal: u32,
    scopes: ScopeTable,
    /// A line or a content that is not in the buffer as it leaves.
    line: Vec<u8>,
    compact: Vec<u8>,
}

/// Where a reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeStatus {
    /// The next event, or line, is ready to be taken.
    Ready,
    /// The bytes given so far are read: feed the next piece and go on.
    NeedsInput,
    /// All is read, and all of it was sound.
    End,
}

/// Why a step does not come to its end.
#[derive(Debug)]
enum StepError {
    /// The next piece is needed.
    NeedsInput,
    Error(DecodeError),
}

impl From<DecodeError> for StepError {
    fn from(error: DecodeError) -> Self {
        Self::Error(error)
    }
}

/// How far the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReaderState {
    /// Before the first byte.
    Start,
    /// Between the members of the outermost object. True after the first.
    Members { after_first: bool, has_records: bool },
    /// Within the array of events; `some`: after the first. `bare`: the array is the outermost value.
    Records { after_first: bool, bare: bool },
    /// Behind the outermost value.
    AfterJson,
    /// The whole object is read.
    Done,
}

/// Bytes of the buffer: room for hundreds of events in an object that has as many, and no more than a small object needs.
/// Asking for memory, clearing it and faulting it in costs more than reading five events.
const SMALLEST_BUFFER: usize = 4 << 10;
const LARGEST_BUFFER: usize = 256 << 10;

impl<'a> EventReader<'a> {
    /// Reads `stored`, an object as it lies in the bucket: gzip, also of several members, or plain JSON.
    pub fn new(stored: &'a [u8], limits: DecodeLimits) -> Self {
        Self::of(Input::new(Cow::Borrowed(stored), stored.len() as u64), limits)
    }

    /// Reads an object of `size` bytes piece by piece. None may be empty, and the first holds the two bytes by which gzip is
    /// told.
    pub fn in_chunks(first: Vec<u8>, size: u64, limits: DecodeLimits) -> Self {
        Self::of(Input::new(Cow::Owned(first), size), limits)
    }

    fn of(input: Input<'a>, limits: DecodeLimits) -> Self {
        let size = input.likely_size().clamp(SMALLEST_BUFFER, LARGEST_BUFFER);
        Self {
            input,
            limits,
            buffer: vec![0; size],
            at: 0,
            filled: 0,
            step_start: 0,
            base: 0,
            state: ReaderState::Start,
            ready: None,
            ordinal: 0,
            scopes: ScopeTable::default(),
            line: Vec::new(),
            compact: Vec::new(),
        }
    }

    /// The places of the events read so far.
    pub fn scopes(&self) -> &[EventScope] {
        &self.scopes.list
    }

    /// The places, once the object is read.
    pub fn into_scopes(self) -> Vec<EventScope> {
        self.scopes.list
    }

    /// Decompressed bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.base + self.at as u64
    }

    /// The next event of an object that was given whole, or `None` when it is read to its end and all of it was sound.
    ///
    /// # Errors
    /// As [`EventReader::advance`]; an object given in pieces ends too soon where the next one is needed.
    #[allow(clippy::should_implement_trait)] // The event borrows the reader: no iterator.
    pub fn next(&mut self) -> Result<Option<Event<'_>>, DecodeError> {
        match self.advance()? {
            DecodeStatus::Ready => self.event(),
            DecodeStatus::End => Ok(None),
            DecodeStatus::NeedsInput => {
                let what = "the pieces that were given end".to_owned();
                Err(DecodeError::Gzip { what, at: self.input.offset(), size: self.input.size() })
            }
        }
    }

    /// Goes on until the next event is ready for [`EventReader::event`].
    ///
    /// # Errors
    /// Any [`DecodeError`]; the object is then unreadable as a whole.
    pub fn advance(&mut self) -> Result<DecodeStatus, DecodeError> {
        while self.ready.is_none() && self.state != ReaderState::Done {
            // A step is done, or has not begun: what it took is still there where it has to wait for the next piece.
            self.step_start = self.at;
            match self.step() {
                Ok(found) => self.ready = found,
                Err(StepError::Error(error)) => return Err(error),
                Err(StepError::NeedsInput) => {
                    self.at = self.step_start;
                    return Ok(DecodeStatus::NeedsInput);
                }
            }
        }
        Ok(if self.ready.is_some() { DecodeStatus::Ready } else { DecodeStatus::End })
    }

    /// Gives the next piece, after [`DecodeStatus::NeedsInput`]. It may not be empty.
    pub fn feed(&mut self, chunk: Vec<u8>) {
        self.input.feed(chunk);
    }

    fn step(&mut self) -> Result<Option<Scanned>, StepError> {
        match self.state {
            ReaderState::Start => self.start()?,
            ReaderState::Members { after_first, has_records } => self.member(after_first, has_records)?,
            ReaderState::Records { after_first, bare } => return self.element(after_first, bare),
            ReaderState::AfterJson => {
                if let Some(_byte) = self.peek()? {
                    return Err(self.unexpected("nothing after the end of the JSON").into());
                }
                self.state = ReaderState::Done;
            }
            ReaderState::Done => {}
        }
        Ok(None)
    }

    fn start(&mut self) -> Result<(), StepError> {
        if self.input.size() == 0 {
            return Err(DecodeError::Empty.into());
        }
        self.state = match self.need("the first value")? {
            b'{' => ReaderState::Members { after_first: false, has_records: false },
            b'[' => ReaderState::Records { after_first: false, bare: true },
            _ => return Err(self.unexpected("'{' or '['").into()),
        };
        self.at += 1;
        Ok(())
    }

    /// One member of the outermost object, or its end.
    fn member(&mut self, after_first: bool, has_records: bool) -> Result<(), StepError> {
        const WITHIN: &str = "the outermost object";
        match (self.need(WITHIN)?, after_first) {
            (b'}', _) => {
                if !has_records {
                    return Err(DecodeError::NoRecords.into());
                }
                self.at += 1;
                self.state = ReaderState::AfterJson;
                return Ok(());
            }
            (b',', true) => {
                self.at += 1;
                self.need(WITHIN)?;
            }
            (_, true) => return Err(self.unexpected("',' or '}'").into()),
            (_, false) => {}
        }
        if self.need(WITHIN)? != b'"' {
            return Err(self.unexpected("a name in quotes").into());
        }
        let name = self.value()?;
        let is_records = serde_json::from_slice::<String>(&self.buffer[self.at..name.end])
            .map_err(|_| self.unexpected("a name in UTF-8"))?
            == "Records";
        self.at = name.end;
        if self.need(WITHIN)? != b':' {
            return Err(self.unexpected("':'").into());
        }
        self.at += 1;
        let first = self.need(WITHIN)?;
        if !is_records {
            let found = self.value()?;
            self.utf8(&found)?;
            self.at = found.end;
            self.state = ReaderState::Members { after_first: true, has_records };
            return Ok(());
        }
        // Twice the same member has no one meaning: what a reader that takes the last would lose, must not pass.
        if has_records {
            return Err(self.unexpected("\"Records\" no more than once").into());
        }
        if first != b'[' {
            return Err(self.unexpected("'[': \"Records\" is an array").into());
        }
        self.at += 1;
        self.state = ReaderState::Records { after_first: false, bare: false };
        Ok(())
    }

    /// The next event of the array, or nothing at its end.
    fn element(&mut self, after_first: bool, bare: bool) -> Result<Option<Scanned>, StepError> {
        const WITHIN: &str = "the array of events";
        match (self.need(WITHIN)?, after_first) {
            (b']', _) => {
                self.at += 1;
                self.state = if bare {
                    ReaderState::AfterJson
                } else {
                    ReaderState::Members { after_first: true, has_records: true }
                };
                return Ok(None);
            }
            (b',', true) => {
                self.at += 1;
                self.need(WITHIN)?;
            }
            (_, true) => return Err(self.unexpected("',' or ']'").into()),
            (_, false) => {}
        }
        if self.need(WITHIN)? != b'{' {
            return Err(self.unexpected("'{': an event is an object").into());
        }
        let found = self.value()?;
        self.utf8(&found)?;
        self.state = ReaderState::Records { after_first: true, bare };
        Ok(Some(found))
    }

    /// Takes the event that is ready; none if none is.
    ///
    /// # Errors
    /// [`DecodeError::TooMany`].
    pub fn event(&mut self) -> Result<Option<Event<'_>>, DecodeError> {
        let Some(found) = self.ready.take() else { return Ok(None) };
        let start = self.at;
        self.at = found.end;
        let ordinal = self.ordinal;
        if ordinal >= self.limits.events {
            return Err(DecodeError::TooMany { limit: self.limits.events, at: self.base + start as u64 });
        }
        self.ordinal = ordinal + 1;
        let bytes = &self.buffer[start..found.end];
        let line = stripped(bytes, found.has_line_break, Strip::Breaks, &mut self.line);
        let compact = stripped(bytes, found.has_white_space, Strip::All, &mut self.compact);
        let text = |field| found.field(field).and_then(|value| text(&self.buffer, value));
        let seconds = text(Field::Time).and_then(|time| time::seconds(&time));
        // An empty one would make copies of one event out of all that have it.
        let id = text(Field::Id).filter(|id| !id.is_empty());
        let id = id.map_or_else(|| EventId::from_content(compact), |id| EventId::from_text(&id));
        let (account, region) = (text(Field::Account).unwrap_or_default(), text(Field::Region).unwrap_or_default());
        let scope = self.scopes.intern(&account, &region, seconds.map(|seconds| seconds.div_euclid(60)));
        let crc = crc32fast::hash(compact);
        let fingerprint = (crc ^ crc >> 16) as u16;
        let (at, as_stored) = (self.base + start as u64, !found.has_line_break);
        Ok(Some(Event { ordinal, line, id, fingerprint, scope, seconds, at, as_stored }))
    }

    /// Scans the value at the reader's place, reading on as far as it reaches.
    fn value(&mut self) -> Result<Scanned, StepError> {
        loop {
            let fault = match scan::value(&self.buffer[..self.filled], self.at) {
                Ok(found) if found.end - self.at > self.limits.value_bytes => return Err(self.too_long().into()),
                // Only a number does not say itself where it ends: more of it may come.
                Ok(found) if found.end == self.filled && self.buffer[self.filled - 1].is_ascii_digit() => {
                    if !self.read_on()? {
                        // Nothing may end with a number: what it stands in has no end.
                        let at = self.base + self.filled as u64;
                        return Err(DecodeError::Truncated { at, within: "the outermost object" }.into());
                    }
                    continue;
                }
                Ok(found) => return Ok(found),
                Err(fault) => fault,
            };
            match fault {
                Fault::Invalid { at, expected } => return Err(self.invalid(at, expected).into()),
                Fault::Incomplete if self.filled - self.at > self.limits.value_bytes => {
                    return Err(self.too_long().into());
                }
                Fault::Incomplete => {
                    if !self.read_on()? {
                        let at = self.base + self.filled as u64;
                        return Err(DecodeError::Truncated { at, within: "a value" }.into());
                    }
                }
            }
        }
    }

    /// The next byte that is no white space, or nothing at the end.
    fn peek(&mut self) -> Result<Option<u8>, StepError> {
        let mut start = self.at;
        loop {
            while self.at < self.filled {
                match self.buffer[self.at] {
                    b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                    byte => return Ok(Some(byte)),
                }
            }
            // White space alone: none of it is kept, however much there is.
            self.base += (self.filled - start) as u64;
            (self.at, self.filled) = (start, start);
            if !self.read_on()? {
                return Ok(None);
            }
            start = self.at;
        }
    }

    fn need(&mut self, within: &'static str) -> Result<u8, StepError> {
        match self.peek()? {
            Some(byte) => Ok(byte),
            None => Err(DecodeError::Truncated { at: self.base + self.filled as u64, within }.into()),
        }
    }

    /// Fills the buffer behind what is not read yet. False at the end of the object, whose trailer is then verified.
    fn read_on(&mut self) -> Result<bool, StepError> {
        if self.step_start > 0 {
            self.buffer.copy_within(self.step_start..self.filled, 0);
            self.base += self.step_start as u64;
            self.filled -= self.step_start;
            self.at -= self.step_start;
            self.step_start = 0;
        }
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let before = self.filled;
        while self.filled < self.buffer.len() {
            let read = match self.input.read(&mut self.buffer[self.filled..]) {
                // What came before the piece ended may be enough.
                Err(StepError::NeedsInput) if self.filled > before => break,
                read => read?,
            };
            if read == 0 {
                break;
            }
            self.filled += read;
            if self.base + self.filled as u64 > self.limits.object_bytes {
                let (at, size) = (self.input.offset(), self.input.size());
                return Err(DecodeError::TooLarge { limit: self.limits.object_bytes, at, size }.into());
            }
        }
        Ok(self.filled > before)
    }

    /// Checks the scanned value at the reader's place, unless the scan saw that it is ASCII.
    fn utf8(&self, found: &Scanned) -> Result<(), DecodeError> {
        if !found.non_ascii {
            return Ok(());
        }
        match std::str::from_utf8(&self.buffer[self.at..found.end]) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.invalid(self.at + error.valid_up_to(), "UTF-8")),
        }
    }

    fn too_long(&self) -> DecodeError {
        DecodeError::ValueTooLong { limit: self.limits.value_bytes, at: self.base + self.at as u64 }
    }

    fn unexpected(&self, expected: &'static str) -> DecodeError {
        self.invalid(self.at, expected)
    }

    fn invalid(&self, at: usize, expected: &'static str) -> DecodeError {
        let found = self.buffer[..self.filled].get(at).map_or_else(|| "the end".to_owned(), |&byte| show(byte));
        DecodeError::Json { at: self.base + at as u64, expected, found }
    }
}

/// `bytes` as they are, or stripped into `space` where `needed`.
fn stripped<'a>(bytes: &'a [u8], needed: bool, which: Strip, space: &'a mut Vec<u8>) -> &'a [u8] {
    if !needed {
        return bytes;
    }
    space.clear();
    scan::strip(bytes, which, space);
    space
}

/// A field's text. One whose escapes do not spell a text is taken as it is written.
fn text<'a>(buffer: &'a [u8], value: &scan::FieldValue) -> Option<std::borrow::Cow<'a, [u8]>> {
    let bytes = &buffer[value.range.clone()];
    if !value.escaped {
        return Some(bytes.into());
    }
    let quoted = &buffer[value.range.start - 1..value.range.end + 1];
    Some(serde_json::from_slice::<String>(quoted).map_or_else(|_| bytes.into(), |text| text.into_bytes().into()))
}

/// A byte for a person to read; never more of the input than one byte, for it may be somebody's secret.
fn show(byte: u8) -> String {
    match byte {
        b' '..=b'~' => format!("'{}'", byte as char),
        _ => format!("byte 0x{byte:02x}"),
    }
}

/// Each place once, in the order of its first event.
#[derive(Debug, Default)]
struct ScopeTable {
    list: Vec<EventScope>,
    index: HashMap<EventScope, u32>,
    /// Where the last events were. Those of one file cluster: a handful of minutes of one account and region.
    recent: [u32; RECENT],
    /// Which of `recent` is the oldest.
    oldest: usize,
}

/// How many places are found without looking them up.
const RECENT: usize = 8;

impl ScopeTable {
    fn intern(&mut self, account: &[u8], region: &[u8], minute: Option<i64>) -> u32 {
        let same = |scope: &EventScope| {
            scope.minute == minute && scope.account.as_bytes() == account && scope.region.as_bytes() == region
        };
        let known = |&&at: &&u32| self.list.get(at as usize).is_some_and(same);
        if let Some(&at) = self.recent.iter().find(known) {
            return at;
        }
        let text = |bytes| EventScope::text(bytes).into_owned();
        let scope = EventScope { account: text(account), region: text(region), minute };
        let next = self.list.len() as u32;
        let at = *self.index.entry(scope.clone()).or_insert(next);
        if at == next {
            self.list.push(scope);
        }
        self.recent[self.oldest] = at;
        self.oldest = (self.oldest + 1) % RECENT;
        at
    }
}

#[cfg(test)]
mod tests;
