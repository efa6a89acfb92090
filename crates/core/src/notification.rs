//! What AWS sends → which objects to read. Pure.
//!
//! Every shape in which an object can be announced is told apart here, by its content, so that one function behind any
//! mixture of S3 notifications, SNS topics, EventBridge rules and CloudTrail's own topic does the right thing:
//!
//! | shape | told by | key |
//! |---|---|---|
//! | S3 event notification | `Records[].eventSource` is `aws:s3` | form-encoded |
//! | SNS, called directly | `Records[].EventSource` is `aws:sns`; what `Sns.Message` holds is read again | |
//! | SNS envelope in a queue | `Type` and `Message`; what `Message` holds is read again | |
//! | EventBridge | `detail-type` and `source` | as it is |
//! | CloudTrail's own topic | `s3Bucket` and `s3ObjectKey` | as it is |
//! | `s3:TestEvent`, CloudTrail's validation message | `Event`; the text itself | none |
//!
//! A shape that is not in this table is an error and never an empty answer: an empty answer would be acknowledged, and
//! the object behind it would be lost without a trace. Errors name fields and places, never their content.

mod json;
mod s3;
mod sqs;
#[cfg(test)]
mod tests;

pub use s3::render;
pub use sqs::{Invocation, Message, invocation};

use crate::object::ObjectRef;
use json::PathValue;
use serde_json::Value;

/// The text CloudTrail publishes to its topic when a trail is created or changed.
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/configure-sns-notifications-for-cloudtrail.html>
const VALIDATION_MESSAGE: &str = "CloudTrail validation message.";

/// What one notification says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// An object was written, and is to be read.
    Object(ObjectRef),
    /// Understood, and nothing to read: to be acknowledged and counted.
    Ignored(Ignored),
}

/// Why there is nothing to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ignored {
    /// `s3:TestEvent`, which S3 sends once when notifications are configured.
    TestEvent,
    /// CloudTrail's plain text, sent once when a trail is given its topic.
    ValidationMessage,
    /// The object was deleted, by hand or by a lifecycle rule.
    Removed(ObjectRef),
    /// The object was called back from an archive. Nothing to read even when that has completed: its events were
    /// delivered when it was new, and the note of that may have expired since, so that reading it again would repeat
    /// them. What was archived before it was ever read is the backfill's to find.
    Restored(ObjectRef),
    /// The object moved to another storage class or access tier.
    Moved(ObjectRef),
    /// The object's tags or access control list changed.
    Annotated(ObjectRef),
    /// The object's replication to another bucket failed or is late.
    Replication(ObjectRef),
    /// S3 lost the object (reduced redundancy storage). If it was never read, its own notification will find it
    /// missing and say so.
    Lost(ObjectRef),
}

impl Ignored {
    /// The stable name of the kind, as it stands in metrics.
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

/// Why a notification was not understood. The message it came in must not be acknowledged.
///
/// The places named are paths into the message, such as `Records[2].s3.object.key`. No text of the message is quoted
/// but field names and the short words by which AWS names its events.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotificationError {
    /// Neither JSON nor CloudTrail's validation message.
    #[error(
        "{at}: expected a notification in JSON, found {bytes} bytes that are not JSON (line {line}, column {column})"
    )]
    NotJson {
        /// Where in the message.
        at: String,
        /// Length of what was found.
        bytes: usize,
        /// Line of the first byte that is not JSON, from 1.
        line: usize,
        /// Column of it, from 1.
        column: usize,
    },
    /// JSON, but no shape that is known here.
    #[error(
        "{at}: expected an S3 event, an SNS message, an EventBridge event or a CloudTrail notification, found {found}; \
         check what sends to this queue or function"
    )]
    Unknown {
        /// Where in the message.
        at: String,
        /// The kind of value and its field names.
        found: String,
    },
    /// A known shape, with a field missing or of another type.
    #[error("{at}: expected {expected}, found {found}")]
    Field {
        /// Where in the message.
        at: String,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// An object key that cannot be decoded, so that no object can be named.
    #[error("{at}: expected a form-encoded object key, found {found}")]
    Key {
        /// Where in the message.
        at: String,
        /// What is wrong with it.
        found: &'static str,
    },
}

/// What one message says: the body of a queue's message, or what a function was called with. Several notices come from
/// one message with several records; none at all is never an answer.
///
/// # Errors
///
/// If any part of it is not understood. Then nothing of it is returned, so that the message as a whole comes back.
pub fn parse(text: &str) -> Result<Vec<Notice>, NotificationError> {
    let mut notices = Vec::with_capacity(1);
    read_text(text, "message".to_owned(), &mut notices)?;
    Ok(notices)
}

/// A message, or the string another message carries. The escapes of a string double with every level of nesting, so the
/// length of the message bounds the depth of the recursion.
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
        // `SubscriptionConfirmation` carries a message too, and asks for something nobody here does.
        message.field("Type").is("Notification", "an SNS `Notification`")?;
        let inner = message.field("Message");
        read_text(inner.text()?, inner.path, notices)
    } else if has(&["detail-type", "source"]) {
        notices.push(s3::eventbridge(message)?);
        Ok(())
    } else if has(&["s3Bucket", "s3ObjectKey"]) {
        read_cloudtrail(message, notices)
    } else if has(&["Event"]) {
        message.field("Event").is("s3:TestEvent", "`s3:TestEvent`")?;
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

/// CloudTrail's own notification: one bucket, many keys, and no word about their versions.
fn read_cloudtrail(message: &PathValue<'_>, notices: &mut Vec<Notice>) -> Result<(), NotificationError> {
    let bucket = message.field("s3Bucket").name()?.to_owned();
    for key in message.field("s3ObjectKey").items()? {
        notices.push(Notice::Object(ObjectRef::new(bucket.as_str(), key.name()?)));
    }
    Ok(())
}
