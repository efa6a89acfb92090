//! Sends HTTP requests to destinations outside of AWS: alerts, and later forwards.
//!
//! The client is the HTTPS client of the AWS SDK. It follows no redirects and uses no proxy. It connects only to addresses
//! that were checked after the name was resolved, so a name that changes between the check and the connection has no
//! effect. Each request has a time limit, and only the start of a response is read.

mod address;
mod secret;
mod signature;

pub use secret::{Secret, SecretError, SecretSource};
pub use signature::{SigningKeys, WebhookSigner};

use address::AddressGuard;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use std::net::IpAddr;
use std::time::Duration;

/// The time limit of a request, from the resolution of the name to the end of the response.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// The number of bytes of a response that are read. A destination answers with a short text.
const MAX_RESPONSE: usize = 16 << 10;

/// The longest wait that a `Retry-After` header can request.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);

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
    /// The start of the body, at most 16 KiB.
    pub body: Vec<u8>,
}

impl HttpReply {
    /// Returns the start of the body as one line, for messages.
    pub fn excerpt(&self) -> String {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(200)]).into_owned();
        let words: Vec<&str> =
            text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
        words.join(" ")
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
        // The same parser as in the client, so that both see the same host.
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

    /// Returns a text without the path of this URL, in case a response quotes it.
    pub(crate) fn mask(&self, text: &str) -> String {
        let path =
            self.url.find("://").and_then(|at| self.url[at + 3..].find('/').map(|end| &self.url[at + 3 + end..]));
        match path {
            Some(path) if path.len() > 1 => text.replace(path, "/…"),
            _ => text.to_owned(),
        }
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

/// The client of one destination.
#[derive(Debug)]
pub struct HttpClient {
    connector: Connector,
    timeout: Duration,
}

impl HttpClient {
    /// Creates a client. With `allow_private`, it connects to every address. It loads the root certificates of the system.
    pub fn new(allow_private: bool) -> Self {
        let connector = Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_with_resolver(AddressGuard { allow_private });
        Self { connector, timeout: REQUEST_TIMEOUT }
    }

    /// Changes the time limit of a request.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
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
        let mut request = HttpRequest::new(SdkBody::from(body));
        let invalid = |what: &str| SendError::Header(what.to_owned());
        request.set_method("POST").map_err(|_| invalid("method"))?;
        request.set_uri(url.url.as_str()).map_err(|_| invalid("URL"))?;
        let agent = concat!("trailhose/", env!("CARGO_PKG_VERSION")).to_owned();
        for (name, value) in headers.iter().chain([&("user-agent", agent)]) {
            request.headers_mut().try_insert(*name, value.clone()).map_err(|_| invalid(name))?;
        }
        match tokio::time::timeout(self.timeout, self.exchange(request)).await {
            Ok(reply) => reply,
            Err(_) => Err(SendError::Timeout(self.timeout)),
        }
    }

    async fn exchange(&self, request: HttpRequest) -> Result<HttpReply, SendError> {
        let response = self.connector.call(request).await.map_err(|error| {
            let refused = crate::aws::causes(&error).find_map(|cause| cause.downcast_ref::<address::NotPublic>());
            if let Some(refused) = refused {
                return SendError::Address(refused.0);
            }
            let mut causes: Vec<String> = crate::aws::causes(&error).map(ToString::to_string).collect();
            causes.dedup();
            SendError::Connection(causes.join(": "))
        })?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after").and_then(retry_after);
        // Dropping the rest of a long response closes the connection.
        let mut stream = ByteStream::new(response.into_body());
        let mut body = Vec::new();
        while let Some(Ok(chunk)) = stream.next().await {
            body.extend_from_slice(&chunk[..chunk.len().min(MAX_RESPONSE - body.len())]);
            if body.len() == MAX_RESPONSE {
                break;
            }
        }
        Ok(HttpReply { status, retry_after, body })
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
