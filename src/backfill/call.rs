//! Call: what the backfill function can be called with. Pure.

use super::run::{Request, RequestError};
use crate::notification::{Invocation, Message, NotificationError, invocation};
use serde::Deserialize;

/// What the function is called with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackfillInvocation {
    /// A schedule, or somebody by hand, asks for a run.
    Start(Request),
    /// The queue hands over its tasks.
    Queue(Vec<Message>),
}

/// A payload that is none of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Not a request.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Like a queue's batch, and not one.
    #[error(transparent)]
    Queue(#[from] NotificationError),
    /// The news of an object, which is for the ingest function.
    #[error("expected a backfill request or tasks of the backfill queue, found a notification: send it to ingest")]
    Notification,
}

/// The fields by which payloads are told apart.
#[derive(Deserialize)]
struct PayloadFields {
    #[serde(rename = "Records")]
    records: Option<serde::de::IgnoredAny>,
    source: Option<String>,
    #[serde(rename = "detail-type")]
    detail_type: Option<String>,
}

impl BackfillInvocation {
    /// Reads a payload.
    ///
    /// # Errors
    /// Says why it is none. Nothing of it may then be begun.
    pub fn parse(payload: &str) -> Result<Self, CallError> {
        match serde_json::from_str::<PayloadFields>(payload) {
            Ok(PayloadFields { records: Some(_), .. }) => match invocation(payload)? {
                Invocation::Queue(messages) => Ok(Self::Queue(messages)),
                Invocation::Direct(_) => Err(CallError::Notification),
            },
            // What EventBridge sends from a schedule or a rule that was given no payload of its own.
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
    fn a_schedule_a_person_and_a_queue_are_told_apart() {
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
            panic!("not a start")
        };
        assert!(request.dry_run);
        let record =
            r#"{"messageId":"1","receiptHandle":"r","body":"b","eventSource":"aws:sqs","eventSourceARN":"a:q"}"#;
        let Ok(BackfillInvocation::Queue(messages)) =
            BackfillInvocation::parse(&format!(r#"{{"Records":[{record}]}}"#))
        else {
            panic!("not a queue's")
        };
        assert_eq!(messages[0].body, "b");
    }

    #[test]
    fn what_is_none_of_them_begins_no_run() {
        let of_an_object = r#"{"version":"0","detail-type":"Object Created","source":"aws.s3","detail":{}}"#;
        let foreign = r#"{"detail-type":"Scheduled Event","source":"made.up"}"#;
        let mixed = r#"{"Records":[{"eventSource":"aws:sqs"},{"eventSource":"aws:s3"}]}"#;
        for payload in ["", "null", "[]", "7", r#""{}""#, r#"{"Records":[]}"#, of_an_object, foreign, mixed] {
            assert!(BackfillInvocation::parse(payload).is_err(), "{payload}");
        }
    }
}
