//! The HTTPS client that the clients of all services share.

use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector};
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
