//! Replacements for S3 and Firehose: a source in memory, and a sink with Firehose's limits that discards all calls.

use crate::object::{Object, ObjectRef};
use crate::pack::{LinesPerRecord, PackLimits, SinkCall};
use crate::sink::cost::{CALL_BYTES, CALL_RECORDS, RECORD_BYTES};
use crate::sink::{Oversize, Sink, SinkError, Transaction};
use crate::source::{ByteRange, ListPage, Listing, Source, SourceError};
use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

/// A source with objects in memory.
#[derive(Debug, Default)]
pub(super) struct InMemorySource(Mutex<HashMap<String, Vec<u8>>>);

impl InMemorySource {
    /// Adds an object and returns its reference.
    pub(super) fn put(&self, key: &str, stored: Vec<u8>) -> ObjectRef {
        let at = ObjectRef::new("sample", key.to_owned()).with_version("sample", stored.len() as u64);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), stored);
        at
    }
}

#[async_trait]
impl Source for InMemorySource {
    async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
        Ok(at.clone())
    }

    async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
        Ok(self.fetch_range(object, 0, usize::MAX).await?.bytes)
    }

    async fn fetch_range(&self, object: &Object, from: u64, max_bytes: usize) -> Result<ByteRange, SourceError> {
        let objects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = objects.get(&object.key).ok_or_else(|| SourceError::Missing(object.to_string()))?;
        Ok(ByteRange::from_slice(stored, from, max_bytes))
    }

    async fn list(&self, _request: &Listing<'_>) -> Result<ListPage, SourceError> {
        Ok(ListPage::default())
    }
}

/// A sink that acknowledges and discards every call.
#[derive(Debug)]
pub(super) struct DiscardingSink;

#[async_trait]
impl Sink for DiscardingSink {
    fn limits(&self) -> PackLimits {
        let lines = LinesPerRecord::Many;
        PackLimits { record_bytes: RECORD_BYTES, call_records: CALL_RECORDS, call_bytes: CALL_BYTES, lines }
    }

    async fn begin(&self) -> Result<Transaction, SinkError> {
        Ok(Transaction::none())
    }

    async fn deliver(&self, _call: &SinkCall, _deadline: Instant) -> Result<(), SinkError> {
        Ok(())
    }

    async fn store_oversize(&self, event: &Oversize<'_>) -> Result<String, SinkError> {
        Ok(format!("discarded/{}", event.ordinal))
    }
}
