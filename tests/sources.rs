//! Several sources in one `trailhose.toml`: one ledger and one summary. A source that cannot be read does not stop the
//! others. Invalid settings start nothing. Every layout of logs within a source is found with every selection.

mod laptop;

use laptop::{Bucket, Ran, assert_delivered, event, events, gzip, key, lines, log, run, text, trailhose};
use std::path::Path;

fn run_in(folder: &Path, args: &[&str]) -> Ran {
    Ran(trailhose().current_dir(folder).args(args).output().unwrap())
}

/// Returns a folder with a settings file and two buckets: events 0 to 5, and 4 to 9 of another account and day.
fn home(settings: &str) -> Bucket {
    let home = Bucket::new();
    let one = key("111122223333", "CloudTrail", "eu-west-1", "2026-11-01", "a");
    let other = key("444455556666", "CloudTrail", "us-east-1", "2026-11-09", "b");
    home.put(&format!("one/{one}"), &gzip(&log(&events(0..6))));
    home.put(&format!("other/{other}"), &gzip(&log(&events(4..10))));
    home.put("trailhose.toml", settings.as_bytes());
    home
}

const BOTH: &str = "dest = \"out\"\n[[source]]\nfolder = \"one\"\n[[source]]\nfolder = \"other\"\n";

#[test]
fn several_sources_have_one_ledger_and_one_summary() {
    let home = home(BOTH);
    let first = run_in(home.path(), &["sync", "--json"]);
    let said = first.json();
    assert_eq!((first.code(), first.err().as_str()), (0, ""));
    assert_eq!(
        (&said["objects"], &said["delivered"], &said["duplicate"]),
        (&2.into(), &10.into(), &2.into()),
        "{said}"
    );
    assert_eq!(said["source"], "one, other");
    assert_delivered(&home.path().join("out"), &events(0..10));
    // Paths are relative to the settings file, not to the current folder.
    let elsewhere = tempfile::tempdir().unwrap();
    let again = run_in(elsewhere.path(), &["sync", "--config", text(&home.path().join("trailhose.toml")), "--json"]);
    assert_eq!((again.code(), &again.json()["already_done"]), (0, &2.into()), "{again:?}");
}

#[test]
fn options_take_precedence_over_the_selection_of_a_source() {
    let settings = format!("{BOTH}accounts = [\"999999999999\"]\n");
    let home = home(&settings);
    let out = home.path().join("out");
    // No object of the second source matches.
    assert_eq!(run_in(home.path(), &["sync"]).code(), 4);
    assert_delivered(&out, &events(0..6));
    assert_eq!(run_in(home.path(), &["sync", "--account", "444455556666", "--allow-empty"]).code(), 0);
    assert_delivered(&out, &events(0..10));
}

#[test]
fn one_empty_source_of_several_is_named_and_failures_take_precedence() {
    let home = home(&format!("{BOTH}[[source]]\nfolder = \"empty\"\n"));
    std::fs::create_dir(home.path().join("empty")).unwrap();
    let ran = run_in(home.path(), &["sync", "--json"]);
    let said = ran.json();
    assert_eq!((ran.code(), &said["objects"]), (4, &2.into()), "{ran:?}");
    assert_eq!(said["empty_sources"], serde_json::json!(["empty"]), "{said}");
    assert!(ran.err().contains("warning: no object of empty matched: the folder is empty"), "{ran:?}");
    assert_delivered(&home.path().join("out"), &events(0..10));
    let again = run_in(home.path(), &["sync"]);
    assert_eq!(again.code(), 4, "objects that are already done match; the empty folder still does not: {again:?}");
    // A quarantined object takes precedence, and the warning is still printed.
    home.put(&format!("one/{}", key("111122223333", "CloudTrail", "eu-west-1", "2026-11-01", "c")), b"");
    let ran = run_in(home.path(), &["sync"]);
    assert!(ran.code() == 3 && ran.err().contains("warning: no object of empty matched"), "{ran:?}");
}

#[test]
fn source_with_allow_empty_may_be_empty() {
    let home = home(&format!("{BOTH}[[source]]\nfolder = \"empty\"\nallow_empty = true\n"));
    std::fs::create_dir(home.path().join("empty")).unwrap();
    let ran = run_in(home.path(), &["sync"]);
    assert_eq!((ran.code(), ran.err().as_str()), (0, ""), "{ran:?}");
}

#[test]
fn source_that_cannot_be_read_is_named_and_the_others_are_processed() {
    // In the first place, because the order must not matter.
    let home = home(&BOTH.replacen("[[source]]", "[[source]]\nfolder = \"nowhere\"\n[[source]]", 1));
    let ran = run_in(home.path(), &["sync", "--json"]);
    let said = ran.json();
    assert_eq!((ran.code(), &said["exit_code"], &said["delivered"]), (1, &1.into(), &10.into()), "{ran:?}");
    let failed = serde_json::json!([{ "source": "nowhere", "reason": "nowhere does not exist" }]);
    assert_eq!((&said["failed_sources"], &said["empty_sources"]), (&failed, &serde_json::json!([])), "{said}");
    let lines: Vec<String> = ran.err().lines().map(str::to_owned).collect();
    let [first, last] = &lines[..] else { panic!("{lines:?}") };
    assert!(first.contains("nowhere cannot be read and is skipped") && first.contains("does not exist"), "{first}");
    assert!(last.contains("1 source failed") && last.contains("nowhere") && last.contains("rerun"), "{last}");
    assert_delivered(&home.path().join("out"), &events(0..10));
    // The folder is back, and nothing else is delivered again.
    home.put(
        &format!("nowhere/{}", key("777788889999", "CloudTrail", "eu-west-1", "2026-11-02", "c")),
        &gzip(&log(&events(8..12))),
    );
    let ran = run_in(home.path(), &["sync", "--json"]);
    assert_eq!(
        (ran.code(), &ran.json()["delivered"], &ran.json()["failed_sources"]),
        (0, &2.into(), &serde_json::json!([])),
        "{ran:?}"
    );
    assert_delivered(&home.path().join("out"), &events(0..12));
    let table = run_in(home.path(), &["sync"]).out();
    assert!(!table.contains("failed sources"), "{table}");
}

/// The profile of the test does not exist, so the bucket costs nothing.
#[test]
fn bucket_that_cannot_be_used_has_no_price() {
    let home = home(&BOTH.replacen("[[source]]", "[[source]]\nbucket = \"logs\"\n[[source]]", 1));
    let ran = run_in(home.path(), &["sync"]);
    assert!(ran.code() == 1 && ran.out().contains("failed sources"), "{ran:?}");
    assert!(!ran.out().contains("price on AWS"), "{ran:?}");
}

#[test]
fn nothing_is_started_if_no_source_can_be_read() {
    let home = home("dest = \"out\"\n[[source]]\nfolder = \"nowhere\"\n[[source]]\nfolder = \"lost\"\n");
    let ran = run_in(home.path(), &["sync"]);
    assert_eq!((ran.code(), ran.err().lines().count(), ran.out().as_str()), (2, 1, ""), "{ran:?}");
    assert!(ran.err().contains("nowhere does not exist") && ran.err().contains("lost does not exist"), "{ran:?}");
    assert!(lines(&home.path().join("out")).is_empty());
}

#[test]
fn invalid_settings_start_nothing() {
    let source = "[[source]]\nfolder = \"one\"\n";
    for (settings, args, expected) in [
        (format!("{BOTH}bukket = \"b\"\n"), &["sync"][..], "trailhose.toml:6: unknown field `bukket`"),
        (format!("look_back = -3\n{BOTH}"), &["sync"], "trailhose.toml:1: look_back = -3: expected 0 to 36500"),
        (
            format!("{BOTH}since = \"2026-11-02\"\nuntil = \"2026-11-01\"\n"),
            &["sync"],
            "trailhose.toml:7: since must not be after until",
        ),
        (format!("{BOTH}since = \"2026-11-02\"\n"), &["sync", "--until", "2026-11-01"], "must not be after --until"),
        (source.to_owned(), &["sync"], "trailhose.toml: no destination"),
        (
            format!("jobs = \"8\"\n{BOTH}"),
            &["sync"],
            "trailhose.toml:1: jobs: invalid type: string \"8\", expected an integer",
        ),
        (
            format!("\nfilter_file = \"none.toml\"\n{BOTH}"),
            &["sync"],
            "trailhose.toml:2: filter_file: filter file none.toml cannot be read",
        ),
        (format!("dest = \"firehose://s\"\n{source}"), &["sync"], "--ledger FILE"),
        (format!("{BOTH}accounts = [\"111122223333\"]\n"), &["sync", "--all-files"], "--all-files"),
        (
            format!("{BOTH}regions = [\"eu-wset-1\"]\n"),
            &["sync"],
            "trailhose.toml:6: regions: unknown region \"eu-wset-1\": expected a region such as eu-west-1; did you mean \
             eu-west-1?",
        ),
        (
            format!("filter = \"readonly=true\"\n{BOTH}"),
            &["sync"],
            "trailhose.toml:1: filter: invalid filter \"readonly=true\": unknown field",
        ),
        (BOTH.to_owned(), &["sync", "--config", "other.toml"], "other.toml does not exist"),
        (BOTH.to_owned(), &["sync", "--config", "trailhose.toml", "one", "out"], "cannot be used with"),
        (BOTH.to_owned(), &["sync", "--look-back", "3"], "--watch"),
        (BOTH.to_owned(), &["sync", "--watch", "5m", "--look-back", "-3"], "'-3'"),
    ] {
        let home = home(&settings);
        let ran = run_in(home.path(), args);
        let (said, code) = (ran.err(), ran.code());
        assert_eq!((code, said.lines().count(), ran.out().as_str()), (2, 1, ""), "{settings} {args:?}: {said}");
        assert!(said.starts_with("error: ") && said.contains(expected), "{settings} {args:?}: {said}");
        assert!(!home.path().join("out").exists(), "{settings} {args:?}");
    }
}

#[test]
fn missing_source_and_settings_are_explained() {
    let ran = run_in(tempfile::tempdir().unwrap().path(), &["sync"]);
    assert_eq!((ran.code(), ran.err().lines().count()), (2, 1), "{ran:?}");
    assert!(ran.err().contains("specify SOURCE and DEST, or create trailhose.toml"), "{ran:?}");
}

#[test]
fn log_directly_in_a_region_year_or_month_folder_is_delivered_with_every_selection() {
    let bucket = Bucket::new();
    let in_days = key("111122223333", "CloudTrail", "us-east-1", "2026-11-20", "a");
    let (folder, name) = in_days.rsplit_once('/').unwrap();
    let region = folder.strip_suffix("/2026/11/20").unwrap();
    for (number, folder) in [folder, region, &format!("{region}/2026"), &format!("{region}/2026/11")].iter().enumerate()
    {
        bucket.put(&format!("{folder}/{name}"), &gzip(&log(&[event(number as u32)])));
    }
    for selection in [&["--since", "2026-11-19"], &["--until", "2026-11-20"], &["--account", "111122223333"]] {
        let out = tempfile::tempdir().unwrap();
        let ran = run(&[&["sync", text(bucket.path()), text(out.path()), "--json"], &selection[..]].concat());
        assert_eq!(ran.code(), 0, "{selection:?}: {ran:?}");
        assert_delivered(out.path(), &events(0..4));
    }
    let out = tempfile::tempdir().unwrap();
    let ran = run(&["sync", text(bucket.path()), text(out.path()), "--json", "--since", "2026-12-01"]);
    assert_eq!((ran.code(), &ran.json()["excluded"]), (4, &2.into()), "another day in their names: {ran:?}");
}

#[test]
fn trail_next_to_another_is_delivered_with_every_selection() {
    let bucket = Bucket::new();
    let key = key("111122223333", "CloudTrail", "us-east-1", "2026-11-20", "a");
    for (number, above) in ["", "member-trail/", "one/two/"].into_iter().enumerate() {
        bucket.put(&format!("{above}{key}"), &gzip(&log(&[event(number as u32)])));
    }
    for selection in [
        &[][..],
        &["--since", "2026-11-19"],
        &["--until", "2026-11-20"],
        &["--account", "111122223333"],
        &["--region", "us-east-1"],
        &["--kind", "CloudTrail"],
    ] {
        let out = tempfile::tempdir().unwrap();
        let ran = run(&[&["sync", text(bucket.path()), text(out.path()), "--json"], selection].concat());
        assert_eq!((ran.code(), &ran.json()["unvisited_folders"]), (0, &0.into()), "{selection:?}: {ran:?}");
        assert_delivered(out.path(), &events(0..3));
    }
}
