//! The index: finds delivered events by ID, time, name, principal, access key, source address or error, without reading
//! the files.
//!
//! It is an SQLite file of its own that a follower fills. It contains positions, not events: a lookup reads the event's
//! own bytes from the file. Everything in it can be built again from the files.

mod build;
mod lookup;
mod progress;
mod skipped;

pub use crate::indexed_fields::IndexedFields;
pub use build::{IndexBuild, IndexBuildError};
pub use lookup::{FoundEvent, IndexPosition, IndexQuery, end_second};

use crate::event::EventId;
use crate::follow::{BatchLimits, EventBatch, Follower};
use crate::shell;
use crate::sqlite_file::{self, NOT_SQLITE, VersionError};
use crate::state::Cursor;
use async_trait::async_trait;
use progress::IndexMove;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The name of the file in a destination's folder `.trailhose`.
pub const INDEX_FILE: &str = "index.db";

/// The name of the follower that fills the index.
pub const FOLLOWER: &str = "index";

/// Identifies the file as an index: the bytes `thix`.
const APPLICATION_ID: i32 = 0x7468_6978;

/// The version of the tables and of the fields in them. An index of an older version is built again.
const VERSION: i32 = 4;

/// `id` is the first 8 bytes of the event ID; the caller of a lookup compares the whole ID. The columns `name` to `error` are
/// numbers of `texts`. An event without a valid time has the time NULL.
const TABLES: &str = "
    CREATE TABLE texts (number INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
    CREATE TABLE files (number INTEGER PRIMARY KEY, path TEXT NOT NULL);
    CREATE TABLE events (
        file INTEGER NOT NULL, member INTEGER NOT NULL, position INTEGER NOT NULL, length INTEGER NOT NULL,
        id INTEGER NOT NULL, time INTEGER, name INTEGER, source INTEGER, account INTEGER, region INTEGER,
        principal INTEGER, access_key INTEGER, address INTEGER, error INTEGER
    );
    CREATE INDEX by_id ON events (id);
    CREATE INDEX by_time ON events (time);
    CREATE INDEX by_name ON events (name, time);
    CREATE INDEX by_principal ON events (principal, time) WHERE principal IS NOT NULL;
    CREATE INDEX by_access_key ON events (access_key, time) WHERE access_key IS NOT NULL;
    CREATE INDEX by_address ON events (address, time) WHERE address IS NOT NULL;
    CREATE INDEX by_error ON events (error, time) WHERE error IS NOT NULL;
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;";

/// Why the index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The file does not exist.
    #[error("the index {} does not exist: build it with `{}`", .0.display(), build_command(.0))]
    Missing(PathBuf),
    /// The file is not an index of this version.
    #[error("{path} {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What it is instead, and what to do.
        reason: String,
    },
    /// This process may not open the file.
    #[error("cannot open the index {path}: {reason}")]
    Denied {
        /// The file.
        path: PathBuf,
        /// Which permission is missing, and what to do.
        reason: String,
    },
    /// SQLite failed.
    #[error("the index {path} failed: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// The error.
        source: rusqlite::Error,
    },
}

/// An open index.
#[derive(Debug)]
pub struct Index {
    path: PathBuf,
    connection: Connection,
    /// The numbers of texts that were used recently.
    texts: HashMap<String, i64>,
}

/// The maximum number of entries of [`Index::texts`]. Each session name is a principal of its own, so there can be many.
const MAX_CACHED_TEXTS: usize = 100_000;

/// What an index contains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct IndexContents {
    /// The number of events.
    pub events: u64,
    /// The number of them that have no valid event time. A query with a time range does not find them.
    pub without_time: u64,
    /// The time of the first event, in seconds since 1970.
    pub first: Option<i64>,
    /// The time of the last event, in seconds since 1970.
    pub last: Option<i64>,
    /// The size of the index in bytes.
    pub bytes: u64,
}

impl Index {
    /// Returns whether [`Index::open`] continues the index at `path`: it exists and has the present version.
    ///
    /// # Errors
    /// The file is not an index or is from a newer version.
    pub fn is_current(path: &Path) -> Result<bool, IndexError> {
        match read_version(path)? {
            Some(version) if version > VERSION => Err(newer(path, version)),
            version => Ok(version == Some(VERSION)),
        }
    }

    /// Opens the index at `path` for writes, and creates it if it does not exist or if it has an older version. With
    /// `rebuild`, an existing index is deleted first. The position of the follower of a created index must be at the first
    /// segment.
    ///
    /// # Errors
    /// Returns an error if the file is not an index or is from a newer version.
    pub fn open(path: &Path, rebuild: bool) -> Result<Self, IndexError> {
        let existing = match read_version(path)? {
            Some(version) if version > VERSION => return Err(newer(path, version)),
            Some(VERSION) if !rebuild => true,
            Some(_) => {
                for extension in ["", "-wal", "-shm"] {
                    let mut file = path.as_os_str().to_owned();
                    file.push(extension);
                    let _ = std::fs::remove_file(file);
                }
                false
            }
            None => false,
        };
        let failed = |source| sqlite_error(path, source);
        let connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(Duration::from_secs(10)).map_err(failed)?;
        // FULL: the follower's position is in another file. It must not be durable before the events that precede it.
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536;")
            .map_err(failed)?;
        if !existing {
            let pragmas = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};");
            connection.execute_batch(&format!("BEGIN; {TABLES} {pragmas} COMMIT")).map_err(failed)?;
        }
        connection.set_prepared_statement_cache_capacity(32);
        Ok(Self { path: path.to_owned(), connection, texts: HashMap::new() })
    }

    /// Opens the index at `path` read-only, also while another process writes it.
    ///
    /// # Errors
    /// Returns an error if the file does not exist, is not an index, or has another version.
    pub fn open_read_only(path: &Path) -> Result<Self, IndexError> {
        match read_version(path)? {
            None => return Err(IndexError::Missing(path.to_owned())),
            Some(VERSION) => {}
            Some(version) if version > VERSION => return Err(newer(path, version)),
            Some(version) => {
                let reason = format!("is an index of version {version}: build it again with `{}`", build_command(path));
                return Err(IndexError::Format { path: path.to_owned(), reason });
            }
        }
        let failed = |source| sqlite_error(path, source);
        let connection = sqlite_file::connect_read_only(path).map_err(failed)?;
        connection.busy_timeout(Duration::from_secs(10)).map_err(failed)?;
        Ok(Self { path: path.to_owned(), connection, texts: HashMap::new() })
    }

    /// Returns what the index contains.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn contents(&self) -> Result<IndexContents, IndexError> {
        let sql = "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM events WHERE time IS NULL),
             (SELECT min(time) FROM events), (SELECT max(time) FROM events),
             (SELECT page_count * page_size FROM pragma_page_count, pragma_page_size)";
        let contents = self.connection.query_row(sql, [], |row| {
            let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
            Ok(IndexContents {
                events: count(0)?,
                without_time: count(1)?,
                first: row.get(2)?,
                last: row.get(3)?,
                bytes: count(4)?,
            })
        });
        contents.map_err(|source| self.failed(source))
    }

    /// Removes the events of all files that are not in `retained`, and the texts that no other event has. Returns the number
    /// of removed events. The file does not become smaller, but later events use the space.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn retain_files(&mut self, retained: &HashSet<i64>) -> Result<u64, IndexError> {
        let path = &self.path;
        let removed = remove_others(&mut self.connection, retained);
        // A number of a removed text can be assigned to another text.
        self.texts.clear();
        removed.map_err(|source| sqlite_error(path, source))
    }

    /// Adds the events of a batch and stores the new position, in one transaction. The batch that was added last is not added
    /// again.
    fn add(&mut self, batch: &EventBatch, to: IndexMove<'_>) -> Result<(), rusqlite::Error> {
        let Self { connection, texts, .. } = self;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        to.store(&transaction)?;
        // If the acknowledgement of a batch was lost, the same batch is delivered again.
        let Some(first) = batch.events.first() else { return transaction.commit() };
        let batch_id = format!("{}:{}:{}", first.file, first.position.member, first.position.offset);
        let known: Option<String> = transaction
            .query_row("SELECT value FROM meta WHERE name = 'last_batch'", [], |row| row.get(0))
            .optional()?;
        if known.as_deref() == Some(&batch_id) {
            return transaction.commit();
        }
        transaction.execute("INSERT OR REPLACE INTO meta VALUES ('last_batch', ?1)", [&batch_id])?;
        for (number, path) in &batch.files {
            transaction
                .prepare_cached("INSERT OR IGNORE INTO files VALUES (?1, ?2)")?
                .execute(params![number, path])?;
        }
        if texts.len() > MAX_CACHED_TEXTS {
            texts.clear();
        }
        for (event, bytes) in batch.iter() {
            let fields = IndexedFields::read(bytes);
            let mut number = |text: &Option<std::borrow::Cow<'_, str>>| match text {
                None => Ok(None),
                Some(text) => text_number(&transaction, texts, text).map(Some),
            };
            let sql = "INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
            let values = params![
                event.file,
                event.position.member.cast_signed(),
                event.position.offset,
                event.position.length,
                id_prefix(fields.id(bytes)),
                fields.seconds(),
                number(&fields.name)?,
                number(&fields.source)?,
                number(&fields.account)?,
                number(&fields.region)?,
                number(&fields.principal)?,
                number(&fields.access_key)?,
                number(&fields.address)?,
                number(&fields.error)?,
            ];
            transaction.prepare_cached(sql)?.execute(values)?;
        }
        transaction.commit()
    }

    fn failed(&self, source: rusqlite::Error) -> IndexError {
        sqlite_error(&self.path, source)
    }
}

/// Returns the number of a text. Adds the text if it is new.
fn text_number(transaction: &Transaction<'_>, texts: &mut HashMap<String, i64>, text: &str) -> rusqlite::Result<i64> {
    if let Some(number) = texts.get(text) {
        return Ok(*number);
    }
    let found = transaction
        .prepare_cached("SELECT number FROM texts WHERE text = ?1")?
        .query_row([text], |row| row.get(0))
        .optional()?;
    let number = match found {
        Some(number) => number,
        None => {
            transaction.prepare_cached("INSERT INTO texts (text) VALUES (?1)")?.execute([text])?;
            transaction.last_insert_rowid()
        }
    };
    texts.insert(text.to_owned(), number);
    Ok(number)
}

/// The columns of `events` that are numbers of `texts`.
const TEXT_COLUMNS: [&str; 8] = ["name", "source", "account", "region", "principal", "access_key", "address", "error"];

/// Removes the events of all files that are not in `retained`, and returns their number.
fn remove_others(connection: &mut Connection, retained: &HashSet<i64>) -> rusqlite::Result<u64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let files: Vec<i64> =
        transaction.prepare("SELECT number FROM files")?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut others = files.iter().filter(|file| !retained.contains(file)).peekable();
    if others.peek().is_none() {
        return Ok(0);
    }
    for file in others {
        transaction.prepare_cached("DELETE FROM files WHERE number = ?1")?.execute([file])?;
    }
    let events = transaction.execute("DELETE FROM events WHERE file NOT IN (SELECT number FROM files)", [])?;
    let used = TEXT_COLUMNS.map(|column| format!("EXCEPT SELECT {column} FROM events")).join(" ");
    transaction.execute(&format!("DELETE FROM texts WHERE number IN (SELECT number FROM texts {used})"), [])?;
    transaction.commit()?;
    Ok(events as u64)
}

/// Returns the first 8 bytes of an event ID, as SQLite stores integers.
fn id_prefix(id: EventId) -> i64 {
    let mut prefix = [0; 8];
    prefix.copy_from_slice(&id.0[..8]);
    i64::from_be_bytes(prefix)
}

/// Returns the version of the index at `path`, or `None` if the file does not exist or contains no tables.
fn read_version(path: &Path) -> Result<Option<i32>, IndexError> {
    if std::fs::metadata(path).map_or(true, |file| file.len() == 0) {
        return Ok(None);
    }
    let failed = |source| sqlite_error(path, source);
    let connection = sqlite_file::connect_read_only(path).map_err(failed)?;
    sqlite_file::version(&connection, APPLICATION_ID).map_err(|error| match error {
        VersionError::Foreign(reason) => IndexError::Format { path: path.to_owned(), reason: reason.to_owned() },
        VersionError::Sqlite(source) => failed(source),
    })
}

fn sqlite_error(path: &Path, source: rusqlite::Error) -> IndexError {
    let path = path.to_owned();
    match (source.sqlite_error_code(), sqlite_file::denied(&path, &source)) {
        (Some(ErrorCode::NotADatabase), _) => IndexError::Format { path, reason: NOT_SQLITE.to_owned() },
        (_, Some(reason)) => IndexError::Denied { path, reason },
        (_, None) => IndexError::Sqlite { path, source },
    }
}

/// Returns the command that builds the index at `path`, which is in the folder `.trailhose` of its destination.
fn build_command(path: &Path) -> String {
    match path.ancestors().nth(2).filter(|dest| !dest.as_os_str().is_empty()) {
        Some(dest) => format!("trailhose index build {}", shell::word(&dest.to_string_lossy())),
        None => "trailhose index build .".to_owned(),
    }
}

fn newer(path: &Path, version: i32) -> IndexError {
    let reason = format!(
        "is an index of version {version}, but this program uses version {VERSION}: use the version of trailhose that \
         wrote it, or delete the file and build the index again"
    );
    IndexError::Format { path: path.to_owned(), reason }
}

/// The follower that fills an index.
#[derive(Debug)]
pub(crate) struct IndexFollower {
    index: Index,
    /// The ID of the folder.
    folder: String,
    /// The position in the state database.
    acknowledged: Cursor,
}

#[async_trait]
impl Follower for IndexFollower {
    fn name(&self) -> &str {
        FOLLOWER
    }

    fn limits(&self) -> BatchLimits {
        BatchLimits { events: 20_000, bytes: 32 << 20 }
    }

    async fn deliver(&mut self, batch: &EventBatch) -> Result<(), String> {
        let Self { index, folder, acknowledged } = self;
        let added = index.add(batch, IndexMove { folder, from: acknowledged, to: &batch.end });
        added.map_err(|error| index.failed(error).to_string())?;
        // If the acknowledgement fails, the follower stops, and its next run reads the position again.
        *acknowledged = batch.end.clone();
        Ok(())
    }

    async fn advance(&mut self, position: &Cursor) -> Result<(), String> {
        let Self { index, folder, acknowledged } = self;
        let added = index.add(&EventBatch::default(), IndexMove { folder, from: acknowledged, to: position });
        added.map_err(|error| index.failed(error).to_string())?;
        *acknowledged = position.clone();
        Ok(())
    }
}
