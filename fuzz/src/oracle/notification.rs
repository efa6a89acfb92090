//! The oracle of the notification parser. The result is never empty and is the same in every envelope, errors quote no
//! text of the message, and a rendered object parses to the same object.

use crate::notification::{Invocation, Notice, NotificationError, invocation, parse, render};
use crate::object::ObjectRef;
use serde_json::{Value, json};

/// Minimum length of a string that an error must not quote. Shorter strings may be field names or names of AWS events.
const MIN_SECRET_BYTES: usize = 49;

/// Checks the notification parser with one input in several envelopes.
///
/// # Panics
/// If a property does not hold.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let result = parse(text);
    check_result(text, &result);

    // In an SNS envelope, through a queue and by a direct invocation.
    let envelope = json!({ "Type": "Notification", "MessageId": "m", "Message": text });
    assert_same(&result, parse(&envelope.to_string()).as_deref().ok());
    let direct = json!({ "Records": [{ "EventSource": "aws:sns", "EventVersion": "1.0", "Sns": envelope }] });
    assert_same(&result, parse_direct(&direct.to_string()).as_deref());
    // As the body of a queue message, which must be returned unchanged.
    let record = |id: &str, body: &str| {
        json!({ "messageId": id, "receiptHandle": "r", "body": body, "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:111122223333:q" })
    };
    let batch = json!({ "Records": [record("a", text), record("b", "{}")] });
    match invocation(&batch.to_string()) {
        Ok(Invocation::Queue(messages)) => {
            let found: Vec<_> = messages.iter().map(|message| (message.id.as_str(), message.body.as_str())).collect();
            assert_eq!(found, [("a", text), ("b", "{}")]);
        }
        other => panic!("a batch of queue messages is parsed as {other:?}"),
    }
    // As the payload of a function.
    match invocation(text) {
        Ok(Invocation::Direct(notices)) => assert!(!notices.is_empty(), "an empty result would be acknowledged"),
        Ok(Invocation::Queue(messages)) => assert!(!messages.is_empty() && text.contains("aws:sqs")),
        Err(error) => {
            assert!(result.is_err(), "accepted as a message, but rejected as an invocation: {error}");
            check_error(text, &error);
        }
    }
}

fn check_result(text: &str, result: &Result<Vec<Notice>, NotificationError>) {
    match result {
        Ok(notices) => {
            assert!(!notices.is_empty(), "an empty result would be acknowledged");
            notices.iter().for_each(check_rendered);
            assert!(has_aws_name(text), "accepted without any name that AWS uses: {text}");
        }
        Err(error) => check_error(text, error),
    }
}

/// Returns whether a text contains a name that AWS uses in notifications, or an escape that may hide one.
fn has_aws_name(text: &str) -> bool {
    let words = ["Records", "Message", "aws.s3", "s3ObjectKey", "s3:TestEvent", "CloudTrail validation message."];
    words.iter().any(|word| text.contains(word)) || text.contains("\\u")
}

fn check_rendered(notice: &Notice) {
    let Notice::Object(object) = notice else { return };
    assert!(!object.bucket.is_empty() && !object.key.is_empty());
    // An empty ETag, or one that consists of quotes, is no version and is not rendered.
    let object = ObjectRef { etag: object.etag.clone().filter(|etag| !etag.is_empty()), ..object.clone() };
    assert_eq!(parse(&render(&object)), Ok(vec![Notice::Object(object)]));
}

fn assert_same(result: &Result<Vec<Notice>, NotificationError>, from_envelope: Option<&[Notice]>) {
    assert_eq!(result.as_deref().ok(), from_envelope, "the envelope changes the result");
}

fn parse_direct(payload: &str) -> Option<Vec<Notice>> {
    match invocation(payload) {
        Ok(Invocation::Direct(notices)) => Some(notices),
        Ok(Invocation::Queue(_)) | Err(_) => None,
    }
}

/// Checks that an error is one short line and quotes no text of the message.
fn check_error(text: &str, error: &NotificationError) {
    let error = error.to_string();
    assert!(error.chars().all(|letter| !letter.is_control()), "{error:?}");
    assert!(error.len() < 4_096, "an error of {} bytes", error.len());
    let mut long = Vec::new();
    if let Ok(value) = serde_json::from_str(text) {
        collect_secrets(&value, &mut long);
    }
    for secret in long {
        assert!(!error.contains(&secret), "{error} quotes {secret}");
    }
}

fn collect_secrets(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text.len() >= MIN_SECRET_BYTES => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect_secrets(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| collect_secrets(field, found)),
        _ => {}
    }
}
