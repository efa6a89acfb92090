//! `trailhose query`: finds, counts and groups the events of a synced folder and of a CloudTrail folder.

mod laptop;

use laptop::{Bucket, Ran, run, text, trailhose};
use std::io::{BufRead as _, Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;

fn event(number: u32) -> String {
    format!(
        r#"{{"eventID":"00000000-0000-4000-8000-{number:012x}","eventTime":"2026-11-01T10:{:02}:00Z","eventName":"Get{}","eventSource":"s3.amazonaws.com","awsRegion":"eu-west-{}","recipientAccountId":"111122223333","sourceIPAddress":"192.0.2.{}","userIdentity":{{"arn":"arn:aws:iam::111122223333:user/u{}","accessKeyId":"AKIA{:04}"}},"requestParameters":{{"bucketName":"b{}"}}}}"#,
        number % 60,
        number % 7,
        number % 3,
        number % 5,
        number % 11,
        number % 13,
        number % 2,
    )
}

/// A bucket with 200 events, and the folder that they are delivered to.
fn synced(compress: &str) -> (Bucket, tempfile::TempDir) {
    laptop::synced(&(0..200).map(event).collect::<Vec<_>>(), compress)
}

const DAY: [&str; 4] = ["--since", "2026-11-01", "--until", "2026-11-01"];

/// Runs the program with this standard input.
fn run_with_input(args: &[&str], input: &str) -> Ran {
    let mut command = trailhose();
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Ran(child.wait_with_output().unwrap())
}

fn query(source: &Path, args: &[&str]) -> Ran {
    run(&[&["query", text(source)], &DAY[..], args].concat())
}

#[test]
fn options_find_the_same_events_in_every_layout() {
    for compress in ["none", "gzip", "zstd"] {
        let (bucket, dest) = synced(compress);
        for source in [bucket.path(), dest.path()] {
            let by_name = query(source, &["--group-by", "eventName", "--max", "eventTime", "--count", "--json"]);
            let first = r#"{"eventName":"Get0","count":29,"max(eventTime)":"2026-11-01T10:59:00Z"}"#;
            assert_eq!(
                (by_name.code(), by_name.out().lines().next().map(str::to_owned)),
                (0, Some(first.to_owned())),
                "{by_name:?}"
            );
            assert_eq!(by_name.out().lines().count(), 7);
            let found = query(
                source,
                &["--name", "Get3", "--address", "192.0.2.0/31", "--not", "requestParameters.bucketName=b1", "--raw"],
            );
            let expected: Vec<String> =
                (0..200).filter(|number| number % 7 == 3 && number % 5 <= 1 && number % 2 == 0).map(event).collect();
            let mut lines: Vec<String> = found.out().lines().map(str::to_owned).collect();
            lines.sort_unstable();
            assert_eq!(lines, expected, "{found:?}");
            let csv = query(source, &["--where", "userIdentity.arn$=/u10", "--columns", "eventID,errorCode", "--csv"]);
            assert_eq!(csv.out().lines().next(), Some("eventID,errorCode"));
            assert_eq!(csv.out().lines().count(), 1 + (0..200).filter(|number| number % 11 == 10).count());
            let none = query(source, &["--name", "NoSuchEvent"]);
            assert_eq!((none.code(), &*none.out()), (4, ""), "{none:?}");
            let searched = "no event from 2026-11-01T00:00:00Z to 2026-11-02T00:00:00Z matches; searched 200 events";
            assert!(none.err().contains(searched), "{none:?}");
        }
    }
}

#[test]
fn empty_result_names_a_longer_time_span() {
    let (_bucket, dest) = synced("none");
    let spans = [("2026-11-01", "--since 7d"), ("2026-10-20", "--since 90d"), ("2026-01-01", "--time 'all time'")];
    for (since, longer) in spans {
        let args = ["query", text(dest.path()), "--since", since, "--until", "2026-11-01", "--name", "NoSuchEvent"];
        let ran = run(&args);
        let advice = format!("a longer time span may contain such events: for example {longer}\n");
        assert!(ran.code() == 4 && ran.err().contains(&advice), "{ran:?}");
    }
    let all = run(&["query", text(dest.path()), "--time", "all time", "--name", "NoSuchEvent"]);
    assert!(all.code() == 4 && !all.err().contains("longer"), "{all:?}");
}

#[test]
fn lookup_uses_an_index_that_has_every_event() {
    let (_bucket, dest) = synced("gzip");
    let dest = dest.path();
    let id = "00000000-0000-4000-8000-000000000007";
    let lookup = |args: &[&str]| run(&[&["query", text(dest), "--raw"], args].concat());
    let scanned = lookup(&["--id", id]);
    assert_eq!((scanned.code(), scanned.out()), (0, event(7) + "\n"), "{scanned:?}");
    assert!(scanned.err().contains("an index finds it without reading them"), "{scanned:?}");
    let key: &[&str] = &[&DAY[..], &["--access-key", "AKIA0005", "--where", "eventName=Get3"]].concat();
    let by_key = lookup(key);
    assert_eq!(run(&["index", "build", text(dest)]).code(), 0);
    let indexed = lookup(&["--id", id]);
    assert_eq!((indexed.code(), indexed.out()), (0, scanned.out()));
    // The IDs of all events have the same first 8 bytes, which are what the index contains.
    assert!(
        indexed.err().contains("1 event of any time matches; searched 200 events found with the index"),
        "{indexed:?}"
    );
    let indexed_by_key = lookup(key);
    assert_eq!(indexed_by_key.out(), by_key.out());
    assert!(indexed_by_key.err().contains("with the index") && !by_key.err().contains("with the index"));
    // An index that does not contain every event is not used.
    let followers = ["followers", "reset", "index", text(dest), "--to", "start", "--yes"];
    let reset = run(&followers);
    assert_eq!(reset.code(), 0, "{reset:?}");
    let behind = lookup(&["--id", id]);
    assert_eq!((behind.code(), behind.out()), (0, scanned.out()));
    assert!(!behind.err().contains("with the index"), "{behind:?}");
    assert_eq!(run(&["index", "build", text(dest)]).code(), 0);
    // If a file does not contain the events of the index, all files are read instead.
    for file in laptop::files(dest).iter().filter(|file| text(file).ends_with(".jsonl.gz")) {
        std::fs::write(file, b"").unwrap();
    }
    let missing = lookup(&["--id", id]);
    assert_eq!((missing.code(), &*missing.out()), (1, ""), "{missing:?}");
    assert_eq!(missing.err().matches("is shorter than committed").count(), 3, "{missing:?}");
}

/// An index that lacks events of the files is not used, and the query says so.
#[test]
fn index_from_which_events_were_skipped_is_not_used() {
    let (bucket, dest) = laptop::synced(&(0..100).map(event).collect::<Vec<_>>(), "none");
    let dest = dest.path();
    assert_eq!(run(&["index", "build", text(dest)]).code(), 0);
    bucket.put_log("more", &(100..200).map(event).collect::<Vec<_>>());
    assert_eq!(run(&["sync", text(bucket.path()), text(dest)]).code(), 0);
    let count = || query(dest, &["--access-key", "AKIA0005", "--count", "--json"]);
    let expected = format!("{{\"count\":{}}}\n", (0..200).filter(|number| number % 13 == 5).count());
    let end = run(&["followers", "reset", "index", text(dest), "--to", "end", "--yes"]);
    assert!(end.code() == 2 && end.err().contains("cannot skip to the end"), "{end:?}");
    assert_eq!(count().out(), expected);
    // A missing file is skipped and restored.
    let mut new_files = laptop::files(dest);
    new_files.retain(|file| text(file).ends_with(".jsonl"));
    for file in &new_files {
        std::fs::rename(file, file.with_extension("away")).unwrap();
    }
    while run(&["followers", "skip", "index", text(dest), "--yes"]).code() == 0 {}
    for file in &new_files {
        std::fs::rename(file.with_extension("away"), file).unwrap();
    }
    let built = run(&["index", "build", text(dest), "--json"]).json();
    assert_eq!((built["backlog_events"].as_u64(), built["events"].as_u64() < Some(200)), (Some(0), true), "{built}");
    let scanned = count();
    assert_eq!((scanned.code(), scanned.out()), (0, expected.clone()), "{scanned:?}");
    assert!(scanned.err().contains("warning: the index is not used: it lacks events that were skipped"), "{scanned:?}");
    let listed = run(&["events", text(dest), "--access-key", "AKIA0005"]);
    assert!(listed.err().contains("the index is not complete"), "{listed:?}");
    // A new index is complete.
    assert_eq!(run(&["index", "build", text(dest), "--again"]).code(), 0);
    let indexed = count();
    assert_eq!((indexed.code(), indexed.out()), (0, expected), "{indexed:?}");
    assert!(indexed.err().contains("with the index") && !indexed.err().contains("warning"), "{indexed:?}");
}

/// The decoder delivers events with such values, so the index must contain their other fields.
#[test]
fn index_contains_events_with_unreadable_values() {
    let unusual = |number: u32, odd: &str| {
        let identity = r#""userIdentity":{"accessKeyId":"AKIAODD","arn":"arn:aws:iam::111122223333:user/u"}"#;
        format!(
            r#"{{"eventID":"00000000-0000-4000-8000-{number:012x}","eventTime":"2026-11-01T10:00:00Z",{odd},{identity}}}"#
        )
    };
    let odd =
        [r#""errorCode":"a""#, r#""errorCode":"Bad\ud800Code""#, r#""a":{"\udc00":"\udc00"}"#, r#""errorCode":1e999"#];
    let events: Vec<_> = (0..).zip(odd).map(|(number, odd)| unusual(number, odd)).collect();
    let (_bucket, dest) = laptop::synced(&events, "none");
    let by_key = || query(dest.path(), &["--access-key", "AKIAODD", "--count", "--json"]);
    let scanned = by_key();
    assert_eq!(scanned.out(), "{\"count\":4}\n", "{scanned:?}");
    assert_eq!(run(&["index", "build", text(dest.path())]).code(), 0);
    let indexed = by_key();
    assert_eq!(indexed.out(), scanned.out());
    assert!(indexed.err().contains("with the index"), "{indexed:?}");
    for (number, event) in events.iter().enumerate().take(4) {
        let id = format!("00000000-0000-4000-8000-{number:012x}");
        let found = run(&["query", text(dest.path()), "--id", &id, "--raw"]);
        assert_eq!((found.code(), found.out()), (0, format!("{event}\n")), "{found:?}");
    }
}

/// One further file must not hide the events of a bucket.
#[test]
fn json_lines_file_in_a_bucket_is_named_and_hides_nothing() {
    let (bucket, _dest) = synced("none");
    let lines: String = (500..510).map(|number| event(number) + "\n").collect();
    bucket.put("notes.jsonl", lines.as_bytes());
    bucket.put("region=eu-west-1/notes.txt", b"not read");
    let found = run(&["query", text(bucket.path()), "--time", "all time", "--count", "--json"]);
    assert_eq!((found.code(), found.out()), (1, "{\"count\":200}\n".to_owned()), "{found:?}");
    assert!(found.err().contains("notes.jsonl: a JSON Lines file next to CloudTrail logs is not read"), "{found:?}");
    let sql = ["sql", text(bucket.path()), "SELECT count(*) AS n FROM events", "--json"];
    let found = run(&[&sql[..], &DAY[..]].concat());
    assert_eq!((found.code(), found.out()), (1, "{\"n\":200}\n".to_owned()), "{found:?}");
}

#[test]
fn plan_is_read_explained_and_checked() {
    let (_bucket, dest) = synced("none");
    let plan = r#"{"time": {"since": "2026-11-01T00:00:00Z", "until": "2026-11-02T00:00:00Z"},
        "where": {"field": "userIdentity.accessKeyId", "equals": ["AKIA0001"]},
        "groups": {"by": [], "aggregates": ["count"]}}"#;
    let counted = run_with_input(&["query", text(dest.path()), "--plan", "-", "--json"], plan);
    assert_eq!((counted.code(), &*counted.out()), (0, "{\"count\":16}\n"), "{counted:?}");
    let explained = run_with_input(&["query", text(dest.path()), "--plan", "-", "--json", "--explain"], plan).json();
    assert_eq!((&explained["layout"], &explained["files"]), (&"JSON Lines".into(), &3.into()), "{explained}");
    assert_eq!(explained["prefilter"][0], "AKIA0001");
    let unknown =
        run_with_input(&["query", text(dest.path()), "--plan", "-"], &plan.replace("accessKeyId", "accessKey"));
    assert_eq!(unknown.code(), 2);
    assert!(unknown.err().contains("unknown field"), "{unknown:?}");
}

#[test]
fn incomplete_file_is_named_and_changes_the_exit_code() {
    let (_bucket, dest) = synced("none");
    let file = laptop::files(dest.path()).into_iter().find(|file| text(file).ends_with(".jsonl")).unwrap();
    let content = std::fs::read(&file).unwrap();
    std::fs::write(&file, &content[..content.len() - 10]).unwrap();
    let ran = query(dest.path(), &["--count", "--json"]);
    assert_eq!((ran.code(), &*ran.out()), (1, "{\"count\":199}\n"), "{ran:?}");
    assert!(ran.err().contains(text(&file)) && ran.err().contains("incomplete line"), "{ran:?}");
    let missing = run(&["query", "/no/such/folder"]);
    assert_eq!(missing.code(), 2, "{missing:?}");
}

/// The folders outside of CloudTrail's layout are named with a time span, and read without one, as by `sync`.
#[test]
fn query_of_all_time_reads_the_files_that_sync_reads() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/events/bucket");
    let out = tempfile::tempdir().unwrap();
    let synced = run(&["sync", sample, text(out.path()), "--json"]);
    let seen = synced.json()["seen"].as_u64().unwrap();
    let query = |span: &str| run(&["query", sample, "--time", span, "--count", "--json"]);
    let all = query("all time");
    assert!(all.err().contains(&format!("searched {seen} events in 30 files")), "{seen}: {all:?}");
    let year = query("in 2026");
    assert!(year.err().contains("searched 497 events in 29 files"), "{year:?}");
    let named = "hand copied/case=42+notes/ is outside of CloudTrail's layout: query it as a separate source, or search --time 'all time'";
    assert!(year.err().contains(named), "{year:?}");
    // Five of 379 events have no valid time.
    assert_eq!(all.out(), "{\"count\":374}\n");
}

#[test]
fn interrupt_ends_a_query_with_what_was_read() {
    let dest = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (0..60_000).map(event).collect();
    std::fs::write(dest.path().join("a.jsonl"), lines.join("\n") + "\n").unwrap();
    let mut command = trailhose();
    command.args(["query", text(dest.path()), "--limit", "none", "--raw", "--threads", "1"]).args(DAY);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The query waits, because the pipe is full, and only this line is read.
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    out.read_line(&mut first).unwrap();
    assert_eq!(first.trim_end(), lines[0]);
    let signal = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(signal.success());
    let rest = out.lines().count();
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{err}");
    assert!(rest < 59_999, "{rest}");
    assert!(err.contains("at least ") && err.contains("interrupted: the result covers only what was read"), "{err}");
}

/// `script` runs the program on a pseudo-terminal.
#[test]
fn progress_bar_is_drawn_on_a_terminal_only() {
    let (bucket, _dest) = synced("none");
    let command =
        format!("{} query {} --since 2026-11-01 --count", env!("CARGO_BIN_EXE_trailhose"), text(bucket.path()));
    let on_terminal = |command: &str| {
        let mut script = std::process::Command::new("script");
        let output =
            script.args(["--quiet", "--return", "--command", command, "/dev/null"]).stdin(Stdio::null()).output();
        let output = output.expect("script, of the Debian package bsdutils, is installed");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    // The bar is cleared at the end, which only a terminal needs.
    let clear = "\u{1b}[2K";
    let text = on_terminal(&command);
    assert!(text.contains(clear) && text.contains("200 events"), "{text:?}");
    let text = on_terminal(&format!("{command} 2>&1 | cat"));
    assert!(!text.contains(clear) && text.contains("200 events"), "{text:?}");
}
