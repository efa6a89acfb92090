//! SQS.

use super::{Queue, QueueError};
use crate::notification::Message;
use async_trait::async_trait;
use std::time::Duration;

/// The longest a message can be hidden: 12 hours from its receipt.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html>
const LONGEST_HIDE: Duration = Duration::from_secs(12 * 3600 - 60);

/// The longest a message can be delayed.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
const LONGEST_DELAY: Duration = Duration::from_secs(900);

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
        let sent = request.visibility_timeout(seconds(time, LONGEST_HIDE)).send().await;
        sent.map(drop).map_err(|error| failed("sqs:ChangeMessageVisibility", &url, &crate::aws::failure(&error)))
    }

    async fn send(&self, body: &str, delay: Duration, beside: Option<&Message>) -> Result<(), QueueError> {
        let url = self.url(beside);
        let request = self.client.send_message().queue_url(&url).message_body(body);
        let sent = request.delay_seconds(seconds(delay, LONGEST_DELAY)).send().await;
        sent.map(drop).map_err(|error| failed("sqs:SendMessage", &url, &crate::aws::failure(&error)))
    }
}

fn failed(action: &str, url: &str, failure: &crate::aws::Failure) -> QueueError {
    QueueError(format!("{action} on {url}: {failure}"))
}
