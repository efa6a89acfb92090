//! What the backfill promises: what is in the bucket and not in the ledger is handed in, and nothing else is, whatever
//! ends the worker.

mod memory_source;

use async_trait::async_trait;
use memory_source::{BUCKET, MemorySource, log};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use trailhose::backfill::{Backfill, BackfillError, DispatchError, Dispatcher, Submitted, UnitEnd, UnitReport};
use trailhose::ledger::model::row;
use trailhose::ledger::store::memory::Memory;
use trailhose::ledger::{LeaseOutcome, Ledger, ObjectState};
use trailhose::listing::ListingError;
use trailhose::listing::discover::{Discovery, DiscoveryRequest};
use trailhose::listing::folder_level::Filters;
use trailhose::listing::unit::{Act, Layout, Pick, Unit};
use trailhose::listing::{Counts, Span};
use trailhose::object::{Object, ObjectRef};
use trailhose::source::Source;

const A: &str = "111122223333";
const REGION: &str = "AWSLogs/111122223333/CloudTrail/eu-west-1/";
const NOW: i64 = 1_795_132_800; // 2026-11-20T00:00:00Z

fn key(date: &str, name: &str) -> String {
    log("", A, "CloudTrail", "eu-west-1", date, name)
}

/// Twelve objects over four days; the days of [`unit`] are the middle two and what is between.
fn some_keys() -> Vec<String> {
    let days = ["2026-11-16", "2026-11-17", "2026-11-18", "2026-11-20"];
    days.iter().flat_map(|day| ["a", "b", "c"].map(|name| key(day, name))).collect()
}

fn unit() -> Unit {
    Unit {
        bucket: BUCKET.to_owned(),
        prefix: REGION.to_owned(),
        layout: Layout::Days,
        span: Span::parse("2026-11-17", "2026-11-19").unwrap(),
        filters: Filters::default(),
        pick: Pick::Unfinished,
        act: Act::Enqueue,
        after: None,
    }
}

/// A bucket, a ledger and an intake that may break.
struct Place {
    memory_source: Arc<MemorySource>,
    ledger: Ledger,
    now: Arc<AtomicI64>,
    intake: Breaking,
}

/// Notes what it takes, up to a number of objects; then it breaks, once.
#[derive(Debug, Default)]
struct Breaking {
    taken: Mutex<Vec<String>>,
    /// How many objects it takes yet, and what happens then.
    takes: Mutex<Option<(usize, Breaks)>>,
}

#[derive(Debug, Clone, Copy)]
enum Breaks {
    OutOfTime,
    /// The worker is killed when this many are taken: nothing it would say afterwards is heard.
    Killed,
}

#[async_trait]
impl Dispatcher for Breaking {
    async fn submit(&self, objects: &[ObjectRef], _stop: Instant) -> Submitted {
        let mut takes = self.takes.lock().unwrap();
        let (taken, broke) = match *takes {
            Some((left, how)) if left < objects.len() => {
                *takes = None;
                (
                    left,
                    Some(match how {
                        Breaks::OutOfTime => DispatchError::OutOfTime,
                        Breaks::Killed => DispatchError::Failed("killed".to_owned()),
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

impl Place {
    fn over(memory_source: MemorySource) -> Self {
        let now = Arc::new(AtomicI64::new(NOW));
        let clock = Arc::clone(&now);
        let ledger =
            Ledger::new(Arc::new(Memory::default()), Arc::new(move || clock.load(Ordering::SeqCst)), 90 * 86_400);
        Self { memory_source: Arc::new(memory_source), ledger, now, intake: Breaking::default() }
    }

    async fn run_until(&self, unit: Unit, stop: Instant) -> UnitReport {
        let source: Arc<dyn Source> = self.memory_source.clone();
        Backfill { source, ledger: self.ledger.clone() }.run(unit, &self.intake, stop).await
    }

    async fn run(&self, unit: Unit) -> UnitReport {
        self.run_until(unit, Instant::now() + Duration::from_secs(60)).await
    }

    /// Runs a unit that must be worked off, and returns what was handed in.
    async fn finish(&self, unit: Unit) -> (Counts, Vec<String>) {
        let ended = self.run(unit).await;
        assert!(matches!(ended.end, UnitEnd::Done), "{:?}", ended.end);
        (ended.counts, std::mem::take(&mut self.intake.taken.lock().unwrap()))
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
async fn what_is_not_done_in_the_days_asked_for_is_handed_in_and_a_second_run_hands_in_nothing() {
    let place = Place::over(MemorySource::holding(some_keys()));
    place.ingest(&key("2026-11-17", "b")).await;
    let (counts, handed) = place.finish(unit()).await;
    let expected = [("17", "a"), ("17", "c"), ("18", "a"), ("18", "b"), ("18", "c")];
    assert_eq!(handed, expected.map(|(day, name)| key(&format!("2026-11-{day}"), name)));
    let seen = Counts { listed: 6, done: 1, missing: 5, sent: 5, bytes: 500, ..Counts::default() };
    assert_eq!(counts, Counts { messages: 1, list_requests: 1, ledger_reads: 6, ..seen });
    for key in handed {
        place.ingest(&key).await;
    }
    let (counts, handed) = place.finish(unit()).await;
    assert_eq!((counts.done, counts.sent, handed.len()), (6, 0, 0));
}

#[tokio::test]
async fn every_state_of_an_object_is_answered_as_the_protocol_says() {
    let names = ["absent", "done", "leased", "open", "quarantined", "replaced", "settled"];
    let place = Place::over(MemorySource::holding(names.map(|name| key("2026-11-18", name))));
    let lease = async |name: &str| match place.ledger.lease(&object(&key("2026-11-18", name), "e1"), NOW + 100).await {
        Ok(LeaseOutcome::Granted(lease)) => lease,
        other => panic!("not granted: {other:?}"),
    };
    place.ingest(&key("2026-11-18", "done")).await;
    lease("leased").await;
    place.ledger.release(&lease("open").await).await.unwrap();
    place.ledger.quarantine(&lease("quarantined").await, "corrupt: at byte 7").await.unwrap();
    place.ingest(&key("2026-11-18", "replaced")).await;
    place.memory_source.put(&key("2026-11-18", "replaced"), "e2");
    let mut settled = lease("settled").await;
    place.ledger.settle(&mut settled).await.unwrap();
    place.ledger.release(&settled).await.unwrap();

    let keys = |names: &[&str]| names.iter().map(|name| key("2026-11-18", name)).collect::<Vec<_>>();
    let (counts, handed) = place.finish(unit()).await;
    assert_eq!(handed, keys(&["absent", "open", "replaced", "settled"]));
    let states = (counts.done, counts.leased, counts.quarantined, counts.missing, counts.unfinished);
    assert_eq!(states, (1, 1, 1, 2, 2));

    // On request the quarantined too, and opened, or the next worker would leave it as it is.
    let (_, handed) = place.finish(Unit { pick: Pick::UnfinishedAndQuarantined, ..unit() }).await;
    assert_eq!(handed, keys(&["absent", "open", "quarantined", "replaced", "settled"]));
    let states = place.ledger.states(&[object(&key("2026-11-18", "quarantined"), "e1")]).await.unwrap();
    assert_eq!(states, [ObjectState::Unfinished]);

    // A worker that died holds its lease no longer than that lasts.
    place.now.store(NOW + 101, Ordering::SeqCst);
    let (_, handed) = place.finish(unit()).await;
    assert!(handed.contains(&key("2026-11-18", "leased")));
}

#[tokio::test]
async fn a_dry_run_counts_the_same_and_hands_in_and_opens_nothing() {
    let place = Place::over(MemorySource::holding(some_keys()));
    let Ok(LeaseOutcome::Granted(lease)) = place.ledger.lease(&object(&key("2026-11-17", "a"), "e1"), NOW).await else {
        panic!("not leased")
    };
    place.ledger.quarantine(&lease, "corrupt").await.unwrap();
    let pick = Pick::UnfinishedAndQuarantined;
    let (counts, handed) = place.finish(Unit { act: Act::Count, pick, ..unit() }).await;
    assert_eq!((counts.sent, counts.bytes, counts.messages, handed.len()), (6, 600, 0, 0));
    assert_eq!(place.ledger.states(&[lease.object]).await.unwrap(), [ObjectState::Quarantined]);
}

#[tokio::test]
async fn a_late_file_with_an_earlier_key_than_any_seen_is_found() {
    let place = Place::over(MemorySource::holding(some_keys()));
    for key in place.finish(unit()).await.1 {
        place.ingest(&key).await;
    }
    let late = key("2026-11-17", "0");
    place.memory_source.put(&late, "e1");
    assert_eq!(place.finish(unit()).await.1, [late]);
}

#[tokio::test]
async fn a_walk_begins_at_the_first_day_asked_for_and_ends_at_the_last() {
    let days: Vec<String> =
        Span::parse("2026-01-01", "2026-12-31").unwrap().days().map(|day| day.to_string()).collect();
    let memory_source = MemorySource::holding(days.iter().map(|day| key(day, "a")));
    let place = Place::over(MemorySource { page: 2, ..memory_source });
    let (counts, handed) = place.finish(unit()).await;
    assert_eq!(handed, ["2026-11-17", "2026-11-18", "2026-11-19"].map(|day| key(day, "a")));
    assert_eq!(counts.list_requests, 2, "two pages of two hold the three days and the one after");
}

#[tokio::test]
async fn what_the_ledger_may_have_forgotten_is_handed_in_and_counted() {
    let place = Place::over(MemorySource::holding([key("2026-08-01", "a"), key("2026-11-18", "a")]));
    let span = Span::parse("2026-07-01", "2026-11-20").unwrap();
    let (counts, handed) = place.finish(Unit { span, ..unit() }).await;
    assert_eq!((handed.len(), counts.missing, counts.forgotten), (2, 2, 1));
}

#[tokio::test]
async fn a_flat_folder_is_told_by_the_names_of_its_files() {
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
    let place = Place::over(MemorySource::holding(others.map(str::to_owned).into_iter().chain(logs.clone())));
    let flat = Unit { prefix: "copied/".to_owned(), layout: Layout::Flat, ..unit() };
    let (counts, handed) = place.finish(flat.clone()).await;
    assert_eq!((handed.len(), counts.listed, counts.no_logs, counts.not_asked), (3, 7, 3, 1));
    let set = |name: &str| [name.to_owned()].into();
    let filters = Filters { accounts: set(A), regions: set("eu-west-1"), ..Filters::default() };
    assert_eq!(place.finish(Unit { filters, ..flat }).await.1, [logs[0].clone()]);
}

#[tokio::test]
async fn a_listing_that_changes_while_it_is_read_loses_no_object_that_was_there_throughout() {
    let names: Vec<String> = (0..40).map(|number| key("2026-11-18", &format!("{number:02}"))).collect();
    for page in [1, 3, 7] {
        let (doomed, kept): (Vec<_>, Vec<_>) = names.iter().enumerate().partition(|(number, _)| number % 3 == 0);
        let doomed: Vec<String> = doomed.into_iter().map(|(_, key)| key.clone()).collect();
        // Before each page one key behind, under or ahead of the walk vanishes, and others appear around it.
        let before = Box::new(move |number: usize, keys: &mut BTreeMap<String, String>| {
            keys.remove(&doomed[(number * 5) % doomed.len()]);
            keys.insert(key("2026-11-18", &format!("{:02}-new-{number}", (number * 7) % 40)), "e1".to_owned());
            keys.insert(key("2026-11-17", &format!("new-{number}")), "e1".to_owned());
        });
        let place = Place::over(MemorySource { page, before: Some(before), ..MemorySource::holding(names.clone()) });
        let (_, handed) = place.finish(unit()).await;
        for (_, key) in &kept {
            assert_eq!(handed.iter().filter(|handed| handed == key).count(), 1, "{key} with pages of {page}");
        }
        assert!(handed.is_sorted() && handed.windows(2).all(|two| two[0] != two[1]), "each key once");
        // What came too late for this run is the next one's.
        for key in handed {
            if place.memory_source.keys.lock().unwrap().contains_key(&key) {
                place.ingest(&key).await;
            }
        }
        let Place { memory_source, ledger, now, intake } = place;
        let calm = MemorySource::holding(memory_source.keys.lock().unwrap().keys().cloned().collect::<Vec<_>>());
        let place = Place { memory_source: Arc::new(calm), ledger, now, intake };
        for key in place.finish(unit()).await.1 {
            place.ingest(&key).await;
        }
        assert_eq!(place.finish(unit()).await.0.missing, 0);
    }
}

#[tokio::test]
async fn a_source_that_lists_out_of_order_is_refused_rather_than_half_read() {
    let place = Place::over(MemorySource { page: 2, ..MemorySource::holding(some_keys()) });
    let source: Arc<dyn Source> = Arc::new(Backwards(place.memory_source.clone()));
    let backfill = Backfill { source, ledger: place.ledger.clone() };
    let ended = backfill.run(unit(), &place.intake, Instant::now() + Duration::from_secs(60)).await;
    let UnitEnd::Failed { error: error @ BackfillError::Listing(ListingError::Order { .. }), .. } = ended.end else {
        panic!("{:?}", ended.end)
    };
    assert!(error.to_string().contains("expected keys in the order of their bytes"), "{error}");
}

/// Turns each page around.
#[derive(Debug)]
struct Backwards(Arc<MemorySource>);

#[async_trait]
impl Source for Backwards {
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
        let mut page = self.0.list(ask).await?;
        page.objects.reverse();
        Ok(page)
    }
}

#[tokio::test]
async fn a_unit_that_runs_out_of_time_anywhere_goes_on_there_and_hands_in_each_object_once() {
    for page in [1, 2, 4, 1000] {
        for takes in 0..7 {
            let place = Place::over(MemorySource { page, ..MemorySource::holding(some_keys()) });
            place.ingest(&key("2026-11-18", "b")).await;
            *place.intake.takes.lock().unwrap() = Some((takes, Breaks::OutOfTime));
            let first = place.run(unit()).await;
            let mut counts = first.counts;
            match first.end {
                UnitEnd::Done => assert!(takes >= 5),
                UnitEnd::OutOfTime(left) => {
                    // Through the queue and back.
                    let left = Unit::parse(&left.body()).unwrap();
                    let second = place.run(left).await;
                    assert!(matches!(second.end, UnitEnd::Done));
                    counts.merge(&second.counts);
                }
                UnitEnd::Failed { error, .. } => panic!("{error}"),
            }
            let handed = place.intake.taken.lock().unwrap().clone();
            let names = [("17", "a"), ("17", "b"), ("17", "c"), ("18", "a"), ("18", "c")];
            assert_eq!(handed, names.map(|(day, name)| key(&format!("2026-11-{day}"), name)), "{page}, {takes}");
            assert_eq!((counts.listed, counts.missing, counts.done, counts.sent), (6, 5, 1, 5), "{page}, {takes}");
        }
    }
}

#[tokio::test]
async fn a_time_that_is_up_begins_nothing_and_one_that_comes_up_stops_between_pages() {
    let place = Place::over(MemorySource { page: 1, ..MemorySource::holding(some_keys()) });
    let ended = place.run_until(unit(), Instant::now()).await;
    let UnitEnd::OutOfTime(left) = ended.end else { panic!("{:?}", ended.end) };
    assert_eq!((left, place.memory_source.requests()), (unit(), 0));
    // Time comes up while the third page is listed.
    let slow = Box::new(|number: usize, _: &mut BTreeMap<String, String>| {
        if number == 2 {
            std::thread::sleep(Duration::from_millis(300));
        }
    });
    let place = Place::over(MemorySource { page: 1, before: Some(slow), ..MemorySource::holding(some_keys()) });
    let ended = place.run_until(unit(), Instant::now() + Duration::from_millis(250)).await;
    let UnitEnd::OutOfTime(left) = ended.end else { panic!("{:?}", ended.end) };
    assert_eq!(left.after, Some(key("2026-11-17", "b")));
    assert_eq!(place.intake.taken.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_failure_keeps_what_was_worked_off_before_it() {
    let place = Place::over(MemorySource { page: 2, failing: Some(2), ..MemorySource::holding(some_keys()) });
    let ended = place.run(unit()).await;
    let UnitEnd::Failed { left, error } = ended.end else { panic!("{:?}", ended.end) };
    assert_eq!(error.to_string(), "SlowDown");
    assert_eq!(left.after, Some(key("2026-11-18", "a")));
    assert_eq!(ended.counts.sent, 4);
    let rest = place.finish(left).await.1;
    assert_eq!(rest.len(), 6);
}

/// What discovery and workers say to each other, as a queue keeps it: a message is gone only when it is acknowledged.
#[tokio::test]
async fn a_kill_at_any_unit_boundary_or_inside_a_unit_leaves_no_object_out() {
    let accounts = [A, "444455556666", "777788889999"];
    let keys = accounts.iter().flat_map(|account| {
        ["eu-west-1", "us-east-1"].into_iter().flat_map(move |region| {
            (0..5).map(move |number| log("", account, "CloudTrail", region, "2026-11-18", &number.to_string()))
        })
    });
    let mut all: Vec<String> = keys.collect();
    all.sort();
    for killed in 0..=all.len() {
        let place = Place::over(MemorySource { page: 2, ..MemorySource::holding(all.clone()) });
        *place.intake.takes.lock().unwrap() = Some((killed, Breaks::Killed));
        let mut queue = Vec::new();
        let mut discovery = Discovery::new(place.memory_source.clone(), DiscoveryRequest::new(BUCKET, "", unit().span));
        while let Some(unit) = discovery.next().await.unwrap() {
            queue.push(unit.body());
        }
        assert_eq!(queue.len(), 6);
        while let Some(body) = queue.pop() {
            match place.run(Unit::parse(&body).unwrap()).await.end {
                UnitEnd::Done => {}
                // Killed: the message comes back as it was.
                UnitEnd::Failed { .. } | UnitEnd::OutOfTime(_) => queue.push(body),
            }
        }
        let mut handed = place.intake.taken.lock().unwrap().clone();
        let sent = handed.len();
        handed.sort();
        handed.dedup();
        assert_eq!(handed, all, "killed after {killed}");
        assert!(sent <= all.len() + 5, "{sent}: more than the killed unit was repeated");
    }
}
