//! The HTTPS client that all services' clients share.

use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

/// The client, which makes its connector at the first request.
pub(super) fn client() -> impl HttpClient + 'static {
    AtFirstRequest(
        aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https(),
    )
}

/// The SDK's client but for one habit: for every service's client that is made, it makes a connector too and throws it
/// away, and each parses all of the system's root certificates anew. `ingest` spent 5.7 ms of a start of 8.9 on that.
#[derive(Debug)]
struct AtFirstRequest(SharedHttpClient);

impl HttpClient for AtFirstRequest {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        self.0.http_connector(settings, components)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.0.connector_metadata()
    }

    // `validate_base_client_config` is not passed on: all it does is to make that connector.
}
