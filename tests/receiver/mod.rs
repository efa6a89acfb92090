//! A receiver of alerts that answers as it is told. It replaces services that no emulator offers (Slack, PagerDuty, a
//! webhook), and injects faults.

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

/// A running receiver.
#[derive(Debug)]
pub struct Receiver {
    pub url: String,
    requests: Arc<Mutex<Vec<Message>>>,
    answer: Arc<Mutex<Answer>>,
}

impl Receiver {
    pub async fn start(answer: Answer) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let receiver = Self { url, requests: Arc::default(), answer: Arc::new(Mutex::new(answer)) };
        let (requests, answer) = (Arc::clone(&receiver.requests), Arc::clone(&receiver.answer));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (requests, answer) = (Arc::clone(&requests), Arc::clone(&answer));
                tokio::spawn(async move {
                    let Ok(Some(request)) = Message::read_request(&mut stream).await else { return };
                    requests.lock().unwrap().push(request);
                    let answer = answer.lock().unwrap().clone();
                    match answer {
                        Answer::Reply(status, headers, body) => {
                            let headers: Vec<(&str, &str)> =
                                headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                            let _ = stream.write_all(&Message::reply(status, &headers, body).bytes()).await;
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
        *self.answer.lock().unwrap() = answer;
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
