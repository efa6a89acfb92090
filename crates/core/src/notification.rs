//! Parses notifications into references to objects.
//!
//! The shape of a notification is recognized by its content. Therefore one function can be subscribed to any
//! combination of S3 notifications, SNS topics, EventBridge rules and CloudTrail's own topic:
//!
//! | shape | recognized by | key |
//! |---|---|---|
//! | S3 event notification | `Records[].eventSource` is `aws:s3` | form-encoded |
//! | SNS, invoked directly | `Records[].EventSource` is `aws:sns`; `Sns.Message` is parsed again | |
//! | SNS envelope in a queue | `Type` and `Message`; `Message` is parsed again | |
//! | EventBridge | `detail-type` and `source` | not encoded |
//! | CloudTrail's own topic | `s3Bucket` and `s3ObjectKey` | not encoded |
//! | `s3:TestEvent`, CloudTrail's validation message | `Event`; the text itself | none |
//!
//! Any other shape is an error and never an empty result. An empty result would be acknowledged, and the object would
//! be lost without a trace. Errors contain field names and paths, never values.

mod json;
mod s3;
mod sqs;
#[cfg(test)]
mod tests;

pub use s3::{render, render_all};
pub use sqs::{FIRST_SEEN_ATTRIBUTE, Invocation, Message, REASON_ATTRIBUTE, SOURCE_ATTRIBUTE, invocation};

use crate::object::ObjectRef;
use json::PathValue;
use serde_json::Value;

/// The text that CloudTrail publishes to its topic when a trail is created or changed.
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/configure-sns-notifications-for-cloudtrail.html>
const VALIDATION_MESSAGE: &str = "CloudTrail validation message.";

/// The meaning of one notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// An object was written and must be ingested.
    Object(ObjectRef),
    /// There is nothing to ingest. The notification is acknowledged and counted.
    Ignored(Ignored),
}

/// The reason why a notification is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ignored {
    /// `s3:TestEvent`, which S3 sends once when notifications are configured.
    TestEvent,
    /// CloudTrail's validation message, which is sent when a topic is configured for a trail.
    ValidationMessage,
    /// The object was deleted by a request or by a lifecycle rule.
    Removed(ObjectRef),
    /// The object is restored from an archive. It is ignored even when the restoration has completed: its events were
    /// delivered when it was new. Their ledger entry may have expired since, so ingesting the object again would
    /// deliver them again. The backfill finds objects that were archived before they were ingested.
    Restored(ObjectRef),
    /// The object moved to another storage class or access tier.
    Moved(ObjectRef),
    /// The object's tags or access control list changed.
    Annotated(ObjectRef),
    /// The object's replication to another bucket failed or is late.
    Replication(ObjectRef),
    /// S3 lost the object (reduced redundancy storage). If it was not ingested before, the attempt to ingest it reports
    /// it as missing.
    Lost(ObjectRef),
}

impl Ignored {
    /// Returns the stable name of the reason for metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TestEvent => "test_event",
            Self::ValidationMessage => "validation_message",
            Self::Removed(_) => "removed",
            Self::Restored(_) => "restored",
            Self::Moved(_) => "moved",
            Self::Annotated(_) => "annotated",
            Self::Replication(_) => "replication",
            Self::Lost(_) => "lost",
        }
    }
}

/// The reason why a notification could not be parsed. Its message must not be acknowledged.
///
/// `at` is a path into the message, such as `Records[2].s3.object.key`. Errors quote only field names and AWS's short
/// names of events, and no other text of the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotificationError {
    /// The message is neither JSON nor CloudTrail's validation message.
    #[error(
        "{at}: expected a notification in JSON, found {bytes} bytes that are not JSON (line {line}, column {column})"
    )]
    NotJson {
        /// Path in the message.
        at: String,
        /// Length of the text in bytes.
        bytes: usize,
        /// Line of the first invalid byte, starting at 1.
        line: usize,
        /// Column of the first invalid byte, starting at 1.
        column: usize,
    },
    /// The message is JSON of an unknown shape.
    #[error(
        "{at}: expected an S3 event, an SNS message, an EventBridge event or a CloudTrail notification, found {found}; \
         check the senders of this queue or function"
    )]
    Unknown {
        /// Path in the message.
        at: String,
        /// The type of the value and its field names.
        found: String,
    },
    /// A field of a known shape is missing or invalid.
    #[error("{at}: expected {expected}, found {found}")]
    Field {
        /// Path in the message.
        at: String,
        /// The expected value.
        expected: &'static str,
        /// A description of the value.
        found: String,
    },
    /// The object key cannot be decoded.
    #[error("{at}: expected a form-encoded object key, found {found}")]
    Key {
        /// Path in the message.
        at: String,
        /// The defect.
        found: &'static str,
    },
}

/// Parses the body of a queue message or the payload of a direct invocation. Returns one notice per record, and never
/// an empty list.
///
/// # Errors
///
/// [`NotificationError`] if any part of the message is invalid. The message as a whole is then retried.
pub fn parse(text: &str) -> Result<Vec<Notice>, NotificationError> {
    let mut notices = Vec::with_capacity(1);
    read_text(text, "message".to_owned(), &mut notices)?;
    Ok(notices)
}

/// Parses a message, or a string within a message. The escapes of a string double with every level of nesting, so the
/// length of the message limits the depth of the recursion.
fn read_text(text: &str, at: String, notices: &mut Vec<Notice>) -> Result<(), NotificationError> {
    if text.trim() == VALIDATION_MESSAGE {
        notices.push(Notice::Ignored(Ignored::ValidationMessage));
        return Ok(());
    }
    let value = json::parse(text, &at)?;
    read(&PathValue::new(&value, at), notices)
}

fn read(message: &PathValue<'_>, notices: &mut Vec<Notice>) -> Result<(), NotificationError> {
    let Value::Object(fields) = message.value else { return Err(message.unknown()) };
    let has = |names: &[&str]| names.iter().all(|&name| fields.contains_key(name));
    if has(&["Records"]) {
        read_records(message, notices)
    } else if has(&["Type", "Message"]) {
        // `SubscriptionConfirmation` contains a message too, but trailhose does not confirm subscriptions.
        message.field("Type").check_is("Notification", "an SNS `Notification`")?;
        let inner = message.field("Message");
        read_text(inner.text()?, inner.path, notices)
    } else if has(&["detail-type", "source"]) {
        notices.push(s3::eventbridge(message)?);
        Ok(())
    } else if has(&["s3Bucket", "s3ObjectKey"]) {
        read_cloudtrail(message, notices)
    } else if has(&["Event"]) {
        message.field("Event").check_is("s3:TestEvent", "`s3:TestEvent`")?;
        notices.push(Notice::Ignored(Ignored::TestEvent));
        Ok(())
    } else {
        Err(message.unknown())
    }
}

fn read_records(message: &PathValue<'_>, notices: &mut Vec<Notice>) -> Result<(), NotificationError> {
    for record in message.field("Records").items()? {
        match (record.get("eventSource"), record.get("EventSource")) {
            (Some("aws:s3"), None) => notices.push(s3::record(&record)?),
            (None, Some("aws:sns")) => {
                let inner = record.field("Sns").field("Message");
                read_text(inner.text()?, inner.path, notices)?;
            }
            (None, None) => return Err(record.unknown()),
            (source, _) => {
                let name = if source.is_some() { "eventSource" } else { "EventSource" };
                return Err(record.field(name).unknown_word("`aws:s3` or `aws:sns`"));
            }
        }
    }
    Ok(())
}

/// Parses CloudTrail's own notification: one bucket and several keys, without versions.
fn read_cloudtrail(message: &PathValue<'_>, notices: &mut Vec<Notice>) -> Result<(), NotificationError> {
    let bucket = message.field("s3Bucket").name()?.to_owned();
    for key in message.field("s3ObjectKey").items()? {
        notices.push(Notice::Object(ObjectRef::new(bucket.as_str(), key.name()?)));
    }
    Ok(())
}
