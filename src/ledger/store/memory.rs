//! In-memory store: the simplest implementation of the rules, and the model that the other stores are tested against.

use crate::ledger::cost;
use crate::ledger::inspect::scan::{LedgerScan, LedgerSize, ScanBatch, ScanFilter, ScanToken};
use crate::ledger::model::page::{Page, PageName, Version};
use crate::ledger::model::row::{Change, Guard, Row, Status};
use crate::ledger::store::{Store, StoreError, WriteError};
use crate::object::{Object, ObjectId};
use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// In-memory store, which keeps rows and pages in two maps.
#[derive(Debug, Default)]
pub struct Memory {
    contents: Mutex<MemoryState>,
}

/// Contents of a [`Memory`] store.
#[derive(Debug, Default, Clone)]
pub struct MemoryState {
    /// All rows.
    pub rows: HashMap<ObjectId, Row>,
    /// All pages.
    pub pages: HashMap<PageName, Page>,
}

impl Memory {
    /// Locks and returns the contents.
    pub fn contents(&self) -> MutexGuard<'_, MemoryState> {
        // Every write is one insertion into a map, so a panic of another task leaves nothing half written.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for Memory {
    async fn change_row(&self, object: &Object, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        let mut contents = self.contents();
        let current = contents.rows.get(&object.id()).cloned();
        if !guard.admits(current.as_ref()) {
            return Err(WriteError::Refused(current.map(Box::new)));
        }
        let row = change.apply(current, object);
        contents.rows.insert(object.id(), row.clone());
        Ok(row)
    }

    async fn change_row_by_id(&self, id: ObjectId, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        let Some(object) = self.contents().rows.get(&id).map(|row| row.object.clone()) else {
            return Err(WriteError::Refused(None));
        };
        self.change_row(&object, guard, change).await
    }

    async fn rows(&self, ids: &[ObjectId]) -> Result<Vec<Option<Row>>, StoreError> {
        let contents = self.contents();
        Ok(ids.iter().map(|id| contents.rows.get(id).cloned()).collect())
    }

    async fn pages(&self, names: &[PageName]) -> Result<Vec<Option<Page>>, StoreError> {
        let contents = self.contents();
        Ok(names.iter().map(|name| contents.pages.get(name).cloned()).collect())
    }

    async fn write_page(&self, name: &PageName, current: Option<Version>, page: &Page) -> Result<(), WriteError<Page>> {
        let mut contents = self.contents();
        let found = contents.pages.get(name);
        if found.map(|page| page.version) != current {
            return Err(WriteError::Refused(found.cloned().map(Box::new)));
        }
        contents.pages.insert(name.clone(), page.clone());
        Ok(())
    }
}

#[async_trait]
impl LedgerScan for Memory {
    async fn size(&self) -> Result<LedgerSize, StoreError> {
        let contents = self.contents();
        let rows: usize = contents.rows.values().map(cost::row_bytes).sum();
        let pages: usize = contents.pages.iter().map(|(name, page)| cost::page_bytes(name, page)).sum();
        let quarantined = contents.rows.values().filter(|row| row.status == Status::Quarantined).count();
        Ok(LedgerSize {
            items: (contents.rows.len() + contents.pages.len()) as u64,
            bytes: (rows + pages) as u64,
            quarantined: Some(quarantined as u64),
            age: 0,
        })
    }

    async fn scan(&self, filter: &ScanFilter, after: Option<&ScanToken>, limit: u32) -> Result<ScanBatch, StoreError> {
        let contents = self.contents();
        let selected = |row: &Row| match filter {
            ScanFilter::Quarantined => row.status == Status::Quarantined,
            ScanFilter::Versions(objects) => {
                objects.iter().any(|(bucket, key)| *bucket == row.object.bucket && *key == row.object.key)
            }
            ScanFilter::Pages => false,
            ScanFilter::All => true,
        };
        let rows = contents.rows.iter().filter(|(_, row)| selected(row)).map(|(id, row)| (format!("o#{id}"), Ok(row)));
        let pages = contents.pages.iter().filter(|_| matches!(filter, ScanFilter::Pages | ScanFilter::All));
        let pages = pages.map(|(name, page)| (format!("p#{name}"), Err((name, page))));
        // `Ok` is a row, and `Err` is a page.
        let mut items: Vec<(String, Result<&Row, (&PageName, &Page)>)> = rows.chain(pages).collect();
        items.retain(|(name, _)| after.is_none_or(|ScanToken(after)| name > after));
        items.sort_by(|one, other| one.0.cmp(&other.0));
        let rest = items.split_off(items.len().min(limit.max(1) as usize));
        let next = items.last().filter(|_| !rest.is_empty()).map(|(name, _)| ScanToken(name.clone()));
        let mut batch = ScanBatch { next, ..ScanBatch::default() };
        for (_, item) in items {
            match item {
                Ok(row) => batch.rows.push(row.clone()),
                Err((name, page)) => batch.pages.push((name.clone(), page.clone())),
            }
        }
        Ok(batch)
    }
}
