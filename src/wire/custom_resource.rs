//! The custom resource of the template: CloudFormation creates, updates and deletes the notification of the log bucket.
//!
//! The physical ID names what a deletion must remove. If an update changes it (another bucket, another wiring),
//! CloudFormation deletes the resource with the old ID after the update, or the one with the new ID after a rollback.
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-requests.html>

mod answer;

pub use answer::{PendingRequest, send};

use super::{BucketNotifications, QueueRule, WireError, WireOutcome, unwire_queue, wire_event_bridge, wire_queue};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// Returns the notifications of a bucket by its name.
pub type OpenBucket<'a> = &'a (dyn Fn(&str) -> Box<dyn BucketNotifications> + Send + Sync);

/// The event that CloudFormation sends to the function.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CustomResourceRequest {
    request_type: RequestType,
    /// Presigned URL for the answer. It is a secret.
    #[serde(rename = "ResponseURL")]
    pub response_url: String,
    stack_id: String,
    request_id: String,
    logical_resource_id: String,
    physical_resource_id: Option<String>,
    #[serde(default)]
    resource_properties: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum RequestType {
    Create,
    Update,
    Delete,
}

/// The properties of the resource in the template.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireProperties {
    bucket: String,
    wiring: WiringProperty,
    queue_arn: String,
    notification_id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum WiringProperty {
    S3,
    EventBridge,
}

/// The answer to CloudFormation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CustomResourceAnswer {
    status: &'static str,
    reason: String,
    physical_resource_id: String,
    stack_id: String,
    request_id: String,
    logical_resource_id: String,
}

/// What a deletion of the resource must remove.
#[derive(Debug, Clone, PartialEq, Eq)]
enum PhysicalId {
    /// The rule with this ID.
    Rule { bucket: String, id: String },
    /// The delivery to EventBridge, which is never switched off.
    EventBridge { bucket: String },
    /// Nothing: the creation failed before it changed anything.
    Nothing { request: String },
}

impl std::fmt::Display for PhysicalId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rule { bucket, id } => write!(f, "rule:{bucket}:{id}"),
            Self::EventBridge { bucket } => write!(f, "eventbridge:{bucket}"),
            Self::Nothing { request } => write!(f, "nothing:{request}"),
        }
    }
}

impl PhysicalId {
    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "rule" => rest.split_once(':').map(|(bucket, id)| Self::Rule { bucket: bucket.into(), id: id.into() }),
            "eventbridge" => Some(Self::EventBridge { bucket: rest.into() }),
            "nothing" => Some(Self::Nothing { request: rest.into() }),
            _ => None,
        }
    }
}

impl CustomResourceRequest {
    /// Executes the request. If it takes longer than `time`, the answer is a failure, and the resource counts as created,
    /// so that its deletion removes what was possibly added.
    pub async fn execute(&self, open: OpenBucket<'_>, time: Duration) -> CustomResourceAnswer {
        match tokio::time::timeout(time, self.apply(open)).await {
            Ok(answer) => answer,
            Err(_) => self.failed(self.target(), format!("no result after {} s", time.as_secs())),
        }
    }

    /// Returns the answer if the function panics.
    fn panicked(&self, message: &str) -> CustomResourceAnswer {
        self.failed(self.target(), format!("the function panicked, which is a bug: {message}"))
    }

    async fn apply(&self, open: OpenBucket<'_>) -> CustomResourceAnswer {
        if self.request_type == RequestType::Delete {
            return match self.delete(open).await {
                Ok(outcome) => self.succeeded(self.current(), &outcome),
                Err(reason) => self.failed(self.current(), reason),
            };
        }
        let properties = match self.properties() {
            Ok(properties) => properties,
            Err(reason) => return self.failed(self.current(), reason),
        };
        let bucket = open(&properties.bucket);
        let result = match properties.wiring {
            WiringProperty::S3 => wire_queue(&*bucket, &properties.rule(), false).await,
            WiringProperty::EventBridge => wire_event_bridge(&*bucket, false).await,
        };
        match result {
            Ok(outcome) => self.succeeded(properties.physical_id().to_string(), &outcome),
            Err(error) if error.may_have_taken_effect() => self.failed(self.target(), error.to_string()),
            Err(error) => self.failed(self.current(), error.to_string()),
        }
    }

    async fn delete(&self, open: OpenBucket<'_>) -> Result<WireOutcome, String> {
        let (bucket, id) = match self.physical_resource_id.as_deref().and_then(PhysicalId::parse) {
            Some(PhysicalId::Rule { bucket, id }) => (bucket, id),
            Some(PhysicalId::EventBridge { .. } | PhysicalId::Nothing { .. }) => {
                return Ok(WireOutcome::NothingToRemove);
            }
            // CloudFormation generated the ID, because it received no answer to the creation.
            None => match self.properties() {
                Ok(properties) if properties.wiring == WiringProperty::S3 => {
                    (properties.bucket, properties.notification_id)
                }
                _ => return Ok(WireOutcome::NothingToRemove),
            },
        };
        let rule = QueueRule { id, ..self.properties()?.rule() };
        unwire_queue(&*open(&bucket), &rule, false).await.map_err(|error: WireError| error.to_string())
    }

    fn properties(&self) -> Result<WireProperties, String> {
        WireProperties::deserialize(&self.resource_properties)
            .map_err(|error| format!("invalid properties of {}: {error}", self.logical_resource_id))
    }

    /// Returns the ID of the resource after this request takes effect.
    fn target(&self) -> String {
        match (self.request_type, self.properties()) {
            (RequestType::Delete, _) | (_, Err(_)) => self.current(),
            (_, Ok(properties)) => properties.physical_id().to_string(),
        }
    }

    /// Returns the ID of the resource before this request.
    fn current(&self) -> String {
        let nothing = || PhysicalId::Nothing { request: self.request_id.clone() }.to_string();
        self.physical_resource_id.clone().unwrap_or_else(nothing)
    }

    fn succeeded(&self, id: String, outcome: &WireOutcome) -> CustomResourceAnswer {
        self.answer("SUCCESS", id, format!("{outcome:?}"))
    }

    fn failed(&self, id: String, reason: String) -> CustomResourceAnswer {
        self.answer("FAILED", id, reason)
    }

    fn answer(&self, status: &'static str, id: String, reason: String) -> CustomResourceAnswer {
        CustomResourceAnswer {
            status,
            reason: shortened(reason),
            physical_resource_id: id,
            stack_id: self.stack_id.clone(),
            request_id: self.request_id.clone(),
            logical_resource_id: self.logical_resource_id.clone(),
        }
    }
}

impl CustomResourceAnswer {
    /// Returns whether the request failed, and the reason or the result.
    pub fn result(&self) -> (bool, &str) {
        (self.status == "FAILED", &self.reason)
    }
}

impl WireProperties {
    fn rule(&self) -> QueueRule {
        let (id, queue_arn) = (self.notification_id.clone(), self.queue_arn.clone());
        QueueRule { id, queue_arn, prefix: String::new() }
    }

    fn physical_id(&self) -> PhysicalId {
        let bucket = self.bucket.clone();
        match self.wiring {
            WiringProperty::S3 => PhysicalId::Rule { bucket, id: self.notification_id.clone() },
            WiringProperty::EventBridge => PhysicalId::EventBridge { bucket },
        }
    }
}

/// Returns the first 1,500 characters. CloudFormation accepts an answer of at most 4,096 bytes.
fn shortened(reason: String) -> String {
    match reason.char_indices().nth(1500) {
        Some((at, _)) => format!("{} (shortened)", &reason[..at]),
        None => reason,
    }
}

#[cfg(test)]
mod tests;
