//! Lookups in the index, newest events first.

use super::{Index, IndexError, id_prefix};
use crate::event::EventId;
use crate::sink::jsonl::EventPosition;
use jiff::Timestamp;
use rusqlite::ToSql;

/// Returns [`IndexQuery::until`] for the excluded end of a time span. Event times are whole seconds, so a fraction is rounded up:
/// the event of this second is before the end.
pub fn end_second(until: Timestamp) -> i64 {
    until.as_second() + i64::from(until.subsec_nanosecond() > 0)
}

/// Which events to find: those that fulfill all conditions. Without a condition, every event is found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexQuery {
    /// The event ID.
    pub id: Option<String>,
    /// Start of the range of event times, in seconds since 1970.
    pub since: Option<i64>,
    /// End of the range of event times, exclusive, in seconds since 1970.
    pub until: Option<i64>,
    /// Whether only events without a time in the index are found.
    pub without_time: bool,
    /// `eventName`.
    pub name: Option<String>,
    /// `eventSource`.
    pub source: Option<String>,
    /// The account.
    pub account: Option<String>,
    /// `awsRegion`.
    pub region: Option<String>,
    /// `userIdentity.arn`, or what [`IndexedFields::principal`](super::IndexedFields::principal) uses without it.
    pub principal: Option<String>,
    /// `userIdentity.accessKeyId`.
    pub access_key: Option<String>,
    /// `sourceIPAddress`.
    pub address: Option<String>,
    /// `errorCode`.
    pub error: Option<String>,
    /// The event after which the list starts, in the order of [`Index::find`].
    pub after: Option<IndexPosition>,
}

/// The position of an event in the order of a lookup. It is valid until the index is built again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexPosition {
    /// The event time in seconds since 1970, if it is valid.
    pub time: Option<i64>,
    /// The number of its row.
    pub row: i64,
}

/// The position of a found event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundEvent {
    /// The path of the file, relative to the destination.
    pub path: String,
    /// Where the event is in the file.
    pub position: EventPosition,
    /// The event time in seconds since 1970, if it is valid.
    pub time: Option<i64>,
    /// The number of its row in the index.
    pub row: i64,
}

impl IndexQuery {
    fn texts(&self) -> [(&'static str, &Option<String>); 8] {
        [
            ("name", &self.name),
            ("source", &self.source),
            ("account", &self.account),
            ("region", &self.region),
            ("principal", &self.principal),
            ("access_key", &self.access_key),
            ("address", &self.address),
            ("error", &self.error),
        ]
    }
}

impl Index {
    /// Returns up to `limit` events, newest first. Those without a valid time are last. After a rebuild, an event is found
    /// twice until the index is updated; its earlier file does not exist.
    ///
    /// Different IDs can have the same first 8 bytes, so a caller that searches for an ID must compare it with the event's.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn find(&self, query: &IndexQuery, limit: u32) -> Result<Vec<FoundEvent>, IndexError> {
        let mut found = self.select(query, limit)?;
        let missing = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
        // After a position with a time, the comparison in `select` excludes events without a time, which are last.
        let is_continued = query.after.is_some_and(|after| after.time.is_some());
        if is_continued && missing > 0 && query.since.is_none() && query.until.is_none() {
            let last = IndexPosition { time: None, row: i64::MAX };
            found.extend(self.select(&IndexQuery { after: Some(last), ..query.clone() }, missing)?);
        }
        Ok(found)
    }

    fn select(&self, query: &IndexQuery, limit: u32) -> Result<Vec<FoundEvent>, IndexError> {
        let mut conditions = vec!["1".to_owned()];
        let mut values: Vec<Box<dyn ToSql + '_>> = Vec::new();
        if let Some(id) = &query.id {
            conditions.push("id = ?".to_owned());
            values.push(Box::new(id_prefix(EventId::from_text(id.as_bytes()))));
        }
        if let Some(since) = query.since {
            conditions.push("time >= ?".to_owned());
            values.push(Box::new(since));
        }
        if let Some(until) = query.until {
            conditions.push("time < ?".to_owned());
            values.push(Box::new(until));
        }
        if query.without_time {
            conditions.push("time IS NULL".to_owned());
        }
        match query.after {
            Some(IndexPosition { time: Some(time), row }) => {
                conditions.push("(time, events.rowid) < (?, ?)".to_owned());
                values.extend([Box::new(time) as Box<dyn ToSql>, Box::new(row)]);
            }
            Some(IndexPosition { time: None, row }) => {
                conditions.push("time IS NULL AND events.rowid < ?".to_owned());
                values.push(Box::new(row));
            }
            None => {}
        }
        for (column, text) in query.texts() {
            let Some(text) = text else { continue };
            conditions.push(format!("{column} = (SELECT number FROM texts WHERE text = ?)"));
            values.push(Box::new(text));
        }
        let sql = format!(
            "SELECT path, member, position, length, time, events.rowid FROM events JOIN files ON files.number = file
             WHERE {} ORDER BY time DESC, events.rowid DESC LIMIT ?",
            conditions.join(" AND ")
        );
        values.push(Box::new(limit));
        let find = || {
            let mut statement = self.connection.prepare_cached(&sql)?;
            let found = statement.query_map(rusqlite::params_from_iter(&values), |row| {
                let position = EventPosition {
                    member: row.get::<_, i64>(1)?.cast_unsigned(),
                    offset: row.get(2)?,
                    length: row.get(3)?,
                };
                Ok(FoundEvent { path: row.get(0)?, position, time: row.get(4)?, row: row.get(5)? })
            })?;
            found.collect::<rusqlite::Result<Vec<_>>>()
        };
        find().map_err(|source| self.failed(source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fraction_of_the_end_includes_the_events_of_its_second() {
        for (until, second) in [
            ("2026-11-01T10:00:00Z", 1_793_527_200),
            ("2026-11-01T10:00:00.000000001Z", 1_793_527_201),
            ("2026-11-01T10:00:00.5Z", 1_793_527_201),
            ("1969-12-31T23:59:58.5Z", -1),
            ("1969-12-31T23:59:58Z", -2),
        ] {
            assert_eq!(end_second(until.parse().unwrap()), second, "{until}");
        }
    }
}
