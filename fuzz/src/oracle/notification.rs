//! Notification parsing: never an empty answer, the same answer in every wrapping, nothing of a message in an error, and
//! what is sent again is what was read.

use crate::notification::{Invocation, Notice, NotificationError, invocation, parse, render};
use crate::object::ObjectRef;
use serde_json::{Value, json};

/// Texts of a message that are longer than this must not be found in an error. Shorter ones may be field names, or the
/// words by which AWS calls its events.
const SECRET: usize = 49;

/// # Panics
/// If a message is answered otherwise than the wrapping it came in allows.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let answer = parse(text);
    sound(text, &answer);

    // As the message of a topic, in a queue and directly.
    let envelope = json!({ "Type": "Notification", "MessageId": "m", "Message": text });
    same(&answer, parse(&envelope.to_string()).as_deref().ok());
    let direct = json!({ "Records": [{ "EventSource": "aws:sns", "EventVersion": "1.0", "Sns": envelope }] });
    same(&answer, directly(&direct.to_string()).as_deref());
    // As the body of a queue's message, which is handed on untouched, neighbours or not.
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
        other => panic!("a queue's batch is read as {other:?}"),
    }
    // As what a function is called with.
    match invocation(text) {
        Ok(Invocation::Direct(notices)) => assert!(!notices.is_empty(), "an empty answer would be acknowledged"),
        Ok(Invocation::Queue(messages)) => assert!(!messages.is_empty() && text.contains("aws:sqs")),
        Err(error) => {
            assert!(answer.is_err(), "understood as a message, and not as a call: {error}");
            plain(text, &error);
        }
    }
}

fn sound(text: &str, answer: &Result<Vec<Notice>, NotificationError>) {
    match answer {
        Ok(notices) => {
            assert!(!notices.is_empty(), "an empty answer would be acknowledged");
            notices.iter().for_each(sent_again);
            assert!(marked(text), "understood without a word that AWS uses: {text}");
        }
        Err(error) => plain(text, error),
    }
}

/// Whether a text holds any of the words by which AWS marks a notification, however it is escaped.
fn marked(text: &str) -> bool {
    let words = ["Records", "Message", "aws.s3", "s3ObjectKey", "s3:TestEvent", "CloudTrail validation message."];
    words.iter().any(|word| text.contains(word)) || text.contains("\\u")
}

fn sent_again(notice: &Notice) {
    let Notice::Object(object) = notice else { return };
    assert!(!object.bucket.is_empty() && !object.key.is_empty());
    // A version said to be empty, or quotes, is no version: what is rendered has none either.
    let object = ObjectRef { etag: object.etag.clone().filter(|etag| !etag.is_empty()), ..object.clone() };
    assert_eq!(parse(&render(&object)), Ok(vec![Notice::Object(object)]));
}

fn same(answer: &Result<Vec<Notice>, NotificationError>, wrapped: Option<&[Notice]>) {
    assert_eq!(answer.as_deref().ok(), wrapped, "the wrapping changes the answer");
}

fn directly(payload: &str) -> Option<Vec<Notice>> {
    match invocation(payload) {
        Ok(Invocation::Direct(notices)) => Some(notices),
        Ok(Invocation::Queue(_)) | Err(_) => None,
    }
}

/// An error is one line, short, and quotes no text of the message.
fn plain(text: &str, error: &NotificationError) {
    let error = error.to_string();
    assert!(error.chars().all(|letter| !letter.is_control()), "{error:?}");
    assert!(error.len() < 4_096, "an error of {} bytes", error.len());
    let mut long = Vec::new();
    if let Ok(value) = serde_json::from_str(text) {
        texts(&value, &mut long);
    }
    for secret in long {
        assert!(!error.contains(&secret), "{error} quotes {secret}");
    }
}

fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text.len() >= SECRET => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| texts(field, found)),
        _ => {}
    }
}
