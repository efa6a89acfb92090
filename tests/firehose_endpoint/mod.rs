//! Firehose's HTTP endpoint destination: the records that the Firehose sink packs, in requests as Firehose sends them, to a
//! receiver that checks each rule of the request format and answers as Firehose requires. No emulator delivers to HTTP endpoints.
//! <https://docs.aws.amazon.com/firehose/latest/dev/httpdeliveryrequestresponse.html>

use super::content;
use crate::bed::{self, http::Message};
use crate::laptop::{event, events};
use crate::receiver::{Answer, Receiver};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use trailhose::pack::{LinesPerRecord, Packer};
use trailhose::sink::Sink;
use trailhose::sink::firehose::Firehose;

const ACCESS_KEY: &str = "an-access-key";
const STREAM: &str = "arn:aws:firehose:us-east-1:111122223333:deliverystream/trailhose";

/// What the receiver has stored: the lines of each request, by its ID. A repeated request has no effect.
type Stored = Arc<Mutex<HashMap<String, Vec<String>>>>;

/// Returns the answer to a request, which must have the format of Firehose.
fn receive(request: &Message, stored: &Stored) -> Answer {
    let body: Value = serde_json::from_slice(&content(request)).unwrap_or_default();
    let header = |name: &str| request.header(name).unwrap_or_default().to_owned();
    let id = header("X-Amz-Firehose-Request-Id");
    let answer = |status: u16, error: Option<&str>| {
        let mut answer = json!({"requestId": id, "timestamp": jiff::Timestamp::now().as_millisecond()});
        if let Some(error) = error {
            answer["errorMessage"] = json!(error);
        }
        Answer::Reply(status, vec![("Content-Type", "application/json".into())], answer.to_string().into_bytes())
    };
    if header("X-Amz-Firehose-Access-Key") != ACCESS_KEY {
        return answer(401, Some("the access key is not valid"));
    }
    let is_valid = request.first.starts_with("POST ")
        && header("X-Amz-Firehose-Protocol-Version") == "1.0"
        && header("X-Amz-Firehose-Source-Arn") == STREAM
        && header("Content-Type") == "application/json"
        && !id.is_empty()
        && body["requestId"] == json!(id)
        && body["timestamp"].is_u64();
    let records = body["records"].as_array().filter(|_| is_valid);
    let decoded = records.and_then(|records| {
        let record = |record: &Value| base64_simd::STANDARD.decode_to_vec(record["data"].as_str()?).ok();
        records.iter().map(record).collect::<Option<Vec<_>>>()
    });
    let Some(decoded) = decoded else { return answer(400, Some("the request has not the format of Firehose")) };
    // A record has several events, each with a line end, and no event continues in the next record.
    let Some(lines) = decoded.iter().map(|record| lines(record)).collect::<Option<Vec<_>>>() else {
        return answer(400, Some("a record does not end with a line end"));
    };
    stored.lock().unwrap().entry(id.clone()).or_insert_with(|| lines.concat());
    answer(200, None)
}

fn lines(record: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(record).ok()?.strip_suffix('\n')?;
    Some(text.split('\n').map(str::to_owned).collect())
}

/// Returns a request of Firehose with these records.
fn delivery(id: &str, records: &[&[u8]], key: &str, is_compressed: bool) -> Message {
    let data = |record: &&[u8]| json!({"data": base64_simd::STANDARD.encode_to_string(record)});
    let body = json!({
        "requestId": id,
        "timestamp": 1_795_132_800_000_u64,
        "records": records.iter().map(data).collect::<Vec<_>>(),
    });
    let mut bytes = body.to_string().into_bytes();
    let mut headers = vec![
        ("X-Amz-Firehose-Protocol-Version", "1.0"),
        ("X-Amz-Firehose-Request-Id", id),
        ("X-Amz-Firehose-Source-Arn", STREAM),
        ("X-Amz-Firehose-Access-Key", key),
        ("Content-Type", "application/json"),
    ];
    if is_compressed {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&bytes).unwrap();
        bytes = encoder.finish().unwrap();
        headers.push(("Content-Encoding", "gzip"));
    }
    let mut request = Message::reply(0, &headers, bytes);
    request.first = "POST /hook HTTP/1.1".into();
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoint_of_firehose_gets_every_event_of_the_packed_records() {
    let stored = Stored::default();
    let receiver = Receiver::start(Answer::Close).await;
    let shared = Arc::clone(&stored);
    receiver.decide(move |request| receive(request, &shared));
    let address = receiver.url.trim_start_matches("http://").trim_end_matches("/hook").to_owned();
    let client = aws_sdk_firehose::Client::new(&bed::config("http://127.0.0.1:9"));
    for (lines, is_compressed, events) in
        [(LinesPerRecord::Many, true, events(0..4_000)), (LinesPerRecord::One, false, events(4_000..4_100))]
    {
        let limits = Firehose::new(client.clone(), "trailhose", lines).limits();
        let mut packer = Packer::new(limits, Arc::default());
        let mut calls = Vec::new();
        for (number, event) in events.iter().enumerate() {
            calls.extend(packer.push(event.as_bytes(), number as u32, 0).unwrap());
        }
        calls.extend(packer.finish());
        let is_packed = calls.iter().all(|call| call.records.len() < call.lines.len());
        assert_eq!(is_packed, lines == LinesPerRecord::Many, "several events in a record");
        for (number, call) in calls.iter().enumerate() {
            let records: Vec<&[u8]> = call.record_slices().collect();
            let id = format!("00000000-0000-4000-8000-{:06}{number:06}", events.len());
            let request = delivery(&id, &records, ACCESS_KEY, is_compressed);
            // Firehose repeats a request whose response it has not got, with the same ID.
            for _ in 0..2 {
                let reply = request.exchange(&address).await.unwrap();
                let answer: Value = serde_json::from_slice(&reply.body).unwrap();
                assert_eq!((reply.status(), reply.header("Content-Type")), (200, Some("application/json")), "{answer}");
                assert!(answer["requestId"] == json!(id) && answer["timestamp"].is_i64(), "{answer}");
            }
        }
    }
    let mut found: Vec<String> = stored.lock().unwrap().values().flatten().cloned().collect();
    let mut expected = events(0..4_100);
    found.sort();
    expected.sort();
    assert_eq!(found.len(), expected.len(), "each event once");
    assert!(found == expected, "the events' own bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoint_of_firehose_refuses_other_requests() {
    let stored = Stored::default();
    let receiver = Receiver::start(Answer::Close).await;
    let shared = Arc::clone(&stored);
    receiver.decide(move |request| receive(request, &shared));
    let address = receiver.url.trim_start_matches("http://").trim_end_matches("/hook").to_owned();
    let line = format!("{}\n", event(1));
    let valid = || delivery("1", &[line.as_bytes()], ACCESS_KEY, false);
    let with_header = |name: &str, value: Option<&str>| {
        let mut request = valid();
        request.set_header(name, value.map(str::to_owned));
        request
    };
    let with_body = |body: Value| {
        let mut request = valid();
        request.body = body.to_string().into_bytes();
        request.set_header("Content-Length", Some(request.body.len().to_string()));
        request
    };
    for (request, status) in [
        (delivery("1", &[line.as_bytes()], "another-key", false), 401),
        (with_header("X-Amz-Firehose-Access-Key", None), 401),
        (with_header("X-Amz-Firehose-Request-Id", Some("2")), 400),
        (with_header("X-Amz-Firehose-Protocol-Version", Some("2.0")), 400),
        (with_body(json!({"requestId": "1", "timestamp": 1, "records": [{"data": "no base64"}]})), 400),
        (with_body(json!({"requestId": "1", "timestamp": 1})), 400),
        (delivery("1", &[line.trim_end().as_bytes()], ACCESS_KEY, false), 400),
    ] {
        let reply = request.exchange(&address).await.unwrap();
        let answer: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(reply.status(), status, "{answer}");
        assert!(answer["errorMessage"].is_string() && answer["requestId"].is_string(), "{answer}");
    }
    assert!(stored.lock().unwrap().is_empty());
    assert_eq!(valid().exchange(&address).await.unwrap().status(), 200);
}
