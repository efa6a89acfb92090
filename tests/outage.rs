//! A day without the destination or without the ledger at 100 objects per second, with the numbers of `template.yaml` and
//! a virtual clock.
//!
//! The ingest pipeline and the batch are the real code. The queues, the pollers, the stream and the failing store are
//! models, because a test cannot wait a day. The simulation runs one invocation after the other; an invocation occupies its
//! poller for the time that the services would have taken. All rates and amounts are divided by the same number
//! (`TRAILHOSE_OUTAGE_SCALE`); times are not. Each poller of the model is an instance of the function with a circuit
//! breaker of its own. The model has two pollers per queue, more than the template's numbers divided by the scale.

mod outage {
    pub mod queues;
    pub mod template;
}
mod world;

use async_trait::async_trait;
use outage::queues::{Clock, Queues, Settings, Stats};
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
    /// When the destination accepts the next object.
    next_call: Mutex<Duration>,
    /// The time that the current invocation takes.
    taken: Mutex<Duration>,
    clock: Clock,
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

    /// The objects of an invocation are processed at the same time, so the longest one counts.
    fn take(&self, time: Duration) {
        let mut taken = self.taken.lock().unwrap();
        *taken = (*taken).max(time);
    }

    fn available(&self) -> Result<(), StoreError> {
        if self.fails(&[Outage::Ledger]) {
            self.take(Duration::from_secs(10));
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
            self.0.take(deadline.saturating_duration_since(Instant::now()));
            return Err(SinkError::OutOfTime { failed: 1, records: 1, code: "Timeout".to_owned() });
        }
        let mut next = self.0.next_call.lock().unwrap();
        let end = (*next).max(self.0.clock.now()) + self.0.object_time;
        let time = end - self.0.clock.now();
        if time > deadline.saturating_duration_since(Instant::now()) {
            return Err(SinkError::OutOfTime { failed: 1, records: 1, code: "ServiceUnavailable".to_owned() });
        }
        *next = end;
        self.0.take(time);
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
        self.0.available()?;
        self.0.memory.change_row(object, guard, change).await
    }

    async fn change_row_by_id(&self, id: ObjectId, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        self.0.available()?;
        self.0.memory.change_row_by_id(id, guard, change).await
    }

    async fn rows(&self, ids: &[ObjectId]) -> Result<Vec<Option<Row>>, StoreError> {
        self.0.available()?;
        self.0.memory.rows(ids).await
    }

    async fn pages(&self, names: &[PageName]) -> Result<Vec<Option<Page>>, StoreError> {
        self.0.available()?;
        self.0.memory.pages(names).await
    }

    async fn write_page(&self, name: &PageName, version: Option<Version>, page: &Page) -> Result<(), WriteError<Page>> {
        self.0.available()?;
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
    /// The last value of each instance.
    breaker_open: HashMap<usize, bool>,
}

/// An instance of the function.
struct Poller {
    queue: &'static str,
    batch: Batch,
    free: Duration,
}

struct Scene {
    scale: f64,
    /// The time limit of an invocation.
    timeout: Duration,
    clock: Clock,
    world: World,
    services: Arc<Services>,
    queues: Arc<Queues>,
    metrics: Metrics,
    pollers: Vec<Poller>,
    /// When the next object is announced, if there is one.
    next_object: Option<Duration>,
    events: Vec<String>,
}

impl Scene {
    /// A stack with the queues of the template, with or without the deferred queue.
    fn new(outage: Outage, scale: f64, deferral: Option<&Deferral>) -> Self {
        let (world, clock) = (World::default(), Clock::default());
        let services = Arc::new(Services {
            outage,
            is_down: AtomicBool::new(false),
            object_time: Duration::from_secs_f64(OBJECT_BYTES / (QUOTA / scale)),
            next_call: Mutex::default(),
            taken: Mutex::default(),
            clock: clock.clone(),
            arrived: Mutex::default(),
            unanswered: AtomicU64::new(0),
            memory: Arc::clone(&world.store),
        });
        let queues = Arc::new(Queues::new(clock.clone(), queues(scale)));
        let mut scene = Self {
            scale,
            timeout: Duration::from_secs(number("IngestFunction", "Timeout")),
            clock,
            world,
            services,
            queues,
            metrics: Metrics::default(),
            pollers: Vec::new(),
            next_object: Some(Duration::ZERO),
            events: Vec::new(),
        };
        for queue in ["ingest", "ingest", "deferred", "deferred"] {
            let batch = Batch::new(scene.ingest(), Some(Arc::clone(&scene.queues) as _), 16, 384);
            let batch = match deferral {
                Some(deferral) => batch.with_deferral(deferral.clone()),
                None => batch,
            };
            scene.pollers.push(Poller { queue, batch, free: Duration::ZERO });
        }
        scene
    }

    fn ingest(&self) -> Ingest {
        let clock = self.clock.clone();
        let store = Arc::new(ModelStore(Arc::clone(&self.services)));
        Ingest {
            sink: Arc::new(ModelSink(Arc::clone(&self.services), self.world.limits)),
            ledger: Ledger::new(store, Arc::new(move || Clock::seconds(clock.now())), 90 * 86_400),
            ..self.world.worker(&Arc::default())
        }
    }

    /// Runs the stack until this time.
    async fn run_until(&mut self, end: Duration) {
        loop {
            let (index, free) =
                self.pollers.iter().map(|poller| poller.free).enumerate().min_by_key(|(_, free)| *free).unwrap();
            let next = self.next_object.map_or(free, |object| object.min(free));
            if next >= end {
                return self.clock.set(end);
            }
            self.clock.set(next);
            match self.next_object {
                Some(object) if object <= free => self.announce(),
                _ => self.invoke(index).await,
            }
        }
    }

    fn announce(&mut self) {
        let number = u32::try_from(self.events.len()).unwrap();
        let time = jiff::Timestamp::from_second(Clock::seconds(self.clock.now())).unwrap().to_string();
        let event = event_at(number, &time);
        let object = self.world.put(&format!("{number:016}"), &plain_log(std::slice::from_ref(&event)));
        self.events.push(event);
        self.queues.push("ingest", &render(&object));
        let interval = Duration::from_secs_f64(self.scale / OBJECTS_PER_SECOND);
        self.next_object = Some(self.clock.now() + interval);
    }

    async fn invoke(&mut self, index: usize) {
        let poller = &mut self.pollers[index];
        let messages = self.queues.receive(poller.queue);
        if messages.is_empty() {
            poller.free += Duration::from_secs(5);
            return;
        }
        *self.services.taken.lock().unwrap() = Duration::from_millis(50);
        let timeout = self.timeout;
        let report = poller.batch.messages(&messages, Deadline::within(timeout)).await;
        for message in messages.iter().filter(|message| !report.failed.contains(&message.id)) {
            self.queues.delete(poller.queue, &message.id);
        }
        let now = Clock::seconds(self.clock.now());
        let age = report.oldest_unfinished.map_or(0, |first| now - first);
        self.metrics.oldest_age = self.metrics.oldest_age.max(age);
        self.metrics.breaker_open.insert(index, report.breaker_open);
        poller.free += *self.services.taken.lock().unwrap();
    }

    /// Runs the stack until a queue is empty. Returns the time.
    async fn until_empty(&mut self, queue: &str, most: Duration) -> Duration {
        let start = self.clock.now();
        while self.queues.len(queue) > 0 {
            let now = self.clock.now();
            assert!(now - start < most, "{} messages left in {queue} after {most:?}", self.queues.len(queue));
            self.run_until(now + Duration::from_secs(10)).await;
        }
        self.clock.now() - start
    }

    fn set_down(&self, is_down: bool) {
        self.services.is_down.store(is_down, Ordering::SeqCst);
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
    let mut scene = Scene::new(outage, scale(), Some(&deferral()));
    let day = 24 * HOUR;
    // What arrives in a day, at the rate that new objects leave of the quota.
    let live = OBJECTS_PER_SECOND * OBJECT_BYTES;
    let drain = Duration::from_secs_f64(day.as_secs_f64() * live / (QUOTA - live));
    scene.run_until(HOUR).await;
    assert_eq!((scene.queues.len("deferred"), scene.queues.len("dead")), (0, 0));

    scene.set_down(true);
    scene.run_until(HOUR + day).await;
    let unanswered = scene.services.unanswered.load(Ordering::SeqCst);
    let waiting = scene.queues.len("deferred");
    assert!(scene.metrics.breaker_open.values().any(|open| *open));
    // The age is measured at receives. The oldest message waits for its next one.
    let oldest_hours = scene.metrics.oldest_age / 3600;
    assert!(oldest_hours >= 6, "{oldest_hours} h");

    scene.set_down(false);
    // Hidden messages become visible within 15 minutes. New objects continue to arrive.
    let drained = scene.until_empty("deferred", drain + drain / 4 + HOUR).await;
    scene.next_object = None;
    scene.until_empty("ingest", HOUR).await;
    scene.until_empty("deferred", HOUR).await;

    let arrived = scene.services.arrived.lock().unwrap();
    let lost = scene.events.iter().filter(|event| !arrived.contains_key(*event)).count();
    let repeats = arrived.values().map(|times| u64::from(*times) - 1).sum::<u64>();
    let Stats { most_receives, most_in_flight, expired, .. } = scene.queues.stats();
    println!(
        "outage of {outage:?}: {} objects (scale 1/{}), {waiting} waited; {unanswered} calls without a reply, {repeats} \
         repeated events; oldest age in the metric {oldest_hours} h; at most {most_receives} receives and \
         {most_in_flight} messages in flight; drained in {:.2} h, {:.2} h at the quota",
        scene.events.len(),
        scene.scale,
        drained.as_secs_f64() / 3600.0,
        drain.as_secs_f64() / 3600.0,
    );
    assert_eq!((lost, expired, scene.queues.len("dead")), (0, 0, 0));
    assert!(waiting as f64 > 0.9 * 86_400.0 * OBJECTS_PER_SECOND / scene.scale, "{waiting} messages waited");
    assert!(u64::from(most_receives) < number("DeferredQueue", "maxReceiveCount") / 2, "{most_receives} receives");
    // A call without a reply is repeated, as SEMANTICS.md says. Each of these calls contains one event.
    assert!(repeats <= if outage == Outage::Replies { unanswered } else { 0 }, "{repeats} repeats");
    // Before its breaker opens, each of the four instances starts the ten objects of one or two invocations. Then it
    // starts one probe per minute.
    let probes = 4 * (day.as_secs() / 60 + 1);
    assert!(unanswered <= probes + 4 * 20, "{unanswered} calls without a reply");
    assert!(!scene.metrics.breaker_open.values().any(|open| *open), "a breaker is still open");
}

#[tokio::test]
async fn nothing_is_lost_in_a_day_without_the_destination() {
    day_without(Outage::Destination).await;
}

#[tokio::test]
async fn only_unanswered_calls_are_repeated_in_a_day_without_replies() {
    day_without(Outage::Replies).await;
}

#[tokio::test]
async fn nothing_is_lost_in_a_day_without_the_ledger() {
    day_without(Outage::Ledger).await;
}

/// The model can fail: this is the stack before it had a deferred queue.
#[tokio::test]
async fn without_a_deferred_queue_messages_are_given_up_after_four_hours() {
    let mut scene = Scene::new(Outage::Destination, scale(), None);
    scene.set_down(true);
    scene.run_until(HOUR / 6).await;
    scene.next_object = None;
    scene.run_until(5 * HOUR).await;
    assert_eq!((scene.queues.len("dead"), scene.queues.len("ingest")), (scene.events.len(), 0));
}

#[tokio::test]
async fn permanent_failure_ends_in_the_dead_letter_queue_with_its_reason() {
    let mut scene = Scene::new(Outage::Denied, 20_000.0, Some(&deferral()));
    scene.set_down(true);
    scene.run_until(HOUR).await;
    scene.next_object = None;
    let announced = scene.events.len();
    let max_age = Duration::from_secs(deferral().max_age.unsigned_abs());
    scene.run_until(max_age).await;
    assert_eq!((scene.queues.len("dead"), scene.queues.len("deferred")), (0, announced));
    assert!(scene.metrics.oldest_age > 3 * 86_400);
    scene.run_until(max_age + 2 * HOUR).await;
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
