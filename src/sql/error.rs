//! Why a statement failed, and what to do.

use super::guard::{Denial, MAX_SQLITE_TEXT_BYTES, MAX_STATEMENT_BYTES, StopCheck, StopReason};
use super::names::QuotedStatement;
use super::{SqlLimits, TABLE, table};
use crate::suggest;
use rusqlite::ErrorCode;

/// Why a statement failed.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The statement contains a NUL byte.
    #[error("invalid SQL: NUL byte at offset {0}")]
    Nul(usize),
    /// There is no statement, or one that returns no rows, such as `VACUUM`.
    #[error(
        "there is no SELECT statement: expected for example SELECT eventName, count(*) FROM events GROUP BY eventName"
    )]
    NoSelect,
    /// The statement contains `?` or `:name`.
    #[error("the statement contains a parameter (?, :name, @name or $name): write the value itself")]
    Parameter,
    /// There is more than one statement.
    #[error("there are several SQL statements: expected one")]
    Several,
    /// The statement does something that is not allowed.
    #[error("the statement tries to {0}: only SELECT over the table {TABLE} is allowed")]
    NotAllowed(String),
    /// SQLite cannot parse the statement.
    #[error("invalid SQL{at}: {reason}")]
    Invalid {
        /// ` at line 1, column 8`, or nothing if it is not known.
        at: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The statement reached the time limit.
    #[error(
        "the statement was stopped after {0} second{plural}: raise --timeout, or read less (--since, or conditions on columns)",
        plural = if *.0 == 1 { "" } else { "s" }
    )]
    TimeLimit(u64),
    /// Ctrl-C or SIGTERM interrupted the statement.
    #[error("interrupted: the statement has no result")]
    Interrupted,
    /// The statement reached the memory limit.
    #[error(
        "the statement needs more than {0} MiB of memory: raise --memory, select fewer columns, or read less (--since, or \
         conditions on columns); `trailhose query --group-by` needs memory only for the groups"
    )]
    Memory(u64),
    /// The statement failed while it ran.
    #[error("the statement failed: {0}")]
    Failed(String),
    /// SQLite cannot be started.
    #[error("cannot start SQLite: {0}")]
    Start(String),
}

/// Explains an error of SQLite. `statement` is what the user wrote, `quoted` what SQLite received.
pub(super) fn explain(
    error: rusqlite::Error,
    statement: &str,
    quoted: &QuotedStatement,
    denial: &Denial,
    stop_check: &StopCheck,
    limits: SqlLimits,
) -> SqlError {
    let (code, message) = match &error {
        rusqlite::Error::MultipleStatement => return SqlError::Several,
        rusqlite::Error::SqlInputError { error, msg, .. } => (Some(error.code), msg.clone()),
        rusqlite::Error::SqliteFailure(error, message) => {
            (Some(error.code), message.clone().unwrap_or_else(|| error.to_string()))
        }
        other => (None, other.to_string()),
    };
    match (code, stop_check.reason()) {
        (Some(ErrorCode::OutOfMemory), _) => return SqlError::Memory(limits.memory >> 20),
        (Some(ErrorCode::TooBig), _) => return SqlError::Failed(too_big(statement)),
        (Some(ErrorCode::OperationInterrupted) | None, Some(reason)) => return stopped(reason, limits),
        _ => {}
    }
    if message == table::STOPPED {
        return stopped(stop_check.reason().unwrap_or(StopReason::Interrupted), limits);
    }
    if let Some(action) = denial.get() {
        return SqlError::NotAllowed(action);
    }
    // SQLite refuses to modify a virtual table without writes before it calls the authorizer.
    if message.ends_with(" may not be modified") {
        return SqlError::NotAllowed("write".to_owned());
    }
    let rusqlite::Error::SqlInputError { sql, offset, .. } = &error else {
        return match message.starts_with("no such ") {
            true => SqlError::Invalid { at: String::new(), reason: reason(&message) },
            false => SqlError::Failed(message),
        };
    };
    // If the text after the first statement is invalid, the error contains only this text.
    let start = quoted.text.len() - sql.len();
    let at = usize::try_from(*offset).ok().map(|offset| position(statement, quoted.original_offset(start + offset)));
    SqlError::Invalid { at: at.unwrap_or_default(), reason: reason(&message) }
}

fn stopped(reason: StopReason, limits: SqlLimits) -> SqlError {
    match reason {
        StopReason::TimeLimit => SqlError::TimeLimit(limits.timeout.as_secs()),
        StopReason::Interrupted => SqlError::Interrupted,
    }
}

fn too_big(statement: &str) -> String {
    if i32::try_from(statement.len()).is_ok_and(|length| length <= MAX_STATEMENT_BYTES) {
        format!("a text exceeds {} MiB", MAX_SQLITE_TEXT_BYTES >> 20)
    } else {
        format!("the statement exceeds {} MiB", MAX_STATEMENT_BYTES >> 20)
    }
}

/// Returns ` at line 1, column 8` for an offset in bytes.
fn position(statement: &str, offset: usize) -> String {
    let before = &statement[..statement.floor_char_boundary(offset)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!(" at line {line}, column {column}")
}

/// Returns a message of SQLite, with the next step if it is known.
fn reason(message: &str) -> String {
    if let Some(name) = message.strip_prefix("no such column: ") {
        return format!("{message}{}", column_hint(name));
    }
    if message.starts_with("no such table: ") {
        return format!("{message}; the only table is {TABLE}");
    }
    message.to_owned()
}

/// Returns a hint for an unknown column.
fn column_hint(name: &str) -> String {
    let name = name.split(" - ").next().unwrap_or(name).trim_matches('"');
    let names: Vec<String> = table::columns().into_iter().map(|column| column.name).collect();
    let names = || names.iter().map(String::as_str);
    // The first part can be the name of the table.
    let parts = [Some(name), name.split_once('.').map(|(_, rest)| rest)];
    for part in parts.into_iter().flatten() {
        if let Some(similar) = suggest::similar(part, names()) {
            return format!("; did you mean {similar}?");
        }
        if let Some((root, path)) = part.split_once('.')
            && let Some(column) = names().find(|column| column.eq_ignore_ascii_case(root))
        {
            return format!("; did you mean {column}->>'$.{path}'?");
        }
    }
    "; a text needs single quotes ('text'), and a field without a column is event->>'$.field'".to_owned()
}
