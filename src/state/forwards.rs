//! The states of forwards: pauses, waits after failures, counts of requests, and the events that a destination refused.
//!
//! The position of a forward is that of its follower.

use super::{StateDatabase, StateError};
use crate::backoff::remaining_wait;
use crate::forward::ForwardPolicy;
use rusqlite::{OptionalExtension, Row, params};

/// The stored state of a forward.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForwardState {
    /// Whether a person paused it.
    pub paused: bool,
    /// The number of consecutive failures.
    pub failures: u32,
    /// The number of events that were refused in a row since the last accepted request.
    pub refusals: u32,
    /// Nothing is sent before this time, in milliseconds since 1970.
    pub wait_until: i64,
    /// Why the last request failed. `None` after an accepted request.
    pub error: Option<String>,
    /// The number of requests.
    pub requests: u64,
    /// The number of requests with the same ID as the request before.
    pub repeats: u64,
    /// The number of accepted requests.
    pub accepted: u64,
    /// The time of the last accepted request, in seconds since 1970.
    pub last_accepted: Option<i64>,
}

/// What a forward does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardCondition {
    /// It sends.
    Active,
    /// It waits after a failure.
    Waiting,
    /// A person paused it.
    Paused,
}

impl ForwardCondition {
    /// Returns its name, as it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Waiting => "waiting",
            Self::Paused => "paused",
        }
    }
}

impl ForwardState {
    /// Returns what the forward does. `now` is in milliseconds since 1970. A wait that is longer than the default policy
    /// allows is over.
    pub fn condition(&self, now: i64) -> ForwardCondition {
        let wait = remaining_wait(self.wait_until, now, ForwardPolicy::default().longest_wait());
        match (self.paused, !wait.is_zero()) {
            (true, _) => ForwardCondition::Paused,
            (false, true) => ForwardCondition::Waiting,
            (false, false) => ForwardCondition::Active,
        }
    }
}

/// An event that a destination refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedEvent {
    /// Its number.
    pub number: i64,
    /// The ID of a request with only this event.
    pub batch: String,
    /// The event ID.
    pub event_id: String,
    /// The bytes before redaction.
    pub content: Vec<u8>,
    /// The status of the response.
    pub status: u16,
    /// The start of the response.
    pub response: String,
    /// The time of the last refusal, in seconds since 1970.
    pub recorded: i64,
    /// The number of times it was refused.
    pub attempts: u32,
    /// Whether it will be sent again.
    pub retry: bool,
}

const COLUMNS: &str =
    "paused, failures, refusals, wait_until, error, requests, repeats, accepted, last_accepted, name FROM forwards";

const REFUSED_COLUMNS: &str =
    "number, batch, event_id, content, status, response, recorded, attempts, retry FROM refused_events";

impl StateDatabase {
    /// Adds a forward, unless it is known.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn add_forward(&self, name: &str) -> Result<(), StateError> {
        self.write(|transaction| {
            let sql = "INSERT OR IGNORE INTO forwards VALUES (?1, 0, 0, 0, 0, NULL, '', 0, 0, 0, NULL)";
            transaction.prepare_cached(sql)?.execute([name]).map(drop)
        })
    }

    /// Returns the state of a forward, if it is known.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn forward(&self, name: &str) -> Result<Option<ForwardState>, StateError> {
        let found = self
            .connection()
            .prepare_cached(&format!("SELECT {COLUMNS} WHERE name = ?1"))
            .and_then(|mut found| found.query_row([name], forward_row).optional());
        found.map_err(|error| self.failed(error))
    }

    /// Returns the names and states of all forwards, ordered by name.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn forwards(&self) -> Result<Vec<(String, ForwardState)>, StateError> {
        let rows =
            self.connection().prepare_cached(&format!("SELECT {COLUMNS} ORDER BY name")).and_then(|mut found| {
                found.query_map([], |row| Ok((row.get(9)?, forward_row(row)?)))?.collect::<rusqlite::Result<_>>()
            });
        rows.map_err(|error| self.failed(error))
    }

    /// Durably records that a request is sent, before it is sent. So a repeat after a kill is counted.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn record_request(&self, name: &str, batch: &str) -> Result<(), StateError> {
        let sql =
            "UPDATE forwards SET requests = requests + 1, repeats = repeats + (batch = ?2), batch = ?2 WHERE name = ?1";
        self.write(|transaction| transaction.prepare_cached(sql)?.execute([name, batch]).map(drop))
    }

    /// Durably records that a destination accepted a request. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn record_accepted(&self, name: &str, now: i64) -> Result<(), StateError> {
        let sql =
            "UPDATE forwards SET failures = 0, refusals = 0, wait_until = 0, error = NULL, accepted = accepted + 1,
             last_accepted = ?2 WHERE name = ?1";
        self.write(|transaction| transaction.prepare_cached(sql)?.execute(params![name, now]).map(drop))
    }

    /// Durably records a failed request: nothing is sent before `wait_until`, in milliseconds since 1970.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn record_forward_failure(&self, name: &str, wait_until: i64, error: &str) -> Result<(), StateError> {
        let sql = "UPDATE forwards SET failures = failures + 1, wait_until = ?2, error = ?3 WHERE name = ?1";
        self.write(|transaction| transaction.prepare_cached(sql)?.execute(params![name, wait_until, error]).map(drop))
    }

    /// Returns whether an event is stored as refused. `batch` is the ID of a request with only this event.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn is_refused(&self, name: &str, batch: &str) -> Result<bool, StateError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM refused_events WHERE forward = ?1 AND batch = ?2)";
        let found = self
            .connection()
            .prepare_cached(sql)
            .and_then(|mut found| found.query_row([name, batch], |row| row.get(0)));
        found.map_err(|error| self.failed(error))
    }

    /// Durably stores a refused event. An event that is stored already gets the new response, and its attempts are counted.
    /// With `is_in_row`, [`ForwardState::refusals`] counts it.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn record_refused(&self, name: &str, refused: &RefusedEvent, is_in_row: bool) -> Result<(), StateError> {
        self.write(|transaction| {
            let sql = "INSERT INTO refused_events
                 (forward, batch, event_id, content, status, response, recorded, attempts, retry)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 1, 0)
                 ON CONFLICT (forward, batch) DO UPDATE SET status = excluded.status, response = excluded.response,
                     recorded = excluded.recorded, attempts = attempts + 1, retry = 0";
            let values = params![
                name,
                refused.batch,
                refused.event_id,
                refused.content,
                refused.status,
                refused.response,
                refused.recorded
            ];
            transaction.prepare_cached(sql)?.execute(values)?;
            let sql = "UPDATE forwards SET refusals = refusals + ?2 WHERE name = ?1";
            transaction.prepare_cached(sql)?.execute(params![name, is_in_row]).map(drop)
        })
    }

    /// Returns the first refused event of a forward that is marked to be sent again.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn next_retried_event(&self, name: &str) -> Result<Option<RefusedEvent>, StateError> {
        let sql = format!("SELECT {REFUSED_COLUMNS} WHERE forward = ?1 AND retry ORDER BY number LIMIT 1");
        let found = self
            .connection()
            .prepare_cached(&sql)
            .and_then(|mut found| found.query_row([name], refused_row).optional());
        found.map_err(|error| self.failed(error))
    }

    /// Durably removes a refused event, because the destination accepted it.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn remove_refused(&self, number: i64) -> Result<(), StateError> {
        let sql = "DELETE FROM refused_events WHERE number = ?1";
        self.write(|transaction| transaction.prepare_cached(sql)?.execute([number]).map(drop))
    }

    /// Returns the number of refused events of a forward for each status.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn refused_by_status(&self, name: &str) -> Result<Vec<(u16, u64)>, StateError> {
        let sql = "SELECT status, count(*) FROM refused_events WHERE forward = ?1 GROUP BY status ORDER BY status";
        let rows = self.connection().prepare_cached(sql).and_then(|mut found| {
            let count = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned()));
            found.query_map([name], count)?.collect::<rusqlite::Result<_>>()
        });
        rows.map_err(|error| self.failed(error))
    }

    /// Returns the refused events of a forward, ordered by status and number, at most `limit`.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn refused_events(&self, name: &str, limit: u32) -> Result<Vec<RefusedEvent>, StateError> {
        let sql = format!("SELECT {REFUSED_COLUMNS} WHERE forward = ?1 ORDER BY status, number LIMIT ?2");
        let rows = self
            .connection()
            .prepare_cached(&sql)
            .and_then(|mut found| found.query_map(params![name, limit], refused_row)?.collect::<rusqlite::Result<_>>());
        rows.map_err(|error| self.failed(error))
    }

    /// Durably closes the circuit of a forward, and marks its refused events to be sent again. Returns the number of events.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn retry_forward(&self, name: &str) -> Result<u64, StateError> {
        self.write(|transaction| {
            let sql = "UPDATE forwards SET failures = 0, refusals = 0, wait_until = 0 WHERE name = ?1";
            transaction.execute(sql, [name])?;
            let sql = "UPDATE refused_events SET retry = 1 WHERE forward = ?1";
            transaction.execute(sql, [name]).map(|rows| rows as u64)
        })
    }

    /// Durably pauses or resumes a forward. Returns whether this changed anything.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn pause_forward(&self, name: &str, paused: bool) -> Result<bool, StateError> {
        let sql = "UPDATE forwards SET paused = ?2 WHERE name = ?1 AND paused <> ?2";
        self.write(|transaction| transaction.execute(sql, params![name, paused]).map(|rows| rows > 0))
    }
}

fn forward_row(row: &Row<'_>) -> rusqlite::Result<ForwardState> {
    let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
    Ok(ForwardState {
        paused: row.get(0)?,
        failures: row.get(1)?,
        refusals: row.get(2)?,
        wait_until: row.get(3)?,
        error: row.get(4)?,
        requests: count(5)?,
        repeats: count(6)?,
        accepted: count(7)?,
        last_accepted: row.get(8)?,
    })
}

fn refused_row(row: &Row<'_>) -> rusqlite::Result<RefusedEvent> {
    Ok(RefusedEvent {
        number: row.get(0)?,
        batch: row.get(1)?,
        event_id: row.get(2)?,
        content: row.get(3)?,
        status: row.get(4)?,
        response: row.get(5)?,
        recorded: row.get(6)?,
        attempts: row.get(7)?,
        retry: row.get(8)?,
    })
}
