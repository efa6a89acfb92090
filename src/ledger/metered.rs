//! Store wrapper that counts what DynamoDB would bill for the requests.

use crate::ledger::cost::{self, LedgerCounters, MAX_BATCH_KEYS};
use crate::ledger::model::page::{Page, PageName, Version};
use crate::ledger::model::row::{Change, Guard, Row};
use crate::ledger::store::{Store, StoreError, WriteError};
use crate::object::{Object, ObjectId};
use async_trait::async_trait;
use std::sync::Arc;

/// Counts what DynamoDB would bill for the requests to the inner store.
#[derive(Debug)]
pub struct MeteredStore<S> {
    inner: Arc<S>,
    counters: Arc<LedgerCounters>,
}

impl<S: Store> MeteredStore<S> {
    /// Wraps `inner`.
    pub fn new(inner: Arc<S>) -> Self {
        Self { inner, counters: Arc::default() }
    }

    /// Returns the counters.
    pub fn counters(&self) -> Arc<LedgerCounters> {
        Arc::clone(&self.counters)
    }

    fn count_row(&self, changed: Result<Row, WriteError<Row>>) -> Result<Row, WriteError<Row>> {
        match &changed {
            Ok(row) => self.counters.wrote(0, cost::row_bytes(row)),
            Err(WriteError::Refused(current)) => {
                self.counters.refused(current.as_deref().map_or(0, cost::row_bytes), 0)
            }
            Err(WriteError::Store(_)) => {}
        }
        changed
    }
}

#[async_trait]
impl<S: Store> Store for MeteredStore<S> {
    async fn change_row(&self, object: &Object, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        self.count_row(self.inner.change_row(object, guard, change).await)
    }

    async fn change_row_by_id(&self, id: ObjectId, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        self.count_row(self.inner.change_row_by_id(id, guard, change).await)
    }

    async fn rows(&self, ids: &[ObjectId]) -> Result<Vec<Option<Row>>, StoreError> {
        let rows = self.inner.rows(ids).await?;
        for batch in rows.chunks(MAX_BATCH_KEYS) {
            self.counters.read(batch.iter().map(|row| row.as_ref().map_or(0, cost::row_bytes)));
        }
        Ok(rows)
    }

    async fn pages(&self, names: &[PageName]) -> Result<Vec<Option<Page>>, StoreError> {
        let pages = self.inner.pages(names).await?;
        let bytes = |(name, page): (&PageName, &Option<Page>)| page.as_ref().map_or(0, |p| cost::page_bytes(name, p));
        for (names, pages) in names.chunks(MAX_BATCH_KEYS).zip(pages.chunks(MAX_BATCH_KEYS)) {
            self.counters.read(names.iter().zip(pages).map(bytes));
        }
        Ok(pages)
    }

    async fn write_page(&self, name: &PageName, current: Option<Version>, page: &Page) -> Result<(), WriteError<Page>> {
        let wrote = self.inner.write_page(name, current, page).await;
        let bytes = cost::page_bytes(name, page);
        match &wrote {
            Ok(()) => self.counters.wrote(0, bytes),
            Err(WriteError::Refused(found)) => {
                self.counters.refused(found.as_deref().map_or(0, |found| cost::page_bytes(name, found)), bytes);
            }
            Err(WriteError::Store(_)) => {}
        }
        wrote
    }
}
