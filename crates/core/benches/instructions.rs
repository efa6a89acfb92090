//! Counts instructions, which do not depend on the load of the machine, and compares them with the committed counts.
//! Decompression is compared with its committed count, so that a slower decompression is noticed. The other tasks are
//! compared with decompression in the same run, because processors select different instructions for it.
//!
//!     cargo bench -p trailhose-core --features filter-file --bench instructions              # prints a table
//!     cargo bench -p trailhose-core --features filter-file --bench instructions -- --check   # fails if a ratio has grown
//!     cargo bench -p trailhose-core --features filter-file --bench instructions -- --csv     # for docs/performance/instructions.csv
//!
//! Requires `valgrind`. Each task runs in a process of its own. The instructions of a process that only reads the files
//! are subtracted. The committed counts are for x86-64 with AVX2, where decompression is fastest.

use std::hint::black_box;
use std::io::Read;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use trailhose_core::decode::{DecodeLimits, EventReader};
use trailhose_core::event::filter::Filter;
use trailhose_core::generate::{ObjectSize, SyntheticBucket, SyntheticObject};
use trailhose_core::pack::{self, LinesPerRecord, Packer};

/// The committed number of instructions of the first task, for each of [`SETS`].
const INFLATE: [u64; 2] = [265_467_268, 564_464_268];

/// Maximum growth of a ratio before `--check` fails. Compilers differ by 2 to 3 %.
const TOLERANCE: f64 = 1.05;

/// The tasks, each with its committed ratio for each of [`SETS`]. The ratio of the first task is that of its
/// instructions to [`INFLATE`]. The ratios of the others are those of their instructions to the first task's.
const TASKS: [(&str, [f64; 2]); 5] = [
    ("inflate", [1.0, 1.0]),
    ("decode", [2.06, 1.50]),
    ("decode and pack", [2.11, 1.57]),
    ("decode, no filter", [2.06, 1.50]),
    ("decode, 50 rules", [2.48, 1.65]),
];

/// The sets of input files.
const SETS: [&str; 2] = ["one file of 50 MB", "4,000 files as measured"];

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --all-targets` also runs this program, without optimization. There is nothing to count.
    if arguments.iter().all(|argument| argument != "--bench" && argument != "--task") {
        return ExitCode::SUCCESS;
    }
    arguments.retain(|argument| argument != "--bench");
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--task", name, path] => run_task(name, Path::new(path)),
        [] => compare(Output::Table),
        ["--check"] => compare(Output::Check),
        ["--csv"] => compare(Output::Csv),
        _ => {
            eprintln!("invalid arguments: expected none, --check or --csv");
            ExitCode::FAILURE
        }
    }
}

/// The output of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Output {
    Table,
    Check,
    Csv,
}

fn compare(output: Output) -> ExitCode {
    if let Err(error) = Command::new("valgrind").arg("--version").output() {
        eprintln!("cannot run valgrind: {error}; install it (Debian: apt-get install valgrind)");
        return ExitCode::FAILURE;
    }
    let folder = tempfile::tempdir().expect("creating a temporary folder succeeds");
    let mut any_grown = false;
    match output {
        Output::Csv => println!("input,work,instructions,ratio"),
        _ => println!("{:<26}{:<18}{:>16}{:>9}{:>11}", "input", "work", "instructions", "ratio", "committed"),
    }
    for (set, name) in SETS.iter().enumerate() {
        let path = folder.path().join(set.to_string());
        write(set, &path);
        let (reading, counts) = std::thread::scope(|scope| {
            let path = &path;
            let start = |task| scope.spawn(move || count(task, path));
            let (reading, task_counts) = (start("read"), TASKS.map(|(task, _)| start(task)));
            let end = |counting: std::thread::ScopedJoinHandle<'_, u64>| counting.join().expect("callgrind succeeds");
            (end(reading), task_counts.map(end))
        });
        let counts = counts.map(|count| count.saturating_sub(reading));
        for ((task, committed), count) in TASKS.iter().zip(counts) {
            let base = if *task == TASKS[0].0 { INFLATE[set] } else { counts[0] };
            let ratio = count as f64 / base as f64;
            // A count of 0 means that nothing was measured.
            let is_within = ratio > 0.0 && ratio <= committed[set] * TOLERANCE;
            any_grown |= !is_within;
            match output {
                Output::Csv => println!("\"{name}\",{task},{count},{ratio:.3}"),
                _ => println!("{name:<26}{task:<18}{count:>16}{ratio:>9.3}{:>11.3}", committed[set]),
            }
        }
    }
    if output == Output::Check && any_grown {
        eprintln!(
            "a ratio has grown by more than 5 % or was not measured: find the cause, or commit the new ratio with the reason"
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Returns the number of instructions of one task, measured with callgrind.
fn count(task: &str, path: &Path) -> u64 {
    let this = std::env::current_exe().expect("the path of this program is known");
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(this).args(["--task", task]).arg(path);
    let out = command.output().expect("valgrind starts");
    let text = String::from_utf8_lossy(&out.stderr);
    let line = text.lines().find_map(|line| line.split_once("Collected : "));
    match line.map(|(_, count)| count.trim().parse()) {
        Some(Ok(count)) if out.status.success() => count,
        _ => panic!("unexpected output of callgrind:\n{text}"),
    }
}

/// Writes the files of a set, each preceded by its length.
fn write(set: usize, path: &Path) {
    let mut all = Vec::new();
    let mut push = |bytes: &[u8]| {
        all.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        all.extend_from_slice(bytes);
    };
    if set == 0 {
        let mut stored = Vec::new();
        SyntheticObject::new(1, ObjectSize::Bytes(50_000_000))
            .write_gzip(&mut stored)
            .expect("writing to memory succeeds");
        push(&stored);
    } else {
        SyntheticBucket::new(1, 4_000).files().for_each(|(_, stored)| push(&stored));
    }
    std::fs::write(path, all).expect("writing the files succeeds");
}

fn run_task(name: &str, path: &Path) -> ExitCode {
    let all = std::fs::read(path).expect("reading the file of the set succeeds");
    let mut buffer = vec![0; 256 << 10];
    let filter = if name == "decode, 50 rules" { fifty_rules() } else { Filter::default() };
    let mut rest = &all[..];
    while let Some((length, after)) = rest.split_first_chunk() {
        let (stored, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        rest = after;
        match name {
            "read" => _ = black_box(stored),
            "inflate" => inflate(stored, &mut buffer),
            "decode" => decode(stored, |_, _| {}),
            "decode and pack" => decode_and_pack(stored),
            "decode, no filter" | "decode, 50 rules" => decode_and_filter(stored, &filter),
            _ => return ExitCode::FAILURE,
        }
    }
    ExitCode::SUCCESS
}

fn inflate(stored: &[u8], buffer: &mut [u8]) {
    let mut decoder = flate2::bufread::MultiGzDecoder::new(stored);
    while decoder.read(buffer).expect("the generated object is valid") > 0 {
        black_box(&buffer);
    }
}

fn decode(stored: &[u8], mut each: impl FnMut(&[u8], u32)) {
    let mut events = EventReader::new(stored, DecodeLimits::default());
    while let Some(event) = events.next().expect("the generated object is valid") {
        let event = black_box(event);
        each(event.line, event.ordinal);
    }
}

fn decode_and_filter(stored: &[u8], filter: &Filter) {
    let mut events = EventReader::new(stored, DecodeLimits::default()).noting(filter.selected_fields());
    while let Some(event) = events.next().expect("the generated object is valid") {
        let event = black_box(event);
        black_box(filter.drops_event(&event));
    }
}

/// Returns a filter of 50 rules. Most of them drop calls of a service by certain roles, as rules against noise do. Ten
/// rules do not require a service, so they are compared with every event.
fn fifty_rules() -> Filter {
    let services = ["ec2", "kms", "s3", "sts", "lambda", "dynamodb", "logs", "iam", "ssm", "elasticloadbalancing"];
    let mut text = String::new();
    for number in 0..40 {
        let service = services[number % services.len()];
        text += &format!(
            "[[exclude]]\nwhen = [\n\
             {{ field = \"eventSource\", equals = \"{service}.amazonaws.com\" }},\n\
             {{ field = \"eventName\", any_of = [\"Decrypt\", \"GetObject\", \"AssumeRole\", \"Describe{number}\"] }},\n\
             {{ field = \"userIdentity.sessionContext.sessionIssuer.arn\", prefix = \"arn:aws:iam::111122223333:role/r{number}\" }},\n]\n"
        );
    }
    for number in 0..5 {
        text += &format!("[[exclude]]\nwhen = [{{ field = \"userAgent\", regex = \"^Boto3/[0-9]+\\\\.{number}\" }}]\n");
        text += &format!("[[exclude]]\nwhen = [{{ field = \"sourceIPAddress\", cidr = \"10.{number}.0.0/16\" }}]\n");
    }
    let filter = Filter::from_toml("fifty rules", &text).expect("the rules are valid");
    assert_eq!(filter.rules().count(), 50);
    filter
}

fn decode_and_pack(stored: &[u8]) {
    let limits = pack::PackLimits {
        record_bytes: 1_024_000,
        call_records: 500,
        call_bytes: 4 << 20,
        lines: LinesPerRecord::Many,
    };
    let mut packer = Packer::new(limits, Arc::default());
    decode(stored, |line, ordinal| {
        if let Some(full) = packer.push(line, ordinal, 0).expect("no line exceeds a record") {
            packer.recycle(black_box(full));
        }
    });
    black_box(packer.finish());
}
