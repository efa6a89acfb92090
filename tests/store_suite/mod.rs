//! The conformance suite of all stores, as functions over `&dyn Store`. Each function needs a store or names that no
//! other test uses.

pub mod pages;
pub mod rows;
pub mod scans;

use trailhose::ledger::inspect::scan::LedgerScan;
use trailhose::ledger::store::{Store, WriteError};

/// Checks the guarantees for one writer. `run` is a prefix that separates the names of several runs in one store.
pub async fn conforms(store: &dyn Store, run: &str) {
    rows::guards_admit_the_specified_states(store, run).await;
    rows::changes_write_the_specified_rows(store, run).await;
    rows::write_by_id_creates_no_row(store, run).await;
    rows::repeated_write_succeeds_or_returns_its_own_row(store, run).await;
    rows::rows_are_returned_in_request_order(store, run).await;
    rows::all_texts_and_numbers_are_preserved(store, run).await;
    pages::page_is_replaced_only_at_its_version(store, run).await;
    pages::deleted_or_recreated_page_is_not_replaced(store, run).await;
    pages::repeated_write_succeeds_or_returns_its_own_page(store, run).await;
    pages::pages_are_returned_in_request_order(store, run).await;
    pages::page_of_3_000_events_is_preserved(store, run).await;
}

/// Checks the scans behind `trailhose ledger`.
pub async fn scans_its_contents(store: &dyn Store, scan: &dyn LedgerScan, run: &str) {
    scans::scan_returns_every_row_and_page_once(store, scan, run).await;
    scans::quarantined_rows_are_listed_until_reopened(store, scan, run).await;
    scans::all_versions_of_an_object_are_found(store, scan, run).await;
}

/// Checks the size that a local store reports.
pub async fn reports_its_size(store: &dyn Store, scan: &dyn LedgerScan, run: &str) {
    scans::size_includes_rows_and_pages(store, scan, run).await;
}

/// Checks concurrent writers. Not for moto, which creates an item before it fills it, without a lock.
pub async fn serializes_concurrent_writes(store: &dyn Store, run: &str) {
    rows::one_concurrent_writer_gets_the_lease(store, run).await;
    pages::one_concurrent_writer_replaces_the_page(store, run).await;
}

/// Returns the current item if a write was refused. Panics if the store failed.
fn refused<T: std::fmt::Debug, D>(outcome: Result<D, WriteError<T>>) -> Result<D, Option<T>> {
    match outcome {
        Ok(done) => Ok(done),
        Err(WriteError::Refused(current)) => Err(current.map(|current| *current)),
        Err(WriteError::Store(error)) => panic!("the store failed: {error}"),
    }
}
