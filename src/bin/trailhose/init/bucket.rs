//! Reads a bucket's configuration: region, organization folders and notification targets. If access is denied, the
//! missing permission is reported.

use super::SetupCheck;
use super::trails::Trail;
use crate::components::Aws;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_bucket_notification_configuration::GetBucketNotificationConfigurationOutput as Notifications;
use aws_sdk_s3::types::Event;
use trailhose::aws::{self, AwsFailure, FailureKind};

/// Start of the IDs of trailhose's notifications, as set by `trailhose wire` and by a stack.
const NOTIFICATION_ID: &str = "trailhose";

/// Configuration of a bucket.
pub(super) struct BucketReport {
    /// Region of the bucket, if it differs from the configured region.
    pub(super) region: Option<String>,
    /// Organizations that have folders in it.
    pub(super) organizations: Vec<String>,
    listed: Result<(), AwsFailure>,
    notified: Result<NotificationTargets, AwsFailure>,
}

/// Targets of a bucket's notifications about new objects.
#[derive(Debug, Default, PartialEq, Eq)]
struct NotificationTargets {
    /// The queue of trailhose's own notification.
    ours: Option<String>,
    event_bridge: bool,
    topic: Option<String>,
    /// A queue or function that does not belong to trailhose.
    other: Option<String>,
}

impl BucketReport {
    pub(super) async fn inspect(aws: &Aws, bucket: &str, prefix: &str) -> Result<Self, String> {
        let configured = aws.config().await?;
        let actual = region(&aws::s3(configured), bucket).await;
        let region = actual.filter(|region| configured.region().is_none_or(|configured| configured.as_ref() != region));
        let client = match &region {
            Some(region) => aws::s3(&aws.config_in(region).await?),
            None => aws::s3(configured),
        };
        let (listed, organizations) = match organizations(&client, bucket, prefix).await {
            Ok(found) => (Ok(()), found),
            Err(failure) => (Err(failure), Vec::new()),
        };
        let notified = client.get_bucket_notification_configuration().bucket(bucket).send().await;
        let notified = notified.map(|found| notification_targets(&found)).map_err(|error| aws::failure(&error));
        Ok(Self { region, organizations, listed, notified })
    }

    /// Returns the requirements of ingestion and their setup steps.
    pub(super) fn checks(&self, bucket: &str, trails: &[Trail]) -> Vec<SetupCheck> {
        let mut all = Vec::new();
        if let Err(failure) = &self.listed {
            all.push(SetupCheck {
                found: format!("cannot list the bucket: {failure}"),
                to_do: Some(match failure.kind {
                    FailureKind::NotFound => "check the trail: it writes to a bucket that does not exist".into(),
                    _ => format!(
                        "allow s3:ListBucket on {bucket} and s3:GetObject on its objects for the role that runs \
                         trailhose sync (bucket of another account: infra/log-bucket-policy.json)"
                    ),
                }),
            });
        }
        let topic = trails.iter().find_map(|trail| trail.sns_topic.as_deref());
        all.push(self.notifications(bucket, topic));
        for key in keys(trails) {
            all.push(SetupCheck {
                found: format!("encrypted with {key}"),
                to_do: Some(format!(
                    "sam deploy --parameter-overrides LogBucketKeyArn={key}; a key of another account also requires \
                     infra/log-key-policy.json"
                )),
            });
        }
        all
    }

    fn notifications(&self, bucket: &str, topic: Option<&str>) -> SetupCheck {
        let done = |found: String| SetupCheck { found, to_do: None };
        let missing = |found: String, to_do: String| SetupCheck { found, to_do: Some(to_do) };
        match &self.notified {
            Err(failure) if failure.kind == FailureKind::Denied => missing(
                format!("cannot read its notifications: {failure}"),
                format!("allow s3:GetBucketNotification on {bucket}, and rerun trailhose init --force"),
            ),
            Err(failure) => missing(
                format!("cannot read its notifications: {failure}"),
                "fix the problem and rerun trailhose init --force".into(),
            ),
            Ok(NotificationTargets { ours: Some(queue), .. }) => done(format!("notifies {queue}")),
            Ok(NotificationTargets { event_bridge: true, .. }) => {
                missing("notifies EventBridge".into(), "sam deploy --parameter-overrides Wiring=EventBridge".into())
            }
            Ok(NotificationTargets { topic: Some(topic), .. }) => missing(
                format!("notifies the topic {topic}"),
                format!("sam deploy --parameter-overrides Wiring=SNS SnsTopicArn={topic}"),
            ),
            Ok(NotificationTargets { other: Some(other), .. }) => missing(
                format!("its notifications go to {other}"),
                format!("sam deploy --parameter-overrides LogBucketName={bucket} Wiring=EventBridge WireBucket=true"),
            ),
            Ok(_) => match topic {
                Some(topic) => missing(
                    format!("no notifications, but CloudTrail announces its files on {topic}"),
                    format!("sam deploy --parameter-overrides Wiring=SNS SnsTopicArn={topic}"),
                ),
                None => missing(
                    "no notifications".into(),
                    format!("sam deploy --parameter-overrides LogBucketName={bucket} WireBucket=true"),
                ),
            },
        }
    }
}

/// Returns the KMS keys of the trails, without duplicates.
pub(super) fn keys(trails: &[Trail]) -> Vec<&str> {
    let mut keys: Vec<&str> = trails.iter().filter_map(|trail| trail.kms_key.as_deref()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Returns the region of a bucket. S3 sends it in every response, including redirects and denials.
async fn region(client: &Client, bucket: &str) -> Option<String> {
    match client.head_bucket().bucket(bucket).send().await {
        Ok(found) => found.bucket_region().map(str::to_owned),
        Err(SdkError::ServiceError(error)) => error.raw().headers().get("x-amz-bucket-region").map(str::to_owned),
        Err(_) => None,
    }
}

/// Returns the folders `o-…/` below `AWSLogs/`. DescribeTrails does not return the organization of a trail, but its folder
/// is named after it.
async fn organizations(client: &Client, bucket: &str, prefix: &str) -> Result<Vec<String>, AwsFailure> {
    let logs = if prefix.is_empty() { "AWSLogs/".to_owned() } else { format!("{prefix}/AWSLogs/") };
    let mut pages = client.list_objects_v2().bucket(bucket).prefix(&logs).delimiter("/").into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| aws::failure(&error))?;
        let names = page.common_prefixes().iter().filter_map(|folder| folder.prefix()?.strip_prefix(&logs));
        found.extend(names.map(|name| name.trim_end_matches('/').to_owned()).filter(|name| name.starts_with("o-")));
    }
    Ok(found)
}

fn notification_targets(found: &Notifications) -> NotificationTargets {
    let created = |events: &[Event]| events.iter().any(|event| event.as_str().starts_with("s3:ObjectCreated:"));
    let mut targets = NotificationTargets {
        event_bridge: found.event_bridge_configuration().is_some(),
        ..NotificationTargets::default()
    };
    for queue in found.queue_configurations().iter().filter(|queue| created(queue.events())) {
        let to = if queue.id().is_some_and(|id| id.starts_with(NOTIFICATION_ID)) {
            &mut targets.ours
        } else {
            &mut targets.other
        };
        *to = Some(queue.queue_arn().to_owned());
    }
    for topic in found.topic_configurations().iter().filter(|topic| created(topic.events())) {
        targets.topic = Some(topic.topic_arn().to_owned());
    }
    for function in found.lambda_function_configurations().iter().filter(|function| created(function.events())) {
        targets.other = Some(function.lambda_function_arn().to_owned());
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::types::{EventBridgeConfiguration, LambdaFunctionConfiguration, TopicConfiguration};

    fn check_text(found: &Notifications) -> (String, String) {
        let bucket = BucketReport {
            region: None,
            organizations: Vec::new(),
            listed: Ok(()),
            notified: Ok(notification_targets(found)),
        };
        let check = bucket.notifications("logs", None);
        (check.found, check.to_do.unwrap_or_default())
    }

    #[test]
    fn existing_notifications_determine_the_setup_step() {
        let function =
            LambdaFunctionConfiguration::builder().lambda_function_arn("arn:f").events(Event::S3ObjectCreatedPut);
        let in_use = Notifications::builder().lambda_function_configurations(function.build().unwrap());
        let (found, to_do) = check_text(&in_use.clone().build());
        assert_eq!(found, "its notifications go to arn:f");
        assert!(to_do.ends_with("LogBucketName=logs Wiring=EventBridge WireBucket=true"), "{to_do}");
        let topic = TopicConfiguration::builder().topic_arn("arn:t").events(Event::S3ObjectCreated).build().unwrap();
        assert!(
            check_text(&in_use.clone().topic_configurations(topic).build()).1.ends_with("Wiring=SNS SnsTopicArn=arn:t")
        );
        let bridge = EventBridgeConfiguration::builder().build();
        assert!(check_text(&in_use.event_bridge_configuration(bridge).build()).1.ends_with("Wiring=EventBridge"));
        let removed = TopicConfiguration::builder().topic_arn("arn:t").events(Event::S3ObjectRemoved).build().unwrap();
        let others = Notifications::builder().topic_configurations(removed).build();
        assert_eq!(check_text(&others).0, "no notifications", "notifications about removed objects do not count");
    }
}
