//! What `events/README.md` says of the sample bucket and the payloads is what lies there.

mod sample;

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use trailhose::notification::{Invocation, Notice, invocation, parse};
use trailhose::object::ObjectRef;
use trailhose::object::key::{Kind, LogKey, Recognized, recognize};

/// The rows of the README's tables: what the first cell says, and the others.
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

/// Every event as the text it was written in, or nothing where the object is broken.
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

#[test]
fn the_readme_counts_what_lies_in_the_bucket() {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut count = |what, by| *counts.entry(what).or_default() += by;
    let mut unique: HashMap<String, String> = HashMap::new();
    let mut kinds = BTreeSet::new();
    for (key, bytes) in sample::objects() {
        count("objects", 1);
        match recognize(&key) {
            Recognized::Digest => count("digests", 1),
            Recognized::NotALog(_) => count("foreign", 1),
            Recognized::Log { kind, .. } => {
                count("logs", 1);
                kinds.insert(kind);
                let Some(events) = events_of(&key, &bytes) else {
                    assert!(key.contains("/444455556666/CloudTrail/eu-west-1/2026/03/01/"), "{key}");
                    count("logs to quarantine", 1);
                    continue;
                };
                for event in events {
                    count("events seen", 1);
                    let first = unique.entry(identity(&event)).or_insert_with(|| event.clone());
                    assert_eq!(*first, event, "{key}: copies are byte-identical");
                }
            }
        }
    }
    count("unique events", unique.len());
    count("duplicates", 0);
    counts.insert("duplicates", counts["events seen"] - counts["unique events"]);
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        Kind::ALL.into_iter().filter(|kind| kind.is_log()).collect::<Vec<_>>()
    );
    let readme = readme();
    for (what, count) in counts {
        assert_eq!(readme[what], [count.to_string()], "{what}");
    }
}

#[test]
fn all_but_three_keys_follow_the_whole_grammar() {
    let keys = sample::objects().into_keys();
    let other: Vec<_> = keys.filter(|key| LogKey::parse(key).is_none_or(|parsed| parsed.to_string() != *key)).collect();
    assert_eq!(other.len(), 3, "the foreign file and the two that were handled by hand: {other:?}");
}

/// Objects, ignored notices and refused messages of a payload.
fn outcome(payload: &str) -> (Vec<ObjectRef>, usize, usize) {
    let answers = match invocation(payload) {
        Ok(Invocation::Queue(messages)) => messages.iter().map(|message| parse(&message.body)).collect(),
        Ok(Invocation::Direct(notices)) => vec![Ok(notices)],
        Err(error) => vec![Err(error)],
    };
    let (mut objects, mut ignored, mut refused) = (Vec::new(), 0, 0);
    for answer in answers {
        match answer {
            Err(_) => refused += 1,
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
    (objects, ignored, refused)
}

#[test]
fn every_payload_says_what_the_readme_says_of_it() {
    let (readme, stored, payloads) = (readme(), sample::objects(), sample::payloads(&sample::events()));
    for (name, payload) in &payloads {
        let (objects, ignored, refused) = outcome(payload);
        let row = readme.get(name).unwrap_or_else(|| panic!("{name} has no row in events/README.md"));
        assert_eq!(row[1..], [objects.len(), ignored, refused].map(|count| count.to_string()), "{name}");
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
        "payloads the README invents"
    );
}
