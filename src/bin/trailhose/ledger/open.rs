//! Opens a ledger for inspection or changes.

use crate::args::LedgerLocation;
use crate::components::{self, Aws, INSPECTION_DAYS};
use crate::text::{counted, dollars};
use std::sync::Arc;
use trailhose::billing::price::BilledUnits;
use trailhose::ledger::Ledger;
use trailhose::ledger::cost::{self, scan_units};
use trailhose::ledger::inspect::scan::{LedgerScan, ScanBatch, ScanFilter};
use trailhose::ledger::model::row::Row;
use trailhose::ledger::store::StoreError;

/// Whether a ledger is opened for reading only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LedgerAccess {
    /// No changes. Another process may use the file.
    ReadOnly,
    /// Rows are changed. No other process may use the file meanwhile.
    ReadWrite,
}

/// An opened ledger.
pub(super) struct OpenedLedger {
    pub(super) at: LedgerLocation,
    pub(super) ledger: Ledger,
    pub(super) scanner: Arc<dyn LedgerScan>,
    pub(super) usage: Arc<cost::LedgerCounters>,
}

impl OpenedLedger {
    pub(super) async fn at(at: LedgerLocation, access: LedgerAccess, aws: &Aws) -> Result<Self, String> {
        let (ledger, scanner, usage) = match (&at, access) {
            (LedgerLocation::DynamoDb(table), _) => components::open_table(table, INSPECTION_DAYS, aws).await?,
            (LedgerLocation::File(file), LedgerAccess::ReadOnly) => components::open_file(file)?,
            (LedgerLocation::File(file), LedgerAccess::ReadWrite) => components::open_file_for_update(file)?,
        };
        Ok(Self { at, ledger, scanner, usage })
    }

    /// Whether reads are billed.
    pub(super) fn is_billed(&self) -> bool {
        matches!(self.at, LedgerLocation::DynamoDb(_))
    }

    /// Starts a scan of a part of the ledger.
    pub(super) fn walk(&self, filter: ScanFilter) -> LedgerWalk<'_> {
        LedgerWalk { scanner: &*self.scanner, filter, next: Some(None) }
    }

    /// Reads rows again, because a scan is not strongly consistent.
    pub(super) async fn reread(&self, rows: &[Row]) -> Result<Vec<Row>, String> {
        let ids: Vec<_> = rows.iter().map(|row| row.object.id()).collect();
        Ok(self.ledger.rows(&ids).await.map_err(failed)?.into_iter().flatten().collect())
    }

    /// Returns the cost of reading the whole ledger.
    pub(super) fn cost_of_all(&self, bytes: u64) -> String {
        let units = scan_units(usize::try_from(bytes).unwrap_or(usize::MAX)) as f64;
        let amount = BilledUnits { read_units: units, ..BilledUnits::default() }.dollars();
        format!("{}, {}", counted(units as u64, "read unit"), money(amount))
    }

    /// Returns the cost of the reads so far.
    pub(super) fn cost_so_far(&self) -> String {
        let spent = self.usage.usage();
        format!("{}, {}", counted(spent.read_units, "read unit"), money(BilledUnits::ledger(spent).dollars()))
    }
}

/// A scan that returns one batch at a time.
pub(super) struct LedgerWalk<'a> {
    scanner: &'a dyn LedgerScan,
    filter: ScanFilter,
    next: Option<Option<trailhose::ledger::inspect::scan::ScanToken>>,
}

impl LedgerWalk<'_> {
    /// Returns the next batch, or `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<ScanBatch>, String> {
        let Some(after) = self.next.take() else { return Ok(None) };
        let batch = self.scanner.scan(&self.filter, after.as_ref(), super::SCAN_BATCH_ITEMS).await.map_err(failed)?;
        self.next = batch.next.clone().map(Some);
        Ok(Some(batch))
    }
}

pub(super) fn failed(error: StoreError) -> String {
    format!("ledger: {error}")
}

/// Formats dollars with as many decimals as are significant.
fn money(amount: f64) -> String {
    match amount {
        amount if amount >= 0.01 => dollars(amount, 2),
        amount if amount >= 0.000_01 => dollars(amount, 5),
        _ => "less than $0.00001".to_owned(),
    }
}
