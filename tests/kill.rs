//! Every event is delivered exactly once, although `kill -9` stops the program at any moment.
//!
//! `TRAILHOSE_KILLS` is the number of kills in each test (default 4), `TRAILHOSE_SEED` determines their times. A test
//! that fails prints its seed.

mod laptop;

use laptop::{Bucket, assert_delivered, event, events, run, text, trailhose};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Number of objects. They are small, like most.
const OBJECTS: u32 = 120;
/// Events per object.
const EVENTS: u32 = 100;
/// Every fifth object repeats this many events of the previous one, like a second trail.
const SHARED: u32 = 20;

fn bucket() -> (Bucket, Vec<String>) {
    let bucket = Bucket::new();
    for object in 0..OBJECTS {
        let first = object * EVENTS;
        let mut all = events(first..first + EVENTS);
        if object % 5 == 1 {
            all.extend((first - SHARED..first).map(event));
        }
        bucket.put_log(&format!("{object:04}"), &all);
    }
    (bucket, events(0..OBJECTS * EVENTS))
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| match text.parse() {
        Ok(number) if number > 0 => number,
        _ => panic!("{name}={text} is not a positive number"),
    })
}

/// Returns the number of objects that are done according to the ledger. A killed run may have no ledger yet.
fn done(out: &Path) -> u64 {
    let stats = run(&["ledger", "stats", "--json", "--ledger", text(&out.join(".trailhose/ledger.db"))]);
    if stats.code() == 0 { stats.json()["contents"]["done"].as_u64().expect("a count") } else { 0 }
}

/// Limit of the runs that end or are killed without the expected effect.
const MAX_RUNS: u64 = 200;

/// Kills runs until the number of kills is reached, and at least one of them left a partial result. Each run resumes where the previous one was killed. When a run ends
/// by itself, its output is checked, and the next run starts with an empty destination.
fn survive(compress: &str) {
    let (bucket, all) = bucket();
    let seed = number("TRAILHOSE_SEED", 7);
    let mut random = fastrand::Rng::with_seed(seed);
    // The checkpoint interval is short: most kills interrupt a file write or a commit.
    let args = |out: &Path| {
        ["sync", text(bucket.path()), text(out), "--compress", compress, "--checkpoint", "0.02"].map(str::to_owned)
    };
    let whole = tempfile::tempdir().unwrap();
    let started = Instant::now();
    assert_eq!(run(&args(whole.path()).each_ref().map(String::as_str)).code(), 0);
    let longest = started.elapsed();
    assert_delivered(whole.path(), &all);

    let (mut killed, mut ended, mut partial) = (0, 0, 0);
    let mut out = tempfile::tempdir().unwrap();
    while killed < number("TRAILHOSE_KILLS", 4) || partial == 0 {
        assert!(killed + ended < MAX_RUNS, "seed {seed}: no kill of {killed} left a partial result");
        let mut child =
            trailhose().args(args(out.path())).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(longest.mul_f64(random.f64() * 0.6) + Duration::from_millis(1));
        match child.try_wait().unwrap() {
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                killed += 1;
                partial += u64::from((1..u64::from(OBJECTS)).contains(&done(out.path())));
            }
            Some(status) => {
                assert!(status.success(), "seed {seed}: {:?}", child.wait_with_output());
                assert_delivered(out.path(), &all);
                out = tempfile::tempdir().unwrap();
                ended += 1;
            }
        }
    }
    let last = run(&args(out.path()).each_ref().map(String::as_str));
    assert_eq!(last.code(), 0, "seed {seed}, {killed} kills, {ended} ends: {last:?}");
    assert_delivered(out.path(), &all);
    println!(
        "seed {seed}: {killed} kills, {partial} with a partial result, and {ended} ends, {longest:?} for a whole run"
    );
}

#[test]
fn plain_files_hold_every_event_once_after_kills() {
    survive("none");
}

#[test]
fn gzip_files_hold_every_event_once_after_kills() {
    survive("gzip");
}

#[test]
fn zstd_files_hold_every_event_once_after_kills() {
    survive("zstd");
}

/// Deletes a file and kills the run that rebuilds it, at any moment: before, during and after the reset of the objects.
#[test]
fn rebuild_delivers_every_event_once_after_kills() {
    let (bucket, all) = bucket();
    let seed = number("TRAILHOSE_SEED", 7);
    let mut random = fastrand::Rng::with_seed(seed);
    let out = tempfile::tempdir().unwrap();
    let sync = ["sync", text(bucket.path()), text(out.path()), "--checkpoint", "0.02"];
    let rebuild = [&sync[..], &["--rebuild"]].concat();
    assert_eq!(run(&sync).code(), 0);
    let (mut killed, mut rounds, mut partial, mut longest) = (0, 0, 0, Duration::from_millis(500));
    while killed < number("TRAILHOSE_KILLS", 4) || partial == 0 {
        assert!(rounds < MAX_RUNS, "seed {seed}: no kill of {killed} left a partial result");
        rounds += 1;
        let mut files = laptop::files(out.path());
        files.sort();
        std::fs::remove_file(&files[random.usize(..files.len())]).unwrap();
        let started = Instant::now();
        loop {
            let mut child = trailhose().args(&rebuild).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            std::thread::sleep(longest.mul_f64(random.f64() * 1.2));
            if child.try_wait().unwrap().is_some() {
                let ended = child.wait_with_output().unwrap();
                assert!(ended.status.success(), "seed {seed}: {ended:?}");
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            killed += 1;
            // The reset of the objects is committed, and some of them are not done again.
            partial += u64::from(done(out.path()) < u64::from(OBJECTS));
        }
        longest = longest.max(started.elapsed());
        assert_delivered(out.path(), &all);
    }
    println!("seed {seed}: {killed} kills in {rounds} rebuilds, {partial} with a partial result");
}
