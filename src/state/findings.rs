//! Findings and their windows. A finding, its window and the alerts that follow from it are recorded in one transaction.

use super::{StateDatabase, StateError};
use crate::finding::{Alert, AlertKind, AlertWindow, DetectionFinding, FindingId, Grouping};
use crate::finding_store::{FindingFilter, FindingState, RecordedFindings, Route, RuleReport, StoredFinding};
use rusqlite::{Connection, Row, Transaction, TransactionBehavior, params};

/// The maximum number of windows that one transaction closes.
const MAX_CLOSED_WINDOWS: u32 = 500;

impl StateDatabase {
    /// Durably records findings, their windows, and the alerts that follow from them. A finding that is recorded already
    /// has no effect. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// [`StateError::Full`] if the disk is full; other errors of SQLite. Then nothing is recorded.
    pub fn record_findings(
        &self,
        findings: &[DetectionFinding],
        grouping: &Grouping,
        routes: &[Route],
        now: i64,
    ) -> Result<RecordedFindings, StateError> {
        if findings.is_empty() {
            return Ok(RecordedFindings::default());
        }
        let recorded = record_all(&mut self.connection(), findings, grouping, routes, now);
        recorded.map_err(|error| self.failed(error))
    }

    /// Closes windows that ended at least `grace` seconds before `now`, and records a summary for each one that alerted and
    /// has further findings. Returns the number of closed windows.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn close_windows(&self, routes: &[Route], grace: i64, now: i64) -> Result<u64, StateError> {
        let mut closed = 0;
        loop {
            let batch = close_batch(&mut self.connection(), routes, now.saturating_sub(grace), now);
            let batch = batch.map_err(|error| self.failed(error))?;
            closed += batch;
            if batch < u64::from(MAX_CLOSED_WINDOWS) {
                return Ok(closed);
            }
        }
    }

    /// Returns findings, the newest first.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn findings(&self, filter: &FindingFilter) -> Result<Vec<StoredFinding>, StateError> {
        let sql = "SELECT id, rule, group_id, window, time, recorded, state, note, content FROM findings
             WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR rule = ?2) AND (?3 IS NULL OR time >= ?3)
             AND (?5 IS NULL OR coalesce(time, recorded) < ?5 OR (coalesce(time, recorded) = ?5 AND id > ?6))
             ORDER BY coalesce(time, recorded) DESC, id LIMIT ?4";
        let state = filter.state.map(FindingState::name);
        let (time, id) = filter.after.clone().unzip();
        let rows = self.connection().prepare_cached(sql).and_then(|mut found| {
            found.query_map(params![state, filter.rule, filter.since, filter.limit, time, id], finding_row)?.collect()
        });
        rows.map_err(|error| self.failed(error))
    }

    /// Returns the number of findings by state.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn finding_counts(&self) -> Result<Vec<(String, u64)>, StateError> {
        let sql = "SELECT state, count(*) FROM findings GROUP BY state";
        let rows = self.connection().prepare_cached(sql).and_then(|mut counts| {
            counts.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?.collect()
        });
        rows.map_err(|error| self.failed(error))
    }

    /// Returns the findings whose ID starts with this text, at most two: a second one shows that the text is ambiguous.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn findings_by_id(&self, start: &str) -> Result<Vec<StoredFinding>, StateError> {
        let sql = "SELECT id, rule, group_id, window, time, recorded, state, note, content FROM findings
             WHERE id >= ?1 AND id < ?1 || 'g' ORDER BY id LIMIT 2";
        let rows = self
            .connection()
            .prepare_cached(sql)
            .and_then(|mut found| found.query_map([start.to_ascii_lowercase()], finding_row)?.collect());
        rows.map_err(|error| self.failed(error))
    }

    /// Changes the state of a finding. Without a note, the last one is kept. Returns whether the finding exists.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn set_finding_state(&self, id: &str, state: FindingState, note: Option<&str>) -> Result<bool, StateError> {
        let sql = "UPDATE findings SET state = ?2, note = coalesce(?3, note) WHERE id = ?1";
        let changed = self.connection().execute(sql, params![id, state.name(), note]);
        changed.map(|rows| rows > 0).map_err(|error| self.failed(error))
    }

    /// Returns the counts of each rule, ordered by rule.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn rule_reports(&self) -> Result<Vec<RuleReport>, StateError> {
        let sql = "SELECT rule, sum(stored) + sum(suppressed) + sum(overflow), sum(overflow),
             (SELECT count(*) FROM windows WHERE windows.rule = rule_hours.rule),
             (SELECT coalesce(sum(late), 0) FROM windows WHERE windows.rule = rule_hours.rule)
             FROM rule_hours GROUP BY rule ORDER BY rule";
        let rows = self.connection().prepare_cached(sql).and_then(|mut found| {
            let count = |row: &Row<'_>, column| row.get::<_, i64>(column).map(i64::cast_unsigned);
            let report = |row: &Row<'_>| {
                Ok(RuleReport {
                    rule: row.get(0)?,
                    findings: count(row, 1)?,
                    overflow: count(row, 2)?,
                    windows: count(row, 3)?,
                    late: count(row, 4)?,
                })
            };
            found.query_map([], report)?.collect()
        });
        rows.map_err(|error| self.failed(error))
    }
}

/// Records findings in one transaction.
fn record_all(
    connection: &mut Connection,
    findings: &[DetectionFinding],
    grouping: &Grouping,
    routes: &[Route],
    now: i64,
) -> rusqlite::Result<RecordedFindings> {
    let mut recorded = RecordedFindings::default();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for finding in findings {
        record(&transaction, finding, grouping, routes, now, &mut recorded)?;
    }
    transaction.commit().map(|()| recorded)
}

fn finding_row(row: &Row<'_>) -> rusqlite::Result<StoredFinding> {
    let content: Option<String> = row.get(8)?;
    Ok(StoredFinding {
        id: row.get(0)?,
        rule: row.get(1)?,
        group: row.get(2)?,
        window_start: row.get(3)?,
        time: row.get(4)?,
        recorded: row.get(5)?,
        state: row.get(6)?,
        note: row.get(7)?,
        finding: content.as_deref().map(|content| parse_json(content, 8)).transpose()?,
    })
}

/// Parses a JSON column.
pub(super) fn parse_json<T: serde::de::DeserializeOwned>(content: &str, column: usize) -> rusqlite::Result<T> {
    let invalid =
        |error| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error));
    serde_json::from_str(content).map_err(invalid)
}

/// Renders a JSON column.
pub(super) fn to_json(content: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(content).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn record(
    transaction: &Transaction<'_>,
    finding: &DetectionFinding,
    grouping: &Grouping,
    routes: &[Route],
    now: i64,
    recorded: &mut RecordedFindings,
) -> rusqlite::Result<()> {
    let (id, group, time) = (finding.id(), grouping.group(finding), finding.event.time);
    if is_recorded(transaction, id)? {
        recorded.repeated += 1;
        return Ok(());
    }
    recorded.new += 1;
    let hour = time.unwrap_or(0).div_euclid(3_600) * 3_600;
    // Suppressed findings are counted apart, so that many of them do not take the details and alerts of others.
    let detailed = if finding.suppression.is_some() { "suppressed" } else { "stored" };
    let in_hour = detailed_in_hour(transaction, &finding.rule.id, hour, detailed)?;
    let is_overflow = in_hour >= grouping.findings_per_hour;
    let column = if is_overflow { "overflow" } else { detailed };
    transaction
        .prepare_cached(&format!("UPDATE rule_hours SET {column} = {column} + 1 WHERE rule = ?1 AND hour = ?2"))?
        .execute(params![finding.rule.id, hour])?;
    let start = grouping.window_start(time);
    let state = if finding.suppression.is_some() { FindingState::Suppressed } else { FindingState::Open }.name();
    let content = if is_overflow { None } else { Some(to_json(finding)?) };
    transaction.prepare_cached("INSERT INTO findings VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?.execute(
        params![id.to_string(), finding.rule.id, group, start, time, now, state, finding.suppression, content],
    )?;
    if finding.suppression.is_some() {
        recorded.overflow += u64::from(is_overflow);
        return Ok(());
    }
    let window = AlertWindow { start, end: grouping.window_end(start) };
    let (count, is_late, has_alerted) = count_in_window(transaction, &finding.rule.id, &group, window)?;
    recorded.late += u64::from(is_late);
    let alert = |kind, group: String, window, count| Alert {
        kind,
        group,
        window,
        count,
        finding: finding.clone(),
        recorded: now,
    };
    if is_overflow {
        recorded.overflow += 1;
        if grouping.may_alert(time, now) {
            // All overflow alerts of a rule and an hour have the same ID, so only the first one is enqueued.
            let window = AlertWindow { start: hour, end: hour + 3_600 };
            let alert = alert(AlertKind::Overflow, finding.rule.id.clone(), window, grouping.findings_per_hour);
            recorded.alerts += super::outbox::enqueue(transaction, &alert, routes)?;
        }
    } else if !has_alerted && grouping.may_alert(time, now) {
        let sql = "UPDATE windows SET alerted = ?3 WHERE group_id = ?1 AND start = ?2";
        transaction.prepare_cached(sql)?.execute(params![group, start, content])?;
        recorded.alerts += super::outbox::enqueue(transaction, &alert(AlertKind::First, group, window, count), routes)?;
    }
    Ok(())
}

fn is_recorded(transaction: &Transaction<'_>, id: FindingId) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM findings WHERE id = ?1";
    transaction.prepare_cached(sql)?.exists([id.to_string()])
}

/// Returns the number of findings of a rule in an hour that are stored with their details, from the column of those that are
/// suppressed or of the others. Adds the row of the hour if it does not exist.
fn detailed_in_hour(transaction: &Transaction<'_>, rule: &str, hour: i64, column: &str) -> rusqlite::Result<u64> {
    let sql = format!(
        "INSERT INTO rule_hours VALUES (?1, ?2, 0, 0, 0) ON CONFLICT DO UPDATE SET stored = stored RETURNING {column}"
    );
    let detailed: i64 = transaction.prepare_cached(&sql)?.query_row(params![rule, hour], |row| row.get(0))?;
    Ok(detailed.cast_unsigned())
}

/// Counts a finding in its window. Returns the new count, whether the window was closed before, and whether it alerted.
fn count_in_window(
    transaction: &Transaction<'_>,
    rule: &str,
    group: &str,
    window: AlertWindow,
) -> rusqlite::Result<(u64, bool, bool)> {
    let sql = "INSERT INTO windows VALUES (?1, ?2, ?3, ?4, 1, 0, NULL, NULL)
         ON CONFLICT DO UPDATE SET findings = findings + 1, late = late + (closed IS NOT NULL)
         RETURNING findings, closed IS NOT NULL, alerted IS NOT NULL";
    transaction.prepare_cached(sql)?.query_row(params![group, window.start, window.end, rule], |row| {
        Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?, row.get(2)?))
    })
}

/// Closes windows that ended at or before `until` in one transaction, at most [`MAX_CLOSED_WINDOWS`], and returns their
/// number.
fn close_batch(connection: &mut Connection, routes: &[Route], until: i64, now: i64) -> rusqlite::Result<u64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    type OpenWindow = (String, i64, i64, i64, Option<String>);
    let sql = "SELECT group_id, start, stop, findings, alerted FROM windows WHERE closed IS NULL AND stop <= ?1
         ORDER BY stop, group_id LIMIT ?2";
    let ended: Vec<OpenWindow> = transaction
        .prepare_cached(sql)?
        .query_map(params![until, MAX_CLOSED_WINDOWS], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    for (group, start, end, findings, alerted) in &ended {
        transaction
            .prepare_cached("UPDATE windows SET closed = ?3 WHERE group_id = ?1 AND start = ?2")?
            .execute(params![group, start, now])?;
        if let (Some(content), 2..) = (alerted, findings) {
            let alert = Alert {
                kind: AlertKind::Summary,
                group: group.clone(),
                window: AlertWindow { start: *start, end: *end },
                count: findings.cast_unsigned(),
                finding: parse_json(content, 4)?,
                recorded: now,
            };
            super::outbox::enqueue(&transaction, &alert, routes)?;
        }
    }
    transaction.commit().map(|()| ended.len() as u64)
}

#[cfg(test)]
mod tests;
