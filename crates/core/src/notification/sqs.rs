//! Parses the payload of a function: a batch of queue messages or a direct notification.

use super::json::{self, PathValue};
use super::{Notice, NotificationError, read, read_text};
use serde_json::Value;

/// Name of the message attribute with the time at which an object was first announced, in seconds since 1970. Every copy
/// of a message keeps it, because SQS gives a copy a new age.
pub const FIRST_SEEN_ATTRIBUTE: &str = "trailhose_first_seen";

/// Name of the message attribute with the ARN of the queue that a moved message was first received from.
pub const SOURCE_ATTRIBUTE: &str = "trailhose_source";

/// Name of the message attribute with the reason why a message was moved to another queue.
pub const REASON_ATTRIBUTE: &str = "trailhose_reason";

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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    /// When the message was sent to this queue, in seconds since 1970. `None` in hand-written test events.
    pub sent_at: Option<i64>,
    /// The value of [`FIRST_SEEN_ATTRIBUTE`], if the message is a copy.
    pub first_seen_attribute: Option<i64>,
    /// The value of [`SOURCE_ATTRIBUTE`], if the message was moved.
    pub source_attribute: Option<String>,
}

impl Message {
    /// Returns when the message was sent, in seconds since 1970. For a copy: when the original message was sent.
    pub fn first_seen(&self) -> Option<i64> {
        self.first_seen_attribute.or(self.sent_at)
    }

    /// Returns the ARN of the queue from which the message was received. For a moved message: the queue from which it
    /// was first received.
    pub fn source_arn(&self) -> &str {
        self.source_attribute.as_deref().unwrap_or(&self.queue_arn)
    }
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
    record.field("eventSource").check_is("aws:sqs", "`aws:sqs`, as in the other records")?;
    let attributes = record.field("attributes");
    let count = attributes.field("ApproximateReceiveCount");
    let receive_count = match count.text_or_none()? {
        // Only hand-written test events omit the count. 1 is the lowest count, so the message is not given up too
        // early.
        None => 1,
        Some(text) => text.parse().map_err(|_| count.unexpected("a non-negative integer as a string"))?,
    };
    // Another sender can set these attributes to any value. A value that is not valid counts as absent and is no error,
    // because the body decides whether a message is valid.
    let copied = |name: &str| record.field("messageAttributes").field(name).get("stringValue");
    Ok(Message {
        id: record.field("messageId").name()?.to_owned(),
        receipt_handle: record.field("receiptHandle").name()?.to_owned(),
        body: record.field("body").text()?.to_owned(),
        receive_count,
        queue_arn: record.field("eventSourceARN").name()?.to_owned(),
        sent_at: attributes.get("SentTimestamp").and_then(|ms| ms.parse::<i64>().ok()).map(|ms| ms / 1000),
        first_seen_attribute: copied(FIRST_SEEN_ATTRIBUTE).and_then(|seconds| seconds.parse().ok()),
        source_attribute: copied(SOURCE_ATTRIBUTE).map(str::to_owned),
    })
}
