//! The TLS certificate. Its files are read again when they change, so that a renewed certificate needs no restart.

use super::becomes_true;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How often the files are compared with what is in use.
const COMPARE_EVERY: Duration = Duration::from_secs(5);

/// The files of a TLS certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerCertificate {
    /// The certificate and its chain in PEM.
    pub certificate: PathBuf,
    /// The private key in PEM.
    pub key: PathBuf,
}

/// The content of the files.
#[derive(Clone, PartialEq, Eq)]
struct CertificateContent {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// A certificate in use.
pub(super) struct UsedCertificate {
    files: ServerCertificate,
    content: CertificateContent,
    config: watch::Sender<Arc<ServerConfig>>,
}

impl std::fmt::Debug for UsedCertificate {
    /// Omits the content, because it contains the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UsedCertificate").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ServerCertificate {
    /// Reads the files.
    ///
    /// # Errors
    /// A file cannot be read, or the key does not belong to the certificate.
    pub(super) fn open(&self) -> Result<UsedCertificate, String> {
        let content = self.read()?;
        let config = watch::channel(self.config(&content)?).0;
        Ok(UsedCertificate { files: self.clone(), content, config })
    }

    fn read(&self) -> Result<CertificateContent, String> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| with_path(path, &error));
        Ok(CertificateContent { certificate: read(&self.certificate)?, key: read(&self.key)? })
    }

    fn config(&self, content: &CertificateContent) -> Result<Arc<ServerConfig>, String> {
        let failed = |error: &dyn Display| with_path(&self.certificate, error);
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&content.certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| failed(&error))?;
        let key = PrivateKeyDer::from_pem_slice(&content.key).map_err(|error| with_path(&self.key, &error))?;
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| failed(&error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn with_path(path: &Path, error: &dyn Display) -> String {
    format!("{}: {error}", path.display())
}

impl UsedCertificate {
    /// Returns the configuration for the next connection.
    pub(super) fn config(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.config.subscribe()
    }

    /// Reads the files again when they change, until `stops` is true. If they cannot be used, the certificate in use stays, and
    /// the reason is logged once.
    pub(super) async fn follow_files(mut self, mut stops: watch::Receiver<bool>) {
        let mut logged = None;
        while tokio::time::timeout(COMPARE_EVERY, becomes_true(&mut stops)).await.is_err() {
            let files = self.files.clone();
            let read = tokio::task::spawn_blocking(move || files.read()).await;
            let changed = match read {
                Ok(Ok(content)) if content == self.content => continue,
                Ok(Ok(content)) => self.files.config(&content).map(|config| (content, config)),
                Ok(Err(reason)) => Err(reason),
                Err(error) => Err(error.to_string()),
            };
            match changed {
                Ok((content, config)) => {
                    self.content = content;
                    self.config.send_replace(config);
                    logged = None;
                    tracing::info!("new connections use the changed certificate {}", self.files.certificate.display());
                }
                // While only one of the two files is replaced, the key does not belong to the certificate.
                Err(reason) if logged.as_ref() != Some(&reason) => {
                    tracing::warn!("the changed certificate is not used: {reason}");
                    logged = Some(reason);
                }
                Err(_) => {}
            }
        }
    }
}
