//! SQL over events: runs one `SELECT` of SQLite over the table [`TABLE`], whose rows come from a [`QueryScan`].
//!
//! ```text
//! statement ─▶ names with dots ─▶ SQLite: authorizer, limits ─▶ events table ─▶ scan ─▶ rows
//! ```
//!
//! SQLite passes the conditions of a statement to the table. The scan reads less with those that a
//! [`Plan`](crate::plan::Plan) can express, and SQLite tests every row again.

mod duckdb;
mod error;
mod guard;
mod names;
mod rows;
mod table;

pub use duckdb::duckdb_view;
pub use error::SqlError;
pub use table::SqlSpan;

use crate::query::{QueryControl, QueryScan, ScanReport};
use guard::StopCheck;
use jiff::civil::Date;
use rows::ReadContext;
use rusqlite::Connection;
use rusqlite::types::Value;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use table::EventsTable;
use tokio::runtime::Handle;

/// The name of the table.
pub const TABLE: &str = "events";

/// Limits of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqlLimits {
    /// Maximum number of returned rows.
    pub rows: u64,
    /// Maximum duration.
    pub timeout: Duration,
    /// Maximum memory of all SQLite databases of the process, in bytes. SQLite writes no temporary files.
    pub memory: u64,
}

impl Default for SqlLimits {
    /// Returns limits of 1,000 rows, 10 minutes and 512 MiB.
    fn default() -> Self {
        Self { rows: 1_000, timeout: Duration::from_secs(600), memory: 512 << 20 }
    }
}

/// Runs statements over the events of a scan.
#[derive(Debug)]
pub struct SqlEngine {
    scan: Arc<QueryScan>,
    span: SqlSpan,
    arrived_until: Option<Date>,
    limits: SqlLimits,
}

/// Receives the rows of a statement.
pub trait SqlRowSink {
    /// Receives the names of the columns, before the first row.
    fn columns(&mut self, names: &[String]);

    /// Receives a row. `Break` ends the statement.
    fn row(&mut self, row: Vec<Value>) -> ControlFlow<()>;
}

/// One read of the events by a statement.
#[derive(Debug, Clone, PartialEq)]
pub struct TableRead {
    /// The time span that was read.
    pub span: crate::plan::TimeSpan,
    /// What was read.
    pub scanned: ScanReport,
}

/// The result of a statement without its rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SqlSummary {
    /// The number of rows.
    pub rows: u64,
    /// Whether there are more rows than the limit.
    pub is_limited: bool,
    /// Each read of the events. A join or a subquery can read them once for each row.
    pub reads: Vec<TableRead>,
}

impl SqlSummary {
    /// Returns whether every event was read that the statement asks for.
    pub fn is_complete(&self) -> bool {
        self.reads.iter().all(|read| read.scanned.is_complete())
    }
}

impl SqlEngine {
    /// Creates an engine. `arrived_until` excludes what arrived after this day.
    pub fn new(scan: Arc<QueryScan>, span: SqlSpan, arrived_until: Option<Date>, limits: SqlLimits) -> Self {
        Self { scan, span, arrived_until, limits }
    }

    /// Runs a statement. Blocks the thread, so call it on a thread for blocking work, within a runtime with several threads.
    ///
    /// # Errors
    /// An invalid statement, a statement that does anything else than reading, a limit, or events that cannot be listed.
    pub fn run(
        &self,
        statement: &str,
        control: &QueryControl,
        sink: &mut dyn SqlRowSink,
    ) -> Result<SqlSummary, SqlError> {
        if let Some(at) = statement.find('\0') {
            return Err(SqlError::Nul(at));
        }
        let stop_check = StopCheck::new(Instant::now() + self.limits.timeout, control.halt.clone());
        let reads = Arc::new(Mutex::new(Vec::new()));
        let context = ReadContext {
            scan: Arc::clone(&self.scan),
            control: control.clone(),
            stop_check: stop_check.clone(),
            reads: Arc::clone(&reads),
            runtime: Handle::current(),
        };
        let table = EventsTable::new(context, self.span, self.arrived_until);
        let (connection, denial) = guard::open(Arc::new(table), self.limits.memory, &stop_check)?;
        let rewritten = names::quote_dotted(statement);
        let explain = |error| error::explain(error, statement, &rewritten, &denial, &stop_check, self.limits);
        let mut summary = self.rows(&connection, &rewritten.text, sink, &explain)?;
        // Dropping the connection ends the reads that a limit stopped, so that `reads` contains them.
        drop(connection);
        summary.reads = std::mem::take(&mut *reads.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(summary)
    }

    fn rows(
        &self,
        connection: &Connection,
        statement: &str,
        sink: &mut dyn SqlRowSink,
        explain: &dyn Fn(rusqlite::Error) -> SqlError,
    ) -> Result<SqlSummary, SqlError> {
        let mut prepared = connection.prepare(statement).map_err(explain)?;
        let columns: Vec<String> = prepared.column_names().map(str::to_owned).collect();
        if columns.is_empty() {
            return Err(SqlError::NoSelect);
        }
        if prepared.parameter_count() > 0 {
            return Err(SqlError::Parameter);
        }
        sink.columns(&columns);
        let mut summary = SqlSummary::default();
        let mut rows = prepared.query([]).map_err(explain)?;
        while let Some(row) = rows.next().map_err(explain)? {
            if summary.rows == self.limits.rows {
                summary.is_limited = true;
                break;
            }
            let values = (0..columns.len()).map(|column| row.get(column)).collect::<Result<_, _>>().map_err(explain)?;
            summary.rows += 1;
            if sink.row(values).is_break() {
                break;
            }
        }
        Ok(summary)
    }
}

#[cfg(test)]
mod tests;
