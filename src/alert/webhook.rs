//! A webhook that is signed as Standard Webhooks specifies.

use super::{AlertDestination, SendOutcome, http_outcome};
use crate::finding::Alert;
use crate::http::{DestinationUrl, HttpClient, SecretSource, SigningKeys, WebhookSigner};
use async_trait::async_trait;

/// A signed webhook. The body and the ID of an alert are the same on every retry.
#[derive(Debug)]
pub(super) struct Webhook {
    name: String,
    url: DestinationUrl,
    signer: WebhookSigner,
    client: HttpClient,
}

impl Webhook {
    pub(super) fn new(
        name: String,
        url: DestinationUrl,
        keys: &SecretSource,
        allow_private: bool,
    ) -> Result<Self, String> {
        let signer = WebhookSigner::new(SigningKeys::read(keys)?);
        Ok(Self { name, url, signer, client: HttpClient::new(allow_private) })
    }
}

#[async_trait]
impl AlertDestination for Webhook {
    fn name(&self) -> &str {
        &self.name
    }

    async fn send(&self, alert: &Alert, now: i64) -> SendOutcome {
        let body = alert.message().to_string().into_bytes();
        let mut headers = vec![("content-type", "application/json".to_owned())];
        headers.extend(self.signer.headers(&alert.id(), now, &body));
        http_outcome(self.client.post(&self.url, &headers, body).await, |text| self.url.mask(text))
    }
}
