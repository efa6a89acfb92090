//! Decode: an object's bytes into events, each as the bytes it came in. Pure.
//!
//! The bytes are inflated into one buffer, and the events are found in place: nothing is copied, no tree is built, and
//! memory does not grow with the object. The gzip trailer and the end of the JSON are part of what is checked: an object
//! counts as read only when [`Events::next`] has answered `None`.

mod cuts;
mod error;
mod fault;
mod input;
mod scan;
mod string;
mod time;

pub use cuts::{Cuts, Cutter};
pub use error::DecodeError;

use crate::event::{EventId, Place};
use fault::Fault;
use input::Input;
use scan::{Field, Scanned, Strip};
use std::borrow::Cow;
use std::collections::HashMap;

/// How much an object may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Decompressed bytes of one object. A gzip stream can blow up a thousandfold.
    pub object_bytes: u64,
    /// Bytes of one event, or of any other value beside `Records`. CloudTrail's events have at most 1 MB.
    /// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/WhatIsCloudTrail-Limits.html>
    pub value_bytes: usize,
    /// Events of one object. What is known of each stays in memory until the object is done, and gzip can pack millions of
    /// empty ones into a file of some kilobytes. CloudTrail's own files hold tens of thousands at the most.
    pub events: u32,
}

impl Default for Limits {
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
    /// Where it belongs: an index into [`Events::places`].
    pub place: u32,
    /// `eventTime` in seconds since 1970.
    pub seconds: Option<i64>,
    /// Where it begins in the decompressed object.
    pub at: u64,
    /// Whether `line` is what lies there, byte by byte.
    pub as_stored: bool,
}

/// Reads the events of one object, in order.
#[derive(Debug)]
pub struct Events<'a> {
    input: Input<'a>,
    limits: Limits,
    /// Inflated bytes; `buffer[at..filled]` is not read yet.
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
    /// Where in the buffer the step began that is under way: it begins again where the bytes end within it.
    begun: usize,
    /// Offset of `buffer[0]` in the decompressed object, as far as what is behind `at` goes.
    base: u64,
    part: Part,
    /// The event that is ready to be taken, at `at`.
    ready: Option<Scanned>,
    ordinal: u32,
    places: Places,
    /// A line or a content that is not in the buffer as it leaves.
    line: Vec<u8>,
    tight: Vec<u8>,
}

/// Where a reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The next event, or line, is ready to be taken.
    Ready,
    /// The bytes given so far are read: feed the next piece and go on.
    Wanting,
    /// All is read, and all of it was sound.
    End,
}

/// Why a step does not come to its end.
#[derive(Debug)]
enum Halt {
    /// The next piece is needed.
    Wanting,
    Error(DecodeError),
}

impl From<DecodeError> for Halt {
    fn from(error: DecodeError) -> Self {
        Self::Error(error)
    }
}

/// How far the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Before the first byte.
    Start,
    /// Between the members of the outermost object. True after the first.
    Members { some: bool, records: bool },
    /// Within the array of events; `some`: after the first. `bare`: the array is the outermost value.
    Records { some: bool, bare: bool },
    /// Behind the outermost value.
    End,
    /// All read.
    Over,
}

/// Bytes of the buffer: room for hundreds of events in an object that has as many, and no more than a small object needs.
/// Asking for memory, clearing it and faulting it in costs more than reading five events.
const SMALLEST_BUFFER: usize = 4 << 10;
const LARGEST_BUFFER: usize = 256 << 10;

impl<'a> Events<'a> {
    /// Reads `stored`, an object as it lies in the bucket: gzip, also of several members, or plain JSON.
    pub fn new(stored: &'a [u8], limits: Limits) -> Self {
        Self::of(Input::new(Cow::Borrowed(stored), stored.len() as u64), limits)
    }

    /// Reads an object of `size` bytes piece by piece. None may be empty, and the first holds the two bytes by which gzip is
    /// told.
    pub fn in_pieces(first: Vec<u8>, size: u64, limits: Limits) -> Self {
        Self::of(Input::new(Cow::Owned(first), size), limits)
    }

    fn of(input: Input<'a>, limits: Limits) -> Self {
        let size = input.likely_size().clamp(SMALLEST_BUFFER, LARGEST_BUFFER);
        Self {
            input,
            limits,
            buffer: vec![0; size],
            at: 0,
            filled: 0,
            begun: 0,
            base: 0,
            part: Part::Start,
            ready: None,
            ordinal: 0,
            places: Places::default(),
            line: Vec::new(),
            tight: Vec::new(),
        }
    }

    /// The places of the events read so far.
    pub fn places(&self) -> &[Place] {
        &self.places.list
    }

    /// The places, once the object is read.
    pub fn into_places(self) -> Vec<Place> {
        self.places.list
    }

    /// Decompressed bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.base + self.at as u64
    }

    /// The next event of an object that was given whole, or `None` when it is read to its end and all of it was sound.
    ///
    /// # Errors
    /// As [`Events::advance`]; an object given in pieces ends too soon where the next one is needed.
    #[allow(clippy::should_implement_trait)] // The event borrows the reader: no iterator.
    pub fn next(&mut self) -> Result<Option<Event<'_>>, DecodeError> {
        match self.advance()? {
            Step::Ready => self.event(),
            Step::End => Ok(None),
            Step::Wanting => {
                let what = "the pieces that were given end".to_owned();
                Err(DecodeError::Gzip { what, at: self.input.offset(), size: self.input.size() })
            }
        }
    }

    /// Goes on until the next event is ready for [`Events::event`].
    ///
    /// # Errors
    /// Any [`DecodeError`]; the object is then unreadable as a whole.
    pub fn advance(&mut self) -> Result<Step, DecodeError> {
        while self.ready.is_none() && self.part != Part::Over {
            // A step is done, or has not begun: what it took is still there where it has to wait for the next piece.
            self.begun = self.at;
            match self.step() {
                Ok(found) => self.ready = found,
                Err(Halt::Error(error)) => return Err(error),
                Err(Halt::Wanting) => {
                    self.at = self.begun;
                    return Ok(Step::Wanting);
                }
            }
        }
        Ok(if self.ready.is_some() { Step::Ready } else { Step::End })
    }

    /// Gives the next piece, after [`Step::Wanting`]. It may not be empty.
    pub fn feed(&mut self, piece: Vec<u8>) {
        self.input.feed(piece);
    }

    fn step(&mut self) -> Result<Option<Scanned>, Halt> {
        match self.part {
            Part::Start => self.start()?,
            Part::Members { some, records } => self.member(some, records)?,
            Part::Records { some, bare } => return self.element(some, bare),
            Part::End => {
                if let Some(_byte) = self.peek()? {
                    return Err(self.unexpected("nothing after the end of the JSON").into());
                }
                self.part = Part::Over;
            }
            Part::Over => {}
        }
        Ok(None)
    }

    fn start(&mut self) -> Result<(), Halt> {
        if self.input.size() == 0 {
            return Err(DecodeError::Empty.into());
        }
        self.part = match self.need("the first value")? {
            b'{' => Part::Members { some: false, records: false },
            b'[' => Part::Records { some: false, bare: true },
            _ => return Err(self.unexpected("'{' or '['").into()),
        };
        self.at += 1;
        Ok(())
    }

    /// One member of the outermost object, or its end.
    fn member(&mut self, some: bool, records: bool) -> Result<(), Halt> {
        const WITHIN: &str = "the outermost object";
        match (self.need(WITHIN)?, some) {
            (b'}', _) => {
                if !records {
                    return Err(DecodeError::NoRecords.into());
                }
                self.at += 1;
                self.part = Part::End;
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
            self.part = Part::Members { some: true, records };
            return Ok(());
        }
        // Twice the same member has no one meaning: what a reader that takes the last would lose, must not pass.
        if records {
            return Err(self.unexpected("\"Records\" no more than once").into());
        }
        if first != b'[' {
            return Err(self.unexpected("'[': \"Records\" is an array").into());
        }
        self.at += 1;
        self.part = Part::Records { some: false, bare: false };
        Ok(())
    }

    /// The next event of the array, or nothing at its end.
    fn element(&mut self, some: bool, bare: bool) -> Result<Option<Scanned>, Halt> {
        const WITHIN: &str = "the array of events";
        match (self.need(WITHIN)?, some) {
            (b']', _) => {
                self.at += 1;
                self.part = if bare { Part::End } else { Part::Members { some: true, records: true } };
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
        self.part = Part::Records { some: true, bare };
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
        let line = stripped(bytes, found.broken, Strip::Breaks, &mut self.line);
        let tight = stripped(bytes, found.spaced, Strip::All, &mut self.tight);
        let text = |field| found.field(field).and_then(|value| text(&self.buffer, value));
        let seconds = text(Field::Time).and_then(|time| time::seconds(&time));
        // An empty one would make copies of one event out of all that have it.
        let id = text(Field::Id).filter(|id| !id.is_empty());
        let id = id.map_or_else(|| EventId::from_content(tight), |id| EventId::from_text(&id));
        let (account, region) = (text(Field::Account).unwrap_or_default(), text(Field::Region).unwrap_or_default());
        let place = self.places.intern(&account, &region, seconds.map(|seconds| seconds.div_euclid(60)));
        let crc = crc32fast::hash(tight);
        let fingerprint = (crc ^ crc >> 16) as u16;
        let (at, as_stored) = (self.base + start as u64, !found.broken);
        Ok(Some(Event { ordinal, line, id, fingerprint, place, seconds, at, as_stored }))
    }

    /// Scans the value at the reader's place, reading on as far as it reaches.
    fn value(&mut self) -> Result<Scanned, Halt> {
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
    fn peek(&mut self) -> Result<Option<u8>, Halt> {
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

    fn need(&mut self, within: &'static str) -> Result<u8, Halt> {
        match self.peek()? {
            Some(byte) => Ok(byte),
            None => Err(DecodeError::Truncated { at: self.base + self.filled as u64, within }.into()),
        }
    }

    /// Fills the buffer behind what is not read yet. False at the end of the object, whose trailer is then verified.
    fn read_on(&mut self) -> Result<bool, Halt> {
        if self.begun > 0 {
            self.buffer.copy_within(self.begun..self.filled, 0);
            self.base += self.begun as u64;
            self.filled -= self.begun;
            self.at -= self.begun;
            self.begun = 0;
        }
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let before = self.filled;
        while self.filled < self.buffer.len() {
            let read = match self.input.read(&mut self.buffer[self.filled..]) {
                // What came before the piece ended may be enough.
                Err(Halt::Wanting) if self.filled > before => break,
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
        if !found.wide {
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
fn text<'a>(buffer: &'a [u8], value: &scan::Value) -> Option<std::borrow::Cow<'a, [u8]>> {
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
struct Places {
    list: Vec<Place>,
    index: HashMap<Place, u32>,
    /// Where the last events were. Those of one file cluster: a handful of minutes of one account and region.
    recent: [u32; RECENT],
    /// Which of `recent` is the oldest.
    oldest: usize,
}

/// How many places are found without looking them up.
const RECENT: usize = 8;

impl Places {
    fn intern(&mut self, account: &[u8], region: &[u8], minute: Option<i64>) -> u32 {
        let same = |place: &Place| {
            place.minute == minute && place.account.as_bytes() == account && place.region.as_bytes() == region
        };
        let known = |&&at: &&u32| self.list.get(at as usize).is_some_and(same);
        if let Some(&at) = self.recent.iter().find(known) {
            return at;
        }
        let text = |bytes| Place::text(bytes).into_owned();
        let place = Place { account: text(account), region: text(region), minute };
        let next = self.list.len() as u32;
        let at = *self.index.entry(place.clone()).or_insert(next);
        if at == next {
            self.list.push(place);
        }
        self.recent[self.oldest] = at;
        self.oldest = (self.oldest + 1) % RECENT;
        at
    }
}

#[cfg(test)]
mod tests;
