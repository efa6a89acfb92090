//! `trailhose doctor` on a deployed stack: a sound deployment has no failure, and each fault is named by its check, with
//! the policy that docs/doctor.md gives to operators.
//!
//! Parts: ministack with enforced policies, the real template and the real functions. Differences from AWS that this test
//! evens out: the emulator ignores the template's time to live and point-in-time recovery, CloudTrail delivers nothing,
//! and the metrics of services and functions do not exist, so the test writes them. It requires
//! `lambda:PutFunctionConcurrency` to read the reserved concurrency, which the operator gets in addition. No emulator has Service Quotas, and
//! ministack's KMS has no grants: the stand-in `tests/bed/stand_in.py` validates the requests with botocore's models. The service that does not answer is a
//! stub of `tests/common`.

mod bed;
mod common;

use aws_sdk_cloudwatch::types::{Dimension, MetricDatum};
use aws_sdk_dynamodb::types::{AttributeValue, PointInTimeRecoverySpecification, TimeToLiveSpecification};
use aws_sdk_s3::types::{
    BucketVersioningStatus, ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration,
    ServerSideEncryptionRule, VersioningConfiguration,
};
use aws_sdk_sqs::types::{MessageAttributeValue, QueueAttributeName};
use bed::stack::{LOG_BUCKET, Stack};
use bed::stand_in::StandIn;
use common::stub::{Reply, Stub};
use flate2::{Compression, write::GzEncoder};
use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use trailhose::backfill::record::RunRecords;
use trailhose::doctor::catalog::{CHECKS, GROUPS};

const PATIENCE: Duration = Duration::from_secs(240);

const TOPIC: &str = "arn:aws:sns:us-east-1:000000000000:alarms";

const KEY: &str = "arn:aws:kms:us-east-1:000000000000:key/11111111-2222-3333-4444-555555555555";

const TRAIL: &str = "organization";

/// Credentials as environment variables.
type Credentials = [(&'static str, String); 2];

/// Findings by the ID of their check.
type Findings = BTreeMap<String, Value>;

/// Runs the command and returns its findings and its exit code.
fn doctor(stack: &Stack, credentials: &Credentials, stand_in: &str, arguments: &[&str]) -> (Findings, i32) {
    let endpoint = stack.config().endpoint_url().unwrap().to_owned();
    let output = Command::new(env!("CARGO_BIN_EXE_trailhose"))
        .args(["doctor", "--json"])
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_ENDPOINT_URL_SERVICE_QUOTAS", stand_in)
        .env("AWS_REGION", bed::REGION)
        .envs(credentials.iter().map(|(name, value)| (*name, value.as_str())))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    let findings = report["findings"].as_array().unwrap_or_else(|| panic!("no findings: {report}"));
    let by_id = findings.iter().map(|finding| (finding["id"].as_str().unwrap().to_owned(), finding.clone())).collect();
    assert_eq!(report["exit_code"], output.status.code().unwrap());
    (by_id, output.status.code().unwrap())
}

/// A deployed stack and the findings of its sound state.
struct Bed {
    stack: Stack,
    operator: Credentials,
    stand_in: StandIn,
    sound: Findings,
    /// Faults that were not named as expected. One run reports all of them.
    missed: Mutex<Vec<String>>,
}

impl Bed {
    fn examine(&self) -> Findings {
        doctor(&self.stack, &self.operator, &self.stand_in.endpoint(), &["--stack", "trailhose", "--timeout", "60"]).0
    }

    /// Expects that exactly these checks have another status than in the sound state, and that the finding of each
    /// contains the text. Facts that change a moment later, such as the number of messages, are examined again.
    fn expect(&self, fault: &str, expected: &[(&str, &str, &str)]) {
        let start = Instant::now();
        loop {
            let found = self.examine();
            let changed: BTreeMap<&str, &Value> = found
                .iter()
                .filter(|(id, finding)| finding["status"] != self.sound[*id]["status"])
                .map(|(id, finding)| (id.as_str(), finding))
                .collect();
            let ids: BTreeSet<&str> = changed.keys().copied().collect();
            let complete = ids == expected.iter().map(|(id, ..)| *id).collect()
                && expected.iter().all(|(id, status, text)| {
                    changed[id]["status"] == *status && changed[id].to_string().contains(text)
                });
            if complete {
                return;
            }
            if start.elapsed() > Duration::from_secs(40) {
                let missed = format!("{fault}: expected {expected:?}, found {changed:#?}");
                return self.missed.lock().unwrap().push(missed);
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

fn yesterday() -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date().checked_sub(1.days()).unwrap()
}

fn key(number: u32) -> String {
    let day = yesterday();
    let (slashes, compact) = (day.strftime("%Y/%m/%d"), day.strftime("%Y%m%d"));
    format!(
        "AWSLogs/111122223333/CloudTrail/eu-west-1/{slashes}/\
         111122223333_CloudTrail_eu-west-1_{compact}T1000Z_{number:016}.json.gz"
    )
}

fn object(number: u32) -> Vec<u8> {
    let event = json!({
        "eventVersion": "1.11", "eventTime": format!("{}T10:00:00Z", yesterday()), "awsRegion": "eu-west-1",
        "recipientAccountId": "111122223333", "eventID": bed::stack::lake::id(number),
    });
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(json!({ "Records": [event] }).to_string().as_bytes()).unwrap();
    gzip.finish().unwrap()
}

/// Returns the policy for operators of docs/doctor.md.
fn documented_policy() -> Value {
    let page = std::fs::read_to_string(bed::root().join("docs/doctor.md")).unwrap();
    let (_, rest) = page.split_once("```json\n").unwrap();
    serde_json::from_str(rest.split_once("```").unwrap().0).unwrap()
}

/// Creates a user with this policy and returns its credentials.
async fn user(stack: &Stack, name: &str, policy: &Value) -> Credentials {
    let iam = aws_sdk_iam::Client::new(&stack.config());
    iam.create_user().user_name(name).send().await.unwrap();
    let document = policy.to_string();
    iam.put_user_policy().user_name(name).policy_name("doctor").policy_document(document).send().await.unwrap();
    let key = iam.create_access_key().user_name(name).send().await.unwrap().access_key.unwrap();
    [("AWS_ACCESS_KEY_ID", key.access_key_id), ("AWS_SECRET_ACCESS_KEY", key.secret_access_key)]
}

/// Writes a data point of a metric.
async fn metric(stack: &Stack, namespace: &str, name: &str, dimension: (&str, &str), value: f64, at: i64) {
    let dimension = Dimension::builder().name(dimension.0).value(dimension.1).build();
    let time = aws_sdk_cloudwatch::primitives::DateTime::from_secs(at);
    let datum = MetricDatum::builder().metric_name(name).dimensions(dimension).value(value).timestamp(time).build();
    let client = aws_sdk_cloudwatch::Client::new(&stack.config());
    client.put_metric_data().namespace(namespace).metric_data(datum).send().await.unwrap();
}

/// Brings the deployment into the state that it has on AWS after a day.
async fn prepare(stack: &Stack) {
    let config = stack.config();
    let sns = aws_sdk_sns::Client::new(&config);
    sns.create_topic().name("alarms").send().await.unwrap();
    let queue = stack.sqs.create_queue().queue_name("receiver").send().await.unwrap().queue_url.unwrap();
    let attributes = stack.sqs.get_queue_attributes().queue_url(queue).attribute_names(QueueAttributeName::QueueArn);
    let arn = attributes.send().await.unwrap().attributes.unwrap()[&QueueAttributeName::QueueArn].clone();
    sns.subscribe().topic_arn(TOPIC).protocol("sqs").endpoint(arn).send().await.unwrap();
    let trails = aws_sdk_cloudtrail::Client::new(&config);
    trails
        .create_trail()
        .name(TRAIL)
        .s3_bucket_name(LOG_BUCKET)
        .is_multi_region_trail(true)
        .include_global_service_events(true)
        .enable_log_file_validation(true)
        .is_organization_trail(true)
        .send()
        .await
        .unwrap();
    trails.start_logging().name(TRAIL).send().await.unwrap();
    let versioning = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    stack.s3.put_bucket_versioning().bucket(LOG_BUCKET).versioning_configuration(versioning).send().await.unwrap();
    let table = stack.output("LedgerTableName");
    time_to_live(stack, true).await;
    let recovery = PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true).build().unwrap();
    let request = stack.dynamodb.update_continuous_backups().table_name(table);
    request.point_in_time_recovery_specification(recovery).send().await.unwrap();

    for number in 0..3 {
        stack.put(&key(number), object(number)).await;
    }
    stack.drained(PATIENCE).await;
    stack.set_backfill_visibility(Duration::from_secs(20)).await;
    stack.invoke_backfill("{}").await;
    let run = stack.records().runs(1).await.unwrap().remove(0);
    stack.run_ended(&run.id, PATIENCE).await;

    let now = Timestamp::now().as_second();
    let noon_of_yesterday = now - now.rem_euclid(86_400) - 43_200;
    let (function, stream) = (stack.output("IngestFunctionName"), stack.output("DeliveryStreamName"));
    metric(stack, "trailhose", "EventsDelivered", ("Function", function), 3.0, now - 600).await;
    metric(stack, "trailhose", "Lag", ("Function", function), 240.0, now - 600).await;
    metric(stack, "trailhose", "BreakerOpen", ("Function", function), 0.0, now - 600).await;
    metric(stack, "AWS/Lambda", "Invocations", ("FunctionName", function), 3.0, now - 600).await;
    metric(stack, "AWS/Lambda", "ConcurrentExecutions", ("FunctionName", function), 2.0, noon_of_yesterday).await;
    metric(stack, "AWS/DynamoDB", "ConsumedWriteCapacityUnits", ("TableName", table), 600.0, noon_of_yesterday).await;
    metric(stack, "AWS/Firehose", "DeliveryToS3.DataFreshness", ("DeliveryStreamName", stream), 120.0, now - 600).await;
    for (name, value) in [("IncomingBytes", 6e6), ("IncomingRecords", 600.0), ("IncomingPutRequests", 60.0)] {
        metric(stack, "AWS/Firehose", name, ("DeliveryStreamName", stream), value, noon_of_yesterday).await;
    }
}

async fn time_to_live(stack: &Stack, enabled: bool) {
    let setting = TimeToLiveSpecification::builder().enabled(enabled).attribute_name("expires").build().unwrap();
    let request = stack.dynamodb.update_time_to_live().table_name(stack.output("LedgerTableName"));
    request.time_to_live_specification(setting).send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_deployment_has_no_failure_and_each_fault_is_named() {
    let stack = Stack::deploy_with(&bed::lambda_program("ingest"), &[&format!("AlarmTopicArn={TOPIC}")]).await;
    prepare(&stack).await;
    let stand_in = StandIn::start(&json!({ "service-quotas": { "ListServiceQuotas": {
        "Quotas": [{ "QuotaName": "Table-level write throughput limit", "Value": 80_000.0 }]
    } } }));
    let mut policy = documented_policy();
    policy["Statement"][0]["Action"].as_array_mut().unwrap().push(json!("lambda:PutFunctionConcurrency"));
    let operator = user(&stack, "operator", &policy).await;
    let arguments = ["--stack", "trailhose", "--timeout", "60"];
    let (sound, exit_code) = doctor(&stack, &operator, &stand_in.endpoint(), &arguments);
    let statuses: BTreeMap<&str, &str> = sound
        .iter()
        .filter(|(_, finding)| !matches!(finding["status"].as_str().unwrap(), "ok"))
        .map(|(id, finding)| (id.as_str(), finding["status"].as_str().unwrap()))
        .collect();
    // The stack is deployed with BackfillState=DISABLED, the emulator's CloudTrail delivers nothing, and its bucket has
    // no object lock.
    let warnings = ["backfill.schedule", "bucket.lock", "trail.delivery"].map(|id| (id, "warning"));
    // `tests/deploy_detect.rs` examines a stack with detection.
    let absent = ["detection.alerts", "detection.destinations", "detection.rules"].map(|id| (id, "not-applicable"));
    let expected: BTreeMap<_, _> = warnings.into_iter().chain(absent).collect();
    assert_eq!(statuses, expected, "{sound:#?}");
    assert_eq!(exit_code, 0);
    let strict = [&arguments[..], &["--strict"]].concat();
    assert_eq!(doctor(&stack, &operator, &stand_in.endpoint(), &strict).1, 1);
    let accepted = ["--skip", "backfill.schedule", "--skip", "bucket.lock", "--skip", "trail.delivery"];
    let skip = [&strict[..], &accepted].concat();
    assert_eq!(doctor(&stack, &operator, &stand_in.endpoint(), &skip).1, 0);
    let text = sound["quota.table-writes"].to_string();
    assert!(text.contains("10.0 of 80000 write units/s (0.0 %, quota of the account)"), "{text}");

    let bed = Bed { stack, operator, stand_in, sound, missed: Mutex::default() };
    configuration_faults(&bed).await;
    delivery_faults(&bed).await;
    operator_faults(&bed, &policy).await;
    trail_that_cannot_deliver(&bed).await;
    deletions(&bed).await;
    assert_eq!(bed.stand_in.violations().await, json!([]));
    let missed = bed.missed.lock().unwrap();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// Faults of the configuration. Each is undone.
async fn configuration_faults(bed: &Bed) {
    let Bed { stack, .. } = bed;
    let config = stack.config();

    let document = stack.take_policy("deliver-events").await;
    bed.expect(
        "a permission of the function is removed",
        &[("role.ingest", "failed", "denied: firehose:PutRecordBatch on arn:aws:firehose:")],
    );
    stack.give_policy("deliver-events", &document).await;

    let queue = stack.output("IngestQueueUrl");
    let attributes = stack.sqs.get_queue_attributes().queue_url(queue).attribute_names(QueueAttributeName::Policy);
    let policy = attributes.send().await.unwrap().attributes.unwrap()[&QueueAttributeName::Policy].clone();
    let set = async |policy: &str| {
        stack
            .sqs
            .set_queue_attributes()
            .queue_url(queue)
            .attributes(QueueAttributeName::Policy, policy)
            .send()
            .await
            .unwrap();
    };
    set("").await;
    bed.expect("the policy of the queue is removed", &[("queue.policy", "failed", "deploy the stack again")]);
    set(&policy).await;

    let lambda = aws_sdk_lambda::Client::new(&config);
    let name = stack.output("IngestFunctionName");
    let mappings = lambda.list_event_source_mappings().function_name(name).send().await.unwrap();
    let mapping = mappings.event_source_mappings()[0].uuid().unwrap();
    lambda.update_event_source_mapping().uuid(mapping).enabled(false).send().await.unwrap();
    bed.expect("a mapping is disabled", &[("function.mappings", "failed", "Disabled")]);
    lambda.update_event_source_mapping().uuid(mapping).enabled(true).send().await.unwrap();

    time_to_live(stack, false).await;
    bed.expect("the time to live is disabled", &[("ledger.ttl", "failed", "update-time-to-live")]);
    time_to_live(stack, true).await;

    let trails = aws_sdk_cloudtrail::Client::new(&config);
    trails.stop_logging().name(TRAIL).send().await.unwrap();
    bed.expect("the trail is stopped", &[("trail.logging", "failed", "start-logging")]);
    trails.start_logging().name(TRAIL).send().await.unwrap();

    let sns = aws_sdk_sns::Client::new(&config);
    let subscriptions = sns.list_subscriptions_by_topic().topic_arn(TOPIC).send().await.unwrap();
    let subscription = subscriptions.subscriptions()[0].clone();
    sns.unsubscribe().subscription_arn(subscription.subscription_arn().unwrap()).send().await.unwrap();
    bed.expect("the topic has no subscription", &[("alarm.subscriptions", "warning", "has no subscription")]);
    let subscribe = sns.subscribe().topic_arn(TOPIC).protocol("sqs");
    subscribe.endpoint(subscription.endpoint().unwrap()).send().await.unwrap();

    lambda.put_function_concurrency().function_name(name).reserved_concurrent_executions(0).send().await.unwrap();
    bed.expect("the function may not run", &[("function.concurrency", "failed", "reserved concurrency is 0")]);
    lambda.delete_function_concurrency().function_name(name).send().await.unwrap();

    let role = stack.output("BackfillRoleArn");
    let deny = json!({ "Version": "2012-10-17", "Statement": [{
        "Sid": "Closed", "Effect": "Deny", "Principal": { "AWS": role }, "Action": "s3:ListBucket",
        "Resource": format!("arn:aws:s3:::{LOG_BUCKET}")
    }] });
    stack.s3.put_bucket_policy().bucket(LOG_BUCKET).policy(deny.to_string()).send().await.unwrap();
    bed.expect("the bucket's policy denies a role", &[("bucket.policy", "failed", "Closed denies s3:ListBucket")]);
    stack.s3.delete_bucket_policy().bucket(LOG_BUCKET).send().await.unwrap();

    let key = ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::AwsKms);
    let rule = ServerSideEncryptionRule::builder();
    let rule = rule.apply_server_side_encryption_by_default(key.kms_master_key_id(KEY).build().unwrap()).build();
    let encryption = ServerSideEncryptionConfiguration::builder().rules(rule).build().unwrap();
    let put = stack.s3.put_bucket_encryption().bucket(LOG_BUCKET);
    put.server_side_encryption_configuration(encryption).send().await.unwrap();
    bed.expect("objects have a key that is no parameter", &[("bucket.key", "failed", "but LogBucketKeyArn is empty")]);
    stack.s3.delete_bucket_encryption().bucket(LOG_BUCKET).send().await.unwrap();

    let now = Timestamp::now().as_second();
    let table = stack.output("LedgerTableName");
    set_schema_version(stack, "2").await;
    bed.expect(
        "a newer version wrote the ledger",
        &[
            ("ledger.schema", "failed", "version 2; this version of trailhose reads up to 1"),
            ("delivery.sample", "failed", "(schema version 2; this version reads up to 1): update trailhose"),
        ],
    );
    set_schema_version(stack, "1").await;
    metric(stack, "AWS/DynamoDB", "WriteThrottleEvents", ("TableName", table), 7.0, now - 300).await;
    bed.expect("the table was throttled", &[("ledger.throttling", "warning", "7 throttled writes")]);
    metric(stack, "AWS/DynamoDB", "WriteThrottleEvents", ("TableName", table), -7.0, now - 300).await;
}

async fn set_schema_version(stack: &Stack, version: &str) {
    let put = stack.dynamodb.put_item().table_name(stack.output("LedgerTableName"));
    let put = put.item("pk", AttributeValue::S("schema".into())).item("version", AttributeValue::N(version.into()));
    put.send().await.unwrap();
}

/// Faults of the delivery.
async fn delivery_faults(bed: &Bed) {
    let Bed { stack, .. } = bed;
    stack.unwire().await;
    stack.put(&key(7), object(7)).await;
    bed.expect(
        "the notification is removed, and an object arrives",
        &[
            ("bucket.notification", "failed", "trailhose wire --stack trailhose"),
            ("delivery.sample", "failed", &key(7)),
        ],
    );
    stack.wire();
    stack.put(&key(7), object(7)).await;
    stack.drained(PATIENCE).await;

    let queue = stack.output("DeadLetterQueueUrl");
    let reason = MessageAttributeValue::builder().data_type("String").string_value("unknown format").build().unwrap();
    let send =
        stack.sqs.send_message().queue_url(queue).message_body("x").message_attributes("trailhose_reason", reason);
    send.send().await.unwrap();
    bed.expect(
        "a dead letter",
        &[("delivery.dead-letters", "failed", "1 message in the dead-letter queue; first reasons: 1× unknown format")],
    );
    assert_eq!(stack.dead_letters().await, ["x"], "the message is still visible");
    stack.sqs.purge_queue().queue_url(queue).send().await.unwrap();

    stack.put(&key(8), "damaged").await;
    stack.drained(PATIENCE).await;
    bed.expect("an object is quarantined", &[("delivery.quarantine", "failed", &key(8))]);
}

/// Missing permissions of the operator, a service that does not answer, and a stack that does not exist.
async fn operator_faults(bed: &Bed, policy: &Value) {
    let Bed { stack, stand_in, .. } = bed;
    let mut limited = policy.clone();
    let actions = limited["Statement"][0]["Action"].as_array_mut().unwrap();
    actions.retain(|action| action != "firehose:DescribeDeliveryStream");
    let limited = user(stack, "limited", &limited).await;
    let (found, _) = doctor(stack, &limited, &stand_in.endpoint(), &["--stack", "trailhose", "--timeout", "60"]);
    let denied: Vec<_> = found.values().filter(|finding| finding["status"] == "not-permitted").collect();
    let ids: BTreeSet<_> = denied.iter().map(|finding| finding["id"].as_str().unwrap()).collect();
    assert_eq!(ids, BTreeSet::from(["stream.encryption", "stream.state"]), "{denied:?}");
    let permission = json!({
        "action": "firehose:DescribeDeliveryStream", "resource": stack.output("DeliveryStreamName"),
    });
    assert_eq!(denied[0]["permission"], permission);

    let silent = Stub::start(|_| Reply::Silence(Duration::from_secs(60)));
    let start = Instant::now();
    let only_table = ["--table", stack.output("LedgerTableName"), "--timeout", "5"];
    let (found, exit_code) = doctor(stack, &bed.operator, &silent.endpoint(), &only_table);
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
    let finding = &found["quota.table-writes"];
    assert_eq!((finding["status"].as_str(), exit_code), (Some("failed"), 1));
    assert!(finding["found"].as_str().unwrap().ends_with("no answer within 5 s"), "{finding}");
    assert_eq!(found["ledger.table"]["status"], "ok", "{}", found["ledger.table"]);
    assert_eq!(found["bucket.region"]["status"], "not-applicable");
}

/// States that the emulator does not have: CloudTrail's error of a delivery, advanced event selectors, and a key with
/// grants. The stand-in
/// validates the requests with botocore's model.
async fn trail_that_cannot_deliver(bed: &Bed) {
    let arn = "arn:aws:cloudtrail:us-east-1:111122223333:trail/all";
    let trail = json!({
        "Name": "all", "TrailARN": arn, "S3BucketName": LOG_BUCKET, "HomeRegion": "us-east-1", "IsMultiRegionTrail": true,
        "IncludeGlobalServiceEvents": true, "LogFileValidationEnabled": false, "IsOrganizationTrail": false,
    });
    let field = |name: &str, value: &str| json!({ "Field": name, "Equals": [value] });
    let selectors = [
        json!({ "FieldSelectors": [field("eventCategory", "Management"), field("readOnly", "false")] }),
        json!({ "FieldSelectors": [field("eventCategory", "Data"), field("resources.type", "AWS::S3::Object")] }),
    ];
    let stand_in = StandIn::start(&json!({ "cloudtrail": {
        "DescribeTrails": { "trailList": [trail] },
        "GetTrailStatus": { "IsLogging": true, "LatestDeliveryError": "AccessDenied" },
        "GetEventSelectors": { "TrailARN": arn, "AdvancedEventSelectors": selectors },
    }, "kms": {
        "DescribeKey": { "KeyMetadata": { "KeyId": KEY, "KeyState": "Enabled", "KeyManager": "CUSTOMER" } },
        "GetKeyPolicy": { "Policy": json!({ "Statement": [] }).to_string() },
        "ListGrants": { "Grants": [{ "GranteePrincipal": KEY, "Operations": ["Decrypt"] }], "Truncated": false },
    } }));
    let output = Command::new(env!("CARGO_BIN_EXE_trailhose"))
        .args(["doctor", "--json", "--bucket", LOG_BUCKET, "--key", KEY, "--timeout", "60"])
        .env_clear()
        .env("AWS_ENDPOINT_URL", bed.stack.config().endpoint_url().unwrap())
        .env("AWS_ENDPOINT_URL_CLOUDTRAIL", stand_in.endpoint())
        .env("AWS_ENDPOINT_URL_KMS", stand_in.endpoint())
        .env("AWS_REGION", bed::REGION)
        .envs(bed.operator.iter().map(|(name, value)| (*name, value.as_str())))
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let status = |id: &str| {
        let findings = report["findings"].as_array().unwrap();
        let finding = findings.iter().find(|finding| finding["id"] == id).unwrap();
        (finding["status"].as_str().unwrap().to_owned(), finding["found"].as_str().unwrap().to_owned())
    };
    assert_eq!(status("trail.delivery"), ("failed".into(), format!("{arn}: the last delivery failed: AccessDenied")));
    assert_eq!(status("bucket.key"), ("ok".into(), format!("{KEY} is enabled and allows the roles")));
    assert_eq!(status("trail.organization").0, "warning");
    assert_eq!(status("trail.validation").0, "warning");
    let found = "management events that only read are excluded; data events of AWS::S3::Object";
    assert_eq!(status("trail.events"), ("warning".into(), found.into()));
    assert_eq!(stand_in.violations().await, json!([]));
}

/// Resources that are deleted, last.
async fn deletions(bed: &Bed) {
    let Bed { stack, .. } = bed;
    let firehose = aws_sdk_firehose::Client::new(&stack.config());
    firehose.delete_delivery_stream().delivery_stream_name(stack.output("DeliveryStreamName")).send().await.unwrap();
    stack.dynamodb.delete_table().table_name(stack.output("LedgerTableName")).send().await.unwrap();
    let found = bed.examine();
    for id in ["stream.state", "ledger.table", "ledger.ttl", "delivery.sample", "delivery.quarantine", "backfill.run"] {
        assert_eq!(found[id]["status"], "failed", "{}", found[id]);
    }
    assert!(found["stream.state"]["found"].as_str().unwrap().contains("does not exist"), "{}", found["stream.state"]);
    assert!(found["ledger.table"]["found"].as_str().unwrap().contains("does not exist"), "{}", found["ledger.table"]);
}

#[test]
fn page_lists_every_check_with_its_permissions() {
    let page = std::fs::read_to_string(bed::root().join("docs/doctor.md")).unwrap();
    for (_, title) in GROUPS {
        assert!(page.contains(&format!("### {title}\n")), "{title}");
    }
    let mut actions = BTreeSet::new();
    for check in CHECKS {
        let rows: Vec<_> = page.lines().filter(|line| line.starts_with(&format!("| `{}` |", check.id))).collect();
        assert_eq!(rows.len(), 2, "{} has a row in the table of its group and in the table of permissions", check.id);
        let columns: Vec<_> = rows[0].split('|').map(str::trim).collect();
        assert_eq!((columns[2], columns[5]), (check.title, check.meaning), "{}", check.id);
        for action in check.actions {
            assert!(rows[1].contains(&format!("`{action}`")), "{}: {action}", check.id);
            actions.insert((*action).to_owned());
        }
    }
    let documented: BTreeSet<String> =
        serde_json::from_value(documented_policy()["Statement"][0]["Action"].clone()).unwrap();
    assert_eq!(documented, actions);
    let listed = page.lines().filter(|line| line.starts_with("| `") && line.contains(".")).count();
    assert_eq!(listed, 2 * CHECKS.len(), "the page lists a check that does not exist");
}

#[test]
fn invalid_arguments_start_nothing() {
    for (arguments, text) in [
        (&["--stack", "s", "--skip", "trail.loging"][..], "did you mean trail.logging?"),
        (&["--stack", "s", "--bucket", "b"], "cannot be used with"),
        (&[], "required"),
    ] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_trailhose")).arg("doctor").args(arguments).env_clear().output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(text), "{error}");
    }
}
