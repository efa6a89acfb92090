//! Redrive: returns the messages of a dead-letter queue to the queues that they came from.
//!
//! SQS's own redrive (`StartMessageMoveTask`) does not know the source of a message that the ingest function moved, so
//! it cannot return such a message.

use super::queue_name;
use super::sqs::{attributes, failed};
use super::{OutgoingMessage, QueueError};
use crate::notification::{FIRST_SEEN_ATTRIBUTE, REASON_ATTRIBUTE, SOURCE_ATTRIBUTE};
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use serde::Serialize;
use std::collections::BTreeMap;

/// How long a received message is hidden from other readers of the dead-letter queue.
const VISIBILITY_TIMEOUT_SECONDS: i32 = 120;

/// The maximum number of messages that a dry run reads. With this limit, a dry run ends before its first message
/// becomes visible again.
const MAX_DRY_RUN: u64 = 10_000;

/// The reason of a message that the ingest function did not move.
const NO_REASON: &str = "received too often";

/// Returns messages from one dead-letter queue.
#[derive(Debug)]
pub struct Redrive {
    /// The client of the queue's region.
    pub client: aws_sdk_sqs::Client,
    /// The URL of the dead-letter queue.
    pub dead_letter_url: String,
    /// The URL of the queue to which all messages are sent. Without it, each returns to the queue that it came from.
    pub to: Option<String>,
    /// The maximum number of messages.
    pub max: u64,
    /// Whether the messages are only counted, up to 10,000.
    pub dry_run: bool,
    /// The current time in seconds since 1970. Messages that arrive later are not returned. Otherwise a message that
    /// fails again at once would be returned without end.
    pub now: i64,
}

/// The result of a redrive.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct RedriveReport {
    /// The messages by the name of the queue that they are returned to.
    pub returned: BTreeMap<String, u64>,
    /// The same messages by the reason for which they were given up.
    pub reasons: BTreeMap<String, u64>,
    /// Messages whose source is not known.
    pub without_source: u64,
    /// The approximate number of messages in the dead-letter queue afterwards.
    pub left: u64,
}

impl Redrive {
    /// Returns the messages, or only counts them.
    ///
    /// A message is deleted after its copy was sent. If the program is stopped in between, both exist. This is safe,
    /// because the ledger recognizes an object that is announced twice.
    ///
    /// # Errors
    /// Returns an error if a queue request fails. Messages that were returned before remain returned.
    pub async fn run(&self) -> Result<RedriveReport, QueueError> {
        let mut report = RedriveReport::default();
        let mut kept: Vec<Message> = Vec::new();
        let mut count = 0;
        let max = if self.dry_run { self.max.min(MAX_DRY_RUN) } else { self.max };
        while count < max {
            let mut messages = self.receive(max - count).await?;
            // In a long run, a message that is kept becomes visible again and is received again.
            messages.retain(|message| kept.iter().all(|other| other.message_id != message.message_id));
            if messages.is_empty() {
                break;
            }
            for message in messages {
                if self.is_newer(&message) {
                    kept.push(message);
                    continue;
                }
                count += 1;
                match self.target(&message) {
                    None => {
                        report.without_source += 1;
                        kept.push(message);
                    }
                    Some(url) => {
                        *report.returned.entry(queue_name(&url).to_owned()).or_default() += 1;
                        *report.reasons.entry(reason(&message)).or_default() += 1;
                        match self.dry_run {
                            true => kept.push(message),
                            false => self.return_message(&message, &url).await?,
                        }
                    }
                }
            }
        }
        for message in &kept {
            self.release(message).await;
        }
        report.left = self.remaining_messages().await?;
        Ok(report)
    }

    async fn receive(&self, max: u64) -> Result<Vec<Message>, QueueError> {
        let request = self
            .client
            .receive_message()
            .queue_url(&self.dead_letter_url)
            .visibility_timeout(VISIBILITY_TIMEOUT_SECONDS);
        // A long poll asks all servers of the queue, so an empty response means that no message is visible.
        let request = request.max_number_of_messages(max.min(10) as i32).wait_time_seconds(1);
        let request = request.message_attribute_names("All");
        let answer = request.message_system_attribute_names(MessageSystemAttributeName::All).send().await;
        let answer = answer.map_err(|error| self.failed("sqs:ReceiveMessage", &crate::aws::failure(&error)))?;
        Ok(answer.messages.unwrap_or_default())
    }

    /// Returns whether a message arrived after the start of this redrive.
    fn is_newer(&self, message: &Message) -> bool {
        sent_at(message).is_some_and(|sent| sent > self.now)
    }

    fn target(&self, message: &Message) -> Option<String> {
        let system =
            message.attributes().and_then(|all| all.get(&MessageSystemAttributeName::DeadLetterQueueSourceArn));
        let source = attribute(message, SOURCE_ATTRIBUTE).or(system.map(String::as_str));
        let from_source = || {
            let (before, _) = self.dead_letter_url.rsplit_once('/')?;
            source.map(|arn| format!("{before}/{}", queue_name(arn)))
        };
        self.to.clone().or_else(from_source)
    }

    async fn return_message(&self, message: &Message, url: &str) -> Result<(), QueueError> {
        let first_seen = attribute(message, FIRST_SEEN_ATTRIBUTE).and_then(|seconds| seconds.parse().ok());
        let body = message.body().unwrap_or_default();
        let copy = OutgoingMessage { body, first_seen: first_seen.or(sent_at(message)), ..OutgoingMessage::default() };
        let request = self.client.send_message().queue_url(url).message_body(body);
        let sent = request.set_message_attributes(Some(attributes(&copy)?)).send().await;
        sent.map_err(|error| failed("sqs:SendMessage", url, &crate::aws::failure(&error)))?;
        let request = self.client.delete_message().queue_url(&self.dead_letter_url);
        let deleted = request.receipt_handle(message.receipt_handle().unwrap_or_default()).send().await;
        deleted.map(drop).map_err(|error| self.failed("sqs:DeleteMessage", &crate::aws::failure(&error)))
    }

    /// Makes a message visible again. If this fails, it becomes visible by itself.
    async fn release(&self, message: &Message) {
        let request = self.client.change_message_visibility().queue_url(&self.dead_letter_url).visibility_timeout(0);
        let released = request.receipt_handle(message.receipt_handle().unwrap_or_default()).send().await;
        if let Err(error) = released {
            tracing::debug!(error = %crate::aws::failure(&error), "could not make a message visible again");
        }
    }

    /// Returns the approximate number of messages in the dead-letter queue.
    async fn remaining_messages(&self) -> Result<u64, QueueError> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let request = self.client.get_queue_attributes().queue_url(&self.dead_letter_url);
        let answer = request.set_attribute_names(Some(names.to_vec())).send().await;
        let answer = answer.map_err(|error| self.failed("sqs:GetQueueAttributes", &crate::aws::failure(&error)))?;
        let number = |name| answer.attributes()?.get(name)?.parse::<u64>().ok();
        Ok(names.iter().filter_map(number).sum())
    }

    fn failed(&self, action: &str, failure: &crate::aws::AwsFailure) -> QueueError {
        failed(action, &self.dead_letter_url, failure)
    }
}

fn attribute<'m>(message: &'m Message, name: &str) -> Option<&'m str> {
    message.message_attributes()?.get(name)?.string_value()
}

/// Returns when a message was sent, in seconds since 1970. For a message that SQS moved, this is when the original
/// message was sent.
fn sent_at(message: &Message) -> Option<i64> {
    let ms: i64 = message.attributes()?.get(&MessageSystemAttributeName::SentTimestamp)?.parse().ok()?;
    Some(ms / 1000)
}

/// Returns the reason of a message without the name of its object, so that equal reasons are counted together.
pub(crate) fn reason(message: &Message) -> String {
    let reason = attribute(message, REASON_ATTRIBUTE).unwrap_or(NO_REASON);
    match reason.split_once(": ") {
        Some((object, reason)) if object.starts_with("s3://") => reason.to_owned(),
        _ => reason.to_owned(),
    }
}
