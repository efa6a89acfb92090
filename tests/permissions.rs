//! Least privilege: every action of the function's role, taken away by itself, is missed by name, and nothing is lost once
//! it is back. What nobody misses would be too much.

mod bed;

use bed::faults::Fault;
use bed::stack::lake::{each_once, id};
use bed::stack::{LOG_BUCKET, Stack};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use trailhose::notification;
use trailhose::object::ObjectRef;

/// What Lambda itself does in the function's name: poll the queue, and write what the function prints. The emulator does
/// not hold its own pollers and logs to the role, so that these cannot be missed here.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html#events-sqs-permissions>
/// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html#monitoring-cloudwatchlogs-prereqs>
const LAMBDAS_OWN: [&str; 5] =
    ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "logs:CreateLogStream", "logs:PutLogEvents"];

/// S3 says 403 of an object that is gone to whom may not list the bucket. The emulator says 404 to everybody; what the
/// function says of such a 403 is tested in `src/source/s3.rs`.
const NOT_HELD_TO: [&str; 1] = ["s3:ListBucket"];

const PATIENCE: Duration = Duration::from_secs(120);

/// A CloudTrail object of one event, which carries so many bytes of padding.
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

/// A policy without one action, and its actions.
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

/// Makes the function need an action, with the object of this number.
async fn need(stack: &Stack, action: &str, number: u32) {
    match action {
        // A record of Firehose takes 1,000 KiB.
        "s3:PutObject" => stack.put(&key(number), object(number, 1_100_000)).await,
        "sqs:SendMessage" | "sqs:ChangeMessageVisibility" => {
            // Its owner is at work for longer than its message is hidden: the same message, and that of an object with
            // the same event, have to wait.
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
async fn every_action_of_the_functions_role_is_missed_by_name_and_nothing_is_lost_once_it_is_back() {
    let stack = Stack::deploy(&bed::lambda_program("ingest")).await;
    let (mut missed, mut passed_over) = (Vec::new(), Vec::new());
    for policy in stack.policies().await {
        let document = stack.take_policy(&policy).await;
        for action in without(&document, "").1 {
            if LAMBDAS_OWN.contains(&action.as_str()) || NOT_HELD_TO.contains(&action.as_str()) {
                passed_over.push(action);
                continue;
            }
            let said = stack.log().len();
            if let Some(rest) = without(&document, &action).0 {
                stack.give_policy(&policy, &rest).await;
            }
            let number = missed.len() as u32;
            need(&stack, &action, number).await;
            let start = Instant::now();
            // Of the function's own lines, one that says what to allow, or which call was denied; a mere hint at what else
            // may be wrong is not enough.
            let words = [format!("allow {action} "), format!("{action} on "), format!("perform: {action} ")];
            let named =
                |line: &str| line.contains("\"level\":") && words.iter().any(|word| line.contains(word.as_str()));
            while !stack.log()[said..].lines().any(named) {
                assert!(start.elapsed() < PATIENCE, "{action} is not missed by name:\n{}", stack.log_tail());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            stack.give_policy(&policy, &document).await;
            missed.push(action);
        }
        stack.give_policy(&policy, &document).await;
    }
    // None of the two lists may outlive what it is about.
    assert_eq!(
        (missed.len(), passed_over.len()),
        (8, LAMBDAS_OWN.len() + NOT_HELD_TO.len()),
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
    assert_eq!(stack.dead_letters().await, [""; 0]);
    println!("missed by name: {}", missed.join(", "));
}
