//! `trailhose ledger verify` and `release`: the JSON Lines files that a ledger delivered to.

use super::confirm::confirmed;
use super::view::say;
use crate::args::LedgerLocation;
use crate::print::{print, print_json};
use crate::table::Table;
use crate::text::counted;
use indicatif::HumanCount;
use serde::Serialize;
use std::path::{Path, PathBuf};
use trailhose::ledger::store::sqlite::{CommitMode, Sqlite};
use trailhose::sink::jsonl::{ForeignFiles, Jsonl, Options, Verification, verify as compare};

/// Exit code: the files differ from the ledger.
const DIFFERENT: u8 = 1;

/// Objects of not rebuilt events that the table names.
const MAX_NAMED: usize = 5;

/// The SQLite file that records which JSON Lines files a folder contains.
#[derive(Debug)]
pub(crate) enum FileRecord {
    /// An SQLite ledger.
    Ledger(PathBuf),
    /// A file in the folder, if the ledger is stored elsewhere.
    Folder(PathBuf),
}

impl FileRecord {
    /// Finds the record of the folder `dest`.
    pub(crate) fn find(dest: &Path, ledger: Option<&LedgerLocation>) -> Result<Self, String> {
        let state = dest.join(".trailhose");
        let (ledger_file, files_file) = (state.join("ledger.db"), state.join("files.db"));
        match ledger {
            Some(LedgerLocation::File(file)) => Ok(Self::Ledger(file.clone())),
            Some(LedgerLocation::DynamoDb(_)) => Ok(Self::Folder(files_file)),
            None if ledger_file.is_file() => Ok(Self::Ledger(ledger_file)),
            None if files_file.is_file() => Ok(Self::Folder(files_file)),
            None if !dest.exists() => Err(format!(
                "the folder {} does not exist: name the folder that `trailhose sync` delivered to",
                dest.display()
            )),
            None if !dest.is_dir() => {
                Err(format!("{} is not a folder: name the folder that `trailhose sync` delivered to", dest.display()))
            }
            None => Err(format!(
                "{} contains no ledger: name the folder that `trailhose sync` delivered to, and its ledger with --ledger \
                 if it is elsewhere",
                dest.display()
            )),
        }
    }
}

impl FileRecord {
    /// Returns the path of the record.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Ledger(path) | Self::Folder(path) => path,
        }
    }
}

/// The result of `verify`.
#[derive(Debug, Serialize)]
struct VerifyReport<'a> {
    dest: String,
    files: u64,
    events: u64,
    faulty: Vec<FaultyFileView>,
    repeated: u64,
    missing: u64,
    unknown: u64,
    /// Events of removed files that `sync --rebuild` did not deliver again yet, and the objects that owned them.
    not_rebuilt: u64,
    not_rebuilt_objects: Vec<String>,
    /// Files in the folder that the ledger did not write, and the first of their names.
    foreign_files: u64,
    foreign_names: Vec<String>,
    /// Files in the folder that other ledgers wrote, and the first of their names. Their events are not compared.
    other_ledger_files: u64,
    other_ledger_names: Vec<String>,
    /// Whether the events were compared with the ledger.
    compared: bool,
    #[serde(skip)]
    found: &'a Verification,
}

#[derive(Debug, Serialize)]
struct FaultyFileView {
    path: String,
    fault: String,
    events: Option<u64>,
}

/// Compares the files with the ledger and returns the exit code.
pub(super) async fn verify(dest: &Path, ledger: Option<&LedgerLocation>, json: bool) -> Result<u8, String> {
    let record = FileRecord::find(dest, ledger)?;
    let (file, compare_events) = match &record {
        FileRecord::Ledger(file) => (file, true),
        FileRecord::Folder(file) => (file, false),
    };
    let found = compare(dest, file, compare_events).await.map_err(|error| error.to_string())?;
    let faulty = found.faulty.iter().map(|faulty| FaultyFileView {
        path: faulty.path.display().to_string(),
        fault: faulty.fault.to_string(),
        events: faulty.events,
    });
    let names = |files: &ForeignFiles| files.names.iter().map(|path| path.display().to_string()).collect();
    let report = VerifyReport {
        dest: dest.display().to_string(),
        files: found.files,
        events: found.events,
        faulty: faulty.collect(),
        repeated: found.repeated,
        missing: found.missing,
        unknown: found.unknown,
        not_rebuilt: found.outstanding.events,
        not_rebuilt_objects: found.outstanding.objects.iter().map(ToString::to_string).collect(),
        foreign_files: found.foreign.count,
        foreign_names: names(&found.foreign),
        other_ledger_files: found.of_other_ledgers.count,
        other_ledger_names: names(&found.of_other_ledgers),
        compared: found.compared,
        found: &found,
    };
    match json {
        true => print_json(&report),
        false => print(&table(&report)),
    }
    Ok(if found.is_intact() { 0 } else { DIFFERENT })
}

fn table(report: &VerifyReport<'_>) -> String {
    let mut table = Table::new(16, 16);
    table.head(&report.dest);
    table.row("files", report.files, "");
    table.bad("faulty files", report.faulty.len() as u64, "");
    for FaultyFileView { path, fault, events } in &report.faulty {
        let events = events.map_or(String::new(), |events| format!(" ({})", counted(events, "event")));
        table.line(&crate::text::one_line(&format!("  {path} {fault}{events}")));
    }
    if report.compared {
        table.row("events", report.events, "in the files");
        table.bad("missing events", report.missing, "delivered according to the ledger, but in no file");
        table.bad("repeated events", report.repeated, "in the files more than once");
        table.bad("unknown events", report.unknown, "in the files, but not in the ledger");
    } else {
        table.text("events", "not compared", "the ledger is not an SQLite file of this folder only");
    }
    table.bad("not rebuilt", report.not_rebuilt, "events of removed files; `sync --rebuild` did not deliver them yet");
    for object in report.not_rebuilt_objects.iter().take(MAX_NAMED) {
        table.line(&crate::text::one_line(&format!("  {object}")));
    }
    if report.not_rebuilt_objects.len() > MAX_NAMED {
        table.line(&format!("  and {} more", report.not_rebuilt_objects.len() - MAX_NAMED));
    }
    let remark = "not written by this ledger; sync does not change them";
    add_files(&mut table, "foreign files", report.foreign_files, &report.foreign_names, remark);
    let remark = "files; their events are not compared, and can be repeated in the files of this ledger";
    add_files(&mut table, "of other ledgers", report.other_ledger_files, &report.other_ledger_names, remark);
    table.line(match (report.found.is_intact(), report.compared) {
        (true, true) => "The files are as delivered.",
        (true, false) => "The recorded files are as delivered. Whether events are missing is unknown.",
        (false, _) => "The files differ from the ledger.",
    });
    table.into_text()
}

/// Adds a row with a number of files, and their first names.
fn add_files(table: &mut Table, name: &str, count: u64, names: &[String], remark: &str) {
    table.row_if(name, count, remark);
    for name in names {
        table.line(&crate::text::one_line(&format!("  {name}")));
    }
    let more = count - names.len() as u64;
    if more > 0 {
        table.line(&format!("  and {} more", HumanCount(more)));
    }
}

/// Opens a destination for changes.
pub(crate) async fn open(record: &FileRecord, dest: &Path) -> Result<Jsonl, String> {
    let opened = match record {
        FileRecord::Ledger(file) => {
            let ledger = Sqlite::open(file, CommitMode::Grouped).map_err(|error| format!("ledger: {error}"))?;
            Jsonl::with_ledger(dest, Options::default(), &ledger).await
        }
        FileRecord::Folder(_) => Jsonl::standalone(dest, Options::default()).await,
    };
    opened.map_err(|error| error.to_string())
}

/// The result of `release`.
#[derive(Debug, Serialize)]
struct ReleaseReport {
    files: u64,
    events: u64,
}

/// Whether a path ends like that of a delivered file.
fn is_delivered_name(file: &Path) -> bool {
    let folders = file.ancestors().skip(1).map(|folder| folder.file_name().and_then(|name| name.to_str()));
    let names: Vec<_> = folders.take(3).flatten().collect();
    matches!(&names[..], [date, region, account]
        if date.starts_with("date=") && region.starts_with("region=") && account.starts_with("account="))
}

/// Releases files and returns the exit code.
pub(super) async fn release(
    files: &[PathBuf],
    ledger: Option<&LedgerLocation>,
    yes: bool,
    json: bool,
) -> Result<u8, String> {
    let absolute = |path: &PathBuf| std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()));
    let files = files.iter().map(absolute).collect::<Result<Vec<_>, _>>()?;
    if let Some(other) = files.iter().find(|file| !is_delivered_name(file)) {
        return Err(format!(
            "{} is not the name of a delivered file: expected DEST/account=…/region=…/date=…/NAME",
            other.display()
        ));
    }
    let dest = files.first().and_then(|file| file.ancestors().nth(4)).unwrap_or(Path::new("/")).to_owned();
    if let Some(other) = files.iter().find(|file| file.ancestors().nth(4) != Some(&dest)) {
        return Err(format!(
            "{} is not in {}: release the files of one folder at a time",
            other.display(),
            dest.display()
        ));
    }
    let record = FileRecord::find(&dest, ledger)?;
    let question = match files.len() {
        1 => format!("Release {}?", files[0].display()),
        count => format!("Release {count} files?"),
    };
    let effect = "The ledger no longer expects them, and `sync --rebuild` never delivers their events again.";
    if !confirmed(&question, effect, yes)? {
        say("no changes made");
        return Ok(super::NOT_FOUND);
    }
    let released = open(&record, &dest).await?.release(files).await.map_err(|error| error.to_string())?;
    let report = ReleaseReport { files: released.files, events: released.events };
    match json {
        true => print_json(&report),
        false => say(&format!("released {} with {}", counted(report.files, "file"), counted(report.events, "event"))),
    }
    Ok(0)
}

/// Accepts that the events which a rebuild could not deliver stay undelivered. Returns the exit code.
pub(super) async fn accept_not_rebuilt(
    dest: &Path,
    ledger: Option<&LedgerLocation>,
    yes: bool,
    json: bool,
) -> Result<u8, String> {
    let record = FileRecord::find(dest, ledger)?;
    let sink = open(&record, dest).await?;
    let events = sink.outstanding().await.map_err(|error| error.to_string())?.events;
    let question = format!("Accept that {} of missing files stay undelivered?", counted(events, "event"));
    let effect =
        "Runs and `ledger verify` no longer report them. They are delivered only if their object is found again.";
    if events > 0 && !confirmed(&question, effect, yes)? {
        say("no changes made");
        return Ok(super::NOT_FOUND);
    }
    let events = sink.accept_outstanding().await.map_err(|error| error.to_string())?;
    match json {
        true => print_json(&ReleaseReport { files: 0, events }),
        false => say(&format!("accepted that {} of missing files stay undelivered", counted(events, "event"))),
    }
    Ok(0)
}
