//! What answers as late as if it were far away.

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
use trailhose::pack::{Call, LinesPerRecord, PackLimits};
use trailhose::sink::cost::{CALL_BYTES, CALL_RECORDS, RECORD_BYTES};
use trailhose::sink::{Oversize, Sink, SinkError, Span};
use trailhose::source::{ListPage, Listing, Source, SourceError};

/// Something behind a wait.
#[derive(Debug)]
pub struct Far<T> {
    pub to: Arc<T>,
    pub wait: Duration,
}

/// Half on the way there, half on the way back, so that requests meet at the store as they do at AWS.
macro_rules! far {
    ($self:ident, $call:expr) => {{
        sleep($self.wait / 2).await;
        let answer = $call.await;
        sleep($self.wait / 2).await;
        answer
    }};
}

#[async_trait]
impl Store for Far<Memory> {
    async fn change_row(&self, object: &Object, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        far!(self, self.to.change_row(object, guard, change))
    }

    async fn change_row_by_id(&self, id: ObjectId, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        far!(self, self.to.change_row_by_id(id, guard, change))
    }

    async fn rows(&self, ids: &[ObjectId]) -> Result<Vec<Option<Row>>, StoreError> {
        far!(self, self.to.rows(ids))
    }

    async fn pages(&self, names: &[PageName]) -> Result<Vec<Option<Page>>, StoreError> {
        far!(self, self.to.pages(names))
    }

    async fn write_page(&self, name: &PageName, stands: Option<Version>, page: &Page) -> Result<(), WriteError<Page>> {
        far!(self, self.to.write_page(name, stands, page))
    }
}

/// Objects in memory.
#[derive(Debug, Default)]
pub struct Shelf(Mutex<HashMap<String, Vec<u8>>>);

impl Shelf {
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
impl Source for Far<Shelf> {
    async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
        Ok(at.clone())
    }

    async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
        far!(self, async {
            let objects = self.to.0.lock().unwrap();
            objects.get(&object.key).cloned().ok_or_else(|| SourceError::Missing(object.to_string()))
        })
    }

    async fn list(&self, _ask: &Listing<'_>) -> Result<ListPage, SourceError> {
        Ok(ListPage::default())
    }
}

/// Takes every call.
#[derive(Debug, Default)]
pub struct Taken;

#[async_trait]
impl Sink for Far<Taken> {
    fn limits(&self) -> PackLimits {
        let lines = LinesPerRecord::Packed;
        PackLimits { record_bytes: RECORD_BYTES, call_records: CALL_RECORDS, call_bytes: CALL_BYTES, lines }
    }

    async fn span(&self) -> Result<Span, SinkError> {
        Ok(Span::none())
    }

    async fn deliver(&self, _call: &Call, _deadline: Instant) -> Result<(), SinkError> {
        sleep(self.wait).await;
        Ok(())
    }

    async fn store_oversize(&self, event: &Oversize<'_>) -> Result<String, SinkError> {
        Ok(format!("aside/{}", event.ordinal))
    }
}
