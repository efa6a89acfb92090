//! Store: the database that holds the ledger. A store keeps rows and pages, reads them with strong consistency, and
//! refuses a write whose condition does not hold, returning the current item.

#[cfg(feature = "dynamodb")]
pub mod dynamodb;
pub mod memory;
#[cfg(feature = "cli")]
pub mod sqlite;

use crate::ledger::model::page::{Page, PageName, Version};
use crate::ledger::model::row::{Change, Guard, Row};
use crate::object::{Object, ObjectId};
use async_trait::async_trait;

/// Stores rows and pages.
///
/// Every method may be repeated after a [`StoreError::Unknown`]: the conditions ensure that a repeated write that
/// already took effect either succeeds again or is refused with the item that it wrote.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Changes an object's row if `guard` admits it, and returns the changed row. A row whose time to live has passed
    /// still counts as a row until the store deletes it.
    async fn change_row(&self, object: &Object, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>>;

    /// Changes a row given only the object's ID. The row must exist: an absent row is refused for every `guard`.
    async fn change_row_by_id(&self, id: ObjectId, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>>;

    /// Returns the rows of these objects, in this order, with strong consistency.
    async fn rows(&self, ids: &[ObjectId]) -> Result<Vec<Option<Row>>, StoreError>;

    /// Returns these pages, in this order, with strong consistency. Expired pages are returned unchanged.
    async fn pages(&self, names: &[PageName]) -> Result<Vec<Option<Page>>, StoreError>;

    /// Replaces the page whose version is `current` by `page`. With `None` the page must not exist. `page` has a new
    /// version of its own.
    async fn write_page(&self, name: &PageName, current: Option<Version>, page: &Page) -> Result<(), WriteError<Page>>;
}

/// Error of a conditional write.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<T: std::fmt::Debug> {
    /// The condition does not hold. Contains the current item, if it exists.
    #[error("the condition of the write does not hold")]
    Refused(Option<Box<T>>),
    /// The store did not answer, or it answered with an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Error of a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The request may or may not have taken effect.
    #[error("{0}")]
    Unknown(String),
    /// Permission denied. The message names the permission.
    #[error("{0}")]
    Denied(String),
    /// The stored data cannot be read: the table belongs to another program, or a newer version wrote it.
    #[error("{0}")]
    Unreadable(String),
}
