//! Detection in the deployed stack: the template, its roles and the real programs on an emulator of AWS that enforces the
//! roles. A CloudTrail object becomes an alert of an SNS topic, of an EventBridge bus, and of three destinations over HTTP, whose
//! URLs and keys are a secret and two parameters.
//!
//! The emulator writes each Firehose record to the lake at once. It enforces the actions of the members of a transaction. A
//! server of this test replaces the webhook, Slack and PagerDuty.

mod bed;
mod laptop;
mod receiver;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_eventbridge::types::Target;
use aws_sdk_sqs::types::QueueAttributeName;
use aws_sdk_ssm::types::ParameterType;
use bed::emulator::Emulator;
use bed::http::Message;
use bed::stack::Stack;
use bed::stack::lake::id;
use laptop::{Ran, trailhose_at};
use receiver::{Answer, Receiver};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::time::{Duration, Instant};
use trailhose::notification;
use trailhose::object::ObjectRef;
use trailhose::telemetry::detect_metric_names;

const PATIENCE: Duration = Duration::from_secs(240);

const TOPIC: &str = "arn:aws:sns:us-east-1:000000000000:alerts";
const BUS: &str = "arn:aws:events:us-east-1:000000000000:event-bus/security";
const RULES: &str = "s3://security-rules/trailhose";

const RULE: &str = "\
title: Trail stopped
id: 5f0c1a2e-0000-4000-8000-000000000001
level: high
logsource:
    product: aws
    service: cloudtrail
detection:
    selection:
        eventName: StopLogging
    condition: selection
";

/// An event that the rule matches. Each user is a group.
fn event(number: u32, user: &str) -> Value {
    json!({
        "eventVersion": "1.11",
        "eventTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "eventName": "StopLogging",
        "eventSource": "cloudtrail.amazonaws.com",
        "awsRegion": "eu-west-1",
        "recipientAccountId": "111122223333",
        "userIdentity": {"arn": format!("arn:aws:iam::111122223333:user/{user}")},
        "eventID": id(number),
    })
}

/// Creates a queue to which a service may send, and returns its URL and its ARN.
async fn receiver(stack: &Stack, name: &str, service: &str) -> (String, String) {
    let created = stack.sqs.create_queue().queue_name(name).send().await.unwrap();
    let url = created.queue_url().unwrap().to_owned();
    let arn = format!("arn:aws:sqs:{}:{}:{name}", bed::REGION, bed::ACCOUNT);
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": service}, "Action": "sqs:SendMessage", "Resource": arn,
    }]});
    let set = stack.sqs.set_queue_attributes().queue_url(&url);
    set.attributes(QueueAttributeName::Policy, policy.to_string()).send().await.unwrap();
    (url, arn)
}

/// Returns the next message of a queue, and deletes it.
async fn next_message(stack: &Stack, url: &str) -> Value {
    let start = Instant::now();
    loop {
        let received = stack.sqs.receive_message().queue_url(url).send().await.unwrap();
        if let [message] = received.messages() {
            let handle = message.receipt_handle().unwrap();
            stack.sqs.delete_message().queue_url(url).receipt_handle(handle).send().await.unwrap();
            return serde_json::from_str(message.body().unwrap()).unwrap();
        }
        assert!(start.elapsed() < PATIENCE, "no alert:\n{}", stack.log_tail());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn no_message(stack: &Stack, url: &str) {
    let received = stack.sqs.receive_message().queue_url(url).send().await.unwrap();
    assert_eq!(received.messages().len(), 0, "{received:?}");
}

/// Puts a file of events into the lake, as Firehose does.
async fn put_into_lake(stack: &Stack, name: &str, event: &Value) {
    let put = stack.s3.put_object().bucket(stack.output("LakeBucketName")).key(format!("events/dt=2026-11-27/{name}"));
    put.body(laptop::gzip(&format!("{event}\n")).into()).send().await.unwrap();
}

async fn items(stack: &Stack) -> Vec<HashMap<String, AttributeValue>> {
    let scan = stack.dynamodb.scan().table_name(stack.output("FindingsTableName")).consistent_read(true);
    scan.into_paginator().items().send().collect::<Result<_, _>>().await.unwrap()
}

/// Returns the number of items whose keys start with these texts.
async fn count(stack: &Stack, pk: &str, sk: &str) -> usize {
    let starts =
        |item: &HashMap<String, AttributeValue>, name, start: &str| item[name].as_s().unwrap().starts_with(start);
    items(stack).await.iter().filter(|item| starts(item, "pk", pk) && starts(item, "sk", sk)).count()
}

/// Waits until there is this number of findings.
async fn findings(stack: &Stack, expected: usize) {
    let start = Instant::now();
    while count(stack, "rule#", "finding#").await < expected {
        assert!(start.elapsed() < PATIENCE, "{expected} findings:\n{}", stack.log_tail());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(count(stack, "rule#", "finding#").await, expected);
}

/// Returns the lines of metrics of the detect function.
fn metric_lines(stack: &Stack) -> Vec<Value> {
    let log = stack.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line.get("EventsEvaluated").is_some()).collect()
}

/// Waits until a metric of the function has a value above 0 after this many lines.
async fn raised(stack: &Stack, metric: &str, after: usize) {
    let start = Instant::now();
    while !metric_lines(stack).iter().skip(after).any(|line| line[metric].as_u64() > Some(0)) {
        assert!(start.elapsed() < PATIENCE, "{metric}:\n{}", stack.log_tail());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn publish(stack: &Stack, folder: &Path) -> Ran {
    let mut program = trailhose_at(&stack.endpoint());
    Ran(program.args(["rules", "publish", folder.to_str().unwrap(), RULES, "--json"]).output().unwrap())
}

/// Keys of the webhook, before and after a rotation.
const KEYS: [&str; 2] = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"];

/// The path of the URL of Slack, and the key of PagerDuty.
const PARAMETERS: [(&str, &str); 2] = [("slack", "T0/B0/s1ackSecretPath"), ("pagerduty", "R0pagerDutyIntegrationKey")];

/// The destinations over HTTP. They are one server with three paths.
struct HttpDestinations {
    receiver: Receiver,
}

impl HttpDestinations {
    /// Starts the server. The webhook accepts only requests with a signature of the last key.
    async fn start() -> Self {
        Self { receiver: Receiver::start(Answer::status(200)).await }
    }

    fn url(&self, path: &str) -> String {
        self.receiver.url.replace("/hook", path)
    }

    fn webhook_secret(&self, key: &str) -> String {
        json!({"url": self.url("/hook"), "keys": key}).to_string()
    }

    /// Creates the secret and the parameters, and returns the parameters of the template. Slack's is not encrypted.
    async fn secrets(&self, emulator: &Emulator) -> Vec<String> {
        let secrets = aws_sdk_secretsmanager::Client::new(&emulator.config());
        let created = secrets.create_secret().name("trailhose/webhook").secret_string(self.webhook_secret(KEYS[0]));
        let mut parameters = vec![format!("AlertWebhookSecretArn={}", created.send().await.unwrap().arn().unwrap())];
        let key = json!({"key": PARAMETERS[1].1, "url": self.url("/pagerduty")}).to_string();
        put_parameter(&emulator.config(), "slack", ParameterType::String, &self.slack_url()).await;
        put_parameter(&emulator.config(), "pagerduty", ParameterType::SecureString, &key).await;
        for (name, parameter) in [("slack", "AlertSlackSecretArn"), ("pagerduty", "AlertPagerDutySecretArn")] {
            let arn = format!("arn:aws:ssm:{}:{}:parameter/trailhose/{name}", bed::REGION, bed::ACCOUNT);
            parameters.push(format!("{parameter}={arn}"));
        }
        parameters.push("AlertPrivateAddresses=true".into());
        parameters
    }

    fn slack_url(&self) -> String {
        self.url(&format!("/slack/{}", PARAMETERS[0].1))
    }

    /// Returns the requests with this path so far.
    fn requests(&self, path: &str) -> Vec<Message> {
        let start = format!("POST {path}");
        self.receiver.requests().into_iter().filter(|request| request.first.starts_with(&start)).collect()
    }

    /// Waits for this number of requests with this path, and returns the last one.
    async fn request(&self, stack: &Stack, path: &str, number: usize) -> Message {
        let start = Instant::now();
        while self.requests(path).len() < number {
            assert!(start.elapsed() < PATIENCE, "request {number} of {path}:\n{}", stack.log_tail());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.requests(path).remove(number - 1)
    }
}

async fn put_parameter(config: &aws_config::SdkConfig, name: &str, kind: ParameterType, value: &str) {
    let put = aws_sdk_ssm::Client::new(config).put_parameter().name(format!("/trailhose/{name}")).overwrite(true);
    put.r#type(kind).value(value).send().await.unwrap();
}

fn body(request: &Message) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

fn is_signed(request: &Message, key: &str) -> bool {
    let mut headers = http::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.insert(name, request.header(name).unwrap().parse().unwrap());
    }
    standardwebhooks::Webhook::new(key).unwrap().verify(&request.body, &headers).is_ok()
}

/// The webhook, PagerDuty and, after its parameter is encrypted, Slack receive the alert. A changed key is used.
async fn destinations_over_http_get_their_alerts(stack: &Stack, to: &HttpDestinations, alert: &Value) {
    let webhook = to.request(stack, "/hook", 1).await;
    assert!(is_signed(&webhook, KEYS[0]), "{webhook:?}");
    assert_eq!(&body(&webhook), alert, "every destination gets the same content");
    let incident = body(&to.request(stack, "/pagerduty", 1).await);
    assert_eq!(
        (&incident["routing_key"], &incident["payload"]["severity"]),
        (&json!(PARAMETERS[1].1), &json!("error"))
    );
    raised(stack, "DestinationsUnusable", 0).await;
    assert!(stack.log().contains("is not encrypted: create it with the type SecureString"), "{}", stack.log_tail());
    assert_eq!(to.requests("/slack").len(), 0);
    assert_eq!(count(stack, "pending#slack", "").await, 1, "the alert stays in the outbox");
    put_parameter(&stack.config(), "slack", ParameterType::SecureString, &to.slack_url()).await;
    stack.run_detect_schedule().await;
    let message = body(&to.request(stack, "/slack", 1).await);
    assert_eq!(message["text"], "[high] Trail stopped", "{message}");
    assert_eq!(count(stack, "pending#slack", "").await, 0);

    // The receiver accepts only the new key.
    to.receiver.decide(|request| match !request.first.contains("/hook") || is_signed(request, KEYS[1]) {
        true => Answer::status(200),
        false => Answer::status(401),
    });
    let secrets = aws_sdk_secretsmanager::Client::new(&stack.config());
    let put = secrets.put_secret_value().secret_id("trailhose/webhook").secret_string(to.webhook_secret(KEYS[1]));
    put.send().await.unwrap();
    put_into_lake(stack, "rotated", &event(3, "carol")).await;
    let start = Instant::now();
    while !to.requests("/hook").iter().any(|request| is_signed(request, KEYS[1])) {
        assert!(start.elapsed() < PATIENCE, "no alert with the new key:\n{}", stack.log_tail());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn cloudtrail_object_becomes_an_alert() {
    let to = HttpDestinations::start().await;
    let stack = Stack::deploy_prepared(&bed::lambda_program("ingest"), async |emulator| {
        let mut parameters = to.secrets(emulator).await;
        parameters.extend([
            format!("RulesLocation={RULES}"),
            format!("AlertTopicArns={TOPIC}"),
            format!("AlertBusArn={BUS}"),
        ]);
        parameters
    })
    .await;
    stack.set_detect_visibility(5).await;
    stack.s3.create_bucket().bucket("security-rules").send().await.unwrap();
    let (topic_queue, topic_queue_arn) = receiver(&stack, "from-topic", "sns.amazonaws.com").await;
    let (bus_queue, bus_queue_arn) = receiver(&stack, "from-bus", "events.amazonaws.com").await;
    let config = stack.config();
    let sns = aws_sdk_sns::Client::new(&config);
    sns.create_topic().name("alerts").send().await.unwrap();
    // The default policy of a topic allows every principal of the account, so that a missing action would have no effect.
    let other = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::444455556666:root"}, "Action": "sns:Subscribe", "Resource": TOPIC,
    }]});
    let policy = sns.set_topic_attributes().topic_arn(TOPIC).attribute_name("Policy");
    policy.attribute_value(other.to_string()).send().await.unwrap();
    let subscribe = sns.subscribe().topic_arn(TOPIC).protocol("sqs").endpoint(topic_queue_arn);
    subscribe.attributes("RawMessageDelivery", "true").send().await.unwrap();
    let events = aws_sdk_eventbridge::Client::new(&config);
    events.create_event_bus().name("security").send().await.unwrap();
    let rule = events.put_rule().name("alerts").event_bus_name("security");
    rule.event_pattern(json!({"source": ["trailhose"]}).to_string()).send().await.unwrap();
    let target = Target::builder().id("queue").arn(bus_queue_arn).build().unwrap();
    events.put_targets().rule("alerts").event_bus_name("security").targets(target).send().await.unwrap();

    // Nothing is published: the function reports it, and the object is evaluated after the publication.
    stack
        .put(&laptop::key("111122223333", "CloudTrail", "eu-west-1", "2026-11-27", "a"), object(&event(1, "alice")))
        .await;
    raised(&stack, "RulesUnusable", 0).await;
    assert!(stack.log().contains("cannot read s3://security-rules/trailhose/manifest.json"), "{}", stack.log_tail());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.yml"), RULE).unwrap();
    let published = publish(&stack, folder.path());
    assert_eq!((published.code(), &published.json()["rules"]), (0, &json!(1)), "{published:?}");

    let alert = next_message(&stack, &topic_queue).await;
    assert_eq!((&alert["type"], &alert["data"]["account"]), (&json!("finding.created"), &json!("111122223333")));
    assert_eq!(alert["data"]["finding"]["finding_info"]["related_events"][0]["uid"], id(1));
    let on_bus = next_message(&stack, &bus_queue).await;
    assert_eq!((&on_bus["source"], &on_bus["detail"]["data"]), (&json!("trailhose"), &alert["data"]));
    findings(&stack, 1).await;
    assert_eq!(count(&stack, "rules", "change#").await, 1, "the publication is recorded");

    // The same object is announced again.
    let lake = stack.output("LakeBucketName");
    let listed = stack.s3.list_objects_v2().bucket(lake).prefix("events/").send().await.unwrap();
    let before = metric_lines(&stack).len();
    for object in listed.contents() {
        let at = ObjectRef::new(lake, object.key().unwrap());
        let send = stack.sqs.send_message().queue_url(stack.output("DetectQueueUrl"));
        send.message_body(notification::render(&at)).send().await.unwrap();
    }
    raised(&stack, "FindingsRepeated", before).await;
    findings(&stack, 1).await;
    no_message(&stack, &topic_queue).await;
    no_message(&stack, &bus_queue).await;

    destinations_over_http_get_their_alerts(&stack, &to, &alert).await;
    next_message(&stack, &topic_queue).await;
    commands_read_and_change_the_table(&stack).await;
    unusable_set_keeps_the_last_valid_one(&stack, folder.path(), &topic_queue).await;
    each_missing_action_is_named(&stack).await;
    // What a missing action of a secret held back is sent afterwards.
    stack.run_detect_schedule().await;
    for destination in ["webhook", "slack", "pagerduty"] {
        assert_eq!(count(&stack, &format!("pending#{destination}"), "").await, 0, "{}", stack.log_tail());
    }
    let log = stack.log();
    for secret in KEYS.into_iter().chain(PARAMETERS.map(|(_, secret)| secret)) {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(secret)).collect();
        assert!(lines.is_empty(), "a secret is in the log: {lines:?}");
    }
    let names: BTreeSet<_> = detect_metric_names().into_iter().collect();
    for line in metric_lines(&stack) {
        let definitions = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
        assert!(definitions.iter().all(|metric| names.contains(metric["Name"].as_str().unwrap())), "{line}");
    }
}

/// Runs the program while the servers of this test answer.
async fn run(stack: &Stack, arguments: &[&str]) -> Ran {
    let mut program = trailhose_at(&stack.endpoint());
    program.args(arguments).args(["--stack", "trailhose", "--json"]);
    tokio::task::spawn_blocking(move || Ran(program.output().unwrap())).await.unwrap()
}

fn json_lines(ran: &Ran) -> Vec<Value> {
    assert_eq!(ran.code(), 0, "{ran:?}");
    ran.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn commands_read_and_change_the_table(stack: &Stack) {
    let found = json_lines(&run(stack, &["findings", "list"]).await);
    let events: Vec<_> = found.iter().map(|finding| finding["event"]["id"].as_str().unwrap()).collect();
    assert_eq!(events, [id(3), id(1)], "the newest first");
    let oldest = found[1]["id"].as_str().unwrap();
    let closed = json_lines(&run(stack, &["findings", "close", &oldest[..12], "--note", "planned"]).await);
    assert_eq!(closed, [json!({"id": oldest, "state": "closed"})]);
    let closed = json_lines(&run(stack, &["findings", "list", "--state", "closed"]).await);
    assert_eq!((closed.len(), &closed[0]["note"]), (1, &json!("planned")));
    assert_eq!(run(stack, &["alerts", "list", "--state", "failed"]).await.out(), "");
    assert_eq!(run(stack, &["alerts", "list", "--state", "sent"]).await.code(), 2, "the table does not keep them");

    // The function sends the test message on its schedule.
    let (tested, ()) = tokio::join!(run(stack, &["alerts", "test", "webhook"]), async {
        let start = Instant::now();
        while count(stack, "pending#webhook", "").await == 0 {
            assert!(start.elapsed() < PATIENCE, "no test message");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        stack.run_detect_schedule().await;
    });
    assert_eq!(json_lines(&tested), [json!({"destination": "webhook", "accepted": true, "reason": null})]);
    let unknown = run(stack, &["alerts", "test", "pager"]).await;
    assert_eq!(unknown.code(), 2, "{unknown:?}");
    assert!(unknown.err().contains("slack, pagerduty"), "{unknown:?}");

    let report = run(stack, &["doctor", "--no-peek", "--timeout", "60"]).await.json();
    let status = |id: &str| {
        let mut findings = report["findings"].as_array().unwrap().iter();
        findings.find(|finding| finding["id"] == id).unwrap_or_else(|| panic!("no {id} in {report}"))["status"].clone()
    };
    for check in ["detection.rules", "detection.alerts", "function.state", "function.mappings", "queue.redrive"] {
        assert_eq!(status(check), "ok", "{check}: {report}");
    }
}

/// Kills the running functions, so that new instances read the rules again. Not while one of them sends: its lease of the
/// destination would delay the next alerts.
async fn start_new_instances(stack: &Stack) {
    let start = Instant::now();
    let is_leased = |item: &HashMap<String, AttributeValue>| {
        let now = jiff::Timestamp::now().as_second();
        item.get("leased_until").is_some_and(|until| until.as_n().unwrap().parse::<i64>().unwrap() > now)
    };
    while items(stack).await.iter().any(is_leased) {
        assert!(start.elapsed() < PATIENCE, "{}", stack.log_tail());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    while stack.kill_functions(usize::MAX) > 0 {}
}

/// A CloudTrail object with one event.
fn object(event: &Value) -> Vec<u8> {
    laptop::gzip(&json!({ "Records": [event] }).to_string())
}

/// A manifest whose files are not uploaded. New instances of the function have no rules in memory.
async fn unusable_set_keeps_the_last_valid_one(stack: &Stack, folder: &Path, topic_queue: &str) {
    let manifest = json!({"format": 1, "files": {"a.yml": "0".repeat(64)}}).to_string();
    let put = stack.s3.put_object().bucket("security-rules").key("trailhose/manifest.json");
    put.body(manifest.into_bytes().into()).send().await.unwrap();
    let before = metric_lines(stack).len();
    start_new_instances(stack).await;
    put_into_lake(stack, "half", &event(2, "bob")).await;
    assert_eq!(
        next_message(stack, topic_queue).await["data"]["finding"]["finding_info"]["related_events"][0]["uid"],
        id(2)
    );
    raised(stack, "RulesUnusable", before).await;
    assert!(stack.log().contains("a.yml cannot be read"), "{}", stack.log_tail());
    assert_eq!(count(stack, "rules", "change#").await, 1, "an unusable set is no change");

    // A folder with an invalid rule is not published.
    std::fs::write(folder.join("b.yml"), "title: no rule\n").unwrap();
    let refused = publish(stack, folder);
    assert_eq!(refused.code(), 2, "{refused:?}");
    assert!(refused.err().contains("b.yml"), "{refused:?}");
    std::fs::remove_file(folder.join("b.yml")).unwrap();
    std::fs::write(folder.join("a.yml"), RULE.replace("Trail stopped", "A trail was stopped")).unwrap();
    assert_eq!(publish(stack, folder).code(), 0);
    start_new_instances(stack).await;
    stack.run_detect_schedule().await;
    assert_eq!(count(stack, "rules", "change#").await, 2);
}

/// Actions of Lambda itself with the function's role, which the emulator does not enforce.
const LAMBDA_ACTIONS: [&str; 5] =
    ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "logs:CreateLogStream", "logs:PutLogEvents"];

async fn each_missing_action_is_named(stack: &Stack) {
    let mut named = Vec::new();
    for policy in stack.detect_policies().await {
        let document = stack.take_detect_policy(&policy).await;
        let parsed: Value = serde_json::from_str(&document).unwrap();
        let statement = &parsed["Statement"][0];
        let actions: Vec<String> = match &statement["Action"] {
            Value::String(one) => vec![one.clone()],
            many => serde_json::from_value(many.clone()).unwrap(),
        };
        for action in actions.iter().filter(|action| !LAMBDA_ACTIONS.contains(&action.as_str())) {
            let rest: Vec<_> = actions.iter().filter(|other| *other != action).collect();
            if !rest.is_empty() {
                let mut without = parsed.clone();
                without["Statement"][0]["Action"] = json!(rest);
                stack.give_detect_policy(&policy, &without.to_string()).await;
            }
            let said = stack.log().len();
            // New instances read the rules again.
            start_new_instances(stack).await;
            let number = 100 + named.len() as u32;
            put_into_lake(stack, &format!("denied-{number}"), &event(number, &format!("user-{number}"))).await;
            let words = [format!("allow {action} "), format!("{action} on "), format!("perform: {action} ")];
            let is_named =
                |line: &str| line.contains("\"level\":") && words.iter().any(|word| line.contains(word.as_str()));
            let start = Instant::now();
            while !stack.log()[said..].lines().any(is_named) {
                assert!(start.elapsed() < PATIENCE, "{action} is not named in the log:\n{}", stack.log_tail());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            stack.give_detect_policy(&policy, &document).await;
            // Nothing is lost: the finding is recorded after the action is allowed again.
            findings(stack, 4 + named.len()).await;
            named.push(action.clone());
        }
        stack.give_detect_policy(&policy, &document).await;
    }
    assert_eq!(named.len(), 11, "{named:?}");
    assert_eq!(stack.messages_in("DetectDeadLetterQueueUrl").await, 0);
}
