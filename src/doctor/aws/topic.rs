//! Adapters for SNS and EventBridge: subscriptions and rules.

use super::AwsServices;
use crate::doctor::facts::Fact;
use crate::doctor::notification::{EventRule, RuleReader, TopicReader, TopicSubscription};
use async_trait::async_trait;

/// The value that SNS returns instead of the ARN of a subscription that is not confirmed.
/// <https://docs.aws.amazon.com/sns/latest/api/API_ListSubscriptionsByTopic.html>
const PENDING: &str = "PendingConfirmation";

#[async_trait]
impl TopicReader for AwsServices {
    async fn subscriptions(&self, topic: &str) -> Fact<Vec<TopicSubscription>> {
        let region = topic.split(':').nth(3).unwrap_or_default();
        let client = aws_sdk_sns::Client::new(&self.config_in(region));
        let mut found = Vec::new();
        let mut token = None;
        loop {
            let call = client.list_subscriptions_by_topic().topic_arn(topic).set_next_token(token).send();
            let answer = self.ask("sns:ListSubscriptionsByTopic", topic, call).await?;
            // SNS lists a removed subscription for some days, with this text in place of its ARN.
            let existing = answer.subscriptions().iter().filter(|each| each.subscription_arn() != Some("Deleted"));
            found.extend(existing.map(|each| TopicSubscription {
                protocol: each.protocol().unwrap_or_default().to_owned(),
                endpoint: each.endpoint().unwrap_or_default().to_owned(),
                pending: each.subscription_arn().is_none_or(|arn| arn.replace(' ', "").eq_ignore_ascii_case(PENDING)),
            }));
            token = answer.next_token;
            if token.is_none() {
                return Ok(found);
            }
        }
    }
}

#[async_trait]
impl RuleReader for AwsServices {
    async fn rule(&self, name: &str) -> Fact<EventRule> {
        let client = aws_sdk_eventbridge::Client::new(&self.config);
        let rule = self.ask("events:DescribeRule", name, client.describe_rule().name(name).send());
        let targets = self.ask("events:ListTargetsByRule", name, client.list_targets_by_rule().rule(name).send());
        let (rule, targets) = tokio::join!(rule, targets);
        Ok(EventRule {
            enabled: rule?.state().is_some_and(|state| state.as_str().starts_with("ENABLED")),
            targets: targets?.targets().iter().map(|target| target.arn().to_owned()).collect(),
        })
    }
}
