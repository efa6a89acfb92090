//! The position of an index in the committed segments. It is stored in the index, in the transaction of the events before it, so
//! it also fits an index that was restored from a backup.

use super::{Index, IndexBuildError, IndexError};
use crate::sink::jsonl::{Backlog, CommittedSegments};
use crate::state::Cursor;
use rusqlite::{Connection, OptionalExtension};

/// The name of the position in the table `meta`.
const POSITION: &str = "position";

/// The name of the acknowledged position before [`POSITION`].
const PREVIOUS: &str = "previous_position";

/// A move of an index to a new position.
#[derive(Debug, Clone, Copy)]
pub(super) struct IndexMove<'a> {
    /// The ID of the folder.
    pub(super) folder: &'a str,
    /// The acknowledged position, which the state database contains.
    pub(super) from: &'a Cursor,
    /// The new position. The state database contains it after the next acknowledgement.
    pub(super) to: &'a Cursor,
}

impl IndexMove<'_> {
    /// Stores both positions.
    pub(super) fn store(self, connection: &Connection) -> rusqlite::Result<()> {
        for (name, cursor) in [(PREVIOUS, self.from), (POSITION, self.to)] {
            let value = serde_json::json!([self.folder, cursor.segment, cursor.lines, cursor.fingerprint]).to_string();
            connection
                .prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?
                .execute([name, value.as_str()])?;
        }
        Ok(())
    }
}

/// Reads a stored position. An index without one, or with one of another folder, is at the start.
fn read(connection: &Connection, name: &str, folder: &str) -> rusqlite::Result<Cursor> {
    let sql = "SELECT value FROM meta WHERE name = ?1";
    let value: Option<String> = connection.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()?;
    let stored = value.and_then(|value| serde_json::from_str::<(String, i64, Option<u64>, String)>(&value).ok());
    Ok(match stored {
        Some((of, segment, lines, fingerprint)) if of == folder => Cursor { segment, lines, fingerprint },
        _ => Cursor::default(),
    })
}

/// Returns whether an index can be continued from an acknowledged position: it is at this position, or one step ahead of it,
/// because the process ended before the step was acknowledged.
pub(super) fn continues(connection: &Connection, folder: &str, acknowledged: &Cursor) -> rusqlite::Result<bool> {
    Ok(read(connection, POSITION, folder)? == *acknowledged || read(connection, PREVIOUS, folder)? == *acknowledged)
}

impl Index {
    /// Returns whether the index can be continued from the position in the state database. If not, one of the two files was
    /// restored from a backup.
    pub(super) fn continues(&self, folder: &str, acknowledged: &Cursor) -> Result<bool, IndexError> {
        continues(&self.connection, folder, acknowledged).map_err(|source| self.failed(source))
    }

    /// Returns the ID of the last segment whose events are in the index, or 0.
    pub(super) fn last_segment(&self, folder: &str) -> Result<i64, IndexError> {
        let position = read(&self.connection, POSITION, folder);
        position.map(|position| position.segment).map_err(|source| self.failed(source))
    }

    /// Returns what is committed and not in the index. If the position of the index is not in the record of the segments, this
    /// is every segment.
    ///
    /// # Errors
    /// Errors of the index and of the record.
    pub fn backlog(&self, segments: &CommittedSegments) -> Result<Backlog, IndexBuildError> {
        let position = read(&self.connection, POSITION, segments.folder_id()).map_err(|source| self.failed(source))?;
        let is_recorded = position.segment <= segments.last_id()?
            && match segments.get(position.segment)? {
                Some(segment) => segment.fingerprint() == position.fingerprint,
                // A segment that was read completely may be missing from the record.
                None => position.lines.is_none(),
            };
        let position = if is_recorded { position } else { Cursor::default() };
        let after = if position.lines.is_some() { position.segment - 1 } else { position.segment };
        let backlog = segments.backlog(after)?;
        // A partly read segment counts as a whole, without the events that were read.
        Ok(Backlog { events: backlog.events.saturating_sub(position.lines.unwrap_or(0)), ..backlog })
    }
}
