//! Forwards beside `trailhose sync`, and their requests.
//!
//! `TRAILHOSE_KILLS` is the number of kills (default 3), `TRAILHOSE_SEED` determines their times.

mod bed;
mod firehose_endpoint;
mod forward_faults;
mod forward_presets;
mod forward_url;
mod laptop;
mod receiver;

use bed::http::Message;
use laptop::{Bucket, Ran, assert_delivered, event, events, run, synced, text, trailhose};
use receiver::{Answer, Receiver};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use trailhose::backoff::Pace;
use trailhose::forward::{Forward, ForwardConfig, ForwardPhase, ForwardPolicy, ForwardReport, ForwardSink};
use trailhose::sink::jsonl::CommittedSegments;
use trailhose::state::StateDatabase;

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD_KEY: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

/// Returns a policy whose waits take milliseconds.
fn quick() -> ForwardPolicy {
    let pace = Pace { base: Duration::from_millis(1), cap: Duration::from_millis(4) };
    ForwardPolicy { retries: pace, open: pace, last_retries: Duration::from_secs(20), ..ForwardPolicy::default() }
}

/// Returns the body of a request without its compression.
fn content(request: &Message) -> Vec<u8> {
    let mut content = Vec::new();
    match request.header("content-encoding") {
        Some("gzip") => _ = flate2::read::GzDecoder::new(&request.body[..]).read_to_end(&mut content).unwrap(),
        _ => content.clone_from(&request.body),
    }
    content
}

/// Returns the lines of a request's body.
fn lines(request: &Message) -> Vec<String> {
    String::from_utf8(content(request)).unwrap().lines().map(str::to_owned).collect()
}

/// Fails unless the accepted requests contain exactly these events, and each ID has one body.
fn assert_forwarded(requests: &[Message], expected: &[String]) {
    let mut bodies = HashMap::new();
    for request in requests {
        let id = request.header("webhook-id").expect("an ID").to_owned();
        let before = bodies.insert(id, request.body.clone());
        assert!(before.is_none_or(|before| before == request.body), "an ID has two bodies");
    }
    let found: HashSet<String> = requests.iter().flat_map(lines).collect();
    let wanted: HashSet<String> = expected.iter().cloned().collect();
    assert_eq!(wanted.difference(&found).count(), 0, "lost events");
    assert_eq!(found.difference(&wanted).count(), 0, "unexpected events");
}

/// A folder with delivered events and a forward that reads it.
struct Delivered {
    out: tempfile::TempDir,
    events: Vec<String>,
    _bucket: Bucket,
}

impl Delivered {
    fn new(count: u32) -> Self {
        let events = events(0..count);
        let (bucket, out) = synced(&events, "none");
        Self { out, events, _bucket: bucket }
    }

    fn state(&self) -> StateDatabase {
        StateDatabase::open(&self.out.path().join(".trailhose/state.db")).unwrap()
    }

    fn forward(&self, config: ForwardConfig, policy: ForwardPolicy, phase: watch::Receiver<ForwardPhase>) -> Forward {
        let ledger = self.out.path().join(".trailhose/ledger.db");
        let segments = Arc::new(CommittedSegments::open(self.out.path(), &ledger).unwrap());
        let sink = ForwardSink::open(ForwardConfig { allow_private: true, ..config }).unwrap();
        Forward::new(sink, segments, Arc::new(self.state()), policy, phase).unwrap()
    }

    /// Sends what is delivered, and ends.
    async fn drain(&self, config: ForwardConfig) -> ForwardReport {
        let (_sender, phase) = watch::channel(ForwardPhase::Drain);
        self.forward(config, quick(), phase).run().await
    }
}

/// A source, a settings file with one forward, and a folder.
struct Setup {
    bucket: Bucket,
    folder: tempfile::TempDir,
}

impl Setup {
    fn new(url: &str, forward: &str) -> Self {
        let (bucket, folder) = (Bucket::new(), tempfile::tempdir().unwrap());
        let path = folder.path();
        std::fs::write(path.join("keys"), format!("{KEY}\n{OLD_KEY}\n")).unwrap();
        let settings = format!(
            "dest = \"out\"\ncheckpoint = 0.02\n[[source]]\nfolder = {:?}\n[[forward]]\nname = \"siem\"\nurl = {url:?}\n\
             allow_private = true\n{forward}\n",
            bucket.path()
        );
        std::fs::write(path.join("trailhose.toml"), settings).unwrap();
        Self { bucket, folder }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn sync_arguments(&self) -> Vec<String> {
        laptop::sync_arguments(&self.folder.path().join("trailhose.toml"))
    }

    async fn sync(&self) -> Ran {
        laptop::run_blocking(self.sync_arguments()).await
    }

    fn forward(&self, arguments: &[&str]) -> Ran {
        run(&[&["forward"], arguments].concat())
    }

    fn status(&self) -> Value {
        self.forward(&["status", text(&self.out()), "--json"]).json()
    }
}

/// Verifies a signature with the reference library, and with `openssl`, from the specification.
fn assert_signed(request: &Message, key: &str) {
    let mut headers = http::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.insert(name, request.header(name).unwrap().parse().unwrap());
    }
    standardwebhooks::Webhook::new(key).unwrap().verify(&content(request), &headers).expect("a valid signature");
    let header = |name| request.header(name).unwrap();
    let secret = base64_simd::STANDARD.decode_to_vec(key.strip_prefix("whsec_").unwrap()).unwrap();
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-mac", "HMAC", "-macopt", &format!("hexkey:{hex}"), "-binary"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut signed = format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).into_bytes();
    signed.extend(content(request));
    openssl.stdin.take().unwrap().write_all(&signed).unwrap();
    let output = openssl.wait_with_output().unwrap();
    assert!(output.status.success());
    let expected = format!("v1,{}", base64_simd::STANDARD.encode_to_string(&output.stdout));
    assert!(
        header("webhook-signature").split(' ').any(|signature| signature == expected),
        "no signature is equal to that of openssl"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn delivered_events_arrive_once_in_signed_batches() {
    let receiver = Receiver::start(Answer::status(204)).await;
    let setup = Setup::new(&receiver.url, "keys_file = \"keys\"\nheaders = { x-team = \"security\" }");
    let expected = events(0..2_500);
    for (number, object) in expected.chunks(500).enumerate() {
        setup.bucket.put_log(&number.to_string(), object);
    }
    let ran = setup.sync().await;
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert_delivered(&setup.out(), &expected);
    let requests = receiver.requests();
    assert_forwarded(&requests, &expected);
    assert_eq!(requests.iter().map(|request| lines(request).len()).sum::<usize>(), expected.len(), "each event once");
    for request in &requests {
        assert!(lines(request).len() <= 1_000);
        assert_eq!(request.header("content-type"), Some("application/x-ndjson"));
        assert_eq!(request.header("x-team"), Some("security"));
        assert_signed(request, KEY);
        assert_signed(request, OLD_KEY);
    }
    let summary = ran.json();
    let follower = &summary["followers"][0];
    assert_eq!((&follower["name"], &follower["backlog_events"]), (&"forward-siem".into(), &0.into()), "{summary}");
    assert_eq!(follower["forward"]["condition"], "active");
    assert_eq!(setup.sync().await.code(), 0);
    assert_eq!(receiver.requests().len(), requests.len(), "nothing is sent twice");
    let status = setup.status();
    assert_eq!(status["forward"]["accepted_requests"], requests.len());
    assert_eq!((&status["forward"]["repeated_requests"], &status["lag_seconds"]), (&0.into(), &0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_array_and_rate_limit_are_respected() {
    let receiver = Receiver::start(Answer::status(200)).await;
    let setup = Setup::new(
        &receiver.url,
        "format = \"json_array\"\ncompress = \"none\"\nmax_events = 20\nevents_per_second = 100\nmethod = \"PUT\"",
    );
    setup.bucket.put_log("a", &events(0..120));
    let started = Instant::now();
    assert_eq!(setup.sync().await.code(), 0);
    assert!(started.elapsed() >= Duration::from_secs(1), "120 events at 100 per second");
    let mut received = 0;
    for request in receiver.requests() {
        assert!(request.first.starts_with("PUT "));
        let array: Vec<Value> = serde_json::from_slice(&request.body).unwrap();
        assert!(array.len() <= 20 && request.header("content-encoding").is_none());
        received += array.len();
    }
    assert_eq!(received, 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_survive_failures_lost_replies_and_busy_answers() {
    let delivered = Delivered::new(3_000);
    let receiver = Receiver::start(Answer::status(500)).await;
    let accepted = Arc::new(AtomicU64::new(0));
    let (count, number) = (Arc::clone(&accepted), AtomicU64::new(0));
    receiver.decide(move |_| match number.fetch_add(1, Ordering::SeqCst) {
        // 20 failures, then lost replies, refusals and successes in turn.
        0..20 => Answer::status(500),
        number => match number % 4 {
            0 => Answer::Close,
            1 => Answer::Reply(429, vec![("Retry-After", "0".into())], Vec::new()),
            2 => Answer::status(503),
            _ => {
                count.fetch_add(1, Ordering::SeqCst);
                Answer::status(200)
            }
        },
    });
    let config = ForwardConfig::new("a", &receiver.url);
    let report = delivered.drain(ForwardConfig { limits: limits(100), ..config }).await;
    assert_eq!((report.error, report.events), (None, 3_000));
    let requests = receiver.requests();
    assert_forwarded(&requests, &delivered.events);
    let ids: HashSet<_> = receiver.ids().into_iter().collect();
    let state = delivered.state().forward("a").unwrap().unwrap();
    assert_eq!(state.requests, requests.len() as u64);
    assert_eq!(state.accepted, accepted.load(Ordering::SeqCst));
    assert_eq!(state.repeats, (requests.len() - ids.len()) as u64, "each repeat is counted");
    assert_eq!((state.failures, state.error), (0, None));
}

fn limits(events: usize) -> trailhose::follow::BatchLimits {
    trailhose::follow::BatchLimits { events, bytes: 1_000_000 }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| match text.parse() {
        Ok(number) if number > 0 => number,
        _ => panic!("{name}={text} is not a positive number"),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_sync_loses_no_event_and_repeats_batches_with_their_ids() {
    let seed = number("TRAILHOSE_SEED", 7);
    let mut random = fastrand::Rng::with_seed(seed);
    let receiver = Receiver::start(Answer::status(200)).await;
    // Every fifth reply is lost.
    let count = AtomicU64::new(0);
    receiver.decide(move |_| match count.fetch_add(1, Ordering::SeqCst) % 5 {
        4 => Answer::Close,
        _ => Answer::status(200),
    });
    let setup = Setup::new(&receiver.url, "max_events = 20\nkeys_file = \"keys\"");
    let mut expected = Vec::new();
    for object in 0..30 {
        let some = events(object * 50..object * 50 + 50);
        setup.bucket.put_log(&format!("{object:04}"), &some);
        expected.extend(some);
    }
    let mut killed = 0;
    for round in 0.. {
        let mut child =
            trailhose().args(setup.sync_arguments()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let (before, is_during_requests) = (receiver.requests().len(), random.bool());
        let started = Instant::now();
        while is_during_requests
            && receiver.requests().len() == before
            && child.try_wait().unwrap().is_none()
            && started.elapsed() < Duration::from_secs(10)
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(random.u64(0..if is_during_requests { 60 } else { 500 }))).await;
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            killed += 1;
        }
        child.wait().unwrap();
        if killed >= number("TRAILHOSE_KILLS", 3) {
            break;
        }
        // A finished run has sent everything: more events follow.
        let more = events(2_000 + round * 50..2_050 + round * 50);
        setup.bucket.put_log(&format!("more{round:04}"), &more);
        expected.extend(more);
        assert!(round < 1_000, "seed {seed}: only {killed} kills");
    }
    receiver.set(Answer::status(200));
    if setup.out().join(".trailhose/state.db").exists() {
        run(&["forward", "retry", "--dest", text(&setup.out())]);
    }
    let ran = setup.sync().await;
    assert_eq!(ran.code(), 0, "seed {seed}: {ran:?}");
    assert_delivered(&setup.out(), &expected);
    let requests = receiver.requests();
    assert_forwarded(&requests, &expected);
    let ids: HashSet<_> = receiver.ids().into_iter().collect();
    let status = setup.status();
    let repeats = status["forward"]["repeated_requests"].as_u64().unwrap();
    println!("seed {seed}: {killed} kills, {} requests, {} batches, {repeats} repeats", requests.len(), ids.len());
    // A request that was counted before a kill may not have been sent.
    assert!(repeats >= (requests.len() - ids.len()) as u64, "seed {seed}: {status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn destination_that_refuses_everything_keeps_the_position() {
    let receiver = Receiver::start(Answer::status(200)).await;
    for status in [401, 403, 404, 410, 307] {
        let target = receiver.url.clone();
        let headers = vec![("Location", target)];
        let refusing = Receiver::start(Answer::Reply(status, headers, b"no".to_vec())).await;
        let setup = Setup::new(&refusing.url, "");
        setup.bucket.put_log("a", &events(0..5));
        let ran = setup.sync().await;
        assert_eq!(ran.code(), 1, "{status}: {ran:?}");
        assert!(ran.err().contains(&format!("forward siem has not sent everything: status {status}")), "{}", ran.err());
        assert_eq!(refusing.requests().len(), 1, "{status}: the circuit is open");
        let view = setup.status();
        assert_eq!((&view["forward"]["condition"], &view["backlog_events"]), (&"waiting".into(), &5.into()), "{view}");
        assert_eq!(view["forward"]["refused_events"], 0);
        refusing.set(Answer::status(200));
        let out = setup.out();
        assert_eq!(setup.sync().await.code(), 1, "the circuit is open for at least 15 seconds");
        assert_eq!(setup.forward(&["retry", "siem", "--dest", text(&out)]).code(), 0);
        assert_eq!(setup.sync().await.code(), 0);
        assert_forwarded(&refusing.requests(), &events(0..5));
    }
    assert!(receiver.requests().is_empty(), "a redirect is not followed");
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_that_is_too_large_is_halved_with_the_same_ids() {
    let delivered = Delivered::new(1_000);
    let receiver = Receiver::start(Answer::status(200)).await;
    receiver.decide(|request| match lines(request).len() {
        0..=130 => Answer::status(200),
        _ => Answer::status(413),
    });
    let config = ForwardConfig::new("a", &receiver.url);
    let report = delivered.drain(config.clone()).await;
    assert_eq!((report.error, report.refused, report.events), (None, 0, 1_000));
    let accepted: Vec<Message> =
        receiver.requests().into_iter().filter(|request| lines(request).len() <= 130).collect();
    assert_forwarded(&accepted, &delivered.events);
    let first: HashSet<String> = receiver.ids().into_iter().collect();
    // The forward starts again with the first event, as after a kill.
    let out = delivered.out.path();
    assert_eq!(run(&["followers", "reset", "forward-a", text(out), "--to", "start", "--yes"]).code(), 0);
    delivered.drain(config).await;
    assert_eq!(receiver.ids().into_iter().collect::<HashSet<_>>(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn event_that_is_refused_alone_is_stored_and_can_be_sent_again() {
    let receiver = Receiver::start(Answer::status(200)).await;
    let bad = |request: &Message| {
        lines(request).iter().any(|line| line.contains("-000000000007") || line.contains("-000000000063"))
    };
    let refuse = move |request: &Message| match bad(request) {
        true => Answer::Reply(400, Vec::new(), b"field userAgent is too long".to_vec()),
        false => Answer::status(200),
    };
    receiver.decide(refuse);
    let setup = Setup::new(&receiver.url, "");
    setup.bucket.put_log("a", &events(0..200));
    let ran = setup.sync().await;
    assert_eq!(ran.code(), 3, "{ran:?}");
    assert!(ran.err().contains("the destination refused 2 events, which are stored"), "{}", ran.err());
    let accepted: Vec<Message> = receiver.requests().into_iter().filter(|request| !bad(request)).collect();
    let others: Vec<String> = (0..200).filter(|number| ![7, 99].contains(number)).map(event).collect();
    assert_forwarded(&accepted, &others);
    let out = setup.out();
    let listed = setup.forward(&["status", text(&out), "--refused"]);
    assert!(listed.out().contains("400") && listed.out().contains("field userAgent is too long"), "{listed:?}");
    let view = setup.status();
    assert_eq!(view["forward"]["refused"], serde_json::json!([{"status": 400, "events": 2}]));
    assert_eq!(view["backlog_events"], 0);

    // An event that is refused again keeps its one entry.
    assert_eq!(setup.forward(&["retry", "--dest", text(&out)]).code(), 0);
    assert_eq!(setup.sync().await.code(), 3);
    assert_eq!(setup.status()["forward"]["refused_events"], 2);
    receiver.set(Answer::status(200));
    let before = receiver.requests().len();
    setup.forward(&["retry", "--dest", text(&out)]);
    assert_eq!(setup.sync().await.code(), 0);
    assert_eq!(setup.status()["forward"]["refused_events"], 0);
    assert_forwarded(&receiver.requests()[before..], &[event(7), event(99)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn destination_that_refuses_every_event_opens_the_circuit() {
    let delivered = Delivered::new(100);
    let receiver = Receiver::start(Answer::status(422)).await;
    let policy = ForwardPolicy { last_retries: Duration::from_millis(50), ..quick() };
    let (_sender, phase) = watch::channel(ForwardPhase::Drain);
    let report = delivered.forward(ForwardConfig::new("a", &receiver.url), policy, phase).run().await;
    assert!(report.error.unwrap().contains("10 events in a row were refused"));
    let stored = delivered.state().refused_events("a", 1_000).unwrap();
    assert_eq!(stored.len(), 10, "the first ones are stored");
    assert_eq!(delivered.state().follower("forward-a").unwrap().unwrap().events, 0, "the position is kept");
    // `forward retry` gets past ten further events.
    delivered.state().retry_forward("a").unwrap();
    let (_sender, phase) = watch::channel(ForwardPhase::Drain);
    let report = delivered.forward(ForwardConfig::new("a", &receiver.url), policy, phase).run().await;
    assert!(report.error.is_some());
    assert_eq!(delivered.state().refused_events("a", 1_000).unwrap().len(), 20);
    receiver.set(Answer::status(200));
    let report = delivered.drain(ForwardConfig::new("a", &receiver.url)).await;
    assert_eq!((report.error, report.events), (None, 100));
}

/// The wait was stored while the clock was ten years ahead.
#[tokio::test(flavor = "multi_thread")]
async fn wait_beyond_the_longest_one_is_over() {
    let delivered = Delivered::new(5);
    let receiver = Receiver::start(Answer::status(200)).await;
    for (days, is_sent) in [(1.0 / 24.0, false), (3_650.0, true)] {
        let (_sender, phase) = watch::channel(ForwardPhase::Drain);
        let forward = delivered.forward(ForwardConfig::new("a", &receiver.url), quick(), phase);
        let now = jiff::Timestamp::now().as_millisecond();
        let until = now + (days * 86_400_000.0) as i64;
        delivered.state().record_forward_failure("a", until, "status 500").unwrap();
        let condition = delivered.state().forward("a").unwrap().unwrap().condition(now);
        assert_eq!(condition.name(), if is_sent { "active" } else { "waiting" });
        let report = forward.run().await;
        assert_eq!((report.error.is_none(), report.events), (is_sent, if is_sent { 5 } else { 0 }), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_forward_keeps_its_position() {
    let receiver = Receiver::start(Answer::status(200)).await;
    let setup = Setup::new(&receiver.url, "");
    setup.bucket.put_log("a", &events(0..5));
    let out = setup.out();
    assert_eq!(setup.forward(&["pause", "--dest", text(&out)]).code(), 2, "there is no forward yet");
    assert_eq!(setup.sync().await.code(), 0);
    assert_eq!(setup.forward(&["pause", "siem", "--dest", text(&out)]).code(), 0);
    assert_eq!(setup.forward(&["pause", "siem", "--dest", text(&out)]).code(), 1, "it was already paused");
    assert_eq!(setup.forward(&["pause", "seim", "--dest", text(&out)]).code(), 2);
    setup.bucket.put_log("b", &events(5..9));
    let ran = setup.sync().await;
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert!(ran.err().contains("forward siem is paused"), "{}", ran.err());
    assert_forwarded(&receiver.requests(), &events(0..5));
    // A prune keeps the events that the forward has not sent.
    let pruned = run(&["prune", text(&out), "--before", "2027-01-01", "--yes"]);
    assert_eq!(pruned.code(), 1, "{pruned:?}");
    assert_eq!(setup.forward(&["resume", "siem", "--dest", text(&out)]).code(), 0);
    assert_eq!(setup.sync().await.code(), 0);
    assert_forwarded(&receiver.requests(), &events(0..9));
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupt_does_not_wait_for_a_destination_that_hangs() {
    let delivered = Delivered::new(10);
    let receiver = Receiver::start(Answer::Hang).await;
    let policy = ForwardPolicy { last_response: Duration::from_millis(100), ..quick() };
    let (sender, phase) = watch::channel(ForwardPhase::Running);
    let running = tokio::spawn(delivered.forward(ForwardConfig::new("a", &receiver.url), policy, phase).run());
    while receiver.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let interrupted = Instant::now();
    sender.send_replace(ForwardPhase::Stop);
    let report = running.await.unwrap();
    assert!(interrupted.elapsed() < Duration::from_secs(5), "{:?}", interrupted.elapsed());
    assert!(report.error.unwrap().contains("interrupted before the response"));
    receiver.set(Answer::status(200));
    assert_eq!(delivered.drain(ForwardConfig::new("a", &receiver.url)).await.events, 10);
    let state = delivered.state().forward("a").unwrap().unwrap();
    assert_eq!((state.requests, state.repeats), (2, 1), "the second request repeats the first");
    assert_forwarded(&receiver.requests(), &delivered.events);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_responses_are_cut_and_the_next_batch_follows() {
    let delivered = Delivered::new(50);
    let receiver = Receiver::start(Answer::Reply(200, Vec::new(), vec![b'x'; 10 << 20])).await;
    let config = ForwardConfig { limits: limits(10), ..ForwardConfig::new("a", &receiver.url) };
    assert_eq!(delivered.drain(config).await.events, 50);
    assert_forwarded(&receiver.requests(), &delivered.events);
}

#[tokio::test(flavor = "multi_thread")]
async fn redacted_fields_are_not_sent_and_stay_in_the_files() {
    let receiver = Receiver::start(Answer::status(200)).await;
    let setup = Setup::new(
        &receiver.url,
        "[forward.redact]\nremove = [\"userAgent\"]\nhash = [\"recipientAccountId\"]\nkey_file = \"key\"",
    );
    std::fs::write(setup.folder.path().join("key"), "0123456789abcdef0123456789abcdef").unwrap();
    let expected = events(0..30);
    setup.bucket.put_log("a", &expected);
    assert_eq!(setup.sync().await.code(), 0);
    assert_delivered(&setup.out(), &expected);
    for line in receiver.requests().iter().flat_map(lines) {
        let event: Value = serde_json::from_str(&line).unwrap();
        assert!(event.get("userAgent").is_none() && !line.contains("111122223333"), "{line}");
        assert!(event["recipientAccountId"].as_str().unwrap().starts_with("hmac-sha256:"));
        let note = serde_json::json!({"removed": ["userAgent"], "hashed": ["recipientAccountId"]});
        assert_eq!(event["trailhoseRedacted"], note);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_secrets_and_addresses_start_nothing() {
    let setup = |forward: &str| Setup::new("https://h.example/hunter2", forward);
    let write = |setup: &Setup, name: &str, content: &str| {
        std::fs::write(setup.folder.path().join(name), content).unwrap();
    };
    for (forward, file, expected) in [
        ("token_file = \"secret\"", "hunter2\nhunter2", "several lines"),
        ("token_file = \"secret\"", "", "is empty"),
        ("keys_file = \"secret\"", "hunter2", "24 to 64 random bytes"),
        ("ca_file = \"secret\"", "hunter2", "contains no certificate"),
        ("client_cert_file = \"secret\"\nclient_key_file = \"secret\"", "hunter2", "secret"),
        ("[forward.redact]\nhash = [\"sourceIPAddress\"]\nkey_file = \"secret\"", "hunter2", "too short"),
        ("token_file = \"missing\"", "", "cannot be read"),
    ] {
        let setup = setup(forward);
        write(&setup, "secret", file);
        setup.bucket.put_log("a", &events(0..1));
        let ran = setup.sync().await;
        assert_eq!(ran.code(), 2, "{forward}: {ran:?}");
        let message = ran.err();
        assert!(message.contains(expected) && !message.contains("hunter2"), "{forward}: {message}");
        assert!(!setup.out().exists(), "{forward}: nothing is delivered");
    }
    let mut private = Setup::new("https://169.254.169.254/latest/meta-data", "");
    let path = private.folder.path().join("trailhose.toml");
    let text = std::fs::read_to_string(&path).unwrap().replace("allow_private = true\n", "");
    std::fs::write(&path, text).unwrap();
    private.bucket = Bucket::new();
    let ran = private.sync().await;
    assert!(ran.code() == 2 && ran.err().contains("169.254.169.254, which is not public"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn name_of_a_private_address_is_refused_at_the_connection() {
    let delivered = Delivered::new(5);
    let receiver = Receiver::start(Answer::status(200)).await;
    let port = receiver.url.split(':').nth(2).unwrap().split('/').next().unwrap().to_owned();
    let ledger = delivered.out.path().join(".trailhose/ledger.db");
    let segments = Arc::new(CommittedSegments::open(delivered.out.path(), &ledger).unwrap());
    let config = ForwardConfig::new("a", format!("https://localhost:{port}/hook"));
    let sink = ForwardSink::open(config).unwrap();
    let (_sender, phase) = watch::channel(ForwardPhase::Drain);
    let policy = ForwardPolicy { last_retries: Duration::ZERO, ..quick() };
    let forward = Forward::new(sink, segments, Arc::new(delivered.state()), policy, phase).unwrap();
    let error = forward.run().await.error.unwrap();
    assert!(error.contains("which is not public"), "{error}");
    assert!(receiver.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn filter_that_drops_everything_is_reported() {
    let receiver = Receiver::start(Answer::status(200)).await;
    let setup = Setup::new(&receiver.url, "filter = \"recipientAccountId=111122223333\"");
    setup.bucket.put_log("a", &events(0..20));
    let ran = setup.sync().await;
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert!(ran.err().contains("its filter dropped every event so far"), "{}", ran.err());
    assert!(receiver.requests().is_empty());
    let view = setup.status();
    assert_eq!((&view["filtered_events"], &view["backlog_events"]), (&20.into(), &0.into()), "{view}");
}
