//! Credentials and event contents are never logged, at any log level and after any error.

mod bed;

use bed::emulator::Emulator;
use bed::faults::{Fault, Faults};
use bed::runtime::Runtime;
use bed::{stream, table};
use serde_json::json;
use trailhose::notification::render;
use trailhose::object::ObjectRef;

/// A marker at every place that could contain a secret. Each place has a different suffix.
const PLANTED: &str = "pl4nted";

fn key(number: u32) -> String {
    format!(
        "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/11/20/\
         111122223333_CloudTrail_eu-west-1_20261120T1000Z_{number:016}.json"
    )
}

fn event(number: u32, padding: usize) -> String {
    let id = format!("00000000-0000-4000-8000-{number:012x}");
    let secret = |place: &str| format!("{PLANTED}-{place}");
    json!({
        "eventID": id, "eventTime": "2026-11-20T10:00:00Z", "awsRegion": secret("region"),
        "recipientAccountId": secret("account"), "userAgent": secret("agent"), "errorMessage": secret("error"),
        "requestParameters": { "password": secret("parameter"), secret("name"): "x".repeat(padding) },
        "responseElements": { "credentials": { "sessionToken": secret("token") } },
    })
    .to_string()
}

/// Returns valid objects, objects with conflicting or oversize events, and one object for each reason of quarantine.
fn objects() -> Vec<String> {
    let one = event(1, 0);
    let log = |events: &[String]| format!("{{\"Records\":[{}]}}", events.join(","));
    vec![
        log(std::slice::from_ref(&one)),
        log(&[one.replace("agent", "other-agent"), event(2, 0)]),
        log(&[event(3, 1_100_000)]),
        format!("{{\"Records\":[{one}"),
        format!("{{\"Records\":[{one}]}} {PLANTED}-behind"),
        format!("{{\"Records\":[{one},{PLANTED}-bare]}}"),
        format!("{{\"Records\":\"{PLANTED}-text\"}}"),
        format!("{{\"{PLANTED}-field\":[{one}]}}"),
        format!("{{\"Records\":[{}]}}", one.replace("pl4nted-agent", "pl4nted-\u{1}agent")),
        format!("{PLANTED}-no-json-at-all"),
    ]
}

async fn services(emulator: &Emulator) -> Vec<ObjectRef> {
    let config = emulator.config();
    let s3 = aws_sdk_s3::Client::new(&config);
    for bucket in ["secrets", "lake"] {
        s3.create_bucket().bucket(bucket).send().await.unwrap();
    }
    let mut put = Vec::new();
    for (number, body) in (0..).zip(objects()) {
        s3.put_object().bucket("secrets").key(key(number)).body(body.into_bytes().into()).send().await.unwrap();
        put.push(ObjectRef::new("secrets", key(number)));
    }
    table::create(&aws_sdk_dynamodb::Client::new(&config), "ledger", &[]).await;
    stream::create(&aws_sdk_firehose::Client::new(&config), "events", "lake").await;
    put
}

fn batch(bodies: &[String]) -> String {
    let record = |(number, body): (usize, &String)| {
        json!({
            "messageId": format!("m{number}"), "receiptHandle": format!("{PLANTED}-receipt"), "body": body,
            "attributes": { "ApproximateReceiveCount": "1" }, "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:ingest",
        })
    };
    json!({ "Records": bodies.iter().enumerate().map(record).collect::<Vec<_>>() }).to_string()
}

#[tokio::test]
async fn credentials_and_event_contents_are_never_logged() {
    let emulator = Emulator::shared_ministack();
    let objects = services(emulator).await;
    let faults = Faults::before(emulator);
    // The log must contain errors of every service.
    faults.on("PutRecordBatch", 0..2, Fault::Throttle);
    faults.on("GetObject", 3..4, Fault::Deny);
    faults.on("UpdateItem", 5..7, Fault::Unavailable);
    let (secret, token) = (format!("{PLANTED}-secret-key"), format!("{PLANTED}-session-token"));
    // The highest log level, which includes the SDK and the runtime.
    let variables = [
        ("TRAILHOSE_TABLE", "ledger"),
        ("TRAILHOSE_STREAM", "events"),
        ("TRAILHOSE_OVERSIZE", "s3://lake"),
        ("AWS_SECRET_ACCESS_KEY", &*secret),
        ("AWS_SESSION_TOKEN", &*token),
        ("RUST_LOG", "trace"),
    ];
    let ingest = &bed::lambda_program("ingest");
    let function = Runtime::start(ingest, &faults.endpoint(), &variables);
    let bodies: Vec<_> = objects.iter().map(render).collect();
    let answer = function.invoke(&batch(&bodies)).await;
    function.invoke(&batch(&bodies)).await;
    let strange =
        [format!("{{\"secret\":\"{PLANTED}-message\"}}"), format!("{PLANTED}-text"), "{\"Records\":[]}".into()];
    function.invoke(&batch(&strange)).await;
    function.invoke(&format!("{{\"detail\":\"{PLANTED}-direct\"}}")).await;

    let injected: Vec<_> = faults.exchanges().into_iter().filter_map(|exchange| exchange.fault).collect();
    for fault in [Fault::Throttle, Fault::Deny, Fault::Unavailable] {
        assert!(injected.contains(&fault), "{fault:?} was not injected: {injected:?}");
    }
    let log = function.log();
    for expected in ["quarantined", "invalid message", "occurs with different content", "\"level\":\"DEBUG\""] {
        assert!(log.contains(expected), "{expected:?} is not logged, so this test proves nothing: {answer}\n{log}");
    }
    let leaks: Vec<_> = log.lines().filter(|line| line.contains(PLANTED)).collect();
    assert!(leaks.is_empty(), "{} lines, the first:\n{}", leaks.len(), leaks[0]);
    assert!(!log.contains("Signature=") && !log.contains("X-Amz-Signature"), "a signed request is logged");
}
