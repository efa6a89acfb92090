//! The template with every option, deployed once: alarms, dashboard, encryption, roles, network and lake.
//!
//! The emulator ignores some properties: the permissions boundary, VPC and code signing of CloudFormation, encryption and
//! lock of the bucket, and encryption of the table. It stores keys and key policies and enforces none. For these, the test
//! evaluates the template (`tests/template/resolve.rs`) and compares the properties that CloudFormation would pass to the
//! services. cfn-lint, a step of `./test`, compares the properties with the schemas of the resources.

mod bed;
#[path = "template/lake.rs"]
mod lake;
#[path = "template/metrics.rs"]
mod metrics;
#[path = "template/resolve.rs"]
mod resolve;

use aws_sdk_cloudformation::types::{Capability, Parameter, TemplateStage};
use aws_sdk_sqs::types::QueueAttributeName;
use bed::stack::lake::{each_once, id};
use bed::stack::{LOG_BUCKET, Stack};
use metrics::Existing;
use resolve::Resolved;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use trailhose::billing::price::{Item, LIST_PRICES};
use trailhose::telemetry::{backfill_metric_names, detect_metric_names, ingest_metric_names};

const PATIENCE: Duration = Duration::from_secs(420);

/// Every option of the template that changes resources.
const OPTIONS: [(&str, &str); 23] = [
    ("AlarmEmail", "security@example.com"),
    ("NoObjectsHours", "2"),
    ("EncryptionKey", "create"),
    ("RolePath", "/trailhose/"),
    ("PermissionsBoundaryArn", "arn:aws:iam::000000000000:policy/boundary"),
    ("SubnetIds", "subnet-0123456789abcdef0,subnet-0123456789abcdef1"),
    ("SecurityGroupIds", "sg-0123456789abcdef0"),
    ("CodeSigningConfigArn", "arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-0123456789abcdef0"),
    ("LakeVersioning", "true"),
    ("LakeLockMode", "GOVERNANCE"),
    ("LakeLockDays", "30"),
    ("LakeTransitionDays", "31"),
    ("LakeExpirationDays", "400"),
    ("LakeAccessLogBucketName", "access-logs"),
    ("WireBucket", "true"),
    ("RulesLocation", "s3://security-rules/trailhose"),
    ("AlertTopicArns", "arn:aws:sns:us-east-1:000000000000:alerts,arn:aws:sns:us-east-1:000000000000:more-alerts"),
    ("AlertBusArn", "arn:aws:events:us-east-1:000000000000:event-bus/default"),
    ("AlertSlackSecretArn", "arn:aws:ssm:us-east-1:000000000000:parameter/trailhose/slack"),
    ("AlertWindow", "1d"),
    ("AlertCloseAfter", "90m"),
    ("FindingDays", "0"),
    ("AlertSecretKeyArns", "arn:aws:kms:us-east-1:000000000000:key/0123abcd-0123-abcd-0123-0123abcd0123"),
];

const QUEUES: [&str; 9] = [
    "IngestQueueUrl",
    "DeferredQueueUrl",
    "DeadLetterQueueUrl",
    "BackfillQueueUrl",
    "BackfillDeadLetterQueueUrl",
    "BackfillIngestQueueUrl",
    "BackfillIngestDeadLetterQueueUrl",
    "DetectQueueUrl",
    "DetectDeadLetterQueueUrl",
];

#[tokio::test]
async fn stack_with_every_option_works() {
    let options: Vec<_> = OPTIONS.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let stack = Stack::deploy_with(&bed::lambda_program("ingest"), &options).await;
    for number in 0..3 {
        stack.put(&key(number), object(number)).await;
    }
    stack.drained(PATIENCE).await;
    assert_eq!(stack.lake().await, each_once(0..3), "{}", stack.log_tail());
    stack.invoke_backfill("{}").await;
    stack.run_detect_schedule().await;

    lake::reader_can_query(&stack).await;
    alarms_and_dashboard_use_existing_metrics(&stack).await;
    options_reach_the_services(&stack).await;
    let template = template(&stack, TemplateStage::Processed).await;
    let template: Value = serde_json::from_str(&template).unwrap();
    options_are_passed_to_every_resource(&template);
    defaults_pass_no_option(&template);
    key_policy_is_that_of_the_file(&template);
    alarms_are_documented(&template);
    impossible_combinations_are_refused(&stack).await;
}

/// A CloudTrail object with one event.
fn object(number: u32) -> String {
    let event = json!({
        "eventVersion": "1.11",
        "eventTime": "2026-11-20T10:00:00Z",
        "awsRegion": "eu-west-1",
        "recipientAccountId": "111122223333",
        "eventID": id(number),
    });
    json!({ "Records": [event] }).to_string()
}

fn key(number: u32) -> String {
    format!(
        "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/11/20/\
         111122223333_CloudTrail_eu-west-1_20261120T1000Z_{number:016}.json"
    )
}

/// The name in a queue's URL.
fn queue_name(url: &str) -> String {
    url.rsplit('/').next().unwrap().to_owned()
}

/// The metrics are those of the list in `src/telemetry.rs`, and the functions wrote exactly this list.
async fn alarms_and_dashboard_use_existing_metrics(stack: &Stack) {
    let functions = BTreeMap::from([
        (stack.output("IngestFunctionName").to_owned(), ingest_metric_names()),
        (stack.output("BackfillFunctionName").to_owned(), backfill_metric_names()),
        (stack.output("DetectFunctionName").to_owned(), detect_metric_names()),
    ]);
    // The emulator adds the output of a function to its log after the invocation.
    let start = Instant::now();
    let mut written = metrics::written(&stack.log());
    while functions.keys().any(|function| written.iter().all(|metric| metric[3] != *function)) {
        assert!(start.elapsed() < PATIENCE, "a function wrote no metrics:\n{}", stack.log_tail());
        tokio::time::sleep(Duration::from_millis(200)).await;
        written = metrics::written(&stack.log());
    }
    for (function, names) in &functions {
        let of_function = written.iter().filter(|metric| metric[3] == *function);
        let mut found: BTreeSet<_> = of_function.map(|metric| &*metric[1]).collect();
        // Written only while an object is unfinished. `tests/deploy.rs` simulates an outage.
        found.extend(names.iter().filter(|name| **name == "OldestUnfinishedAge"));
        assert_eq!(found, names.iter().copied().collect(), "{function}");
    }
    let queues: Vec<_> = QUEUES.iter().map(|name| queue_name(stack.output(name))).collect();
    let existing = Existing::new(&functions, &queues, stack.output("DeliveryStreamName"));
    existing.assert_contain("the run", &written.into_iter().collect::<Vec<_>>());

    let cloudwatch = aws_sdk_cloudwatch::Client::new(&stack.config());
    let alarms = cloudwatch.describe_alarms().max_records(100).send().await.unwrap();
    let topic = stack.output("AlarmNotifications");
    for alarm in alarms.metric_alarms() {
        let name = alarm.alarm_name().unwrap();
        let metric =
            |namespace: Option<&str>, metric: Option<&str>, dimensions: &[aws_sdk_cloudwatch::types::Dimension]| {
                let [dimension] = dimensions else { panic!("{name}: {dimensions:?}") };
                [namespace, metric, dimension.name(), dimension.value()].map(|part| part.unwrap().to_owned())
            };
        let used = metric(alarm.namespace(), alarm.metric_name(), alarm.dimensions());
        existing.assert_contain(name, &[used]);
        assert_eq!(
            (alarm.alarm_actions(), alarm.ok_actions()),
            (&[topic.to_owned()][..], &[topic.to_owned()][..]),
            "{name}"
        );
    }
    assert_eq!(alarms.metric_alarms().len(), 26);
    let page = std::fs::read_to_string(bed::root().join("docs/cost.md")).unwrap();
    for (count, of) in [
        (ingest_metric_names().len(), "metrics of the ingest function"),
        (backfill_metric_names().len(), "metrics of the backfill function"),
        (detect_metric_names().len(), "metrics of the detect function"),
        (alarms.metric_alarms().len() - 8, "alarms"),
        (8, "alarms of the detection"),
    ] {
        assert!(page.contains(&format!("| {count} {of} |")), "docs/cost.md has another number than {count} {of}");
    }

    let (_, dashboard) = stack.output("DashboardUrl").rsplit_once('/').unwrap();
    let body = cloudwatch.get_dashboard().dashboard_name(dashboard).send().await.unwrap();
    let widgets = metrics::widgets(body.dashboard_body().unwrap());
    for widget in &widgets {
        existing.assert_contain(&widget.title, &widget.metrics);
    }
    assert!(widgets.len() >= 13, "{}", widgets.len());
    cost_uses_list_prices(&widgets);
}

fn cost_uses_list_prices(widgets: &[metrics::Widget]) {
    let cost = widgets.iter().find(|widget| !widget.expressions.is_empty()).unwrap();
    let formula = cost.expressions.join("; ");
    let numbers: BTreeSet<_> =
        formula.split(|character: char| !(character.is_ascii_digit() || character == '.')).collect();
    for price in LIST_PRICES {
        // The dashboard does not estimate storage and the requests of Firehose to S3.
        if matches!(price.item, Item::LedgerStorage | Item::S3Put) {
            continue;
        }
        assert!(numbers.contains(&*price.dollars.to_string()), "{:?} is not in {formula}", price.item);
    }
}

/// What the emulator stores of the options.
async fn options_reach_the_services(stack: &Stack) {
    let key = stack.output("EncryptionKeyArn");
    for queue in QUEUES {
        let asked = stack.sqs.get_queue_attributes().queue_url(stack.output(queue));
        let got = asked.attribute_names(QueueAttributeName::All).send().await.unwrap();
        assert_eq!(got.attributes().unwrap()[&QueueAttributeName::KmsMasterKeyId], key, "{queue}");
    }
    let lake = stack.output("LakeBucketName");
    let versioning = stack.s3.get_bucket_versioning().bucket(lake).send().await.unwrap();
    assert_eq!(versioning.status().unwrap().as_str(), "Enabled");
    for role in ["IngestRoleArn", "BackfillRoleArn", "DetectRoleArn"] {
        assert!(stack.output(role).contains(":role/trailhose/"), "{}", stack.output(role));
    }
    let sns = aws_sdk_sns::Client::new(&stack.config());
    let topic = stack.output("AlarmNotifications");
    let subscriptions = sns.list_subscriptions_by_topic().topic_arn(topic).send().await.unwrap();
    let [subscription] = subscriptions.subscriptions() else { panic!("{subscriptions:?}") };
    assert_eq!((subscription.protocol(), subscription.endpoint()), (Some("email"), Some("security@example.com")));
    let kms = aws_sdk_kms::Client::new(&stack.config());
    let policy = kms.get_key_policy().key_id(key).policy_name("default").send().await.unwrap();
    let policy: Value = serde_json::from_str(policy.policy().unwrap()).unwrap();
    let names: Vec<_> = policy["Statement"].as_array().unwrap().iter().map(|statement| &statement["Sid"]).collect();
    assert_eq!(names, ["AllowAccount", "AllowLogBucket", "AllowRule", "AllowLogs", "AllowAlarms", "AllowQueryResults"]);
    let rotation = kms.get_key_rotation_status().key_id(key).send().await.unwrap();
    assert!(rotation.key_rotation_enabled());
}

/// What CloudFormation passes to the services, for all resources of a kind, including those that a later change adds.
fn options_are_passed_to_every_resource(template: &Value) {
    let resolved = Resolved::new(template, &OPTIONS);
    let key = json!({ "Fn::GetAtt": ["Key", "Arn"] });
    let all = |kind: &str, path: &str, expected: Value| {
        let resources = resolved.resources(kind);
        assert!(!resources.is_empty(), "{kind}");
        for (id, properties) in resources {
            assert_eq!(properties.pointer(path), Some(&expected), "{id}{path}");
        }
    };
    all("AWS::SQS::Queue", "/KmsMasterKeyId", key.clone());
    all("AWS::Logs::LogGroup", "/KmsKeyId", key.clone());
    all("AWS::DynamoDB::Table", "/SSESpecification/KMSMasterKeyId", key.clone());
    all("AWS::SNS::Topic", "/KmsMasterKeyId", key.clone());
    all("AWS::IAM::Role", "/Path", "/trailhose/".into());
    all("AWS::IAM::Role", "/PermissionsBoundary", "arn:aws:iam::000000000000:policy/boundary".into());
    let subnets = json!(["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]);
    let functions = resolved.resources("AWS::Lambda::Function");
    for function in ["IngestFunction", "BackfillFunction", "DetectFunction"] {
        let expected = json!({ "SubnetIds": subnets, "SecurityGroupIds": ["sg-0123456789abcdef0"] });
        assert_eq!(functions[function]["VpcConfig"], expected);
    }
    all("AWS::Lambda::Function", "/CodeSigningConfigArn", OPTIONS[7].1.into());
    let variables = &functions["DetectFunction"]["Environment"]["Variables"];
    let names = ["TRAILHOSE_ALERT_WINDOW", "TRAILHOSE_ALERT_CLOSE_AFTER", "TRAILHOSE_FINDING_DAYS"];
    assert_eq!(names.map(|name| variables[name].as_str()), [Some("1d"), Some("90m"), Some("0")]);

    let stream = resolved.resource("AWS::KinesisFirehose::DeliveryStream");
    let expected = json!({ "KeyType": "CUSTOMER_MANAGED_CMK", "KeyARN": key });
    assert_eq!(stream["DeliveryStreamEncryptionConfigurationInput"], expected);
    let lake = resolved.resource("AWS::S3::Bucket");
    let encryption = json!([{
        "ServerSideEncryptionByDefault": { "SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key },
        "BucketKeyEnabled": true,
    }]);
    assert_eq!(lake["BucketEncryption"]["ServerSideEncryptionConfiguration"], encryption);
    assert_eq!(lake["VersioningConfiguration"]["Status"], "Enabled");
    assert_eq!(lake["ObjectLockEnabled"], true);
    let retention = json!({ "Mode": "GOVERNANCE", "Days": "30" });
    assert_eq!(lake["ObjectLockConfiguration"]["Rule"]["DefaultRetention"], retention);
    assert_eq!(lake["LoggingConfiguration"]["DestinationBucketName"], "access-logs");
    let rules = lake["LifecycleConfiguration"]["Rules"].as_array().unwrap();
    assert_eq!(rules[1]["Transitions"], json!([{ "StorageClass": "GLACIER_IR", "TransitionInDays": "31" }]));
    assert_eq!(rules[2]["ExpirationInDays"], "400");
    assert_eq!(rules[2]["NoncurrentVersionExpiration"]["NoncurrentDays"], 1);

    // The policies that these options add to roles.
    let roles = resolved.resources("AWS::IAM::Role");
    let policies = |role: &str| -> Vec<_> {
        let policies = roles[role]["Policies"].as_array().unwrap().iter();
        policies.filter_map(|policy| policy["PolicyName"].as_str()).filter(|name| name.starts_with("use-")).collect()
    };
    let found = ["IngestRole", "BackfillRole", "DetectRole", "BackfillTimerRole", "StreamRole"].map(policies);
    let both = || vec!["use-key", "use-vpc"];
    assert_eq!(found, [both(), both(), both(), vec!["use-key"], vec!["use-key"]]);
    let publish = roles["DetectRole"]["Policies"].as_array().unwrap().iter();
    let publish = publish.clone().find(|policy| policy["PolicyName"] == "publish-alerts").unwrap();
    assert_eq!(publish["PolicyDocument"]["Statement"][0]["Resource"].as_array().unwrap().len(), 2);
    assert_eq!(lake["NotificationConfiguration"]["EventBridgeConfiguration"]["EventBridgeEnabled"], true);

    // A key of the user instead of one of the stack.
    let own = "arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-4000-8000-000000000000";
    let with_own = Resolved::new(template, &[("EncryptionKey", own)]);
    assert!(with_own.resources("AWS::KMS::Key").is_empty());
    assert!(with_own.resources("AWS::SQS::Queue").values().all(|queue| queue["KmsMasterKeyId"] == own));
}

/// Without options, the properties are absent and the stack uses keys of AWS.
fn defaults_pass_no_option(template: &Value) {
    let resolved = Resolved::new(template, &[]);
    for kind in ["AWS::KMS::Key", "AWS::SNS::Topic", "AWS::SNS::Subscription"] {
        assert!(resolved.resources(kind).is_empty(), "{kind}");
    }
    let absent = |kind: &str, names: &[&str]| {
        for (id, properties) in resolved.resources(kind) {
            for name in names {
                assert_eq!(properties.get(name), None, "{id}");
            }
        }
    };
    absent("AWS::SQS::Queue", &["KmsMasterKeyId"]);
    absent("AWS::Logs::LogGroup", &["KmsKeyId"]);
    absent("AWS::IAM::Role", &["PermissionsBoundary"]);
    absent("AWS::Lambda::Function", &["VpcConfig", "CodeSigningConfigArn"]);
    absent("AWS::CloudWatch::Alarm", &["AlarmActions", "OKActions"]);
    let optional = ["VersioningConfiguration", "ObjectLockEnabled", "ObjectLockConfiguration", "LoggingConfiguration"];
    absent("AWS::S3::Bucket", &optional);
    absent("AWS::S3::Bucket", &["NotificationConfiguration"]);
    for resource in ["AWS::SQS::Queue", "AWS::Lambda::Function", "AWS::DynamoDB::Table", "AWS::IAM::Role"] {
        let of_detection = |id: &String| id.starts_with("Detect") || id == "Findings";
        assert!(!resolved.resources(resource).keys().any(of_detection), "{resource}: without RulesLocation");
    }
    let queues = resolved.resources("AWS::SQS::Queue");
    assert!(queues.values().all(|queue| queue["SqsManagedSseEnabled"] == true));
    assert!(resolved.resources("AWS::IAM::Role").values().all(|role| role["Path"] == "/"));
    let lake = resolved.resource("AWS::S3::Bucket");
    assert_eq!(lake["LifecycleConfiguration"]["Rules"].as_array().unwrap().len(), 1);
    let stream = resolved.resource("AWS::KinesisFirehose::DeliveryStream");
    assert_eq!(stream["DeliveryStreamEncryptionConfigurationInput"], json!({ "KeyType": "AWS_OWNED_CMK" }));
    assert!(resolved.output("AlarmNotifications").starts_with("none: the alarms send no notification"));
}

/// `infra/stack-key-policy.json`, for a key of the user, contains the statements of the key that the stack creates.
fn key_policy_is_that_of_the_file(template: &Value) {
    let topic = "arn:aws:sns:eu-west-1:444455556666:new-objects";
    let mut statements = BTreeMap::new();
    for wiring in ["S3", "SNS", "EventBridge"] {
        let parameters = [("Wiring", wiring), ("SnsTopicArn", topic), ("LogBucketAccountId", "777788889999")];
        let key = [("EncryptionKey", "create"), ("AlarmEmail", "security@example.com")];
        let resolved = Resolved::new(template, &[&parameters[..], &key].concat());
        let policy = resolved.resource("AWS::KMS::Key");
        for statement in policy["KeyPolicy"]["Statement"].as_array().unwrap() {
            statements.insert(statement["Sid"].as_str().unwrap().to_owned(), statement.clone());
        }
    }
    statements.remove("AllowAccount");
    let mut file = std::fs::read_to_string(bed::root().join("infra/stack-key-policy.json")).unwrap();
    for (placeholder, value) in [
        ("LOG_BUCKET_ACCOUNT_ID", "777788889999"),
        ("TOPIC_ACCOUNT_ID", "444455556666"),
        ("ACCOUNT_ID", "111122223333"),
        ("PARTITION", "aws"),
        ("DNS_SUFFIX", "amazonaws.com"),
        ("REGION", "eu-west-1"),
    ] {
        assert!(file.contains(placeholder), "{placeholder}");
        file = file.replace(placeholder, value);
    }
    let file: Vec<Value> = serde_json::from_str(&file).unwrap();
    assert_eq!(file.len(), statements.len());
    for statement in file {
        assert_eq!(Some(&statement), statements.get(statement["Sid"].as_str().unwrap()));
    }
}

/// The table in `docs/deploy.md` contains every alarm, and no other.
fn alarms_are_documented(template: &Value) {
    let page = std::fs::read_to_string(bed::root().join("docs/deploy.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).map(|(name, _)| name);
    let documented: BTreeSet<_> = rows.filter(|name| name.ends_with("Alarm")).map(str::to_owned).collect();
    let alarms = Resolved::new(template, &OPTIONS).resources("AWS::CloudWatch::Alarm");
    assert_eq!(documented, alarms.into_keys().collect());
}

/// The rules of the template refuse these parameters, and name the reason.
async fn impossible_combinations_are_refused(stack: &Stack) {
    let cloudformation = aws_sdk_cloudformation::Client::new(&stack.config());
    let body = template(stack, TemplateStage::Original).await;
    stack.s3.put_object().bucket("artifacts").key("template").body(body.into_bytes().into()).send().await.unwrap();
    let topic = "arn:aws:sns:us-east-1:111122223333:alarms";
    let stream = [("StreamName", "own"), ("OversizeBucketName", "own")];
    let cases: [(&[(&str, &str)], &str); 14] = [
        (&[stream[0], stream[1], ("RulesLocation", "s3://rules/set")], "RulesLocation with StreamName requires"),
        (&[("AlarmEmail", "security@example.com"), ("AlarmTopicArn", topic)], "Set either AlarmEmail or AlarmTopicArn"),
        (&[stream[0], stream[1], ("LakeVersioning", "true")], "The stack creates no lake"),
        (&[stream[0], stream[1], ("LakeExpirationDays", "30")], "The stack creates no lake"),
        (&[("LakeLockMode", "COMPLIANCE"), ("LakeLockDays", "30")], "LakeLockMode requires LakeVersioning"),
        (&[("LakeLockMode", "COMPLIANCE"), ("LakeVersioning", "true")], "LakeLockMode requires LakeLockDays"),
        (&[("LakeLockDays", "30")], "LakeLockDays requires LakeLockMode"),
        (&[("SubnetIds", "subnet-0123456789abcdef0")], "SubnetIds requires SecurityGroupIds"),
        (&[("SecurityGroupIds", "sg-0123456789abcdef0")], "SecurityGroupIds requires SubnetIds"),
        (&[("EncryptionKey", "alias/own")], "EncryptionKey"),
        (&[("AlertWindow", "0s")], "AlertWindow"),
        (&[("AlertWindow", "1 hour")], "AlertWindow"),
        (&[("AlertCloseAfter", "367d")], "AlertCloseAfter"),
        (&[("FindingDays", "29")], "FindingDays"),
    ];
    for (parameters, reason) in cases {
        let mut request = cloudformation.create_stack().stack_name("refused");
        request = request.template_url("https://s3.us-east-1.amazonaws.com/artifacts/template");
        for (name, value) in [&[("LogBucketName", LOG_BUCKET)], parameters].concat() {
            request = request.parameters(Parameter::builder().parameter_key(name).parameter_value(value).build());
        }
        for capability in [Capability::CapabilityIam, Capability::CapabilityAutoExpand] {
            request = request.capabilities(capability);
        }
        let error = request.send().await.expect_err(reason).into_service_error();
        let message = error.meta().message().unwrap_or_default();
        assert!(message.contains(reason), "{parameters:?}: {message}");
    }
}

async fn template(stack: &Stack, stage: TemplateStage) -> String {
    let cloudformation = aws_sdk_cloudformation::Client::new(&stack.config());
    let got = cloudformation.get_template().stack_name("trailhose").template_stage(stage).send().await.unwrap();
    got.template_body().unwrap().to_owned()
}
