//! Tasks of the backfill that do not fit into one invocation, or wait for the budget, are continued by further messages
//! and end in no dead-letter queue.

mod memory_source;
mod run_records;
mod world;

use async_trait::async_trait;
use memory_source::{MemorySource, log};
use run_records::MemoryRunRecords;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use trailhose::backfill::record::{PartOutcome, RunProgress, RunRecords, Stage};
use trailhose::backfill::run::{Defaults, SourceRoot};
use trailhose::backfill::tally::BackfillTally;
use trailhose::backfill::task::Work;
use trailhose::backfill::worker::{Budgets, Worker};
use trailhose::backfill::{Request, Run, RunId, Task, UnitProcessor};
use trailhose::ingest::Deadline;
use trailhose::ledger::Ledger;
use trailhose::ledger::store::memory::Memory;
use trailhose::listing::discover::Discovery;
use trailhose::notification::{Message, Notice, parse};
use trailhose::object::{Object, ObjectRef};
use trailhose::source::{ListPage, Listing, Source, SourceError};
use world::queues::MemoryQueue;
use world::{OverWire, Wire};

const NOW: i64 = 1_795_132_800; // 2026-11-20T00:00:00Z
const DAY: &str = "2026-11-18";

/// An invocation that no test object needs.
const LONG: Duration = Duration::from_secs(60);

fn defaults() -> Defaults {
    Defaults { sources: vec![SourceRoot::parse("s3://logs").unwrap()], look_back_days: 3 }
}

/// A source whose list requests take time.
#[derive(Debug)]
struct SlowSource {
    to: Arc<MemorySource>,
    time: Duration,
}

#[async_trait]
impl Source for SlowSource {
    async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
        self.to.stat(at).await
    }

    async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
        self.to.fetch(object).await
    }

    async fn list(&self, ask: &Listing<'_>) -> Result<ListPage, SourceError> {
        sleep(self.time).await;
        self.to.list(ask).await
    }
}

/// A worker with its queues and records.
struct Fixture {
    worker: Worker,
    memory_source: Arc<MemorySource>,
    tasks: Arc<MemoryQueue>,
    missing: Arc<MemoryQueue>,
    run_records: Arc<MemoryRunRecords>,
    tally: BackfillTally,
}

impl Fixture {
    fn over(memory_source: MemorySource, list_time: Duration) -> Self {
        let memory_source = Arc::new(memory_source);
        let (tasks, missing): (Arc<MemoryQueue>, Arc<MemoryQueue>) = Default::default();
        let run_records: Arc<MemoryRunRecords> = Arc::default();
        let wire: Arc<Wire> = Arc::default();
        let queue = |to: &Arc<MemoryQueue>| Arc::new(OverWire { wire: Arc::clone(&wire), to: Arc::clone(to) });
        let worker = Worker {
            processor: UnitProcessor {
                source: Arc::new(SlowSource { to: Arc::clone(&memory_source), time: list_time }),
                ledger: Ledger::new(Arc::new(Memory::default()), Arc::new(|| NOW), 90 * 86_400),
            },
            records: run_records.clone(),
            tasks: queue(&tasks),
            ingest: queue(&missing),
            defaults: defaults(),
            workers: 1,
            budgets: Budgets::default(),
        };
        Self { worker, memory_source, tasks, missing, run_records, tally: BackfillTally::default() }
    }

    /// Processes at most ten waiting messages in an invocation that starts nothing after `time`. Returns the number of
    /// messages that failed. They are received again.
    async fn invoke(&mut self, time: Duration) -> usize {
        let now = Instant::now();
        // The end is late, so that a busy machine does not make sending fail.
        let deadline = Deadline { stop: now + time, end: now + LONG };
        let mut batch: Vec<Message> = Vec::new();
        while batch.len() < 10
            && let Some(message) = self.tasks.first()
        {
            self.tasks.acknowledge(&message);
            batch.push(message);
        }
        let report = self.worker.messages(&batch, deadline).await;
        self.tally_of(report.tally);
        for message in batch.iter().filter(|message| report.failed.contains(&message.id)) {
            self.tasks.push(&message.body);
        }
        report.failed.len()
    }

    fn tally_of(&mut self, tally: BackfillTally) {
        let BackfillTally { discovered, continued, unvisited, denied, empty, .. } = tally;
        let BackfillTally { units, awaiting_budget, done, requeued, .. } = tally;
        self.tally.denied += denied;
        self.tally.empty += empty;
        self.tally.discovered += discovered;
        self.tally.continued += continued;
        self.tally.unvisited += unvisited;
        self.tally.units += units;
        self.tally.awaiting_budget += awaiting_budget;
        self.tally.done += done;
        self.tally.requeued += requeued;
        self.tally.counts.list_requests += tally.counts.list_requests;
    }

    /// Returns the enqueued keys, sorted.
    fn enqueued(&self) -> Vec<String> {
        let sent = self.missing.sent.lock().unwrap();
        let mut keys: Vec<String> = sent
            .iter()
            .flat_map(|body| parse(body).unwrap())
            .map(|notice| if let Notice::Object(at) = notice { at.key } else { panic!("{notice:?}") })
            .collect();
        keys.sort();
        keys
    }

    async fn progress(&self, run: &RunId) -> RunProgress {
        let stored = self.run_records.run(run).await.unwrap().unwrap();
        RunProgress::of(&stored, &self.run_records.parts(run).await.unwrap())
    }

    async fn start(&mut self, request: Request) -> Run {
        self.worker.start(RunId::at(NOW, 1), request, Deadline::within(LONG)).await.unwrap()
    }
}

fn region_keys(accounts: usize, objects: usize) -> Vec<String> {
    let region = |account: usize| {
        let account = format!("{account:012}");
        (0..objects).map(move |number| log("", &account, "CloudTrail", "eu-west-1", DAY, &format!("{number:03}")))
    };
    (0..accounts).flat_map(region).collect()
}

/// Four units share a budget that each of them uses for longer than an invocation lasts.
#[tokio::test]
async fn units_that_wait_for_the_budget_do_not_fail() {
    const INVOCATION: Duration = Duration::from_millis(1_400);
    /// Ten objects of 100 bytes at this rate take two seconds.
    const BYTES_PER_SECOND: u64 = 500;
    let keys = region_keys(4, 10);
    let mut fixture = Fixture::over(MemorySource::holding(keys.clone()), Duration::ZERO);
    let run = fixture.start(Request::default()).await;
    assert_eq!(fixture.invoke(LONG).await, 0);
    // The units of the run, with a budget that is lower than a request may ask for.
    let mut units = Vec::new();
    while let Some(message) = fixture.tasks.first() {
        fixture.tasks.acknowledge(&message);
        let Task::Work(work) = Task::parse(&message.body).unwrap() else { panic!("{}", message.body) };
        units.push(Task::Work(Work { bytes_per_second: Some(BYTES_PER_SECOND), ..work }).body());
    }
    assert_eq!(units.len(), 4);
    units.iter().for_each(|body| fixture.tasks.push(body));
    let started = Instant::now();
    let mut requests = Vec::new();
    while fixture.tasks.first().is_some() {
        assert!(requests.len() < 10, "the units do not end: {:?}", fixture.tally);
        let before = fixture.memory_source.requests();
        assert_eq!(fixture.invoke(INVOCATION).await, 0, "a unit failed");
        requests.push(fixture.memory_source.requests() - before);
        let delays = std::mem::take(&mut *fixture.tasks.delays.lock().unwrap());
        if let Some(delay) = delays.into_iter().max() {
            assert!((1..=2).contains(&delay.as_secs()), "{delay:?}");
            // The second invocation starts too early.
            sleep(Duration::from_secs(if requests.len() == 1 { 0 } else { 2 })).await;
        }
    }
    assert_eq!(fixture.enqueued(), keys, "each object is enqueued once");
    // The budget permits one unit in each invocation but the second, so 3, 3, 2 and 1 units wait.
    assert_eq!((fixture.tally.done, fixture.tally.awaiting_budget), (4, 9));
    assert_eq!(requests, [4, 0, 3, 2, 1], "a unit that finds the budget used lists nothing");
    assert!(started.elapsed() >= Duration::from_secs(6), "{:?}", started.elapsed());
    let progress = fixture.progress(&run.id).await;
    assert_eq!((progress.stage, progress.counts.sent), (Stage::Done, 40));
}

/// Runs the discovery of 40 accounts, whose requests take 40 ms each, in invocations of `time`. An invocation that is
/// too slow to advance fails and is repeated.
async fn discover(time: Duration) -> (Fixture, RunProgress) {
    let mut fixture = Fixture::over(MemorySource::holding(region_keys(40, 1)), Duration::from_millis(40));
    let run = fixture.start(Request { dry_run: true, ..Request::default() }).await;
    let mut invocations = 0;
    while fixture.tasks.first().is_some() {
        invocations += 1;
        assert!(invocations < 500, "the run does not end: {:?}", fixture.tally);
        fixture.invoke(time).await;
    }
    let progress = fixture.progress(&run.id).await;
    (fixture, progress)
}

#[tokio::test]
async fn discovery_that_does_not_fit_into_one_invocation_is_continued() {
    // The root, `AWSLogs/`, the accounts and their kinds, 16 at a time: about 300 ms.
    let (once, expected) = discover(LONG).await;
    assert_eq!((expected.stage, expected.units, once.tally.continued), (Stage::Done, 40, 0));
    for time in [150, 200] {
        let (fixture, progress) = discover(Duration::from_millis(time)).await;
        assert!(fixture.tally.continued > 0, "{time} ms: {:?}", fixture.tally);
        assert_eq!(progress, expected, "{time} ms");
        assert_eq!((fixture.tally.discovered, fixture.tally.units), (1, 40), "{time} ms: each unit is sent once");
    }
}

const ACCOUNT_1: &str = "AWSLogs/000000000001/";

/// Starts a run over `source` and processes messages in 20 invocations at most.
async fn run_to_rest(fixture: &mut Fixture, request: Request) -> RunId {
    let run = fixture.start(request).await;
    for _ in 0..20 {
        fixture.invoke(LONG).await;
    }
    run.id
}

#[tokio::test]
async fn denied_folder_is_named_and_never_counts_as_empty() {
    let keys = region_keys(3, 1);
    let source = MemorySource { denied: vec![ACCOUNT_1].into(), ..MemorySource::holding(keys.clone()) };
    let mut fixture = Fixture::over(source, Duration::ZERO);
    let run = run_to_rest(&mut fixture, Request::default()).await;
    assert_eq!(fixture.enqueued(), [keys[0].as_str(), &keys[2]], "the other accounts are discovered and processed");
    let progress = fixture.progress(&run).await;
    assert_eq!((progress.stage, progress.units, progress.done, progress.denied), (Stage::Failed, 2, 2, 1));
    assert_eq!(progress.denied_names, [format!("s3://logs/{ACCOUNT_1}")]);
    let [failure] = &progress.failures[..] else { panic!("{progress:?}") };
    assert!(failure.contains(ACCOUNT_1) && failure.contains("allow s3:ListBucket"), "{failure}");
    assert!(progress.empty.is_empty());
    // The attempts after the first list only the denied folder, and each names it.
    assert!(fixture.tally.denied >= 10, "{:?}", fixture.tally);
    assert_eq!((fixture.tally.units, fixture.tally.continued), (2, 1));
    assert_eq!(fixture.memory_source.requests.lock().unwrap().last().unwrap(), ACCOUNT_1);
    // The permission is granted: the message that waits finds the rest.
    fixture.memory_source.denied.lock().unwrap().clear();
    for _ in 0..3 {
        fixture.invoke(LONG).await;
    }
    let progress = fixture.progress(&run).await;
    assert_eq!((progress.stage, progress.units, progress.denied), (Stage::Done, 3, 0), "{progress:?}");
    let mut enqueued = fixture.enqueued();
    enqueued.sort();
    assert_eq!(enqueued, keys);
}

#[tokio::test]
async fn denied_layout_does_not_hide_others_and_makes_no_source_empty() {
    let sibling = log("member-trail/", "000000000009", "CloudTrail", "eu-west-1", DAY, "s");
    for (denied, others) in [
        // By its name it is a layout: the bucket is not walked key by key.
        (vec!["AWSLogs/"], vec![sibling.clone()]),
        // It may contain a layout.
        (vec!["member-trail/"], region_keys(1, 1)),
        (vec!["AWSLogs/", "member-trail/"], Vec::new()),
        // The folders below the account.
        (vec!["AWSLogs/000000000000/CloudTrail/"], vec![sibling.clone()]),
    ] {
        let keys = region_keys(1, 1).into_iter().chain([sibling.clone()]);
        let source = MemorySource { denied: denied.clone().into(), ..MemorySource::holding(keys) };
        let mut fixture = Fixture::over(source, Duration::ZERO);
        let run = run_to_rest(&mut fixture, Request::default()).await;
        assert_eq!(fixture.enqueued(), others, "{denied:?}");
        let progress = fixture.progress(&run).await;
        let found = (progress.stage, progress.denied, progress.empty.len(), fixture.tally.empty);
        assert_eq!(found, (Stage::Failed, denied.len() as u64, 0, 0), "{denied:?}: {progress:?}");
    }
    // If the prefix of the source is denied, nothing is known about it, and the whole discovery is retried.
    let source = MemorySource { denied: vec![""].into(), ..MemorySource::holding(region_keys(1, 1)) };
    let mut fixture = Fixture::over(source, Duration::ZERO);
    let run = run_to_rest(&mut fixture, Request::default()).await;
    let progress = fixture.progress(&run).await;
    assert_eq!((progress.stage, fixture.tally.continued, fixture.tally.empty), (Stage::Failed, 0, 0), "{progress:?}");
}

/// A message that continues a discovery has a receive count of its own. If it were sent without progress, a discovery
/// that never advances would circulate forever.
#[tokio::test]
async fn discovery_that_does_not_advance_fails() {
    let source = Arc::new(MemorySource::holding(region_keys(3, 1)));
    let options = Request::default().resolve(RunId::at(NOW, 1), &defaults(), NOW).unwrap().options;
    let root = defaults().sources.remove(0);
    let mut discovery = Discovery::new(source, options.discovery_request(&root));
    assert!(discovery.next().await.unwrap().is_some());
    let rest = discovery.take_rest().unwrap();
    assert!(!rest.is_empty());
    let task = |rest| Task::Discover { run: RunId::at(NOW, 1), root: root.clone(), options: options.clone(), rest };
    for (task, said) in [
        (task(None), "out of time before all folders were searched"),
        (task(Some(rest)), "out of time before any folder of the source was listed"),
    ] {
        let mut fixture = Fixture::over(MemorySource::holding(region_keys(3, 1)), Duration::from_secs(10));
        fixture.tasks.push(&task.body());
        assert_eq!(fixture.invoke(Duration::from_millis(300)).await, 1);
        assert_eq!((fixture.tally.continued, fixture.tally.units), (0, 0));
        let parts = fixture.run_records.parts(&RunId::at(NOW, 1)).await.unwrap();
        let [PartOutcome::Failed(reason)] = [parts[0].outcome().clone()] else { panic!("{parts:?}") };
        assert!(reason.starts_with(said), "{reason}");
    }
}

/// A requeued unit is a new message with a receive count of its own. A unit that does not advance fails instead, so that
/// its message reaches the dead-letter queue.
#[tokio::test]
async fn unit_that_does_not_advance_is_not_requeued() {
    let mut fixture = Fixture::over(MemorySource::holding(region_keys(1, 3)), Duration::ZERO);
    let run = fixture.start(Request::default()).await;
    assert_eq!(fixture.invoke(LONG).await, 0);
    for _ in 0..3 {
        assert_eq!(fixture.invoke(Duration::ZERO).await, 1);
        assert_eq!((fixture.tally.requeued, fixture.tally.awaiting_budget), (0, 0));
    }
    let parts = fixture.run_records.parts(&run.id).await.unwrap();
    let failed = parts.iter().filter_map(|part| match part.outcome() {
        PartOutcome::Failed(reason) => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(failed.collect::<Vec<_>>(), ["out of time before any part of the unit was processed"]);
    // With enough time the same unit is processed.
    assert_eq!(fixture.invoke(LONG).await, 0);
    assert_eq!((fixture.tally.done, fixture.enqueued().len()), (1, 3));
}

#[tokio::test]
async fn unvisited_folders_are_counted_and_named() {
    let keys = [
        log("", "111122223333", "CloudTrail", "eu-west-1", DAY, "a"),
        log("member-trail/", "444455556666", "CloudTrail", "eu-west-1", DAY, "a"),
        "copies/by-hand.json.gz".to_owned(),
        "one/two/three/x".to_owned(),
    ];
    let mut fixture = Fixture::over(MemorySource::holding(keys.clone()), Duration::ZERO);
    let run = fixture.start(Request::default()).await;
    while fixture.tasks.first().is_some() {
        assert_eq!(fixture.invoke(LONG).await, 0);
    }
    assert_eq!(fixture.enqueued(), keys[..2]);
    let progress = fixture.progress(&run.id).await;
    assert_eq!((fixture.tally.unvisited, progress.unvisited), (2, 2));
    let named: BTreeSet<&str> = progress.unvisited_names.iter().map(String::as_str).collect();
    assert_eq!(named, BTreeSet::from(["s3://logs/copies/", "s3://logs/one/two/"]));
}
