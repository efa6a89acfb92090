//! Scan: reads a ledger in batches, for people who inspect it. Processing an object never scans.
//!
//! The trait is separate from [`crate::ledger::store::Store`], because workers do not scan and their roles do not allow
//! it. Results are not strongly consistent. Read an item again, or write it under a condition, before acting on it.

use crate::ledger::model::page::{Page, PageName};
use crate::ledger::model::row::Row;
use crate::ledger::store::StoreError;
use async_trait::async_trait;

/// Selects the items of a ledger scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScanFilter {
    /// The rows of quarantined objects. Cheap, because an index lists them.
    Quarantined,
    /// The rows of all versions of these objects, given by bucket and key. Reads the whole ledger, because rows are
    /// keyed by hashes.
    Versions(Vec<(String, String)>),
    /// All pages. Reads the whole ledger.
    Pages,
    /// All rows and all pages. Reads the whole ledger.
    All,
}

/// Position in a scan. The next batch starts after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanToken(pub(crate) String);

/// A batch of a ledger scan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanBatch {
    /// Rows, in an unspecified order.
    pub rows: Vec<Row>,
    /// Pages, including expired ones.
    pub pages: Vec<(PageName, Page)>,
    /// Token for the next batch; `None` after the last. A batch may be empty and not be the last.
    pub next: Option<ScanToken>,
}

/// Size of a ledger, as the store knows it without reading the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LedgerSize {
    /// Number of rows and pages.
    pub items: u64,
    /// Size in bytes, as the store counts it.
    pub bytes: u64,
    /// Number of quarantined objects, if the store has an index of them.
    pub quarantined: Option<u64>,
    /// Maximum age of these numbers in seconds.
    pub age: u64,
}

/// Scans a ledger.
#[async_trait]
pub trait LedgerScan: Send + Sync + std::fmt::Debug {
    /// Returns the size of the ledger, without reading it.
    ///
    /// # Errors
    /// Errors of the store.
    async fn size(&self) -> Result<LedgerSize, StoreError>;

    /// Returns the batch after `after`: about `limit` rows and pages, or fewer if the store reads fewer at once. An
    /// item that exists during the whole scan is returned once. An item that changes during the scan is returned at
    /// most once in each state.
    ///
    /// # Errors
    /// Errors of the store.
    async fn scan(&self, filter: &ScanFilter, after: Option<&ScanToken>, limit: u32) -> Result<ScanBatch, StoreError>;
}
