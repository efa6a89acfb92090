//! `trailhose detect` and `trailhose rules`: results, messages and exit codes.

mod laptop;

use laptop::{Bucket, key, run, text, trailhose};
use std::path::Path;
use std::process::Stdio;

fn rule(id: &str, selection: &str) -> String {
    format!(
        "title: Rule {id}\nid: id-{id}\nlogsource:\n    product: aws\n    service: cloudtrail\ndetection:\n    selection:\n        \
         {selection}\n    condition: selection\ntags:\n    - attack.t1562.008\nlevel: high\n"
    )
}

/// Returns a folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

fn stop(number: u32, time: &str) -> String {
    format!(
        r#"{{"eventTime":"{time}","eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","awsRegion":"us-east-1","recipientAccountId":"111122223333","eventID":"00000000-0000-4000-8000-{number:012x}","userIdentity":{{"arn":"arn:aws:iam::111122223333:user/alice"}},"userAgent":"a\u001b[31m"}}"#
    )
}

/// Runs a command in a folder.
fn run_in(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let out = trailhose().current_dir(folder).args(args).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

#[test]
fn check_names_invalid_documents_ended_suppressions_and_filtered_names() {
    let good = rule("a", "eventName: StopLogging");
    let filter = "title: Old\nsuppress_until: 2020-01-01\nfilter:\n    rules: any\n    selection:\n        userAgent: x\n    condition: \
                  not selection\n";
    let rules = folder(&[("a.yml", &good), ("b.yml", &rule("b", "evntName: x"))]);
    let ran = run(&["rules", "check", text(rules.path())]);
    assert_eq!(ran.code(), 2);
    let message = format!("error: {}:8: unknown field \"evntName\"", rules.path().join("b.yml").display());
    assert!(ran.err().starts_with(&message) && ran.err().contains("did you mean eventName?"), "{}", ran.err());
    assert!(
        ran.out().ends_with(": 1 document is invalid; 1 rule, 0 filters and 0 suppressions valid\n"),
        "{}",
        ran.out()
    );
    let result = run(&["rules", "check", text(rules.path()), "--json"]).json();
    assert_eq!(
        (&result["result"], &result["invalid"][0]["line"], &result["exit_code"]),
        (&"invalid".into(), &8.into(), &2.into())
    );

    let rules = folder(&[("a.yml", &good), ("f.yml", filter)]);
    let ran = run(&["rules", "check", text(rules.path())]);
    assert_eq!((ran.code(), ran.err().as_str()), (1, ""));
    assert!(ran.out().contains("f.yml:1: the suppression \"Old\" ended at 2020-01-01T00:00:00Z"), "{}", ran.out());
    let result = run(&["rules", "check", text(rules.path()), "--json"]).json();
    assert_eq!((&result["result"], result["warnings"].as_array().unwrap().len()), (&"warnings".into(), 1), "{result}");

    let rules = folder(&[
        ("a.yml", &good),
        ("trailhose.toml", "dest = \"out\"\nfilter = \"eventName=StopLogging\"\n[[source]]\nfolder = \"bucket\"\n"),
    ]);
    let (code, out, err) = run_in(rules.path(), &["rules", "check", "."]);
    assert_eq!((code, err.as_str()), (1, ""));
    assert!(out.contains("drops events that the rule watches: StopLogging"), "{out}");
    let (code, out, _) = run_in(rules.path(), &["rules", "check", "a.yml"]);
    assert_eq!(code, 1, "{out}");

    let rules = folder(&[("a.yml", &good)]);
    let ran = run(&["rules", "check", text(rules.path())]);
    assert_eq!((ran.code(), ran.err().as_str()), (0, ""));
    assert_eq!(ran.out(), format!("{}: valid, 1 rule, 0 filters and 0 suppressions\n", rules.path().display()));
    assert_eq!(run(&["rules", "check", "nosuch"]).code(), 2);
}

#[test]
fn list_prints_id_title_level_techniques_and_names() {
    let rules = folder(&[("a.yml", &rule("a", "eventName|startswith: Stop")), ("b.yml", &rule("b", "userAgent: x"))]);
    let ran = run(&["rules", "list", text(rules.path())]);
    let out = ran.out();
    let rows: Vec<Vec<&str>> =
        out.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect();
    assert_eq!(rows[1], ["high", "Rule a", "id-a", "T1562.008", "Stop*"]);
    assert_eq!(rows[2], ["high", "Rule b", "id-b", "T1562.008", "all"]);
    let out = run(&["rules", "list", text(rules.path()), "--json"]).out();
    let first: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!(first["event_names"], serde_json::json!(["Stop*"]));
    assert_eq!(first["version"].as_str().unwrap().len(), 64);
}

#[test]
fn hunt_prints_matches_summary_and_what_was_not_read() {
    let bucket = Bucket::new();
    bucket.put_log("a", &[stop(1, "2026-02-01T10:00:00Z"), stop(2, "2026-02-02T10:00:00Z"), laptop::event(9)]);
    bucket.put_log("b", &[stop(2, "2026-02-02T10:00:00Z")]);
    let rules =
        folder(&[("a.yml", &rule("a", "eventName: StopLogging")), ("b.yml", &rule("b", "eventName: DeleteTrail"))]);
    let (bucket_path, rules_path) = (text(bucket.path()), text(rules.path()));
    let ran = run(&["detect", bucket_path, "--rules", rules_path]);
    assert_eq!(ran.code(), 0, "{}", ran.err());
    assert!(!ran.out().contains('\u{1b}'), "{}", ran.out());
    let out = ran.out();
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[1].starts_with("2026-02-02T10:00:00Z  high   Rule a  StopLogging  111122223333"), "{out}");
    assert!(lines[2].starts_with("2026-02-01T10:00:00Z"), "{out}");
    assert!(lines[5].starts_with("high   Rule a      2"), "{out}");
    assert_eq!(lines.len(), 6, "{out}");
    assert!(ran.err().contains("2 events of any time match; evaluated 4 events in 2 files"), "{}", ran.err());

    let out = run(&["detect", bucket_path, "--rules", rules_path, "--json", "--since", "2026-02-02"]).out();
    let found: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(found.len(), 1, "{out}");
    assert_eq!(found[0]["rule_id"], "id-a");
    assert_eq!(found[0]["time"], "2026-02-02T10:00:00Z");
    assert_eq!(found[0]["principal"], "arn:aws:iam::111122223333:user/alice");
    assert_eq!(found[0]["matched_fields"], serde_json::json!([{"field": "eventName", "value": "StopLogging"}]));

    let out = run(&["detect", bucket_path, "--rules", rules_path, "--json", "--summary"]).out();
    let counts: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(counts.iter().map(|count| count["events"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 0]);

    // With a damaged object, the exit code is 1, and what could be read is printed.
    bucket.put(&key("111122223333", "CloudTrail", "us-east-1", "2026-02-28", "c"), b"{\"Records\":[");
    let ran = run(&["detect", bucket_path, "--rules", rules_path]);
    assert_eq!(ran.code(), 1);
    assert!(ran.err().starts_with("warning: ") && ran.out().contains("Rule a"), "{}", ran.err());
}

#[test]
fn nothing_found_and_nothing_started_have_codes_of_their_own() {
    let bucket = Bucket::new();
    bucket.put_log("a", &laptop::events(0..3));
    let rules = folder(&[("a.yml", &rule("a", "eventName: StopLogging"))]);
    let ran = run(&["detect", text(bucket.path()), "--rules", text(rules.path())]);
    assert_eq!((ran.code(), ran.out().as_str()), (4, ""));
    assert!(ran.err().contains("no event of any time matches; evaluated 3 events"), "{}", ran.err());
    // The folder of rules contains no logs.
    let ran = run(&["detect", text(rules.path()), "--rules", text(rules.path())]);
    assert_eq!(ran.code(), 4);
    assert!(ran.err().contains("1 file is neither a log nor a JSON Lines file"), "{}", ran.err());

    let mixed = folder(&[("a.yml", &rule("a", "eventName: StopLogging")), ("b.yml", "title: [\n")]);
    let ran = run(&["detect", text(bucket.path()), "--rules", text(mixed.path())]);
    assert_eq!((ran.code(), ran.out().as_str()), (2, ""));
    assert!(ran.err().contains("b.yml:") && ran.err().contains("--skip-invalid"), "{}", ran.err());
    let ran = run(&["detect", text(bucket.path()), "--rules", text(mixed.path()), "--skip-invalid"]);
    assert_eq!(ran.code(), 4);
    assert!(ran.err().starts_with("warning: "), "{}", ran.err());

    let invalid = folder(&[("b.yml", "title: [\n")]);
    let ran = run(&["detect", text(bucket.path()), "--rules", text(invalid.path()), "--skip-invalid"]);
    assert_eq!(ran.code(), 2);
    assert!(ran.err().contains("contains no valid rule"), "{}", ran.err());
    for arguments in [&["--rules", "nosuch"][..], &["--rules", text(rules.path()), "--since", "soon"]] {
        let ran = run(&[&["detect", text(bucket.path())], arguments].concat());
        assert_eq!(ran.code(), 2, "{arguments:?}");
    }
}

#[test]
fn delivered_files_are_evaluated_and_filtered_names_are_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::new();
    bucket.put_log("a", &[stop(1, "2026-02-01T10:00:00Z")]);
    let settings = format!(
        "dest = \"out\"\nfilter = \"eventName=DeleteTrail\"\n[[source]]\nfolder = \"{}\"\n",
        text(bucket.path())
    );
    std::fs::write(folder.path().join("trailhose.toml"), settings).unwrap();
    std::fs::write(folder.path().join("a.yml"), rule("a", "eventName: [StopLogging, DeleteTrail]")).unwrap();
    assert_eq!(run_in(folder.path(), &["sync"]).0, 0);
    let (code, out, err) = run_in(folder.path(), &["detect", "--rules", "a.yml"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("StopLogging") && err.starts_with("warning: a.yml:1: the filter of "), "{out}{err}");
}
