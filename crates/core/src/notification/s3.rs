//! S3 event notifications, S3 events on EventBridge, and the encoding of keys.

use super::json::PathValue;
use super::{Ignored, Notice, NotificationError};
use crate::object::ObjectRef;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::json;

/// The characters that S3 encodes in the key of a notification.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/');

/// Maps an object to the notice for an event name.
type ToNotice = fn(ObjectRef) -> Notice;

/// Parses one element of `Records` of an S3 event notification.
///
/// Only the major version is checked, because minor versions only add fields.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>
pub(super) fn record(record: &PathValue<'_>) -> Result<Notice, NotificationError> {
    major_version(&record.field("eventVersion"), "2", "version 2.x of S3 event notifications")?;
    let name = record.field("eventName");
    let to_notice = event_name(name.name()?).ok_or_else(|| name.unknown_word("a supported S3 event name"))?;
    let s3 = record.field("s3");
    let object = s3.field("object");
    let key = object.field("key");
    let decoded = decode_key(key.name()?).map_err(|found| NotificationError::Key { at: key.path.clone(), found })?;
    let at = ObjectRef::new(s3.field("bucket").field("name").name()?, decoded);
    Ok(to_notice(versioned(at, &object, "eTag")?))
}

/// Parses an S3 event on EventBridge. Its key is not encoded.
///
/// EventBridge sets the version of the envelope. S3 sets the versions of the detail; only later events have
/// `event-version`. As for S3's own notifications, only the major versions are checked.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>
pub(super) fn eventbridge(event: &PathValue<'_>) -> Result<Notice, NotificationError> {
    let source = event.field("source");
    if source.text()? != "aws.s3" {
        return Err(source.unknown_word("`aws.s3`"));
    }
    major_version(&event.field("version"), "0", "version 0 of EventBridge events")?;
    let kind = event.field("detail-type");
    let to_notice = detail_type(kind.text()?).ok_or_else(|| kind.unknown_word("a supported detail-type"))?;
    let detail = event.field("detail");
    for (name, major, expected) in [
        ("version", "0", "version 0 of S3 events on EventBridge"),
        ("event-version", "1", "version 1.x of S3 events on EventBridge"),
    ] {
        let version = detail.field(name);
        if version.text_or_none()?.is_some() {
            major_version(&version, major, expected)?;
        }
    }
    let object = detail.field("object");
    let at = ObjectRef::new(detail.field("bucket").field("name").name()?, object.field("key").name()?);
    Ok(to_notice(versioned(at, &object, "etag")?))
}

/// Checks the part of a version before its first dot.
fn major_version(version: &PathValue<'_>, major: &str, expected: &'static str) -> Result<(), NotificationError> {
    if version.text()?.split('.').next() == Some(major) { Ok(()) } else { Err(version.unknown_word(expected)) }
}

/// Returns the meaning of an S3 event name, or `None` if it is unknown.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-event-types-and-destinations.html>
fn event_name(name: &str) -> Option<ToNotice> {
    // S3 omits the prefix `s3:` that the configuration has. Some emulators send it.
    let name = name.strip_prefix("s3:").unwrap_or(name);
    let (family, member) = name.split_once(':').unwrap_or((name, ""));
    Some(match (family, member.is_empty()) {
        ("ObjectCreated", false) => Notice::Object,
        ("ObjectRemoved" | "LifecycleExpiration", false) => |at| Notice::Ignored(Ignored::Removed(at)),
        ("ObjectRestore", false) => |at| Notice::Ignored(Ignored::Restored(at)),
        ("LifecycleTransition" | "IntelligentTiering", true) => |at| Notice::Ignored(Ignored::Moved(at)),
        ("ObjectTagging" | "ObjectAcl", false) => |at| Notice::Ignored(Ignored::Annotated(at)),
        ("Replication", false) => |at| Notice::Ignored(Ignored::Replication(at)),
        ("ReducedRedundancyLostObject", true) => |at| Notice::Ignored(Ignored::Lost(at)),
        _ => return None,
    })
}

/// Returns the meaning of a `detail-type`, or `None` if it is unknown.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/EventBridge.html>
fn detail_type(name: &str) -> Option<ToNotice> {
    Some(match name {
        "Object Created" => Notice::Object,
        "Object Deleted" => |at| Notice::Ignored(Ignored::Removed(at)),
        "Object Restore Initiated" | "Object Restore Completed" | "Object Restore Expired" => {
            |at| Notice::Ignored(Ignored::Restored(at))
        }
        "Object Storage Class Changed" | "Object Access Tier Changed" => |at| Notice::Ignored(Ignored::Moved(at)),
        "Object Tags Added" | "Object Tags Deleted" | "Object ACL Updated" => {
            |at| Notice::Ignored(Ignored::Annotated(at))
        }
        _ => return None,
    })
}

/// Adds ETag and size to the reference. Notifications of deletions and restorations omit one of them or both.
fn versioned(at: ObjectRef, object: &PathValue<'_>, etag: &str) -> Result<ObjectRef, NotificationError> {
    let etag = object.field(etag).text_or_none()?.filter(|etag| !etag.is_empty());
    let size = object.field("size").number()?;
    Ok(match (etag, size) {
        (Some(etag), Some(size)) => at.with_version(etag, size),
        (Some(etag), None) => ObjectRef { size: None, ..at.with_version(etag, 0) },
        (None, size) => ObjectRef { size, ..at },
    })
}

/// Decodes the form-encoded key of a notification. An invalid encoding is an error. A guess could name an object that
/// does not exist, and the actual object would never be ingested.
fn decode_key(encoded: &str) -> Result<String, &'static str> {
    let bytes = encoded.as_bytes();
    let is_complete =
        |at: usize| bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    if bytes.iter().enumerate().any(|(at, &byte)| byte == b'%' && !is_complete(at)) {
        return Err("a `%` without two hexadecimal digits");
    }
    let with_spaces = encoded.replace('+', " ");
    let key = percent_decode_str(&with_spaces).decode_utf8().map_err(|_| "a key that decodes to invalid UTF-8")?;
    Ok(key.into_owned())
}

/// Renders an object as the body of an S3 notification, which is enqueued to ingest the object.
/// [`parse`](super::parse) returns the same object.
pub fn render(object: &ObjectRef) -> String {
    render_all([object])
}

/// Renders several objects as the body of one S3 notification. [`parse`](super::parse) returns the same objects.
pub fn render_all<'a>(objects: impl IntoIterator<Item = &'a ObjectRef>) -> String {
    json!({ "Records": objects.into_iter().map(record_json).collect::<Vec<_>>() }).to_string()
}

fn record_json(object: &ObjectRef) -> serde_json::Value {
    let key = utf8_percent_encode(&object.key, ENCODED).to_string().replace("%20", "+");
    let mut object_json = json!({ "key": key });
    if let Some(size) = object.size {
        object_json["size"] = size.into();
    }
    if let Some(etag) = &object.etag {
        object_json["eTag"] = etag.as_str().into();
    }
    json!({
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": { "s3SchemaVersion": "1.0", "bucket": { "name": object.bucket }, "object": object_json },
    })
}
