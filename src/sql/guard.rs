//! What a statement may do: read events within limits, and nothing else.

use super::{SqlError, TABLE};
use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::watch;
use trailhose_virtual_table::ReadOnlyTable;

/// Maximum size of a text that SQLite creates, in bytes. The largest events have 1 MiB.
pub(super) const MAX_SQLITE_TEXT_BYTES: i32 = 64 << 20;

/// Maximum length of a statement, in bytes.
pub(super) const MAX_STATEMENT_BYTES: i32 = 1 << 20;

/// The number of steps of SQLite between two checks of the time limit: less than a millisecond.
const STEPS_BETWEEN_CHECKS: i32 = 10_000;

/// The first action of a statement that is not allowed.
#[derive(Debug, Clone, Default)]
pub(super) struct Denial(Arc<Mutex<Option<String>>>);

impl Denial {
    /// Returns the first action that the statement tried and that is not allowed.
    pub(super) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, action: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(action);
    }
}

/// Why a statement stops before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
    TimeLimit,
    Interrupted,
}

/// Decides whether a statement must stop.
#[derive(Debug, Clone)]
pub(super) struct StopCheck {
    deadline: Instant,
    halt: watch::Receiver<bool>,
}

impl StopCheck {
    pub(super) fn new(deadline: Instant, halt: watch::Receiver<bool>) -> Self {
        Self { deadline, halt }
    }

    /// Returns why the statement must stop, if it must.
    pub(super) fn reason(&self) -> Option<StopReason> {
        if *self.halt.borrow() {
            return Some(StopReason::Interrupted);
        }
        (Instant::now() >= self.deadline).then_some(StopReason::TimeLimit)
    }
}

/// Opens an empty database that contains only the events, and allows only statements that read. `memory` is the limit of
/// all memory of SQLite in this process, in bytes.
pub(super) fn open(
    table: Arc<dyn ReadOnlyTable>,
    memory: u64,
    stop_check: &StopCheck,
) -> Result<(Connection, Denial), SqlError> {
    let denial = Denial::default();
    let connection =
        restricted(table, memory, stop_check, &denial).map_err(|error| SqlError::Start(error.to_string()))?;
    Ok((connection, denial))
}

fn restricted(
    table: Arc<dyn ReadOnlyTable>,
    memory: u64,
    stop_check: &StopCheck,
    denial: &Denial,
) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_in_memory_with_flags(flags)?;
    trailhose_virtual_table::register(&connection, TABLE, table)?;
    // Sorted rows and materialized queries stay in memory, so that the memory limit covers them.
    connection.execute_batch(&format!(
        "PRAGMA temp_store = MEMORY; PRAGMA hard_heap_limit = {memory}; PRAGMA query_only = 1; PRAGMA trusted_schema = 0;"
    ))?;
    for (config, value) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        // An unknown name in double quotes is an error, not a text.
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
    ] {
        connection.set_db_config(config, value)?;
    }
    for (limit, value) in [
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
        (Limit::SQLITE_LIMIT_LENGTH, MAX_SQLITE_TEXT_BYTES),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, MAX_STATEMENT_BYTES),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 200),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 50),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1_000),
    ] {
        connection.set_limit(limit, value)?;
    }
    let stop_check = stop_check.clone();
    connection.progress_handler(STEPS_BETWEEN_CHECKS, Some(move || stop_check.reason().is_some()))?;
    let denial = denial.clone();
    connection.authorizer(Some(move |context: AuthContext<'_>| match denied(&context.action) {
        None => Authorization::Allow,
        Some(action) => {
            denial.set(action);
            Authorization::Deny
        }
    }))?;
    Ok(connection)
}

/// Returns a description of an action that is not allowed, and `None` for others.
fn denied(action: &AuthAction<'_>) -> Option<String> {
    let what = match action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => return None,
        AuthAction::Function { function_name } => match function_name.to_ascii_lowercase().as_str() {
            "load_extension" => "load an extension",
            "fts3_tokenizer" => "change the tokenizer of a text search",
            _ => return None,
        },
        AuthAction::Attach { .. } => "attach a database",
        AuthAction::Detach { .. } => "detach a database",
        AuthAction::Pragma { pragma_name, .. } => return Some(format!("use PRAGMA {pragma_name}")),
        AuthAction::Insert { .. } | AuthAction::Update { .. } | AuthAction::Delete { .. } => "write",
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => "control a transaction",
        AuthAction::DropTable { .. }
        | AuthAction::DropIndex { .. }
        | AuthAction::DropView { .. }
        | AuthAction::DropTrigger { .. }
        | AuthAction::DropTempTable { .. }
        | AuthAction::DropTempIndex { .. }
        | AuthAction::DropTempView { .. }
        | AuthAction::DropTempTrigger { .. }
        | AuthAction::DropVtable { .. } => "drop an object of the schema",
        AuthAction::AlterTable { .. } | AuthAction::Reindex { .. } | AuthAction::Analyze { .. } => {
            "change the database"
        }
        _ => "create an object of the schema",
    };
    Some(what.to_owned())
}
