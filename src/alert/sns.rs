//! An SNS topic.

use super::{AlertDestination, SendOutcome, aws_message, aws_outcome, region_of};
use crate::aws::failure;
use crate::finding::Alert;
use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_sns::types::MessageAttributeValue;

/// The maximum length of a subject in characters (<https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>).
const MAX_SUBJECT: usize = 99;

/// An SNS topic. The attributes `level`, `rule` and `type` of a message can be used in a subscription's filter policy.
#[derive(Debug)]
pub(super) struct Sns {
    name: String,
    topic: String,
    client: aws_sdk_sns::Client,
}

impl Sns {
    pub(super) fn new(name: String, topic: &str, aws: &SdkConfig) -> Self {
        let mut config = aws_sdk_sns::config::Builder::from(aws).retry_config(RetryConfig::disabled());
        if let Some(region) = region_of(topic) {
            config = config.region(region);
        }
        Self { name, topic: topic.to_owned(), client: aws_sdk_sns::Client::from_conf(config.build()) }
    }
}

#[async_trait]
impl AlertDestination for Sns {
    fn name(&self) -> &str {
        &self.name
    }

    async fn send(&self, alert: &Alert, _: i64) -> SendOutcome {
        let attribute = |value: &str| {
            let value = MessageAttributeValue::builder().data_type("String").string_value(value).build();
            value.map_err(|error| SendOutcome::AlertRefused { reason: error.to_string() })
        };
        let mut request =
            self.client.publish().topic_arn(&self.topic).subject(subject(&alert.title())).message(aws_message(alert));
        let rule = alert.rule();
        let attributes = [("level", rule.level.as_str()), ("rule", &rule.id), ("type", alert.kind.message_type())];
        // An attribute must not be empty.
        for (name, value) in attributes.into_iter().filter(|(_, value)| !value.is_empty()) {
            match attribute(value) {
                Ok(value) => request = request.message_attributes(name, value),
                Err(refused) => return refused,
            }
        }
        if self.topic.ends_with(".fifo") {
            request = request.message_group_id(&alert.group).message_deduplication_id(alert.id());
        }
        match request.send().await {
            Ok(_) => SendOutcome::Delivered,
            Err(error) => aws_outcome(&failure(&error)),
        }
    }
}

/// Returns a subject: printable ASCII that starts with a letter, a digit or punctuation.
fn subject(title: &str) -> String {
    let printable = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
    let text: String = title.trim_start().chars().map(printable).take(MAX_SUBJECT).collect();
    if text.is_empty() { "trailhose".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subject_is_short_ascii() {
        assert_eq!(subject("[high] Trail\nstopped ü"), "[high] Trail?stopped ?");
        assert_eq!(subject(&"x".repeat(500)).len(), MAX_SUBJECT);
        assert_eq!(subject(" "), "trailhose");
    }
}
