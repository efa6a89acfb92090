//! Connects a bucket that another owner manages with the ingest queue of a stack: adds one notification rule, and keeps
//! all others.
//!
//! S3 replaces the whole notification configuration with each write, and offers no precondition. So a change reads the
//! configuration, writes it with one rule added or removed, and reads it again. If the configuration then differs from
//! the written one, the change fails and names the differences. One race remains: a change that another program makes
//! between the first read and the write, a few tens of milliseconds, is overwritten without an error. The adapter does not
//! retry a write, because a retry would extend this time.

pub mod custom_resource;
mod document;
mod other_account;
mod overlap;
mod s3;
mod xml;

pub use document::{Differences, NotificationDocument, NotificationRule};
pub use other_account::ForeignBucket;
pub use overlap::KeyFilter;
pub use s3::S3Notifications;

use crate::aws::{AwsFailure, FailureKind};
use async_trait::async_trait;
use std::time::Duration;

/// The event type of the rule.
const CREATED: &str = "s3:ObjectCreated:*";

/// ID of the rule that earlier versions of trailhose added.
const EARLIER_ID: &str = "trailhose";

/// The waits before each attempt to read the configuration back. S3's bucket configurations are eventually consistent.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel>
const READ_BACK_WAITS: [Duration; 5] = if cfg!(test) {
    [Duration::ZERO; 5]
} else {
    [Duration::ZERO, Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)]
};

/// The notification configuration of one bucket.
#[async_trait]
pub trait BucketNotifications: Send + Sync {
    /// Returns the name of the bucket.
    fn bucket(&self) -> &str;

    /// Reads the configuration.
    async fn read(&self) -> Result<String, AwsFailure>;

    /// Replaces the configuration, without retries. With `validate`, S3 sends a test message to every target and refuses
    /// the configuration if one of them does not accept it.
    async fn replace(&self, document: &str, validate: bool) -> Result<(), AwsFailure>;
}

/// The rule of a stack: all created objects go to its queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueRule {
    /// ID of the rule, which is unique in the bucket.
    pub id: String,
    /// ARN of the ingest queue.
    pub queue_arn: String,
    /// Prefix of the keys that the rule applies to. Empty for all keys.
    pub prefix: String,
}

impl QueueRule {
    /// Returns the ID of a stack's rule.
    pub fn id_of_stack(stack: &str) -> String {
        format!("trailhose-{stack}")
    }

    fn filter(&self) -> KeyFilter {
        KeyFilter { prefix: self.prefix.clone(), suffix: String::new() }
    }

    /// Returns whether a rule of the bucket was written by this stack. A stack of the same name in another account has
    /// the same ID, but a queue in that account.
    fn owns(&self, rule: &NotificationRule) -> bool {
        let owner = |arn: &str| arn.splitn(6, ':').take(5).map(str::to_owned).collect::<Vec<_>>();
        let is_ours = rule.id == self.id && owner(&rule.target) == owner(&self.queue_arn);
        rule.is_queue && (is_ours || rule.id == EARLIER_ID && rule.target == self.queue_arn)
    }

    /// Returns whether a rule of the bucket sends every notification of this rule to the same queue.
    fn is_covered_by(&self, rule: &NotificationRule) -> bool {
        let has_keys = self.prefix.starts_with(&rule.filter.prefix) && rule.filter.suffix.is_empty();
        rule.target == self.queue_arn && has_keys && rule.events.iter().any(|event| event == CREATED)
    }
}

/// What a change did, or would do in a dry run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireOutcome {
    /// The rule was added.
    Added,
    /// The rule with the same ID, or that of an earlier version, was replaced.
    Replaced,
    /// The rule with this ID already sends the notifications. Nothing was changed.
    AlreadyWired {
        /// ID of the rule.
        id: String,
    },
    /// The bucket's delivery to EventBridge was switched on.
    EventBridgeEnabled,
    /// The bucket already delivers to EventBridge. Nothing was changed.
    EventBridgeAlreadyEnabled,
    /// The rule was removed.
    Removed,
    /// The bucket does not exist or has no such rule. Nothing was changed.
    NothingToRemove,
}

/// Why a bucket was not connected or disconnected.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Other rules apply to the same events. Nothing was changed.
    #[error(
        "bucket {bucket} already sends notifications of created objects elsewhere, and S3 accepts only one rule for an \
         event of a key: {}. Nothing was changed. Alternatives: deploy the stack with Wiring=EventBridge, which works \
         beside every rule; or let one rule publish to an SNS topic, and deploy the stack with Wiring=SNS and \
         SnsTopicArn; or, if the other rule can be limited to other keys, limit it with a prefix filter",
        list(.rules)
    )]
    Conflict {
        /// Name of the bucket.
        bucket: String,
        /// The conflicting rules.
        rules: Vec<NotificationRule>,
    },
    /// A rule of another owner has the ID. Nothing was changed.
    #[error("bucket {bucket} has another rule with the ID {}: {rule}. Nothing was changed. Use another ID (--id)", .rule.id)]
    IdTaken {
        /// Name of the bucket.
        bucket: String,
        /// The rule.
        rule: Box<NotificationRule>,
    },
    /// The configuration that S3 returned cannot be interpreted. Nothing was changed.
    #[error("cannot interpret the notification configuration of bucket {bucket}: {reason}. Nothing was changed")]
    Unreadable {
        /// Name of the bucket.
        bucket: String,
        /// The reason.
        reason: String,
    },
    /// After the write, the configuration differs from what was written.
    #[error(
        "the notifications of bucket {bucket} differ from what was written: {differences}. Another program changed them \
         at the same time, or S3 did not accept a part. Check them with the owners of the other rules, then run \
         the command again"
    )]
    ReadBackDiffers {
        /// Name of the bucket.
        bucket: String,
        /// The differences.
        differences: Differences,
    },
    /// The configuration was written. The one that S3 returned afterwards cannot be interpreted.
    #[error(
        "the notifications of bucket {bucket} were written, but the configuration that S3 returned cannot be interpreted: \
         {reason}. Check it with the owners of the other rules, then run the command again"
    )]
    ReadBackUnreadable {
        /// Name of the bucket.
        bucket: String,
        /// The reason.
        reason: String,
    },
    /// A request failed.
    #[error("{}", request_text(.action, .bucket, .failure, .targets))]
    Request {
        /// Action, such as `s3:GetBucketNotification`.
        action: &'static str,
        /// Name of the bucket.
        bucket: String,
        /// Failure of the request.
        failure: Box<AwsFailure>,
        /// ARNs of all targets of the written configuration.
        targets: Vec<String>,
    },
}

impl WireError {
    /// Returns whether the bucket may contain the new rule although the change failed.
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::ReadBackDiffers { .. } | Self::ReadBackUnreadable { .. } => true,
            Self::Request { action, failure, targets, .. } => {
                *action == PUT && failure.kind == FailureKind::Unknown || *action == GET && !targets.is_empty()
            }
            Self::Conflict { .. } | Self::IdTaken { .. } | Self::Unreadable { .. } => false,
        }
    }
}

const GET: &str = "s3:GetBucketNotification";
const PUT: &str = "s3:PutBucketNotification";

fn list(rules: &[NotificationRule]) -> String {
    rules.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn request_text(action: &str, bucket: &str, failure: &AwsFailure, targets: &[String]) -> String {
    if failure.concerns_credentials() {
        return failure.credentials_text();
    }
    if let Some(advice) = failure.region_advice() {
        return format!("{action} on bucket {bucket} failed: {advice}. {failure}");
    }
    match failure.kind {
        FailureKind::Denied => {
            format!("{}. {failure}", failure.denial_advice(|| format!("allow {action} on bucket {bucket}")))
        }
        FailureKind::NotFound => format!("bucket {bucket} does not exist: check its name. {failure}"),
        FailureKind::Invalid if failure.message.contains("validate the following destination") => format!(
            "S3 cannot send to one of the targets of bucket {bucket} ({}): each must exist, be in the bucket's region, \
             and its policy must allow the bucket to send; a key that encrypts it must allow s3.amazonaws.com. {failure}",
            targets.join(", ")
        ),
        _ => format!("{action} on bucket {bucket} failed: {failure}"),
    }
}

/// Adds the rule of a stack to the bucket. With `dry_run`, only reads.
///
/// # Errors
/// Another rule conflicts, a request failed, or the configuration changed meanwhile.
pub async fn wire_queue(
    bucket: &dyn BucketNotifications,
    rule: &QueueRule,
    dry_run: bool,
) -> Result<WireOutcome, WireError> {
    let before = read(bucket, Vec::new()).await?;
    let (ours, others): (Vec<_>, Vec<_>) = before.rules().partition(|each| rule.owns(each));
    if let Some(taken) = others.iter().find(|other| other.id == rule.id) {
        return Err(WireError::IdTaken { bucket: bucket.bucket().to_owned(), rule: Box::new((*taken).clone()) });
    }
    if let Some(other) = others.iter().find(|other| rule.is_covered_by(other)) {
        return Ok(WireOutcome::AlreadyWired { id: other.id.clone() });
    }
    let filter = rule.filter();
    let conflicts: Vec<_> = others.into_iter().filter(|other| other.conflicts(&filter)).cloned().collect();
    if !conflicts.is_empty() {
        return Err(WireError::Conflict { bucket: bucket.bucket().to_owned(), rules: conflicts });
    }
    let is_current = |each: &&NotificationRule| {
        each.id == rule.id && each.target == rule.queue_arn && each.events == [CREATED] && each.filter == filter
    };
    if let [only] = &ours[..]
        && is_current(only)
    {
        return Ok(WireOutcome::AlreadyWired { id: rule.id.clone() });
    }
    let outcome = if ours.is_empty() { WireOutcome::Added } else { WireOutcome::Replaced };
    if !dry_run {
        let replaced: Vec<&str> = ours.iter().map(|each| each.id.as_str()).collect();
        write(bucket, &before.with_queue_rule(rule, &replaced), true).await?;
    }
    Ok(outcome)
}

/// Switches on the bucket's delivery to EventBridge. With `dry_run`, only reads.
///
/// # Errors
/// A request failed, or the configuration changed meanwhile.
pub async fn wire_event_bridge(bucket: &dyn BucketNotifications, dry_run: bool) -> Result<WireOutcome, WireError> {
    let before = read(bucket, Vec::new()).await?;
    if before.sends_to_event_bridge() {
        return Ok(WireOutcome::EventBridgeAlreadyEnabled);
    }
    if !dry_run {
        // Not validated: the other targets do not change, and an invalid one must not prevent this change.
        write(bucket, &before.with_event_bridge(), false).await?;
    }
    Ok(WireOutcome::EventBridgeEnabled)
}

/// Removes the rule of a stack from the bucket. With `dry_run`, only reads. Rules of others and the delivery to
/// EventBridge are kept.
///
/// # Errors
/// A request failed, or the configuration changed meanwhile. A bucket that does not exist is not an error.
pub async fn unwire_queue(
    bucket: &dyn BucketNotifications,
    rule: &QueueRule,
    dry_run: bool,
) -> Result<WireOutcome, WireError> {
    let before = match read(bucket, Vec::new()).await {
        Err(WireError::Request { failure, .. }) if failure.kind == FailureKind::NotFound => {
            return Ok(WireOutcome::NothingToRemove);
        }
        before => before?,
    };
    let ours: Vec<&str> = before.rules().filter(|each| rule.owns(each)).map(|each| each.id.as_str()).collect();
    if ours.is_empty() {
        return Ok(WireOutcome::NothingToRemove);
    }
    if !dry_run {
        write(bucket, &before.without_rules(&ours), false).await?;
    }
    Ok(WireOutcome::Removed)
}

async fn read(bucket: &dyn BucketNotifications, written: Vec<String>) -> Result<NotificationDocument, WireError> {
    let name = || bucket.bucket().to_owned();
    let xml = bucket.read().await;
    let xml = xml.map_err(|failure| {
        let failure = Box::new(failure);
        WireError::Request { action: GET, bucket: name(), failure, targets: written }
    })?;
    NotificationDocument::parse(xml).map_err(|reason| WireError::Unreadable { bucket: name(), reason })
}

/// Writes the configuration and reads it back.
async fn write(
    bucket: &dyn BucketNotifications,
    document: &NotificationDocument,
    validate: bool,
) -> Result<(), WireError> {
    let targets: Vec<String> = document.rules().map(|rule| rule.target.clone()).collect();
    let written = bucket.replace(document.xml(), validate).await;
    let failed = match written {
        // The write may have taken effect. The configuration shows it.
        Err(failure) if failure.kind == FailureKind::Unknown => Some(failure),
        Err(failure) => {
            let failure = Box::new(failure);
            return Err(WireError::Request { action: PUT, bucket: bucket.bucket().to_owned(), failure, targets });
        }
        Ok(()) => None,
    };
    let mut differences = Differences { missing: Vec::new(), unexpected: Vec::new() };
    for wait in READ_BACK_WAITS {
        tokio::time::sleep(wait).await;
        let read = read(bucket, targets.clone()).await.map_err(|error| match error {
            WireError::Unreadable { bucket, reason } => WireError::ReadBackUnreadable { bucket, reason },
            other => other,
        });
        differences = read?.differences(document);
        if differences.is_empty() {
            return Ok(());
        }
    }
    let bucket = bucket.bucket().to_owned();
    Err(match failed {
        Some(failure) => WireError::Request { action: PUT, bucket, failure: Box::new(failure), targets },
        None => WireError::ReadBackDiffers { bucket, differences },
    })
}

#[cfg(test)]
mod tests;
