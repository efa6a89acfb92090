//! What happens with a message whose objects are not finished: during an outage, after it, and if a message is invalid
//! or waits for too long.
//!
//! The queue, the sink and the store of `world` are fakes, because the tests inject failures and read what was sent.

mod world;

use async_trait::async_trait;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use trailhose::batch::{Batch, BatchReport, Deferral};
use trailhose::ingest::Deadline;
use trailhose::notification::{Message, Notice, parse, render, render_all};
use trailhose::object::ObjectRef;
use trailhose::queue::{OutgoingMessage, Queue, QueueError, Target, queue_name};
use world::{INVOCATION, Wire, World, event, log};

const MAX_AGE: i64 = 4 * 86_400;

/// A sent message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Sent {
    queue: String,
    body: String,
    delay: u64,
    first_seen: Option<i64>,
    source_arn: Option<String>,
    reason: Option<String>,
}

/// A queue that records its calls.
#[derive(Debug, Default)]
struct RecordingQueue {
    hidden: Mutex<Vec<(String, u64)>>,
    sent: Mutex<Vec<Sent>>,
}

#[async_trait]
impl Queue for RecordingQueue {
    async fn hide(&self, message: &Message, time: Duration) -> Result<(), QueueError> {
        self.hidden.lock().unwrap().push((message.id.clone(), time.as_secs()));
        Ok(())
    }

    async fn send(&self, target: Target<'_>, message: &OutgoingMessage<'_>) -> Result<(), QueueError> {
        let queue = match target {
            Target::Url(url) => queue_name(url),
            Target::SourceOf(message) => message.map_or("ingest", |message| queue_name(&message.queue_arn)),
        };
        self.sent.lock().unwrap().push(Sent {
            queue: queue.to_owned(),
            body: message.body.to_owned(),
            delay: message.delay.as_secs(),
            first_seen: message.first_seen,
            source_arn: message.source_arn.map(str::to_owned),
            reason: message.reason.map(str::to_owned),
        });
        Ok(())
    }
}

impl RecordingQueue {
    fn take_sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }

    fn take_hidden(&self) -> Vec<(String, u64)> {
        std::mem::take(&mut self.hidden.lock().unwrap())
    }
}

/// A batch over a wire, and its queue.
fn batch(world: &World, wire: &Arc<Wire>) -> (Batch, Arc<RecordingQueue>) {
    let queue = Arc::<RecordingQueue>::default();
    let url = |name: &str| format!("https://sqs.eu-west-1.amazonaws.com/111122223333/{name}");
    let deferral = Deferral { deferred_url: url("deferred"), dead_letter_url: url("dead"), max_age: MAX_AGE };
    let batch = Batch::new(world.worker(wire), Some(Arc::clone(&queue) as _), 32, 4_096);
    (batch.with_deferral(deferral), queue)
}

fn arn(queue: &str) -> String {
    format!("arn:aws:sqs:eu-west-1:111122223333:{queue}")
}

/// A message that was sent to a queue this many seconds ago.
fn message(world: &World, queue: &str, age: i64, body: &str) -> Message {
    Message {
        id: "m".to_owned(),
        receipt_handle: "handle".to_owned(),
        body: body.to_owned(),
        receive_count: 1,
        queue_arn: arn(queue),
        sent_at: Some(world.now.load(std::sync::atomic::Ordering::SeqCst) - age),
        ..Message::default()
    }
}

async fn process(batch: &Batch, message: &Message) -> BatchReport {
    batch.messages(std::slice::from_ref(message), Deadline::within(INVOCATION)).await
}

/// A wire on which every call of this name fails.
fn outage_of(call: &'static str) -> Arc<Wire> {
    Arc::new(Wire::failing_always(call))
}

#[tokio::test]
async fn invalid_message_goes_to_the_dead_letter_queue_at_once_with_its_reason() {
    let world = World::default();
    let (batch, queue) = batch(&world, &Arc::default());
    let report = process(&batch, &message(&world, "ingest", 5, "{}")).await;
    assert_eq!((report.failed.len(), report.tally.invalid_messages, report.messages_dead_lettered), (0, 1, 1));
    let [sent] = &queue.take_sent()[..] else { panic!("one message") };
    assert_eq!((sent.queue.as_str(), sent.body.as_str(), sent.source_arn.clone()), ("dead", "{}", Some(arn("ingest"))));
    assert!(sent.reason.as_ref().unwrap().starts_with("invalid message: message: expected an S3 event"), "{sent:?}");
}

#[tokio::test]
async fn failure_of_the_destination_or_the_ledger_moves_the_message_once() {
    for (call, reason) in [("deliver", "deliver: wire"), ("lease", "ledger: wire"), ("fetch", "fetch: wire")] {
        let world = World::default();
        let (batch, queue) = batch(&world, &outage_of(call));
        let object = world.put("a", &log(&[event(1)]));
        let received = message(&world, "ingest", 100, &render(&object));
        let report = process(&batch, &received).await;
        assert_eq!((report.failed.len(), report.messages_deferred), (0, 1), "{call}");
        assert_eq!(report.oldest_unfinished, received.sent_at);
        let expected = Sent {
            queue: "deferred".to_owned(),
            body: render(&object),
            delay: 60,
            first_seen: received.sent_at,
            source_arn: Some(arn("ingest")),
            reason: Some(format!("{object}: {reason}")),
        };
        assert_eq!(queue.take_sent(), [expected], "{call}");
        assert_eq!(queue.take_hidden(), []);
    }
}

#[tokio::test]
async fn moved_message_contains_only_the_unfinished_objects() {
    let world = World::default();
    let (done, failing) = (world.put("a", &log(&[event(1)])), world.put("b", &log(&[event(2)])));
    world.ingest(&done).await;
    let (batch, queue) = batch(&world, &outage_of("deliver"));
    let body = render_all([&done, &failing]);
    process(&batch, &message(&world, "backfill-ingest", 0, &body)).await;
    let [sent] = &queue.take_sent()[..] else { panic!("one message") };
    assert_eq!(parse(&sent.body).unwrap(), [Notice::Object(failing)]);
    assert_eq!(sent.source_arn, Some(arn("backfill-ingest")));
}

#[tokio::test]
async fn deferred_message_is_hidden_for_at_most_fifteen_minutes_at_a_time() {
    let world = World::default();
    let object = world.put("a", &log(&[event(1)]));
    let mut waits = Vec::new();
    for receive_count in [1, 2, 3, 4, 5, 100, 1_000] {
        let (batch, queue) = batch(&world, &outage_of("deliver"));
        let received = Message { receive_count, ..message(&world, "deferred", 600, &render(&object)) };
        let report = process(&batch, &received).await;
        assert_eq!((report.failed, queue.take_sent()), (vec!["m".to_owned()], vec![]));
        waits.push(queue.take_hidden()[0].1);
    }
    assert_eq!(waits, [60, 120, 240, 480, 900, 900, 900]);
}

#[tokio::test]
async fn message_that_waited_too_long_goes_to_the_dead_letter_queue_with_its_reason() {
    let world = World::default();
    let object = world.put("a", &log(&[event(1)]));
    for (age, is_given_up) in [(MAX_AGE, false), (MAX_AGE + 1, true)] {
        let (batch, queue) = batch(&world, &outage_of("deliver"));
        let received = Message {
            first_seen_attribute: Some(77),
            source_attribute: Some(arn("ingest")),
            ..message(&world, "deferred", age, &render(&object))
        };
        let report = process(&batch, &received).await;
        let sent = queue.take_sent();
        assert_eq!((sent.len(), report.failed.is_empty()), (usize::from(is_given_up), is_given_up), "{age}");
        assert_eq!(report.oldest_unfinished, Some(77));
        for sent in sent {
            assert_eq!(
                (sent.queue.as_str(), sent.first_seen, sent.source_arn),
                ("dead", Some(77), Some(arn("ingest")))
            );
            assert_eq!(sent.reason, Some(format!("{object}: deliver: wire")));
        }
    }
    // An attempt that succeeds is not too late.
    let (batch, queue) = batch(&world, &Arc::default());
    let report = process(&batch, &message(&world, "deferred", MAX_AGE + 1, &render(&object))).await;
    assert_eq!((report.failed.len(), report.tally.objects, queue.take_sent()), (0, 1, vec![]));
}

#[tokio::test]
async fn message_whose_attempts_never_end_is_given_up_without_another_attempt() {
    let world = World::default();
    let object = world.put("a", &log(&[event(1)]));
    let (batch, queue) = batch(&world, &Arc::default());
    let old = message(&world, "deferred", MAX_AGE + 86_401, &render(&object));
    let report = process(&batch, &Message { receive_count: 2, ..old.clone() }).await;
    assert_eq!((report.tally.objects, report.messages_dead_lettered), (0, 1));
    let [sent] = &queue.take_sent()[..] else { panic!("one message") };
    assert!(sent.reason.as_ref().unwrap().contains("did not end"), "{sent:?}");
    // A message that was never tried is tried.
    assert_eq!(process(&batch, &old).await.tally.objects, 1);
}

#[tokio::test]
async fn denied_object_stays_in_its_queue() {
    let world = World::default();
    world.bucket.denied.store(true, std::sync::atomic::Ordering::SeqCst);
    let (batch, queue) = batch(&world, &Arc::default());
    let object = world.put("a", &log(&[event(1)]));
    let report = process(&batch, &message(&world, "ingest", 0, &render(&object))).await;
    assert_eq!((report.failed.len(), queue.take_sent(), queue.take_hidden()), (1, vec![], vec![]));
    assert!(!report.breaker_open);
}

#[tokio::test]
async fn unfinished_object_at_any_index_keeps_its_message() {
    const OBJECTS: u32 = 25;
    for unfinished in [0, 12, OBJECTS - 1] {
        let world = World::default();
        let objects: Vec<ObjectRef> =
            (0..OBJECTS).map(|number| world.put(&format!("o{number:03}"), &log(&[event(number)]))).collect();
        // A worker that crashed still holds the lease of this object.
        world.ingest_dying_at(0, &objects[unfinished as usize]).await;
        let (batch, queue) = batch(&world, &Arc::default());
        let report = process(&batch, &message(&world, "backfill-ingest", 0, &render_all(&objects))).await;
        assert_eq!((report.tally.objects, report.tally.deferred), (u64::from(OBJECTS) - 1, 1));
        assert_eq!(report.failed, ["m"], "object {unfinished} is lost");
        assert_eq!(queue.take_hidden().len(), 1);
    }
}

#[tokio::test]
async fn message_that_is_hidden_sends_no_copies() {
    let world = World::default();
    // `leased` and `owner` are held by crashed workers; `waiting` shares an event with `owner`.
    let (leased, owner) = (world.put("l", &log(&[event(1)])), world.put("o", &log(&[event(2)])));
    let waiting = world.put("w", &log(&[event(2), event(3)]));
    world.ingest_dying_at(0, &leased).await;
    world.ingest_dying_at(3, &owner).await;
    let (batch, queue) = batch(&world, &Arc::default());
    let report = process(&batch, &message(&world, "ingest", 0, &render_all([&leased, &waiting]))).await;
    assert_eq!((report.failed.len(), report.tally.deferred), (1, 2));
    assert_eq!((queue.take_hidden().len(), queue.take_sent()), (1, vec![]));
    // Alone, it is replaced by a copy with a delay and the age of the original.
    let received = message(&world, "ingest", 30, &render(&waiting));
    let report = process(&batch, &received).await;
    let [copy] = &queue.take_sent()[..] else { panic!("one copy") };
    assert_eq!((report.failed.len(), copy.queue.as_str(), copy.first_seen), (0, "ingest", received.sent_at));
    assert!(copy.delay > 60, "{copy:?}");
}

#[tokio::test]
async fn copies_that_wait_for_an_owner_too_long_are_moved() {
    let world = World::default();
    let owner = world.put("o", &log(&[event(2)]));
    let waiting = world.put("w", &log(&[event(2), event(3)]));
    world.ingest_dying_at(3, &owner).await;
    let (batch, queue) = batch(&world, &Arc::default());
    let fresh_copy = Message { first_seen_attribute: Some(5), ..message(&world, "ingest", 0, &render(&waiting)) };
    let report = process(&batch, &fresh_copy).await;
    let [sent] = &queue.take_sent()[..] else { panic!("one message") };
    assert_eq!((report.messages_deferred, sent.queue.as_str(), sent.first_seen), (1, "deferred", Some(5)));
}

#[tokio::test]
async fn open_breaker_starts_no_object_except_probes() {
    let world = World::default();
    let wire = outage_of("deliver");
    let (batch, queue) = batch(&world, &wire);
    let mut number = 0;
    let mut next = |world: &World| {
        number += 1;
        world.put(&format!("n{number:03}"), &log(&[event(number)]))
    };
    for _ in 0..3 {
        let object = next(&world);
        assert!(process(&batch, &message(&world, "ingest", 0, &render(&object))).await.objects_not_started == 0);
    }
    let leases = |wire: &Wire| wire.calls().iter().filter(|call| **call == "lease").count();
    assert_eq!(leases(&wire), 3);
    for _ in 0..20 {
        let object = next(&world);
        let report = process(&batch, &message(&world, "ingest", 0, &render(&object))).await;
        assert_eq!((report.objects_not_started, report.breaker_open, report.failed.len()), (1, true, 0));
    }
    assert_eq!(leases(&wire), 3, "the breaker is checked before the lease");
    let sent = queue.take_sent();
    assert_eq!(sent.len(), 23);
    assert!(sent[22].reason.as_ref().unwrap().ends_with("not started during an outage: deliver: wire"), "{sent:?}");

    world.pass(60);
    let objects: Vec<ObjectRef> = (0..10).map(|_| next(&world)).collect();
    let report = process(&batch, &message(&world, "ingest", 0, &render_all(&objects))).await;
    assert_eq!((report.objects_not_started, leases(&wire)), (9, 4), "one probe");

    wire.end_outage();
    world.pass(60);
    let (first, second) = (next(&world), next(&world));
    for object in [first, second] {
        let report = process(&batch, &message(&world, "ingest", 0, &render(&object))).await;
        assert_eq!((report.tally.objects, report.breaker_open), (1, false));
    }
}

#[tokio::test]
async fn objects_of_a_direct_invocation_wait_in_the_deferred_queue() {
    let world = World::default();
    let (batch, queue) = batch(&world, &outage_of("deliver"));
    let object = world.put("a", &log(&[event(1)]));
    let report = batch.notices(&[Notice::Object(object.clone())], Deadline::within(INVOCATION)).await;
    assert_eq!(report.failed, [""; 0]);
    let [sent] = &queue.take_sent()[..] else { panic!("one message") };
    assert_eq!((sent.queue.as_str(), &sent.body), ("deferred", &render(&object)));
}

/// The age of the newest event, the metric `Lag`, is that of new objects, also after they waited in the deferred queue.
#[tokio::test]
async fn lag_is_not_reported_for_objects_of_the_backfill() {
    let ingest = arn("ingest");
    for (queue, source, is_reported) in [
        ("ingest", None, true),
        ("backfill-ingest", None, false),
        ("deferred", Some(arn("ingest")), true),
        ("deferred", Some(arn("backfill-ingest")), false),
    ] {
        let world = World::default();
        let object = world.put("a", &log(&[event(1)]));
        let (batch, _) = batch(&world, &Arc::default());
        let batch = batch.with_lag_queue(ingest.clone());
        let received = Message { source_attribute: source.clone(), ..message(&world, queue, 5, &render(&object)) };
        let report = process(&batch, &received).await;
        assert_eq!(report.tally.objects, 1);
        assert_eq!(report.tally.done.newest.is_some(), is_reported, "{queue} {source:?}");
    }
}
