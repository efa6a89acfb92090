//! The stack as a person deploys it: the template, its policies and the real program, on an emulated AWS.

mod bed;

use bed::stack::Stack;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn ingest() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_ingest"))
}

fn id(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
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

/// How often each event lies in the lake.
async fn lake(stack: &Stack) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for line in stack.lake().await {
        let event: Value = serde_json::from_str(&line).unwrap();
        *seen.entry(event["eventID"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    seen
}

fn each_once(events: std::ops::Range<u32>) -> BTreeMap<String, usize> {
    events.map(|number| (id(number), 1)).collect()
}

#[tokio::test]
async fn what_is_put_into_the_log_bucket_reaches_the_lake_once() {
    let stack = Stack::deploy(ingest()).await;
    for number in 0..10 {
        stack.put(&key(number), object(number * 8..number * 8 + 10)).await;
    }
    stack.drained(PATIENCE).await;
    assert_eq!(lake(&stack).await, each_once(0..82), "{}", stack.last_words());
    assert!(stack.dead_letters().await.is_empty());
}
