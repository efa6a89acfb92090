//! What `query`, `sql`, `ask`, `detect` and `filter test` say about what they did not read.

mod laptop;

use laptop::{Bucket, Ran, as_another_user, event, events, gzip, key, log, run, text, trailhose};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};

const SPAN: [&str; 4] = ["--since", "2026-11-01", "--until", "2026-11-02"];

/// Writes a rule that matches every event of the tests, and returns its path.
fn rule(folder: &Path) -> String {
    let path = folder.join("any.yml");
    let rule = "title: any\nid: 00000000-0000-4000-8000-000000000001\nlogsource:\n  product: aws\n  service: cloudtrail\n\
                detection:\n  selection:\n    recipientAccountId: '111122223333'\n  condition: selection\nlevel: low\n";
    std::fs::write(&path, rule).unwrap();
    text(&path).to_owned()
}

/// Runs `query`, `sql`, `ask` and `detect` over a source. Each result contains the number of events.
fn searches(source: &Path, span: &[&str]) -> Vec<(Ran, u64)> {
    let rules = tempfile::tempdir().unwrap();
    let (source, rule) = (text(source), rule(rules.path()));
    let number = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0);
    let query = run(&[&["query", source, "--count", "--json"], span].concat());
    let sql = run(&[&["sql", source, "SELECT count(*) AS n FROM events", "--json"], span].concat());
    let ask = run(&["ask", source, "events between 2026-11-01 and 2026-11-02", "--json"]);
    let detect = run(&[&["detect", source, "--rules", &rule, "--summary", "--json"], span].concat());
    let counts = [
        number(&query.out()),
        number(&sql.out()),
        ask.json()["events"].as_u64().unwrap(),
        detect
            .out()
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["events"].as_u64().unwrap())
            .sum(),
    ];
    [query, sql, ask, detect].into_iter().zip(counts).collect()
}

/// Checks that each search found this number of events, ended with this code and printed these texts.
fn assert_searches(source: &Path, events: u64, code: i32, said: &[&str]) {
    for (ran, found) in searches(source, &SPAN) {
        assert_eq!((ran.code(), found), (code, events), "{ran:?}");
        said.iter().for_each(|said| assert!(ran.err().contains(said), "{said:?} is missing: {ran:?}"));
    }
}

fn filter_test(source: &Path) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let filter = folder.path().join("filter.toml");
    std::fs::write(&filter, "[[exclude]]\nname = \"a\"\nwhen = [{ field = \"eventName\", equals = \"x\" }]\n").unwrap();
    run(&["filter", "test", text(&filter), text(source), "--json"])
}

#[cfg(unix)]
#[test]
fn pipe_and_link_that_leads_out_are_named_and_the_rest_is_searched() {
    let (bucket, elsewhere) = (Bucket::new(), tempfile::tempdir().unwrap());
    let file = bucket.put_log("a", &events(0..20));
    let folder = file.parent().unwrap();
    std::fs::write(elsewhere.path().join("b.json.gz"), b"").unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("b.json.gz"), folder.join("link.json.gz")).unwrap();
    assert!(Command::new("mkfifo").arg(folder.join("pipe")).status().unwrap().success());
    let said = ["pipe is neither a file nor a folder", "is a symbolic link to"];
    assert_searches(bucket.path(), 20, 1, &said);
    let all = run(&["query", text(bucket.path()), "--time", "all time", "--count", "--json"]);
    assert_eq!((all.code(), &*all.out()), (1, "{\"count\":20}\n"), "{all:?}");
    let tested = filter_test(bucket.path());
    assert_eq!((tested.code(), tested.json()["events"].as_u64()), (1, Some(20)), "{tested:?}");
    said.iter().for_each(|said| assert!(tested.err().contains(said), "{tested:?}"));
    // Each page of a folder with many files contains the entries that cannot be listed. They count once.
    let many = tempfile::tempdir().unwrap();
    (0..1_100).for_each(|number| std::fs::write(many.path().join(format!("{number}.jsonl")), event(number)).unwrap());
    assert!(Command::new("mkfifo").arg(many.path().join("pipe")).status().unwrap().success());
    let found = run(&[&["query", text(many.path()), "--count", "--json"], &SPAN[..]].concat());
    assert_eq!((found.code(), &*found.out()), (1, "{\"count\":1100}\n"), "{found:?}");
    assert_eq!(found.err().matches("pipe is neither").count(), 1, "{found:?}");
}

/// Root passes every file mode, so the program is started with the ID of an unprivileged user.
#[cfg(unix)]
#[test]
fn filter_test_names_a_folder_without_permission_and_reads_the_rest() {
    use std::os::unix::fs::PermissionsExt as _;
    let bucket = Bucket::new();
    let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    bucket.put_log("a", &events(0..20));
    let closed =
        bucket.put(&key("111122223333", "CloudTrail", "eu-west-2", "2026-11-01", "b"), &gzip(&log(&events(20..30))));
    let home = tempfile::tempdir().unwrap();
    let (program, filter) = (home.path().join("trailhose"), home.path().join("filter.toml"));
    std::fs::copy(env!("CARGO_BIN_EXE_trailhose"), &program).unwrap();
    std::fs::write(&filter, "[[exclude]]\nname = \"a\"\nwhen = [{ field = \"eventName\", equals = \"x\" }]\n").unwrap();
    mode(home.path(), 0o755);
    mode(bucket.path(), 0o755);
    mode(closed.parent().unwrap(), 0o000);
    let ran = as_another_user(&program, &["filter", "test", text(&filter), text(bucket.path()), "--json"]);
    mode(closed.parent().unwrap(), 0o755);
    assert_eq!((ran.code(), ran.json()["events"].as_u64()), (1, Some(20)), "{ran:?}");
    assert!(ran.err().contains("no permission to read") && ran.err().contains("eu-west-2"), "{ran:?}");
}

#[test]
fn files_of_another_kind_are_counted_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let lines: String = events(0..10).join("\n") + "\n";
    std::fs::write(folder.path().join("a.jsonl"), &lines).unwrap();
    for name in ["b.csv", "c.gz", "d.parquet", "e.txt", "f.txt", "g.txt", "h.txt"] {
        std::fs::write(folder.path().join(name), b"x").unwrap();
    }
    let said =
        "not searched: 7 files are neither logs nor JSON Lines files: b.csv, c.gz, d.parquet, e.txt, f.txt and 2 more";
    assert_searches(folder.path(), 10, 0, &[said]);
    let bucket = Bucket::new();
    bucket.put_log("a", &events(0..20));
    bucket.put("AWSLogs/111122223333/CloudTrail/eu-west-1/notes.txt", b"x");
    assert_searches(bucket.path(), 20, 0, &["not searched: 1 file is neither a log nor a JSON Lines file: AWSLogs/"]);
    let scanned = &run(&["ask", text(folder.path()), "events on 2026-11-01", "--json"]).json()["scanned"];
    assert_eq!((&scanned["other_files"], &scanned["other_names"][0]), (&7.into(), &"b.csv".into()), "{scanned}");
    let explained = run(&[&["query", text(folder.path()), "--explain", "--json"], &SPAN[..]].concat()).json();
    assert_eq!((&explained["files"], &explained["other_files"]), (&1.into(), &7.into()), "{explained}");
}

/// The extension of a lake's files is a setting of the stream, so the content decides.
#[test]
fn each_file_of_a_lake_is_read_whatever_its_extension() {
    let folder = Bucket::new();
    let lines = |numbers| gzip(&(events(numbers).join("\n") + "\n"));
    folder.put("events/dt=2026-11-01/a.jsonl.gz", &lines(0..10));
    folder.put("events/dt=2026-11-01/b.gz", &lines(10..20));
    folder.put("events/dt=2026-11-01/c", (events(20..30).join("\n") + "\n").as_bytes());
    folder.put("events/dt=2026-11-01/d.gz", &gzip(&log(&events(30..40))));
    let copied = key("111122223333", "CloudTrail", "eu-west-1", "2026-11-01", "e");
    folder.put(&format!("events/dt=2026-11-01/{}", copied.rsplit('/').next().unwrap()), &gzip(&log(&events(40..50))));
    assert_searches(&folder.path().join("events"), 50, 0, &["50 events in 5 files"]);
}

#[test]
fn empty_results_say_why_and_name_options_of_their_command() {
    let (empty, bucket) = (tempfile::tempdir().unwrap(), Bucket::new());
    for (ran, _) in searches(empty.path(), &SPAN) {
        assert!(ran.err().contains(&format!("the folder {} is empty", text(empty.path()))), "{ran:?}");
    }
    bucket.put_log("a", &events(0..20));
    let top = key("111122223333", "CloudTrail", "eu-west-1", "2026-11-01", "b");
    bucket.put(top.rsplit('/').next().unwrap(), &gzip(&log(&events(20..30))));
    let [root, source] = [bucket.path(), bucket.path()].map(text);
    let sql = |span: &[&str]| run(&[&["sql", source, "SELECT eventID FROM events"], span].concat());
    let none = sql(&[]);
    assert_eq!(none.code(), 4, "{none:?}");
    let longer = "a longer time span may contain such events: for example --since 7d";
    assert!(none.err().contains(longer) && !sql(&SPAN).err().contains(longer), "{none:?}");
    let outside = |option: &str| {
        format!("not searched: {root} is outside of CloudTrail's layout: query it as a separate source, or {option}\n")
    };
    for (ran, option) in searches(bucket.path(), &SPAN).iter().zip([
        "search --time 'all time'",
        "use --since 2013-11-01",
        "ask about all time",
        "search all time (without --since)",
    ]) {
        assert!(ran.0.err().contains(&outside(option)), "{option}: {ran:?}");
    }
    let ask = |question: &str| run(&["ask", source, question]).out();
    assert!(
        ask("GetObject events in 2026").contains("\"all time\"")
            && !ask("GetObject events of all time").contains("\"all time\"")
    );
    let all = sql(&["--since", "2013-11-01"]);
    assert!(all.err().contains("searched 30 events") && !all.err().contains("not searched"), "{all:?}");
    let rules = tempfile::tempdir().unwrap();
    let detect = ["detect", source, "--rules", &rule(rules.path()), "--delivered-until", "2026-11-02"];
    let all = run(&detect);
    assert!(all.err().contains("separate source\n") && !all.err().contains("or search"), "{all:?}");
}

#[test]
fn day_of_delivery_without_effect_is_named() {
    let (_bucket, dest) = laptop::synced(&events(0..20), "none");
    let until = [&SPAN[..], &["--delivered-until", "2026-11-03"]].concat();
    let query = run(&[&["query", text(dest.path()), "--count", "--json"], &until[..]].concat());
    assert!(query.code() == 0 && query.err().contains("--delivered-until has no effect"), "{query:?}");
    let lake = Bucket::new();
    lake.put("dt=2026-11-01/a.gz", &gzip(&(events(0..10).join("\n") + "\n")));
    let query = run(&[&["query", text(lake.path()), "--count", "--json"], &until[..]].concat());
    assert!(query.code() == 0 && !query.err().contains("no effect"), "{query:?}");
}

#[test]
fn closed_output_is_named_instead_of_a_complete_result() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.jsonl"), events(0..5_000).join("\n") + "\n").unwrap();
    let rules = tempfile::tempdir().unwrap();
    let (rule, source) = (rule(rules.path()), text(folder.path()));
    for arguments in [
        &["query", source, "--raw", "--limit", "none"][..],
        &["query", source, "--json", "--limit", "5000"],
        &["sql", source, "SELECT event FROM events", "--limit", "5000", "--json"],
        &["detect", source, "--rules", &rule, "--json"],
    ] {
        let mut command = trailhose();
        command.args(arguments).args(SPAN).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::with_capacity(1, child.stdout.take().unwrap());
        assert!(out.read_line(&mut String::new()).unwrap() > 0);
        drop(out);
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{arguments:?}: {said}");
        assert!(said.contains("stopped, because the output was closed\n"), "{arguments:?}: {said}");
        assert!(!said.contains("match") && !said.contains("searched"), "{arguments:?}: {said}");
    }
}

#[test]
fn lookup_without_a_result_says_so() {
    let (_bucket, dest) = laptop::synced(&events(0..20), "none");
    assert_eq!(run(&["index", "build", text(dest.path())]).code(), 0);
    let none = run(&["events", text(dest.path()), "--name", "Nothing"]);
    assert_eq!((none.code(), &*none.out(), &*none.err()), (4, "", "no delivered event matches\n"), "{none:?}");
    for command in [["query", text(dest.path())], ["events", text(dest.path())]] {
        for (option, value) in [("--account", "123"), ("--region", "EU-WEST-1")] {
            let refused = run(&[&command[..], &[option, value]].concat());
            assert!(refused.code() == 2 && refused.err().contains(value), "{refused:?}");
        }
    }
}

#[test]
fn statement_that_writes_is_refused_when_it_is_parsed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.jsonl"), event(1) + "\n").unwrap();
    for statement in
        ["UPDATE events SET eventName = 'x'", "DELETE FROM events", "INSERT INTO events (eventName) VALUES ('x')"]
    {
        let refused = run(&["sql", text(folder.path()), statement]);
        assert_eq!(refused.code(), 2, "{refused:?}");
        assert!(refused.err().contains("the statement tries to write: only SELECT"), "{refused:?}");
    }
}

/// Returns the first delivered file of a folder.
fn first_file(dest: &Path) -> std::path::PathBuf {
    let mut files = laptop::files(dest);
    files.sort();
    files.remove(0)
}

#[test]
fn files_that_the_ledger_does_not_record_are_named_and_not_read() {
    for compress in ["none", "gzip", "zstd"] {
        let (_bucket, dest) = laptop::synced(&events(0..20), compress);
        assert_searches(dest.path(), 20, 0, &["20 events in 1 file"]);
        let file = first_file(dest.path());
        let extension = text(&file).split_once(".jsonl").unwrap().1;
        std::fs::copy(&file, file.with_file_name(format!("copy.jsonl{extension}"))).unwrap();
        std::fs::copy(&file, dest.path().join("top.jsonl")).unwrap();
        assert_searches(dest.path(), 20, 0, &["not searched: 2 files are not in the ledger's record", "top.jsonl"]);
        let scanned = &run(&["ask", text(dest.path()), "events on 2026-11-01", "--json"]).json()["scanned"];
        assert_eq!(&scanned["foreign_files"], &2, "{scanned}");
        // Bytes after the committed length belong to no checkpoint.
        let mut bytes = std::fs::read(&file).unwrap();
        bytes.extend_from_within(..);
        std::fs::write(&file, &bytes).unwrap();
        assert_searches(dest.path(), 20, 0, &["20 events in 1 file", "bytes after the committed length of 1 file: "]);
        // A copy of the folder without the ledger is read completely.
        std::fs::remove_file(dest.path().join(".trailhose/ledger.db")).unwrap();
        for (ran, found) in searches(dest.path(), &SPAN) {
            assert_eq!((ran.code(), found), (0, 80), "{ran:?}");
            assert!(!ran.err().contains("ledger") && !ran.err().contains("not searched"), "{ran:?}");
        }
    }
}

#[test]
fn committed_file_that_is_missing_or_shorter_changes_the_exit_code() {
    let all = events(0..1_000);
    let (bucket, dest) = laptop::synced(&all, "none");
    let files = laptop::files(dest.path());
    assert_eq!(files.len(), 2, "one for each region");
    let file = first_file(dest.path());
    let lines = std::fs::read_to_string(&file).unwrap();
    let (last, count) = (lines.lines().last().unwrap(), lines.lines().count() as u64);
    std::fs::write(&file, &lines[..lines.len() - last.len() - 1]).unwrap();
    assert_searches(dest.path(), 999, 1, &["is shorter than committed"]);
    std::fs::remove_file(&file).unwrap();
    assert_searches(dest.path(), 1_000 - count, 1, &[text(&file), "is missing, and "]);
    // A path that cannot be listed is named once, with the reason.
    #[cfg(unix)]
    {
        assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
        for (ran, found) in searches(dest.path(), &SPAN) {
            assert_eq!((ran.code(), found), (1, 1_000 - count), "{ran:?}");
            assert!(ran.err().contains("neither a file nor a folder") && !ran.err().contains("missing"), "{ran:?}");
        }
        std::fs::remove_file(&file).unwrap();
    }
    // Other days, accounts and regions are not searched, so they are not missing.
    let later =
        run(&["query", text(dest.path()), "--since", "2026-11-02", "--until", "2026-11-03", "--count", "--json"]);
    assert_eq!((later.code(), &*later.out()), (4, "{\"count\":0}\n"), "{later:?}");
    assert!(!later.err().contains("missing"), "{later:?}");
    let (source, out) = (text(bucket.path()), text(dest.path()));
    assert_eq!(run(&["sync", source, out, "--rebuild"]).code(), 0);
    assert_searches(dest.path(), 1_000, 0, &[]);
    // Without its ledger, a sync delivers all events again. The old files are then those of another ledger.
    std::fs::remove_file(dest.path().join(".trailhose/ledger.db")).unwrap();
    assert_eq!(run(&["sync", source, out]).code(), 0);
    assert_searches(dest.path(), 1_000, 0, &["not searched: 2 files are not in the ledger's record"]);
}

#[test]
fn ledger_elsewhere_is_used_only_if_it_is_named() {
    let bucket = Bucket::new();
    bucket.put_log("a", &events(0..20));
    let (dest, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ledger = elsewhere.path().join("ledger.db");
    let (out, ledger) = (text(dest.path()), text(&ledger));
    assert_eq!(run(&["sync", text(bucket.path()), out, "--ledger", ledger]).code(), 0);
    std::fs::copy(first_file(dest.path()), dest.path().join("top.jsonl")).unwrap();
    let count = |more: &[&str]| run(&[&["query", out, "--count", "--json"], &SPAN[..], more].concat());
    let all = count(&[]);
    assert_eq!((all.code(), &*all.out()), (0, "{\"count\":40}\n"), "{all:?}");
    let recorded = count(&["--ledger", ledger]);
    assert_eq!((recorded.code(), &*recorded.out()), (0, "{\"count\":20}\n"), "{recorded:?}");
    assert!(recorded.err().contains("1 file is not in the ledger's record"), "{recorded:?}");
    let (_other_bucket, other) = laptop::synced(&events(0..20), "none");
    let wrong = count(&["--ledger", text(&other.path().join(".trailhose/ledger.db"))]);
    assert!(wrong.code() == 2 && wrong.err().contains("has not delivered to the folder"), "{wrong:?}");
}

/// A query during a sync finds what a checkpoint committed: never less than before, and no line that is not committed.
#[test]
fn query_during_a_sync_reads_whole_checkpoints() {
    let bucket = Bucket::new();
    for number in 0..60 {
        bucket.put_log(&format!("{number}x"), &events(number * 500..(number + 1) * 500));
    }
    let dest = tempfile::tempdir().unwrap();
    let mut sync = trailhose();
    sync.args(["sync", text(bucket.path()), text(dest.path()), "--jobs", "1"]);
    let mut sync = sync.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (mut last, mut queries) = (0, 0);
    while sync.try_wait().unwrap().is_none() {
        if !dest.path().join(".trailhose/ledger.db").exists() {
            continue;
        }
        let found = run(&[&["query", text(dest.path()), "--count", "--json"], &SPAN[..]].concat());
        let count: u64 = found.out().chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0);
        // The ledger is created before it has its tables and the folder its state.
        if found.err().contains("the record of its files cannot be") {
            continue;
        }
        assert!(found.code() == 0 || (found.code() == 4 && count == 0), "{found:?}");
        assert!(!found.err().contains("not searched") && count >= last, "{last}: {found:?}");
        (last, queries) = (count, queries + 1);
    }
    let found = run(&[&["query", text(dest.path()), "--count", "--json"], &SPAN[..]].concat());
    assert_eq!((found.code(), &*found.out()), (0, "{\"count\":30000}\n"), "after {queries} queries: {found:?}");
}
