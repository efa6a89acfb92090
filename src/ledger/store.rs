//! What a store must do: keep rows and pages, read them strongly consistent, and refuse a write whose condition does
//! not hold, saying what stands there instead.

#[cfg(feature = "dynamodb")]
pub mod dynamodb;
pub mod memory;
#[cfg(feature = "cli")]
pub mod sqlite;

use crate::ledger::model::page::{Page, PageName, Version};
use crate::ledger::model::row::{Change, Guard, Row};
use crate::object::{Object, ObjectId};
use async_trait::async_trait;

/// Keeps rows and pages.
///
/// Every method may be called again after an [`StoreError::Unknown`] outcome: the conditions make a repeat of a write
/// that took effect either succeed again or be refused with what it wrote.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Changes an object's row if `guard` admits it, and returns the row as it then stands. A row whose time to live
    /// has passed is still a row: only its absence counts as absent.
    async fn change_row(&self, object: &Object, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>>;

    /// Changes a row that is known by its name only. The row must exist: `guard` refuses an absent one.
    async fn change_row_by_id(&self, id: ObjectId, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>>;

    /// The rows of these objects, in this order, strongly consistent.
    async fn rows(&self, ids: &[ObjectId]) -> Result<Vec<Option<Row>>, StoreError>;

    /// These pages, in this order, strongly consistent. An expired page is returned as it stands.
    async fn pages(&self, names: &[PageName]) -> Result<Vec<Option<Page>>, StoreError>;

    /// Writes `page` in place of the one whose version is `current` (none: there is no page). The page written carries
    /// a version of its own.
    async fn write_page(&self, name: &PageName, current: Option<Version>, page: &Page) -> Result<(), WriteError<Page>>;
}

/// Why a conditional write was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<T: std::fmt::Debug> {
    /// The condition did not hold; this is what stands there.
    #[error("refused: the condition does not hold")]
    Refused(Option<Box<T>>),
    /// The store did not answer, or with an error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The request may or may not have taken effect.
    #[error("{0}")]
    Unknown(String),
    /// Permission denied: says which.
    #[error("{0}")]
    Denied(String),
    /// What is stored cannot be read: another program's table, or a newer version's.
    #[error("{0}")]
    Unreadable(String),
}
