//! The times of the last retention runs.

use super::{StateDatabase, StateError};
use rusqlite::{OptionalExtension, params};

impl StateDatabase {
    /// Returns the time of the last run of a retention in seconds since 1970, if it ever ran.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn retention_run(&self, name: &str) -> Result<Option<i64>, StateError> {
        let sql = "SELECT time FROM retention_runs WHERE name = ?1";
        let found = self
            .connection()
            .prepare_cached(sql)
            .and_then(|mut found| found.query_row([name], |row| row.get(0)).optional());
        found.map_err(|error| self.failed(error))
    }

    /// Durably records the time of a run of a retention, in seconds since 1970.
    ///
    /// # Errors
    /// [`StateError::Full`] if the disk is full; other errors of SQLite.
    pub fn record_retention_run(&self, name: &str, time: i64) -> Result<(), StateError> {
        let sql = "INSERT OR REPLACE INTO retention_runs VALUES (?1, ?2)";
        let written = self.connection().prepare_cached(sql).and_then(|mut put| put.execute(params![name, time]));
        written.map(drop).map_err(|error| self.failed(error))
    }
}
