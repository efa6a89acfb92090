//! How much memory the programs take at most: it grows with the events of an object, 40 bytes each, and with nothing else.
//!
//! What is tested is a debug build, whose code alone takes some 20 MiB. So the bounds here are of what a program takes
//! beyond what it takes idle. `docs/performance.md` says what the memory holds.

mod bed;
mod common;

use bed::emulator::Emulator;
use common::stub::{Reply, Request, Stub};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Barrier, LazyLock, mpsc};
use std::time::Duration;
use trailhose::generate::{ObjectSize, SyntheticBucket, SyntheticObject, WriteStats};

/// The debug build takes half a minute for the object on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(1800);

const KEY: &str = "AWSLogs/111122223333/CloudTrail/us-east-1/2026/01/15/\
                   111122223333_CloudTrail_us-east-1_20260115T1200Z_abcdefghijklmnop.json.gz";

/// An object of 200 MB, as it lies in a bucket, and what is in it.
static LARGE: LazyLock<(Vec<u8>, WriteStats)> = LazyLock::new(|| {
    let mut stored = Vec::new();
    let written = SyntheticObject::new(1, ObjectSize::Bytes(200_000_000)).write_gzip(&mut stored).unwrap();
    (stored, written)
});

/// What the template gives the functions. `sync` is given it too: what glibc keeps is chance, and what is tested is what the
/// program holds.
const GLIBC: [(&str, &str); 2] = [("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "1048576")];

/// Ended with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// The most memory it ever held, in MiB.
    fn peak(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().strip_suffix(" kB").unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

/// S3 that has one object, and a stream that takes everything and says how many lines it was given.
fn services(lines: mpsc::Sender<usize>) -> Stub {
    Stub::start(move |request| {
        if request.method == "GET" {
            return part(request.header("range").expect("an object of this size is not asked for as a whole"));
        }
        assert_eq!(request.header("x-amz-target"), Some("Firehose_20150804.PutRecordBatch"));
        let sent: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        let records = sent["Records"].as_array().unwrap();
        lines.send(records.iter().map(|record| ends(record["Data"].as_str().unwrap())).sum()).unwrap();
        let entries = vec![serde_json::json!({ "RecordId": "1" }); records.len()];
        let body = serde_json::json!({ "FailedPutCount": 0, "RequestResponses": entries });
        let headers = vec![("content-type", "application/x-amz-json-1.1".to_owned())];
        Reply::Answer(200, headers, body.to_string().into_bytes())
    })
}

/// What S3 answers to `Range: bytes=4-7`.
fn part(range: &str) -> Reply {
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

/// Line ends in what is written in base64.
fn ends(base64: &str) -> usize {
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

/// Lambda itself: one invocation, handed out at the second meeting, then none.
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
async fn the_function_takes_no_more_than_48_mib_for_an_object_of_200_mb() {
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
    let (answered, answers) = mpsc::channel();
    let meeting = Arc::new(Barrier::new(2));
    let runtime = lambda(s3.to_string(), Arc::clone(&meeting), answered);
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
    println!("ingest, 200 MB ({} bytes in gzip): {peak:.1} MiB at most, {idle:.1} idle", LARGE.0.len());
    assert!(peak - idle <= 48.0, "{peak:.1} MiB at most, {idle:.1} idle: 48 more allowed");
}

/// Runs the program and returns the most memory it held, in MiB.
fn peak(arguments: &[&Path]) -> f64 {
    // A child that has ended no longer says what it took; only its parent can still be told.
    const TOLD: &str = "import resource, subprocess, sys\n\
                        subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n\
                        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
    let mut command = Command::new("python3");
    command.args(["-c", TOLD, env!("CARGO_BIN_EXE_trailhose")]).args(arguments).envs(GLIBC);
    let told = command.output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    String::from_utf8(told.stdout).unwrap().trim().parse::<f64>().unwrap() / 1024.0
}

/// Runs `sync` over this bucket, within 64 MiB more than over an empty one.
fn sync(what: &str, bucket: &Path) {
    let (empty, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let idle = peak(&[Path::new("sync"), empty.path(), &out.path().join("nothing")]);
    let peak = peak(&[Path::new("sync"), bucket, &out.path().join("all")]);
    println!("sync, {what}: {peak:.1} MiB at most, {idle:.1} idle");
    assert!(peak - idle <= 64.0, "{peak:.1} MiB at most, {idle:.1} idle: 64 more allowed");
}

#[test]
fn sync_takes_no_more_than_64_mb_for_one_file_of_200_mb() {
    let bucket = tempfile::tempdir().unwrap();
    let path = bucket.path().join(KEY);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, &LARGE.0).unwrap();
    sync("one file of 200 MB", bucket.path());
}

#[test]
fn sync_takes_no_more_than_64_mb_for_4_000_files() {
    let bucket = tempfile::tempdir().unwrap();
    for (key, stored) in SyntheticBucket::new(1, 4_000).files() {
        let path = bucket.path().join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, stored).unwrap();
    }
    sync("4,000 files", bucket.path());
}
