//! Determines the parameters of a stack from an inspection. Pure.

use super::inspection::{FoundBucket, Inspection};
use crate::wire::{KeyFilter, NotificationRule, QueueRule};

/// The parameters of a stack, each with its reason where it is not obvious.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Name of the stack.
    pub stack: String,
    /// Region of the bucket and the stack.
    pub region: String,
    /// Name of the bucket.
    pub bucket: String,
    /// The trails that write to the bucket, for a comment.
    pub bucket_reason: String,
    /// Account of the bucket, if it is another account.
    pub bucket_account: Option<String>,
    /// Whether `bucket_account` is only assumed, because the trails belong to it.
    pub is_account_assumed: bool,
    /// Prefix before `AWSLogs/`. Empty if there is none.
    pub prefix: String,
    /// ARN of the key of the objects.
    pub key_arn: Option<String>,
    /// How notifications reach the queue.
    pub wiring: ProposedWiring,
    /// Reason for `wiring`.
    pub wiring_reason: String,
    /// Whether the stack adds the notification to the bucket itself.
    pub wires_bucket: bool,
    /// Email address for alarms.
    pub alarm_email: Option<String>,
}

/// The parameter `Wiring`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposedWiring {
    /// The bucket notifies the queue.
    S3,
    /// The bucket sends its events to EventBridge, and a rule sends them to the queue.
    EventBridge,
    /// The queue subscribes to a topic.
    Sns {
        /// ARN of the topic.
        topic: String,
    },
}

impl ProposedWiring {
    /// Returns the value of the parameter.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::S3 => "S3",
            Self::EventBridge => "EventBridge",
            Self::Sns { .. } => "SNS",
        }
    }
}

impl Proposal {
    /// Returns the proposal for a bucket. `region` is used if the bucket's region is not known.
    pub fn new(found: &Inspection, bucket: &FoundBucket, stack: &str, region: &str) -> Self {
        let region = bucket.region.clone().unwrap_or_else(|| region.to_owned());
        let (wiring, wiring_reason) = wiring(bucket, stack, &region);
        let is_foreign = bucket.is_own == Some(false);
        Self {
            stack: stack.to_owned(),
            bucket: bucket.name.clone(),
            bucket_reason: bucket_reason(found, bucket),
            bucket_account: is_foreign.then(|| account_of_trails(bucket)).flatten(),
            is_account_assumed: true,
            prefix: bucket.prefix.clone(),
            key_arn: bucket.key.clone().flatten().map(|key| key.arn),
            // If the owner is not known, the bucket may be one that the stack must not change.
            wires_bucket: bucket.is_own == Some(true) && !matches!(wiring, ProposedWiring::Sns { .. }),
            wiring,
            wiring_reason,
            region,
            alarm_email: None,
        }
    }

    /// Returns whether the account of the bucket must be named by the user.
    pub fn lacks_account(&self, bucket: &FoundBucket) -> bool {
        bucket.is_own == Some(false) && self.bucket_account.is_none()
    }
}

/// Returns the account of the trails, if all of them belong to one account. The bucket can belong to another account, so
/// the result is an assumption.
fn account_of_trails(bucket: &FoundBucket) -> Option<String> {
    let mut accounts = bucket.trails.iter().filter_map(|trail| trail.arn.split(':').nth(4));
    let first = accounts.next()?;
    accounts.all(|account| account == first).then(|| first.to_owned())
}

fn bucket_reason(found: &Inspection, bucket: &FoundBucket) -> String {
    let trails: Vec<String> = bucket
        .trails
        .iter()
        .map(|trail| {
            let kind = match (trail.is_organization, trail.is_multi_region) {
                (true, _) => "organization trail",
                (false, true) => "multi-region trail",
                (false, false) => "single-region trail",
            };
            format!("{kind} {}, home {}", trail.name, trail.home_region)
        })
        .collect();
    let organization = match &found.organization {
        Some(id) if bucket.trails.iter().any(|trail| trail.is_organization) => format!(" ({id})"),
        _ => String::new(),
    };
    match trails.is_empty() {
        true => "named on the command line".to_owned(),
        false => format!("{}{organization}", trails.join("; ")),
    }
}

fn wiring(bucket: &FoundBucket, stack: &str, region: &str) -> (ProposedWiring, String) {
    if bucket.is_own == Some(false) {
        return foreign_wiring(bucket, region);
    }
    let Some(document) = &bucket.notifications else {
        let reason = "the notifications of the bucket could not be read; if the bucket already has one for created objects, use \
                      EventBridge";
        return (ProposedWiring::S3, reason.to_owned());
    };
    let own = QueueRule::id_of_stack(stack);
    let is_conflict = |rule: &&NotificationRule| rule.id != own && rule.conflicts(&KeyFilter::default());
    if let Some(rule) = document.rules().find(is_conflict) {
        return (
            ProposedWiring::EventBridge,
            format!("{rule} already uses the events, and S3 accepts only one rule for an event of a key"),
        );
    }
    if document.rules().any(|rule| rule.id == own) {
        return (ProposedWiring::S3, format!("the bucket already has the notification {own} of this stack"));
    }
    match document.sends_to_event_bridge() {
        true => (ProposedWiring::EventBridge, "the bucket already sends its events to EventBridge".to_owned()),
        false => (ProposedWiring::S3, "no other notification of the bucket applies to created objects".to_owned()),
    }
}

/// EventBridge delivers only to the account of the bucket's owner.
fn foreign_wiring(bucket: &FoundBucket, region: &str) -> (ProposedWiring, String) {
    let topics = bucket.trails.iter().filter_map(|trail| trail.topic.as_deref());
    match topics.into_iter().find(|topic| topic.split(':').nth(3) == Some(region)) {
        Some(topic) => (
            ProposedWiring::Sns { topic: topic.to_owned() },
            "the bucket is in another account, and CloudTrail announces its objects on this topic, whose policy must \
             allow this account to call sns:Subscribe"
                .to_owned(),
        ),
        None => (
            ProposedWiring::S3,
            "the bucket is in another account, whose owner adds the notification: run trailhose wire after the deployment"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests;
