//! A webhook: batches of events as NDJSON or as a JSON array, signed as Standard Webhooks specifies.

use super::BatchFormat;
use super::batch::{ForwardRequest, ForwardedEvent, size};
use super::destination::{Endpoint, ForwardDestination, ForwardOutcome};
use crate::http::{SecretSource, SigningKeys, WebhookSigner};
use async_trait::async_trait;

/// A webhook.
#[derive(Debug)]
pub(super) struct SignedWebhook {
    endpoint: Endpoint,
    format: BatchFormat,
    signer: Option<WebhookSigner>,
}

impl SignedWebhook {
    pub(super) fn new(endpoint: Endpoint, format: BatchFormat, keys: Option<&SecretSource>) -> Result<Self, String> {
        let signer = keys.map(SigningKeys::read).transpose()?.map(WebhookSigner::new);
        Ok(Self { endpoint, format, signer })
    }
}

#[async_trait]
impl ForwardDestination for SignedWebhook {
    fn body(&self, events: &[ForwardedEvent]) -> Vec<u8> {
        let mut body = Vec::with_capacity(size(events));
        let (start, separator, end): (&[u8], u8, &[u8]) = match self.format {
            BatchFormat::Ndjson => (b"", b'\n', b"\n"),
            BatchFormat::JsonArray => (b"[", b',', b"]"),
        };
        body.extend_from_slice(start);
        for (number, event) in events.iter().enumerate() {
            if number > 0 {
                body.push(separator);
            }
            body.extend_from_slice(event.bytes());
        }
        body.extend_from_slice(end);
        body
    }

    async fn send(&self, request: &ForwardRequest<'_>, now: i64) -> ForwardOutcome {
        let headers: Vec<(&str, String)> = match &self.signer {
            Some(signer) => signer.headers(&request.id, now, &request.content).into(),
            // An unsigned request has an ID too, because a receiver recognizes repeats by it.
            None => vec![("webhook-id", request.id.clone()), ("webhook-timestamp", now.to_string())],
        };
        let content_type = match self.format {
            BatchFormat::Ndjson => "application/x-ndjson",
            BatchFormat::JsonArray => "application/json",
        };
        self.endpoint.outcome(&self.endpoint.send(content_type, &headers, request).await)
    }
}
