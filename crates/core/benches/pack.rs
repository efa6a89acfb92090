//! Measures the time of packing lines of typical lengths into Firehose records and calls.
//!
//!     cargo bench -p trailhose-core --bench pack

use divan::{Bencher, black_box, counter::BytesCount};
use std::sync::Arc;
use trailhose_core::decode::{DecodeLimits, EventReader};
use trailhose_core::generate::{ObjectSize, SyntheticObject};
use trailhose_core::pack::{self, LinesPerRecord, Packer};

fn main() {
    divan::main();
}

/// Returns the lines of an object of about `bytes` bytes.
fn lines(bytes: u64) -> Vec<Vec<u8>> {
    let mut json = Vec::new();
    SyntheticObject::new(1, ObjectSize::Bytes(bytes)).write_json(&mut json).expect("writing to memory succeeds");
    let mut events = EventReader::new(&json, DecodeLimits::default());
    let mut lines = Vec::new();
    while let Some(event) = events.next().expect("the generated object is valid") {
        lines.push(event.line.to_vec());
    }
    lines
}

fn pack_all(lines: &[Vec<u8>], per_record: LinesPerRecord) -> usize {
    // The limits of Firehose: docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html
    let limits =
        pack::PackLimits { record_bytes: 1_024_000, call_records: 500, call_bytes: 4 << 20, lines: per_record };
    let mut packer = Packer::new(limits, Arc::default());
    let mut calls = 0;
    for (ordinal, line) in (0..).zip(lines) {
        if let Some(full) = packer.push(line, ordinal, 0).expect("no line exceeds a record") {
            calls += 1;
            packer.recycle(black_box(full));
        }
    }
    calls + usize::from(black_box(packer.finish()).is_some())
}

#[divan::bench(args = [10_000, 500_000, 50_000_000])]
fn packed(bencher: Bencher<'_, '_>, bytes: u64) {
    let lines = lines(bytes);
    bencher.counter(BytesCount::new(bytes)).bench(|| pack_all(black_box(&lines), LinesPerRecord::Many));
}

#[divan::bench(args = [10_000, 500_000, 50_000_000])]
fn one_event_per_record(bencher: Bencher<'_, '_>, bytes: u64) {
    let lines = lines(bytes);
    bencher.counter(BytesCount::new(bytes)).bench(|| pack_all(black_box(&lines), LinesPerRecord::One));
}
