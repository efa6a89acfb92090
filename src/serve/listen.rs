//! Accepts connections, with limits: their number, the time for the head of a request, and the time without progress while a
//! response is sent.

use super::{Peer, becomes_true};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tower::ServiceExt;

/// The maximum number of open connections. Further ones wait.
const MAX_CONNECTIONS: usize = 1_024;

/// The time for the head of a request, and for an idle connection.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// The time for a TLS handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// The time in which a client must read a part of a response.
const WRITE_WITHIN: Duration = Duration::from_secs(20);

/// The maximum size of the head of a request in bytes.
const MAX_HEAD: usize = 32 << 10;

/// The wait after an error of the operating system, such as too many open files.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// Accepts connections until `stops` is true. Then waits until the requests in progress are answered.
pub(super) async fn accept(
    listener: TcpListener,
    tls: Option<watch::Receiver<Arc<ServerConfig>>>,
    router: Router,
    mut stops: watch::Receiver<bool>,
) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(&permits).acquire_owned() => permit,
            () = becomes_true(&mut stops) => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = becomes_true(&mut stops) => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, address)) => {
                // The certificate of new connections is the latest one.
                let tls = tls.as_ref().map(|config| TlsAcceptor::from(Arc::clone(&config.borrow())));
                let (router, stops) = (router.clone(), stops.clone());
                connections.spawn(async move {
                    connection(stream, address, tls, router, stops).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!("a connection cannot be accepted: {error}");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    stops: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let stream = TimedWrites::new(stream);
    let peer = Peer { address, is_tls: tls.is_some() };
    match tls {
        None => serve(stream, peer, router, stops).await,
        Some(tls) => {
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_WITHIN, tls.accept(stream)).await {
                serve(stream, peer, router, stops).await;
            }
        }
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: Router,
    mut stops: watch::Receiver<bool>,
) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // The client caused the error: it closed the connection, or did not send HTTP.
    let _ = tokio::select! {
        ended = connection.as_mut() => ended,
        () = becomes_true(&mut stops) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
}

/// A connection on which a write fails if the client reads nothing for [`WRITE_WITHIN`].
#[derive(Debug)]
struct TimedWrites {
    stream: TcpStream,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl TimedWrites {
    fn new(stream: TcpStream) -> Self {
        Self { stream, deadline: None }
    }

    /// Returns the result of a write. If the write was pending for [`WRITE_WITHIN`], returns an error instead.
    fn timed<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.deadline = None;
            return polled;
        }
        let start = || Box::pin(tokio::time::sleep_until(Instant::now() + WRITE_WITHIN));
        match self.deadline.get_or_insert_with(start).as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for TimedWrites {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for TimedWrites {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, buffer);
        self.timed(context, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.timed(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.timed(context, polled)
    }
}
