//! Destinations of forwards: what a request contains, and what a response means.

use super::ForwardConfig;
use super::batch::{ForwardRequest, ForwardedEvent};
use crate::http::{DestinationUrl, HttpClient, HttpReply, MIN_SECRET, Secret, SendError};
use ::http::{HeaderName, HeaderValue, Method};
use async_trait::async_trait;
use std::fmt::Debug;
use std::time::Duration;

/// Headers that a forward sets itself. A name that ends with a hyphen is a prefix of names.
const RESERVED: [&str; 9] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
    "user-agent",
    "webhook-",
];

/// The result of sending a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardOutcome {
    /// Every event is accepted.
    Accepted,
    /// The destination failed or did not answer. It may have received the events. A retry can succeed.
    Retry {
        /// The wait before the retry that the destination asks for, if it asks for one.
        after: Option<Duration>,
        /// The reason.
        reason: String,
    },
    /// The destination refuses every request until a person changes something.
    Blocked {
        /// The reason.
        reason: String,
    },
    /// The request is too large.
    TooLarge {
        /// The response.
        response: String,
    },
    /// The request is refused because of its events.
    Refused {
        /// The status.
        status: u16,
        /// The response.
        response: String,
    },
    /// The result of each event, in order.
    Items(Vec<ItemOutcome>),
    /// Some events are refused, and it is unknown which.
    PartlyRefused {
        /// The response.
        response: String,
    },
}

/// The result of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemOutcome {
    /// It is accepted, by this or by an earlier request.
    Accepted,
    /// It is not accepted, and a retry can succeed.
    Retry(String),
    /// It is not accepted. No event is accepted until a person changes something.
    Blocked(String),
    /// It is refused.
    Refused {
        /// The status.
        status: u16,
        /// The reason.
        response: String,
    },
}

/// A destination of batches. The same batch can be sent several times.
#[async_trait]
pub(super) trait ForwardDestination: Send + Sync + Debug {
    /// Returns the body of a request with these events, before compression.
    fn body(&self, events: &[ForwardedEvent]) -> Vec<u8>;

    /// Sends a request once. `now` is in seconds since 1970.
    async fn send(&self, request: &ForwardRequest<'_>, now: i64) -> ForwardOutcome;
}

/// The URL of a destination, with everything that its requests have in common.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) url: DestinationUrl,
    client: HttpClient,
    method: Method,
    headers: Vec<(String, String)>,
    /// The credentials, which a response can quote.
    secret: Option<Secret>,
    gzip: bool,
}

impl Endpoint {
    /// Reads the secret and the certificates, and checks URL and headers.
    pub(super) fn open(config: &ForwardConfig) -> Result<Self, String> {
        let url = DestinationUrl::parse(&config.url, config.allow_private).map_err(|error| error.to_string())?;
        let client = HttpClient::with_tls(config.allow_private, &config.tls).map_err(|error| error.to_string())?;
        for (name, value) in &config.headers {
            check_header(name, value)?;
        }
        let mut headers = config.headers.clone();
        let mut secret = None;
        if let Some((scheme, source)) = &config.credentials {
            let read = source.read().map_err(|error| error.to_string())?;
            headers.push(("authorization".into(), format!("{scheme} {}", read.expose())));
            secret = Some(read);
        }
        let method = if config.put { Method::PUT } else { Method::POST };
        Ok(Self { url, client, method, headers, secret, gzip: config.gzip })
    }

    /// Changes the maximum number of bytes of a response that are read.
    pub(super) fn with_max_response(self, bytes: usize) -> Self {
        Self { client: self.client.with_max_response(bytes), ..self }
    }

    /// Sends a body, which is compressed if the endpoint compresses.
    pub(super) async fn send(
        &self,
        content_type: &str,
        headers: &[(&str, String)],
        request: &ForwardRequest<'_>,
    ) -> Result<HttpReply, SendError> {
        let encoding = self.gzip.then_some(("content-encoding", "gzip"));
        let all = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .chain(headers.iter().map(|(name, value)| (*name, value.as_str())))
            .chain([("content-type", content_type)])
            .chain(encoding);
        self.client.send(&self.method, &self.url, all, request.body.clone()).await
    }

    /// Sends a body to another URL of the destination, without compression.
    pub(super) async fn post(
        &self,
        url: &DestinationUrl,
        content_type: &str,
        headers: &[(&str, String)],
        body: Vec<u8>,
    ) -> Result<HttpReply, SendError> {
        let all = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .chain(headers.iter().map(|(name, value)| (*name, value.as_str())))
            .chain([("content-type", content_type)]);
        self.client.send(&Method::POST, url, all, body.into()).await
    }

    /// Returns the start of a response without secrets.
    pub(super) fn excerpt(&self, reply: &HttpReply) -> String {
        reply.excerpt(|text| self.mask(text))
    }

    /// Removes secrets from a text.
    pub(super) fn mask(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if let Some(secret) = &self.secret {
            text = text.replace(secret.expose(), "…");
        }
        // The value of a header can be a secret too.
        for (_, value) in self.headers.iter().filter(|(_, value)| value.len() >= MIN_SECRET) {
            text = text.replace(value.as_str(), "…");
        }
        self.url.mask(&text)
    }

    /// Classifies a response by its status. The body is not read.
    pub(super) fn outcome(&self, response: &Result<HttpReply, SendError>) -> ForwardOutcome {
        let reply = match response {
            Ok(reply) => reply,
            Err(error @ (SendError::Address(_) | SendError::Header(_))) => {
                return ForwardOutcome::Blocked { reason: error.to_string() };
            }
            Err(error) => return ForwardOutcome::Retry { after: None, reason: error.to_string() },
        };
        let excerpt = self.excerpt(reply);
        let text = if excerpt.is_empty() { String::new() } else { format!(": {excerpt}") };
        let reason = format!("status {}{text}", reply.status);
        match reply.status {
            200..=299 => ForwardOutcome::Accepted,
            300..=399 => {
                ForwardOutcome::Blocked { reason: format!("{reason}; redirects are not followed: use the new URL") }
            }
            413 => ForwardOutcome::TooLarge { response: excerpt },
            408 | 425 | 429 | 500.. => ForwardOutcome::Retry { after: reply.retry_after, reason },
            400 | 409 | 422 => ForwardOutcome::Refused { status: reply.status, response: excerpt },
            // This includes 401, 403, 404 and 410. These statuses do not depend on the events.
            _ => ForwardOutcome::Blocked { reason },
        }
    }
}

/// Checks a header of the settings.
///
/// # Errors
/// It is invalid, or a forward sets it itself. The message does not contain the value.
pub fn check_header(name: &str, value: &str) -> Result<(), String> {
    let lower = name.to_ascii_lowercase();
    if RESERVED.iter().any(|reserved| lower == *reserved || (reserved.ends_with('-') && lower.starts_with(reserved))) {
        return Err(match lower.as_str() {
            "authorization" => "the header authorization: use token_file or token_env instead".into(),
            _ => format!("the header {lower} is set by trailhose: remove it"),
        });
    }
    // The value can be a secret.
    if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_str(value).is_err() {
        return Err(format!("the header {name:?} is invalid: expected a name and a value without line breaks"));
    }
    Ok(())
}
