//! What the SQLite files of this program share: the check which program and version wrote a file, and lock files.

use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What is wrong with a file that is no SQLite file: the end of a message that starts with the path.
pub(crate) const NOT_SQLITE: &str = "is not an SQLite file: check the path";

/// Why a file is not used.
#[derive(Debug)]
pub(crate) enum VersionError {
    /// The file is not one of this program. Contains the end of a message that starts with the path.
    Foreign(&'static str),
    /// SQLite failed.
    Sqlite(rusqlite::Error),
}

/// Returns the version of a file with this application ID, or `None` if it contains no tables. Changes nothing in the
/// file, so it comes before the settings of a connection, which can change the file of another program.
///
/// # Errors
/// The file is not an SQLite file, or another program wrote it.
pub(crate) fn version(connection: &Connection, application_id: i32) -> Result<Option<i32>, VersionError> {
    let number = |sql: &str| {
        connection.query_row(sql, [], |row| row.get::<_, i32>(0)).map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => VersionError::Foreign(NOT_SQLITE),
            _ => VersionError::Sqlite(error),
        })
    };
    if number("SELECT count(*) FROM sqlite_schema")? == 0 {
        return Ok(None);
    }
    if number("PRAGMA application_id")? != application_id {
        return Err(VersionError::Foreign("is an SQLite file of another program: check the path"));
    }
    number("PRAGMA user_version").map(Some)
}

/// Connects to the file at `path` read-only.
///
/// A reader of a database with a write-ahead log uses the files `-wal` and `-shm`, and SQLite creates them if they do not
/// exist. If it may not, and there is no log, no process is writing. The file is then read as immutable.
/// <https://www.sqlite.org/wal.html#read_only_databases>
pub(crate) fn connect_read_only(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // SQLite opens the log with the first query.
    let query = |connection: Connection| {
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    };
    let refused = match Connection::open_with_flags(path, flags).and_then(query) {
        Ok(connection) => return Ok(connection),
        Err(error) => error,
    };
    let is_log_refused = matches!(refused.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly));
    let has_log = std::fs::metadata(beside(path, "-wal")).is_ok_and(|found| found.len() > 0);
    let Some(text) = path.to_str().filter(|_| is_log_refused && !has_log) else { return Err(refused) };
    let escaped = text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags | OpenFlags::SQLITE_OPEN_URI)
        .and_then(query)
}

/// Returns the path with `extension` appended to its name.
pub(crate) fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(extension);
    PathBuf::from(name)
}

/// Returns the owner of the file, or of its folder if the file cannot be examined.
#[cfg(unix)]
pub(crate) fn owner(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let found = |path: &Path| std::fs::metadata(path).ok().map(|found| format!("the user with ID {}", found.uid()));
    found(path).or_else(|| found(path.parent()?))
}

#[cfg(not(unix))]
pub(crate) fn owner(_: &Path) -> Option<String> {
    None
}

/// Returns the reason if SQLite may not open or write the file at `path`, or create files next to it.
pub(crate) fn denied(path: &Path, error: &rusqlite::Error) -> Option<String> {
    let is_denied = |code| matches!(code, ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied);
    error.sqlite_error_code().filter(|&code| is_denied(code))?;
    let owner = owner(path).map(|owner| format!(", which belongs to {owner}")).unwrap_or_default();
    Some(format!(
        "no permission to read and write the file{owner}, and to create files in its folder: run the command as the user \
         who created the file, or grant these permissions ({error})"
    ))
}

/// The result of an attempt to lock a file.
#[derive(Debug)]
pub(crate) enum FileLock {
    /// This process holds the lock until the file is closed, so at the latest when the process ends for any reason.
    Taken(File),
    /// Another process holds the lock. Contains its identity, as far as it is known.
    InUse(String),
}

/// Locks the file at `path`, and creates it if it does not exist. The file then contains the identity of this process.
pub(crate) fn lock(path: &Path) -> io::Result<FileLock> {
    let file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
    match file.try_lock() {
        Ok(()) => {
            // Only for a message. The lock does not depend on the content.
            file.set_len(0).and_then(|()| (&file).write_all(identity().as_bytes()))?;
            Ok(FileLock::Taken(file))
        }
        Err(TryLockError::WouldBlock) => {
            let holder = std::fs::read_to_string(path).unwrap_or_default();
            Ok(FileLock::InUse(if holder.is_empty() { "another process".to_owned() } else { holder }))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Returns the number and the command of this process, without its arguments, which can contain secrets.
fn identity() -> String {
    let process = format!("process {}", std::process::id());
    let command = std::env::args().nth(1).filter(|command| command.bytes().all(|byte| byte.is_ascii_lowercase()));
    match command {
        Some(command) => format!("{process} (trailhose {command})"),
        None => process,
    }
}
