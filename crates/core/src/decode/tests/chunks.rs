//! Tests objects that are read in chunks, and the second pass over line offsets.

use super::*;

/// Reads an object in chunks. Returns the events before the end or the error, and the result.
fn in_chunks(stored: &[u8], ends: &[usize], limits: DecodeLimits) -> (Vec<DecodedEvent>, Result<(), DecodeError>) {
    let mut chunks = chunks(stored, ends).into_iter();
    let mut events = EventReader::in_chunks(chunks.next().unwrap_or_default(), stored.len() as u64, limits);
    let mut decoded = Vec::new();
    let end = loop {
        match events.advance() {
            Ok(DecodeStatus::Ready) => match events.event() {
                Ok(event) => decoded.extend(event.map(|event| (event.line.to_vec(), event.id, event.scope))),
                Err(error) => break Err(error),
            },
            Ok(DecodeStatus::NeedsInput) => events.feed(chunks.next().expect("a next chunk exists")),
            Ok(DecodeStatus::End) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let scopes = events.into_scopes();
    (decoded.into_iter().map(|(line, id, scope)| (line, id, scopes[scope as usize].clone())).collect(), end)
}

fn chunks(stored: &[u8], ends: &[usize]) -> Vec<Vec<u8>> {
    let mut ends: Vec<_> = ends.iter().copied().filter(|&end| end > 1 && end < stored.len()).collect();
    ends.extend([0, stored.len()]);
    ends.sort_unstable();
    ends.dedup();
    ends.windows(2).map(|pair| stored[pair[0]..pair[1]].to_vec()).collect()
}

/// Returns the line offsets of an object, or `None` if a line differs from the stored bytes.
fn line_offsets(stored: &[u8]) -> Option<LineOffsets> {
    let (mut line_offsets, mut all) = (LineOffsets::default(), true);
    let mut events = EventReader::new(stored, DecodeLimits::default());
    while let Some(event) = events.next().unwrap() {
        all &= line_offsets.add(&event);
    }
    all.then_some(line_offsets)
}

fn read_lines(stored: &[u8], ends: &[usize], line_offsets: &LineOffsets) -> Result<Vec<Vec<u8>>, DecodeError> {
    let mut chunks = chunks(stored, ends).into_iter();
    let mut line_reader = LineReader::in_chunks(chunks.next().unwrap_or_default(), stored.len() as u64, line_offsets);
    let mut lines = Vec::new();
    loop {
        match line_reader.advance()? {
            DecodeStatus::Ready => {
                let (ordinal, line) = line_reader.line().unwrap();
                assert_eq!(ordinal as usize, lines.len());
                lines.push(line.to_vec());
            }
            DecodeStatus::NeedsInput => line_reader.feed(chunks.next().expect("a next chunk exists")),
            DecodeStatus::End => return Ok(lines),
        }
    }
}

/// Generates the stored bytes of some events, and the ends of chunks.
fn stored_and_ends() -> impl Strategy<Value = (Vec<u8>, Vec<usize>)> {
    let ends = proptest::collection::vec(any::<prop::sample::Index>(), 0..6);
    let events = proptest::collection::vec(event(), 0..60);
    (events, ends, "[ \n\t]{0,3}", 0..3).prop_map(|(events, ends, space, form)| {
        let json = format!("{{\"Records\":{space}[{}{space}]}}{space}", events.join(&format!("{space},{space}")));
        let half = json.len() / 2;
        let stored = match form {
            0 => json.into_bytes(),
            1 => gzip(json.as_bytes()),
            _ => [gzip(&json.as_bytes()[..half]), gzip(&json.as_bytes()[half..])].concat(),
        };
        let ends = ends.iter().map(|end| end.index(stored.len())).collect();
        (stored, ends)
    })
}

#[test]
fn byte_order_mark_is_skipped_in_chunks_of_any_size() {
    let json = "\u{feff} {\"Records\":[{\"eventID\":\"a\"}]}";
    for stored in [json.as_bytes().to_vec(), gzip(json.as_bytes())] {
        for size in 2..8 {
            let ends: Vec<_> = (size..stored.len()).step_by(size).collect();
            let (events, end) = in_chunks(&stored, &ends, DecodeLimits::default());
            assert_eq!((events.len(), end), (1, Ok(())), "chunks of {size} bytes");
        }
    }
    // White space is discarded chunk by chunk. A byte order mark after it is not at the start of the object.
    let (_, end) = in_chunks("    \u{feff}[]".as_bytes(), &[2, 4], DecodeLimits::default());
    assert!(matches!(end, Err(DecodeError::NotJson { at: 4, .. })), "{end:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn chunks_decode_like_the_whole_object((stored, ends) in stored_and_ends()) {
        let (decoded, end) = in_chunks(&stored, &ends, DecodeLimits::default());
        prop_assert_eq!(end, Ok(()));
        prop_assert_eq!(decoded, decode(&stored).unwrap());
    }

    #[test]
    fn damage_is_detected_in_chunks_as_in_the_whole_object(
        (mut stored, ends) in stored_and_ends(),
        at in any::<prop::sample::Index>(),
        length in any::<prop::sample::Index>(),
        flip in any::<bool>(),
    ) {
        if flip {
            let at = at.index(stored.len());
            stored[at] ^= 1;
        } else {
            stored.truncate(length.index(stored.len()).max(1));
        }
        let whole = decode(&stored);
        let (decoded, end) = in_chunks(&stored, &ends, DecodeLimits::default());
        // With two defects, which one is found first depends on the number of bytes that are read ahead.
        prop_assert_eq!(end.map(|()| decoded).map_err(drop), whole.map_err(drop));
    }

    #[test]
    fn line_reader_returns_the_lines_of_the_first_pass((stored, ends) in stored_and_ends()) {
        let lines: Vec<_> = decode(&stored).unwrap().into_iter().map(|(line, ..)| line).collect();
        if let Some(line_offsets) = line_offsets(&stored) {
            prop_assert_eq!(read_lines(&stored, &ends, &line_offsets).unwrap(), lines);
        }
    }
}

#[test]
fn object_is_read_byte_by_byte() {
    let json = br#" {"a":[1,"x"], "Records" : [ {"eventID":"a","n":-1.5e3} , {"eventID":"b","t":true} ] , "n":12} "#;
    for stored in [json.to_vec(), gzip(json), [gzip(&json[..40]), gzip(&json[40..])].concat()] {
        let every: Vec<usize> = (2..stored.len()).collect();
        assert_eq!(in_chunks(&stored, &every, DecodeLimits::default()), (decode(&stored).unwrap(), Ok(())));
        let line_offsets = line_offsets(&stored).unwrap();
        assert_eq!(
            read_lines(&stored, &every, &line_offsets).unwrap(),
            [&br#"{"eventID":"a","n":-1.5e3}"#[..], br#"{"eventID":"b","t":true}"#]
        );
    }
}

#[test]
fn white_space_is_not_buffered() {
    let space = " ".repeat(3 << 20);
    let json =
        format!("{space}{{{space}\"Records\"{space}:{space}[{space}{{}}{space},{space}{{}}{space}]{space}}}{space}");
    let stored = gzip(json.as_bytes());
    let mut events = EventReader::new(&stored, DecodeLimits::default());
    let mut at = Vec::new();
    while let Some(event) = events.next().unwrap() {
        at.push(event.at);
    }
    assert_eq!(at, [5 * (3 << 20) + 12, 7 * (3 << 20) + 15]);
    assert_eq!((events.bytes(), events.buffer.len()), (json.len() as u64, MAX_INITIAL_BUFFER));
}

#[test]
fn event_with_line_break_is_not_read_by_offset() {
    assert!(line_offsets(b"[{\"eventID\": 1}, {\"eventID\":2}]").is_some());
    assert!(line_offsets(b"[{\"eventID\": 1}, {\n\"eventID\":2}]").is_none());
}

#[test]
fn shorter_object_in_second_pass_is_an_error() {
    let stored = gzip(b"[{\"eventID\":\"a\"},{\"eventID\":\"b\"}]");
    let line_offsets = line_offsets(&stored).unwrap();
    let error = read_lines(&gzip(b"[{\"eventID\":\"a\"}]"), &[], &line_offsets).unwrap_err();
    assert!(error.to_string().contains("shorter than in the first pass"), "{error}");
}

#[test]
fn object_without_its_last_chunk_is_an_error() {
    let stored = gzip(b"{\"Records\":[{},{}]}");
    let mut events =
        EventReader::in_chunks(stored[..stored.len() - 4].to_vec(), stored.len() as u64, DecodeLimits::default());
    let error = loop {
        match events.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the object must not be valid without its last chunk"),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("object ends before its last chunk"), "{error}");
}
