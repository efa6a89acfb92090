//! A store that checks another store: every call goes to the in-memory model, then to the store under test, and both
//! must return the same result.

use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use trailhose::ledger::model::page::{Page, PageName, Version};
use trailhose::ledger::model::row::{Change, Guard, Row};
use trailhose::ledger::store::memory::Memory;
use trailhose::ledger::store::{Store, StoreError, WriteError};
use trailhose::object::{Object, ObjectId};

/// The model and the store under test.
#[derive(Debug)]
pub struct PairedStore {
    pub model: Arc<Memory>,
    /// The store under test. Without one, only the model is called.
    pub beside: Option<Arc<dyn Store>>,
    /// Number of compared results.
    pub compared: AtomicUsize,
}

impl PairedStore {
    pub fn new(model: Arc<Memory>, beside: Option<Arc<dyn Store>>) -> Self {
        Self { model, beside, compared: AtomicUsize::new(0) }
    }

    fn compare<T: PartialEq + std::fmt::Debug>(&self, request: &dyn std::fmt::Debug, model: &T, found: &T) {
        assert_eq!(found, model, "the store's result differs from the model's for {request:?}");
        self.compared.fetch_add(1, Ordering::Relaxed);
    }
}

/// The result of a write: `Some` holds the current item after a refusal, `None` means that the store failed.
type Answer<T, R> = Result<T, Option<Option<R>>>;

fn answer<T: Clone, R: Clone + std::fmt::Debug>(outcome: &Result<T, WriteError<R>>) -> Answer<T, R> {
    match outcome {
        Ok(done) => Ok(done.clone()),
        Err(WriteError::Refused(current)) => Err(Some(current.as_deref().cloned())),
        Err(WriteError::Store(_)) => Err(None),
    }
}

#[async_trait]
impl Store for PairedStore {
    async fn change_row(&self, object: &Object, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        let model = self.model.change_row(object, guard, change).await;
        if let Some(beside) = &self.beside {
            let found = beside.change_row(object, guard, change).await;
            self.compare(&(object, guard, change), &answer(&model), &answer(&found));
        }
        model
    }

    async fn change_row_by_id(&self, id: ObjectId, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        let model = self.model.change_row_by_id(id, guard, change).await;
        if let Some(beside) = &self.beside {
            let found = beside.change_row_by_id(id, guard, change).await;
            self.compare(&(id, guard, change), &answer(&model), &answer(&found));
        }
        model
    }

    async fn rows(&self, ids: &[ObjectId]) -> Result<Vec<Option<Row>>, StoreError> {
        let model = self.model.rows(ids).await;
        if let Some(beside) = &self.beside {
            let found = beside.rows(ids).await;
            self.compare(&ids, &model.as_ref().ok(), &found.as_ref().ok());
        }
        model
    }

    async fn pages(&self, names: &[PageName]) -> Result<Vec<Option<Page>>, StoreError> {
        let model = self.model.pages(names).await;
        if let Some(beside) = &self.beside {
            let found = beside.pages(names).await;
            self.compare(&names, &model.as_ref().ok(), &found.as_ref().ok());
        }
        model
    }

    async fn write_page(
        &self,
        name: &PageName,
        expected_version: Option<Version>,
        page: &Page,
    ) -> Result<(), WriteError<Page>> {
        let model = self.model.write_page(name, expected_version, page).await;
        if let Some(beside) = &self.beside {
            let found = beside.write_page(name, expected_version, page).await;
            self.compare(&(name, expected_version, page), &answer(&model), &answer(&found));
        }
        model
    }
}
