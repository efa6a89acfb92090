//! Adapter for SQS: attributes of queues, and the reasons of dead letters.

use super::AwsServices;
use crate::doctor::facts::Fact;
use crate::doctor::queue::{QueueFacts, QueueReader};
use crate::notification::REASON_ATTRIBUTE;
use crate::queue::redrive::reason;
use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName as Name;

/// Messages whose reason is read: one request.
const PEEKED: i32 = 10;

#[async_trait]
impl QueueReader for AwsServices {
    async fn queue(&self, url: &str) -> Fact<QueueFacts> {
        let client = Client::new(&self.config);
        let call = client.get_queue_attributes().queue_url(url).attribute_names(Name::All).send();
        let answer = self.ask("sqs:GetQueueAttributes", url, call).await?;
        let text = |name: Name| answer.attributes()?.get(&name).map(String::as_str).filter(|value| !value.is_empty());
        let number = |name| text(name).and_then(|value| value.parse::<u64>().ok()).unwrap_or(0);
        let redrive =
            text(Name::RedrivePolicy).and_then(|policy| serde_json::from_str::<serde_json::Value>(policy).ok());
        Ok(QueueFacts {
            policy: text(Name::Policy).map(str::to_owned),
            dead_letter_arn: redrive.and_then(|policy| policy["deadLetterTargetArn"].as_str().map(str::to_owned)),
            encrypted: text(Name::SqsManagedSseEnabled) == Some("true") || text(Name::KmsMasterKeyId).is_some(),
            visible: number(Name::ApproximateNumberOfMessages),
            hidden: number(Name::ApproximateNumberOfMessagesNotVisible)
                + number(Name::ApproximateNumberOfMessagesDelayed),
        })
    }

    async fn dead_letter_reasons(&self, url: &str) -> Fact<Vec<String>> {
        let client = Client::new(&self.config);
        // With a visibility timeout of zero, the messages are not hidden from other readers.
        let call = client.receive_message().queue_url(url).visibility_timeout(0).max_number_of_messages(PEEKED);
        let answer = self.ask("sqs:ReceiveMessage", url, call.message_attribute_names(REASON_ATTRIBUTE).send()).await?;
        Ok(answer.messages().iter().map(reason).collect())
    }
}
