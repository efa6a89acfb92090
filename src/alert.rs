//! Alerts: sends what is in the outbox ([`crate::state`]) to destinations.
//!
//! ```text
//! finding ─▶ outbox ─▶ sender, one for each destination ─▶ webhook, Slack, PagerDuty, SNS, EventBridge
//! ```
//!
//! An alert is recorded before its event is acknowledged. It stays in the outbox until its destination acknowledges or
//! refuses it. It is sent twice only if the program could not record the acknowledgement. The second message has the same
//! ID.

#[cfg(feature = "secrets")]
pub mod aws_secrets;
mod event_bridge;
mod pager_duty;
mod sender;
mod slack;
mod sns;
mod stored_secret;
mod webhook;

pub use sender::{AlertSender, SendPolicy, SendReport};
pub use stored_secret::{SecretStore, StoredDestination, StoredDestinationKind, open_stored};

use crate::aws::{AwsFailure, FailureKind};
use crate::finding::Alert;
use crate::http::{DestinationUrl, HttpReply, SecretSource, SendError};
use async_trait::async_trait;
use aws_config::{Region, SdkConfig};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// The maximum size of a message in bytes. SNS and EventBridge accept 256 KB, including the other parts of a request
/// (<https://docs.aws.amazon.com/sns/latest/dg/sns-large-payload-raw-message-delivery.html>).
const MAX_AWS_MESSAGE: usize = 240 << 10;

/// A destination of alerts. An alert can be sent several times, with the same ID each time.
#[async_trait]
pub trait AlertDestination: Send + Sync + Debug {
    /// Returns the name of the destination in the settings.
    fn name(&self) -> &str;

    /// Returns the minimum time between two messages.
    fn interval(&self) -> Duration {
        Duration::ZERO
    }

    /// Prepares to send, for example reads secrets. Sends nothing.
    ///
    /// # Errors
    /// Returns why nothing can be sent until a person changes something. The message contains no secret.
    async fn prepare(&self) -> Result<(), String> {
        Ok(())
    }

    /// Sends an alert once. `now` is in seconds since 1970.
    async fn send(&self, alert: &Alert, now: i64) -> SendOutcome;
}

/// The result of sending an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendOutcome {
    /// The destination acknowledged it.
    Delivered,
    /// The destination failed or did not answer. A retry can succeed, at the earliest after this wait.
    Retry {
        /// The wait that the destination asks for.
        after: Option<Duration>,
        /// The reason.
        reason: String,
    },
    /// The destination refuses every message until a person changes something. Nothing else is sent meanwhile.
    DestinationUnusable {
        /// The reason.
        reason: String,
    },
    /// The destination refuses this message.
    AlertRefused {
        /// The reason.
        reason: String,
    },
}

/// A destination in the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationConfig {
    /// The name. It identifies the destination in the outbox.
    pub name: String,
    /// The type, with its own settings.
    pub kind: DestinationKind,
    /// Whether addresses that are not public are allowed.
    pub allow_private: bool,
}

/// The type of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestinationKind {
    /// A webhook that is signed as Standard Webhooks specifies.
    Webhook {
        /// The URL.
        url: String,
        /// The keys, one on each line.
        keys: SecretSource,
    },
    /// An incoming webhook of Slack.
    Slack {
        /// The URL, which is a secret.
        url: SecretSource,
    },
    /// An integration of PagerDuty with the Events API v2.
    PagerDuty {
        /// The integration key.
        key: SecretSource,
        /// The URL of another region of PagerDuty than the default, for example of its EU region.
        url: Option<String>,
    },
    /// An SNS topic.
    Sns {
        /// The ARN.
        topic: String,
    },
    /// An EventBridge bus.
    EventBridge {
        /// The name or the ARN.
        bus: String,
    },
}

impl DestinationKind {
    /// Returns whether the destination needs AWS credentials.
    pub fn needs_aws(&self) -> bool {
        matches!(self, Self::Sns { .. } | Self::EventBridge { .. })
    }
}

/// Opens a destination: reads its secrets and checks its URL. Sends nothing. `aws` is the configuration of the AWS
/// clients.
///
/// # Errors
/// A secret cannot be read, or the URL is invalid. The message contains no secret and not the URL.
pub fn open(config: &DestinationConfig, aws: Option<&SdkConfig>) -> Result<Arc<dyn AlertDestination>, String> {
    let named = |reason: String| format!("the destination {}: {reason}", config.name);
    let url = |text: &str| DestinationUrl::parse(text, config.allow_private).map_err(|error| named(error.to_string()));
    let (name, allow_private) = (config.name.clone(), config.allow_private);
    let no_aws = || named("there is no AWS configuration".into());
    Ok(match &config.kind {
        DestinationKind::Webhook { url: text, keys } => {
            Arc::new(webhook::Webhook::new(name, url(text)?, keys, allow_private).map_err(named)?)
        }
        DestinationKind::Slack { url: source } => {
            let secret = source.read().map_err(|error| named(error.to_string()))?;
            Arc::new(slack::Slack::new(name, url(secret.expose())?, allow_private))
        }
        DestinationKind::PagerDuty { key, url: other } => {
            let key = key.read().map_err(|error| named(error.to_string()))?;
            let url = url(other.as_deref().unwrap_or(pager_duty::URL))?;
            Arc::new(pager_duty::PagerDuty::new(name, url, key, allow_private))
        }
        DestinationKind::Sns { topic } => Arc::new(sns::Sns::new(name, topic, aws.ok_or_else(no_aws)?)),
        DestinationKind::EventBridge { bus } => {
            Arc::new(event_bridge::EventBridge::new(name, bus, aws.ok_or_else(no_aws)?))
        }
    })
}

/// Classifies the response of an HTTP destination. `mask` removes secrets that the response quotes.
fn http_outcome(response: Result<HttpReply, SendError>, mask: impl FnOnce(&str) -> String) -> SendOutcome {
    let reply = match response {
        Ok(reply) => reply,
        Err(error @ (SendError::Address(_) | SendError::Header(_))) => {
            return SendOutcome::DestinationUnusable { reason: error.to_string() };
        }
        Err(error) => return SendOutcome::Retry { after: None, reason: error.to_string() },
    };
    let excerpt = reply.excerpt(mask);
    let text = if excerpt.is_empty() { String::new() } else { format!(": {excerpt}") };
    let reason = format!("status {}{text}", reply.status);
    match reply.status {
        200..=299 => SendOutcome::Delivered,
        300..=399 => SendOutcome::DestinationUnusable {
            reason: format!("{reason}; redirects are not followed: use the new URL"),
        },
        401 | 403 | 404 | 407 | 410 => SendOutcome::DestinationUnusable { reason },
        408 | 425 | 429 | 500.. => SendOutcome::Retry { after: reply.retry_after, reason },
        _ => SendOutcome::AlertRefused { reason },
    }
}

/// Classifies a failed request to AWS.
fn aws_outcome(failure: &AwsFailure) -> SendOutcome {
    let reason = failure.to_string();
    match failure.kind {
        FailureKind::Denied | FailureKind::NotFound => SendOutcome::DestinationUnusable { reason },
        FailureKind::Throttled | FailureKind::Unknown => SendOutcome::Retry { after: None, reason },
        FailureKind::Refused | FailureKind::Invalid => SendOutcome::AlertRefused { reason },
    }
}

/// Returns the region of an ARN, if the text is one. A destination can be in another region than the program.
fn region_of(arn: &str) -> Option<Region> {
    let region = arn.split(':').nth(3).filter(|region| !region.is_empty())?;
    Some(Region::new(region.to_owned()))
}

/// Returns the message for SNS and EventBridge. The finding is omitted if the message would be too long.
fn aws_message(alert: &Alert) -> String {
    let mut message = alert.message();
    let text = message.to_string();
    if text.len() <= MAX_AWS_MESSAGE {
        return text;
    }
    // The texts of an event are cut. Only the texts of the rule can make a message this long.
    message["data"]["finding"] = serde_json::json!({"omitted": "the message would exceed 256 KB"});
    message["data"]["rule"] = serde_json::json!({"id": alert.rule().id, "title": alert.title()});
    message.to_string()
}

#[cfg(test)]
mod tests;
