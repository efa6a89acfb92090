//! Parses the payload of a function: a batch of queue messages or a direct notification.

use super::json::{self, PathValue};
use super::{Notice, NotificationError, read, read_text};
use serde_json::Value;

/// The payload of a function invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// A batch of queue messages, which succeed or fail individually. Their bodies are not parsed yet, so that an
    /// invalid body fails only its own message.
    Queue(Vec<Message>),
    /// A direct invocation by S3, SNS, EventBridge or a person, which succeeds or fails as a whole.
    Direct(Vec<Notice>),
}

/// One queue message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The message ID, which identifies the message in a partial batch response.
    pub id: String,
    /// The receipt handle, which is required to delete the message or change its visibility.
    pub receipt_handle: String,
    /// The body. [`parse`](super::parse) parses it.
    pub body: String,
    /// The number of times the message was received, including this time.
    pub receive_count: u32,
    /// The ARN of the queue.
    pub queue_arn: String,
}

/// Parses the payload of a function invocation.
///
/// # Errors
///
/// [`NotificationError`] if the payload is neither a batch nor a notification, or if any part of a direct notification
/// is invalid. A direct invocation cannot succeed partially, so it must fail as a whole.
pub fn invocation(payload: &str) -> Result<Invocation, NotificationError> {
    let at = "event".to_owned();
    // CloudTrail's validation message is not a JSON object: it is a JSON string or plain text.
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

/// Returns whether at least one record is a queue message. Then all records must be, otherwise the batch is invalid.
fn from_queue(payload: &Value) -> bool {
    let records = payload.get("Records").and_then(Value::as_array);
    records.is_some_and(|records| records.iter().any(|record| record["eventSource"] == "aws:sqs"))
}

/// Parses one queue message.
/// <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>
fn message(record: &PathValue<'_>) -> Result<Message, NotificationError> {
    record.field("eventSource").is("aws:sqs", "`aws:sqs`, as in the other records")?;
    let count = record.field("attributes").field("ApproximateReceiveCount");
    let receive_count = match count.text_or_none()? {
        // Only hand-written test events omit the count. With 1, the message is not given up too early.
        None => 1,
        Some(text) => text.parse().map_err(|_| count.unexpected("a non-negative integer as a string"))?,
    };
    Ok(Message {
        id: record.field("messageId").name()?.to_owned(),
        receipt_handle: record.field("receiptHandle").name()?.to_owned(),
        body: record.field("body").text()?.to_owned(),
        receive_count,
        queue_arn: record.field("eventSourceARN").name()?.to_owned(),
    })
}
