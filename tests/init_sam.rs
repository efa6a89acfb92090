//! `trailhose init --sam`: what is found in an account becomes `samconfig.toml`, from which `sam deploy` takes every
//! parameter.

mod bed;
mod laptop;

use aws_sdk_s3::types::{Event, NotificationConfiguration, QueueConfiguration};
use bed::emulator::Emulator;
use bed::faults::{Fault, Faults};
use bed::stack::lake::{each_once, id};
use bed::stack::{LOG_BUCKET, Stack, prepared_template, run, with_root};
use laptop::{Ran, trailhose_at};
use serde_json::json;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

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
async fn proposal_is_deployed_without_a_question() {
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
    stack.drained(Duration::from_secs(420)).await;
    assert_eq!(stack.lake().await, each_once(0..1), "{}", stack.log_tail());
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
