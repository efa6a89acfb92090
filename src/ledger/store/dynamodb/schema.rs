//! The schema version of a table: the item `schema`, which states in which form rows and pages are written.
//!
//! Each process reads the item once, before its first request for a row or a page, and remembers the result. A table
//! without the item has version 1. The first process that writes a page adds the item. A table with a later version is
//! refused: its rows and pages may mean something that this program does not know, and an event that looks delivered
//! may not be.
//!
//! A change of the form that an older program cannot read gets the next version. The program that introduces it reads
//! the earlier versions too, and raises the version before it writes the new form. An older process that has read the
//! earlier version still runs until its invocation ends, at most 15 minutes. During this time the new program must not
//! write the new form.

use super::{Attributes, DynamoDb, OnRefusal, RequestRetry, item};
use crate::aws;
use crate::ledger::store::StoreError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use tokio::sync::OnceCell;

/// The latest schema version that this program reads, and the version of the tables that it creates.
pub const SCHEMA_VERSION: u32 = 1;

/// The key of the item.
pub(super) const KEY: &str = "schema";

/// What this process knows about the schema version of its table.
#[derive(Debug, Default)]
pub(super) struct SchemaCheck {
    /// Whether the table has the item. Set after its version was accepted.
    item_exists: OnceCell<bool>,
    /// Set after the table has the item.
    stored: OnceCell<()>,
}

impl DynamoDb {
    /// Returns the schema version of the table, or `None` if no program has written a page to it yet.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if the item has no version; errors of the request.
    pub async fn schema_version(&self) -> Result<Option<u32>, StoreError> {
        self.batch(vec![KEY.to_owned()]).await?.first().map(item::schema_version).transpose()
    }

    /// Checks that this program can read the table. Returns whether the table has the item. Only the first call of a process
    /// sends a request.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if the table has a later schema version; errors of the request. The next call repeats
    /// the check.
    pub(super) async fn check_schema(&self) -> Result<bool, StoreError> {
        let read = async || match self.batch(vec![KEY.to_owned()]).await?.first() {
            Some(found) => self.accept(found).map(|()| true),
            None => Ok(false),
        };
        self.schema.item_exists.get_or_try_init(read).await.copied()
    }

    /// Checks the table, and adds the item if it is missing. Only the first calls of a process send requests.
    ///
    /// # Errors
    /// As for [`DynamoDb::check_schema`].
    pub(super) async fn ensure_schema(&self) -> Result<(), StoreError> {
        if self.check_schema().await? {
            return Ok(());
        }
        self.schema.stored.get_or_try_init(|| self.add_schema()).await.copied()
    }

    async fn add_schema(&self) -> Result<(), StoreError> {
        const ACTION: &str = "dynamodb:PutItem";
        let item = Attributes::from([
            ("pk".to_owned(), AttributeValue::S(KEY.to_owned())),
            ("version".to_owned(), AttributeValue::N(SCHEMA_VERSION.to_string())),
        ]);
        let mut retry = RequestRetry::new();
        loop {
            let request = self.client.put_item().table_name(&self.table).set_item(Some(item.clone()));
            let request = request.condition_expression("attribute_not_exists(pk)");
            let error = match request.return_values_on_condition_check_failure(OnRefusal::AllOld).send().await {
                Ok(_) => {
                    self.usage.wrote(0, item::bytes(&item));
                    return Ok(());
                }
                Err(error) => error,
            };
            // Another process added the item, or this request did and its reply was lost.
            if let Some(PutItemError::ConditionalCheckFailedException(rejected)) = error.as_service_error() {
                let found = rejected.item().cloned().unwrap_or_default();
                self.usage.refused(item::bytes(&found), item::bytes(&item));
                return self.accept(&found);
            }
            retry.wait_or_fail(ACTION, &self.table, aws::failure(&error)).await?;
        }
    }

    /// Checks the version in the item.
    pub(super) fn accept(&self, found: &Attributes) -> Result<(), StoreError> {
        let table = &self.table;
        match item::schema_version(found)? {
            1..=SCHEMA_VERSION => Ok(()),
            0 => {
                Err(StoreError::Unreadable(format!("table {table}: the item {KEY} has version 0; versions start at 1")))
            }
            later => Err(StoreError::Unreadable(format!(
                "a newer version of trailhose wrote the ledger in table {table} (schema version {later}; this version \
                 reads up to {SCHEMA_VERSION}): update trailhose"
            ))),
        }
    }
}
