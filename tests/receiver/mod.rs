//! A receiver of alerts and forwarded events that answers as it is told. It replaces services that no emulator offers (Slack,
//! PagerDuty, a webhook), and injects faults.

#![allow(dead_code)] // Each test file uses a part.

use super::bed::http::Message;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// How requests are answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// With this status, these headers and this body.
    Reply(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// With status 200 and a body whose connection is closed before its first byte.
    CutBody,
    /// The connection is closed after the request.
    Close,
    /// The connection stays open without an answer.
    Hang,
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self::Reply(status, Vec::new(), Vec::new())
    }
}

/// Decides how a request is answered.
type Decide = Arc<dyn Fn(&Message) -> Answer + Send + Sync>;

/// A running receiver.
pub struct Receiver {
    pub url: String,
    requests: Arc<Mutex<Vec<Message>>>,
    decide: Arc<Mutex<Decide>>,
}

impl Receiver {
    pub async fn start(answer: Answer) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let decide: Decide = Arc::new(move |_| answer.clone());
        let receiver = Self { url, requests: Arc::default(), decide: Arc::new(Mutex::new(decide)) };
        let (requests, decide) = (Arc::clone(&receiver.requests), Arc::clone(&receiver.decide));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (requests, decide) = (Arc::clone(&requests), Arc::clone(&decide));
                tokio::spawn(async move {
                    let Ok(Some(request)) = Message::read_request(&mut stream).await else { return };
                    let decide = Arc::clone(&decide.lock().unwrap());
                    let answer = decide(&request);
                    requests.lock().unwrap().push(request);
                    match answer {
                        Answer::Reply(status, headers, body) => {
                            let headers: Vec<(&str, &str)> =
                                headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                            let _ = stream.write_all(&Message::reply(status, &headers, body).bytes()).await;
                        }
                        Answer::CutBody => {
                            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n").await;
                        }
                        Answer::Close => {}
                        Answer::Hang => tokio::time::sleep(Duration::from_secs(600)).await,
                    }
                });
            }
        });
        receiver
    }

    pub fn set(&self, answer: Answer) {
        self.decide(move |_| answer.clone());
    }

    /// Answers each request as the function decides.
    pub fn decide(&self, decide: impl Fn(&Message) -> Answer + Send + Sync + 'static) {
        *self.decide.lock().unwrap() = Arc::new(decide);
    }

    /// Returns the requests so far.
    pub fn requests(&self) -> Vec<Message> {
        self.requests.lock().unwrap().clone()
    }

    /// Returns the IDs of the webhooks so far.
    pub fn ids(&self) -> Vec<String> {
        self.requests().iter().map(|request| request.header("webhook-id").unwrap_or_default().to_owned()).collect()
    }
}
