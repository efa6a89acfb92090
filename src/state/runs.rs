//! The runs of sources: when each source was read, and with which result.

use super::{StateDatabase, StateError};
use rusqlite::{OptionalExtension, Row, params};

/// The number of runs that are kept. Older ones are removed.
const MAX_RUNS: i64 = 10_000;

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// It is not finished.
    Running,
    /// Every selected object was processed. Some may be quarantined.
    Succeeded,
    /// It was aborted, or some objects failed. The next run retries them.
    Failed,
    /// It was stopped before its end, or its process was killed.
    Stopped,
}

impl RunState {
    /// Returns its name, as it is stored and printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Running, Self::Succeeded, Self::Failed, Self::Stopped].into_iter().find(|state| state.name() == name)
    }
}

/// What a run did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunCounts {
    /// Objects that it completed.
    pub objects: u64,
    /// Events in these objects.
    pub events: u64,
    /// Events that it delivered, including oversize events.
    pub delivered: u64,
    /// Events that were delivered before.
    pub duplicates: u64,
    /// Events that the filter dropped.
    pub filtered: u64,
    /// Objects that it quarantined.
    pub quarantined: u64,
}

/// A run as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRun {
    /// Its number. Later runs have higher numbers.
    pub number: i64,
    /// The ID of the source.
    pub source: String,
    /// When it started, in seconds since 1970.
    pub started: i64,
    /// When it ended, in seconds since 1970.
    pub ended: Option<i64>,
    /// Its state.
    pub state: RunState,
    /// What it did. Zero until it ends.
    pub counts: RunCounts,
    /// Why it failed or stopped.
    pub error: Option<String>,
}

const COLUMNS: &str = "number, source, started, ended, state, objects, events, delivered, duplicates, filtered, \
                       quarantined, error";

impl StateDatabase {
    /// Durably records the start of a run and returns its number. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// [`StateError::Full`] if the disk is full; other errors of SQLite.
    pub fn start_run(&self, source: &str, now: i64) -> Result<i64, StateError> {
        self.write(|transaction| {
            let sql = "INSERT INTO runs VALUES (NULL, ?1, ?2, NULL, 'running', 0, 0, 0, 0, 0, 0, NULL)";
            transaction.prepare_cached(sql)?.execute(params![source, now])?;
            let number = transaction.last_insert_rowid();
            let sql = "DELETE FROM runs WHERE number <= ?1 AND state <> 'running'";
            transaction.prepare_cached(sql)?.execute([number - MAX_RUNS])?;
            Ok(number)
        })
    }

    /// Durably records the end of a run.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn end_run(
        &self,
        number: i64,
        state: RunState,
        counts: RunCounts,
        error: Option<&str>,
        now: i64,
    ) -> Result<(), StateError> {
        let RunCounts { objects, events, delivered, duplicates, filtered, quarantined } = counts;
        let counts = [objects, events, delivered, duplicates, filtered, quarantined].map(u64::cast_signed);
        self.write(|transaction| {
            let sql =
                "UPDATE runs SET ended = ?2, state = ?3, objects = ?4, events = ?5, delivered = ?6, duplicates = ?7,
                 filtered = ?8, quarantined = ?9, error = ?10 WHERE number = ?1";
            let [objects, events, delivered, duplicates, filtered, quarantined] = counts;
            let values = params![
                number,
                now,
                state.name(),
                objects,
                events,
                delivered,
                duplicates,
                filtered,
                quarantined,
                error
            ];
            transaction.prepare_cached(sql)?.execute(values).map(drop)
        })
    }

    /// Records that the unfinished runs were stopped, and returns how many there were. They belong to an earlier process,
    /// because only one process may run sources.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn stop_abandoned_runs(&self, reason: &str, now: i64) -> Result<u64, StateError> {
        self.write(|transaction| {
            let sql = "UPDATE runs SET state = 'stopped', ended = ?1, error = ?2 WHERE state = 'running'";
            transaction.prepare_cached(sql)?.execute(params![now, reason]).map(|rows| rows as u64)
        })
    }

    /// Returns runs with numbers below `before`, the newest first, of one source or of all.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn runs(&self, source: Option<&str>, before: i64, limit: u32) -> Result<Vec<StoredRun>, StateError> {
        let (condition, source) = match source {
            Some(source) => ("source = ?1", source),
            None => ("?1 = ''", ""),
        };
        let sql = format!("SELECT {COLUMNS} FROM runs WHERE {condition} AND number < ?2 ORDER BY number DESC LIMIT ?3");
        let rows = self
            .connection()
            .prepare_cached(&sql)
            .and_then(|mut found| found.query_map(params![source, before, limit], run_row)?.collect());
        rows.map_err(|error| self.failed(error))
    }

    /// Returns the last finished run of a source.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn last_run(&self, source: &str) -> Result<Option<StoredRun>, StateError> {
        let sql =
            format!("SELECT {COLUMNS} FROM runs WHERE source = ?1 AND ended IS NOT NULL ORDER BY number DESC LIMIT 1");
        let found =
            self.connection().prepare_cached(&sql).and_then(|mut found| found.query_row([source], run_row).optional());
        found.map_err(|error| self.failed(error))
    }
}

fn run_row(row: &Row<'_>) -> rusqlite::Result<StoredRun> {
    let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
    let state: String = row.get(4)?;
    let state = RunState::parse(&state)
        .ok_or_else(|| rusqlite::Error::InvalidColumnType(4, state, rusqlite::types::Type::Text))?;
    Ok(StoredRun {
        number: row.get(0)?,
        source: row.get(1)?,
        started: row.get(2)?,
        ended: row.get(3)?,
        state,
        counts: RunCounts {
            objects: count(5)?,
            events: count(6)?,
            delivered: count(7)?,
            duplicates: count(8)?,
            filtered: count(9)?,
            quarantined: count(10)?,
        },
        error: row.get(11)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::STATE_FILE;
    use super::*;

    #[test]
    fn runs_are_paged_by_source_and_abandoned_ones_are_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDatabase::open(&folder.path().join(STATE_FILE)).unwrap();
        let counts = RunCounts { objects: 1, events: 9, delivered: 7, duplicates: 2, ..RunCounts::default() };
        for number in 1..=4 {
            let source = if number % 2 == 0 { "even" } else { "odd" };
            assert_eq!(state.start_run(source, number).unwrap(), number);
        }
        state.end_run(1, RunState::Succeeded, counts, None, 10).unwrap();
        assert_eq!(state.stop_abandoned_runs("killed", 20).unwrap(), 3);
        let numbers = |runs: Vec<StoredRun>| runs.iter().map(|run| run.number).collect::<Vec<_>>();
        assert_eq!(numbers(state.runs(None, i64::MAX, 2).unwrap()), [4, 3]);
        assert_eq!(numbers(state.runs(None, 3, 2).unwrap()), [2, 1]);
        assert_eq!(numbers(state.runs(Some("odd"), i64::MAX, 10).unwrap()), [3, 1]);
        let first = state.runs(Some("odd"), 3, 1).unwrap().remove(0);
        assert_eq!((first.state, first.counts, first.ended), (RunState::Succeeded, counts, Some(10)));
        let last = state.last_run("odd").unwrap().unwrap();
        assert_eq!((last.number, last.state, last.error.as_deref()), (3, RunState::Stopped, Some("killed")));
    }
}
