//! Packing: lines into records, records into calls, both close to the limits. Pure.

use crate::event::Place;
use std::sync::Arc;

/// What one call to a sink may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one record, line ends included.
    pub record_bytes: usize,
    /// Records of one call.
    pub call_records: usize,
    /// Bytes of one call, line ends included.
    pub call_bytes: usize,
    /// How many lines share a record.
    pub lines: LinesPerRecord,
}

/// How many lines share a record: what the destination behind the stream can take apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinesPerRecord {
    /// As many as fit: S3, with or without conversion to Parquet.
    Packed,
    /// One: OpenSearch, Iceberg, Splunk.
    One,
}

/// One call to a sink: whole lines, each ending with `\n`, in the order of the file they came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Call {
    /// All lines.
    pub body: Vec<u8>,
    /// Where each record ends in `body`.
    pub records: Vec<usize>,
    /// The lines, in order.
    pub lines: Vec<Line>,
    /// What [`Line::place`] points into.
    pub places: Arc<Vec<Place>>,
}

/// One line of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Where it ends in the call's body, `\n` included.
    pub end: usize,
    /// The event's index in its file.
    pub ordinal: u32,
    /// Index into the call's places.
    pub place: u32,
}
