//! `trailhose backfill`: starts a run, previews it, enqueues the missing objects of an inventory, and shows its progress.

mod bed;
mod laptop;
mod report;

use bed::emulator::Emulator;
use bed::table;
use laptop::{Bucket, Ran, event, events, gzip, key, log, text, trailhose};
use report::{How, Report, Row};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use trailhose::backfill::record::{
    DiscoveryRecord, PartOutcome, RunPart, RunRecords, UnitRecord, dynamodb::DynamoDbRunRecords,
};
use trailhose::backfill::{Request, RunId, Task, run::Defaults, run::SourceRoot};
use trailhose::ledger::system_clock;
use trailhose::listing::discover::DetectedLayout;
use trailhose::listing::unit::Layout;
use trailhose::listing::{ListingCounts, Unit};
use trailhose::notification::{Invocation, invocation};

fn on(emulator: &Emulator, args: &[&str]) -> Ran {
    let mut command = trailhose();
    command.env_remove("AWS_PROFILE").env("AWS_ENDPOINT_URL", emulator.endpoint()).env("AWS_REGION", bed::REGION);
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test").stdin(Stdio::null());
    Ran(command.args(args).output().unwrap())
}

async fn queue(emulator: &Emulator, name: &str) -> (aws_sdk_sqs::Client, String) {
    let client = aws_sdk_sqs::Client::new(&emulator.config());
    let made = client.create_queue().queue_name(name).send().await.unwrap();
    (client, made.queue_url.unwrap())
}

async fn bodies(client: &aws_sdk_sqs::Client, url: &str) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let answer = client.receive_message().queue_url(url).max_number_of_messages(10).send().await.unwrap();
        if answer.messages().is_empty() {
            return found;
        }
        found.extend(answer.messages().iter().map(|message| message.body().unwrap().to_owned()));
    }
}

#[tokio::test]
async fn run_is_requested_by_one_message() {
    let emulator = Emulator::shared_ministack();
    let (client, url) = queue(emulator, "started").await;
    let args = ["--since", "2026-11-01", "--account", "111122223333", "--kind", "insight", "--quarantined"];
    let start = ["backfill", "s3://logs/p", "s3://other", "--queue", &url, "--name", "monday", "--json"];
    let ran = on(emulator, &[&start[..], &args[..]].concat());
    assert_eq!((ran.code(), &ran.json()["run"]), (0, &"monday".into()), "{ran:?}");
    let sent = bodies(&client, &url).await;
    assert_eq!(sent.len(), 1);
    let Task::Start { run, request } = Task::parse(&sent[0]).unwrap() else { panic!("{sent:?}") };
    let expected = json!({
        "sources": [{ "bucket": "logs", "prefix": "p" }, { "bucket": "other", "prefix": "" }],
        "since": "2026-11-01", "accounts": ["111122223333"], "kinds": ["CloudTrail-Insight"], "quarantined": true,
    });
    assert_eq!((run.as_str(), request), ("monday", Request::parse(&expected.to_string()).unwrap()));

    let plain = on(emulator, &["backfill", "--queue", &url]);
    assert!(plain.code() == 0 && plain.out().contains("trailhose backfill status 20"), "{plain:?}");
    let Task::Start { request, .. } = Task::parse(&bodies(&client, &url).await[0]).unwrap() else { panic!() };
    assert_eq!(request, Request::default(), "the stack uses its configured sources");
}

#[tokio::test]
async fn sources_with_different_selections_are_separate_runs() {
    let emulator = Emulator::shared_ministack();
    let (client, url) = queue(emulator, "several").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trailhose.toml");
    let settings = format!(
        "dest = \"firehose://events\"\nledger = \"dynamodb://trailhose\"\n[backfill]\nqueue = \"{url}\"\n\
         [[source]]\nbucket = \"a\"\n[[source]]\nbucket = \"b\"\nprefix = \"p\"\n\
         [[source]]\nbucket = \"c\"\naccounts = [\"111122223333\"]\n"
    );
    std::fs::write(&file, settings).unwrap();
    let ran = on(emulator, &["backfill", "--config", text(&file), "--since", "2026-11-01"]);
    assert_eq!((ran.code(), ran.out().lines().count()), (0, 2), "{ran:?}");
    let mut requests: Vec<Value> = bodies(&client, &url)
        .await
        .iter()
        .map(|body| serde_json::from_str::<Value>(body).unwrap()["start"]["request"].clone())
        .collect();
    requests.sort_by_key(ToString::to_string);
    let source = |bucket: &str, prefix: &str| json!({ "bucket": bucket, "prefix": prefix });
    assert_eq!(
        requests,
        [
            json!({ "accounts": ["111122223333"], "since": "2026-11-01", "sources": [source("c", "")] }),
            json!({ "since": "2026-11-01", "sources": [source("a", ""), source("b", "p")] }),
        ]
    );
}

#[test]
fn invalid_arguments_are_one_line_and_nothing_is_sent() {
    let emulator = Emulator::shared_ministack();
    let queue = "http://127.0.0.1:1/none";
    for (args, said) in [
        (&["s3://logs"][..], "--queue is required"),
        (&["s3://logs", "--queue", queue, "--since", "2026-11-02", "--until", "2026-11-01"], "must not be after"),
        (&["./folder", "--queue", queue], "which AWS cannot read"),
        (&["./folder"], "--dry-run to compare it with a ledger"),
        (&["s3://logs", "--queue", queue, "--bytes-per-second", "10"], "10"),
        (&["s3://logs", "--queue", queue, "--name", "a b"], "expected a name"),
        (&["s3://logs", "--dry-run"], "or --ledger FILE with an SQLite ledger"),
        (&["--dry-run", "--ledger", "dynamodb://t"], "no source"),
        (&["s3://logs", "--inventory", "m.json", "--ledger", "dynamodb://t"], "--ingest-queue"),
        (&["s3://logs", "--inventory", "m.json", "--dry-run", "--ledger", "none.db"], "does not exist"),
        (&["status", "--ledger", "none.db"], "runs are recorded in the stack's table"),
        (&["s3://no-such-bucket-here", "--dry-run", "--ledger", "dynamodb://no-such-table"], "no-such-"),
    ] {
        let ran = on(emulator, &[&["backfill"], args].concat());
        assert_eq!((ran.code(), ran.out().as_str()), (2, ""), "{args:?}: {ran:?}");
        assert!(ran.err().contains(said) && ran.err().lines().count() == 1, "{args:?}: {}", ran.err());
    }
}

/// Puts logs on four days. Two are already synced, and one of these is quarantined. Returns the bytes of the others.
fn half_synced(bucket: &Bucket, out: &Path) -> u64 {
    let day = |day: &str, name: &str| key("111122223333", "CloudTrail", "eu-west-1", day, name);
    bucket.put(&day("2026-11-01", "a"), &gzip(&log(&events(0..3))));
    bucket.put(&day("2026-11-02", "bad"), b"{");
    assert_eq!(laptop::run(&["sync", text(bucket.path()), text(out)]).code(), 3);
    let mut bytes = 0;
    for (date, name) in [("2026-11-01", "late"), ("2026-11-03", "new"), ("2026-10-01", "old")] {
        let log = gzip(&log(&[event(7), event(8)]));
        bucket.put(&day(date, name), &log);
        bytes += log.len() as u64;
    }
    bucket.put("AWSLogs/111122223333/CloudTrail/eu-west-1/2026/11/01/notes.txt", b"x");
    bytes
}

#[test]
fn dry_run_counts_missing_objects_and_changes_nothing() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    let bytes = half_synced(&bucket, out.path());
    let ledger = out.path().join(".trailhose/ledger.db");
    let before = std::fs::read(&ledger).unwrap();
    let args = ["backfill", text(bucket.path()), "--ledger", text(&ledger), "--dry-run"];
    let since = |day| [&args[..], &["--since", day, "--until", "2026-11-20"]].concat();
    let said = laptop::run(&[&since("2026-09-01")[..], &["--json"]].concat()).json();
    let counts = &said["counts"];
    for (name, count) in
        [("listed", 6), ("done", 1), ("quarantined", 1), ("missing", 3), ("sent", 3), ("not_logs", 1), ("bytes", bytes)]
    {
        assert_eq!(counts[name], count, "{name} in {said}");
    }
    assert_eq!(said["estimate"]["event_bytes"], (bytes as f64 * 6.2).round());
    assert!(said["estimate"]["dollars"].as_f64().unwrap() > 0.0);
    let services: Vec<&str> =
        said["estimate"]["dollars_by_service"].as_object().unwrap().keys().map(|k| &k[..]).collect();
    assert_eq!(services, ["DynamoDB", "Firehose", "Lambda", "S3", "SQS"]);
    let fewer = laptop::run(&[&since("2026-11-01")[..], &["--json"]].concat()).json();
    assert_eq!((&fewer["counts"]["missing"], &fewer["counts"]["sent"]), (&2.into(), &2.into()), "{fewer}");
    let more = laptop::run(&[&since("2026-11-01")[..], &["--json", "--quarantined"]].concat()).json();
    assert_eq!(more["counts"]["sent"], 3);
    let table = laptop::run(&since("2026-09-01")).out();
    assert!(table.contains("to enqueue") && table.contains("list prices of us-east-1"), "{table}");
    // Nothing matches.
    let none = laptop::run(&[&since("2026-11-01")[..], &["--region", "eu-west-9"]].concat());
    assert!(none.code() == 4 && none.err().contains("warning: no object of "), "{none:?}");
    let expected = laptop::run(&[&since("2026-11-01")[..], &["--region", "eu-west-9", "--allow-empty"]].concat());
    assert_eq!((expected.code(), expected.err().as_str()), (0, ""), "{expected:?}");
    // A folder that cannot be listed is no empty folder: it is named, and the others are counted.
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), bucket.path().join("AWSLogs/999999999999")).unwrap();
    let denied = laptop::run(&[&since("2026-11-01")[..], &["--json"]].concat());
    assert_eq!((denied.code(), &denied.json()["counts"]), (1, &fewer["counts"]), "{denied:?}");
    let folders = denied.json()["denied"].clone();
    assert_eq!(folders.as_array().unwrap().len(), 1, "{denied:?}");
    assert!(folders[0]["folder"].as_str().unwrap().ends_with("AWSLogs/999999999999"), "{denied:?}");
    assert!(denied.err().contains("failed: ") && denied.err().contains("is a symbolic link to"), "{denied:?}");
    assert_eq!(std::fs::read(&ledger).unwrap(), before);
}

#[tokio::test]
async fn missing_objects_of_an_inventory_are_enqueued_once() {
    let emulator = Emulator::shared_ministack();
    table::create(&trailhose::aws::dynamodb(&emulator.config()), "inventory", &[table::RUNS]).await;
    let (client, url) = queue(emulator, "enqueued").await;
    let s3 = trailhose::aws::s3(&emulator.config());
    s3.create_bucket().bucket("trail").send().await.unwrap();
    let rows: Vec<Row> = (0..2_500)
        .map(|number| {
            let day = if number < 100 { "2026-10-01" } else { "2026-11-01" };
            report::row(
                key("111122223333", "CloudTrail", "eu-west-1", day, &format!("n{number}")),
                &format!("{number:032x}"),
                10,
            )
        })
        .collect();
    // One object in 25 is done.
    let ledger =
        trailhose::ledger::store::dynamodb::DynamoDb::new(trailhose::aws::dynamodb(&emulator.config()), "inventory");
    let ledger = trailhose::ledger::Ledger::new(std::sync::Arc::new(ledger), system_clock(), 0);
    for row in rows.iter().step_by(25) {
        let object = trailhose::object::ObjectRef::new("trail", &row.key).with_version(&row.etag, 10).object().unwrap();
        let trailhose::ledger::LeaseOutcome::Granted(lease) = ledger.lease(&object, ledger.now() + 60).await.unwrap()
        else {
            panic!("not leased")
        };
        ledger.complete(&lease, trailhose::ledger::model::row::Counts::default()).await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let report = Report::write(folder.path(), "trail", How::Parquet, 2, &rows);
    let path = report.path();
    let args = ["backfill", "s3://trail", "--inventory", text(&path), "--ledger", "dynamodb://inventory", "--json"];
    let dry = on(emulator, &[&args[..], &["--dry-run"]].concat());
    assert_eq!((dry.code(), &dry.json()["counts"]["sent"]), (0, &2_400.into()), "{dry:?}");
    let some = on(emulator, &[&args[..], &["--dry-run", "--since", "2026-11-01"]].concat());
    assert_eq!(some.json()["counts"]["sent"], 2_304, "{some:?}");
    assert!(bodies(&client, &url).await.is_empty(), "a dry run sends nothing");
    let ran = on(emulator, &[&args[..], &["--ingest-queue", &url]].concat());
    assert_eq!((ran.code(), &ran.json()["counts"]["sent"]), (0, &2_400.into()), "{ran:?}");
    let mut enqueued = BTreeSet::new();
    for body in bodies(&client, &url).await {
        assert!(matches!(invocation(&body), Ok(Invocation::Direct(_))), "{body}");
        for record in serde_json::from_str::<Value>(&body).unwrap()["Records"].as_array().unwrap() {
            assert!(enqueued.insert(record["s3"]["object"]["eTag"].as_str().unwrap().to_owned()));
        }
    }
    let missing = rows.iter().enumerate().filter(|(number, _)| number % 25 != 0);
    assert_eq!(enqueued, missing.map(|(_, row)| row.etag.clone()).collect());
}

#[tokio::test]
async fn status_shows_progress_for_each_account() {
    let emulator = Emulator::shared_ministack();
    table::create(&trailhose::aws::dynamodb(&emulator.config()), "status", &[table::RUNS]).await;
    let args = ["backfill", "status", "--ledger", "dynamodb://status"];
    let none = on(emulator, &args);
    assert!(none.code() == 1 && none.err().contains("has no record of a run"), "{none:?}");
    let records = DynamoDbRunRecords::new(trailhose::aws::dynamodb(&emulator.config()), "status", system_clock());
    let root = SourceRoot::parse("s3://logs").unwrap();
    let defaults = Defaults { sources: vec![root.clone()], look_back_days: 3 };
    let request = Request { since: Some("2026-11-01".parse().unwrap()), ..Request::default() };
    let id = RunId::try_from("monday".to_owned()).unwrap();
    let run = records.start(&request.resolve(id.clone(), &defaults, system_clock()()).unwrap()).await.unwrap();
    let unit = |account: &str, region: &str| Unit {
        prefix: format!("AWSLogs/{account}/CloudTrail/{region}/"),
        layout: Layout::Days,
        ..run.options.discovery_request(&root).flat_unit()
    };
    let units =
        [unit("111122223333", "eu-west-1"), unit("111122223333", "us-east-1"), unit("444455556666", "eu-west-1")];
    let mut found = DiscoveryRecord {
        outcome: PartOutcome::Done,
        shape: DetectedLayout::CloudTrail,
        ..DiscoveryRecord::of(root.clone())
    };
    units.iter().for_each(|unit| found.add(unit));
    records.save(&id, &RunPart::Discovered(Box::new(found))).await.unwrap();
    let note = async |unit: &Unit, outcome| {
        let counts = ListingCounts { listed: 10, missing: 4, sent: 4, bytes: 4_000, ..ListingCounts::default() };
        let worked = UnitRecord { root: root.clone(), unit: unit.clone(), outcome, counts };
        records.save(&id, &RunPart::Worked(Box::new(worked))).await.unwrap();
    };
    note(&units[0], PartOutcome::Done).await;
    let table = on(emulator, &args);
    assert_eq!(table.code(), 0, "{table:?}");
    for line in [
        "run monday  in progress",
        "1 of 3 units",
        "111122223333  1 of 2 units, 4 enqueued",
        "444455556666  0 of 1 units",
    ] {
        assert!(table.out().contains(line), "{line} in {}", table.out());
    }
    assert!(!table.out().contains('░'), "bars are for terminals only");
    note(&units[1], PartOutcome::Done).await;
    note(&units[2], PartOutcome::Failed("SlowDown".to_owned())).await;
    let named = on(emulator, &[&args[..], &["monday", "--json"]].concat());
    assert_eq!(named.code(), 1, "it finished with failures");
    let said = named.json();
    assert_eq!(
        (&said["progress"]["stage"], &said["progress"]["accounts"]["444455556666"]["failed"]),
        (&"failed".into(), &1.into())
    );
    assert_eq!(said["run"]["id"], "monday");
    let other = on(emulator, &[&args[..], &["tuesday"]].concat());
    assert!(other.code() == 1 && other.err().contains("no record of run tuesday"), "{other:?}");
}
