//! The sink's tables in the ledger's file: the destination folders, and every file that the sink committed.

use super::{SinkError, segments, sink_error};
use crate::ledger::store::sqlite::{Journal, Schema, store_error};
use rusqlite::{Connection, OptionalExtension, params};
use std::sync::Arc;

/// The tables. Version 1 recorded only the last file of each partition. Version 3 added segments.
pub(super) const SCHEMA: Schema = Schema {
    name: "jsonl",
    upgrades: &[
        "CREATE TABLE IF NOT EXISTS folders (
            id TEXT PRIMARY KEY, checkpoints INTEGER NOT NULL, last_file INTEGER NOT NULL
         ) WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS files (
            folder TEXT NOT NULL, partition TEXT NOT NULL, name TEXT NOT NULL, length INTEGER NOT NULL,
            content INTEGER NOT NULL, PRIMARY KEY (folder, partition)
         ) WITHOUT ROWID;",
        // The number follows the 12 digits of the ledger's ID and a hyphen. CAST ignores the extension.
        "ALTER TABLE folders ADD COLUMN complete INTEGER NOT NULL DEFAULT 0;
         ALTER TABLE files RENAME TO last_files;
         CREATE TABLE files (
            folder TEXT NOT NULL, partition TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL,
            length INTEGER NOT NULL, content INTEGER NOT NULL, lines INTEGER, crc INTEGER,
            PRIMARY KEY (folder, partition, number)
         ) WITHOUT ROWID;
         INSERT INTO files SELECT folder, partition, CAST(substr(name, 14) AS INTEGER), name, length, content, NULL, NULL
            FROM last_files;
         DROP TABLE last_files;",
        segments::CREATE_TABLES,
    ],
};

/// A file with its committed content. Bytes after its committed length do not belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommittedFile {
    /// The folder of the file, relative to the destination.
    pub(crate) partition: String,
    /// The number in the name.
    pub(crate) number: i64,
    pub(crate) name: String,
    /// The committed length in bytes.
    pub(crate) length: u64,
    /// The uncompressed size in bytes. Stored in the column `content`.
    pub(crate) content_bytes: u64,
    /// The number of lines and the CRC-32 of the committed bytes. `None` if an earlier version of this program started
    /// the file.
    pub(crate) checks: Option<FileChecks>,
}

/// The expected number of lines and CRC-32 of the committed bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileChecks {
    pub(crate) lines: u64,
    pub(crate) crc: u32,
}

impl CommittedFile {
    /// Returns the path, relative to the destination.
    pub(crate) fn path(&self) -> String {
        format!("{}/{}", self.partition, self.name)
    }

    fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
        let checks = match (row.get::<_, Option<i64>>(5)?, row.get::<_, Option<u32>>(6)?) {
            (Some(lines), Some(crc)) => Some(FileChecks { lines: lines.cast_unsigned(), crc }),
            _ => None,
        };
        Ok(Self {
            partition: row.get(0)?,
            number: row.get(1)?,
            name: row.get(2)?,
            length: count(3)?,
            content_bytes: count(4)?,
            checks,
        })
    }

    /// Records this file, as part of a commit.
    pub(super) fn put(&self, connection: &Connection, folder: &str) -> rusqlite::Result<()> {
        let sql = "INSERT OR REPLACE INTO files (folder, partition, number, name, length, content, lines, crc)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let values = params![
            folder,
            self.partition,
            self.number,
            self.name,
            self.length.cast_signed(),
            self.content_bytes.cast_signed(),
            self.checks.map(|checks| checks.lines.cast_signed()),
            self.checks.map(|checks| checks.crc),
        ];
        connection.prepare_cached(sql)?.execute(values).map(drop)
    }

    /// Removes the record of this file, as part of a commit.
    pub(super) fn remove(&self, connection: &Connection, folder: &str) -> rusqlite::Result<()> {
        let sql = "DELETE FROM files WHERE folder = ?1 AND partition = ?2 AND number = ?3";
        connection.prepare_cached(sql)?.execute(params![folder, self.partition, self.number]).map(drop)
    }
}

const COLUMNS: &str = "partition, number, name, length, content, lines, crc";

/// Records the number of the last checkpoint of a folder and of the last file, as part of a commit.
pub(super) fn put_checkpoint(
    connection: &Connection,
    folder: &str,
    checkpoint: i64,
    last_number: i64,
) -> rusqlite::Result<()> {
    // A new folder starts at checkpoint 0. Every file of it is recorded, so its record is complete.
    let sql = "INSERT INTO folders (id, checkpoints, last_file, complete) VALUES (?1, ?2, ?3, ?2 = 0)
         ON CONFLICT (id) DO UPDATE SET checkpoints = ?2, last_file = max(last_file, ?3)";
    connection.prepare_cached(sql)?.execute(params![folder, checkpoint, last_number]).map(drop)
}

/// Records that every file of a folder is in the table, as part of a commit.
pub(super) fn put_complete(connection: &Connection, folder: &str) -> rusqlite::Result<()> {
    connection.execute("UPDATE folders SET complete = 1 WHERE id = ?1", [folder]).map(drop)
}

/// Reads the tables of a journal.
#[derive(Debug)]
pub(super) struct FileTables(pub(super) Arc<Journal>);

impl FileTables {
    /// Returns the last file of a partition.
    pub(super) fn last_file(&self, folder: &str, partition: &str) -> Result<Option<CommittedFile>, SinkError> {
        let sql =
            format!("SELECT {COLUMNS} FROM files WHERE folder = ?1 AND partition = ?2 ORDER BY number DESC LIMIT 1");
        self.optional(&sql, [folder, partition], CommittedFile::from_row)
    }

    /// Returns the file of a partition with this name.
    pub(super) fn file(&self, folder: &str, partition: &str, name: &str) -> Result<Option<CommittedFile>, SinkError> {
        let sql = format!("SELECT {COLUMNS} FROM files WHERE folder = ?1 AND partition = ?2 AND name = ?3");
        self.optional(&sql, [folder, partition, name], CommittedFile::from_row)
    }

    /// Passes every file of a folder to `each`, ordered by partition and number.
    pub(super) fn each_file(&self, folder: &str, mut each: impl FnMut(CommittedFile)) -> Result<(), SinkError> {
        let sql = format!("SELECT {COLUMNS} FROM files WHERE folder = ?1 ORDER BY partition, number");
        let read = self.0.read(|connection| {
            let mut statement = connection.prepare_cached(&sql).map_err(|error| store_error(self.0.path(), error))?;
            let files = statement.query_map([folder], CommittedFile::from_row);
            let mut files = files.map_err(|error| store_error(self.0.path(), error))?;
            files.try_for_each(|file| file.map(&mut each)).map_err(|error| store_error(self.0.path(), error))
        });
        read.map_err(sink_error)
    }

    /// Returns the highest number of a file of this ledger, in any folder.
    pub(super) fn last_number(&self) -> Result<i64, SinkError> {
        let found = self.optional("SELECT max(last_file) FROM folders", [], |row| row.get::<_, Option<i64>>(0))?;
        Ok(found.flatten().unwrap_or_default())
    }

    /// Returns the number of the last committed checkpoint of a folder.
    pub(super) fn checkpoints(&self, folder: &str) -> Result<Option<i64>, SinkError> {
        self.optional("SELECT checkpoints FROM folders WHERE id = ?1", [folder], |row| row.get(0))
    }

    /// Returns whether every file of a folder is in the table.
    pub(super) fn is_complete(&self, folder: &str) -> Result<bool, SinkError> {
        let found = self.optional("SELECT complete FROM folders WHERE id = ?1", [folder], |row| row.get(0))?;
        Ok(found.unwrap_or(true))
    }

    /// Returns the paths of the files in other folders, relative to their folder.
    pub(super) fn files_of_other_folders(&self, folder: &str) -> Result<Vec<String>, SinkError> {
        let sql = "SELECT partition || '/' || name FROM files WHERE folder <> ?1";
        let read = self.0.read(|connection| {
            let read =
                || connection.prepare(sql)?.query_map([folder], |row| row.get(0))?.collect::<rusqlite::Result<_>>();
            read().map_err(|error| store_error(self.0.path(), error))
        });
        read.map_err(sink_error)
    }

    /// Returns whether this ledger has files in another folder.
    pub(super) fn has_other_folders(&self, folder: &str) -> Result<bool, SinkError> {
        Ok(self.optional("SELECT 1 FROM files WHERE folder <> ?1 LIMIT 1", [folder], |_| Ok(()))?.is_some())
    }

    /// Returns whether this ledger committed a checkpoint of any folder.
    pub(super) fn has_delivered(&self) -> Result<bool, SinkError> {
        let found = self.optional("SELECT 1 FROM folders WHERE checkpoints > 0", [], |_| Ok(()))?;
        Ok(found.is_some())
    }

    fn optional<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        get: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, SinkError> {
        let found = self.0.read(|connection| {
            let found =
                connection.prepare_cached(sql).and_then(|mut statement| statement.query_row(params, get).optional());
            found.map_err(|error| store_error(self.0.path(), error))
        });
        found.map_err(sink_error)
    }
}
