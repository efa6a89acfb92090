//! Run records in the ledger's table.
//!
//! The hash key `pk` is `r#` and the run's ID for a run, followed by `#` and the part's name for a part. The attributes
//! `run` and `unit`, which no other item of the table has, put runs and parts into the sparse index `runs`. For a part, `run`
//! is the run's ID and `unit` is the part's name. For a run, `run` is `*` and `unit` is the start time followed by the run's
//! ID, so the index lists the runs by start time. `body` is the record as JSON. `expires` is the table's time to live.

use super::{PartOutcome, RecordError, RunPart, RunRecords};
use crate::aws::{self, FailureKind};
use crate::backfill::run::{Run, RunId};
use crate::ledger::Clock;
use crate::ledger::model::row::Seconds;
use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure as OnRefusal};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;

type Item = HashMap<String, AttributeValue>;

/// The name of the index with hash key `run` and range key `unit`.
pub const INDEX: &str = "runs";

/// Retention of a record in seconds.
pub(crate) const RECORD_RETENTION: Seconds = 90 * 86_400;

/// The `run` attribute of all runs. No run can have this ID.
const RUNS: &str = "*";

/// Stores run records in the ledger's DynamoDB table. See the module documentation for the item layout.
#[derive(Clone)]
pub struct DynamoDbRunRecords {
    client: Client,
    table: String,
    clock: Clock,
}

impl DynamoDbRunRecords {
    /// Creates a store in `table`. Every write is idempotent, so the client may retry.
    pub fn new(client: Client, table: impl Into<String>, clock: Clock) -> Self {
        Self { client, table: table.into(), clock }
    }

    /// Writes an item if `condition` holds; otherwise returns the existing item.
    async fn put(&self, item: Item, condition: &str) -> Result<Option<Item>, RecordError> {
        let mut request = self.client.put_item().table_name(&self.table).set_item(Some(item));
        if condition.contains("#state") {
            request = request
                .expression_attribute_names("#state", "state")
                .expression_attribute_values(":done", AttributeValue::S(DONE.to_owned()));
        }
        let request = request.condition_expression(condition);
        match request.return_values_on_condition_check_failure(OnRefusal::AllOld).send().await {
            Ok(_) => Ok(None),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(held)) => {
                    Ok(Some(held.item().cloned().unwrap_or_default()))
                }
                _ => Err(self.failed("dynamodb:PutItem", &error)),
            },
        }
    }

    fn item(
        &self,
        pk: String,
        [run, unit]: [&str; 2],
        state: &str,
        body: &impl Serialize,
    ) -> Result<Item, RecordError> {
        let body = serde_json::to_string(body).map_err(|error| RecordError::Unreadable(error.to_string()))?;
        let texts = [("pk", pk.as_str()), ("run", run), ("unit", unit), ("state", state), ("body", &body)];
        let mut item: Item =
            texts.into_iter().map(|(name, text)| (name.to_owned(), AttributeValue::S(text.to_owned()))).collect();
        item.insert("expires".to_owned(), AttributeValue::N(((self.clock)() + RECORD_RETENTION).to_string()));
        Ok(item)
    }

    /// Returns the bodies under one hash key of the index, the last ones first, at most `most`.
    async fn query<T: DeserializeOwned>(&self, run: &str, most: usize) -> Result<Vec<T>, RecordError> {
        let mut found = Vec::new();
        let mut from = None;
        loop {
            let left = i32::try_from(most - found.len()).unwrap_or(i32::MAX);
            let request = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(INDEX)
                .key_condition_expression("#run = :run")
                .expression_attribute_names("#run", "run")
                .expression_attribute_values(":run", AttributeValue::S(run.to_owned()))
                .scan_index_forward(false)
                .limit(left)
                .set_exclusive_start_key(from);
            let page = request.send().await.map_err(|error| self.failed("dynamodb:Query", &error))?;
            for item in page.items() {
                found.push(body(item)?);
            }
            from = page.last_evaluated_key;
            if from.is_none() || found.len() >= most {
                return Ok(found);
            }
        }
    }

    fn failed<E>(&self, action: &str, error: &SdkError<E>) -> RecordError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let failure = aws::failure(error);
        let table = &self.table;
        let text = format!("{action} on table {table}: {failure}");
        match failure.kind {
            FailureKind::Denied => RecordError::Denied(format!(
                "{text}; allow {action} on this table and its index {INDEX} for the role that runs this"
            )),
            FailureKind::NotFound => RecordError::Unreadable(format!(
                "{text}; expected a table with an index {INDEX}: deploy the template of this version"
            )),
            FailureKind::Throttled | FailureKind::Unknown => RecordError::Unavailable(text),
            FailureKind::Refused | FailureKind::Invalid => RecordError::Unreadable(text),
        }
    }
}

/// The state of a part that no later attempt may replace.
const DONE: &str = "done";

fn state(outcome: &PartOutcome) -> &'static str {
    match outcome {
        PartOutcome::Done => DONE,
        PartOutcome::Requeued => "requeued",
        PartOutcome::Failed(_) => "failed",
    }
}

#[async_trait]
impl RunRecords for DynamoDbRunRecords {
    async fn start(&self, run: &Run) -> Result<Run, RecordError> {
        let unit = format!("{:012}#{}", run.started, run.id);
        let item = self.item(format!("r#{}", run.id), [RUNS, &unit], "started", run)?;
        match self.put(item, "attribute_not_exists(pk)").await? {
            None => Ok(run.clone()),
            Some(existing) => body(&existing),
        }
    }

    async fn save(&self, run: &RunId, part: &RunPart) -> Result<(), RecordError> {
        let name = part.name();
        let item = self.item(format!("r#{run}#{name}"), [run.as_str(), &name], state(part.outcome()), part)?;
        self.put(item, "attribute_not_exists(pk) OR #state <> :done").await.map(drop)
    }

    async fn run(&self, id: &RunId) -> Result<Option<Run>, RecordError> {
        let key = AttributeValue::S(format!("r#{id}"));
        let request = self.client.get_item().table_name(&self.table).key("pk", key).consistent_read(true);
        let answer = request.send().await.map_err(|error| self.failed("dynamodb:GetItem", &error))?;
        answer.item.as_ref().map(body).transpose()
    }

    async fn parts(&self, id: &RunId) -> Result<Vec<RunPart>, RecordError> {
        self.query(id.as_str(), usize::MAX).await
    }

    async fn runs(&self, most: usize) -> Result<Vec<Run>, RecordError> {
        if most == 0 { Ok(Vec::new()) } else { self.query(RUNS, most).await }
    }
}

fn body<T: DeserializeOwned>(item: &Item) -> Result<T, RecordError> {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
    let pk = text("pk").map_or("?", String::as_str);
    let body = text("body").ok_or_else(|| RecordError::Unreadable(format!("item {pk}: expected a text in body")))?;
    serde_json::from_str(body).map_err(|error| {
        RecordError::Unreadable(format!("item {pk}: {error}; was it written by another version of this program?"))
    })
}

impl std::fmt::Debug for DynamoDbRunRecords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DynamoDb").field("table", &self.table).finish_non_exhaustive()
    }
}
