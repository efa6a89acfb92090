//! Queries: runs a [`Plan`] over events, and returns rows.
//!
//! ```text
//! plan ─▶ partition pruning ─▶ listing ─▶ files ─▶ prefilter ─▶ evaluation ─▶ rows
//! ```
//!
//! [`LocalEngine`] scans files on this computer or in a bucket. Its [`QueryScan`] also passes the events themselves to a
//! [`ScanVisitor`].

#[cfg(feature = "athena")]
mod athena;
#[cfg(feature = "cloudtrail-lake")]
mod cloudtrail_lake;
mod index;
mod layout;
mod lines;
mod listing;
mod local;
mod object;
mod partition_pruning;
mod prefilter;
mod record;
#[cfg(any(feature = "athena", feature = "cloudtrail-lake"))]
mod remote;
mod report;
mod scan;
mod seen;
mod selector;

#[cfg(feature = "athena")]
pub use athena::{AthenaEngine, EVENTS_BY_DAY};
#[cfg(feature = "cloudtrail-lake")]
pub use cloudtrail_lake::CloudTrailLakeEngine;
pub use index::IndexLookup;
pub use layout::ScanLayout;
pub use local::LocalEngine;
pub use partition_pruning::PartitionPruning;
pub use prefilter::Prefilter;
#[cfg(feature = "athena")]
pub use remote::athena_dollars;
pub use report::{ScanReport, SkippedFile};
pub use scan::{FileTotals, QueryScan, ScanRequest, ScanVisitor, ScannedEvent, VisitOutcome};
pub use selector::EventSelector;
pub use trailhose_core::plan::evaluate::{EVENT_COLUMN, MemoryExceeded, QueryRow};

use crate::listing::ListingError;
use crate::plan::Plan;
use crate::source::SourceError;
use async_trait::async_trait;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// Runs plans.
#[async_trait]
pub trait QueryEngine: Send + Sync + std::fmt::Debug {
    /// Runs a plan and passes its rows to `rows`, in their order. If this is the order in which events are read, rows are
    /// passed while the scan runs, and otherwise at its end.
    ///
    /// # Errors
    /// The events cannot be listed, or the rows need too much memory. A file that cannot be read is not an error: it is
    /// counted and named in the summary.
    async fn run(
        &self,
        plan: &Plan,
        control: &QueryControl,
        rows: &mut dyn RowSink,
    ) -> Result<QuerySummary, QueryError>;

    /// Runs a plan and returns its rows, which are all in memory. Use it for plans with a limit or few groups.
    ///
    /// # Errors
    /// The same as [`QueryEngine::run`].
    async fn answer(&self, plan: &Plan, control: &QueryControl) -> Result<Answer, QueryError> {
        let mut rows = CollectedAnswer::default();
        let QuerySummary { is_limited, scanned } = self.run(plan, control, &mut rows).await?;
        Ok(Answer { columns: rows.columns, rows: rows.rows, is_limited, scanned })
    }
}

/// Runs plans with a service that bills the bytes that it reads.
#[async_trait]
pub trait BilledEngine: QueryEngine {
    /// Returns the limit on the bytes that one query may read, or `None` if there is none.
    ///
    /// # Errors
    /// The limit cannot be read.
    async fn byte_limit(&self) -> Result<Option<u64>, QueryError>;
}

/// Receives the rows of a query.
pub trait RowSink: Send {
    /// Receives the names of the columns, before the first row.
    fn columns(&mut self, names: &[String]);

    /// Receives a row. `Break` ends the query.
    fn row(&mut self, row: QueryRow) -> ControlFlow<()>;
}

/// The rows of a query, and what was read for them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// The names of the columns. Only [`EVENT_COLUMN`] if the rows are the events' own bytes.
    pub columns: Vec<String>,
    /// The rows, in their order. A missing value is `None`.
    pub rows: Vec<QueryRow>,
    /// Whether there are more rows than the plan's limit.
    pub is_limited: bool,
    /// What was read.
    pub scanned: ScanReport,
}

/// The result of a query without its rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QuerySummary {
    /// Whether there are more rows than the plan's limit.
    pub is_limited: bool,
    /// What was read.
    pub scanned: ScanReport,
}

#[derive(Debug, Default)]
struct CollectedAnswer {
    columns: Vec<String>,
    rows: Vec<QueryRow>,
}

impl RowSink for CollectedAnswer {
    fn columns(&mut self, names: &[String]) {
        self.columns = names.to_vec();
    }

    fn row(&mut self, row: QueryRow) -> ControlFlow<()> {
        self.rows.push(row);
        ControlFlow::Continue(())
    }
}

/// Stops a running query, and reports its progress.
#[derive(Debug, Clone)]
pub struct QueryControl {
    /// The query stops when this becomes true. Its rows then cover the events that were read so far.
    pub halt: watch::Receiver<bool>,
    /// The progress so far.
    pub progress: Arc<ScanProgress>,
}

impl Default for QueryControl {
    /// Returns a control that never stops the query.
    fn default() -> Self {
        Self { halt: watch::channel(false).1, progress: Arc::default() }
    }
}

/// The progress of a scan, for a progress bar.
#[derive(Debug, Default)]
pub struct ScanProgress {
    pub(crate) found_files: AtomicU64,
    pub(crate) found_bytes: AtomicU64,
    pub(crate) read_files: AtomicU64,
    pub(crate) read_bytes: AtomicU64,
    pub(crate) events: AtomicU64,
}

impl ScanProgress {
    /// Returns the number and the stored bytes of the files that are found so far.
    pub fn found(&self) -> (u64, u64) {
        (self.found_files.load(Ordering::Relaxed), self.found_bytes.load(Ordering::Relaxed))
    }

    /// Returns the number and the stored bytes of the files that are read so far.
    pub fn read(&self) -> (u64, u64) {
        (self.read_files.load(Ordering::Relaxed), self.read_bytes.load(Ordering::Relaxed))
    }

    /// Returns the number of events that are read so far.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }
}

/// Why a query failed.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The files cannot be listed.
    #[error("cannot list the files to search: {0}")]
    Listing(#[from] ListingError),
    /// The rows need too much memory.
    #[error(transparent)]
    Memory(#[from] MemoryExceeded),
    /// A consumer of the events failed.
    #[error("{0}")]
    Consumer(String),
    /// The record of the files of a folder cannot be read.
    #[error("cannot read which files are committed: {0}")]
    Record(String),
    /// A thread of the scan failed.
    #[error("the scan failed: {0}")]
    Thread(String),
    /// A query service refused the query, or the query failed.
    #[error("{0}")]
    Engine(String),
}

impl From<SourceError> for QueryError {
    fn from(error: SourceError) -> Self {
        Self::Listing(error.into())
    }
}
