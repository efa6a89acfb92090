//! Files that differ from what CloudTrail writes: the program reads them, or names their format and what to do.
#![cfg(feature = "cli")]

mod laptop;

use laptop::{Bucket, assert_delivered, event, events, files, gzip, key, log, run, text};
use std::path::Path;

/// Returns the folders of the delivered files, sorted.
fn partitions(dest: &Path) -> Vec<String> {
    let mut folders: Vec<String> = files(dest)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .map(|path| path.parent().unwrap().strip_prefix(dest).unwrap().to_string_lossy().into_owned())
        .collect();
    folders.sort();
    folders.dedup();
    folders
}

#[test]
fn byte_order_mark_and_upper_case_extensions_are_read() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    let name = |name: &str| key("111122223333", "CloudTrail", "eu-west-1", "2026-11-01", name);
    let marked = format!("\u{feff}{}", log(&events(0..3)));
    bucket.put(&name("a"), &gzip(&marked));
    bucket.put(&name("b").replace(".json.gz", ".json"), marked.as_bytes());
    bucket.put(&name("c").replace(".json.gz", ".JSON.GZ"), &gzip(&log(&events(3..5))));
    bucket.put(&name("d").replace(".json.gz", ".JSON"), log(&events(5..6)).as_bytes());
    let ran = run(&["sync", text(bucket.path()), text(out.path()), "--json"]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert_eq!((&ran.json()["objects"], &ran.json()["duplicate"]), (&4.into(), &3.into()), "{ran:?}");
    assert_delivered(out.path(), &events(0..6));
}

#[test]
fn lookup_events_output_is_quarantined_with_a_way_to_convert_it() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    let wrapped = |number| serde_json::json!({ "EventId": "x", "CloudTrailEvent": event(number) });
    let name = |name: &str| key("111122223333", "CloudTrail", "eu-west-1", "2026-11-01", name);
    bucket.put(&name("array"), serde_json::json!([wrapped(1), wrapped(2)]).to_string().as_bytes());
    bucket.put(&name("object"), serde_json::json!({ "Events": [wrapped(3)] }).to_string().as_bytes());
    let ran = run(&["sync", text(bucket.path()), text(out.path()), "--json"]);
    assert_eq!((ran.code(), &ran.json()["delivered"]), (3, &0.into()), "{ran:?}");
    for reason in
        ["the value at byte 1 is not a CloudTrail event; it looks like", "no \"Records\" in the JSON object; it"]
    {
        assert!(ran.err().contains(reason), "{reason}: {ran:?}");
    }
    let advice = "convert it with jq '{Records: [.. | .CloudTrailEvent? // empty | fromjson]}'";
    assert_eq!(ran.err().matches(advice).count(), 2, "{ran:?}");
}

#[test]
fn identical_events_without_id_are_all_delivered() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    let same = r#"{"eventVersion":"1.0","eventTime":"2026-11-01T10:05:00Z","awsRegion":"eu-west-1"}"#.to_owned();
    let all = [same.clone(), same.clone(), event(1), same.clone()];
    bucket.put_log("a", &all);
    let ran = run(&["sync", text(bucket.path()), text(out.path()), "--json"]);
    assert_eq!((&ran.json()["delivered"], &ran.json()["duplicate"]), (&4.into(), &0.into()), "{ran:?}");
    // A copy of the file, and one with the same events in another order.
    bucket.put_log("b", &all);
    bucket.put_log("c", &[event(1), same.clone(), same.clone(), same.clone()]);
    let ran = run(&["sync", text(bucket.path()), text(out.path()), "--json"]);
    assert_eq!((&ran.json()["delivered"], &ran.json()["duplicate"]), (&0.into(), &8.into()), "{ran:?}");
    let delivered = laptop::lines(out.path());
    assert_eq!((delivered[&same], delivered[&event(1)]), (3, 1));
}

#[test]
fn event_without_account_and_region_is_in_the_partition_of_its_key() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    let bare = r#"{"eventID":"a","eventTime":"2026-11-01T10:05:00Z"}"#.to_owned();
    let regional = r#"{"eventID":"b","eventTime":"2026-11-01 10:05:00.000","awsRegion":"us-east-1"}"#.to_owned();
    let log = log(&[bare.clone(), regional.clone()]);
    bucket.put(&key("444455556666", "CloudTrail", "eu-west-1", "2026-11-02", "a"), &gzip(&log));
    let ran = run(&["sync", text(bucket.path()), text(out.path()), "--json"]);
    assert_eq!((ran.code(), &ran.json()["delivered"]), (0, &2.into()), "{ran:?}");
    let expected = [
        "account=444455556666/region=eu-west-1/date=2026-11-01",
        "account=444455556666/region=us-east-1/date=2026-11-01",
    ];
    assert_eq!(partitions(out.path()), expected);
    // The ledger does not use the key: a copy under another name is a duplicate.
    bucket.put("AWSLogs/111122223333/CloudTrail/us-west-2/2026/11/02/copy.json.gz", &gzip(&log));
    let ran = run(&["sync", text(bucket.path()), text(out.path()), "--json"]);
    assert_eq!((&ran.json()["delivered"], &ran.json()["duplicate"]), (&0.into(), &2.into()), "{ran:?}");
    // Without a CloudTrail name and folder, account and region are unknown.
    let event = bare.replace("\"a\"", "\"c\"");
    bucket.put("copied.json", format!("[{event}]").as_bytes());
    let ran = run(&["sync", text(bucket.path()), text(out.path()), "--all-files"]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert!(partitions(out.path()).contains(&"account=unknown/region=unknown/date=2026-11-01".to_owned()));
}

/// Returns an event ID. All start with the same byte, so that events without a time start on the same page.
fn uuid(number: u32) -> String {
    let mixed = number.wrapping_mul(2_654_435_761);
    format!("ab{:06x}-0000-4000-80{:02x}-{mixed:08x}{:04x}", mixed & 0xff_ffff, number % 251, number & 0xffff)
}

/// Delivers 5,000 events and then one more of the same five minutes. Returns the write units of the last one and the
/// folders of all.
fn units_of_one_more_event(what: &str, event: impl Fn(u32) -> String) -> (u64, Vec<String>) {
    let (old, new, out) = (Bucket::new(), Bucket::new(), tempfile::tempdir().unwrap());
    let name = |name: &str| key("111122223333", "CloudTrail-Aggregated", "eu-west-1", "2026-11-01", name);
    old.put(&name("old"), &gzip(&log(&(0..5_000).map(&event).collect::<Vec<_>>())));
    new.put(&name("new"), &gzip(&log(&[event(5_000)])));
    let ran = run(&["sync", text(old.path()), text(out.path()), "--json"]);
    assert_eq!(ran.json()["delivered"], 5_000, "{ran:?}");
    let many = ran.json()["ledger_requests"]["write_units"].clone();
    let ran = run(&["sync", text(new.path()), text(out.path()), "--json"]);
    assert_eq!(ran.json()["delivered"], 1, "{ran:?}");
    let units = ran.json()["ledger_requests"]["write_units"].as_u64().unwrap();
    println!("{what}: {many} write units for 5,000 events, {units} for one more");
    (units, partitions(out.path()))
}

#[test]
fn aggregated_event_costs_the_write_units_of_any_event_and_has_a_date() {
    let window = r#""timeWindow":{"windowStart":"2026-11-01T10:00:00Z","windowEnd":"2026-11-01T10:05:00Z"}"#;
    let fields = r#""accountId":"111122223333","awsRegion":"eu-west-1","eventCategory":"Aggregated""#;
    let aggregated = |number: u32| format!(r#"{{"eventId":"{}",{fields},{window}}}"#, uuid(number));
    let timed = |number: u32| {
        let (minute, second) = (number % 5, number % 60);
        format!(r#"{{"eventID":"{}",{fields},"eventTime":"2026-11-01T10:{minute:02}:{second:02}Z"}}"#, uuid(number))
    };
    let timeless = |number: u32| format!(r#"{{"eventID":"{}",{fields}}}"#, uuid(number));
    let (aggregated, folders) = units_of_one_more_event("aggregated", aggregated);
    let (timed, _) = units_of_one_more_event("with eventTime", timed);
    let (timeless, without_date) = units_of_one_more_event("without any time", timeless);
    assert_eq!(folders, ["account=111122223333/region=eu-west-1/date=2026-11-01"]);
    assert_eq!(without_date, ["account=111122223333/region=eu-west-1/date=unknown"]);
    // The minutes do not have exactly the same number of events.
    assert!(aggregated <= timed + 2, "aggregated {aggregated}, with eventTime {timed}");
    // No time bounds these pages, so they are small.
    assert!(timeless <= 8, "{timeless}");
}

#[test]
fn unknown_kind_is_delivered_counted_and_named_once() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    for (number, day) in (0..).zip(["2026-11-01", "2026-11-02"]) {
        let key = key("111122223333", "CloudTrail-Novel", "eu-west-1", day, "a");
        bucket.put(&key, &gzip(&log(&[event(number)])));
    }
    let ran = run(&["sync", text(bucket.path()), text(out.path()), "--json"]);
    assert_eq!(
        (ran.code(), &ran.json()["unknown_kinds"], &ran.json()["delivered"]),
        (0, &2.into(), &2.into()),
        "{ran:?}"
    );
    let named: Vec<_> = ran
        .err()
        .lines()
        .filter(|line| line.contains("an unknown kind of CloudTrail file"))
        .map(str::to_owned)
        .collect();
    assert!(named.len() == 1 && named[0].contains("CloudTrail-Novel"), "{ran:?}");
    assert_delivered(out.path(), &events(0..2));
}
