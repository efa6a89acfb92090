//! How long decoding takes beside inflating alone, with the same engine and buffer, in the same run.
//!
//!     cargo bench --bench decode
//!     cargo bench --bench decode -- --include-ignored     # with 200 MB
//!     cargo bench --bench decode -- decode                # what has this in its name
//!
//! The ratio of the two is what counts; milliseconds are the machine's. Files are made from fixed seeds.

use divan::{Bencher, black_box, counter::BytesCount};
use pure::decode::{Events, Limits};
use pure::generate::{Object, Size, Variety};
use std::io::Read;

fn main() {
    divan::main();
}

/// An object of the bench, by name.
const OBJECTS: [&str; 6] = ["1 event", "0.5 MB", "5 MB", "5 MB, all alike", "5 MB, all different", "50 MB"];

fn object(name: &str) -> Object {
    let size = match name {
        "1 event" => Size::Events(1),
        "0.5 MB" => Size::Bytes(500_000),
        "50 MB" => Size::Bytes(50_000_000),
        "200 MB" => Size::Bytes(200_000_000),
        _ => Size::Bytes(5_000_000),
    };
    let variety = match name {
        "5 MB, all alike" => Variety::Alike,
        "5 MB, all different" => Variety::Varied,
        _ => Variety::Usual,
    };
    Object { variety, ..Object::new(1, size) }
}

/// The object as it lies in a bucket, and the size of its JSON.
fn stored(name: &str) -> (Vec<u8>, u64) {
    let mut stored = Vec::new();
    let written = object(name).write_gzip(&mut stored).expect("memory takes all");
    (stored, written.bytes)
}

fn inflate_all(stored: &[u8], buffer: &mut [u8]) -> usize {
    let mut decoder = flate2::bufread::MultiGzDecoder::new(stored);
    let mut all = 0;
    loop {
        match decoder.read(buffer).expect("what was made is sound") {
            0 => return all,
            read => all += read,
        }
    }
}

fn decode_all(stored: &[u8]) -> usize {
    let mut events = Events::new(stored, Limits::default());
    let mut all = 0;
    while let Some(event) = events.next().expect("what was made is sound") {
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

#[divan::bench(args = ["200 MB"], sample_count = 10, ignore)]
fn inflate_large(bencher: Bencher<'_, '_>, name: &str) {
    inflate(bencher, name);
}

#[divan::bench(args = ["200 MB"], sample_count = 10, ignore)]
fn decode_large(bencher: Bencher<'_, '_>, name: &str) {
    decode(bencher, name);
}
