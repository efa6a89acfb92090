//! The HTTPS client that the clients of all services share.

#[cfg(feature = "wire")]
use aws_sdk_s3::primitives::SdkBody;
#[cfg(feature = "wire")]
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
#[cfg(feature = "wire")]
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::http::{HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector};
#[cfg(feature = "wire")]
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
    let causes = |error| super::causes(&error).map(ToString::to_string).collect::<Vec<_>>().join(": ");
    response.map(|response| response.status().as_u16()).map_err(causes)
}
