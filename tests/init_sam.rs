//! `trailhose init --sam`: what is found in an account becomes `samconfig.toml`, from which `sam deploy` takes every
//! parameter. The deployed stack delivers an event, `trailhose doctor` finds no failure, the dashboard shows the metrics
//! that the functions wrote, and the removal leaves only what is kept.
//!
//! The emulator ignores the template's time to live, so the test sets it, and has no Service Quotas, so that check is
//! skipped. `tests/doctor.rs` examines both.

mod bed;
mod laptop;
#[path = "template/metrics.rs"]
mod metrics;

use aws_sdk_dynamodb::types::TimeToLiveSpecification;
use aws_sdk_s3::types::{Event, NotificationConfiguration, QueueConfiguration};
use bed::emulator::Emulator;
use bed::faults::{Fault, Faults};
use bed::stack::lake::{each_once, id};
use bed::stack::{LOG_BUCKET, Stack, prepared_template, run, with_root};
use laptop::{Ran, trailhose_at};
use serde_json::json;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use trailhose::backfill::record::RunRecords;

const PATIENCE: Duration = Duration::from_secs(420);

const KEY: &str = "arn:aws:kms:us-east-1:111122223333:key/11111111-2222-3333-4444-555555555555";

fn init(endpoint: &str, folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = trailhose_at(endpoint);
    Ran(command.current_dir(folder).stdin(Stdio::null()).args(["init", "--sam"]).args(arguments).output().unwrap())
}

/// Returns the parameters of the file as one text, and checks what `sam deploy` needs to ask nothing.
fn overrides(text: &str) -> String {
    let parsed: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}: {text}"));
    let deploy = &parsed["default"]["deploy"]["parameters"];
    assert_eq!(parsed["version"].as_float(), Some(0.1));
    for (name, value) in [("resolve_s3", true), ("confirm_changeset", false), ("fail_on_empty_changeset", false)] {
        assert_eq!(deploy[name].as_bool(), Some(value), "{text}");
    }
    assert_eq!(
        (deploy["capabilities"].as_str(), deploy["region"].as_str()),
        (Some("CAPABILITY_IAM"), Some("us-east-1"))
    );
    let list = deploy["parameter_overrides"].as_array().unwrap().iter();
    list.map(|it| it.as_str().unwrap()).collect::<Vec<_>>().join(" ")
}

/// Creates a bucket and a trail that writes to it.
async fn create_trail(emulator: &Emulator, name: &str, bucket: &str, key: Option<&str>) {
    let config = emulator.config();
    let s3 = aws_sdk_s3::Client::from_conf(aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build());
    // The bucket of the test environment exists already.
    let _ = s3.create_bucket().bucket(bucket).send().await;
    let cloudtrail = aws_sdk_cloudtrail::Client::new(&config);
    let trail = cloudtrail.create_trail().name(name).s3_bucket_name(bucket).is_multi_region_trail(true);
    trail.set_kms_key_id(key.map(str::to_owned)).send().await.unwrap();
    cloudtrail.start_logging().name(name).send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn proposal_is_deployed_examined_and_removed_without_a_question() {
    let ingest = bed::lambda_program("ingest");
    let stack = Stack::deploy_by(async |emulator| {
        create_trail(emulator, "org", LOG_BUCKET, None).await;
        let folder = prepared_template(&ingest);
        let ran = init(&emulator.endpoint(), folder.path(), &["--yes", "--json"]);
        assert_eq!(ran.code(), 0, "{ran:?}");
        assert_eq!((&ran.json()["questions"], &ran.json()["wire_bucket"]), (&json!(0), &json!(true)), "{ran:?}");
        let text = std::fs::read_to_string(folder.path().join("samconfig.toml")).unwrap();
        assert_eq!(overrides(&text), format!("LogBucketName={LOG_BUCKET} Wiring=S3 WireBucket=true"), "{text}");
        // Nothing can be answered, so a question would fail.
        let mut sam = Command::new(bed::tool("sam/bin/sam"));
        sam.current_dir(folder.path()).args(["deploy", "--template-file=template.yaml"]).stdin(Stdio::null());
        run(with_root(&mut sam, emulator));
    })
    .await;
    let event = json!({
        "eventVersion": "1.11",
        "eventTime": "2026-11-20T10:00:00Z",
        "awsRegion": "eu-west-1",
        "recipientAccountId": "111122223333",
        "eventID": id(0),
    });
    let key = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/11/20/\
               111122223333_CloudTrail_eu-west-1_20261120T1000Z_0000000000000000.json.gz";
    stack.put(key, laptop::gzip(&json!({ "Records": [event] }).to_string())).await;
    stack.drained(PATIENCE).await;
    assert_eq!(stack.lake().await, each_once(0..1), "{}", stack.log_tail());
    stack.invoke_backfill("{}").await;
    let run = stack.records().runs(1).await.unwrap().remove(0);
    stack.run_ended(&run.id, PATIENCE).await;

    doctor_finds_no_failure(&stack).await;
    dashboard_shows_what_the_functions_wrote(&stack).await;
    removal_keeps_only_ledger_and_lake(&stack).await;
}

async fn doctor_finds_no_failure(stack: &Stack) {
    let expires = TimeToLiveSpecification::builder().enabled(true).attribute_name("expires").build().unwrap();
    let update = stack.dynamodb.update_time_to_live().table_name(stack.output("LedgerTableName"));
    update.time_to_live_specification(expires).send().await.unwrap();
    let arguments = ["doctor", "--stack", "trailhose", "--json", "--timeout", "60", "--skip", "quota.table-writes"];
    let ran = Ran(trailhose_at(&stack.endpoint()).args(arguments).output().unwrap());
    let report = ran.json();
    let findings = report["findings"].as_array().unwrap();
    let of_status = |status: &str| findings.iter().filter(|finding| finding["status"] == status).collect::<Vec<_>>();
    assert_eq!((ran.code(), of_status("failed"), of_status("not-permitted")), (0, vec![], vec![]));
    for id in ["bucket.notification", "role.ingest", "role.backfill", "function.mappings", "backfill.run"] {
        let found = findings.iter().find(|finding| finding["id"] == id).unwrap();
        assert_eq!(found["status"], "ok", "{found}");
    }
}

/// Every metric of the functions that a widget shows was written by this stack.
async fn dashboard_shows_what_the_functions_wrote(stack: &Stack) {
    let (_, dashboard) = stack.output("DashboardUrl").rsplit_once('/').unwrap();
    let cloudwatch = aws_sdk_cloudwatch::Client::new(&stack.config());
    let body = cloudwatch.get_dashboard().dashboard_name(dashboard).send().await.unwrap();
    let widgets = metrics::widgets(body.dashboard_body().unwrap());
    let shown = widgets.iter().flat_map(|widget| &widget.metrics);
    let mut missing: Vec<_> = shown.filter(|metric| metric[0] == trailhose::telemetry::NAMESPACE).collect();
    assert!(missing.len() >= 10, "{missing:?}");
    // The emulator adds the output of a function to its log after the invocation.
    let start = Instant::now();
    loop {
        let written = metrics::written(&stack.log());
        missing.retain(|metric| !written.contains(*metric));
        // Written only while an object is unfinished.
        missing.retain(|metric| metric[1] != "OldestUnfinishedAge");
        if missing.is_empty() {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "no function wrote {missing:?}:\n{}", stack.log_tail());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn removal_keeps_only_ledger_and_lake(stack: &Stack) {
    stack.delete().await;
    let rules = stack.s3.get_bucket_notification_configuration().bucket(LOG_BUCKET).send().await.unwrap();
    assert!(rules.queue_configurations().is_empty(), "{rules:?}");
    assert_eq!(stack.lake().await, each_once(0..1));
    let tables = stack.dynamodb.list_tables().send().await.unwrap();
    assert_eq!(tables.table_names(), [stack.output("LedgerTableName")]);
    let queues = stack.sqs.list_queues().send().await.unwrap();
    assert!(queues.queue_urls().is_empty(), "{queues:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_decide_the_parameters() {
    let (emulator, folder) = (Emulator::moto(), tempfile::tempdir().unwrap());
    let endpoint = emulator.endpoint();
    create_trail(&emulator, "all", "all-logs", Some(KEY)).await;
    let refused = init(&endpoint, folder.path(), &[]);
    assert_eq!((refused.code(), refused.out().as_str()), (2, ""), "{refused:?}");
    assert!(refused.err().contains("standard input is not a terminal: use --yes"), "{refused:?}");

    let s3 = aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::config::Builder::from(&emulator.config()).force_path_style(true).build(),
    );
    let queue = QueueConfiguration::builder().id("other").queue_arn("arn:aws:sqs:us-east-1:123456789012:other");
    let queue = queue.events(Event::S3ObjectCreatedPut).build().unwrap();
    let config = NotificationConfiguration::builder().queue_configurations(queue).build();
    let put = s3.put_bucket_notification_configuration().bucket("all-logs").notification_configuration(config);
    put.skip_destination_validation(true).send().await.unwrap();
    let printed = init(&endpoint, folder.path(), &["--print"]);
    assert_eq!(printed.code(), 0, "{printed:?}");
    let expected = format!("LogBucketName=all-logs LogBucketKeyArn={KEY} Wiring=EventBridge WireBucket=true");
    assert_eq!(overrides(&printed.out()), expected, "{printed:?}");
    assert!(printed.out().contains("  # rule other (s3:ObjectCreated:Put of all keys"), "{printed:?}");
    assert!(!folder.path().join("samconfig.toml").exists());

    std::fs::write(folder.path().join("samconfig.toml"), "old").unwrap();
    let kept = init(&endpoint, folder.path(), &["--yes"]);
    assert!(kept.code() == 2 && kept.err().contains("samconfig.toml already exists: use --force"), "{kept:?}");
    assert_eq!(init(&endpoint, folder.path(), &["--yes", "--force"]).code(), 0);
    assert!(std::fs::read_to_string(folder.path().join("samconfig.toml")).unwrap().contains("all-logs"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_missing_permission_is_named_and_the_rest_is_proposed() {
    let (emulator, folder) = (Emulator::moto(), tempfile::tempdir().unwrap());
    create_trail(&emulator, "all", "all-logs", None).await;
    let faults = Faults::before(&emulator);
    faults.when(|call| {
        let s3 = ["notification", "policyStatus", "encryption"].iter().any(|part| call.path.contains(part));
        (s3 || ["GetTrailStatus", "DescribeOrganization"].contains(&call.operation.as_str())).then_some(Fault::Deny)
    });
    let printed = init(&faults.endpoint(), folder.path(), &["--print"]);
    assert_eq!(printed.code(), 0, "{printed:?}");
    for permission in [
        "organizations:DescribeOrganization",
        "cloudtrail:GetTrailStatus",
        "s3:GetBucketNotification",
        "s3:GetBucketPolicyStatus",
        "s3:GetEncryptionConfiguration",
    ] {
        let lines = printed.err().lines().filter(|line| line.starts_with(&format!("allow {permission} on "))).count();
        assert_eq!(lines, 1, "{permission}: {printed:?}");
    }
    assert_eq!(overrides(&printed.out()), "LogBucketName=all-logs Wiring=S3 WireBucket=true");

    faults.when(|call| (call.operation == "DescribeTrails").then_some(Fault::Deny));
    let nothing = init(&faults.endpoint(), folder.path(), &["--print"]);
    assert!(nothing.code() == 2 && nothing.err().contains("allow cloudtrail:DescribeTrails on"), "{nothing:?}");
    assert!(nothing.err().contains("--bucket BUCKET"), "{nothing:?}");
    let named = init(&faults.endpoint(), folder.path(), &["--print", "--bucket", "all-logs/trails"]);
    assert_eq!(overrides(&named.out()), "LogBucketName=all-logs LogPrefix=trails Wiring=S3 WireBucket=true");
}
