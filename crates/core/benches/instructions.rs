//! Counts instructions, which a busy machine does not change, and compares their ratios with the committed ones.
//!
//!     cargo bench -p pure --bench instructions              # the table
//!     cargo bench -p pure --bench instructions -- --check   # fails if a ratio has grown beyond the tolerance
//!     cargo bench -p pure --bench instructions -- --csv     # the figures, for docs/performance/instructions.csv
//!
//! Needs `valgrind`. Built in a package of the pure rooms alone, this takes a minute and not ten. Each work is counted in a
//! process of its own, less one that only reads the files. The counts are
//! of x86-64 with AVX2, where inflating is quickest.

use std::hint::black_box;
use std::io::Read;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use trailhose_core::decode::{DecodeLimits, EventReader};
use trailhose_core::generate::{ObjectSize, SyntheticBucket, SyntheticObject};
use trailhose_core::pack::{self, LinesPerRecord, Packer};

/// By how much a ratio may grow before `--check` fails: compilers differ by two or three hundredths.
const TOLERANCE: f64 = 1.05;

/// The work, and the committed ratio of its instructions to those of the first: for each of [`SETS`].
const WORKS: [(&str, [f64; 2]); 3] =
    [("inflate", [1.0, 1.0]), ("decode", [2.06, 1.50]), ("decode and pack", [2.11, 1.57])];

const SETS: [&str; 2] = ["one file of 50 MB", "4,000 files as measured"];

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    // Built by the way, as by `cargo test --all-targets`, there is nothing worth counting.
    if arguments.iter().all(|argument| argument != "--bench" && argument != "--work") {
        return ExitCode::SUCCESS;
    }
    arguments.retain(|argument| argument != "--bench");
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--work", name, path] => work(name, Path::new(path)),
        [] => compare(Output::Table),
        ["--check"] => compare(Output::Check),
        ["--csv"] => compare(Output::Csv),
        _ => {
            eprintln!("expected nothing, --check or --csv");
            ExitCode::FAILURE
        }
    }
}

/// What is done with the counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Output {
    Table,
    Check,
    Csv,
}

fn compare(output: Output) -> ExitCode {
    if let Err(error) = Command::new("valgrind").arg("--version").output() {
        eprintln!("valgrind cannot be run: {error}; install it (Debian: apt-get install valgrind)");
        return ExitCode::FAILURE;
    }
    let folder = tempfile::tempdir().expect("a folder for the files");
    let mut grown = false;
    match output {
        Output::Csv => println!("input,work,instructions,ratio"),
        _ => println!("{:<26}{:<18}{:>16}{:>9}{:>11}", "input", "work", "instructions", "ratio", "committed"),
    }
    for (set, name) in SETS.iter().enumerate() {
        let path = folder.path().join(set.to_string());
        write(set, &path);
        let (reading, counts) = std::thread::scope(|scope| {
            let path = &path;
            let start = |work| scope.spawn(move || count(work, path));
            let (reading, works) = (start("read"), WORKS.map(|(work, _)| start(work)));
            let end = |counting: std::thread::ScopedJoinHandle<'_, u64>| counting.join().expect("callgrind counted");
            (end(reading), works.map(end))
        });
        let counts = counts.map(|count| count.saturating_sub(reading));
        for ((work, committed), count) in WORKS.iter().zip(counts) {
            let ratio = count as f64 / counts[0] as f64;
            grown |= ratio > committed[set] * TOLERANCE;
            match output {
                Output::Csv => println!("\"{name}\",{work},{count},{ratio:.3}"),
                _ => println!("{name:<26}{work:<18}{count:>16}{ratio:>9.3}{:>11.3}", committed[set]),
            }
        }
    }
    if output == Output::Check && grown {
        eprintln!(
            "a ratio has grown by more than a twentieth: see what costs it, or commit the new one with the reason"
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Instructions of this program doing one work, by callgrind.
fn count(work: &str, path: &Path) -> u64 {
    let this = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(this).args(["--work", work]).arg(path);
    let out = command.output().expect("valgrind ran before");
    let text = String::from_utf8_lossy(&out.stderr);
    let line = text.lines().find_map(|line| line.split_once("Collected : "));
    match line.map(|(_, count)| count.trim().parse()) {
        Some(Ok(count)) if out.status.success() => count,
        _ => panic!("callgrind said:\n{text}"),
    }
}

/// The files of a set, each after its length.
fn write(set: usize, path: &Path) {
    let mut all = Vec::new();
    let mut push = |bytes: &[u8]| {
        all.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        all.extend_from_slice(bytes);
    };
    if set == 0 {
        let mut stored = Vec::new();
        SyntheticObject::new(1, ObjectSize::Bytes(50_000_000)).write_gzip(&mut stored).expect("memory takes all");
        push(&stored);
    } else {
        SyntheticBucket::new(1, 4_000).files().for_each(|(_, stored)| push(&stored));
    }
    std::fs::write(path, all).expect("the folder takes the files");
}

fn work(name: &str, path: &Path) -> ExitCode {
    let all = std::fs::read(path).expect("the file of the set");
    let mut buffer = vec![0; 256 << 10];
    let mut rest = &all[..];
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (stored, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
        rest = behind;
        match name {
            "read" => _ = black_box(stored),
            "inflate" => inflate(stored, &mut buffer),
            "decode" => decode(stored, |_, _| {}),
            "decode and pack" => decode_and_pack(stored),
            _ => return ExitCode::FAILURE,
        }
    }
    ExitCode::SUCCESS
}

fn inflate(stored: &[u8], buffer: &mut [u8]) {
    let mut decoder = flate2::bufread::MultiGzDecoder::new(stored);
    while decoder.read(buffer).expect("what was made is sound") > 0 {
        black_box(&buffer);
    }
}

fn decode(stored: &[u8], mut each: impl FnMut(&[u8], u32)) {
    let mut events = EventReader::new(stored, DecodeLimits::default());
    while let Some(event) = events.next().expect("what was made is sound") {
        let event = black_box(event);
        each(event.line, event.ordinal);
    }
}

fn decode_and_pack(stored: &[u8]) {
    let limits = pack::PackLimits {
        record_bytes: 1_024_000,
        call_records: 500,
        call_bytes: 4 << 20,
        lines: LinesPerRecord::Packed,
    };
    let mut packer = Packer::new(limits, Arc::default());
    decode(stored, |line, ordinal| {
        if let Some(full) = packer.push(line, ordinal, 0).expect("no line is longer than a record") {
            packer.recycle(black_box(full));
        }
    });
    black_box(packer.finish());
}
