//! The operation of a deployed stack on an emulator of AWS: pause and resume.
//!
//! Differences from AWS: the emulator changes an event source mapping at once, so that the states `Disabling` and
//! `Enabling` do not occur. `src/pause.rs` tests the steps for every state.

mod bed;
mod laptop;

use bed::stack::Stack;
use bed::stack::lake::{each_once, id};
use laptop::{Ran, trailhose_at};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// On a busy machine, a message can become visible while its first receiver still works. It is then hidden until that
/// receiver's lease expires, for six minutes: slow, but correct.
const PATIENCE: Duration = Duration::from_secs(420);

/// The name of the stack in the test environment.
const STACK: &str = "trailhose";

fn ingest() -> PathBuf {
    bed::lambda_program("ingest")
}

/// Returns a CloudTrail object with this event.
fn object(number: u32) -> Vec<u8> {
    let event = json!({
        "eventVersion": "1.11",
        "eventTime": format!("2026-11-20T10:{:02}:00Z", number % 60),
        "awsRegion": "eu-west-1",
        "recipientAccountId": "111122223333",
        "eventID": id(number),
    });
    laptop::gzip(&json!({ "Records": [event] }).to_string())
}

fn key(number: u32) -> String {
    format!(
        "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/11/20/\
         111122223333_CloudTrail_eu-west-1_20261120T10{:02}Z_{number:016}.json.gz",
        number % 60
    )
}

async fn put(stack: &Stack, numbers: std::ops::Range<u32>) {
    for number in numbers {
        stack.put(&key(number), object(number)).await;
    }
}

fn run(stack: &Stack, arguments: &[&str]) -> Ran {
    Ran(trailhose_at(&stack.endpoint()).args(arguments).output().unwrap())
}

/// Returns the state of the ingestion.
fn status(stack: &Stack) -> Value {
    let ran = run(stack, &["pause", "--stack", STACK, "--status", "--json"]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    ran.json()
}

/// Waits until this number of messages is in the ingest queue.
async fn waiting(stack: &Stack, messages: u64) {
    let start = Instant::now();
    while stack.messages_in("IngestQueueUrl").await != messages {
        assert!(start.elapsed() < PATIENCE, "{}", stack.log_tail());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn pause_survives_a_deployment_and_loses_nothing() {
    let stack = Stack::deploy(&ingest()).await;
    put(&stack, 0..3).await;
    stack.drained(PATIENCE).await;
    let before = status(&stack);
    assert_eq!(
        (&before["ingestion"], before["mappings"].as_array().unwrap().len()),
        (&json!("running"), 4),
        "{before}"
    );

    // A dry run changes nothing.
    let ran = run(&stack, &["pause", "--stack", STACK, "--dry-run"]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert!(ran.out().contains("would disable the event source mapping IngestFunctionQueue"), "{ran:?}");
    assert!(ran.out().contains("would update the stack: PausedSince=2"), "{ran:?}");
    assert_eq!(status(&stack), before);

    let ran = run(&stack, &["pause", "--stack", STACK]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    for words in ["paused since", "resume before", "BacklogAlarm after 1 hour", "disabled"] {
        assert!(ran.out().contains(words), "{words}: {ran:?}");
    }
    let paused = status(&stack);
    assert_eq!((&paused["ingestion"], &paused["schedule_enabled"]), (&json!("paused"), &json!(false)), "{paused}");
    let time = |name: &str| paused[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let life = time("resume_before").duration_since(time("paused_since"));
    assert_eq!(life.as_hours(), 8 * 24, "the retention of the ingest queue");

    // A second pause changes nothing, in particular not the time.
    let ran = run(&stack, &["pause", "--stack", STACK, "--json"]);
    assert_eq!((ran.code(), ran.json()), (0, paused.clone()), "{ran:?}");
    assert_eq!(ran.err(), "", "no step");

    // New objects wait. A deployment in between changes the function, and not the pause.
    put(&stack, 3..6).await;
    waiting(&stack, 3).await;
    stack.deploy_again(&ingest(), &["MemoryMiB=640"]);
    stack.set_visibility(Duration::from_secs(5)).await;
    put(&stack, 6..8).await;
    waiting(&stack, 5).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let deployed = status(&stack);
    assert_eq!(deployed["waiting"]["ingest"], 5, "{deployed}");
    for member in ["ingestion", "paused_since", "mappings", "schedule_enabled"] {
        assert_eq!(deployed[member], paused[member], "{member}");
    }
    assert_eq!(stack.lake().await, each_once(0..3), "nothing is delivered during the pause");

    let ran = run(&stack, &["resume", "--stack", STACK, "--dry-run", "--json"]);
    assert_eq!(
        (ran.code(), &ran.json()["steps"][0]),
        (0, &json!({"step": "update_stack", "paused_since": ""})),
        "{ran:?}"
    );
    assert_eq!(status(&stack)["ingestion"], "paused", "a dry run changes nothing");
    let ran = run(&stack, &["resume", "--stack", STACK, "--json"]);
    assert_eq!((ran.code(), &ran.json()["ingestion"]), (0, &json!("running")), "{ran:?}");
    stack.drained(PATIENCE).await;
    assert_eq!(stack.lake().await, each_once(0..8), "{}", stack.log_tail());
    let ran = run(&stack, &["resume", "--stack", STACK, "--dry-run"]);
    assert_eq!((ran.code(), ran.out()), (0, "nothing to change\n".to_owned()), "{ran:?}");

    // A mapping that a person disabled in the console is shown, and resume enables it.
    let lambda = aws_sdk_lambda::Client::new(&stack.config());
    let mapping = |name: &str| {
        let found = before["mappings"].as_array().unwrap().iter().find(|mapping| mapping["name"] == name);
        found.unwrap()["id"].as_str().unwrap().to_owned()
    };
    lambda.update_event_source_mapping().uuid(mapping("IngestFunctionQueue")).enabled(false).send().await.unwrap();
    assert_eq!(status(&stack)["ingestion"], "inconsistent");
    let ran = run(&stack, &["resume", "--stack", STACK]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert_eq!(ran.err().trim(), "enable the event source mapping IngestFunctionQueue", "{ran:?}");
    put(&stack, 8..9).await;
    stack.drained(PATIENCE).await;
    assert_eq!(stack.lake().await, each_once(0..9), "{}", stack.log_tail());

    let ran = run(&stack, &["pause", "--stack", "no-such-stack"]);
    assert_eq!(ran.code(), 2, "{ran:?}");
    assert!(ran.err().contains("stack no-such-stack does not exist in the region us-east-1"), "{ran:?}");
}
