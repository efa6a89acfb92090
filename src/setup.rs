//! Reads how an account's trails and buckets are configured, and proposes the parameters of a stack. Read-only.
//!
//! [`inspect`] reads the account through the trait [`AccountReader`]. A denied request does not stop it: the permission is
//! named, and the proposal says what is not known. [`Proposal`] determines the parameters from the result, without I/O.

mod aws_account;
mod inspection;
mod proposal;
mod samconfig;

pub use aws_account::AwsAccount;
pub use inspection::{FoundBucket, Inspection, TrailSummary, inspect};
pub use proposal::{Proposal, ProposedWiring};

use crate::aws::AwsFailure;
use async_trait::async_trait;

/// The account and the partition of the credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerAccount {
    /// Account ID.
    pub account: String,
    /// Partition, such as `aws`.
    pub partition: String,
}

/// The key that encrypts a bucket's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketKey {
    /// ARN of the key.
    pub arn: String,
    /// Whether the key is enabled.
    pub is_enabled: bool,
}

/// Reads an account. Each method calls the API operation that its documentation names, `owns` up to twice.
#[async_trait]
pub trait AccountReader: Send + Sync {
    /// `sts:GetCallerIdentity`, which needs no permission.
    async fn caller(&self) -> Result<CallerAccount, AwsFailure>;

    /// `cloudtrail:DescribeTrails`, with the trails of other regions and of the organization.
    async fn trails(&self) -> Result<Vec<TrailSummary>, AwsFailure>;

    /// `cloudtrail:GetTrailStatus`: whether the trail records events.
    async fn is_logging(&self, trail: &TrailSummary) -> Result<bool, AwsFailure>;

    /// `organizations:DescribeOrganization`: the ID of the organization, or `None` if the account belongs to none.
    async fn organization(&self) -> Result<Option<String>, AwsFailure>;

    /// `s3:HeadBucket` without an expected owner: the region of the bucket.
    async fn bucket_region(&self, bucket: &str) -> Result<Option<String>, AwsFailure>;

    /// `s3:HeadBucket` with an expected owner: whether `account` owns the bucket. Needs `s3:ListBucket`.
    async fn owns(&self, bucket: &str, region: &str, account: &str) -> Result<bool, AwsFailure>;

    /// `s3:GetBucketNotificationConfiguration`, as the document that S3 returns.
    async fn notifications(&self, bucket: &str, region: &str) -> Result<String, AwsFailure>;

    /// `s3:GetBucketEncryption`: the ID or ARN of the default KMS key, if there is one.
    async fn default_key(&self, bucket: &str, region: &str) -> Result<Option<String>, AwsFailure>;

    /// `s3:GetBucketPolicyStatus`: whether the bucket is public.
    async fn is_public(&self, bucket: &str, region: &str) -> Result<bool, AwsFailure>;

    /// `kms:DescribeKey`.
    async fn key(&self, key: &str, region: &str) -> Result<BucketKey, AwsFailure>;
}
