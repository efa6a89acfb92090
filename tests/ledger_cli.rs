//! `trailhose ledger`: inspection and changes, with the same results for an SQLite file and a DynamoDB table.

mod bed;
mod laptop;

use bed::emulator::Emulator;
use bed::table;
use laptop::{Bucket, Ran, as_another_user, events, gzip, lines, log, text, trailhose};
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;

/// A synced bucket and its ledger.
struct Synced {
    bucket: Bucket,
    out: TempDir,
    ledger: String,
    endpoint: Option<String>,
    a: PathBuf,
    bad: PathBuf,
}

impl Synced {
    /// Creates three logs: `a` with events 0 to 2, `b` with 2 to 4, and one with a corrupt byte.
    fn new(ledger: Option<(&str, &Emulator)>) -> Self {
        let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
        let a = bucket.put_log("a", &events(0..3));
        bucket.put_log("b", &events(2..5));
        let mut whole = gzip(&log(&events(10..12)));
        whole[12] ^= 0xff;
        let bad = bucket.put_log("c", &[]);
        std::fs::write(&bad, whole).unwrap();
        let (ledger, endpoint) = match ledger {
            None => (text(&out.path().join(".trailhose/ledger.db")).to_owned(), None),
            Some((table, emulator)) => (format!("dynamodb://{table}"), Some(emulator.endpoint())),
        };
        let synced = Self { bucket, out, ledger, endpoint, a, bad };
        let ran = synced.sync();
        assert_eq!(ran.code(), 3, "{ran:?}");
        synced
    }

    fn run(&self, args: &[&str]) -> Ran {
        let mut command = trailhose();
        if let Some(endpoint) = &self.endpoint {
            command.env_remove("AWS_PROFILE").env("AWS_ENDPOINT_URL", endpoint).env("AWS_REGION", bed::REGION);
            command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        }
        Ran(command.args(args).stdin(Stdio::null()).output().unwrap())
    }

    fn sync(&self) -> Ran {
        let (from, to) = (text(self.bucket.path()), text(self.out.path()));
        self.run(&["sync", from, to, "--ledger", &self.ledger, "--json"])
    }

    fn ledger(&self, args: &[&str]) -> Ran {
        self.run(&[&["ledger"], args, &["--ledger", &self.ledger, "--json"]].concat())
    }

    /// Runs a ledger command without `--json`.
    fn ledger_text(&self, args: &[&str]) -> Ran {
        self.run(&[&["ledger"], args, &["--ledger", &self.ledger]].concat())
    }

    fn times(&self, event: &str) -> usize {
        lines(self.out.path()).get(event).copied().unwrap_or(0)
    }
}

fn each(ran: &Ran) -> Vec<Value> {
    ran.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn etag(value: &Value) -> String {
    value["object"].as_str().unwrap().rsplit_once('#').unwrap().1.to_owned()
}

/// Writes other bytes of the same length into a file and keeps its modification time, so that its version is unchanged.
fn repair(path: &Path, bytes: &[u8]) {
    let written = std::fs::metadata(path).unwrap().modified().unwrap();
    std::fs::write(path, bytes).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(written).unwrap();
}

/// Accepts a quarantined object, checks that it is listed, counted, kept by `retry --all` and without effect on the exit
/// code, and withdraws this.
fn accept(synced: &Synced, bad: &str, scan: &[&str]) {
    for args in [&["accept", bad][..], &["accept", bad, "--reason", " "]] {
        let refused = synced.ledger(&[&["quarantine"], args].concat());
        assert!(refused.code() == 2 && refused.err().contains("reason"), "{refused:?}");
    }
    let wrong = synced.ledger(&["quarantine", "accept", text(&synced.a), "--reason", "x"]);
    assert!(wrong.code() == 2 && wrong.err().contains("is not quarantined"), "{wrong:?}");
    let accepted = synced.ledger(&["quarantine", "accept", bad, "--reason", "truncated at the source"]);
    assert_eq!((accepted.code(), &accepted.json()["status"]), (0, &"accepted".into()), "{accepted:?}");

    let ran = synced.sync();
    let said = ran.json();
    assert_eq!((ran.code(), &said["exit_code"], &said["quarantined_accepted"]), (0, &0.into(), &1.into()), "{ran:?}");
    assert_eq!((&said["quarantined_before"], ran.err().as_str()), (&0.into(), ""), "{ran:?}");
    let listed = each(&synced.ledger(&["quarantine", "list"]));
    assert_eq!((listed.len(), &listed[0]["accepted"]), (1, &"truncated at the source".into()));
    let line = synced.ledger_text(&["quarantine", "list"]);
    assert!(line.out().ends_with("(accepted: truncated at the source)\n"), "{line:?}");
    assert!(line.err().contains("1 object is quarantined, 1 of them accepted"), "{line:?}");
    let contents = &synced.ledger(&[&["stats"], scan].concat()).json()["contents"];
    assert_eq!((&contents["quarantined"], &contents["accepted"]), (&1.into(), &1.into()), "{contents}");
    let retried = synced.ledger(&["quarantine", "retry", "--all", "--yes"]);
    assert_eq!((retried.code(), retried.out().as_str()), (0, ""), "an accepted object is reopened only by its name");

    let withdrawn = synced.ledger(&["quarantine", "accept", bad, "--undo"]);
    assert_eq!((withdrawn.code(), &withdrawn.json()["status"]), (0, &"quarantined".into()), "{withdrawn:?}");
    let ran = synced.sync();
    assert_eq!((ran.code(), &ran.json()["quarantined_before"]), (3, &1.into()), "{ran:?}");
}

fn everything(synced: &Synced, scan: &[&str]) {
    // Stats.
    let stats = synced.ledger(&[&["stats"], scan].concat());
    let said = stats.json();
    let contents = &said["contents"];
    for (name, count) in
        [("objects", 3), ("done", 2), ("open", 0), ("quarantined", 1), ("leased", 0), ("seen", 6), ("delivered", 5)]
    {
        assert_eq!(contents[name], count, "{name} in {said}");
    }
    assert_eq!((&contents["ids"], &contents["pages"]), (&5.into(), &1.into()), "{said}");
    let table = synced.ledger_text(&[&["stats"], scan].concat()).out();
    assert!(table.contains("1 ") && table.contains("event IDs") && table.contains("duplicates"), "{table}");

    // Show.
    let shown = synced.ledger(&["show", text(&synced.a)]);
    assert_eq!(shown.code(), 0, "{shown:?}");
    let a = shown.json();
    assert_eq!((&a["status"], &a["seen"], &a["cursor"]), (&"done".into(), &3.into(), &Value::Null));
    let named = format!("{}#{}", text(&synced.a), etag(&a));
    assert_eq!(synced.ledger(&["show", &named]).json(), a);
    let unknown = synced.ledger(&["show", &format!("{}#2f-18a", text(&synced.a))]);
    assert_eq!((unknown.code(), unknown.out().as_str()), (1, ""));
    assert!(unknown.err().contains("not started"), "{unknown:?}");

    // Events.
    let id = |number: u32| format!("00000000-0000-4000-8000-{number:012x}");
    let scope = ["--account", "111122223333", "--region", "eu-west-0", "--time", "2026-11-01T10:00:00Z"];
    let found = synced.ledger(&[&["event", &id(4)], &scope[..]].concat());
    let event = found.json();
    assert_eq!((&event["delivered"], &event["ordinal"]), (&true.into(), &Value::Null));
    assert!(event["owner"].as_str().unwrap().contains("_b000"), "{event}");
    assert!(event["page"].as_str().unwrap().starts_with("111122223333/eu-west-0/"), "{event}");
    assert_eq!(synced.ledger(&["event", &id(4), "--scan"]).json(), event);
    let four = id(4);
    let late = [&["event", &four, "--minutes", "47"], &scope[..5], &["2026-11-01T10:47:59Z"]].concat();
    assert_eq!(synced.ledger(&late).json(), event);
    let elsewhere = [&["event", &four, "--minutes", "7"], &scope[..5], &["2026-11-01T10:47:59Z"]].concat();
    assert_eq!(synced.ledger(&elsewhere).code(), 1);
    assert_eq!(synced.ledger(&["event", &id(10), "--scan"]).code(), 1, "event of an object that was never read");
    let bare = synced.ledger(&["event", &id(4)]);
    assert!(bare.code() == 2 && bare.err().contains("--account"), "{bare:?}");

    // Quarantine: listed, not reopened without confirmation, reopened, repaired, delivered.
    let listed = each(&synced.ledger(&["quarantine", "list"]));
    assert_eq!(listed.len(), 1);
    let bad = listed[0]["object"].as_str().unwrap();
    assert!(bad.starts_with(text(&synced.bad)) && listed[0]["reason"].as_str().unwrap().contains("byte"), "{bad}");
    let asked = synced.ledger(&["quarantine", "retry", "--all"]);
    assert!(asked.code() == 2 && asked.err().contains("--yes"), "{asked:?}");
    assert!(asked.err().contains("delivered before they were quarantined will be delivered again."), "{asked:?}");
    let wrong = synced.ledger(&["quarantine", "retry", text(&synced.a), "--yes"]);
    assert!(wrong.code() == 2 && wrong.err().contains("is not quarantined"), "{wrong:?}");
    let since: jiff::Timestamp = listed[0]["quarantined_at"].as_str().unwrap().parse().unwrap();
    assert!(since.duration_until(jiff::Timestamp::now()).abs() < jiff::SignedDuration::from_mins(10), "{since}");
    let line = synced.ledger_text(&["quarantine", "list"]);
    assert!(line.out().starts_with(&format!("{since}  {bad}  gzip: ")), "{line:?}");
    assert_eq!(synced.sync().json()["quarantined_before"], 1);
    accept(synced, bad, scan);
    repair(&synced.bad, &gzip(&log(&events(10..12))));
    let retried = synced.ledger(&["quarantine", "retry", bad, "--yes"]);
    assert_eq!((retried.code(), &retried.json()["status"]), (0, &"open".into()));
    assert!(each(&synced.ledger(&["quarantine", "list"])).is_empty());
    let again = synced.sync();
    assert_eq!((again.code(), &again.json()["delivered"]), (0, &2.into()), "{again:?}");

    // Reset: only the events that the object owns are delivered again.
    let asked = synced.ledger(&["reset", &named]);
    assert!(
        asked.code() == 2 && asked.err().contains("that it delivered will be delivered again. There is no"),
        "{asked:?}"
    );
    assert_eq!(synced.ledger(&["show", &named]).json()["status"], "done");
    let owned = a["delivered"].as_u64().unwrap();
    let reset = synced.ledger(&["reset", &named, "--yes"]);
    assert_eq!((reset.code(), &reset.json()["status"]), (0, &"open".into()), "{reset:?}");
    assert_eq!(synced.sync().json()["delivered"], owned);
    assert_eq!(synced.times(&laptop::event(0)), 2);
    assert_eq!(synced.times(&laptop::event(3)) + synced.times(&laptop::event(4)), 2, "events of b, once each");

    // A replaced file has two versions.
    std::fs::write(&synced.a, gzip(&log(&events(0..4)))).unwrap();
    assert_eq!(synced.sync().code(), 0);
    let both = each(&synced.ledger(&[&["show", text(&synced.a)], scan].concat()));
    assert_eq!(both.len(), 2, "{both:?}");
    let which = synced.ledger(&[&["reset", text(&synced.a), "--yes"], scan].concat());
    assert!(which.code() == 2 && which.err().contains("2 versions"), "{which:?}");
}

#[test]
fn sqlite_ledger_is_inspected_and_changed() {
    let synced = Synced::new(None);
    assert_eq!(synced.ledger(&["stats"]).json()["quarantined"], 1);
    everything(&synced, &[]);
    let stranger = synced.run(&["ledger", "stats", "--ledger", text(&synced.a)]);
    assert!(
        stranger.code() == 2 && stranger.err().contains("is not an SQLite file (it starts with the bytes 1f 8b"),
        "{stranger:?}"
    );
    let absent =
        synced.run(&["ledger", "reset", "s3://b/k", "--yes", "--ledger", text(&synced.out.path().join("none.db"))]);
    assert!(absent.code() == 2 && absent.err().contains("does not exist"), "{absent:?}");
    assert!(!synced.out.path().join("none.db").exists(), "inspection creates no file");
    let unnamed = synced.run(&["ledger", "stats"]);
    assert!(unnamed.code() == 2 && unnamed.err().contains("--ledger"), "{unnamed:?}");
}

#[test]
fn name_that_list_prints_is_accepted_by_explain() {
    let synced = Synced::new(None);
    let listed = each(&synced.ledger(&["quarantine", "list"])).remove(0);
    let named = listed["object"].as_str().unwrap();
    let explained = synced.run(&["explain", named, "--ledger", &synced.ledger, "--json"]);
    assert!(explained.code() == 3 && explained.err().is_empty(), "{explained:?}");
    let command = format!("trailhose ledger quarantine retry '{named}' --ledger {}", synced.ledger);
    assert!(explained.json()["verdict"].as_str().unwrap().contains(&command), "{command}: {explained:?}");
    std::fs::write(&synced.bad, "replaced").unwrap();
    let explained = synced.run(&["explain", named]);
    assert!(explained.err().contains("the object was replaced: its ETag is 8-"), "{explained:?}");
}

/// Texts that recommend another ledger. None may be in an error about a file that may be the right ledger.
const ANOTHER_LEDGER: [&str; 3] = ["another file", "different file", "different ledger"];

fn assert_refused(ran: &Ran, expected: &str) {
    let said = ran.err();
    assert_eq!((ran.code(), said.lines().count(), ran.out().as_str()), (2, 1, ""), "{ran:?}");
    assert!(said.contains(expected), "{expected}: {said}");
    assert!(ANOTHER_LEDGER.iter().all(|text| !said.contains(text)), "{said}");
}

#[test]
fn every_reason_why_a_ledger_cannot_be_used_is_distinguished() {
    let synced = Synced::new(None);
    let ledger = PathBuf::from(&synced.ledger);
    let (from, to) = (text(synced.bucket.path()), text(synced.out.path()));
    let both = |expected: &str| {
        assert_refused(&synced.run(&["ledger", "stats", "--ledger", &synced.ledger]), expected);
        assert_refused(&synced.run(&["sync", from, to, "--ledger", &synced.ledger]), expected);
    };
    let whole = std::fs::read(&ledger).unwrap();

    let mut damaged = whole.clone();
    damaged[100..200].fill(0xff);
    std::fs::write(&ledger, damaged).unwrap();
    both("is damaged: ");

    std::fs::write(&ledger, [b"garbage ", &whole[8..]].concat()).unwrap();
    both(
        "is not an SQLite file (it starts with the bytes 67 61 72 62): check the path. If it was the ledger, its start",
    );

    std::fs::write(&ledger, &whole).unwrap();
    let other = rusqlite::Connection::open(&ledger).unwrap();
    other.execute_batch("UPDATE meta SET value = '99' WHERE name = 'format'").unwrap();
    both("a newer version of trailhose wrote the ledger");
    other.execute_batch("UPDATE meta SET value = '1' WHERE name = 'format'").unwrap();

    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let locked = synced.run(&["sync", from, to, "--ledger", &synced.ledger]);
    assert_refused(&locked, "another program, such as an SQLite shell or a backup, has locked the ledger");
    other.execute_batch("ROLLBACK").unwrap();
    drop(other);

    std::fs::remove_file(&ledger).unwrap();
    std::fs::create_dir(&ledger).unwrap();
    both("is a folder; expected the file of a ledger");
    std::fs::remove_dir(&ledger).unwrap();

    std::os::unix::fs::symlink("/dev/null", &ledger).unwrap();
    both("is a device or a pipe; expected the file of a ledger");
    std::fs::remove_file(&ledger).unwrap();

    rusqlite::Connection::open(&ledger).unwrap().execute_batch("CREATE TABLE songs (name TEXT)").unwrap();
    both("is the SQLite file of another program, not a trailhose ledger (its tables are songs): check the path");

    std::fs::write(&ledger, whole).unwrap();
    assert_eq!(synced.sync().json()["already_done"], 2, "the ledger was not changed by the refusals");
}

/// A key can contain any character. JSON has the exact key, and a row of text is one line.
#[test]
fn key_with_a_line_break_is_exact_in_json_and_one_line_of_text() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    let key = laptop::key("111122223333", "CloudTrail", "eu-west-1", "2026-11-01", "a\nb\"c");
    bucket.put(&key, b"{\"Records\":[");
    let ledger = out.path().join(".trailhose/ledger.db");
    let ran = laptop::run(&["sync", text(bucket.path()), text(out.path()), "--json"]);
    let object = ran.json()["not_ingested"][0]["object"].as_str().unwrap().to_owned();
    assert!(ran.code() == 3 && object.contains("a\nb\"c"), "{ran:?}");
    let at = ["--ledger", text(&ledger)];
    let list = |options: &[&str]| laptop::run(&[&["ledger", "quarantine", "list"], &at[..], options].concat());
    let listed = list(&["--json"]);
    let rows = each(&listed);
    let named = rows[0]["object"].as_str().unwrap();
    assert!(rows.len() == 1 && named.starts_with(&object), "{listed:?}");
    let lines = list(&[]).out();
    assert!(lines.lines().count() == 1 && lines.contains("a b\"c"), "{lines}");
    // The name in JSON is accepted by the other commands, whose text has one line per object too.
    let accepted = laptop::run(&[&["ledger", "quarantine", "accept", named, "--reason", "test"], &at[..]].concat());
    assert_eq!((accepted.code(), accepted.out().lines().count()), (0, 1), "{accepted:?}");
    let shown = laptop::run(&[&["ledger", "show", named], &at[..]].concat());
    assert!(shown.code() == 0 && shown.out().lines().next().unwrap().contains("a b\"c"), "{shown:?}");
}

/// Sets the modes of the files and folders below a path.
#[cfg(unix)]
fn set_modes(path: &Path, file: u32, folder: u32) {
    use std::os::unix::fs::PermissionsExt;
    let mode = if path.is_dir() { folder } else { file };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode | 0o200)).unwrap();
    if path.is_dir() {
        std::fs::read_dir(path).unwrap().for_each(|entry| set_modes(&entry.unwrap().path(), file, folder));
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(unix)]
#[test]
fn commands_that_only_read_need_no_permission_to_write() {
    let (home, synced) = (tempfile::tempdir().unwrap(), Synced::new(None));
    let program = home.path().join("trailhose");
    std::fs::copy(env!("CARGO_BIN_EXE_trailhose"), &program).unwrap();
    set_modes(home.path(), 0o755, 0o755);
    let dest = text(synced.out.path());
    assert_eq!(synced.run(&["index", "build", dest]).code(), 0);
    set_modes(synced.out.path(), 0o444, 0o555);
    for args in [
        &["index", "status", dest][..],
        &["events", dest, "--since", "2026-11-01"],
        &["followers", "list", dest],
        &["forward", "status", dest],
        &["prune", dest, "--before", "2026-11-01", "--dry-run"],
        &["ledger", "verify", dest],
    ] {
        let ran = as_another_user(&program, args);
        assert_eq!((ran.code(), ran.err()), (0, String::new()), "{args:?}");
    }
    let refused = as_another_user(&program, &["index", "build", dest]);
    let said = refused.err();
    assert!(refused.code() == 2 && said.contains("no permission") && said.contains(".trailhose/"), "{refused:?}");
    set_modes(synced.out.path(), 0o644, 0o755);
}

#[cfg(unix)]
#[test]
fn ledger_of_another_user_is_a_matter_of_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let (home, synced) = (tempfile::tempdir().unwrap(), Synced::new(None));
    mode(home.path(), 0o755);
    let program = home.path().join("trailhose");
    std::fs::copy(env!("CARGO_BIN_EXE_trailhose"), &program).unwrap();
    let folder = home.path().join("ledger");
    std::fs::create_dir(&folder).unwrap();
    let ledger = folder.join("ledger.db");
    std::fs::copy(&synced.ledger, &ledger).unwrap();
    mode(synced.bucket.path(), 0o755);
    let dest = home.path().join("out");
    std::fs::create_dir(&dest).unwrap();
    let before = std::fs::read(&ledger).unwrap();
    let inspect = ["ledger", "stats", "--ledger", text(&ledger)];
    let sync = ["sync", text(synced.bucket.path()), text(&dest), "--ledger", text(&ledger)];
    // A file that only its owner can read, a folder that only its owner can enter, and a folder that only its owner can
    // write.
    for (file_mode, folder_mode, is_readable) in [(0o000, 0o755, false), (0o600, 0o000, false), (0o444, 0o555, true)] {
        mode(&ledger, file_mode);
        mode(&folder, folder_mode);
        for args in [&inspect[..], &sync[..]] {
            let ran = as_another_user(&program, args);
            match is_readable && args[0] == "ledger" {
                true => assert_eq!((ran.code(), ran.err()), (0, String::new()), "reading needs no permission to write"),
                false => assert_refused(&ran, "no permission to open"),
            }
        }
        mode(&folder, 0o755);
    }
    mode(&ledger, 0o644);
    assert!(std::fs::read(&ledger).unwrap() == before, "the ledger is unchanged");
}

#[test]
fn ledger_in_use_by_a_sync_is_read_only() {
    let synced = Synced::new(None);
    let lock = File::options().write(true).open(format!("{}.lock", synced.ledger)).unwrap();
    lock.lock().unwrap();
    assert_eq!(synced.ledger(&["show", text(&synced.a)]).code(), 0);
    let refused = synced.ledger(&["reset", text(&synced.a), "--yes"]);
    assert!(refused.code() == 2 && refused.err().contains("in use by process"), "{refused:?}");
}

#[tokio::test]
async fn dynamodb_ledger_is_inspected_and_changed() {
    let emulator = Emulator::shared_ministack();
    table::create(&trailhose::aws::dynamodb(&emulator.config()), "asked", &[table::QUARANTINED]).await;
    let synced = Synced::new(Some(("asked", emulator)));
    // Without --scan, the table is not read.
    let cheap = synced.ledger(&["stats"]).json();
    assert_eq!(cheap["contents"], Value::Null);
    let table = synced.ledger_text(&["stats"]).out();
    assert!(table.contains("use --scan to count them, for about 1 read unit,"), "{table}");
    everything(&synced, &["--scan"]);
    let one = synced.ledger_text(&["show", text(&synced.a)]);
    assert!(one.code() == 0 && one.err().contains("use --scan to find all versions"), "{one:?}");
    let read = synced.ledger_text(&["event", "00000000-0000-4000-8000-000000000004", "--scan"]);
    assert!(read.err().contains("read units, less than $0.00001"), "{read:?}");
    let gone = synced.run(&["ledger", "stats", "--ledger", "dynamodb://no-such-table"]);
    assert!(gone.code() == 2 && gone.err().lines().count() == 1 && gone.err().contains("no-such-table"), "{gone:?}");
}

#[tokio::test]
async fn leased_object_is_not_reset() {
    use trailhose::ledger::store::dynamodb::DynamoDb;
    use trailhose::ledger::{Ledger, system_clock};
    let emulator = Emulator::shared_ministack();
    table::create(&trailhose::aws::dynamodb(&emulator.config()), "leased", &[table::QUARANTINED]).await;
    let store = DynamoDb::new(trailhose::aws::dynamodb(&emulator.config()), "leased");
    let ledger = Ledger::new(std::sync::Arc::new(store), system_clock(), 0);
    let object = trailhose::object::Object { bucket: "logs".into(), key: "k".into(), etag: "0".repeat(32) };
    ledger.lease(&object, ledger.now() + 600).await.unwrap();
    let synced = Synced::new(Some(("leased", emulator)));
    let named = format!("s3://logs/k#{}", object.etag);
    let refused = synced.ledger(&["reset", &named, "--yes"]);
    assert_eq!(refused.code(), 1);
    assert!(refused.err().contains("another worker is processing it"), "{refused:?}");
    assert!(refused.json()["leased_until"].is_string(), "{refused:?}");
}
