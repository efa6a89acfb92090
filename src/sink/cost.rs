//! What deliveries cost at Firehose, whichever sink takes them. Pure.
//!
//! The figures follow from Firehose's published rule, so that a run into files can say what the same run would cost.

use crate::pack::Call;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a record's size is rounded up to on the bill: "billed per GB ingested in 5KB increments (a 3KB record is billed as
/// 5KB, a 12KB record is billed as 15KB, etc.)", for each record and not for each call.
/// <https://aws.amazon.com/firehose/pricing/>. The page does not say how many bytes a KB has; as AWS's GB of data are
/// 2^30 bytes, this is the larger of the two readings, so that an estimate is never below the bill.
pub const BILLED_STEP: u64 = 5 * 1024;

/// What a record of so many bytes is billed as.
pub fn billed(bytes: u64) -> u64 {
    bytes.div_ceil(BILLED_STEP) * BILLED_STEP
}

/// What was sent so far, in numbers. Shared by all deliveries of a sink; only grows.
#[derive(Debug, Default)]
pub struct Usage {
    calls: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    billed: AtomicU64,
    retried: AtomicU64,
}

/// [`Usage`] at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// `PutRecordBatch` requests made, whatever came of them.
    pub calls: u64,
    /// Records acknowledged.
    pub records: u64,
    /// Bytes of the records acknowledged.
    pub bytes: u64,
    /// The same, each record rounded up to [`BILLED_STEP`]: what is paid for.
    pub billed: u64,
    /// Records that were sent again, counted each time.
    pub retried: u64,
}

impl Usage {
    /// The numbers as they stand.
    pub fn spent(&self) -> Spent {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Spent {
            calls: read(&self.calls),
            records: read(&self.records),
            bytes: read(&self.bytes),
            billed: read(&self.billed),
            retried: read(&self.retried),
        }
    }

    /// Notes a request, before its answer is known.
    pub fn called(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes an acknowledged record of so many bytes.
    pub fn acknowledged(&self, bytes: u64) {
        self.records.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.billed.fetch_add(billed(bytes), Ordering::Relaxed);
    }

    /// Notes that so many records are sent again.
    pub fn again(&self, records: u64) {
        self.retried.fetch_add(records, Ordering::Relaxed);
    }

    /// Notes a call that was taken whole.
    pub fn took(&self, call: &Call) {
        self.called();
        call.record_slices().for_each(|record| self.acknowledged(record.len() as u64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_billed_in_steps_of_five_kilobytes() {
        let usage = Usage::default();
        [1, 5_120, 5_121].into_iter().for_each(|bytes| usage.acknowledged(bytes));
        let expected = Spent { records: 3, bytes: 10_242, billed: 20_480, ..Spent::default() };
        assert_eq!(usage.spent(), expected);
    }

    #[test]
    fn a_call_is_billed_record_by_record() {
        let usage = Usage::default();
        usage.took(&Call { body: vec![b'\n'; 5_122], records: vec![5_121, 5_122], ..Call::default() });
        let expected = Spent { calls: 1, records: 2, bytes: 5_122, billed: 15_360, ..Spent::default() };
        assert_eq!(usage.spent(), expected);
    }
}
