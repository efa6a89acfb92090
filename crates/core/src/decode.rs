//! The decoder: splits the bytes of an object into events and preserves each event's bytes.
//!
//! The decoder decompresses into one buffer and finds the events in place. It builds no tree, and copies an event only to
//! remove white space from it. The buffer does not grow with the object: it grows only until it holds the longest value.
//! The decoder also verifies the gzip trailer and the end of the JSON: an object is valid only when [`EventReader::next`]
//! has returned `None`.

mod error;
mod fault;
mod fields;
mod foreign;
mod grammar;
mod input;
mod line_offsets;
mod name_table;
mod scan;
mod scope_table;
pub(crate) mod string;
pub mod time;

pub use error::{DecodeError, JsonDefect};
pub(crate) use fields::IDENTITY;
pub use fields::{EventOffsets, FieldOffsets, MAX_IDENTITY_FIELDS, MAX_SELECTED_FIELDS, SelectedFields};
pub use foreign::ForeignFormat;
pub use line_offsets::{LineOffsets, LineReader};
pub(crate) use scan::MAX_JSON_DEPTH;

use crate::event::members::members;
use crate::event::{EventId, EventScope, minute_in_window};
use fault::Fault;
use fields::NotedEvent;
use grammar::ReaderState;
use input::Input;
use scan::{Field, Scanned, Strip};
use scope_table::ScopeTable;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// The limits of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Maximum decompressed bytes of one object. Gzip can expand data by a factor of a thousand.
    pub object_bytes: u64,
    /// Maximum bytes of one event, or of any other member next to `Records`. A CloudTrail event has at most 1 MB.
    /// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/WhatIsCloudTrail-Limits.html>
    pub value_bytes: usize,
    /// Maximum number of events of one object. The metadata of each event stays in memory until the object is done, and
    /// gzip can compress millions of empty events into a few kilobytes. CloudTrail's files hold at most tens of
    /// thousands.
    pub events: u32,
}

impl Default for DecodeLimits {
    /// Returns 2 GiB per object, 16 MiB per value and 1,000,000 events.
    fn default() -> Self {
        Self { object_bytes: 2 << 30, value_bytes: 16 << 20, events: 1_000_000 }
    }
}

/// One decoded event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// The index of the event in `Records`.
    pub ordinal: u32,
    /// The bytes of the event without a line end. Runs of insignificant white space that contain a line break are
    /// removed; all other bytes are preserved.
    pub line: &'a [u8],
    /// The event ID. Events without ID and with the same content have different IDs: their number in the object is
    /// part of the ID.
    pub id: EventId,
    /// A 16-bit checksum of the content, independent of insignificant white space.
    pub fingerprint: u16,
    /// The index of the event's scope in [`EventReader::scopes`].
    pub scope: u32,
    /// `eventTime` in seconds since 1970. Without a valid `eventTime`: the start of the time window, which aggregated
    /// events have.
    pub seconds: Option<i64>,
    /// The offset of the event in the decompressed object.
    pub at: u64,
    /// Whether `line` is identical to the bytes at that offset.
    pub as_stored: bool,
    /// The offsets of the selected fields, if the reader notes them and `line` is identical to the stored bytes. A filter
    /// reads these fields without a second scan.
    pub offsets: Option<EventOffsets<'a>>,
}

/// Reads the events of one object, in order.
#[derive(Debug)]
pub struct EventReader<'a> {
    input: Input<'a>,
    limits: DecodeLimits,
    /// Decompressed bytes; `buffer[at..filled]` is not parsed yet.
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
    /// Start of the current step in the buffer. If the bytes end within the step, the step restarts here.
    step_start: usize,
    /// Offset of `buffer[0]` in the decompressed object. Only correct for the bytes from `at` on, because white space
    /// is discarded from the middle of the buffer.
    base: u64,
    state: ReaderState,
    /// The scanned event at `at`, until [`EventReader::event`] returns it.
    ready: Option<Scanned>,
    ordinal: u32,
    scopes: ScopeTable,
    /// How many events without ID have this content so far. Only such events take memory here, up to 48 bytes each.
    occurrences: HashMap<EventId, u32>,
    /// The format that the names in the outermost object indicate, if it has no `Records`.
    format: Option<&'static ForeignFormat>,
    /// The fields whose offsets are noted, and their offsets in the event at `at`.
    noted: Option<Box<NotedEvent>>,
    /// The current line, if it differs from the bytes in the buffer.
    line: Vec<u8>,
    /// The current event without insignificant white space, if it differs from the bytes in the buffer.
    compact: Vec<u8>,
}

/// The state of a reader between two calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeStatus {
    /// The next event or line is ready.
    Ready,
    /// All bytes so far are consumed: feed the next chunk, then continue.
    NeedsInput,
    /// The whole object is read and valid.
    End,
}

/// The reason why a step did not complete.
#[derive(Debug)]
enum StepError {
    /// The next chunk is required.
    NeedsInput,
    /// The object is invalid.
    Error(DecodeError),
}

impl From<DecodeError> for StepError {
    fn from(error: DecodeError) -> Self {
        Self::Error(error)
    }
}

/// Bounds of the initial size of the buffer in bytes. A large object gets a buffer for hundreds of events. A small object gets a
/// small one, because allocating, clearing and page-faulting a large buffer costs more than reading five events.
const MIN_INITIAL_BUFFER: usize = 4 << 10;
const MAX_INITIAL_BUFFER: usize = 256 << 10;

impl<'a> EventReader<'a> {
    /// Reads `stored`, an object as stored in the bucket: plain JSON, or gzip with one or more members.
    pub fn new(stored: &'a [u8], limits: DecodeLimits) -> Self {
        Self::of(Input::new(Cow::Borrowed(stored), stored.len() as u64), limits)
    }

    /// Reads an object of `size` stored bytes in chunks. No chunk may be empty, and the first must contain at least the
    /// two magic bytes of gzip.
    pub fn in_chunks(first: Vec<u8>, size: u64, limits: DecodeLimits) -> Self {
        Self::of(Input::new(Cow::Owned(first), size), limits)
    }

    fn of(input: Input<'a>, limits: DecodeLimits) -> Self {
        let size = input.likely_size().clamp(MIN_INITIAL_BUFFER, MAX_INITIAL_BUFFER);
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
            occurrences: HashMap::new(),
            format: None,
            noted: None,
            line: Vec::new(),
            compact: Vec::new(),
        }
    }

    /// Notes the offsets of these fields of each event for [`Event::offsets`].
    #[must_use]
    pub fn noting(mut self, selected: Option<Arc<SelectedFields>>) -> Self {
        self.noted = selected.map(NotedEvent::new);
        self
    }

    /// Returns the scopes of the events read so far.
    pub fn scopes(&self) -> &[EventScope] {
        &self.scopes.list
    }

    /// Consumes the reader and returns the scopes of the events read so far.
    pub fn into_scopes(self) -> Vec<EventScope> {
        self.scopes.list
    }

    /// Returns the number of decompressed bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Returns the next event of an object that was passed as a whole, or `None` after the last event if the whole
    /// object is valid.
    ///
    /// # Errors
    /// The errors of [`EventReader::advance`]. If the object is read in chunks, an error where the next chunk is
    /// required.
    #[allow(clippy::should_implement_trait)] // The event borrows the reader, so this cannot be an iterator.
    pub fn next(&mut self) -> Result<Option<Event<'_>>, DecodeError> {
        match self.advance()? {
            DecodeStatus::Ready => self.event(),
            DecodeStatus::End => Ok(None),
            DecodeStatus::NeedsInput => {
                let what = "the object ends before its last chunk".to_owned();
                Err(DecodeError::Gzip { what, at: self.input.offset(), size: self.input.size() })
            }
        }
    }

    /// Reads until the next event is ready for [`EventReader::event`].
    ///
    /// # Errors
    /// Any [`DecodeError`]. The object as a whole is then invalid.
    pub fn advance(&mut self) -> Result<DecodeStatus, DecodeError> {
        while self.ready.is_none() && self.state != ReaderState::Done {
            // A step that needs the next chunk restarts from here, so its bytes stay in the buffer until it completes.
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

    /// Supplies the next chunk after [`DecodeStatus::NeedsInput`]. The chunk must not be empty.
    pub fn feed(&mut self, chunk: Vec<u8>) {
        self.input.feed(chunk);
    }

    /// Returns the event that is ready, or `None` if no event is ready.
    ///
    /// # Errors
    /// [`DecodeError::TooMany`] if the object has more events than the limit.
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
        // An empty value counts as a missing one. Otherwise all events with an empty ID would be duplicates of one event.
        let present = |field| text(field).filter(|text| !text.is_empty());
        // Aggregated events have other names for ID and account. An event with both names is not aggregated.
        let id = present(Field::Id).or_else(|| present(Field::AggregatedId));
        let id = id.map_or_else(|| content_id(&mut self.occurrences, compact), |id| EventId::from_text(&id));
        let mut seconds = text(Field::Time).and_then(|time| time::seconds(&time));
        let mut minute = seconds.map(|seconds| seconds.div_euclid(60));
        if seconds.is_none() {
            seconds = window_start(bytes);
            minute = seconds.map(|start| minute_in_window(start, id));
        }
        let account = present(Field::Account).or_else(|| present(Field::AggregatedAccount));
        let (account, region) = (account.unwrap_or_default(), text(Field::Region).unwrap_or_default());
        let scope = self.scopes.intern(&account, &region, minute);
        let crc = crc32fast::hash(compact);
        let fingerprint = (crc ^ crc >> 16) as u16;
        let (at, as_stored) = (self.base + start as u64, !found.has_line_break);
        let noted = self.noted.as_deref().filter(|_| as_stored);
        let offsets = noted.map(|noted| EventOffsets { selected: &noted.selected, offsets: &noted.offsets });
        Ok(Some(Event { ordinal, line, id, fingerprint, scope, seconds, at, as_stored, offsets }))
    }

    /// Scans the value at `at` and reads more bytes until the value is complete.
    fn value(&mut self) -> Result<Scanned, StepError> {
        self.scan_value(scan::value)
    }

    /// Scans the event at `at` and notes the selected fields.
    fn scanned_event(&mut self) -> Result<Scanned, StepError> {
        let Some(mut noted) = self.noted.take() else { return self.value() };
        let found = self.scan_value(|bytes, at| scan::event_fields(bytes, at, &noted.selected, &mut noted.offsets));
        self.noted = Some(noted);
        found
    }

    #[inline(always)]
    fn scan_value(
        &mut self,
        mut scan: impl FnMut(&[u8], usize) -> Result<Scanned, Fault>,
    ) -> Result<Scanned, StepError> {
        loop {
            let scanned = scan(&self.buffer[..self.filled], self.at);
            let fault = match scanned {
                Ok(found) if found.end - self.at > self.limits.value_bytes => return Err(self.too_long().into()),
                // A number has no end mark: the next byte may continue it.
                Ok(found) if found.end == self.filled && self.buffer[self.filled - 1].is_ascii_digit() => {
                    if !self.read_more()? {
                        // A log file cannot end with a number: the enclosing object is not closed.
                        let at = self.base + self.filled as u64;
                        return Err(DecodeError::Truncated { at, within: "the outermost object" }.into());
                    }
                    continue;
                }
                Ok(found) => return Ok(found),
                Err(fault) => fault,
            };
            match fault {
                Fault::Invalid { at, defect } => return Err(self.invalid(at, *defect).into()),
                Fault::Incomplete if self.filled - self.at > self.limits.value_bytes => {
                    return Err(self.too_long().into());
                }
                Fault::Incomplete => {
                    if !self.read_more()? {
                        let at = self.base + self.filled as u64;
                        return Err(DecodeError::Truncated { at, within: "a value" }.into());
                    }
                }
            }
        }
    }

    /// Skips white space and returns the next byte without consuming it, or `None` at the end of the object.
    fn peek(&mut self) -> Result<Option<u8>, StepError> {
        let mut start = self.at;
        loop {
            while self.at < self.filled {
                match self.buffer[self.at] {
                    b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                    byte => return Ok(Some(byte)),
                }
            }
            // Only white space remains in the buffer: discard it, so that memory does not grow with it.
            self.base += (self.filled - start) as u64;
            (self.at, self.filled) = (start, start);
            if !self.read_more()? {
                return Ok(None);
            }
            start = self.at;
        }
    }

    /// Does the same as `peek`, but returns an error at the end of the object.
    fn need(&mut self, within: &'static str) -> Result<u8, StepError> {
        match self.peek()? {
            Some(byte) => Ok(byte),
            None => Err(DecodeError::Truncated { at: self.base + self.filled as u64, within }.into()),
        }
    }

    /// Reads more bytes into the buffer. Returns false at the end of the object; the gzip trailer is then verified.
    fn read_more(&mut self) -> Result<bool, StepError> {
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
                // The bytes read before the end of the chunk may be sufficient.
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

    /// Checks that the scanned value at `at` is UTF-8. A value that is ASCII needs no check.
    fn utf8(&self, found: &Scanned) -> Result<(), DecodeError> {
        if !found.non_ascii {
            return Ok(());
        }
        match std::str::from_utf8(&self.buffer[self.at..found.end]) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.invalid(self.at + error.valid_up_to(), JsonDefect::Utf8)),
        }
    }

    fn too_long(&self) -> DecodeError {
        DecodeError::ValueTooLong { limit: self.limits.value_bytes, at: self.base + self.at as u64 }
    }

    fn unexpected(&self, expected: &'static str) -> DecodeError {
        self.invalid(self.at, JsonDefect::Expected(expected))
    }

    fn invalid(&self, at: usize, defect: JsonDefect) -> DecodeError {
        let found = self.buffer[..self.filled].get(at).map_or_else(|| "the end".to_owned(), |&byte| show(byte));
        DecodeError::Json { at: self.base + at as u64, defect, found }
    }
}

/// Returns `bytes` unchanged, or, if `needed`, a copy in `out` without the white space that `which` selects.
fn stripped<'a>(bytes: &'a [u8], needed: bool, which: Strip, out: &'a mut Vec<u8>) -> &'a [u8] {
    if !needed {
        return bytes;
    }
    out.clear();
    scan::strip(bytes, which, out);
    out
}

/// Returns the unescaped text of a field. If its escapes are not valid Unicode, returns the text as written.
fn text<'a>(buffer: &'a [u8], value: &scan::FieldValue) -> Option<std::borrow::Cow<'a, [u8]>> {
    let bytes = &buffer[value.range.clone()];
    if !value.escaped {
        return Some(bytes.into());
    }
    let quoted = &buffer[value.range.start - 1..value.range.end + 1];
    Some(serde_json::from_slice::<String>(quoted).map_or_else(|_| bytes.into(), |text| text.into_bytes().into()))
}

/// Returns the ID of an event without an event ID of its own. It depends on the content and on the number of earlier
/// events with the same content.
#[cold]
fn content_id(occurrences: &mut HashMap<EventId, u32>, compact: &[u8]) -> EventId {
    let content = EventId::from_content(compact);
    let number = occurrences.entry(content).or_default();
    let id = content.occurrence(*number);
    *number += 1;
    id
}

/// Returns the start of an event's time window in seconds since 1970. The scanner does not record it, so that events
/// with a time are read faster.
#[cold]
fn window_start(event: &[u8]) -> Option<i64> {
    let event = members(event, |name| name == "timeWindow").ok()?;
    let window = members(event.get("timeWindow")?.get().as_bytes(), |name| name == "windowStart").ok()?;
    time::seconds(serde_json::from_str::<String>(window.get("windowStart")?.get()).ok()?.as_bytes())
}

/// Formats a byte for an error message. Error messages show at most one byte of the input, because it may be
/// confidential.
fn show(byte: u8) -> String {
    match byte {
        b' '..=b'~' => format!("'{}'", byte as char),
        _ => format!("byte 0x{byte:02x}"),
    }
}

#[cfg(test)]
mod tests;
