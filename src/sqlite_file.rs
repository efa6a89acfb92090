//! What the SQLite files of this program share: the check which program and version wrote a file, and lock files.

use rusqlite::{Connection, ErrorCode};
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::Path;

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
            Some(ErrorCode::NotADatabase) => VersionError::Foreign("is not an SQLite file: check the path"),
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
