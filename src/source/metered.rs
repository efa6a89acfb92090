//! A source decorator that counts the requests S3 would bill.

use super::{ByteRange, ListPage, Listing, Source, SourceError};
use crate::object::{Object, ObjectRef};
use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of requests, including failed ones. Several sources can share them, and they only increase.
#[derive(Debug, Default)]
pub struct SourceCounters {
    gets: AtomicU64,
    lists: AtomicU64,
}

/// A snapshot of [`SourceCounters`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceUsage {
    /// Requests billed as a GET: GET, range and HEAD requests.
    pub gets: u64,
    /// List requests, one per page.
    pub lists: u64,
}

impl SourceCounters {
    /// Returns the current values.
    pub fn usage(&self) -> SourceUsage {
        SourceUsage { gets: self.gets.load(Ordering::Relaxed), lists: self.lists.load(Ordering::Relaxed) }
    }

    /// Counts a list request that did not go through a [`MeteredSource`].
    pub fn count_list(&self) {
        self.lists.fetch_add(1, Ordering::Relaxed);
    }

    fn count_get(&self) {
        self.gets.fetch_add(1, Ordering::Relaxed);
    }
}

/// A source that counts the requests sent to the inner source.
#[derive(Debug)]
pub struct MeteredSource {
    inner: Arc<dyn Source>,
    usage: Arc<SourceCounters>,
}

impl MeteredSource {
    /// Wraps `inner` and counts its requests in `usage`.
    pub fn new(inner: Arc<dyn Source>, usage: Arc<SourceCounters>) -> Self {
        Self { inner, usage }
    }
}

#[async_trait]
impl Source for MeteredSource {
    async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
        self.usage.count_get();
        self.inner.stat(at).await
    }

    async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
        self.usage.count_get();
        self.inner.fetch(object).await
    }

    async fn fetch_start(&self, object: &Object, max_bytes: usize) -> Result<ByteRange, SourceError> {
        self.usage.count_get();
        self.inner.fetch_start(object, max_bytes).await
    }

    async fn fetch_range(&self, object: &Object, from: u64, max_bytes: usize) -> Result<ByteRange, SourceError> {
        self.usage.count_get();
        self.inner.fetch_range(object, from, max_bytes).await
    }

    async fn list(&self, request: &Listing<'_>) -> Result<ListPage, SourceError> {
        self.usage.count_list();
        self.inner.list(request).await
    }
}
