//! SQS.

use super::{Outbox, Queue, QueueError, UnsentBody};
use crate::aws::FailureKind;
use crate::notification::Message;
use async_trait::async_trait;
use aws_sdk_sqs::types::{BatchResultErrorEntry, SendMessageBatchRequestEntry};
use std::time::Duration;

/// The longest a message can be hidden: 12 hours from its receipt.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html>
const MAX_VISIBILITY_TIMEOUT: Duration = Duration::from_secs(12 * 3600 - 60);

/// The longest a message can be delayed.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
const MAX_DELAY: Duration = Duration::from_secs(900);

/// Queues of one account and region.
#[derive(Debug, Clone)]
pub struct Sqs {
    client: aws_sdk_sqs::Client,
    /// URL of the ingest queue.
    ingest: String,
}

impl Sqs {
    /// Queues beside the one at `ingest`, a queue URL.
    pub fn new(client: aws_sdk_sqs::Client, ingest: String) -> Self {
        Self { client, ingest }
    }

    /// A queue's URL differs from its neighbour's in the last part only, which is the last part of its ARN too.
    fn url(&self, message: Option<&Message>) -> String {
        let name = message.and_then(|message| message.queue_arn.rsplit(':').next());
        match (name, self.ingest.rsplit_once('/')) {
            (Some(name), Some((before, _))) => format!("{before}/{name}"),
            _ => self.ingest.clone(),
        }
    }
}

fn seconds(time: Duration, longest: Duration) -> i32 {
    i32::try_from(time.min(longest).as_secs()).unwrap_or(i32::MAX)
}

#[async_trait]
impl Queue for Sqs {
    async fn hide(&self, message: &Message, time: Duration) -> Result<(), QueueError> {
        let url = self.url(Some(message));
        let request = self.client.change_message_visibility().queue_url(&url).receipt_handle(&message.receipt_handle);
        let sent = request.visibility_timeout(seconds(time, MAX_VISIBILITY_TIMEOUT)).send().await;
        sent.map(drop).map_err(|error| failed("sqs:ChangeMessageVisibility", &url, &crate::aws::failure(&error)))
    }

    async fn send(&self, body: &str, delay: Duration, beside: Option<&Message>) -> Result<(), QueueError> {
        let url = self.url(beside);
        let request = self.client.send_message().queue_url(&url).message_body(body);
        let sent = request.delay_seconds(seconds(delay, MAX_DELAY)).send().await;
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
                // Nothing of it was accepted, and nothing would be on another attempt.
                let reason = action(&failure).0;
                let missed =
                    (0..bodies.len()).map(|index| UnsentBody { index, transient: false, reason: reason.clone() });
                return Ok(missed.collect());
            }
        };
        // Only what is named as accepted was: an index that the answer leaves out is sent again.
        let accepted = |index: usize| answer.successful().iter().any(|entry| entry.id() == index.to_string());
        let refusal = |index: usize| answer.failed().iter().find(|entry| entry.id() == index.to_string());
        let missed = (0..bodies.len()).filter(|&index| !accepted(index));
        Ok(missed.map(|index| unsent(index, refusal(index))).collect())
    }
}

fn unsent(index: usize, refusal: Option<&BatchResultErrorEntry>) -> UnsentBody {
    match refusal {
        // Throttling is reported as the sender's fault too.
        Some(entry) => {
            let failure = crate::aws::failure_of_code(entry.code(), entry.message().unwrap_or("no message"));
            UnsentBody {
                index,
                transient: !entry.sender_fault() || failure.is_transient(),
                reason: failure.to_string(),
            }
        }
        None => UnsentBody { index, transient: true, reason: "the answer to the batch does not name it".to_owned() },
    }
}

fn failed(action: &str, url: &str, failure: &crate::aws::AwsFailure) -> QueueError {
    let text = format!("{action} on {url}: {failure}");
    QueueError(match failure.kind {
        FailureKind::Denied => {
            // A batch needs the permission of what it is a batch of.
            let permission = action.trim_end_matches("Batch");
            format!("{text}; allow {permission} on this queue for the role that runs this")
        }
        _ => text,
    })
}
