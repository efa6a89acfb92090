//! A store that lasts as long as the process: the plainest reading of the rules, and the model that the others are held
//! against.

use crate::ledger::cost;
use crate::ledger::inspect::scan::{Mark, Over, Piece, Size, Survey};
use crate::ledger::model::page::{Page, PageName, Version};
use crate::ledger::model::row::{Change, Guard, Row, Status};
use crate::ledger::store::{Store, StoreError, WriteError};
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

#[async_trait]
impl Survey for Memory {
    async fn size(&self) -> Result<Size, StoreError> {
        let kept = self.kept();
        let rows: usize = kept.rows.values().map(cost::row_bytes).sum();
        let pages: usize = kept.pages.iter().map(|(name, page)| cost::page_bytes(name, page)).sum();
        let aside = kept.rows.values().filter(|row| row.status == Status::Quarantined).count();
        Ok(Size {
            items: (kept.rows.len() + kept.pages.len()) as u64,
            bytes: (rows + pages) as u64,
            quarantined: Some(aside as u64),
            age: 0,
        })
    }

    async fn walk(&self, over: &Over, after: Option<&Mark>, at_most: u32) -> Result<Piece, StoreError> {
        let kept = self.kept();
        let wanted = |row: &Row| match over {
            Over::Quarantined => row.status == Status::Quarantined,
            Over::Versions(objects) => {
                objects.iter().any(|(bucket, key)| *bucket == row.object.bucket && *key == row.object.key)
            }
            Over::Pages => false,
            Over::All => true,
        };
        let rows = kept.rows.iter().filter(|(_, row)| wanted(row)).map(|(id, row)| (format!("o#{id}"), Ok(row)));
        let pages = kept.pages.iter().filter(|_| matches!(over, Over::Pages | Over::All));
        let pages = pages.map(|(name, page)| (format!("p#{name}"), Err((name, page))));
        let mut items: Vec<(String, Result<&Row, (&PageName, &Page)>)> = rows.chain(pages).collect();
        items.retain(|(name, _)| after.is_none_or(|Mark(after)| name > after));
        items.sort_by(|one, other| one.0.cmp(&other.0));
        let rest = items.split_off(items.len().min(at_most.max(1) as usize));
        let next = items.last().filter(|_| !rest.is_empty()).map(|(name, _)| Mark(name.clone()));
        let mut piece = Piece { next, ..Piece::default() };
        for (_, item) in items {
            match item {
                Ok(row) => piece.rows.push(row.clone()),
                Err((name, page)) => piece.pages.push((name.clone(), page.clone())),
            }
        }
        Ok(piece)
    }
}
