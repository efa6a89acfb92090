//! Forwards: send the delivered events as batches over HTTP to a destination, such as a webhook.
//!
//! ```text
//! committed files ─▶ follower ─▶ filter ─▶ redaction ─▶ batch, signed ─▶ webhook, Splunk, Elasticsearch, OTLP
//! ```
//!
//! A forward is a follower: it reads the committed files from a position of its own and never delays a sync. A batch is
//! acknowledged after the destination accepted it, or after its refused events are stored. So an event is sent at least
//! once. A batch that is sent again has the same events and the same ID, also after a kill.

mod batch;
mod destination;
mod elastic;
mod follower;
mod otlp;
mod redaction;
mod runner;
mod splunk;
mod webhook;

pub use batch::{ForwardRequest, ForwardedEvent};
pub use destination::{ForwardOutcome, ItemOutcome, check_header};
pub use follower::{ForwardPhase, ForwardPolicy};
pub use redaction::RedactionConfig;
pub use runner::{Forward, ForwardReport};

use crate::event::filter::Filter;
use crate::follow::BatchLimits;
use crate::http::{SecretSource, TlsFiles};
use bytes::Bytes;
use destination::{Endpoint, ForwardDestination};
use redaction::Redaction;
use std::sync::Arc;

/// The maximum number of events in a batch.
pub const MAX_EVENTS: usize = 1_000;

/// The maximum size of the events of a batch in bytes, before compression.
pub const MAX_BYTES: usize = 1_000_000;

/// Returns the name of the follower of a forward.
pub fn follower_name(forward: &str) -> String {
    format!("forward-{forward}")
}

/// Returns a short hash of a URL, for the name of the spool folder of this URL. It does not reveal the URL.
pub fn url_hash(url: &str) -> String {
    batch::hex(&ring::digest::digest(&ring::digest::SHA256, url.as_bytes()).as_ref()[..4])
}

/// A forward in the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardConfig {
    /// Its name: letters, digits and hyphens.
    pub name: String,
    /// The URL of the destination.
    pub url: String,
    /// The type of the destination.
    pub preset: Preset,
    /// Whether the method of requests is PUT instead of POST.
    pub put: bool,
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
    /// The source of the keys that sign the requests, one key on each line.
    pub signing_keys: Option<SecretSource>,
    /// The scheme and the credentials of the header `Authorization`.
    pub credentials: Option<(String, SecretSource)>,
    /// Decides which events are sent.
    pub filter: Filter,
    /// The limits of a batch.
    pub limits: BatchLimits,
    /// The maximum number of events per second. `None` without a limit.
    pub events_per_second: Option<u32>,
    /// The fields that are removed or hashed before an event is sent.
    pub redaction: Option<RedactionConfig>,
    /// The certificates that are trusted, and the certificate of the client.
    pub tls: TlsFiles,
    /// Whether the body is compressed with gzip.
    pub gzip: bool,
    /// Whether addresses that are not public are allowed.
    pub allow_private: bool,
}

/// The type of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preset {
    /// A webhook that is signed as Standard Webhooks specifies, if there are keys.
    Webhook(BatchFormat),
    /// Splunk's HTTP Event Collector.
    Splunk(SplunkConfig),
    /// The bulk API of Elasticsearch and OpenSearch.
    Elastic {
        /// The index. `None` if the URL contains it.
        index: Option<String>,
    },
    /// A receiver of log records of OpenTelemetry.
    Otlp(OtlpEncoding),
}

/// The settings of Splunk's HTTP Event Collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplunkConfig {
    /// The index. `None` for the default of the token.
    pub index: Option<String>,
    /// The source type.
    pub sourcetype: String,
    /// Whether a batch is acknowledged only after the indexers have stored it.
    pub acknowledge: bool,
}

impl Default for SplunkConfig {
    fn default() -> Self {
        Self { index: None, sourcetype: "aws:cloudtrail".into(), acknowledge: true }
    }
}

/// The encoding of log records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpEncoding {
    /// JSON.
    Json,
    /// Protobuf.
    Protobuf,
}

/// The format of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchFormat {
    /// One event on each line.
    Ndjson,
    /// An array of events.
    JsonArray,
}

impl ForwardConfig {
    /// Returns a forward with the default settings.
    pub fn new(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            preset: Preset::Webhook(BatchFormat::Ndjson),
            put: false,
            headers: Vec::new(),
            signing_keys: None,
            credentials: None,
            filter: Filter::default(),
            limits: BatchLimits { events: MAX_EVENTS, bytes: MAX_BYTES },
            events_per_second: None,
            redaction: None,
            tls: TlsFiles::default(),
            gzip: true,
            allow_private: false,
        }
    }
}

/// Turns events into requests and sends them. It has no state.
#[derive(Debug, Clone)]
pub struct ForwardSink {
    config: Arc<ForwardConfig>,
    redaction: Option<Arc<Redaction>>,
    destination: Arc<dyn ForwardDestination>,
}

impl ForwardSink {
    /// Reads the secrets and certificates, and checks the URL. Sends nothing.
    ///
    /// # Errors
    /// A secret or a certificate cannot be read, or the URL is invalid. The message contains no secret and not
    /// the URL.
    pub fn open(config: ForwardConfig) -> Result<Self, String> {
        let named = |reason: String| format!("the forward {}: {reason}", config.name);
        let endpoint = Endpoint::open(&config).map_err(named)?;
        let destination: Arc<dyn ForwardDestination> = match &config.preset {
            Preset::Webhook(format) => {
                Arc::new(webhook::SignedWebhook::new(endpoint, *format, config.signing_keys.as_ref()).map_err(named)?)
            }
            Preset::Splunk(splunk) => {
                let opened = splunk::Splunk::new(endpoint, &config.url, config.allow_private, splunk);
                Arc::new(opened.map_err(named)?)
            }
            Preset::Elastic { index } => {
                Arc::new(elastic::Elastic::new(endpoint, &config.url, index.clone()).map_err(named)?)
            }
            Preset::Otlp(encoding) => Arc::new(otlp::Otlp::new(endpoint, *encoding)),
        };
        let redaction = config.redaction.as_ref().map(Redaction::open).transpose().map_err(named)?;
        Ok(Self { redaction: redaction.map(Arc::new), config: Arc::new(config), destination })
    }

    /// Returns the name of the forward.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// Returns an event as it is sent. `position` identifies an event that has no event ID.
    ///
    /// # Errors
    /// The event cannot be redacted.
    pub fn prepare_event(&self, bytes: &[u8], position: impl FnOnce() -> String) -> Result<ForwardedEvent, String> {
        ForwardedEvent::new(bytes, position, self.redaction.as_deref())
    }

    /// Returns the request with these events.
    pub fn build_request<'a>(&self, events: &'a [ForwardedEvent]) -> ForwardRequest<'a> {
        let content = Bytes::from(self.destination.body(events));
        let body = if self.config.gzip { batch::gzip(&content).into() } else { content.clone() };
        ForwardRequest { id: batch::batch_id(events), events, content, body }
    }

    /// Sends a request once.
    pub async fn send(&self, request: &ForwardRequest<'_>) -> ForwardOutcome {
        self.destination.send(request, jiff::Timestamp::now().as_second()).await
    }
}
