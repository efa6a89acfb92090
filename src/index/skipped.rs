//! Whether an index lacks delivered events that its follower skipped.

use super::{Index, IndexError, VERSION, read_version};
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

impl Index {
    /// Records in the index at `path` that its follower skips events. An index that does not exist or has another version is
    /// left as it is: the next build reads all events.
    ///
    /// # Errors
    /// The file is not an index, or SQLite failed.
    pub fn record_skip(path: &Path) -> Result<(), IndexError> {
        if read_version(path)? != Some(VERSION) {
            return Ok(());
        }
        let record = || {
            let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            connection.busy_timeout(Duration::from_secs(10))?;
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('skipped', '1')", [])
        };
        record().map(drop).map_err(|source| IndexError::Sqlite { path: path.to_owned(), source })
    }

    /// Returns whether the follower skipped events since the index was built from the first event. The index then lacks events
    /// that can be in the files.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn has_skipped_events(&self) -> Result<bool, IndexError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM meta WHERE name = 'skipped')";
        self.connection.query_row(sql, [], |row| row.get(0)).map_err(|source| self.failed(source))
    }
}
