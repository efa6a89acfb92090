//! Private certificates and mutual TLS, with a server of `rustls`.

use super::super::{Delivered, quick};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use trailhose::forward::{ForwardConfig, ForwardPhase, ForwardPolicy, ForwardReport};
use trailhose::http::TlsFiles;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
}

/// Accepts every request over TLS. Returns the URL and the number of accepted requests.
async fn server(certificate: &str, needs_client: bool) -> (String, Arc<AtomicUsize>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let builder = match needs_client {
        true => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(file("ca.pem")).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
        false => builder.with_no_client_auth(),
    };
    let chain = vec![CertificateDer::from_pem_file(file(&format!("{certificate}.pem"))).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file(&format!("{certificate}.key"))).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/hook", listener.local_addr().unwrap().port());
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, count) = (acceptor.clone(), Arc::clone(&count));
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let (mut request, mut part) = (Vec::new(), [0; 4_096]);
                loop {
                    let read = stream.read(&mut part).await.unwrap_or(0);
                    if read == 0 {
                        return;
                    }
                    request.extend_from_slice(&part[..read]);
                    let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
                    let Some(end) = text.find("\r\n\r\n") else { continue };
                    let length = text.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
                    if request.len() >= end + 4 + length.parse::<usize>().unwrap() {
                        break;
                    }
                }
                count.fetch_add(1, Ordering::SeqCst);
                let _ = stream.write_all(b"HTTP/1.1 204 OK\r\nconnection: close\r\n\r\n").await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (url, accepted)
}

async fn send(delivered: &Delivered, name: &str, url: &str, tls: TlsFiles) -> ForwardReport {
    let (_sender, phase) = watch::channel(ForwardPhase::Drain);
    let policy = ForwardPolicy { last_retries: Duration::ZERO, ..quick() };
    let config = ForwardConfig { tls, ..ForwardConfig::new(name, url) };
    delivered.forward(config, policy, phase).run().await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_valid_certificates_of_the_private_authority_are_accepted() {
    let delivered = Delivered::new(5);
    let private = TlsFiles { ca: Some(file("ca.pem")), client: None };
    let (url, accepted) = server("server", false).await;
    let report = send(&delivered, "system", &url, TlsFiles::default()).await;
    let error = report.error.unwrap();
    assert!(error.contains("certificate") && accepted.load(Ordering::SeqCst) == 0, "{error}");
    assert_eq!(send(&delivered, "private", &url, private.clone()).await.events, 5);
    assert_eq!(accepted.load(Ordering::SeqCst), 1);

    let (url, accepted) = server("expired", false).await;
    let error = send(&delivered, "expired", &url, private).await.error.unwrap();
    assert!(error.to_lowercase().contains("expired") && accepted.load(Ordering::SeqCst) == 0, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_identifies_itself_with_its_certificate() {
    let delivered = Delivered::new(5);
    let (url, accepted) = server("server", true).await;
    let anonymous = TlsFiles { ca: Some(file("ca.pem")), client: None };
    let report = send(&delivered, "anonymous", &url, anonymous.clone()).await;
    assert!(report.error.is_some() && accepted.load(Ordering::SeqCst) == 0, "{report:?}");
    let client = TlsFiles { client: Some((file("client.pem"), file("client.key"))), ..anonymous };
    let report = send(&delivered, "client", &url, client).await;
    assert_eq!((report.error, report.events), (None, 5));
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
}
