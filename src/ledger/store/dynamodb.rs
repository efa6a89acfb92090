//! DynamoDB store: keeps the ledger in one table.
//!
//! The hash key `pk` is `o#` and the object ID for a row, and `p#` and the page name for a page. `expires` is the
//! table's time-to-live attribute, set on every page and on rows that are done. A quarantined row has
//! `quarantined_at`, the key of a sparse index that lists the objects a person must look at. The item `schema` contains
//! the schema version of the table.

mod expression;
mod item;
mod scan;
mod schema;

pub use schema::SCHEMA_VERSION;

use crate::aws::{self, AwsFailure, FailureKind};
use crate::backoff::{Backoff, Pace};
use crate::ledger::cost::{self, LedgerCounters, MAX_BATCH_KEYS};
use crate::ledger::model::page::{Page, PageName, Version};
use crate::ledger::model::row::{Change, Guard, Row};
use crate::ledger::store::{Store, StoreError, WriteError};
use crate::object::{Object, ObjectId};
use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, ReturnValue, ReturnValuesOnConditionCheckFailure as OnRefusal,
};
use expression::Expression;
use futures_util::{StreamExt, TryStreamExt, stream};
use schema::SchemaCheck;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Attributes of an item.
type Attributes = HashMap<String, AttributeValue>;

/// How long one request is retried before its outcome is reported as unknown.
const RETRY_TIMEOUT: Duration = Duration::from_secs(15);

/// Waits between the attempts of one request. A throttled partition recovers within a second. A table whose load just
/// increased needs longer.
const PACE: Pace = Pace { base: Duration::from_millis(50), cap: Duration::from_secs(3) };

/// Maximum number of concurrent read batches.
const MAX_CONCURRENT_BATCHES: usize = 4;

/// Store that keeps the ledger in one DynamoDB table.
#[derive(Debug, Clone)]
pub struct DynamoDb {
    client: Client,
    table: String,
    usage: Arc<LedgerCounters>,
    schema: Arc<SchemaCheck>,
}

impl DynamoDb {
    /// Returns a store for `table`. The client must not retry by itself: use the one from [`aws::dynamodb`].
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into(), usage: Arc::default(), schema: Arc::default() }
    }

    /// Returns the counters of this store's requests.
    pub fn counters(&self) -> Arc<LedgerCounters> {
        Arc::clone(&self.usage)
    }

    async fn update(
        &self,
        id: ObjectId,
        object: Option<&Object>,
        guard: Guard,
        change: &Change,
    ) -> Result<Row, WriteError<Row>> {
        const ACTION: &str = "dynamodb:UpdateItem";
        self.check_schema().await?;
        let expression = Expression::new(guard, change, object);
        let mut retry = RequestRetry::new();
        loop {
            let request = self
                .client
                .update_item()
                .table_name(&self.table)
                .key("pk", item::row_key(id))
                .update_expression(&expression.update)
                .condition_expression(&expression.condition)
                .set_expression_attribute_names(Some(expression.names.clone()))
                .set_expression_attribute_values(Some(expression.values.clone()))
                .return_values(ReturnValue::AllNew)
                .return_values_on_condition_check_failure(OnRefusal::AllOld);
            let error = match request.send().await {
                Ok(answer) => {
                    let row = item::row(answer.attributes.as_ref().unwrap_or(&Attributes::new()))?;
                    self.usage.wrote(0, cost::row_bytes(&row));
                    return Ok(row);
                }
                Err(error) => error,
            };
            if let Some(refusal) =
                error.as_service_error().filter(|error| error.is_conditional_check_failed_exception())
            {
                let current = match refusal {
                    aws_sdk_dynamodb::operation::update_item::UpdateItemError::ConditionalCheckFailedException(
                        rejected,
                    ) => rejected.item().filter(|item| !item.is_empty()).map(item::row).transpose()?,
                    _ => None,
                };
                self.usage.refused(current.as_ref().map_or(0, cost::row_bytes), 0);
                return Err(WriteError::Refused(current.map(Box::new)));
            }
            retry.wait_or_fail(ACTION, &self.table, aws::failure(&error)).await?;
        }
    }

    /// Checks at the start of a program that the table answers and that this program can read it: reads the item with
    /// the schema version, without retries. A missing permission is not an error here. The first request that needs the
    /// permission reports it.
    ///
    /// # Errors
    /// The table does not exist or has a later schema version ([`StoreError::Unreadable`]), it does not answer
    /// ([`StoreError::Unknown`]), or the credentials are not accepted ([`StoreError::Denied`]).
    pub async fn check(&self) -> Result<(), StoreError> {
        const ACTION: &str = "dynamodb:BatchGetItem";
        let key = Attributes::from([("pk".to_owned(), AttributeValue::S(schema::KEY.to_owned()))]);
        let keys = KeysAndAttributes::builder().keys(key).build();
        let keys = keys.map_err(|error| StoreError::Unreadable(error.to_string()))?;
        let failure = match self.client.batch_get_item().request_items(&self.table, keys).send().await {
            Ok(answer) => {
                let found = answer.responses.unwrap_or_default().remove(&self.table).unwrap_or_default();
                self.usage.read([found.iter().map(item::bytes).sum()]);
                return found.first().map_or(Ok(()), |found| self.accept(found));
            }
            Err(error) => Some(aws::failure(&error)).filter(|failure| match failure.kind {
                FailureKind::Denied => failure.concerns_credentials(),
                kind => kind != FailureKind::Throttled,
            }),
        };
        match failure {
            None => Ok(()),
            Some(failure) => {
                let mut no_retries = RequestRetry { until: Instant::now(), ..RequestRetry::new() };
                no_retries.wait_or_fail(ACTION, &self.table, failure).await
            }
        }
    }

    /// Returns the items of these keys, in any order, with strong consistency.
    async fn batch(&self, keys: Vec<String>) -> Result<Vec<Attributes>, StoreError> {
        const ACTION: &str = "dynamodb:BatchGetItem";
        let mut items = Vec::with_capacity(keys.len());
        let key = |key: String| Attributes::from([("pk".to_owned(), AttributeValue::S(key))]);
        let mut remaining: Vec<Attributes> = keys.into_iter().map(key).collect();
        let mut retry = RequestRetry::new();
        while !remaining.is_empty() {
            let requested = remaining.len();
            let keys = KeysAndAttributes::builder().consistent_read(true).set_keys(Some(remaining.clone())).build();
            let keys = keys.map_err(|error| StoreError::Unreadable(error.to_string()))?;
            match self.client.batch_get_item().request_items(&self.table, keys).send().await {
                Ok(answer) => {
                    let found = answer.responses.and_then(|mut tables| tables.remove(&self.table)).unwrap_or_default();
                    // Above 16 MB, or when throttled, the answer is partial and lists the unprocessed keys.
                    let rest = answer.unprocessed_keys.and_then(|mut tables| tables.remove(&self.table));
                    remaining = rest.map(|rest| rest.keys).unwrap_or_default();
                    let absent = requested.saturating_sub(remaining.len() + found.len());
                    self.usage.read(found.iter().map(item::bytes).chain(std::iter::repeat_n(0, absent)));
                    let progress = !found.is_empty();
                    items.extend(found);
                    if !remaining.is_empty() && !progress {
                        let throttled = aws::failure_of_code("ThrottlingException", "no key of a batch was read");
                        retry.wait_or_fail(ACTION, &self.table, throttled).await?;
                    }
                }
                Err(error) => retry.wait_or_fail(ACTION, &self.table, aws::failure(&error)).await?,
            }
        }
        Ok(items)
    }

    /// Returns the items of these keys, by key.
    async fn read(&self, mut keys: Vec<String>) -> Result<HashMap<String, Attributes>, StoreError> {
        // A batch with duplicate keys is refused.
        keys.sort_unstable();
        keys.dedup();
        let batches: Vec<_> = keys.chunks(MAX_BATCH_KEYS).map(|chunk| self.batch(chunk.to_vec())).collect();
        let items: Vec<Vec<Attributes>> =
            stream::iter(batches).buffer_unordered(MAX_CONCURRENT_BATCHES).try_collect().await?;
        items.into_iter().flatten().map(|item| Ok((item::key(&item)?.to_owned(), item))).collect()
    }
}

#[async_trait]
impl Store for DynamoDb {
    async fn change_row(&self, object: &Object, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        self.update(object.id(), Some(object), guard, change).await
    }

    async fn change_row_by_id(&self, id: ObjectId, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        self.update(id, None, guard, change).await
    }

    async fn rows(&self, ids: &[ObjectId]) -> Result<Vec<Option<Row>>, StoreError> {
        self.check_schema().await?;
        let keys: Vec<_> = ids.iter().map(|id| item::row_key_text(*id)).collect();
        let items = self.read(keys.clone()).await?;
        keys.iter().map(|key| items.get(key).map(item::row).transpose()).collect()
    }

    async fn pages(&self, names: &[PageName]) -> Result<Vec<Option<Page>>, StoreError> {
        self.check_schema().await?;
        let keys: Vec<_> = names.iter().map(item::page_key_text).collect();
        let items = self.read(keys.clone()).await?;
        keys.iter().map(|key| items.get(key).map(item::page).transpose()).collect()
    }

    async fn write_page(&self, name: &PageName, current: Option<Version>, page: &Page) -> Result<(), WriteError<Page>> {
        const ACTION: &str = "dynamodb:PutItem";
        self.ensure_schema().await?;
        let bytes = cost::page_bytes(name, page);
        let mut retry = RequestRetry::new();
        loop {
            let request = self.client.put_item().table_name(&self.table).set_item(Some(item::page_item(name, page)));
            let request = match current {
                Some(version) => request
                    .condition_expression("v = :v")
                    .expression_attribute_values(":v", AttributeValue::N(version.0.to_string())),
                None => request.condition_expression("attribute_not_exists(pk)"),
            };
            let error = match request.return_values_on_condition_check_failure(OnRefusal::AllOld).send().await {
                Ok(_) => {
                    self.usage.wrote(0, bytes);
                    return Ok(());
                }
                Err(error) => error,
            };
            if let Some(aws_sdk_dynamodb::operation::put_item::PutItemError::ConditionalCheckFailedException(
                rejected,
            )) = error.as_service_error()
            {
                let current = rejected.item().filter(|item| !item.is_empty());
                self.usage.refused(current.map_or(0, item::bytes), bytes);
                return Err(WriteError::Refused(current.map(item::page).transpose()?.map(Box::new)));
            }
            retry.wait_or_fail(ACTION, &self.table, aws::failure(&error)).await?;
        }
    }
}

/// Retry state of one request.
pub(crate) struct RequestRetry {
    until: Instant,
    backoff: Backoff<fn() -> f64>,
}

impl RequestRetry {
    pub(crate) fn new() -> Self {
        Self { until: Instant::now() + RETRY_TIMEOUT, backoff: Backoff::new(PACE, fastrand::f64) }
    }

    /// Waits before the next attempt, or returns an error if a retry cannot help or the time is over.
    pub(crate) async fn wait_or_fail(
        &mut self,
        action: &str,
        table: &str,
        failure: AwsFailure,
    ) -> Result<(), StoreError> {
        let text = format!("{action} on table {table}: {failure}");
        let wait = self.backoff.wait();
        match failure.kind {
            _ if failure.concerns_credentials() => {
                Err(StoreError::Denied(format!("{action} on table {table}: {}", failure.credentials_text())))
            }
            FailureKind::Denied => {
                let advice = failure.denial_advice(|| format!("allow {action} on this table for the role in use"));
                Err(StoreError::Denied(format!("{text}; {advice}")))
            }
            FailureKind::Throttled | FailureKind::Unknown if Instant::now() + wait < self.until => {
                tokio::time::sleep(wait).await;
                Ok(())
            }
            FailureKind::Throttled | FailureKind::Unknown => Err(StoreError::Unknown(text)),
            FailureKind::NotFound => Err(StoreError::Unreadable(format!("{text}; create the table or check its name"))),
            FailureKind::Refused | FailureKind::Invalid => Err(StoreError::Unreadable(text)),
        }
    }
}
