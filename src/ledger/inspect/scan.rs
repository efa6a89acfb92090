//! Survey: a ledger read as a person reads it, piece by piece, and never on the way of an object.
//!
//! A trait beside [`crate::ledger::store::Store`], because no worker needs it and no role of a worker allows it. What it gives is
//! not strongly consistent; what is acted upon is read again, or changed on a condition.

use crate::ledger::model::page::{Page, PageName};
use crate::ledger::model::row::Row;
use crate::ledger::store::StoreError;
use async_trait::async_trait;

/// What of a ledger is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScanFilter {
    /// The rows of objects that are set aside. Cheap: there is an index of them.
    Quarantined,
    /// The rows of every version of these objects, by bucket and key. Reads the whole ledger: its rows are known by hashes.
    Versions(Vec<(String, String)>),
    /// Every page. Reads the whole ledger.
    Pages,
    /// Every row and every page.
    All,
}

/// Where a piece ended: what the next begins behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanToken(pub(crate) String);

/// A piece of a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanBatch {
    /// Rows, in no order that means anything.
    pub rows: Vec<Row>,
    /// Pages, expired ones too.
    pub pages: Vec<(PageName, Page)>,
    /// Where the next piece begins; none after the last. A piece may be empty and not the last.
    pub next: Option<ScanToken>,
}

/// What a store can say of itself without reading the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LedgerSize {
    /// Rows and pages.
    pub items: u64,
    /// Their bytes, as the store counts them.
    pub bytes: u64,
    /// Objects that are set aside, where the store has an index of them.
    pub quarantined: Option<u64>,
    /// How old the figures may be, in seconds.
    pub age: u64,
}

/// Reads a ledger as a person does.
#[async_trait]
pub trait LedgerScan: Send + Sync + std::fmt::Debug {
    /// How large the ledger is, by figures that the store has at hand.
    ///
    /// # Errors
    /// The store's.
    async fn size(&self) -> Result<LedgerSize, StoreError>;

    /// A piece of the ledger behind `after`: about `limit` rows and pages, fewer where the store reads no more at once.
    /// What stands in the ledger during the whole walk is met once; what changes meanwhile, at most once in either state.
    ///
    /// # Errors
    /// The store's.
    async fn scan(&self, filter: &ScanFilter, after: Option<&ScanToken>, limit: u32) -> Result<ScanBatch, StoreError>;
}
