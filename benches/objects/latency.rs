//! Stores, sources and sinks with a simulated network latency.

use async_trait::async_trait;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use trailhose::generate;
use trailhose::ledger::model::page::{Page, PageName, Version};
use trailhose::ledger::model::row::{Change, Guard, Row};
use trailhose::ledger::store::memory::Memory;
use trailhose::ledger::store::{Store, StoreError, WriteError};
use trailhose::object::{Object, ObjectId, ObjectRef};
use trailhose::pack::{LinesPerRecord, PackLimits, SinkCall};
use trailhose::sink::cost::{CALL_BYTES, CALL_RECORDS, RECORD_BYTES};
use trailhose::sink::{Oversize, Sink, SinkError, Transaction};
use trailhose::source::{ListPage, Listing, Source, SourceError};

/// Adds latency to a store, source or sink.
#[derive(Debug)]
pub struct Delayed<T> {
    pub inner: Arc<T>,
    pub latency: Duration,
}

/// Waits half of the latency before and half after the call, so that concurrent requests meet at the store as at AWS.
macro_rules! delayed {
    ($self:ident, $call:expr) => {{
        sleep($self.latency / 2).await;
        let answer = $call.await;
        sleep($self.latency / 2).await;
        answer
    }};
}

#[async_trait]
impl Store for Delayed<Memory> {
    async fn change_row(&self, object: &Object, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        delayed!(self, self.inner.change_row(object, guard, change))
    }

    async fn change_row_by_id(&self, id: ObjectId, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        delayed!(self, self.inner.change_row_by_id(id, guard, change))
    }

    async fn rows(&self, ids: &[ObjectId]) -> Result<Vec<Option<Row>>, StoreError> {
        delayed!(self, self.inner.rows(ids))
    }

    async fn pages(&self, names: &[PageName]) -> Result<Vec<Option<Page>>, StoreError> {
        delayed!(self, self.inner.pages(names))
    }

    async fn write_page(&self, name: &PageName, current: Option<Version>, page: &Page) -> Result<(), WriteError<Page>> {
        delayed!(self, self.inner.write_page(name, current, page))
    }
}

/// A source with objects in memory.
#[derive(Debug, Default)]
pub struct InMemorySource(Mutex<HashMap<String, Vec<u8>>>);

impl InMemorySource {
    pub fn put(&self, key: &str, stored: Vec<u8>) -> ObjectRef {
        let at = ObjectRef::new("logs", key.to_owned()).with_version("made", stored.len() as u64);
        self.0.lock().unwrap().insert(key.to_owned(), stored);
        at
    }

    pub fn put_object(&self, object: &generate::SyntheticObject) -> ObjectRef {
        let mut stored = Vec::new();
        object.write_gzip(&mut stored).expect("memory takes all");
        let (account, region, number) = (&object.account, &object.region, object.number);
        let folder = format!("AWSLogs/{account}/CloudTrail/{region}/2026/01/15");
        self.put(&format!("{folder}/{account}_CloudTrail_{region}_20260115T1200Z_{number:016}.json.gz"), stored)
    }
}

#[async_trait]
impl Source for Delayed<InMemorySource> {
    async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
        Ok(at.clone())
    }

    async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
        delayed!(self, async {
            let objects = self.inner.0.lock().unwrap();
            objects.get(&object.key).cloned().ok_or_else(|| SourceError::Missing(object.to_string()))
        })
    }

    async fn list(&self, _ask: &Listing<'_>) -> Result<ListPage, SourceError> {
        Ok(ListPage::default())
    }
}

/// A sink that acknowledges every call.
#[derive(Debug, Default)]
pub struct DiscardingSink;

#[async_trait]
impl Sink for Delayed<DiscardingSink> {
    fn limits(&self) -> PackLimits {
        let lines = LinesPerRecord::Many;
        PackLimits { record_bytes: RECORD_BYTES, call_records: CALL_RECORDS, call_bytes: CALL_BYTES, lines }
    }

    async fn begin(&self) -> Result<Transaction, SinkError> {
        Ok(Transaction::none())
    }

    async fn deliver(&self, _call: &SinkCall, _deadline: Instant) -> Result<(), SinkError> {
        sleep(self.latency).await;
        Ok(())
    }

    async fn store_oversize(&self, event: &Oversize<'_>) -> Result<String, SinkError> {
        Ok(format!("oversize/{}", event.ordinal))
    }
}
