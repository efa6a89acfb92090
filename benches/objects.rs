//! Concurrent objects: the overlap of their waits, their contention on the same pages, and the savings if objects
//! shared Firehose records. Runs the real batch on in-memory stores with the latency of AWS.
//!
//! ```console
//! $ cargo bench --bench objects
//! ```
//!
//! Requests and units are counted; only the first table is timed, and nearly all of it is waiting.

#[path = "objects/latency.rs"]
mod latency;

use futures_util::{StreamExt, stream};
use latency::{Delayed, DiscardingSink, InMemorySource};
use std::sync::Arc;
use std::time::{Duration, Instant};
use trailhose::batch::Batch;
use trailhose::billing::price::BilledUnits;
use trailhose::decode::DecodeLimits;
use trailhose::event::filter::Filter;
use trailhose::generate::{EventsPerFile, ObjectSize, SyntheticBucket, SyntheticObject};
use trailhose::ingest::{Deadline, Ingest, KeyPolicy, Outcome};
use trailhose::ledger::cost::LedgerCounters;
use trailhose::ledger::metered::MeteredStore;
use trailhose::ledger::store::Store;
use trailhose::ledger::store::memory::Memory;
use trailhose::ledger::{Ledger, system_clock};
use trailhose::notification::Notice;
use trailhose::object::ObjectRef;
use trailhose::sink::cost::billed_bytes;

const S3: Duration = Duration::from_millis(30);
const DYNAMODB: Duration = Duration::from_millis(6);
const FIREHOSE: Duration = Duration::from_millis(80);

fn main() {
    // Without `--bench`, as in `cargo test --all-targets`, a small run only checks that the program works.
    let whole = std::env::args().any(|argument| argument == "--bench");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        overlap(if whole { 64 } else { 4 }, if whole { 3 } else { 1 }).await;
        contention(if whole { 160 } else { 8 }).await;
    });
    sharing(if whole { 1_000 } else { 20 });
}

/// Measures the time per object: files of 8 events from many accounts in one batch.
async fn overlap(objects: u32, runs: usize) {
    println!("in flight  ms per object  objects at once  (S3 30 ms, DynamoDB 6 ms, Firehose 80 ms)");
    let mut alone = None;
    for in_flight in [1, 8, 32] {
        let mut took = Vec::new();
        for _ in 0..runs {
            let bucket = SyntheticBucket {
                accounts: 40,
                events: EventsPerFile::Exactly(8),
                overlap_percent: 0,
                ..SyntheticBucket::new(6, objects)
            };
            let source = Arc::new(InMemorySource::default());
            let notices: Vec<_> =
                bucket.files().map(|(key, stored)| Notice::Object(source.put(&key, stored))).collect();
            let ingest = ingest(source, ledger_over(&store(&Arc::default()).0), Arc::default());
            let batch = Batch::new(ingest, None, in_flight, 1_024);
            let start = Instant::now();
            let ended = batch.notices(&notices, Deadline::within(Duration::from_secs(900))).await;
            took.push(start.elapsed().as_secs_f64() * 1e3 / f64::from(objects));
            assert_eq!(ended.tally.objects, u64::from(objects), "all are done");
        }
        took.sort_by(f64::total_cmp);
        let median = took[took.len() / 2];
        let alone = *alone.get_or_insert(median);
        println!("{in_flight:>9} {median:>14.1} {:>16.1}", alone / median);
    }
}

/// Counts the units per object if all objects have the same account and minutes: in one process, and in one process per
/// object.
async fn contention(objects: u32) {
    println!("\nin flight  processes  writes/object  refused/object  units/object  reads/object");
    for in_flight in [1, 8, 16, 32] {
        for one_process in [true, false] {
            let source = Arc::new(InMemorySource::default());
            let refs: Vec<ObjectRef> = (0..objects).map(|number| source.put_object(&same_minutes(number))).collect();
            let memory = Arc::default();
            let (store, usage) = store(&memory);
            let (shared, sink) = (ledger_over(&store), Arc::<DiscardingSink>::default());
            let runs = refs.into_iter().map(|at| {
                let mine = if one_process { shared.clone() } else { ledger_over(&store) };
                let ingest = ingest(Arc::clone(&source), mine, Arc::clone(&sink));
                async move { ingest.object(&at, Deadline::within(Duration::from_secs(900))).await }
            });
            let ended: Vec<_> = stream::iter(runs).buffer_unordered(in_flight).collect().await;
            for outcome in &ended {
                assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
            }
            let (spent, per) = (usage.usage(), f64::from(objects));
            println!(
                "{in_flight:>9} {:>10} {:>14.2} {:>15.2} {:>13.2} {:>13.2}",
                if one_process { "one" } else { "many" },
                spent.writes as f64 / per,
                spent.refused as f64 / per,
                spent.write_units as f64 / per,
                spent.read_units as f64 / per
            );
        }
    }
}

/// 60 events of the same account and the same few minutes.
fn same_minutes(number: u32) -> SyntheticObject {
    SyntheticObject { number, ..SyntheticObject::new(7, ObjectSize::Events(60)) }
}

/// Compares Firehose's bill for one record per object with its bill for records that ten objects share.
fn sharing(files: u32) {
    println!("\nevents a file  bytes a file  billed alone  billed shared by 10  $ saved a million events");
    for (name, events) in [("8", EventsPerFile::Exactly(8)), ("as measured", EventsPerFile::Measured)] {
        let bucket = SyntheticBucket { events, overlap_percent: 0, ..SyntheticBucket::new(8, files) };
        let (mut count, mut bytes) = (0, Vec::new());
        for (_, stored) in bucket.files() {
            let mut read = trailhose::decode::EventReader::new(&stored, DecodeLimits::default());
            let mut lines = 0;
            while let Some(event) = read.next().expect("what was made is sound") {
                lines += event.line.len() as u64 + 1;
                count += 1;
            }
            bytes.push(lines);
        }
        let payload: u64 = bytes.iter().sum();
        let alone: u64 = bytes.iter().map(|&bytes| billed_bytes(bytes)).sum();
        let shared: u64 = bytes.chunks(10).map(|ten| billed_bytes(ten.iter().sum())).sum();
        let saved = BilledUnits { firehose_bytes: (alone - shared) as f64, ..BilledUnits::default() }.dollars();
        println!(
            "{name:>13} {:>13.0} {:>13.3} {:>20.3} {:>25.4}",
            payload as f64 / bytes.len() as f64,
            alone as f64 / payload as f64,
            shared as f64 / payload as f64,
            saved / f64::from(count) * 1e6
        );
    }
}

fn store(memory: &Arc<Memory>) -> (Arc<dyn Store>, Arc<LedgerCounters>) {
    let metered = MeteredStore::new(Arc::new(Delayed { inner: Arc::clone(memory), latency: DYNAMODB }));
    let usage = metered.counters();
    (Arc::new(metered), usage)
}

fn ledger_over(store: &Arc<dyn Store>) -> Ledger {
    Ledger::new(Arc::clone(store), system_clock(), 90 * 86_400)
}

fn ingest(source: Arc<InMemorySource>, ledger: Ledger, sink: Arc<DiscardingSink>) -> Ingest {
    Ingest {
        source: Arc::new(Delayed { inner: source, latency: S3 }),
        ledger,
        sink: Arc::new(Delayed { inner: sink, latency: FIREHOSE }),
        limits: DecodeLimits::default(),
        filter: Filter::default(),
        chunk_bytes: trailhose::ingest::CHUNK_BYTES,
        max_buffered_bytes: trailhose::ingest::MAX_BUFFERED_BYTES,
        key_policy: KeyPolicy::CloudTrailLogs,
    }
}
