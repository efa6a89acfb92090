//! The files that `sync` delivered to: a full disk, files that a user removed, moved or damaged, and their rebuild.

mod laptop;

use laptop::{Bucket, Ran, assert_delivered, event, events, files, lines, run, text, trailhose};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns an event of about 20 KB.
fn large(number: u32) -> String {
    laptop::event(number).replace(r#""userAgent":""#, &format!(r#""userAgent":"{}"#, "y".repeat(20_000)))
}

/// Runs the program with a maximum file size. A write beyond it fails, as on a full disk.
fn run_with_file_limit(kilobytes: u32, args: &[&str]) -> Ran {
    let program = trailhose();
    let mut shell = Command::new("bash");
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    // Without a handler the signal would end the program. An ignored signal stays ignored in the program.
    let script = format!("trap '' XFSZ; ulimit -f {kilobytes}; exec \"$@\"");
    shell.args(["-c", &script, "bash"]).arg(program.get_program()).args(args);
    Ran(shell.output().expect("bash starts"))
}

fn stat(dest: &Path, name: &str) -> u64 {
    let ledger = dest.join(".trailhose/ledger.db");
    let stats = run(&["ledger", "stats", "--json", "--ledger", text(&ledger)]);
    stats.json()["contents"][name].as_u64().unwrap_or_else(|| panic!("{stats:?}"))
}

#[test]
fn summary_of_a_full_disk_counts_only_what_is_durable() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    bucket.put_log("0000", &laptop::events(0..10));
    let sync = |checkpoint| ["sync", text(bucket.path()), text(out.path()), "--json", "--checkpoint", checkpoint];
    assert_eq!(run(&sync("3600")).code(), 0);
    let all: Vec<_> = (10..400).map(large).chain(laptop::events(0..10)).collect();
    for (name, events) in all.chunks(10).enumerate() {
        bucket.put_log(&format!("{:04}", name + 1), events);
    }
    bucket.put("AWSLogs/111122223333/CloudTrail/eu-west-1/2026/11/01/111122223333_CloudTrail_eu-west-1_20261101T0005Z_cut.json", b"{\"Records\":[");
    // With one checkpoint at the end nothing of the run is durable, with many checkpoints the first ones are.
    for checkpoint in ["3600", "0.01"] {
        let before = (stat(out.path(), "delivered"), stat(out.path(), "done"));
        let full = run_with_file_limit(2_000, &sync(checkpoint));
        let said = full.json();
        assert_eq!((full.code(), &said["result"]), (1, &"aborted".into()), "{full:?}");
        let reason = said["reason"].as_str().unwrap();
        assert!(reason.contains("File too large") || reason.contains("rolled back"), "{reason}");
        let durable = (stat(out.path(), "delivered") - before.0, stat(out.path(), "done") - before.1);
        assert_eq!(
            (said["delivered"].as_u64(), said["objects"].as_u64()),
            (Some(durable.0), Some(durable.1)),
            "{said}"
        );
        assert!(said["rolled_back"].as_u64() > Some(0), "{said}");
        if checkpoint == "3600" {
            assert_eq!((&said["delivered"], &said["quarantined"]), (&0.into(), &serde_json::json!({})), "{said}");
        }
    }
    let table = run_with_file_limit(2_000, &sync("3600").map(|arg| if arg == "--json" { "--verbose" } else { arg }));
    assert!(table.out().contains("rolled back"), "{table:?}");
    assert_eq!(run(&sync("3600")).code(), 3, "the truncated object is quarantined");
    assert_delivered(out.path(), &all);
}

/// A bucket that was delivered to several files of each partition: one for each compression.
struct Delivered {
    bucket: Bucket,
    out: tempfile::TempDir,
    all: Vec<String>,
}

/// Objects with 300 events each. Half of the events of an object are in the object before it, and events of several
/// regions are in one object.
fn delivered() -> Delivered {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    let mut all = events(0..1_050);
    for (object, first) in (0u32..6).map(|object| (object, object * 150)) {
        let mut log: Vec<_> = (first..first + 300).map(|number| event(number * 11 % 1_050)).collect();
        // An event without a region: its partition depends on its object.
        let placeless = event(2_000 + object).replace("awsRegion", "noRegion");
        all.push(placeless.clone());
        log.push(placeless);
        bucket.put_log(&format!("{object}"), &log);
        let compress = ["none", "gzip", "zstd"][object as usize / 2];
        let args = ["sync", text(bucket.path()), text(out.path()), "--compress", compress, "--jobs", "1"];
        assert_eq!(run(&args).code(), 0);
    }
    assert!(files(out.path()).len() >= 9, "{:?}", files(out.path()));
    assert_delivered(out.path(), &all);
    Delivered { bucket, out, all }
}

/// Returns the lines of one file.
fn lines_of(file: &Path) -> HashMap<String, usize> {
    let alone = tempfile::tempdir().unwrap();
    std::fs::copy(file, alone.path().join(file.file_name().unwrap())).unwrap();
    lines(alone.path())
}

impl Delivered {
    fn sync(&self, options: &[&str]) -> Ran {
        run(&[&["sync", text(self.bucket.path()), text(self.out.path()), "--json"], options].concat())
    }

    fn verify(&self) -> Ran {
        run(&["ledger", "verify", text(self.out.path()), "--json"])
    }

    /// Returns a file of this compression and its number of events.
    fn file(&self, extension: &str) -> (PathBuf, usize) {
        let mut files = files(self.out.path());
        files.sort();
        let files = files.into_iter().filter(|file| file.to_str().unwrap().ends_with(extension));
        files.map(|file| (file.clone(), lines_of(&file).len())).find(|(_, events)| *events > 10).expect("a file")
    }

    fn assert_intact(&self) {
        assert_delivered(self.out.path(), &self.all);
        let verified = self.verify();
        assert_eq!((verified.code(), &verified.json()["events"]), (0, &self.all.len().into()), "{verified:?}");
    }
}

#[test]
fn deleted_files_are_reported_and_rebuilt_without_repeats() {
    let delivered = delivered();
    delivered.assert_intact();
    // The second deletion is in a partition that was rebuilt before.
    for (extension, deletions) in [(".jsonl.gz", 1), (".jsonl", 2), (".jsonl.zst", 3)] {
        let (mut file, mut events) = (PathBuf::new(), 0);
        for _ in 0..deletions.min(2) {
            let (next, count) = delivered.file(extension);
            std::fs::remove_file(&next).unwrap();
            (file, events) = (next, events + count);
        }
        let noticed = delivered.sync(&[]);
        let (err, said) = (noticed.err(), noticed.json());
        assert!(err.contains(&format!("{} is missing", file.display())) && err.contains("--rebuild"), "{noticed:?}");
        assert_eq!(
            (noticed.code(), &said["missing_files"], &said["delivered"]),
            (0, &deletions.min(2).into(), &0.into())
        );
        let verified = delivered.verify();
        assert_eq!((verified.code(), &verified.json()["missing"]), (1, &events.into()), "{verified:?}");

        let rebuilt = delivered.sync(&["--rebuild"]);
        let said = rebuilt.json();
        assert_eq!((rebuilt.code(), rebuilt.err()), (0, String::new()), "{rebuilt:?}");
        assert_eq!((&said["rebuild"]["events"], &said["delivered"]), (&events.into(), &events.into()), "{said}");
        delivered.assert_intact();
        let again = delivered.sync(&["--rebuild"]).json();
        assert_eq!((&again["rebuild"]["files"], &again["delivered"]), (&0.into(), &0.into()), "{again}");
    }
    for file in files(delivered.out.path()) {
        std::fs::remove_file(file).unwrap();
    }
    assert_eq!(delivered.sync(&["--rebuild"]).json()["delivered"], delivered.all.len());
    delivered.assert_intact();
}

#[test]
fn released_file_is_not_missing_and_not_rebuilt() {
    let mut delivered = delivered();
    let archive = tempfile::tempdir().unwrap();
    let (moved, events) = delivered.file(".jsonl.gz");
    std::fs::rename(&moved, archive.path().join(moved.file_name().unwrap())).unwrap();
    let refused = run(&["ledger", "release", text(&moved.with_file_name("other.jsonl")), "--yes"]);
    assert!(refused.code() == 2 && refused.err().contains("is not a committed file"), "{refused:?}");
    let released = run(&["ledger", "release", text(&moved), "--yes", "--json"]);
    assert_eq!((released.code(), &released.json()["events"]), (0, &events.into()), "{released:?}");
    let quiet = delivered.sync(&[]);
    assert_eq!((quiet.err(), &quiet.json()["missing_files"]), (String::new(), &0.into()), "{quiet:?}");
    assert_eq!(delivered.verify().code(), 0);

    // Another file of the same partition is deleted.
    let neighbor = files(moved.parent().unwrap()).remove(0);
    std::fs::remove_file(&neighbor).unwrap();
    assert_eq!(delivered.sync(&["--rebuild"]).code(), 0);
    let kept = tempfile::tempdir().unwrap();
    std::fs::copy(archive.path().join(moved.file_name().unwrap()), kept.path().join(moved.file_name().unwrap()))
        .unwrap();
    let released = lines(kept.path());
    delivered.all.retain(|event| !released.contains_key(event));
    delivered.assert_intact();
}

#[test]
fn damaged_file_is_named_and_never_rebuilt_over() {
    let delivered = delivered();
    let (file, events) = delivered.file(".jsonl");
    let intact = std::fs::read(&file).unwrap();
    // Bytes after the committed length belong to another program. They are not read and not removed.
    let longer = [&intact[..], b"foreign\n"].concat();
    std::fs::write(&file, &longer).unwrap();
    let verified = delivered.verify();
    let faulty = &verified.json()["faulty"];
    assert_eq!((verified.code(), faulty.as_array().unwrap().len()), (1, 1), "{verified:?}");
    assert_eq!((faulty[0]["path"].as_str(), &verified.json()["unknown"]), (file.to_str(), &0.into()), "{verified:?}");
    let fault = faulty[0]["fault"].as_str().unwrap();
    let length = format!("is {} bytes long, but {} bytes are committed", longer.len(), intact.len());
    assert!(fault.starts_with(&length) && fault.contains("The next sync neither reads nor removes"), "{fault}");
    assert_eq!(delivered.sync(&[]).err(), "");
    assert_eq!(std::fs::read(&file).unwrap(), longer);
    let at = intact.iter().position(|&byte| byte == b'x').unwrap();
    let mut changed = intact.clone();
    changed[at] = b'z';
    std::fs::write(&file, &changed).unwrap();
    assert_eq!(delivered.sync(&[]).err(), "", "the length is unchanged");
    let verified = delivered.verify();
    let faulty = &verified.json()["faulty"][0];
    assert_eq!((verified.code(), faulty["path"].as_str()), (1, file.to_str()), "{verified:?}");
    assert!(faulty["fault"].as_str().unwrap().starts_with("was changed"), "{faulty}");
    assert_eq!(faulty["events"], events);

    std::fs::write(&file, &intact[..intact.len() - 1]).unwrap();
    let warned = delivered.sync(&[]).err();
    let length = format!("is {} bytes long, but {} bytes are committed", intact.len() - 1, intact.len());
    assert!(warned.contains(&length) && warned.contains("damaged files are moved away first"), "{warned}");
    let refused = delivered.sync(&["--rebuild"]);
    assert!(refused.code() == 2 && refused.err().contains("move it away"), "{refused:?}");
    std::fs::rename(&file, file.with_extension("away")).unwrap();
    std::fs::remove_file(file.with_extension("away")).unwrap();
    assert_eq!(delivered.sync(&["--rebuild"]).code(), 0);
    delivered.assert_intact();
}

#[test]
fn files_that_the_ledger_did_not_write_are_counted_and_named() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    bucket.put_log("a", &events(0..3));
    assert_eq!(run(&["sync", text(bucket.path()), text(out.path())]).code(), 0);
    let partition = files(out.path()).remove(0).parent().unwrap().to_owned();
    for number in 0..6 {
        std::fs::write(partition.join(format!("copy-{number}.jsonl")), "{}\n").unwrap();
    }
    std::fs::write(out.path().join("notes.txt"), "").unwrap();
    let verified = run(&["ledger", "verify", text(out.path()), "--json"]);
    let (code, said) = (verified.code(), verified.json());
    assert_eq!((code, &said["foreign_files"], &said["files"]), (0, &7.into(), &1.into()), "a warning: {verified:?}");
    assert_eq!(said["foreign_names"].as_array().unwrap().len(), 5);
    assert_eq!(said["foreign_names"][0].as_str(), partition.join("copy-0.jsonl").to_str());
    let table = run(&["ledger", "verify", text(out.path())]).out();
    let rows: Vec<&str> = table.lines().filter(|line| line.contains("copy-") || line.contains("foreign")).collect();
    assert!(rows.len() == 6 && table.contains("and 2 more") && table.contains("as delivered"), "{table}");
    // Another ledger may deliver to the same folder. Its files are not foreign.
    let home = tempfile::tempdir().unwrap();
    let other = home.path().join("other.db");
    let both = ["sync", text(bucket.path()), text(out.path()), "--ledger", text(&other)];
    assert_eq!(run(&both).code(), 0);
    let said = run(&["ledger", "verify", text(out.path()), "--json"]).json();
    assert_eq!((&said["foreign_files"], &said["files"]), (&7.into(), &1.into()), "{said}");
    // They are counted and named, because the ledger of this command does not know their events.
    assert_eq!((&said["other_ledger_files"], said["other_ledger_names"].as_array().unwrap().len()), (&1.into(), 1));
    let table = run(&["ledger", "verify", text(out.path())]);
    assert!(table.code() == 0 && table.out().contains("of other ledgers"), "{table:?}");
    assert!(table.out().contains(said["other_ledger_names"][0].as_str().unwrap()), "{table:?}");
}

/// A checkpoint that a kill interrupted leaves bytes and files that are not committed. They are no fault.
#[test]
fn bytes_of_an_interrupted_checkpoint_are_neither_a_fault_nor_foreign() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    bucket.put_log("a", &events(0..3));
    let sync = || run(&["sync", text(bucket.path()), text(out.path()), "--json"]);
    assert_eq!(sync().code(), 0);
    let file = files(out.path()).remove(0);
    let whole = std::fs::read(&file).unwrap();
    let state = out.path().join(".trailhose");
    let is_intent = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    let intent = std::fs::read_dir(state).unwrap().map(|entry| entry.unwrap().path()).find(is_intent).unwrap();
    let mut next: serde_json::Value =
        serde_json::from_slice(std::fs::read(&intent).unwrap().split(|&byte| byte == b'\n').next().unwrap()).unwrap();
    next["checkpoint"] = (next["checkpoint"].as_u64().unwrap() + 1).into();
    let relative = |path: &Path| text(path.strip_prefix(out.path().canonicalize().unwrap()).unwrap()).to_owned();
    let file = file.canonicalize().unwrap();
    let fresh = file.with_file_name(file.file_name().unwrap().to_str().unwrap().replace("00000001", "00000002"));
    next["files"] = serde_json::json!([relative(&file), relative(&fresh)]);
    std::fs::write(&intent, next.to_string()).unwrap();
    std::fs::write(&file, [&whole[..], b"{\"cut"].concat()).unwrap();
    std::fs::write(&fresh, b"{\"cut").unwrap();
    let verified = run(&["ledger", "verify", text(out.path()), "--json"]);
    assert_eq!((verified.code(), &verified.json()["foreign_files"]), (0, &0.into()), "{verified:?}");
    // The next sync removes them, as it does after a kill.
    assert_eq!(sync().code(), 0);
    assert_eq!(std::fs::read(&file).unwrap(), whole);
    assert!(!fresh.exists());
}

#[test]
fn file_that_was_replaced_by_a_folder_is_named_with_what_to_do() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    bucket.put_log("a", &events(0..3));
    let sync = |options: &[&str]| run(&[&["sync", text(bucket.path()), text(out.path()), "--json"], options].concat());
    assert_eq!(sync(&[]).code(), 0);
    let file = files(out.path()).remove(0);
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let (path, advice) = (text(&file).to_owned(), "Move the folder out of the destination");
    bucket.put_log("b", &events(3..5));
    let ran = sync(&[]);
    assert_eq!(
        (ran.code(), &ran.json()["missing_files"], &ran.json()["delivered"]),
        (1, &1.into(), &0.into()),
        "{ran:?}"
    );
    let reason = ran.json()["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains(&path) && reason.contains("it is a folder") && reason.contains(advice), "{reason}");
    assert!(ran.err().contains(&format!("{path} is a folder: ")), "{ran:?}");
    let verified = run(&["ledger", "verify", text(out.path()), "--json"]);
    let fault = verified.json()["faulty"][0]["fault"].as_str().unwrap().to_owned();
    assert!(verified.code() == 1 && fault.contains(advice), "{verified:?}");
    // What the message says works.
    std::fs::remove_dir(&file).unwrap();
    assert_eq!(sync(&["--rebuild"]).code(), 0);
    assert_delivered(out.path(), &events(0..5));
}

/// A new ledger for a folder with delivered files, and an empty file in place of the ledger.
#[test]
fn new_ledger_for_delivered_files_is_reported() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    bucket.put_log("0", &events(0..10));
    let ledger = out.path().join(".trailhose/ledger.db");
    let sync = |ledger: &Path| run(&["sync", text(bucket.path()), text(out.path()), "--ledger", text(ledger)]);
    for _ in 0..2 {
        let ran = sync(&ledger);
        assert_eq!((ran.code(), ran.err()), (0, String::new()), "the folder's own ledger");
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let other = elsewhere.path().join("other.db");
    let (first, second) = (sync(&other), sync(&other));
    assert!(first.err().contains("already contains delivered files") && first.err().contains("--ledger"), "{first:?}");
    assert_eq!(second.err(), "", "only the first run creates a ledger");
    let empty = elsewhere.path().join("empty.db");
    std::fs::write(&empty, "").unwrap();
    let emptied = sync(&empty);
    assert!(emptied.err().contains("was an empty file") && emptied.err().contains("restore it"), "{emptied:?}");
    assert!(emptied.err().contains("already contains delivered files"), "{emptied:?}");
}

/// The owner of missing events left the source. Later runs and `verify` report the events until they are delivered.
#[test]
fn event_whose_owner_left_the_source_is_reported_until_it_is_delivered() {
    // The copy contains half of the events. It owns none of them, so a rebuild does not reset it.
    let delivered = Delivered { bucket: Bucket::new(), out: tempfile::tempdir().unwrap(), all: events(0..20) };
    for (name, log) in [("owner", &delivered.all[..]), ("copy", &delivered.all[10..])] {
        delivered.bucket.put_log(name, log);
        assert_eq!(delivered.sync(&[]).code(), 0);
    }
    files(delivered.out.path()).into_iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let object = laptop::key("111122223333", "CloudTrail", "eu-west-1", "2026-11-01", "owner");
    let (at, away) = (delivered.bucket.path().join(&object), delivered.bucket.path().with_extension("away"));
    std::fs::rename(&at, &away).unwrap();
    // The events are reported also by a run whose selection does not contain the object.
    for options in [&["--rebuild"][..], &[], &["--since", "2026-11-02", "--allow-empty"]] {
        let ran = delivered.sync(options);
        let said = &ran.json()["not_rebuilt"];
        assert_eq!((ran.code(), &said["events"]), (1, &20.into()), "{ran:?}");
        assert!(said["objects"][0].as_str().unwrap().contains(&object), "{said}");
        assert!(ran.err().contains(&object) && ran.err().contains("rerun with --rebuild"), "{ran:?}");
        let verified = delivered.verify();
        let said = verified.json();
        assert_eq!((verified.code(), &said["not_rebuilt"]), (1, &20.into()), "{said}");
        assert!(said["not_rebuilt_objects"][0].as_str().unwrap().contains(&object), "{said}");
    }
    // The owner cannot be looked up by a run over another source, so it keeps its events.
    let elsewhere = Bucket::new();
    let other = run(&["sync", text(elsewhere.path()), text(delivered.out.path()), "--rebuild", "--json"]);
    assert_eq!((other.code(), &other.json()["rebuild"]["events"]), (1, &0.into()), "{other:?}");
    // The next rebuild finds that the owner is gone, and the copy delivers the events that it contains.
    let rebuilt = delivered.sync(&["--rebuild"]);
    let said = rebuilt.json();
    assert_eq!((rebuilt.code(), &said["rebuild"]["events"], &said["delivered"]), (1, &20.into(), &10.into()), "{said}");
    assert_eq!(said["not_rebuilt"]["events"], 10, "{said}");
    // No other object contains the others. A further rebuild reads nothing again.
    let same = delivered.sync(&["--rebuild"]).json();
    assert_eq!((&same["objects"], &same["not_rebuilt"]["events"]), (&0.into(), &10.into()), "{same}");
    // They are delivered when their object is found again.
    std::fs::rename(&away, &at).unwrap();
    let found = delivered.sync(&[]);
    assert_eq!((found.code(), &found.json()["delivered"]), (0, &10.into()), "{found:?}");
    delivered.assert_intact();
}

/// A person accepts that the events stay undelivered.
#[test]
fn accepted_loss_of_a_rebuild_is_not_reported() {
    let mut delivered = delivered();
    let (file, _) = delivered.file(".jsonl");
    let lost = lines_of(&file);
    std::fs::remove_file(&file).unwrap();
    for object in ["0", "1"] {
        let object = laptop::key("111122223333", "CloudTrail", "eu-west-1", "2026-11-01", object);
        std::fs::remove_file(delivered.bucket.path().join(&object)).unwrap();
    }
    assert_eq!(delivered.sync(&["--rebuild"]).code(), 1);
    let left = delivered.sync(&["--rebuild"]).json()["not_rebuilt"]["events"].as_u64().unwrap();
    let release = |options: &[&str]| {
        run(&[&["ledger", "release", "--not-rebuilt", text(delivered.out.path()), "--json"], options].concat())
    };
    let asked = release(&[]);
    assert!(asked.code() == 2 && asked.err().contains("--yes"), "{asked:?}");
    assert_eq!(delivered.sync(&[]).code(), 1, "nothing is accepted without a confirmation");
    let accepted = release(&["--yes"]);
    assert_eq!((accepted.code(), accepted.json()["events"].as_u64()), (0, Some(left)), "{accepted:?}");
    let quiet = delivered.sync(&[]);
    assert_eq!((quiet.code(), quiet.json()["not_rebuilt"]["events"].as_u64()), (0, Some(0)), "{quiet:?}");
    let present = lines(delivered.out.path());
    delivered.all.retain(|event| present.contains_key(event) || !lost.contains_key(event));
    delivered.assert_intact();
}

/// The ledger does not record for which object a helper delivered an event.
#[tokio::test]
async fn event_of_a_helper_is_rebuilt_from_any_object() {
    use trailhose::ledger::inspect::scan::{LedgerScan, ScanFilter};
    use trailhose::ledger::model::page::{Owner, Version};
    use trailhose::ledger::store::Store;
    use trailhose::ledger::store::sqlite::{CommitMode, Sqlite};
    let delivered = delivered();
    {
        let store = Sqlite::open(&delivered.out.path().join(".trailhose/ledger.db"), CommitMode::Durable).unwrap();
        for (name, mut page) in store.scan(&ScanFilter::Pages, None, 1_000).await.unwrap().pages {
            let read = page.version;
            page.version = Version(read.0.wrapping_add(1));
            let third = page.entries.values_mut().step_by(3);
            third.for_each(|entry| entry.owner = Owner::Delivered);
            store.write_page(&name, Some(read), &page).await.unwrap();
        }
    }
    delivered.assert_intact();
    let (file, events) = delivered.file(".jsonl.gz");
    std::fs::remove_file(file).unwrap();
    let rebuilt = delivered.sync(&["--rebuild"]);
    let said = rebuilt.json();
    assert_eq!((&said["rebuild"]["objects"], &said["delivered"]), (&6.into(), &events.into()), "{said}");
    delivered.assert_intact();
}
