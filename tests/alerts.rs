//! Findings and alerts during `trailhose sync`, and the conformance suite of the destinations of alerts.
//!
//! `TRAILHOSE_KILLS` is the number of kills (default 4), `TRAILHOSE_SEED` determines their times.

mod bed;
mod laptop;
mod receiver;

use bed::emulator::Emulator;
use laptop::{Bucket, Ran, assert_delivered, run, text, trailhose};
use receiver::{Answer, Receiver};
use ring::hmac;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use trailhose::alert::{self, DestinationConfig, DestinationKind, SendOutcome};
use trailhose::finding::{Alert, AlertKind, AlertWindow, DetectionFinding, EventPointer, RuleSummary};
use trailhose::http::SecretSource;

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const RULE: &str = "\
title: Trail stopped
id: 5f0c1a2e-0000-4000-8000-000000000001
level: high
author: an author
license: DRL-1.1
tags:
    - attack.t1562.008
logsource:
    product: aws
    service: cloudtrail
detection:
    selection:
        eventName: StopLogging
    condition: selection
";

/// A setup with a source, rules, a receiver and a settings file.
struct Setup {
    bucket: Bucket,
    folder: tempfile::TempDir,
}

impl Setup {
    fn new(url: &str, detect: &str) -> Self {
        let (bucket, folder) = (Bucket::new(), tempfile::tempdir().unwrap());
        let path = folder.path();
        std::fs::create_dir(path.join("rules")).unwrap();
        std::fs::write(path.join("rules/stopped.yml"), RULE).unwrap();
        std::fs::write(path.join("keys"), format!("{KEY}\n")).unwrap();
        let settings = format!(
            "dest = \"out\"\ncheckpoint = 0.02\n[[source]]\nfolder = {:?}\n[detect]\nrules = \"rules\"\n{detect}\n\
             [[detect.destination]]\nname = \"oncall\"\ntype = \"webhook\"\nurl = {url:?}\nkeys_file = \"keys\"\n\
             allow_private = true\n",
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

    fn json_lines(&self, arguments: &[&str]) -> Vec<Value> {
        let out = self.out();
        let ran = run(&[arguments, &[text(&out), "--json"]].concat());
        assert_eq!(ran.code(), 0, "{ran:?}");
        ran.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Returns an event with the current time, so that its finding causes an alert.
fn event(number: u32, name: &str, user: u32) -> String {
    let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
    format!(
        r#"{{"eventID":"00000000-0000-4000-8000-{number:012x}","eventTime":"{time}","eventName":"{name}","eventSource":"cloudtrail.amazonaws.com","awsRegion":"eu-west-1","recipientAccountId":"111122223333","sourceIPAddress":"198.51.100.7","userIdentity":{{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/u{user}"}}}}"#
    )
}

/// Returns whether a request is signed with the key, computed here from the specification.
fn is_signed(request: &bed::http::Message) -> bool {
    let key = base64_simd::STANDARD.decode_to_vec(KEY.strip_prefix("whsec_").unwrap()).unwrap();
    let header = |name| request.header(name).unwrap_or_default();
    let mut content = format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).into_bytes();
    content.extend_from_slice(&request.body);
    let signature = header("webhook-signature").strip_prefix("v1,").unwrap_or_default();
    let signature = base64_simd::STANDARD.decode_to_vec(signature).unwrap();
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &key), &content, &signature).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn detection_that_stops_at_the_first_file_is_listed_and_can_be_skipped() {
    let receiver = Receiver::start(Answer::status(200)).await;
    let setup = Setup::new(&receiver.url, "");
    setup.bucket.put_log("a", &[event(1, "StopLogging", 1), event(2, "StopLogging", 2)]);
    let (out, bucket) = (setup.out(), text(setup.bucket.path()).to_owned());
    // A sync without detection.
    assert_eq!(run(&["sync", &bucket, text(&out)]).code(), 0);
    let delivered = laptop::files(&out);
    let [file] = delivered.as_slice() else { panic!("{delivered:?}") };
    std::fs::OpenOptions::new().write(true).open(file).unwrap().set_len(10).unwrap();
    let stopped = setup.sync().await;
    assert!(stopped.code() == 1 && stopped.err().contains("trailhose followers skip detect"), "{stopped:?}");
    let followers = setup.json_lines(&["followers", "list"]);
    assert_eq!(
        (&followers[0]["name"], &followers[0]["backlog_events"]),
        (&"detect".into(), &2.into()),
        "{followers:?}"
    );
    let skipped = run(&["followers", "skip", "detect", text(&out), "--yes"]);
    assert_eq!(skipped.code(), 0, "{skipped:?}");
    assert_eq!(setup.json_lines(&["followers", "list"])[0]["skipped_events"], 2);
    assert_eq!(setup.sync().await.code(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn match_becomes_a_finding_and_one_signed_alert() {
    let receiver = Receiver::start(Answer::status(200)).await;
    let setup = Setup::new(&receiver.url, "");
    setup.bucket.put_log("a", &[event(1, "StopLogging", 1), event(2, "ListBuckets", 1), event(3, "StopLogging", 1)]);
    let ran = setup.sync().await;
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert!(ran.err().contains("detect: 2 new findings; 1 alert sent"), "{}", ran.err());
    let counts = |matched: u64, recorded: u64, sent: u64| {
        json!({
            "matched": matched, "recorded": recorded, "overflow": 0, "late": 0,
            "alerts_sent": sent, "alerts_retried": 0, "alerts_failed": 0, "alerts_pending": 0,
        })
    };
    assert_eq!(ran.json()["detection"], counts(2, 2, 1));
    let requests = receiver.requests();
    assert_eq!(requests.len(), 1, "the second finding is in the same window");
    assert!(is_signed(&requests[0]), "{requests:?}");
    let message: Value = serde_json::from_slice(&requests[0].body).unwrap();
    assert_eq!(message["type"], "finding.created");
    assert_eq!(message["data"]["principal"], "arn:aws:iam::111122223333:user/u1");
    assert_eq!(message["data"]["finding"]["unmapped"]["rule"]["license"], "DRL-1.1");

    let again = setup.sync().await;
    assert_eq!((again.code(), &again.json()["detection"]), (0, &counts(0, 0, 0)));
    assert_eq!(receiver.requests().len(), 1, "the same events have no second alert");
    let findings = setup.json_lines(&["findings", "list"]);
    assert_eq!(findings.len(), 2);
    let id = findings[0]["id"].as_str().unwrap().to_owned();
    let shown = setup.json_lines(&["findings", "show", &id[..12]]);
    assert_eq!(shown[0]["class_uid"], 2004);
    assert_eq!(shown[0]["finding_info"]["attacks"][0]["sub_technique"]["uid"], "T1562.008");
    let out = setup.out();
    let closed = run(&["findings", "close", &id, "--dest", text(&out), "--note", "planned"]);
    assert_eq!(closed.code(), 0, "{closed:?}");
    assert_eq!(setup.json_lines(&["findings", "list", "--state", "open"]).len(), 1);
    assert_eq!(run(&["findings", "show", "ffff", text(&out)]).code(), 1);
    let alerts = setup.json_lines(&["alerts", "list"]);
    assert_eq!((alerts.len(), alerts[0]["state"].as_str()), (1, Some("sent")));
    let rules = setup.json_lines(&["findings", "rules"]);
    assert_eq!((rules[0]["findings"].as_u64(), rules[0]["windows"].as_u64()), (Some(2), Some(1)));

    // A test message goes to the same receiver.
    let config = setup.folder.path().join("trailhose.toml");
    let test = move || run(&["alerts", "test", "--config", text(&config)]);
    let tested = tokio::task::spawn_blocking(test).await.unwrap();
    assert_eq!((tested.code(), tested.out().as_str()), (0, "oncall: accepted\n"), "{tested:?}");
    assert_eq!(receiver.requests().len(), 2);
}

/// The exit code and the one in the summary are 1 if delivered events were not evaluated.
#[tokio::test(flavor = "multi_thread")]
async fn detection_that_stops_is_an_incomplete_run() {
    let receiver = Receiver::start(Answer::status(200)).await;
    let setup = Setup::new(&receiver.url, "");
    setup.bucket.put_log("a", &[event(1, "StopLogging", 1)]);
    assert_eq!(setup.sync().await.code(), 0);
    // The position of the follower is in another file than the delivered one.
    let state = rusqlite::Connection::open(setup.out().join(".trailhose/state.db")).unwrap();
    assert_eq!(state.execute("UPDATE followers SET fingerprint = 'other'", []).unwrap(), 1);
    drop(state);
    setup.bucket.put_log("b", &[event(2, "StopLogging", 2)]);
    let ran = setup.sync().await;
    assert_eq!((ran.code(), &ran.json()["exit_code"]), (1, &json!(1)), "{ran:?}");
    assert_eq!((&ran.json()["delivered"], &ran.json()["detection"]["recorded"]), (&json!(1), &json!(0)), "{ran:?}");
    assert!(ran.err().contains("detect: "), "{ran:?}");
}

/// Each round has the counts since the previous one. Without `[detect]` there are none.
#[tokio::test(flavor = "multi_thread")]
async fn rounds_of_a_watch_count_findings_and_alerts() {
    let receiver = Receiver::start(Answer::status(200)).await;
    let setup = Setup::new(&receiver.url, "");
    setup.bucket.put_log("a", &[event(1, "StopLogging", 1), event(2, "StopLogging", 1)]);
    let log = setup.folder.path().join("rounds");
    let mut watch = trailhose();
    watch.args(setup.sync_arguments()).args(["--watch", "1s"]);
    let mut watch = watch.stdout(File::create(&log).unwrap()).stderr(Stdio::null()).spawn().unwrap();
    let rounds = || -> Vec<Value> {
        let text = std::fs::read_to_string(&log).unwrap();
        text.split_inclusive('\n').filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let sums = || {
        let sum = |name: &str| rounds().iter().map(|round| round["detection"][name].as_u64().unwrap()).sum::<u64>();
        ["matched", "recorded", "alerts_sent", "alerts_failed"].map(sum)
    };
    let reach = async |expected: [u64; 4]| {
        let started = Instant::now();
        while sums() != expected {
            assert!(started.elapsed() < Duration::from_secs(60), "{expected:?}: {:?}", rounds());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    reach([2, 2, 1, 0]).await;
    // A refused alert.
    receiver.set(Answer::status(400));
    setup.bucket.put_log("b", &[event(3, "StopLogging", 2)]);
    reach([3, 3, 1, 1]).await;
    let seen = rounds().len();
    while rounds().len() < seen + 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(sums(), [3, 3, 1, 1], "later rounds count nothing twice");
    assert!(Command::new("kill").args(["-INT", &watch.id().to_string()]).status().unwrap().success());
    watch.wait().unwrap();

    let settings = setup.folder.path().join("trailhose.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, text.split_once("[detect]").unwrap().0).unwrap();
    assert_eq!(setup.sync().await.json().get("detection"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_closed_findings_and_sent_alerts_are_deleted_only_with_findings_keep_days() {
    let receiver = Receiver::start(Answer::status(200)).await;
    let setup = Setup::new(&receiver.url, "");
    setup.bucket.put_log("a", &[event(1, "StopLogging", 1), event(2, "StopLogging", 2), event(3, "StopLogging", 3)]);
    assert_eq!(setup.sync().await.code(), 0);
    let findings = setup.json_lines(&["findings", "list"]);
    let ids: Vec<&str> = findings.iter().map(|finding| finding["id"].as_str().unwrap()).collect();
    let out = setup.out();
    assert_eq!(run(&["findings", "close", ids[0], "--dest", text(&out)]).code(), 0);
    assert_eq!(run(&["findings", "close", ids[1], "--dest", text(&out)]).code(), 0);
    // Two findings and two alerts become old.
    let state = rusqlite::Connection::open(out.join(".trailhose/state.db")).unwrap();
    let old = jiff::Timestamp::now().as_second() - 31 * 86_400;
    state.execute("UPDATE findings SET recorded = ?1 WHERE id != ?2", (old, ids[1])).unwrap();
    state.execute("UPDATE alerts SET sent = ?1 WHERE number > 1", [old]).unwrap();
    // The events are of a fixed day. Without a later known time, the clock can seem to be ahead of it.
    let known = jiff::Timestamp::now().as_second() - 44 * 86_400;
    state.execute("INSERT INTO retention_runs VALUES ('findings', ?1)", [known]).unwrap();
    drop(state);
    let counts = || ["findings", "alerts"].map(|what| setup.json_lines(&[what, "list"]).len());
    assert_eq!(setup.sync().await.code(), 0);
    assert_eq!(counts(), [3, 3], "nothing is deleted by default");
    let settings = setup.folder.path().join("trailhose.toml");
    let with_days =
        std::fs::read_to_string(&settings).unwrap().replace("[detect]\n", "[detect]\nfindings_keep_days = 30\n");
    std::fs::write(&settings, with_days).unwrap();
    assert_eq!(setup.sync().await.code(), 0);
    assert_eq!(counts(), [2, 1], "the closed finding that is old, and the alerts that were sent long ago");
    assert_eq!(setup.json_lines(&["findings", "list", "--state", "open"]).len(), 1, "the open one is old, too");
    assert_eq!(receiver.requests().len(), 3, "no alert is repeated");
}

#[tokio::test(flavor = "multi_thread")]
async fn destination_that_fails_gets_its_alerts_in_a_later_run() {
    let receiver = Receiver::start(Answer::status(500)).await;
    let setup = Setup::new(&receiver.url, "");
    let events: Vec<String> = (0..8).map(|number| event(number, "StopLogging", number)).collect();
    setup.bucket.put_log("a", &events);
    let ran = setup.sync().await;
    assert_eq!(ran.code(), 0, "the events are delivered: {ran:?}");
    assert!(ran.err().contains("8 alerts not sent yet"), "{}", ran.err());
    assert_delivered(&setup.out(), &events);
    let failed: HashSet<String> = receiver.ids().into_iter().collect();
    assert!(receiver.requests().len() <= 8, "the circuit opens");
    receiver.set(Answer::status(204));
    let out = setup.out();
    // Closes the circuit. Without it, the next run waits until the circuit lets a probe pass.
    assert_eq!(run(&["alerts", "retry", "--dest", text(&out)]).code(), 1, "no alert failed");
    let before = receiver.requests().len();
    assert_eq!(setup.sync().await.code(), 0);
    let delivered: Vec<String> = receiver.ids().split_off(before);
    assert_eq!(delivered.iter().collect::<HashSet<_>>().len(), 8);
    assert!(failed.iter().all(|id| delivered.contains(id)), "retries have the same ID");
    assert!(setup.json_lines(&["alerts", "list"]).iter().all(|alert| alert["state"] == "sent"));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_delivered_while_a_destination_does_not_answer() {
    let receiver = Receiver::start(Answer::Hang).await;
    let setup = Setup::new(&receiver.url, "");
    setup.bucket.put_log("a", &[event(1, "StopLogging", 1)]);
    let mut command = trailhose();
    command.args(setup.sync_arguments()).args(["--watch", "1s"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let wait_for = async |what: &str, is_reached: &dyn Fn() -> bool| {
        let started = Instant::now();
        while !is_reached() {
            assert!(started.elapsed() < Duration::from_secs(30), "{what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    wait_for("no request", &|| !receiver.requests().is_empty()).await;
    let (requested, out) = (Instant::now(), setup.out());
    setup.bucket.put_log("b", &[event(2, "StopLogging", 2)]);
    wait_for("the second event is not delivered", &|| laptop::lines(&out).len() == 2).await;
    // The first request ends after 20 seconds. The delivery did not wait for it.
    assert!(requested.elapsed() < Duration::from_secs(15), "{:?}", requested.elapsed());
    assert_eq!(receiver.requests().len(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| match text.parse() {
        Ok(number) if number > 0 => number,
        _ => panic!("{name}={text} is not a positive number"),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_sync_keeps_each_finding_once_and_loses_no_alert() {
    let seed = number("TRAILHOSE_SEED", 7);
    let mut random = fastrand::Rng::with_seed(seed);
    let receiver = Receiver::start(Answer::status(200)).await;
    let setup = Setup::new(&receiver.url, "");
    let mut events = Vec::new();
    for object in 0..20 {
        let of_object: Vec<String> = (0..50)
            .map(|number| {
                event(object * 50 + number, if number % 5 == 0 { "StopLogging" } else { "ListBuckets" }, number)
            })
            .collect();
        setup.bucket.put_log(&format!("{object:04}"), &of_object);
        events.extend(of_object);
    }
    let mut killed = 0;
    for round in 0.. {
        let mut child =
            trailhose().args(setup.sync_arguments()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let wait = random.u64(20..400);
        tokio::time::sleep(Duration::from_millis(wait)).await;
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            killed += 1;
        }
        child.wait().unwrap();
        if killed >= number("TRAILHOSE_KILLS", 4) {
            break;
        }
        assert!(round < 100, "seed {seed}: only {killed} kills");
    }
    let ran = setup.sync().await;
    assert_eq!(ran.code(), 0, "seed {seed}: {ran:?}");
    assert_delivered(&setup.out(), &events);
    let findings = setup.json_lines(&["findings", "list", "--limit", "1000"]);
    let expected: HashSet<String> =
        events.iter().filter(|event| event.contains("StopLogging")).map(|event| event_id(event)).collect();
    let found: Vec<String> =
        findings.iter().map(|finding| finding["event"]["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(found.len(), expected.len(), "seed {seed}: each finding once");
    assert_eq!(found.into_iter().collect::<HashSet<_>>(), expected, "seed {seed}");
    let alerts = setup.json_lines(&["alerts", "list", "--limit", "1000"]);
    let mut received: HashMap<String, usize> = HashMap::new();
    receiver.ids().into_iter().for_each(|id| *received.entry(id).or_default() += 1);
    for alert in &alerts {
        assert_eq!(alert["state"], "sent", "seed {seed}: {alert}");
        assert!(received.contains_key(alert["id"].as_str().unwrap()), "seed {seed}: not received: {alert}");
    }
    assert_eq!(received.len(), alerts.len(), "seed {seed}");
    let repeated: usize = received.values().map(|times| times - 1).sum();
    assert!(
        repeated as u64 <= killed,
        "seed {seed}: in each killed run, at most one alert was sent and not recorded as sent: {repeated}"
    );
}

fn event_id(event: &str) -> String {
    serde_json::from_str::<Value>(event).unwrap()["eventID"].as_str().unwrap().to_owned()
}

fn alert() -> Alert {
    let rule = RuleSummary { id: "rule".into(), title: "Trail stopped".into(), ..RuleSummary::default() };
    let event = EventPointer { id: "event".into(), account: "111122223333".into(), ..EventPointer::default() };
    Alert {
        kind: AlertKind::First,
        group: "group".into(),
        window: AlertWindow { start: 0, end: 3_600 },
        count: 1,
        finding: DetectionFinding::new(rule, event, [("eventName", "StopLogging")]),
        recorded: 10,
    }
}

/// Returns a configuration of each type that sends to this URL, with the status and the body of an acknowledgement.
fn kinds(url: &str, folder: &Path) -> Vec<(DestinationKind, u16, &'static str)> {
    let file = |name: &str, content: &str| {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        SecretSource::File(path)
    };
    let sns = "<PublishResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult><MessageId>1</MessageId>\
               </PublishResult></PublishResponse>";
    let bus = "{\"FailedEntryCount\":0,\"Entries\":[{\"EventId\":\"1\"}]}";
    let topic = "arn:aws:sns:us-east-1:111122223333:alerts".to_owned();
    vec![
        (DestinationKind::Webhook { url: url.into(), keys: file("keys", KEY) }, 204, ""),
        (DestinationKind::Slack { url: file("url", &format!("{url}?hunter2")) }, 200, "ok"),
        (
            DestinationKind::PagerDuty { key: file("key", "hunter2"), url: Some(url.into()) },
            202,
            "{\"status\":\"success\"}",
        ),
        (DestinationKind::Sns { topic }, 200, sns),
        (DestinationKind::EventBridge { bus: "default".into() }, 200, bus),
    ]
}

/// Every destination classifies acknowledgements, failures and refusals in the same way, sends one request for each
/// attempt, and never names its secrets.
#[tokio::test(flavor = "multi_thread")]
async fn destinations_conform() {
    let receiver = Receiver::start(Answer::status(500)).await;
    let folder = tempfile::tempdir().unwrap();
    let aws = bed::config(&receiver.url.replace("/hook", ""));
    for (kind, status, body) in kinds(&receiver.url, folder.path()) {
        let name = format!("{kind:?}").split([' ', '{']).next().unwrap().to_owned();
        let is_http = !kind.needs_aws();
        let config = DestinationConfig { name: name.clone(), kind, allow_private: true };
        let destination = alert::open(&config, Some(&aws)).unwrap();
        let mut requests = receiver.requests().len();
        let mut send = async |answer: Answer| {
            receiver.set(answer);
            let outcome = destination.send(&alert(), 20).await;
            requests += 1;
            assert_eq!(receiver.requests().len(), requests, "{name}: one request for each attempt");
            let has_secret = matches!(&name[..], "Slack" | "PagerDuty");
            assert!(!has_secret || !format!("{outcome:?} {destination:?}").contains("/hook?hunter2"), "{name}");
            assert!(name != "PagerDuty" || !format!("{outcome:?} {destination:?}").contains("hunter2"), "{name}");
            outcome
        };
        let delivered = Answer::Reply(status, Vec::new(), body.as_bytes().to_vec());
        assert_eq!(send(delivered.clone()).await, SendOutcome::Delivered, "{name}");
        for status in [500, 503, 429] {
            let outcome = send(Answer::status(status)).await;
            assert!(matches!(outcome, SendOutcome::Retry { .. }), "{name}, {status}: {outcome:?}");
        }
        for status in [401, 403, 404] {
            let outcome = send(Answer::status(status)).await;
            assert!(matches!(outcome, SendOutcome::DestinationUnusable { .. }), "{name}, {status}: {outcome:?}");
        }
        // A response can quote the request.
        let quotes = Answer::Reply(400, Vec::new(), b"invalid: hunter2 /hook?hunter2".to_vec());
        let outcome = send(quotes).await;
        assert!(matches!(outcome, SendOutcome::AlertRefused { .. }), "{name}: {outcome:?}");
        let outcome = send(Answer::Close).await;
        assert!(matches!(outcome, SendOutcome::Retry { .. }), "{name}: {outcome:?}");
        if is_http {
            let wait = vec![("Retry-After", "7".to_owned())];
            let SendOutcome::Retry { after, .. } = send(Answer::Reply(429, wait, Vec::new())).await else { panic!() };
            assert_eq!(after, Some(Duration::from_secs(7)), "{name}");
            let location = vec![("Location", receiver.url.clone())];
            let outcome = send(Answer::Reply(307, location, Vec::new())).await;
            assert!(
                matches!(outcome, SendOutcome::DestinationUnusable { .. }),
                "{name}: a redirect is not followed: {outcome:?}"
            );
            let long = Answer::Reply(200, Vec::new(), vec![b'x'; 10 << 20]);
            assert_eq!(send(long).await, SendOutcome::Delivered, "{name}: 10 MB of response are not read");
        }
        // The same alert has the same content on a retry.
        assert_eq!(send(delivered).await, SendOutcome::Delivered);
        let bodies: HashSet<Vec<u8>> =
            receiver.requests()[requests - 2..].iter().map(|sent| sent.body.clone()).collect();
        if is_http {
            assert_eq!(bodies.len(), 1, "{name}");
        }
        let private = DestinationConfig { allow_private: false, ..config };
        assert_eq!(alert::open(&private, Some(&aws)).is_err(), is_http, "{name}: private addresses need a setting");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sns_and_event_bridge_of_moto_accept_alerts() {
    let moto = tokio::task::spawn_blocking(Emulator::moto).await.unwrap();
    let aws = moto.config();
    let (sns, sqs) = (aws_sdk_sns::Client::new(&aws), aws_sdk_sqs::Client::new(&aws));
    let topic = sns.create_topic().name("alerts").send().await.unwrap().topic_arn.unwrap();
    let queue = sqs.create_queue().queue_name("alerts").send().await.unwrap().queue_url.unwrap();
    let arn = format!("arn:aws:sqs:{}:123456789012:alerts", bed::REGION);
    sns.subscribe().topic_arn(&topic).protocol("sqs").endpoint(arn).send().await.unwrap();
    let open = |kind| {
        let config = DestinationConfig { name: "aws".into(), kind, allow_private: false };
        alert::open(&config, Some(&aws)).unwrap()
    };
    let alert = alert();
    assert_eq!(open(DestinationKind::Sns { topic: topic.clone() }).send(&alert, 20).await, SendOutcome::Delivered);
    let received = sqs.receive_message().queue_url(&queue).send().await.unwrap().messages.unwrap();
    let notification: Value = serde_json::from_str(received[0].body().unwrap()).unwrap();
    let message: Value = serde_json::from_str(notification["Message"].as_str().unwrap()).unwrap();
    assert_eq!(message, alert.message());
    assert_eq!(notification["MessageAttributes"]["type"]["Value"], "finding.created");
    let gone = open(DestinationKind::Sns { topic: format!("{topic}-gone") }).send(&alert, 20).await;
    assert!(matches!(gone, SendOutcome::DestinationUnusable { .. }), "{gone:?}");
    let bus = open(DestinationKind::EventBridge { bus: "default".into() }).send(&alert, 20).await;
    assert_eq!(bus, SendOutcome::Delivered);
}
