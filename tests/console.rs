//! The console of `trailhose serve` in headless Chromium, used as a person uses it: `tests/browser/console.py` contains the
//! steps. The screenshots are in `target/tmp/console`.

mod bed;
mod laptop;

use bed::process::{Process, free_port};
use bed::{root, tool};
use laptop::{Bucket, Ran, gzip, log, run, trailhose};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const HOSTILE_EVENT: &str = "00000000-0000-4000-8000-000000000002";

const WEBHOOK_KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The time limit for the start of the server. It is long, because other tests run at the same time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns an event of a user who makes requests with [`ACCESS_KEY`].
fn event(number: u32, time: &str, (service, name): (&str, &str), agent: &str, bucket: &str) -> String {
    json!({
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "IAMUser",
            "arn": "arn:aws:iam::111122223333:user/mallory",
            "accountId": "111122223333",
            "accessKeyId": ACCESS_KEY,
            "userName": "mallory",
        },
        "eventTime": time,
        "eventSource": format!("{service}.amazonaws.com"),
        "eventName": name,
        "awsRegion": "eu-west-1",
        "sourceIPAddress": "203.0.113.66",
        "userAgent": agent,
        "requestParameters": {"bucketName": bucket, "size": 12_345_678_901_234_567_890_u64},
        "eventID": format!("00000000-0000-4000-8000-{number:012}"),
        "readOnly": false,
        "recipientAccountId": "111122223333",
    })
    .to_string()
}

/// A bucket with a hostile event.
fn hostile_bucket() -> Bucket {
    let bucket = Bucket::new();
    let script = "<script>document.title='owned';window.owned=1</script><img src=x onerror=\"window.owned=1\">";
    // The last event is new, because old events do not alert.
    let now = jiff::Timestamp::now().to_string();
    let events = [
        event(1, "2026-01-16T10:00:01Z", ("s3", "ListBuckets"), "aws-cli/2.31.0", "reports"),
        event(
            2,
            "2026-01-16T10:00:02Z",
            ("s3", "DeleteBucket"),
            script,
            "\"><script>window.owned=1</script>\u{202e}txt.exe",
        ),
        event(3, &now, ("cloudtrail", "StopLogging"), "aws-cli/2.31.0", "reports"),
    ];
    let key = laptop::key("111122223333", "CloudTrail", "eu-west-1", "2026-01-16", "hostile");
    bucket.put(&key, &gzip(&log(&events)));
    bucket
}

#[test]
fn console_works_in_a_browser() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mock = path.join("bucket");
    assert_eq!(run(&["generate", mock.to_str().unwrap(), "--files", "60"]).code(), 0);
    let added = hostile_bucket();
    // No process listens on this port, so alerts wait in the outbox.
    let destination = format!("http://127.0.0.1:{}/", free_port());
    std::fs::write(path.join("keys"), format!("{WEBHOOK_KEY}\n")).unwrap();
    let settings = format!(
        "dest = \"events\"\n[serve]\nallow_folders = [{:?}]\n[[source]]\nfolder = {mock:?}\n\
         [detect]\nrules = {:?}\n[[detect.destination]]\nname = \"oncall\"\n\
         type = \"webhook\"\nurl = {destination:?}\nkeys_file = \"keys\"\nallow_private = true\n",
        added.path(),
        root().join("rules"),
    );
    let settings_file = path.join("trailhose.toml");
    std::fs::write(&settings_file, settings).unwrap();
    let token = create_token(path);

    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let arguments = ["serve", "--config", settings_file.to_str().unwrap(), "--listen", &address];
    let mut server = Process::start(Path::new(env!("CARGO_BIN_EXE_trailhose")), &arguments, &[], path);
    assert!(server.listens(port, PATIENCE), "the server ended: {}", server.log());

    let scenario = json!({
        "url": format!("http://{address}"),
        "token": token,
        "folder": added.path(),
        "access_key": ACCESS_KEY,
        "hostile_event": HOSTILE_EVENT,
        "question": "top 10 principals in January 2026",
        "screenshots": Path::new(env!("CARGO_TARGET_TMPDIR")).join("console"),
    });
    let scenario_file = path.join("scenario.json");
    std::fs::write(&scenario_file, scenario.to_string()).unwrap();
    let mut browser = Command::new(tool("browser/bin/python"));
    browser.arg(root().join("tests/browser/console.py")).arg(&scenario_file);
    let output = browser.output().unwrap();
    let printed = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{}\nthe server printed:\n{}", printed.concat(), server.log());
    assert!(!server.log().contains(&token), "the server printed the token");

    metrics_of_the_dashboard_exist(&address, &token);
}

/// Creates a token before the first start of the server, and returns it.
fn create_token(folder: &Path) -> String {
    std::fs::create_dir(folder.join("events")).unwrap();
    let mut command = trailhose();
    let arguments = ["token", "create", "test", "--scope", "read", "--scope", "write"];
    let created = Ran(command.current_dir(folder).args(arguments).output().unwrap());
    assert_eq!(created.code(), 0, "{created:?}");
    created.out().trim().to_owned()
}

/// Sends a GET request and returns the response.
fn get(address: &str, path: &str, headers: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    write!(connection, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut response = String::new();
    connection.read_to_string(&mut response).unwrap();
    response
}

/// Every metric of the dashboard and of the alert rules is in the answer of the server, so that no panel is empty because of
/// a wrong name. The answer contains only metrics that have a value.
fn metrics_of_the_dashboard_exist(address: &str, token: &str) {
    // The metric of refused requests has a value only after a refusal. The default limit is 50 requests per second.
    let is_refused = (0..2_000).any(|_| get(address, "/healthz", "").starts_with("HTTP/1.1 429 "));
    assert!(is_refused, "2,000 requests were not limited");
    let authorization = format!("Authorization: Bearer {token}\r\n");
    let deadline = Instant::now() + PATIENCE;
    let answer = loop {
        let answer = get(address, "/metrics", &authorization);
        if answer.starts_with("HTTP/1.1 200 ") {
            break answer;
        }
        assert!(answer.starts_with("HTTP/1.1 429 ") && Instant::now() < deadline, "{answer}");
        std::thread::sleep(Duration::from_millis(200));
    };
    let types = answer.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let known: BTreeSet<String> = types
        .flat_map(|(name, kind)| match kind {
            "counter" => vec![format!("{name}_total")],
            "histogram" => vec![format!("{name}_bucket")],
            _ => vec![name.to_owned()],
        })
        .collect();
    for file in ["infra/grafana/trailhose.json", "infra/prometheus/alerts.yaml"] {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        let used: BTreeSet<_> = text
            .split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'))
            .filter(|word| word.starts_with("trailhose_"))
            .collect();
        assert!(used.len() > 5, "{file}: {used:?}");
        for name in used {
            assert!(known.contains(name), "{file}: the server has no metric {name}, only {known:?}");
        }
    }
}
