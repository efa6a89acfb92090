//! `trailhose sync --watch`: finds new, late and replaced objects, and neither loses nor repeats events when it stops.
#![cfg(unix)]

mod bed;
mod laptop;

use bed::emulator::Emulator;
use bed::faults::{Fault, Faults};
use laptop::{Bucket, Ran, assert_delivered, event, events, gzip, key, lines, log, run, text, trailhose};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Timeout of a wait, more than ten times the longest expected wait.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A running watch with its rounds and error lines.
struct Watch {
    child: Child,
    rounds: Receiver<Value>,
    errors: Receiver<String>,
}

impl Watch {
    fn start(bucket: &Bucket, out: &Path) -> Self {
        Self::of(trailhose(), text(bucket.path()), out)
    }

    fn of(mut command: Command, source: &str, out: &Path) -> Self {
        command.args(["sync", source, text(out)]);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        command.args(["--watch", "1s", "--json", "--checkpoint", "0.05"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, rounds) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap());
            }
        });
        let (sender, errors) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        Self { child, rounds, errors }
    }

    /// Returns the next completed round.
    fn round(&self) -> Value {
        self.rounds.recv_timeout(TIMEOUT).expect("a round")
    }

    /// Returns the next round that delivers events.
    fn delivery(&self) -> Value {
        let started = Instant::now();
        while started.elapsed() < TIMEOUT {
            let round = self.round();
            if round["delivered"] != 0 {
                return round;
            }
        }
        panic!("nothing was delivered in {TIMEOUT:?}");
    }

    /// Returns a round that started after this call.
    fn whole_round(&self) -> Value {
        while self.rounds.try_recv().is_ok() {}
        self.round();
        self.round()
    }

    fn error(&self, part: &str) -> String {
        let started = Instant::now();
        while started.elapsed() < TIMEOUT {
            let line = self.errors.recv_timeout(TIMEOUT).expect("a line");
            if line.contains(part) {
                return line;
            }
        }
        panic!("no line with {part:?} in {TIMEOUT:?}");
    }

    fn interrupt(self) -> i32 {
        self.signal("-INT")
    }

    /// Sends a signal and returns the exit code.
    fn signal(mut self, name: &str) -> i32 {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
        self.child.wait().unwrap().code().expect("exited with a code")
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Ends the program if a test fails before it does.
impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a CloudTrail key of the current day.
fn today(name: &str) -> String {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().to_string();
    key("111122223333", "CloudTrail", "eu-west-1", &today, name)
}

/// Puts an object atomically, as S3 does.
fn put(bucket: &Bucket, key: &str, events: &[String]) -> PathBuf {
    let path = bucket.put(&format!("{key}.part"), &gzip(&log(events)));
    let whole = bucket.path().join(key);
    std::fs::rename(path, &whole).unwrap();
    whole
}

#[test]
fn file_that_is_deleted_between_rounds_is_reported() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    put(&bucket, &today("a"), &events(0..1));
    let watch = Watch::start(&bucket, out.path());
    assert_eq!(watch.round()["missing_files"], 0);
    let file = laptop::files(out.path()).remove(0);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(watch.whole_round()["missing_files"], 1);
    assert!(watch.error("is missing").contains(text(&file)));
    assert_eq!(watch.interrupt(), 130);
}

/// Later rounds look back a few days, and so select.
#[test]
fn trail_next_to_another_is_found_in_later_rounds() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    put(&bucket, &today("a"), &events(0..1));
    let watch = Watch::start(&bucket, out.path());
    assert_eq!(watch.round()["delivered"], 1);
    watch.whole_round();
    put(&bucket, &format!("member-trail/{}", today("b")), &events(1..2));
    assert_eq!(watch.delivery()["objects"], 1);
    put(&bucket, "copies/111122223333_CloudTrail_eu-west-1_20261101T0005Z_aaaaaaaaaaaaaaaa.json.gz", &events(2..3));
    assert_eq!(watch.delivery()["delivered"], 1, "a folder outside of CloudTrail's layout");
    put(&bucket, "copies/111122223333_CloudTrail_eu-west-1_20261101T0005Z_bbbbbbbbbbbbbbbb.json.gz", &events(3..4));
    assert_eq!(watch.delivery()["delivered"], 1);
    watch.error("copies/: not a CloudTrail folder; the next round reads it");
    watch.interrupt();
    assert_delivered(out.path(), &events(0..4));
}

#[test]
fn new_late_and_replaced_objects_are_delivered_once() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    put(&bucket, &today("m"), &events(0..2));
    let watch = Watch::start(&bucket, out.path());
    let first = watch.round();
    assert_eq!((&first["round"], &first["delivered"]), (&1.into(), &2.into()), "{first}");
    put(&bucket, &today("n"), &events(2..4));
    assert_eq!(watch.delivery()["objects"], 1, "new");
    put(&bucket, &today("a"), &events(4..6));
    assert_eq!(watch.delivery()["objects"], 1, "late: a key before all known keys");
    put(&bucket, &today("m"), &events(0..3).into_iter().chain([event(6)]).collect::<Vec<_>>());
    let replaced = watch.delivery();
    assert_eq!((&replaced["delivered"], &replaced["duplicate"]), (&1.into(), &3.into()), "{replaced}");
    let quiet = watch.whole_round();
    assert_eq!((&quiet["already_done"], &quiet["objects"]), (&3.into(), &0.into()), "{quiet}");
    assert_eq!(watch.interrupt(), 130);
    assert_delivered(out.path(), &events(0..7));
}

#[test]
fn later_rounds_scan_the_last_days_only() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    let old = |name: &str| key("111122223333", "CloudTrail", "eu-west-1", "2020-01-01", name);
    put(&bucket, &old("a"), &events(0..1));
    put(&bucket, &today("c"), &events(2..3));
    let watch = Watch::start(&bucket, out.path());
    assert_eq!(watch.round()["delivered"], 2);
    put(&bucket, &old("b"), &events(1..2));
    let round = watch.whole_round();
    assert_eq!((&round["delivered"], &round["already_done"]), (&0.into(), &1.into()), "{round}");
    assert_eq!(watch.interrupt(), 130);
    let watch = Watch::start(&bucket, out.path());
    assert_eq!(watch.round()["delivered"], 1);
    assert_eq!(watch.interrupt(), 130);
    assert_delivered(out.path(), &events(0..3));
}

/// The clock is ahead of the bucket by years, as after a jump of the clock.
#[test]
fn later_rounds_start_at_the_newest_log_even_if_the_clock_is_far_ahead() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    let log_of = |day: &str, name: &str| key("111122223333", "CloudTrail", "eu-west-1", day, name);
    put(&bucket, &log_of("2020-01-04", "a"), &events(0..1));
    let watch = Watch::start(&bucket, out.path());
    assert_eq!(watch.round()["delivered"], 1);
    put(&bucket, &log_of("2020-01-04", "new"), &events(1..2));
    assert_eq!(watch.delivery()["delivered"], 1);
    put(&bucket, &log_of("2020-01-01", "late"), &events(2..3));
    assert_eq!(watch.delivery()["delivered"], 1, "within the look-back of the newest log");
    assert_eq!(watch.interrupt(), 130);
    assert_delivered(out.path(), &events(0..3));
}

#[test]
fn quarantined_object_is_listed_once_and_counted_in_every_round() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    bucket.put(&today("cut"), &gzip(&log(&events(0..9)))[..40]);
    let mut watch = Watch::start(&bucket, out.path());
    let first = watch.round();
    assert_eq!((&first["quarantined"]["gzip"], &first["exit_code"]), (&1.into(), &3.into()), "{first}");
    assert_eq!(watch.whole_round()["quarantined_before"], 1);
    let status = Command::new("kill").args(["-INT", &watch.child.id().to_string()]).status().unwrap();
    assert!(status.success() && watch.child.wait().unwrap().code() == Some(130));
    let named = watch.errors.iter().filter(|line| line.starts_with("quarantined: ")).count();
    assert_eq!(named, 1);
}

#[test]
fn missing_source_stops_no_other_and_is_retried_in_each_round() {
    let (home, other) = (Bucket::new(), Bucket::new());
    let settings =
        format!("dest = \"out\"\n[[source]]\nfolder = \"one\"\n[[source]]\nfolder = \"{}\"\n", text(other.path()));
    home.put("trailhose.toml", settings.as_bytes());
    let (one, away) = (home.path().join("one"), home.path().join("away"));
    let old = |name: &str| key("111122223333", "CloudTrail", "eu-west-1", "2020-01-01", name);
    put(&other, &today("a"), &events(0..2));
    let mut command = trailhose();
    command.arg("sync").current_dir(home.path());
    let watch = Watch::spawn(command);
    // Missing at the start.
    let first = watch.round();
    assert_eq!((&first["delivered"], &first["exit_code"]), (&2.into(), &1.into()), "{first}");
    assert_eq!(first["failed_sources"][0]["source"], "one", "{first}");
    assert!(watch.error("cannot be read").contains("one does not exist"));
    put(&other, &today("b"), &events(2..4));
    let later = watch.delivery();
    assert_eq!((&later["delivered"], &later["failed_sources"][0]["source"]), (&2.into(), &"one".into()), "{later}");
    // The missing source does not make the other one scan everything again.
    put(&other, &old("c"), &events(4..6));
    let later = watch.whole_round();
    assert_eq!((&later["delivered"], &later["already_done"]), (&0.into(), &2.into()), "{later}");
    // When it appears, everything in it is scanned.
    home.put(&format!("one/{}", old("d")), &gzip(&log(&events(6..8))));
    let found = watch.delivery();
    assert_eq!((&found["delivered"], &found["failed_sources"]), (&2.into(), &serde_json::json!([])), "{found}");
    // Missing at the start of a later round.
    std::fs::rename(&one, &away).unwrap();
    let later = watch.whole_round();
    assert_eq!((&later["failed_sources"][0]["source"], &later["exit_code"]), (&"one".into(), &1.into()), "{later}");
    put(&other, &today("e"), &events(8..10));
    assert_eq!(watch.delivery()["delivered"], 2);
    std::fs::rename(&away, &one).unwrap();
    let later = watch.whole_round();
    assert_eq!((&later["failed_sources"], &later["exit_code"]), (&serde_json::json!([]), &0.into()), "{later}");
    watch.interrupt();
    let delivered: Vec<String> = events(0..4).into_iter().chain(events(6..10)).collect();
    assert_delivered(&home.path().join("out"), &delivered);
}

#[test]
fn failed_round_is_reported_and_the_next_one_resumes() {
    let (home, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let bucket = Bucket::new();
    put(&bucket, &today("a"), &events(0..2));
    let watch = Watch::start(&bucket, out.path());
    assert_eq!(watch.round()["delivered"], 2);
    let away = home.path().join("away");
    std::fs::rename(bucket.path(), &away).unwrap();
    let line = watch.error(" failed: ");
    assert!(line.contains("does not exist") && line.contains("the next round starts in 1 s"), "{line}");
    std::fs::rename(&away, bucket.path()).unwrap();
    put(&bucket, &today("b"), &events(2..4));
    assert_eq!(watch.delivery()["delivered"], 2);
    assert_eq!(watch.interrupt(), 130);
    assert_delivered(out.path(), &events(0..4));
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_objects_are_retried_by_later_rounds_at_any_age() {
    let emulator = Emulator::moto();
    let s3 = aws_sdk_s3::config::Builder::from(&emulator.config()).force_path_style(true).build();
    let s3 = aws_sdk_s3::Client::from_conf(s3);
    s3.create_bucket().bucket("logs").send().await.unwrap();
    let old = key("111122223333", "CloudTrail", "eu-west-1", "2020-01-01", "a");
    for (key, events) in [(&old, events(0..2)), (&today("b"), events(2..4))] {
        s3.put_object().bucket("logs").key(key).body(gzip(&log(&events)).into()).send().await.unwrap();
    }
    let faults = Faults::before(&emulator);
    faults.when(|call| (call.operation == "GetObject" && call.path.contains("2020")).then_some(Fault::Deny));
    let out = tempfile::tempdir().unwrap();
    let watch = Watch::of(laptop::trailhose_at(&faults.endpoint()), "s3://logs", out.path());
    let first = watch.round();
    assert_eq!(
        (&first["delivered"], &first["failed"], &first["exit_code"]),
        (&2.into(), &1.into(), &1.into()),
        "{first}"
    );
    faults.heal();
    assert_eq!(watch.delivery()["delivered"], 2);
    // The round is clean now, so the next rounds scan the last days only.
    assert_eq!(watch.whole_round()["already_done"], 1);
    assert_eq!(watch.interrupt(), 130);
    assert_delivered(out.path(), &events(0..4));
}

#[test]
fn kill_at_any_time_loses_and_repeats_nothing() {
    const KILLS: u32 = 6;
    const OBJECTS: u32 = 20;
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    let mut random = fastrand::Rng::with_seed(11);
    let mut next: u32 = 0;
    for _ in 0..KILLS {
        let watch = Watch::start(&bucket, out.path());
        // Objects arrive while it runs; each repeats one event of the previous object.
        for _ in 0..OBJECTS {
            let first = next * 30;
            put(&bucket, &today(&format!("{next:04}")), &events(first.saturating_sub(1)..first + 30));
            next += 1;
            std::thread::sleep(Duration::from_millis(random.u64(0..60)));
        }
        watch.kill();
    }
    let rest: Ran = run(&["sync", text(bucket.path()), text(out.path())]);
    assert_eq!(rest.code(), 0, "{rest:?}");
    assert_delivered(out.path(), &events(0..KILLS * OBJECTS * 30));
}

/// After a kill, the write-ahead log contains the last commits of the ledger. Without it the ledger is older than the
/// folder.
#[test]
fn removed_log_of_a_killed_ledger_is_noticed() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    put(&bucket, &today("a"), &events(0..3));
    let watch = Watch::start(&bucket, out.path());
    assert_eq!(watch.round()["delivered"], 3);
    watch.kill();
    let [log, shared] = ["wal", "shm"].map(|name| out.path().join(format!(".trailhose/ledger.db-{name}")));
    assert!(log.exists() && shared.exists(), "a kill leaves both");
    let away = out.path().join(".trailhose/away");
    std::fs::rename(&log, &away).unwrap();
    for args in [&["sync", text(bucket.path()), text(out.path())][..], &["ledger", "verify", text(out.path())]] {
        let ran = run(args);
        assert_eq!((ran.code(), ran.err().lines().count()), (2, 1), "{ran:?}");
        assert!(ran.err().contains("ledger.db-wal is missing") && ran.err().contains("Restore"), "{ran:?}");
    }
    std::fs::rename(&away, &log).unwrap();
    let ran = run(&["sync", text(bucket.path()), text(out.path()), "--json"]);
    assert_eq!((ran.code(), &ran.json()["already_done"]), (0, &1.into()), "{ran:?}");
    // The process ends without waiting for its threads, so the last one may not have closed the ledger.
    assert_eq!(log.exists(), shared.exists(), "a process that ends normally removes both or none");
    assert_delivered(out.path(), &events(0..3));
}

#[test]
fn ctrl_c_during_a_round_finishes_objects_in_progress() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    for object in 0..300 {
        put(&bucket, &today(&format!("{object:04}")), &events(object * 100..(object + 1) * 100));
    }
    let watch = Watch::start(&bucket, out.path());
    let started = Instant::now();
    while laptop::files(out.path()).is_empty() {
        assert!(started.elapsed() < TIMEOUT, "nothing was delivered in {TIMEOUT:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(watch.interrupt(), 130);
    assert_eq!(lines(out.path()).len() % 100, 0, "objects in progress are finished");
    assert_eq!(run(&["sync", text(bucket.path()), text(out.path())]).code(), 0);
    assert_delivered(out.path(), &events(0..30_000));
}

#[test]
fn sigterm_ends_a_watch_with_0() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    put(&bucket, &today("a"), &events(0..2));
    let watch = Watch::start(&bucket, out.path());
    assert_eq!(watch.round()["delivered"], 2);
    assert_eq!(watch.signal("-TERM"), 0);
    assert_delivered(out.path(), &events(0..2));
    let watch = Watch::start(&bucket, out.path());
    assert_eq!(watch.round()["already_done"], 1);
    std::fs::remove_dir_all(bucket.path()).unwrap();
    watch.error(" failed: ");
    let failed = watch.whole_round();
    assert_eq!((&failed["result"], &failed["exit_code"]), (&"aborted".into(), &1.into()), "{failed}");
    assert!(failed["reason"].as_str().unwrap().contains("does not exist"), "{failed}");
    assert_eq!(watch.signal("-TERM"), 1, "the last round failed");
}

#[test]
fn empty_source_is_reported_by_the_first_round_only() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    let mut watch = Watch::start(&bucket, out.path());
    let first = watch.round();
    assert_eq!((&first["exit_code"], &first["empty_sources"]), (&4.into(), &serde_json::json!([text(bucket.path())])));
    let later = watch.whole_round();
    assert_eq!((&later["exit_code"], &later["empty_sources"]), (&0.into(), &serde_json::json!([])), "{later}");
    put(&bucket, &today("a"), &events(0..2));
    assert_eq!(watch.delivery()["objects"], 1);
    let status = Command::new("kill").args(["-INT", &watch.child.id().to_string()]).status().unwrap();
    assert!(status.success() && watch.child.wait().unwrap().code() == Some(130));
    assert_eq!(watch.errors.iter().filter(|line| line.starts_with("warning: ")).count(), 1);
}

#[test]
fn idle_watch_prints_a_sign_of_life() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    put(&bucket, &today("a"), &events(0..1));
    let args = ["sync", text(bucket.path()), text(out.path()), "--watch", "1s"];
    let mut child = trailhose().args(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let idle = lines.find(|line| line.contains("round 2: ")).unwrap();
    assert!(idle.starts_with("20") && idle.ends_with("Z  round 2: no new objects; running"), "{idle}");
    put(&bucket, &today("b"), &events(1..2));
    let news = lines.next().unwrap();
    assert!(news.ends_with(": 1 object done, 1 event delivered"), "one idle line an hour, and no '1 objects': {news}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn invalid_watch_is_rejected() {
    let out = tempfile::tempdir().unwrap();
    let missing = out.path().join("missing");
    for (pause, expected) in [("5m", "does not exist"), ("5", "expected 1s to 24h"), ("-5m", "'-5'")] {
        let mut child = trailhose();
        let args = ["sync", text(&missing), text(out.path()), "--watch", pause];
        let mut child = child.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!((child.wait().unwrap().code(), said.lines().count()), (Some(2), 1), "{said}");
        assert!(said.starts_with("error: ") && said.contains(expected), "{said}");
    }
}

/// Returns the free bytes of a file system.
#[cfg(target_os = "linux")]
fn free_bytes(folder: &str) -> u64 {
    let df = Command::new("df").args(["--output=avail", "--block-size=1", folder]).output().unwrap();
    String::from_utf8(df.stdout).unwrap().lines().nth(1).unwrap().trim().parse().unwrap()
}

/// The destination is in memory, so that other programs do not change its free space.
#[cfg(target_os = "linux")]
#[test]
fn watch_delivers_nothing_while_too_little_space_is_free() {
    const MEMORY: &str = "/dev/shm";
    let (bucket, out) = (Bucket::new(), tempfile::tempdir_in(MEMORY).unwrap());
    put(&bucket, &today("a"), &events(0..1));
    let min_free = (free_bytes(MEMORY) - (16 << 20)).to_string();
    let mut command = trailhose();
    command.args(["sync", text(bucket.path()), text(out.path()), "--min-free", &min_free]);
    let watch = Watch::spawn(command);
    assert_eq!(watch.round()["delivered"], 1);
    let filler = tempfile::NamedTempFile::new_in(MEMORY).unwrap();
    std::fs::write(filler.path(), vec![0; 32 << 20]).unwrap();
    put(&bucket, &today("b"), &events(1..2));
    let failed = watch.error("must be free");
    assert!(failed.contains(MEMORY) && failed.contains("--min-free"), "{failed}");
    let round = watch.whole_round();
    assert_eq!((&round["delivered"], &round["exit_code"]), (&0.into(), &1.into()), "{round}");
    drop(filler);
    assert_eq!(watch.delivery()["delivered"], 1);
    assert_eq!(watch.signal("-TERM"), 0, "the last round did not fail");
    assert_delivered(out.path(), &events(0..2));
}
