//! `kill -9` stops the detect function at any moment of its work, and loses and repeats nothing: each finding is recorded
//! once, no alert is lost, and an alert is sent again only if its destination received it and this was not recorded.
//!
//! The function is the real program under AWS's runtime interface emulator. S3, DynamoDB and Secrets Manager are an emulator
//! behind a proxy, which kills the function before a call has an effect, or after it. The receiver of the alerts kills it
//! before it answers. As on AWS, a message is delivered again unless the function acknowledged it, and the schedule invokes
//! the function until nothing is pending.
//!
//! `TRAILHOSE_KILLS` is the number of kills at random times (default 8), `TRAILHOSE_SEED` determines these times.

mod bed;
mod laptop;
mod receiver;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use bed::emulator::Emulator;
use bed::faults::{Exchange, Fault, Faults};
use bed::process::kill_programs;
use bed::runtime::Runtime;
use receiver::{Answer, Receiver};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use trailhose::aws;
use trailhose::notification;
use trailhose::object::ObjectRef;

const TABLE: &str = "findings";
const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SCHEDULE: &str = r#"{"scheduled":true}"#;

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

/// The users of each object and their numbers of events. Each user is a group. The findings of the first one need two
/// transactions.
const USERS: [(&str, u32); 2] = [("alice", 41), ("bob", 2)];

/// The alerts of each object: the first finding and the summary of each group.
const ALERTS: usize = 4;

/// The number of invocations after which a message would be in the dead-letter queue.
const MAX_INVOCATIONS: usize = 8;

/// When the function is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KillPoint {
    Never,
    /// When it makes its call with this number, from 0. The service does not receive the call.
    BeforeCall(usize),
    /// The call takes effect.
    AfterCall(usize),
    /// When the receiver has received the alert with this number, from 0.
    Alert(usize),
    /// This time after the first invocation.
    Time(Duration),
}

/// The running services, and the function.
struct KillBed {
    faults: Faults,
    receiver: Receiver,
    function: Runtime,
    killer: Arc<Killer>,
    dynamodb: aws_sdk_dynamodb::Client,
    s3: aws_sdk_s3::Client,
    /// The number of objects so far.
    objects: AtomicU32,
}

/// Kills the function.
struct Killer {
    program: PathBuf,
    /// The endpoint of the function, which distinguishes it from those of other tests.
    endpoint: String,
    state: Mutex<KillerState>,
}

struct KillerState {
    point: KillPoint,
    calls: usize,
    alerts: usize,
    kills: usize,
}

impl Killer {
    fn reset(&self, point: KillPoint) {
        *self.state.lock().unwrap() = KillerState { point, calls: 0, alerts: 0, kills: 0 };
    }

    /// Kills the function, and returns how many processes it killed.
    fn kill(&self) -> usize {
        kill_programs(usize::MAX, |process| {
            let is_ours = std::fs::read_link(process.join("exe")).is_ok_and(|program| program == self.program);
            let environment = || std::fs::read(process.join("environ")).unwrap_or_default();
            is_ours
                && environment().split(|&byte| byte == 0).any(|variable| variable.ends_with(self.endpoint.as_bytes()))
        })
    }

    fn kills(&self) -> usize {
        self.state.lock().unwrap().kills
    }

    fn calls(&self) -> usize {
        self.state.lock().unwrap().calls
    }

    /// Counts a call, and kills the function if this is its point.
    fn call(&self) -> Option<Fault> {
        let mut state = self.state.lock().unwrap();
        let number = state.calls;
        state.calls += 1;
        let fault = match state.point {
            KillPoint::BeforeCall(at) if at == number => Fault::Reset,
            KillPoint::AfterCall(at) if at == number => Fault::LoseReply,
            _ => return None,
        };
        state.kills += self.kill();
        Some(fault)
    }

    /// Counts an alert, and kills the function if this is its point.
    fn alert(&self) {
        let mut state = self.state.lock().unwrap();
        let number = state.alerts;
        state.alerts += 1;
        if state.point == KillPoint::Alert(number) {
            state.kills += self.kill();
        }
    }
}

impl KillBed {
    async fn start() -> Self {
        let emulator = Emulator::shared_ministack();
        let faults = Faults::before(emulator);
        let program = bed::lambda_program("detect").canonicalize().unwrap();
        let state = KillerState { point: KillPoint::Never, calls: 0, alerts: 0, kills: 0 };
        let endpoint = format!("={}", faults.endpoint());
        let killer = Arc::new(Killer { program: program.clone(), endpoint, state: Mutex::new(state) });
        let receiver = Receiver::start(Answer::status(200)).await;
        let of_calls = Arc::clone(&killer);
        faults.when(move |_| of_calls.call());
        let of_alerts = Arc::clone(&killer);
        receiver.decide(move |_| {
            of_alerts.alert();
            Answer::status(200)
        });

        let config = emulator.config();
        let (dynamodb, s3) = (aws::dynamodb(&config), aws_sdk_s3::Client::new(&config));
        create_table(&dynamodb).await;
        for bucket in ["lake", "security-rules"] {
            s3.create_bucket().bucket(bucket).send().await.unwrap();
        }
        let rules = tempfile::tempdir().unwrap();
        std::fs::write(rules.path().join("a.yml"), RULE).unwrap();
        let mut publish = laptop::trailhose_at(&emulator.endpoint());
        publish.args(["rules", "publish", rules.path().to_str().unwrap(), "s3://security-rules/set"]);
        assert!(publish.output().unwrap().status.success());
        let secret = json!({"url": receiver.url, "keys": KEY}).to_string();
        let secret = aws_sdk_secretsmanager::Client::new(&config).create_secret().name("hook").secret_string(secret);
        let arn = secret.send().await.unwrap().arn().unwrap().to_owned();
        let variables = [
            ("TRAILHOSE_FINDINGS_TABLE", TABLE),
            ("TRAILHOSE_RULES", "s3://security-rules/set"),
            ("TRAILHOSE_ALERT_WEBHOOK_SECRET", &arn),
            ("TRAILHOSE_ALERT_PRIVATE_ADDRESSES", "true"),
        ];
        let function = Runtime::start(&program, &faults.endpoint(), &variables);
        Self { faults, receiver, function, killer, dynamodb, s3, objects: AtomicU32::default() }
    }

    async fn items(&self) -> Vec<HashMap<String, AttributeValue>> {
        let pages = self.dynamodb.scan().table_name(TABLE).consistent_read(true).into_paginator().items().send();
        pages.collect::<Result<_, _>>().await.unwrap()
    }

    /// Deletes everything except the rule set in use.
    async fn clear(&self) {
        for item in self.items().await {
            if text(&item, "pk") != "rules" {
                let delete = self.dynamodb.delete_item().table_name(TABLE);
                delete.key("pk", item["pk"].clone()).key("sk", item["sk"].clone()).send().await.unwrap();
            }
        }
    }

    /// Lets the time of a lease pass that a killed function has left.
    async fn end_lease(&self) {
        let update = self.dynamodb.update_item().table_name(TABLE);
        let update = update.key("pk", AttributeValue::S("destination#webhook".into()));
        let update = update.key("sk", AttributeValue::S("lease".into())).update_expression("SET leased_until = :over");
        update.expression_attribute_values(":over", AttributeValue::N("0".into())).send().await.unwrap();
    }

    /// Invokes the function, and returns whether it acknowledged the payload.
    async fn invoke(&self, payload: &str) -> bool {
        let answer = self.function.invoke(payload).await;
        answer.get("errorType").is_none() && answer["batchItemFailures"] == json!([])
    }

    /// Returns the number of received alerts of this object that are not recorded as sent. Waits for the calls in progress.
    /// `before` is the number of alerts of earlier objects.
    async fn unrecorded(&self, before: usize) -> usize {
        let start = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(30)).await;
            let exchanges = self.faults.exchanges();
            if exchanges.len() == self.killer.calls() {
                let recorded = exchanges.iter().filter(|call| records_sent(call)).count();
                return (self.receiver.requests().len() - before).saturating_sub(recorded);
            }
            assert!(start.elapsed() < Duration::from_secs(30), "a call does not end");
        }
    }
}

/// Whether a call recorded that an alert is sent.
fn records_sent(exchange: &Exchange) -> bool {
    let writes = exchange.call.json()["TransactItems"].as_array().cloned().unwrap_or_default();
    let is_pending = |write: &Value| write["Delete"]["Key"]["pk"]["S"] == "pending#webhook";
    exchange.status == Some(200) && writes.iter().any(is_pending)
}

async fn create_table(client: &aws_sdk_dynamodb::Client) {
    let mut table = client.create_table().table_name(TABLE).billing_mode(BillingMode::PayPerRequest);
    for (key, kind) in [("pk", KeyType::Hash), ("sk", KeyType::Range)] {
        let text = AttributeDefinition::builder().attribute_name(key).attribute_type(ScalarAttributeType::S);
        let schema = KeySchemaElement::builder().attribute_name(key).key_type(kind);
        table = table.attribute_definitions(text.build().unwrap()).key_schema(schema.build().unwrap());
    }
    table.send().await.unwrap();
}

fn text<'a>(item: &'a HashMap<String, AttributeValue>, name: &str) -> &'a str {
    item[name].as_s().unwrap()
}

fn number(item: &HashMap<String, AttributeValue>, name: &str) -> u32 {
    item[name].as_n().unwrap().parse().unwrap()
}

/// Returns the users of the events of an object and their event IDs.
fn events(object: u32) -> Vec<(&'static str, String)> {
    let users = USERS.iter().enumerate();
    let id = move |user: usize, event: u32| format!("00000000-0000-4000-8{object:03}-{user:04}{event:08}");
    users.flat_map(|(number, &(user, count))| (0..count).map(move |event| (user, id(number, event)))).collect()
}

/// Returns an object of the lake. Its window has ended, so that the schedule closes it.
fn lines(object: u32) -> String {
    let hour = jiff::Timestamp::now().as_second().div_euclid(3_600) - 2;
    let time = jiff::Timestamp::from_second(hour * 3_600 + 60).unwrap().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let lines = events(object).into_iter().map(|(user, id)| {
        json!({
            "eventVersion": "1.11",
            "eventTime": time,
            "eventName": "StopLogging",
            "eventSource": "cloudtrail.amazonaws.com",
            "awsRegion": "eu-west-1",
            "recipientAccountId": "111122223333",
            "userIdentity": {"arn": format!("arn:aws:iam::111122223333:user/{user}")},
            "eventID": id,
        })
        .to_string()
            + "\n"
    });
    lines.collect()
}

/// Returns the payload of a message about an object.
fn message(key: &str) -> String {
    let message = json!({
        "messageId": "1",
        "receiptHandle": "r",
        "body": notification::render(&ObjectRef::new("lake", key)),
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:{}:{}:detect", bed::REGION, bed::ACCOUNT),
        "awsRegion": bed::REGION,
    });
    json!({"Records": [message]}).to_string()
}

/// What happened to the function while it processed an object.
struct Survived {
    kills: usize,
    /// The alerts that were sent again.
    repeats: usize,
    took: Duration,
    calls: Vec<Exchange>,
}

/// Processes a new object with a new process, which is killed at most once, and checks the result.
async fn survive(bed: &KillBed, name: &str, point: KillPoint) -> Survived {
    bed.clear().await;
    bed.killer.kill();
    let object = bed.objects.fetch_add(1, Ordering::Relaxed);
    let key = format!("events/{object}");
    bed.s3.put_object().bucket("lake").key(&key).body(lines(object).into_bytes().into()).send().await.unwrap();
    let (message, before) = (message(&key), bed.receiver.requests().len());
    bed.faults.clear_calls();
    bed.killer.reset(point);
    let started = Instant::now();
    let timer = match point {
        KillPoint::Time(time) => Some(tokio::spawn({
            let killer = Arc::clone(&bed.killer);
            async move {
                tokio::time::sleep(time).await;
                let killed = tokio::task::block_in_place(|| killer.kill());
                killer.state.lock().unwrap().kills += killed;
            }
        })),
        _ => None,
    };

    let (mut is_acknowledged, mut invocations, mut after_kill) = (false, 0, None);
    let took = loop {
        invocations += 1;
        assert!(invocations <= MAX_INVOCATIONS, "{name}:\n{}", bed.function.log());
        match is_acknowledged {
            false => is_acknowledged = bed.invoke(&message).await,
            true if bed.invoke(SCHEDULE).await && is_empty(&bed.items().await) => break started.elapsed(),
            true => {}
        }
        if bed.killer.kills() > 0 && after_kill.is_none() {
            // The receiver gets requests of a killed process that are on their way.
            after_kill = Some(bed.unrecorded(before).await);
        }
        bed.end_lease().await;
    };
    if let Some(timer) = timer {
        timer.await.unwrap();
    }
    check_table(name, object, &bed.items().await);
    let repeats = check_alerts(name, bed, before);
    assert_eq!(
        repeats,
        after_kill.unwrap_or(0),
        "{name}: alerts that were sent again, and those whose record was lost"
    );
    Survived { kills: bed.killer.kills(), repeats, took, calls: bed.faults.exchanges() }
}

/// Whether no alert is pending and no window is open.
fn is_empty(items: &[HashMap<String, AttributeValue>]) -> bool {
    !items.iter().any(|item| text(item, "pk").starts_with("pending#") || text(item, "pk") == "open")
}

/// Each finding is recorded and counted once.
fn check_table(name: &str, object: u32, items: &[HashMap<String, AttributeValue>]) {
    let findings = items.iter().filter(|item| text(item, "sk").starts_with("finding#"));
    let mut found: Vec<Value> = findings.map(|item| serde_json::from_str(text(item, "content")).unwrap()).collect();
    let mut expected: Vec<_> = events(object).into_iter().map(|(_, id)| id).collect();
    found.sort_by_key(|finding| finding["event"]["id"].as_str().unwrap().to_owned());
    expected.sort();
    let found: Vec<_> = found.iter().map(|finding| finding["event"]["id"].as_str().unwrap()).collect();
    assert_eq!(found, expected, "{name}");
    let total: u32 = USERS.iter().map(|(_, count)| count).sum();
    let counts = items.iter().filter(|item| text(item, "sk") == "count");
    assert_eq!(counts.map(|item| number(item, "detailed")).collect::<Vec<_>>(), [total], "{name}");
    let windows = items.iter().filter(|item| text(item, "pk").starts_with("window#"));
    let mut windows: Vec<_> = windows.map(|item| (number(item, "findings"), number(item, "late"))).collect();
    windows.sort_unstable();
    assert_eq!(windows, [(2, 0), (41, 0)], "{name}");
    assert!(!items.iter().any(|item| text(item, "pk").starts_with("failed#")), "{name}: an alert failed");
}

/// Every alert arrived, in order within its group. Returns the number of repeats.
fn check_alerts(name: &str, bed: &KillBed, before: usize) -> usize {
    let requests = bed.receiver.requests().split_off(before);
    let mut groups = BTreeMap::<String, Vec<(String, u64)>>::new();
    let mut ids = Vec::new();
    for request in &requests {
        let id = request.header("webhook-id").unwrap().to_owned();
        if ids.contains(&id) {
            continue;
        }
        ids.push(id);
        let alert: Value = serde_json::from_slice(&request.body).unwrap();
        let user = alert["data"]["principal"].as_str().unwrap().rsplit('/').next().unwrap();
        let what = (alert["type"].as_str().unwrap().to_owned(), alert["data"]["count"].as_u64().unwrap());
        groups.entry(user.to_owned()).or_default().push(what);
    }
    let expected = USERS.map(|(user, count)| {
        let kinds = [("finding.created", 1), ("window.closed", u64::from(count))];
        (user.to_owned(), kinds.map(|(kind, count)| (kind.to_owned(), count)).to_vec())
    });
    assert_eq!(groups, BTreeMap::from(expected), "{name}:\n{}", bed.function.log());
    assert_eq!(ids.len(), ALERTS, "{name}");
    requests.len() - ids.len()
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_function_loses_and_repeats_nothing() {
    let bed = KillBed::start().await;
    // The first object records the rules. After it, the calls of every object are the same.
    survive(&bed, "first", KillPoint::Never).await;
    let whole = survive(&bed, "whole", KillPoint::Never).await;
    assert_eq!((whole.kills, whole.repeats), (0, 0));
    let mut points: Vec<KillPoint> = (0..ALERTS).map(KillPoint::Alert).collect();
    for (number, exchange) in whole.calls.iter().enumerate() {
        points.push(KillPoint::BeforeCall(number));
        if exchange.call.operation == "TransactWriteItems" {
            points.push(KillPoint::AfterCall(number));
        }
    }
    let (mut kills, mut repeats) = (0, 0);
    for (number, point) in points.iter().enumerate() {
        let survived = survive(&bed, &format!("point-{number}"), *point).await;
        assert_eq!(survived.kills, 1, "{point:?}: the function makes other calls than for the first object");
        kills += survived.kills;
        repeats += survived.repeats;
    }
    // At the alerts, and before and while it is recorded that they are sent.
    assert_eq!(repeats, 2 * ALERTS, "alerts whose record was lost");

    let seed = setting("TRAILHOSE_SEED", 7);
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut at_random, mut rounds) = (0, 0);
    while at_random < setting("TRAILHOSE_KILLS", 8) {
        rounds += 1;
        assert!(rounds < 200, "seed {seed}: {at_random} kills");
        let point = KillPoint::Time(whole.took.mul_f64(random.f64()));
        at_random += survive(&bed, &format!("seed-{seed}-{rounds}"), point).await.kills as u64;
    }
    println!(
        "seed {seed}: {kills} kills at {} calls and {ALERTS} alerts with {repeats} repeats, {at_random} kills at random \
         times, {:?} for an object",
        whole.calls.len(),
        whole.took,
    );
}
