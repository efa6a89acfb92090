//! The payloads of the backfill function.

use super::run::{Request, RequestError};
use crate::notification::{Invocation, Message, NotificationError, invocation};
use serde::Deserialize;

/// An invocation of the backfill function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackfillInvocation {
    /// A schedule or a user requests a run.
    Start(Request),
    /// The queue delivers tasks.
    Queue(Vec<Message>),
}

/// An error of an invalid payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// The request is invalid.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The payload resembles a batch of a queue and is invalid.
    #[error(transparent)]
    Queue(#[from] NotificationError),
    /// The payload is a notification of an object, which belongs to the ingest function.
    #[error("expected a backfill request or tasks of the backfill queue, found a notification: send it to ingest")]
    Notification,
}

/// The fields that distinguish the kinds of payload.
#[derive(Deserialize)]
struct PayloadFields {
    #[serde(rename = "Records")]
    records: Option<serde::de::IgnoredAny>,
    source: Option<String>,
    #[serde(rename = "detail-type")]
    detail_type: Option<String>,
}

impl BackfillInvocation {
    /// Parses a payload.
    ///
    /// # Errors
    /// Returns the reason if the payload is invalid. No part of an invalid payload may be processed.
    pub fn parse(payload: &str) -> Result<Self, PayloadError> {
        match serde_json::from_str::<PayloadFields>(payload) {
            Ok(PayloadFields { records: Some(_), .. }) => match invocation(payload)? {
                Invocation::Queue(messages) => Ok(Self::Queue(messages)),
                Invocation::Direct(_) => Err(PayloadError::Notification),
            },
            // EventBridge sends this payload for a schedule or a rule without a configured payload.
            // https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-templated.html
            Ok(PayloadFields { source: Some(source), detail_type: Some(kind), .. })
                if kind == "Scheduled Event" && (source == "aws.scheduler" || source == "aws.events") =>
            {
                Ok(Self::Start(Request::default()))
            }
            _ => Ok(Self::Start(Request::parse(payload)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedule_request_and_queue_are_distinguished() {
        let scheduled = |source: &str| {
            format!(
                r#"{{"version":"0","detail-type":"Scheduled Event","source":"{source}","resources":[],"detail":"{{}}"}}"#
            )
        };
        for payload in ["{}", &scheduled("aws.scheduler"), &scheduled("aws.events")] {
            assert_eq!(
                BackfillInvocation::parse(payload),
                Ok(BackfillInvocation::Start(Request::default())),
                "{payload}"
            );
        }
        let Ok(BackfillInvocation::Start(request)) = BackfillInvocation::parse(r#"{"dry_run":true}"#) else {
            panic!("not parsed as a request")
        };
        assert!(request.dry_run);
        let record =
            r#"{"messageId":"1","receiptHandle":"r","body":"b","eventSource":"aws:sqs","eventSourceARN":"a:q"}"#;
        let Ok(BackfillInvocation::Queue(messages)) =
            BackfillInvocation::parse(&format!(r#"{{"Records":[{record}]}}"#))
        else {
            panic!("not parsed as a queue's batch")
        };
        assert_eq!(messages[0].body, "b");
    }

    #[test]
    fn invalid_payload_starts_no_run() {
        let notification = r#"{"version":"0","detail-type":"Object Created","source":"aws.s3","detail":{}}"#;
        let foreign = r#"{"detail-type":"Scheduled Event","source":"made.up"}"#;
        let mixed = r#"{"Records":[{"eventSource":"aws:sqs"},{"eventSource":"aws:s3"}]}"#;
        for payload in ["", "null", "[]", "7", r#""{}""#, r#"{"Records":[]}"#, notification, foreign, mixed] {
            assert!(BackfillInvocation::parse(payload).is_err(), "{payload}");
        }
    }
}
