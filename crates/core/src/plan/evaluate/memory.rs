//! The memory that the rows of a query may use.

use std::sync::atomic::{AtomicU64, Ordering};

/// The memory that groups, distinct values and sorted events may use together, on all threads.
#[derive(Debug)]
pub struct MemoryBudget {
    max_bytes: u64,
    used: AtomicU64,
}

/// A query needs more memory than it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the groups, distinct values or sorted events need more than {} MiB of memory: group by fields with fewer values, \
     shorten the time span, or lower the limit", .0 >> 20
)]
pub struct MemoryExceeded(u64);

impl MemoryBudget {
    /// Creates a budget of about `max_bytes` bytes.
    pub fn new(max_bytes: u64) -> Self {
        Self { max_bytes, used: AtomicU64::new(0) }
    }

    /// Accounts for bytes that are stored until the end of the query.
    pub(super) fn take(&self, bytes: usize) -> Result<(), MemoryExceeded> {
        let bytes = bytes as u64;
        let used = self.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if used > self.max_bytes { Err(MemoryExceeded(self.max_bytes)) } else { Ok(()) }
    }

    /// Accounts for bytes that are no longer stored.
    pub(super) fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}
