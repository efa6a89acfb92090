//! What an object holds, as far as it bears on what is done with it.

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

/// What an object holds.
#[derive(Debug, Default, Serialize)]
pub(super) struct ObjectContents {
    /// Gzip members; 0 where it is not compressed.
    pub(super) gzip_members: u64,
    pub(super) json_bytes: u64,
    pub(super) events: u64,
    /// `eventTime` of the oldest and the newest event.
    pub(super) oldest: Option<String>,
    pub(super) newest: Option<String>,
    pub(super) accounts: BTreeSet<String>,
    pub(super) regions: BTreeSet<String>,
    /// Ledger pages: one for each account, region and minute.
    pub(super) pages: u64,
    /// Events in the fullest page.
    pub(super) largest_page: u64,
    /// Events whose ID stands earlier in the object.
    pub(super) duplicates: u64,
    /// Of those, the ones whose content differs.
    pub(super) conflicts: u64,
    /// Bytes of the longest event.
    pub(super) longest: u64,
    /// Events longer than a Firehose record.
    pub(super) oversize: u64,
    /// Events without an ID: their content is their identity.
    pub(super) without_id: u64,
    /// Events whose ID is no UUID in the usual spelling.
    pub(super) other_ids: u64,
    /// Events without a time that can be read.
    pub(super) without_time: u64,
}

/// The events as the ledger looks for them.
#[derive(Debug, Default)]
pub(super) struct DecodedEvents {
    pub(super) known: Vec<EventMeta>,
    pub(super) scopes: Vec<EventScope>,
}

/// Why an object cannot be read.
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

/// Reads the object to its last byte.
pub(super) fn read(stored: &[u8], limits: DecodeLimits) -> Result<(ObjectContents, DecodedEvents), UnreadableObject> {
    let mut read = decode::EventReader::new(stored, limits);
    let (mut contents, mut known) = (ObjectContents::default(), Vec::new());
    let mut times: Option<(i64, i64)> = None;
    while let Some(event) = read.next()? {
        contents.events += 1;
        contents.longest = contents.longest.max(event.line.len() as u64);
        contents.oversize += u64::from(event.line.len() >= RECORD_BYTES);
        contents.without_time += u64::from(event.seconds.is_none());
        match id(event.line) {
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
    contents.accounts = scopes.iter().map(|scope| named(&scope.account)).collect();
    contents.regions = scopes.iter().map(|scope| named(&scope.region)).collect();
    spread(&mut contents, &known, &scopes);
    Ok((contents, DecodedEvents { known, scopes }))
}

/// How the events spread over ledger pages, and which of them recur.
fn spread(contents: &mut ObjectContents, known: &[EventMeta], scopes: &[EventScope]) {
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

/// The event's ID as it is written, for a person: found anew here, for the decoder keeps only what it means.
fn id(line: &[u8]) -> Option<String> {
    let fields: HashMap<String, &RawValue> = serde_json::from_slice(line).ok()?;
    let raw = fields.get("eventID").or_else(|| fields.get("eventId"))?.get();
    match raw {
        "null" => None,
        _ => Some(serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned())),
    }
}

/// Gzip members of an object that was read whole.
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

fn named(text: &str) -> String {
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
    fn oddities_of_identity_are_counted() {
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
    fn members_are_counted_and_damage_is_told_with_its_place() {
        let parts = [gzip(r#"{"Records":["#), gzip("]}")].concat();
        assert_eq!(read(&parts, DecodeLimits::default()).unwrap().0.gzip_members, 2);
        let error = read(&parts[..parts.len() - 3], DecodeLimits::default()).unwrap_err();
        assert_eq!(error.kind, "gzip");
        assert!(error.reason.contains("at byte"), "{}", error.reason);
    }
}
