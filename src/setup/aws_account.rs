//! Reads an account through the AWS SDK.

use super::{AccountReader, BucketKey, CallerAccount, TrailSummary};
use crate::aws::{self, AwsFailure, FailureKind, failure};
use crate::wire::{BucketNotifications, S3Notifications};
use async_trait::async_trait;
use aws_config::{Region, SdkConfig};
use aws_sdk_s3::error::SdkError;

/// The account of the credentials of a configuration.
#[derive(Debug, Clone)]
pub struct AwsAccount(SdkConfig);

impl AwsAccount {
    /// Returns the account of `config`, whose region decides which single-region trails are visible.
    pub fn new(config: SdkConfig) -> Self {
        Self(config)
    }

    fn config_in(&self, region: &str) -> SdkConfig {
        self.0.to_builder().region(Region::new(region.to_owned())).build()
    }

    fn s3_in(&self, region: &str) -> aws_sdk_s3::Client {
        aws::s3(&self.config_in(region))
    }
}

#[async_trait]
impl AccountReader for AwsAccount {
    async fn caller(&self) -> Result<CallerAccount, AwsFailure> {
        let answer = aws_sdk_sts::Client::new(&self.0).get_caller_identity().send().await;
        let answer = answer.map_err(|error| failure(&error))?;
        let partition = answer.arn().and_then(|arn| arn.split(':').nth(1)).unwrap_or("aws");
        Ok(CallerAccount { account: answer.account().unwrap_or_default().into(), partition: partition.into() })
    }

    async fn trails(&self) -> Result<Vec<TrailSummary>, AwsFailure> {
        let client = aws_sdk_cloudtrail::Client::new(&self.0);
        let answer =
            client.describe_trails().include_shadow_trails(true).send().await.map_err(|error| failure(&error))?;
        let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        let here = self.0.region().map(ToString::to_string).unwrap_or_default();
        let summary = |trail: &aws_sdk_cloudtrail::types::Trail| {
            Some(TrailSummary {
                arn: text(trail.trail_arn())?,
                name: text(trail.name())?,
                home_region: text(trail.home_region()).unwrap_or_else(|| here.clone()),
                is_organization: trail.is_organization_trail() == Some(true),
                is_multi_region: trail.is_multi_region_trail() == Some(true),
                bucket: text(trail.s3_bucket_name())?,
                prefix: trail.s3_key_prefix().unwrap_or_default().trim_end_matches('/').to_owned(),
                key: text(trail.kms_key_id()),
                topic: text(trail.sns_topic_arn()),
                is_logging: None,
            })
        };
        Ok(answer.trail_list().iter().filter_map(summary).collect())
    }

    async fn is_logging(&self, trail: &TrailSummary) -> Result<bool, AwsFailure> {
        let client = aws_sdk_cloudtrail::Client::new(&self.config_in(&trail.home_region));
        let answer = client.get_trail_status().name(&trail.arn).send().await;
        answer.map(|status| status.is_logging() == Some(true)).map_err(|error| failure(&error))
    }

    async fn organization(&self) -> Result<Option<String>, AwsFailure> {
        let answer = aws_sdk_organizations::Client::new(&self.0).describe_organization().send().await;
        match answer {
            Ok(answer) => Ok(answer.organization().and_then(|organization| organization.id()).map(str::to_owned)),
            Err(error) => match failure(&error) {
                failure if failure.code.ends_with("AWSOrganizationsNotInUseException") => Ok(None),
                failure => Err(failure),
            },
        }
    }

    async fn bucket_region(&self, bucket: &str) -> Result<Option<String>, AwsFailure> {
        match aws::s3(&self.0).head_bucket().bucket(bucket).send().await {
            Ok(found) => {
                let here = || self.0.region().map(ToString::to_string);
                Ok(found.bucket_region().map(str::to_owned).or_else(here))
            }
            // S3 names the region also in redirects and denials.
            Err(SdkError::ServiceError(error)) if error.raw().headers().get("x-amz-bucket-region").is_some() => {
                Ok(error.raw().headers().get("x-amz-bucket-region").map(str::to_owned))
            }
            Err(error) => Err(failure(&error)),
        }
    }

    async fn owns(&self, bucket: &str, region: &str, account: &str) -> Result<bool, AwsFailure> {
        let client = self.s3_in(region);
        let expected = client.head_bucket().bucket(bucket).expected_bucket_owner(account).send().await;
        let Err(error) = expected else { return Ok(true) };
        let refused = failure(&error);
        if refused.kind != FailureKind::Denied {
            return Err(refused);
        }
        // The response is the same if the caller may not access the bucket at all.
        match client.head_bucket().bucket(bucket).send().await {
            Ok(_) => Ok(false),
            Err(error) => Err(failure(&error)),
        }
    }

    async fn notifications(&self, bucket: &str, region: &str) -> Result<String, AwsFailure> {
        S3Notifications::new(self.s3_in(region), bucket).read().await
    }

    async fn default_key(&self, bucket: &str, region: &str) -> Result<Option<String>, AwsFailure> {
        let answer = self.s3_in(region).get_bucket_encryption().bucket(bucket).send().await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => match failure(&error) {
                failure if failure.code == "ServerSideEncryptionConfigurationNotFoundError" => return Ok(None),
                failure => return Err(failure),
            },
        };
        let rules = answer.server_side_encryption_configuration().map(|rules| rules.rules()).unwrap_or_default();
        let defaults = rules.iter().filter_map(|rule| rule.apply_server_side_encryption_by_default());
        Ok(defaults.filter_map(|default| default.kms_master_key_id()).map(str::to_owned).next())
    }

    async fn is_public(&self, bucket: &str, region: &str) -> Result<bool, AwsFailure> {
        match self.s3_in(region).get_bucket_policy_status().bucket(bucket).send().await {
            Ok(answer) => Ok(answer.policy_status().and_then(|status| status.is_public()) == Some(true)),
            Err(error) => match failure(&error) {
                failure if failure.code == "NoSuchBucketPolicy" => Ok(false),
                failure => Err(failure),
            },
        }
    }

    async fn key(&self, key: &str, region: &str) -> Result<BucketKey, AwsFailure> {
        let client = aws_sdk_kms::Client::new(&self.config_in(region));
        let answer = client.describe_key().key_id(key).send().await.map_err(|error| failure(&error))?;
        let described = answer.key_metadata();
        let arn = described.and_then(|key| key.arn()).unwrap_or(key).to_owned();
        Ok(BucketKey { arn, is_enabled: described.is_some_and(|key| key.enabled()) })
    }
}
