//! The command-line program: results, messages and exit codes.

mod laptop;

use laptop::{Bucket, Ran, assert_delivered, event, events, gzip, key, lines, log, run, text, trailhose};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Returns a bucket of two logs with 5 unique events, one of which is in both logs.
fn small() -> Bucket {
    let bucket = Bucket::new();
    bucket.put_log("a", &events(0..3));
    bucket.put_log("b", &[event(2), event(3), event(3), event(4)]);
    bucket
}

#[test]
fn second_run_delivers_nothing() {
    let (bucket, out) = (small(), tempfile::tempdir().unwrap());
    let first = run(&["sync", text(bucket.path()), text(out.path()), "--json"]);
    assert_eq!((first.code(), first.err().as_str()), (0, ""));
    let said = first.json();
    for (name, count) in [("objects", 2), ("seen", 7), ("delivered", 5), ("duplicate", 2), ("repeats", 1)] {
        assert_eq!(said[name], count, "{name} in {said}");
    }
    assert_eq!((&said["result"], &said["exit_code"]), (&"complete".into(), &0.into()));
    assert_delivered(out.path(), &events(0..5));

    let second = run(&["sync", text(bucket.path()), text(out.path())]);
    assert_eq!(second.code(), 0);
    let table = second.out();
    let figure = |name: &str| {
        let line = table.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_else(|| panic!("{table}"));
        line.trim_start()[name.len()..].split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(
        (figure("objects done"), figure("already done"), figure("delivered")),
        ("0".into(), "2".into(), "0".into())
    );
    assert!(table.contains("All selected objects are delivered."), "{table}");
    assert_delivered(out.path(), &events(0..5));
}

#[test]
fn same_events_in_other_files_are_duplicates() {
    let (bucket, out) = (small(), tempfile::tempdir().unwrap());
    run(&["sync", text(bucket.path()), text(out.path())]);
    let copies = Bucket::new();
    copies.put("111122223333_CloudTrail_eu-west-1_20261102T0000Z_copy.json", log(&events(0..5)).as_bytes());
    let said = run(&["sync", text(copies.path()), text(out.path()), "--json"]).json();
    assert_eq!((&said["seen"], &said["delivered"], &said["duplicate"]), (&5.into(), &0.into(), &5.into()));
    assert_delivered(out.path(), &events(0..5));
}

#[test]
fn every_file_is_delivered_or_listed_with_its_reason() {
    let (bucket, out) = (small(), tempfile::tempdir().unwrap());
    let whole = gzip(&log(&events(10..20)));
    let cut = key("111122223333", "CloudTrail", "eu-west-1", "2026-11-01", "cut");
    bucket.put(&cut, &whole[..whole.len() - 9]);
    bucket.put("notes.txt", b"hello");
    bucket.put("export/data.json", b"{}");
    let digest = "AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/11/01/111122223333_CloudTrail-Digest_eu-west-1_t_eu-west-1_20261101T000000Z.json.gz";
    bucket.put(digest, b"");
    let ran = run(&["sync", text(bucket.path()), text(out.path()), "--json"]);
    assert_eq!(ran.code(), 3);
    let (said, named) = (ran.json(), ran.err());
    assert_eq!(said["quarantined"]["gzip"], 1);
    assert_eq!(said["skipped"], serde_json::json!({ "digest": 1, "elsewhere": 1, "other_extension": 1 }));
    let line = named.lines().find(|line| line.contains(&cut)).unwrap();
    assert!(line.starts_with("quarantined: ") && line.contains("at byte"), "{line}");
    assert!(named.contains("notes.txt: its name ends neither"), "{named}");
    assert!(named.contains("export/data.json: ") && named.contains("--all-files"), "{named}");
    assert!(named.contains("1 object is quarantined and not delivered"), "{named}");
    assert!(!named.contains("Digest"), "digests are listed only with --verbose: {named}");
    assert_eq!(said["not_ingested"].as_array().unwrap().len(), 3);
    assert_delivered(out.path(), &events(0..5));

    let again = run(&["sync", text(bucket.path()), text(out.path()), "--verbose"]);
    assert_eq!(again.code(), 3, "a quarantined object stays quarantined");
    assert!(again.err().contains("Digest") && again.out().contains("quarantined before"), "{again:?}");
}

#[test]
fn objects_are_selected_by_day_account_region_and_kind() {
    let bucket = Bucket::new();
    let objects = [
        ("111122223333", "CloudTrail", "eu-west-1", "2026-11-01"),
        ("111122223333", "CloudTrail", "eu-west-1", "2026-11-02"),
        ("111122223333", "CloudTrail", "us-east-1", "2026-11-03"),
        ("444455556666", "CloudTrail-Insight", "us-east-1", "2026-11-03"),
    ];
    for (number, (account, kind, region, day)) in (0..).zip(objects) {
        bucket.put(&key(account, kind, region, day, "a"), &gzip(&log(&[event(number)])));
    }
    // Excluded folders are not listed. If no folder contains the selected values, objects are listed.
    let flat = Bucket::new();
    for entry in laptop::files(bucket.path()) {
        flat.put(entry.file_name().unwrap().to_str().unwrap(), &std::fs::read(&entry).unwrap());
    }
    for (options, wanted, folders) in [
        (&["--since", "2026-11-02"][..], &[1, 2, 3][..], 0),
        (&["--since", "2026-11-02", "--until", "2026-11-02"], &[1], 0),
        (&["--account", "444455556666"], &[3], 1),
        (&["--account", "444455556666", "--account", "111122223333", "--region", "us-east-1"], &[2, 3], 1),
        (&["--kind", "insight"], &[3], 1),
        (&["--since", "0d"], &[], 0),
    ] {
        let out = tempfile::tempdir().unwrap();
        let ran = run(&[&["sync", text(bucket.path()), text(out.path()), "--json"], options].concat());
        let code = if wanted.is_empty() { 4 } else { 0 };
        assert_eq!(ran.code(), code, "{ran:?}");
        let said = ran.json();
        assert_eq!((&said["excluded"], &said["excluded_folders"]), (&0.into(), &folders.into()), "{options:?}");
        assert_eq!(said["s3_requests"]["gets"], wanted.len(), "{said}");
        assert!(said["s3_requests"]["lists"].as_u64().unwrap() > 1, "{said}");
        let wanted: Vec<String> = wanted.iter().map(|&number| event(number)).collect();
        assert_delivered(out.path(), &wanted);

        let out = tempfile::tempdir().unwrap();
        let ran = run(&[&["sync", text(flat.path()), text(out.path()), "--json"], options].concat());
        assert_eq!((ran.code(), &ran.json()["excluded"]), (code, &(4 - wanted.len()).into()), "{options:?}: {ran:?}");
        assert_delivered(out.path(), &wanted);
    }
}

#[test]
fn foreign_folders_are_read_only_without_a_selection() {
    let (bucket, all, some) = (small(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let copy = "copies/111122223333_CloudTrail_eu-west-1_20261101T0000Z_copy.json";
    bucket.put(copy, log(&events(5..7)).as_bytes());
    bucket.put("AWSLogs/111122223333/Config/eu-west-1/2026/11/1/c.json.gz", b"");
    let ran = run(&["sync", text(bucket.path()), text(all.path()), "--json"]);
    assert_eq!((ran.code(), &ran.json()["skipped"]), (0, &serde_json::json!({ "elsewhere": 1 })), "{ran:?}");
    assert_delivered(all.path(), &events(0..7));
    let ran = run(&["sync", text(bucket.path()), text(some.path()), "--json", "--since", "2026-11-01"]);
    assert_eq!((ran.code(), &ran.json()["unvisited_folders"]), (0, &2.into()), "{ran:?}");
    for folder in ["AWSLogs/111122223333/Config/", "copies/"] {
        assert!(ran.err().contains(&format!("{folder}: not a CloudTrail folder")), "{folder}: {ran:?}");
    }
    assert_delivered(some.path(), &events(0..5));
}

#[test]
fn all_files_reads_files_with_any_name() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    bucket.put("export.json", log(&events(0..2)).as_bytes());
    let without = run(&["sync", text(bucket.path()), text(out.path())]);
    assert!(without.code() == 4 && without.err().contains("use --all-files to read files"), "{without:?}");
    assert_eq!(run(&["sync", text(bucket.path()), text(out.path()), "--all-files"]).code(), 0);
    assert_delivered(out.path(), &events(0..2));
}

#[test]
fn destination_inside_the_source_is_not_read() {
    let bucket = small();
    let out = bucket.path().join("out");
    for objects in [2, 0] {
        let ran = run(&["sync", text(bucket.path()), text(&out), "--json"]);
        assert_eq!((ran.code(), ran.err().as_str()), (0, ""));
        assert_eq!(ran.json()["objects"], objects);
    }
    assert_delivered(&out, &events(0..5));
}

#[test]
fn compressed_files_contain_the_same_lines() {
    let bucket = small();
    for how in ["gzip", "zstd"] {
        let out = tempfile::tempdir().unwrap();
        let rules = "eventID=00000000-0000-4000-8000-000000000000";
        let ran = run(&["sync", text(bucket.path()), text(out.path()), "--compress", how, "--filter", rules, "--json"]);
        assert_eq!(ran.json()["filtered"], 1);
        assert_delivered(out.path(), &events(1..5));
    }
}

#[test]
fn event_larger_than_a_call_is_delivered_unchanged() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    let long = event(1).replace("\"userAgent\":\"", &format!("\"userAgent\":\"{}", "x".repeat(9 << 20)));
    let events = [event(0), long, event(2)];
    bucket.put_log("a", &events);
    let ran = run(&["sync", text(bucket.path()), text(out.path())]);
    assert_eq!(ran.code(), 0, "{}", ran.err());
    assert_delivered(out.path(), &events);
}

#[test]
fn invalid_arguments_exit_with_2_and_one_line() {
    let (bucket, out) = (small(), tempfile::tempdir().unwrap());
    let (source, dest) = (text(bucket.path()), text(out.path()));
    let (missing, file) = (out.path().join("missing"), bucket.put("a-file", b""));
    let ledger = bucket.put("not-a-ledger", b"this is not an SQLite file");
    for (args, expected) in [
        (&["sync", text(&missing), dest][..], "missing does not exist"),
        (&["sync", text(&file), dest], "expected a folder"),
        (&["sync", source, text(&file)], "expected a folder"),
        (&["sync", source, source], "the same folder as SOURCE"),
        (&["sync", "gs://bucket", dest], "unknown scheme gs://"),
        (&["sync", "s3://", dest], "the bucket name is missing"),
        (&["sync", source, "s3://bucket"], "firehose://stream"),
        (&["sync", source, "firehose://stream"], "--ledger FILE"),
        (&["sync", source, dest, "--since", "2026-11-02", "--until", "2026-11-01"], "must not be after --until"),
        (&["sync", source, dest, "--since", "yesterday"], "use YYYY-MM-DD"),
        (&["sync", source, dest, "--account", "12"], "12 digits"),
        (&["sync", source, dest, "--kind", "Digest"], "verification"),
        (&["sync", source, dest, "--all-files", "--since", "1d"], "cannot be used with"),
        (&["sync", source, dest, "--filter", "readOnly"], "field=value"),
        (&["sync", source, dest, "--filter", "readOnly=yes"], "readOnly is never \"yes\": the field is true or false"),
        (&["sync", source, dest, "--filter", "eventsource=kms.amazonaws.com"], "did you mean eventSource?"),
        (&["sync", source, dest, "--filter", "nosuchField=1"], "unknown field \"nosuchField\""),
        (&["sync", source, dest, "--region", "eu-wset-1"], "did you mean eu-west-1?"),
        (&["sync", source, dest, "--kind", "NetworkActivty"], "did you mean NetworkActivity?"),
        (&["sync", source, dest, "--sinse", "1d"], "did you mean --since? (see trailhose sync --help)"),
        (&["sync", source, dest, "--compress", "gzp"], "did you mean gzip? (see trailhose sync --help)"),
        (&["snyc", source, dest], "did you mean sync? (see trailhose --help)"),
        (
            &["ledger", "quarantine", "retry", "--al"],
            "did you mean --all? (see trailhose ledger quarantine retry --help)",
        ),
        (&["cost", "--events", "0"], "expected a whole number of at least 1 (see trailhose cost --help)"),
        (&["sync", source, dest, "--jobs", "none"], "expected a whole number from 1 to 10000"),
        (&["sync", source, dest, "--events-per-record", "many"], "DEST is a folder"),
        (&["sync", source, dest, "--ledger", text(&ledger)], "not-a-ledger"),
        (&["sync", source], "<DEST>"),
        (&["sink", source, dest], "unrecognized subcommand"),
        (&["explain", text(&file), "--ledger", text(&missing)], "does not exist"),
        (&["sync", source, "http://127.0.0.1:9/"], "unencrypted requests need --allow-private"),
        (&["generate", "--to", "http://127.0.0.1:9/"], "unencrypted requests need --allow-private"),
        (&["index", "build", text(&missing)], "missing does not exist: name the folder"),
        (&["prune", text(&missing), "--older-than", "9d"], "missing does not exist: name the folder"),
        (&["ledger", "verify", text(&file)], "a-file is not a folder: name the folder"),
        (&["ledger", "release", text(&missing), "--yes"], "expected DEST/account=…/region=…/date=…/NAME"),
        (&["ledger", "event", "an-id", "--ledger", text(&missing)], "--scan"),
        (&["ledger", "quarantine", "retry", "--ledger", text(&missing)], "--all"),
        (&["prune", dest], "--older-than"),
    ] {
        let ran = run(args);
        let (said, code) = (ran.err(), ran.code());
        assert_eq!((code, said.lines().count(), ran.out().as_str()), (2, 1, ""), "{args:?}: {said}");
        assert!(said.starts_with("error: ") && said.contains(expected), "{args:?}: {said}");
        assert!(lines(out.path()).is_empty());
    }
    assert!(!bucket.path().join("not-a-ledger.lock").exists());
    let refused = trailhose().args(["sync", source, dest]).env("TRAILHOSE_MAX_OBJECT_BYTES", "x").output().unwrap();
    let said = Ran(refused).err();
    assert!(said.starts_with("error: TRAILHOSE_MAX_OBJECT_BYTES: invalid value 'x'"), "{said}");
}

#[test]
fn json_output_contains_the_reason_if_nothing_was_started() {
    let (bucket, out) = (small(), tempfile::tempdir().unwrap());
    let (source, dest, missing) = (text(bucket.path()), text(out.path()), out.path().join("missing"));
    for (args, result, code, reason) in [
        (&["sync", text(&missing), dest, "--json"][..], "not_started", 2, "missing does not exist"),
        (&["sync", source, dest, "--sinse", "1d", "--json"], "not_started", 2, "did you mean --since?"),
        (&["ledger", "stats", "--json", "--ledger", text(&missing)], "not_started", 2, "missing does not exist"),
        (&["explain", text(&missing), "--json"], "not_fetched", 1, "missing does not exist"),
    ] {
        let ran = run(args);
        assert_eq!((ran.code(), ran.err().lines().count()), (code, 1), "{args:?}: {ran:?}");
        let said = ran.json();
        assert_eq!((&said["result"], &said["exit_code"]), (&result.into(), &code.into()), "{said}");
        assert!(said["reason"].as_str().unwrap().contains(reason), "{said}");
    }
}

#[test]
fn nothing_matched_is_a_warning_with_an_exit_code_of_its_own() {
    let (logs, other, digests, empty) = (small(), Bucket::new(), Bucket::new(), Bucket::new());
    other.put("export/data.json", log(&events(0..2)).as_bytes());
    other.put("notes.txt", b"hello");
    digests.put("AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/11/01/111122223333_CloudTrail-Digest_eu-west-1_t_eu-west-1_20261101T000000Z.json.gz", b"");
    for (bucket, options, reason) in [
        (&logs, &["--region", "eu-west-9"][..], "the selection excludes 1 folder; check --since"),
        (&logs, &["--account", "999999999999"], "the selection excludes 1 folder; check --since"),
        (&logs, &["--kind", "insight"], "the selection excludes 1 folder; check --since"),
        (&logs, &["--since", "0d"], "no object of the selected days"),
        (&empty, &[], "the folder is empty"),
        (&digests, &[], "1 file is not a log (1 digest file)"),
        (&other, &[], "2 files are not a log (1 with another name, 1 with another extension); use --all-files"),
    ] {
        let out = tempfile::tempdir().unwrap();
        let args = [&["sync", text(bucket.path()), text(out.path()), "--json"], options].concat();
        let ran = run(&args);
        let said = ran.json();
        assert_eq!((ran.code(), &said["exit_code"], &said["result"]), (4, &4.into(), &"complete".into()), "{ran:?}");
        assert_eq!(said["empty_sources"], serde_json::json!([text(bucket.path())]), "{said}");
        let warnings: Vec<String> =
            ran.err().lines().filter(|line| line.starts_with("warning: ")).map(str::to_owned).collect();
        assert!(warnings.len() == 1 && warnings[0].contains(reason), "{options:?}: {ran:?}");
        assert!(warnings[0].ends_with("Use --allow-empty if this is expected"), "{warnings:?}");
        let expected = run(&[&args[..], &["--allow-empty"]].concat());
        assert_eq!((expected.code(), expected.err().contains("warning: ")), (0, false), "{expected:?}");
        assert_eq!(expected.json()["empty_sources"], serde_json::json!([]));
    }
}

#[test]
fn quarantined_object_matches() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    let cut = key("111122223333", "CloudTrail", "eu-west-1", "2026-11-01", "cut");
    bucket.put(&cut, &gzip(&log(&events(0..9)))[..40]);
    for _ in 0..2 {
        let ran = run(&["sync", text(bucket.path()), text(out.path())]);
        assert_eq!((ran.code(), ran.err().contains("warning: ")), (3, false), "{ran:?}");
        assert!(!ran.out().contains("price on AWS"), "a local run is not billed: {ran:?}");
    }
    let table = run(&["sync", text(bucket.path()), text(&out.path().join("other"))]).out();
    assert!(table.contains("1 with invalid gzip") || table.contains("1 with truncated"), "{table}");
}

/// Entries of a source folder that are not readable files do not stop the others.
#[cfg(unix)]
#[test]
fn entries_that_cannot_be_listed_are_named_and_the_others_delivered() {
    use std::os::unix::ffi::OsStrExt;
    let (bucket, out, elsewhere) = (Bucket::new(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    bucket.put_log("a", &events(0..3));
    let _socket = std::os::unix::net::UnixListener::bind(bucket.path().join("AWSLogs/socket")).unwrap();
    let sync = || run(&["sync", text(bucket.path()), text(out.path()), "--json"]);
    let ran = sync();
    assert_eq!((ran.code(), &ran.json()["delivered"], &ran.json()["skipped"]["not_a_file"]), (0, &3.into(), &1.into()));
    assert!(ran.err().contains("AWSLogs/socket"), "{ran:?}");
    // They may be or contain logs.
    std::os::unix::fs::symlink(elsewhere.path(), bucket.path().join("AWSLogs/444455556666")).unwrap();
    let name = b"111122223333_CloudTrail_eu-west-1_20261101T0005Z_aaaaaaaaaaaaaaa\xe9.json.gz";
    let day = bucket.path().join("AWSLogs/111122223333/CloudTrail/eu-west-1/2026/11/01");
    std::fs::write(day.join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
    bucket.put_log("b", &events(3..5));
    let ran = sync();
    assert_eq!((ran.code(), &ran.json()["delivered"], &ran.json()["failed"]), (1, &2.into(), &2.into()), "{ran:?}");
    for reason in ["AWSLogs/444455556666 is a symbolic link", "has a name that is not UTF-8: rename"] {
        assert!(ran.err().contains(reason), "{ran:?}");
    }
}

/// A result that is lost must not look like success. A closed pipe is a decision of the reader.
#[cfg(unix)]
#[test]
fn result_that_cannot_be_printed_is_an_error_and_a_closed_pipe_is_not() {
    let (bucket, out) = (small(), tempfile::tempdir().unwrap());
    let (from, to) = (text(bucket.path()), text(out.path()));
    let ledger = out.path().join(".trailhose/ledger.db");
    let object = laptop::files(bucket.path()).remove(0);
    for args in [
        &["sync", from, to][..],
        &["sync", from, to, "--json"],
        &["sync", from, to, "--watch", "100s"],
        &["ledger", "verify", to],
        &["ledger", "stats", "--json", "--ledger", text(&ledger)],
        &["explain", text(&object)],
        &["cost", "--events", "1000"],
        &["completions", "bash"],
        &["--help"],
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut full = trailhose().args(args).stdout(full).stderr(std::process::Stdio::piped()).spawn().unwrap();
        if args.contains(&"--watch") {
            let mut line = String::new();
            std::io::BufRead::read_line(&mut std::io::BufReader::new(full.stderr.as_mut().unwrap()), &mut line)
                .unwrap();
            assert!(line.contains("No space left on device"), "a watch names it and continues: {line}");
            assert!(full.try_wait().unwrap().is_none());
            let id = full.id().to_string();
            assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
            assert_eq!(full.wait().unwrap().code(), Some(1));
            continue;
        }
        let ran = laptop::Ran(full.wait_with_output().unwrap());
        let said = "error: cannot write the result to standard output: No space left on device";
        assert!(ran.code() == 1 && ran.err().contains(said), "{args:?}: {ran:?}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let closed = laptop::Ran(trailhose().args(args).stdout(writer).output().unwrap());
        assert!(closed.code() == 0 && !closed.err().contains("error"), "{args:?}: {closed:?}");
    }
    // A failure keeps its own code.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ran = laptop::Ran(trailhose().args(["sync", "gone", to, "--json"]).stdout(full).output().unwrap());
    assert_eq!(ran.code(), 2, "{ran:?}");
}

#[cfg(unix)]
#[test]
fn device_as_source_or_destination_is_named_as_such() {
    let (bucket, home) = (small(), tempfile::tempdir().unwrap());
    let link = home.path().join("link");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    for (args, expected) in [
        (["sync", text(&link), "out"], "link is a device or a pipe, expected a folder of objects"),
        (["sync", text(bucket.path()), text(&link)], "link is a device or a pipe; expected a folder"),
    ] {
        let ran = run(&args);
        assert!(ran.code() == 2 && ran.err().contains(expected), "{ran:?}");
    }
}

#[test]
fn help_starts_with_examples_and_documents_exit_codes() {
    let help = run(&["sync", "--help"]);
    assert_eq!((help.code(), help.err().as_str()), (0, ""));
    let text = help.out();
    assert!(text.starts_with("Examples:"), "{text}");
    for part in [
        "Exit codes:",
        "130",
        "143",
        "no object of a source matched",
        "--allow-empty",
        "--since",
        "Object selection:",
        "firehose://stream",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains('\u{1b}'), "colors are for terminals only");
}

#[test]
fn quiet_run_prints_only_objects_that_were_not_ingested() {
    let (bucket, out) = (small(), tempfile::tempdir().unwrap());
    let quiet = run(&["sync", text(bucket.path()), text(out.path()), "--quiet"]);
    assert_eq!((quiet.code(), quiet.out(), quiet.err()), (0, String::new(), String::new()));
    bucket.put("notes.txt", b"");
    let named = run(&["sync", text(bucket.path()), text(out.path()), "--quiet"]);
    assert!(named.out().is_empty() && named.err().contains("notes.txt"), "{named:?}");
}

#[test]
fn second_run_with_the_same_ledger_is_rejected() {
    let (bucket, out) = (large(), tempfile::tempdir().unwrap());
    let running = start_sync(&bucket, out.path());
    let second = run(&["sync", text(bucket.path()), text(out.path())]);
    assert!(second.code() == 2 && second.err().contains("in use by process"), "{second:?}");
    let first = running.wait_with_output().unwrap();
    assert!(first.status.success(), "{first:?}");
    assert_delivered(out.path(), &large_events());
}

#[test]
fn explain_writes_nothing() {
    let (bucket, out) = (small(), tempfile::tempdir().unwrap());
    let path = bucket.put_log("b", &[event(2), event(3), event(3), event(4)]);
    let said = run(&["explain", text(&path), "--json"]).json();
    assert_eq!((&said["name"]["account"], &said["name"]["delivered"]), (&"111122223333".into(), &"2026-11-01".into()));
    assert_eq!((&said["contents"]["events"], &said["contents"]["duplicates"]), (&4.into(), &1.into()));
    assert_eq!(said["contents"]["gzip_members"], 1);

    run(&["sync", text(bucket.path()), text(out.path())]);
    let ledger = out.path().join(".trailhose/ledger.db");
    let before = std::fs::read(&ledger).unwrap();
    // The argument is the file; the ledger records it under the synced folder.
    let known = run(&["explain", text(&path), "--ledger", text(&ledger), "--json"]).json();
    assert_eq!(known["ledger"]["status"], "done");
    let owned = ["events_new", "events_own", "events_of_others_delivered", "events_of_others_owed"];
    let owned: Vec<u64> = owned.iter().map(|name| known["ledger"][name].as_u64().unwrap()).collect();
    assert_eq!((owned[0], owned[1] + owned[2], owned[3]), (0, 3, 0));
    assert_eq!(std::fs::read(&ledger).unwrap(), before);

    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    let damaged = run(&["explain", text(&path)]);
    assert!(damaged.code() == 3 && damaged.out().contains("at byte"), "{damaged:?}");
    let missing = run(&["explain", text(&bucket.path().join("missing"))]);
    assert!(missing.code() == 1 && missing.err().contains("does not exist"), "{missing:?}");
}

/// Number of objects in a bucket whose sync takes long enough to be interrupted.
const LARGE: u32 = 300;
const EVENTS: u32 = 200;

fn large() -> Bucket {
    let bucket = Bucket::new();
    for object in 0..LARGE {
        bucket.put_log(&format!("{object:04}"), &events(object * EVENTS..(object + 1) * EVENTS));
    }
    bucket
}

fn large_events() -> Vec<String> {
    events(0..LARGE * EVENTS)
}

/// Starts a run and waits until it has written a file.
fn start_sync(bucket: &Bucket, out: &std::path::Path) -> Child {
    let mut command = trailhose();
    command.args(["sync", text(bucket.path()), text(out), "--jobs", "1", "--checkpoint", "0.05"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while output_files(out) == 0 {
        assert!(started.elapsed() < Duration::from_secs(60), "nothing was delivered in a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn output_files(out: &std::path::Path) -> usize {
    std::fs::read_dir(out).map_or(0, |entries| {
        entries.filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name() != ".trailhose")).count()
    })
}

#[cfg(unix)]
#[test]
fn ctrl_c_finishes_objects_in_progress_and_a_rerun_resumes() {
    let (bucket, out) = (large(), tempfile::tempdir().unwrap());
    let child = start_sync(&bucket, out.path());
    interrupt(&child);
    let ended = laptop::Ran(child.wait_with_output().unwrap());
    assert_eq!(ended.code(), 130, "{ended:?}");
    assert!(ended.err().contains("stopping: ") && ended.err().contains("rerun to resume"), "{ended:?}");
    let delivered = lines(out.path());
    assert!(!delivered.is_empty() && delivered.len() < (LARGE * EVENTS) as usize, "{}", delivered.len());
    // Objects in progress are finished, so the second run does not process them again.
    assert_eq!(delivered.len() % EVENTS as usize, 0);
    let rest = run(&["sync", text(bucket.path()), text(out.path()), "--json"]);
    assert_eq!(rest.code(), 0);
    assert_eq!(rest.json()["already_done"], delivered.len() / EVENTS as usize);
    assert_delivered(out.path(), &large_events());
}

#[cfg(unix)]
#[test]
fn second_ctrl_c_stops_immediately_and_loses_nothing() {
    let (bucket, out) = (large(), tempfile::tempdir().unwrap());
    let child = start_sync(&bucket, out.path());
    interrupt(&child);
    interrupt(&child);
    assert_eq!(laptop::Ran(child.wait_with_output().unwrap()).code(), 130);
    assert_eq!(run(&["sync", text(bucket.path()), text(out.path())]).code(), 0);
    assert_delivered(out.path(), &large_events());
}

#[cfg(unix)]
#[test]
fn sigterm_ends_a_run_with_143_after_its_objects_in_progress() {
    let (bucket, out) = (large(), tempfile::tempdir().unwrap());
    let child = start_sync(&bucket, out.path());
    signal(&child, "-TERM");
    let ended = laptop::Ran(child.wait_with_output().unwrap());
    assert_eq!(ended.code(), 143, "{ended:?}");
    assert_eq!(lines(out.path()).len() % EVENTS as usize, 0, "objects in progress are finished");
    assert_eq!(run(&["sync", text(bucket.path()), text(out.path())]).code(), 0);
    assert_delivered(out.path(), &large_events());
}

#[cfg(unix)]
fn interrupt(child: &Child) {
    signal(child, "-INT");
}

#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    let status = std::process::Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn missing_credentials_are_reported_in_one_line() {
    let out = tempfile::tempdir().unwrap();
    let mut command = trailhose();
    for name in ["AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
        command.env_remove(name);
    }
    command.env("HOME", out.path()).env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_REGION", "eu-west-1");
    let ran = laptop::Ran(command.args(["sync", "s3://bucket", text(out.path())]).output().unwrap());
    assert_eq!((ran.code(), ran.err().lines().count(), ran.out().as_str()), (2, 1, ""), "{ran:?}");
    assert!(ran.err().contains("no AWS credentials were found: set AWS_PROFILE"), "{ran:?}");
}

#[test]
fn generated_overlap_is_deduplicated() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let made = run(&["generate", text(dir.path()), "--files", "40", "--events", "6", "--overlap", "50"]);
    assert_eq!((made.code(), made.out().as_str()), (0, ""));
    let said = run(&["sync", text(dir.path()), text(out.path()), "--json"]).json();
    assert_eq!((&said["objects"], &said["seen"]), (&40.into(), &240.into()), "{said}");
    let duplicate = said["duplicate"].as_u64().unwrap();
    assert!((60..=90).contains(&duplicate), "a third of all events, because half of the events occur twice: {said}");
    assert_eq!(said["delivered"], 240 - duplicate);

    let again = run(&["generate", text(dir.path())]);
    assert_eq!(again.code(), 2);
    assert!(again.err().contains("is not empty; use a new folder"), "{}", again.err());
}
