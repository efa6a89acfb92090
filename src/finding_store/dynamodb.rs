//! Findings in one DynamoDB table, with the keys `pk` and `sk` and the time-to-live attribute `expires`:
//!
//! | `pk` | `sk` | item |
//! |---|---|---|
//! | `rule#RULE#HOUR` | `finding#ID` | a finding |
//! | `rule#RULE#HOUR` | `count` | how many findings of this hour of event time are stored with their details, and how many are not |
//! | `window#GROUP` | start | a window |
//! | `open` | end, group, start | a window that is not closed |
//! | `pending#DESTINATION` | number | an alert that is not sent |
//! | `failed#DESTINATION` | number | an alert that is not sent again |
//! | `destination#NAME` | `circuit`, `lease` | the circuit; which process sends |
//! | `rules` | `current`, `change#TIME` | the rule set in use; its changes |
//!
//! Findings of one group and hour are written in one transaction with their window, their count and the alerts that follow.
//! The conditions of a transaction require that what was read before it is unchanged. Otherwise the transaction fails, and
//! both the reads and the transaction are repeated.

mod item;
mod lease;
mod outbox;
mod record;
#[cfg(feature = "operate")]
mod review;
mod rule_state;
mod windows;

pub use lease::DestinationLease;
#[cfg(feature = "operate")]
pub use review::TestProgress;

use super::{Circuit, FindingStore, PendingAlert, PendingAlerts, RecordedFindings, Route};
use crate::aws;
use crate::finding::{Alert, DetectionFinding, Grouping};
use crate::ledger::store::StoreError;
use crate::ledger::store::dynamodb::RequestRetry;
use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConsumedCapacity, Delete, KeysAndAttributes, Put, ReturnConsumedCapacity, TransactWriteItem, Update,
};
use item::Key;
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// The name of a transaction in messages. A transaction needs the permissions of its members.
const TRANSACTION: &str = "dynamodb:TransactWriteItems";

/// The last second of the year 9999. An item that expires then is never deleted.
const NEVER: i64 = 253_402_300_799;

/// Attributes of an item.
type Attributes = HashMap<String, AttributeValue>;

/// Store of findings in one DynamoDB table.
#[derive(Debug)]
pub struct DynamoFindings {
    client: Client,
    table: String,
    keep: Duration,
    units: Units,
    /// The number of the last alert.
    last_number: AtomicI64,
}

/// Capacity units that requests consumed, in tenths, because a read can take half of a unit.
#[derive(Debug, Default)]
struct Units {
    read: AtomicU64,
    write: AtomicU64,
}

/// A failed transaction.
enum Cancelled {
    /// A condition does not hold, so what was read before is outdated.
    Outdated,
    Failed(StoreError),
}

/// Returns how long findings are kept if the setting is this number of days. 0 keeps them without a time limit.
pub fn finding_retention(days: u64) -> Duration {
    if days == 0 { Duration::MAX } else { Duration::from_secs(days.saturating_mul(86_400)) }
}

impl From<StoreError> for Cancelled {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl DynamoFindings {
    /// Returns a store for `table`. Findings and windows expire `keep` after they were recorded, at the latest in the year
    /// 9999, so [`Duration::MAX`] keeps them without a time limit. The client must not retry by itself: use the one from
    /// [`aws::dynamodb`].
    pub fn new(client: Client, table: impl Into<String>, keep: Duration) -> Self {
        Self { client, table: table.into(), keep, units: Units::default(), last_number: AtomicI64::default() }
    }

    /// Returns the read units and the write units that the requests of this store consumed, rounded up.
    pub fn consumed_units(&self) -> (u64, u64) {
        (self.units.read.load(Ordering::Relaxed).div_ceil(10), self.units.write.load(Ordering::Relaxed).div_ceil(10))
    }

    fn count(counter: &AtomicU64, consumed: &[ConsumedCapacity]) {
        let units: f64 = consumed.iter().filter_map(ConsumedCapacity::capacity_units).sum();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        counter.fetch_add((units * 10.0).round() as u64, Ordering::Relaxed);
    }

    /// Returns when an item expires, in seconds since 1970.
    fn expires(&self, now: i64) -> AttributeValue {
        item::number(now.saturating_add(i64::try_from(self.keep.as_secs()).unwrap_or(i64::MAX)).min(NEVER))
    }

    /// Returns the items of at most 100 keys that exist, by key, with strong consistency.
    async fn read(&self, keys: &[Key]) -> Result<HashMap<Key, Attributes>, StoreError> {
        const ACTION: &str = "dynamodb:BatchGetItem";
        let mut found = HashMap::new();
        let mut remaining: Vec<Attributes> = keys.iter().map(Key::attributes).collect();
        let mut retry = RequestRetry::new();
        while !remaining.is_empty() {
            let keys = KeysAndAttributes::builder().consistent_read(true).set_keys(Some(remaining.clone())).build();
            let keys = keys.map_err(|error| StoreError::Unreadable(error.to_string()))?;
            let request = self.client.batch_get_item().request_items(&self.table, keys);
            match request.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await {
                Ok(answer) => {
                    Self::count(&self.units.read, answer.consumed_capacity());
                    let rest = answer.unprocessed_keys.and_then(|mut tables| tables.remove(&self.table));
                    remaining = rest.map(|rest| rest.keys).unwrap_or_default();
                    let items = answer.responses.and_then(|mut tables| tables.remove(&self.table)).unwrap_or_default();
                    let progress = !items.is_empty();
                    for item in items {
                        found.insert(Key::of(&item)?, item);
                    }
                    if !remaining.is_empty() && !progress {
                        let throttled = aws::failure_of_code("ThrottlingException", "no key of a batch was read");
                        retry.wait_or_fail(ACTION, &self.table, throttled).await?;
                    }
                }
                Err(error) => retry.wait_or_fail(ACTION, &self.table, aws::failure(&error)).await?,
            }
        }
        Ok(found)
    }

    async fn read_one(&self, key: Key) -> Result<Option<Attributes>, StoreError> {
        Ok(self.read(std::slice::from_ref(&key)).await?.remove(&key))
    }

    /// Returns a page of the items of a partition in the order of `sk`, with strong consistency, and where the next page
    /// starts. `up_to` is the highest `sk`. `attributes` selects attributes.
    async fn page(
        &self,
        pk: &str,
        up_to: Option<&str>,
        attributes: Option<&str>,
        start: Option<Attributes>,
    ) -> Result<(Vec<Attributes>, Option<Attributes>), StoreError> {
        let mut retry = RequestRetry::new();
        loop {
            let mut request = self
                .client
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .key_condition_expression(if up_to.is_some() { "pk = :pk AND sk <= :sk" } else { "pk = :pk" })
                .expression_attribute_values(":pk", item::text(pk))
                .set_projection_expression(attributes.map(str::to_owned))
                .set_exclusive_start_key(start.clone())
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            if let Some(last) = up_to {
                request = request.expression_attribute_values(":sk", item::text(last));
            }
            match request.send().await {
                Ok(answer) => {
                    Self::count(&self.units.read, answer.consumed_capacity.as_slice());
                    return Ok((answer.items.unwrap_or_default(), answer.last_evaluated_key));
                }
                Err(error) => retry.wait_or_fail("dynamodb:Query", &self.table, aws::failure(&error)).await?,
            }
        }
    }

    /// Executes a transaction. If a reply is lost, the request is repeated with the same token, so that it takes effect once.
    async fn transact(&self, writes: Vec<TransactWriteItem>) -> Result<(), Cancelled> {
        let token = uuid::Uuid::new_v4().to_string();
        let mut retry = RequestRetry::new();
        loop {
            let request = self.client.transact_write_items().client_request_token(&token);
            let request = request.set_transact_items(Some(writes.clone()));
            let error = match request.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await {
                Ok(answer) => {
                    Self::count(&self.units.write, answer.consumed_capacity());
                    return Ok(());
                }
                Err(error) => error,
            };
            if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error() {
                let codes = || cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code());
                if codes().any(|code| code == "ConditionalCheckFailed") {
                    return Err(Cancelled::Outdated);
                }
                // Another transaction changes one of the items, the transaction was throttled, or it is invalid.
                if let Some(code) = codes().find(|code| *code != "None") {
                    let failure = aws::failure_of_code(code, cancelled.message().unwrap_or("the transaction failed"));
                    retry.wait_or_fail(TRANSACTION, &self.table, failure).await?;
                    continue;
                }
            }
            let failure = aws::failure(&error);
            // IAM denies an action of a member, because a transaction has no action of its own.
            let action = failure.action.clone();
            retry.wait_or_fail(action.as_deref().unwrap_or(TRANSACTION), &self.table, failure).await?;
        }
    }

    /// Returns a write that stores an item. Without a condition, it replaces an existing item.
    fn put(&self, key: &Key, attributes: Attributes, condition: Option<&str>) -> Result<TransactWriteItem, StoreError> {
        let mut item = key.attributes();
        item.extend(attributes);
        let put = Put::builder().table_name(&self.table).set_item(Some(item));
        let put = put.set_condition_expression(condition.map(str::to_owned)).build();
        Ok(TransactWriteItem::builder().put(put.map_err(|error| StoreError::Unreadable(error.to_string()))?).build())
    }

    fn delete(&self, key: &Key, condition: Option<&str>) -> Result<TransactWriteItem, StoreError> {
        let delete = Delete::builder().table_name(&self.table).set_key(Some(key.attributes()));
        let delete = delete.set_condition_expression(condition.map(str::to_owned)).build();
        let delete = delete.map_err(|error| StoreError::Unreadable(error.to_string()))?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    fn update(
        &self,
        key: &Key,
        update: &str,
        condition: &str,
        values: Attributes,
    ) -> Result<TransactWriteItem, StoreError> {
        let built = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key.attributes()))
            .update_expression(update)
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values));
        let built = built.build().map_err(|error| StoreError::Unreadable(error.to_string()))?;
        Ok(TransactWriteItem::builder().update(built).build())
    }

    /// Returns the writes that add an alert to the outbox of each destination that gets it.
    fn enqueue(&self, alert: &Alert, routes: &[Route]) -> Result<Vec<TransactWriteItem>, StoreError> {
        let content = item::json(alert)?;
        let routes = routes.iter().filter(|route| route.gets(alert));
        routes
            .map(|route| {
                let key = Key::pending(&route.destination, self.new_number());
                let attributes = [
                    ("content", content.clone()),
                    ("group_id", item::text(&alert.group)),
                    ("recorded", item::number(alert.recorded)),
                    ("attempts", item::number(0)),
                    ("due", item::number(0)),
                    ("expires", self.expires(alert.recorded)),
                ];
                self.put(&key, item::attributes(attributes), Some("attribute_not_exists(pk)"))
            })
            .collect()
    }
}

#[async_trait]
impl FindingStore for DynamoFindings {
    type Error = StoreError;

    async fn record_findings(
        &self,
        findings: &[DetectionFinding],
        grouping: &Grouping,
        routes: &[Route],
        now: i64,
    ) -> Result<RecordedFindings, StoreError> {
        self.record(findings, grouping, routes, now).await
    }

    async fn close_windows(&self, routes: &[Route], grace: i64, now: i64) -> Result<u64, StoreError> {
        self.close_ended(routes, now.saturating_sub(grace), now).await
    }

    async fn next_alert(&self, destination: &str, now: i64) -> Result<Option<PendingAlert>, StoreError> {
        self.first_due(destination, now).await
    }

    async fn pending_alerts(&self, destination: &str) -> Result<PendingAlerts, StoreError> {
        self.count_pending(destination).await
    }

    async fn record_sent(&self, destination: &str, number: i64, _: i64) -> Result<(), StoreError> {
        self.remove_sent(destination, number).await
    }

    async fn record_retry(
        &self,
        destination: &str,
        number: i64,
        due: i64,
        circuit: &Circuit,
    ) -> Result<(), StoreError> {
        self.defer(destination, number, due, circuit).await
    }

    async fn record_failed(&self, destination: &str, number: i64, error: &str) -> Result<(), StoreError> {
        self.fail(destination, number, error, false).await
    }

    async fn record_refused_alert(&self, destination: &str, number: i64, error: &str) -> Result<(), StoreError> {
        self.fail(destination, number, error, true).await
    }

    async fn circuit(&self, destination: &str) -> Result<Circuit, StoreError> {
        self.read_circuit(destination).await
    }
}
