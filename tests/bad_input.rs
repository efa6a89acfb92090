//! Invalid input is quarantined with a reason, inaccessible input is retried, and other input is processed.

mod world;

use async_trait::async_trait;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use trailhose::batch::{Batch, BatchReport};
use trailhose::decode;
use trailhose::ingest::{Deadline, Ingest, IngestError, IngestReport, Outcome, Quarantined};
use trailhose::ledger::model::row::Status;
use trailhose::notification::{Message, render};
use trailhose::object::{Object, ObjectRef};
use trailhose::queue::{OutgoingMessage, Queue, QueueError, Target};
use trailhose::source::{ByteRange, ListPage, Listing, Source, SourceError};
use world::{Fault, INVOCATION, Wire, World, event, event_at, log, long_event};

/// A queue that records its calls.
#[derive(Debug, Default)]
struct RecordingQueue {
    hidden: Mutex<Vec<(String, Duration)>>,
    sent: Mutex<Vec<(String, Duration)>>,
}

#[async_trait]
impl Queue for RecordingQueue {
    async fn hide(&self, message: &Message, time: Duration) -> Result<(), QueueError> {
        self.hidden.lock().unwrap().push((message.id.clone(), time));
        Ok(())
    }

    async fn send(&self, _: Target<'_>, message: &OutgoingMessage<'_>) -> Result<(), QueueError> {
        self.sent.lock().unwrap().push((message.body.to_owned(), message.delay));
        Ok(())
    }
}

fn message(id: &str, body: &str) -> Message {
    Message {
        id: id.to_owned(),
        receipt_handle: format!("{id}-handle"),
        body: body.to_owned(),
        receive_count: 1,
        queue_arn: "arn:aws:sqs:eu-west-1:111122223333:ingest".to_owned(),
        ..Message::default()
    }
}

async fn answer(world: &World, queue: &Arc<RecordingQueue>, messages: &[Message]) -> BatchReport {
    let ingest = world.worker(&Arc::default());
    let queue: Arc<dyn Queue> = Arc::clone(queue) as _;
    Batch::new(ingest, Some(queue), 4, 512).messages(messages, Deadline::within(INVOCATION)).await
}

async fn done(world: &World, name: &str, events: &[String]) -> IngestReport {
    let at = world.put(name, &log(events));
    match world.ingest(&at).await {
        Outcome::Done(report) => report,
        other => panic!("not done: {other:?}"),
    }
}

/// Asserts that an object is quarantined with a reason, delivers nothing, is not retried, and does not affect other objects.
async fn assert_quarantined(world: &World, worker: &Ingest, at: &ObjectRef, kind: &str, reason: &str) {
    let outcome = worker.object(at, Deadline::within(INVOCATION)).await;
    let Outcome::Quarantined(quarantined) = outcome else { panic!("{outcome:?}") };
    assert_eq!((quarantined.kind.as_str(), quarantined.by_earlier_attempt), (kind, false));
    assert!(quarantined.reason.contains(reason), "{}", quarantined.reason);
    assert_eq!(world.delivered(), [""; 0]);
    let row = world.store.contents().rows.get(&at.object().unwrap().id()).cloned().unwrap();
    assert_eq!((row.status, row.until, row.expires), (Status::Quarantined, 0, None));
    assert_eq!(row.reason, Some(format!("{kind}: {}", quarantined.reason)));
    assert!(world.store.contents().pages.is_empty(), "an unreadable object claims nothing");
    let again = worker.object(at, Deadline::within(INVOCATION)).await;
    assert!(matches!(again, Outcome::Quarantined(Quarantined { by_earlier_attempt: true, .. })), "{again:?}");
    let other = world.put("other", &log(&[event(77)]));
    assert!(matches!(world.ingest(&other).await, Outcome::Done(_)));
    world.sink.calls.lock().unwrap().clear();
}

#[tokio::test]
async fn unknown_message_fails_and_others_succeed() {
    let (world, queue) = (World::default(), Arc::default());
    let (a, b) = (world.put("a", &log(&[event(1)])), world.put("b", &log(&[event(2)])));
    for unknown in ["{}", "", "not json", r#"{"Records":[{"eventSource":"aws:ec2"}]}"#, r#"{"s3Bucket":"logs"}"#] {
        let messages = [message("1", &render(&a)), message("2", unknown), message("3", &render(&b))];
        let ended = answer(&world, &queue, &messages).await;
        assert_eq!(ended.failed, ["2"], "{unknown}");
        assert_eq!((ended.tally.invalid_messages, ended.tally.objects + ended.tally.already_done), (1, 2), "{unknown}");
    }
    assert_eq!(world.delivered().len(), 2);
}

#[tokio::test]
async fn test_events_validation_messages_and_removals_are_counted() {
    let (world, queue) = (World::default(), Arc::default());
    let gone = ObjectRef::new("logs", world::key("gone")).with_version("aa", 1);
    let removed = render(&gone).replace("ObjectCreated:Put", "ObjectRemoved:Delete");
    let messages = [
        message("1", r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"logs"}"#),
        message("2", "CloudTrail validation message."),
        message("3", &removed),
    ];
    let ended = answer(&world, &queue, &messages).await;
    assert_eq!(ended.failed, [""; 0]);
    assert_eq!(
        ended.tally.ignored.into_iter().collect::<Vec<_>>(),
        [("removed".to_owned(), 1), ("test_event".to_owned(), 1), ("validation_message".to_owned(), 1)]
    );
    assert!(world.store.contents().rows.is_empty(), "a removed object is not looked up");
}

#[tokio::test]
async fn digests_and_other_files_are_counted_by_kind() {
    let (world, queue) = (World::default(), Arc::default());
    let digest = "AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/11/01/\
                  111122223333_CloudTrail-Digest_eu-west-1_trail_eu-west-1_20261101T000000Z.json.gz";
    let at = |key: &str| ObjectRef::new("logs", key).with_version("aa", 1);
    let log = world.put("log", &log(&[event(1)]));
    let messages = [
        message("1", &render(&at(digest))),
        message("2", &render(&at("AWSLogs/111122223333/elasticloadbalancing/eu-west-1/2026/11/01/x.log.gz"))),
        message("3", &render(&log)),
    ];
    let ended = answer(&world, &queue, &messages).await;
    assert_eq!(ended.failed, [""; 0]);
    assert_eq!(ended.tally.objects, 1);
    assert_eq!(ended.tally.skipped.get("digest"), Some(&1));
    assert_eq!(ended.tally.skipped.get("other_extension"), Some(&1));
    assert_eq!(world.store.contents().rows.len(), 1, "only logs have rows");
}

#[tokio::test]
async fn deleted_object_is_quarantined_as_missing() {
    let world = World::default();
    let worker = world.worker(&Arc::default());
    let at = world.put("gone", &log(&[event(1)]));
    world.bucket.objects.lock().unwrap().clear();
    assert_quarantined(&world, &worker, &at, "missing", "does not exist").await;
}

/// Returns CloudTrail's own notification of a key, which contains neither version nor size.
fn cloudtrail_notification(at: &ObjectRef) -> String {
    serde_json::json!({ "s3Bucket": at.bucket, "s3ObjectKey": [at.key] }).to_string()
}

#[tokio::test]
async fn object_without_version_that_does_not_exist_yet_is_retried() {
    let (world, queue) = (World::default(), Arc::default());
    let late = ObjectRef::new("logs", world::key("late"));
    let messages = [message("1", &cloudtrail_notification(&late))];
    let ended = answer(&world, &queue, &messages).await;
    assert_eq!((ended.failed, ended.tally.failed, ended.tally.quarantined.len()), (vec!["1".to_owned()], 1, 0));
    assert!(world.store.contents().rows.is_empty(), "an unknown version has no row");
    world.put("late", &log(&[event(1)]));
    let ended = answer(&world, &queue, &messages).await;
    assert_eq!((ended.failed, ended.tally.objects), (vec![], 1));
    assert_eq!(world.delivered(), [event(1)]);
}

/// A source that records its requests. Requests for one key never end.
#[derive(Debug)]
struct HangingSource {
    inner: Arc<dyn Source>,
    hanging: String,
    requests: Mutex<Vec<&'static str>>,
}

impl HangingSource {
    async fn request(&self, name: &'static str, key: &str) {
        self.requests.lock().unwrap().push(name);
        if key == self.hanging {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Source for HangingSource {
    async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
        self.request("stat", &at.key).await;
        self.inner.stat(at).await
    }

    async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
        self.request("fetch", &object.key).await;
        self.inner.fetch(object).await
    }

    async fn fetch_start(&self, object: &Object, max_bytes: usize) -> Result<ByteRange, SourceError> {
        self.request("fetch_start", &object.key).await;
        self.inner.fetch_start(object, max_bytes).await
    }

    async fn fetch_range(&self, object: &Object, from: u64, max_bytes: usize) -> Result<ByteRange, SourceError> {
        self.request("fetch_range", &object.key).await;
        self.inner.fetch_range(object, from, max_bytes).await
    }

    async fn list(&self, ask: &Listing<'_>) -> Result<ListPage, SourceError> {
        self.inner.list(ask).await
    }
}

fn hanging_source(world: &World, hanging: &str) -> (Arc<HangingSource>, Ingest) {
    let ingest = world.worker(&Arc::default());
    let (hanging, requests) = (hanging.to_owned(), Mutex::default());
    let source = Arc::new(HangingSource { inner: Arc::clone(&ingest.source), hanging, requests });
    (Arc::clone(&source), Ingest { source, ..ingest })
}

#[tokio::test]
async fn size_of_stat_selects_one_request_for_a_small_object() {
    let world = World::default();
    let at = world.put("a", &log(&[event(1)]));
    let (source, ingest) = hanging_source(&world, "none");
    let outcome = ingest.object(&ObjectRef::new(&at.bucket, &at.key), Deadline::within(INVOCATION)).await;
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    assert_eq!(*source.requests.lock().unwrap(), ["stat", "fetch_start"]);
}

#[tokio::test]
async fn slow_object_does_not_outlast_the_invocation() {
    let invocation = Duration::from_secs(2);
    for without_version in [false, true] {
        let world = World::default();
        let (slow, fast) = (world.put("slow", &log(&[event(1)])), world.put("fast", &log(&[event(2)])));
        let render = if without_version { cloudtrail_notification } else { render };
        let messages = [message("1", &render(&slow)), message("2", &render(&fast))];
        let batch = Batch::new(hanging_source(&world, &slow.key).1, None, 4, 512);
        let ended = batch.messages(&messages, Deadline::within(invocation));
        let ended = tokio::time::timeout(invocation, ended).await.expect("ends before the invocation");
        assert_eq!((ended.failed, ended.tally.deferred), (vec!["1".to_owned()], 1));
        assert_eq!(world.delivered(), [event(2)]);
        // The lease is released, so the next attempt delivers the object.
        assert!(matches!(world.ingest(&slow).await, Outcome::Done(_)));
    }
}

#[tokio::test]
async fn overwritten_object_is_quarantined_and_its_new_version_delivered() {
    let world = World::default();
    let worker = world.worker(&Arc::default());
    let old = world.put("a", &log(&[event(1)]));
    let new = world.put("a", &log(&[event(2)]));
    assert_quarantined(&world, &worker, &old, "changed", "overwritten").await;
    assert!(matches!(world.ingest(&new).await, Outcome::Done(_)));
    assert_eq!(world.delivered(), [event(2)]);
}

#[tokio::test]
async fn denied_object_is_retried_and_delivered_once_allowed() {
    let (world, queue) = (World::default(), Arc::default());
    let at = world.put("a", &log(&[event(1)]));
    world.bucket.denied.store(true, std::sync::atomic::Ordering::SeqCst);
    let Outcome::Failed(IngestError::Source(SourceError::Denied(error))) = world.ingest(&at).await else {
        panic!("not denied")
    };
    assert!(error.contains("s3:GetObject"), "{error}");
    let ended = answer(&world, &queue, &[message("1", &render(&at))]).await;
    assert_eq!((ended.failed, ended.tally.failed), (vec!["1".to_owned()], 1));
    world.bucket.denied.store(false, std::sync::atomic::Ordering::SeqCst);
    // The lease was released, so the retry need not wait.
    assert!(matches!(world.ingest(&at).await, Outcome::Done(_)));
    assert_eq!(world.delivered(), [event(1)]);
}

#[tokio::test]
async fn object_truncated_at_any_offset_is_quarantined_with_the_offset() {
    let whole = log(&[event(1), event(2)]);
    for length in 1..whole.len() {
        let world = World::with_lines_per_call(1);
        let at = world.put("cut", &whole[..length]);
        let Outcome::Quarantined(quarantined) = world.ingest(&at).await else { panic!("{length} bytes were accepted") };
        assert!(["gzip", "truncated", "json"].contains(&quarantined.kind.as_str()), "{length}: {quarantined:?}");
        assert!(quarantined.reason.contains("byte"), "{length}: {quarantined:?}");
        assert_eq!(world.delivered(), [""; 0], "{length}");
        assert!(world.store.contents().pages.is_empty(), "{length}");
    }
}

#[tokio::test]
async fn corrupt_gzip_trailing_bytes_and_invalid_json_are_quarantined() {
    let sound = log(&[event(1), event(2)]);
    let mut corrupt = sound.clone();
    let checksum = corrupt.len() - 6;
    corrupt[checksum] ^= 1;
    let one = event(1);
    let text = |text: String| text.into_bytes();
    let cases = [
        (Vec::new(), "empty", "empty"),
        (corrupt, "gzip", "byte"),
        ([&sound[..], b"trailing"].concat(), "gzip", "byte"),
        (text(format!("{{\"Records\":[{one}]}}x")), "json", "byte"),
        (text(format!("{{\"Records\":[{one},]}}")), "json", "byte"),
        (text(format!("{{\"Records\":[{one},7]}}")), "json", "byte"),
        (text(format!("{{\"Records\":[{one}]")), "truncated", "byte"),
        (b"{\"records\":[]}".to_vec(), "no_records", "Records"),
        (b"{\"Records\":null}".to_vec(), "json", "array"),
    ];
    for (bytes, kind, reason) in cases {
        let world = World::with_lines_per_call(1);
        let at = world.put("bad", &bytes);
        assert_quarantined(&world, &world.worker(&Arc::default()), &at, kind, reason).await;
    }
}

#[tokio::test]
async fn decompression_bomb_is_stopped_at_the_limit_and_quarantined() {
    let world = World::with_lines_per_call(1);
    let at = world.put("bomb", &log(&(0..2_000).map(event).collect::<Vec<_>>()));
    let limits = decode::DecodeLimits { object_bytes: 100_000, ..decode::DecodeLimits::default() };
    let worker = Ingest { limits, ..world.worker(&Arc::default()) };
    assert_quarantined(&world, &worker, &at, "too_large", "100000").await;
}

#[tokio::test]
async fn oversize_event_is_stored_and_a_pointer_is_delivered() {
    let world = World::with_short_records();
    // A field name with an escape must not remove other fields from the pointer.
    let long = long_event(2).replacen("\"padding\"", r#""p\u0061dding""#, 1);
    let report = done(&world, "a", &[event(1), long.clone(), event(3)]).await;
    assert_eq!((report.counts.seen, report.counts.delivered, report.counts.oversize), (3, 2, 1));
    let lines = world.delivered();
    assert_eq!([&lines[0], &lines[2]], [&event(1), &event(3)]);
    let pointer: serde_json::Value = serde_json::from_str(&lines[1]).unwrap();
    assert_eq!(pointer["eventID"], "00000000-0000-4000-8000-000000000002");
    assert_eq!(pointer["recipientAccountId"], "111122223333");
    let oversize = &pointer["trailhose"]["oversize"];
    assert_eq!(oversize["bytes"], long.len());
    let location = oversize["location"].as_str().unwrap();
    assert_eq!(world.sink.oversize.lock().unwrap()[location], long);
    // In another object it is a duplicate.
    let report = done(&world, "b", &[long]).await;
    assert_eq!((report.counts.duplicate, report.counts.oversize), (1, 0));
    assert_eq!(world.delivered().len(), 3);
}

#[tokio::test]
async fn oversize_event_that_cannot_be_stored_is_retried() {
    let world = World::with_short_records();
    let at = world.put("a", &log(&[event(1), long_event(2)]));
    let wire = Arc::new(Wire::failing([(4, Fault::Refuse)]));
    assert!(matches!(world.ingest_over(&wire, &at).await, Outcome::Failed(IngestError::Sink(_))));
    assert_eq!(wire.calls()[4], "store_oversize");
    assert!(matches!(world.ingest(&at).await, Outcome::Done(_)));
    assert_eq!(world.delivered().len(), 2);
}

#[tokio::test]
async fn event_without_id_is_identified_by_content_ignoring_white_space() {
    let world = World::default();
    let event = |name: &str| format!(r#"{{"eventName":"{name}","eventTime":"2026-11-01T00:00:00Z"}}"#);
    let report = done(&world, "a", &[event("One"), event("Two")]).await;
    assert_eq!((report.counts.delivered, report.repeats, report.conflicts), (2, 0, 0));
    let spaced = event("Two").replace(',', " ,\n ");
    let report = done(&world, "b", &[spaced, event("Three")]).await;
    assert_eq!((report.counts.delivered, report.counts.duplicate), (1, 1));
    assert_eq!(world.delivered(), [event("One"), event("Two"), event("Three")]);
}

#[tokio::test]
async fn identical_events_without_id_in_one_object_are_distinct_and_copies_of_the_object_are_duplicates() {
    let world = World::with_lines_per_call(1);
    let one = r#"{"eventName":"One","eventTime":"2026-11-01T00:00:00Z"}"#.to_owned();
    let events = [one.clone(), event(1), one.clone(), one.clone(), event(1)];
    // The first attempt crashes after its claims, before its first call.
    let at = world.put("a", &log(&events));
    let mut watch = world::check::Watch::new(&world, std::slice::from_ref(&at));
    let wire = Arc::new(Wire::failing([(4, Fault::Die)]));
    assert!(matches!(world.ingest_over(&wire, &at).await, Outcome::Failed(_)));
    watch.check(&world).unwrap();
    // A copy of the object helps.
    world.pass(2_000);
    let copy = world.put("b", &log(&[&events[..], &[event(2)]].concat()));
    let Outcome::Done(report) = world.ingest(&copy).await else { panic!("not done") };
    assert_eq!((report.counts.seen, report.helped, report.repeats), (6, 4, 1));
    let Outcome::Done(report) = world.ingest(&at).await else { panic!("not done") };
    assert_eq!(report.counts.seen, 5);
    let mut delivered = world.delivered();
    delivered.sort();
    assert_eq!(delivered, [event(1), event(2), one.clone(), one.clone(), one.clone()]);
    // An object with one more of them has one new event.
    let report = done(&world, "c", &[one.clone(), one.clone(), one.clone(), one]).await;
    assert_eq!((report.counts.delivered, report.counts.duplicate, report.repeats), (1, 3, 0));
}

#[tokio::test]
async fn file_in_another_format_is_quarantined_with_advice() {
    let wrapped = r#"{"EventId":"a","CloudTrailEvent":"{\"eventID\":\"a\"}"}"#;
    let cases = [
        (format!("{{\"Events\":[{wrapped}]}}"), "no_records", "lookup-events"),
        (format!("[{wrapped}]"), "not_an_event", "lookup-events"),
        (format!("{{\"Records\":[{},{wrapped}]}}", event(1)), "not_an_event", "lookup-events"),
        (format!("{}\n{}\n", event(1), event(2)), "no_records", "JSON Lines"),
        (format!("[{},{{\"Key\":\"a\"}}]", event(1)), "not_an_event", "neither eventID nor eventTime"),
    ];
    for (text, kind, reason) in cases {
        let world = World::with_lines_per_call(1);
        let at = world.put("other", text.as_bytes());
        assert_quarantined(&world, &world.worker(&Arc::default()), &at, kind, reason).await;
    }
}

#[tokio::test]
async fn unknown_kind_is_delivered_and_counted() {
    let world = World::default();
    let key = world::key("a").replace("CloudTrail", "CloudTrail-Novel");
    let at = world.put_at(&key, &log(&[event(1)]));
    let Outcome::Done(report) = world.ingest(&at).await else { panic!("not done") };
    assert_eq!((report.unknown_kinds, report.counts.delivered), (1, 1));
    let queue = Arc::default();
    let at = world.put_at(&key.replace("_a.", "_b."), &log(&[event(2)]));
    let ended = answer(&world, &queue, &[message("1", &render(&at))]).await;
    assert_eq!((ended.tally.objects, ended.tally.done.unknown_kinds), (1, 1));
    assert_eq!(done(&world, "c", &[event(3)]).await.unknown_kinds, 0);
}

#[tokio::test]
async fn first_event_with_an_id_is_delivered_and_conflicts_are_counted() {
    let world = World::default();
    let other = |number| event(number).replace('{', "{\"errorCode\":\"AccessDenied\",");
    let report = done(&world, "a", &[event(1), other(1), event(2)]).await;
    assert_eq!((report.counts.delivered, report.counts.duplicate, report.conflicts), (2, 1, 1));
    let report = done(&world, "b", &[other(2), event(3)]).await;
    assert_eq!((report.counts.delivered, report.counts.duplicate, report.conflicts), (1, 1, 1));
    assert_eq!(world.delivered(), [event(1), event(2), event(3)]);
}

#[tokio::test]
async fn event_before_1970_and_event_without_time_are_delivered() {
    // Minute -10, and an event ID that starts with the byte 0x10.
    let old = event_at(1, "1969-12-31T23:50:00Z");
    let timeless = event(2).replace("00000000-", "10000000-").replace(r#""eventTime":"2026-11-01T00:00:00Z","#, "");
    let world = World::default();
    let report = done(&world, "a", &[old.clone(), timeless.clone()]).await;
    assert_eq!((report.counts.seen, report.counts.delivered, report.counts.filtered), (2, 2, 0));
    assert_eq!(world.delivered(), [old, timeless]);
}

#[tokio::test]
async fn message_with_several_objects_is_retried_for_the_failed_one() {
    let (world, queue) = (World::default(), Arc::default());
    let (a, b) = (world.put("a", &log(&[event(1)])), world.put("b", b"{}"));
    let (a, b) = (render(&a), render(&b));
    let inner = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["Records"][0].take();
    let both = serde_json::json!({ "Records": [inner(&b), inner(&a)] }).to_string();
    world.bucket.denied.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(answer(&world, &queue, &[message("1", &both)]).await.failed, ["1"]);
    world.bucket.denied.store(false, std::sync::atomic::Ordering::SeqCst);
    let ended = answer(&world, &queue, &[message("1", &both)]).await;
    assert_eq!((ended.failed.len(), ended.tally.objects, ended.tally.quarantined_by_this_run()), (0, 1, 1));
    assert_eq!(world.delivered(), [event(1)]);
}

#[tokio::test]
async fn deferred_messages_are_hidden_or_sent_again() {
    let (world, queue) = (World::default(), Arc::<RecordingQueue>::default());
    let (a, b) = (world.put("a", &log(&[event(1), event(2)])), world.put("b", &log(&[event(2), event(3)])));
    let wire = Arc::new(Wire::failing([(3, Fault::Die)]));
    world.ingest_over(&wire, &a).await;
    let messages = [message("1", &render(&a)), message("2", &render(&b))];
    let ended = answer(&world, &queue, &messages).await;
    // The first is hidden until its lease expires; the second is sent again with a delay.
    assert_eq!((ended.failed, ended.tally.deferred), (vec!["1".to_owned()], 2));
    let (hidden, sent) = (queue.hidden.lock().unwrap().clone(), queue.sent.lock().unwrap().clone());
    assert_eq!((hidden.len(), sent.len()), (1, 1));
    assert_eq!((hidden[0].0.as_str(), sent[0].0.as_str()), ("1", render(&b).as_str()));
    let until = world.store.contents().rows[&a.object().unwrap().id()].until;
    world.pass(i64::try_from(hidden[0].1.max(sent[0].1).as_secs()).unwrap());
    assert!(world.now.load(std::sync::atomic::Ordering::SeqCst) > until, "visible before the lease expires");
    let messages = [message("3", &sent[0].0), message("1", &render(&a))];
    let ended = answer(&world, &queue, &messages).await;
    let left = [ended.failed.len(), queue.hidden.lock().unwrap().len() - 1, queue.sent.lock().unwrap().len() - 1];
    if left != [0; 3] {
        // Processed concurrently, one may find the other leased. Then it is retried once more.
        world.pass(2_000);
        let ended = answer(&world, &queue, &messages).await;
        assert_eq!(ended.failed, [""; 0]);
    }
    let mut delivered = world.delivered();
    delivered.sort();
    assert_eq!(delivered, [event(1), event(2), event(3)]);
}

/// A queue whose calls all fail.
#[derive(Debug)]
struct FailingQueue;

#[async_trait]
impl Queue for FailingQueue {
    async fn hide(&self, message: &Message, _: Duration) -> Result<(), QueueError> {
        Err(QueueError(format!("{} cannot be hidden", message.id)))
    }

    async fn send(&self, _: Target<'_>, message: &OutgoingMessage<'_>) -> Result<(), QueueError> {
        Err(QueueError(format!("{} is not accepted", message.body)))
    }
}

#[tokio::test]
async fn message_that_cannot_be_deferred_fails() {
    let world = World::default();
    let (a, b) = (world.put("a", &log(&[event(1), event(2)])), world.put("b", &log(&[event(2), event(3)])));
    world.ingest_over(&Arc::new(Wire::failing([(3, Fault::Die)])), &a).await;
    let batch = Batch::new(world.worker(&Arc::default()), Some(Arc::new(FailingQueue)), 4, 512);
    let messages = [message("1", &render(&a)), message("2", &render(&b))];
    let ended = batch.messages(&messages, Deadline::within(INVOCATION)).await;
    assert_eq!((ended.failed, ended.tally.deferred), (vec!["1".to_owned(), "2".to_owned()], 2));
}
