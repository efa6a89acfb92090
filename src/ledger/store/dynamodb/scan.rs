//! Scans the table in batches. DynamoDB bills all items that a scan reads, including those that a filter excludes.

use super::{Attributes, DynamoDb, RequestRetry, item};
use crate::aws;
use crate::ledger::inspect::scan::{LedgerScan, LedgerSize, ScanBatch, ScanFilter, ScanToken};
use crate::ledger::model::page::PageName;
use crate::ledger::store::StoreError;
use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;

/// The sparse index of quarantined rows.
const QUARANTINE_INDEX: &str = "quarantined";

/// The hash key of the index.
const QUARANTINE_INDEX_KEY: &str = "quarantined_at";

/// Interval in seconds at which DynamoDB counts a table's items and bytes: about six hours.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TableDescription.html>
const COUNT_INTERVAL_SECONDS: u64 = 6 * 3600;

#[async_trait]
impl LedgerScan for DynamoDb {
    async fn size(&self) -> Result<LedgerSize, StoreError> {
        const ACTION: &str = "dynamodb:DescribeTable";
        let mut retry = RequestRetry::new();
        let answer = loop {
            match self.client.describe_table().table_name(&self.table).send().await {
                Ok(answer) => break answer,
                Err(error) => retry.wait_or_fail(ACTION, &self.table, aws::failure(&error)).await?,
            }
        };
        let Some(table) = answer.table() else {
            return Err(StoreError::Unknown(format!(
                "{ACTION} on table {}: the response contains no table",
                self.table
            )));
        };
        let count = |number: Option<i64>| number.unwrap_or_default().max(0).cast_unsigned();
        let mut indices = table.global_secondary_indexes().iter();
        let index = indices.find(|index| index.index_name() == Some(QUARANTINE_INDEX));
        Ok(LedgerSize {
            items: count(table.item_count()),
            bytes: count(table.table_size_bytes()),
            quarantined: index.map(|index| count(index.item_count())),
            age: COUNT_INTERVAL_SECONDS,
        })
    }

    async fn scan(&self, filter: &ScanFilter, after: Option<&ScanToken>, limit: u32) -> Result<ScanBatch, StoreError> {
        const ACTION: &str = "dynamodb:Scan";
        let start = after.map(|ScanToken(token)| start(filter, token));
        let mut retry = RequestRetry::new();
        let answer = loop {
            let limit = i32::try_from(limit.max(1)).unwrap_or(i32::MAX);
            let mut request =
                self.client.scan().table_name(&self.table).limit(limit).set_exclusive_start_key(start.clone());
            match filter {
                ScanFilter::Quarantined => request = request.index_name(QUARANTINE_INDEX),
                ScanFilter::Versions(objects) => {
                    let conditions: Vec<String> =
                        (0..objects.len()).map(|at| format!("(#bucket = :b{at} AND #key = :k{at})")).collect();
                    request = request.filter_expression(conditions.join(" OR "));
                    request = request.expression_attribute_names("#bucket", "bucket");
                    request = request.expression_attribute_names("#key", "key");
                    for (at, (bucket, key)) in objects.iter().enumerate() {
                        request = request
                            .expression_attribute_values(format!(":b{at}"), AttributeValue::S(bucket.clone()))
                            .expression_attribute_values(format!(":k{at}"), AttributeValue::S(key.clone()));
                    }
                }
                ScanFilter::Pages => {
                    request = request
                        .filter_expression("begins_with(pk, :p)")
                        .expression_attribute_values(":p", AttributeValue::S("p#".to_owned()));
                }
                ScanFilter::All => {}
            }
            match request.send().await {
                Ok(answer) => break answer,
                Err(error) => retry.wait_or_fail(ACTION, &self.table, aws::failure(&error)).await?,
            }
        };
        let items = answer.items();
        // Excluded items are billed but not returned. Assume that each has the average size of the returned items, or
        // 512 bytes.
        let returned_bytes: usize = items.iter().map(item::bytes).sum();
        let scanned = usize::try_from(answer.scanned_count()).unwrap_or_default();
        let excluded_bytes =
            scanned.saturating_sub(items.len()) * returned_bytes.checked_div(items.len()).unwrap_or(512);
        self.usage.scanned(returned_bytes + excluded_bytes);
        let mut batch = ScanBatch { next: answer.last_evaluated_key().map(token), ..ScanBatch::default() };
        for found in items {
            match item::key(found)?.split_once('#') {
                Some(("o", _)) => batch.rows.push(item::row(found)?),
                Some(("p", name)) => batch.pages.push((PageName(name.to_owned()), item::page(found)?)),
                // Another item: the schema version, a run record, or a kind that a newer version stores.
                _ => {}
            }
        }
        Ok(batch)
    }
}

/// Converts a token to the key of a scan's last item. For the index the key consists of the index's key and the
/// table's.
fn start(filter: &ScanFilter, token: &str) -> Attributes {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    match (filter, token.split_once(' ')) {
        (ScanFilter::Quarantined, Some((quarantined_at, pk))) => {
            Attributes::from([(QUARANTINE_INDEX_KEY.to_owned(), text(quarantined_at)), ("pk".to_owned(), text(pk))])
        }
        _ => Attributes::from([("pk".to_owned(), text(token))]),
    }
}

/// Converts the key of a scan's last item to a token. The inverse of [`start`].
fn token(key: &Attributes) -> ScanToken {
    let text = |name: &str| key.get(name).and_then(|value| value.as_s().ok()).cloned().unwrap_or_default();
    match key.contains_key(QUARANTINE_INDEX_KEY) {
        true => ScanToken(format!("{} {}", text(QUARANTINE_INDEX_KEY), text("pk"))),
        false => ScanToken(text("pk")),
    }
}
