//! The SQS adapter.

use super::{MAX_DELAY, Outbox, OutgoingMessage, Queue, QueueError, Target, UnsentBody, queue_name};
use crate::aws::FailureKind;
use crate::notification::{FIRST_SEEN_ATTRIBUTE, Message, REASON_ATTRIBUTE, SOURCE_ATTRIBUTE};
use async_trait::async_trait;
use aws_sdk_sqs::types::{BatchResultErrorEntry, MessageAttributeValue, SendMessageBatchRequestEntry};
use std::collections::HashMap;
use std::time::Duration;

/// The maximum visibility timeout: 12 hours from the receipt of the message, with a minute as margin.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html>
const MAX_VISIBILITY_TIMEOUT: Duration = Duration::from_secs(12 * 3600 - 60);

/// The maximum length of a reason in characters. A message and its attributes share one size limit.
const MAX_REASON_CHARS: usize = 1_000;

/// The queues of one account and region.
#[derive(Debug, Clone)]
pub struct Sqs {
    client: aws_sdk_sqs::Client,
    /// The URL of the adapter's own queue: the ingest queue, or the queue of the backfill's tasks.
    own_url: String,
}

impl Sqs {
    /// Creates an adapter for the queue at `own_url` (the ingest queue, or the queue of the backfill's tasks) and for
    /// the other queues of its account and region.
    pub fn new(client: aws_sdk_sqs::Client, own_url: String) -> Self {
        Self { client, own_url }
    }

    /// Returns the URL of the queue with this name. The URLs of one account and region differ only in the queue's name.
    fn url(&self, name: &str) -> String {
        self.own_url.rsplit_once('/').map_or_else(|| self.own_url.clone(), |(before, _)| format!("{before}/{name}"))
    }

    fn target_url(&self, target: Target<'_>) -> String {
        match target {
            Target::Url(url) => url.to_owned(),
            // A FIFO queue rejects a message with a delay, so the copy waits in the adapter's own queue.
            Target::SourceOf(Some(message)) if !is_fifo(&message.queue_arn) => self.url(queue_name(&message.queue_arn)),
            Target::SourceOf(_) => self.own_url.clone(),
        }
    }
}

/// Returns whether a queue is a FIFO queue, from its URL or ARN.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-fifo.html>
pub fn is_fifo(queue: &str) -> bool {
    queue.ends_with(".fifo")
}

/// Returns the attributes of a message.
pub(super) fn attributes(message: &OutgoingMessage<'_>) -> Result<HashMap<String, MessageAttributeValue>, QueueError> {
    let first_seen = message.first_seen.map(|seconds| (FIRST_SEEN_ATTRIBUTE, "Number", seconds.to_string()));
    let source = message.source_arn.map(|arn| (SOURCE_ATTRIBUTE, "String", arn.to_owned()));
    let reason = message.reason.map(|reason| (REASON_ATTRIBUTE, "String", attribute_text(reason)));
    let values = [first_seen, source, reason].into_iter().flatten().filter(|(_, _, value)| !value.is_empty());
    let attribute = |(name, kind, value): (&str, &str, String)| {
        let value = MessageAttributeValue::builder().data_type(kind).string_value(value).build();
        Ok((name.to_owned(), value.map_err(|error| QueueError(error.to_string()))?))
    };
    values.map(attribute).collect()
}

/// Returns a text without the characters that an attribute cannot contain, limited in length.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
fn attribute_text(text: &str) -> String {
    let allowed = |character: char| match character {
        '\u{fffe}' | '\u{ffff}' => ' ',
        character if character.is_control() => ' ',
        character => character,
    };
    text.chars().map(allowed).take(MAX_REASON_CHARS).collect()
}

fn limited_seconds(time: Duration, max: Duration) -> i32 {
    i32::try_from(time.min(max).as_secs()).unwrap_or(i32::MAX)
}

#[async_trait]
impl Queue for Sqs {
    async fn hide(&self, message: &Message, time: Duration) -> Result<(), QueueError> {
        let url = self.url(queue_name(&message.queue_arn));
        let request = self.client.change_message_visibility().queue_url(&url).receipt_handle(&message.receipt_handle);
        let sent = request.visibility_timeout(limited_seconds(time, MAX_VISIBILITY_TIMEOUT)).send().await;
        sent.map(drop).map_err(|error| failed("sqs:ChangeMessageVisibility", &url, &crate::aws::failure(&error)))
    }

    async fn send(&self, target: Target<'_>, message: &OutgoingMessage<'_>) -> Result<(), QueueError> {
        let url = self.target_url(target);
        let request = self.client.send_message().queue_url(&url).message_body(message.body);
        let request = request.set_message_attributes(Some(attributes(message)?));
        let sent = request.delay_seconds(limited_seconds(message.delay, MAX_DELAY)).send().await;
        sent.map(drop).map_err(|error| failed("sqs:SendMessage", &url, &crate::aws::failure(&error)))
    }
}

#[async_trait]
impl Outbox for Sqs {
    async fn send_batch(&self, bodies: &[&str]) -> Result<Vec<UnsentBody>, QueueError> {
        let batch_error = |failure: &crate::aws::AwsFailure| failed("sqs:SendMessageBatch", &self.own_url, failure);
        let mut request = self.client.send_message_batch().queue_url(&self.own_url);
        for (index, body) in bodies.iter().enumerate() {
            let entry = SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(*body);
            request = request.entries(entry.build().map_err(|error| QueueError(error.to_string()))?);
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                let failure = crate::aws::failure(&error);
                if failure.is_transient() {
                    return Err(batch_error(&failure));
                }
                // No body was accepted, and a retry cannot succeed.
                let reason = batch_error(&failure).0;
                let unsent_bodies =
                    (0..bodies.len()).map(|index| UnsentBody { index, transient: false, reason: reason.clone() });
                return Ok(unsent_bodies.collect());
            }
        };
        // Only the listed entries were accepted. An index that is missing from the response is sent again.
        let accepted = |index: usize| answer.successful().iter().any(|entry| entry.id() == index.to_string());
        let error_entry = |index: usize| answer.failed().iter().find(|entry| entry.id() == index.to_string());
        let unsent_bodies = (0..bodies.len()).filter(|&index| !accepted(index));
        Ok(unsent_bodies.map(|index| unsent(index, error_entry(index))).collect())
    }

    async fn send_delayed(&self, body: &str, delay: Duration) -> Result<(), QueueError> {
        self.send(Target::SourceOf(None), &OutgoingMessage { body, delay, ..OutgoingMessage::default() }).await
    }
}

fn unsent(index: usize, error_entry: Option<&BatchResultErrorEntry>) -> UnsentBody {
    match error_entry {
        // SQS also reports throttling as a sender fault. An unknown code with a sender fault is permanent.
        Some(entry) => {
            let failure = crate::aws::failure_of_code(entry.code(), entry.message().unwrap_or("no message"));
            UnsentBody {
                index,
                transient: !entry.sender_fault() || failure.kind == FailureKind::Throttled,
                reason: failure.to_string(),
            }
        }
        None => {
            UnsentBody { index, transient: true, reason: "the batch response does not contain this entry".to_owned() }
        }
    }
}

pub(super) fn failed(action: &str, url: &str, failure: &crate::aws::AwsFailure) -> QueueError {
    let text = format!("{action} on {url} failed");
    QueueError(match failure.kind {
        _ if failure.concerns_credentials() => format!("{text}: {}", failure.credentials_text()),
        FailureKind::Denied => {
            // A batch action needs the permission of the single action.
            let permission = action.trim_end_matches("Batch");
            let advice = failure.denial_advice(|| format!("allow {permission} on this queue for this role"));
            format!("{text}: {failure}; {advice}")
        }
        _ => format!("{text}: {failure}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttled_entry_is_transient_also_with_a_sender_fault() {
        for (code, sender_fault, transient) in [
            ("ThrottlingException", true, true),
            ("RequestThrottled", true, true),
            ("KMS.ThrottlingException", true, true),
            ("InternalError", false, true),
            ("InvalidMessageContents", true, false),
        ] {
            let entry = BatchResultErrorEntry::builder().id("0").code(code).sender_fault(sender_fault);
            let unsent = unsent(0, Some(&entry.build().unwrap()));
            assert_eq!(unsent.transient, transient, "{code}: {}", unsent.reason);
        }
        assert!(unsent(0, None).transient, "the response does not contain the entry");
    }
}
