//! Traces: the events of each file, in the order of delivery.

use fastrand::Rng;
use std::collections::HashMap;
use std::path::Path;
use trailhose::decode::{DecodeLimits, EventReader};
use trailhose::event::{EventId, EventScope};
use trailhose::generate::{EventsPerFile, SyntheticBucket};
use trailhose::ledger::EventMeta;

/// Files in the order of their delivery.
pub struct Trace {
    pub name: String,
    pub objects: Vec<File>,
}

/// The events of one file.
pub struct File {
    pub key: String,
    pub events: Vec<Event>,
}

/// The fields of an event that the ledger needs.
#[derive(Clone)]
pub struct Event {
    pub id: EventId,
    pub account: String,
    pub region: String,
    pub seconds: Option<i64>,
}

impl Trace {
    pub fn events(&self) -> usize {
        self.objects.iter().map(|object| object.events.len()).sum()
    }
}

/// The events of a file as input for the ledger. The scopes' time unit is `span` seconds instead of minutes.
pub struct LedgerEvents {
    pub meta: Vec<EventMeta>,
    pub list: Vec<EventScope>,
}

pub fn scopes(file: &File, span: i64) -> LedgerEvents {
    let mut indices: HashMap<(&str, &str, Option<i64>), u32> = HashMap::new();
    let mut list = Vec::new();
    let meta = file.events.iter().map(|event| {
        let time = event.seconds.map(|seconds| seconds.div_euclid(span));
        let scope = *indices.entry((&event.account, &event.region, time)).or_insert_with(|| {
            list.push(EventScope { account: event.account.clone(), region: event.region.clone(), minute: time });
            list.len() as u32 - 1
        });
        EventMeta { id: event.id, scope, fingerprint: 0, filtered: false }
    });
    LedgerEvents { meta: meta.collect(), list }
}

pub fn all() -> Vec<Trace> {
    vec![quiet(), organization(), busy_in_order(), busy_side_by_side(), busy_in_small_files()]
}

/// One account and region with a file of 8 events every five minutes, for two days.
pub fn quiet() -> Trace {
    let bucket = SyntheticBucket {
        accounts: 1,
        regions: 1,
        overlap_percent: 0,
        days: 2,
        events: EventsPerFile::Exactly(8),
        ..SyntheticBucket::new(1, 576)
    };
    of_bucket("quiet", &bucket)
}

/// Five accounts in two regions for a day, files as measured, two trails that share 27 % of the events.
fn organization() -> Trace {
    of_bucket("organisation", &SyntheticBucket { accounts: 5, regions: 2, days: 1, ..SyntheticBucket::new(2, 2_880) })
}

/// 400 events a second for eight minutes, 50,000 a file, each file the two minutes after the one before.
fn busy_in_order() -> Trace {
    let mut rng = Rng::with_seed(3);
    let objects = (0..4).map(|file| {
        let from = START + file * 125;
        one(file, 50_000, &mut rng, |rng| from + rng.i64(0..135))
    });
    Trace { name: "busy in order".to_owned(), objects: objects.collect() }
}

/// 400 events a second for ten minutes; every five minutes three files of 40,000, each from all of the five minutes.
fn busy_side_by_side() -> Trace {
    let mut rng = Rng::with_seed(4);
    let objects = (0..6).map(|file| {
        let from = START + file / 3 * 300;
        one(file, 40_000, &mut rng, |rng| from + rng.i64(0..300))
    });
    Trace { name: "busy side by side".to_owned(), objects: objects.collect() }
}

/// 400 events a second for five minutes in files of 500, each from the two minutes before its delivery.
fn busy_in_small_files() -> Trace {
    let mut rng = Rng::with_seed(5);
    let objects = (0..240).map(|file| {
        let to = START + 120 + file * 5 / 4;
        one(file, 500, &mut rng, |rng| to - rng.i64(0..120))
    });
    Trace { name: "busy in small files".to_owned(), objects: objects.collect() }
}

/// The start of a day, so that no span splits a trace by chance.
const START: i64 = 1_768_435_200;

fn one(number: i64, events: usize, rng: &mut Rng, time: impl Fn(&mut Rng) -> i64) -> File {
    let event = |rng: &mut Rng| Event {
        id: EventId(rng.u128(..).to_be_bytes()),
        account: "111122223333".to_owned(),
        region: "us-east-1".to_owned(),
        seconds: Some(time(rng)),
    };
    File { key: key(number), events: (0..events).map(|_| event(rng)).collect() }
}

/// Returns a key as long as CloudTrail's, because the key counts for the size of an item.
fn key(number: i64) -> String {
    format!(
        "AWSLogs/o-exampleorgid/111122223333/CloudTrail/us-east-1/2026/01/15/\
         111122223333_CloudTrail_us-east-1_20260115T0000Z_{number:016}.json.gz"
    )
}

fn of_bucket(name: &str, bucket: &SyntheticBucket) -> Trace {
    let mut files: Vec<_> = bucket.files().collect();
    files.sort_by_key(|(key, _)| delivery(key));
    let objects = files.into_iter().map(|(key, stored)| file(key, &stored));
    Trace { name: name.to_owned(), objects: objects.collect() }
}

/// Returns the trace of all log files of a folder, in the order of the delivery times in their names.
pub fn of_folder(folder: &Path) -> Trace {
    let mut paths = Vec::new();
    walk(folder, &mut paths);
    paths.sort_by_key(|path| delivery(path));
    let objects = paths.into_iter().map(|path| {
        let stored = std::fs::read(&path).expect("a file that can be read");
        file(path, &stored)
    });
    Trace { name: folder.display().to_string(), objects: objects.filter(|file| !file.events.is_empty()).collect() }
}

fn walk(folder: &Path, paths: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, paths);
        } else if path.to_string_lossy().ends_with(".json.gz") {
            paths.push(path.to_string_lossy().into_owned());
        }
    }
}

/// Returns the part of the name that starts with the delivery time, such as `20260115T0005Z`.
fn delivery(key: &str) -> String {
    let name = key.rsplit('/').next().unwrap_or(key);
    name.splitn(4, '_').nth(3).unwrap_or(name).to_owned()
}

fn file(key: String, stored: &[u8]) -> File {
    let mut read = EventReader::new(stored, DecodeLimits::default());
    let mut found = Vec::new();
    while let Ok(Some(event)) = read.next() {
        found.push((event.id, event.scope, event.seconds));
    }
    let scopes = read.into_scopes();
    let events = found.into_iter().map(|(id, scope, seconds)| {
        let EventScope { account, region, .. } = scopes[scope as usize].clone();
        Event { id, account, region, seconds }
    });
    File { key, events: events.collect() }
}
