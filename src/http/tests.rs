use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Answers every connection with these bytes, after a pause, and closes it. Returns the URL and the number of requests.
async fn server(answer: Vec<u8>, pause: Duration) -> (String, Arc<AtomicU64>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answer, counter) = (answer.clone(), Arc::clone(&counter));
            tokio::spawn(async move {
                let mut request = vec![0; 4_096];
                let _ = stream.read(&mut request).await;
                counter.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(pause).await;
                let _ = stream.write_all(&answer).await;
            });
        }
    });
    (format!("http://localhost:{port}/hook"), requests)
}

fn reply(head: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

async fn post(url: &str, client: &HttpClient) -> Result<HttpReply, SendError> {
    let url = DestinationUrl::parse(url, true).unwrap();
    client.post(&url, &[("content-type", "application/json".into())], b"{}".to_vec()).await
}

#[test]
fn urls_are_checked_and_never_printed() {
    let parse = |text| DestinationUrl::parse(text, false);
    for text in ["", "hooks.example.com", "/path", "ftp://h/", "https://", "https:///x", "https://h h/"] {
        assert_eq!(parse(text), Err(UrlError::Invalid), "{text}");
    }
    assert_eq!(parse("https://user:hunter2@h/"), Err(UrlError::User));
    assert_eq!(parse("http://hooks.example.com/"), Err(UrlError::Unencrypted));
    for text in
        ["https://169.254.169.254/latest", "https://[::1]/", "https://127.0.0.1:8080/", "https://[::ffff:10.0.0.1]/"]
    {
        assert!(matches!(parse(text), Err(UrlError::Address(_))), "{text}");
    }
    let url = parse("https://hooks.example.com/services/T0/hunter2").unwrap();
    assert!(!format!("{url} {url:?}").contains("hunter2"));
    assert_eq!(url.host(), "hooks.example.com");
    DestinationUrl::parse("http://127.0.0.1/", true).unwrap();
}

#[test]
fn parts_of_a_url_are_removed_from_a_response() {
    for (url, response, masked) in [
        ("https://h/hook/s3cr3tvalue", "token s3cr3tvalue of path /hook/s3cr3tvalue", "token … of path /…"),
        ("https://h/hook/s3cr3tvalue?v=1", "no /hook/s3cr3tvalue, s3cr3tvalue", "no /…, …"),
        ("https://h/in?v=1&key=s3cr3tvalue", "key s3cr3tvalue of /in?v=1&key=s3cr3tvalue", "key … of /…"),
        ("https://h?s3cr3tvalue", "query s3cr3tvalue", "query …"),
        ("https://h/s3cr3t%2Fvalue%", "s3cr3t/value% s3cr3t%2Fvalue%", "… …"),
        ("https://h/s3cr3tvalue/long-s3cr3tvalue", "long-s3cr3tvalue s3cr3tvalue", "… …"),
        ("https://h/v1/logs", "v1 is unknown", "v1 is unknown"),
        ("https://h", "anything", "anything"),
    ] {
        let url = DestinationUrl::parse(url, false).unwrap();
        assert_eq!(url.mask(response), masked, "{response}");
    }
}

#[tokio::test]
async fn private_address_of_a_name_is_refused_before_the_connection() {
    let (url, requests) = server(reply("200 OK", b""), Duration::ZERO).await;
    // `post` allows every URL, because the test server has no TLS. Only the client checks the address.
    let error = post(&url, &HttpClient::new(false)).await.unwrap_err();
    assert!(matches!(error, SendError::Address(address) if address.is_loopback()), "{error}");
    assert_eq!(requests.load(Ordering::SeqCst), 0);
    assert_eq!(post(&url, &HttpClient::new(true)).await.unwrap().status, 200);
}

#[tokio::test]
async fn redirect_is_not_followed() {
    let (target, requests) = server(reply("200 OK", b""), Duration::ZERO).await;
    let (url, _) = server(reply(&format!("307 Moved\r\nlocation: {target}"), b""), Duration::ZERO).await;
    assert_eq!(post(&url, &HttpClient::new(true)).await.unwrap().status, 307);
    assert_eq!(requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn start_of_a_long_response_is_read() {
    let (url, _) = server(reply("200 OK", &vec![b'x'; 10 << 20]), Duration::ZERO).await;
    let reply = post(&url, &HttpClient::new(true)).await.unwrap();
    assert_eq!((reply.status, reply.body.len()), (200, MAX_RESPONSE));
    assert_eq!(reply.excerpt(str::to_owned).len(), MAX_EXCERPT);
    // A secret that would be cut is removed as a whole.
    assert!(!reply.is_complete);
    let quoted = HttpReply { body: format!("{}/services/hunter2", "x".repeat(190)).into_bytes(), ..reply };
    let text = quoted.excerpt(|text| text.replace("/services/hunter2", "/…"));
    assert!(text.ends_with("x/…"), "{text}");
}

#[tokio::test]
async fn body_that_ends_early_is_not_complete() {
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\na".to_vec();
    for (answer, body, is_complete) in [(cut, &b"a"[..], false), (reply("200 OK", b"abc"), b"abc", true)] {
        let (url, _) = server(answer, Duration::ZERO).await;
        let reply = post(&url, &HttpClient::new(true)).await.unwrap();
        assert_eq!((reply.status, &*reply.body, reply.is_complete), (200, body, is_complete));
    }
}

/// The status is the answer. A receiver that never ends its body would otherwise get the same request forever.
#[tokio::test]
async fn status_counts_if_the_body_does_not_end_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://localhost:{}/hook", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut vec![0; 4_096]).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\na").await.unwrap();
        std::future::pending::<()>().await;
    });
    let reply = post(&url, &HttpClient::new(true).with_timeout(Duration::from_millis(200))).await.unwrap();
    assert_eq!((reply.status, &*reply.body, reply.is_complete), (200, &b"a"[..], false));
}

#[tokio::test]
async fn lost_and_late_responses_are_errors() {
    let (closes, requests) = server(Vec::new(), Duration::ZERO).await;
    let error = post(&closes, &HttpClient::new(true)).await.unwrap_err();
    assert!(matches!(error, SendError::Connection(_)), "{error}");
    assert_eq!(requests.load(Ordering::SeqCst), 1, "the client itself does not repeat a request");
    let (late, _) = server(reply("200 OK", b""), Duration::from_secs(5)).await;
    let client = HttpClient::new(true).with_timeout(Duration::from_millis(100));
    assert_eq!(post(&late, &client).await, Err(SendError::Timeout(Duration::from_millis(100))));
}

#[tokio::test]
async fn retry_after_is_limited_to_an_hour() {
    for (header, expected) in [("7", 7), ("100000", 3_600), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)] {
        let (url, _) = server(reply(&format!("503 Busy\r\nretry-after: {header}"), b""), Duration::ZERO).await;
        let reply = post(&url, &HttpClient::new(true)).await.unwrap();
        assert_eq!((reply.status, reply.retry_after), (503, Some(Duration::from_secs(expected))), "{header}");
    }
    assert_eq!(retry_after("soon"), None);
}

/// Creates a guard that resolves a name to the next address each time, and to the last one after that. Also returns the
/// number of resolutions.
fn changing_name(allow_private: bool, addresses: &[&str]) -> (AddressGuard, Arc<AtomicU64>) {
    let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let resolutions = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&resolutions);
    let guard = AddressGuard::with_resolver(allow_private, move |_| {
        let number = counter.fetch_add(1, Ordering::SeqCst) as usize;
        let address = addresses[number.min(addresses.len() - 1)];
        Box::pin(async move { Ok(vec![address]) })
    });
    (guard, resolutions)
}

#[tokio::test]
async fn name_that_changes_after_the_check_has_no_effect() {
    // The first resolution finds a public address, the second one a loopback address. The guard returns the addresses for
    // the connection.
    let (mut guard, resolutions) = changing_name(false, &["8.8.8.8", "127.0.0.1"]);
    let name = || "changes.example".parse().unwrap();
    let found: Vec<_> = tower::Service::call(&mut guard, name()).await.unwrap().map(|found| found.ip()).collect();
    assert_eq!((found, resolutions.load(Ordering::SeqCst)), (vec!["8.8.8.8".parse().unwrap()], 1));
    let refused = tower::Service::call(&mut guard, name()).await.unwrap_err();
    assert_eq!(refused.to_string(), "127.0.0.1 is not a public address");

    // A connection resolves the name once: with a second resolution, it would not reach the server.
    let (url, requests) = server(reply("200 OK", b""), Duration::ZERO).await;
    let url = url.replace("localhost", "changes.example");
    let (guard, resolutions) = changing_name(true, &["127.0.0.1", "192.0.2.1"]);
    let client = HttpClient::from_parts(guard, tls::system_config());
    assert_eq!(post(&url, &client).await.unwrap().status, 200);
    assert_eq!((requests.load(Ordering::SeqCst), resolutions.load(Ordering::SeqCst)), (1, 1));

    // The next connection of a client that may use only public addresses is refused, although the URL is the same.
    let (guard, resolutions) = changing_name(false, &["127.0.0.1"]);
    let client = HttpClient::from_parts(guard, tls::system_config());
    assert!(matches!(post(&url, &client).await, Err(SendError::Address(address)) if address.is_loopback()));
    assert_eq!((requests.load(Ordering::SeqCst), resolutions.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test]
async fn server_that_accepts_no_connection_is_a_timeout() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    // The operating system completes two connections for a server that does not accept them, and no more.
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(200), tokio::net::TcpStream::connect(address)).await
    {
        waiting.push(stream);
        assert!(waiting.len() < 100, "the queue has no limit");
    }
    let limit = Duration::from_millis(300);
    let client = HttpClient::new(true).with_timeout(limit);
    let url = format!("http://{address}/hook");
    assert_eq!(post(&url, &client).await, Err(SendError::Timeout(limit)));
    // A server that accepts later gets the request.
    let client = HttpClient::new(true);
    let accepting = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = vec![0; 4_096];
                if stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let _ = stream.write_all(&reply("200 OK", b"")).await;
                }
            });
        }
    });
    assert_eq!(post(&url, &client).await.unwrap().status, 200);
    accepting.abort();
}
