//! The sources that the API added.

use super::{StateDatabase, StateError};
use rusqlite::params;

/// A source that the API added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSource {
    /// Its ID.
    pub id: String,
    /// Its settings, as JSON.
    pub settings: String,
    /// When it was added, in seconds since 1970.
    pub created: i64,
}

impl StateDatabase {
    /// Durably adds a source. Returns false if the ID exists.
    ///
    /// # Errors
    /// [`StateError::Full`] if the disk is full; other errors of SQLite.
    pub fn add_source(&self, source: &StoredSource) -> Result<bool, StateError> {
        let StoredSource { id, settings, created } = source;
        self.write(|transaction| {
            let sql = "INSERT OR IGNORE INTO api_sources VALUES (?1, ?2, ?3)";
            transaction.prepare_cached(sql)?.execute(params![id, settings, created]).map(|rows| rows > 0)
        })
    }

    /// Durably removes a source. Returns whether it existed.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn remove_source(&self, id: &str) -> Result<bool, StateError> {
        self.write(|transaction| {
            let sql = "DELETE FROM api_sources WHERE id = ?1";
            transaction.prepare_cached(sql)?.execute([id]).map(|rows| rows > 0)
        })
    }

    /// Returns the sources in the order of their IDs.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn api_sources(&self) -> Result<Vec<StoredSource>, StateError> {
        let sql = "SELECT id, settings, created FROM api_sources ORDER BY id";
        let rows = self.connection().prepare_cached(sql).and_then(|mut found| {
            let stored = |row: &rusqlite::Row<'_>| {
                Ok(StoredSource { id: row.get(0)?, settings: row.get(1)?, created: row.get(2)? })
            };
            found.query_map([], stored)?.collect()
        });
        rows.map_err(|error| self.failed(error))
    }
}
