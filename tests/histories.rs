//! Random histories of a ledger, compared with the in-memory model after each step. Failing histories are shrunk.

mod bed;
mod paired_store;

use bed::emulator::Emulator;
use paired_store::PairedStore;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use trailhose::aws;
use trailhose::event::{EventId, EventScope};
use trailhose::ledger::inspect::scan::{LedgerScan, ScanFilter};
use trailhose::ledger::model::ordinals::OrdinalSet;
use trailhose::ledger::model::page::{Entry, Owner, Page, PageName, Version};
use trailhose::ledger::model::row::{Change, Counts, Guard, Row, Token};
use trailhose::ledger::store::Store;
use trailhose::ledger::store::dynamodb::DynamoDb;
use trailhose::ledger::store::memory::{Memory, MemoryState};
use trailhose::ledger::store::sqlite::{CommitMode, Sqlite};
use trailhose::ledger::{EventMeta, ForeignClaim, Help, HelpOutcome, Lease, LeaseOutcome, Ledger};
use trailhose::object::{Object, ObjectId};

const DAY: i64 = 86_400;
const KEEP: i64 = 4 * DAY;

/// Numbers of objects and of workers. Each worker has at most one lease and helps one owner.
const OBJECTS: usize = 3;
const WORKERS: usize = 3;

/// Number of kinds of steps.
const KINDS: usize = 18;

/// One step of a history: a ledger call of a worker, or any store call, also one that no worker makes.
#[derive(Debug, Clone)]
enum Step {
    Lease { worker: usize, object: usize },
    Claim { worker: usize, numbered: bool },
    Advance { worker: usize, cursor: u32 },
    Acknowledge { worker: usize, cursor: u32, length: u32 },
    Number { worker: usize, ordinal: u32 },
    Settle { worker: usize },
    Complete { worker: usize },
    Quarantine { worker: usize },
    Release { worker: usize },
    Help { worker: usize, owner: usize },
    Mark { worker: usize, most: usize },
    Leave { worker: usize },
    Retry { object: usize },
    Reset { object: usize },
    Look { object: usize },
    Pass { seconds: i64 },
    Row { object: usize, by_id: bool, guard: Guard, change: Change },
    Page { made: u8, expected_version: ExpectedVersion, full: bool, entries: u8 },
}

impl Step {
    /// Returns the worker whose lease the step needs.
    fn under_a_lease(&self) -> Option<usize> {
        match *self {
            Self::Claim { worker, .. }
            | Self::Advance { worker, .. }
            | Self::Acknowledge { worker, .. }
            | Self::Number { worker, .. }
            | Self::Settle { worker }
            | Self::Complete { worker }
            | Self::Quarantine { worker }
            | Self::Release { worker }
            | Self::Help { worker, .. }
            | Self::Mark { worker, .. } => Some(worker),
            _ => None,
        }
    }
}

/// The version that a page write expects.
#[derive(Debug, Clone, Copy)]
enum ExpectedVersion {
    None,
    Current,
    Other,
}

const NOW: i64 = 1_800_000_000;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (worker, object) = (|| 0..WORKERS, || 0..OBJECTS);
    let step = prop_oneof![
        6 => (worker(), object()).prop_map(|(worker, object)| Step::Lease { worker, object }),
        6 => (worker(), any::<bool>()).prop_map(|(worker, numbered)| Step::Claim { worker, numbered }),
        3 => (worker(), 0..8u32).prop_map(|(worker, cursor)| Step::Advance { worker, cursor }),
        3 => (worker(), 0..8u32, 1..4u32).prop_map(|(worker, cursor, length)| Step::Acknowledge { worker, cursor, length }),
        2 => (worker(), 0..6u32).prop_map(|(worker, ordinal)| Step::Number { worker, ordinal }),
        2 => worker().prop_map(|worker| Step::Settle { worker }),
        3 => worker().prop_map(|worker| Step::Complete { worker }),
        1 => worker().prop_map(|worker| Step::Quarantine { worker }),
        2 => worker().prop_map(|worker| Step::Release { worker }),
        4 => (worker(), object()).prop_map(|(worker, owner)| Step::Help { worker, owner }),
        4 => (worker(), 1..4usize).prop_map(|(worker, most)| Step::Mark { worker, most }),
        2 => worker().prop_map(|worker| Step::Leave { worker }),
        1 => object().prop_map(|object| Step::Retry { object }),
        2 => object().prop_map(|object| Step::Reset { object }),
        2 => object().prop_map(|object| Step::Look { object }),
        4 => select(vec![1, 60, 61, DAY, KEEP - 100, KEEP + 1]).prop_map(|seconds| Step::Pass { seconds }),
        4 => (object(), any::<bool>(), guard(), change())
            .prop_map(|(object, by_id, guard, change)| Step::Row { object, by_id, guard, change }),
        3 => (0..3u8, select(vec![ExpectedVersion::None, ExpectedVersion::Current, ExpectedVersion::Other]), any::<bool>(), 0..4u8)
            .prop_map(|(made, expected_version, full, entries)| Step::Page { made, expected_version, full, entries }),
    ];
    prop::collection::vec(step, 1..60)
}

fn token() -> impl Strategy<Value = Token> {
    select(vec![Token(1), Token(2)])
}

fn guard() -> impl Strategy<Value = Guard> {
    let now = select(vec![NOW, NOW + 61, NOW + 2 * KEEP]);
    (0..6, now, token()).prop_map(|(kind, now, token)| match kind {
        0 => Guard::Leasable { now, token },
        1 => Guard::Helpable { now, token },
        2 => Guard::Held(token),
        5 => Guard::HeldOpen(token),
        3 => Guard::Quarantined { now },
        _ => Guard::Unleased { now },
    })
}

fn change() -> impl Strategy<Value = Change> {
    (0..11, token(), 0..9u32).prop_map(|(kind, token, number)| match kind {
        0 => Change::Lease { token, until: NOW + 60 * i64::from(number) },
        1 => Change::Release,
        2 => Change::Advance(number),
        3 => Change::ResetCursor { token },
        10 => {
            let mut acknowledged = OrdinalSet::default();
            acknowledged.insert(number + 1, number + 3);
            Change::Acknowledge { cursor: number, acknowledged }
        }
        4 => Change::Settle,
        6 => Change::Reset,
        7 => Change::Accept { reason: format!("known {number}") },
        8 => Change::WithdrawAcceptance,
        5 => {
            Change::Complete { counts: Counts { seen: 9, delivered: number.into(), ..Counts::default() }, expires: NOW }
        }
        _ => Change::Quarantine { reason: format!("reason {number}"), at: NOW },
    })
}

/// A run of a history.
struct Run {
    store: Arc<PairedStore>,
    ledger: Ledger,
    now: Arc<AtomicI64>,
    name: String,
    leases: Vec<Option<Lease>>,
    helps: Vec<Option<(Help, Vec<ForeignClaim>)>>,
}

impl Run {
    fn new(beside: Arc<dyn Store>, name: String) -> Self {
        let store = Arc::new(PairedStore::new(Arc::default(), Some(beside)));
        let now = Arc::new(AtomicI64::new(NOW));
        let clock = Arc::clone(&now);
        let ledger = Ledger::new(Arc::clone(&store) as _, Arc::new(move || clock.load(Ordering::SeqCst)), KEEP);
        let (leases, helps) = Default::default();
        let mut run =
            Self { store, ledger: ledger.with_page_bytes(120).without_write_waits(), now, name, leases, helps };
        run.leases.resize_with(WORKERS, || None);
        run.helps.resize_with(WORKERS, || None);
        run
    }

    fn object(&self, number: usize) -> Object {
        Object { bucket: "logs".into(), key: format!("{}/{number}", self.name), etag: "e".into() }
    }

    fn id(&self, number: usize) -> ObjectId {
        self.object(number).id()
    }

    fn number(&self, id: ObjectId) -> usize {
        (0..OBJECTS).find(|number| self.id(*number) == id).expect("an object of this run")
    }

    /// Returns six events of an object. Adjacent objects share four, on two pages, in different orders.
    fn events(&self, object: usize) -> (Vec<EventMeta>, Vec<EventScope>) {
        let scope =
            |minute| EventScope { account: self.name.clone(), region: "eu-west-1".into(), minute: Some(minute) };
        let known = |number: u8| {
            let mut id = [number; 16];
            id[15] = number * 16;
            EventMeta { id: EventId(id), scope: u32::from(number % 2), fingerprint: number.into(), filtered: false }
        };
        let first = 2 * object as u8;
        let mut events: Vec<_> = (first..first + 6).map(known).collect();
        if object % 2 == 1 {
            events.reverse();
        }
        (events, vec![scope(1), scope(16)])
    }

    async fn lease(&mut self, worker: usize, object: usize) {
        let until = self.ledger.now() + 60;
        if let Ok(LeaseOutcome::Granted(lease)) = self.ledger.lease(&self.object(object), until).await {
            self.leases[worker] = Some(lease);
        }
    }

    /// Leases the row of `owner` to help it. A worker without a lease of its own takes one.
    async fn help(&mut self, worker: usize, owner: usize) {
        let Some(lease) = &self.leases[worker] else { return self.lease(worker, worker % OBJECTS).await };
        let (events, scopes) = self.events(self.number(lease.id));
        let (owner, until) = (self.id(owner), self.ledger.now() + 60);
        // Looks up all events; the ledger reports which ones have other owners.
        let all: Vec<_> =
            (0..events.len() as u32).map(|ordinal| ForeignClaim { ordinal, owner, owner_ordinal: None }).collect();
        let Ok(foreign) = self.ledger.reread_foreign(&all, &events, &scopes).await else { return };
        let theirs: Vec<_> = foreign.into_iter().filter(|event| event.owner == owner).collect();
        if let Ok(HelpOutcome::Granted(help)) = self.ledger.help(owner, until).await {
            self.helps[worker] = Some((*help, theirs));
        }
    }

    /// Runs a step. Its result does not matter: the two stores must return the same.
    async fn step(&mut self, step: &Step) {
        // A worker without a lease can only take one.
        if let Some(worker) = step.under_a_lease().filter(|worker| self.leases[*worker].is_none()) {
            return self.lease(worker, worker % OBJECTS).await;
        }
        match *step {
            Step::Lease { worker, object } => self.lease(worker, object).await,
            Step::Claim { worker, numbered } => {
                let Some(mut lease) = self.leases[worker].take() else { return };
                let (events, scopes) = self.events(self.number(lease.id));
                if let Ok(claims) = self.ledger.claim(&mut lease, &events, &scopes, numbered).await {
                    let _ = self.ledger.unproven(claims.foreign).await;
                }
                self.leases[worker] = Some(lease);
            }
            Step::Advance { worker, cursor } => {
                let Some(lease) = &mut self.leases[worker] else { return };
                let _ = self.ledger.advance(lease, cursor).await;
            }
            Step::Acknowledge { worker, cursor, length } => {
                let Some(lease) = &mut self.leases[worker] else { return };
                let ranges = [(cursor + 1, cursor + 1 + length)];
                let _ = self.ledger.acknowledge(lease, cursor, ranges).await;
            }
            Step::Number { worker, ordinal } => {
                let Some(lease) = &self.leases[worker] else { return };
                let (events, scopes) = self.events(self.number(lease.id));
                let _ = self.ledger.record_ordinals(lease, &[ordinal], &events, &scopes).await;
            }
            Step::Settle { worker } => {
                let Some(lease) = &mut self.leases[worker] else { return };
                let _ = self.ledger.settle(lease).await;
            }
            Step::Complete { worker } => {
                let Some(lease) = &self.leases[worker] else { return };
                let _ = self.ledger.complete(lease, Counts { seen: 6, delivered: 6, ..Counts::default() }).await;
            }
            Step::Quarantine { worker } => {
                let Some(lease) = &self.leases[worker] else { return };
                let _ = self.ledger.quarantine(lease, "corrupt: at offset 7").await;
            }
            Step::Release { worker } => {
                let Some(lease) = &self.leases[worker] else { return };
                let _ = self.ledger.release(lease).await;
            }
            Step::Help { worker, owner } => self.help(worker, owner).await,
            Step::Mark { worker, most } => {
                let helped = self.helps[worker].as_ref().filter(|(_, theirs)| !theirs.is_empty());
                let (Some(lease), Some((help, theirs))) = (&self.leases[worker], helped) else {
                    return self.help(worker, (worker + 1) % OBJECTS).await;
                };
                let (events, scopes) = self.events(self.number(lease.id));
                // If the worker has taken the lease of another object since, these are not its events.
                if let Ok(mut ordinals) = self.ledger.undelivered(help, theirs, &events, &scopes).await {
                    ordinals.truncate(most);
                    let _ = self.ledger.mark_delivered(help, &ordinals, &events, &scopes).await;
                }
            }
            Step::Leave { worker } => match self.helps[worker].take() {
                Some((help, _)) => drop(self.ledger.release_help(&help).await),
                None => self.help(worker, (worker + 1) % OBJECTS).await,
            },
            Step::Retry { object } => drop(self.ledger.retry(&self.object(object)).await),
            Step::Reset { object } => drop(self.ledger.reset(self.id(object)).await),
            Step::Look { object } => {
                let (events, scopes) = self.events(object);
                let _ = self.ledger.ownership(self.id(object), &events, &scopes).await;
                let _ = self.ledger.states(&(0..OBJECTS).map(|number| self.object(number)).collect::<Vec<_>>()).await;
            }
            Step::Pass { seconds } => drop(self.now.fetch_add(seconds, Ordering::SeqCst)),
            Step::Row { object, by_id, guard, ref change } => {
                let object = self.object(object);
                match by_id {
                    true => drop(self.store.change_row_by_id(object.id(), guard, change).await),
                    false => drop(self.store.change_row(&object, guard, change).await),
                }
            }
            Step::Page { made, expected_version, full, entries } => {
                let name = PageName(format!("{}/made/{made}", self.name));
                let current = self.store.pages(std::slice::from_ref(&name)).await.unwrap().remove(0);
                let expected_version = match expected_version {
                    ExpectedVersion::None => None,
                    ExpectedVersion::Current => current.map(|page| page.version),
                    ExpectedVersion::Other => Some(Version(7)),
                };
                let mut page = Page { full, ..Page::new(NOW + i64::from(made)) };
                for number in 0..entries {
                    let owner = if number == 0 { Owner::Delivered } else { Owner::Object(self.id(0)) };
                    let ordinal = (number == 2).then_some(70_000);
                    page.entries.insert(EventId([number; 16]), Entry { owner, fingerprint: 7, ordinal });
                }
                let _ = self.store.write_page(&name, expected_version, &page).await;
            }
        }
    }

    /// Reads and compares all items.
    async fn compare_all(&self) {
        let (ids, names): (Vec<_>, Vec<_>) = {
            let kept = self.store.model.contents();
            (kept.rows.keys().copied().collect(), kept.pages.keys().cloned().collect())
        };
        self.store.rows(&ids).await.unwrap();
        self.store.pages(&names).await.unwrap();
    }
}

/// Reads all items of a store with scans.
async fn scan_all(store: &dyn LedgerScan) -> (BTreeMap<ObjectId, Row>, BTreeMap<PageName, Page>) {
    let (mut rows, mut pages, mut after) = (BTreeMap::new(), BTreeMap::new(), None);
    loop {
        let batch = store.scan(&ScanFilter::All, after.as_ref(), 500).await.unwrap();
        for row in batch.rows {
            let id = row.object.id();
            assert!(rows.insert(id, row).is_none(), "two rows of one object");
        }
        pages.extend(batch.pages);
        match batch.next {
            Some(next) => after = Some(next),
            None => return (rows, pages),
        }
    }
}

/// Compares all items of a store with those that the models of all histories have. Each history has names of its own.
async fn compare_scan(store: &dyn LedgerScan, models: &[MemoryState]) {
    let (rows, pages) = scan_all(store).await;
    let expected: BTreeMap<_, _> = models.iter().flat_map(|model| model.rows.clone()).collect();
    assert!(
        rows == expected,
        "the rows of the store differ from those of the models: {:?}",
        differing(&rows, &expected)
    );
    let expected: BTreeMap<_, _> = models.iter().flat_map(|model| model.pages.clone()).collect();
    assert!(
        pages == expected,
        "the pages of the store differ from those of the models: {:?}",
        differing(&pages, &expected)
    );
}

/// Returns the keys of the items that only one of the maps has, or that differ.
fn differing<K: Ord + Clone, V: PartialEq>(one: &BTreeMap<K, V>, other: &BTreeMap<K, V>) -> Vec<K> {
    let keys = one.keys().chain(other.keys()).filter(|key| one.get(*key) != other.get(*key));
    let mut keys: Vec<K> = keys.cloned().collect();
    keys.dedup();
    keys
}

/// Runs this many histories on one store, multiplied by `TRAILHOSE_HISTORIES`.
fn compare_histories<S: Store + LedgerScan + 'static>(name: &str, histories: u32, store: impl Fn() -> Arc<S>) {
    let times = std::env::var("TRAILHOSE_HISTORIES").map_or(1, |times| times.parse().expect("a number"));
    let cases = histories * times;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let store = store();
    let (runs, compared, taken) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let (models, kinds) = (Mutex::new(Vec::new()), Mutex::new(BTreeMap::new()));
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&steps(), |steps| {
        // A shrunk history also runs with unused names.
        let run = runs.fetch_add(1, Ordering::Relaxed);
        let mut run = Run::new(Arc::clone(&store) as _, format!("{run:012}"));
        runtime.block_on(async {
            for step in &steps {
                let before = run.store.compared.load(Ordering::Relaxed);
                run.step(step).await;
                let effective =
                    run.store.compared.load(Ordering::Relaxed) > before || matches!(step, Step::Pass { .. });
                let kind = format!("{step:?}").split(' ').next().unwrap_or_default().to_owned();
                let mut kinds = kinds.lock().unwrap();
                let (all, idle): &mut (usize, usize) = kinds.entry(kind).or_default();
                *all += 1;
                *idle += usize::from(!effective);
            }
            run.compare_all().await;
        });
        taken.fetch_add(steps.len(), Ordering::Relaxed);
        compared.fetch_add(run.store.compared.load(Ordering::Relaxed), Ordering::Relaxed);
        models.lock().unwrap().push(run.store.model.contents().clone());
        Ok::<_, TestCaseError>(())
    });
    outcome.unwrap_or_else(|failure| panic!("{name}: {failure}"));
    let (taken, compared) = (taken.into_inner(), compared.into_inner());
    runtime.block_on(compare_scan(&*store, &models.into_inner().unwrap()));
    // A step that calls no store compares nothing.
    let kinds = kinds.into_inner().unwrap();
    assert!(kinds.values().all(|(_, idle)| *idle == 0), "steps that called no store (all, without a call): {kinds:?}");
    assert_eq!(kinds.len(), KINDS, "{kinds:?}");
    assert!(compared > taken, "every step asks the store");
    println!("{name}: {cases} histories, {taken} steps, {compared} answers compared");
}

fn sqlite(name: &str, histories: u32, mode: CommitMode) {
    let folder = tempfile::tempdir().unwrap();
    compare_histories(name, histories, || Arc::new(Sqlite::open(&folder.path().join("ledger.db"), mode).unwrap()));
}

#[test]
fn sqlite_in_groups_matches_the_model() {
    sqlite("SQLite, grouped", 1000, CommitMode::Grouped);
}

#[test]
fn sqlite_write_by_write_matches_the_model() {
    sqlite("SQLite, durable", 100, CommitMode::Durable);
}

fn dynamodb(emulator: &Emulator) -> Arc<DynamoDb> {
    let client = aws::dynamodb(&emulator.config());
    tokio::runtime::Handle::current().block_on(bed::table::create(&client, "histories", &[]));
    Arc::new(DynamoDb::new(client, "histories"))
}

#[test]
fn dynamodb_on_ministack_matches_the_model() {
    compare_histories("DynamoDB, ministack", 100, || dynamodb(Emulator::shared_ministack()));
}

/// One history at a time, because moto creates an item before it fills it, without a lock.
#[test]
fn dynamodb_on_moto_matches_the_model() {
    compare_histories("DynamoDB, moto", 40, || dynamodb(Emulator::shared_moto()));
}

/// A failing store must be detected, so that a comparison without effect fails this test.
#[test]
fn store_that_loses_writes_is_detected() {
    let store: Arc<dyn Store> = Arc::new(Memory::default());
    let mut run = Run::new(Arc::clone(&store), "1".into());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(run.step(&Step::Lease { worker: 0, object: 0 }));
    run.store.model.contents().rows.clear();
    let differs = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        runtime.block_on(run.step(&Step::Lease { worker: 1, object: 0 }));
    }));
    let panic = differs.expect_err("the lost row is noticed");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(message.contains("the store's result differs from the model's"), "{message}");
}

/// A store with an item that no model has must be detected, although no step reads it.
#[test]
fn store_with_an_extra_item_is_detected() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = Arc::new(Memory::default());
    let mut run = Run::new(Arc::clone(&store) as _, "1".into());
    runtime.block_on(run.step(&Step::Lease { worker: 0, object: 0 }));
    let models = [run.store.model.contents().clone()];
    runtime.block_on(compare_scan(&*store, &models));
    let extra = Object { bucket: "logs".into(), key: "1/extra".into(), etag: "e".into() };
    store.contents().rows.insert(extra.id(), Change::Release.apply(None, &extra));
    let differs = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        runtime.block_on(compare_scan(&*store, &models));
    }));
    let panic = differs.expect_err("the extra row is noticed");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(message.contains(&extra.id().to_string()), "{message}");
}
