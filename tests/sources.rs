//! Several sources in one `trailhose.toml`: one ledger, one summary, and nothing begun where one of them cannot be meant.

mod laptop;

use laptop::{Bucket, Ran, assert_delivered, events, gzip, key, lines, log, text, trailhose};
use std::path::Path;

fn run_in(folder: &Path, args: &[&str]) -> Ran {
    Ran(trailhose().current_dir(folder).args(args).output().unwrap())
}

/// A folder with a file of settings and two buckets: events 0 to 5, and 4 to 9 of another account and day.
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
    // From elsewhere the file is named, and its paths are still those beside it.
    let elsewhere = tempfile::tempdir().unwrap();
    let again = run_in(elsewhere.path(), &["sync", "--config", text(&home.path().join("trailhose.toml")), "--json"]);
    assert_eq!((again.code(), &again.json()["already"]), (0, &2.into()), "{again:?}");
}

#[test]
fn a_source_has_its_own_selection_and_an_option_counts_more() {
    let settings = format!("{BOTH}accounts = [\"999999999999\"]\n");
    let home = home(&settings);
    let out = home.path().join("out");
    assert_eq!(run_in(home.path(), &["sync"]).code(), 0);
    assert_delivered(&out, &events(0..6));
    assert_eq!(run_in(home.path(), &["sync", "--account", "444455556666"]).code(), 0);
    assert_delivered(&out, &events(0..10));
}

#[test]
fn a_source_that_cannot_be_read_keeps_the_others_from_being_begun() {
    let home = home(&format!("{BOTH}[[source]]\nfolder = \"nowhere\"\n"));
    let ran = run_in(home.path(), &["sync"]);
    assert_eq!((ran.code(), ran.err().lines().count(), ran.out().as_str()), (2, 1, ""), "{ran:?}");
    assert!(ran.err().contains("nowhere does not exist"), "{ran:?}");
    assert!(lines(&home.path().join("out")).is_empty());
}

#[test]
fn settings_that_cannot_be_meant_are_one_line_with_file_and_line_and_begin_nothing() {
    let source = "[[source]]\nfolder = \"one\"\n";
    for (settings, args, says) in [
        (format!("{BOTH}bukket = \"b\"\n"), &["sync"][..], "trailhose.toml:6: unknown field `bukket`"),
        (format!("look_back = -3\n{BOTH}"), &["sync"], "trailhose.toml:1: look_back = -3: expected 0 to 36500"),
        (format!("{BOTH}since = \"2026-11-02\"\nuntil = \"2026-11-01\"\n"), &["sync"], "trailhose.toml:7: until"),
        (format!("{BOTH}since = \"2026-11-02\"\n"), &["sync", "--until", "2026-11-01"], "is after --until"),
        (source.to_owned(), &["sync"], "trailhose.toml: no destination"),
        (format!("dest = \"firehose://s\"\n{source}"), &["sync"], "--ledger FILE"),
        (format!("{BOTH}accounts = [\"111122223333\"]\n"), &["sync", "--all-files"], "--all-files"),
        (BOTH.to_owned(), &["sync", "--config", "other.toml"], "other.toml does not exist"),
        (BOTH.to_owned(), &["sync", "--config", "trailhose.toml", "one", "out"], "cannot be used with"),
        (BOTH.to_owned(), &["sync", "--look-back", "3"], "--watch"),
        (BOTH.to_owned(), &["sync", "--watch", "5m", "--look-back", "-3"], "'-3'"),
    ] {
        let home = home(&settings);
        let ran = run_in(home.path(), args);
        let (said, code) = (ran.err(), ran.code());
        assert_eq!((code, said.lines().count(), ran.out().as_str()), (2, 1, ""), "{settings} {args:?}: {said}");
        assert!(said.starts_with("error: ") && said.contains(says), "{settings} {args:?}: {said}");
        assert!(!home.path().join("out").exists(), "{settings} {args:?}");
    }
}

#[test]
fn without_source_and_settings_it_is_said_what_to_do() {
    let ran = run_in(tempfile::tempdir().unwrap().path(), &["sync"]);
    assert_eq!((ran.code(), ran.err().lines().count()), (2, 1), "{ran:?}");
    assert!(ran.err().contains("name SOURCE and DEST, or write a trailhose.toml"), "{ran:?}");
}
