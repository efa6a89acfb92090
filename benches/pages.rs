//! The ledger's cost by the time span of a page, its maximum size, and whether it is read before it is written. The
//! costs follow DynamoDB's published rules over traces with fixed seeds. Nothing is timed, so results are reproducible.
//!
//! ```console
//! $ cargo bench --bench pages                       # the table
//! $ cargo bench --bench pages -- --csv              # every figure, for a plot
//! $ cargo bench --bench pages -- --only quiet       # only traces with this text in their name
//! $ cargo bench --bench pages -- --dir FOLDER       # the log files of a folder instead of the traces
//! ```

#[path = "pages/trace.rs"]
mod trace;

use async_trait::async_trait;
use futures_util::FutureExt;
use std::sync::Arc;
use trace::{Trace, scopes};
use trailhose::billing::price::BilledUnits;
use trailhose::ledger::cost::LedgerUsage;
use trailhose::ledger::metered::MeteredStore;
use trailhose::ledger::model::page::{BUCKET_MINUTES, CAPACITY, Page, PageName, Version};
use trailhose::ledger::model::row::{Change, Counts, Guard, Row};
use trailhose::ledger::store::memory::Memory;
use trailhose::ledger::store::{Store, StoreError, WriteError};
use trailhose::ledger::{LeaseOutcome, Ledger};
use trailhose::object::{Object, ObjectId};

/// The time spans of a page in seconds. As in the ledger, a full page is followed by fifteen finer ones (there
/// minutes).
const SPANS: [i64; 6] = [15, 60, 300, 900, 3_600, 86_400];
const FINE_SPAN_FACTOR: i64 = BUCKET_MINUTES;

/// The maximum sizes of a finer page or shard, in KiB.
const CAPACITIES: [usize; 4] = [8, 32, 128, 256];

/// The events per Firehose call: 4 MiB with 1.2 kB each. For larger files the cursor is written after each call.
const CALL_EVENTS: usize = 3_400;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given = |name: &str| arguments.iter().position(|argument| argument == name);
    let csv = given("--csv").is_some();
    // Without `--bench`, as in `cargo test --all-targets`, a small run only checks that the program works.
    let whole = given("--bench").is_some();
    let only = given("--only").and_then(|at| arguments.get(at + 1));
    let named = |name: &str| only.is_none_or(|only| name.contains(only.as_str()));
    let traces = match given("--dir").and_then(|at| arguments.get(at + 1)) {
        Some(folder) => vec![trace::of_folder(folder.as_ref())],
        None if whole => trace::all().into_iter().filter(|trace| named(&trace.name)).collect(),
        None => vec![trace::quiet()],
    };
    if csv {
        println!("trace,span_s,capacity_kib,first,objects,events,write_units,read_units,writes,reads,dollars");
    }
    for trace in &traces {
        if !csv {
            let (objects, events) = (trace.objects.len(), trace.events());
            println!("\n{}: {objects} objects, {events} events", trace.name);
            println!("  span   capacity  first   units/event  units/object  reads/object  $/million events");
        }
        for span in SPANS {
            for capacity in CAPACITIES {
                // Busy traces only read first, because rejected writes of large pages make writing first more
                // expensive.
                let orders: &[First] =
                    if trace.events() < 100_000 { &[First::Read, First::Write] } else { &[First::Read] };
                for &first in orders {
                    let spent = run(trace, span, capacity * 1024, first);
                    if csv {
                        row(trace, span, capacity, first, spent)
                    } else {
                        line(trace, span, capacity, first, spent)
                    }
                }
            }
        }
    }
}

/// The first operation of a worker on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    /// Reads the page, as the ledger does.
    Read,
    /// Writes the page as if it did not exist. A failed condition returns the stored page.
    Write,
}

fn row(trace: &Trace, span: i64, capacity: usize, first: First, spent: LedgerUsage) {
    let first = if first == First::Read { "read" } else { "write" };
    println!(
        "{},{span},{capacity},{first},{},{},{},{},{},{},{:.6}",
        trace.name,
        trace.objects.len(),
        trace.events(),
        spent.write_units,
        spent.read_units,
        spent.writes,
        spent.reads,
        BilledUnits::ledger(spent).dollars()
    );
}

fn line(trace: &Trace, span: i64, capacity: usize, first: First, spent: LedgerUsage) {
    let (objects, events) = (trace.objects.len() as f64, trace.events() as f64);
    let chosen = span == BUCKET_MINUTES * 60 && capacity * 1024 == CAPACITY && first == First::Read;
    println!(
        "{:>6}s {:>6} KiB  {:5} {:>13.4} {:>13.2} {:>13.2} {:>13.4}{}",
        span,
        capacity,
        if first == First::Read { "read" } else { "write" },
        spent.write_units as f64 / events,
        spent.write_units as f64 / objects,
        spent.read_units as f64 / objects,
        BilledUnits::ledger(spent).dollars() / events * 1e6,
        if chosen { "  <" } else { "" }
    );
}

/// Runs the ledger operations of every object in sequence: lease, claim, advance after each call, complete.
fn run(trace: &Trace, span: i64, capacity: usize, first: First) -> LedgerUsage {
    let memory = Arc::new(Memory::default());
    let metered = MeteredStore::new(memory);
    let usage = metered.counters();
    let store: Arc<dyn Store> = match first {
        First::Read => Arc::new(metered),
        First::Write => Arc::new(WriteFirst(metered)),
    };
    let ledger = Ledger::new(store, Arc::new(|| 1_768_500_000), 90 * 86_400).with_page_bytes(capacity);
    for object in &trace.objects {
        let scopes = scopes(object, span / FINE_SPAN_FACTOR);
        let at = Object { bucket: "logs".into(), key: object.key.clone(), etag: "0".repeat(32) };
        let numbered = object.events.len() > CALL_EVENTS;
        let work = async {
            let Ok(LeaseOutcome::Granted(mut lease)) = ledger.lease(&at, 1_768_500_900).await else {
                panic!("a new object is leased")
            };
            let events: Vec<_> = scopes.meta.clone();
            let claims = ledger.claim(&mut lease, &events, &scopes.list, numbered).await.expect("memory answers");
            for call in 1..events.len().div_ceil(CALL_EVENTS) {
                ledger.advance(&mut lease, (call * CALL_EVENTS) as u32).await.expect("memory answers");
            }
            let counts = Counts { seen: claims.results.len() as u64, ..Counts::default() };
            ledger.complete(&lease, counts).await.expect("memory answers");
        };
        work.now_or_never().expect("memory answers at once");
    }
    usage.usage()
}

/// A store whose page reads are free and return nothing, so that the ledger writes first.
#[derive(Debug)]
struct WriteFirst<S>(S);

#[async_trait]
impl<S: Store> Store for WriteFirst<S> {
    async fn change_row(&self, object: &Object, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        self.0.change_row(object, guard, change).await
    }

    async fn change_row_by_id(&self, id: ObjectId, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        self.0.change_row_by_id(id, guard, change).await
    }

    async fn rows(&self, ids: &[ObjectId]) -> Result<Vec<Option<Row>>, StoreError> {
        self.0.rows(ids).await
    }

    async fn pages(&self, names: &[PageName]) -> Result<Vec<Option<Page>>, StoreError> {
        Ok(vec![None; names.len()])
    }

    async fn write_page(&self, name: &PageName, current: Option<Version>, page: &Page) -> Result<(), WriteError<Page>> {
        self.0.write_page(name, current, page).await
    }
}
