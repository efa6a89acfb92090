//! S3's own words: its event notifications, the same events on EventBridge, and the spelling of keys.

use super::json::PathValue;
use super::{Ignored, Notice, NotificationError};
use crate::object::ObjectRef;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::json;

/// What S3 leaves as it is in the key of a notification, beside letters and digits.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/');

/// What the name of an event means.
type Meaning = fn(ObjectRef) -> Notice;

/// One element of an S3 event's `Records`.
///
/// Minor versions only add fields, so the major is what is checked.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>
pub(super) fn record(record: &PathValue<'_>) -> Result<Notice, NotificationError> {
    let version = record.field("eventVersion");
    if version.text()?.split('.').next() != Some("2") {
        return Err(version.unknown_word("version 2.x of S3's notifications"));
    }
    let name = record.field("eventName");
    let meaning = event_name(name.name()?).ok_or_else(|| name.unknown_word("an S3 event name that is known here"))?;
    let s3 = record.field("s3");
    let object = s3.field("object");
    let key = object.field("key");
    let decoded = decode_key(key.name()?).map_err(|found| NotificationError::Key { at: key.path.clone(), found })?;
    let at = ObjectRef::new(s3.field("bucket").field("name").name()?, decoded);
    Ok(meaning(versioned(at, &object, "eTag")?))
}

/// An event of S3 on EventBridge. The key is not encoded there.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>
pub(super) fn eventbridge(event: &PathValue<'_>) -> Result<Notice, NotificationError> {
    let source = event.field("source");
    if source.text()? != "aws.s3" {
        return Err(source.unknown_word("`aws.s3`"));
    }
    let kind = event.field("detail-type");
    let meaning = detail_type(kind.text()?).ok_or_else(|| kind.unknown_word("a detail-type that is known here"))?;
    let detail = event.field("detail");
    let object = detail.field("object");
    let at = ObjectRef::new(detail.field("bucket").field("name").name()?, object.field("key").name()?);
    Ok(meaning(versioned(at, &object, "etag")?))
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-event-types-and-destinations.html>
fn event_name(name: &str) -> Option<Meaning> {
    // Notifications leave out the `s3:` of the configuration, some emulators do not.
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

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/EventBridge.html>
fn detail_type(name: &str) -> Option<Meaning> {
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

/// The object with what is said of its version. Deletions and restorations leave out the one or the other.
fn versioned(at: ObjectRef, object: &PathValue<'_>, etag: &str) -> Result<ObjectRef, NotificationError> {
    let etag = object.field(etag).text_or_none()?.filter(|etag| !etag.is_empty());
    let size = object.field("size").number()?;
    Ok(match (etag, size) {
        (Some(etag), Some(size)) => at.with_version(etag, size),
        (Some(etag), None) => ObjectRef { size: None, ..at.with_version(etag, 0) },
        (None, size) => ObjectRef { size, ..at },
    })
}

/// A key as S3 stores it, from the spelling of a notification. What is not that spelling is refused rather than guessed
/// at: a wrong guess names an object that does not exist, and the right one is never read.
fn decode_key(encoded: &str) -> Result<String, &'static str> {
    let bytes = encoded.as_bytes();
    let whole = |at: usize| bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    if bytes.iter().enumerate().any(|(at, &byte)| byte == b'%' && !whole(at)) {
        return Err("a `%` that two hexadecimal digits do not follow");
    }
    let spaced = encoded.replace('+', " ");
    let key = percent_decode_str(&spaced).decode_utf8().map_err(|_| "one that decodes to invalid UTF-8")?;
    Ok(key.into_owned())
}

/// An object as the body of an S3 notification: what is sent to have it read once more, or for the first time.
/// [`parse`](super::parse) gives back the same object.
pub fn render(object: &ObjectRef) -> String {
    let key = utf8_percent_encode(&object.key, ENCODED).to_string().replace("%20", "+");
    let mut described = json!({ "key": key });
    if let Some(size) = object.size {
        described["size"] = size.into();
    }
    if let Some(etag) = &object.etag {
        described["eTag"] = etag.as_str().into();
    }
    json!({ "Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": { "s3SchemaVersion": "1.0", "bucket": { "name": object.bucket }, "object": described },
    }]})
    .to_string()
}
