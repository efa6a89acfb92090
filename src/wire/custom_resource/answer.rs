//! Sends the answer to CloudFormation, also after a panic.

use super::{CustomResourceAnswer, CustomResourceRequest};
use crate::aws;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The time limit of one attempt.
const ATTEMPT: Duration = Duration::from_secs(5);

/// The waits before the attempts after the first.
const WAITS: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(2)];

/// Sends an answer to the presigned URL of a request. Takes at most 24 s.
///
/// # Errors
/// No attempt succeeded. The message names the reason of the last one, without the URL.
pub async fn send(url: &str, answer: &CustomResourceAnswer) -> Result<(), String> {
    let body = serde_json::to_string(answer).map_err(|error| error.to_string())?;
    let mut waits = WAITS.into_iter();
    loop {
        let attempt = tokio::time::timeout(ATTEMPT, aws::put(url, body.clone())).await;
        let reason = match attempt {
            Ok(Ok(status)) if (200..300).contains(&status) => return Ok(()),
            Ok(Ok(status)) => format!("HTTP {status}"),
            Ok(Err(reason)) => reason,
            Err(_) => format!("no response after {} s", ATTEMPT.as_secs()),
        };
        match waits.next() {
            Some(wait) => tokio::time::sleep(wait).await,
            None => return Err(format!("cannot send the answer to CloudFormation: {reason}")),
        }
    }
}

/// The request in progress. If the function panics, it is answered with a failure.
#[derive(Debug, Clone, Default)]
pub struct PendingRequest(Arc<Mutex<Option<CustomResourceRequest>>>);

impl PendingRequest {
    /// Registers a panic hook that answers the request in progress. A release build aborts after the hook.
    pub fn answer_after_panics(&self) {
        let (pending, hook) = (self.clone(), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |panic| {
            hook(panic);
            if let Some(request) = pending.take() {
                let answer = request.panicked(panic.payload_as_str().unwrap_or("no message"));
                // The runtime of this thread cannot be used again, because the thread is unwinding or aborting.
                let sender = std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                    runtime.map_err(|error| error.to_string())?.block_on(send(&request.response_url, &answer))
                });
                if let Ok(Err(reason)) = sender.join() {
                    tracing::error!("{reason}");
                }
            }
        }));
    }

    /// Sets the request in progress.
    pub fn set(&self, request: &CustomResourceRequest) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(request.clone());
    }

    /// Removes and returns the request, after it was answered.
    pub fn take(&self) -> Option<CustomResourceRequest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
