//! The presets of forwards, each with a stand-in that enforces the rules of its protocol. No emulator offers these services.

mod tls;

use super::{Delivered, content, limits, quick};
use crate::bed::http::Message;
use crate::receiver::{Answer, Receiver};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use trailhose::forward::{ForwardConfig, ForwardPhase, ForwardPolicy, OtlpEncoding, Preset, SplunkConfig};
use trailhose::http::SecretSource;

fn path(request: &Message) -> &str {
    request.first.split(' ').nth(1).unwrap().split('?').next().unwrap()
}

fn reply(status: u16, body: Value) -> Answer {
    Answer::Reply(status, vec![("Content-Type", "application/json".into())], body.to_string().into_bytes())
}

fn token(folder: &Path, text: &str) -> SecretSource {
    let path = folder.join("token");
    std::fs::write(&path, text).unwrap();
    SecretSource::File(path)
}

fn id(event: &str) -> String {
    serde_json::from_str::<Value>(event).unwrap()["eventID"].as_str().unwrap().to_owned()
}

/// A Splunk collector: tokens, channels, one JSON object after another, and acknowledgements that are given once.
#[derive(Default)]
struct Collector {
    /// The acknowledgements that were not given yet, with the number of questions until the indexers are done.
    pending: HashMap<u64, u32>,
    next: u64,
    events: Vec<String>,
}

impl Collector {
    fn answer(&mut self, request: &Message) -> Answer {
        let error = |status, code, text: &str| reply(status, json!({"text": text, "code": code}));
        match request.header("authorization") {
            None => return error(401, 2, "Token is required"),
            Some("Splunk hunter2") => {}
            Some(_) => return error(403, 4, "Invalid token"),
        }
        let Some(channel) = request.header("x-splunk-request-channel") else {
            return error(400, 10, "Data channel is missing");
        };
        if uuid::Uuid::parse_str(channel).is_err() {
            return error(400, 11, "Invalid data channel");
        }
        if path(request) == "/services/collector/ack" {
            let asked: Value = serde_json::from_slice(&request.body).unwrap();
            let mut acks = serde_json::Map::new();
            for number in asked["acks"].as_array().unwrap().iter().map(|number| number.as_u64().unwrap()) {
                let is_done = match self.pending.get_mut(&number) {
                    Some(0) => true,
                    Some(left) => {
                        *left -= 1;
                        false
                    }
                    None => false,
                };
                if is_done {
                    self.pending.remove(&number);
                }
                acks.insert(number.to_string(), is_done.into());
            }
            return reply(200, json!({"acks": acks}));
        }
        if path(request) != "/services/collector/event" {
            return error(404, 404, "The requested URL was not found on this server.");
        }
        let content = content(request);
        let mut accepted = Vec::new();
        for (number, object) in serde_json::Deserializer::from_slice(&content).into_iter::<Value>().enumerate() {
            let Ok(object) = object else {
                return reply(400, json!({"text": "Invalid data format", "code": 6, "invalid-event-number": number}));
            };
            let members: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
            assert!(members.iter().all(|name| ["event", "index", "source", "sourcetype", "time"].contains(name)));
            match &object["event"] {
                Value::Null => {
                    let text = "Event field is required";
                    return reply(400, json!({"text": text, "code": 12, "invalid-event-number": number}));
                }
                event if event["eventID"].as_str().unwrap().ends_with("-000000000003") => {
                    let text = "Error in handling indexed fields";
                    return reply(400, json!({"text": text, "code": 15, "invalid-event-number": number}));
                }
                event => accepted.push(event["eventID"].as_str().unwrap().to_owned()),
            }
            assert_eq!(object["sourcetype"], "aws:cloudtrail");
            assert!(object["time"].as_i64().unwrap() > 1_700_000_000);
        }
        if accepted.is_empty() {
            return error(400, 5, "No data");
        }
        self.events.extend(accepted);
        let number = self.next;
        self.next += 1;
        self.pending.insert(number, 2);
        reply(200, json!({"text": "Success", "code": 0, "ackId": number}))
    }
}

fn splunk(receiver: &Receiver, acknowledge: bool) -> ForwardConfig {
    let url = receiver.url.replace("/hook", "/services/collector/event");
    let preset = Preset::Splunk(SplunkConfig { acknowledge, ..SplunkConfig::default() });
    ForwardConfig { preset, limits: limits(20), ..ForwardConfig::new("splunk", url) }
}

#[tokio::test(flavor = "multi_thread")]
async fn splunk_batches_wait_for_the_indexers() {
    let delivered = Delivered::new(40);
    let receiver = Receiver::start(Answer::status(500)).await;
    let collector = Arc::new(Mutex::new(Collector::default()));
    let answering = Arc::clone(&collector);
    receiver.decide(move |request| answering.lock().unwrap().answer(request));
    let config = ForwardConfig {
        credentials: Some(("Splunk".into(), token(delivered.out.path(), "hunter2"))),
        ..splunk(&receiver, true)
    };
    let report = delivered.drain(config).await;
    assert_eq!((report.error, report.refused), (None, 1), "one event is refused");
    let events: HashSet<String> = collector.lock().unwrap().events.iter().cloned().collect();
    assert_eq!(events.len(), 39);
    assert!(collector.lock().unwrap().pending.is_empty(), "each acknowledgement was awaited");
    let refused = delivered.state().refused_events("splunk", 10).unwrap();
    assert!(refused[0].event_id.ends_with("-000000000003") && refused[0].response.contains("code\":15"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn splunk_settings_that_are_wrong_block_without_a_loss() {
    let delivered = Delivered::new(5);
    let receiver = Receiver::start(Answer::status(500)).await;
    let folder = delivered.out.path();
    let policy = ForwardPolicy { last_retries: Duration::ZERO, ..quick() };
    let mut number = 0;
    let mut blocked = async |answer: Option<Value>, status, token_text: &str, acknowledge, expected: &str| {
        let collector = Mutex::new(Collector::default());
        receiver.decide(move |request| match &answer {
            Some(body) => reply(status, body.clone()),
            None => collector.lock().unwrap().answer(request),
        });
        number += 1;
        let config = ForwardConfig {
            name: format!("splunk{number}"),
            credentials: Some(("Splunk".into(), token(folder, token_text))),
            ..splunk(&receiver, acknowledge)
        };
        let (_sender, phase) = watch::channel(ForwardPhase::Drain);
        let report = delivered.forward(config, policy, phase).run().await;
        let error = report.error.unwrap();
        assert!(error.contains(expected) && !error.contains("hunter2"), "{expected}: {error}");
        assert_eq!((report.events, report.refused), (0, 0), "{expected}");
    };
    blocked(None, 0, "wrong", true, "status 403: {\"code\":4,\"text\":\"Invalid token\"}").await;
    blocked(None, 0, "hunter2", false, "Data channel is missing").await;
    let error = json!({"text": "Incorrect index", "code": 7});
    blocked(Some(error), 400, "hunter2", true, "Incorrect index").await;
    let success = json!({"text": "Success", "code": 0});
    blocked(Some(success), 200, "hunter2", true, "no indexer acknowledgement").await;
    // 200 with an error body.
    let busy = json!({"text": "Server is busy hunter2", "code": 9});
    blocked(Some(busy), 200, "hunter2", true, "status 200 with code 9: Server is busy").await;
    blocked(Some(json!("welcome")), 200, "hunter2", true, "the response is not that of Splunk's HTTP Event Collector")
        .await;
}

/// A bulk API: documents by their IDs.
#[derive(Default)]
struct Bulk {
    documents: HashMap<String, Value>,
    created: usize,
    conflicts: usize,
    busy: u32,
    /// Whether events that were refused are accepted.
    is_lenient: bool,
    /// Whether every second event is refused.
    refuses_half: bool,
}

impl Bulk {
    fn answer(&mut self, request: &Message) -> Answer {
        let failed = |reason: &str| {
            reply(400, json!({"error": {"type": "illegal_argument_exception", "reason": reason}, "status": 400}))
        };
        assert_eq!(request.header("content-type"), Some("application/x-ndjson"));
        let content = content(request);
        if content.last() != Some(&b'\n') {
            return failed("The bulk request must be terminated by a newline [\\n]");
        }
        let text = String::from_utf8(content).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let mut items = Vec::new();
        let mut errors = false;
        for pair in lines.chunks(2) {
            let [action, document] = pair else { return failed("missing source") };
            let action: Value = serde_json::from_str(action).unwrap();
            let Some(create) = action["create"].as_object() else { return failed("Malformed action/metadata line") };
            assert_eq!(create.keys().collect::<Vec<_>>(), ["_id"], "the URL names the index");
            let document: Value = serde_json::from_str(document).unwrap();
            let name = create["_id"].as_str().unwrap().to_owned();
            let [account, region, id] = ["recipientAccountId", "awsRegion", "eventID"]
                .map(|field| document[field].as_str().unwrap_or_default());
            assert_eq!(name, format!("{account}/{region}/{id}"));
            let mut item = json!({"_index": "cloudtrail", "_id": name});
            let (status, error) = if self.documents.contains_key(&name) {
                self.conflicts += 1;
                (409, Some("version_conflict_engine_exception"))
            } else if (name.ends_with("05") || self.is_lenient) && self.busy > 0 {
                self.busy -= 1;
                (429, Some("es_rejected_execution_exception"))
            } else if (name.ends_with("0a")
                || self.refuses_half && name.ends_with(['1', '3', '5', '7', '9', 'b', 'd', 'f']))
                && !self.is_lenient
            {
                (400, Some("document_parsing_exception"))
            } else {
                self.created += 1;
                self.documents.insert(name, document);
                (201, None)
            };
            item["status"] = status.into();
            if let Some(kind) = error {
                errors = true;
                item["error"] = json!({"type": kind, "reason": "a reason"});
            }
            items.push(json!({"create": item}));
        }
        reply(200, json!({"took": 1, "errors": errors, "items": items}))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_items_have_their_own_status_and_repeats_no_effect() {
    let delivered = Delivered::new(100);
    let receiver = Receiver::start(Answer::status(500)).await;
    let bulk = Arc::new(Mutex::new(Bulk { busy: 3, ..Bulk::default() }));
    let answering = Arc::clone(&bulk);
    let count = Mutex::new(0);
    receiver.decide(move |request| {
        let answer = answering.lock().unwrap().answer(request);
        *count.lock().unwrap() += 1;
        // The reply to the first request is lost, after its documents were created.
        if *count.lock().unwrap() == 1 { Answer::Close } else { answer }
    });
    let url = receiver.url.replace("/hook", "/cloudtrail/_bulk");
    let config = ForwardConfig {
        preset: Preset::Elastic { index: None },
        limits: limits(50),
        ..ForwardConfig::new("elastic", url)
    };
    let report = delivered.drain(config.clone()).await;
    assert_eq!((report.error, report.refused), (None, 1));
    {
        let bulk = bulk.lock().unwrap();
        assert!(bulk.conflicts > 0, "the first batch was repeated");
        assert_eq!((bulk.created, bulk.documents.len()), (99, 99), "no event is stored twice");
    }
    let refused = delivered.state().refused_events("elastic", 10).unwrap();
    assert_eq!((refused.len(), refused[0].status), (1, 400));
    assert!(refused[0].event_id.ends_with("0a") && refused[0].response.contains("document_parsing_exception"));

    // The refused event is sent again, and kept while the answer is a temporary failure.
    bulk.lock().unwrap().is_lenient = true;
    bulk.lock().unwrap().busy = 2;
    delivered.state().retry_forward("elastic").unwrap();
    assert_eq!(delivered.drain(config).await.error, None);
    assert_eq!(bulk.lock().unwrap().documents.len(), 100);
    assert!(delivered.state().refused_events("elastic", 10).unwrap().is_empty());
}

/// The destination accepts the other events, so the refusals do not open the circuit.
#[tokio::test(flavor = "multi_thread")]
async fn bulk_items_that_are_refused_beside_accepted_ones_are_stored() {
    let delivered = Delivered::new(100);
    let receiver = Receiver::start(Answer::status(500)).await;
    let bulk = Arc::new(Mutex::new(Bulk { refuses_half: true, ..Bulk::default() }));
    let answering = Arc::clone(&bulk);
    receiver.decide(move |request| answering.lock().unwrap().answer(request));
    let url = receiver.url.replace("/hook", "/cloudtrail/_bulk");
    let config = ForwardConfig {
        preset: Preset::Elastic { index: None },
        limits: limits(50),
        ..ForwardConfig::new("elastic", url)
    };
    let report = delivered.drain(config.clone()).await;
    // 50 events with odd numbers, and those whose numbers end with 0a.
    assert_eq!((report.error, report.failures, report.refused, report.events), (None, 0, 51, 49));
    let state = delivered.state();
    assert_eq!(state.forward("elastic").unwrap().unwrap().refusals, 0, "the row of refusals has ended");
    assert_eq!(state.refused_events("elastic", 1_000).unwrap().len(), 51);

    // They are refused again, which does not end the forward either.
    state.retry_forward("elastic").unwrap();
    let report = delivered.drain(config).await;
    assert_eq!((report.error, report.refused, bulk.lock().unwrap().documents.len()), (None, 51, 49));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_answers_with_status_200_are_failures() {
    let delivered = Delivered::new(5);
    let receiver = Receiver::start(Answer::status(200)).await;
    let policy = ForwardPolicy { last_retries: Duration::ZERO, ..quick() };
    let one = json!({"took": 1, "errors": false, "items": []});
    let denied: Vec<Value> = (0..5).map(|_| json!({"create": {"status": 403, "error": {"type": "denied"}}})).collect();
    let denied = json!({"took": 1, "errors": true, "items": denied});
    let bulk = Preset::Elastic { index: Some("i".into()) };
    let protobuf = Preset::Otlp(OtlpEncoding::Protobuf);
    let cases = [
        (bulk.clone(), b"<html>welcome</html>".to_vec(), "the response does not contain one result for each of the"),
        (bulk.clone(), one.to_string().into_bytes(), "the response does not contain one result for each of the"),
        (bulk, denied.to_string().into_bytes(), "status 403 of an event"),
        (protobuf, b"<html>welcome</html>".to_vec(), "the response is not that of an OTLP receiver"),
        (Preset::Otlp(OtlpEncoding::Json), b"<html>".to_vec(), "the response is not that of an OTLP receiver"),
    ];
    for (number, (preset, body, expected)) in cases.into_iter().enumerate() {
        receiver.set(Answer::Reply(200, Vec::new(), body));
        let url = receiver.url.replace("/hook", "/_bulk");
        let config = ForwardConfig { preset, ..ForwardConfig::new(format!("a{number}"), url) };
        let (_sender, phase) = watch::channel(ForwardPhase::Drain);
        let report = delivered.forward(config, policy, phase).run().await;
        assert_eq!((report.events, report.refused), (0, 0), "{expected}");
        let error = report.error.unwrap();
        assert!(error.contains(expected), "{error}");
    }
}

/// Returns the log records of requests, decoded with the schema.
fn records(encoding: &str, requests: &[Message]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let mut python = Command::new(crate::bed::tool("otlp/bin/python"));
    python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/forward_presets/schema.py")).arg(encoding);
    for (number, request) in requests.iter().enumerate() {
        let path = folder.path().join(number.to_string());
        std::fs::write(&path, content(request)).unwrap();
        python.arg(path);
    }
    let output = python.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn log_records_conform_to_the_schema_and_keep_the_bytes() {
    let delivered = Delivered::new(60);
    for (encoding, name, content_type, success) in [
        (OtlpEncoding::Json, "json", "application/json", &b"{\"partialSuccess\":{}}"[..]),
        (OtlpEncoding::Protobuf, "protobuf", "application/x-protobuf", b"\x0a\x00"),
    ] {
        let receiver = Receiver::start(Answer::Reply(200, Vec::new(), success.to_vec())).await;
        let url = receiver.url.replace("/hook", "/v1/logs");
        let config =
            ForwardConfig { preset: Preset::Otlp(encoding), limits: limits(25), ..ForwardConfig::new(name, url) };
        let report = delivered.drain(config).await;
        assert_eq!((report.error, report.events), (None, 60), "{name}");
        let requests = receiver.requests();
        assert!(requests.iter().all(|request| request.header("content-type") == Some(content_type)));
        let records = records(name, &requests);
        let found: HashSet<&str> = records.iter().map(|record| record["body"].as_str().unwrap()).collect();
        assert_eq!(found, delivered.events.iter().map(String::as_str).collect(), "{name}");
        for record in records {
            assert_eq!(record["attributes"]["aws.cloudtrail.event_id"], id(record["body"].as_str().unwrap()));
            assert_eq!(record["attributes"]["cloud.account.id"], "111122223333");
            assert_eq!((&record["scope"], &record["severity"]), (&"trailhose".into(), &9.into()));
            assert_eq!(record["resource"], json!({"cloud.provider": "aws", "service.name": "cloudtrail"}));
            assert!(record["time"].as_u64().unwrap() >= 1_793_500_000_000_000_000, "{record}");
            assert!(record["observed"].as_u64() > Some(0), "{record}");
        }
    }
}

/// A receiver that rejects a part of every request does not fill the disk.
#[tokio::test(flavor = "multi_thread")]
async fn partly_rejected_requests_in_a_row_stop_the_forward() {
    let delivered = Delivered::new(60);
    let body = b"{\"partialSuccess\":{\"rejectedLogRecords\":\"1\"}}".to_vec();
    let receiver = Receiver::start(Answer::Reply(200, Vec::new(), body)).await;
    let config = ForwardConfig {
        preset: Preset::Otlp(OtlpEncoding::Json),
        limits: limits(2),
        ..ForwardConfig::new("siem", &receiver.url)
    };
    let report = delivered.drain(config).await;
    assert_eq!((report.refused, receiver.requests().len()), (20, 11), "{:?}", report.error);
    assert!(report.error.is_some_and(|error| error.contains("10 events in a row were refused")));
}

/// The body that is lost could contain the number of rejected log records.
#[tokio::test(flavor = "multi_thread")]
async fn log_records_are_sent_again_if_the_body_of_the_response_is_lost() {
    let delivered = Delivered::new(10);
    for (encoding, name) in [(OtlpEncoding::Json, "json"), (OtlpEncoding::Protobuf, "protobuf")] {
        let receiver = Receiver::start(Answer::Close).await;
        let requests = AtomicUsize::new(0);
        receiver.decide(move |_| match requests.fetch_add(1, Ordering::SeqCst) {
            0 => Answer::CutBody,
            _ => Answer::status(200),
        });
        let config = ForwardConfig {
            preset: Preset::Otlp(encoding),
            limits: limits(10),
            ..ForwardConfig::new(name, &receiver.url)
        };
        let report = delivered.drain(config).await;
        assert_eq!((report.error, report.events, receiver.requests().len()), (None, 10, 2), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partly_rejected_log_records_are_stored_and_not_sent_again() {
    let delivered = Delivered::new(30);
    let json = b"{\"partialSuccess\":{\"rejectedLogRecords\":\"2\",\"errorMessage\":\"too old\"}}".to_vec();
    // partial_success { rejected_log_records: 2, error_message: "too old" }
    let protobuf = b"\x0a\x0b\x08\x02\x12\x07too old".to_vec();
    for (encoding, name, body) in [(OtlpEncoding::Json, "json", json), (OtlpEncoding::Protobuf, "protobuf", protobuf)] {
        let receiver = Receiver::start(Answer::Reply(200, Vec::new(), body)).await;
        let config = ForwardConfig {
            preset: Preset::Otlp(encoding),
            limits: limits(30),
            ..ForwardConfig::new(name, &receiver.url)
        };
        let report = delivered.drain(config).await;
        assert_eq!((report.error, report.refused), (None, 30), "{name}");
        let sent: usize = records(name, &receiver.requests()).len();
        assert_eq!(sent, 30, "{name}: each log record is sent once");
        let stored = delivered.state().refused_events(name, 100).unwrap();
        assert!(
            stored.iter().all(|event| event.response.contains("log records of this request were rejected: too old"))
        );
    }
}
