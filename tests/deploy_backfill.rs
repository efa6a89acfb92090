//! The backfill of the deployed stack: by schedule, on request, and with missing permissions.

mod bed;

use bed::stack::lake::{each_once, id};
use bed::stack::{LOG_BUCKET, Stack};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use trailhose::backfill::record::{RunProgress, RunRecords, Stage};
use trailhose::backfill::run::SourceRoot;
use trailhose::backfill::task::Task;
use trailhose::backfill::{Request, RunId};

/// On a busy machine, a message can become visible while its first receiver still works. It is then hidden until that
/// receiver's lease expires, for six minutes: slow, but correct.
const PATIENCE: Duration = Duration::from_secs(420);

fn ingest() -> PathBuf {
    bed::lambda_program("ingest")
}

/// Returns a CloudTrail object with one unique event and one that the next object contains, too.
fn object(number: u32) -> Vec<u8> {
    let events: Vec<_> = [number, number + 1]
        .iter()
        .map(|number| {
            json!({
                "eventVersion": "1.11",
                "eventTime": format!("2026-11-20T10:{:02}:00Z", number % 60),
                "awsRegion": "eu-west-1",
                "recipientAccountId": "111122223333",
                "eventID": id(*number),
            })
        })
        .collect();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(json!({ "Records": events }).to_string().as_bytes()).unwrap();
    gzip.finish().unwrap()
}

/// Returns the key of an object of today at this minute, in one of ten folders.
fn key(number: u32, minute: u32) -> String {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let account = if number.is_multiple_of(2) { "111122223333" } else { "444455556666" };
    let region = ["eu-west-1", "us-east-1", "eu-central-1", "us-west-2", "sa-east-1"][number as usize / 2 % 5];
    let (day, stamp) = (today.strftime("%Y/%m/%d"), today.strftime("%Y%m%d"));
    format!(
        "AWSLogs/{account}/CloudTrail/{region}/{day}/{account}_CloudTrail_{region}_{stamp}T{:02}{:02}Z_{number:016}.json.gz",
        minute / 60,
        minute % 60
    )
}

/// Returns the run that the function started.
fn started_run(answer: &Value) -> RunId {
    let run = answer["run"].as_str().unwrap_or_else(|| panic!("no run started: {answer}"));
    RunId::try_from(run.to_owned()).unwrap()
}

#[tokio::test]
async fn schedule_finds_missing_objects_once() {
    let stack = Stack::deploy(&ingest()).await;
    stack.unwire().await;
    for number in 0..300 {
        stack.put(&key(number, 600 + number), object(number)).await;
    }
    stack.fire_schedule().await;
    let patience = Instant::now() + PATIENCE;
    let run = loop {
        if let [run] = &stack.records().runs(2).await.unwrap()[..] {
            break run.id.clone();
        }
        assert!(Instant::now() < patience, "the schedule did not fire:\n{}", stack.log_tail());
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    let first = stack.run_ended(&run, PATIENCE).await;
    assert_eq!((first.units, first.counts.listed, first.counts.missing, first.counts.sent), (10, 300, 300, 300));
    assert_eq!((first.accounts["111122223333"].counts.sent, first.accounts["444455556666"].done), (150, 5));
    assert_eq!(stack.lake().await, each_once(0..301), "{}", stack.log_tail());

    let second = started_run(&stack.invoke_backfill("{}").await);
    let second = stack.run_ended(&second, PATIENCE).await.counts;
    assert_eq!((second.listed, second.done, second.sent, second.messages), (300, 300, 0, 0));

    // A late object with an earlier key than those of its folder.
    stack.put(&key(300, 1), object(301)).await;
    let counted = started_run(&stack.invoke_backfill(r#"{"dry_run":true}"#).await);
    let counted = stack.run_ended(&counted, PATIENCE).await.counts;
    assert_eq!((counted.missing, counted.sent, counted.messages), (1, 1, 0), "counted, not enqueued");
    assert_eq!(stack.lake().await.len(), 301);
    // Through the queue, as `trailhose backfill` starts a run.
    let third = RunId::at(jiff::Timestamp::now().as_second(), 3);
    let sources = vec![SourceRoot { bucket: LOG_BUCKET.to_owned(), prefix: String::new() }];
    let request = Request { sources, ..Request::default() };
    stack.send_task(&Task::Start { run: third.clone(), request }.body()).await;
    let third = stack.run_ended(&third, PATIENCE).await.counts;
    assert_eq!((third.listed, third.missing, third.sent, third.messages), (301, 1, 1, 1));
    assert_eq!(stack.lake().await, each_once(0..303), "{}", stack.log_tail());
    assert_eq!(stack.records().runs(9).await.unwrap().len(), 4);
    assert!(stack.dead_tasks().await.is_empty() && stack.dead_missed().await.is_empty());
}

#[tokio::test]
async fn missing_permission_is_named_and_nothing_is_lost() {
    let stack = Stack::deploy(&ingest()).await;
    stack.unwire().await;
    stack.set_backfill_visibility(Duration::from_secs(5)).await;
    let policies = [
        ("list-bucket", "s3:ListBucket"),
        ("read-ledger", "dynamodb:BatchGetItem"),
        ("enqueue-objects", "sqs:SendMessage"),
    ];
    let mut put = 0;
    for (policy, permission) in policies {
        let document = stack.take_backfill_policy(policy).await;
        stack.put(&key(put, put), object(put * 2)).await;
        put += 1;
        let run = started_run(&stack.invoke_backfill("{}").await);
        named(&stack, permission).await;
        assert_eq!(stack.lake().await.len() as u32, (put - 1) * 2, "{policy}");
        stack.give_backfill_policy(policy, &document).await;
        stack.run_ended(&run, PATIENCE).await;
        assert_eq!(stack.lake().await, each_once(0..put * 2), "{policy}: {}", stack.log_tail());
    }
    // Without these permissions no run starts, and the caller receives the error.
    for (policy, permission) in [("record-runs", "dynamodb:PutItem"), ("send-tasks", "sqs:SendMessage")] {
        let document = stack.take_backfill_policy(policy).await;
        stack.put(&key(put, put), object(put * 2)).await;
        put += 1;
        let answer = stack.invoke_backfill("{}").await;
        assert!(
            answer["errorMessage"].as_str().unwrap_or_default().contains(&format!("allow {permission} on")),
            "{policy}: {answer}"
        );
        stack.give_backfill_policy(policy, &document).await;
        let run = started_run(&stack.invoke_backfill("{}").await);
        stack.run_ended(&run, PATIENCE).await;
        assert_eq!(stack.lake().await, each_once(0..put * 2), "{policy}: {}", stack.log_tail());
    }
    // Only a run that includes quarantined objects writes to their rows.
    stack.put(&key(put, put), object(put * 2)[..40].to_vec()).await;
    let run = started_run(&stack.invoke_backfill("{}").await);
    stack.run_ended(&run, PATIENCE).await;
    let document = stack.take_backfill_policy("reopen-quarantined").await;
    let again = r#"{"quarantined":true}"#;
    let run = started_run(&stack.invoke_backfill(again).await);
    named(&stack, "dynamodb:UpdateItem").await;
    stack.give_backfill_policy("reopen-quarantined", &document).await;
    let counts = stack.run_ended(&run, PATIENCE).await.counts;
    assert_eq!((counts.quarantined, counts.sent), (1, 1), "reopened and enqueued");
    assert!(stack.dead_tasks().await.is_empty() && stack.dead_missed().await.is_empty());
}

async fn named(stack: &Stack, permission: &str) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !stack.log().contains(&format!("allow {permission} on")) {
        assert!(Instant::now() < patience, "{permission} is not named:\n{}", stack.log_tail());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn failing_task_moves_to_the_dead_letter_queue_alone() {
    let stack = Stack::deploy(&ingest()).await;
    stack.unwire().await;
    stack.set_backfill_visibility(Duration::from_secs(2)).await;
    stack.put(&key(0, 0), object(0)).await;
    let run = RunId::at(0, 1);
    let gone = SourceRoot::parse("s3://there-is-no-such-bucket").unwrap();
    let request = Request { sources: vec![gone.clone()], ..Request::default() };
    stack.send_task(&Task::Start { run: run.clone(), request }.body()).await;
    let work = json!({ "work": {
        "run": run, "root": gone,
        "unit": {
            "bucket": gone.bucket, "prefix": "AWSLogs/111122223333/CloudTrail/eu-west-1/", "layout": "days",
            "day_range": { "from": "2026-11-19", "to": "2026-11-20" }
        }
    }});
    stack.send_task(&work.to_string()).await;
    stack.send_task(r#"{"an":"unknown task"}"#).await;
    let good = started_run(&stack.invoke_backfill("{}").await);
    let patience = Instant::now() + PATIENCE;
    // Messages that were read are hidden for only half a minute.
    let mut given_up = BTreeSet::new();
    while given_up.len() < 3 {
        given_up.extend(stack.dead_tasks().await);
        assert!(Instant::now() < patience, "{given_up:?}\n{}", stack.log_tail());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let given_up: Vec<String> = given_up.into_iter().collect();
    assert_eq!(given_up[0], r#"{"an":"unknown task"}"#);
    let Task::Discover { run: failed, .. } = Task::parse(&given_up[1]).unwrap() else { panic!("{given_up:?}") };
    assert_eq!(failed, run);
    assert_eq!(given_up[2], work.to_string());
    stack.run_ended(&good, PATIENCE).await;
    assert_eq!(stack.lake().await, each_once(0..2));
    let record = stack.records().run(&run).await.unwrap().unwrap();
    let progress = RunProgress::of(&record, &stack.records().parts(&run).await.unwrap());
    assert_eq!((progress.stage, progress.failed), (Stage::Failed, 1));
    // The role may list only the log bucket, so AWS denies access to a bucket that does not exist.
    let named = "allow s3:ListBucket on there-is-no-such-bucket";
    assert_eq!(progress.failures.len(), 2);
    assert!(progress.failures.iter().all(|failure| failure.contains(named)), "{:?}", progress.failures);
}
