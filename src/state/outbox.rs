//! The outbox: the alerts for each destination, with their states.
//!
//! An alert is recorded in the same transaction as its cause. It is pending until the destination acknowledges it or
//! refuses it. Within a group, an alert is due only after all earlier ones are sent or failed.

use super::findings::{parse_json, to_json};
use super::{StateDatabase, StateError};
use crate::finding::{Alert, DetectionFinding, Grouping};
use crate::finding_store::{
    AlertState, Circuit, FindingStore, PendingAlert, PendingAlerts, RecordedFindings, Route, StoredAlert,
};
use async_trait::async_trait;
use rusqlite::{OptionalExtension, Row, Transaction, params};

/// Adds an alert to the outbox of each destination that gets it, unless it is there already. Returns the number of new
/// entries.
pub(super) fn enqueue(transaction: &Transaction<'_>, alert: &Alert, routes: &[Route]) -> rusqlite::Result<u64> {
    let (id, content) = (alert.id(), to_json(alert)?);
    let mut new = 0;
    for route in routes.iter().filter(|route| route.gets(alert)) {
        let sql = "INSERT OR IGNORE INTO alerts (id, destination, group_id, content, state, recorded, attempts, due)
             VALUES (?1, ?2, ?3, ?4, 'pending', ?5, 0, 0)";
        let values = params![id, route.destination, alert.group, content, alert.recorded];
        new += transaction.prepare_cached(sql)?.execute(values)? as u64;
    }
    Ok(new)
}

/// Records that an alert is not sent again.
fn fail(transaction: &Transaction<'_>, number: i64, error: &str) -> rusqlite::Result<()> {
    let sql = "UPDATE alerts SET state = 'failed', attempts = attempts + 1, error = ?2 WHERE number = ?1";
    transaction.prepare_cached(sql)?.execute(params![number, error]).map(drop)
}

impl StateDatabase {
    /// Returns the first alert of a destination that is due. `now` is in milliseconds since 1970.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn next_alert(&self, destination: &str, now: i64) -> Result<Option<PendingAlert>, StateError> {
        let sql = "SELECT number, content, attempts, recorded FROM alerts AS next
             WHERE destination = ?1 AND state = 'pending' AND due <= ?2 AND NOT EXISTS (
                 SELECT 1 FROM alerts AS earlier WHERE earlier.destination = next.destination
                 AND earlier.group_id = next.group_id AND earlier.state = 'pending' AND earlier.number < next.number
             ) ORDER BY number LIMIT 1";
        let found = self.connection().prepare_cached(sql).and_then(|mut next| {
            let pending = |row: &Row<'_>| {
                Ok(PendingAlert {
                    number: row.get(0)?,
                    alert: parse_json(&row.get::<_, String>(1)?, 1)?,
                    attempts: row.get(2)?,
                    recorded: row.get(3)?,
                })
            };
            next.query_row(params![destination, now], pending).optional()
        });
        found.map_err(|error| self.failed(error))
    }

    /// Returns the number of pending alerts of a destination, and when the next one is due.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn pending_alerts(&self, destination: &str) -> Result<PendingAlerts, StateError> {
        let sql = "SELECT min(due), count(*) FROM alerts WHERE destination = ?1 AND state = 'pending'";
        let found = self.connection().prepare_cached(sql).and_then(|mut pending| {
            pending.query_row([destination], |row| {
                Ok(PendingAlerts { next_due: row.get(0)?, count: row.get::<_, i64>(1)?.cast_unsigned() })
            })
        });
        found.map_err(|error| self.failed(error))
    }

    /// Durably records that a destination acknowledged an alert, and closes its circuit. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn record_sent(&self, destination: &str, number: i64, now: i64) -> Result<(), StateError> {
        self.write(|transaction| {
            let sql =
                "UPDATE alerts SET state = 'sent', sent = ?2, attempts = attempts + 1, error = NULL WHERE number = ?1";
            transaction.prepare_cached(sql)?.execute(params![number, now])?;
            transaction.prepare_cached("DELETE FROM circuits WHERE destination = ?1")?.execute([destination]).map(drop)
        })
    }

    /// Durably records a failed attempt: when the alert is due again, and the circuit of the destination.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn record_retry(&self, destination: &str, number: i64, due: i64, circuit: &Circuit) -> Result<(), StateError> {
        self.write(|transaction| {
            let sql = "UPDATE alerts SET due = ?2, attempts = attempts + 1, error = ?3 WHERE number = ?1";
            transaction.prepare_cached(sql)?.execute(params![number, due, circuit.error])?;
            let sql = "INSERT OR REPLACE INTO circuits (destination, failures, refusals, open_until, error)
                 VALUES (?1, ?2, ?3, ?4, ?5)";
            let Circuit { failures, refusals, open_until, error } = circuit;
            let values = params![destination, failures, refusals, open_until, error];
            transaction.prepare_cached(sql)?.execute(values).map(drop)
        })
    }

    /// Durably records that an alert is not sent again.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn record_failed(&self, number: i64, error: &str) -> Result<(), StateError> {
        self.write(|transaction| fail(transaction, number, error))
    }

    /// Durably records that an alert is not sent again because its destination refused it, and counts it in
    /// [`Circuit::refusals`].
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn record_refused_alert(&self, destination: &str, number: i64, error: &str) -> Result<(), StateError> {
        self.write(|transaction| {
            fail(transaction, number, error)?;
            let sql =
                "INSERT INTO circuits (destination, failures, refusals, open_until, error) VALUES (?1, 0, 1, 0, ?2)
                 ON CONFLICT (destination) DO UPDATE SET refusals = refusals + 1, error = excluded.error";
            transaction.prepare_cached(sql)?.execute([destination, error]).map(drop)
        })
    }

    /// Returns the circuit of a destination.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn circuit(&self, destination: &str) -> Result<Circuit, StateError> {
        let sql = "SELECT failures, refusals, open_until, error FROM circuits WHERE destination = ?1";
        let found = self.connection().prepare_cached(sql).and_then(|mut circuit| {
            let circuit_row = |row: &Row<'_>| {
                Ok(Circuit {
                    failures: row.get(0)?,
                    refusals: row.get(1)?,
                    open_until: row.get(2)?,
                    error: row.get(3)?,
                })
            };
            circuit.query_row([destination], circuit_row).optional()
        });
        found.map(Option::unwrap_or_default).map_err(|error| self.failed(error))
    }

    /// Returns the last `limit` alerts, in the order in which they were recorded. `state` is `None` for every state.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn alerts(&self, state: Option<AlertState>, limit: u32) -> Result<Vec<StoredAlert>, StateError> {
        self.alerts_before(state, i64::MAX, limit)
    }

    /// Returns alerts like [`Self::alerts`], with numbers below `before`.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn alerts_before(
        &self,
        state: Option<AlertState>,
        before: i64,
        limit: u32,
    ) -> Result<Vec<StoredAlert>, StateError> {
        let sql = "SELECT number, content, destination, state, attempts, sent, error, due FROM
             (SELECT * FROM alerts WHERE (?1 IS NULL OR state = ?1) AND number < ?3 ORDER BY number DESC LIMIT ?2)
             ORDER BY number";
        let rows = self.connection().prepare_cached(sql).and_then(|mut found| {
            let stored = |row: &Row<'_>| {
                Ok(StoredAlert {
                    number: row.get(0)?,
                    alert: parse_json(&row.get::<_, String>(1)?, 1)?,
                    destination: row.get(2)?,
                    state: row.get(3)?,
                    attempts: row.get(4)?,
                    sent: row.get(5)?,
                    error: row.get(6)?,
                    due: row.get(7)?,
                })
            };
            found.query_map(params![state.map(AlertState::name), limit, before], stored)?.collect()
        });
        rows.map_err(|error| self.failed(error))
    }

    /// Returns the number of alerts by destination and state.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn alert_counts(&self) -> Result<Vec<(String, String, u64)>, StateError> {
        let sql = "SELECT destination, state, count(*) FROM alerts GROUP BY destination, state";
        let rows = self.connection().prepare_cached(sql).and_then(|mut counts| {
            let count = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?.cast_unsigned()));
            counts.query_map([], count)?.collect()
        });
        rows.map_err(|error| self.failed(error))
    }

    /// Makes failed alerts pending again: those with these `numbers`, or all if it is empty. Closes the circuits of all
    /// destinations, and makes all pending alerts due at once. Returns the number of failed alerts that became pending. If
    /// none of the `numbers` is that of a failed alert, nothing changes. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn retry_alerts(&self, numbers: &[i64], now: i64) -> Result<u64, StateError> {
        self.write(|transaction| {
            let sql =
                "UPDATE alerts SET state = 'pending', attempts = 0, due = 0, recorded = ?1 WHERE state = 'failed'";
            let mut retried = 0;
            if numbers.is_empty() {
                retried = transaction.execute(sql, [now])?;
            }
            for number in numbers {
                retried +=
                    transaction.prepare_cached(&format!("{sql} AND number = ?2"))?.execute(params![now, number])?;
            }
            if retried > 0 || numbers.is_empty() {
                transaction.execute("DELETE FROM circuits", [])?;
                transaction.execute("UPDATE alerts SET due = 0 WHERE state = 'pending'", [])?;
            }
            Ok(retried as u64)
        })
    }
}

#[async_trait]
impl FindingStore for StateDatabase {
    type Error = StateError;

    async fn record_findings(
        &self,
        findings: &[DetectionFinding],
        grouping: &Grouping,
        routes: &[Route],
        now: i64,
    ) -> Result<RecordedFindings, StateError> {
        StateDatabase::record_findings(self, findings, grouping, routes, now)
    }

    async fn close_windows(&self, routes: &[Route], grace: i64, now: i64) -> Result<u64, StateError> {
        StateDatabase::close_windows(self, routes, grace, now)
    }

    async fn next_alert(&self, destination: &str, now: i64) -> Result<Option<PendingAlert>, StateError> {
        StateDatabase::next_alert(self, destination, now)
    }

    async fn pending_alerts(&self, destination: &str) -> Result<PendingAlerts, StateError> {
        StateDatabase::pending_alerts(self, destination)
    }

    async fn record_sent(&self, destination: &str, number: i64, now: i64) -> Result<(), StateError> {
        StateDatabase::record_sent(self, destination, number, now)
    }

    async fn record_retry(
        &self,
        destination: &str,
        number: i64,
        due: i64,
        circuit: &Circuit,
    ) -> Result<(), StateError> {
        StateDatabase::record_retry(self, destination, number, due, circuit)
    }

    async fn record_failed(&self, _: &str, number: i64, error: &str) -> Result<(), StateError> {
        StateDatabase::record_failed(self, number, error)
    }

    async fn record_refused_alert(&self, destination: &str, number: i64, error: &str) -> Result<(), StateError> {
        StateDatabase::record_refused_alert(self, destination, number, error)
    }

    async fn circuit(&self, destination: &str) -> Result<Circuit, StateError> {
        StateDatabase::circuit(self, destination)
    }
}
