//! Destinations that ask to wait, or that accept and read slowly.

use super::{Delivered, assert_forwarded, limits, quick};
use crate::receiver::{Answer, Receiver};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use trailhose::backoff::Pace;
use trailhose::forward::{ForwardConfig, ForwardPhase, ForwardPolicy};

#[tokio::test(flavor = "multi_thread")]
async fn destination_that_asks_to_wait_is_not_asked_earlier() {
    let delivered = Delivered::new(10);
    let receiver = Receiver::start(Answer::status(500)).await;
    let number = AtomicU64::new(0);
    receiver.decide(move |_| match number.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::Reply(503, vec![("Retry-After", "2".into())], Vec::new()),
        _ => Answer::status(200),
    });
    let started = Instant::now();
    let report = delivered.drain(ForwardConfig::new("a", &receiver.url)).await;
    assert_eq!((report.error, report.events, report.failures), (None, 10, 1));
    // Without the header, the wait is at most 4 ms.
    assert!(started.elapsed() >= Duration::from_secs(2), "{:?}", started.elapsed());
    assert_forwarded(&receiver.requests(), &delivered.events);
    assert_eq!(receiver.ids().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn five_failures_in_a_row_open_the_circuit() {
    let delivered = Delivered::new(10);
    let receiver = Receiver::start(Answer::status(500)).await;
    let hour = Duration::from_secs(3_600);
    let open = Pace { base: hour, cap: hour };
    let policy = ForwardPolicy { open, last_retries: Duration::from_secs(1), ..quick() };
    let (_sender, phase) = watch::channel(ForwardPhase::Drain);
    let report = delivered.forward(ForwardConfig::new("a", &receiver.url), policy, phase).run().await;
    assert!(report.error.unwrap().contains("status 500"));
    assert_eq!((report.failures, receiver.requests().len()), (5, 5), "nothing is sent while the circuit is open");
    assert_eq!(delivered.state().follower("forward-a").unwrap().unwrap().events, 0, "the position is kept");
}

/// The server accepts a connection after half a second, and reads a few bytes at a time.
#[tokio::test(flavor = "multi_thread")]
async fn server_that_accepts_and_reads_slowly_gets_each_batch_once() {
    let delivered = Delivered::new(300);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let mut ids = Vec::new();
        while ids.len() < 3 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut request, mut part) = (Vec::new(), [0; 512]);
            let id = loop {
                let read = stream.read(&mut part).await.unwrap();
                assert!(read > 0, "the connection ended");
                request.extend_from_slice(&part[..read]);
                tokio::time::sleep(Duration::from_millis(20)).await;
                let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
                let head = String::from_utf8(request[..end].to_ascii_lowercase()).unwrap();
                let header = |name: &str| {
                    let line = head.lines().find_map(|line| line.strip_prefix(name));
                    line.unwrap_or_else(|| panic!("{name} is missing in {head}")).trim().to_owned()
                };
                if request.len() == end + 4 + header("content-length:").parse::<usize>().unwrap() {
                    break header("webhook-id:");
                }
            };
            ids.push(id);
            stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.unwrap();
        }
        ids
    });
    let report = delivered.drain(ForwardConfig { limits: limits(100), ..ForwardConfig::new("a", url) }).await;
    assert_eq!((report.error, report.events, report.failures), (None, 300, 0));
    let ids = serving.await.unwrap();
    assert!(ids.len() == 3 && ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
    assert_eq!(delivered.state().forward("a").unwrap().unwrap().repeats, 0);
}
