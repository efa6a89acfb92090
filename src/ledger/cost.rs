//! Cost of a ledger's reads and writes in DynamoDB units, for any store.
//!
//! The numbers follow from DynamoDB's published sizes, so a local ledger can report what the same work would cost,
//! and an emulator's approximate numbers are not used.

use crate::ledger::model::page::{Page, PageName};
use crate::ledger::model::row::Row;
use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes per write unit: a write is billed one unit per started kilobyte of the item.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html>
pub(crate) const WRITE_UNIT: usize = 1024;

/// Bytes per read unit: a strongly consistent read is billed one unit per started 4 KB of the item.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html>
pub(crate) const READ_UNIT: usize = 4 * 1024;

/// Maximum number of keys in one BatchGetItem request.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
pub const MAX_BATCH_KEYS: usize = 100;

/// Returns the write units of one write, given the item sizes in bytes before and after it. The larger size counts,
/// and the minimum is one unit. A refused write is billed the same, with the existing item as `before`.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html>
pub(crate) fn write_units(before: usize, after: usize) -> u64 {
    units(before.max(after), WRITE_UNIT)
}

/// Returns the read units of one item of a strongly consistent read. Each item of a batch is rounded up separately,
/// and an absent item is billed one unit.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
pub(crate) fn read_units(bytes: usize) -> u64 {
    units(bytes, READ_UNIT)
}

fn units(bytes: usize, unit: usize) -> u64 {
    bytes.div_ceil(unit).max(1) as u64
}

/// Returns the read units of one scan request, which is not strongly consistent: half the units of its items' total
/// size.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Scan.html>
pub fn scan_units(bytes: usize) -> u64 {
    units(bytes, 2 * READ_UNIT)
}

/// Returns the billed size of a number in bytes: one byte for each two significant digits, one more byte, and one byte
/// for a minus sign.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>
pub(crate) fn number_bytes(number: i128) -> usize {
    let mut rest = number.unsigned_abs();
    while rest != 0 && rest.is_multiple_of(10) {
        rest /= 10;
    }
    let digits = rest.checked_ilog10().map_or(1, |log| log as usize + 1);
    digits.div_ceil(2) + 1 + usize::from(number < 0)
}

/// Returns the size of a row as an item in bytes: attribute names and values, as [`crate::ledger::store::dynamodb`]
/// writes them.
pub fn row_bytes(row: &Row) -> usize {
    let text = |name: &str, value: &str| name.len() + value.len();
    let number = |name: &str, value: i128| name.len() + number_bytes(value);
    let mut bytes = "pk".len() + "o#".len() + 32;
    bytes += text("bucket", &row.object.bucket) + text("key", &row.object.key) + text("etag", &row.object.etag);
    bytes += text("status", row.status.as_str());
    bytes += number("until", row.until.into()) + number("cursor", row.cursor.into());
    if !row.acknowledged.is_empty() {
        bytes += "acknowledged".len() + row.acknowledged.encode().len();
    }
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
    bytes += row.quarantined_at.map_or(0, |_| text("quarantined_at", "2026-11-21T00:00:00Z"));
    bytes += row.accepted.as_deref().map_or(0, |reason| text("accepted", reason));
    bytes
}

/// Returns the size of a page as an item in bytes: attribute names and values, as [`crate::ledger::store::dynamodb`]
/// writes them.
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

/// Counters of a store's requests and of the units that DynamoDB bills for them. Shared between tasks.
#[derive(Debug, Default)]
pub struct LedgerCounters {
    writes: AtomicU64,
    refused: AtomicU64,
    write_units: AtomicU64,
    reads: AtomicU64,
    read_units: AtomicU64,
}

/// Snapshot of [`LedgerCounters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LedgerUsage {
    /// Answered write requests, including refused ones.
    pub writes: u64,
    /// Refused write requests. They are billed like successful ones.
    pub refused: u64,
    /// Write units.
    pub write_units: u64,
    /// Read requests, each with up to [`MAX_BATCH_KEYS`] keys.
    pub reads: u64,
    /// Read units.
    pub read_units: u64,
}

/// The usage between two snapshots of the same counters.
impl Sub for LedgerUsage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            writes: self.writes - before.writes,
            refused: self.refused - before.refused,
            write_units: self.write_units - before.write_units,
            reads: self.reads - before.reads,
            read_units: self.read_units - before.read_units,
        }
    }
}

impl LedgerCounters {
    /// Counts a successful write, given the item sizes in bytes before and after it.
    pub(crate) fn wrote(&self, before: usize, after: usize) {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.write_units.fetch_add(write_units(before, after), Ordering::Relaxed);
    }

    /// Counts a refused write, given the size in bytes of the existing item and of the attempted one.
    pub(crate) fn refused(&self, current: usize, attempted: usize) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.wrote(current, attempted);
    }

    /// Counts one read request that returned items of these sizes in bytes. An absent item has size 0.
    pub(crate) fn read(&self, items: impl IntoIterator<Item = usize>) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.read_units.fetch_add(items.into_iter().map(read_units).sum(), Ordering::Relaxed);
    }

    /// Counts one scan request that read items of `bytes` bytes in total.
    pub fn scanned(&self, bytes: usize) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.read_units.fetch_add(scan_units(bytes), Ordering::Relaxed);
    }

    /// Returns a snapshot of the counters.
    pub fn usage(&self) -> LedgerUsage {
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
    fn write_is_billed_per_started_kilobyte_of_the_larger_item() {
        assert_eq!(write_units(0, 0), 1);
        assert_eq!(write_units(0, 1024), 1);
        assert_eq!(write_units(0, 1025), 2);
        assert_eq!(write_units(5000, 10), 5, "a write that shrinks an item is billed for the old size");
    }

    #[test]
    fn read_is_billed_per_started_four_kilobytes_and_at_least_one_unit() {
        assert_eq!([0, 1, 4096, 4097].map(read_units), [1, 1, 1, 2]);
        assert_eq!([0, 8192, 8193].map(scan_units), [1, 1, 2], "a scan costs half, rounded up once for all items");
    }

    #[test]
    fn number_takes_one_byte_per_two_digits_plus_one() {
        assert_eq!([0, 7, 27, 127, 1200, -27].map(number_bytes), [2, 2, 2, 3, 2, 3]);
        assert_eq!(number_bytes(u64::MAX.into()), 11);
        assert_eq!(number_bytes(i128::MIN), 22);
    }

    #[test]
    fn refused_write_is_billed_and_counted() {
        let counters = LedgerCounters::default();
        counters.wrote(0, 700);
        counters.refused(3000, 2000);
        counters.read([0, 5000]);
        let usage = counters.usage();
        assert_eq!((usage.writes, usage.refused, usage.write_units), (2, 1, 4));
        assert_eq!((usage.reads, usage.read_units), (1, 3));
    }
}
