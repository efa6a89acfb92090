//! CloudFormation's server for the answers of custom resources.

use super::http::Message;
use serde_json::Value;
use std::sync::{Arc, Mutex};
use tokio::io::AsyncWriteExt;

/// The server to which the function of a custom resource answers, instead of CloudFormation's.
pub struct Answers {
    /// The URL for the answer, presigned as CloudFormation's.
    pub url: String,
    received: Arc<Mutex<Vec<Value>>>,
}

impl Answers {
    /// Starts a server that fails the first `failures` requests.
    pub async fn start(failures: usize) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/answer?X-Amz-Signature=secret", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::clone(&received);
        tokio::spawn(async move {
            let mut left = failures;
            while let Ok((mut stream, _)) = listener.accept().await {
                let Ok(Some(request)) = Message::read_request(&mut stream).await else { continue };
                let status = if left > 0 { 503 } else { 200 };
                left = left.saturating_sub(1);
                if status == 200 {
                    assert!(request.first.starts_with("PUT /answer?X-Amz-Signature=secret "), "{request:?}");
                    assert_eq!(request.header("Content-Type"), None, "the presigned URL has no content type");
                    answers.lock().unwrap().push(serde_json::from_slice(&request.body).unwrap());
                }
                let _ = stream.write_all(&Message::reply(status, &[], Vec::new()).bytes()).await;
            }
        });
        Self { url, received }
    }

    /// Returns the only answer since the last call.
    pub fn take(&self) -> Value {
        let mut received = self.received.lock().unwrap();
        assert_eq!(received.len(), 1, "exactly one answer for each request: {received:?}");
        received.pop().unwrap()
    }
}
