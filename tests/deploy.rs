//! The deployed stack: the template, its policies and the real program on an emulator of AWS.

mod bed;

use bed::faults::Fault;
use bed::stack::lake::{each_once, id};
use bed::stack::{LOG_BUCKET, Stack};
use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;
use trailhose::notification;
use trailhose::object::ObjectRef;

/// On a busy machine, a message can become visible while its first receiver still works. It is then hidden until that
/// receiver's lease expires, for six minutes: slow, but correct.
const PATIENCE: Duration = Duration::from_secs(420);

fn ingest() -> PathBuf {
    bed::lambda_program("ingest")
}

/// A CloudTrail object with these events.
fn object(events: std::ops::Range<u32>) -> Vec<u8> {
    let records: Vec<_> = events
        .map(|number| {
            json!({
                "eventVersion": "1.11",
                "eventTime": format!("2026-11-20T10:{:02}:00Z", number % 60),
                "eventName": "GetObject",
                "awsRegion": "eu-west-1",
                "recipientAccountId": "111122223333",
                "eventID": id(number),
            })
        })
        .collect();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(json!({ "Records": records }).to_string().as_bytes()).unwrap();
    gzip.finish().unwrap()
}

fn key(number: u32) -> String {
    format!(
        "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/11/20/\
         111122223333_CloudTrail_eu-west-1_20261120T10{:02}Z_{number:016}.json.gz",
        number % 60
    )
}

#[tokio::test]
async fn overlapping_objects_are_delivered_once_and_an_unknown_message_fails_alone() {
    let stack = Stack::deploy(&ingest()).await;
    for number in 0..160 {
        stack.put(&key(number), object(number * 4..number * 4 + 4)).await;
    }
    // Objects of a second trail: each contains the end of one object and the start of the next.
    for number in 0..40 {
        stack.put(&key(160 + number), object(number * 8 + 2..number * 8 + 6)).await;
    }
    for number in (0..200).step_by(5) {
        stack.send(&notification::render(&ObjectRef::new(LOG_BUCKET, key(number)))).await;
    }
    stack.drained(PATIENCE).await;
    assert_eq!(stack.lake().await, each_once(0..640), "{}", stack.log_tail());
    assert!(stack.dead_letters().await.is_empty());

    stack.set_visibility(Duration::from_secs(3)).await;
    stack.send(r#"{"an":"unknown shape"}"#).await;
    for number in 640..649 {
        stack.put(&key(number), object(number..number + 1)).await;
    }
    stack.drained(PATIENCE).await;
    assert_eq!(stack.lake().await, each_once(0..649), "{}", stack.log_tail());
    assert_eq!(stack.dead_letters().await, [r#"{"an":"unknown shape"}"#]);
}

#[tokio::test]
async fn service_faults_lose_nothing() {
    let stack = Stack::deploy(&ingest()).await;
    // Longer than a function with retries works. A message that becomes visible earlier is hidden until the first
    // lease expires.
    stack.set_visibility(Duration::from_secs(20)).await;
    stack.faults.on("PutRecordBatch", 0..1, Fault::FailRecords(vec![0]));
    stack.faults.on("PutRecordBatch", 1..2, Fault::Throttle);
    stack.faults.on("GetObject", 0..1, Fault::Unavailable);
    stack.faults.on("GetObject", 2..3, Fault::CutReply(20));
    stack.faults.on("PutRecordBatch", 4..5, Fault::LoseReply);
    stack.faults.on("PutItem", 1..2, Fault::LoseReply);
    stack.faults.on("UpdateItem", 1..2, Fault::LoseReply);
    stack.faults.on("UpdateItem", 4..5, Fault::Throttle);
    for number in 0..6 {
        stack.put(&key(number), object(number * 3..number * 3 + 4)).await;
    }
    stack.drained(PATIENCE).await;
    let lake = stack.lake().await;
    assert!(lake.keys().eq(each_once(0..19).keys()), "{lake:?}\n{}", stack.log_tail());
    // Only the events of the call with the lost reply are repeated.
    let repeats = lake.values().sum::<usize>() - lake.len();
    assert!((1..=4).contains(&repeats), "{lake:?}");
    let spoiled = stack.faults.exchanges().iter().filter(|exchange| exchange.fault.is_some()).count();
    assert!(spoiled >= 7, "{spoiled}");
}

/// A scaled-down outage: `tests/outage.rs` shows a day.
#[tokio::test]
async fn objects_wait_in_the_deferred_queue_until_the_destination_works() {
    let stack = Stack::deploy(&ingest()).await;
    stack.faults.on("PutRecordBatch", 0..usize::MAX, Fault::Deny);
    for number in 0..12 {
        stack.put(&key(number), object(number..number + 1)).await;
    }
    stack.send("no notification").await;
    let start = std::time::Instant::now();
    while stack.messages_in("DeferredQueueUrl").await < 12 || stack.messages_in("DeadLetterQueueUrl").await < 1 {
        assert!(start.elapsed() < PATIENCE, "{}", stack.log_tail());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(stack.messages_in("IngestQueueUrl").await, 0);
    // Until the messages were received again.
    let opened = "circuit breaker opened";
    while !stack.log().contains(opened) {
        assert!(start.elapsed() < PATIENCE, "{}", stack.log_tail());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    stack.faults.heal();
    stack.drained(PATIENCE).await;
    assert_eq!(stack.lake().await, each_once(0..12), "{}", stack.log_tail());
    // The invalid message went to the dead-letter queue at once. Nothing else did.
    assert_eq!(stack.dead_letters().await, ["no notification"]);
    let metric = |name: &str| {
        let name = format!("\"{name}\":");
        let lines = stack.log();
        let values = lines.split(&*name).skip(1).filter_map(|rest| rest.split([',', '}']).next()?.parse::<u64>().ok());
        values.max().unwrap_or_else(|| panic!("no {name} in the log"))
    };
    assert_eq!((metric("BreakerOpen"), metric("MessagesDeadLettered")), (1, 1));
    assert!(metric("MessagesDeferred") >= 1 && metric("OldestUnfinishedAge") < 420);
}
