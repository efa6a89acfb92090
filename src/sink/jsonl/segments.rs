//! Segments: what each checkpoint added to each file, in commit order. Consumers of the files read them from their own
//! position.
//!
//! A segment is committed in the same transaction as the length of its file and the ledger's writes. It never changes.
//! With compressed files it consists of whole gzip members or zstd frames.

use super::check::{FileFault, unreadable};
use super::checkpoint::{Destination, STATE_FOLDER};
use super::files::{CommittedFile, FileChecks};
use super::intent::Intent;
use super::{SinkError, sink_error};
use crate::ledger::store::sqlite::{Journal, store_error};
use crate::shell;
use rusqlite::{Connection, Row, params};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Creates the tables. A file that is already committed becomes one segment.
///
/// AUTOINCREMENT, because a consumer's position is the ID of a segment: the ID of a removed segment must not be reused.
/// The number of a file is unique in its ledger. `segment_files` keeps the names of files that are removed.
pub(super) const CREATE_TABLES: &str = "
    CREATE TABLE segment_files (
        number INTEGER PRIMARY KEY, folder TEXT NOT NULL, partition TEXT NOT NULL, name TEXT NOT NULL, removed TEXT
    );
    CREATE TABLE segments (
        id INTEGER PRIMARY KEY AUTOINCREMENT, checkpoint INTEGER NOT NULL, committed_at INTEGER NOT NULL,
        file INTEGER NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL, content INTEGER NOT NULL,
        lines INTEGER, crc INTEGER
    );
    INSERT INTO segment_files SELECT number, folder, partition, name, NULL FROM files;
    INSERT INTO segments (checkpoint, committed_at, file, start, length, content, lines, crc)
        SELECT 0, 0, number, 0, length, content, lines, crc FROM files ORDER BY number;";

/// A segment that a checkpoint is about to commit.
#[derive(Debug)]
pub(super) struct NewSegment {
    /// The file, with its new length.
    pub(super) file: CommittedFile,
    /// The length of the file before, in bytes.
    pub(super) start: u64,
    /// The uncompressed size of what was added, in bytes.
    pub(super) content: u64,
    /// The number of lines and the CRC-32 of what was added, as it is in the file.
    pub(super) checks: Option<FileChecks>,
}

impl NewSegment {
    /// Returns a segment with everything that is committed of a file.
    pub(super) fn of_file(file: &CommittedFile) -> Self {
        Self { file: file.clone(), start: 0, content: file.content_bytes, checks: file.checks }
    }

    /// Records this segment, as part of a commit.
    pub(super) fn put(&self, connection: &Connection, folder: &str, checkpoint: i64) -> rusqlite::Result<()> {
        let file = &self.file;
        if self.start == 0 {
            let sql = "INSERT INTO segment_files (number, folder, partition, name) VALUES (?1, ?2, ?3, ?4)";
            let values = params![file.number, folder, file.partition, file.name];
            connection.prepare_cached(sql)?.execute(values)?;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let sql = "INSERT INTO segments (checkpoint, committed_at, file, start, length, content, lines, crc)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let values = params![
            checkpoint,
            now.cast_signed(),
            file.number,
            self.start.cast_signed(),
            (file.length - self.start).cast_signed(),
            self.content.cast_signed(),
            self.checks.map(|checks| checks.lines.cast_signed()),
            self.checks.map(|checks| checks.crc),
        ];
        connection.prepare_cached(sql)?.execute(values).map(drop)
    }
}

/// Why a file is no longer in the record of committed files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// A user moved it elsewhere, and said so with `ledger release`.
    Released,
    /// It was missing, and a rebuild delivers its events again, in later segments.
    Rebuilt,
    /// It was deleted, because its day is before the retention. Its events are not delivered again.
    Pruned,
}

impl Removal {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Rebuilt => "rebuilt",
            Self::Pruned => "pruned",
        }
    }

    /// Records that a file was removed, as part of a commit. Its segments remain, because a consumer may not have read
    /// them.
    pub(super) fn put(self, connection: &Connection, file: &CommittedFile) -> rusqlite::Result<()> {
        let sql = "UPDATE segment_files SET removed = ?2 WHERE number = ?1";
        connection.prepare_cached(sql)?.execute(params![file.number, self.as_str()]).map(drop)
    }
}

/// What one checkpoint added to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The position in commit order. IDs increase and are never reused, but may have gaps.
    pub id: i64,
    /// The number of the checkpoint in its folder. 0 for a file that an earlier version of this program wrote.
    pub checkpoint: i64,
    /// When it was committed, in seconds since 1970. 0 for a file that an earlier version of this program wrote.
    pub committed_at: i64,
    /// The number of the file, unique in its ledger.
    pub file: i64,
    /// The path of the file, relative to the destination.
    pub path: String,
    /// Why the file is no longer in the record, or `None` if it is.
    pub removed: Option<Removal>,
    /// The offset of the segment in its file, in bytes.
    pub start: u64,
    /// The length in bytes.
    pub length: u64,
    /// The uncompressed size in bytes. For a compressed file of an earlier version, its compressed size.
    pub content: u64,
    /// The number of events. `None` if an earlier version of this program wrote the file.
    pub events: Option<u64>,
    /// The CRC-32 of its bytes, as they are in the file.
    pub(super) crc: Option<u32>,
}

const COLUMNS: &str = "segments.id, checkpoint, committed_at, number, partition || '/' || name, removed, start, length, \
     content, lines, crc";
const FROM: &str = "FROM segments JOIN segment_files ON number = file WHERE folder = ?1";

impl Segment {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
        Ok(Self {
            id: row.get(0)?,
            checkpoint: row.get(1)?,
            committed_at: row.get(2)?,
            file: row.get(3)?,
            path: row.get(4)?,
            removed: row.get::<_, Option<String>>(5)?.map(|text| match text.as_str() {
                "rebuilt" => Removal::Rebuilt,
                "pruned" => Removal::Pruned,
                _ => Removal::Released,
            }),
            start: count(6)?,
            length: count(7)?,
            content: count(8)?,
            events: row.get::<_, Option<i64>>(9)?.map(i64::cast_unsigned),
            crc: row.get(10)?,
        })
    }

    /// Returns a text that distinguishes this segment from one that was committed with the same ID after a ledger was
    /// restored from a backup.
    pub fn fingerprint(&self) -> String {
        let crc = self.crc.unwrap_or_default();
        format!("{}:{}:{}:{}:{crc:08x}", self.file, self.start, self.length, self.committed_at)
    }
}

/// What is committed after a position.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// The number of segments.
    pub segments: u64,
    /// The number of events, without those of segments whose count is unknown.
    pub events: u64,
    /// The uncompressed size in bytes.
    pub content: u64,
    /// When the first of them was committed, in seconds since 1970. 0 if unknown or if there is none.
    pub oldest: i64,
}

/// The committed segments of a destination folder. Reads them while another process may commit more.
#[derive(Debug)]
pub struct CommittedSegments {
    pub(super) destination: Destination,
    journal: Arc<Journal>,
}

impl CommittedSegments {
    /// Opens the segments of the folder `destination`. `record` is the file with their record: the SQLite ledger, or
    /// `.trailhose/files.db` in the folder if the ledger is stored elsewhere.
    ///
    /// # Errors
    /// Returns an error if the record cannot be read, was written by an earlier version, or does not belong to the
    /// folder.
    pub fn open(destination: &Path, record: &Path) -> Result<Self, SinkError> {
        let journal = Arc::new(Journal::open_read_only(record).map_err(sink_error)?);
        let destination = Destination::open_read_only(destination, Arc::clone(&journal))?;
        Ok(Self { destination, journal })
    }

    /// Returns the canonical path of the folder.
    pub fn root(&self) -> &Path {
        &self.destination.root
    }

    /// Returns the ID of the folder in its ledger: 32 hexadecimal digits. A copy of the folder has the same ID.
    pub fn folder_id(&self) -> &str {
        &self.destination.id
    }

    /// Returns up to `limit` segments after the segment `id`, in commit order.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn after(&self, id: i64, limit: u32) -> Result<Vec<Segment>, SinkError> {
        let sql = format!("SELECT {COLUMNS} {FROM} AND segments.id > ?2 ORDER BY segments.id LIMIT ?3");
        self.segments(&sql, params![self.destination.id, id, limit])
    }

    /// Returns a segment.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn get(&self, id: i64) -> Result<Option<Segment>, SinkError> {
        let sql = format!("SELECT {COLUMNS} {FROM} AND segments.id = ?2");
        Ok(self.segments(&sql, params![self.destination.id, id])?.pop())
    }

    /// Returns the first segment after the segment `id` that a consumer reads: neither pruned nor delivered again.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn next_read(&self, id: i64) -> Result<Option<Segment>, SinkError> {
        let sql = format!(
            "SELECT {COLUMNS} {FROM} AND segments.id > ?2 AND (removed IS NULL OR removed = ?3) ORDER BY segments.id LIMIT 1"
        );
        Ok(self.segments(&sql, params![self.destination.id, id, Removal::Released.as_str()])?.pop())
    }

    /// Checks that the file of a segment exists and is long enough. Reads no content.
    ///
    /// # Errors
    /// Returns the fault of the file.
    pub fn check_length(&self, segment: &Segment) -> Result<(), FileFault> {
        self.path_of(segment).map(drop)
    }

    /// Returns the arguments that name this folder on the command line: `DEST`, and `--ledger FILE` if its record is not
    /// in the folder.
    pub fn arguments(&self) -> String {
        let dest = shell::word(&self.root().to_string_lossy());
        let record = self.journal.path();
        let record = record.canonicalize().unwrap_or_else(|_| record.to_owned());
        match record.starts_with(self.root().join(STATE_FOLDER)) {
            true => dest,
            false => format!("{dest} --ledger {}", shell::word(&record.to_string_lossy())),
        }
    }

    /// Returns the ID of the last segment that was ever committed, or 0.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn last_id(&self) -> Result<i64, SinkError> {
        let sql = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'segments'), 0)";
        self.read(|connection| connection.query_row(sql, [], |row| row.get(0)))
    }

    /// Returns the numbers of the files whose events a consumer may keep: all files except those that were pruned, and
    /// those whose events a rebuild delivered again to other files.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn retained_files(&self) -> Result<HashSet<i64>, SinkError> {
        let sql = "SELECT number FROM segment_files WHERE folder = ?1 AND (removed IS NULL OR removed = ?2)";
        let released = Removal::Released.as_str();
        self.read(|connection| {
            connection.prepare(sql)?.query_map([&*self.destination.id, released], |row| row.get(0))?.collect()
        })
    }

    /// Returns the files that a checkpoint in progress or an interrupted one writes, and the committed length of every file.
    /// Paths are relative to the folder. The intent is read first, so a file that a checkpoint writes is in one of the two.
    ///
    /// # Errors
    /// Errors of SQLite, or the intent cannot be read.
    pub fn file_lengths(&self) -> Result<(BTreeSet<String>, HashMap<String, u64>), SinkError> {
        let destination = &self.destination;
        let intent = Intent::read(&destination.intent_path(), destination.journal.id())?;
        let committed = destination.tables.checkpoints(&destination.id)?.unwrap_or(0);
        let uncommitted = intent.filter(|intent| intent.checkpoint > committed).map(|intent| intent.files);
        let mut lengths = HashMap::new();
        destination.tables.each_file(&destination.id, |file| {
            lengths.insert(file.path(), file.length);
        })?;
        Ok((uncommitted.into_iter().flatten().collect(), lengths))
    }

    /// Returns what is committed after the segment `id`.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn backlog(&self, id: i64) -> Result<Backlog, SinkError> {
        let sql = format!(
            "SELECT count(*), coalesce(sum(lines), 0), coalesce(sum(content), 0), coalesce(min(committed_at), 0) {FROM} \
             AND segments.id > ?2"
        );
        self.read(|connection| {
            connection.query_row(&sql, params![self.destination.id, id], |row| {
                let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
                Ok(Backlog { segments: count(0)?, events: count(1)?, content: count(2)?, oldest: row.get(3)? })
            })
        })
    }

    /// Returns the path of a segment's file, after checking that the file contains the segment.
    pub(super) fn path_of(&self, segment: &Segment) -> Result<PathBuf, FileFault> {
        let path = self.destination.root.join(&segment.path);
        let found = std::fs::metadata(&path).map_err(|error| unreadable(&error))?.len();
        let committed = segment.start + segment.length;
        if found < committed { Err(FileFault::Shorter { found, committed }) } else { Ok(path) }
    }

    fn segments(&self, sql: &str, params: impl rusqlite::Params) -> Result<Vec<Segment>, SinkError> {
        self.read(|connection| connection.prepare_cached(sql)?.query_map(params, Segment::from_row)?.collect())
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, SinkError> {
        let result =
            self.journal.read(|connection| read(connection).map_err(|error| store_error(self.journal.path(), error)));
        result.map_err(sink_error)
    }
}
