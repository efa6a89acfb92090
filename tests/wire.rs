//! The notification of a bucket: the real function `wire` under AWS's runtime interface emulator, with CloudFormation's
//! events and a local server for its answers, and the command `trailhose wire`.

mod bed;
mod laptop;

use aws_sdk_s3::types::{Event, NotificationConfiguration, QueueConfiguration};
use bed::answers::Answers;
use bed::emulator::{Emulator, LambdaEndpoint, Policies};
use bed::faults::{Fault, Faults};
use bed::runtime::Runtime;
use laptop::{Ran, trailhose_at};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Two buckets and three queues.
struct Account {
    emulator: Emulator,
    s3: aws_sdk_s3::Client,
}

fn arn(queue: &str) -> String {
    format!("arn:aws:sqs:{}:{}:{queue}", bed::REGION, bed::ACCOUNT)
}

impl Account {
    async fn new() -> Self {
        let emulator = Emulator::ministack(Policies::Ignored, LambdaEndpoint::Emulator);
        let (s3, sqs) = (aws_sdk_s3::Client::new(&emulator.config()), aws_sdk_sqs::Client::new(&emulator.config()));
        for queue in ["ingest", "audit", "copies"] {
            sqs.create_queue().queue_name(queue).send().await.unwrap();
        }
        for bucket in ["logs", "other-logs"] {
            s3.create_bucket().bucket(bucket).send().await.unwrap();
        }
        let account = Self { emulator, s3 };
        account.set(&[("audit", Event::S3ObjectRemoved)]).await;
        account
    }

    /// Replaces the rules of the bucket `logs`, each with its queue as its ID.
    async fn set(&self, rules: &[(&str, Event)]) {
        let mut config = NotificationConfiguration::builder();
        for (queue, event) in rules {
            let rule = QueueConfiguration::builder().id(*queue).queue_arn(arn(queue)).events(event.clone());
            config = config.queue_configurations(rule.build().unwrap());
        }
        let put = self.s3.put_bucket_notification_configuration().bucket("logs");
        put.notification_configuration(config.build()).send().await.unwrap();
    }

    /// Returns the rules of a bucket as `ID queue events`, without the start of the ARN.
    async fn rules(&self, bucket: &str) -> Vec<String> {
        let found = self.s3.get_bucket_notification_configuration().bucket(bucket).send().await.unwrap();
        let rule = |rule: &QueueConfiguration| {
            let events: Vec<_> = rule.events().iter().map(Event::as_str).collect();
            let queue = rule.queue_arn().rsplit(':').next().unwrap();
            format!("{} {queue} {}", rule.id().unwrap(), events.join(","))
        };
        found.queue_configurations().iter().map(rule).collect()
    }

    async fn sends_to_event_bridge(&self, bucket: &str) -> bool {
        let found = self.s3.get_bucket_notification_configuration().bucket(bucket).send().await.unwrap();
        found.event_bridge_configuration().is_some()
    }
}

/// Calls the function with an event of CloudFormation, and returns the status, the physical ID and the reason.
async fn call(
    function: &Runtime,
    answers: &Answers,
    kind: &str,
    id: Option<&str>,
    properties: Value,
) -> (String, String, String) {
    let mut event = json!({
        "RequestType": kind,
        "ResponseURL": answers.url,
        "StackId": "arn:aws:cloudformation:us-east-1:111122223333:stack/trailhose/1",
        "RequestId": "request",
        "ResourceType": "Custom::BucketNotification",
        "LogicalResourceId": "BucketNotification",
        "ResourceProperties": properties,
    });
    if let Some(id) = id {
        event["PhysicalResourceId"] = json!(id);
    }
    let result = function.invoke(&event.to_string()).await;
    assert_eq!(result, Value::Null, "{}", function.log());
    let answer = answers.take();
    assert_eq!((&answer["RequestId"], &answer["LogicalResourceId"]), (&json!("request"), &json!("BucketNotification")));
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    (text("Status"), text("PhysicalResourceId"), text("Reason"))
}

fn properties(bucket: &str, wiring: &str) -> Value {
    json!({
        "ServiceToken": "arn:aws:lambda:us-east-1:111122223333:function:wire",
        "ServiceTimeout": "600",
        "Bucket": bucket,
        "Wiring": wiring,
        "QueueArn": arn("ingest"),
        "NotificationId": "trailhose-trailhose",
    })
}

const AUDIT: &str = "audit audit s3:ObjectRemoved:*";
const OURS: &str = "trailhose-trailhose ingest s3:ObjectCreated:*";

#[tokio::test(flavor = "multi_thread")]
async fn function_answers_every_request_of_a_custom_resource() {
    let account = Account::new().await;
    let function = Runtime::start(&bed::lambda_program("wire"), &account.emulator.endpoint(), &[]);
    // CloudFormation's server does not answer at once.
    let answers = Answers::start(1).await;
    let (status, id, reason) = call(&function, &answers, "Create", None, properties("logs", "S3")).await;
    assert_eq!((status.as_str(), id.as_str()), ("SUCCESS", "rule:logs:trailhose-trailhose"), "{reason}");
    assert_eq!(account.rules("logs").await, [AUDIT, OURS]);

    let (status, moved, _) = call(&function, &answers, "Update", Some(&id), properties("other-logs", "S3")).await;
    assert_eq!((status.as_str(), moved.as_str()), ("SUCCESS", "rule:other-logs:trailhose-trailhose"));
    assert_eq!(account.rules("logs").await, [AUDIT, OURS], "CloudFormation deletes the old resource afterwards");
    assert_eq!(call(&function, &answers, "Delete", Some(&id), properties("logs", "S3")).await.0, "SUCCESS");
    assert_eq!(
        (account.rules("logs").await, account.rules("other-logs").await),
        (vec![AUDIT.into()], vec![OURS.into()])
    );

    let (status, bridge, _) =
        call(&function, &answers, "Update", Some(&moved), properties("logs", "EventBridge")).await;
    assert_eq!((status.as_str(), bridge.as_str()), ("SUCCESS", "eventbridge:logs"));
    assert_eq!(call(&function, &answers, "Delete", Some(&moved), properties("other-logs", "S3")).await.0, "SUCCESS");
    assert_eq!(
        call(&function, &answers, "Delete", Some(&bridge), properties("logs", "EventBridge")).await.0,
        "SUCCESS"
    );
    assert!(account.sends_to_event_bridge("logs").await && account.rules("other-logs").await.is_empty());

    account.set(&[("audit", Event::S3ObjectRemoved), ("copies", Event::S3ObjectCreatedPut)]).await;
    let before = account.rules("logs").await;
    let (status, id, reason) = call(&function, &answers, "Create", None, properties("logs", "S3")).await;
    assert_eq!((status.as_str(), id.as_str()), ("FAILED", "nothing:request"));
    assert!(reason.contains("rule copies (s3:ObjectCreated:Put of all keys") && reason.contains("Wiring=EventBridge"));
    assert_eq!(call(&function, &answers, "Delete", Some(&id), properties("logs", "S3")).await.0, "SUCCESS");
    assert_eq!(account.rules("logs").await, before);

    let (status, _, reason) = call(&function, &answers, "Create", None, properties("missing-logs", "S3")).await;
    assert_eq!(status, "FAILED");
    assert!(reason.starts_with("bucket missing-logs does not exist: check its name."), "{reason}");
    let missing = "rule:missing-logs:trailhose-trailhose";
    assert_eq!(call(&function, &answers, "Delete", Some(missing), properties("missing-logs", "S3")).await.0, "SUCCESS");
    let (status, _, reason) = call(&function, &answers, "Create", None, json!({"Bucket": "logs"})).await;
    assert!(status == "FAILED" && reason.contains("missing field `Wiring`"), "{reason}");
    assert!(!function.log().contains("X-Amz-Signature"), "the URL is a secret: {}", function.log());
}

/// Replaces the rules of the bucket after a write through the proxy and before it is read back.
async fn interfere(account: &Account, faults: &Faults) {
    let is_write = |call: &bed::faults::SinkCall| call.method == "PUT" && call.path.contains("notification");
    let start = Instant::now();
    while !faults.exchanges().iter().any(|exchange| is_write(&exchange.call)) {
        assert!(start.elapsed() < Duration::from_secs(60), "no write");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    account.set(&[("audit", Event::S3ObjectRemoved), ("copies", Event::S3ObjectCreatedPut)]).await;
}

/// Delays every read of the notifications except the first.
fn slow_read_back(account: &Account) -> Faults {
    let faults = Faults::before(&account.emulator);
    let mut reads = 0;
    faults.when(move |call| {
        let is_read = call.method == "GET" && call.path.contains("notification");
        reads += usize::from(is_read);
        (is_read && reads > 1).then_some(Fault::Delay(Duration::from_secs(1)))
    });
    faults
}

#[tokio::test(flavor = "multi_thread")]
async fn change_between_the_write_and_the_read_back_is_an_error() {
    let account = Account::new().await;
    let faults = slow_read_back(&account);
    let function = Runtime::start(&bed::lambda_program("wire"), &faults.endpoint(), &[]);
    let answers = Answers::start(0).await;
    let called = call(&function, &answers, "Create", None, properties("logs", "S3"));
    let ((status, id, reason), ()) = tokio::join!(called, interfere(&account, &faults));
    // The ID of a resource that exists, so that its deletion removes what was possibly added.
    assert_eq!((status.as_str(), id.as_str()), ("FAILED", "rule:logs:trailhose-trailhose"));
    for part in ["missing: rule trailhose-trailhose", "unexpected: rule copies", "Another program changed them"] {
        assert!(reason.contains(part), "{reason}");
    }

    account.set(&[("audit", Event::S3ObjectRemoved)]).await;
    let faults = slow_read_back(&account);
    let mut command = trailhose_at(&faults.endpoint());
    command.args(["wire", "--bucket", "logs", "--queue-arn", &arn("ingest")]);
    let ran = tokio::task::spawn_blocking(move || Ran(command.output().unwrap()));
    let (ran, ()) = tokio::join!(ran, interfere(&account, &faults));
    let ran = ran.unwrap();
    assert_eq!((ran.code(), ran.out().as_str(), ran.err().lines().count()), (1, "", 1), "{ran:?}");
    assert!(ran.err().contains("missing: rule trailhose-ingest"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn command_adds_one_notification_and_removes_it() {
    let account = Account::new().await;
    let wire = |arguments: &[&str]| {
        let mut command = trailhose_at(&account.emulator.endpoint());
        Ran(command.args(["wire", "--bucket", "logs", "--queue-arn", &arn("ingest")]).args(arguments).output().unwrap())
    };
    let ran = wire(&["--dry-run"]);
    assert_eq!((ran.code(), ran.err().as_str()), (0, ""), "{ran:?}");
    assert!(ran.out().starts_with(
        "dry run, nothing was changed. Without --dry-run: notification trailhose-ingest: logs notifies arn:"
    ));
    assert_eq!(account.rules("logs").await, [AUDIT]);
    let ran = wire(&["--json"]);
    assert_eq!(
        (ran.code(), &ran.json()["result"], &ran.json()["id"]),
        (0, &json!("added"), &json!("trailhose-ingest"))
    );
    assert_eq!(account.rules("logs").await, [AUDIT, "trailhose-ingest ingest s3:ObjectCreated:*"]);
    let ran = wire(&[]);
    assert!(ran.code() == 0 && ran.out().contains("nothing to do: logs already notifies"), "{ran:?}");
    let ran = wire(&["--id", "second"]);
    assert!(ran.code() == 0 && ran.out().contains("already notifies"), "{ran:?}");
    assert_eq!(wire(&["--remove", "--json"]).json()["result"], "removed");
    assert_eq!(wire(&["--remove", "--json"]).json()["result"], "nothing_to_remove");
    assert_eq!(account.rules("logs").await, [AUDIT]);

    account.set(&[("copies", Event::S3ObjectCreatedPut)]).await;
    let ran = wire(&[]);
    assert_eq!((ran.code(), ran.err().lines().count()), (2, 1), "{ran:?}");
    for part in ["rule copies (s3:ObjectCreated:Put of all keys, target arn:", "Wiring=EventBridge", "SNS topic"] {
        assert!(ran.err().contains(part), "{ran:?}");
    }
    let faults = Faults::before(&account.emulator);
    faults.when(|call| call.path.contains("notification").then_some(Fault::Deny));
    let mut command = trailhose_at(&faults.endpoint());
    let ran = Ran(command.args(["wire", "--bucket", "logs", "--queue-arn", &arn("ingest")]).output().unwrap());
    assert!(ran.code() == 2 && ran.err().contains("allow s3:GetBucketNotification on bucket logs"), "{ran:?}");
    let ran = Ran(trailhose_at(&account.emulator.endpoint()).args(["wire", "--stack", "nowhere"]).output().unwrap());
    assert!(ran.code() == 2 && ran.err().contains("stack nowhere does not exist in the region us-east-1"), "{ran:?}");
    let ran = Ran(trailhose_at(&account.emulator.endpoint()).args(["wire", "--bucket", "logs"]).output().unwrap());
    assert!(ran.code() == 2 && ran.err().contains("--queue-arn"), "{ran:?}");
}

/// Creates a stack that has the parameters and outputs which the command reads, and nothing else of the template.
async fn create_stack(account: &Account, name: &str, parameters: &[(&str, &str)]) {
    let defaults = parameters.iter().map(|(name, value)| (*name, json!({"Type": "String", "Default": value})));
    let role = |role: &str| json!({"Value": format!("arn:aws:iam::111122223333:role/{role}")});
    let template = json!({
        "Parameters": defaults.collect::<std::collections::BTreeMap<_, _>>(),
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {
            "IngestQueueArn": {"Value": arn("ingest")},
            "IngestRoleArn": role("ingest"),
            "BackfillRoleArn": role("backfill"),
        },
    });
    let client = aws_sdk_cloudformation::Client::new(&account.emulator.config());
    client.create_stack().stack_name(name).template_body(template.to_string()).send().await.unwrap();
    let start = Instant::now();
    loop {
        let found = client.describe_stacks().stack_name(name).send().await.unwrap();
        if found.stacks()[0].stack_status().unwrap().as_str() == "CREATE_COMPLETE" {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{found:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_of_the_stack_decide_what_the_command_does() {
    let account = Account::new().await;
    let wire = |arguments: &[&str]| {
        Ran(trailhose_at(&account.emulator.endpoint()).arg("wire").args(arguments).output().unwrap())
    };
    create_stack(&account, "own", &[("LogBucketName", "logs"), ("Wiring", "S3")]).await;
    assert_eq!(wire(&["--stack", "own", "--json"]).json()["result"], "added");
    assert_eq!(account.rules("logs").await, [AUDIT, "trailhose-own ingest s3:ObjectCreated:*"]);
    assert_eq!(wire(&["--stack", "own", "--remove", "--json"]).json()["result"], "removed");

    create_stack(&account, "bridge", &[("LogBucketName", "logs"), ("Wiring", "EventBridge")]).await;
    let ran = wire(&["--stack", "bridge", "--dry-run"]);
    assert!(
        ran.out().starts_with("dry run, nothing was changed. Without --dry-run: logs sends its events to EventBridge"),
        "{ran:?}"
    );
    assert!(!account.sends_to_event_bridge("logs").await);
    assert_eq!(wire(&["--stack", "bridge", "--json"]).json()["result"], "event_bridge_enabled");
    assert_eq!(wire(&["--stack", "bridge", "--json"]).json()["result"], "event_bridge_already_enabled");
    assert_eq!(wire(&["--stack", "bridge", "--remove", "--json"]).json()["result"], "nothing_to_remove");
    assert!(account.sends_to_event_bridge("logs").await);

    create_stack(&account, "topic", &[("LogBucketName", "logs"), ("Wiring", "SNS"), ("SnsTopicArn", "arn:t")]).await;
    let ran = wire(&["--stack", "topic"]);
    assert!(ran.code() == 0 && ran.out().contains("subscribes its queue to the topic arn:t"), "{ran:?}");

    let key = "arn:aws:kms:us-east-1:444455556666:key/1";
    let foreign = [("LogBucketName", "far-logs"), ("LogBucketAccountId", "444455556666"), ("LogBucketKeyArn", key)];
    create_stack(&account, "foreign", &foreign).await;
    let ran = wire(&["--stack", "foreign"]);
    assert_eq!((ran.code(), ran.err().as_str()), (0, ""), "{ran:?}");
    let command = format!("trailhose wire --bucket far-logs --queue-arn {}", arn("ingest"));
    for part in
        ["belongs to account 444455556666", "\"arn:aws:s3:::far-logs/*\"", "s3.us-east-1.amazonaws.com", &command]
    {
        assert!(ran.out().contains(part), "{part}: {ran:?}");
    }
    let json = wire(&["--stack", "foreign", "--json"]).json();
    assert_eq!((&json["result"], &json["command"]), (&json!("other_account"), &json!(command)));
    assert_eq!(json["bucket_policy"]["Statement"][0]["Resource"], "arn:aws:s3:::far-logs/*");
    create_stack(&account, "other", &[("Name", "x")]).await;
    let ran = wire(&["--stack", "other"]);
    assert!(ran.code() == 2 && ran.err().contains("stack other has no parameter LogBucketName"), "{ran:?}");
}
