//! The stack adds its notification to the log bucket, moves it with an update, and removes it with its deletion. The
//! template, its roles and the real programs run on an emulator of AWS that enforces the roles.

mod bed;
mod laptop;

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_s3::types::{Event, NotificationConfiguration, QueueConfiguration};
use aws_sdk_sqs::types::QueueAttributeName;
use bed::answers::Answers;
use bed::stack::lake::{each_once, id};
use bed::stack::{LOG_BUCKET, Stack};
use laptop::{Ran, trailhose_at};
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(420);
const SECOND_BUCKET: &str = "second-logs";
const OURS: &str = "trailhose-trailhose s3:ObjectCreated:*";
const AUDIT: &str = "audit s3:ObjectRemoved:*";

async fn put(stack: &Stack, bucket: &str, number: u32) {
    let event = json!({
        "eventVersion": "1.11",
        "eventTime": "2026-11-20T10:00:00Z",
        "awsRegion": "eu-west-1",
        "recipientAccountId": "111122223333",
        "eventID": id(number),
    });
    let body = laptop::gzip(&json!({ "Records": [event] }).to_string());
    let key = format!(
        "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/11/20/\
         111122223333_CloudTrail_eu-west-1_20261120T1000Z_{number:016}.json.gz"
    );
    stack.s3.put_object().bucket(bucket).key(key).body(body.into()).send().await.unwrap();
}

/// Returns the rules of a bucket as `ID events`.
async fn rules(stack: &Stack, bucket: &str) -> Vec<String> {
    let found = stack.s3.get_bucket_notification_configuration().bucket(bucket).send().await.unwrap();
    let rule = |rule: &QueueConfiguration| {
        let events: Vec<_> = rule.events().iter().map(Event::as_str).collect();
        format!("{} {}", rule.id().unwrap(), events.join(","))
    };
    found.queue_configurations().iter().map(rule).collect()
}

/// Creates the queue of another team and a second bucket, and adds the team's rule to both buckets.
async fn add_other_rules(stack: &Stack) {
    let queue = stack.sqs.create_queue().queue_name("audit").send().await.unwrap();
    let arn = format!("arn:aws:sqs:{}:{}:audit", bed::REGION, bed::ACCOUNT);
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn,
    }]});
    let set = stack.sqs.set_queue_attributes().queue_url(queue.queue_url().unwrap());
    set.attributes(QueueAttributeName::Policy, policy.to_string()).send().await.unwrap();
    stack.s3.create_bucket().bucket(SECOND_BUCKET).send().await.unwrap();
    for bucket in [LOG_BUCKET, SECOND_BUCKET] {
        let before = stack.s3.get_bucket_notification_configuration().bucket(bucket).send().await.unwrap();
        let rule = QueueConfiguration::builder().id("audit").queue_arn(&arn).events(Event::S3ObjectRemoved);
        let after = NotificationConfiguration::builder()
            .set_queue_configurations(before.queue_configurations)
            .queue_configurations(rule.build().unwrap());
        let put = stack.s3.put_bucket_notification_configuration().bucket(bucket);
        put.notification_configuration(after.build()).send().await.unwrap();
    }
}

/// Without an action of its policy, the function answers CloudFormation with a failure that names the action, and changes
/// nothing. A deletion needs every action of the policy. The role's other policy is for Lambda, which writes the log.
async fn missing_permission_is_named(stack: &Stack) {
    let config = stack.config();
    let (iam, lambda) = (aws_sdk_iam::Client::new(&config), aws_sdk_lambda::Client::new(&config));
    let resource = async |name: &str| {
        let client = aws_sdk_cloudformation::Client::new(&config);
        let described = client.describe_stack_resource().stack_name("trailhose").logical_resource_id(name);
        let detail = described.send().await.unwrap().stack_resource_detail.unwrap();
        detail.physical_resource_id.unwrap()
    };
    let (role, policy, function) =
        (resource("WireRole").await, resource("WirePolicy").await, resource("WireFunction").await);
    let version =
        iam.get_policy().policy_arn(&policy).send().await.unwrap().policy.unwrap().default_version_id.unwrap();
    let document = iam.get_policy_version().policy_arn(&policy).version_id(version).send().await.unwrap();
    let document = document.policy_version.unwrap().document.unwrap();
    let document = percent_encoding::percent_decode_str(&document).decode_utf8().unwrap().into_owned();
    let mut document: Value = serde_json::from_str(&document).unwrap();
    let [statement] = &mut document["Statement"].as_array_mut().unwrap()[..] else { panic!("one statement") };
    let actions: Vec<String> = serde_json::from_value(statement["Action"].take()).unwrap();
    assert_eq!(actions.len(), 2, "{actions:?}");
    iam.detach_role_policy().role_name(&role).policy_arn(&policy).send().await.unwrap();

    let answers = Answers::start(0).await;
    for missing in &actions {
        let left: Vec<_> = actions.iter().filter(|action| *action != missing).collect();
        document["Statement"][0]["Action"] = json!(left);
        let put = iam.put_role_policy().role_name(&role).policy_name("left").policy_document(document.to_string());
        put.send().await.unwrap();
        let event = json!({
            "RequestType": "Delete",
            "PhysicalResourceId": format!("rule:{LOG_BUCKET}:trailhose-trailhose"),
            "ResponseURL": answers.url,
            "StackId": "arn:aws:cloudformation:us-east-1:000000000000:stack/trailhose/1",
            "RequestId": "request",
            "ResourceType": "Custom::BucketNotification",
            "LogicalResourceId": "BucketNotification",
            "ResourceProperties": {
                "Bucket": LOG_BUCKET,
                "Wiring": "S3",
                "QueueArn": stack.output("IngestQueueArn"),
                "NotificationId": "trailhose-trailhose",
            },
        });
        let invoke = lambda.invoke().function_name(&function).payload(Blob::new(event.to_string()));
        invoke.send().await.unwrap();
        let answer = answers.take();
        assert_eq!(answer["Status"], "FAILED", "{missing}: {answer}");
        let named = format!("allow {missing} on bucket {LOG_BUCKET}");
        assert!(answer["Reason"].as_str().unwrap().starts_with(&named), "{missing}: {answer}");
    }
    iam.delete_role_policy().role_name(&role).policy_name("left").send().await.unwrap();
    iam.attach_role_policy().role_name(&role).policy_arn(&policy).send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn stack_wires_its_bucket_and_keeps_other_notifications() {
    let ingest = bed::lambda_program("ingest");
    let stack = Stack::deploy_with(&ingest, &["WireBucket=true"]).await;
    assert_eq!(rules(&stack, LOG_BUCKET).await, [OURS], "{}", stack.log_tail());
    put(&stack, LOG_BUCKET, 0).await;
    stack.drained(PATIENCE).await;
    assert_eq!(stack.lake().await, each_once(0..1), "{}", stack.log_tail());

    add_other_rules(&stack).await;
    let wire = |arguments: &[&str]| {
        let mut command = trailhose_at(&stack.endpoint());
        Ran(command.args(["wire", "--stack", "trailhose"]).args(arguments).output().unwrap())
    };
    assert!(wire(&[]).out().contains("already notifies"), "{:?}", wire(&[]));
    assert!(wire(&["--remove"]).err().contains("manages the notification itself (WireBucket=true)"));

    missing_permission_is_named(&stack).await;
    assert_eq!(rules(&stack, LOG_BUCKET).await, [OURS, AUDIT]);

    // A second stack on the same bucket.
    let error = stack.deploy_another("second", &ingest, &["WireBucket=true"]).unwrap_err();
    let client = aws_sdk_cloudformation::Client::new(&stack.config());
    let mut events = client.describe_stack_events().stack_name("second").into_paginator().items().send();
    let mut reasons = Vec::new();
    while let Some(event) = events.next().await {
        reasons.extend(event.unwrap().resource_status_reason);
    }
    let named = |reason: &String| reason.contains("rule trailhose-trailhose (s3:ObjectCreated:* of all keys");
    assert!(reasons.iter().any(named), "{reasons:?}\n{error}");
    assert_eq!(rules(&stack, LOG_BUCKET).await, [OURS, AUDIT], "nothing of a failed stack stays wired");

    stack.deploy_again(&ingest, &[&format!("LogBucketName={SECOND_BUCKET}"), "WireBucket=true"]);
    assert_eq!(rules(&stack, LOG_BUCKET).await, [AUDIT], "{}", stack.log_tail());
    assert_eq!(rules(&stack, SECOND_BUCKET).await, [AUDIT, OURS]);
    put(&stack, SECOND_BUCKET, 1).await;
    stack.drained(PATIENCE).await;
    assert_eq!(stack.lake().await, each_once(0..2), "{}", stack.log_tail());

    stack.delete().await;
    assert_eq!(rules(&stack, LOG_BUCKET).await, [AUDIT]);
    assert_eq!(rules(&stack, SECOND_BUCKET).await, [AUDIT], "{}", stack.log_tail());
}
