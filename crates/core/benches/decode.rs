//! Measures the time of decoding and of decompression alone, with the same library and buffer size in the same run.
//!
//!     cargo bench -p trailhose-core --bench decode
//!     cargo bench -p trailhose-core --bench decode -- --include-ignored     # with 200 MB
//!     cargo bench -p trailhose-core --bench decode -- decode                # benchmarks with this in their name
//!
//! Only the ratio of the two is meaningful, because absolute times depend on the machine. The files are generated from fixed seeds.

use divan::{Bencher, black_box, counter::BytesCount};
use std::io::Read;
use trailhose_core::decode::{DecodeLimits, EventReader};
use trailhose_core::generate::{ObjectSize, SyntheticObject, Variety};

fn main() {
    divan::main();
}

/// The size of the JSON and the variety of its values. The compression ratio determines the cost of decompression.
const OBJECTS: [&str; 10] = [
    "1 event",
    "0.5 MB alike",
    "0.5 MB",
    "0.5 MB varied",
    "5 MB alike",
    "5 MB",
    "5 MB varied",
    "50 MB alike",
    "50 MB",
    "50 MB varied",
];

/// Objects for the slow benchmarks.
const LARGE: [&str; 3] = ["200 MB alike", "200 MB", "200 MB varied"];

fn object(name: &str) -> SyntheticObject {
    let (number, unit) = name.split_once(' ').expect("a number and its unit");
    let size = match unit {
        "event" => ObjectSize::Events(1),
        _ => ObjectSize::Bytes((number.parse::<f64>().expect("a number") * 1e6) as u64),
    };
    let variety = match unit {
        "MB alike" => Variety::Alike,
        "MB varied" => Variety::Varied,
        _ => Variety::Usual,
    };
    SyntheticObject { variety, ..SyntheticObject::new(1, size) }
}

/// Returns the stored bytes of an object and the size of its JSON.
fn stored(name: &str) -> (Vec<u8>, u64) {
    let mut stored = Vec::new();
    let written = object(name).write_gzip(&mut stored).expect("writing to memory succeeds");
    (stored, written.bytes)
}

fn inflate_all(stored: &[u8], buffer: &mut [u8]) -> usize {
    let mut decoder = flate2::bufread::MultiGzDecoder::new(stored);
    let mut all = 0;
    loop {
        match decoder.read(buffer).expect("the generated object is valid") {
            0 => return all,
            read => all += read,
        }
    }
}

fn decode_all(stored: &[u8]) -> usize {
    let mut events = EventReader::new(stored, DecodeLimits::default());
    let mut all = 0;
    while let Some(event) = events.next().expect("the generated object is valid") {
        all += black_box(event).line.len();
    }
    all
}

#[divan::bench(args = OBJECTS)]
fn inflate(bencher: Bencher<'_, '_>, name: &str) {
    let (stored, bytes) = stored(name);
    let mut buffer = vec![0; 256 << 10];
    bencher.counter(BytesCount::new(bytes)).bench_local(|| inflate_all(black_box(&stored), &mut buffer));
}

#[divan::bench(args = OBJECTS)]
fn decode(bencher: Bencher<'_, '_>, name: &str) {
    let (stored, bytes) = stored(name);
    bencher.counter(BytesCount::new(bytes)).bench(|| decode_all(black_box(&stored)));
}

#[divan::bench(args = LARGE, sample_count = 10, ignore)]
fn inflate_large(bencher: Bencher<'_, '_>, name: &str) {
    inflate(bencher, name);
}

#[divan::bench(args = LARGE, sample_count = 10, ignore)]
fn decode_large(bencher: Bencher<'_, '_>, name: &str) {
    decode(bencher, name);
}
