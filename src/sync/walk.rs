//! Walk: the pages of a listing, one after the other, no further ahead than they are wanted.

use crate::backoff::{Backoff, Pace};
use crate::object::ObjectRef;
use crate::source::{ListPage, Listing, Source, SourceError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// Attempts at one page. One that stays away ends the walk: to go on behind it would leave a hole.
const ATTEMPTS: u32 = 5;

/// Waits between them.
const PACE: Pace = Pace { base: Duration::from_millis(500), cap: Duration::from_secs(10) };

/// Every key under a prefix.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) source: Arc<dyn Source>,
    pub(super) bucket: String,
    pub(super) prefix: String,
}

impl Walk {
    /// Sends page after page, and last of all the error that ended the listing early. Ends when nobody listens any more.
    pub(super) async fn run(self, pages: Sender<Result<Vec<ObjectRef>, SourceError>>) {
        let mut token: Option<String> = None;
        loop {
            match self.page(token.as_deref()).await {
                Ok(page) => {
                    if pages.send(Ok(page.objects)).await.is_err() || page.next.is_none() {
                        return;
                    }
                    token = page.next;
                }
                Err(error) => {
                    // Nobody listens: then nobody wants the error either.
                    let _ = pages.send(Err(error)).await;
                    return;
                }
            }
        }
    }

    async fn page(&self, token: Option<&str>) -> Result<ListPage, SourceError> {
        let ask = Listing { bucket: &self.bucket, prefix: &self.prefix, delimiter: None, token, start_after: None };
        let mut backoff = Backoff::new(PACE, fastrand::f64);
        let mut attempt = 1;
        loop {
            match self.source.list(&ask).await {
                Err(SourceError::Unavailable(error)) if attempt < ATTEMPTS => {
                    tracing::debug!(bucket = self.bucket, error, attempt, "listing again");
                    tokio::time::sleep(backoff.wait()).await;
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }
}
