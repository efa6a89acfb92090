//! The SQS adapter.

use super::{Outbox, Queue, QueueError, UnsentBody};
use crate::aws::FailureKind;
use crate::notification::Message;
use async_trait::async_trait;
use aws_sdk_sqs::types::{BatchResultErrorEntry, SendMessageBatchRequestEntry};
use std::time::Duration;

/// The maximum visibility timeout: 12 hours from the receipt of the message, with a minute as margin.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html>
const MAX_VISIBILITY_TIMEOUT: Duration = Duration::from_secs(12 * 3600 - 60);

/// The maximum delay of a message.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
const MAX_DELAY: Duration = Duration::from_secs(900);

/// The queues of one account and region.
#[derive(Debug, Clone)]
pub struct Sqs {
    client: aws_sdk_sqs::Client,
    /// The URL of the ingest queue.
    ingest: String,
}

impl Sqs {
    /// Creates an adapter for the ingest queue at the URL `ingest` and the other queues of its account and region.
    pub fn new(client: aws_sdk_sqs::Client, ingest: String) -> Self {
        Self { client, ingest }
    }

    /// Returns the URL of the queue that a message came from. The URLs of one account and region differ only in the
    /// queue's name, which is also the last part of its ARN.
    fn url(&self, message: Option<&Message>) -> String {
        let name = message.and_then(|message| message.queue_arn.rsplit(':').next());
        match (name, self.ingest.rsplit_once('/')) {
            (Some(name), Some((before, _))) => format!("{before}/{name}"),
            _ => self.ingest.clone(),
        }
    }
}

fn limited_seconds(time: Duration, max: Duration) -> i32 {
    i32::try_from(time.min(max).as_secs()).unwrap_or(i32::MAX)
}

#[async_trait]
impl Queue for Sqs {
    async fn hide(&self, message: &Message, time: Duration) -> Result<(), QueueError> {
        let url = self.url(Some(message));
        let request = self.client.change_message_visibility().queue_url(&url).receipt_handle(&message.receipt_handle);
        let sent = request.visibility_timeout(limited_seconds(time, MAX_VISIBILITY_TIMEOUT)).send().await;
        sent.map(drop).map_err(|error| failed("sqs:ChangeMessageVisibility", &url, &crate::aws::failure(&error)))
    }

    async fn send(&self, body: &str, delay: Duration, source: Option<&Message>) -> Result<(), QueueError> {
        let url = self.url(source);
        let request = self.client.send_message().queue_url(&url).message_body(body);
        let sent = request.delay_seconds(limited_seconds(delay, MAX_DELAY)).send().await;
        sent.map(drop).map_err(|error| failed("sqs:SendMessage", &url, &crate::aws::failure(&error)))
    }
}

#[async_trait]
impl Outbox for Sqs {
    async fn send_batch(&self, bodies: &[&str]) -> Result<Vec<UnsentBody>, QueueError> {
        let action = |failure: &crate::aws::AwsFailure| failed("sqs:SendMessageBatch", &self.ingest, failure);
        let mut request = self.client.send_message_batch().queue_url(&self.ingest);
        for (index, body) in bodies.iter().enumerate() {
            let entry = SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(*body);
            request = request.entries(entry.build().map_err(|error| QueueError(error.to_string()))?);
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                let failure = crate::aws::failure(&error);
                if failure.is_transient() {
                    return Err(action(&failure));
                }
                // No body was accepted, and a retry cannot succeed.
                let reason = action(&failure).0;
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
        self.send(body, delay, None).await
    }
}

fn unsent(index: usize, error_entry: Option<&BatchResultErrorEntry>) -> UnsentBody {
    match error_entry {
        // SQS also reports throttling as a sender fault.
        Some(entry) => {
            let failure = crate::aws::failure_of_code(entry.code(), entry.message().unwrap_or("no message"));
            UnsentBody {
                index,
                transient: !entry.sender_fault() || failure.is_transient(),
                reason: failure.to_string(),
            }
        }
        None => {
            UnsentBody { index, transient: true, reason: "the batch response does not contain this entry".to_owned() }
        }
    }
}

fn failed(action: &str, url: &str, failure: &crate::aws::AwsFailure) -> QueueError {
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
