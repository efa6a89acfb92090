//! The oracle of the packer. Every line that fits is packed once, in order, unchanged and within every limit, and no
//! unnecessary call is started.

use crate::event::EventScope;
use crate::pack::{LinesPerRecord, PackError, PackLimits, Packer, SinkCall};
use std::sync::Arc;

/// The ordinal and bytes of each line.
type NumberedLines = Vec<(u32, Vec<u8>)>;

/// Checks the packer with one input. The first four bytes are limits and flags, the rest are lines. If a line starts
/// with `*` and a digit `n`, the rest of the line is repeated 2ⁿ times, so that short inputs can contain long lines.
///
/// # Panics
/// If a line is lost, duplicated, reordered or changed, or a limit is exceeded.
pub fn check(input: &[u8]) {
    let [record, records, bytes, flags, rest @ ..] = input else { return };
    let factor = if flags & 2 == 0 { 1 } else { 97 };
    let limits = PackLimits {
        record_bytes: usize::from(*record) * factor + 1,
        call_records: usize::from(*records % 16) + 1,
        call_bytes: usize::from(*bytes) * factor + 1,
        lines: if flags & 1 == 0 { LinesPerRecord::Many } else { LinesPerRecord::One },
    };
    let lines: Vec<Vec<u8>> = rest.split(|&byte| byte == b'\n').map(expand_line).collect();
    let scopes = Arc::new(vec![EventScope::default(); 3]);
    let mut packer = Packer::new(limits, Arc::clone(&scopes));
    let (mut packed, mut rejected, mut calls) = (NumberedLines::new(), Vec::new(), Vec::new());
    for (ordinal, line) in (0u32..).zip(&lines) {
        match packer.push(line, ordinal, ordinal % 3) {
            Ok(None) => {}
            Ok(Some(call)) => {
                let sizes = check_call(&call, &limits, &mut packed);
                calls.push(sizes);
                if flags & 4 == 0 {
                    packer.recycle(call);
                }
            }
            Err(PackError { ordinal: error_ordinal, bytes, limit }) => {
                assert_eq!((error_ordinal, bytes, limit), (ordinal, line.len(), limits.max_line_bytes()));
                rejected.push(ordinal);
            }
        }
    }
    if let Some(call) = packer.finish() {
        let sizes = check_call(&call, &limits, &mut packed);
        calls.push(sizes);
    }
    let (fit, too_long): (NumberedLines, NumberedLines) =
        (0..).zip(lines).partition(|(_, line)| line.len() < limits.record_bytes);
    assert_eq!(rejected, too_long.into_iter().map(|(ordinal, _)| ordinal).collect::<Vec<_>>());
    assert!(packed == fit, "the packed lines differ from the pushed lines");
    for pair in calls.windows(2) {
        let next = pair[1].first_line;
        let call_is_full = pair[0].bytes + next > limits.call_bytes;
        let joins = limits.lines == LinesPerRecord::Many && pair[0].last_record + next <= limits.record_bytes;
        assert!(call_is_full || (pair[0].records == limits.call_records && !joins), "a call was started too early");
    }
}

/// The sizes of a call that determine whether the next call was necessary.
struct CallSizes {
    bytes: usize,
    records: usize,
    first_line: usize,
    last_record: usize,
}

fn check_call(call: &SinkCall, limits: &PackLimits, packed: &mut NumberedLines) -> CallSizes {
    assert!(!call.is_empty() && call.records.len() <= limits.call_records);
    assert!(call.body.len() <= limits.call_bytes || call.lines.len() == 1, "a call of several lines exceeds the limit");
    let records: Vec<&[u8]> = call.record_slices().collect();
    assert_eq!(records.concat(), call.body);
    for record in &records {
        assert!(record.len() <= limits.record_bytes && record.ends_with(b"\n"));
        let lines = record.iter().filter(|&&byte| byte == b'\n').count();
        assert!(limits.lines == LinesPerRecord::Many || lines == 1);
    }
    let mut start = 0;
    for line in &call.lines {
        assert_eq!(line.scope, line.ordinal % 3);
        let (bytes, end) = (&call.body[start..line.end - 1], &call.body[line.end - 1..line.end]);
        assert_eq!(end, b"\n");
        packed.push((line.ordinal, bytes.to_vec()));
        start = line.end;
    }
    assert_eq!(start, call.body.len());
    assert_eq!(call.last_ordinal(), call.lines.last().map(|line| line.ordinal));
    CallSizes {
        bytes: call.body.len(),
        records: records.len(),
        first_line: call.lines[0].end,
        last_record: records.last().map_or(0, |record| record.len()),
    }
}

fn expand_line(line: &[u8]) -> Vec<u8> {
    match line {
        [b'*', digit @ b'0'..=b'9', rest @ ..] => rest.repeat(1 << (digit - b'0')),
        line => line.to_vec(),
    }
}
