//! `trailhose explain`: shows how `trailhose sync` processes one object, and why. Read-only.

mod contents;
mod render;

use crate::args::{ExplainArgs, LedgerLocation, Location};
use crate::components::{self, Aws};
use crate::ledger::is_etag;
use crate::text::{counted, reason_kind};
use contents::{ObjectContents, UnreadableObject};
use serde::Serialize;
use std::path::Path;
use trailhose::aws::BucketAccess;
use trailhose::decode::DecodeLimits;
use trailhose::ledger::model::row::Status;
use trailhose::ledger::{Ledger, OwnershipCounts};
use trailhose::object::key::{LogKey, Recognized, recognize};
use trailhose::object::{Object, ObjectRef};
use trailhose::shell;
use trailhose::source::SourceError;

/// Exit code: the object cannot be fetched.
const NOT_FETCHED: u8 = 1;

/// Exit code: the object is unreadable, so `trailhose sync` quarantines it.
const QUARANTINED: u8 = 3;

/// The explanation of one object.
#[derive(Debug, Serialize)]
struct Explanation {
    object: String,
    name: KeyInfo,
    stored_bytes: u64,
    contents: Option<ObjectContents>,
    unreadable: Option<UnreadableObject>,
    ledger: Option<LedgerInfo>,
    verdict: String,
}

/// Information from the object's key.
#[derive(Debug, Serialize)]
struct KeyInfo {
    /// `log`, `digest` or, for any other file, `foreign`.
    recognized: &'static str,
    /// The part of the key that shows this, or the reason why the file is `foreign`.
    because: String,
    kind: Option<&'static str>,
    account: Option<String>,
    region: Option<String>,
    /// Day of delivery, UTC.
    delivered: Option<String>,
}

/// Information from the ledger.
#[derive(Debug, Serialize)]
struct LedgerInfo {
    /// State of the object; `None` if it has no row.
    status: Option<&'static str>,
    /// Ordinal after the last event whose delivery is recorded; `None` unless the object is open.
    cursor: Option<u32>,
    /// Remaining seconds of a worker's lease.
    leased_for: Option<i64>,
    reason: Option<String>,
    delivered: Option<u64>,
    duplicate: Option<u64>,
    /// Events of the object that no object has claimed.
    events_new: u64,
    events_own: u64,
    events_of_others_delivered: u64,
    events_of_others_owed: u64,
}

/// Runs the command and returns the exit code.
pub(crate) async fn run(args: ExplainArgs) -> Result<u8, String> {
    let aws = Aws::default();
    let ledger = match &args.ledger {
        Some(at) => Some(components::open_read_only(at, &aws).await?),
        None => None,
    };
    let (object, etag) = split_etag(args.object);
    let fetched = match fetch(&object, &aws).await {
        Ok(fetched) => fetched,
        Err(error) => {
            return Ok(crate::report_failure("not_fetched", &error, NOT_FETCHED));
        }
    };
    if let (Some(expected), Some(present)) = (&etag, fetched.candidates.first().map(|object| &object.etag))
        && expected != present
    {
        anstream::eprintln!(
            "warning: the object was replaced: its ETag is {present}, not {expected}. This is about the present version"
        );
    }
    let default = DecodeLimits::default();
    let limits = DecodeLimits { object_bytes: args.max_object_bytes.unwrap_or(default.object_bytes), ..default };
    let name = key_info(&fetched.key);
    // A digest contains no events, so it is not decoded.
    let read = if name.recognized == "digest" { None } else { Some(contents::read(&fetched.bytes, limits)) };
    let events = read.as_ref().and_then(|read| Some(&read.as_ref().ok()?.1));
    let known = match &ledger {
        Some(ledger) => Some(ledger_info(ledger, &fetched.candidates, events).await?),
        None => None,
    };
    let (contents, unreadable) = match read {
        None => (None, None),
        Some(Ok((contents, _))) => (Some(contents), None),
        Some(Err(error)) => (None, Some(error)),
    };
    let reopen = args.ledger.as_ref().map(|ledger| reopen_command(&fetched, ledger)).unwrap_or_default();
    let verdict = verdict(&name, contents.as_ref(), unreadable.as_ref(), known.as_ref(), &reopen);
    let is_log = name.recognized == "log";
    let exit_code = if is_log && unreadable.is_some() { QUARANTINED } else { 0 };
    let stored_bytes = fetched.bytes.len() as u64;
    let explained =
        Explanation { object: fetched.name, name, stored_bytes, contents, unreadable, ledger: known, verdict };
    render::print(&explained, args.json);
    Ok(exit_code)
}

/// Splits an object as printed by `ledger quarantine list`, `OBJECT#ETAG`, into the object and the ETag. A name without an
/// ETag is unchanged, and so is a file whose name ends like this.
fn split_etag(location: Location) -> (Location, Option<String>) {
    let split = |text: &str| {
        let (name, etag) = text.rsplit_once('#')?;
        is_etag(etag).then(|| (name.to_owned(), etag.to_owned()))
    };
    match &location {
        Location::S3 { bucket, key } => match split(key) {
            Some((key, etag)) => (Location::S3 { bucket: bucket.clone(), key }, Some(etag)),
            None => (location, None),
        },
        Location::Path(path) if path.exists() => (location, None),
        Location::Path(path) => match path.to_str().and_then(split) {
            Some((path, etag)) => (Location::Path(path.into()), Some(etag)),
            None => (location, None),
        },
    }
}

/// Bytes and names of a fetched object.
struct FetchedObject {
    /// Name for display.
    name: String,
    /// Key by which it is recognized.
    key: String,
    /// Identities under which a ledger may record the object, the most likely first.
    candidates: Vec<Object>,
    bytes: Vec<u8>,
}

async fn fetch(location: &Location, aws: &Aws) -> Result<FetchedObject, String> {
    let (folder, at) = match location {
        Location::S3 { key, .. } if key.is_empty() => {
            return Err(format!("{location} is not an object; expected s3://bucket/key"));
        }
        Location::S3 { bucket, key } => {
            (Location::S3 { bucket: bucket.clone(), key: String::new() }, ObjectRef::new(bucket, key))
        }
        Location::Path(path) if path.is_dir() => {
            return Err(format!("{location} is a folder; specify a file, or use trailhose sync for the folder"));
        }
        Location::Path(path) => {
            let missing = |error| format!("{location}: {error}");
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| format!("{location} has no file name"))?;
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let folder = parent.canonicalize().map_err(missing)?;
            let bucket = format!("file://{}", folder.display());
            (Location::Path(folder), ObjectRef::new(bucket, name))
        }
    };
    let failed = |error: SourceError| error.to_string();
    let source = components::source(&folder, &BucketAccess::default(), aws).await?.source;
    let found = source.stat(&at).await.map_err(failed)?;
    let object = found.object().ok_or_else(|| format!("{at} has no ETag"))?;
    let bytes = source.fetch(&object).await.map_err(failed)?;
    let key = match at.bucket.strip_prefix("file://") {
        Some(folder) => format!("{folder}/{}", at.key).trim_start_matches('/').to_owned(),
        None => at.key.clone(),
    };
    Ok(FetchedObject { name: at.to_string(), key, candidates: candidates(object), bytes })
}

/// Returns the identities under which a ledger may record a file. Its bucket is the synced folder, which may be any
/// parent folder of the file.
pub(crate) fn candidates(object: Object) -> Vec<Object> {
    let Some(folder) = object.bucket.strip_prefix("file://") else { return vec![object] };
    let path = format!("{}/{}", folder.trim_end_matches('/'), object.key);
    let slashes: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
    let named = slashes.iter().rev().map(|&at| {
        let root = if at == 0 { "/" } else { &path[..at] };
        Object { bucket: format!("file://{root}"), key: path[at + 1..].to_owned(), etag: object.etag.clone() }
    });
    named.collect()
}

fn key_info(key: &str) -> KeyInfo {
    let none = KeyInfo {
        recognized: "foreign",
        because: String::new(),
        kind: None,
        account: None,
        region: None,
        delivered: None,
    };
    match recognize(key) {
        Recognized::Log { kind, account, region, date } => {
            let file = key.rsplit('/').next().unwrap_or(key);
            let because = match (LogKey::parse(key), recognize(file)) {
                (Some(_), _) => "its folders and its name",
                (None, Recognized::Log { .. }) => "its name alone",
                (None, _) => "its folders alone",
            };
            KeyInfo {
                recognized: "log",
                because: because.into(),
                kind: Some(kind.as_str()),
                account: Some(account.to_owned()),
                region: Some(region.to_owned()),
                delivered: Some(date.to_string()),
            }
        }
        Recognized::Digest => KeyInfo { recognized: "digest", because: "its name".into(), ..none },
        Recognized::NotALog(why) => KeyInfo { because: why.to_string(), ..none },
    }
}

async fn ledger_info(
    ledger: &Ledger,
    candidates: &[Object],
    events: Option<&contents::DecodedEvents>,
) -> Result<LedgerInfo, String> {
    let failed = |error: &dyn std::fmt::Display| format!("ledger: {error}");
    let ids: Vec<_> = candidates.iter().map(Object::id).collect();
    let rows = ledger.rows(&ids).await.map_err(|error| failed(&error))?;
    let found = ids.iter().zip(rows).find_map(|(id, row)| Some((*id, row?)));
    let id = found.as_ref().map_or(ids[0], |(id, _)| *id);
    let ownership = match events {
        Some(events) => ledger.ownership(id, &events.known, &events.scopes).await.map_err(|error| failed(&error))?,
        None => OwnershipCounts::default(),
    };
    let row = found.map(|(_, row)| row);
    let now = ledger.now();
    Ok(LedgerInfo {
        status: row.as_ref().map(|row| row.status.as_str()),
        cursor: row.as_ref().filter(|row| row.status == Status::Open).map(|row| row.cursor),
        leased_for: row.as_ref().filter(|row| row.leased(now)).map(|row| row.until - now),
        reason: row.as_ref().and_then(|row| row.reason.clone()),
        delivered: row.as_ref().and_then(|row| row.counts).map(|counts| counts.delivered),
        duplicate: row.as_ref().and_then(|row| row.counts).map(|counts| counts.duplicate),
        events_new: ownership.unclaimed,
        events_own: ownership.owned,
        events_of_others_delivered: ownership.delivered_elsewhere,
        events_of_others_owed: ownership.pending_elsewhere,
    })
}

/// Returns the command that reopens the object, if it is quarantined.
fn reopen_command(fetched: &FetchedObject, ledger: &LedgerLocation) -> String {
    let etag = fetched.candidates.first().map(|object| format!("#{}", object.etag)).unwrap_or_default();
    let object = shell::word(&format!("{}{etag}", fetched.name));
    format!("trailhose ledger quarantine retry {object} --ledger {}", shell::word(&ledger.to_string()))
}

/// Returns what `trailhose sync` does with the object, in one sentence. `reopen` is the command that reopens it.
fn verdict(
    name: &KeyInfo,
    contents: Option<&ObjectContents>,
    unreadable: Option<&UnreadableObject>,
    known: Option<&LedgerInfo>,
    reopen: &str,
) -> String {
    let status = known.and_then(|known| known.status);
    match (name.recognized, contents, unreadable, status) {
        (_, _, _, Some("done")) => "does nothing, because all events of the object are delivered".into(),
        (_, _, _, Some("quarantined")) => {
            format!("does nothing while the object is quarantined; `{reopen}` reopens it")
        }
        ("foreign", Some(contents), ..) => {
            format!("skips the object because of its name; with --all-files it {}", delivery(contents, known))
        }
        ("foreign", None, ..) => {
            "skips the object, because neither its name nor its content is that of a CloudTrail log".into()
        }
        (_, Some(contents), ..) => delivery(contents, known),
        (_, None, Some(error), _) => {
            format!("quarantines the object ({}) and delivers none of its events", reason_kind(error.kind))
        }
        (_, None, None, _) => "skips the object, because a digest contains no events".into(),
    }
}

fn delivery(contents: &ObjectContents, known: Option<&LedgerInfo>) -> String {
    let unique = contents.events - contents.duplicates;
    match known {
        None if contents.duplicates > 0 => {
            format!(
                "delivers {unique} of its {}, except those that another object already delivered",
                counted(contents.events, "event")
            )
        }
        None => format!("delivers {}, except those that another object already delivered", counted(unique, "event")),
        Some(known) => {
            let mine = known.events_new + known.events_own;
            let others = known.events_of_others_delivered + known.events_of_others_owed;
            format!("delivers {}; other objects own {others}", counted(mine, "event"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parent_folder_is_a_candidate_bucket() {
        let object = Object { bucket: "file:///a/b".into(), key: "c".into(), etag: "e".into() };
        let names: Vec<_> = candidates(object).into_iter().map(|object| (object.bucket, object.key)).collect();
        let expected = [("file:///a/b", "c"), ("file:///a", "b/c"), ("file:///", "a/b/c")];
        assert_eq!(names, expected.map(|(bucket, key)| (bucket.to_owned(), key.to_owned())));
    }

    #[test]
    fn recognized_part_of_the_key_is_reported() {
        let file = "111122223333_CloudTrail_eu-west-1_20261101T0000Z_aBcDeFgH12345678.json.gz";
        let folder = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/11/01";
        assert_eq!(key_info(&format!("{folder}/{file}")).because, "its folders and its name");
        assert_eq!(key_info(&format!("elsewhere/{file}")).because, "its name alone");
        assert_eq!(key_info(&format!("{folder}/x.json")).because, "its folders alone");
        assert_eq!(key_info("notes.txt").recognized, "foreign");
    }
}
