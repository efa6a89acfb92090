//! A store that lasts as long as the process: the plainest reading of the rules, and the model that the others are held
//! against.

use super::page::{Page, PageName, Version};
use super::row::{Change, Guard, Row};
use super::store::{Store, StoreError, WriteError};
use crate::object::{Object, ObjectId};
use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Rows and pages in two maps.
#[derive(Debug, Default)]
pub struct Memory {
    kept: Mutex<Kept>,
}

/// What a [`Memory`] holds.
#[derive(Debug, Default, Clone)]
pub struct Kept {
    /// Every row.
    pub rows: HashMap<ObjectId, Row>,
    /// Every page.
    pub pages: HashMap<PageName, Page>,
}

impl Memory {
    /// What is held now.
    pub fn kept(&self) -> MutexGuard<'_, Kept> {
        // Every write below is one assignment: a panic elsewhere leaves nothing half written.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for Memory {
    async fn change_row(&self, object: &Object, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        let mut kept = self.kept();
        let stands = kept.rows.get(&object.id()).cloned();
        if !guard.admits(stands.as_ref()) {
            return Err(WriteError::Refused(stands.map(Box::new)));
        }
        let row = change.apply(stands, object);
        kept.rows.insert(object.id(), row.clone());
        Ok(row)
    }

    async fn change_row_by_id(&self, id: ObjectId, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        let Some(object) = self.kept().rows.get(&id).map(|row| row.object.clone()) else {
            return Err(WriteError::Refused(None));
        };
        self.change_row(&object, guard, change).await
    }

    async fn rows(&self, ids: &[ObjectId]) -> Result<Vec<Option<Row>>, StoreError> {
        let kept = self.kept();
        Ok(ids.iter().map(|id| kept.rows.get(id).cloned()).collect())
    }

    async fn pages(&self, names: &[PageName]) -> Result<Vec<Option<Page>>, StoreError> {
        let kept = self.kept();
        Ok(names.iter().map(|name| kept.pages.get(name).cloned()).collect())
    }

    async fn write_page(&self, name: &PageName, stands: Option<Version>, page: &Page) -> Result<(), WriteError<Page>> {
        let mut kept = self.kept();
        let found = kept.pages.get(name);
        if found.map(|page| page.version) != stands {
            return Err(WriteError::Refused(found.cloned().map(Box::new)));
        }
        kept.pages.insert(name.clone(), page.clone());
        Ok(())
    }
}
