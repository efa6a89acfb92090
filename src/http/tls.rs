//! Certificates of a client: those that it trusts, and its own.

use hyper_rustls::ConfigBuilderExt;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files with certificates and keys in PEM form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates that are trusted instead of those of the system.
    pub ca: Option<PathBuf>,
    /// The client's certificate chain, and its private key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Why certificates cannot be used. The message names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or does not contain what is expected.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The certificate does not belong to the key.
    #[error("the client certificate in {path} cannot be used with its key: {reason}")]
    Client {
        /// The file with the certificate.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}

/// Returns a configuration that trusts the root certificates of the system.
pub(super) fn system_config() -> ClientConfig {
    with_system_roots().with_no_client_auth()
}

type WantsClientCertificate = ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider supports TLS 1.2 and 1.3")
}

fn with_system_roots() -> WantsClientCertificate {
    match builder().with_native_roots() {
        Ok(config) => config,
        Err(error) => {
            tracing::warn!("no root certificates of this system can be read, so no server is trusted: {error}");
            builder().with_root_certificates(RootCertStore::empty())
        }
    }
}

impl TlsFiles {
    /// Returns the configuration of a client.
    pub(super) fn config(&self) -> Result<ClientConfig, TlsError> {
        let config = match &self.ca {
            None => with_system_roots(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|error| file_error(path, &error))?;
                }
                builder().with_root_certificates(roots)
            }
        };
        let Some((certificate, key)) = &self.client else { return Ok(config.with_no_client_auth()) };
        let chain = certificates(certificate)?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| file_error(key, &error))?;
        let failed = |error: rustls::Error| TlsError::Client { path: certificate.clone(), reason: error.to_string() };
        config.with_client_auth_cert(chain, key).map_err(failed)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| file_error(path, &error))?;
    match found.is_empty() {
        true => Err(TlsError::File { path: path.to_owned(), reason: "the file contains no certificate".into() }),
        false => Ok(found),
    }
}

fn file_error(path: &Path, error: &dyn std::error::Error) -> TlsError {
    TlsError::File { path: path.to_owned(), reason: error.to_string() }
}
