//! A store that counts what DynamoDB would bill for what another store is asked.

use crate::ledger::cost::{self, BATCH, Usage};
use crate::ledger::model::page::{Page, PageName, Version};
use crate::ledger::model::row::{Change, Guard, Row};
use crate::ledger::store::{Store, StoreError, WriteError};
use crate::object::{Object, ObjectId};
use async_trait::async_trait;
use std::sync::Arc;

/// Counts what DynamoDB would bill for what the store within is asked.
#[derive(Debug)]
pub struct Metered<S> {
    within: Arc<S>,
    usage: Arc<Usage>,
}

impl<S: Store> Metered<S> {
    /// Counts what `within` is asked through this.
    pub fn new(within: Arc<S>) -> Self {
        Self { within, usage: Arc::default() }
    }

    /// The counters.
    pub fn usage(&self) -> Arc<Usage> {
        Arc::clone(&self.usage)
    }

    fn row(&self, changed: Result<Row, WriteError<Row>>) -> Result<Row, WriteError<Row>> {
        match &changed {
            Ok(row) => self.usage.wrote(0, cost::row_bytes(row)),
            Err(WriteError::Refused(stands)) => self.usage.refused(stands.as_deref().map_or(0, cost::row_bytes), 0),
            Err(WriteError::Store(_)) => {}
        }
        changed
    }
}

#[async_trait]
impl<S: Store> Store for Metered<S> {
    async fn change_row(&self, object: &Object, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        self.row(self.within.change_row(object, guard, change).await)
    }

    async fn change_row_by_id(&self, id: ObjectId, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        self.row(self.within.change_row_by_id(id, guard, change).await)
    }

    async fn rows(&self, ids: &[ObjectId]) -> Result<Vec<Option<Row>>, StoreError> {
        let rows = self.within.rows(ids).await?;
        for batch in rows.chunks(BATCH) {
            self.usage.read(batch.iter().map(|row| row.as_ref().map_or(0, cost::row_bytes)));
        }
        Ok(rows)
    }

    async fn pages(&self, names: &[PageName]) -> Result<Vec<Option<Page>>, StoreError> {
        let pages = self.within.pages(names).await?;
        let bytes = |(name, page): (&PageName, &Option<Page>)| page.as_ref().map_or(0, |p| cost::page_bytes(name, p));
        for (names, pages) in names.chunks(BATCH).zip(pages.chunks(BATCH)) {
            self.usage.read(names.iter().zip(pages).map(bytes));
        }
        Ok(pages)
    }

    async fn write_page(&self, name: &PageName, stands: Option<Version>, page: &Page) -> Result<(), WriteError<Page>> {
        let wrote = self.within.write_page(name, stands, page).await;
        let bytes = cost::page_bytes(name, page);
        match &wrote {
            Ok(()) => self.usage.wrote(0, bytes),
            Err(WriteError::Refused(found)) => {
                self.usage.refused(found.as_deref().map_or(0, |found| cost::page_bytes(name, found)), bytes);
            }
            Err(WriteError::Store(_)) => {}
        }
        wrote
    }
}
