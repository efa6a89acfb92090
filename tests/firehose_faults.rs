//! Documented Firehose errors and network faults: no record is lost, and no acknowledged record is sent again.

mod common;

use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_credential_types::credential_fn::provide_credentials_fn;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_credential_types::provider::error::CredentialsError;
use common::stub::{Reply, Request, Stub};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use trailhose::aws;
use trailhose::backoff::Pace;
use trailhose::event::{EventId, EventScope};
use trailhose::object::Object;
use trailhose::pack::{LinesPerRecord, Packer, SinkCall};
use trailhose::sink::firehose::{BILLED_STEP, Firehose, SinkUsage};
use trailhose::sink::oversize::OversizeStore;
use trailhose::sink::{Oversize, Sink, SinkError};

/// A fault of one request, in request order. Requests after the last fault succeed.
enum Fault {
    /// HTTP 200, but the records at these indices fail with this code.
    Partly(&'static [usize], &'static str),
    /// An error for the whole call: status, code, message.
    Whole(u16, &'static str, &'static str),
    Reset,
    Silence,
    /// All records are accepted, but the reply is lost.
    LostReply,
    /// All records are accepted, but the reply has one entry too few.
    OneShort,
    /// The reply counts one failure, but marks no entry.
    Unmarked,
    /// An entry has neither a record ID nor an error.
    Blank(usize),
}

#[derive(Default)]
struct Stream {
    faults: VecDeque<Fault>,
    /// The records of each request, as sent.
    requests: Vec<Vec<String>>,
    /// The accepted records.
    taken: Vec<String>,
}

impl Stream {
    fn answer(&mut self, request: &Request) -> Reply {
        assert_eq!(request.header("x-amz-target"), Some("Firehose_20150804.PutRecordBatch"));
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body["DeliveryStreamName"], "lake");
        let sent: Vec<String> =
            body["Records"].as_array().unwrap().iter().map(|r| base64(r["Data"].as_str().unwrap())).collect();
        self.requests.push(sent.clone());
        let fault = self.faults.pop_front().unwrap_or(Fault::Partly(&[], ""));
        let (refused, code): (&[usize], _) = match fault {
            Fault::Partly(refused, code) => (refused, code),
            Fault::Whole(status, code, message) => {
                return json(status, &serde_json::json!({ "__type": code, "message": message }));
            }
            Fault::Reset => return Reply::Reset,
            Fault::Silence => return Reply::Silence(Duration::from_secs(5)),
            Fault::LostReply => {
                self.taken.extend(sent);
                return Reply::Reset;
            }
            Fault::OneShort => {
                let entries = vec![serde_json::json!({ "RecordId": "1" }); sent.len() - 1];
                self.taken.extend(sent);
                return json(200, &serde_json::json!({ "FailedPutCount": 0, "RequestResponses": entries }));
            }
            Fault::Unmarked => {
                let entries = vec![serde_json::json!({ "RecordId": "1" }); sent.len()];
                return json(200, &serde_json::json!({ "FailedPutCount": 1, "RequestResponses": entries }));
            }
            Fault::Blank(index) => {
                let entries: Vec<_> = (0..sent.len())
                    .map(|at| if at == index { serde_json::json!({}) } else { serde_json::json!({ "RecordId": "1" }) })
                    .collect();
                self.taken
                    .extend(sent.into_iter().enumerate().filter(|(at, _)| *at != index).map(|(_, record)| record));
                return json(200, &serde_json::json!({ "FailedPutCount": 0, "RequestResponses": entries }));
            }
        };
        let mut entries = Vec::new();
        for (index, record) in sent.into_iter().enumerate() {
            if refused.contains(&index) {
                entries.push(serde_json::json!({ "ErrorCode": code, "ErrorMessage": "Slow down." }));
            } else {
                entries.push(serde_json::json!({ "RecordId": index.to_string() }));
                self.taken.push(record);
            }
        }
        json(200, &serde_json::json!({ "FailedPutCount": refused.len(), "RequestResponses": entries }))
    }
}

fn json(status: u16, body: &serde_json::Value) -> Reply {
    Reply::Answer(status, vec![("content-type", "application/x-amz-json-1.1".into())], body.to_string().into_bytes())
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut values = [None; 256];
    DIGITS.iter().zip(0u32..).for_each(|(&digit, value)| values[usize::from(digit)] = Some(value));
    let (mut bytes, mut bits, mut held) = (Vec::with_capacity(text.len()), 0, 0);
    for digit in text.trim_end_matches('=').bytes() {
        bits = bits << 6 | values[usize::from(digit)].unwrap();
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    String::from_utf8(bytes).unwrap()
}

const QUICK: Pace = Pace { base: Duration::from_millis(1), cap: Duration::from_millis(5) };

async fn stream(faults: impl IntoIterator<Item = Fault>) -> (Firehose, Arc<Mutex<Stream>>) {
    let (config, stream) = served(faults).await;
    (Firehose::new(aws::firehose(&config), "lake", LinesPerRecord::Many).with_pace(QUICK), stream)
}

async fn served(faults: impl IntoIterator<Item = Fault>) -> (SdkConfig, Arc<Mutex<Stream>>) {
    let stream = Arc::new(Mutex::new(Stream { faults: faults.into_iter().collect(), ..Stream::default() }));
    let inside = Arc::clone(&stream);
    let stub = Stub::start(move |request| inside.lock().unwrap().answer(request));
    (common::config(&stub.endpoint()).await, stream)
}

/// Returns a call with records `0`, `1`, …, of two lines each.
fn call(records: usize) -> SinkCall {
    let body: Vec<String> = (0..records).map(|record| format!("{record} first\n{record} second\n")).collect();
    let ends = body.iter().scan(0, |end, record| {
        *end += record.len();
        Some(*end)
    });
    let mut call = SinkCall { records: ends.collect(), body: body.concat().into_bytes(), ..SinkCall::default() };
    let ends = call.body.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    call.lines = ends.zip(0..).map(|(end, ordinal)| trailhose::pack::PackedLine { end, ordinal, scope: 0 }).collect();
    call
}

fn record(index: usize) -> String {
    format!("{index} first\n{index} second\n")
}

fn all(records: usize) -> Vec<String> {
    (0..records).map(record).collect()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn sorted(stream: &Arc<Mutex<Stream>>) -> Vec<String> {
    let mut taken = stream.lock().unwrap().taken.clone();
    taken.sort();
    taken
}

#[tokio::test]
async fn successful_call_is_delivered_once_and_counted() {
    let (sink, stream) = stream([]).await;
    sink.deliver(&call(3), soon()).await.unwrap();
    assert_eq!(stream.lock().unwrap().requests, [all(3)]);
    let bytes = call(3).body.len() as u64;
    let expected = SinkUsage { calls: 1, records: 3, bytes, billed_bytes: 3 * BILLED_STEP, retried: 0 };
    assert_eq!(sink.counters().usage(), expected);
}

#[tokio::test]
async fn only_failed_records_are_sent_again() {
    let (sink, stream) =
        stream([Fault::Partly(&[1, 3, 4], "ServiceUnavailableException"), Fault::Partly(&[0, 2], "InternalFailure")])
            .await;
    sink.deliver(&call(5), soon()).await.unwrap();
    let requests = stream.lock().unwrap().requests.clone();
    assert_eq!(requests, [all(5), vec![record(1), record(3), record(4)], vec![record(1), record(4)]]);
    assert_eq!(sorted(&stream), all(5));
    let spent = sink.counters().usage();
    assert_eq!((spent.calls, spent.records, spent.retried), (3, 5, 5));
}

#[tokio::test]
async fn throttled_or_unavailable_call_is_retried() {
    let (sink, stream) = stream([
        Fault::Whole(400, "ThrottlingException", "Rate exceeded"),
        Fault::Whole(503, "ServiceUnavailableException", "Slow down."),
        Fault::Whole(500, "InternalFailure", ""),
        Fault::Whole(502, "NeverHeardOf", ""),
        Fault::Whole(400, "LimitExceededException", "You have exceeded a limit"),
    ])
    .await;
    sink.deliver(&call(2), soon()).await.unwrap();
    assert_eq!(stream.lock().unwrap().requests.len(), 6);
    assert_eq!(stream.lock().unwrap().taken, all(2));
}

#[tokio::test]
async fn connection_reset_is_retried() {
    let (sink, stream) = stream([Fault::Reset, Fault::Partly(&[0], "InternalFailure"), Fault::Reset]).await;
    sink.deliver(&call(2), soon()).await.unwrap();
    assert_eq!(sorted(&stream), all(2));
}

#[tokio::test]
async fn silent_service_is_retried() {
    let (config, stream) = served([Fault::Silence]).await;
    let patience = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_millis(300)).build();
    let client = aws::firehose(&config.into_builder().timeout_config(patience).build());
    let sink = Firehose::new(client, "lake", LinesPerRecord::Many).with_pace(QUICK);
    sink.deliver(&call(1), soon()).await.unwrap();
    assert_eq!(stream.lock().unwrap().taken, all(1));
}

#[tokio::test]
async fn lost_reply_is_retried() {
    let (sink, stream) = stream([Fault::LostReply]).await;
    sink.deliver(&call(3), soon()).await.unwrap();
    assert_eq!(stream.lock().unwrap().taken, [all(3), all(3)].concat());
}

#[tokio::test]
async fn mismatched_reply_acknowledges_nothing() {
    for (fault, says) in
        [(Fault::OneShort, "returned results for 2 records, but 3 were sent"), (Fault::Unmarked, "marked 0")]
    {
        let (sink, stream) = stream([fault]).await;
        let error = sink.deliver(&call(3), soon()).await.unwrap_err();
        assert!(matches!(&error, SinkError::Unavailable(what) if what.contains(says)), "{error}");
        assert_eq!(stream.lock().unwrap().requests.len(), 1);
        assert_eq!(sink.counters().usage(), SinkUsage { calls: 1, ..SinkUsage::default() });
    }
}

#[tokio::test]
async fn entry_without_record_id_is_sent_again() {
    let (sink, stream) = stream([Fault::Blank(1)]).await;
    sink.deliver(&call(3), soon()).await.unwrap();
    assert_eq!(stream.lock().unwrap().requests[1], [record(1)]);
    assert_eq!(sorted(&stream), all(3));
}

#[tokio::test]
async fn deadline_error_counts_pending_records() {
    let throttled = || Fault::Partly(&[0], "ServiceUnavailableException");
    let (sink, stream) =
        stream(std::iter::once(Fault::Partly(&[0, 2], "x")).chain((0..9999).map(|_| throttled()))).await;
    let start = Instant::now();
    let error = sink.deliver(&call(3), start + Duration::from_millis(400)).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let SinkError::Partial { unacknowledged, error } = error else { panic!("{error}") };
    assert_eq!(unacknowledged, [0], "the other records were acknowledged, by two responses");
    let SinkError::OutOfTime { failed, records, code } = *error else { panic!("{error}") };
    assert_eq!((failed, records, code.as_str()), (1, 3, "ServiceUnavailableException"));
    assert_eq!(sorted(&stream), [record(1), record(2)]);
}

#[tokio::test]
async fn deadline_aborts_a_request() {
    let (sink, stream) = stream([Fault::Silence]).await;
    let start = Instant::now();
    let error = sink.deliver(&call(1), start + Duration::from_millis(200)).await.unwrap_err();
    assert!(matches!(error, SinkError::OutOfTime { failed: 1, records: 1, .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());

    let error = sink.deliver(&call(1), Instant::now()).await.unwrap_err();
    assert!(matches!(error, SinkError::OutOfTime { failed: 1, records: 1, .. }), "{error}");
    assert_eq!(stream.lock().unwrap().requests.len(), 1);
}

#[tokio::test]
async fn no_backoff_beyond_the_deadline() {
    let (sink, _) = stream([Fault::Partly(&[0], "ServiceUnavailableException")]).await;
    let days = Duration::from_secs(1_000_000);
    let sink = sink.with_pace(Pace { base: days, cap: days });
    let start = Instant::now();
    let error = sink.deliver(&call(2), start + Duration::from_secs(5)).await.unwrap_err();
    let SinkError::Partial { unacknowledged, error } = error else { panic!("{error}") };
    assert_eq!(unacknowledged, [0]);
    assert!(matches!(*error, SinkError::OutOfTime { failed: 1, records: 2, .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn denied_record_denies_the_call() {
    let (sink, _) = stream([Fault::Partly(&[1], "KMS.AccessDeniedException")]).await;
    let error = sink.deliver(&call(2), soon()).await.unwrap_err();
    let SinkError::Partial { unacknowledged, error } = error else { panic!("{error}") };
    assert_eq!(unacknowledged, [1]);
    assert!(matches!(&*error, SinkError::Denied(text) if text.contains("KMS.AccessDeniedException")), "{error}");
}

/// Every way in which a call can fail after a response that acknowledged a part of it.
#[tokio::test]
async fn error_after_a_partial_response_names_the_unacknowledged_records() {
    let faults = [
        Fault::Whole(400, "AccessDeniedException", "no"),
        Fault::Whole(400, "InvalidArgumentException", "no"),
        Fault::Whole(400, "ResourceNotFoundException", "no"),
        Fault::Silence,
        Fault::OneShort,
        Fault::Unmarked,
        Fault::Partly(&[0, 1], "KMS.AccessDeniedException"),
    ];
    for fault in faults {
        let (sink, stream) = stream([Fault::Partly(&[1, 3], "ServiceUnavailableException"), fault]).await;
        let error = sink.deliver(&call(4), Instant::now() + Duration::from_millis(900)).await.unwrap_err();
        let SinkError::Partial { unacknowledged, error } = error else { panic!("{error}") };
        assert_eq!(unacknowledged, [1, 3], "{error}");
        assert!(!matches!(*error, SinkError::Partial { .. }));
        assert_eq!(stream.lock().unwrap().requests[1], [record(1), record(3)]);
    }
}

#[tokio::test]
async fn error_without_an_acknowledged_record_is_not_partial() {
    let (sink, _) = stream([Fault::Partly(&[0, 1], "KMS.AccessDeniedException")]).await;
    assert!(matches!(sink.deliver(&call(2), soon()).await, Err(SinkError::Denied(_))));
}

#[tokio::test]
async fn missing_credentials_are_a_clear_error() {
    let none = provide_credentials_fn(async || Err(CredentialsError::not_loaded("none in the environment")));
    let config = common::config("http://127.0.0.1:9").await.into_builder();
    let config = config.credentials_provider(SharedCredentialsProvider::new(none)).build();
    let sink = Firehose::new(aws::firehose(&config), "lake", LinesPerRecord::Many);
    let error = sink.deliver(&call(1), soon()).await.unwrap_err();
    assert!(matches!(&error, SinkError::Denied(text) if text.contains("no AWS credentials")), "{error}");
}

#[tokio::test]
async fn denial_names_action_and_stream() {
    let sentence = "User: arn:aws:sts::111122223333:assumed-role/r/s is not authorized to perform: \
                    firehose:PutRecordBatch on resource: arn:aws:firehose:us-east-1:111122223333:deliverystream/lake";
    let (sink, stream) = stream([Fault::Whole(400, "AccessDeniedException", sentence)]).await;
    let error = sink.deliver(&call(1), soon()).await.unwrap_err();
    let SinkError::Denied(text) = error else { panic!("{error}") };
    assert!(text.contains("allow firehose:PutRecordBatch on this stream"), "{text}");
    assert!(text.contains("assumed-role/r/s"), "{text}");
    assert_eq!(stream.lock().unwrap().requests.len(), 1);
}

#[tokio::test]
async fn permanent_errors_are_not_retried() {
    for (code, says) in [
        ("InvalidArgumentException", "rejected a call of 1 records, and a retry cannot succeed"),
        ("ValidationException", "rejected a call of 1 records, and a retry cannot succeed"),
    ] {
        let (sink, stream) = stream([Fault::Whole(400, code, "told you")]).await;
        let error = sink.deliver(&call(1), soon()).await.unwrap_err();
        let SinkError::Unavailable(text) = error else { panic!("{error}") };
        assert!(text.contains(says) && text.contains(code) && text.contains("told you"), "{text}");
        assert_eq!(stream.lock().unwrap().requests.len(), 1);
    }
}

#[tokio::test]
async fn missing_stream_is_an_error_of_its_own() {
    let (sink, stream) = stream([Fault::Whole(400, "ResourceNotFoundException", "told you")]).await;
    let error = sink.deliver(&call(1), soon()).await.unwrap_err();
    let SinkError::NotFound(text) = error else { panic!("{error}") };
    assert!(text.contains("Firehose stream lake does not exist") && text.contains("told you"), "{text}");
    assert_eq!(stream.lock().unwrap().requests.len(), 1);
}

#[tokio::test]
async fn call_of_4_mib_is_delivered() {
    let (sink, stream) = stream([Fault::Partly(&[2], "ServiceUnavailableException")]).await;
    let mut packer = Packer::new(sink.limits(), Arc::default());
    let line = vec![b'x'; 1_200];
    let full = (0..).find_map(|ordinal| packer.push(&line, ordinal, 0).unwrap()).unwrap();
    sink.deliver(&full, soon()).await.unwrap();
    let stream = stream.lock().unwrap();
    assert_eq!(stream.requests.iter().map(Vec::len).collect::<Vec<_>>(), [full.records.len(), 1]);
    assert_eq!(stream.taken.iter().map(String::len).sum::<usize>(), full.body.len());
}

#[tokio::test]
async fn stream_arn_is_accepted_and_an_empty_call_sends_nothing() {
    let (config, stream) = served([]).await;
    let arn = "arn:aws:firehose:us-east-1:111122223333:deliverystream/lake";
    let sink = Firehose::new(aws::firehose(&config), arn, LinesPerRecord::One);
    assert_eq!(sink.limits().lines, LinesPerRecord::One);
    sink.deliver(&call(1), soon()).await.unwrap();
    sink.deliver(&SinkCall::default(), soon()).await.unwrap();
    assert_eq!(stream.lock().unwrap().requests.len(), 1);
}

/// Starts an S3 that records the puts, or returns this status and code.
async fn bucket(refusal: Option<(u16, &'static str)>) -> (Firehose, Arc<Mutex<Vec<(String, String)>>>) {
    let puts = Arc::new(Mutex::new(Vec::new()));
    let inside = Arc::clone(&puts);
    let stub = Stub::start(move |request: &Request| match refusal {
        Some((status, code)) => {
            let body = format!("<Error><Code>{code}</Code><Message>said so</Message></Error>");
            Reply::Answer(status, vec![], body.into_bytes())
        }
        None => {
            assert_eq!(request.method, "PUT");
            let put = (request.path.clone(), String::from_utf8_lossy(&request.body).into_owned());
            inside.lock().unwrap().push(put);
            Reply::Answer(200, vec![("etag", "\"e\"".into())], vec![])
        }
    });
    let config = common::config(&stub.endpoint()).await;
    let oversize_store = OversizeStore::new(aws::s3(&config), "s3://bucket/some/prefix/").unwrap();
    (Firehose::new(aws::firehose(&config), "lake", LinesPerRecord::Many).with_oversize_store(oversize_store), puts)
}

fn object() -> Object {
    Object { bucket: "logs".into(), key: "AWSLogs/1/é b.json.gz".into(), etag: "e".into() }
}

fn oversize(object: &Object) -> Oversize<'_> {
    static NOWHERE: EventScope = EventScope { account: String::new(), region: String::new(), minute: None };
    Oversize { object, ordinal: 7, id: EventId([0; 16]), scope: &NOWHERE, line: b"{\"eventID\":1}" }
}

#[tokio::test]
async fn oversize_event_has_a_stable_key() {
    let (sink, puts) = bucket(None).await;
    let object = object();
    let first = sink.store_oversize(&oversize(&object)).await.unwrap();
    assert_eq!(sink.store_oversize(&oversize(&object)).await.unwrap(), first);
    assert_eq!(first, format!("s3://bucket/some/prefix/oversize/{}-7.json", object.id()));
    let puts = puts.lock().unwrap();
    assert_eq!(puts.len(), 2);
    for (path, body) in puts.iter() {
        assert!(path.starts_with(&first.replace("s3://", "/")), "{path}");
        assert!(body.contains("{\"eventID\":1}"), "{body}");
    }
}

#[tokio::test]
async fn oversize_store_error_names_the_cause() {
    let object = object();
    let (sink, _) = bucket(Some((403, "AccessDenied"))).await;
    let error = sink.store_oversize(&oversize(&object)).await.unwrap_err();
    let SinkError::Denied(text) = error else { panic!("{error}") };
    assert!(text.contains("allow s3:PutObject") && text.contains("bucket/some/prefix/*"), "{text}");

    let (sink, _) = bucket(Some((404, "NoSuchBucket"))).await;
    let error = sink.store_oversize(&oversize(&object)).await.unwrap_err();
    assert!(
        matches!(&error, SinkError::Unavailable(text) if text.contains("the bucket does not exist; create it")),
        "{error}"
    );

    let (sink, _) = stream([]).await;
    let error = sink.store_oversize(&oversize(&object)).await.unwrap_err();
    assert!(matches!(&error, SinkError::NoOversizeStore(text) if text.contains("set TRAILHOSE_OVERSIZE")), "{error}");
}
