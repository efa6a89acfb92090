//! Batches: consecutive events of one checkpoint, within limits.

use crate::event::filter::Filter;
use crate::sink::SinkError;
use crate::sink::jsonl::{CommittedSegments, EventPosition, FileFault, Removal, Segment, SegmentReader};
use crate::state::Cursor;
use std::collections::VecDeque;
use std::sync::Arc;

/// The number of segments that are read from the record at once.
const SEGMENTS_READ: u32 = 256;

/// The limits of a batch. A longer event gets a batch of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// The maximum number of events.
    pub events: usize,
    /// The maximum size of the events in bytes, without line breaks.
    pub bytes: usize,
}

/// An event of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowedEvent {
    /// The number of its file. [`EventBatch::files`] has the path.
    pub file: i64,
    /// Where it is in its file.
    pub position: EventPosition,
    /// Its end in [`EventBatch::bytes`].
    end: usize,
}

/// Consecutive events of one checkpoint, in commit order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventBatch {
    /// The events' own bytes, one after another.
    pub bytes: Vec<u8>,
    /// The events.
    pub events: Vec<FollowedEvent>,
    /// The numbers and paths of the files that contain them, relative to the destination.
    pub files: Vec<(i64, String)>,
    /// The position after the last event.
    pub(crate) end: Cursor,
}

impl EventBatch {
    /// Returns the events with their bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&FollowedEvent, &[u8])> {
        let mut start = 0;
        self.events.iter().map(move |event| {
            let bytes = &self.bytes[start..event.end];
            start = event.end;
            (event, bytes)
        })
    }

    fn has_room(&self, event: usize, limits: BatchLimits) -> bool {
        self.events.is_empty() || (self.events.len() < limits.events && self.bytes.len() + event <= limits.bytes)
    }
}

/// The result of reading a batch.
#[derive(Debug)]
pub(super) enum NextBatch {
    Batch(EventBatch),
    /// Everything that is committed was read.
    End,
    /// The next segment cannot be read.
    Unreadable {
        segment: Box<Segment>,
        fault: FileFault,
    },
}

/// Reads batches from a position.
#[derive(Debug)]
pub(super) struct BatchReader {
    segments: Arc<CommittedSegments>,
    limits: BatchLimits,
    /// The position after the last event that was returned.
    position: Cursor,
    /// The last segment that was taken from the record.
    last_taken: i64,
    /// Segments that were taken from the record and are not opened yet.
    waiting: VecDeque<Segment>,
    current: Option<OpenSegment>,
    /// An event that did not fit into the last batch.
    held: Option<(EventPosition, Vec<u8>)>,
    omitted: OmittedSegments,
    filter: Filter,
    /// The number of events that the filter dropped.
    filtered: u64,
}

/// Segments that a reader omitted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct OmittedSegments {
    /// Segments whose events a rebuild delivers again.
    pub(super) rebuilt: u64,
    /// Segments whose files were pruned.
    pub(super) pruned: u64,
    /// The events of pruned segments that were not read. Segments with an unknown number of events do not count.
    pub(super) pruned_events: u64,
}

#[derive(Debug)]
struct OpenSegment {
    segment: Segment,
    reader: SegmentReader,
    /// The number of its events that were returned.
    lines: u64,
}

impl OpenSegment {
    /// Returns the position after the events that were returned.
    fn cursor(&self) -> Cursor {
        Cursor { lines: Some(self.lines), ..Cursor::after(&self.segment) }
    }
}

impl BatchReader {
    pub(super) fn new(segments: Arc<CommittedSegments>, position: Cursor, limits: BatchLimits) -> Self {
        // A partly read segment is read again from its start, without the first events.
        let last_taken = if position.lines.is_some() { position.segment - 1 } else { position.segment };
        Self {
            segments,
            limits,
            position,
            last_taken,
            waiting: VecDeque::new(),
            current: None,
            held: None,
            omitted: OmittedSegments::default(),
            filter: Filter::default(),
            filtered: 0,
        }
    }

    /// Sets the filter. Events that it drops are not returned.
    pub(super) fn with_filter(self, filter: Filter) -> Self {
        Self { filter, ..self }
    }

    /// Returns the number of dropped events. Like the segments of [`BatchReader::omitted`], they are before the end of the
    /// last batch.
    pub(super) fn filtered(&self) -> u64 {
        self.filtered
    }

    /// Returns the position after the last event that was returned, and after segments without events.
    pub(super) fn position(&self) -> &Cursor {
        &self.position
    }

    /// Returns the omitted segments. They are before the end of the last batch that was returned, or before
    /// [`BatchReader::position`] if no batch was returned after them.
    pub(super) fn omitted(&self) -> OmittedSegments {
        self.omitted
    }

    pub(super) fn next_batch(&mut self) -> Result<NextBatch, SinkError> {
        let mut batch = EventBatch::default();
        let mut checkpoint = None;
        loop {
            let Some(open) = &mut self.current else {
                let Some(segment) = self.next_segment()? else { return Ok(self.complete(batch, NextBatch::End)) };
                if checkpoint.is_some_and(|checkpoint| checkpoint != segment.checkpoint) {
                    self.waiting.push_front(segment);
                    return Ok(self.complete(batch, NextBatch::End));
                }
                if self.omits(&segment) {
                    self.pass(&mut batch, Cursor::after(&segment));
                    continue;
                }
                match self.open(segment) {
                    Ok(open) => self.current = Some(open),
                    Err((segment, fault)) => {
                        self.waiting.push_front((*segment).clone());
                        return Ok(self.complete(batch, NextBatch::Unreadable { segment, fault }));
                    }
                }
                continue;
            };
            let next = match self.held.take() {
                Some(held) => Ok(Some(held)),
                None => open.reader.next_event().map(|next| next.map(|(position, event)| (position, event.to_vec()))),
            };
            match next {
                Ok(Some((_, event))) if self.filter.drops(&event) => {
                    open.lines += 1;
                    self.filtered += 1;
                    let cursor = open.cursor();
                    self.pass(&mut batch, cursor);
                }
                Ok(Some((position, event))) => {
                    if !batch.has_room(event.len(), self.limits) {
                        self.held = Some((position, event));
                        return Ok(self.complete(batch, NextBatch::End));
                    }
                    checkpoint = Some(open.segment.checkpoint);
                    open.lines += 1;
                    batch.bytes.extend_from_slice(&event);
                    batch.events.push(FollowedEvent { file: open.segment.file, position, end: batch.bytes.len() });
                    if batch.files.last().is_none_or(|(file, _)| *file != open.segment.file) {
                        batch.files.push((open.segment.file, open.segment.path.clone()));
                    }
                    batch.end = open.cursor();
                }
                Ok(None) => {
                    let cursor = Cursor::after(&open.segment);
                    self.current = None;
                    self.pass(&mut batch, cursor);
                }
                Err(fault) => {
                    // The events before the fault are returned first, so that the next call finds the same fault.
                    let segment = Box::new(open.segment.clone());
                    self.current = None;
                    self.waiting.push_front((*segment).clone());
                    return Ok(self.complete(batch, NextBatch::Unreadable { segment, fault }));
                }
            }
        }
    }

    /// Returns whether a segment is omitted, because its events are delivered again or were pruned. Counts it then.
    fn omits(&mut self, segment: &Segment) -> bool {
        match segment.removed {
            Some(Removal::Rebuilt) => self.omitted.rebuilt += 1,
            Some(Removal::Pruned) => {
                self.omitted.pruned += 1;
                self.omitted.pruned_events += segment.events.unwrap_or(0).saturating_sub(self.lines_read(segment));
            }
            Some(Removal::Released) | None => return false,
        }
        true
    }

    /// Returns the number of events of a segment that were returned before this reader was created.
    fn lines_read(&self, segment: &Segment) -> u64 {
        if self.position.segment == segment.id { self.position.lines.unwrap_or(0) } else { 0 }
    }

    /// Records that a segment or a dropped event was passed.
    fn pass(&mut self, batch: &mut EventBatch, cursor: Cursor) {
        match batch.events.is_empty() {
            true => self.position = cursor,
            false => batch.end = cursor,
        }
    }

    /// Returns the batch if it has events, and `otherwise` if it has none.
    fn complete(&mut self, batch: EventBatch, otherwise: NextBatch) -> NextBatch {
        if batch.events.is_empty() {
            return otherwise;
        }
        self.position = batch.end.clone();
        NextBatch::Batch(batch)
    }

    fn next_segment(&mut self) -> Result<Option<Segment>, SinkError> {
        if self.waiting.is_empty() {
            self.waiting.extend(self.segments.after(self.last_taken, SEGMENTS_READ)?);
            self.last_taken = self.waiting.back().map_or(self.last_taken, |segment| segment.id);
        }
        Ok(self.waiting.pop_front())
    }

    /// Opens a segment and skips the events that were returned before.
    fn open(&self, segment: Segment) -> Result<OpenSegment, (Box<Segment>, FileFault)> {
        let done = self.lines_read(&segment);
        let skip = |reader: &mut SegmentReader| {
            for _ in 0..done {
                reader.next_event()?;
            }
            Ok(())
        };
        let opened =
            SegmentReader::open(&self.segments, &segment).and_then(|mut reader| skip(&mut reader).map(|()| reader));
        match opened {
            Ok(reader) => Ok(OpenSegment { segment, reader, lines: done }),
            Err(fault) => Err((Box::new(segment), fault)),
        }
    }
}
