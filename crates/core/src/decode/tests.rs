//! Compares the decoder with a naive decoder that builds a tree, and tests it with damaged objects.

mod chunks;

use super::grammar::BYTE_ORDER_MARK;
use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde_json::value::RawValue;
use std::io::Write;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A decoded event: line, ID and scope.
type DecodedEvent = (Vec<u8>, EventId, EventScope);

fn decode(stored: &[u8]) -> Result<Vec<DecodedEvent>, DecodeError> {
    decode_within(stored, DecodeLimits::default())
}

fn decode_within(stored: &[u8], limits: DecodeLimits) -> Result<Vec<DecodedEvent>, DecodeError> {
    let mut events = EventReader::new(stored, limits);
    let mut decoded = Vec::new();
    while let Some(event) = events.next()? {
        assert_eq!(event.ordinal as usize, decoded.len());
        decoded.push((event.line.to_vec(), event.id, event.scope));
    }
    let scopes = events.into_scopes();
    Ok(decoded.into_iter().map(|(line, id, scope)| (line, id, scopes[scope as usize].clone())).collect())
}

/// The oracle: serde_json's tree for the fields, its raw values for the bytes.
fn naive(json: &[u8]) -> Option<Vec<DecodedEvent>> {
    #[derive(serde::Deserialize)]
    struct File<'a> {
        #[serde(rename = "Records", borrow)]
        records: Vec<&'a RawValue>,
    }
    let json = json.strip_prefix(BYTE_ORDER_MARK).unwrap_or(json);
    let records = match serde_json::from_slice::<File<'_>>(json) {
        Ok(file) => file.records,
        Err(_) => serde_json::from_slice::<Vec<&RawValue>>(json).ok()?,
    };
    let mut contents: Vec<Vec<u8>> = Vec::new();
    let events = records.into_iter().map(|raw| {
        let tree: serde_json::Map<String, serde_json::Value> = serde_json::from_str(raw.get()).ok()?;
        let text = |names: [&str; 2]| {
            names.iter().find_map(|name| match tree.get(*name)? {
                serde_json::Value::String(text) => Some(text.clone()),
                _ => None,
            })
        };
        let mut line = Vec::new();
        scan::strip(raw.get().as_bytes(), Strip::Breaks, &mut line);
        let mut compact = Vec::new();
        scan::strip(raw.get().as_bytes(), Strip::All, &mut compact);
        let scope = EventScope {
            account: text(["recipientAccountId", "accountId"]).unwrap_or_default(),
            region: text(["awsRegion"; 2]).unwrap_or_default(),
            minute: text(["eventTime"; 2])
                .and_then(|time| time.parse::<jiff::Timestamp>().ok())
                .map(|time| time.as_second().div_euclid(60)),
        };
        let id = text(["eventID", "eventId"]).filter(|id| !id.is_empty());
        let id = id.map_or_else(
            || {
                let before = contents.iter().filter(|content| **content == compact).count();
                contents.push(compact.clone());
                EventId::from_content(&compact).occurrence(before as u32)
            },
            |id| EventId::from_text(id.as_bytes()),
        );
        Some((line, id, scope))
    });
    events.collect()
}

fn event() -> impl Strategy<Value = String> {
    let space = "[ \n]{0,2}";
    let id = prop_oneof![
        4 => "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}".prop_map(Some),
        1 => Just(None),
        1 => "[a-zA-Zé\"\\\\]{0,5}".prop_map(Some)
    ];
    let time = prop_oneof![3 => "20[0-4][0-9]-0[1-9]-[0-2][1-9]T1[0-9]:[0-5][0-9]:[0-5][0-9]Z", 1 => "[a-z]{0,4}"];
    let extra = prop_oneof![
        Just("1.0e3".to_owned()),
        Just(r#"{"eventID":"nested","awsRegion":["x"]}"#.to_owned()),
        ".{0,300}".prop_map(|text| serde_json::Value::from(text).to_string()),
    ];
    (id, time, "[0-9]{12}", "[a-z-]{0,9}", extra, space, space).prop_map(
        |(id, time, account, region, extra, one, two)| {
            let id = id.map(|id| format!("\"eventID\":{},", serde_json::Value::from(id))).unwrap_or_default();
            format!(
                "{{{one}{id}\"eventTime\":\"{time}\",\"x\":{extra},\"recipientAccountId\":{two}\"{account}\",\"awsRegion\":\"{region}\"}}"
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn decoder_agrees_with_naive_decoder(
        events in proptest::collection::vec(event(), 0..400),
        bare in any::<bool>(),
        mark in prop_oneof![Just(""), Just("\u{feff}")],
        space in "[ \n\t]{0,3}",
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..3),
    ) {
        let list = events.join(&format!("{space},{space}"));
        let json = if bare {
            format!("{mark}{space}[{space}{list}]{space}")
        } else {
            format!("{mark}{{{space}\"a\":[1,{{}}],\"Records\":{space}[{list}{space}],\"b\":null}}{space}")
        };
        let json = json.as_bytes();
        let expected = naive(json).expect("the naive decoder reads the generated object");
        prop_assert_eq!(expected.len(), events.len());
        prop_assert_eq!(&decode(json).unwrap(), &expected);

        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(json.len())).collect();
        cuts.sort_unstable();
        let mut members = Vec::new();
        let mut from = 0;
        for to in cuts.into_iter().chain([json.len()]) {
            members.extend(gzip(&json[from..to]));
            from = to;
        }
        prop_assert_eq!(&decode(&members).unwrap(), &expected);
    }

    #[test]
    fn truncated_object_is_rejected(events in proptest::collection::vec(event(), 1..4)) {
        let json = format!("{{\"Records\":[{}]}}", events.join(","));
        for cut in 0..json.len() {
            prop_assert!(decode(&json.as_bytes()[..cut]).is_err(), "cut at {}", cut);
        }
        let stored = gzip(json.as_bytes());
        for cut in 0..stored.len() {
            prop_assert!(decode(&stored[..cut]).is_err(), "cut at {}", cut);
        }
    }

    #[test]
    fn flipped_bit_in_gzip_is_detected_or_harmless(
        events in proptest::collection::vec(event(), 1..3),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let json = format!("{{\"Records\":[{}]}}", events.join(","));
        let mut stored = gzip(json.as_bytes());
        let at = at.index(stored.len());
        stored[at] ^= 1 << bit;
        // The ten bytes of the header and the padding bits before the trailer do not affect the content. A flipped bit
        // there may be undetected, but must not change the events.
        if let Ok(read) = decode(&stored) {
            prop_assert!(at < 10 || at == stored.len() - 9);
            prop_assert_eq!(read, decode(json.as_bytes()).unwrap());
        }
    }

    #[test]
    fn decoder_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        let _ = decode(&[b"{\"Records\":[{", bytes.as_slice()].concat());
    }
}

const LAKE_HINT: &str = "it looks like a query result or export of CloudTrail Lake or of a table: use the log files in \
                         the trail's S3 bucket, or convert its rows to {\"Records\": [EVENT, …]}";

#[test]
fn invalid_file_reports_reason_and_offset() {
    const LOOKUP: &str = "it looks like the output of `aws cloudtrail lookup-events`: convert it with \
                          jq '{Records: [.. | .CloudTrailEvent? // empty | fromjson]}'";
    const BUCKET: &str = "use the log files in the trail's S3 bucket";
    let nested = [b"{\"Records\":[{\"a\":".as_slice(), &[b'['; 200]].concat();
    let unknown = "no \"Records\" in the JSON object: not a CloudTrail log file";
    let cases: &[(&[u8], &str)] = &[
        (b"", "the object is empty; expected gzip or JSON"),
        (b"  ", "the JSON ends at byte 2 within the first value"),
        (b"{}", unknown),
        (b"{\"records\":[]}", unknown),
        (
            b"{\"eventVersion\":\"1.11\",\"eventID\":\"a\"}\n{\"eventVersion\":\"1.11\",\"eventID\":\"b\"}\n",
            "no \"Records\" in the JSON object; it looks like JSON Lines or a single event: convert it with jq -s \
             '{Records: .}'",
        ),
        (
            b"{\"Events\":[{\"EventId\":\"a\",\"CloudTrailEvent\":\"{}\"}]}",
            &format!("no \"Records\" in the JSON object; {LOOKUP}"),
        ),
        (
            b"[{\"EventId\":\"a\",\"CloudTrailEvent\":\"{}\"}]",
            &format!("the value at byte 1 is not a CloudTrail event; {LOOKUP}"),
        ),
        (
            b"{\"Records\":[{\"EventId\":\"a\",\"CloudTrailEvent\":\"{}\"}]}",
            &format!("the value at byte 12 is not a CloudTrail event; {LOOKUP}"),
        ),
        (
            b"{\"messageType\":\"DATA_MESSAGE\",\"logGroup\":\"trail\",\"logEvents\":[{\"message\":\"{}\"}]}",
            &format!(
                "no \"Records\" in the JSON object; it looks like CloudTrail events from CloudWatch Logs (subscription \
                 or export): {BUCKET}, which contain the same events"
            ),
        ),
        (
            b"{\"version\":\"0\",\"detail-type\":\"AWS API Call via CloudTrail\",\"detail\":{}}",
            &format!(
                "no \"Records\" in the JSON object; it looks like events from EventBridge: {BUCKET}, which contain the \
                 same events"
            ),
        ),
        (
            b"{\"QueryStatus\":\"FINISHED\",\"QueryResultRows\":[]}",
            &format!("no \"Records\" in the JSON object; {LAKE_HINT}"),
        ),
        (
            b"{\"eventID\":\"a\",\"eventTime\":\"2026-11-01 00:00:00.000\",\"eventJson\":\"{}\"}",
            &format!("no \"Records\" in the JSON object; {LAKE_HINT}"),
        ),
        (
            b"\"eventVersion\",\"eventID\",\"eventTime\"\n\"1.11\",\"a\",\"2026-11-01 00:00:00.000\"\n",
            &format!("invalid JSON at byte 0: expected '{{' or '[', found '\"'; {LAKE_HINT}"),
        ),
        (
            b"{\"awsAccountId\":\"111122223333\",\"digestEndTime\":\"2026-11-01T00:00:00Z\"}",
            "no \"Records\" in the JSON object; it looks like a CloudTrail digest under the name of a log: it contains no \
             events; restore its name or delete this copy",
        ),
        (
            b"[{},{\"eventID\":\"a\"}]",
            "the value at byte 1 is not a CloudTrail event: it has neither eventID nor eventTime",
        ),
        (
            b"[{\"eventID\":\"a\"},{\"Key\":\"a\"}]",
            "the value at byte 17 is not a CloudTrail event: it has neither eventID nor eventTime",
        ),
        (
            b"\xff\xfe{\0\"\0",
            "invalid JSON at byte 0: expected '{' or '[', found byte 0xff; it looks like UTF-16: convert it to UTF-8 with \
             iconv -f UTF-16 -t UTF-8",
        ),
        (
            b"\x28\xb5\x2f\xfd\0",
            "invalid JSON at byte 0: expected '{' or '[', found '('; it looks like zstd: decompress it, or compress it with \
             gzip",
        ),
        (
            b"<?xml version=\"1.0\"?><Error/>",
            "invalid JSON at byte 0: expected '{' or '[', found '<'; it looks like XML or HTML, such as an error page: \
             download the log file again",
        ),
        (b"hello", "invalid JSON at byte 0: expected '{' or '[', found 'h'"),
        (b"\xef\xbb\xbfhello", "invalid JSON at byte 3: expected '{' or '[', found 'h'"),
        (b" \xef\xbb\xbf{}", "invalid JSON at byte 1: expected '{' or '[', found byte 0xef"),
        (b"{\"Records\":null}", "invalid JSON at byte 11: expected '[': \"Records\" is an array, found 'n'"),
        (b"{\"Records\":[null]}", "invalid JSON at byte 12: expected '{': an event is an object, found 'n'"),
        (b"{\"Records\":[{}]}x", "invalid JSON at byte 16: unexpected 'x' after the end of the JSON"),
        (b"{\"Records\":[{}],}", "invalid JSON at byte 16: expected a name in quotes, found '}'"),
        (b"{\"Records\":[{},]}", "invalid JSON at byte 15: expected '{': an event is an object, found ']'"),
        (b"{\"Records\":[],\"Records\":[]}", "invalid JSON at byte 24: duplicate \"Records\""),
        (b"{\"Records\":[{\"a\":\"\xff\"}]}", "invalid JSON at byte 18: invalid UTF-8: byte 0xff"),
        (
            b"{\"Records\":[{\"a\":\"\n\"}]}",
            "invalid JSON at byte 18: unescaped control character in a string: byte 0x0a",
        ),
        (b"{\"Records\":[{\"a\":\"\\x\"}]}", "invalid JSON at byte 19: unknown escape in a string: 'x'"),
        (&nested, "invalid JSON at byte 144: nesting exceeds 128 levels"),
        (b"\x1f\x8b\x08", "the gzip stream is truncated, at byte 3 of 3 compressed bytes"),
    ];
    for (bytes, expected) in cases {
        let expected: &str = expected;
        assert_eq!(decode(bytes).unwrap_err().to_string(), expected, "{}", String::from_utf8_lossy(bytes));
    }
    let mut trailing = gzip(b"{\"Records\":[]}");
    trailing.extend_from_slice(b"more than a header");
    assert!(
        decode(&trailing).unwrap_err().to_string().contains("the bytes after the gzip member are not another member")
    );
}

#[test]
fn decompression_bomb_stops_at_the_limit() {
    let limits = DecodeLimits { object_bytes: 1 << 20, value_bytes: 4 << 20, ..DecodeLimits::default() };
    let spaces = gzip(&[b"{\"Records\":[".as_slice(), &vec![b' '; 8 << 20]].concat());
    let error = decode_within(&spaces, limits).unwrap_err();
    assert!(matches!(error, DecodeError::TooLarge { limit, .. } if limit == 1 << 20), "{error}");
    let limits = DecodeLimits { object_bytes: 64 << 20, value_bytes: 1 << 20, ..DecodeLimits::default() };
    let long = format!("{{\"Records\":[{{\"a\":\"{}\"}}]}}", "x".repeat(8 << 20));
    let error = decode_within(long.as_bytes(), limits).unwrap_err();
    assert!(matches!(error, DecodeError::ValueTooLong { at: 12, .. }), "{error}");
}

#[test]
fn event_without_id_is_identified_by_content_and_occurrence() {
    let ids = |json: &str| decode(json.as_bytes()).unwrap().iter().map(|(_, id, _)| *id).collect::<Vec<_>>();
    let (one, two) = (r#"{"eventID":"","a":1}"#, r#"{"eventID":"","a":2}"#);
    let first = ids(&format!("[{one},{two},{one},{one}]"));
    assert_eq!(first[0], EventId::from_content(one.as_bytes()));
    assert_eq!(first[1], EventId::from_content(two.as_bytes()));
    assert_eq!(first[2..], [first[0].occurrence(1), first[0].occurrence(2)]);
    // A copy of the object has the same IDs, with other white space and with other events between them.
    assert_eq!(ids(&format!("[{one} ,\n{one},{two},{{ \"eventID\":\"\",\"a\":1}}]"))[..2], [first[0], first[2]]);
    assert_eq!(ids(&format!("[{{\"eventID\":\"x\"}},{one},{{\"eventID\":\"x\"}}]"))[1], first[0]);
    let repeated = ids(r#"[{"eventID":"x"},{"eventID":"x"}]"#);
    assert_eq!(repeated[0], repeated[1], "an explicit ID is never numbered");
}

#[test]
fn name_of_a_usual_event_precedes_the_name_of_an_aggregated_one_in_any_order() {
    let usual = [r#""eventID":"x""#, r#""recipientAccountId":"111122223333""#];
    let aggregated = [r#""eventId":"y""#, r#""accountId":"444455556666""#];
    for members in [[usual, aggregated], [aggregated, usual]] {
        let json = format!(r#"{{"Records":[{{{}}}]}}"#, members.concat().join(","));
        let (_, id, scope) = decode(json.as_bytes()).unwrap().remove(0);
        assert_eq!((id, &*scope.account), (EventId::from_text(b"x"), "111122223333"), "{json}");
    }
    let json = format!(r#"{{"Records":[{{"eventID":"","recipientAccountId":"",{}}}]}}"#, aggregated.join(","));
    let (_, id, scope) = decode(json.as_bytes()).unwrap().remove(0);
    assert_eq!((id, &*scope.account), (EventId::from_text(b"y"), "444455556666"), "an empty value counts as missing");
}

#[test]
fn aggregated_event_has_the_time_of_its_window() {
    let read = |json: String| {
        let mut events = EventReader::new(json.as_bytes(), DecodeLimits::default());
        let event = events.next().unwrap().unwrap();
        let (seconds, scope, id) = (event.seconds, event.scope, event.id);
        (seconds, events.scopes()[scope as usize].minute, id)
    };
    let start = 1_767_225_900; // 2026-01-01T00:05:00Z
    let window = r#""timeWindow":{"windowStart":"2026-01-01T00:05:00Z","windowEnd":"2026-01-01T00:10:00Z"}"#;
    let mut minutes = std::collections::BTreeSet::new();
    for number in 0..64u8 {
        let uuid = uuid::Uuid::from_bytes([number; 16]);
        let (seconds, minute, id) = read(format!(r#"{{"Records":[{{"eventId":"{uuid}",{window}}}]}}"#));
        assert_eq!((seconds, minute), (Some(start), Some(minute_in_window(start, id))));
        minutes.extend(minute);
    }
    assert_eq!(minutes.into_iter().collect::<Vec<_>>(), (start / 60..start / 60 + 5).collect::<Vec<_>>());
    let timed = read(format!(r#"[{{"eventTime":"2026-01-01T00:08:30Z",{window}}}]"#));
    assert_eq!((timed.0, timed.1), (Some(start + 210), Some(start / 60 + 3)), "eventTime comes first");
    for other in ["null", "\"\"", "[]", "{}", r#"{"windowStart":7}"#, r#"{"a":{"windowStart":"2026-01-01T00:05:00Z"}}"#]
    {
        let (seconds, minute, _) = read(format!(r#"[{{"eventID":"a","timeWindow":{other}}}]"#));
        assert_eq!((seconds, minute), (None, None), "{other}");
    }
}

#[test]
fn byte_order_mark_is_skipped() {
    let json = "\u{feff}{\"Records\":[{\"eventID\":\"a\"}]}";
    let expected = decode(&json.as_bytes()[3..]).unwrap();
    assert_eq!(expected.len(), 1);
    assert_eq!(decode(json.as_bytes()).unwrap(), expected);
    assert_eq!(decode(&gzip(json.as_bytes())).unwrap(), expected);
    let parts: Vec<u8> = [&json.as_bytes()[..1], b"", &json.as_bytes()[1..2], &json.as_bytes()[2..]]
        .iter()
        .flat_map(|part| gzip(part))
        .collect();
    assert_eq!(decode(&parts).unwrap(), expected, "split over gzip members");
    assert!(decode(format!("\u{feff}{json}").as_bytes()).is_err(), "only one mark");
}

#[test]
fn value_at_the_limit_is_read_and_one_byte_more_is_rejected() {
    let limits = DecodeLimits { value_bytes: 100_000, ..DecodeLimits::default() };
    let event = |bytes: usize| format!("[{{\"eventID\":\"{}\"}}]", "x".repeat(bytes - "{\"eventID\":\"\"}".len()));
    assert_eq!(decode_within(event(100_000).as_bytes(), limits).unwrap().len(), 1);
    let error = decode_within(&gzip(event(100_001).as_bytes()), limits).unwrap_err();
    assert_eq!(error, DecodeError::ValueTooLong { limit: 100_000, at: 1 });
}

#[test]
fn long_number_is_limited_like_any_value() {
    let limits = DecodeLimits { value_bytes: 1 << 20, ..DecodeLimits::default() };
    let number = [b"{\"n\":".as_slice(), &vec![b'1'; 8 << 20], b",\"Records\":[]}"].concat();
    let mut events = EventReader::new(&number, limits);
    assert_eq!(events.next(), Err(DecodeError::ValueTooLong { limit: 1 << 20, at: 5 }));
    assert!(events.buffer.len() <= 2 << 20, "{}", events.buffer.len());
}

#[test]
fn long_account_and_region_are_hashed() {
    let event = |letter: &str| {
        let text = letter.repeat(100_000);
        format!("{{\"recipientAccountId\":\"{text}\",\"awsRegion\":\"{text}\"}}")
    };
    let json = format!("{{\"Records\":[{},{},{}]}}", event("a"), event("b"), event("a"));
    let mut events = EventReader::new(json.as_bytes(), DecodeLimits::default());
    let mut scopes = Vec::new();
    while let Some(event) = events.next().unwrap() {
        scopes.push(event.scope);
    }
    assert_eq!(scopes, [0, 1, 0], "different texts are different scopes");
    for EventScope { account, region, .. } in events.scopes() {
        assert!(account.len() < 100 && region.len() < 100, "{account} {region}");
    }
}

#[test]
fn event_count_at_the_limit_is_read_and_one_more_is_rejected() {
    let limits = DecodeLimits { events: 3, ..DecodeLimits::default() };
    assert_eq!(decode_within(b"{\"Records\":[{},{},{}]}", limits).unwrap().len(), 3);
    let error = decode_within(&gzip(b"{\"Records\":[{},{},{},{}]}"), limits).unwrap_err();
    assert_eq!(error, DecodeError::TooMany { limit: 3, at: 21 });
    assert_eq!(error.to_string(), "the object exceeds 3 events at byte 21");
}

#[test]
fn event_larger_than_the_buffer_is_read() {
    let text = "y".repeat(3 << 20);
    let json = format!("{{\"Records\":[{{\"eventID\":\"a\",\"a\":\"{text}\"}},{{\"eventID\":\"b\"}}]}}");
    let events = decode(&gzip(json.as_bytes())).unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].0.len(), json.len() - "{\"Records\":[,{\"eventID\":\"b\"}]}".len());
}

#[test]
fn number_across_the_end_of_the_buffer_is_read() {
    for pad in MAX_INITIAL_BUFFER - 40..MAX_INITIAL_BUFFER + 4 {
        let json = format!("{{\"a\":\"{}\",\"n\":1234567890.5,\"Records\":[]}}", "x".repeat(pad));
        assert_eq!(decode(json.as_bytes()), Ok(vec![]), "{pad}");
    }
}

#[test]
fn object_that_ends_in_a_number_is_truncated() {
    for (json, at) in [(r#"{"n":1"#, 6), (r#" {"a":"b","n":-20.5e1"#, 21), (r#"{"Records":[],"n":7"#, 19)] {
        let expected = Err(DecodeError::Truncated { at, within: "the outermost object" });
        assert_eq!(decode(json.as_bytes()), expected, "{json}");
        assert_eq!(decode(&gzip(json.as_bytes())), expected, "{json}");
    }
}

#[test]
fn bytes_of_events_are_preserved() {
    let odd = r#"{"eventID":"a","n":1.0E+02,"z":-0,"s":"\u00e9\/é","eventID2" : [ 1 , 2 ]}"#;
    let json = format!("{{\"Records\":[{odd},{{\n  \"eventID\": \"b\",\r\n\t\"x\": \" \\n \" }}]}}");
    let events = decode(json.as_bytes()).unwrap();
    assert_eq!(String::from_utf8_lossy(&events[0].0), odd);
    assert_eq!(String::from_utf8_lossy(&events[1].0), r#"{"eventID": "b","x": " \n " }"#);
}

#[test]
fn id_and_fingerprint_ignore_insignificant_white_space() {
    let read = |json: &str| {
        let mut events = EventReader::new(json.as_bytes(), DecodeLimits::default());
        let event = events.next().unwrap().unwrap();
        (event.id, event.fingerprint)
    };
    let event = r#"{"Records":[{"a":[1,"x y"]}]}"#;
    assert_eq!(read(event), read("{\"Records\":[ {\n \"a\" : [ 1,\n \"x y\" ] } ]}"));
    assert_ne!(read(event), read(r#"{"Records":[{"a":[1,"x  y"]}]}"#));
}

#[test]
fn noted_offsets_are_those_of_a_scan_of_the_line() {
    let selected = Arc::new(SelectedFields::new(["eventName", "userAgent"], ["type", "sessionContext"]));
    for event in [
        r#"{"eventName":"A","userIdentity":{"type":"x","sessionContext":{"type":"y"}},"requestParameters":{"type":"z"}}"#,
        r#"{ "eventName" : "A" , "userIdentity" : { "a" : {} , "type" : "x" } }"#,
        r#"{"userIdentity":{"type":"x"},"eventName":{"type":"y"},"userIdentity":{"sessionContext":1}}"#,
        r#"{"userIdentity":[{"type":"x"}],"userAgent":[{"type":"y"}]}"#,
        r#"{"user\u0049dentity":{"t\u0079pe":"x"},"event\u004eame":"A"}"#,
        r#"{"userIdentity":"x","type":"y"}"#,
        "{}",
    ] {
        let object = format!(r#"{{"Records":[{event},{event}]}}"#);
        let mut reader =
            EventReader::new(object.as_bytes(), DecodeLimits::default()).noting(Some(Arc::clone(&selected)));
        for _ in 0..2 {
            let decoded = reader.next().unwrap().unwrap();
            let noted = decoded.offsets.unwrap().of(&selected).unwrap();
            let scanned = selected.offsets(event.as_bytes()).unwrap();
            let identity = |name| selected.identity_position(name).unwrap();
            for position in [0, 1, 2, identity("type"), identity("sessionContext")] {
                let values = [noted, &scanned].map(|offsets| offsets.value(event.as_bytes(), position));
                assert_eq!(values[0], values[1], "{event}: {position}");
            }
        }
    }
    let position = |name| selected.identity_position(name).unwrap();
    let text = |event: &'static str, name| {
        let offsets = selected.offsets(event.as_bytes()).unwrap();
        let value = selected.identity_value(&offsets, event.as_bytes(), position(name));
        value.map(|value| value.map(|value| String::from_utf8_lossy(value.bytes).into_owned()))
    };
    assert_eq!(text(r#"{"userIdentity":{"type":"x"}}"#, "type"), Ok(Some("\"x\"".to_owned())));
    assert_eq!(text(r#"{"userIdentity":{"type":"x"},"userIdentity":{}}"#, "type"), Ok(None));
    assert!(text(r#"{"userIdentity":[{"type":"x"}]}"#, "type").is_err());
}
