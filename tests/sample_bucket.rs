//! The sample buckets and payloads match the tables of `events/README.md`.

mod sample;

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use trailhose::notification::{Invocation, Notice, invocation, parse};
use trailhose::object::ObjectRef;
use trailhose::object::key::{Kind, LogKey, Recognized, recognize};

/// Returns the rows of the README's tables by their first cell.
fn readme() -> HashMap<String, Vec<String>> {
    let text = std::fs::read_to_string(sample::events().join("README.md")).unwrap();
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
    let rows = text.lines().filter(|line| line.starts_with('|')).map(cells);
    rows.map(|mut row: Vec<String>| (row.remove(0), row)).collect()
}

#[derive(Deserialize)]
struct Wrapped<'t> {
    #[serde(rename = "Records", borrow)]
    records: Vec<&'t RawValue>,
}

/// Returns the text of every event, or `None` if the object is truncated.
fn events_of(key: &str, bytes: &[u8]) -> Option<Vec<String>> {
    let mut text = String::new();
    if key.ends_with(".gz") {
        MultiGzDecoder::new(bytes).read_to_string(&mut text).ok()?;
    } else {
        text = String::from_utf8(bytes.to_vec()).ok()?;
    }
    let raw: Vec<&RawValue> = if text.starts_with('[') {
        serde_json::from_str(&text).ok()?
    } else {
        serde_json::from_str::<Wrapped<'_>>(&text).ok()?.records
    };
    Some(raw.into_iter().map(|event| event.get().to_owned()).collect())
}

fn identity(event: &str) -> String {
    let fields: serde_json::Value = serde_json::from_str(event).unwrap();
    let id = fields.get("eventID").or(fields.get("eventId"));
    id.and_then(|id| id.as_str()).unwrap_or(event).to_owned()
}

/// Counts objects and events of a bucket by the labels of the README, and returns the kinds of its logs.
fn count(objects: BTreeMap<String, Vec<u8>>) -> (BTreeMap<&'static str, usize>, BTreeSet<Kind>) {
    let mut counts: BTreeMap<&str, usize> =
        ["objects", "logs", "digests", "other files", "truncated logs", "events"].map(|label| (label, 0)).into();
    let mut count = |label, by| *counts.entry(label).or_default() += by;
    let mut unique: HashMap<String, String> = HashMap::new();
    let mut kinds = BTreeSet::new();
    for (key, bytes) in objects {
        count("objects", 1);
        match recognize(&key) {
            Recognized::Digest => count("digests", 1),
            Recognized::NotALog(_) => count("other files", 1),
            Recognized::Log { kind, .. } => {
                count("logs", 1);
                kinds.insert(kind);
                let Some(events) = events_of(&key, &bytes) else {
                    assert!(key.contains("/444455556666/CloudTrail/eu-west-1/2026/03/01/"), "{key}");
                    count("truncated logs", 1);
                    continue;
                };
                for event in events {
                    count("events", 1);
                    let first = unique.entry(identity(&event)).or_insert_with(|| event.clone());
                    assert_eq!(*first, event, "{key}: copies are byte-identical");
                }
            }
        }
    }
    counts.insert("unique events", unique.len());
    counts.insert("duplicates", counts["events"] - unique.len());
    (counts, kinds)
}

#[test]
fn readme_counts_match_the_buckets() {
    let (counts, kinds) = count(sample::objects());
    let (damaged, _) = count(sample::damaged_objects());
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        Kind::ALL.into_iter().filter(|kind| kind.is_log()).collect::<Vec<_>>()
    );
    let readme = readme();
    for (label, count) in counts {
        assert_eq!(readme[label], [count.to_string(), damaged[label].to_string()], "{label}");
    }
}

#[test]
fn all_but_three_keys_match_the_key_grammar() {
    let keys = sample::objects().into_keys();
    let other: Vec<_> = keys.filter(|key| LogKey::parse(key).is_none_or(|parsed| parsed.to_string() != *key)).collect();
    assert_eq!(other.len(), 3, "the file that is not a log, and the two logs with unusual names: {other:?}");
}

/// Returns objects, number of ignored notices and number of rejected messages of a payload.
fn outcome(payload: &str) -> (Vec<ObjectRef>, usize, usize) {
    let answers = match invocation(payload) {
        Ok(Invocation::Queue(messages)) => messages.iter().map(|message| parse(&message.body)).collect(),
        Ok(Invocation::Direct(notices)) => vec![Ok(notices)],
        Err(error) => vec![Err(error)],
    };
    let (mut objects, mut ignored, mut rejected) = (Vec::new(), 0, 0);
    for answer in answers {
        match answer {
            Err(_) => rejected += 1,
            Ok(notices) => {
                for notice in notices {
                    match notice {
                        Notice::Object(object) => objects.push(object),
                        Notice::Ignored(_) => ignored += 1,
                    }
                }
            }
        }
    }
    (objects, ignored, rejected)
}

#[test]
fn readme_counts_match_the_payloads() {
    let (readme, payloads) = (readme(), sample::payloads(&sample::events()));
    let mut stored = sample::objects();
    stored.extend(sample::damaged_objects());
    for (name, payload) in &payloads {
        let (objects, ignored, rejected) = outcome(payload);
        let row = readme.get(name).unwrap_or_else(|| panic!("{name} has no row in events/README.md"));
        assert_eq!(row[1..], [objects.len(), ignored, rejected].map(|count| count.to_string()), "{name}");
        for object in objects {
            assert_eq!(object.bucket, sample::BUCKET);
            let bytes = stored.get(&object.key);
            assert_eq!(bytes.is_none(), name == "sqs-missing-object.json", "{name}: {object}");
            if let (Some(bytes), Some(size)) = (bytes, object.size) {
                assert_eq!(bytes.len() as u64, size, "{name}: {object}: run make_payloads.py");
            }
        }
    }
    assert_eq!(
        payloads.len(),
        readme.keys().filter(|first| first.ends_with(".json")).count(),
        "the README lists payloads that do not exist"
    );
}
