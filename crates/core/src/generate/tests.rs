//! Compares the synthetic data with the measurements.

use super::*;
use crate::decode::{DecodeLimits, EventReader};
use crate::object::key::LogKey;
use std::collections::{HashMap, HashSet};

fn json(object: &SyntheticObject) -> Vec<u8> {
    let mut out = Vec::new();
    let written = object.write_json(&mut out).unwrap();
    assert_eq!(written.bytes, out.len() as u64);
    out
}

fn lengths(object: &SyntheticObject) -> Vec<usize> {
    let json = json(object);
    let mut events = EventReader::new(&json, DecodeLimits::default());
    let mut lengths = Vec::new();
    while let Some(event) = events.next().unwrap() {
        lengths.push(event.line.len());
    }
    lengths.sort_unstable();
    lengths
}

fn ratio(object: &SyntheticObject) -> f64 {
    let mut stored = Vec::new();
    let written = object.write_gzip(&mut stored).unwrap();
    written.bytes as f64 / stored.len() as f64
}

fn near(found: f64, expected: f64, tolerance: f64) -> bool {
    (found / expected - 1.0).abs() <= tolerance
}

#[test]
fn event_lengths_match_measurements() {
    let lengths = lengths(&SyntheticObject::new(1, ObjectSize::Events(20_000)));
    assert_eq!(lengths.len(), 20_000);
    let at = |part: f64| lengths[(lengths.len() as f64 * part) as usize] as f64;
    for (part, expected) in [(0.5, 1_200.0), (0.9, 1_700.0), (0.99, 2_400.0)] {
        assert!(near(at(part), expected, 0.08), "{part}: {} for {expected}", at(part));
    }
    let longest = lengths[lengths.len() - 1];
    assert!((100_000..=256_000).contains(&longest), "{longest}");
}

#[test]
fn gzip_ratio_matches_real_files() {
    let large = |variety| ratio(&SyntheticObject { variety, ..SyntheticObject::new(2, ObjectSize::Bytes(4_000_000)) });
    let (alike, usual, varied) = (large(Variety::Alike), large(Variety::Usual), large(Variety::Varied));
    assert!((5.7..=10.0).contains(&usual), "{usual}");
    assert!(alike > usual && usual > varied, "{alike} {usual} {varied}");
    let one = ratio(&SyntheticObject::new(2, ObjectSize::Events(1)));
    assert!((1.3..=3.0).contains(&one), "{one}");
}

#[test]
fn same_seed_generates_same_bytes() {
    let object = SyntheticObject::new(3, ObjectSize::Bytes(200_000));
    assert_eq!(json(&object), json(&object));
    assert_ne!(json(&object), json(&SyntheticObject { seed: 4, ..object.clone() }));
    assert_ne!(json(&object), json(&SyntheticObject { number: 1, ..object.clone() }));
    let bucket = SyntheticBucket::new(3, 60);
    assert!(bucket.files().eq(bucket.files()));
}

#[test]
fn object_has_the_requested_size() {
    for bytes in [0, 1, 5_000, 300_000] {
        let mut out = Vec::new();
        let written = SyntheticObject::new(5, ObjectSize::Bytes(bytes)).write_json(&mut out).unwrap();
        assert!(written.bytes >= bytes && written.bytes < bytes + 257_000, "{bytes}: {written:?}");
    }
    assert_eq!(json(&SyntheticObject::new(5, ObjectSize::Events(0))), b"{\"Records\":[]}");
}

#[test]
fn events_have_the_variety_of_real_events() {
    let json = json(&SyntheticObject::new(6, ObjectSize::Events(8_000)));
    let text = std::str::from_utf8(&json).unwrap();
    let tree: serde_json::Value = serde_json::from_str(text).unwrap();
    let events = tree["Records"].as_array().unwrap();
    let different = |pointer: &str| {
        events.iter().filter_map(|event| event.pointer(pointer)?.as_str()).collect::<HashSet<_>>().len()
    };
    assert!(different("/eventSource") >= 25);
    assert_eq!(different("/userIdentity/type"), 8);
    assert_eq!(different("/eventID"), events.len());
    assert!(!text.is_ascii());
    assert!(text.contains("2001:db8:") && text.contains("\\u00"));
    assert!(
        events.iter().any(|event| event.get("recipientAccountId").is_none()),
        "old events have no recipientAccountId"
    );
    let size = |event: &serde_json::Value| event.to_string().len();
    assert!(events.iter().map(size).max() <= Some(256_000));
}

#[test]
fn accounts_are_distinct_and_valid() {
    let all: HashSet<_> = (0..ACCOUNTS).map(account).collect();
    assert_eq!(all.len(), ACCOUNTS as usize);
    assert!(all.iter().all(|account| account.len() == 12));
}

#[test]
fn bucket_has_measured_layout_overlap_and_file_sizes() {
    let bucket =
        SyntheticBucket { accounts: 12, regions: 5, prefix: "logs/".to_owned(), ..SyntheticBucket::new(7, 3_000) };
    let (mut keys, mut seen, mut counts) = (HashSet::new(), HashMap::new(), Vec::new());
    let mut accounts = HashSet::new();
    for (key, stored) in bucket.files() {
        let parsed = LogKey::parse(&key).expect("the key follows the grammar");
        assert_eq!((parsed.prefix.as_str(), parsed.organization.as_deref()), ("logs/", Some("o-exampleorgid")));
        let mut events = EventReader::new(&stored, DecodeLimits::default());
        let mut count = 0;
        while let Some(event) = events.next().unwrap() {
            seen.entry(event.id).or_insert_with(HashSet::new).insert((event.line.len(), event.fingerprint));
            count += 1;
        }
        accounts.insert(parsed.account);
        counts.push(count);
        assert!(keys.insert(key));
    }
    assert_eq!((keys.len(), accounts.len()), (3_000, 12));
    assert!(seen.values().all(|contents| contents.len() == 1), "an event ID has one content");
    let all: usize = counts.iter().sum();
    let shared = (all - seen.len()) as f64 / seen.len() as f64;
    assert!(near(shared, 0.27, 0.05), "{shared}");
    counts.sort_unstable();
    let median = counts[counts.len() / 2];
    assert!((4..=6).contains(&median), "{median}");
}

#[test]
fn events_per_file_match_measurements() {
    let mut rng = fastrand::Rng::with_seed(8);
    let mut counts: Vec<_> = (0..200_000).map(|_| quantile::FILE_EVENTS.draw(&mut rng)).collect();
    counts.sort_unstable();
    let mean = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
    assert!(near(mean, 8.6, 0.15), "{mean}");
    let at = |part: f64| counts[(counts.len() as f64 * part) as usize];
    assert!((4..=6).contains(&at(0.5)) && (15..=19).contains(&at(0.9)) && (48..=54).contains(&at(0.99)));
    assert!(counts[counts.len() - 1] > 10_000);
}
