//! A naive decoder. It reads the whole object into memory, uses serde_json for the grammar and processes the rest byte
//! by byte. The decoder must return exactly the same events.

use crate::event::{EventId, EventScope};
use flate2::bufread::GzDecoder;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::io::Read;

/// Maximum nesting depth that the decoder documents.
const MAX_JSON_DEPTH: usize = 128;

/// A decoded event.
#[derive(Debug, PartialEq, Eq)]
pub struct DecodedEvent {
    pub line: Vec<u8>,
    pub id: EventId,
    pub fingerprint: u16,
    pub scope: EventScope,
    pub seconds: Option<i64>,
}

/// The members of a JSON object in order, including duplicates. Names are kept as written.
#[derive(Debug)]
struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<&RawValue, &RawValue>()? {
                    members.push(member);
                }
                if members.len() > 1 << 20 {
                    return Err(A::Error::custom("more members than the input has bytes"));
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(Collect)
    }
}

/// Returns the decompressed bytes of an object, or `None` if it is damaged.
pub fn inflate(stored: &[u8]) -> Option<Vec<u8>> {
    if !stored.starts_with(&[0x1f, 0x8b]) {
        return Some(stored.to_vec());
    }
    let (mut rest, mut out) = (stored, Vec::new());
    while !rest.is_empty() {
        let mut member = GzDecoder::new(rest);
        member.read_to_end(&mut out).ok()?;
        rest = member.into_inner();
    }
    Some(out)
}

/// The byte order mark of UTF-8, which may precede the JSON.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Returns the events of a file, or `None` if it is not a log file.
pub fn events(json: &[u8]) -> Option<Vec<DecodedEvent>> {
    let text = std::str::from_utf8(json.strip_prefix(BYTE_ORDER_MARK).unwrap_or(json)).ok()?;
    if let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(text) {
        return numbered(elements, true);
    }
    let mut records = None;
    for (name, value) in serde_json::from_str::<Members<'_>>(text).ok()?.0 {
        // A name that is not valid Unicode, for example with a lone surrogate, is invalid here but valid within an
        // event.
        if serde_json::from_str::<String>(name.get()).ok()? != "Records" {
            check_depth(value)?;
        } else if records.is_some() {
            return None;
        } else {
            records = Some(serde_json::from_str::<Vec<&RawValue>>(value.get()).ok()?);
        }
    }
    numbered(records?, false)
}

/// Returns the events of an array, or `None` if an element is not an event. `bare`: the array is the outermost value.
fn numbered(elements: Vec<&RawValue>, bare: bool) -> Option<Vec<DecodedEvent>> {
    // The compact bytes of the events without ID before the current one.
    let mut contents: Vec<Vec<u8>> = Vec::new();
    elements.into_iter().map(|raw| event(raw, bare, &mut contents)).collect()
}

/// The names of members that show that an element without ID and time is not an event but contains one in another
/// format.
const ENVELOPES: [&str; 14] = [
    "Events",
    "CloudTrailEvent",
    "logEvents",
    "logGroup",
    "@message",
    "detail-type",
    "QueryResultRows",
    "QueryStatus",
    "eventData",
    "eventdata",
    "eventJson",
    "eventjson",
    "digestS3Object",
    "digestEndTime",
];

fn event(raw: &RawValue, bare: bool, contents: &mut Vec<Vec<u8>>) -> Option<DecodedEvent> {
    check_depth(raw)?;
    let members: Members<'_> = serde_json::from_str(raw.get()).ok()?;
    let (mut id, mut time, mut account, mut region, mut window) = (None, None, None, None, None);
    let (mut aggregated_id, mut aggregated_account) = (None, None);
    let names: Vec<_> = members.0.iter().map(|(name, _)| serde_json::from_str::<String>(name.get())).collect();
    for (name, (_, value)) in names.iter().zip(&members.0) {
        let field = match name.as_deref() {
            Ok("eventID") => &mut id,
            Ok("eventId") => &mut aggregated_id,
            Ok("eventTime") => &mut time,
            Ok("recipientAccountId") => &mut account,
            Ok("accountId") => &mut aggregated_account,
            Ok("awsRegion") => &mut region,
            Ok("timeWindow") => {
                window = Some(*value);
                continue;
            }
            _ => continue,
        };
        *field = text(value.get());
    }
    if id.is_none() && aggregated_id.is_none() && time.is_none() {
        let valid = names.iter().all(Result::is_ok);
        let envelope = valid && names.iter().flatten().any(|name| ENVELOPES.contains(&name.as_str()));
        if bare || envelope {
            return None;
        }
    }
    let present = |text: Option<String>| text.filter(|text| !text.is_empty());
    let id = present(id).or_else(|| present(aggregated_id));
    let account = present(account).or_else(|| present(aggregated_account));
    let mut line = Vec::new();
    let mut compact = Vec::new();
    let bytes = raw.get().as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let length = token_length(&bytes[at..]);
        let run = &bytes[at..at + length];
        at += length;
        let is_white_space = is_white_space(run[0]);
        if !is_white_space {
            compact.extend_from_slice(run);
        }
        if !is_white_space || !(run.contains(&b'\n') || run.contains(&b'\r')) {
            line.extend_from_slice(run);
        }
    }
    let crc = crc32fast::hash(&compact);
    let id = match id {
        Some(id) => EventId::from_text(id.as_bytes()),
        _ => {
            let before = contents.iter().filter(|content| **content == compact).count();
            contents.push(compact.clone());
            EventId::from_content(&compact).occurrence(u32::try_from(before).ok()?)
        }
    };
    let time = time.and_then(|time| seconds(&time));
    let window = window.filter(|_| names.iter().all(Result::is_ok));
    let start = window.and_then(|window| seconds(&window_start(window)?));
    // An event without a time is in one of the five minutes of its window, selected by its ID.
    let minute = time.map(|time| time.div_euclid(60)).or_else(|| {
        let first = start?.div_euclid(300) * 5;
        Some(first + id.0.iter().copied().map(i64::from).sum::<i64>() % 5)
    });
    Some(DecodedEvent {
        id,
        fingerprint: (crc >> 16) as u16 ^ crc as u16,
        scope: EventScope {
            account: EventScope::text(account.unwrap_or_default().as_bytes()).into_owned(),
            region: EventScope::text(region.unwrap_or_default().as_bytes()).into_owned(),
            minute,
        },
        line,
        seconds: time.or(start),
    })
}

/// Returns the seconds of a time. A time without an offset is in UTC.
fn seconds(time: &str) -> Option<i64> {
    let time = time.parse::<jiff::Timestamp>().or_else(|_| format!("{time}Z").parse());
    time.ok().map(floor)
}

/// Returns the last `windowStart` of a time window whose names are all valid Unicode.
fn window_start(window: &RawValue) -> Option<String> {
    let mut start = None;
    for (name, value) in serde_json::from_str::<Members<'_>>(window.get()).ok()?.0 {
        if serde_json::from_str::<String>(name.get()).ok()? == "windowStart" {
            start = Some(value);
        }
    }
    serde_json::from_str(start?.get()).ok()
}

fn floor(time: jiff::Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond().div_euclid(1_000_000_000)).expect("the seconds of a timestamp fit into 64 bits")
}

/// Returns the text of a field: the unescaped content of a string, or the content as written if it is not valid
/// Unicode, or a number as written.
fn text(value: &str) -> Option<String> {
    match value.as_bytes()[0] {
        b'"' => Some(serde_json::from_str(value).unwrap_or_else(|_| value[1..value.len() - 1].to_owned())),
        b'-' | b'0'..=b'9' => Some(value.to_owned()),
        _ => None,
    }
}

/// Returns `None` if the value exceeds the maximum nesting depth.
fn check_depth(value: &RawValue) -> Option<()> {
    let bytes = value.get().as_bytes();
    let (mut at, mut depth) = (0, 0usize);
    while at < bytes.len() {
        match bytes[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        if depth > MAX_JSON_DEPTH {
            return None;
        }
        at += token_length(&bytes[at..]);
    }
    Some(())
}

/// Returns the length of the next token: a string, a run of white space or one other byte.
fn token_length(bytes: &[u8]) -> usize {
    match bytes[0] {
        b'"' => {
            let mut at = 1;
            while bytes[at] != b'"' {
                at += if bytes[at] == b'\\' { 2 } else { 1 };
            }
            at + 1
        }
        byte if is_white_space(byte) => bytes.iter().take_while(|&&byte| is_white_space(byte)).count(),
        _ => 1,
    }
}

fn is_white_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}
