//! Splunk's HTTP Event Collector
//! (<https://docs.splunk.com/Documentation/Splunk/latest/RESTREF/RESTinput#services.2Fcollector.2Fevent>), with
//! acknowledgement by the indexers
//! (<https://docs.splunk.com/Documentation/Splunk/latest/Data/AboutHECIDXAck>).

use super::SplunkConfig;
use super::batch::{ForwardRequest, ForwardedEvent, size};
use super::destination::{Endpoint, ForwardDestination, ForwardOutcome};
use crate::http::DestinationUrl;
use crate::index::IndexedFields;
use async_trait::async_trait;
use serde::Deserialize;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// The path of the collector. The paths of events and acknowledgements start with it.
const COLLECTOR: &str = "/services/collector";

/// How long an acknowledgement is awaited. Splunk recommends sending events again after some minutes.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(120);

/// The first and the longest wait between two requests for an acknowledgement.
const POLLS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Splunk's HTTP Event Collector.
#[derive(Debug)]
pub(super) struct Splunk {
    endpoint: Endpoint,
    /// The start of the JSON object of each event, without the closing brace.
    metadata: String,
    /// The URL of the acknowledgements, and the channel.
    acknowledgement: Option<(DestinationUrl, String)>,
}

/// A response of the collector. Other members are ignored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CollectorResponse {
    code: i64,
    #[serde(default)]
    text: String,
    ack_id: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct AcknowledgementResponse {
    acks: HashMap<String, bool>,
}

impl Splunk {
    pub(super) fn new(
        endpoint: Endpoint,
        url: &str,
        allow_private: bool,
        config: &SplunkConfig,
    ) -> Result<Self, String> {
        let Some(at) = url.find(COLLECTOR) else {
            return Err(format!("the URL of a Splunk collector has the path {COLLECTOR}/event"));
        };
        let mut metadata = serde_json::Map::new();
        metadata.insert("source".into(), "trailhose".into());
        metadata.insert("sourcetype".into(), config.sourcetype.clone().into());
        if let Some(index) = &config.index {
            metadata.insert("index".into(), index.clone().into());
        }
        let metadata = serde_json::Value::Object(metadata).to_string();
        let acknowledgement = match config.acknowledge {
            true => {
                let url = format!("{}{COLLECTOR}/ack", &url[..at]);
                let url = DestinationUrl::parse(&url, allow_private).map_err(|error| error.to_string())?;
                Some((url, uuid::Uuid::new_v4().to_string()))
            }
            false => None,
        };
        // The time and the event are added before the closing brace.
        Ok(Self { endpoint, metadata: metadata[..metadata.len() - 1].to_owned(), acknowledgement })
    }

    fn channel(&self) -> Vec<(&'static str, String)> {
        let channel = self.acknowledgement.as_ref().map(|(_, channel)| ("x-splunk-request-channel", channel.clone()));
        channel.into_iter().collect()
    }

    /// Waits until the indexers have stored the events.
    async fn acknowledged(&self, url: &DestinationUrl, number: u64) -> ForwardOutcome {
        let deadline = Instant::now() + ACKNOWLEDGED_WITHIN;
        let mut wait = POLLS.0;
        loop {
            let body = format!("{{\"acks\":[{number}]}}").into_bytes();
            let response = self.endpoint.post(url, "application/json", &self.channel(), body).await;
            match self.endpoint.outcome(&response) {
                ForwardOutcome::Accepted => {}
                failed @ (ForwardOutcome::Retry { .. } | ForwardOutcome::Blocked { .. }) => return failed,
                other => {
                    return ForwardOutcome::Retry { after: None, reason: format!("no acknowledgement: {other:?}") };
                }
            }
            let reply =
                response.ok().and_then(|reply| serde_json::from_slice::<AcknowledgementResponse>(&reply.body).ok());
            let Some(reply) = reply else {
                return ForwardOutcome::Retry {
                    after: None,
                    reason: "the response is not an acknowledgement of Splunk".into(),
                };
            };
            if reply.acks.get(&number.to_string()) == Some(&true) {
                return ForwardOutcome::Accepted;
            }
            if Instant::now() + wait > deadline {
                let seconds = ACKNOWLEDGED_WITHIN.as_secs();
                return ForwardOutcome::Retry { after: None, reason: format!("not acknowledged within {seconds} s") };
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(POLLS.1);
        }
    }
}

#[async_trait]
impl ForwardDestination for Splunk {
    fn body(&self, events: &[ForwardedEvent]) -> Vec<u8> {
        let mut body = Vec::with_capacity(size(events) + events.len() * (self.metadata.len() + 32));
        for event in events {
            body.extend_from_slice(self.metadata.as_bytes());
            if let Some(seconds) = IndexedFields::read(event.bytes()).seconds() {
                body.extend_from_slice(format!(",\"time\":{seconds}").as_bytes());
            }
            body.extend_from_slice(b",\"event\":");
            body.extend_from_slice(event.bytes());
            body.extend_from_slice(b"}\n");
        }
        body
    }

    async fn send(&self, request: &ForwardRequest<'_>, _: i64) -> ForwardOutcome {
        let response = self.endpoint.send("application/json", &self.channel(), request).await;
        let parsed =
            response.as_ref().ok().and_then(|reply| serde_json::from_slice::<CollectorResponse>(&reply.body).ok());
        let outcome = self.endpoint.outcome(&response);
        match (outcome, parsed) {
            (ForwardOutcome::Accepted, Some(CollectorResponse { code: 0, ack_id, .. })) => {
                match (&self.acknowledgement, ack_id) {
                    (None, _) => ForwardOutcome::Accepted,
                    (Some((url, _)), Some(number)) => self.acknowledged(url, number).await,
                    (Some(_), None) => ForwardOutcome::Blocked {
                        reason: "the token has no indexer acknowledgement: enable it, or set acknowledge = false"
                            .into(),
                    },
                }
            }
            (ForwardOutcome::Accepted, Some(CollectorResponse { code, text, .. })) => ForwardOutcome::Retry {
                after: None,
                reason: format!("status 200 with code {code}: {}", self.endpoint.mask(&text)),
            },
            (ForwardOutcome::Accepted, None) => ForwardOutcome::Retry {
                after: None,
                reason: "status 200, but the response is not that of Splunk's HTTP Event Collector: check the URL"
                    .into(),
            },
            // Incorrect index (7), channel missing (10) or invalid (11), acknowledgement disabled (14): every event is refused.
            (ForwardOutcome::Refused { status, response }, Some(CollectorResponse { code: 7 | 10 | 11 | 14, .. })) => {
                ForwardOutcome::Blocked { reason: format!("status {status}: {response}") }
            }
            (outcome, _) => outcome,
        }
    }
}
