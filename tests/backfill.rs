//! The backfill enqueues exactly the objects that are in the bucket and not in the ledger, also if its worker is
//! stopped or killed.

mod memory_source;

use async_trait::async_trait;
use memory_source::{BUCKET, MemorySource, log};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use trailhose::backfill::{BackfillError, DispatchError, Dispatcher, Submitted, UnitEnd, UnitProcessor, UnitReport};
use trailhose::ledger::model::quarantine::QuarantineKind;
use trailhose::ledger::model::row;
use trailhose::ledger::store::memory::Memory;
use trailhose::ledger::{LeaseOutcome, Ledger, ObjectState};
use trailhose::listing::ListingError;
use trailhose::listing::discover::{Discovery, DiscoveryRequest};
use trailhose::listing::folder_level::Filters;
use trailhose::listing::unit::{BackfillMode, Layout, StateSelection, Unit};
use trailhose::listing::{DayRange, ListingCounts};
use trailhose::object::{ArchiveState, Object, ObjectRef};
use trailhose::source::Source;

const A: &str = "111122223333";
const REGION: &str = "AWSLogs/111122223333/CloudTrail/eu-west-1/";
const NOW: i64 = 1_795_132_800; // 2026-11-20T00:00:00Z

fn key(date: &str, name: &str) -> String {
    log("", A, "CloudTrail", "eu-west-1", date, name)
}

/// Returns the keys of twelve objects on four days. The day range of [`unit`] contains the middle two.
fn some_keys() -> Vec<String> {
    let days = ["2026-11-16", "2026-11-17", "2026-11-18", "2026-11-20"];
    days.iter().flat_map(|day| ["a", "b", "c"].map(|name| key(day, name))).collect()
}

fn unit() -> Unit {
    Unit {
        bucket: BUCKET.to_owned(),
        prefix: REGION.to_owned(),
        layout: Layout::Days,
        day_range: DayRange::parse("2026-11-17", "2026-11-19").unwrap(),
        filters: Filters::default(),
        states: StateSelection::Unfinished,
        mode: BackfillMode::Enqueue,
        after: None,
    }
}

/// A bucket, a ledger and a dispatcher that may fail.
struct Fixture {
    memory_source: Arc<MemorySource>,
    ledger: Ledger,
    now: Arc<AtomicI64>,
    dispatcher: FailingDispatcher,
}

/// Records the objects that it accepts. Fails once after a number of objects.
#[derive(Debug, Default)]
struct FailingDispatcher {
    taken: Mutex<Vec<String>>,
    /// How many more objects it accepts, and how it fails then.
    takes: Mutex<Option<(usize, Failure)>>,
}

#[derive(Debug, Clone, Copy)]
enum Failure {
    OutOfTime,
    /// The worker is killed: its later results are lost.
    Killed,
}

#[async_trait]
impl Dispatcher for FailingDispatcher {
    async fn submit(&self, objects: &[ObjectRef], _stop: Instant) -> Submitted {
        let mut takes = self.takes.lock().unwrap();
        let (taken, broke) = match *takes {
            Some((left, how)) if left < objects.len() => {
                *takes = None;
                (
                    left,
                    Some(match how {
                        Failure::OutOfTime => DispatchError::OutOfTime,
                        Failure::Killed => DispatchError::Failed("killed".to_owned()),
                    }),
                )
            }
            Some((left, how)) => {
                *takes = Some((left - objects.len(), how));
                (objects.len(), None)
            }
            None => (objects.len(), None),
        };
        self.taken.lock().unwrap().extend(objects[..taken].iter().map(|object| object.key.clone()));
        Submitted { accepted: taken, messages: 1, error: broke }
    }
}

impl Fixture {
    fn over(memory_source: MemorySource) -> Self {
        let now = Arc::new(AtomicI64::new(NOW));
        let clock = Arc::clone(&now);
        let ledger =
            Ledger::new(Arc::new(Memory::default()), Arc::new(move || clock.load(Ordering::SeqCst)), 90 * 86_400);
        Self { memory_source: Arc::new(memory_source), ledger, now, dispatcher: FailingDispatcher::default() }
    }

    async fn run_until(&self, unit: Unit, stop: Instant) -> UnitReport {
        let source: Arc<dyn Source> = self.memory_source.clone();
        UnitProcessor { source, ledger: self.ledger.clone() }.run(unit, &self.dispatcher, stop).await
    }

    async fn run(&self, unit: Unit) -> UnitReport {
        self.run_until(unit, Instant::now() + Duration::from_secs(60)).await
    }

    /// Runs a unit, which must finish, and returns its counts and the enqueued keys.
    async fn finish(&self, unit: Unit) -> (ListingCounts, Vec<String>) {
        let ended = self.run(unit).await;
        assert!(matches!(ended.end, UnitEnd::Done), "{:?}", ended.end);
        (ended.counts, std::mem::take(&mut self.dispatcher.taken.lock().unwrap()))
    }

    async fn ingest(&self, key: &str) {
        let etag = self.memory_source.keys.lock().unwrap()[key].clone();
        let Ok(LeaseOutcome::Granted(lease)) = self.ledger.lease(&object(key, &etag), NOW + 10).await else {
            panic!("{key} not leased")
        };
        self.ledger.complete(&lease, row::Counts::default()).await.unwrap();
    }
}

fn object(key: &str, etag: &str) -> Object {
    Object { bucket: BUCKET.to_owned(), key: key.to_owned(), etag: etag.to_owned() }
}

#[tokio::test]
async fn missing_objects_are_enqueued_and_a_second_run_enqueues_nothing() {
    let fixture = Fixture::over(MemorySource::holding(some_keys()));
    fixture.ingest(&key("2026-11-17", "b")).await;
    let (counts, enqueued) = fixture.finish(unit()).await;
    let expected = [("17", "a"), ("17", "c"), ("18", "a"), ("18", "b"), ("18", "c")];
    assert_eq!(enqueued, expected.map(|(day, name)| key(&format!("2026-11-{day}"), name)));
    let seen = ListingCounts { listed: 6, done: 1, missing: 5, sent: 5, bytes: 500, ..ListingCounts::default() };
    assert_eq!(counts, ListingCounts { messages: 1, list_requests: 1, ledger_reads: 6, ..seen });
    for key in enqueued {
        fixture.ingest(&key).await;
    }
    let (counts, enqueued) = fixture.finish(unit()).await;
    assert_eq!((counts.done, counts.sent, enqueued.len()), (6, 0, 0));
}

#[tokio::test]
async fn each_object_state_is_handled_as_specified() {
    let names = ["absent", "done", "leased", "open", "quarantined", "refixtured", "settled"];
    let fixture = Fixture::over(MemorySource::holding(names.map(|name| key("2026-11-18", name))));
    let lease = async |name: &str| match fixture.ledger.lease(&object(&key("2026-11-18", name), "e1"), NOW + 100).await
    {
        Ok(LeaseOutcome::Granted(lease)) => lease,
        other => panic!("not granted: {other:?}"),
    };
    fixture.ingest(&key("2026-11-18", "done")).await;
    lease("leased").await;
    fixture.ledger.release(&lease("open").await).await.unwrap();
    fixture.ledger.quarantine(&lease("quarantined").await, "corrupt: at byte 7").await.unwrap();
    fixture.ingest(&key("2026-11-18", "refixtured")).await;
    fixture.memory_source.put(&key("2026-11-18", "refixtured"), "e2");
    let mut settled = lease("settled").await;
    fixture.ledger.settle(&mut settled).await.unwrap();
    fixture.ledger.release(&settled).await.unwrap();

    let keys = |names: &[&str]| names.iter().map(|name| key("2026-11-18", name)).collect::<Vec<_>>();
    let (counts, enqueued) = fixture.finish(unit()).await;
    assert_eq!(enqueued, keys(&["absent", "open", "refixtured", "settled"]));
    let states = (counts.done, counts.leased, counts.quarantined, counts.missing, counts.unfinished);
    assert_eq!(states, (1, 1, 1, 2, 2));

    // On request, quarantined objects are enqueued and reopened. Otherwise the next worker would skip them.
    let (_, enqueued) = fixture.finish(Unit { states: StateSelection::UnfinishedAndQuarantined, ..unit() }).await;
    assert_eq!(enqueued, keys(&["absent", "open", "quarantined", "refixtured", "settled"]));
    let states = fixture.ledger.states(&[object(&key("2026-11-18", "quarantined"), "e1")]).await.unwrap();
    assert_eq!(states, [ObjectState::Unfinished]);

    // The lease of a crashed worker expires.
    fixture.now.store(NOW + 101, Ordering::SeqCst);
    let (_, enqueued) = fixture.finish(unit()).await;
    assert!(enqueued.contains(&key("2026-11-18", "leased")));
}

/// Returns the ledger states of these objects of 2026-11-18.
async fn states(fixture: &Fixture, names: &[&str]) -> Vec<ObjectState> {
    let objects: Vec<_> = names.iter().map(|name| object(&key("2026-11-18", name), "e1")).collect();
    fixture.ledger.states(&objects).await.unwrap()
}

#[tokio::test]
async fn archived_objects_are_quarantined_and_enqueued_after_their_restoration() {
    let names = ["absent", "done", "leased", "open", "readable"];
    let fixture = Fixture::over(MemorySource::holding(names.map(|name| key("2026-11-18", name))));
    let set = |archive: ArchiveState| {
        let archived = ["absent", "done", "leased", "open"].map(|name| (key("2026-11-18", name), archive));
        *fixture.memory_source.archive.lock().unwrap() = archived.into();
    };
    set(ArchiveState::Archived);
    fixture.ingest(&key("2026-11-18", "done")).await;
    for name in ["leased", "open"] {
        let leased = fixture.ledger.lease(&object(&key("2026-11-18", name), "e1"), NOW + 100).await.unwrap();
        let LeaseOutcome::Granted(lease) = leased else { panic!("not granted: {leased:?}") };
        if name == "open" {
            fixture.ledger.release(&lease).await.unwrap();
        }
    }
    let archived = ObjectState::Quarantined(QuarantineKind::Archived);
    let leased = ObjectState::Leased { until: NOW + 100 };

    // A dry run counts and writes nothing.
    let (counts, _) = fixture.finish(Unit { mode: BackfillMode::Count, ..unit() }).await;
    let figures = |counts: ListingCounts| (counts.archived, counts.done, counts.leased, counts.missing, counts.sent);
    assert_eq!(figures(counts), (2, 1, 1, 1, 1));
    assert_eq!(states(&fixture, &["absent", "open"]).await, [ObjectState::Absent, ObjectState::Unfinished]);

    let (counts, enqueued) = fixture.finish(unit()).await;
    assert_eq!((figures(counts), enqueued), ((2, 1, 1, 1, 1), vec![key("2026-11-18", "readable")]));
    assert_eq!(states(&fixture, &names[..4]).await, [archived, ObjectState::Done, leased, archived]);
    // Also a run that includes quarantined objects does not enqueue what cannot be read.
    let (counts, enqueued) = fixture.finish(Unit { states: StateSelection::UnfinishedAndQuarantined, ..unit() }).await;
    assert_eq!((figures(counts), enqueued), ((2, 1, 1, 1, 1), vec![key("2026-11-18", "readable")]));

    // Whether an object is restored is unknown in a report and for Intelligent-Tiering: it is tried.
    for restored in [ArchiveState::Readable, ArchiveState::Unknown] {
        set(restored);
        let (counts, _) = fixture.finish(Unit { mode: BackfillMode::Count, ..unit() }).await;
        assert_eq!((counts.archived, counts.unfinished, counts.sent), (0, 2, 3));
        assert_eq!(states(&fixture, &["absent", "open"]).await, [archived; 2]);
        let (counts, enqueued) = fixture.finish(unit()).await;
        assert_eq!((counts.archived, counts.unfinished, counts.sent), (0, 2, 3));
        assert_eq!(enqueued, ["absent", "open", "readable"].map(|name| key("2026-11-18", name)));
        assert_eq!(states(&fixture, &["absent", "open"]).await, [ObjectState::Unfinished; 2]);
        set(ArchiveState::Archived);
        fixture.finish(unit()).await;
    }
    assert!(fixture.memory_source.fetched.lock().unwrap().is_empty(), "no request for an archived object");
}

#[tokio::test]
async fn one_request_for_each_unit_decides_whether_objects_of_a_key_are_enqueued() {
    let names = ["a", "b", "c"];
    let fixture = Fixture::over(MemorySource::holding(names.map(|name| key("2026-11-18", name))));
    for name in names {
        let leased = fixture.ledger.lease(&object(&key("2026-11-18", name), "e1"), NOW + 100).await.unwrap();
        let LeaseOutcome::Granted(lease) = leased else { panic!("not granted: {leased:?}") };
        fixture.ledger.quarantine(&lease, "kms: arn:aws:kms:eu-west-1:111122223333:key/a is disabled").await.unwrap();
    }
    let set = |usable| *fixture.memory_source.kms_key.lock().unwrap() = Some(usable);
    set(false);
    let (counts, enqueued) = fixture.finish(unit()).await;
    assert_eq!((counts.kms, counts.quarantined, counts.key_probes, enqueued.len()), (3, 0, 1, 0));
    set(true);
    let (counts, _) = fixture.finish(Unit { mode: BackfillMode::Count, ..unit() }).await;
    assert_eq!((counts.kms, counts.key_probes, counts.sent), (3, 0, 0), "a dry run tests no key");
    let (counts, enqueued) = fixture.finish(unit()).await;
    assert_eq!((counts.kms, counts.unfinished, counts.key_probes, enqueued.len()), (0, 3, 1, 3));
    assert_eq!(states(&fixture, &names).await, [ObjectState::Unfinished; 3]);
}

#[tokio::test]
async fn dry_run_counts_the_same_without_changes() {
    let fixture = Fixture::over(MemorySource::holding(some_keys()));
    let Ok(LeaseOutcome::Granted(lease)) = fixture.ledger.lease(&object(&key("2026-11-17", "a"), "e1"), NOW).await
    else {
        panic!("not leased")
    };
    fixture.ledger.quarantine(&lease, "corrupt").await.unwrap();
    let states = StateSelection::UnfinishedAndQuarantined;
    let (counts, enqueued) = fixture.finish(Unit { mode: BackfillMode::Count, states, ..unit() }).await;
    assert_eq!((counts.sent, counts.bytes, counts.messages, enqueued.len()), (6, 600, 0, 0));
    assert_eq!(
        fixture.ledger.states(std::slice::from_ref(&lease.object)).await.unwrap(),
        [ObjectState::Quarantined(QuarantineKind::Other)]
    );
    // An object whose quarantine was accepted is counted and not reopened.
    fixture.ledger.accept(lease.id, "known").await.unwrap();
    let (counts, _) = fixture.finish(Unit { mode: BackfillMode::Count, states, ..unit() }).await;
    assert_eq!((counts.sent, counts.quarantined), (5, 1));
}

#[tokio::test]
async fn late_file_with_an_earlier_key_is_found() {
    let fixture = Fixture::over(MemorySource::holding(some_keys()));
    for key in fixture.finish(unit()).await.1 {
        fixture.ingest(&key).await;
    }
    let late = key("2026-11-17", "0");
    fixture.memory_source.put(&late, "e1");
    assert_eq!(fixture.finish(unit()).await.1, [late]);
}

#[tokio::test]
async fn listing_is_limited_to_the_day_range() {
    let days: Vec<String> =
        DayRange::parse("2026-01-01", "2026-12-31").unwrap().days().map(|day| day.to_string()).collect();
    let memory_source = MemorySource::holding(days.iter().map(|day| key(day, "a")));
    let fixture = Fixture::over(MemorySource { page: 2, ..memory_source });
    let (counts, enqueued) = fixture.finish(unit()).await;
    assert_eq!(enqueued, ["2026-11-17", "2026-11-18", "2026-11-19"].map(|day| key(day, "a")));
    assert_eq!(counts.list_requests, 2, "two pages of two keys contain the three days and the day after");
}

#[tokio::test]
async fn objects_older_than_ledger_retention_are_enqueued_and_counted() {
    let fixture = Fixture::over(MemorySource::holding([key("2026-08-01", "a"), key("2026-11-18", "a")]));
    let day_range = DayRange::parse("2026-07-01", "2026-11-20").unwrap();
    let (counts, enqueued) = fixture.finish(Unit { day_range, ..unit() }).await;
    assert_eq!((enqueued.len(), counts.missing, counts.past_retention), (2, 2, 1));
}

#[tokio::test]
async fn flat_folder_is_filtered_by_file_names() {
    let name = |account: &str, region: &str, day: u32| {
        format!("copied/x/{account}_CloudTrail_{region}_202611{day:02}T0000Z_a.json.gz")
    };
    let others = ["copied/readme.txt", "copied/x/", "copied/111122223333_CloudTrail-Digest_eu-west-1_x.json.gz"];
    let logs = [
        name(A, "eu-west-1", 17),
        name(A, "us-east-1", 17),
        name("444455556666", "eu-west-1", 17),
        name(A, "eu-west-1", 1),
    ];
    let fixture = Fixture::over(MemorySource::holding(others.map(str::to_owned).into_iter().chain(logs.clone())));
    let flat = Unit { prefix: "copied/".to_owned(), layout: Layout::Flat, ..unit() };
    let (counts, enqueued) = fixture.finish(flat.clone()).await;
    assert_eq!((enqueued.len(), counts.listed, counts.not_logs, counts.excluded), (3, 7, 3, 1));
    let set = |name: &str| [name.to_owned()].into();
    let filters = Filters { accounts: set(A), regions: set("eu-west-1"), ..Filters::default() };
    assert_eq!(fixture.finish(Unit { filters, ..flat }).await.1, [logs[0].clone()]);
}

#[tokio::test]
async fn changes_during_listing_lose_no_existing_object() {
    let names: Vec<String> = (0..40).map(|number| key("2026-11-18", &format!("{number:02}"))).collect();
    for page in [1, 3, 7] {
        let (doomed, kept): (Vec<_>, Vec<_>) = names.iter().enumerate().partition(|(number, _)| number % 3 == 0);
        let doomed: Vec<String> = doomed.into_iter().map(|(_, key)| key.clone()).collect();
        // Before each page, one key before, at or after the current position is deleted, and others are added around
        // it.
        let before = Box::new(move |number: usize, keys: &mut BTreeMap<String, String>| {
            keys.remove(&doomed[(number * 5) % doomed.len()]);
            keys.insert(key("2026-11-18", &format!("{:02}-new-{number}", (number * 7) % 40)), "e1".to_owned());
            keys.insert(key("2026-11-17", &format!("new-{number}")), "e1".to_owned());
        });
        let fixture =
            Fixture::over(MemorySource { page, before: Some(before), ..MemorySource::holding(names.clone()) });
        let (_, enqueued) = fixture.finish(unit()).await;
        let changes = fixture.memory_source.keys.lock().unwrap().keys().filter(|key| key.contains("new-")).count();
        assert!(changes > names.len() / page, "pages of {page}: only {changes} keys were added");
        for (_, key) in &kept {
            assert_eq!(enqueued.iter().filter(|enqueued| enqueued == key).count(), 1, "{key} with pages of {page}");
        }
        assert!(
            enqueued.len() > 1 && enqueued.is_sorted() && enqueued.windows(2).all(|two| two[0] != two[1]),
            "each key once"
        );
        // The next run finds the objects that were added too late for this run.
        for key in enqueued {
            if fixture.memory_source.keys.lock().unwrap().contains_key(&key) {
                fixture.ingest(&key).await;
            }
        }
        let Fixture { memory_source, ledger, now, dispatcher } = fixture;
        let calm = MemorySource::holding(memory_source.keys.lock().unwrap().keys().cloned().collect::<Vec<_>>());
        let fixture = Fixture { memory_source: Arc::new(calm), ledger, now, dispatcher };
        for key in fixture.finish(unit()).await.1 {
            fixture.ingest(&key).await;
        }
        assert_eq!(fixture.finish(unit()).await.0.missing, 0);
    }
}

#[tokio::test]
async fn unordered_listing_is_an_error() {
    let fixture = Fixture::over(MemorySource { page: 2, ..MemorySource::holding(some_keys()) });
    let source: Arc<dyn Source> = Arc::new(DeviatingSource(fixture.memory_source.clone(), Deviation::ReversesPages));
    let processor = UnitProcessor { source, ledger: fixture.ledger.clone() };
    let ended = processor.run(unit(), &fixture.dispatcher, Instant::now() + Duration::from_secs(60)).await;
    let UnitEnd::Failed { error: error @ BackfillError::Listing(ListingError::Order { .. }), .. } = ended.end else {
        panic!("{:?}", ended.end)
    };
    assert!(error.to_string().contains("expected keys in byte order"), "{error}");
}

/// Some services that are compatible with S3 ignore the key after which a listing starts.
#[tokio::test]
async fn keys_before_the_start_are_skipped_if_the_source_lists_them() {
    for page in [1, 2, 1000] {
        let fixture = Fixture::over(MemorySource { page, ..MemorySource::holding(some_keys()) });
        let source: Arc<dyn Source> = Arc::new(DeviatingSource(fixture.memory_source.clone(), Deviation::IgnoresStart));
        let processor = UnitProcessor { source, ledger: fixture.ledger.clone() };
        let ended = processor.run(unit(), &fixture.dispatcher, Instant::now() + Duration::from_secs(60)).await;
        assert!(matches!(ended.end, UnitEnd::Done), "{:?}", ended.end);
        let enqueued = fixture.dispatcher.taken.lock().unwrap().clone();
        // The keys of the second and the third of four days.
        assert_eq!(enqueued, some_keys()[3..9], "pages of {page}");
    }
}

/// How a source deviates from S3's listing.
#[derive(Debug)]
enum Deviation {
    /// It ignores the key after which a listing starts.
    IgnoresStart,
    /// It reverses each page.
    ReversesPages,
}

/// A source whose listings deviate from S3's.
#[derive(Debug)]
struct DeviatingSource(Arc<MemorySource>, Deviation);

#[async_trait]
impl Source for DeviatingSource {
    async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, trailhose::source::SourceError> {
        self.0.stat(at).await
    }

    async fn fetch(&self, object: &Object) -> Result<Vec<u8>, trailhose::source::SourceError> {
        self.0.fetch(object).await
    }

    async fn list(
        &self,
        ask: &trailhose::source::Listing<'_>,
    ) -> Result<trailhose::source::ListPage, trailhose::source::SourceError> {
        match self.1 {
            Deviation::IgnoresStart => self.0.list(&trailhose::source::Listing { start_after: None, ..*ask }).await,
            Deviation::ReversesPages => {
                let mut page = self.0.list(ask).await?;
                page.objects.reverse();
                Ok(page)
            }
        }
    }
}

#[tokio::test]
async fn unit_that_runs_out_of_time_resumes_and_enqueues_each_object_once() {
    for page in [1, 2, 4, 1000] {
        for takes in 0..7 {
            let fixture = Fixture::over(MemorySource { page, ..MemorySource::holding(some_keys()) });
            fixture.ingest(&key("2026-11-18", "b")).await;
            *fixture.dispatcher.takes.lock().unwrap() = Some((takes, Failure::OutOfTime));
            let first = fixture.run(unit()).await;
            let mut counts = first.counts;
            match first.end {
                UnitEnd::Done => assert!(takes >= 5),
                UnitEnd::OutOfTime(left) => {
                    // The continuation passes through the queue.
                    let left = Unit::parse(&left.body()).unwrap();
                    let second = fixture.run(left).await;
                    assert!(matches!(second.end, UnitEnd::Done));
                    counts.merge(&second.counts);
                }
                other @ (UnitEnd::Failed { .. } | UnitEnd::AwaitingBudget { .. }) => panic!("{other:?}"),
            }
            let enqueued = fixture.dispatcher.taken.lock().unwrap().clone();
            let names = [("17", "a"), ("17", "b"), ("17", "c"), ("18", "a"), ("18", "c")];
            assert_eq!(enqueued, names.map(|(day, name)| key(&format!("2026-11-{day}"), name)), "{page}, {takes}");
            assert_eq!((counts.listed, counts.missing, counts.done, counts.sent), (6, 5, 1, 5), "{page}, {takes}");
        }
    }
}

#[tokio::test]
async fn expired_deadline_starts_nothing_and_a_deadline_stops_between_pages() {
    let fixture = Fixture::over(MemorySource { page: 1, ..MemorySource::holding(some_keys()) });
    let ended = fixture.run_until(unit(), Instant::now()).await;
    let UnitEnd::OutOfTime(left) = ended.end else { panic!("{:?}", ended.end) };
    assert_eq!((left, fixture.memory_source.requests()), (unit(), 0));
    // The deadline passes while the third page is listed.
    let slow = Box::new(|number: usize, _: &mut BTreeMap<String, String>| {
        if number == 2 {
            std::thread::sleep(Duration::from_millis(300));
        }
    });
    let fixture = Fixture::over(MemorySource { page: 1, before: Some(slow), ..MemorySource::holding(some_keys()) });
    let ended = fixture.run_until(unit(), Instant::now() + Duration::from_millis(250)).await;
    let UnitEnd::OutOfTime(left) = ended.end else { panic!("{:?}", ended.end) };
    assert_eq!(fixture.memory_source.requests(), 3, "the slow page was listed");
    assert_eq!(left.after, Some(key("2026-11-17", "b")));
    assert_eq!(fixture.dispatcher.taken.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn failure_keeps_the_progress_before_it() {
    let fixture = Fixture::over(MemorySource { page: 2, failing: Some(2), ..MemorySource::holding(some_keys()) });
    let ended = fixture.run(unit()).await;
    let UnitEnd::Failed { left, error } = ended.end else { panic!("{:?}", ended.end) };
    assert_eq!(error.to_string(), "SlowDown");
    assert_eq!(left.after, Some(key("2026-11-18", "a")));
    assert_eq!(ended.counts.sent, 4);
    let rest = fixture.finish(left).await.1;
    assert_eq!(rest.len(), 6);
}

/// The units pass through a queue that keeps a message until it is acknowledged.
#[tokio::test]
async fn kill_at_any_object_loses_no_object() {
    let accounts = [A, "444455556666", "777788889999"];
    let keys = accounts.iter().flat_map(|account| {
        ["eu-west-1", "us-east-1"].into_iter().flat_map(move |region| {
            (0..5).map(move |number| log("", account, "CloudTrail", region, "2026-11-18", &number.to_string()))
        })
    });
    let mut all: Vec<String> = keys.collect();
    all.sort();
    for killed in 0..=all.len() {
        let fixture = Fixture::over(MemorySource { page: 2, ..MemorySource::holding(all.clone()) });
        *fixture.dispatcher.takes.lock().unwrap() = Some((killed, Failure::Killed));
        let mut queue = Vec::new();
        let mut discovery =
            Discovery::new(fixture.memory_source.clone(), DiscoveryRequest::new(BUCKET, "", unit().day_range));
        while let Some(unit) = discovery.next().await.unwrap() {
            queue.push(unit.body());
        }
        assert_eq!(queue.len(), 6);
        while let Some(body) = queue.pop() {
            match fixture.run(Unit::parse(&body).unwrap()).await.end {
                UnitEnd::Done => {}
                // Killed: the message becomes visible again unchanged.
                UnitEnd::Failed { .. } | UnitEnd::OutOfTime(_) | UnitEnd::AwaitingBudget { .. } => queue.push(body),
            }
        }
        let mut enqueued = fixture.dispatcher.taken.lock().unwrap().clone();
        let sent = enqueued.len();
        enqueued.sort();
        enqueued.dedup();
        assert_eq!(enqueued, all, "killed after {killed}");
        assert!(sent <= all.len() + 5, "{sent}: repeated more than the killed unit");
    }
}
