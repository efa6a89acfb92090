//! The state database: stores the positions of followers, the findings of detection rules, the outbox of alerts, the states
//! of forwards, and the sources, runs and tokens of the API. Every write is durable when it returns.
//!
//! It is separate from the ledger. A sync holds a transaction of the ledger open until its next checkpoint, so another
//! process could not write there, and a rollback of the ledger must not move a follower back.

#[cfg(feature = "detect")]
mod finding_retention;
#[cfg(feature = "detect")]
mod findings;
#[cfg(feature = "forward")]
mod forwards;
#[cfg(feature = "detect")]
mod outbox;
mod retention_runs;
#[cfg(feature = "detect")]
mod review;

#[cfg(feature = "serve")]
mod api_sources;
#[cfg(feature = "serve")]
mod runs;
#[cfg(feature = "serve")]
mod tokens;

#[cfg(feature = "serve")]
pub use api_sources::StoredSource;
#[cfg(feature = "serve")]
pub use runs::{RunCounts, RunState, StoredRun};
#[cfg(feature = "serve")]
pub use tokens::{ApiToken, TokenScope};

#[cfg(feature = "detect")]
pub use crate::finding_store::{AlertState, FindingFilter, FindingState, RuleReport, StoredAlert, StoredFinding};
#[cfg(feature = "detect")]
pub use finding_retention::{DeletedFindings, FindingRetention};
#[cfg(feature = "forward")]
pub use forwards::{ForwardCondition, ForwardState, RefusedEvent};

use crate::sink::jsonl::Segment;
use crate::sqlite_file::{self, FileLock, VersionError};
use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The name of the file in a destination's folder `.trailhose`.
pub const STATE_FILE: &str = "state.db";

/// How long a command waits for the write of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Identifies the file as a state database: the bytes `thst`.
const APPLICATION_ID: i32 = 0x7468_7374;

/// SQL that upgrades the tables from version *n*, which is its index, to *n* + 1. The first entry creates them.
const UPGRADES: [&str; 8] = [
    "
    CREATE TABLE followers (
        name TEXT PRIMARY KEY, folder TEXT NOT NULL, segment INTEGER NOT NULL, lines INTEGER, fingerprint TEXT NOT NULL,
        events INTEGER NOT NULL, skipped_segments INTEGER NOT NULL, skipped_events INTEGER NOT NULL
    ) WITHOUT ROWID;",
    "ALTER TABLE followers ADD COLUMN filtered INTEGER NOT NULL DEFAULT 0;",
    // `content` is NULL for findings over the limit of their rule and hour. `alerted` is the finding of a window's first
    // alert. `due` is in milliseconds since 1970; all other times are in seconds since 1970.
    "
    CREATE TABLE findings (
        id TEXT PRIMARY KEY, rule TEXT NOT NULL, group_id TEXT NOT NULL, window INTEGER NOT NULL, time INTEGER,
        recorded INTEGER NOT NULL, state TEXT NOT NULL, note TEXT, content TEXT
    ) WITHOUT ROWID;
    CREATE INDEX findings_by_recorded ON findings (recorded);
    CREATE TABLE rule_hours (
        rule TEXT NOT NULL, hour INTEGER NOT NULL, stored INTEGER NOT NULL, overflow INTEGER NOT NULL,
        PRIMARY KEY (rule, hour)
    ) WITHOUT ROWID;
    CREATE TABLE windows (
        group_id TEXT NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL, rule TEXT NOT NULL,
        findings INTEGER NOT NULL, late INTEGER NOT NULL, alerted TEXT, closed INTEGER, PRIMARY KEY (group_id, start)
    ) WITHOUT ROWID;
    CREATE INDEX open_windows ON windows (stop) WHERE closed IS NULL;
    CREATE TABLE alerts (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL, destination TEXT NOT NULL, group_id TEXT NOT NULL,
        content TEXT NOT NULL, state TEXT NOT NULL, recorded INTEGER NOT NULL, attempts INTEGER NOT NULL,
        due INTEGER NOT NULL, sent INTEGER, error TEXT, UNIQUE (id, destination)
    );
    CREATE INDEX pending_alerts ON alerts (destination, group_id, number) WHERE state = 'pending';
    CREATE TABLE circuits (
        destination TEXT PRIMARY KEY, failures INTEGER NOT NULL, open_until INTEGER NOT NULL, error TEXT NOT NULL
    ) WITHOUT ROWID;",
    // `batch` is the ID of the last request. In `refused_events`, it is the ID of a request with only this event.
    // `wait_until` is in milliseconds since 1970; all other times are in seconds since 1970.
    "
    CREATE TABLE forwards (
        name TEXT PRIMARY KEY, paused INTEGER NOT NULL, failures INTEGER NOT NULL, refusals INTEGER NOT NULL,
        wait_until INTEGER NOT NULL, error TEXT, batch TEXT NOT NULL, requests INTEGER NOT NULL, repeats INTEGER NOT NULL,
        accepted INTEGER NOT NULL, last_accepted INTEGER
    ) WITHOUT ROWID;
    CREATE TABLE refused_events (
        number INTEGER PRIMARY KEY, forward TEXT NOT NULL, batch TEXT NOT NULL, event_id TEXT NOT NULL,
        content BLOB NOT NULL, status INTEGER NOT NULL, response TEXT NOT NULL, recorded INTEGER NOT NULL,
        attempts INTEGER NOT NULL, retry INTEGER NOT NULL, UNIQUE (forward, batch)
    );
    CREATE INDEX retried_events ON refused_events (forward, number) WHERE retry;",
    // Sources of the API, runs of all sources, and tokens of the API. The number of a run is never used again. Times are in
    // seconds since 1970. `hash` is the SHA-256 of a token.
    "
    CREATE TABLE api_sources (id TEXT PRIMARY KEY, settings TEXT NOT NULL, created INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE runs (
        number INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, started INTEGER NOT NULL, ended INTEGER,
        state TEXT NOT NULL, objects INTEGER NOT NULL, events INTEGER NOT NULL, delivered INTEGER NOT NULL,
        duplicates INTEGER NOT NULL, filtered INTEGER NOT NULL, quarantined INTEGER NOT NULL, error TEXT
    );
    CREATE INDEX runs_by_source ON runs (source, number);
    CREATE TABLE tokens (
        name TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, scopes TEXT NOT NULL, is_unlimited INTEGER NOT NULL,
        created INTEGER NOT NULL, revoked INTEGER
    ) WITHOUT ROWID;",
    // Suppressed findings have a limit of their own in each hour.
    "ALTER TABLE rule_hours ADD COLUMN suppressed INTEGER NOT NULL DEFAULT 0;",
    // When old files and old findings were last deleted, in seconds since 1970.
    "CREATE TABLE retention_runs (name TEXT PRIMARY KEY, time INTEGER NOT NULL) WITHOUT ROWID;",
    // The number of alerts that a destination refused in a row.
    "ALTER TABLE circuits ADD COLUMN refusals INTEGER NOT NULL DEFAULT 0;",
];

/// Why the state database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file or its folder cannot be opened.
    #[error("cannot open the state database {path}: {reason}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The file is not a state database, or a newer program wrote it.
    #[error("{path} {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        reason: String,
    },
    /// The disk is full. The last write is not durable.
    #[error(
        "cannot write the state database {0}: the disk is full. Free space and run the command again; nothing is lost"
    )]
    Full(PathBuf),
    /// SQLite failed.
    #[error("the state database {path} failed: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// The error.
        source: rusqlite::Error,
    },
    /// Another process runs the same follower.
    #[error(
        "the follower {name} already runs in {holder}: wait until that process ends, or stop it. The lock is {path}"
    )]
    InUse {
        /// The name of the follower.
        name: String,
        /// The process that holds the lock, if it is known.
        holder: String,
        /// The lock file.
        path: PathBuf,
    },
}

/// How far a follower has read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The ID of the last segment with acknowledged events. 0 before the first one.
    pub segment: i64,
    /// The number of its events that are acknowledged. `None` if all are.
    pub lines: Option<u64>,
    /// The fingerprint of that segment. Empty before the first one.
    pub fingerprint: String,
}

impl Cursor {
    /// Returns the position after all events of a segment.
    pub fn after(segment: &Segment) -> Self {
        Self { segment: segment.id, lines: None, fingerprint: segment.fingerprint() }
    }
}

/// The stored state of a follower.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FollowerState {
    /// The ID of the destination folder that it reads.
    pub folder: String,
    /// How far it has read.
    pub cursor: Cursor,
    /// The number of events that it acknowledged.
    pub events: u64,
    /// The number of events that its filter dropped.
    pub filtered: u64,
    /// The number of segments that it skipped since it last started from the first segment: unreadable ones that a person decided
    /// to skip, and ones that were pruned before it read them.
    pub skipped_segments: u64,
    /// The number of events in the skipped segments, as far as it is known.
    pub skipped_events: u64,
}

/// An open state database. Several processes can use it at the same time.
#[derive(Debug)]
pub struct StateDatabase {
    path: PathBuf,
    connection: Mutex<Connection>,
}

/// The exclusive right to run one follower. The operating system releases it when the process ends.
#[derive(Debug)]
pub struct FollowerLock {
    _file: File,
}

impl StateDatabase {
    /// Opens the database at `path`, and creates it if it does not exist.
    ///
    /// # Errors
    /// Returns an error if the file cannot be opened, is not a state database, or is from a newer version.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let cannot_open = |reason: String| StateError::Open { path: path.to_owned(), reason };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| cannot_open(error.to_string()))?;
        }
        let mut connection = Connection::open(path).map_err(|error| failed(path, error))?;
        prepare(&mut connection, path)?;
        Ok(Self { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    /// Opens the database at `path` for reading, also without the permission to write it. A missing file counts as an
    /// empty database, and is not created. A file of an earlier version is upgraded first, which needs that permission.
    ///
    /// # Errors
    /// Those of [`StateDatabase::open`].
    pub fn open_read_only(path: &Path) -> Result<Self, StateError> {
        let failed = |error| failed(path, error);
        let opened = |connection| Self { path: path.to_owned(), connection: Mutex::new(connection) };
        if matches!(path.try_exists(), Ok(false)) {
            let mut connection = Connection::open_in_memory().map_err(failed)?;
            prepare(&mut connection, path)?;
            return Ok(opened(connection));
        }
        let connection = sqlite_file::connect_read_only(path).map_err(failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        if version(&connection, path)? == UPGRADES.len() {
            return Ok(opened(connection));
        }
        drop(connection);
        Self::open(path)
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the state of a follower, if it ever ran.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn follower(&self, name: &str) -> Result<Option<FollowerState>, StateError> {
        let sql = "SELECT folder, segment, lines, fingerprint, events, skipped_segments, skipped_events, filtered
             FROM followers WHERE name = ?1";
        let found = self
            .connection()
            .prepare_cached(sql)
            .and_then(|mut found| found.query_row([name], follower_row).optional());
        found.map_err(|error| self.failed(error))
    }

    /// Returns the names and states of all followers, ordered by name.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn followers(&self) -> Result<Vec<(String, FollowerState)>, StateError> {
        let sql = "SELECT folder, segment, lines, fingerprint, events, skipped_segments, skipped_events, filtered, name
             FROM followers ORDER BY name";
        let rows = self.connection().prepare_cached(sql).and_then(|mut found| {
            found.query_map([], |row| Ok((row.get(8)?, follower_row(row)?)))?.collect::<rusqlite::Result<_>>()
        });
        rows.map_err(|error| self.failed(error))
    }

    /// Durably replaces the state of a follower.
    ///
    /// # Errors
    /// [`StateError::Full`] if the disk is full; other errors of SQLite.
    pub fn put_follower(&self, name: &str, state: &FollowerState) -> Result<(), StateError> {
        let sql = "INSERT OR REPLACE INTO followers
             (name, folder, segment, lines, fingerprint, events, skipped_segments, skipped_events, filtered)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let values = params![
            name,
            state.folder,
            state.cursor.segment,
            state.cursor.lines.map(u64::cast_signed),
            state.cursor.fingerprint,
            state.events.cast_signed(),
            state.skipped_segments.cast_signed(),
            state.skipped_events.cast_signed(),
            state.filtered.cast_signed(),
        ];
        let written = self.connection().prepare_cached(sql).and_then(|mut put| put.execute(values));
        written.map(drop).map_err(|error| self.failed(error))
    }

    /// Durably removes a follower: its position, and for a forward its state and the events that its destination refused. Returns
    /// whether it existed.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn remove_follower(&self, name: &str) -> Result<bool, StateError> {
        self.write(|transaction| {
            if let Some(forward) = name.strip_prefix("forward-") {
                transaction.execute("DELETE FROM refused_events WHERE forward = ?1", [forward])?;
                transaction.execute("DELETE FROM forwards WHERE name = ?1", [forward])?;
            }
            transaction.execute("DELETE FROM followers WHERE name = ?1", [name]).map(|rows| rows > 0)
        })
    }

    /// Takes the exclusive right to run a follower.
    ///
    /// # Errors
    /// [`StateError::InUse`] if another process has it.
    pub fn lock_follower(&self, name: &str) -> Result<FollowerLock, StateError> {
        let path = self.path.with_file_name(format!("follower-{name}.lock"));
        let cannot_open = |error: std::io::Error| StateError::Open { path: path.clone(), reason: error.to_string() };
        match sqlite_file::lock(&path).map_err(cannot_open)? {
            FileLock::Taken(file) => Ok(FollowerLock { _file: file }),
            FileLock::InUse(holder) => Err(StateError::InUse { name: name.to_owned(), holder, path }),
        }
    }

    /// Makes every commit after the first `commits` ones fail, as if the process had stopped before it.
    #[cfg(all(test, feature = "detect"))]
    pub(crate) fn fail_commits_after(&self, commits: u64, counter: &std::sync::Arc<std::sync::atomic::AtomicU64>) {
        let counter = std::sync::Arc::clone(counter);
        let is_after = move || counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst) >= commits;
        self.connection().commit_hook(Some(is_after)).unwrap();
    }

    /// Writes in one transaction.
    fn write<T>(&self, write: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, StateError> {
        let mut connection = self.connection();
        let written = connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|transaction| {
            let value = write(&transaction)?;
            transaction.commit().map(|()| value)
        });
        written.map_err(|error| self.failed(error))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: rusqlite::Error) -> StateError {
        failed(&self.path, error)
    }
}

fn follower_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<FollowerState> {
    let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
    let lines = row.get::<_, Option<i64>>(2)?.map(i64::cast_unsigned);
    Ok(FollowerState {
        folder: row.get(0)?,
        cursor: Cursor { segment: row.get(1)?, lines, fingerprint: row.get(3)? },
        events: count(4)?,
        skipped_segments: count(5)?,
        skipped_events: count(6)?,
        filtered: count(7)?,
    })
}

fn failed(path: &Path, error: rusqlite::Error) -> StateError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StateError::Full(path.to_owned()),
        Some(ErrorCode::NotADatabase) => {
            StateError::Format { path: path.to_owned(), reason: sqlite_file::NOT_SQLITE.to_owned() }
        }
        _ => match sqlite_file::denied(path, &error) {
            Some(reason) => StateError::Open { path: path.to_owned(), reason },
            None => StateError::Sqlite { path: path.to_owned(), source: error },
        },
    }
}

/// Creates or upgrades the tables.
fn prepare(connection: &mut Connection, path: &Path) -> Result<(), StateError> {
    let failed = |error| failed(path, error);
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    // The file of another program must not be changed. The settings below would change it.
    version(connection, path)?;
    // FULL: a commit is on the disk when it returns.
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL").map_err(failed)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    // Read again: another process may have created the tables since.
    let version = version(&transaction, path)?;
    let Some(missing) = UPGRADES.get(version..) else {
        let reason = format!(
            "is a state database of version {version}, but this program reads up to version {}; use the version of \
             trailhose that wrote it",
            UPGRADES.len()
        );
        return Err(StateError::Format { path: path.to_owned(), reason });
    };
    if missing.is_empty() {
        return Ok(());
    }
    for upgrade in missing {
        transaction.execute_batch(upgrade).map_err(failed)?;
    }
    let pragmas = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {}", UPGRADES.len());
    transaction.execute_batch(&pragmas).and_then(|()| transaction.commit()).map_err(failed)
}

/// Returns the version of the tables, or 0 if the file contains none.
fn version(connection: &Connection, path: &Path) -> Result<usize, StateError> {
    match sqlite_file::version(connection, APPLICATION_ID) {
        Ok(version) => Ok(usize::try_from(version.unwrap_or(0)).unwrap_or(usize::MAX)),
        Err(VersionError::Foreign(reason)) => {
            Err(StateError::Format { path: path.to_owned(), reason: reason.to_owned() })
        }
        Err(VersionError::Sqlite(error)) => Err(failed(path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follower_state_survives_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join(STATE_FILE);
        let state = FollowerState {
            folder: "f".into(),
            cursor: Cursor { segment: 7, lines: Some(3), fingerprint: "p".into() },
            events: 9,
            skipped_segments: 1,
            skipped_events: 2,
            filtered: 5,
        };
        StateDatabase::open(&path).unwrap().put_follower("index", &state).unwrap();
        let reopened = StateDatabase::open(&path).unwrap();
        assert_eq!(reopened.follower("index").unwrap(), Some(state.clone()));
        assert_eq!(reopened.followers().unwrap(), [("index".to_owned(), state)]);
        assert_eq!(reopened.follower("other").unwrap(), None);
    }

    #[test]
    fn second_process_cannot_run_the_same_follower() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDatabase::open(&folder.path().join(STATE_FILE)).unwrap();
        let lock = state.lock_follower("index").unwrap();
        let error = state.lock_follower("index").unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        state.lock_follower("forward").unwrap();
        drop(lock);
        state.lock_follower("index").unwrap();
    }

    #[test]
    fn files_of_other_programs_and_newer_versions_are_refused_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(STATE_FILE);
        let other = Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE t (x)").unwrap();
        drop(other);
        let before = std::fs::read(&path).unwrap();
        let error = StateDatabase::open(&path).unwrap_err().to_string();
        assert!(error.contains("another program"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before, "the file of another program is unchanged");
        std::fs::write(&path, "text, not a database, and longer than a header of 100 bytes".repeat(20)).unwrap();
        let error = StateDatabase::open(&path).unwrap_err().to_string();
        assert!(error.contains("not an SQLite file"), "{error}");
        std::fs::remove_file(&path).unwrap();
        drop(StateDatabase::open(&path).unwrap());
        Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
        let error = StateDatabase::open(&path).unwrap_err().to_string();
        assert!(error.contains("version 99"), "{error}");
    }

    /// The database cannot grow, as on a full disk. The previous state remains.
    #[test]
    fn full_disk_is_reported_and_keeps_the_previous_state() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDatabase::open(&folder.path().join(STATE_FILE)).unwrap();
        let before = FollowerState { folder: "f".into(), ..FollowerState::default() };
        state.put_follower("index", &before).unwrap();
        state.connection().execute_batch("PRAGMA max_page_count = 1").unwrap();
        let large = FollowerState { folder: "f".repeat(100_000), ..FollowerState::default() };
        let error = state.put_follower("index", &large).unwrap_err();
        assert!(matches!(error, StateError::Full(_)), "{error}");
        assert_eq!(state.follower("index").unwrap(), Some(before));
    }
}
