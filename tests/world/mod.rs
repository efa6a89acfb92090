//! An environment in memory: a bucket, a ledger, a sink, and a connection to the worker that injects faults.
//!
//! The worker is the real code. Only its dependencies are replaced, so that each of its calls can fail.

#![allow(dead_code, unused_imports)] // Each test file uses a part.

pub mod check;
#[path = "../paired_store/mod.rs"]
mod paired_store;
pub mod queues;
mod stepped;
mod wire;

use async_trait::async_trait;
use paired_store::PairedStore;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
pub use stepped::Stepped;
use tokio::time::Instant;
use trailhose::decode;
use trailhose::event::filter::Filter;
use trailhose::ingest::{Deadline, Ingest, KeyPolicy, Outcome};
use trailhose::ledger::Ledger;
use trailhose::ledger::store::memory::Memory;
use trailhose::ledger::store::{Store, StoreError, WriteError};
use trailhose::object::{Object, ObjectRef};
use trailhose::pack::{LinesPerRecord, PackLimits, SinkCall};
use trailhose::sink::{Oversize, Sink, SinkError, Transaction};
use trailhose::source::{ListPage, Listing, Source, SourceError};
pub use wire::{Fault, Gate, Wire};

/// The time limit of an invocation. No test object needs that long.
pub const INVOCATION: Duration = Duration::from_secs(900);

/// The dependencies of a worker.
#[derive(Debug)]
pub struct World {
    pub bucket: Arc<Bucket>,
    pub store: Arc<Memory>,
    /// A second store that receives the same calls and must return the same results.
    pub beside: Option<Arc<dyn Store>>,
    pub sink: Arc<Arrived>,
    pub now: Arc<AtomicI64>,
    pub limits: PackLimits,
    pub keep: i64,
    pub filter: Filter,
    /// Maximum bytes of a range request.
    pub chunk_bytes: usize,
    /// Maximum decompressed bytes of one object that are buffered.
    pub max_buffered_bytes: usize,
    /// Maximum bytes of a page.
    pub page_bytes: usize,
    /// The ledger whose page locks the workers share, like the objects of one process.
    pub process: Option<Ledger>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            bucket: Arc::default(),
            store: Arc::default(),
            beside: None,
            sink: Arc::default(),
            now: Arc::new(AtomicI64::new(1_700_000_000)),
            limits: PackLimits {
                record_bytes: 1_024_000,
                call_records: 500,
                call_bytes: 4 << 20,
                lines: LinesPerRecord::Many,
            },
            keep: 90 * 86_400,
            filter: Filter::default(),
            chunk_bytes: 1 << 20,
            max_buffered_bytes: 1 << 20,
            page_bytes: CAPACITY,
            process: None,
        }
    }
}

impl World {
    /// Creates a world whose sink accepts `lines` events of [`event`] per call.
    pub fn with_lines_per_call(lines: usize) -> Self {
        let line = event(1).len() + 1;
        let limits = PackLimits {
            record_bytes: 100 * line,
            call_records: 1000,
            call_bytes: lines * line,
            lines: LinesPerRecord::Many,
        };
        Self { limits, ..Self::default() }
    }

    /// Returns this world with all workers in one process.
    pub fn in_one_process(self) -> Self {
        let process = Some(Ledger::new(Arc::<Memory>::default(), Arc::new(|| 0), self.keep));
        Self { process, ..self }
    }

    /// Creates a world whose sink cannot accept a [`long_event`].
    pub fn with_short_records() -> Self {
        let limits =
            PackLimits { record_bytes: 1500, call_records: 1000, call_bytes: 6000, lines: LinesPerRecord::Many };
        Self { limits, ..Self::default() }
    }

    /// Stores an object and returns its notification.
    pub fn put(&self, name: &str, bytes: &[u8]) -> ObjectRef {
        self.put_at(&key(name), bytes)
    }

    /// Puts an object under any key.
    pub fn put_at(&self, key: &str, bytes: &[u8]) -> ObjectRef {
        let etag = format!("{:08x}", crc32fast::hash(bytes));
        self.bucket.objects.lock().unwrap().insert(key.to_owned(), (etag.clone(), bytes.to_vec()));
        ObjectRef::new("logs", key).with_version(&etag, bytes.len() as u64)
    }

    /// Returns the store behind a wire, with the second store if there is one.
    fn store_over(&self, wire: &Arc<Wire>) -> Arc<OverWire<PairedStore>> {
        let paired_store = PairedStore::new(Arc::clone(&self.store), self.beside.clone());
        Arc::new(OverWire { wire: Arc::clone(wire), to: Arc::new(paired_store) })
    }

    /// Returns a worker that is connected by a wire.
    pub fn worker(&self, wire: &Arc<Wire>) -> Ingest {
        let now = Arc::clone(&self.now);
        let ledger = Ledger::new(self.store_over(wire), Arc::new(move || now.load(Ordering::SeqCst)), self.keep)
            .with_page_bytes(self.page_bytes)
            .without_write_waits();
        Ingest {
            source: Arc::new(OverWire { wire: Arc::clone(wire), to: Arc::clone(&self.bucket) }),
            ledger: match &self.process {
                Some(process) => ledger.sharing_page_locks_with(process),
                None => ledger,
            },
            sink: Arc::new(SinkOverWire { wire: Arc::clone(wire), to: Arc::clone(&self.sink), limits: self.limits }),
            limits: decode::DecodeLimits::default(),
            filter: self.filter.clone(),
            chunk_bytes: self.chunk_bytes,
            max_buffered_bytes: self.max_buffered_bytes,
            key_policy: KeyPolicy::CloudTrailLogs,
        }
    }

    /// Runs one attempt at an object without faults.
    pub async fn ingest(&self, at: &ObjectRef) -> Outcome {
        self.ingest_over(&Arc::default(), at).await
    }

    /// Runs one attempt at an object over a wire.
    pub async fn ingest_over(&self, wire: &Arc<Wire>, at: &ObjectRef) -> Outcome {
        self.worker(wire).object(at, Deadline::within(INVOCATION)).await
    }

    /// Runs one attempt at an object by a worker that crashes at this call.
    pub async fn ingest_dying_at(&self, call: usize, at: &ObjectRef) {
        let wire = Arc::new(Wire::failing([(call, Fault::Die)]));
        let outcome = self.ingest_over(&wire, at).await;
        assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    }

    /// Returns the delivered lines in order.
    pub fn delivered(&self) -> Vec<String> {
        let calls = self.sink.calls.lock().unwrap();
        calls.iter().flat_map(|call| call.iter().cloned()).collect()
    }

    /// Advances the time to just after `until`.
    pub fn pass_until(&self, until: i64) {
        self.now.fetch_max(until + 1, Ordering::SeqCst);
    }

    /// Advances the time.
    pub fn pass(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }
}

/// Returns the CloudTrail key of an object name.
pub fn key(name: &str) -> String {
    let name = format!("{name:0<16}");
    format!(
        "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/11/01/111122223333_CloudTrail_eu-west-1_20261101T0000Z_{name}.json.gz"
    )
}

/// Returns an event. All events have the same length and time.
pub fn event(number: u32) -> String {
    event_at(number, "2026-11-01T00:00:00Z")
}

/// Returns an event at a time.
pub fn event_at(number: u32, time: &str) -> String {
    format!(
        r#"{{"eventID":"00000000-0000-4000-8000-{number:012x}","eventTime":"{time}","awsRegion":"eu-west-1","recipientAccountId":"111122223333"}}"#
    )
}

/// Returns an event in a separate hour, and so on a separate page.
pub fn apart(number: u32) -> String {
    event_at(number, &format!("2026-11-01T{number:02}:00:00Z"))
}

/// Returns an event that is too long for [`World::with_short_records`].
pub fn long_event(number: u32) -> String {
    event(number).replacen('{', &format!("{{\"padding\":\"{}\",", "x".repeat(2000)), 1)
}

/// Returns a gzipped log file of these events.
pub fn log(events: &[String]) -> Vec<u8> {
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(format!("{{\"Records\":[{}]}}", events.join(",")).as_bytes()).unwrap();
    gzip.finish().unwrap()
}

/// Returns a log file that is not gzipped, for tests that read thousands.
pub fn plain_log(events: &[String]) -> Vec<u8> {
    format!("{{\"Records\":[{}]}}", events.join(",")).into_bytes()
}

/// The bucket.
#[derive(Debug, Default)]
pub struct Bucket {
    pub objects: Mutex<HashMap<String, (String, Vec<u8>)>>,
    /// Whether reads are denied.
    pub denied: AtomicBool,
}

impl Bucket {
    /// Returns a listing page of at most three entries.
    fn page(&self, ask: &Listing<'_>) -> ListPage {
        let objects = self.objects.lock().unwrap();
        let after = ask.token.or(ask.start_after).unwrap_or_default();
        let mut keys: Vec<&String> =
            objects.keys().filter(|key| key.starts_with(ask.prefix) && key.as_str() > after).collect();
        keys.sort();
        let (mut page, mut last) = (ListPage::default(), String::new());
        for key in keys {
            let rest = &key[ask.prefix.len()..];
            let folder = ask.delimiter.and_then(|delimiter| rest.find(delimiter)).map(|at| &rest[..=at]);
            let folder = folder.map(|folder| format!("{}{folder}", ask.prefix));
            if folder.as_ref().is_some_and(|folder| last.starts_with(folder)) {
                continue;
            }
            if page.objects.len() + page.prefixes.len() == 3 {
                page.next = Some(last);
                break;
            }
            match folder {
                Some(folder) => {
                    // After all keys of the folder.
                    last = format!("{folder}{}", char::MAX);
                    page.prefixes.push(folder);
                }
                None => {
                    let (etag, bytes) = &objects[key];
                    page.objects.push(ObjectRef::new(ask.bucket, key).with_version(etag, bytes.len() as u64));
                    last.clone_from(key);
                }
            }
        }
        page
    }
}

/// The sink: the delivered lines of each call.
#[derive(Debug, Default)]
pub struct Arrived {
    pub calls: Mutex<Vec<Vec<String>>>,
    /// Lines whose records are refused until the deadline. The other records of their call are accepted.
    pub refused: Mutex<HashSet<String>>,
    pub oversize: Mutex<HashMap<String, String>>,
}

/// A dependency behind a wire.
#[derive(Debug)]
pub struct OverWire<T> {
    pub wire: Arc<Wire>,
    pub to: Arc<T>,
}

#[derive(Debug)]
struct SinkOverWire {
    wire: Arc<Wire>,
    to: Arc<Arrived>,
    limits: PackLimits,
}

#[async_trait]
impl Source for OverWire<Bucket> {
    async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
        self.wire
            .call("stat", lost_source, async {
                let objects = self.to.objects.lock().unwrap();
                let (etag, bytes) = objects.get(&at.key).ok_or_else(|| SourceError::Missing(at.to_string()))?;
                Ok(at.clone().with_version(etag, bytes.len() as u64))
            })
            .await
    }

    async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
        self.wire
            .call("fetch", lost_source, async {
                let objects = self.to.objects.lock().unwrap();
                if self.to.denied.load(Ordering::SeqCst) {
                    return Err(SourceError::Denied(format!("s3:GetObject on {object} is denied")));
                }
                let (etag, bytes) = objects.get(&object.key).ok_or_else(|| SourceError::Missing(object.to_string()))?;
                if *etag != object.etag {
                    return Err(SourceError::Changed(object.to_string(), object.etag.clone()));
                }
                Ok(bytes.clone())
            })
            .await
    }

    async fn list(&self, ask: &Listing<'_>) -> Result<ListPage, SourceError> {
        self.wire.call("list", lost_source, async { Ok(self.to.page(ask)) }).await
    }
}

fn lost_source() -> SourceError {
    SourceError::Unavailable("wire".to_owned())
}

fn lost_store() -> StoreError {
    StoreError::Unknown("wire".to_owned())
}

fn lost_write<T: std::fmt::Debug>() -> WriteError<T> {
    WriteError::Store(lost_store())
}

fn lost_sink() -> SinkError {
    SinkError::Unavailable("wire".to_owned())
}

use trailhose::ledger::model::page::{CAPACITY, Page, PageName, Version};
use trailhose::ledger::model::row::{Change, Guard, Row};
use trailhose::object::ObjectId;

#[async_trait]
impl Store for OverWire<PairedStore> {
    async fn change_row(&self, object: &Object, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        self.wire.call(wire::name_of(change), lost_write, self.to.change_row(object, guard, change)).await
    }

    async fn change_row_by_id(&self, id: ObjectId, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        self.wire.call(wire::name_of(change), lost_write, self.to.change_row_by_id(id, guard, change)).await
    }

    async fn rows(&self, ids: &[ObjectId]) -> Result<Vec<Option<Row>>, StoreError> {
        self.wire.call("rows", lost_store, self.to.rows(ids)).await
    }

    async fn pages(&self, names: &[PageName]) -> Result<Vec<Option<Page>>, StoreError> {
        self.wire.call("pages", lost_store, self.to.pages(names)).await
    }

    async fn write_page(
        &self,
        name: &PageName,
        expected_version: Option<Version>,
        page: &Page,
    ) -> Result<(), WriteError<Page>> {
        self.wire.call("write_page", lost_write, self.to.write_page(name, expected_version, page)).await
    }
}

#[async_trait]
impl Sink for SinkOverWire {
    fn limits(&self) -> PackLimits {
        self.limits
    }

    async fn begin(&self) -> Result<Transaction, SinkError> {
        Ok(Transaction::none())
    }

    async fn deliver(&self, call: &SinkCall, _deadline: Instant) -> Result<(), SinkError> {
        self.wire
            .call("deliver", lost_sink, async {
                let refused = self.to.refused.lock().unwrap();
                let lines = |record: &[u8]| -> Vec<String> {
                    std::str::from_utf8(record).unwrap().lines().map(str::to_owned).collect()
                };
                let records: Vec<Vec<String>> = call.record_slices().map(lines).collect();
                let is_refused = |index: &usize| records[*index].iter().any(|line| refused.contains(line));
                let unacknowledged: Vec<usize> = (0..records.len()).filter(is_refused).collect();
                let taken =
                    (0..records.len()).filter(|index| !is_refused(index)).flat_map(|index| records[index].clone());
                self.to.calls.lock().unwrap().push(taken.collect());
                let (failed, code) = (unacknowledged.len(), "ServiceUnavailableException".to_owned());
                let error = SinkError::OutOfTime { failed, records: records.len(), code };
                match failed {
                    0 => Ok(()),
                    _ if failed == records.len() => Err(error),
                    _ => Err(SinkError::Partial { unacknowledged, error: Box::new(error) }),
                }
            })
            .await
    }

    async fn store_oversize(&self, event: &Oversize<'_>) -> Result<String, SinkError> {
        self.wire
            .call("store_oversize", lost_sink, async {
                let location = format!("oversize/{}/{}", event.object.id(), event.ordinal);
                let line = String::from_utf8(event.line.to_vec()).unwrap();
                self.to.oversize.lock().unwrap().insert(location.clone(), line);
                Ok(location)
            })
            .await
    }
}
