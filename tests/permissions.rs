//! Least privilege: if any action of the function's role is removed, an error names it, and nothing is lost after it is
//! restored. An action without such an error would be unnecessary.

mod bed;

use bed::faults::Fault;
use bed::stack::lake::{each_once, id};
use bed::stack::{LOG_BUCKET, Stack};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use trailhose::notification;
use trailhose::object::ObjectRef;

/// Actions of Lambda itself with the function's role: it polls the queue and writes the log. The emulator does not enforce
/// the role for them, so removing them has no effect here.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html#events-sqs-permissions>
/// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html#monitoring-cloudwatchlogs-prereqs>
const LAMBDA_ACTIONS: [&str; 5] =
    ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "logs:CreateLogStream", "logs:PutLogEvents"];

/// S3 returns 403 for a missing object if the caller may not list the bucket. The emulator always returns 404. A test
/// in `src/source/s3.rs` checks the error for this 403.
const NOT_ENFORCED: [&str; 1] = ["s3:ListBucket"];

/// Longer than the minute between two probes of a circuit breaker, which three missing actions in a row can open.
const PATIENCE: Duration = Duration::from_secs(240);

/// A message that is moved to the dead-letter queue.
const INVALID: &str = "no notification";

/// Returns a CloudTrail object of one event with this many bytes of padding.
fn object(number: u32, padding: usize) -> String {
    let event = json!({
        "eventVersion": "1.11",
        "eventTime": "2026-11-20T10:00:00Z",
        "awsRegion": "eu-west-1",
        "recipientAccountId": "111122223333",
        "eventID": id(number),
        "requestParameters": "x".repeat(padding),
    });
    json!({ "Records": [event] }).to_string()
}

fn key(number: u32) -> String {
    format!(
        "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/11/20/\
         111122223333_CloudTrail_eu-west-1_20261120T1000Z_{number:016}.json"
    )
}

/// Returns a policy without one action, and its actions.
fn without(document: &str, action: &str) -> (Option<String>, Vec<String>) {
    let mut document: Value = serde_json::from_str(document).unwrap();
    let (mut all, mut left) = (Vec::new(), Vec::new());
    for mut statement in document["Statement"].as_array().unwrap().clone() {
        let actions = match statement["Action"].take() {
            Value::String(one) => vec![one],
            many => serde_json::from_value(many).unwrap(),
        };
        all.extend(actions.iter().cloned());
        let rest: Vec<_> = actions.into_iter().filter(|each| each != action).collect();
        if !rest.is_empty() {
            statement["Action"] = json!(rest);
            left.push(statement);
        }
    }
    document["Statement"] = json!(left);
    (Some(document.to_string()).filter(|_| !left.is_empty()), all)
}

/// Makes the function need an action of a policy, with the object of this number.
async fn need(stack: &Stack, policy: &str, action: &str, number: u32) {
    match (policy, action) {
        ("dead-letter-messages", _) => {
            stack.send(INVALID).await;
            stack.put(&key(number), object(number, 0)).await;
        }
        ("defer-messages", _) => {
            let calls = stack.faults.count("PutRecordBatch");
            stack.faults.on("PutRecordBatch", calls..calls + 1, Fault::Deny);
            stack.put(&key(number), object(number, 0)).await;
        }
        // A Firehose record holds 1,000 KiB.
        (_, "s3:PutObject") => stack.put(&key(number), object(number, 1_100_000)).await,
        (_, "sqs:SendMessage" | "sqs:ChangeMessageVisibility") => {
            // The owner works longer than the visibility timeout: the same message and that of an object with the
            // same event are deferred.
            let calls = stack.faults.count("PutRecordBatch");
            stack.faults.on("PutRecordBatch", calls..calls + 1, Fault::Delay(Duration::from_secs(15)));
            stack.put(&key(number), object(number, 0)).await;
            let start = Instant::now();
            while stack.faults.count("PutRecordBatch") == calls {
                assert!(start.elapsed() < PATIENCE, "{}", stack.log_tail());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            stack.put(&key(80_000 + number), object(number, 0)).await;
            stack.send(&notification::render(&ObjectRef::new(LOG_BUCKET, key(number)))).await;
        }
        _ => stack.put(&key(number), object(number, 0)).await,
    }
}

#[tokio::test]
async fn each_missing_action_is_named_and_nothing_is_lost() {
    let stack = Stack::deploy(&bed::lambda_program("ingest")).await;
    let (mut missed, mut passed_over) = (Vec::new(), Vec::new());
    for policy in stack.policies().await {
        let document = stack.take_policy(&policy).await;
        for action in without(&document, "").1 {
            if LAMBDA_ACTIONS.contains(&action.as_str()) || NOT_ENFORCED.contains(&action.as_str()) {
                passed_over.push(action);
                continue;
            }
            let said = stack.log().len();
            if let Some(rest) = without(&document, &action).0 {
                stack.give_policy(&policy, &rest).await;
            }
            let number = missed.len() as u32;
            need(&stack, &policy, &action, number).await;
            let start = Instant::now();
            // A log line of the function must name the action to allow or the denied call. A hint at other possible
            // causes is not enough.
            let words = [format!("allow {action} "), format!("{action} on "), format!("perform: {action} ")];
            let named =
                |line: &str| line.contains("\"level\":") && words.iter().any(|word| line.contains(word.as_str()));
            while !stack.log()[said..].lines().any(named) {
                assert!(start.elapsed() < PATIENCE, "{action} is not named in the log:\n{}", stack.log_tail());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            stack.give_policy(&policy, &document).await;
            missed.push(action);
        }
        stack.give_policy(&policy, &document).await;
    }
    // The two lists contain no unnecessary entry.
    assert_eq!(
        (missed.len(), passed_over.len()),
        (10, LAMBDA_ACTIONS.len() + NOT_ENFORCED.len()),
        "{missed:?} {passed_over:?}"
    );
    let expected = each_once(0..missed.len() as u32);
    let start = Instant::now();
    loop {
        let found = stack.lake().await;
        if found == expected {
            break;
        }
        assert!(start.elapsed() < 4 * PATIENCE, "{missed:?}: {found:?}\n{}", stack.log_tail());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(stack.dead_letters().await, [INVALID]);
    println!("missed by name: {}", missed.join(", "));
}
