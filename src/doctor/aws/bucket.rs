//! Adapter for S3: the configuration of a bucket.

use super::AwsServices;
use crate::aws;
use crate::doctor::bucket::BucketReader;
use crate::doctor::facts::{Fact, FactError};
use crate::doctor::notification::{ObjectNotificationRule, ObjectNotifications};
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::types::{
    BucketVersioningStatus, Event, FilterRuleName, NotificationConfigurationFilter, ObjectLockEnabled,
};

impl AwsServices {
    /// Returns a client of the bucket's region. S3 names the region in every response, including redirects and denials.
    pub(super) async fn s3(&self, bucket: &str) -> &Client {
        let client = async || {
            let client = aws::s3(&self.config);
            match tokio::time::timeout(self.limit, bucket_region(&client, bucket)).await {
                Ok(Some(region)) => aws::s3(&self.config_in(&region)),
                _ => client,
            }
        };
        self.s3.get_or_init(client).await
    }
}

async fn bucket_region(client: &Client, bucket: &str) -> Option<String> {
    match client.head_bucket().bucket(bucket).send().await {
        Ok(found) => found.bucket_region().map(str::to_owned),
        Err(SdkError::ServiceError(error)) => error.raw().headers().get("x-amz-bucket-region").map(str::to_owned),
        Err(_) => None,
    }
}

/// Returns `None` if the service answers with `code`, which means that the bucket has no such configuration.
fn optional<T>(answer: Fact<T>, code: &str) -> Fact<Option<T>> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(FactError::Absent { message, .. } | FactError::Unanswered { message, .. }) if message.contains(code) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[async_trait]
impl BucketReader for AwsServices {
    async fn region(&self, bucket: &str) -> Fact<String> {
        let client = aws::s3(&self.config);
        let call = client.head_bucket().bucket(bucket).send();
        let answer = match tokio::time::timeout(self.limit, call).await {
            // A bucket in another region answers with a redirect that names it.
            Ok(Err(SdkError::ServiceError(error))) if error.raw().headers().get("x-amz-bucket-region").is_some() => {
                return Ok(error.raw().headers().get("x-amz-bucket-region").unwrap_or_default().to_owned());
            }
            Ok(answer) => self.ask("s3:ListBucket", bucket, async { answer }).await?,
            Err(_) => self.ask("s3:ListBucket", bucket, client.head_bucket().bucket(bucket).send()).await?,
        };
        // A response without the header comes from an emulator or a gateway, in the configured region.
        let configured = self.config.region().map(ToString::to_string).unwrap_or_default();
        Ok(answer.bucket_region().map_or(configured, str::to_owned))
    }

    async fn versioning(&self, bucket: &str) -> Fact<bool> {
        let call = self.s3(bucket).await.get_bucket_versioning().bucket(bucket).send();
        let answer = self.ask("s3:GetBucketVersioning", bucket, call).await?;
        Ok(answer.status() == Some(&BucketVersioningStatus::Enabled))
    }

    async fn object_lock(&self, bucket: &str) -> Fact<Option<String>> {
        let call = self.s3(bucket).await.get_object_lock_configuration().bucket(bucket).send();
        let answer = self.ask("s3:GetBucketObjectLockConfiguration", bucket, call).await;
        let answer = optional(answer, "ObjectLockConfigurationNotFoundError")?;
        let lock = answer.as_ref().and_then(|answer| answer.object_lock_configuration());
        let Some(lock) = lock.filter(|lock| lock.object_lock_enabled() == Some(&ObjectLockEnabled::Enabled)) else {
            return Ok(None);
        };
        let retention = lock.rule().and_then(|rule| rule.default_retention());
        Ok(Some(match retention {
            None => "enabled without a default retention".to_owned(),
            Some(retention) => {
                let mode = retention.mode().map_or("?", |mode| mode.as_str());
                match (retention.days(), retention.years()) {
                    (Some(days), _) => format!("{mode}, {days} days"),
                    (None, years) => format!("{mode}, {} years", years.unwrap_or_default()),
                }
            }
        }))
    }

    async fn policy(&self, bucket: &str) -> Fact<Option<String>> {
        let call = self.s3(bucket).await.get_bucket_policy().bucket(bucket).send();
        let answer = optional(self.ask("s3:GetBucketPolicy", bucket, call).await, "NoSuchBucketPolicy")?;
        Ok(answer.and_then(|answer| answer.policy))
    }

    async fn encryption_key(&self, bucket: &str) -> Fact<Option<String>> {
        let call = self.s3(bucket).await.get_bucket_encryption().bucket(bucket).send();
        let answer = self.ask("s3:GetEncryptionConfiguration", bucket, call).await;
        let answer = optional(answer, "ServerSideEncryptionConfigurationNotFoundError")?;
        let rules = answer.and_then(|answer| answer.server_side_encryption_configuration).map(|found| found.rules);
        let defaults =
            rules.unwrap_or_default().into_iter().filter_map(|rule| rule.apply_server_side_encryption_by_default);
        let mut with_key = defaults.filter(|default| default.sse_algorithm.as_str().starts_with("aws:kms"));
        // Without an ID, S3 uses the key that AWS manages for it.
        Ok(with_key.next().map(|default| default.kms_master_key_id.unwrap_or_else(|| "alias/aws/s3".to_owned())))
    }

    async fn notifications(&self, bucket: &str) -> Fact<ObjectNotifications> {
        let call = self.s3(bucket).await.get_bucket_notification_configuration().bucket(bucket).send();
        let answer = self.ask("s3:GetBucketNotification", bucket, call).await?;
        let queues = answer.queue_configurations().iter();
        let topics = answer.topic_configurations().iter();
        let functions = answer.lambda_function_configurations().iter();
        let rules = queues
            .map(|each| rule(each.id(), each.queue_arn(), each.events(), each.filter()))
            .chain(topics.map(|each| rule(each.id(), each.topic_arn(), each.events(), each.filter())))
            .chain(functions.map(|each| rule(each.id(), each.lambda_function_arn(), each.events(), each.filter())));
        let event_bridge = answer.event_bridge_configuration().is_some();
        Ok(ObjectNotifications { rules: rules.flatten().collect(), event_bridge })
    }
}

/// Returns a rule, unless it announces no created objects.
fn rule(
    id: Option<&str>,
    target: &str,
    events: &[Event],
    filter: Option<&NotificationConfigurationFilter>,
) -> Option<ObjectNotificationRule> {
    if !events.iter().any(|event| event.as_str().starts_with("s3:ObjectCreated:")) {
        return None;
    }
    let part = |name: FilterRuleName| {
        let rules = filter.and_then(|filter| filter.key()).map(|key| key.filter_rules()).unwrap_or_default();
        let lower = name.as_str().to_ascii_lowercase();
        // S3 accepts `prefix` and returns `Prefix`.
        let found =
            rules.iter().find(|rule| rule.name().is_some_and(|name| name.as_str().to_ascii_lowercase() == lower));
        found.and_then(|rule| rule.value()).unwrap_or_default().to_owned()
    };
    Some(ObjectNotificationRule {
        id: id.unwrap_or("without an ID").to_owned(),
        target: target.to_owned(),
        prefix: part(FilterRuleName::Prefix),
        suffix: part(FilterRuleName::Suffix),
        covers_put: events.iter().any(|event| matches!(event, Event::S3ObjectCreated | Event::S3ObjectCreatedPut)),
    })
}
