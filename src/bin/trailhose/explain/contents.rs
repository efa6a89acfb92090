//! Decodes an object and summarizes its content.

use flate2::bufread::GzDecoder;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::{BTreeSet, HashMap};
use std::io::BufRead;
use trailhose::decode::{self, DecodeError, DecodeLimits};
use trailhose::event::EventScope;
use trailhose::ledger::EventMeta;
use trailhose::ledger::model::page::PageName;
use trailhose::sink::cost::RECORD_BYTES;

/// Summary of an object's content.
#[derive(Debug, Default, Serialize)]
pub(super) struct ObjectContents {
    /// Number of gzip members; 0 if the object is not compressed.
    pub(super) gzip_members: u64,
    pub(super) json_bytes: u64,
    pub(super) events: u64,
    /// `eventTime` of the oldest event.
    pub(super) oldest: Option<String>,
    /// `eventTime` of the newest event.
    pub(super) newest: Option<String>,
    pub(super) accounts: BTreeSet<String>,
    pub(super) regions: BTreeSet<String>,
    /// Number of ledger pages: one for each account, region and quarter of an hour. A page that is full continues in
    /// further pages, which are not counted.
    pub(super) pages: u64,
    /// Number of events in the largest page.
    pub(super) largest_page: u64,
    /// Events whose ID occurs earlier in the object.
    pub(super) duplicates: u64,
    /// Duplicates whose content differs from the first event.
    pub(super) conflicts: u64,
    /// Size of the longest event in bytes.
    pub(super) longest: u64,
    /// Events that exceed a Firehose record.
    pub(super) oversize: u64,
    /// Events without an ID; they are identified by their content and their number in the object.
    pub(super) without_id: u64,
    /// Events whose ID is not a UUID in lower case.
    pub(super) other_ids: u64,
    /// Events without a valid `eventTime` or time window.
    pub(super) without_time: u64,
}

/// The events in the form that ledger lookups need.
#[derive(Debug, Default)]
pub(super) struct DecodedEvents {
    pub(super) known: Vec<EventMeta>,
    pub(super) scopes: Vec<EventScope>,
}

/// Reason why an object cannot be read.
#[derive(Debug, Serialize)]
pub(super) struct UnreadableObject {
    pub(super) kind: &'static str,
    pub(super) reason: String,
}

impl From<DecodeError> for UnreadableObject {
    fn from(error: DecodeError) -> Self {
        Self { kind: error.kind(), reason: error.to_string() }
    }
}

/// Reads the whole object.
///
/// # Errors
/// The object cannot be decoded.
pub(super) fn read(stored: &[u8], limits: DecodeLimits) -> Result<(ObjectContents, DecodedEvents), UnreadableObject> {
    let mut read = decode::EventReader::new(stored, limits);
    let (mut contents, mut known) = (ObjectContents::default(), Vec::new());
    let mut times: Option<(i64, i64)> = None;
    while let Some(event) = read.next()? {
        contents.events += 1;
        contents.longest = contents.longest.max(event.line.len() as u64);
        contents.oversize += u64::from(event.line.len() >= RECORD_BYTES);
        contents.without_time += u64::from(event.seconds.is_none());
        match id_text(event.line) {
            None => contents.without_id += 1,
            Some(text) if text != event.id.to_string() => contents.other_ids += 1,
            Some(_) => {}
        }
        if let Some(seconds) = event.seconds {
            times = Some(times.map_or((seconds, seconds), |(old, new)| (old.min(seconds), new.max(seconds))));
        }
        known.push(EventMeta { id: event.id, scope: event.scope, fingerprint: event.fingerprint, filtered: false });
    }
    contents.json_bytes = read.bytes();
    let scopes = read.into_scopes();
    contents.gzip_members = members(stored);
    contents.oldest = times.map(|(oldest, _)| date(oldest));
    contents.newest = times.map(|(_, newest)| date(newest));
    contents.accounts = scopes.iter().map(|scope| or_none(&scope.account)).collect();
    contents.regions = scopes.iter().map(|scope| or_none(&scope.region)).collect();
    count_pages_and_duplicates(&mut contents, &known, &scopes);
    Ok((contents, DecodedEvents { known, scopes }))
}

/// Counts ledger pages and duplicates.
fn count_pages_and_duplicates(contents: &mut ObjectContents, known: &[EventMeta], scopes: &[EventScope]) {
    let mut pages: HashMap<PageName, u64> = HashMap::new();
    let mut first = HashMap::new();
    for event in known {
        match first.get(&(event.scope, event.id)) {
            Some(fingerprint) => {
                contents.duplicates += 1;
                contents.conflicts += u64::from(*fingerprint != event.fingerprint);
            }
            None => {
                first.insert((event.scope, event.id), event.fingerprint);
                *pages.entry(PageName::root(&scopes[event.scope as usize], event.id)).or_default() += 1;
            }
        }
    }
    contents.pages = pages.len() as u64;
    contents.largest_page = pages.values().copied().max().unwrap_or(0);
}

/// Returns the event's ID as text. It is parsed again here, because the decoder keeps only a hash of an ID that is not a
/// UUID.
fn id_text(line: &[u8]) -> Option<String> {
    let fields: HashMap<String, &RawValue> = serde_json::from_slice(line).ok()?;
    let raw = fields.get("eventID").or_else(|| fields.get("eventId"))?.get();
    match raw {
        // An empty ID counts as a missing one.
        "null" | "\"\"" => None,
        _ => Some(serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned())),
    }
}

/// Counts the gzip members of a valid object.
fn members(mut rest: &[u8]) -> u64 {
    let mut members = 0;
    while rest.starts_with(&[0x1f, 0x8b]) {
        let mut member = GzDecoder::new(rest);
        if std::io::copy(&mut member, &mut std::io::sink()).is_err() {
            break;
        }
        rest = member.into_inner();
        members += 1;
        if rest.fill_buf().is_ok_and(<[u8]>::is_empty) {
            break;
        }
    }
    members
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "(none)".into() } else { text.to_owned() }
}

fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn unusual_event_ids_are_counted() {
        let uuid = "00000000-0000-4000-8000-000000000001";
        let text = format!(
            r#"{{"Records":[{{"eventID":"{uuid}"}},{{"eventID":"{uuid}","x":1}},{{"eventID":"odd"}},{{"eventName":"none"}}]}}"#
        );
        let (contents, events) = read(text.as_bytes(), DecodeLimits::default()).unwrap();
        assert_eq!((contents.events, contents.duplicates, contents.conflicts), (4, 1, 1));
        assert_eq!((contents.without_id, contents.other_ids, contents.without_time), (1, 1, 4));
        assert_eq!((events.known.len(), contents.gzip_members), (4, 0));
    }

    #[test]
    fn members_are_counted_and_errors_name_the_offset() {
        let parts = [gzip(r#"{"Records":["#), gzip("]}")].concat();
        assert_eq!(read(&parts, DecodeLimits::default()).unwrap().0.gzip_members, 2);
        let error = read(&parts[..parts.len() - 3], DecodeLimits::default()).unwrap_err();
        assert_eq!(error.kind, "gzip");
        assert!(error.reason.contains("at byte"), "{}", error.reason);
    }
}
