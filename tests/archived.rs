//! Objects that cannot be read for a cause outside of them: they are archived, or their KMS key cannot be used. They are
//! named, cost no repeated requests, and are delivered when the cause is gone.
//!
//! The bucket is a stub, because no emulator has archive tiers, restored copies or disabled keys.

mod common;
mod laptop;

use common::stub::{Reply, Request, Stub};
use laptop::{Ran, assert_delivered, events, gzip, key, log, text, trailhose_at};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard};

/// Elements of a listed object: whether a restoration is in progress or completed.
const IN_PROGRESS: &str = "<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus>";
const RESTORED: &str = "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>\
                        <RestoreExpiryDate>2026-12-21T00:00:00.000Z</RestoreExpiryDate></RestoreStatus>";

#[derive(Debug, Clone, Default)]
struct Stored {
    body: Vec<u8>,
    class: &'static str,
    /// Listed only if the request asks for it.
    restore: &'static str,
    /// Code and message of the response to a GET request.
    refusal: Option<(u16, &'static str, String)>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Stored>,
    /// Keys of the GET requests.
    gets: Vec<String>,
}

/// A bucket with storage classes.
struct ClassBucket {
    state: Arc<Mutex<State>>,
    stub: Stub,
}

impl ClassBucket {
    fn start() -> Self {
        let state = Arc::<Mutex<State>>::default();
        let served = Arc::clone(&state);
        Self { state, stub: Stub::start(move |request| served.lock().unwrap().reply(request)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Puts an object of two events that start at this number.
    fn put(&self, key: &str, number: u32, class: &'static str) {
        let body = gzip(&log(&events(number..number + 2)));
        self.state().objects.insert(key.to_owned(), Stored { body, class, ..Stored::default() });
    }

    fn change(&self, key: &str, change: impl FnOnce(&mut Stored)) {
        change(self.state().objects.get_mut(key).unwrap());
    }

    /// Returns the keys of the GET requests since the last call.
    fn gets(&self) -> Vec<String> {
        let mut gets = std::mem::take(&mut self.state().gets);
        gets.sort();
        gets
    }

    fn sync(&self, out: &Path) -> (i32, Value, String) {
        let args = ["sync", "s3://logs", text(out), "--json"];
        let ran = Ran(trailhose_at(&self.stub.endpoint()).args(args).output().unwrap());
        (ran.code(), ran.json(), ran.err())
    }
}

impl State {
    fn reply(&mut self, request: &Request) -> Reply {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let decode = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
        let (_, key) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
        if key.is_empty() {
            let parameter = |name: &str| {
                let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
                found.map(decode).unwrap_or_default()
            };
            let asks_restore = request.header("x-amz-optional-object-attributes") == Some("RestoreStatus");
            let (prefix, after) = (parameter("prefix"), parameter("start-after"));
            return self.list(&prefix, !parameter("delimiter").is_empty(), &after, asks_restore);
        }
        let key = decode(key);
        self.gets.push(key.clone());
        match self.objects.get(&key) {
            Some(Stored { refusal: Some((status, code, message)), .. }) => {
                let body = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
                Reply::Answer(*status, vec![], body.into_bytes())
            }
            Some(object) if request.header("range").is_some() => {
                let range = format!("bytes 0-0/{}", object.body.len());
                Reply::Answer(206, vec![("content-range", range)], object.body[..1].to_vec())
            }
            Some(object) => Reply::Answer(200, vec![], object.body.clone()),
            None => Reply::Answer(404, vec![], b"<Error><Code>NoSuchKey</Code></Error>".to_vec()),
        }
    }

    fn list(&self, prefix: &str, folders: bool, after: &str, asks_restore: bool) -> Reply {
        let (mut contents, mut prefixes) = (String::new(), BTreeSet::new());
        for (key, object) in &self.objects {
            let Some(rest) = key.strip_prefix(prefix).filter(|_| key.as_str() > after) else { continue };
            if let (true, Some((folder, _))) = (folders, rest.split_once('/')) {
                prefixes.insert(format!("<CommonPrefixes><Prefix>{prefix}{folder}/</Prefix></CommonPrefixes>"));
                continue;
            }
            let (size, class) = (object.body.len(), object.class);
            let restore = if asks_restore { object.restore } else { "" };
            contents += &format!(
                "<Contents><Key>{key}</Key><ETag>\"{:x}\"</ETag><Size>{size}</Size>\
                 <StorageClass>{class}</StorageClass>{restore}</Contents>",
                crc32fast::hash(key.as_bytes())
            );
        }
        let prefixes = prefixes.into_iter().collect::<String>();
        let body = format!("<ListBucketResult><IsTruncated>false</IsTruncated>{contents}{prefixes}</ListBucketResult>");
        Reply::Answer(200, vec![], body.into_bytes())
    }
}

fn log_key(day: &str, name: &str) -> String {
    key("111122223333", "CloudTrail", "eu-west-1", day, name)
}

#[test]
fn archived_objects_are_named_and_delivered_after_their_restoration() {
    let (bucket, out) = (ClassBucket::start(), tempfile::tempdir().unwrap());
    let [old, deep, instant, new] =
        [("2026-08-01", "old"), ("2026-08-01", "deep"), ("2026-08-02", "instant"), ("2026-11-20", "new")]
            .map(|(day, name)| log_key(day, name));
    for (number, (key, class)) in
        [(&old, "GLACIER"), (&deep, "DEEP_ARCHIVE"), (&instant, "GLACIER_IR"), (&new, "STANDARD")]
            .into_iter()
            .enumerate()
    {
        bucket.put(key, 2 * number as u32, class);
    }

    let (code, said, err) = bucket.sync(out.path());
    assert_eq!((code, &said["quarantined"]["archived"], &said["delivered"]), (0, &2.into(), &4.into()), "{said}");
    assert_eq!(bucket.gets(), [instant.clone(), new.clone()], "an archived object is not fetched");
    let named: Vec<_> = err.lines().filter(|line| line.starts_with("quarantined: ")).collect();
    assert!(named.len() == 2 && named[0].contains("archived: restore it"), "{err}");
    assert!(err.contains("2 objects are archived: restore them"), "{err}");

    // A restoration in progress changes nothing.
    bucket.change(&old, |object| object.restore = IN_PROGRESS);
    let (code, said, err) = bucket.sync(out.path());
    assert_eq!((code, &said["waiting_before"]["archived"], &said["objects"]), (0, &2.into(), &0.into()), "{said}");
    assert_eq!((&said["quarantined_before"], bucket.gets().len()), (&0.into(), 0), "{said}");
    assert_eq!(err.lines().filter(|line| line.starts_with("quarantined: ")).count(), 2, "named again: {err}");

    // The storage class of a restored object does not change.
    bucket.change(&old, |object| object.restore = RESTORED);
    let (code, said, _) = bucket.sync(out.path());
    assert_eq!((code, &said["objects"], &said["waiting_before"]["archived"]), (0, &1.into(), &1.into()), "{said}");
    assert_eq!(bucket.gets(), [old]);
    bucket.change(&deep, |object| object.class = "STANDARD");
    assert_eq!(bucket.sync(out.path()).1["objects"], 1, "copied to another class");
    assert_delivered(out.path(), &events(0..8));
}

#[test]
fn archive_tier_that_is_not_listed_is_tried_once_in_each_run() {
    let (bucket, out) = (ClassBucket::start(), tempfile::tempdir().unwrap());
    let key = log_key("2026-08-01", "tiered");
    bucket.put(&key, 0, "INTELLIGENT_TIERING");
    let refusal = (403, "InvalidObjectState", "the access tier is not valid".to_owned());
    bucket.change(&key, |object| object.refusal = Some(refusal));
    for run in 0..2 {
        let (code, said, err) = bucket.sync(out.path());
        assert_eq!(
            (code, &said["quarantined"]["archived"], &said["failed"]),
            (0, &1.into(), &0.into()),
            "{run}: {said}"
        );
        assert!(err.contains("restore it"), "{err}");
        assert_eq!(bucket.gets().len(), 1, "run {run}");
    }
    bucket.change(&key, |object| object.refusal = None);
    assert_eq!(bucket.sync(out.path()).1["delivered"], 2);
    assert_delivered(out.path(), &events(0..2));
}

#[test]
fn watch_rounds_with_archived_objects_are_clean_and_fetch_nothing() {
    let (bucket, out) = (ClassBucket::start(), tempfile::tempdir().unwrap());
    for number in 0..6 {
        bucket.put(&log_key("2026-08-01", &format!("old{number}")), 2 * number, "GLACIER");
    }
    let new = log_key("2026-11-20", "new");
    bucket.put(&new, 100, "STANDARD");
    let mut command = trailhose_at(&bucket.stub.endpoint());
    command.args(["sync", "s3://logs", text(out.path()), "--watch", "1s", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let rounds = BufReader::new(child.stdout.take().unwrap()).lines().take(3);
    let rounds: Vec<Value> = rounds.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    let codes: Vec<_> = rounds.iter().map(|round| round["exit_code"].as_i64().unwrap()).collect();
    assert_eq!(codes, [0, 0, 0]);
    assert_eq!(rounds[0]["quarantined"]["archived"], 6);
    // Each round after a clean one scans only the days before the newest log.
    assert_eq!((&rounds[1]["already_done"], &rounds[1]["waiting_before"]), (&1.into(), &serde_json::json!({})));
    assert_eq!(bucket.gets(), [new]);
}

#[test]
fn one_request_decides_for_all_objects_of_a_key() {
    let (bucket, out) = (ClassBucket::start(), tempfile::tempdir().unwrap());
    let disabled = |key: &str| {
        let arn = format!("arn:aws:kms:eu-west-1:111122223333:key/{key}");
        Some((400, "KMS.DisabledException", format!("{arn} is disabled.")))
    };
    let keys: Vec<String> = (0..8).map(|number| log_key("2026-11-20", &format!("n{number}"))).collect();
    for (number, key) in (0..).zip(&keys) {
        bucket.put(key, 2 * number, "STANDARD");
        // The first two objects are encrypted with another key than the next five.
        bucket.change(key, |object| {
            object.refusal = match number {
                0 | 1 => disabled("a"),
                2..7 => disabled("b"),
                _ => None,
            };
        });
    }
    let (code, said, err) = bucket.sync(out.path());
    assert_eq!((code, &said["quarantined"]["kms"], &said["delivered"]), (0, &7.into(), &2.into()), "{said}");
    assert!(err.contains("key/b is disabled") && err.contains("enable it or cancel its deletion"), "{err}");
    assert_eq!(bucket.gets().len(), 8);

    let (code, said, _) = bucket.sync(out.path());
    assert_eq!((code, &said["waiting_before"]["kms"]), (0, &7.into()), "{said}");
    assert_eq!(bucket.gets().len(), 2, "one request for each key");

    // Key b is enabled again. Key a, whose objects are listed first, does not block its objects.
    keys[2..7].iter().for_each(|key| bucket.change(key, |object| object.refusal = None));
    let (code, said, _) = bucket.sync(out.path());
    assert_eq!((code, &said["objects"], &said["waiting_before"]["kms"]), (0, &5.into(), &2.into()), "{said}");
    assert_eq!(bucket.gets().len(), 2 + 5);
    keys[..2].iter().for_each(|key| bucket.change(key, |object| object.refusal = None));
    assert_eq!(bucket.sync(out.path()).1["objects"], 2);
    assert_delivered(out.path(), &events(0..16));
}

#[test]
fn quarantine_list_names_archived_objects_and_a_dry_run_counts_them() {
    let (bucket, out) = (ClassBucket::start(), tempfile::tempdir().unwrap());
    let old = log_key("2026-11-19", "old");
    bucket.put(&old, 0, "GLACIER");
    bucket.put(&log_key("2026-11-20", "new"), 2, "STANDARD");
    assert_eq!(bucket.sync(out.path()).0, 0);
    bucket.put(&log_key("2026-11-20", "later"), 4, "GLACIER");
    bucket.put(&log_key("2026-11-20", "next"), 6, "STANDARD");
    bucket.gets();
    let ledger = out.path().join(".trailhose/ledger.db");
    let run = |args: &[&str]| {
        let command = &mut trailhose_at(&bucket.stub.endpoint());
        Ran(command.args(args).args(["--ledger", text(&ledger)]).output().unwrap())
    };
    let listed = run(&["ledger", "quarantine", "list"]);
    assert!(listed.out().contains(&old) && listed.out().contains("archived: "), "{listed:?}");
    let dry = || {
        let ran =
            run(&["backfill", "s3://logs", "--dry-run", "--since", "2026-11-01", "--until", "2026-11-30", "--json"]);
        assert_eq!(ran.code(), 0, "{ran:?}");
        ran.json()["counts"].clone()
    };
    let counts = dry();
    let found = ["archived", "done", "missing", "quarantined", "sent"].map(|name| counts[name].as_u64().unwrap());
    assert_eq!(found, [2, 1, 1, 0, 1], "{counts}");
    bucket.change(&old, |object| object.restore = RESTORED);
    let counts = dry();
    let found = ["archived", "unfinished", "missing", "sent"].map(|name| counts[name].as_u64().unwrap());
    assert_eq!(found, [1, 1, 1, 2], "the restored object would be enqueued: {counts}");
    assert_eq!(bucket.gets(), [""; 0]);
}
