//! Counts the instructions of evaluating rules over CloudTrail objects, relative to decoding them. The counts do not depend
//! on the load of the machine.
//!
//!     cargo bench -p trailhose-rules --bench evaluation                      # the rules of the project
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

/// The tasks. The ratio of each is that of its instructions to those of the first.
const TASKS: [&str; 3] = ["decode", "decode, members", "decode, rules"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --all-targets` also runs this program, without optimization. There is nothing to count.
    if arguments.iter().all(|argument| argument != "--bench" && argument != "--task") {
        return ExitCode::SUCCESS;
    }
    match arguments.iter().map(String::as_str).filter(|argument| *argument != "--bench").collect::<Vec<_>>()[..] {
        ["--task", name, rules, objects] => run_task(name, Path::new(rules), Path::new(objects)),
        [] => compare(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules"), None),
        [rules] => compare(Path::new(rules), None),
        [rules, objects] => compare(Path::new(rules), Some(Path::new(objects))),
        _ => {
            eprintln!("invalid arguments: expected [RULES [OBJECTS]]");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn compare(rules: &Path, objects: Option<&Path>) {
    let folder = tempfile::tempdir().expect("creating a temporary folder succeeds");
    if objects.is_none() {
        let mut stored = Vec::new();
        let object = SyntheticObject::new(1, ObjectSize::Bytes(50_000_000));
        object.write_gzip(&mut stored).expect("writing to memory succeeds");
        std::fs::write(folder.path().join("generated.json.gz"), stored).expect("writing the object succeeds");
    }
    let objects = objects.unwrap_or(folder.path());
    let (reading, counts) = (count("read", rules, objects), TASKS.map(|task| count(task, rules, objects)));
    let counts = counts.map(|count| count.saturating_sub(reading));
    println!("{:<18}{:>16}{:>9}", "work", "instructions", "ratio");
    for (task, count) in TASKS.iter().zip(counts) {
        println!("{task:<18}{count:>16}{:>9.3}", count as f64 / counts[0] as f64);
    }
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
        let mut reader = EventReader::new(&stored, DecodeLimits::default()).recording_members(task != "decode");
        while let Some(event) = reader.next().expect("the object is valid") {
            let event = black_box(event);
            events += 1;
            if task == "decode, rules" {
                let members = event.members.unwrap_or_default();
                matches += loaded.rules.evaluate_recorded(event.line, members).len() as u64;
            }
        }
    }
    if task == "decode, rules" {
        println!("{} rules, {events} events, {matches} matches", loaded.rules.rules().len());
    }
}
