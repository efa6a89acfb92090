//! Contents: reads and checks a whole object before any of it is delivered.

use super::stored::StoredObject;
use super::{Deferred, Ingest, IngestAbort};
use crate::decode::{DecodeError, DecodeLimits, DecodeStatus, Event, EventReader, LineOffsets, LineReader};
use crate::event::EventScope;
use crate::event::filter::Filter;
use crate::ledger::EventMeta;
use crate::object::Object;
use crate::object::key::{Recognized, recognize};
use std::sync::Arc;
use tokio::time::Instant;

/// The events of an object, and its lines if they fit into the buffer.
#[derive(Debug)]
pub(super) struct Contents<'a> {
    stored: StoredObject<'a>,
    stop: Instant,
    limits: DecodeLimits,
    pub events: Vec<EventMeta>,
    /// The scopes of the events themselves. They select the ledger's pages.
    pub scopes: Arc<Vec<EventScope>>,
    /// The scopes for the sink. An event without an account or region gets the one in the object's key.
    pub sink_scopes: Arc<Vec<EventScope>>,
    /// Total bytes of the lines, including line ends.
    pub line_bytes: usize,
    /// Length of the longest line in bytes, without the line end.
    pub longest_line_bytes: usize,
    /// Decompressed size in bytes.
    pub size: u64,
    /// `eventTime` of the newest event.
    pub newest: Option<i64>,
    retained: RetainedLines,
}

/// What is retained of the lines between reading and delivery.
#[derive(Debug)]
enum RetainedLines {
    /// All lines.
    Buffered(LineBuffer),
    /// The offsets of the lines in the decompressed object.
    LineOffsets(LineOffsets),
    /// Nothing: the delivered lines differ from the object's bytes, so the object must be decoded again.
    None,
}

/// All lines of an object, one after the other.
#[derive(Debug, Default)]
pub(super) struct LineBuffer {
    lines: Vec<u8>,
    /// The end of each line in `lines`.
    ends: Vec<usize>,
}

impl LineBuffer {
    /// Returns the line at index `next` with that index, and increments `next`.
    fn line(&self, next: &mut usize) -> Option<(u32, &[u8])> {
        let end = *self.ends.get(*next)?;
        let start = next.checked_sub(1).map_or(0, |before| self.ends[before]);
        let ordinal = *next as u32;
        *next += 1;
        Some((ordinal, &self.lines[start..end]))
    }
}

/// Collects the events' fields while the object is read.
#[derive(Debug, Default)]
struct EventScan {
    events: Vec<EventMeta>,
    line_bytes: usize,
    longest_line_bytes: usize,
    newest: Option<i64>,
    /// The lines, until they exceed the buffer limit.
    buffer: Option<LineBuffer>,
    line_offsets: Option<LineOffsets>,
}

impl EventScan {
    fn add(&mut self, event: Option<Event<'_>>, filter: &Filter, max_buffered_bytes: usize) {
        let Some(event) = event else { return };
        let Event { id, scope, fingerprint, line, seconds, .. } = event;
        self.events.push(EventMeta { id, scope, fingerprint, filtered: filter.drops_event(&event) });
        self.line_bytes += line.len() + 1;
        self.longest_line_bytes = self.longest_line_bytes.max(line.len());
        self.newest = self.newest.max(seconds);
        self.line_offsets =
            self.line_offsets.take().and_then(|mut line_offsets| line_offsets.add(&event).then_some(line_offsets));
        self.buffer = self.buffer.take().filter(|buffer| buffer.lines.len() + line.len() <= max_buffered_bytes);
        if let Some(buffer) = &mut self.buffer {
            buffer.lines.extend_from_slice(line);
            buffer.ends.push(buffer.lines.len());
        }
    }

    fn retained(buffer: Option<LineBuffer>, line_offsets: Option<LineOffsets>) -> RetainedLines {
        match (buffer, line_offsets) {
            (Some(buffer), _) => RetainedLines::Buffered(buffer),
            (None, Some(line_offsets)) => RetainedLines::LineOffsets(line_offsets),
            (None, None) => RetainedLines::None,
        }
    }
}

impl<'a> Contents<'a> {
    /// Reads the whole object. `size_hint` is the announced size in bytes. The lines are buffered if they take at most
    /// [`Ingest::max_buffered_bytes`]; a larger object is decompressed again for delivery. No request continues after
    /// `stop`.
    pub(super) async fn read(
        ingest: &'a Ingest,
        object: &Object,
        size_hint: Option<u64>,
        stop: Instant,
    ) -> Result<Self, IngestAbort> {
        let (mut stored, first) = StoredObject::fetch(
            &*ingest.source,
            object,
            size_hint,
            ingest.max_buffered_bytes,
            ingest.chunk_bytes,
            stop,
        )
        .await?;
        let max_buffered_bytes = ingest.max_buffered_bytes;
        let mut scan = EventScan { line_offsets: Some(LineOffsets::default()), ..EventScan::default() };
        let (size, scopes) = match first {
            Some(first) => {
                let mut reader =
                    EventReader::in_chunks(first, stored.size(), ingest.limits).noting(ingest.filter.selected_fields());
                loop {
                    match reader.advance().map_err(from_decode_error)? {
                        DecodeStatus::Ready => {
                            scan.add(reader.event().map_err(from_decode_error)?, &ingest.filter, max_buffered_bytes)
                        }
                        DecodeStatus::NeedsInput => {
                            check_deadline(stop)?;
                            reader.feed(stored.next().await?);
                        }
                        DecodeStatus::End => break (reader.bytes(), reader.into_scopes()),
                    }
                }
            }
            None => {
                let whole = stored.whole().unwrap_or_default();
                // If the compressed object exceeds the limit, the decompressed lines almost certainly exceed it too.
                scan.buffer = (whole.len() <= max_buffered_bytes).then(LineBuffer::default);
                let mut reader = EventReader::new(whole, ingest.limits).noting(ingest.filter.selected_fields());
                while reader.advance().map_err(from_decode_error)? == DecodeStatus::Ready {
                    scan.add(reader.event().map_err(from_decode_error)?, &ingest.filter, max_buffered_bytes);
                }
                (reader.bytes(), reader.into_scopes())
            }
        };
        let EventScan { events, line_bytes, longest_line_bytes, newest, buffer, line_offsets } = scan;
        let (scopes, retained) = (Arc::new(scopes), EventScan::retained(buffer, line_offsets));
        let sink_scopes = sink_scopes(&scopes, &object.key);
        let limits = ingest.limits;
        Ok(Self {
            stored,
            stop,
            limits,
            events,
            scopes,
            sink_scopes,
            line_bytes,
            longest_line_bytes,
            size,
            newest,
            retained,
        })
    }

    /// Returns the stored size of the object in bytes.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.stored.size()
    }

    /// Returns the lines, starting with the first.
    pub(super) async fn lines(&self) -> Result<ObjectLines<'_>, IngestAbort> {
        let stored = &self.stored;
        let source = match (&self.retained, stored.whole()) {
            (RetainedLines::Buffered(buffer), _) => LineSource::LineBuffer { buffer, next: 0 },
            (RetainedLines::LineOffsets(line_offsets), Some(whole)) => {
                LineSource::Cut(Box::new(LineReader::new(whole, line_offsets)))
            }
            (RetainedLines::LineOffsets(line_offsets), None) => {
                LineSource::Cut(Box::new(LineReader::in_chunks(stored.refetch(0).await?, stored.size(), line_offsets)))
            }
            (RetainedLines::None, Some(whole)) => LineSource::Read(Box::new(EventReader::new(whole, self.limits))),
            (RetainedLines::None, None) => {
                LineSource::Read(Box::new(EventReader::in_chunks(stored.refetch(0).await?, stored.size(), self.limits)))
            }
        };
        Ok(ObjectLines { stored, stop: self.stop, chunks: 1, source })
    }
}

/// Returns the scopes for the sink: an event without account or region gets that of the object's key. CloudTrail names
/// a file after the account and the region of its events, so copies of the event in other objects get the same values.
/// The ledger does not use these values: a copy in a renamed file would be looked up in another page and delivered
/// again.
fn sink_scopes(scopes: &Arc<Vec<EventScope>>, key: &str) -> Arc<Vec<EventScope>> {
    let is_complete = |scope: &EventScope| !scope.account.is_empty() && !scope.region.is_empty();
    let Recognized::Log { account, region, .. } = recognize(key) else { return Arc::clone(scopes) };
    if scopes.iter().all(is_complete) {
        return Arc::clone(scopes);
    }
    let value_or = |text: &str, of_key: &str| if text.is_empty() { of_key.to_owned() } else { text.to_owned() };
    let filled = scopes.iter().map(|scope| EventScope {
        account: value_or(&scope.account, account),
        region: value_or(&scope.region, region),
        minute: scope.minute,
    });
    Arc::new(filled.collect())
}

/// Fails with `OutOfTime` once `stop` has passed. Without this check, an endless or slow object would also delay the
/// other objects of the invocation.
fn check_deadline(stop: Instant) -> Result<(), IngestAbort> {
    if Instant::now() < stop { Ok(()) } else { Err(IngestAbort::Deferred(Deferred::OutOfTime)) }
}

fn from_decode_error(error: DecodeError) -> IngestAbort {
    IngestAbort::Quarantine { kind: error.kind().into(), reason: error.to_string() }
}

/// The lines of an object, in file order.
#[derive(Debug)]
pub(super) struct ObjectLines<'a> {
    stored: &'a StoredObject<'a>,
    stop: Instant,
    /// Number of chunks passed to the decoder.
    chunks: usize,
    source: LineSource<'a>,
}

/// Where the lines come from. See [`RetainedLines`].
#[derive(Debug)]
enum LineSource<'a> {
    LineBuffer {
        buffer: &'a LineBuffer,
        next: usize,
    },
    /// Decompresses the object again and cuts the lines at their offsets.
    Cut(Box<LineReader<'a>>),
    /// Decodes the object again.
    Read(Box<EventReader<'a>>),
}

impl ObjectLines<'_> {
    /// Returns the next line and its event's index.
    pub(super) async fn next(&mut self) -> Result<Option<(u32, &[u8])>, IngestAbort> {
        loop {
            let step = match &mut self.source {
                LineSource::LineBuffer { .. } => break,
                LineSource::Cut(lines) => lines.advance(),
                LineSource::Read(events) => events.advance(),
            };
            match step? {
                DecodeStatus::Ready => break,
                DecodeStatus::End => return Ok(None),
                DecodeStatus::NeedsInput => {
                    check_deadline(self.stop)?;
                    let chunk = self.stored.refetch(self.chunks).await?;
                    self.chunks += 1;
                    match &mut self.source {
                        LineSource::LineBuffer { .. } => {}
                        LineSource::Cut(lines) => lines.feed(chunk),
                        LineSource::Read(events) => events.feed(chunk),
                    }
                }
            }
        }
        Ok(match &mut self.source {
            LineSource::LineBuffer { buffer, next } => buffer.line(next),
            LineSource::Cut(lines) => lines.line(),
            LineSource::Read(events) => events.event()?.map(|event| (event.ordinal, event.line)),
        })
    }
}
