//! Followers read every committed event in order, also if they are killed at any moment and while a sync runs.
//!
//! `TRAILHOSE_KILLS` is the number of kills (default 50), `TRAILHOSE_SEED` determines their times.

mod collector;
mod laptop;

use async_trait::async_trait;
use collector::Collector;
use laptop::{Bucket, events, run, text, trailhose};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use trailhose::event::EventScope;
use trailhose::event::filter::Filter;
use trailhose::follow::{BatchLimits, EventBatch, FollowError, Follower, follow, reset, skip_segment};
use trailhose::ledger::store::sqlite::{CommitMode, Sqlite};
use trailhose::pack::{PackedLine, SinkCall};
use trailhose::sink::Sink;
use trailhose::sink::jsonl::{CommittedSegments, FileFault, Jsonl, Options, SegmentReader};
use trailhose::state::{StateDatabase, StateError};

const OBJECTS: u32 = 100;
const EVENTS: u32 = 100;

fn bucket() -> Bucket {
    let bucket = Bucket::new();
    for object in 0..OBJECTS {
        bucket.put_log(&format!("{object:04}"), &events(object * EVENTS..(object + 1) * EVENTS));
    }
    bucket
}

fn segments(dest: &Path) -> Arc<CommittedSegments> {
    Arc::new(CommittedSegments::open(dest, &dest.join(".trailhose/ledger.db")).unwrap())
}

fn state(dest: &Path) -> StateDatabase {
    StateDatabase::open(&dest.join(".trailhose/state.db")).unwrap()
}

/// Returns the committed events in commit order.
fn committed(dest: &Path) -> Vec<String> {
    let segments = segments(dest);
    let mut found = Vec::new();
    for segment in segments.after(0, u32::MAX).unwrap() {
        let mut reader = SegmentReader::open(&segments, &segment).unwrap();
        while let Some((_, event)) = reader.next_event().unwrap() {
            found.push(String::from_utf8(event.to_vec()).unwrap());
        }
    }
    found
}

/// Writes each batch to a file, as one line with the events as a JSON array.
struct Recorder {
    file: std::fs::File,
    pause: Duration,
}

#[async_trait]
impl Follower for Recorder {
    fn name(&self) -> &str {
        "recorder"
    }

    fn limits(&self) -> BatchLimits {
        BatchLimits { events: 30, bytes: 1 << 20 }
    }

    async fn deliver(&mut self, batch: &EventBatch) -> Result<(), String> {
        let events: Vec<&str> = batch.iter().map(|(_, event)| std::str::from_utf8(event).unwrap()).collect();
        let line = serde_json::to_string(&events).unwrap() + "\n";
        self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_all()).map_err(|error| error.to_string())?;
        std::thread::sleep(self.pause);
        Ok(())
    }
}

/// Follows to the end. Repeats an attempt that the lock refuses: a process that another test starts has a copy of each open
/// lock of this process, until it executes its program.
async fn collect(dest: &Path) -> Result<Vec<String>, FollowError> {
    for attempt in 1.. {
        let mut collector = Collector::with_batches_of(1_000);
        let followed = follow(&mut collector, &segments(dest), &state(dest), &|| false, &|_| {}).await;
        if is_locked(&followed) && attempt < 100 {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        }
        return followed.map(|_| collector.events);
    }
    unreachable!("the last attempt returns")
}

fn is_locked<T>(result: &Result<T, FollowError>) -> bool {
    matches!(result, Err(FollowError::State(StateError::InUse { .. })))
}

/// Resets the follower of [`collect`], and repeats attempts like it.
fn reset_collector(dest: &Path, to_end: bool) {
    for _ in 0..100 {
        let done = reset("collector", &segments(dest), &state(dest), to_end);
        if !is_locked(&done) {
            done.unwrap();
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the follower stays locked");
}

/// The process that `killed_follower_repeats_only_the_batch_that_was_not_acknowledged` kills. Follows until the sync has
/// ended and everything is read.
#[tokio::test]
#[ignore = "is started by another test"]
async fn child() {
    let dest = PathBuf::from(std::env::var_os("TRAILHOSE_TEST_DEST").expect("TRAILHOSE_TEST_DEST"));
    let file = std::fs::File::options().create(true).append(true).open(dest.join("recorded")).unwrap();
    let mut recorder = Recorder { file, pause: Duration::from_millis(1) };
    loop {
        let is_last = dest.join("synced").exists();
        follow(&mut recorder, &segments(&dest), &state(&dest), &|| false, &|_| {}).await.unwrap();
        if is_last {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| match text.parse() {
        Ok(number) if number > 0 => number,
        _ => panic!("{name}={text} is not a positive number"),
    })
}

#[test]
fn killed_follower_repeats_only_the_batch_that_was_not_acknowledged() {
    let (bucket, seed) = (bucket(), number("TRAILHOSE_SEED", 7));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut repeated = 0;
    for compress in ["none", "gzip", "zstd"] {
        let dest = tempfile::tempdir().unwrap();
        let args = ["sync", text(bucket.path()), text(dest.path()), "--compress", compress, "--checkpoint", "0.02"];
        let mut sync = trailhose().args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while !dest.path().join(".trailhose/ledger.db").exists()
            || CommittedSegments::open(dest.path(), &dest.path().join(".trailhose/ledger.db")).is_err()
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        let follower = || {
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args(["--ignored", "--exact", "child"]).env("TRAILHOSE_TEST_DEST", dest.path());
            child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let kills = number("TRAILHOSE_KILLS", 50).div_ceil(3);
        let mut killed = 0;
        while killed < kills {
            let mut child = follower();
            std::thread::sleep(Duration::from_millis(random.u64(10..120)));
            if child.try_wait().unwrap().is_none() {
                child.kill().unwrap();
                killed += 1;
            }
            child.wait().unwrap();
            if killed == kills / 2 {
                assert!(sync.wait().unwrap().success(), "{compress}");
                std::fs::write(dest.path().join("synced"), "").unwrap();
            }
            if std::fs::read_to_string(dest.path().join("recorded")).is_ok_and(|text| text.len() > 40_000_000) {
                panic!("seed {seed}: the follower does not get to the end");
            }
        }
        assert!(sync.wait().unwrap().success(), "{compress}");
        assert!(follower().wait().unwrap().success(), "seed {seed}");
        let recorded = std::fs::read_to_string(dest.path().join("recorded")).unwrap();
        let mut batches: Vec<Vec<String>> = Vec::new();
        for line in recorded.lines() {
            // A killed process can leave the start of a line. The next process then continues that line.
            let start = line.rfind("[\"{").unwrap_or_default();
            let Ok(batch) = serde_json::from_str::<Vec<String>>(&line[start..]) else { continue };
            match batches.last() {
                Some(last) if *last == batch => repeated += 1,
                _ => batches.push(batch),
            }
        }
        assert!(
            batches.concat() == committed(dest.path()),
            "seed {seed}: {compress}: events are missing or out of order"
        );
    }
    // Without a repeated batch, no kill was between a batch and its acknowledgement, so the test would show nothing.
    assert!(repeated > 0, "seed {seed}: no batch was repeated");
}

/// Delivers events without the program, with one checkpoint for each pair of the first event and the event after the last.
async fn delivered(dest: &Path, checkpoints: &[(u32, u32)]) {
    let ledger = Sqlite::open(&dest.join(".trailhose/ledger.db"), CommitMode::Grouped).unwrap();
    let sink = Jsonl::with_ledger(dest, Options::default(), &ledger).await.unwrap();
    let scope = EventScope { account: "111122223333".into(), region: "eu-west-1".into(), minute: Some(28_000_000) };
    for &(from, to) in checkpoints {
        let mut call = SinkCall { scopes: Arc::new(vec![scope.clone()]), ..SinkCall::default() };
        for (ordinal, event) in events(from..to).into_iter().enumerate() {
            call.body.extend_from_slice(event.as_bytes());
            call.body.push(b'\n');
            call.lines.push(PackedLine { end: call.body.len(), ordinal: ordinal as u32, scope: 0 });
        }
        call.records.push(call.body.len());
        let transaction = sink.begin().await.unwrap();
        sink.deliver(&call, tokio::time::Instant::now() + Duration::from_secs(60)).await.unwrap();
        transaction.commit();
        sink.flush().await.unwrap();
    }
}

/// Accepts a number of batches of at most four events, and refuses the next one.
struct Limited {
    accepted: usize,
    batches: Vec<usize>,
}

#[async_trait]
impl Follower for Limited {
    fn name(&self) -> &str {
        "collector"
    }

    fn limits(&self) -> BatchLimits {
        BatchLimits { events: 4, bytes: 1 << 20 }
    }

    async fn deliver(&mut self, batch: &EventBatch) -> Result<(), String> {
        if self.batches.len() == self.accepted {
            return Err("it is closed".into());
        }
        self.batches.push(batch.events.len());
        Ok(())
    }
}

#[tokio::test]
async fn batch_never_contains_events_of_two_checkpoints() {
    let dest = tempfile::tempdir().unwrap();
    delivered(dest.path(), &[(0, 6), (6, 7), (7, 9)]).await;
    let mut follower = Limited { accepted: 9, batches: Vec::new() };
    follow(&mut follower, &segments(dest.path()), &state(dest.path()), &|| false, &|_| {}).await.unwrap();
    assert_eq!(follower.batches, [4, 2, 1, 2]);
}

#[tokio::test]
async fn follower_continues_after_the_acknowledged_part_of_a_segment() {
    let dest = tempfile::tempdir().unwrap();
    delivered(dest.path(), &[(0, 10)]).await;
    let mut follower = Limited { accepted: 1, batches: Vec::new() };
    let refused = follow(&mut follower, &segments(dest.path()), &state(dest.path()), &|| false, &|_| {}).await;
    assert_eq!(refused.unwrap_err().to_string(), "the follower collector failed: it is closed");
    assert_eq!(collect(dest.path()).await.unwrap(), events(4..10));
}

/// Another ledger has a segment with the same ID, but not the same segment.
#[tokio::test]
async fn position_of_another_history_is_refused() {
    let dest = tempfile::tempdir().unwrap();
    delivered(dest.path(), &[(0, 5)]).await;
    collect(dest.path()).await.unwrap();
    let state = state(dest.path());
    let mut stored = state.follower("collector").unwrap().unwrap();
    stored.cursor.fingerprint = "1:0:99:1700000000:00000000".into();
    state.put_follower("collector", &stored).unwrap();
    let error = collect(dest.path()).await.unwrap_err();
    assert!(matches!(error, FollowError::Position { .. }), "{error}");
}

/// The events that the follower had not read of the segment are not in the record.
#[tokio::test]
async fn position_in_a_segment_that_does_not_exist_is_refused() {
    let dest = tempfile::tempdir().unwrap();
    delivered(dest.path(), &[(0, 10), (10, 12)]).await;
    let mut follower = Limited { accepted: 1, batches: Vec::new() };
    follow(&mut follower, &segments(dest.path()), &state(dest.path()), &|| false, &|_| {}).await.unwrap_err();
    let ledger = rusqlite::Connection::open(dest.path().join(".trailhose/ledger.db")).unwrap();
    assert_eq!(ledger.execute("DELETE FROM segments WHERE id = 1", []).unwrap(), 1);
    drop(ledger);
    let error = collect(dest.path()).await.unwrap_err();
    assert!(matches!(error, FollowError::Position { segment: 1, .. }), "{error}");
}

fn synced(bucket: &Bucket) -> tempfile::TempDir {
    let dest = tempfile::tempdir().unwrap();
    assert_eq!(run(&["sync", text(bucket.path()), text(dest.path())]).code(), 0);
    dest
}

fn two_accounts() -> Bucket {
    let bucket = Bucket::new();
    bucket.put_log("a", &events(0..10));
    bucket
}

/// Returns the files of a destination.
fn files(dest: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        segments(dest).after(0, 99).unwrap().iter().map(|segment| dest.join(&segment.path)).collect();
    found.dedup();
    found
}

#[tokio::test]
async fn follower_continues_after_its_last_batch() {
    let bucket = two_accounts();
    let dest = synced(&bucket);
    assert_eq!(collect(dest.path()).await.unwrap(), committed(dest.path()));
    assert!(collect(dest.path()).await.unwrap().is_empty());
    bucket.put_log("b", &events(10..15));
    assert_eq!(run(&["sync", text(bucket.path()), text(dest.path())]).code(), 0);
    let all = committed(dest.path());
    assert_eq!(collect(dest.path()).await.unwrap(), all[10..]);
}

/// Returns the error of the only follower in `followers list --json`.
fn listed_error(dest: &Path) -> String {
    let listed = run(&["followers", "list", text(dest), "--json"]);
    assert_eq!(listed.code(), 0, "{listed:?}");
    listed.json()["error"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn missing_file_stops_the_follower_until_it_is_restored() {
    let dest = synced(&two_accounts());
    let file = files(dest.path()).remove(0);
    std::fs::rename(&file, file.with_extension("moved")).unwrap();
    for _ in 0..2 {
        let error = collect(dest.path()).await.unwrap_err();
        assert!(matches!(&error, FollowError::Segment { fault: FileFault::Missing, .. }), "{error}");
        let named = error.to_string();
        let skip = format!("`trailhose followers skip collector {}`", text(&dest.path().canonicalize().unwrap()));
        assert!(named.contains(&skip) && named.contains("events"), "{named}");
        // The same reason is listed before the next run.
        assert_eq!(listed_error(dest.path()), named);
    }
    // Restored: nothing is lost.
    std::fs::rename(file.with_extension("moved"), &file).unwrap();
    assert_eq!(listed_error(dest.path()), "");
    let all = committed(dest.path());
    assert_eq!(collect(dest.path()).await.unwrap(), all);
}

#[tokio::test]
async fn skipped_segment_is_counted() {
    let dest = synced(&two_accounts());
    let (segments, state) = (segments(dest.path()), state(dest.path()));
    let first = segments.after(0, 1).unwrap().remove(0);
    std::fs::remove_file(dest.path().join(&first.path)).unwrap();
    let shown = skip_segment("collector", &segments, &state, false).unwrap().unwrap();
    assert_eq!((&shown.fault, shown.events), (&FileFault::Missing, first.events));
    assert_eq!(state.follower("collector").unwrap(), None, "nothing is changed without a decision");
    skip_segment("collector", &segments, &state, true).unwrap().unwrap();
    let stored = state.follower("collector").unwrap().unwrap();
    assert_eq!((stored.skipped_segments, stored.skipped_events), (1, first.events.unwrap()));
}

#[tokio::test]
async fn truncated_and_replaced_files_are_named() {
    let dest = synced(&two_accounts());
    let file = files(dest.path()).remove(0);
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    let error = collect(dest.path()).await.unwrap_err();
    assert!(matches!(&error, FollowError::Segment { fault: FileFault::Shorter { .. }, .. }), "{error}");
    assert_eq!(listed_error(dest.path()), error.to_string());
    std::fs::write(&file, vec![b'x'; bytes.len()]).unwrap();
    let error = collect(dest.path()).await.unwrap_err();
    assert!(matches!(&error, FollowError::Segment { fault: FileFault::Damaged(_), .. }), "{error}");
}

/// A rebuild delivers the events again. The follower must neither stop at the missing file nor miss the events.
#[tokio::test]
async fn rebuilt_events_are_delivered_again() {
    let bucket = two_accounts();
    let dest = synced(&bucket);
    let file = files(dest.path()).remove(0);
    std::fs::remove_file(&file).unwrap();
    let rebuilt = run(&["sync", text(bucket.path()), text(dest.path()), "--rebuild"]);
    assert_eq!(rebuilt.code(), 0, "{}", rebuilt.err());
    let mut found = collect(dest.path()).await.unwrap();
    found.sort();
    let mut expected = events(0..10);
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn restored_older_ledger_is_detected() {
    let bucket = two_accounts();
    let dest = synced(&bucket);
    let backup = dest.path().join("backup.db");
    std::fs::copy(dest.path().join(".trailhose/ledger.db"), &backup).unwrap();
    let intent = std::fs::read_dir(dest.path().join(".trailhose")).unwrap().map(|entry| entry.unwrap().path());
    let intent = intent.filter(|path| path.extension().is_some_and(|extension| extension == "json")).last().unwrap();
    let old_intent = std::fs::read(&intent).unwrap();
    bucket.put_log("b", &events(10..15));
    assert_eq!(run(&["sync", text(bucket.path()), text(dest.path())]).code(), 0);
    collect(dest.path()).await.unwrap();
    std::fs::copy(&backup, dest.path().join(".trailhose/ledger.db")).unwrap();
    std::fs::write(&intent, old_intent).unwrap();
    let error = collect(dest.path()).await.unwrap_err();
    assert!(matches!(error, FollowError::Position { .. }), "{error}");
    reset_collector(dest.path(), false);
    assert_eq!(collect(dest.path()).await.unwrap().len(), 10);
}

#[tokio::test]
async fn reset_reads_everything_again_or_nothing() {
    let dest = synced(&two_accounts());
    assert_eq!(collect(dest.path()).await.unwrap().len(), 10);
    reset_collector(dest.path(), false);
    assert_eq!(collect(dest.path()).await.unwrap().len(), 10);
    reset_collector(dest.path(), false);
    reset_collector(dest.path(), true);
    assert!(collect(dest.path()).await.unwrap().is_empty());
}

/// Gets all events except those with the numbers 1 and 7.
#[derive(Default)]
struct Filtered(Vec<String>);

#[async_trait]
impl Follower for Filtered {
    fn name(&self) -> &str {
        "filtered"
    }

    fn limits(&self) -> BatchLimits {
        BatchLimits { events: 3, bytes: 1 << 20 }
    }

    fn filter(&self) -> Filter {
        Filter::parse("eventID=00000000-0000-4000-8000-000000000001|00000000-0000-4000-8000-000000000007").unwrap()
    }

    async fn deliver(&mut self, batch: &EventBatch) -> Result<(), String> {
        self.0.extend(batch.iter().map(|(_, event)| String::from_utf8(event.to_vec()).unwrap()));
        Ok(())
    }
}

#[tokio::test]
async fn follower_with_a_filter_gets_the_other_events_and_counts_the_dropped_ones() {
    let bucket = Bucket::new();
    bucket.put_log("a", &events(0..5));
    let dest = synced(&bucket);
    let all = committed(dest.path());
    let mut filtered = Filtered::default();
    let progress =
        follow(&mut filtered, &segments(dest.path()), &state(dest.path()), &|| false, &|_| {}).await.unwrap();
    assert_eq!(filtered.0, [&all[0], &all[2], &all[3], &all[4]].map(Clone::clone));
    assert_eq!((progress.events, progress.filtered), (4, 1));
    // A run that only drops events moves the position too, so that they are counted once.
    bucket.put_log("b", &events(7..8));
    assert_eq!(run(&["sync", text(bucket.path()), text(dest.path())]).code(), 0);
    for _ in 0..2 {
        follow(&mut filtered, &segments(dest.path()), &state(dest.path()), &|| false, &|_| {}).await.unwrap();
    }
    let stored = state(dest.path()).follower("filtered").unwrap().unwrap();
    assert_eq!((stored.events, stored.filtered), (4, 2));
    let listed = run(&["followers", "list", text(dest.path()), "--json"]).json();
    assert_eq!((&listed["filtered_events"], &listed["backlog_events"]), (&2.into(), &0.into()));
    let synced = run(&["sync", text(bucket.path()), text(dest.path()), "--json"]).json();
    assert_eq!(
        (&synced["followers"][0]["name"], &synced["followers"][0]["lag_seconds"]),
        (&"filtered".into(), &0.into())
    );
}

/// A follower that no longer runs keeps every file. After it is removed, nothing waits for it.
#[tokio::test]
async fn removed_follower_prevents_no_prune() {
    let dest = synced(&two_accounts());
    let out = text(dest.path());
    let name = "forward-siem";
    let state = state(dest.path());
    trailhose::follow::register(name, &segments(dest.path()), &state).unwrap();
    #[cfg(feature = "forward")]
    state.add_forward("siem").unwrap();
    let prune = || run(&["prune", out, "--before", "2026-12-01", "--yes"]);
    let refused = prune();
    assert!(refused.code() == 1 && refused.out().contains("trailhose followers remove forward-siem"), "{refused:?}");

    let remove = |options: &[&str]| run(&[&["followers", "remove", name, out], options].concat());
    let unanswered = remove(&[]);
    assert!(unanswered.code() == 2 && unanswered.err().contains("--yes"), "{unanswered:?}");
    let lock = state.lock_follower(name).unwrap();
    let in_use = remove(&["--yes"]);
    assert!(in_use.code() == 2 && in_use.err().contains("already runs"), "{in_use:?}");
    drop(lock);
    assert!(state.follower(name).unwrap().is_some());
    let unknown = run(&["followers", "remove", "forward-seim", out, "--yes"]);
    assert!(unknown.code() == 2 && unknown.err().contains("are: forward-siem"), "{unknown:?}");

    let removed = remove(&["--yes", "--json"]);
    assert_eq!((removed.code(), &removed.json()["removed"]), (0, &true.into()), "{removed:?}");
    assert_eq!(state.followers().unwrap(), []);
    #[cfg(feature = "forward")]
    assert_eq!(state.forwards().unwrap(), []);
    let pruned = prune();
    assert_eq!(pruned.code(), 0, "{pruned:?}");
    assert_eq!(laptop::files(dest.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn second_process_of_a_follower_is_refused() {
    let dest = synced(&two_accounts());
    let state = state(dest.path());
    let _lock = state.lock_follower("collector").unwrap();
    let segments = segments(dest.path());
    for refused in [
        collect(dest.path()).await.map(drop),
        reset("collector", &segments, &state, true).map(drop),
        skip_segment("collector", &segments, &state, true).map(drop),
    ] {
        assert!(matches!(refused, Err(FollowError::State(StateError::InUse { .. }))), "{refused:?}");
    }
    assert_eq!(state.follower("collector").unwrap(), None);
}
