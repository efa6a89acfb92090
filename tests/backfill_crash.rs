//! The backfill worker crashes, loses a reply or runs out of time at each of its calls, while the real ingest code
//! reads its queue. Every missing object is enqueued, every event is delivered once, and the run record counts every
//! key once.

mod run_records;
mod world;

use run_records::MemoryRunRecords;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;
use trailhose::backfill::record::{RunProgress, RunRecords, Stage};
use trailhose::backfill::worker::deadline;
use trailhose::backfill::{Request, RunId, Task};
use trailhose::batch::Batch;
use trailhose::ingest::Deadline;
use trailhose::notification::{Notice, parse};
use trailhose::tally::Tally;
use world::queues::MemoryQueue;
use world::{Fault, INVOCATION, Wire, World, event, log};

const ACCOUNTS: [&str; 2] = ["111122223333", "444455556666"];
const REGIONS: [&str; 2] = ["eu-west-1", "us-east-1"];
/// Objects per account and region.
const OBJECTS: u32 = 5;
/// 2023-11-14T22:13:20Z, the start time of the world.
const TODAY: &str = "2023/11/14";
/// The time limit of an invocation that runs out of time.
const SHORT: Duration = Duration::from_millis(25);

/// A world, the queues of the backfill, and the number of ingested objects.
struct Fixture {
    world: World,
    tasks: Arc<MemoryQueue>,
    missed: Arc<MemoryQueue>,
    run_records: Arc<MemoryRunRecords>,
    keys: Vec<String>,
    /// The results of the ingest code.
    ingested: Tally,
}

fn run() -> RunId {
    RunId::at(0, 1)
}

impl Fixture {
    /// Creates twenty objects without notifications and a task that starts a run. One object per region is already
    /// done.
    async fn new() -> Self {
        let world = World::default();
        let mut keys = Vec::new();
        let mut number = 0;
        for account in ACCOUNTS {
            for region in REGIONS {
                for _ in 0..OBJECTS {
                    let stamp = TODAY.replace('/', "");
                    let key = format!(
                        "AWSLogs/{account}/CloudTrail/{region}/{TODAY}/{account}_CloudTrail_{region}_{stamp}T0000Z_{number:016}.json.gz"
                    );
                    let bytes = log(&[event(number)]);
                    world.bucket.objects.lock().unwrap().insert(key.clone(), (format!("{number:08x}"), bytes));
                    keys.push(key);
                    number += 1;
                }
            }
        }
        for key in keys.iter().step_by(OBJECTS as usize) {
            let etag = world.bucket.objects.lock().unwrap()[key].0.clone();
            world.ingest(&trailhose::object::ObjectRef::new("logs", key).with_version(&etag, 1)).await;
        }
        let tasks = Arc::new(MemoryQueue::default());
        tasks.push(&Task::Start { run: run(), request: Request::default() }.body());
        let (missed, run_records) = (Arc::default(), Arc::default());
        Self { world, tasks, missed, run_records, keys, ingested: Tally::default() }
    }

    /// Runs the backfill with the oldest task. After a crash its result is lost.
    async fn work(&self, wire: &Arc<Wire>, deadline: Deadline) -> bool {
        let Some(message) = self.tasks.first() else { return false };
        let worker = self.world.backfiller(wire, [&self.tasks, &self.missed], &self.run_records);
        let died = async {
            while !wire.is_dead() {
                tokio::task::yield_now().await;
            }
        };
        let messages = [message];
        tokio::select! {
            biased;
            () = died => drop(wire.revive()),
            report = worker.messages(&messages, deadline) => {
                if report.failed.is_empty() {
                    self.tasks.acknowledge(&messages[0]);
                }
            }
        }
        true
    }

    /// Runs ingest with the oldest message of missing objects.
    async fn ingest(&mut self) -> bool {
        let Some(message) = self.missed.first() else { return false };
        let batch = Batch::new(self.world.worker(&Arc::default()), None, 4, 512);
        let ended = batch.messages(std::slice::from_ref(&message), Deadline::within(INVOCATION)).await;
        self.ingested.merge(&ended.tally);
        if ended.failed.is_empty() {
            self.missed.acknowledge(&message);
        }
        true
    }

    /// Runs both in turn until the queues are empty.
    async fn finish(&mut self, wire: &Arc<Wire>, mut deadline: impl FnMut() -> Deadline) {
        for _ in 0..2000 {
            let worked = self.work(wire, deadline()).await;
            // Backfill workers run independently, so their messages arrive in any order.
            self.tasks.reverse();
            if !self.ingest().await && !worked {
                return;
            }
        }
        panic!("the queues do not become empty: {:?}", wire.calls());
    }

    /// Checks the results when the queues are empty.
    async fn check(&self, context: &str) {
        let mut delivered = self.world.delivered();
        delivered.sort();
        let mut events: Vec<String> = (0..self.keys.len() as u32).map(event).collect();
        events.sort();
        assert_eq!(delivered, events, "{context}: each event is delivered once");
        let missing = self.keys.len() as u64 - 4;
        assert_eq!(self.ingested.objects, missing, "{context}: no object is ingested twice");
        let sent: BTreeSet<String> = self
            .missed
            .sent
            .lock()
            .unwrap()
            .iter()
            .flat_map(|body| parse(body).unwrap())
            .map(|notice| match notice {
                Notice::Object(at) => at.key,
                Notice::Ignored(_) => panic!("{notice:?}"),
            })
            .collect();
        let expected = self.keys.iter().enumerate().filter(|(at, _)| !at.is_multiple_of(OBJECTS as usize));
        assert!(sent.iter().eq(expected.map(|(_, key)| key)), "{context}: exactly the missing objects are enqueued");
        let run_records = self.run_records.run(&run()).await.unwrap().unwrap();
        let progress = RunProgress::of(&run_records, &self.run_records.parts(&run()).await.unwrap());
        assert_eq!((progress.stage, progress.units, progress.done), (Stage::Done, 4, 4), "{context}");
        let counts = progress.counts;
        assert_eq!(counts.listed, self.keys.len() as u64, "{context}: each key is counted once: {counts:?}");
        assert_eq!(counts.done + counts.leased + counts.missing + counts.unfinished, counts.listed, "{context}");
        assert!(counts.sent <= missing, "{context}: {counts:?}");
    }
}

fn long() -> Deadline {
    deadline(INVOCATION)
}

#[tokio::test]
async fn crash_or_lost_reply_at_any_call_loses_and_repeats_nothing() {
    let calm = Arc::new(Wire::default());
    let mut missed = Fixture::new().await;
    missed.finish(&calm, long).await;
    missed.check("without faults").await;
    let calls = calm.calls();
    assert_eq!(
        ["list", "send_batch", "begin", "note", "rows"]
            .map(|name| calls.iter().filter(|call| **call == name).count() > 3),
        [true, true, false, true, true],
        "{calls:?}"
    );
    for fault in [Fault::Die, Fault::LoseReply, Fault::Refuse] {
        for (call, name) in calls.iter().enumerate() {
            let wire = Arc::new(Wire::failing([(call, fault)]));
            let mut missed = Fixture::new().await;
            missed.finish(&wire, long).await;
            assert_eq!(wire.hit().len(), 1, "{fault:?} at {call}, {name}");
            missed.check(&format!("{fault:?} at {call}, {name}")).await;
        }
    }
}

#[tokio::test]
async fn unit_that_runs_out_of_time_at_any_call_is_resumed() {
    let calm = Arc::new(Wire::default());
    let mut missed = Fixture::new().await;
    missed.finish(&calm, long).await;
    let mut requeued = 0;
    for call in 0..calm.calls().len() {
        let wire = Arc::new(Wire::failing([(call, Fault::Late(SHORT * 2))]));
        let mut missed = Fixture::new().await;
        let until = Arc::clone(&wire);
        missed
            .finish(&wire, || {
                let end = Instant::now() + INVOCATION;
                let short = until.calls().len() <= call;
                Deadline { stop: if short { Instant::now() + SHORT } else { end }, end }
            })
            .await;
        missed.check(&format!("out of time at {call}")).await;
        requeued += missed.tasks.sent.lock().unwrap().iter().filter(|body| body.contains("\"so_far\"")).count();
    }
    assert!(requeued > 4, "{requeued} units were resumed");
}

#[tokio::test]
async fn task_that_cannot_enqueue_is_retried() {
    for tasks_closed in [true, false] {
        for before in 0..8 {
            let wire = Arc::new(Wire::default());
            let mut missed = Fixture::new().await;
            for _ in 0..before {
                missed.work(&wire, long()).await;
            }
            let line = Arc::clone(if tasks_closed { &missed.tasks } else { &missed.missed });
            line.closed.store(true, Ordering::SeqCst);
            for _ in 0..3 {
                missed.work(&wire, long()).await;
                missed.tasks.reverse();
            }
            line.closed.store(false, Ordering::SeqCst);
            missed.finish(&wire, long).await;
            missed.check(&format!("closed after {before}, the tasks: {tasks_closed}")).await;
        }
    }
}

#[tokio::test]
async fn repeated_crashes_do_not_prevent_completion() {
    let mut hit = 0;
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let faults = [Fault::Die, Fault::LoseReply, Fault::Die];
        let plan = (0..400).filter(|_| random.u8(..) < 16).collect::<Vec<_>>();
        let wire = Arc::new(Wire::failing(plan.into_iter().map(|call| (call, faults[call % 3]))));
        let mut missed = Fixture::new().await;
        missed.finish(&wire, long).await;
        hit += wire.hit().len();
        missed.check(&format!("seed {seed}")).await;
    }
    // Each run has several faults on average.
    assert!(hit > 40, "{hit} faults were injected");
}
