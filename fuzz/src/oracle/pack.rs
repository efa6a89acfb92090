//! Packing: every line that can be sent leaves once, in order, as it is, within every limit, and no call is begun that
//! was not needed.

use crate::event::EventScope;
use crate::pack::{Call, LinesPerRecord, PackError, PackLimits, Packer};
use std::sync::Arc;

/// What is in a call: the ordinal and bytes of each line.
type Lines = Vec<(u32, Vec<u8>)>;

/// The first four bytes are limits, the rest are lines. Of a line that begins with `*` and a digit the rest is repeated so
/// many times, doubled: the fuzzer need not write long lines to have some.
///
/// # Panics
/// If a line is lost, repeated, moved or changed, or a limit is passed.
pub fn check(input: &[u8]) {
    let [record, records, bytes, flags, rest @ ..] = input else { return };
    let factor = if flags & 2 == 0 { 1 } else { 97 };
    let limits = PackLimits {
        record_bytes: usize::from(*record) * factor + 1,
        call_records: usize::from(*records % 16) + 1,
        call_bytes: usize::from(*bytes) * factor + 1,
        lines: if flags & 1 == 0 { LinesPerRecord::Packed } else { LinesPerRecord::One },
    };
    let lines: Vec<Vec<u8>> = rest.split(|&byte| byte == b'\n').map(expanded).collect();
    let scopes = Arc::new(vec![EventScope::default(); 3]);
    let mut packer = Packer::new(limits, Arc::clone(&scopes));
    let (mut sent, mut rejected, mut calls) = (Lines::new(), Vec::new(), Vec::new());
    for (ordinal, line) in (0u32..).zip(&lines) {
        match packer.push(line, ordinal, ordinal % 3) {
            Ok(None) => {}
            Ok(Some(call)) => {
                let shape = sound(&call, &limits, &mut sent);
                calls.push(shape);
                if flags & 4 == 0 {
                    packer.recycle(call);
                }
            }
            Err(PackError { ordinal: named, bytes, limit }) => {
                assert_eq!((named, bytes, limit), (ordinal, line.len(), limits.max_line_bytes()));
                rejected.push(ordinal);
            }
        }
    }
    if let Some(call) = packer.finish() {
        let shape = sound(&call, &limits, &mut sent);
        calls.push(shape);
    }
    let (fit, long): (Lines, Lines) = (0..).zip(lines).partition(|(_, line)| line.len() < limits.record_bytes);
    assert_eq!(rejected, long.into_iter().map(|(ordinal, _)| ordinal).collect::<Vec<_>>());
    assert!(sent == fit, "what was sent is not what was pushed");
    for pair in calls.windows(2) {
        let next = pair[1].first_line;
        let no_room = pair[0].bytes + next > limits.call_bytes;
        let joins = limits.lines == LinesPerRecord::Packed && pair[0].last_record + next <= limits.record_bytes;
        assert!(no_room || (pair[0].records == limits.call_records && !joins), "a call was begun too early");
    }
}

/// What the call before and the call after have to do with each other.
struct Shape {
    bytes: usize,
    records: usize,
    first_line: usize,
    last_record: usize,
}

fn sound(call: &Call, limits: &PackLimits, sent: &mut Lines) -> Shape {
    assert!(!call.is_empty() && call.records.len() <= limits.call_records);
    assert!(call.body.len() <= limits.call_bytes || call.lines.len() == 1, "a call too long of several lines");
    let records: Vec<&[u8]> = call.record_slices().collect();
    assert_eq!(records.concat(), call.body);
    for record in &records {
        assert!(record.len() <= limits.record_bytes && record.ends_with(b"\n"));
        let lines = record.iter().filter(|&&byte| byte == b'\n').count();
        assert!(limits.lines == LinesPerRecord::Packed || lines == 1);
    }
    let mut start = 0;
    for line in &call.lines {
        assert_eq!(line.scope, line.ordinal % 3);
        let (bytes, end) = (&call.body[start..line.end - 1], &call.body[line.end - 1..line.end]);
        assert_eq!(end, b"\n");
        sent.push((line.ordinal, bytes.to_vec()));
        start = line.end;
    }
    assert_eq!(start, call.body.len());
    assert_eq!(call.last_ordinal(), call.lines.last().map(|line| line.ordinal));
    Shape {
        bytes: call.body.len(),
        records: records.len(),
        first_line: call.lines[0].end,
        last_record: records.last().map_or(0, |record| record.len()),
    }
}

fn expanded(line: &[u8]) -> Vec<u8> {
    match line {
        [b'*', digit @ b'0'..=b'9', rest @ ..] => rest.repeat(1 << (digit - b'0')),
        line => line.to_vec(),
    }
}
