//! Sends the HTTP requests of alerts and forwards to destinations outside of AWS.
//!
//! The client follows no redirects and uses no proxy. For a connection, it resolves the name of the host once, checks the
//! addresses, and connects only to these. So a change of the name's addresses after the check has no effect. Each request
//! has a time limit, and only the start of a response is read.

mod address;
mod secret;
mod signature;
mod tls;

pub use secret::{Secret, SecretError, SecretSource};
pub use signature::{SigningKeys, WebhookSigner};
pub use tls::{TlsError, TlsFiles};

use ::http::header::{HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use ::http::{Method, Request};
use address::AddressGuard;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use percent_encoding::percent_decode_str;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The time limit of a request, from the resolution of the name to the end of the response.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// The maximum number of bytes of a response that are read. A destination answers with a short text.
const MAX_RESPONSE: usize = 16 << 10;

/// The number of characters of a response in a message.
const MAX_EXCERPT: usize = 200;

/// The time after which an unused connection is closed. Many servers close it after 60 seconds.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest wait that a `Retry-After` header can request.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// The minimum length in bytes of a text that is treated as a secret, such as a part of a URL.
pub(crate) const MIN_SECRET: usize = 8;

/// Why a URL cannot be used. The messages do not contain the URL, because its path can be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is not a URL with a host.
    #[error("the URL is invalid: expected https://HOST/PATH")]
    Invalid,
    /// It contains a user name or a password.
    #[error("the URL contains a user name: remove it; it would be part of every request")]
    User,
    /// It is not encrypted.
    #[error("the URL does not start with https://: unencrypted requests need allow_private = true")]
    Unencrypted,
    /// Its address is not public.
    #[error("the URL has the address {0}, which is not public: set allow_private = true if this is intended")]
    Address(IpAddr),
}

/// Why a request has no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The name of the host resolves to addresses that are not allowed. A retry fails until a person changes something.
    #[error("the host resolves to {0}, which is not public: set allow_private = true if this is intended")]
    Address(IpAddr),
    /// A header is invalid. A retry fails too.
    #[error("the value of the header {0} is invalid")]
    Header(String),
    /// The time limit was exceeded. The destination may have received the request.
    #[error("no response within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The connection failed or was closed. The destination may have received the request.
    #[error("no response: {0}")]
    Connection(String),
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpReply {
    /// The status.
    pub status: u16,
    /// The wait that the destination asks for, at most an hour.
    pub retry_after: Option<Duration>,
    /// The start of the body, at most 16 KiB unless the client reads more.
    pub body: Vec<u8>,
    /// Whether `body` is the whole body. It is not if it is longer, or if the connection ended before its end.
    pub is_complete: bool,
}

impl HttpReply {
    /// Returns the start of the body as one line, for messages. `mask` removes secrets before the text is cut, because a part
    /// of a secret would not be recognized.
    pub fn excerpt(&self, mask: impl FnOnce(&str) -> String) -> String {
        let text = mask(&String::from_utf8_lossy(&self.body));
        let words: Vec<&str> =
            text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
        words.join(" ").chars().take(MAX_EXCERPT).collect()
    }
}

/// A URL that was checked. Its `Debug` form and its `Display` form contain only the host, because its path can be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct DestinationUrl {
    url: String,
    host: String,
}

impl DestinationUrl {
    /// Checks a URL. Without `allow_private`, it must be encrypted, and a literal address must be public.
    ///
    /// # Errors
    /// See [`UrlError`].
    pub fn parse(text: &str, allow_private: bool) -> Result<Self, UrlError> {
        // The client uses the same parser, so both see the same host.
        let uri: ::http::Uri = text.parse().map_err(|_| UrlError::Invalid)?;
        let authority = uri.authority().ok_or(UrlError::Invalid)?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(UrlError::Invalid)?;
        if authority.as_str().contains('@') {
            return Err(UrlError::User);
        }
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if allow_private => {}
            Some("http") => return Err(UrlError::Unencrypted),
            _ => return Err(UrlError::Invalid),
        }
        // A literal address is not resolved, so the guard does not see it.
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>()
            && !allow_private
            && !address::is_public(address)
        {
            return Err(UrlError::Address(address));
        }
        Ok(Self { url: text.to_owned(), host: host.to_owned() })
    }

    /// Returns a text without the path of this URL, and without the segments of the path and the values of the query that
    /// have at least [`MIN_SECRET`] bytes. A response can quote them, and each can be a secret.
    pub(crate) fn mask(&self, text: &str) -> String {
        let authority = self.url.find("://").map_or(0, |at| at + 3);
        let Some(start) = self.url[authority..].find(['/', '?', '#']) else { return text.to_owned() };
        let target = &self.url[authority + start..];
        let path = target.split(['?', '#']).next().unwrap_or_default();
        let mut masked = text.to_owned();
        for whole in [target, path].into_iter().filter(|whole| whole.len() > 1) {
            masked = masked.replace(whole, "/…");
        }
        let decoded = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let values = target[path.len()..]
            .split(['?', '#', '&'])
            .map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
        let mut parts: Vec<String> =
            path.split('/').chain(values).flat_map(|part| [part.to_owned(), decoded(part)]).collect();
        parts.retain(|part| part.len() >= MIN_SECRET);
        // A part can contain another one.
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        parts.iter().fold(masked, |masked, part| masked.replace(part.as_str(), "…"))
    }

    /// Returns the host.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl std::fmt::Debug for DestinationUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DestinationUrl").field("host", &self.host).finish_non_exhaustive()
    }
}

impl std::fmt::Display for DestinationUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.host)
    }
}

/// The client of one destination. It keeps connections open between requests.
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector<AddressGuard>>, Full<Bytes>>,
    timeout: Duration,
    max_response: usize,
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl HttpClient {
    /// Creates a client that trusts the root certificates of the system. With `allow_private`, it connects to every
    /// address.
    pub fn new(allow_private: bool) -> Self {
        Self::from_parts(AddressGuard::new(allow_private), tls::system_config())
    }

    /// Creates a client that uses these certificates.
    ///
    /// # Errors
    /// A file cannot be read or contains no certificate or key, or the client certificate does not belong to its key.
    pub fn with_tls(allow_private: bool, files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self::from_parts(AddressGuard::new(allow_private), files.config()?))
    }

    fn from_parts(guard: AddressGuard, config: rustls::ClientConfig) -> Self {
        let mut connector = HttpConnector::new_with_resolver(guard);
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self { client, timeout: REQUEST_TIMEOUT, max_response: MAX_RESPONSE }
    }

    /// Changes the time limit of a request.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Changes the maximum number of bytes of a response that are read.
    pub fn with_max_response(self, max_response: usize) -> Self {
        Self { max_response, ..self }
    }

    /// Sends a POST request once, and returns the response, regardless of its status.
    ///
    /// # Errors
    /// There is no response, see [`SendError`]. No message contains the URL.
    pub async fn post(
        &self,
        url: &DestinationUrl,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<HttpReply, SendError> {
        let headers = headers.iter().map(|(name, value)| (*name, value.as_str()));
        self.send(&Method::POST, url, headers, body.into()).await
    }

    /// Sends a request once, and returns the response, regardless of its status.
    ///
    /// # Errors
    /// There is no response, see [`SendError`]. No message contains the URL or the value of a header.
    pub async fn send(
        &self,
        method: &Method,
        url: &DestinationUrl,
        headers: impl Iterator<Item = (&str, &str)>,
        body: Bytes,
    ) -> Result<HttpReply, SendError> {
        let invalid = |what: &str| SendError::Header(what.to_owned());
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method.clone();
        *request.uri_mut() = url.url.parse().map_err(|_| invalid("URL"))?;
        let agent = HeaderValue::from_static(concat!("trailhose/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        for (name, value) in headers {
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid(name))?;
            let value = HeaderValue::from_str(value).map_err(|_| invalid(name))?;
            request.headers_mut().insert(header, value);
        }
        self.exchange(request).await
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<HttpReply, SendError> {
        let deadline = Instant::now() + self.timeout;
        let response = timeout_at(deadline, self.client.request(request)).await;
        let response = response.map_err(|_| SendError::Timeout(self.timeout))?.map_err(|error| {
            let refused = crate::aws::causes(&error).find_map(|cause| cause.downcast_ref::<address::NotPublic>());
            if let Some(refused) = refused {
                return SendError::Address(refused.0);
            }
            let mut causes: Vec<String> = crate::aws::causes(&error).map(ToString::to_string).collect();
            causes.dedup();
            SendError::Connection(causes.join(": "))
        })?;
        let status = response.status().as_u16();
        let wait = response.headers().get(RETRY_AFTER).and_then(|text| retry_after(text.to_str().ok()?));
        // Dropping the rest of a long response closes the connection.
        let mut stream = response.into_body();
        let mut body = Vec::new();
        let is_complete = loop {
            let frame = match timeout_at(deadline, stream.frame()).await {
                Ok(None) => break true,
                // The connection or the time ended. The status is known, and often nothing else is needed.
                Ok(Some(Err(_))) | Err(_) => break false,
                Ok(Some(Ok(frame))) => frame,
            };
            let Some(chunk) = frame.data_ref() else { continue };
            body.extend_from_slice(&chunk[..chunk.len().min(self.max_response - body.len())]);
            if body.len() == self.max_response {
                break false;
            }
        };
        Ok(HttpReply { status, retry_after: wait, body, is_complete })
    }
}

/// Returns the wait of a `Retry-After` header: seconds, or an HTTP date.
fn retry_after(text: &str) -> Option<Duration> {
    let wait = match text.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp();
            Duration::try_from(at.duration_since(jiff::Timestamp::now())).unwrap_or_default()
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests;
