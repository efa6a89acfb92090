//! The HTTPS client that the clients of all services share.

#[cfg(any(feature = "model", feature = "wire"))]
use aws_sdk_s3::primitives::SdkBody;
#[cfg(any(feature = "model", feature = "wire"))]
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
#[cfg(any(feature = "model", feature = "wire"))]
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::http::{HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector};
#[cfg(any(feature = "model", feature = "wire"))]
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

/// Returns a client that creates its connector with the first request.
pub(super) fn client() -> impl HttpClient + 'static {
    LazyConnector(aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https())
}

/// The SDK's HTTPS client without its validation step. For every service client, that step creates a connector and
/// drops it, and each connector parses all root certificates of the system. In `ingest` this took 5.7 ms of 8.9 ms of
/// startup.
#[derive(Debug)]
struct LazyConnector(SharedHttpClient);

impl HttpClient for LazyConnector {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        self.0.http_connector(settings, components)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.0.connector_metadata()
    }

    // `validate_base_client_config` is not forwarded: it only creates the connector described above.
}

/// Sends one PUT request without a content type to a presigned URL, and returns the HTTP status. The caller limits the
/// time.
///
/// # Errors
/// The URL is invalid, or no response was received. The message does not contain the URL.
#[cfg(feature = "wire")]
pub(crate) async fn put(url: &str, body: String) -> Result<u16, String> {
    let mut request = HttpRequest::new(SdkBody::from(body));
    request.set_method("PUT").map_err(|error| error.to_string())?;
    request.set_uri(url).map_err(|_| "the URL is invalid".to_owned())?;
    let connector = Connector::builder().tls_provider(Provider::Rustls(CryptoMode::Ring)).build();
    let response = connector.call(request).await;
    response.map(|response| response.status().as_u16()).map_err(|error| all_causes(&error))
}

/// Sends JSON with a POST request, and returns the HTTP status and the body of the response. The caller limits the time.
///
/// # Errors
/// The URL is invalid, no response was received, or its body exceeds `max_bytes` or is not UTF-8. The message does not
/// contain the key.
#[cfg(feature = "model")]
pub(crate) async fn post_json(
    url: &str,
    key: Option<&str>,
    body: String,
    max_bytes: usize,
) -> Result<(u16, String), String> {
    use aws_sdk_s3::primitives::ByteStream;

    let mut request = HttpRequest::new(SdkBody::from(body));
    request.set_method("POST").map_err(|error| error.to_string())?;
    request.set_uri(url).map_err(|_| "the URL is invalid".to_owned())?;
    let headers = request.headers_mut();
    headers.insert("content-type", "application/json");
    if let Some(key) = key {
        let header = headers.try_insert("authorization", format!("Bearer {key}"));
        header.map_err(|_| "the key contains characters that a header cannot contain".to_owned())?;
    }
    let connector = Connector::builder().tls_provider(Provider::Rustls(CryptoMode::Ring)).build();
    let response = connector.call(request).await.map_err(|error| all_causes(&error))?;
    let status = response.status().as_u16();
    let mut stream = ByteStream::new(response.into_body());
    let mut received = Vec::new();
    while let Some(part) = stream.try_next().await.map_err(|error| all_causes(&error))? {
        if received.len() + part.len() > max_bytes {
            return Err(format!("the response exceeds {max_bytes} bytes"));
        }
        received.extend_from_slice(&part);
    }
    let text = String::from_utf8(received).map_err(|_| "the response is not UTF-8".to_owned())?;
    Ok((status, text))
}

#[cfg(any(feature = "model", feature = "wire"))]
fn all_causes(error: &(impl std::error::Error + 'static)) -> String {
    super::causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
