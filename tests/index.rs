//! `trailhose index`, `events` and `followers`: the index finds every delivered event and its own bytes.

mod laptop;

use laptop::{Bucket, Ran, run, text};
use std::path::{Path, PathBuf};

/// Returns the files of a destination, sorted.
fn files(dest: &Path) -> Vec<PathBuf> {
    let mut found = laptop::files(dest);
    found.sort();
    found
}

/// Returns an event with its own name, key, address and minute.
fn event(number: u32) -> String {
    format!(
        r#"{{"eventID":"00000000-0000-4000-8000-{number:012x}","eventTime":"2026-11-01T10:{:02}:00Z","eventName":"Get{}","eventSource":"s3.amazonaws.com","awsRegion":"eu-west-{}","recipientAccountId":"111122223333","sourceIPAddress":"192.0.2.{}","errorCode":"{}","userIdentity":{{"arn":"arn:aws:iam::111122223333:user/u{}","accessKeyId":"AKIA{}"}},"n":1.50}}"#,
        number % 60,
        number % 7,
        number % 3,
        number % 5,
        if number.is_multiple_of(2) { "AccessDenied" } else { "NoSuchKey" },
        number % 11,
        number % 13,
    )
}

/// A bucket with 200 events, and the folder that they are delivered to.
fn synced(compress: &str) -> (Bucket, tempfile::TempDir) {
    laptop::synced(&(0..200).map(event).collect::<Vec<_>>(), compress)
}

fn sorted(ran: &Ran) -> Vec<String> {
    let mut lines: Vec<String> = ran.out().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Runs `events` with a large limit.
fn find(dest: &Path, args: &[&str]) -> Ran {
    run(&[&["events", text(dest), "--limit", "1000"], args].concat())
}

fn expected(matches: impl Fn(u32) -> bool) -> Vec<String> {
    let mut events: Vec<String> = (0..200).filter(|&number| matches(number)).map(event).collect();
    events.sort();
    events
}

/// Whether an event is expected, by its number.
type Matches = Box<dyn Fn(u32) -> bool>;

#[test]
fn each_condition_finds_the_bytes_of_its_events() {
    for compress in ["none", "gzip", "zstd"] {
        let (_bucket, dest) = synced(compress);
        let dest = dest.path();
        let built = run(&["index", "build", text(dest), "--json"]);
        assert_eq!((built.code(), built.json()["indexed"].as_u64()), (0, Some(200)), "{built:?}");
        let id = "00000000-0000-4000-8000-000000000007";
        assert_eq!(sorted(&find(dest, &["--id", id])), [event(7)]);
        let cases: [(&[&str], Matches); 9] = [
            (&["--name", "Get3"], Box::new(|number| number % 7 == 3)),
            (&["--access-key", "AKIA5"], Box::new(|number| number % 13 == 5)),
            (&["--address", "192.0.2.4"], Box::new(|number| number % 5 == 4)),
            (&["--principal", "arn:aws:iam::111122223333:user/u10"], Box::new(|number| number % 11 == 10)),
            (
                &["--error", "AccessDenied", "--region", "eu-west-1"],
                Box::new(|number| number % 2 == 0 && number % 3 == 1),
            ),
            (&["--since", "2026-11-01T10:30:00Z"], Box::new(|number| number % 60 >= 30)),
            (
                &["--until", "2026-11-01T10:30:00Z", "--name", "Get0"],
                Box::new(|number| number % 60 < 30 && number % 7 == 0),
            ),
            (&["--since", "2026-11-01", "--until", "2026-11-01"], Box::new(|_| true)),
            (&["--account", "111122223333", "--source", "s3.amazonaws.com"], Box::new(|_| true)),
        ];
        for (args, matches) in cases {
            let found = find(dest, args);
            assert_eq!(found.code(), 0, "{args:?}: {found:?}");
            assert!(sorted(&found) == expected(matches), "{compress}: {args:?}");
            assert_eq!(found.err(), "");
        }
        assert_eq!(find(dest, &["--name", "Nope"]).code(), 4);
        let newest = run(&["events", text(dest), "--name", "Get0", "--limit", "1"]);
        assert!(newest.err().contains("raise --limit"), "{newest:?}");
        assert_eq!(
            newest.out().trim_end(),
            (0..200).filter(|n| n % 7 == 0).max_by_key(|n| (n % 60, *n)).map(event).unwrap()
        );
    }
}

#[test]
fn event_of_the_second_in_which_the_span_ends_is_found() {
    let (_bucket, dest) = synced("none");
    assert_eq!(run(&["index", "build", text(dest.path())]).code(), 0);
    let until = |end: &str| find(dest.path(), &["--since", "2026-11-01T10:05:00Z", "--until", end]);
    let second = expected(|number| number % 60 == 5);
    let found = until("2026-11-01T10:05:00.5Z");
    assert!(!second.is_empty() && sorted(&found) == second, "{found:?}");
    assert_eq!(until("2026-11-01T10:05:01Z").out(), found.out());
}

#[test]
fn index_grows_with_the_files_and_says_what_it_lacks() {
    let (bucket, dest) = synced("none");
    let dest = dest.path();
    let missing = find(dest, &["--name", "Get0"]);
    assert_eq!(missing.code(), 2);
    assert!(missing.err().contains("trailhose index build"), "{}", missing.err());
    assert_eq!(run(&["index", "build", text(dest)]).code(), 0);
    bucket.put_log("more", &(200..210).map(event).collect::<Vec<_>>());
    assert_eq!(run(&["sync", text(bucket.path()), text(dest)]).code(), 0);
    let status = run(&["index", "status", text(dest), "--json"]).json();
    assert_eq!((status["events"].as_u64(), status["backlog_events"].as_u64()), (Some(200), Some(10)), "{status}");
    let found = find(dest, &["--name", "Get0"]);
    assert!(found.err().contains("10 delivered events are not in the index"), "{}", found.err());
    assert_eq!(run(&["index", "build", text(dest), "--json"]).json()["indexed"].as_u64(), Some(10));
    assert_eq!(run(&["index", "build", text(dest), "--again", "--json"]).json()["events"].as_u64(), Some(210));
    let list = run(&["followers", "list", text(dest), "--json"]).json();
    assert_eq!((list["name"].as_str(), list["backlog_events"].as_u64()), (Some("index"), Some(0)), "{list}");
}

/// Deleting the index loses nothing, and the follower's position does not hide it.
/// If the position cannot be reset, the index must not be deleted: the next build would continue an empty one.
#[test]
fn index_is_complete_after_a_failed_rebuild() {
    let (_bucket, dest) = synced("none");
    let dest = dest.path();
    assert_eq!(run(&["index", "build", text(dest)]).code(), 0);
    let state = rusqlite::Connection::open(dest.join(".trailhose/state.db")).unwrap();
    let refuse = |event: &str| {
        let sql =
            format!("CREATE TRIGGER t{event} BEFORE {event} ON followers BEGIN SELECT RAISE(ABORT, 'made up'); END");
        state.execute_batch(&sql).unwrap();
    };
    ["INSERT", "UPDATE"].into_iter().for_each(refuse);
    let ran = run(&["index", "build", text(dest), "--again"]);
    assert!(ran.code() == 2 && ran.err().contains("made up"), "{} {}", ran.code(), ran.err());
    state.execute_batch("DROP TRIGGER tINSERT; DROP TRIGGER tUPDATE").unwrap();
    assert_eq!(run(&["index", "build", text(dest)]).code(), 0);
    assert_eq!(sorted(&find(dest, &["--since", "2026-11-01", "--until", "2026-11-02"])), expected(|_| true));
}

/// Replaces a database of the state folder, as a restore from a backup does.
fn restore(dest: &Path, name: &str, content: &[u8]) {
    let folder = dest.join(".trailhose");
    for extension in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.join(format!("{name}{extension}")));
    }
    std::fs::write(folder.join(name), content).unwrap();
}

/// The index and the position of its follower are in different files. If they are of different times, the index lacks events or
/// gets events twice, unless it is built again.
#[test]
fn index_of_another_time_than_its_follower_is_built_again() {
    for restored in ["index.db", "state.db"] {
        let (bucket, dest) = synced("none");
        let dest = dest.path();
        assert_eq!(run(&["index", "build", text(dest)]).code(), 0);
        let older = std::fs::read(dest.join(".trailhose").join(restored)).unwrap();
        for (name, numbers) in [("more", 200..210), ("most", 210..220)] {
            bucket.put_log(name, &numbers.map(event).collect::<Vec<_>>());
            assert_eq!(run(&["sync", text(bucket.path()), text(dest)]).code(), 0);
            assert_eq!(run(&["index", "build", text(dest)]).code(), 0);
        }
        let all: Vec<String> = {
            let mut all: Vec<String> = (0..220).map(event).collect();
            all.sort();
            all
        };
        assert!(sorted(&find(dest, &["--since", "2026-11-01"])) == all, "{restored}");
        restore(dest, restored, &older);

        let before = find(dest, &["--since", "2026-11-01"]);
        assert!(before.err().contains("20 delivered events are not in the index"), "{restored}: {}", before.err());
        let status = run(&["index", "status", text(dest), "--json"]).json();
        assert_eq!(status["backlog_events"].as_u64(), Some(20), "{restored}: {status}");
        let id = "00000000-0000-4000-8000-0000000000d7";
        let queried = run(&["query", text(dest), "--id", id, "--raw"]);
        assert_eq!((queried.code(), queried.out().trim_end()), (0, &*event(215)), "{restored}: {queried:?}");
        assert!(!queried.err().contains("with the index"), "{restored}: {queried:?}");

        let built = run(&["index", "build", text(dest), "--json"]);
        assert_eq!((built.code(), built.json()["events"].as_u64()), (0, Some(220)), "{restored}: {built:?}");
        assert!(built.err().contains("is built again"), "{restored}: {}", built.err());
        let after = find(dest, &["--since", "2026-11-01"]);
        assert_eq!((after.code(), after.err()), (0, String::new()), "{restored}");
        assert!(sorted(&after) == all, "{restored}: {} events", after.out().lines().count());
        // The index and its follower agree again.
        let built = run(&["index", "build", text(dest), "--json"]);
        assert_eq!((built.json()["indexed"].as_u64(), built.err()), (Some(0), String::new()), "{restored}");
    }
}

/// The process ended after the events were added and before the position was stored.
#[test]
fn index_that_is_one_batch_ahead_is_continued() {
    let (bucket, dest) = synced("none");
    let dest = dest.path();
    assert_eq!(run(&["index", "build", text(dest)]).code(), 0);
    let older = std::fs::read(dest.join(".trailhose/state.db")).unwrap();
    bucket.put_log("more", &[event(200)]);
    assert_eq!(run(&["sync", text(bucket.path()), text(dest)]).code(), 0);
    assert_eq!(run(&["index", "build", text(dest)]).code(), 0);
    restore(dest, "state.db", &older);
    let built = run(&["index", "build", text(dest), "--json"]);
    assert_eq!((built.json()["indexed"].as_u64(), built.json()["events"].as_u64()), (Some(1), Some(201)), "{built:?}");
    assert_eq!(built.err(), "");
    assert_eq!(find(dest, &["--since", "2026-11-01"]).out().lines().count(), 201);
}

#[test]
fn deleted_index_is_built_again() {
    let (_bucket, dest) = synced("none");
    assert_eq!(run(&["index", "build", text(dest.path())]).code(), 0);
    for file in ["index.db", "index.db-wal", "index.db-shm"] {
        let _ = std::fs::remove_file(dest.path().join(".trailhose").join(file));
    }
    let built = run(&["index", "build", text(dest.path()), "--json"]).json();
    assert_eq!((built["indexed"].as_u64(), built["events"].as_u64()), (Some(200), Some(200)), "{built}");
    // Neither may a position at the start add the events a second time.
    assert_eq!(run(&["followers", "reset", "index", text(dest.path()), "--to", "start", "--yes"]).code(), 0);
    let built = run(&["index", "build", text(dest.path()), "--json"]).json();
    assert_eq!(built["events"].as_u64(), Some(200), "{built}");
}

#[test]
fn unreadable_file_is_named_counted_and_skipped_only_by_decision() {
    let (_bucket, dest) = synced("none");
    let dest = dest.path();
    let file = files(dest).remove(0);
    let away = file.with_extension("away");
    std::fs::rename(&file, &away).unwrap();
    let built = run(&["index", "build", text(dest)]);
    assert_eq!(built.code(), 1);
    assert!(built.err().contains(text(&file)) && built.err().contains("followers skip index"), "{}", built.err());
    let undecided = run(&["followers", "skip", "index", text(dest)]);
    assert_eq!(undecided.code(), 2, "{undecided:?}");
    let skipped = run(&["followers", "skip", "index", text(dest), "--yes", "--json"]).json();
    let lost = skipped["events"].as_u64().unwrap();
    assert!(lost > 0 && skipped["skipped"] == true, "{skipped}");
    assert_eq!(run(&["index", "build", text(dest), "--json"]).json()["events"].as_u64(), Some(200 - lost));
    let list = run(&["followers", "list", text(dest), "--json"]).json();
    assert_eq!(list["skipped_events"].as_u64(), Some(lost));
    let status = run(&["index", "status", text(dest), "--json"]).json();
    assert_eq!((&status["skipped_segments"], &status["skipped_events"]), (&1.into(), &lost.into()), "{status}");
    let status = run(&["index", "status", text(dest)]).out();
    assert!(status.contains("skipped events") && status.contains("   in 1 segment\n"), "{status}");
    let nothing = run(&["followers", "skip", "index", text(dest), "--yes", "--json"]);
    assert_eq!((nothing.code(), &nothing.json()["result"]), (1, &"nothing_to_skip".into()), "{nothing:?}");
    assert_eq!(run(&["followers", "skip", "idnex", text(dest), "--yes"]).code(), 2);
    // Events of a file that is gone after it was indexed are not printed, and not silently.
    std::fs::rename(&away, &file).unwrap();
    assert_eq!(run(&["index", "build", text(dest), "--again"]).code(), 0);
    assert_eq!(run(&["index", "status", text(dest), "--json"]).json()["skipped_events"], 0);
    std::fs::rename(&file, &away).unwrap();
    let found = find(dest, &["--since", "2026-11-01"]);
    assert_eq!((found.code(), found.out().lines().count() as u64), (1, 200 - lost));
    assert!(found.err().contains(&format!("is missing: {lost} found events are not printed")), "{}", found.err());
}

/// The events of a rebuilt file are found once, in their new file.
#[test]
fn rebuilt_file_is_indexed_once() {
    let (bucket, dest) = synced("none");
    assert_eq!(run(&["index", "build", text(dest.path())]).code(), 0);
    std::fs::remove_file(files(dest.path()).remove(0)).unwrap();
    assert_eq!(run(&["sync", text(bucket.path()), text(dest.path()), "--rebuild"]).code(), 0);
    assert_eq!(run(&["index", "build", text(dest.path())]).code(), 0);
    let found = find(dest.path(), &["--since", "2026-11-01"]);
    assert_eq!((found.code(), found.err()), (0, String::new()));
    assert!(sorted(&found) == expected(|_| true), "{} events", found.out().lines().count());
}

#[test]
fn index_of_another_version_is_replaced_or_refused() {
    let (_bucket, dest) = synced("none");
    let path = dest.path().join(".trailhose/index.db");
    assert_eq!(run(&["index", "build", text(dest.path())]).code(), 0);
    let set = |version: u32| {
        let index = rusqlite::Connection::open(&path).unwrap();
        index.execute_batch(&format!("PRAGMA user_version = {version}")).unwrap();
    };
    set(2);
    let found = find(dest.path(), &["--name", "Get0"]);
    assert!(found.code() == 2 && found.err().contains("build it again"), "{found:?}");
    assert_eq!(run(&["index", "build", text(dest.path()), "--json"]).json()["events"].as_u64(), Some(200));
    set(9);
    for args in [vec!["index", "build", text(dest.path())], vec!["events", text(dest.path()), "--name", "a"]] {
        let refused = run(&args);
        assert!(refused.code() == 2 && refused.err().contains("version 9"), "{refused:?}");
    }
}

#[test]
fn invalid_arguments_are_explained() {
    let (_bucket, dest) = synced("none");
    for (args, message) in [
        (vec!["events", text(dest.path())], "no condition"),
        (vec!["events", text(dest.path()), "--since", "soon"], "invalid time"),
        (vec!["events", text(dest.path()), "--since", "2026-11-02", "--until", "2026-11-01"], "not before"),
        (vec!["events", "--name", "a"], "DEST"),
        (vec!["index", "build", "/nonexistent"], "/nonexistent does not exist: name the folder"),
    ] {
        let ran = run(&args);
        assert!(ran.code() == 2 && ran.err().contains(message), "{args:?}: {ran:?}");
    }
}

#[test]
fn second_build_is_refused_and_leaves_the_index() {
    let (_bucket, dest) = synced("none");
    let dest = dest.path();
    assert_eq!(run(&["index", "build", text(dest)]).code(), 0);
    let state = trailhose::state::StateDatabase::open(&dest.join(".trailhose/state.db")).unwrap();
    let lock = state.lock_follower("index").unwrap();
    for options in [&["--again"][..], &[]] {
        let refused = run(&[&["index", "build", text(dest)], options].concat());
        assert!(refused.code() == 2 && refused.err().contains("already runs"), "{refused:?}");
    }
    assert_eq!(find(dest, &["--account", "111122223333"]).out().lines().count(), 200);
    drop(lock);
    assert_eq!(run(&["index", "build", text(dest), "--again", "--json"]).json()["indexed"], 200);
}
