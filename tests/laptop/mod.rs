//! Runs the program without AWS: a bucket in a temporary folder, and checks of the delivered files.

#![allow(dead_code)] // Each test file uses a part.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Returns the program on a machine without an AWS account: every use of the profile fails.
pub fn trailhose() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trailhose"));
    command.env("AWS_PROFILE", "no-such-profile").env_remove("RUST_LOG").env_remove("TRAILHOSE_LEDGER_DAYS");
    command
}

/// Returns the program configured for an emulator.
pub fn trailhose_at(endpoint: &str) -> Command {
    let mut command = trailhose();
    command.env_remove("AWS_PROFILE").env("AWS_ENDPOINT_URL", endpoint).env("AWS_REGION", "us-east-1");
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test").env_remove("AWS_SESSION_TOKEN");
    command
}

/// Runs the program to its end.
pub fn run(args: &[&str]) -> Ran {
    let output = trailhose().args(args).output().expect("the program starts");
    Ran(output)
}

/// Returns the arguments of a sync with a settings file.
pub fn sync_arguments(config: &Path) -> Vec<String> {
    ["sync", "--config", text(config), "--json"].map(str::to_owned).to_vec()
}

/// Runs the program to its end while other tasks of the test continue.
pub async fn run_blocking(args: Vec<String>) -> Ran {
    let run = move || run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// What a run printed.
#[derive(Debug)]
pub struct Ran(pub Output);

impl Ran {
    pub fn code(&self) -> i32 {
        self.0.status.code().expect("it ended by itself")
    }

    pub fn out(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).expect("UTF-8")
    }

    pub fn err(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).expect("UTF-8")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.0.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A bucket in a folder.
pub struct Bucket {
    pub folder: tempfile::TempDir,
}

impl Bucket {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Puts a file.
    pub fn put(&self, key: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join(key);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(&path, bytes).expect("a file");
        path
    }

    /// Puts a log of these events under a CloudTrail key.
    pub fn put_log(&self, name: &str, events: &[String]) -> PathBuf {
        self.put(&key("111122223333", "CloudTrail", "eu-west-1", "2026-11-01", name), &gzip(&log(events)))
    }
}

/// Returns a CloudTrail key.
pub fn key(account: &str, kind: &str, region: &str, day: &str, name: &str) -> String {
    let (folder, stamp) = (day.replace('-', "/"), day.replace('-', ""));
    format!("AWSLogs/{account}/{kind}/{region}/{folder}/{account}_{kind}_{region}_{stamp}T0005Z_{name:0<16}.json.gz")
}

/// Returns an event. Its length and minute depend on its number.
pub fn event(number: u32) -> String {
    let (minute, padding) = (number / 40 % 60, "x".repeat(number as usize * 37 % 400));
    format!(
        r#"{{"eventID":"00000000-0000-4000-8000-{number:012x}","eventTime":"2026-11-01T10:{minute:02}:00Z","awsRegion":"eu-west-{}","recipientAccountId":"111122223333","userAgent":"{padding}"}}"#,
        number / 500 % 3,
    )
}

pub fn events(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(event).collect()
}

/// A log file's text.
pub fn log(events: &[String]) -> String {
    format!("{{\"Records\":[{}]}}", events.join(","))
}

pub fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

/// Returns the number of copies of every line below a destination. An incomplete line at the end of a file or a
/// truncated compressed file fails the test.
pub fn lines(dest: &Path) -> HashMap<String, usize> {
    let mut found = HashMap::new();
    for path in files(dest) {
        let stored = fs::read(&path).expect("a file");
        let name = path.to_string_lossy().into_owned();
        let mut text = String::new();
        if name.ends_with(".jsonl.gz") {
            flate2::read::MultiGzDecoder::new(&stored[..]).read_to_string(&mut text).expect("whole gzip");
        } else if name.ends_with(".jsonl.zst") {
            zstd::stream::read::Decoder::new(&stored[..]).expect("zstd").read_to_string(&mut text).expect("whole zstd");
        } else if name.ends_with(".jsonl") {
            text = String::from_utf8(stored).expect("UTF-8");
        } else {
            panic!("{name} is not an output file of this program");
        }
        assert!(text.is_empty() || text.ends_with('\n'), "{name} ends with an incomplete line");
        for line in text.lines() {
            *found.entry(line.to_owned()).or_default() += 1;
        }
    }
    found
}

/// Returns the files below a folder, without the state folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true if path.ends_with(".trailhose") => {}
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

/// Fails unless exactly these events were delivered, each once.
pub fn assert_delivered(dest: &Path, events: &[String]) {
    let mut found = lines(dest);
    for event in events {
        match found.remove(event) {
            Some(1) => {}
            Some(times) => panic!("delivered {times} times: {event}"),
            None => panic!("not delivered: {event}"),
        }
    }
    assert!(found.is_empty(), "unexpected line: {:?}", found.keys().next());
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Returns a bucket with these events in four objects, and the folder that they are delivered to.
pub fn synced(events: &[String], compress: &str) -> (Bucket, tempfile::TempDir) {
    let bucket = Bucket::new();
    for (number, object) in events.chunks(events.len().div_ceil(4)).enumerate() {
        bucket.put_log(&number.to_string(), object);
    }
    let dest = tempfile::tempdir().unwrap();
    assert_eq!(run(&["sync", text(bucket.path()), text(dest.path()), "--compress", compress]).code(), 0);
    (bucket, dest)
}

/// Runs the program as another user. Root passes every file mode, so as root the program is started with the ID of
/// an unprivileged user; otherwise `chmod` takes the permissions of the user itself.
#[cfg(unix)]
pub fn as_another_user(program: &Path, args: &[&str]) -> Ran {
    use std::os::unix::fs::MetadataExt;
    let is_root = std::fs::metadata(program).unwrap().uid() == 0;
    let mut command = match is_root {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
            command
        }
        false => Command::new(program),
    };
    Ran(command.args(args).env("HOME", "/").output().expect("setpriv of util-linux is installed"))
}
