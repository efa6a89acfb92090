//! Whether an index lacks delivered events that its follower skipped.

use super::progress::{self, IndexMove};
use super::{Index, IndexError, VERSION, read_version};
use crate::sink::jsonl::Segment;
use crate::state::{Cursor, FollowerState};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

impl Index {
    /// Records in the index at `path` that its follower, whose state is `stored`, skips the rest of a segment. An index that does
    /// not exist or has another version is left as it is: the next build reads all events.
    ///
    /// # Errors
    /// The file is not an index, or SQLite failed.
    pub fn record_skip(path: &Path, stored: &FollowerState, segment: &Segment) -> Result<(), IndexError> {
        if read_version(path)? != Some(VERSION) {
            return Ok(());
        }
        let record = || {
            let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            connection.busy_timeout(Duration::from_secs(10))?;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute("INSERT OR REPLACE INTO meta VALUES ('skipped', '1')", [])?;
            let (folder, from, to) = (&stored.folder, &stored.cursor, Cursor::after(segment));
            // An index that was restored from a backup keeps its position, so that the next build notices it.
            if progress::continues(&transaction, folder, from)? {
                IndexMove { folder, from, to: &to }.store(&transaction)?;
            }
            transaction.commit()
        };
        record().map_err(|source| IndexError::Sqlite { path: path.to_owned(), source })
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
