//! A day without the destination or without the ledger at 100 objects per second, with the numbers of `template.yaml` and
//! a virtual clock.
//!
//! The ingest pipeline and the batch are the real code. The queues, the pollers, the stream and the failing store are
//! models, because a test cannot wait a day. All rates and amounts are divided by the same number
//! (`TRAILHOSE_OUTAGE_SCALE`); times are not. Each poller of the model is an instance of the function with a circuit
//! breaker of its own. The model has two pollers per queue, more than the template's numbers divided by the scale.

mod outage {
    pub mod queues;
    pub mod template;
}
mod world;

use async_trait::async_trait;
use outage::queues::{Queues, Settings, Stats};
use outage::template::number;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use trailhose::batch::{Batch, Deferral};
use trailhose::ingest::{Deadline, Ingest};
use trailhose::ledger::Ledger;
use trailhose::ledger::model::page::{Page, PageName, Version};
use trailhose::ledger::model::row::{Change, Guard, Row};
use trailhose::ledger::store::memory::Memory;
use trailhose::ledger::store::{Store, StoreError, WriteError};
use trailhose::notification::render;
use trailhose::object::{Object, ObjectId};
use trailhose::pack::{PackLimits, SinkCall};
use trailhose::sink::{Oversize, Sink, SinkError, Transaction};
use world::{World, event_at, plain_log};

const HOUR: Duration = Duration::from_secs(3600);

/// The rate of new objects, before scaling.
const OBJECTS_PER_SECOND: f64 = 100.0;

/// The bytes of an object's events: 8.6 events of 1.2 kB.
const OBJECT_BYTES: f64 = 10_320.0;

/// Firehose's quota in bytes per second in us-east-1, us-west-2 and eu-west-1 (Direct PUT).
/// <https://docs.aws.amazon.com/firehose/latest/dev/limits.html>
const QUOTA: f64 = 5.0 * 1_048_576.0;

/// The limit of messages in flight of a standard queue.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html>
const IN_FLIGHT: f64 = 120_000.0;

/// Time at the start, in seconds since 1970: 2026-11-01T00:00:00Z.
const BASE: i64 = 1_793_491_200;

/// What fails during the outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    /// Calls to the destination have no effect and no reply.
    Destination,
    /// Calls to the destination take effect, but have no reply. Each attempt then repeats a call.
    Replies,
    /// Requests to the ledger have no reply.
    Ledger,
    /// The destination denies every call until a person changes a policy.
    Denied,
}

/// The services behind the function.
#[derive(Debug)]
struct Services {
    outage: Outage,
    is_down: AtomicBool,
    /// The time that one object takes at the quota.
    object_time: Duration,
    next_call: Mutex<Instant>,
    arrived: Mutex<HashMap<String, u32>>,
    /// Calls to the destination without a reply.
    unanswered: AtomicU64,
    memory: Arc<Memory>,
}

impl Services {
    fn fails(&self, outages: &[Outage]) -> bool {
        self.is_down.load(Ordering::SeqCst) && outages.contains(&self.outage)
    }

    fn arrive(&self, call: &SinkCall) {
        let mut arrived = self.arrived.lock().unwrap();
        for line in std::str::from_utf8(&call.body).unwrap().lines() {
            *arrived.entry(line.to_owned()).or_default() += 1;
        }
    }

    async fn available(&self) -> Result<(), StoreError> {
        if self.fails(&[Outage::Ledger]) {
            tokio::time::sleep(Duration::from_secs(10)).await;
            return Err(StoreError::Unknown("no reply".to_owned()));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct ModelSink(Arc<Services>, PackLimits);

#[async_trait]
impl Sink for ModelSink {
    fn limits(&self) -> PackLimits {
        self.1
    }

    async fn begin(&self) -> Result<Transaction, SinkError> {
        Ok(Transaction::none())
    }

    async fn deliver(&self, call: &SinkCall, deadline: Instant) -> Result<(), SinkError> {
        if self.0.fails(&[Outage::Denied]) {
            return Err(SinkError::Denied("allow firehose:PutRecordBatch".to_owned()));
        }
        if self.0.fails(&[Outage::Destination, Outage::Replies]) {
            if self.0.outage == Outage::Replies {
                self.0.arrive(call);
            }
            self.0.unanswered.fetch_add(1, Ordering::SeqCst);
            // The adapter retries until the deadline.
            tokio::time::sleep_until(deadline).await;
            return Err(SinkError::OutOfTime { failed: 1, records: 1, code: "Timeout".to_owned() });
        }
        let at = {
            let mut next = self.0.next_call.lock().unwrap();
            let at = (*next).max(Instant::now());
            if at > deadline {
                return Err(SinkError::OutOfTime { failed: 1, records: 1, code: "ServiceUnavailable".to_owned() });
            }
            *next = at + self.0.object_time;
            at
        };
        tokio::time::sleep_until(at).await;
        self.0.arrive(call);
        Ok(())
    }

    async fn store_oversize(&self, event: &Oversize<'_>) -> Result<String, SinkError> {
        unreachable!("no event is oversize: {event:?}")
    }
}

#[derive(Debug)]
struct ModelStore(Arc<Services>);

#[async_trait]
impl Store for ModelStore {
    async fn change_row(&self, object: &Object, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        self.0.available().await?;
        self.0.memory.change_row(object, guard, change).await
    }

    async fn change_row_by_id(&self, id: ObjectId, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        self.0.available().await?;
        self.0.memory.change_row_by_id(id, guard, change).await
    }

    async fn rows(&self, ids: &[ObjectId]) -> Result<Vec<Option<Row>>, StoreError> {
        self.0.available().await?;
        self.0.memory.rows(ids).await
    }

    async fn pages(&self, names: &[PageName]) -> Result<Vec<Option<Page>>, StoreError> {
        self.0.available().await?;
        self.0.memory.pages(names).await
    }

    async fn write_page(&self, name: &PageName, version: Option<Version>, page: &Page) -> Result<(), WriteError<Page>> {
        self.0.available().await?;
        self.0.memory.write_page(name, version, page).await
    }
}

/// The template's numbers that determine the course of an outage.
fn queues(scale: f64) -> [(&'static str, Settings); 3] {
    let queue = |block: &str, redrive| Settings {
        visibility_timeout: Duration::from_secs(number(block, "VisibilityTimeout")),
        retention: Duration::from_secs(number(block, "MessageRetentionPeriod")),
        redrive,
        in_flight: (IN_FLIGHT / scale) as usize,
    };
    let receives = |block| u32::try_from(number(block, "maxReceiveCount")).unwrap();
    let dead = Settings {
        visibility_timeout: Duration::ZERO,
        retention: Duration::from_secs(number("DeadLetterQueue", "MessageRetentionPeriod")),
        redrive: None,
        in_flight: 0,
    };
    [
        ("ingest", queue("IngestQueue", Some((receives("IngestQueue"), "dead")))),
        ("deferred", queue("DeferredQueue", Some((receives("DeferredQueue"), "dead")))),
        ("dead", dead),
    ]
}

/// What the metrics of the function show.
#[derive(Debug, Default)]
struct Metrics {
    oldest_age: i64,
    breaker_opened: bool,
    breaker_open: HashMap<usize, bool>,
}

struct Scene {
    scale: f64,
    world: Arc<World>,
    services: Arc<Services>,
    queues: Arc<Queues>,
    metrics: Arc<Mutex<Metrics>>,
    events: Mutex<Vec<String>>,
}

impl Scene {
    fn new(outage: Outage, scale: f64) -> Self {
        let world = Arc::new(World::default());
        let services = Arc::new(Services {
            outage,
            is_down: AtomicBool::new(false),
            object_time: Duration::from_secs_f64(OBJECT_BYTES / (QUOTA / scale)),
            next_call: Mutex::new(Instant::now()),
            arrived: Mutex::default(),
            unanswered: AtomicU64::new(0),
            memory: Arc::clone(&world.store),
        });
        let queues = Arc::new(Queues::new(BASE, queues(scale)));
        Self { scale, world, services, queues, metrics: Arc::default(), events: Mutex::default() }
    }

    fn ingest(&self) -> Ingest {
        let queues = Arc::clone(&self.queues);
        Ingest {
            sink: Arc::new(ModelSink(Arc::clone(&self.services), self.world.limits)),
            ledger: Ledger::new(
                Arc::new(ModelStore(Arc::clone(&self.services))),
                Arc::new(move || queues.now()),
                90 * 86_400,
            ),
            ..self.world.worker(&Arc::default())
        }
    }

    /// Starts the pollers of a queue.
    fn poll(&self, queue: &'static str, deferral: Option<&Deferral>) {
        for _ in 0..2 {
            let batch = Batch::new(self.ingest(), Some(Arc::clone(&self.queues) as _), 16, 384);
            let batch = match deferral {
                Some(deferral) => batch.with_deferral(deferral.clone()),
                None => batch,
            };
            let (queues, metrics) = (Arc::clone(&self.queues), Arc::clone(&self.metrics));
            tokio::spawn(async move {
                let instance = fastrand::usize(..);
                loop {
                    let messages = queues.receive(queue);
                    if messages.is_empty() {
                        tokio::time::sleep(Duration::from_secs(5)).await;
                        continue;
                    }
                    let timeout = Duration::from_secs(number("IngestFunction", "Timeout"));
                    let report = batch.messages(&messages, Deadline::within(timeout)).await;
                    for message in messages.iter().filter(|message| !report.failed.contains(&message.id)) {
                        queues.delete(queue, &message.id);
                    }
                    let mut metrics = metrics.lock().unwrap();
                    let age = report.oldest_unfinished.map_or(0, |first| queues.now() - first);
                    metrics.oldest_age = metrics.oldest_age.max(age);
                    metrics.breaker_opened |= report.breaker_open;
                    metrics.breaker_open.insert(instance, report.breaker_open);
                    drop(metrics);
                    // The time of an invocation without waiting.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        }
    }

    /// Announces new objects until `end`.
    async fn announce(&self, end: Instant) {
        let interval = Duration::from_secs_f64(self.scale / OBJECTS_PER_SECOND);
        while Instant::now() < end {
            let mut events = self.events.lock().unwrap();
            let number = u32::try_from(events.len()).unwrap();
            let seconds = self.queues.now();
            let time = jiff::Timestamp::from_second(seconds).unwrap().to_string();
            let event = event_at(number, &time);
            let object = self.world.put(&format!("{number:016}"), &plain_log(std::slice::from_ref(&event)));
            events.push(event);
            drop(events);
            self.queues.push("ingest", &render(&object));
            tokio::time::sleep(interval).await;
        }
    }

    async fn until_empty(&self, queue: &str, most: Duration) {
        let start = Instant::now();
        while self.queues.len(queue) > 0 {
            assert!(start.elapsed() < most, "{} messages left in {queue} after {most:?}", self.queues.len(queue));
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    }
}

fn deferral() -> Deferral {
    let url = |name: &str| format!("https://sqs.eu-west-1.amazonaws.com/111122223333/{name}");
    let days = i64::try_from(number("MaxDeferredDays", "Default")).unwrap();
    Deferral { deferred_url: url("deferred"), dead_letter_url: url("dead"), max_age: days * 86_400 }
}

fn scale() -> f64 {
    std::env::var("TRAILHOSE_OUTAGE_SCALE").map_or(2_000.0, |text| text.parse().unwrap())
}

/// Runs an outage of a day and then the delivery of everything that waited.
async fn day_without(outage: Outage) {
    let scene = Arc::new(Scene::new(outage, scale()));
    for queue in ["ingest", "deferred"] {
        scene.poll(queue, Some(&deferral()));
    }
    let (down, day) = (HOUR, 24 * HOUR);
    // What arrives in a day, at the rate that new objects leave of the quota.
    let live = OBJECTS_PER_SECOND * OBJECT_BYTES;
    let drain = Duration::from_secs_f64(day.as_secs_f64() * live / (QUOTA - live));
    let announcing = tokio::spawn({
        let scene = Arc::clone(&scene);
        let end = Instant::now() + down + day + 2 * drain;
        async move { scene.announce(end).await }
    });
    tokio::time::sleep(down).await;
    assert_eq!(scene.queues.len("deferred"), 0);
    scene.services.is_down.store(true, Ordering::SeqCst);
    tokio::time::sleep(day).await;
    let unanswered = scene.services.unanswered.load(Ordering::SeqCst);
    let waiting = scene.queues.len("deferred");
    {
        let metrics = scene.metrics.lock().unwrap();
        assert!(metrics.breaker_opened && metrics.breaker_open.values().any(|open| *open));
        // The age is measured at receives. The oldest message waits for its next one.
        assert!(metrics.oldest_age > 6 * 3600, "{} s", metrics.oldest_age);
    }
    scene.services.is_down.store(false, Ordering::SeqCst);
    let end = Instant::now();
    // Hidden messages become visible within 15 minutes.
    scene.until_empty("deferred", drain + drain / 4 + HOUR).await;
    let drained = end.elapsed();
    announcing.await.unwrap();
    scene.until_empty("ingest", HOUR).await;
    scene.until_empty("deferred", HOUR).await;

    let (arrived, announced) = (scene.services.arrived.lock().unwrap(), scene.events.lock().unwrap());
    let lost = announced.iter().filter(|event| !arrived.contains_key(*event)).count();
    let repeats = arrived.values().map(|times| u64::from(*times) - 1).sum::<u64>();
    let Stats { most_receives, most_in_flight, expired, .. } = scene.queues.stats();
    println!(
        "outage of {outage:?}: {} objects (scale 1/{}), {waiting} waited; {unanswered} calls without a reply, {repeats} \
         repeated events; at most {most_receives} receives and {most_in_flight} messages in flight; drained in {:.2} h, \
         {:.2} h at the quota",
        announced.len(),
        scene.scale,
        drained.as_secs_f64() / 3600.0,
        drain.as_secs_f64() / 3600.0,
    );
    assert_eq!((lost, expired, scene.queues.len("dead")), (0, 0, 0));
    assert!(waiting as f64 > 0.9 * 86_400.0 * OBJECTS_PER_SECOND / scene.scale, "{waiting} messages waited");
    assert!(u64::from(most_receives) < number("DeferredQueue", "maxReceiveCount") / 2, "{most_receives} receives");
    // A call without a reply is repeated once, as SEMANTICS.md says. Each of these calls contains one event.
    assert!(repeats <= if outage == Outage::Replies { unanswered } else { 0 }, "{repeats} repeats");
    // Before the breakers open, each of the four instances starts ten objects, some of them twice. Then it starts a probe
    // of 45 s after each minute.
    let probes = 4 * (day.as_secs() / 105 + 1);
    assert!(unanswered <= probes + 4 * 20, "{unanswered} calls without a reply");
    assert!(!scene.metrics.lock().unwrap().breaker_open.values().any(|open| *open), "a breaker is still open");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_in_a_day_without_the_destination() {
    day_without(Outage::Destination).await;
}

#[tokio::test(start_paused = true)]
async fn only_unanswered_calls_are_repeated_in_a_day_without_replies() {
    day_without(Outage::Replies).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_in_a_day_without_the_ledger() {
    day_without(Outage::Ledger).await;
}

/// The model can fail: this is the stack before it had a deferred queue.
#[tokio::test(start_paused = true)]
async fn without_a_deferred_queue_messages_are_given_up_after_four_hours() {
    let scene = Scene::new(Outage::Destination, scale());
    scene.poll("ingest", None);
    scene.services.is_down.store(true, Ordering::SeqCst);
    scene.announce(Instant::now() + HOUR / 6).await;
    let announced = scene.events.lock().unwrap().len();
    tokio::time::sleep(5 * HOUR).await;
    assert_eq!(scene.queues.len("dead"), announced);
}

#[tokio::test(start_paused = true)]
async fn permanent_failure_ends_in_the_dead_letter_queue_with_its_reason() {
    let scene = Scene::new(Outage::Denied, 100_000.0);
    for queue in ["ingest", "deferred"] {
        scene.poll(queue, Some(&deferral()));
    }
    scene.services.is_down.store(true, Ordering::SeqCst);
    scene.announce(Instant::now() + HOUR).await;
    let announced = scene.events.lock().unwrap().len();
    tokio::time::sleep(Duration::from_secs(deferral().max_age.unsigned_abs()) - 2 * HOUR).await;
    assert_eq!((scene.queues.len("dead"), scene.queues.len("deferred")), (0, announced));
    assert!(scene.metrics.lock().unwrap().oldest_age > 3 * 86_400);
    tokio::time::sleep(3 * HOUR).await;
    let reasons = scene.queues.reasons("dead");
    assert_eq!((reasons.len(), scene.queues.len("deferred")), (announced, 0));
    let named = |reason: &Option<String>| reason.as_ref().is_some_and(|text| text.contains("firehose:PutRecordBatch"));
    assert!(reasons.iter().all(named), "{reasons:?}");
}

#[test]
fn dead_letter_queues_keep_messages_longer_than_their_sources() {
    let retention = |queue| number(queue, "MessageRetentionPeriod");
    for (source, dead) in [
        ("IngestQueue", "DeadLetterQueue"),
        ("DeferredQueue", "DeadLetterQueue"),
        ("BackfillIngestQueue", "BackfillIngestDeadLetterQueue"),
        ("BackfillQueue", "BackfillDeadLetterQueue"),
    ] {
        // SQS keeps the time of the original message. Four days are left to react.
        assert!(retention(source) + 4 * 86_400 <= retention(dead), "{source}");
    }
    // The longest wait in the deferred queue, a day for the receive after it, and the receives of that time.
    let most = (number("MaxDeferredDays", "MaxValue") + 1) * 86_400;
    assert!(most < retention("DeferredQueue"));
    assert!(most / 900 + 10 < number("DeferredQueue", "maxReceiveCount"));
    // No copy of a notification can outlive the ledger row of its object.
    let longest = retention("IngestQueue") + most + retention("DeadLetterQueue");
    assert!(longest <= number("LedgerDays", "MinValue") * 86_400, "{longest} s");
}
