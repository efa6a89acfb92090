//! Two stores as one: every call goes to the plain model in memory, then to the store that is held against it, and both
//! must answer alike.

use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use trailhose::ledger::model::page::{Page, PageName, Version};
use trailhose::ledger::model::row::{Change, Guard, Row};
use trailhose::ledger::store::memory::Memory;
use trailhose::ledger::store::{Store, StoreError, WriteError};
use trailhose::object::{Object, ObjectId};

/// See the module.
#[derive(Debug)]
pub struct Twin {
    pub model: Arc<Memory>,
    /// None: the model alone.
    pub beside: Option<Arc<dyn Store>>,
    /// Answers compared.
    pub compared: AtomicUsize,
}

impl Twin {
    pub fn new(model: Arc<Memory>, beside: Option<Arc<dyn Store>>) -> Self {
        Self { model, beside, compared: AtomicUsize::new(0) }
    }

    fn alike<T: PartialEq + std::fmt::Debug>(&self, asked: &dyn std::fmt::Debug, model: &T, found: &T) {
        assert_eq!(found, model, "the store's answer, and the model's, to {asked:?}");
        self.compared.fetch_add(1, Ordering::Relaxed);
    }
}

/// What was refused, or that it was not answered.
type Answer<T, R> = Result<T, Option<Option<R>>>;

fn answer<T: Clone, R: Clone + std::fmt::Debug>(outcome: &Result<T, WriteError<R>>) -> Answer<T, R> {
    match outcome {
        Ok(done) => Ok(done.clone()),
        Err(WriteError::Refused(stands)) => Err(Some(stands.as_deref().cloned())),
        Err(WriteError::Store(_)) => Err(None),
    }
}

#[async_trait]
impl Store for Twin {
    async fn change_row(&self, object: &Object, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        let model = self.model.change_row(object, guard, change).await;
        if let Some(beside) = &self.beside {
            let found = beside.change_row(object, guard, change).await;
            self.alike(&(object, guard, change), &answer(&model), &answer(&found));
        }
        model
    }

    async fn change_row_by_id(&self, id: ObjectId, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        let model = self.model.change_row_by_id(id, guard, change).await;
        if let Some(beside) = &self.beside {
            let found = beside.change_row_by_id(id, guard, change).await;
            self.alike(&(id, guard, change), &answer(&model), &answer(&found));
        }
        model
    }

    async fn rows(&self, ids: &[ObjectId]) -> Result<Vec<Option<Row>>, StoreError> {
        let model = self.model.rows(ids).await;
        if let Some(beside) = &self.beside {
            let found = beside.rows(ids).await;
            self.alike(&ids, &model.as_ref().ok(), &found.as_ref().ok());
        }
        model
    }

    async fn pages(&self, names: &[PageName]) -> Result<Vec<Option<Page>>, StoreError> {
        let model = self.model.pages(names).await;
        if let Some(beside) = &self.beside {
            let found = beside.pages(names).await;
            self.alike(&names, &model.as_ref().ok(), &found.as_ref().ok());
        }
        model
    }

    async fn write_page(&self, name: &PageName, stands: Option<Version>, page: &Page) -> Result<(), WriteError<Page>> {
        let model = self.model.write_page(name, stands, page).await;
        if let Some(beside) = &self.beside {
            let found = beside.write_page(name, stands, page).await;
            self.alike(&(name, stands, page), &answer(&model), &answer(&found));
        }
        model
    }
}
