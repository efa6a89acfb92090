//! `trailhose filter check` and `filter test`, and `sync` with a filter file: results, messages and exit codes.

mod laptop;

use laptop::{Bucket, assert_delivered, event, events, log, run, text, trailhose};
use std::path::PathBuf;

/// A folder with a filter file.
struct FilterFile {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl FilterFile {
    fn new(content: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("filter.toml");
        std::fs::write(&path, content).unwrap();
        Self { _folder: folder, path }
    }

    fn path(&self) -> &str {
        text(&self.path)
    }
}

/// A rule of this kind that matches the events with these numbers.
fn rule(kind: &str, name: &str, numbers: &[u32]) -> String {
    let id = |number: &u32| format!("\"00000000-0000-4000-8000-{number:012x}\"");
    let ids: Vec<String> = numbers.iter().map(id).collect();
    format!("[[{kind}]]\nname = \"{name}\"\nwhen = [{{ field = \"eventID\", any_of = [{}] }}]\n", ids.join(", "))
}

#[test]
fn check_reports_errors_warnings_and_valid_files() {
    let valid = FilterFile::new(&rule("exclude", "first", &[1]));
    let ran = run(&["filter", "check", valid.path()]);
    assert_eq!((ran.code(), ran.err().as_str()), (0, ""));
    assert_eq!(ran.out(), format!("{}: valid, 0 include rules and 1 exclude rule\n", valid.path()));

    let shadowed = FilterFile::new(&(rule("exclude", "first", &[1, 2]) + &rule("exclude", "second", &[2])));
    let ran = run(&["filter", "check", shadowed.path()]);
    assert_eq!((ran.code(), ran.err().as_str()), (1, ""));
    let warning = format!(
        "{}:4: exclude rule \"second\" has no effect: rule \"first\" on line 1 matches the same events",
        shadowed.path()
    );
    assert!(ran.out().starts_with(&format!("{warning}\n")), "{}", ran.out());
    let said = run(&["filter", "check", shadowed.path(), "--json"]).json();
    assert_eq!((&said["result"], &said["exit_code"]), (&"warnings".into(), &1.into()));
    assert_eq!(said["warnings"], serde_json::json!([warning]));

    let invalid = FilterFile::new("[[exclude]]\nwhen = [{ field = \"evntName\", equals = \"x\" }]\n[[exclud]]\n");
    let ran = run(&["filter", "check", invalid.path()]);
    assert_eq!((ran.code(), ran.err().lines().count(), ran.out().as_str()), (2, 2, ""));
    let expected = format!("error: {}:2: exclude rule 1: unknown field \"evntName\"", invalid.path());
    assert!(ran.err().starts_with(&expected) && ran.err().contains("did you mean exclude?"), "{}", ran.err());
    assert_eq!(run(&["filter", "check", invalid.path(), "--json"]).json()["result"], "invalid");

    let ran = run(&["filter", "check", "missing.toml"]);
    assert_eq!(ran.code(), 2);
    assert!(ran.err().contains("filter file missing.toml cannot be read"), "{}", ran.err());
}

#[test]
fn test_counts_the_events_of_each_rule_and_prints_samples() {
    let bucket = Bucket::new();
    bucket.put_log("a", &events(0..6));
    bucket.put_log("b", &events(5..10));
    bucket.put("notes.txt", b"not a log");
    let rules =
        [rule("include", "some", &[0, 1, 2, 3, 4, 5]), rule("exclude", "two", &[1, 5]), rule("exclude", "none", &[99])];
    let filter = FilterFile::new(&rules.concat());
    let ran = run(&["filter", "test", filter.path(), text(bucket.path()), "--json", "--samples", "1"]);
    assert_eq!((ran.code(), ran.err().as_str()), (0, ""));
    let said = ran.json();
    for (name, count) in
        [("objects", 2), ("objects_not_read", 0), ("not_logs", 1), ("events", 11), ("kept", 4), ("dropped", 7)]
    {
        assert_eq!(said[name], count, "{name} in {said}");
    }
    let decided: Vec<_> =
        said["rules"].as_array().unwrap().iter().map(|rule| (&rule["name"], &rule["events"])).collect();
    let expected = [("some", 4), ("two", 3), ("none", 0)].map(|(name, count)| (name.into(), count.into()));
    assert_eq!(decided, expected.each_ref().map(|(name, count)| (name, count)));
    assert_eq!(said["not_included"]["events"], 4);
    let samples = said["rules"][1]["samples"].as_array().unwrap();
    assert_eq!((samples.len(), &samples[0]["ordinal"]), (1, &1.into()));
    assert!(samples[0]["object"].as_str().unwrap().contains("Z_a0"), "{samples:?}");
    let names: Vec<_> = samples[0].as_object().unwrap().keys().collect();
    assert_eq!(names, ["name", "object", "ordinal", "source", "time"], "a sample contains nothing else of the event");

    let table = run(&["filter", "test", filter.path(), text(bucket.path())]).out();
    assert!(table.contains("dropped by") && table.contains("two (line 4)") && table.contains("63.6 %"), "{table}");
    // Nothing is written.
    assert_eq!(std::fs::read_dir(bucket.path()).unwrap().count(), 2);
}

#[test]
fn unreadable_objects_and_empty_sources_change_the_exit_code() {
    let filter = FilterFile::new(&rule("exclude", "one", &[1]));
    let bucket = Bucket::new();
    let ran = run(&["filter", "test", filter.path(), text(bucket.path())]);
    assert_eq!(ran.code(), 4);
    assert!(ran.err().contains("warning: no object of"), "{}", ran.err());
    assert_eq!(run(&["filter", "test", filter.path(), text(bucket.path()), "--allow-empty"]).code(), 0);

    let whole = bucket.put_log("a", &events(0..3));
    let cut = std::fs::read(&whole).unwrap();
    std::fs::write(
        whole.with_file_name("111122223333_CloudTrail_eu-west-1_20261101T0000Z_cut.json.gz"),
        &cut[..cut.len() - 9],
    )
    .unwrap();
    let ran = run(&["filter", "test", filter.path(), text(bucket.path()), "--json"]);
    assert_eq!(ran.code(), 1);
    assert!(ran.err().starts_with("not read: ") && ran.err().contains("truncated"), "{}", ran.err());
    let said = ran.json();
    assert_eq!((&said["objects"], &said["objects_not_read"], &said["events"]), (&1.into(), &1.into(), &3.into()));

    let ran = run(&["filter", "test", filter.path(), "missing-folder"]);
    assert_eq!((ran.code(), ran.err().lines().count()), (2, 1), "{}", ran.err());
}

#[test]
fn sync_drops_the_events_that_the_trial_counts() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    bucket.put_log("a", &events(0..6));
    let filter = FilterFile::new(&(rule("include", "some", &[0, 1, 2, 3]) + &rule("exclude", "two", &[1])));
    let ran = run(&["sync", text(bucket.path()), text(out.path()), "--filter-file", filter.path(), "--json"]);
    assert_eq!((ran.code(), ran.err().as_str()), (0, ""));
    assert_eq!(ran.json()["filtered"], 3);
    assert_delivered(out.path(), &[event(0), event(2), event(3)]);
    let trial = run(&["filter", "test", filter.path(), text(bucket.path()), "--json"]).json();
    assert_eq!(trial["dropped"], 3);
}

#[test]
fn filter_file_of_the_settings_is_read_and_the_command_line_replaces_it() {
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| std::fs::write(home.path().join(name), content).unwrap();
    std::fs::create_dir(home.path().join("bucket")).unwrap();
    write("bucket/111122223333_CloudTrail_eu-west-1_20261101T0000Z_a.json", &log(&events(0..4)));
    write("filter.toml", &(rule("exclude", "one", &[1]) + &rule("exclude", "again", &[1])));
    let settings =
        |filter: &str| write("trailhose.toml", &format!("{filter}\ndest = \"out\"\n[[source]]\nfolder = \"bucket\"\n"));
    let sync = |arguments: &[&str]| {
        let _ = std::fs::remove_dir_all(home.path().join("out"));
        laptop::Ran(trailhose().current_dir(home.path()).args(["sync", "--json"]).args(arguments).output().unwrap())
    };

    settings("filter_file = \"filter.toml\"");
    let ran = sync(&[]);
    assert_eq!((ran.code(), &ran.json()["filtered"]), (0, &1.into()));
    let warning = "warning: filter.toml:4: exclude rule \"again\" has no effect";
    assert!(ran.err().starts_with(warning), "{}", ran.err());
    let ids = |numbers: &[u32]| {
        numbers.iter().map(|number| format!("00000000-0000-4000-8000-{number:012x}")).collect::<Vec<_>>()
    };
    let ran = sync(&["--filter", &format!("eventID={}", ids(&[0, 2, 3]).join("|"))]);
    assert_eq!((ran.code(), &ran.json()["filtered"], ran.err().as_str()), (0, &3.into(), ""));
    let ran = sync(&["--filter", "eventName=a; eventName=a,eventSource=s"]);
    let said = ran.err();
    assert!(said.contains("warning: --filter: exclude rule \"eventName=a,eventSource=s\" has no effect"), "{said}");

    settings("filter = \"eventName=a; eventName=a,eventSource=s\"");
    let said = sync(&[]).err();
    assert!(
        said.contains("trailhose.toml: filter: exclude rule \"eventName=a,eventSource=s\" has no effect"),
        "{said}"
    );
    settings("filter = \"readOnly=true\"\nfilter_file = \"filter.toml\"");
    let ran = sync(&[]);
    assert_eq!(ran.code(), 2);
    assert!(ran.err().contains("trailhose.toml:2: filter_file: filter is set too"), "{}", ran.err());
    write("other.toml", "[[exclude]]\nwhen = []\n");
    let ran = sync(&["--filter-file", "other.toml"]);
    assert_eq!(ran.code(), 2, "{}", ran.err());
    let ran = sync(&["--filter-file", "filter.toml", "--filter", "readOnly=true"]);
    assert!(ran.code() == 2 && ran.err().contains("cannot be used with"), "{}", ran.err());
    assert!(!home.path().join("out").exists());
}
