//! `trailhose serve`: what the API answers, whom it refuses, and what survives when it ends.
#![cfg(unix)]

mod bed;
mod laptop;
mod receiver;
mod serve_athena;
mod serve_client;
mod serve_findings;

use laptop::{event, events, run, text};
use serde_json::{Value, json};
use serve_client::{Reply, Server, Site, kill, quoted};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const READ_PATH: &str = "/v1/sources";

/// Whether the index contains this number of events, which are all delivered events.
fn is_indexed(found: &Value, events: u64) -> bool {
    found["indexed"]["events"] == events && found["indexed"]["behind"] == 0
}

/// Returns a server whose source is read and indexed.
fn filled(site: &Site) -> Server {
    let server = site.start();
    server.until("/v1/events?limit=1", |found| is_indexed(found, 40));
    server
}

#[test]
fn delivered_events_are_found_paged_and_returned_with_their_bytes() {
    let site = Site::new("");
    let server = filled(&site);
    let sources = server.until("/v1/sources", |found| found["sources"][0]["last_run"] != Value::Null);
    let source = &sources["sources"][0];
    assert_eq!((&source["id"], &source["origin"]), (&json!("first"), &json!("settings")), "{source}");
    let ran = &source["last_run"];
    assert_eq!(
        (&ran["state"], &ran["events"], &ran["delivered"]),
        (&json!("succeeded"), &json!(40), &json!(40)),
        "{ran}"
    );

    // The pages together contain every event, the newest first.
    let (mut cursor, mut ids, mut times) = (String::new(), Vec::new(), Vec::new());
    loop {
        let page = server.json(&format!("/v1/events?limit=7{cursor}"));
        for found in page["events"].as_array().unwrap() {
            ids.push(found["id"].as_str().unwrap().to_owned());
            times.push(found["time"].as_str().unwrap().to_owned());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert!(times.is_sorted_by(|one, next| one >= next), "{times:?}");
    ids.sort();
    let expected: Vec<String> = (0..40).map(|number| format!("00000000-0000-4000-8000-{number:012x}")).collect();
    assert_eq!(ids, expected);

    let one = server.get("/v1/events/00000000-0000-4000-8000-000000000011");
    assert_eq!((one.status, one.text()), (200, event(0x11)), "the event's own bytes");
    assert_eq!(server.get("/v1/events/00000000-0000-4000-8000-0000000000ff").status, 404);
    let none = server.json("/v1/events?name=DeleteBucket%27%20OR%201%3D1--");
    assert_eq!(none["events"], json!([]));

    let days = server.json("/v1/days?since=2026-10-30&until=2026-11-03");
    let account = &days["accounts"][0];
    assert_eq!((&account["account"], &days["days"][2]), (&json!("111122223333"), &json!("2026-11-01")), "{days}");
    assert_eq!(account["days"][2], json!({"objects": 1, "events": 40, "quarantined": 0, "state": "objects"}));
    assert_eq!(account["days"][1]["state"], "outside");
    // Without parameters, the span ends with the newest day that has objects.
    let newest = server.json("/v1/days");
    assert_eq!(newest["days"].as_array().unwrap().last(), Some(&json!("2026-11-01")), "{newest}");
    assert_eq!(newest["days"].as_array().unwrap().len(), 90);
    assert_eq!((&newest["first"], &newest["last"]), (&json!("2026-11-01"), &json!("2026-11-01")));

    let plan = json!({"time": {"since": "2026-11-01T00:00:00Z", "until": "2026-11-02T00:00:00Z"},
        "groups": {"by": ["recipientAccountId"], "aggregates": ["count"]}, "limit": 5});
    let answer = server.post("/v1/query", &json!({"plan": plan}));
    assert_eq!((answer.status, &answer.json()["rows"]), (200, &json!([["111122223333", "40"]])), "{answer:?}");
    let answer = server.post("/v1/ask", &json!({"question": "how many events per account in November 2026"}));
    assert_eq!((answer.status, answer.json()["complete"].as_bool()), (200, Some(true)), "{answer:?}");
    let refused = server.post("/v1/ask", &json!({"question": "colorless green ideas sleep furiously"}));
    assert_eq!(refused.status, 422, "{refused:?}");

    let followers = server.json("/v1/followers");
    assert_eq!(followers["followers"][0]["state"], "current", "{followers}");
    let metrics = server.get("/metrics").text();
    for line in [
        "trailhose_objects_total{source=\"first\",result=\"done\"} 1",
        "trailhose_events_total{source=\"first\",result=\"delivered\"} 40",
        "trailhose_source_interval_seconds{source=\"first\"} 10",
        "trailhose_follower_backlog_events{follower=\"index\"} 0",
        "trailhose_ledger_objects{state=\"done\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    for path in ["/healthz", "/readyz", "/", "/console.js"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    // Commands that only read use the same databases.
    for _ in 0..5 {
        let listed = run(&["followers", "list", text(&site.dest()), "--json"]);
        assert_eq!((listed.code(), &listed.json()["backlog_events"]), (0, &json!(0)), "{listed:?}");
    }
    assert_eq!(server.get("/v1/followers").status, 200);
    let page = server.get("/");
    assert!(page.header("content-security-policy").unwrap().contains("script-src 'self'"), "{page:?}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
}

#[test]
fn sources_of_the_api_are_read_and_survive_a_kill() {
    let other = tempfile::tempdir().unwrap();
    let site = Site::new(&format!("allow_folders = [{}]", quoted(other.path())));
    let bucket = laptop::Bucket { folder: other };
    bucket.put_log("b", &events(40..100));
    let body = json!({"id": "second", "folder": text(bucket.path()), "interval": "1h"});
    let server = filled(&site);
    let added = server.post("/v1/sources", &body);
    assert_eq!((added.status, added.header("location")), (201, Some("/v1/sources/second")), "{added:?}");
    // After the answer 201, the source is durable.
    kill(server.child.id(), "-KILL");
    drop(server);
    let server = site.start();
    server.until("/v1/events?limit=1", |found| found["indexed"]["events"] == 100);
    assert_eq!(server.post("/v1/sources", &body).status, 409, "the same source again");
    let overlapping = json!({"folder": text(bucket.path())});
    assert_eq!(server.post("/v1/sources", &overlapping).status, 409, "the same folder under another ID");

    server.until("/v1/sources", |found| {
        let sources = found["sources"].as_array().unwrap();
        sources.iter().all(|source| source["state"] == "waiting" && source["last_run"] != Value::Null)
    });
    // A requested run finds the new object.
    bucket.put_log("c", &events(100..110));
    let requested = server.post("/v1/sources/second/run", &json!({}));
    assert_eq!(requested.status, 202, "{requested:?}");
    let number = requested.json()["run"].as_i64().unwrap();
    let runs = server.until("/v1/runs?source=second&limit=1", |found| found["runs"][0]["ended"] != Value::Null);
    assert_eq!((&runs["runs"][0]["number"], &runs["runs"][0]["delivered"]), (&json!(number), &json!(10)), "{runs}");

    let first = server.request("DELETE", "/v1/sources/first").send();
    assert_eq!(first.status, 409, "a source of the settings: {first:?}");
    assert_eq!(server.request("DELETE", "/v1/sources/second").send().status, 204);
    assert_eq!(server.request("DELETE", "/v1/sources/second").send().status, 404);
    assert_eq!(server.json("/v1/sources")["sources"].as_array().unwrap().len(), 1);
    let metrics = server.get("/metrics").text();
    assert!(metrics.contains("source=\"first\"") && !metrics.contains("source=\"second\""), "{metrics}");
    // The ledger is kept, so the source can be added again without repeating an event.
    assert_eq!(server.post("/v1/sources", &body).status, 201);
    let runs = server.until("/v1/runs?source=second&limit=1", |found| {
        found["runs"][0]["number"] != number && found["runs"][0]["ended"] != Value::Null
    });
    assert_eq!(runs["runs"][0]["delivered"], 0, "{runs}");
    assert_eq!(server.end("-TERM").0.code(), Some(0));
}

#[test]
fn example_of_the_log_forwarder_is_accepted_without_access_keys() {
    // The API adds no destination: the settings contain the one that the example names.
    let forward = "[[forward]]\nname = \"hook\"\nurl = \"http://localhost:8080/webhook\"\nallow_private = true";
    let site = Site::new(&format!("allow_buckets = [\"logsBuckTest\"]\n{forward}"));
    let server = site.start();
    let mut example = json!({
        "sourceType": "cloudtrail", "accessKeyId": "test", "secretAccessKey": "value-of-the-key", "region": "us-west-2",
        "logFetchInterval": 15, "callbackUrl": "http://localhost:8080/webhook", "s3Bucket": "logsBuckTest", "s3Prefix": "AWSLogs/",
    });
    let refused = server.post("/sources", &example);
    let answer = refused.text();
    assert_eq!((refused.status, refused.header("content-type")), (422, Some("application/problem+json")), "{answer}");
    assert!(answer.contains("access keys are not stored"), "{answer}");
    assert!(answer.contains("role_arn") && answer.contains("external_id") && !answer.contains("value-of"), "{answer}");
    for key in ["accessKeyId", "secretAccessKey"] {
        example.as_object_mut().unwrap().remove(key);
    }
    let mut other = example.clone();
    other["callbackUrl"] = json!("https://evil.example/webhook");
    let refused = server.post("/sources", &other);
    assert!(refused.status == 422 && refused.text().contains("[[forward]]"), "{refused:?}");
    let added = server.post("/sources", &example);
    assert_eq!((added.status, added.header("location")), (201, Some("/sources/logsbucktest-awslogs")), "{added:?}");
    let source = added.json();
    assert_eq!((&source["bucket"], &source["prefix"]), (&json!("logsBuckTest"), &json!("AWSLogs/")));
    assert_eq!(source["interval_seconds"], 15, "logFetchInterval is in seconds");
    assert_eq!(server.json("/sources")["sources"].as_array().unwrap().len(), 2);
    assert_eq!(server.request("DELETE", "/sources/logsbucktest-awslogs").send().status, 204);
    let lines = server.end("-TERM").1.join("\n");
    assert!(!lines.contains("value-of-the-key"), "the log contains a key");
    assert!(
        lines.contains(r#""method":"POST","path":"/sources","status":201,"target":"logsbucktest-awslogs""#),
        "{lines}"
    );
}

#[test]
fn invalid_input_is_refused_with_a_reason() {
    let allowed = tempfile::tempdir().unwrap();
    let site = Site::new(&format!(
        "allow_folders = [{}]\nallow_buckets = [\"my-trail-*\"]\nrequests_per_second = 1000",
        quoted(allowed.path())
    ));
    let server = site.start();
    let folder = allowed.path().to_str().unwrap();
    for (body, status) in [
        (json!({}), 422),
        (json!([]), 422),
        (json!({"bucket": "my-trail-a", "folder": folder}), 422),
        (json!({"bucket": "my-trail-a", "interval": "0s"}), 422),
        (json!({"bucket": "my-trail-a", "interval": 0}), 422),
        (json!({"bucket": "my-trail-a", "unknown": 1}), 422),
        (json!({"bucket": "my-trail-a", "accounts": ["1"]}), 422),
        (json!({"bucket": "my-trail-a", "since": "7d"}), 422),
        (json!({"bucket": "my-trail-a", "id": "../etc"}), 422),
        (json!({"bucket": "my-trail-a", "external_id": "x"}), 422),
        (json!({"bucket": "my-trail-a", "role_arn": "arn:aws:iam::111122223333:role/admin"}), 403),
        (json!({"bucket": "my-trail-a", "endpoint_url": "http://169.254.169.254"}), 403),
        (json!({"bucket": "my-trail-a", "profile": "admin"}), 403),
        (json!({"bucket": "other"}), 403),
        (json!({"bucket": "<script>alert(1)</script>"}), 403),
        (json!({"folder": "/etc"}), 403),
        (json!({"folder": format!("{folder}/../../etc")}), 422),
        (json!({"folder": format!("{folder}/missing")}), 422),
        (json!({"folder": "relative"}), 422),
    ] {
        let refused = server.post("/v1/sources", &body);
        assert_eq!(refused.status, status, "{body}: {refused:?}");
        assert_eq!(refused.header("content-type"), Some("application/problem+json"), "{body}");
    }
    for path in [
        "/v1/events?limit=0",
        "/v1/events?limit=1001",
        "/v1/events?limit=x",
        "/v1/events?since=yesterday",
        "/v1/events?unknown=1",
        "/v1/events?token=secret",
        "/v1/events?cursor=x",
        "/v1/sources?access_token=secret",
        "/v1/runs?limit=1&limit=2",
        "/v1/days?since=2026-01-01&until=2025-01-01",
        "/v1/findings?state=unknown",
    ] {
        let refused = server.get(path);
        assert_eq!(refused.status, 400, "{path}: {refused:?}");
        assert!(!refused.text().contains("secret"), "{path} repeats a secret: {refused:?}");
    }
    for name in ["name", "service", "account", "region", "principal", "access_key", "address", "error"] {
        let found = server.json(&format!("/v1/events?{name}=%27%3B%20DROP%20TABLE%20events%3B--"));
        assert_eq!(found["events"], json!([]), "{name}");
    }
    for path in ["/../etc/passwd", "/console/../../etc/passwd", "/v1/events/..%2f..%2fetc%2fpasswd", "/v1/none", "//"] {
        let refused = server.get(path);
        assert!(matches!(refused.status, 400 | 404), "{path}: {refused:?}");
    }
    let put = server.request("PUT", READ_PATH).send();
    assert_eq!(put.status, 405, "{put:?}");
    assert!(put.header("allow").is_some_and(|allow| allow.contains("GET")), "{put:?}");
    assert_eq!(server.request("POST", "/v1/sources").body(b"{}".to_vec()).send().status, 415, "no content type");
    let text = server.request("POST", "/v1/sources").header("Content-Type", "application/json").body(b"{".to_vec());
    assert_eq!(text.send().status, 400);
    // A body of 100 MB is refused because of its Content-Length, before it is read.
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let head = "POST /v1/sources HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    stream.write_all(format!("{head}Content-Length: 100000000\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(Reply::read(&mut stream).unwrap().status, 413);
    let mut chunked = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    chunked.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 32 << 10, " ".repeat(32 << 10));
    for _ in 0..4 {
        let _ = chunked.write_all(chunk.as_bytes());
    }
    assert_eq!(Reply::read(&mut chunked).unwrap().status, 413, "a body of unknown size");
    assert_eq!(server.json("/v1/sources")["sources"].as_array().unwrap().len(), 1, "nothing was added");
}

/// Neither a page of another site nor a name that resolves to this computer (DNS rebinding) reads or changes anything.
#[test]
fn attacker_with_a_browser_on_another_origin_gets_nothing() {
    let site = Site::new("allow_folders = [\"/\"]");
    let server = site.start();
    let host = format!("localhost:{}", server.port);
    for (name, value) in [
        ("Host", "evil.example"),
        ("Host", "localhost.evil.example"),
        ("Host", ""),
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Origin", "http://localhost:1"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ] {
        for (method, path) in
            [("GET", "/v1/sources"), ("GET", "/metrics"), ("POST", "/v1/sources"), ("DELETE", "/v1/sources/first")]
        {
            let request = server.request(method, path).header(name, value).json_body(&json!({"folder": "/tmp"}));
            let request = if name == "Host" { request } else { request.header("Host", &host) };
            let refused = request.send();
            assert_eq!(refused.status, 403, "{name}: {value}, {method} {path}: {refused:?}");
            assert_eq!(refused.header("access-control-allow-origin"), None);
            assert!(!refused.text().contains("first"), "{refused:?}");
        }
    }
    let preflight = server.request("OPTIONS", "/v1/sources").header("Origin", "https://evil.example").send();
    assert!(preflight.status >= 400 && preflight.header("access-control-allow-origin").is_none(), "{preflight:?}");
    let own = server.request("GET", "/v1/sources").header("Host", &host).header("Origin", &format!("http://{host}"));
    assert_eq!(own.send().status, 200, "the console's own request");
}

#[test]
fn tokens_sessions_and_scopes_are_enforced() {
    let site = Site::new("");
    let server = site.start();
    assert_eq!(server.json("/v1/session")["token_required"], false);
    let (reader, writer) =
        (site.new_token(&["reader"]), site.new_token(&["writer", "--scope", "read", "--scope", "write"]));
    let stored = std::fs::read(site.dest().join(".trailhose/state.db")).unwrap();
    let log = std::fs::read(site.dest().join(".trailhose/state.db-wal")).unwrap_or_default();
    for token in [&reader, &writer] {
        let is_stored =
            [&stored, &log].iter().any(|file| file.windows(token.len()).any(|part| part == token.as_bytes()));
        assert!(!is_stored, "the state database contains a token");
    }
    std::thread::sleep(Duration::from_millis(1_100));
    let anonymous = server.get(READ_PATH);
    assert_eq!((anonymous.status, anonymous.header("www-authenticate").is_some()), (401, true), "{anonymous:?}");
    for path in ["/metrics", "/v1/events", "/v1/session", "/v1/none", "/sources"] {
        assert_eq!(server.get(path).status, 401, "{path}");
    }
    assert_eq!(server.get("/healthz").status, 200);
    let with = |method: &str, path: &str, token: &str| server.request(method, path).token(token).send().status;
    assert_eq!(with("GET", READ_PATH, &reader), 200);
    assert_eq!(with("GET", READ_PATH, "trailhose_guess"), 401);
    assert_eq!(with("POST", "/v1/sources/first/run", &reader), 403, "no scope write");
    assert_eq!(with("POST", "/v1/sources/first/run", &writer), 202);

    let sign_in = server.post("/v1/session", &json!({"token": writer}));
    let cookie = sign_in.header("set-cookie").unwrap().to_owned();
    assert_eq!(sign_in.status, 204);
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains(&writer), "the cookie contains the token");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let session = |method: &str, path: &str| server.request(method, path).header("Cookie", &cookie);
    assert_eq!(session("GET", "/v1/session").send().json()["name"], "writer");
    assert_eq!(session("POST", "/v1/sources/first/run").send().status, 403, "without the header of the console");
    let change = session("POST", "/v1/sources/first/run").header("X-Trailhose-Console", "1");
    assert_eq!(change.send().status, 202);
    let forged = session("POST", "/v1/sources/first/run").header("X-Trailhose-Console", "1");
    assert_eq!(forged.header("Origin", "https://evil.example").send().status, 403);

    // A token that another program created, as in a secret of Kubernetes. The second time, it is known.
    let file = site.folder.path().join("token");
    std::fs::write(&file, format!("trailhose_{}\n", "A".repeat(43))).unwrap();
    for _ in 0..2 {
        let created = site.token(&["create", "given", "--token-file", text(&file)]);
        assert!(!created.contains("AAAA"), "{created}");
    }

    site.token(&["revoke", "writer"]);
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(with("GET", READ_PATH, &writer), 401, "a revoked token");
    assert_eq!(session("GET", "/v1/session").send().status, 401, "the session of a revoked token");
    assert_eq!(with("GET", READ_PATH, &format!("trailhose_{}", "A".repeat(43))), 200);
    site.token(&["revoke", "reader"]);
    site.token(&["revoke", "given"]);
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(server.get(READ_PATH).status, 401, "revoking every token does not open the server");
    let lines = server.rest().join("\n");
    assert!(lines.contains(r#""token":"writer""#), "{lines}");
    for secret in [&reader, &writer, &cookie] {
        assert!(!lines.contains(secret.as_str()), "the audit log contains a secret");
    }
}

#[test]
fn server_beyond_loopback_requires_a_token() {
    let site = Site::new("");
    let mut command = laptop::trailhose();
    command.args(["serve", "--listen", "0.0.0.0:0", "--config"]).arg(site.settings());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() && started.elapsed() < serve_client::TIMEOUT {
        std::thread::sleep(Duration::from_millis(50));
    }
    // A server that listens does not end by itself.
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("trailhose token create"), "{error}");
    let token = site.new_token(&["a"]);
    let mut command = laptop::trailhose();
    command.args(["serve", "--listen", "0.0.0.0:0", "--config"]).arg(site.settings());
    let server = Server::start(command);
    assert_eq!(server.get(READ_PATH).status, 401);
    let request = server.request("GET", READ_PATH).token(&token).header("Host", "any.example");
    assert_eq!(request.send().status, 200);
}

#[test]
fn second_process_is_refused_with_the_identity_of_the_first() {
    let site = Site::new("");
    let server = filled(&site);
    let output = site.command().output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains(&format!("process {} (trailhose serve)", server.child.id())), "{error}");
    let sync = run(&["sync", text(site.bucket.path()), text(&site.dest())]);
    assert_eq!(sync.code(), 2);
    assert!(sync.err().contains("(trailhose serve)"), "{}", sync.err());
    assert_eq!(server.get("/healthz").status, 200, "the first one is not disturbed");
}

#[test]
fn sigterm_finishes_what_is_in_progress_and_repeats_nothing() {
    let site = Site::new("");
    for number in 0..300 {
        site.bucket.put_log(&format!("n{number:03}x"), &events(100 + number * 50..100 + (number + 1) * 50));
    }
    let server = site.start();
    server.until("/v1/runs?limit=1", |found| found["runs"][0]["objects"].as_u64().is_some_and(|objects| objects > 0));
    let (status, lines) = server.end("-TERM");
    assert_eq!(status.code(), Some(0), "{lines:?}");
    let server = site.start();
    let total = 40 + 300 * 50;
    server.until("/v1/events?limit=1", |found| is_indexed(found, total));
    let runs = server.until("/v1/runs", |found| found["runs"][0]["ended"] != Value::Null);
    let delivered: u64 = runs["runs"].as_array().unwrap().iter().map(|run| run["delivered"].as_u64().unwrap()).sum();
    assert_eq!(delivered, total, "{runs}");
    drop(server);
    let verified = run(&["ledger", "verify", text(&site.dest())]);
    assert_eq!(verified.code(), 0, "{verified:?}");
}

#[test]
fn rate_limits_apply_to_all_but_unlimited_tokens() {
    let site = Site::new("requests_per_second = 5");
    let (limited, unlimited) = (site.new_token(&["limited"]), site.new_token(&["program", "--unlimited"]));
    let server = filled_with(&site, &unlimited);
    let statuses = |token: &str, count: usize| -> Vec<u16> {
        (0..count).map(|_| server.request("GET", READ_PATH).token(token).send().status).collect()
    };
    assert!(statuses(&unlimited, 100).iter().all(|&status| status == 200));
    let replies: Vec<Reply> = (0..60).map(|_| server.request("GET", READ_PATH).token(&limited).send()).collect();
    assert_eq!(replies[0].status, 200);
    let refused = replies.iter().find(|reply| reply.status == 429).expect("more requests than the limit");
    assert!(
        refused.header("retry-after").is_some_and(|wait| wait.parse::<u64>().is_ok_and(|wait| wait >= 1)),
        "{refused:?}"
    );
    assert!(statuses("trailhose_guess", 10).contains(&429), "guesses count for the address");
    assert!(statuses(&unlimited, 20).iter().all(|&status| status == 200), "the unlimited token is not affected");

    // 10,000 requests at once on 400 connections. Each one is answered, and the server stays healthy.
    let (port, started) = (server.port, Instant::now());
    let request =
        format!("GET /v1/runs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {limited}\r\n\r\n").repeat(25);
    let mut streams: Vec<TcpStream> = (0..400).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    streams.iter_mut().for_each(|stream| stream.write_all(request.as_bytes()).unwrap());
    let mut answered = 0;
    for stream in &mut streams {
        stream.set_read_timeout(Some(serve_client::TIMEOUT)).unwrap();
        let (mut text, mut part) = (String::new(), [0; 65_536]);
        while text.matches("HTTP/1.1 ").count() < 25 || !text.ends_with('}') {
            let read = stream.read(&mut part).unwrap();
            assert!(read > 0, "the connection ended");
            text += &String::from_utf8_lossy(&part[..read]);
        }
        answered += text.matches("HTTP/1.1 429").count()
            + text.matches("HTTP/1.1 200").count()
            + text.matches("HTTP/1.1 503").count();
    }
    assert_eq!(answered, 10_000, "in {:?}", started.elapsed());
    drop(streams);
    assert_eq!(statuses(&unlimited, 1), [200]);
    // A client that sends its request slowly is disconnected, and does not disturb others.
    let mut slow = TcpStream::connect(("127.0.0.1", port)).unwrap();
    slow.write_all(b"GET /v1/runs HTTP/1.1\r\nHost: loc").unwrap();
    slow.set_read_timeout(Some(serve_client::TIMEOUT)).unwrap();
    assert_eq!(statuses(&unlimited, 1), [200]);
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert!(started.elapsed() < Duration::from_secs(60), "the slow client is still connected");
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
}

/// Creates the certificate `NAME.pem` for localhost with the key `NAME.key`.
fn new_certificate(folder: &Path, name: &str) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")])
        .current_dir(folder)
        .output()
        .expect("openssl cannot be started: run tools/setup");
    assert!(made.status.success(), "{made:?}");
}

/// Sends a request with a new connection that trusts only this certificate.
fn get_with_tls(site: &Site, server: &Server, trusted: &str) -> std::process::Output {
    let url = format!("https://localhost:{}/v1/session", server.port);
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--cacert", trusted, &url]).current_dir(site.folder.path());
    curl.output().expect("curl cannot be started: run tools/setup")
}

#[test]
fn changed_certificate_is_used_without_a_restart() {
    let site = Site::new("tls_certificate = \"server.pem\"\ntls_key = \"server.key\"");
    let folder = site.folder.path();
    for name in ["first", "second"] {
        new_certificate(folder, name);
    }
    let copy = |from: &str, to: &str| std::fs::copy(folder.join(from), folder.join(to)).unwrap();
    copy("first.pem", "server.pem");
    copy("first.key", "server.key");
    let server = site.start();
    assert!(get_with_tls(&site, &server, "first.pem").status.success());
    assert!(!get_with_tls(&site, &server, "second.pem").status.success());
    // Only one of the two files is replaced: they do not belong together, and the certificate in use stays.
    copy("second.key", "server.key");
    server.line("the changed certificate is not used");
    assert!(get_with_tls(&site, &server, "first.pem").status.success());
    copy("second.pem", "server.pem");
    let started = Instant::now();
    while !get_with_tls(&site, &server, "second.pem").status.success() {
        assert!(started.elapsed() < serve_client::TIMEOUT, "the changed certificate is not used");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(!get_with_tls(&site, &server, "first.pem").status.success());
}

#[test]
fn certificate_of_the_settings_is_used() {
    let site = Site::new("tls_certificate = \"server.pem\"\ntls_key = \"server.key\"");
    let missing = site.command().output().unwrap();
    let error = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert_eq!(missing.status.code(), Some(2), "{error}");
    assert!(error.contains("server.pem"), "{error}");
    new_certificate(site.folder.path(), "server");
    let server = site.start();
    let answer = get_with_tls(&site, &server, "server.pem");
    assert!(answer.status.success(), "{answer:?}");
    assert!(String::from_utf8_lossy(&answer.stdout).contains("token_required"), "{answer:?}");
    // A client without TLS gets nothing.
    let mut plain = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
}

/// Generated requests, valid and invalid ones, get the answers that the description of the API promises. The check that valid
/// requests are accepted is excluded, because a schema cannot describe which plan, question, source or cursor is valid.
/// A person let the index skip a file that cannot be read.
#[test]
fn skipped_events_are_counted_in_the_answer() {
    let site = Site::new("");
    drop(filled(&site));
    let dest = site.dest();
    let file = laptop::files(&dest).remove(0);
    std::fs::rename(&file, file.with_extension("away")).unwrap();
    assert_eq!(run(&["index", "build", text(&dest), "--again"]).code(), 1);
    let skipped = run(&["followers", "skip", "index", text(&dest), "--yes", "--json"]).json();
    let lost = skipped["events"].as_u64().unwrap();
    assert!((1..=40).contains(&lost), "{skipped}");
    let server = site.start();
    let found = server.until("/v1/events?limit=100", |found| found["indexed"]["behind"] == 0);
    assert_eq!(found["events"].as_array().unwrap().len() as u64, 40 - lost);
    let indexed = &found["indexed"];
    assert_eq!((&indexed["skipped_segments"], &indexed["skipped_events"]), (&json!(1), &json!(lost)), "{indexed}");
    let followers = server.json("/v1/followers");
    assert_eq!(followers["followers"][0]["skipped_events"], json!(lost), "{followers}");
}

#[test]
fn schemathesis_finds_nothing() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/schemathesis/bin/st");
    assert!(program.exists(), "{} does not exist: run tools/setup", program.display());
    let site = Site::new("");
    let token = site.new_token(&["schemathesis", "--scope", "read", "--scope", "write", "--unlimited"]);
    let server = filled_with(&site, &token);
    let url = format!("http://127.0.0.1:{}/v1/openapi.json", server.port);
    let output = Command::new(program)
        .args(["--no-color", "run", &url, "--header", &format!("Authorization: Bearer {token}")])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "8", "--seed", "1"])
        .args(["--exclude-checks", "positive_data_acceptance", "--request-timeout", "30"])
        .current_dir(site.folder.path())
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{report}");
    assert!(report.contains("Tested: 22"), "{report}");
    assert_eq!(server.get("/healthz").status, 200);
}

/// Returns a server whose source is read and indexed. Its requests send a token.
fn filled_with(site: &Site, token: &str) -> Server {
    let server = site.start();
    let started = Instant::now();
    loop {
        let found = server.request("GET", "/v1/events?limit=1").token(token).send().json();
        if is_indexed(&found, 40) {
            return server;
        }
        assert!(started.elapsed() < serve_client::TIMEOUT, "{found}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
