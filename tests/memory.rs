//! Memory limits of the programs. Memory grows only with the number of events of an object, by at most 200 bytes each
//! (`tests/bombs.rs`).
//!
//! The code of the tested debug build alone takes about 20 MiB, so the limits apply to the memory above that of an idle
//! program. `docs/performance.md` describes what the memory holds.

mod bed;
mod common;

use bed::emulator::Emulator;
use common::stub::{Reply, Request, Stub};
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Barrier, LazyLock, mpsc};
use std::time::Duration;
use trailhose::decode::{DecodeLimits, EventReader};
use trailhose::generate::{ObjectSize, SyntheticBucket, SyntheticObject, WriteStats};

/// The debug build needs half a minute for the object on an idle machine.
const PATIENCE: Duration = Duration::from_secs(1800);

const KEY: &str = "AWSLogs/111122223333/CloudTrail/us-east-1/2026/01/15/\
                   111122223333_CloudTrail_us-east-1_20260115T1200Z_abcdefghijklmnop.json.gz";

/// A stored object of 200 MB, and the statistics of its content.
static LARGE: LazyLock<(Vec<u8>, WriteStats)> = LazyLock::new(|| {
    let mut stored = Vec::new();
    let written = SyntheticObject::new(1, ObjectSize::Bytes(200_000_000)).write_gzip(&mut stored).unwrap();
    (stored, written)
});

/// The template sets these variables for the functions. `sync` runs with them too, because the memory that glibc
/// retains varies and the tests measure the memory that the program holds.
const GLIBC: [(&str, &str); 2] = [("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "1048576")];

/// A child process that is killed on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Returns the peak memory in MiB.
    fn peak(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().strip_suffix(" kB").unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

/// Starts an S3 with one object and a stream that accepts everything and reports the number of lines.
fn services(lines: mpsc::Sender<usize>) -> Stub {
    Stub::start(move |request| {
        if request.method == "GET" {
            return range_reply(request.header("range").expect("an object of this size is fetched by range requests"));
        }
        assert_eq!(request.header("x-amz-target"), Some("Firehose_20150804.PutRecordBatch"));
        let sent: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        let records = sent["Records"].as_array().unwrap();
        lines.send(records.iter().map(|record| count_lines(record["Data"].as_str().unwrap())).sum()).unwrap();
        let entries = vec![serde_json::json!({ "RecordId": "1" }); records.len()];
        let body = serde_json::json!({ "FailedPutCount": 0, "RequestResponses": entries });
        let headers = vec![("content-type", "application/x-amz-json-1.1".to_owned())];
        Reply::Answer(200, headers, body.to_string().into_bytes())
    })
}

/// Returns the reply of S3 to a range such as `bytes=4-7`.
fn range_reply(range: &str) -> Reply {
    let (from, last) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')).unwrap();
    let (from, size): (usize, _) = (from.parse().unwrap(), LARGE.0.len());
    let end = size.min(last.parse::<usize>().unwrap() + 1);
    let headers = vec![
        ("etag", "\"made-up\"".to_owned()),
        ("content-type", "application/gzip".to_owned()),
        ("content-range", format!("bytes {from}-{}/{size}", end - 1)),
    ];
    Reply::Answer(206, headers, LARGE.0[from..end].to_vec())
}

/// Counts the line feeds in base64-encoded bytes.
fn count_lines(base64: &str) -> usize {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static VALUES: LazyLock<[u32; 256]> = LazyLock::new(|| {
        let mut values = [0; 256];
        DIGITS.iter().zip(0..).for_each(|(&digit, value)| values[usize::from(digit)] = value);
        values
    });
    let groups = base64.as_bytes().chunks_exact(4);
    groups
        .map(|four| four.iter().fold(0, |all, &digit| all << 6 | VALUES[usize::from(digit)]))
        .fold(0, |sum, three| sum + three.to_be_bytes().iter().filter(|&&byte| byte == b'\n').count())
}

/// Starts a runtime API that returns one invocation after the second wait at the barrier, and then none.
fn lambda(payload: String, meeting: Arc<Barrier>, answers: mpsc::Sender<(String, Vec<u8>)>) -> Stub {
    let given = std::sync::atomic::AtomicBool::new(false);
    Stub::start(move |request: &Request| {
        if request.path.ends_with("/invocation/next") {
            if given.swap(true, std::sync::atomic::Ordering::SeqCst) {
                return Reply::Silence(PATIENCE);
            }
            meeting.wait();
            meeting.wait();
            let deadline = std::time::SystemTime::now() + PATIENCE;
            let deadline = deadline.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis().to_string();
            let headers = vec![
                ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned()),
                ("lambda-runtime-deadline-ms", deadline),
                ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:111122223333:function:f".to_owned()),
            ];
            return Reply::Answer(200, headers, payload.clone().into_bytes());
        }
        answers.send((request.path.clone(), request.body.clone())).unwrap();
        Reply::Answer(202, vec![], vec![])
    })
}

#[tokio::test]
async fn ingest_of_200_mb_takes_at_most_48_mib() {
    for (name, value) in GLIBC {
        assert!(include_str!("../template.yaml").contains(&format!(" {name}: \"{value}\"\n")), "{name}");
    }
    let emulator = Emulator::shared_ministack();
    bed::table::create(&aws_sdk_dynamodb::Client::new(&emulator.config()), "ledger", &[]).await;
    let (counted, lines) = mpsc::channel();
    let services = services(counted);
    let s3 = serde_json::json!({ "Records": [{
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1", "eventName": "ObjectCreated:Put",
        "s3": { "bucket": { "name": "logs" },
                "object": { "key": KEY, "size": LARGE.0.len(), "eTag": "made-up", "sequencer": "0A" } } }] });
    let (answer_sender, answers) = mpsc::channel();
    let meeting = Arc::new(Barrier::new(2));
    let runtime = lambda(s3.to_string(), Arc::clone(&meeting), answer_sender);
    let function = Command::new(bed::lambda_program("ingest"))
        .env_clear()
        .envs(GLIBC)
        .envs([
            ("AWS_LAMBDA_RUNTIME_API", runtime.endpoint().trim_start_matches("http://")),
            ("AWS_LAMBDA_FUNCTION_NAME", "ingest"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "group"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "stream"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_ENDPOINT_URL", &emulator.endpoint()),
            ("AWS_ENDPOINT_URL_S3", &services.endpoint()),
            ("AWS_ENDPOINT_URL_FIREHOSE", &services.endpoint()),
            ("TRAILHOSE_TABLE", "ledger"),
            ("TRAILHOSE_STREAM", "events"),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let function = Running(function);
    meeting.wait();
    let idle = function.peak();
    meeting.wait();
    let (path, answer) = answers.recv_timeout(PATIENCE).unwrap();
    assert!(path.ends_with("/response"), "{path}: {}", String::from_utf8_lossy(&answer));
    assert_eq!(lines.try_iter().sum::<usize>(), LARGE.1.events as usize);
    let peak = function.peak();
    println!("ingest, 200 MB ({} bytes in gzip): peak {peak:.1} MiB, idle {idle:.1} MiB", LARGE.0.len());
    assert!(peak - idle <= 48.0, "peak {peak:.1} MiB, idle {idle:.1} MiB; the limit is 48 MiB above idle");
}

/// Runs the program and returns its peak memory in MiB.
fn peak(arguments: &[&Path]) -> f64 {
    // The peak of a process that has ended is available only to its parent.
    const SCRIPT: &str = "import resource, subprocess, sys\n\
                        subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n\
                        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
    let mut command = Command::new("python3");
    command.args(["-c", SCRIPT, env!("CARGO_BIN_EXE_trailhose")]).args(arguments).envs(GLIBC);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().parse::<f64>().unwrap() / 1024.0
}

/// Counts the lines of the JSON Lines files below a folder.
fn delivered_lines(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| match path.is_dir() {
            true => delivered_lines(&path),
            false if path.extension().is_some_and(|ending| ending == "jsonl") => {
                BufReader::new(File::open(path).unwrap()).split(b'\n').map(|line| drop(line.unwrap())).count() as u64
            }
            false => 0,
        })
        .sum()
}

/// Runs `sync` for a bucket of `events` events: every event is delivered, with at most 64 MiB more than for an empty
/// bucket.
fn sync(what: &str, bucket: &Path, events: u64) {
    let (empty, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let idle = peak(&[Path::new("sync"), Path::new("--allow-empty"), empty.path(), &out.path().join("nothing")]);
    let all = out.path().join("all");
    let peak = peak(&[Path::new("sync"), bucket, &all]);
    assert_eq!(delivered_lines(&all), events, "{what}: delivered events");
    println!("sync, {what}: peak {peak:.1} MiB, idle {idle:.1} MiB");
    assert!(peak - idle <= 64.0, "peak {peak:.1} MiB, idle {idle:.1} MiB; the limit is 64 MiB above idle");
}

#[test]
fn sync_of_200_mb_takes_at_most_64_mib() {
    let bucket = tempfile::tempdir().unwrap();
    let path = bucket.path().join(KEY);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, &LARGE.0).unwrap();
    sync("one file of 200 MB", bucket.path(), LARGE.1.events.into());
}

#[test]
fn sync_of_4_000_files_takes_at_most_64_mib() {
    let bucket = tempfile::tempdir().unwrap();
    let mut ids = HashSet::new();
    for (key, stored) in SyntheticBucket::new(1, 4_000).files() {
        let mut events = EventReader::new(&stored, DecodeLimits::default());
        while let Some(event) = events.next().unwrap() {
            ids.insert(event.id);
        }
        let path = bucket.path().join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, stored).unwrap();
    }
    sync("4,000 files", bucket.path(), ids.len() as u64);
}
