//! Packs lines into records and records into calls, close to the limits of both.

use crate::event::EventScope;
use std::sync::Arc;

/// The limits of a record and of a call to a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackLimits {
    /// Maximum bytes of one record, including line ends.
    pub record_bytes: usize,
    /// Maximum number of records of one call.
    pub call_records: usize,
    /// Maximum bytes of one call, including line ends. If records may be longer than calls, a line that exceeds this
    /// limit is sent in a call of its own.
    pub call_bytes: usize,
    /// Whether lines share a record.
    pub lines: LinesPerRecord,
}

impl PackLimits {
    /// Returns the maximum bytes of a line, without its line end.
    pub fn max_line_bytes(&self) -> usize {
        self.record_bytes.saturating_sub(1)
    }
}

/// The number of lines per record. It depends on whether the stream's destination can split a record into lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinesPerRecord {
    /// As many lines as fit: for S3, with or without conversion to Parquet.
    Many,
    /// One line: for OpenSearch, Iceberg and Splunk.
    One,
}

/// One call to a sink: whole lines, each ending with `\n`, in the order of their object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkCall {
    /// The bytes of all lines.
    pub body: Vec<u8>,
    /// The end offset of each record in `body`.
    pub records: Vec<usize>,
    /// The lines, in order.
    pub lines: Vec<PackedLine>,
    /// The scopes that [`PackedLine::scope`] refers to.
    pub scopes: Arc<Vec<EventScope>>,
}

impl SinkCall {
    /// Returns the records in order. Each consists of one or more whole lines.
    pub fn record_slices(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let mut start = 0;
        self.records.iter().map(move |&end| {
            let record = &self.body[start..end];
            start = end;
            record
        })
    }

    /// Returns the number of bytes of the record at this index.
    pub fn record_bytes(&self, record: usize) -> usize {
        let start = record.checked_sub(1).map_or(0, |before| self.records[before]);
        self.records[record] - start
    }

    /// Returns the ordinal of the last line. A retry resumes after it.
    pub fn last_ordinal(&self) -> Option<u32> {
        self.lines.last().map(|line| line.ordinal)
    }

    /// Returns whether the call has no lines.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// One line of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedLine {
    /// The end offset of the line in the call's body, including `\n`.
    pub end: usize,
    /// The index of the event in its object.
    pub ordinal: u32,
    /// The index of the event's scope in [`SinkCall::scopes`].
    pub scope: u32,
}

/// A line exceeds the limit of a record. The packer is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("event {ordinal} has {bytes} bytes and exceeds the sink's limit of {limit} bytes per event")]
pub struct PackError {
    /// The index of the event in its object.
    pub ordinal: u32,
    /// The length of the line in bytes, without its line end.
    pub bytes: usize,
    /// The maximum bytes of a line, without its line end.
    pub limit: usize,
}

/// Packs lines in the order of `push`. A line is appended to the current record if it fits, otherwise to a new record.
/// A record is appended to the current call if it fits, otherwise to a new call.
#[derive(Debug)]
pub struct Packer {
    limits: PackLimits,
    call: SinkCall,
}

impl Packer {
    /// Creates a packer for lines whose scopes are indexes into `scopes`. Allocates nothing before the first line.
    pub fn new(limits: PackLimits, scopes: Arc<Vec<EventScope>>) -> Self {
        Self { limits, call: SinkCall { scopes, ..SinkCall::default() } }
    }

    /// Adds one line, without its `\n`. If the line does not fit into the current call, returns that call and starts
    /// the next one with the line.
    ///
    /// # Errors
    /// [`PackError`] if the line exceeds the limit of a record. The packer is then unchanged, and the next line may be
    /// pushed.
    pub fn push(&mut self, line: &[u8], ordinal: u32, scope: u32) -> Result<Option<SinkCall>, PackError> {
        debug_assert!(!line.contains(&b'\n'), "event {ordinal} contains a line break");
        let limit = self.limits.max_line_bytes();
        if line.len() > limit {
            return Err(PackError { ordinal, bytes: line.len(), limit });
        }
        let bytes = line.len() + 1;
        let joins = self.joins_last_record(bytes);
        let mut full = None;
        if !self.call.is_empty() && !self.fits_call(bytes, joins) {
            let next = SinkCall { scopes: Arc::clone(&self.call.scopes), ..SinkCall::default() };
            full = Some(std::mem::replace(&mut self.call, next));
        }

        let SinkCall { body, records, lines, .. } = &mut self.call;
        body.extend_from_slice(line);
        body.push(b'\n');
        let end = body.len();
        match records.last_mut() {
            // A new call has no record yet, so the line starts one.
            Some(last) if joins => *last = end,
            _ => records.push(end),
        }
        lines.push(PackedLine { end, ordinal, scope });
        Ok(full)
    }

    /// Reuses the memory of a delivered call. The page faults of 4 MiB of new memory cost as much as the packing, and a
    /// large object needs only the memory of two calls.
    pub fn recycle(&mut self, delivered: SinkCall) {
        let SinkCall { mut body, mut records, mut lines, .. } = delivered;
        if body.capacity() < self.call.body.len() {
            return;
        }
        body.clear();
        body.append(&mut self.call.body);
        records.clear();
        records.append(&mut self.call.records);
        lines.clear();
        lines.append(&mut self.call.lines);
        self.call = SinkCall { body, records, lines, scopes: Arc::clone(&self.call.scopes) };
    }

    /// Returns the last call, or `None` if it has no lines.
    pub fn finish(self) -> Option<SinkCall> {
        Some(self.call).filter(|call| !call.is_empty())
    }

    fn joins_last_record(&self, bytes: usize) -> bool {
        let Some(last) = self.call.records.len().checked_sub(1) else { return false };
        self.limits.lines == LinesPerRecord::Many && self.call.record_bytes(last) + bytes <= self.limits.record_bytes
    }

    fn fits_call(&self, bytes: usize, joins: bool) -> bool {
        let has_record = joins || self.call.records.len() < self.limits.call_records;
        has_record && self.call.body.len() + bytes <= self.limits.call_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIREHOSE: PackLimits =
        PackLimits { record_bytes: 1_024_000, call_records: 500, call_bytes: 4 << 20, lines: LinesPerRecord::Many };

    fn pack(limits: PackLimits, lines: &[Vec<u8>]) -> (Vec<SinkCall>, Vec<u32>) {
        let mut packer = Packer::new(limits, Arc::default());
        let (mut calls, mut rejected) = (vec![], vec![]);
        for (ordinal, line) in (0..).zip(lines) {
            match packer.push(line, ordinal, ordinal % 3) {
                Ok(full) => calls.extend(full),
                Err(PackError { ordinal, .. }) => rejected.push(ordinal),
            }
        }
        calls.extend(packer.finish());
        (calls, rejected)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn every_line_within_the_limit_is_packed_once_and_in_order(
            record_bytes in 1usize..80,
            call_records in 1usize..6,
            call_bytes in 1usize..200,
            lines in prop_oneof![Just(LinesPerRecord::Many), Just(LinesPerRecord::One)],
            events in prop::collection::vec(prop::collection::vec(b'a'..=b'z', 0..60), 0..80),
        ) {
            let limits = PackLimits { record_bytes, call_records, call_bytes, lines };
            let (calls, rejected) = pack(limits, &events);

            let longest = record_bytes - 1;
            let too_long: Vec<u32> = (0..).zip(&events).filter(|(_, e)| e.len() > longest).map(|(o, _)| o).collect();
            prop_assert_eq!(rejected, too_long);

            let sent: Vec<(u32, Vec<u8>)> =
                (0..).zip(&events).filter(|(_, e)| e.len() <= longest).map(|(o, e)| (o, [e, &b"\n"[..]].concat())).collect();
            let mut got = vec![];
            for call in &calls {
                prop_assert!(!call.is_empty());
                prop_assert!(call.body.len() <= call_bytes || call.lines.len() == 1);
                prop_assert!(call.records.len() <= call_records);
                prop_assert_eq!(call.record_slices().collect::<Vec<_>>().concat(), call.body.clone());
                for record in call.record_slices() {
                    prop_assert!(!record.is_empty() && record.len() <= record_bytes);
                    prop_assert_eq!(record.last(), Some(&b'\n'));
                    let count = record.iter().filter(|&&b| b == b'\n').count();
                    prop_assert!(lines == LinesPerRecord::Many || count == 1);
                }
                let mut start = 0;
                for line in &call.lines {
                    prop_assert_eq!(line.scope, line.ordinal % 3);
                    got.push((line.ordinal, call.body[start..line.end].to_vec()));
                    start = line.end;
                }
                prop_assert_eq!(start, call.body.len());
                prop_assert_eq!(call.last_ordinal(), got.last().map(|(ordinal, _)| *ordinal));
            }
            prop_assert_eq!(got, sent);
        }

        #[test]
        fn line_starts_new_record_or_call_only_if_it_does_not_fit_the_last(
            record_bytes in 20usize..80,
            call_records in 1usize..6,
            call_bytes in 80usize..300,
            events in prop::collection::vec(prop::collection::vec(b'a'..=b'z', 0..19), 1..80),
        ) {
            let limits = PackLimits { record_bytes, call_records, call_bytes, lines: LinesPerRecord::Many };
            let (calls, _) = pack(limits, &events);
            let first_line = |record: &[u8]| record.iter().position(|&b| b == b'\n').map_or(0, |at| at + 1);
            for pair in calls.windows(2) {
                let next = first_line(&pair[1].body);
                let last_record = pair[0].record_slices().last().map_or(0, <[u8]>::len);
                let call_is_full = pair[0].body.len() + next > call_bytes;
                let record_is_full = pair[0].records.len() == call_records && last_record + next > record_bytes;
                prop_assert!(call_is_full || record_is_full);
            }
            for call in &calls {
                let records: Vec<_> = call.record_slices().collect();
                for pair in records.windows(2) {
                    prop_assert!(pair[0].len() + first_line(pair[1]) > record_bytes);
                }
            }
        }
    }

    #[test]
    fn typical_events_fill_calls_and_records_to_95_percent() {
        // Lengths around 1.2 kB, the median of real accounts.
        let events: Vec<Vec<u8>> = (0..20_000).map(|i| vec![b'x'; 700 + i * 7919 % 1000]).collect();
        let (calls, rejected) = pack(FIREHOSE, &events);
        assert!(rejected.is_empty() && calls.len() > 3);
        for call in &calls[..calls.len() - 1] {
            assert!(call.body.len() * 100 >= FIREHOSE.call_bytes * 95, "call of {} bytes", call.body.len());
            for record in call.record_slices().take(4) {
                assert!(record.len() * 100 >= FIREHOSE.record_bytes * 95, "record of {} bytes", record.len());
            }
        }
    }

    #[test]
    fn small_object_uses_little_memory() {
        let mut packer = Packer::new(FIREHOSE, Arc::default());
        for ordinal in 0..5 {
            packer.push(&[b'x'; 1200], ordinal, 0).unwrap();
        }
        assert!(packer.finish().unwrap().body.capacity() < 16_384);
    }

    #[test]
    fn recycled_call_reuses_memory_and_keeps_no_lines() {
        let limits = PackLimits { record_bytes: 4, call_records: 1, call_bytes: 4, lines: LinesPerRecord::Many };
        let scopes = Arc::new(vec![EventScope::default()]);
        let mut packer = Packer::new(limits, Arc::clone(&scopes));
        assert_eq!(packer.push(b"abc", 0, 0), Ok(None));
        let first = packer.push(b"def", 1, 0).unwrap().unwrap();
        let memory = first.body.as_ptr();
        packer.recycle(first);
        let second = packer.push(b"ghi", 2, 0).unwrap().unwrap();
        assert_eq!(second.body.as_ptr(), memory);
        assert_eq!((second.body.as_slice(), second.records.as_slice()), (&b"def\n"[..], &[4][..]));
        assert_eq!(second.lines, [PackedLine { end: 4, ordinal: 1, scope: 0 }]);
        assert!(Arc::ptr_eq(&second.scopes, &scopes));
        assert_eq!(packer.finish().unwrap().body, b"ghi\n");
    }

    #[test]
    fn line_at_the_limit_fits_and_one_byte_more_does_not() {
        let mut packer = Packer::new(FIREHOSE, Arc::default());
        assert_eq!(packer.push(&vec![b'x'; 1_023_999], 0, 0), Ok(None));
        let rejected = packer.push(&vec![b'x'; 1_024_000], 1, 0).unwrap_err();
        assert_eq!(rejected, PackError { ordinal: 1, bytes: 1_024_000, limit: 1_023_999 });
        assert_eq!(packer.finish().unwrap().records, [1_024_000]);
    }

    #[test]
    fn packer_without_lines_returns_no_call() {
        assert_eq!(Packer::new(FIREHOSE, Arc::default()).finish(), None);
    }
}
