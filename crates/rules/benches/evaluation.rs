//! Counts the instructions of evaluating rules over CloudTrail objects, relative to decoding them. The counts do not depend
//! on the load of the machine.
//!
//!     cargo bench -p trailhose-rules --bench evaluation                      # the rules of the project
//!     cargo bench -p trailhose-rules --bench evaluation -- --check           # fails if a ratio has grown
//!     cargo bench -p trailhose-rules --bench evaluation -- RULES             # the rules of a folder
//!     cargo bench -p trailhose-rules --bench evaluation -- RULES OBJECTS     # and the objects of a folder
//!
//! Requires `valgrind`. Each task runs in a process of its own. The instructions of a process that only reads the rules and
//! the objects are subtracted.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use trailhose_core::decode::{DecodeLimits, EventReader};
use trailhose_core::generate::{ObjectSize, SyntheticObject};
use trailhose_rules::RuleSet;

/// The tasks. Each has a committed ratio for the rules of the project: its instructions divided by those of the first task.
/// The last task is that of the follower, which reads delivered lines: it decodes, and evaluates each line without offsets.
const TASKS: [(&str, f64); 4] =
    [("decode", 1.0), ("decode, fields", 1.105), ("decode, rules", 1.165), ("decode, rules of lines", 1.605)];

/// Maximum growth of a ratio before `--check` fails. Compilers differ by 2 to 3 %.
const TOLERANCE: f64 = 1.05;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --all-targets` also runs this program, without optimization. There is nothing to count.
    if arguments.iter().all(|argument| argument != "--bench" && argument != "--task") {
        return ExitCode::SUCCESS;
    }
    match arguments.iter().map(String::as_str).filter(|argument| *argument != "--bench").collect::<Vec<_>>()[..] {
        ["--task", name, rules, objects] => run_task(name, Path::new(rules), Path::new(objects)),
        [] => _ = compare(&own_rules(), None),
        ["--check"] if !compare(&own_rules(), None) => {
            eprintln!(
                "a ratio has grown by more than 5 % or was not measured: find the cause, or commit the new ratio with the reason"
            );
            return ExitCode::FAILURE;
        }
        ["--check"] => {}
        [rules] => _ = compare(Path::new(rules), None),
        [rules, objects] => _ = compare(Path::new(rules), Some(Path::new(objects))),
        _ => {
            eprintln!("invalid arguments: expected --check or [RULES [OBJECTS]]");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn own_rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules")
}

/// Prints the ratios. Returns whether all are within the tolerance of the committed ones.
fn compare(rules: &Path, objects: Option<&Path>) -> bool {
    let folder = tempfile::tempdir().expect("creating a temporary folder succeeds");
    if objects.is_none() {
        let mut stored = Vec::new();
        let object = SyntheticObject::new(1, ObjectSize::Bytes(50_000_000));
        object.write_gzip(&mut stored).expect("writing to memory succeeds");
        std::fs::write(folder.path().join("generated.json.gz"), stored).expect("writing the object succeeds");
    }
    let objects = objects.unwrap_or(folder.path());
    let (reading, counts) = std::thread::scope(|scope| {
        let start = |task| scope.spawn(move || count(task, rules, objects));
        let (reading, counts) = (start("read"), TASKS.map(|(task, _)| start(task)));
        let end = |counting: std::thread::ScopedJoinHandle<'_, u64>| counting.join().expect("callgrind succeeds");
        (end(reading), counts.map(end))
    });
    let counts = counts.map(|count| count.saturating_sub(reading));
    println!("{:<26}{:>16}{:>9}{:>11}", "work", "instructions", "ratio", "committed");
    let mut is_within = true;
    for ((task, committed), count) in TASKS.iter().zip(counts) {
        let ratio = count as f64 / counts[0] as f64;
        println!("{task:<26}{count:>16}{ratio:>9.3}{committed:>11.3}");
        // A count of 0 means that nothing was measured.
        is_within &= ratio > 0.0 && ratio <= committed * TOLERANCE;
    }
    is_within
}

/// Returns the number of instructions of one task, measured with callgrind.
fn count(task: &str, rules: &Path, objects: &Path) -> u64 {
    let this = std::env::current_exe().expect("the path of this program is known");
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(this);
    let out = command.args(["--task", task]).args([rules, objects]).output().expect("valgrind starts");
    let text = String::from_utf8_lossy(&out.stderr);
    let line = text.lines().find_map(|line| line.split_once("Collected : "));
    match line.map(|(_, count)| count.trim().parse()) {
        Some(Ok(count)) if out.status.success() => {
            eprint!("{}", String::from_utf8_lossy(&out.stdout));
            count
        }
        _ => panic!("unexpected output of callgrind:\n{text}"),
    }
}

/// Returns the files of a folder with one of these extensions, in order.
fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder can be read");
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    let is_selected =
        |path: &PathBuf| path.extension().is_some_and(|found| extensions.iter().any(|extension| *extension == found));
    let mut selected: Vec<_> = paths.filter(is_selected).collect();
    selected.sort();
    selected
}

fn run_task(task: &str, rules: &Path, objects: &Path) {
    let read = |path: PathBuf| (path.display().to_string(), std::fs::read(&path).expect("the file can be read"));
    let loaded = RuleSet::load(files(rules, &["yml"]).into_iter().map(read));
    assert!(loaded.invalid.is_empty(), "{:?}", loaded.invalid);
    let (mut events, mut matches) = (0_u64, 0_u64);
    for path in files(objects, &["json", "gz"]) {
        let stored = black_box(std::fs::read(&path).expect("the object can be read"));
        if task == "read" {
            continue;
        }
        let fields = matches!(task, "decode, fields" | "decode, rules").then(|| loaded.rules.selected_fields());
        let mut reader = EventReader::new(&stored, DecodeLimits::default()).noting(fields);
        while let Some(event) = reader.next().expect("the object is valid") {
            let event = black_box(event);
            events += 1;
            matches += match (task, event.offsets) {
                ("decode, rules", Some(offsets)) => loaded.rules.evaluate_decoded(event.line, offsets).len() as u64,
                ("decode, rules" | "decode, rules of lines", None) => loaded.rules.evaluate(event.line).len() as u64,
                _ => 0,
            };
        }
    }
    if task == "decode, rules" {
        println!("{} rules, {events} events, {matches} matches", loaded.rules.rules().len());
    }
}
