//! The table, read piece by piece. What is read is billed, whatever of it is wanted.

use super::{DynamoDb, Item, Patience, item};
use crate::aws;
use crate::ledger::inspect::scan::{Mark, Over, Piece, Size, Survey};
use crate::ledger::model::page::PageName;
use crate::ledger::store::StoreError;
use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;

/// The sparse index of what is set aside.
const INDEX: &str = "quarantined";

/// The index's key.
const SINCE: &str = "quarantined_at";

/// DynamoDB counts a table's items and bytes about every six hours.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TableDescription.html>
const COUNTED_EVERY: u64 = 6 * 3600;

#[async_trait]
impl Survey for DynamoDb {
    async fn size(&self) -> Result<Size, StoreError> {
        const ACTION: &str = "dynamodb:DescribeTable";
        let mut patience = Patience::new();
        let answer = loop {
            match self.client.describe_table().table_name(&self.table).send().await {
                Ok(answer) => break answer,
                Err(error) => patience.spend(ACTION, &self.table, aws::failure(&error)).await?,
            }
        };
        let Some(table) = answer.table() else {
            return Err(StoreError::Unknown(format!("{ACTION} on table {}: an answer without a table", self.table)));
        };
        let count = |number: Option<i64>| number.unwrap_or_default().max(0).cast_unsigned();
        let mut indices = table.global_secondary_indexes().iter();
        let index = indices.find(|index| index.index_name() == Some(INDEX));
        Ok(Size {
            items: count(table.item_count()),
            bytes: count(table.table_size_bytes()),
            quarantined: index.map(|index| count(index.item_count())),
            age: COUNTED_EVERY,
        })
    }

    async fn walk(&self, over: &Over, after: Option<&Mark>, at_most: u32) -> Result<Piece, StoreError> {
        const ACTION: &str = "dynamodb:Scan";
        let start = after.map(|Mark(mark)| start(over, mark));
        let mut patience = Patience::new();
        let answer = loop {
            let limit = i32::try_from(at_most.max(1)).unwrap_or(i32::MAX);
            let mut request =
                self.client.scan().table_name(&self.table).limit(limit).set_exclusive_start_key(start.clone());
            match over {
                Over::Quarantined => request = request.index_name(INDEX),
                Over::Versions(objects) => {
                    let of: Vec<String> =
                        (0..objects.len()).map(|at| format!("(#bucket = :b{at} AND #key = :k{at})")).collect();
                    request = request.filter_expression(of.join(" OR "));
                    request = request.expression_attribute_names("#bucket", "bucket");
                    request = request.expression_attribute_names("#key", "key");
                    for (at, (bucket, key)) in objects.iter().enumerate() {
                        request = request
                            .expression_attribute_values(format!(":b{at}"), AttributeValue::S(bucket.clone()))
                            .expression_attribute_values(format!(":k{at}"), AttributeValue::S(key.clone()));
                    }
                }
                Over::Pages => {
                    request = request
                        .filter_expression("begins_with(pk, :p)")
                        .expression_attribute_values(":p", AttributeValue::S("p#".to_owned()));
                }
                Over::All => {}
            }
            match request.send().await {
                Ok(answer) => break answer,
                Err(error) => patience.spend(ACTION, &self.table, aws::failure(&error)).await?,
            }
        };
        let items = answer.items();
        // What a filter leaves out is billed and not seen: an item of it counts as what the others take on average, or
        // half a kilobyte.
        let seen: usize = items.iter().map(item::bytes).sum();
        let scanned = usize::try_from(answer.scanned_count()).unwrap_or_default();
        let unseen = scanned.saturating_sub(items.len()) * seen.checked_div(items.len()).unwrap_or(512);
        self.usage.scanned(seen + unseen);
        let mut piece = Piece { next: answer.last_evaluated_key().map(mark), ..Piece::default() };
        for found in items {
            match item::key(found)?.split_once('#') {
                Some(("o", _)) => piece.rows.push(item::row(found)?),
                Some(("p", name)) => piece.pages.push((PageName(name.to_owned()), item::page(found)?)),
                // Another kind of item, which a newer version may keep here.
                _ => {}
            }
        }
        Ok(piece)
    }
}

/// A mark as the key of a scan's last item: the index's key before the table's, where it is one of the index.
fn start(over: &Over, mark: &str) -> Item {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    match (over, mark.split_once(' ')) {
        (Over::Quarantined, Some((since, pk))) => {
            Item::from([(SINCE.to_owned(), text(since)), ("pk".to_owned(), text(pk))])
        }
        _ => Item::from([("pk".to_owned(), text(mark))]),
    }
}

/// The inverse of [`start`].
fn mark(key: &Item) -> Mark {
    let text = |name: &str| key.get(name).and_then(|value| value.as_s().ok()).cloned().unwrap_or_default();
    match key.contains_key(SINCE) {
        true => Mark(format!("{} {}", text(SINCE), text("pk"))),
        false => Mark(text("pk")),
    }
}
