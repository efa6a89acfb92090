//! A proxy between an AWS client and an emulator that does what networks and services do on a bad day, when told to, and
//! keeps count of what went through.
//!
//! It runs on a thread of its own, so a test that blocks does not stop it.

use super::emulator::Emulator;
use super::http::Message;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// What goes wrong with one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The service refuses for the rate, in the words it has for that.
    Throttle,
    /// 503 without effect.
    Unavailable,
    /// Permission denied.
    Deny,
    /// The connection is reset before the service sees the call.
    Reset,
    /// The call takes effect, its reply is lost.
    LoseReply,
    /// The call takes effect, its reply ends after so many bytes of the body.
    CutReply(usize),
    /// A `PutRecordBatch` in which the records at these indices fail. The others go on under the account's root,
    /// because the caller's signature does not fit the shorter body.
    FailRecords(Vec<usize>),
    /// A `SendMessageBatch` in which the messages at these indices fail, under the same account as above.
    FailEntries(Vec<usize>),
    /// The call goes through, late.
    Delay(Duration),
}

/// One call as it came in.
#[derive(Debug)]
pub struct Call {
    /// The API operation: `UpdateItem`, `PutRecordBatch`, `GetObject`, `ListObjectsV2`.
    pub operation: String,
    /// How many calls of this operation came before.
    pub nth: usize,
    /// The HTTP method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Call {
    /// The body of a JSON service's call.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// One call and what became of it.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The call.
    pub call: Arc<Call>,
    /// What was done to it.
    pub fault: Option<Fault>,
    /// The status the client got, or would have got had the reply not been lost; none if the service never saw the call.
    pub status: Option<u16>,
    /// The body of that reply.
    pub reply: Vec<u8>,
}

type Rule = Box<dyn FnMut(&Call) -> Option<Fault> + Send>;

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
    /// A proxy that does not yet know whom it stands before: for an emulator that must know the proxy first.
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

    /// A proxy before an emulator.
    pub fn before(emulator: &Emulator) -> Self {
        let faults = Self::start();
        faults.forward_to(&emulator.endpoint());
        faults
    }

    /// Passes calls on to this endpoint from now on.
    pub fn forward_to(&self, endpoint: &str) {
        self.state.lock().unwrap().upstream = Some(endpoint.trim_start_matches("http://").to_owned());
    }

    /// Where it listens, as an URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What a client needs to talk through it.
    pub fn config(&self) -> aws_config::SdkConfig {
        super::config(&self.endpoint())
    }

    /// Adds a rule. Each call goes to the rules in the order in which they were added, until one of them names a fault.
    pub fn when(&self, rule: impl FnMut(&Call) -> Option<Fault> + Send + 'static) {
        self.state.lock().unwrap().rules.push(Box::new(rule));
    }

    /// The same fault for the calls of one operation whose number, from 0, is in the range.
    pub fn on(&self, operation: &'static str, nth: std::ops::Range<usize>, fault: Fault) {
        self.when(move |call| (call.operation == operation && nth.contains(&call.nth)).then(|| fault.clone()));
    }

    /// No faults any more.
    pub fn heal(&self) {
        self.state.lock().unwrap().rules.clear();
    }

    /// Forgets the calls so far: counts begin again at 0.
    pub fn forget(&self) {
        let mut state = self.state.lock().unwrap();
        state.counts.clear();
        state.exchanges.clear();
    }

    /// How many calls of an operation came in, spoiled ones included.
    pub fn count(&self, operation: &str) -> usize {
        self.state.lock().unwrap().counts.get(operation).copied().unwrap_or(0)
    }

    /// Every finished call, in the order in which they ended.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.state.lock().unwrap().exchanges.clone()
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        // A runtime may not be dropped where a test's own is running; this way of ending it may be called anywhere.
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
        Some(Fault::Throttle | Fault::Unavailable | Fault::Deny) => {
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
    // The client may be gone; that is its own affair.
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

fn describe(request: &Message, counts: &mut std::collections::HashMap<String, usize>) -> Call {
    let mut words = request.first.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let path = words.next().unwrap_or_default().to_owned();
    let operation = match request.header("X-Amz-Target").and_then(|target| target.split_once('.')) {
        Some((_, operation)) => operation.to_owned(),
        None => s3_operation(&method, &path).to_owned(),
    };
    let count = counts.entry(operation.clone()).or_default();
    *count += 1;
    Call { operation, nth: *count - 1, method, path, body: request.body.clone() }
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

/// A refusal in the words of the service that was called.
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
    let (status, code) = match fault {
        Fault::Throttle if target.starts_with("DynamoDB") => (400, "ProvisionedThroughputExceededException"),
        // What Firehose says when a stream's quota is spent.
        Fault::Throttle if target.starts_with("Firehose") => (500, "ServiceUnavailableException"),
        Fault::Throttle => (400, "ThrottlingException"),
        Fault::Deny => (400, "AccessDeniedException"),
        _ => (503, "ServiceUnavailable"),
    };
    let body = json!({"__type": code, "message": "made up"}).to_string();
    Message::reply(status, &[("Content-Type", "application/x-amz-json-1.1")], body.into_bytes())
}

/// Passes on the records that are not to fail, and answers for all of them in their order.
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

/// Passes on the messages that are not to fail, and answers for all of them.
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

/// The same request with another body, by the caller whose signature the emulators do not verify.
fn as_root(service: &str, request: &Message, body: Vec<u8>) -> Message {
    let mut request = request.clone();
    request.set_header("Authorization", Some(super::http::root_authorization(service)));
    request.set_header("X-Amz-Security-Token", None);
    request.set_header("Content-Length", Some(body.len().to_string()));
    request.body = body;
    request
}
