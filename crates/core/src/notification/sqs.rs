//! What a function is called with: a batch of a queue's messages, or a notification itself.

use super::json::{self, PathValue};
use super::{Notice, NotificationError, read, read_text};
use serde_json::Value;

/// What a function is called with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// A batch of messages, each to be answered by itself. Their bodies are not read yet: one that is not understood
    /// must fail alone.
    Queue(Vec<Message>),
    /// A direct call by S3, SNS, EventBridge or a person: to be answered as a whole.
    Direct(Vec<Notice>),
}

/// One message of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What a partial batch response names it by.
    pub id: String,
    /// What it is hidden, or deleted, by.
    pub receipt_handle: String,
    /// The body, for [`parse`](super::parse).
    pub body: String,
    /// How often it was received, this time included.
    pub receive_count: u32,
    /// The queue it came from.
    pub queue_arn: String,
}

/// What a function was called with.
///
/// # Errors
///
/// If it is neither a queue's batch nor a notification, or any part of a direct notification is not understood: such a
/// call must fail as a whole, for it cannot be answered in part.
pub fn invocation(payload: &str) -> Result<Invocation, NotificationError> {
    let at = "event".to_owned();
    // Some direct calls are no JSON object: CloudTrail's validation message as a JSON string, or bare.
    let Ok(value) = json::parse(payload, &at) else {
        return direct(|notices| read_text(payload, at, notices));
    };
    if let Value::String(text) = &value {
        return direct(|notices| read_text(text, at, notices));
    }
    let event = PathValue::new(&value, at);
    if !from_queue(&value) {
        return direct(|notices| read(&event, notices));
    }
    Ok(Invocation::Queue(event.field("Records").items()?.map(|record| message(&record)).collect::<Result<_, _>>()?))
}

fn direct(
    read: impl FnOnce(&mut Vec<Notice>) -> Result<(), NotificationError>,
) -> Result<Invocation, NotificationError> {
    let mut notices = Vec::new();
    read(&mut notices)?;
    Ok(Invocation::Direct(notices))
}

/// Whether any record calls itself a queue's. One is enough: then all must be, or the batch is in error.
fn from_queue(payload: &Value) -> bool {
    let records = payload.get("Records").and_then(Value::as_array);
    records.is_some_and(|records| records.iter().any(|record| record["eventSource"] == "aws:sqs"))
}

/// <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>
fn message(record: &PathValue<'_>) -> Result<Message, NotificationError> {
    record.field("eventSource").is("aws:sqs", "`aws:sqs`, as in the other records")?;
    let count = record.field("attributes").field("ApproximateReceiveCount");
    let receive_count = match count.text_or_none()? {
        // Left out by hand-written test events only. A first receipt is the answer that gives nothing up.
        None => 1,
        Some(text) => text.parse().map_err(|_| count.unexpected("a whole number as text"))?,
    };
    Ok(Message {
        id: record.field("messageId").name()?.to_owned(),
        receipt_handle: record.field("receiptHandle").name()?.to_owned(),
        body: record.field("body").text()?.to_owned(),
        receive_count,
        queue_arn: record.field("eventSourceARN").name()?.to_owned(),
    })
}
