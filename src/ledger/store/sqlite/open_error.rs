//! Explains why a file cannot be used as a ledger.
//!
//! A message never recommends another ledger if the file may be the right one: with another ledger, every event is
//! delivered again.

use super::journal::FORMAT;
use crate::ledger::store::StoreError;
pub(super) use crate::sqlite_file::beside;
use crate::sqlite_file::owner;
use rusqlite::{Connection, ErrorCode, OptionalExtension};
use std::io::{ErrorKind, Read};
use std::path::Path;

/// The first bytes of every SQLite file. <https://www.sqlite.org/fileformat.html>
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Maximum number of foreign tables that an error names.
const MAX_TABLES_NAMED: usize = 4;

/// How a ledger file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileAccess {
    Read,
    Write,
}

/// Checks the file at `path` and the files that SQLite keeps next to it, before SQLite opens them. SQLite's own errors
/// do not distinguish the causes. An absent file is valid for [`FileAccess::Write`], and so is an empty one.
pub(super) fn check_file(path: &Path, access: FileAccess) -> Result<(), StoreError> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && access == FileAccess::Write => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(StoreError::Denied(format!("the ledger {} does not exist", path.display())));
        }
        Err(error) => return Err(io_error(path, &error)),
        Ok(found) if found.is_dir() => {
            return Err(StoreError::Unreadable(format!(
                "{} is a folder; expected the file of a ledger, for example DEST/.trailhose/ledger.db",
                path.display()
            )));
        }
        Ok(found) if !found.is_file() => {
            return Err(StoreError::Unreadable(format!(
                "{} is a device or a pipe; expected the file of a ledger, for example DEST/.trailhose/ledger.db",
                path.display()
            )));
        }
        Ok(_) => {}
    }
    check_log(path)?;
    check_permission(path, access).map_err(|error| io_error(path, &error))?;
    for extension in ["-wal", "-shm"] {
        let name = beside(path, extension);
        match check_permission(&name, access) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(io_error(&name, &error)),
            Ok(()) | Err(_) => {}
        }
    }
    if access == FileAccess::Read && std::fs::metadata(path).is_ok_and(|found| found.len() == 0) {
        return Err(StoreError::Unreadable(format!("{} is empty: no ledger was created in it", path.display())));
    }
    Ok(())
}

/// Returns an error if this process may not open the file. Does not open it: a process that closes any descriptor of a file
/// loses all its POSIX locks on it, also those of a connection of SQLite that is open.
#[cfg(unix)]
fn check_permission(path: &Path, access: FileAccess) -> std::io::Result<()> {
    let wanted = match access {
        FileAccess::Read => rustix::fs::Access::READ_OK,
        FileAccess::Write => rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK,
    };
    Ok(rustix::fs::access(path, wanted)?)
}

#[cfg(not(unix))]
fn check_permission(path: &Path, access: FileAccess) -> std::io::Result<()> {
    std::fs::File::options().read(true).write(access == FileAccess::Write).open(path).map(drop)
}

/// Checks that the write-ahead log of a process that was killed was not removed. SQLite creates the log before the file
/// `-shm` and removes it after that file, so the second one is never alone.
fn check_log(path: &Path) -> Result<(), StoreError> {
    let [log, shared] = ["-wal", "-shm"].map(|extension| beside(path, extension));
    // In this order: another process may close the ledger meanwhile, and removes the second file first.
    let is_log_missing = matches!(log.try_exists(), Ok(false));
    if is_log_missing && matches!(shared.try_exists(), Ok(true)) && matches!(log.try_exists(), Ok(false)) {
        return Err(StoreError::Unreadable(format!(
            "{} is missing, but {} exists: a process that used the ledger was killed, and then the file with its last commits \
             was removed. Restore the file, or ledger and destination together from a backup. If there is no copy, remove {} \
             to continue with the older ledger; events that were delivered since are then delivered again, or the folder is \
             refused because it is newer than the ledger",
            log.display(),
            shared.display(),
            shared.display()
        )));
    }
    Ok(())
}

/// Explains that SQLite refused the file because of its start. No connection has a lock on such a file, so it can be opened.
fn not_sqlite(path: &Path, error: &rusqlite::Error) -> StoreError {
    let mut start = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut start));
    if read.is_err() || start == MAGIC {
        return StoreError::Unreadable(format!(
            "the ledger {} is not an SQLite file, or its start is damaged: {error}. If it was the ledger, restore it from a \
             backup",
            path.display()
        ));
    }
    let start: Vec<String> = start.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    StoreError::Unreadable(format!(
        "{} is not an SQLite file (it starts with the bytes {}): check the path. If it was the ledger, its start was \
         overwritten: restore it from a backup",
        path.display(),
        start.join(" ")
    ))
}

/// Converts an error of the operating system about the ledger's file or a file next to it.
pub(super) fn io_error(path: &Path, error: &std::io::Error) -> StoreError {
    if error.kind() != ErrorKind::PermissionDenied {
        return StoreError::Denied(format!("cannot open {}: {error}", path.display()));
    }
    let owner = owner(path).map(|owner| format!(", which belongs to {owner}")).unwrap_or_default();
    StoreError::Denied(format!(
        "no permission to open {}{owner}: run the command as the user who created the ledger, or grant read and write \
         permission to the file and its folder",
        path.display()
    ))
}

/// Checks that an existing file is a ledger of this version or an older one, and returns the ledger's ID and its
/// format.
pub(super) fn identify(connection: &Connection, path: &Path) -> Result<(String, u32), StoreError> {
    let failed = |error| store_error(path, error);
    let tables: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        .and_then(|mut names| names.query_map([], |row| row.get(0))?.collect())
        .map_err(failed)?;
    let is_ledger = ["meta", "pages", "rows"].iter().all(|name| tables.iter().any(|t| t == name));
    if !is_ledger {
        return Err(foreign(path, &tables));
    }
    let meta = |name: &str| {
        connection
            .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get::<_, String>(0))
            .optional()
            .map_err(|error| match error.sqlite_error_code() {
                // The table has other columns.
                Some(ErrorCode::Unknown) => foreign(path, &tables),
                _ => store_error(path, error),
            })
    };
    let (Some(format), Some(id)) = (meta("format")?, meta("ledger")?) else { return Err(foreign(path, &tables)) };
    match format.parse::<u32>() {
        Ok(format @ 1..=FORMAT) => Ok((id, format)),
        Ok(newer) if newer > FORMAT => Err(StoreError::Unreadable(format!(
            "a newer version of trailhose wrote the ledger {} (format {newer}; this version reads format {FORMAT}): \
             update trailhose",
            path.display()
        ))),
        _ => Err(StoreError::Unreadable(format!(
            "the ledger {} has format {format}, but this version reads format {FORMAT}: use the version that wrote it",
            path.display()
        ))),
    }
}

fn foreign(path: &Path, tables: &[String]) -> StoreError {
    let tables = match tables {
        [] => "it has no tables".to_owned(),
        tables => {
            let named = tables.iter().take(MAX_TABLES_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = if tables.len() > MAX_TABLES_NAMED { ", …" } else { "" };
            format!("its tables are {named}{more}")
        }
    };
    StoreError::Unreadable(format!(
        "{} is the SQLite file of another program, not a trailhose ledger ({tables}): check the path",
        path.display()
    ))
}

/// Returns the error for a ledger of an older format that is opened read-only. Only opening it for writes converts it.
pub(super) fn older_format(path: &Path, format: u32) -> StoreError {
    StoreError::Unreadable(format!(
        "the ledger {} has the older format {format} (this version reads format {FORMAT}): run `trailhose sync` with it \
         once, which converts it",
        path.display()
    ))
}

/// Converts an SQLite error to a store error.
pub(crate) fn store_error(path: &Path, error: rusqlite::Error) -> StoreError {
    let at = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => not_sqlite(path, &error),
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Unreadable(format!(
            "the ledger {at} is damaged: {error}. Restore it from a backup, or repair it with `sqlite3 {at} .recover`. A \
             new ledger would deliver every event again"
        )),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Unknown(format!(
            "another program, such as an SQLite shell or a backup, has locked the ledger {at}: close it and rerun. \
             {error}"
        )),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => StoreError::Denied(format!(
            "cannot open or write the ledger {at}: {error}. SQLite needs permission to write the file, and to create \
                 {at}-wal and {at}-shm in its folder"
        )),
        _ => StoreError::Unknown(format!("the ledger {at} failed: {error}")),
    }
}
