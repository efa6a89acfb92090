//! What a ledger's reads and writes cost in DynamoDB, whichever store does them. Pure.
//!
//! The figures follow from DynamoDB's published sizes, so a local ledger can say what the same work would have cost, and
//! an emulator's approximate figures are never believed.

use crate::ledger::model::page::{Page, PageName};
use crate::ledger::model::row::{Row, Status};
use std::sync::atomic::{AtomicU64, Ordering};

/// A write bills one unit per started kilobyte of the item.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html>
pub const WRITE_UNIT: usize = 1024;

/// A strongly consistent read bills one unit per started 4 KB of the item.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html>
pub const READ_UNIT: usize = 4 * 1024;

/// Keys that one BatchGetItem may ask for.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
pub const MAX_BATCH_KEYS: usize = 100;

/// The units of one write: the larger of the item before and after, and at least one. A write whose condition is refused
/// bills the same, with what stands there as the item before.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html>
pub fn write_units(before: usize, after: usize) -> u64 {
    units(before.max(after), WRITE_UNIT)
}

/// The units of one strongly consistent read: each item of a batch is rounded up by itself, and an item that is not there
/// bills one.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
pub fn read_units(bytes: usize) -> u64 {
    units(bytes, READ_UNIT)
}

fn units(bytes: usize, unit: usize) -> u64 {
    bytes.div_ceil(unit).max(1) as u64
}

/// The units of one request of a scan, which is not strongly consistent: half of what its items take together.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Scan.html>
pub fn scan_units(bytes: usize) -> u64 {
    units(bytes, 2 * READ_UNIT)
}

/// Bytes that a number takes: one for each two significant digits, one more, and one for a sign.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>
pub fn number_bytes(number: i128) -> usize {
    let mut rest = number.unsigned_abs();
    while rest != 0 && rest.is_multiple_of(10) {
        rest /= 10;
    }
    let digits = rest.checked_ilog10().map_or(1, |log| log as usize + 1);
    digits.div_ceil(2) + 1 + usize::from(number < 0)
}

/// Bytes of a row as an item: attribute names and values, as [`crate::ledger::store::dynamodb`] writes them.
pub fn row_bytes(row: &Row) -> usize {
    let text = |name: &str, value: &str| name.len() + value.len();
    let number = |name: &str, value: i128| name.len() + number_bytes(value);
    let mut bytes = "pk".len() + "o#".len() + 32;
    bytes += text("bucket", &row.object.bucket) + text("key", &row.object.key) + text("etag", &row.object.etag);
    bytes += text("status", row.status.as_str());
    bytes += number("until", row.until.into()) + number("cursor", row.cursor.into());
    bytes += row.token.map_or(0, |_| "token".len() + 32);
    bytes += row.reason.as_deref().map_or(0, |reason| text("reason", reason));
    bytes += row.expires.map_or(0, |expires| number("expires", expires.into()));
    bytes += row.counts.map_or(0, |counts| {
        number("seen", counts.seen.into())
            + number("delivered", counts.delivered.into())
            + number("duplicate", counts.duplicate.into())
            + number("filtered", counts.filtered.into())
            + number("oversize", counts.oversize.into())
    });
    if row.status == Status::Quarantined {
        bytes += text("quarantined_at", "2026-11-21T00:00:00Z");
    }
    bytes
}

/// Bytes of a page as an item: attribute names and values, as [`crate::ledger::store::dynamodb`] writes them.
pub fn page_bytes(name: &PageName, page: &Page) -> usize {
    let full = if page.full { "f".len() + 1 } else { 0 };
    "pk".len()
        + "p#".len()
        + name.0.len()
        + "v".len()
        + number_bytes(page.version.0.into())
        + full
        + "expires".len()
        + number_bytes(page.expires.into())
        + "e".len()
        + page.encoded_len()
}

/// Counts what a store was asked for and what DynamoDB bills for it. Shared between tasks.
#[derive(Debug, Default)]
pub struct LedgerCounters {
    writes: AtomicU64,
    refused: AtomicU64,
    write_units: AtomicU64,
    reads: AtomicU64,
    read_units: AtomicU64,
}

/// What [`LedgerCounters`] had counted at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LedgerUsage {
    /// Write requests answered, refused ones included.
    pub writes: u64,
    /// Of those, the ones whose condition did not hold: billed all the same.
    pub refused: u64,
    /// Write request units.
    pub write_units: u64,
    /// Read requests, each of up to [`MAX_BATCH_KEYS`] keys.
    pub reads: u64,
    /// Read request units.
    pub read_units: u64,
}

impl LedgerCounters {
    /// Notes a write that took effect.
    pub fn wrote(&self, before: usize, after: usize) {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.write_units.fetch_add(write_units(before, after), Ordering::Relaxed);
    }

    /// Notes a write that was refused, and what stood there instead.
    pub fn refused(&self, current: usize, attempted: usize) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.wrote(current, attempted);
    }

    /// Notes one read request that returned items of these sizes; an absent item counts as 0 bytes.
    pub fn read(&self, items: impl IntoIterator<Item = usize>) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.read_units.fetch_add(items.into_iter().map(read_units).sum(), Ordering::Relaxed);
    }

    /// Notes one request of a scan that went over items of so many bytes.
    pub fn scanned(&self, bytes: usize) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.read_units.fetch_add(scan_units(bytes), Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn spent(&self) -> LedgerUsage {
        LedgerUsage {
            writes: self.writes.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            write_units: self.write_units.load(Ordering::Relaxed),
            reads: self.reads.load(Ordering::Relaxed),
            read_units: self.read_units.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_bills_each_started_kilobyte_of_the_larger_item() {
        assert_eq!(write_units(0, 0), 1);
        assert_eq!(write_units(0, 1024), 1);
        assert_eq!(write_units(0, 1025), 2);
        assert_eq!(write_units(5000, 10), 5, "shrinking an item bills what it was");
    }

    #[test]
    fn a_read_bills_each_started_four_kilobytes_and_one_for_nothing() {
        assert_eq!([0, 1, 4096, 4097].map(read_units), [1, 1, 1, 2]);
        assert_eq!([0, 8192, 8193].map(scan_units), [1, 1, 2], "a scan costs half, over its items together");
    }

    #[test]
    fn a_number_takes_a_byte_for_two_digits_and_one_more() {
        assert_eq!([0, 7, 27, 127, 1200, -27].map(number_bytes), [2, 2, 2, 3, 2, 3]);
        assert_eq!(number_bytes(u64::MAX.into()), 11);
        assert_eq!(number_bytes(i128::MIN), 22);
    }

    #[test]
    fn a_refused_write_is_billed_and_counted() {
        let counters = LedgerCounters::default();
        counters.wrote(0, 700);
        counters.refused(3000, 2000);
        counters.read([0, 5000]);
        let spent = counters.spent();
        assert_eq!((spent.writes, spent.refused, spent.write_units), (2, 1, 4));
        assert_eq!((spent.reads, spent.read_units), (1, 3));
    }
}
