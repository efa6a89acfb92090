//! Undone: the objects of an inventory without those that are done, for whoever ingests them himself.
//!
//! Almost all objects of an old bucket are done. Asked for a hundred at once they cost a fifth of what it costs to refuse
//! each its lease.

use crate::ledger::{Ledger, State};
use crate::object::{Object, ObjectRef};
use crate::source::{Pages, SourceError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// Leaves out of `pages` what is done, and counts it in `done`. No further ahead than it is wanted.
pub fn undone(mut pages: Pages, ledger: Ledger, done: Arc<AtomicU64>) -> Pages {
    let (send, left) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(page) = pages.recv().await {
            let page = match page {
                Ok(page) => without_done(page, &ledger, &done).await,
                broken => broken,
            };
            let broken = page.is_err();
            if send.send(page).await.is_err() || broken {
                return;
            }
        }
    });
    left
}

async fn without_done(page: Vec<ObjectRef>, ledger: &Ledger, done: &AtomicU64) -> Result<Vec<ObjectRef>, SourceError> {
    let objects: Vec<Option<Object>> = page.iter().map(ObjectRef::object).collect();
    let asked: Vec<Object> = objects.iter().flatten().cloned().collect();
    let states = ledger.states(&asked).await;
    let mut states = states.map_err(|error| SourceError::Unavailable(format!("ledger: {error}")))?.into_iter();
    let mut left = Vec::new();
    for (at, object) in page.into_iter().zip(objects) {
        match object.and_then(|_| states.next()) {
            Some(State::Done) => drop(done.fetch_add(1, Ordering::Relaxed)),
            _ => left.push(at),
        }
    }
    Ok(left)
}
