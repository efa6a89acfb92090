//! Billed usage of deliveries by Firehose's rules, for every sink.
//!
//! The figures follow from Firehose's published pricing, so a run that writes files can report what the same run would
//! cost with Firehose.

use crate::pack::SinkCall;
use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering};

/// "The maximum size of the data blob, before base64-encoding, is 1,000 KiB … Maximum length of 1024000."
/// <https://docs.aws.amazon.com/firehose/latest/APIReference/API_Record.html>
pub const RECORD_BYTES: usize = 1_024_000;

/// "Each PutRecordBatch request supports up to 500 records."
/// <https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html>
pub const CALL_RECORDS: usize = 500;

/// "… up to a limit of 4 MB for the entire request." Same page; the limits page says 4 MiB. Counted before base64 and
/// without overhead, as AWS's own agent counts it (`MAX_BATCH_PUT_SIZE_BYTES` of amazon-kinesis-agent).
/// <https://docs.aws.amazon.com/firehose/latest/dev/limits.html>
pub const CALL_BYTES: usize = 4 * 1024 * 1024;

// A longer record would be sent as a call by itself, and refused.
const _: () = assert!(RECORD_BYTES <= CALL_BYTES);

/// The step, in bytes, to which the size of each record is rounded up on the bill: "billed per GB ingested in 5KB
/// increments (a 3KB record is billed as 5KB, a 12KB record is billed as 15KB, etc.)". It applies to each record, not
/// to each call. <https://aws.amazon.com/firehose/pricing/>. The page does not define the size of a KB. AWS's GB of
/// data is 2^30 bytes, so this is the larger of the two interpretations, and an estimate is never below the bill.
pub const BILLED_STEP: u64 = 5 * 1024;

/// Returns the number of bytes billed for a record of `bytes` bytes.
pub fn billed_bytes(bytes: u64) -> u64 {
    bytes.div_ceil(BILLED_STEP) * BILLED_STEP
}

/// Counters of the deliveries of one sink. All deliveries share them, and they only increase.
#[derive(Debug, Default)]
pub struct SinkCounters {
    calls: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    billed_bytes: AtomicU64,
    retried: AtomicU64,
}

/// A snapshot of [`SinkCounters`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinkUsage {
    /// `PutRecordBatch` requests sent, including failed ones.
    pub calls: u64,
    /// Records acknowledged.
    pub records: u64,
    /// Bytes of the acknowledged records.
    pub bytes: u64,
    /// Billed bytes: the same bytes, each record rounded up to [`BILLED_STEP`].
    pub billed_bytes: u64,
    /// Records that were sent again, counted once per attempt.
    pub retried: u64,
}

/// The usage between two snapshots of the same counters.
impl Sub for SinkUsage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            calls: self.calls - before.calls,
            records: self.records - before.records,
            bytes: self.bytes - before.bytes,
            billed_bytes: self.billed_bytes - before.billed_bytes,
            retried: self.retried - before.retried,
        }
    }
}

impl SinkCounters {
    /// Returns the current values.
    pub fn usage(&self) -> SinkUsage {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SinkUsage {
            calls: read(&self.calls),
            records: read(&self.records),
            bytes: read(&self.bytes),
            billed_bytes: read(&self.billed_bytes),
            retried: read(&self.retried),
        }
    }

    /// Counts a request, before its response is known.
    pub(crate) fn request_sent(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an acknowledged record of `bytes` bytes.
    pub(crate) fn acknowledged(&self, bytes: u64) {
        self.records.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.billed_bytes.fetch_add(billed_bytes(bytes), Ordering::Relaxed);
    }

    /// Counts records that are sent again.
    pub fn retried(&self, records: u64) {
        self.retried.fetch_add(records, Ordering::Relaxed);
    }

    /// Counts a call of which every record was acknowledged.
    pub(crate) fn delivered(&self, call: &SinkCall) {
        self.request_sent();
        call.record_slices().for_each(|record| self.acknowledged(record.len() as u64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_is_billed_in_steps_of_five_kilobytes() {
        let usage = SinkCounters::default();
        [1, 5_120, 5_121].into_iter().for_each(|bytes| usage.acknowledged(bytes));
        let expected = SinkUsage { records: 3, bytes: 10_242, billed_bytes: 20_480, ..SinkUsage::default() };
        assert_eq!(usage.usage(), expected);
    }

    #[test]
    fn call_is_billed_per_record() {
        let usage = SinkCounters::default();
        usage.delivered(&SinkCall { body: vec![b'\n'; 5_122], records: vec![5_121, 5_122], ..SinkCall::default() });
        let expected = SinkUsage { calls: 1, records: 2, bytes: 5_122, billed_bytes: 15_360, ..SinkUsage::default() };
        assert_eq!(usage.usage(), expected);
    }
}
