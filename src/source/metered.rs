//! A source that counts what S3 would bill for what another source is asked.

use super::{ListPage, Listing, Part, Source, SourceError};
use crate::object::{Object, ObjectRef};
use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What was asked so far, in numbers, whatever came of it. Shared by all sources that count into it; only grows.
#[derive(Debug, Default)]
pub struct Usage {
    gets: AtomicU64,
    lists: AtomicU64,
}

/// [`Usage`] at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Requests at the price of a GET: objects, pieces of one, and heads of one.
    pub gets: u64,
    /// Pages of listings.
    pub lists: u64,
}

impl Usage {
    /// The numbers as they stand.
    pub fn spent(&self) -> Spent {
        Spent { gets: self.gets.load(Ordering::Relaxed), lists: self.lists.load(Ordering::Relaxed) }
    }

    fn got(&self) {
        self.gets.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts the requests that the source within is given.
#[derive(Debug)]
pub struct Metered {
    within: Arc<dyn Source>,
    usage: Arc<Usage>,
}

impl Metered {
    /// Counts into `usage` what `within` is asked through this.
    pub fn new(within: Arc<dyn Source>, usage: Arc<Usage>) -> Self {
        Self { within, usage }
    }
}

#[async_trait]
impl Source for Metered {
    async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
        self.usage.got();
        self.within.stat(at).await
    }

    async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
        self.usage.got();
        self.within.fetch(object).await
    }

    async fn fetch_part(&self, object: &Object, from: u64, at_most: usize) -> Result<Part, SourceError> {
        self.usage.got();
        self.within.fetch_part(object, from, at_most).await
    }

    async fn list(&self, ask: &Listing<'_>) -> Result<ListPage, SourceError> {
        self.usage.lists.fetch_add(1, Ordering::Relaxed);
        self.within.list(ask).await
    }
}
