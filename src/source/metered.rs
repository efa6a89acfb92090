//! A source that counts what S3 would bill for what another source is asked.

use super::{ByteRange, ListPage, Listing, Source, SourceError};
use crate::object::{Object, ObjectRef};
use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What was asked so far, in numbers, whatever came of it. Shared by all sources that count into it; only grows.
#[derive(Debug, Default)]
pub struct SourceCounters {
    gets: AtomicU64,
    lists: AtomicU64,
}

/// [`SourceCounters`] at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceUsage {
    /// Requests at the price of a GET: objects, pieces of one, and heads of one.
    pub gets: u64,
    /// Pages of listings.
    pub lists: u64,
}

impl SourceCounters {
    /// The numbers as they stand.
    pub fn spent(&self) -> SourceUsage {
        SourceUsage { gets: self.gets.load(Ordering::Relaxed), lists: self.lists.load(Ordering::Relaxed) }
    }

    fn get_sent(&self) {
        self.gets.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts the requests that the source within is given.
#[derive(Debug)]
pub struct MeteredSource {
    inner: Arc<dyn Source>,
    usage: Arc<SourceCounters>,
}

impl MeteredSource {
    /// Counts into `usage` what `inner` is asked through this.
    pub fn new(inner: Arc<dyn Source>, usage: Arc<SourceCounters>) -> Self {
        Self { inner, usage }
    }
}

#[async_trait]
impl Source for MeteredSource {
    async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
        self.usage.get_sent();
        self.inner.stat(at).await
    }

    async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
        self.usage.get_sent();
        self.inner.fetch(object).await
    }

    async fn fetch_range(&self, object: &Object, from: u64, max_bytes: usize) -> Result<ByteRange, SourceError> {
        self.usage.get_sent();
        self.inner.fetch_range(object, from, max_bytes).await
    }

    async fn list(&self, ask: &Listing<'_>) -> Result<ListPage, SourceError> {
        self.usage.lists.fetch_add(1, Ordering::Relaxed);
        self.inner.list(ask).await
    }
}
