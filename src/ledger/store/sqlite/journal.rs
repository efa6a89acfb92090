//! Journal: the SQLite file of a local ledger, and the transaction that the ledger and the JSON Lines sink share.

use super::open_error::{FileAccess, beside, check_file, identify, io_error, older_format, store_error};
use crate::disk::{Disk, SystemDisk, create_folder};
use crate::ledger::store::StoreError;
use crate::sqlite_file::{self, FileLock};
use rusqlite::{Connection, TransactionBehavior};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// When a ledger write becomes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitMode {
    /// Each write before it is acknowledged. For sinks that keep what they acknowledged, such as Firehose.
    Durable,
    /// All writes together at a checkpoint, with the lengths of the output files. After a crash the ledger and the
    /// files agree: every recorded delivery is in the files, and every delivery in the files is recorded.
    Grouped,
}

/// SQL that converts the tables to the next format. The first entry converts format 1 to format 2.
const UPGRADES: [&str; 2] = [
    "ALTER TABLE rows ADD COLUMN quarantined_at INTEGER; ALTER TABLE rows ADD COLUMN accepted TEXT",
    "ALTER TABLE rows ADD COLUMN acknowledged BLOB",
];

/// Version of the tables below. A file with a newer version is rejected. An older one is converted when it is opened
/// for writes.
pub(super) const FORMAT: u32 = 1 + UPGRADES.len() as u32;

/// The ledger's own tables, of format [`FORMAT`]. A [`Schema`](super::Schema) adds the tables of another module.
const TABLES: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE rows (
        id BLOB PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, etag TEXT NOT NULL, status TEXT NOT NULL,
        token BLOB, until INTEGER NOT NULL, cursor INTEGER NOT NULL, seen INTEGER, delivered INTEGER,
        duplicate INTEGER, filtered INTEGER, oversize INTEGER, reason TEXT, expires INTEGER,
        quarantined_at INTEGER, accepted TEXT, acknowledged BLOB
    ) WITHOUT ROWID;
    CREATE INDEX leased ON rows (until) WHERE until > 0;
    CREATE INDEX quarantined ON rows (status) WHERE status = 'quarantined';
    CREATE TABLE pages (
        name TEXT PRIMARY KEY, version INTEGER NOT NULL, full INTEGER NOT NULL, expires INTEGER NOT NULL,
        entries BLOB NOT NULL
    );
";

/// An open ledger file, locked by this process.
pub struct Journal {
    path: PathBuf,
    mode: CommitMode,
    id: String,
    state: Mutex<ConnectionState>,
    /// Holds the lock, which the operating system releases when the process ends for any reason. None if read-only.
    _lock: Option<File>,
}

enum ConnectionState {
    Open(OpenConnection),
    /// Invalid, with the reason. Uncommitted writes are rolled back.
    Invalid(String),
}

struct OpenConnection {
    connection: Connection,
    /// Value of `total_changes` at the last commit. If it differs, there is something to commit.
    committed: u64,
}

impl Journal {
    /// Opens the ledger at `path` and creates the file and its folders if they do not exist. Ends leases that a
    /// killed process left: the lock proves that their holder is gone.
    ///
    /// # Errors
    /// If another process has locked the ledger, if the file is not a ledger or is from a newer version, or if the
    /// folder is not writable.
    pub(crate) fn open(path: &Path, mode: CommitMode) -> Result<Self, StoreError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        create_folder(&SystemDisk, folder).map_err(|error| {
            StoreError::Denied(format!("cannot create the ledger's folder {}: {error}", folder.display()))
        })?;
        check_file(path, FileAccess::Write)?;
        let was_locked_before = beside(path, ".lock").exists();
        let lock = lock(path)?;
        let was_empty = std::fs::metadata(path).is_ok_and(|found| found.len() == 0);
        let failed = |error| store_error(path, error);
        let mut connection = Connection::open(path).map_err(failed)?;
        let id = match prepare(&mut connection, path) {
            // A file that is not a ledger can be anywhere, for example in a source.
            Err(error @ StoreError::Unreadable(_)) if !was_locked_before => {
                let _ = std::fs::remove_file(beside(path, ".lock"));
                return Err(error);
            }
            prepared => prepared?,
        };
        if was_empty {
            tracing::warn!(
                "the ledger {} was an empty file, and a new ledger was created in it. If it contained a ledger before, stop, and \
                 restore it from a backup: with the new ledger, all events are delivered again",
                path.display()
            );
        }
        // SQLite syncs the file, but not its entry in the folder.
        SystemDisk.sync_folder(folder).map_err(|error| {
            StoreError::Unknown(format!("cannot sync the ledger's folder {}: {error}", folder.display()))
        })?;
        connection
            .execute("UPDATE rows SET until = 0, token = NULL WHERE until > 0", [])
            .and_then(|_| match mode {
                CommitMode::Durable => Ok(()),
                CommitMode::Grouped => connection.execute_batch("BEGIN IMMEDIATE"),
            })
            .map_err(failed)?;
        let committed = connection.total_changes();
        let state = Mutex::new(ConnectionState::Open(OpenConnection { connection, committed }));
        Ok(Self { path: path.to_owned(), mode, id, state, _lock: Some(lock) })
    }

    /// Opens the ledger at `path` read-only, also while another process writes it. Reads see committed writes. Permission
    /// to write the file or its folder is needed only if a process that was killed left its last commits in the write-ahead
    /// log.
    ///
    /// # Errors
    /// If the file does not exist, is not a ledger, or is from a newer version.
    pub(crate) fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        check_file(path, FileAccess::Read)?;
        let connection = sqlite_file::connect_read_only(path).map_err(|error| store_error(path, error))?;
        let (id, format) = identify(&connection, path)?;
        if format < FORMAT {
            return Err(older_format(path, format));
        }
        let committed = connection.total_changes();
        let state = Mutex::new(ConnectionState::Open(OpenConnection { connection, committed }));
        Ok(Self { path: path.to_owned(), mode: CommitMode::Durable, id, state, _lock: None })
    }

    /// Returns the path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns when writes become durable.
    pub(crate) fn mode(&self) -> CommitMode {
        self.mode
    }

    /// Returns the ledger's ID: 32 random hexadecimal digits, generated when the ledger was created.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Returns an error if the journal is invalid.
    ///
    /// # Errors
    /// The reason why the journal is invalid.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        self.read(|_| Ok(()))
    }

    /// Runs `read`, which also sees uncommitted writes.
    ///
    /// # Errors
    /// Errors of `read`; [`StoreError::Unknown`] if the journal is invalid.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match &*self.state() {
            ConnectionState::Open(open) => read(&open.connection),
            ConnectionState::Invalid(reason) => Err(StoreError::Unknown(reason.clone())),
        }
    }

    /// Runs `write`. Its writes are durable on return, or with the next [`Journal::commit`], depending on the mode.
    /// If `write` fails, it must leave nothing half written.
    ///
    /// # Errors
    /// Errors of `write`; [`StoreError::Unknown`] if the journal is invalid.
    pub(crate) fn write<T>(&self, write: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut state = self.state();
        let open = match &mut *state {
            ConnectionState::Open(open) => open,
            ConnectionState::Invalid(reason) => return Err(StoreError::Unknown(reason.clone())),
        };
        match self.mode {
            CommitMode::Grouped => write(&open.connection),
            CommitMode::Durable => {
                let transaction = open
                    .connection
                    .transaction_with_behavior(TransactionBehavior::Immediate)
                    .map_err(|error| store_error(&self.path, error))?;
                let written = write(&transaction)?;
                transaction.commit().map_err(|error| store_error(&self.path, error))?;
                Ok(written)
            }
        }
    }

    /// Returns whether [`Journal::commit`] has anything to make durable.
    pub(crate) fn pending(&self) -> bool {
        matches!(&*self.state(), ConnectionState::Open(open) if open.connection.total_changes() != open.committed)
    }

    /// Runs `final_writes` and makes all writes durable. If that fails, the journal becomes invalid, and the file keeps
    /// the state of the last commit.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn commit(&self, final_writes: impl FnOnce(&Connection) -> rusqlite::Result<()>) -> Result<(), StoreError> {
        let final_writes =
            |connection: &Connection| final_writes(connection).map_err(|error| store_error(&self.path, error));
        if self.mode == CommitMode::Durable {
            return self.write(final_writes);
        }
        let mut state = self.state();
        // Invalid until the commit has succeeded: if `final_writes` panics, a later commit must not contain half of it.
        let panicked = ConnectionState::Invalid(invalid_reason("a commit ended unexpectedly"));
        let mut open = match std::mem::replace(&mut *state, panicked) {
            ConnectionState::Open(open) => open,
            ConnectionState::Invalid(reason) => {
                *state = ConnectionState::Invalid(reason.clone());
                return Err(StoreError::Unknown(reason));
            }
        };
        let committed = final_writes(&open.connection).and_then(|()| {
            open.connection.execute_batch("COMMIT; BEGIN IMMEDIATE").map_err(|error| store_error(&self.path, error))
        });
        *state = match &committed {
            Ok(()) => {
                open.committed = open.connection.total_changes();
                ConnectionState::Open(open)
            }
            Err(error) => ConnectionState::Invalid(invalid_reason(&error.to_string())),
        };
        committed
    }

    /// Rolls back uncommitted writes and makes the journal invalid, so that all later operations fail. The first
    /// reason is kept.
    pub(crate) fn invalidate(&self, reason: &str) {
        let mut state = self.state();
        if matches!(&*state, ConnectionState::Open(_)) {
            // Dropping the connection rolls back its transaction.
            *state = ConnectionState::Invalid(invalid_reason(reason));
        }
    }

    fn state(&self) -> MutexGuard<'_, ConnectionState> {
        // A panic in a closure does not corrupt SQLite's state. [`Journal::commit`] and the sink invalidate the journal
        // if a panic leaves incomplete writes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn invalid_reason(reason: &str) -> String {
    format!("work since the last checkpoint was rolled back: {reason}; rerun to resume from the checkpoint")
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("path", &self.path).field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// Locks a file next to the ledger. SQLite's own lock is not used, so that a ledger in use can be inspected.
fn lock(path: &Path) -> Result<File, StoreError> {
    let name = beside(path, ".lock");
    match sqlite_file::lock(&name).map_err(|error| io_error(&name, &error))? {
        FileLock::Taken(file) => Ok(file),
        FileLock::InUse(holder) => Err(StoreError::Denied(format!(
            "the ledger {} is in use by {holder}, which holds the lock {}: wait until that process ends, or stop it",
            path.display(),
            name.display()
        ))),
    }
}

/// Creates the tables in an empty file, or checks the version of an existing ledger, and returns the ledger's ID.
fn prepare(connection: &mut Connection, path: &Path) -> Result<String, StoreError> {
    let failed = |error| store_error(path, error);
    connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(failed)?;
    let count_tables = |connection: &Connection| {
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0)).map_err(failed)
    };
    // The file of another program must not be changed. The settings below would change it.
    if count_tables(connection)? > 0 {
        identify(connection, path)?;
    }
    connection.set_prepared_statement_cache_capacity(64);
    // FULL: a commit is on the disk when it returns, not only in the operating system's cache.
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -16384;")
        .map_err(failed)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    if count_tables(&transaction)? == 0 {
        let id = format!("{:032x}", uuid::Uuid::new_v4().as_u128());
        transaction
            .execute_batch(TABLES)
            .and_then(|()| {
                transaction
                    .execute("INSERT INTO meta VALUES ('format', ?1), ('ledger', ?2)", [&FORMAT.to_string(), &id])
            })
            .map_err(failed)?;
        transaction.commit().map_err(failed)?;
        return Ok(id);
    }
    let (id, format) = identify(&transaction, path)?;
    for upgrade in UPGRADES.iter().skip(format as usize - 1) {
        transaction.execute_batch(upgrade).map_err(failed)?;
    }
    transaction
        .execute("UPDATE meta SET value = ?1 WHERE name = 'format' AND value <> ?1", [FORMAT.to_string()])
        .map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(id)
}
