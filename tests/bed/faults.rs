//! A proxy between an AWS client and an emulator that injects faults of networks and services, and records the calls.
//!
//! It runs on a separate thread, so a test that blocks does not stop it.

use super::emulator::Emulator;
use super::http::Message;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// A fault of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The service throttles the call with its own error code.
    Throttle,
    /// 503 without effect.
    Unavailable,
    /// Permission denied.
    Deny,
    /// A transaction of DynamoDB is cancelled, because another one changes its first item.
    Conflict,
    /// The connection is reset before the service sees the call.
    Reset,
    /// The call takes effect, but its reply is lost.
    LoseReply,
    /// The call takes effect, but its reply ends after this many bytes of the body.
    CutReply(usize),
    /// A `PutRecordBatch` in which the records at these indices fail. The others are sent as the account's root
    /// user, because the caller's signature does not match the shorter body.
    FailRecords(Vec<usize>),
    /// A `SendMessageBatch` in which the messages at these indices fail. The others are sent as the root user.
    FailEntries(Vec<usize>),
    /// The call is delayed.
    Delay(Duration),
}

/// A received call.
#[derive(Debug)]
pub struct SinkCall {
    /// The API operation: `UpdateItem`, `PutRecordBatch`, `GetObject`, `ListObjectsV2`.
    pub operation: String,
    /// The number of earlier calls of this operation.
    pub nth: usize,
    /// The HTTP method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The body.
    pub body: Vec<u8>,
}

impl SinkCall {
    /// Parses the body of a call to a JSON service.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// A call and its result.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The call.
    pub call: Arc<SinkCall>,
    /// The injected fault.
    pub fault: Option<Fault>,
    /// The status of the reply, also if the reply was lost. `None` if the service did not receive the call.
    pub status: Option<u16>,
    /// The body of the reply.
    pub reply: Vec<u8>,
}

type Rule = Box<dyn FnMut(&SinkCall) -> Option<Fault> + Send>;

#[derive(Default)]
struct State {
    upstream: Option<String>,
    rules: Vec<Rule>,
    counts: std::collections::HashMap<String, usize>,
    exchanges: Vec<Exchange>,
}

/// The running proxy.
pub struct Faults {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    runtime: Option<Runtime>,
}

impl Faults {
    /// Starts a proxy without an endpoint, for an emulator that needs the address of the proxy when it starts.
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::clone(&state);
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, state, runtime: Some(runtime) }
    }

    /// Starts a proxy for an emulator.
    pub fn before(emulator: &Emulator) -> Self {
        let faults = Self::start();
        faults.forward_to(&emulator.endpoint());
        faults
    }

    /// Forwards calls to this endpoint from now on.
    pub fn forward_to(&self, endpoint: &str) {
        self.state.lock().unwrap().upstream = Some(endpoint.trim_start_matches("http://").to_owned());
    }

    /// Returns the URL of the proxy.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the AWS configuration of clients that use the proxy.
    pub fn config(&self) -> aws_config::SdkConfig {
        super::config(&self.endpoint())
    }

    /// Adds a rule. The rules are evaluated for each call in the order of addition, until one returns a fault.
    pub fn when(&self, rule: impl FnMut(&SinkCall) -> Option<Fault> + Send + 'static) {
        self.state.lock().unwrap().rules.push(Box::new(rule));
    }

    /// Injects a fault into the calls of one operation whose number, from 0, is in the range.
    pub fn on(&self, operation: &'static str, nth: std::ops::Range<usize>, fault: Fault) {
        self.when(move |call| (call.operation == operation && nth.contains(&call.nth)).then(|| fault.clone()));
    }

    /// Removes all rules.
    pub fn heal(&self) {
        self.state.lock().unwrap().rules.clear();
    }

    /// Deletes the recorded calls, so that counts start at 0 again.
    pub fn clear_calls(&self) {
        let mut state = self.state.lock().unwrap();
        state.counts.clear();
        state.exchanges.clear();
    }

    /// Returns the number of received calls of an operation, including those with faults.
    pub fn count(&self, operation: &str) -> usize {
        self.state.lock().unwrap().counts.get(operation).copied().unwrap_or(0)
    }

    /// Returns all finished calls in the order of their ends.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.state.lock().unwrap().exchanges.clone()
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        // A runtime must not be dropped inside another runtime, but this method may be called anywhere.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(mut client: TcpStream, state: Arc<Mutex<State>>) {
    let Ok(Some(request)) = Message::read_request(&mut client).await else { return };
    let (call, fault, upstream) = {
        let mut state = state.lock().unwrap();
        let call = Arc::new(describe(&request, &mut state.counts));
        let fault = state.rules.iter_mut().find_map(|rule| rule(&call));
        (call, fault, state.upstream.clone().unwrap_or_default())
    };
    if let Some(Fault::Delay(time)) = fault {
        tokio::time::sleep(time).await;
    }
    let reply = match &fault {
        Some(Fault::Reset) => None,
        Some(Fault::Throttle | Fault::Unavailable | Fault::Deny | Fault::Conflict) => {
            fault.as_ref().map(|fault| refusal(&request, fault))
        }
        Some(Fault::FailRecords(indices)) => fail_records(&request, indices, &upstream).await,
        Some(Fault::FailEntries(indices)) => fail_entries(&request, indices, &upstream).await,
        None | Some(Fault::LoseReply | Fault::CutReply(_) | Fault::Delay(_)) => request.exchange(&upstream).await.ok(),
    };
    state.lock().unwrap().exchanges.push(Exchange {
        call,
        fault: fault.clone(),
        status: reply.as_ref().map(Message::status),
        reply: reply.as_ref().map(|reply| reply.body.clone()).unwrap_or_default(),
    });
    let sent = match (&fault, &reply) {
        (Some(Fault::LoseReply), _) | (_, None) => None,
        (Some(Fault::CutReply(length)), Some(reply)) => {
            let whole = reply.bytes();
            Some(whole[..whole.len() - reply.body.len().saturating_sub(*length)].to_vec())
        }
        (_, Some(reply)) => Some(reply.bytes()),
    };
    // The client may have closed the connection.
    match sent {
        Some(bytes) => {
            let _ = client.write_all(&bytes).await;
            let _ = client.shutdown().await;
        }
        None => {
            let _ = client.set_zero_linger();
        }
    }
}

fn describe(request: &Message, counts: &mut std::collections::HashMap<String, usize>) -> SinkCall {
    let mut words = request.first.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let path = words.next().unwrap_or_default().to_owned();
    let operation = match request.header("X-Amz-Target").and_then(|target| target.split_once('.')) {
        Some((_, operation)) => operation.to_owned(),
        None => s3_operation(&method, &path).to_owned(),
    };
    let count = counts.entry(operation.clone()).or_default();
    *count += 1;
    SinkCall { operation, nth: *count - 1, method, path, body: request.body.clone() }
}

fn s3_operation(method: &str, path: &str) -> &'static str {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let has_key = path.trim_start_matches('/').split_once('/').is_some_and(|(_, key)| !key.is_empty());
    match (method, has_key) {
        ("GET", true) => "GetObject",
        ("HEAD", true) => "HeadObject",
        ("PUT", true) => "PutObject",
        ("DELETE", true) => "DeleteObject",
        ("GET", false) if query.contains("list-type=2") => "ListObjectsV2",
        ("HEAD", false) => "HeadBucket",
        ("PUT", false) => "CreateBucket",
        _ => "Other",
    }
}

/// Returns an error reply in the format of the called service.
fn refusal(request: &Message, fault: &Fault) -> Message {
    let Some(target) = request.header("X-Amz-Target") else {
        let (status, code) = match fault {
            Fault::Throttle => (503, "SlowDown"),
            Fault::Deny => (403, "AccessDenied"),
            _ => (503, "ServiceUnavailable"),
        };
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>made up</Message></Error>"
        );
        return Message::reply(status, &[("Content-Type", "application/xml")], body.into_bytes());
    };
    if matches!(fault, Fault::Conflict) {
        let body = json!({
            "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
            "Message": "made up",
            "CancellationReasons": [{"Code": "TransactionConflict"}, {"Code": "None"}],
        });
        let headers = [("Content-Type", "application/x-amz-json-1.0")];
        return Message::reply(400, &headers, body.to_string().into_bytes());
    }
    let (status, code) = match fault {
        Fault::Throttle if target.starts_with("DynamoDB") => (400, "ProvisionedThroughputExceededException"),
        // The error of Firehose when the quota of a stream is exhausted.
        Fault::Throttle if target.starts_with("Firehose") => (500, "ServiceUnavailableException"),
        Fault::Throttle => (400, "ThrottlingException"),
        Fault::Deny => (400, "AccessDeniedException"),
        _ => (503, "ServiceUnavailable"),
    };
    let body = json!({"__type": code, "message": "made up"}).to_string();
    Message::reply(status, &[("Content-Type", "application/x-amz-json-1.1")], body.into_bytes())
}

/// Forwards the records that must not fail, and replies for all records in order.
async fn fail_records(request: &Message, indices: &[usize], upstream: &str) -> Option<Message> {
    let mut body: Value = serde_json::from_slice(&request.body).ok()?;
    let records = body["Records"].as_array()?.clone();
    let good: Vec<_> =
        records.iter().enumerate().filter(|(at, _)| !indices.contains(at)).map(|(_, record)| record.clone()).collect();
    let mut answers = Vec::new().into_iter();
    let mut failed = records.len() - good.len();
    if !good.is_empty() {
        body["Records"] = Value::Array(good);
        let reply = as_root("firehose", request, body.to_string().into_bytes()).exchange(upstream).await.ok()?;
        if reply.status() != 200 {
            return Some(reply);
        }
        let reply: Value = serde_json::from_slice(&reply.body).ok()?;
        failed += usize::try_from(reply["FailedPutCount"].as_u64()?).ok()?;
        answers = reply["RequestResponses"].as_array()?.clone().into_iter();
    }
    let made_up = json!({"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "made up"});
    let responses: Vec<_> = (0..records.len())
        .map(|at| if indices.contains(&at) { Some(made_up.clone()) } else { answers.next() })
        .collect::<Option<_>>()?;
    let body = json!({"FailedPutCount": failed, "Encrypted": false, "RequestResponses": responses}).to_string();
    Some(Message::reply(200, &[("Content-Type", "application/x-amz-json-1.1")], body.into_bytes()))
}

/// Forwards the messages that must not fail, and replies for all messages.
async fn fail_entries(request: &Message, indices: &[usize], upstream: &str) -> Option<Message> {
    let mut body: Value = serde_json::from_slice(&request.body).ok()?;
    let (bad, good): (Vec<_>, Vec<_>) =
        body["Entries"].as_array()?.clone().into_iter().enumerate().partition(|(at, _)| indices.contains(at));
    body["Entries"] = good.into_iter().map(|(_, entry)| entry).collect();
    let reply = as_root("sqs", request, body.to_string().into_bytes()).exchange(upstream).await.ok()?;
    if reply.status() != 200 {
        return Some(reply);
    }
    let mut answer: Value = serde_json::from_slice(&reply.body).ok()?;
    let failed = bad.into_iter().map(
        |(_, entry)| json!({"Id": entry["Id"], "SenderFault": false, "Code": "InternalError", "Message": "made up"}),
    );
    answer["Failed"] = failed.collect();
    let body = answer.to_string().into_bytes();
    Some(Message::reply(200, &[("Content-Type", "application/x-amz-json-1.0")], body))
}

/// Returns the request with another body and the root user, whose signature the emulators do not verify.
fn as_root(service: &str, request: &Message, body: Vec<u8>) -> Message {
    let mut request = request.clone();
    request.set_header("Authorization", Some(super::http::root_authorization(service)));
    request.set_header("X-Amz-Security-Token", None);
    request.set_header("Content-Length", Some(body.len().to_string()));
    request.body = body;
    request
}
