//! SQLite store: keeps the ledger in one file, for one process at a time.
//!
//! Conditions and changes are [`Guard::admits`] and [`Change::apply`], evaluated under the journal's lock. This store
//! never deletes rows or pages, so that a local run can cover a whole bucket. It stores their expiry, because the
//! protocol reads it.

mod journal;
mod open_error;
mod outstanding;
mod ownership;
mod scan;
mod schema;
#[cfg(test)]
mod tests;

pub use journal::{CommitMode, Journal};
pub(crate) use open_error::store_error;
pub use outstanding::Outstanding;
pub(crate) use ownership::Owners;
pub(crate) use schema::Schema;

use crate::ledger::cost::{self, LedgerCounters};
use crate::ledger::model::ordinals::OrdinalSet;
use crate::ledger::model::page::{Page, PageName, Version};
use crate::ledger::model::row::{Change, Counts, Guard, Row, Seconds, Status, Token};
use crate::ledger::store::{Store, StoreError, WriteError};
use crate::object::{Object, ObjectId};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use std::path::Path;
use std::sync::Arc;

/// Store that keeps the ledger in one SQLite file.
#[derive(Debug, Clone)]
pub struct Sqlite {
    journal: Arc<Journal>,
    usage: Arc<LedgerCounters>,
}

impl Sqlite {
    /// Opens the ledger at `path` and creates it if it does not exist.
    ///
    /// # Errors
    /// If another process has locked the ledger, if the file is not a ledger or is from a newer version, or if the
    /// folder is not writable.
    pub fn open(path: &Path, mode: CommitMode) -> Result<Self, StoreError> {
        Ok(Self { journal: Arc::new(Journal::open(path, mode)?), usage: Arc::default() })
    }

    /// Opens the ledger at `path` read-only, also while another process writes it. Every write fails.
    ///
    /// # Errors
    /// If the file does not exist, is not a ledger, or is from a newer version.
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { journal: Arc::new(Journal::open_read_only(path)?), usage: Arc::default() })
    }

    /// Returns the journal, for the sink that shares its transaction.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Returns the counters of the reads and writes, in the units that DynamoDB would bill.
    pub fn counters(&self) -> &Arc<LedgerCounters> {
        &self.usage
    }

    /// Returns the rows of quarantined objects, ordered by object ID.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub async fn quarantined(&self) -> Result<Vec<Row>, StoreError> {
        self.run(|journal| {
            journal.read(|connection| {
                let sql = format!("SELECT {COLUMNS} FROM rows WHERE status = 'quarantined' ORDER BY id");
                let mut statement = connection.prepare_cached(&sql).map_err(|e| store_error(journal.path(), e))?;
                let found = statement.query_map([], stored_row).map_err(|e| store_error(journal.path(), e))?;
                found.map(|row| row.map_err(|e| store_error(journal.path(), e))?.row()).collect()
            })
        })
        .await
    }

    /// Runs `work`. In grouped mode a write only touches memory and runs in place; in durable mode it waits for the
    /// disk and runs on a blocking thread.
    async fn run<T: Send + 'static, E: From<StoreError> + Send + 'static>(
        &self,
        work: impl FnOnce(&Journal) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        match self.journal.mode() {
            CommitMode::Grouped => work(&self.journal),
            CommitMode::Durable => {
                let journal = Arc::clone(&self.journal);
                let outcome = tokio::task::spawn_blocking(move || work(&journal)).await;
                outcome.unwrap_or_else(|error| {
                    Err(StoreError::Unknown(format!("a ledger operation was aborted: {error}")).into())
                })
            }
        }
    }

    async fn change(
        &self,
        id: ObjectId,
        object: Option<Object>,
        guard: Guard,
        change: &Change,
    ) -> Result<Row, WriteError<Row>> {
        let change = change.clone();
        let usage = Arc::clone(&self.usage);
        self.run(move |journal| {
            let outcome = journal.write(|connection| {
                let current = read_row(connection, journal.path(), id)?;
                let object = object.as_ref().or(current.as_ref().map(|row| &row.object)).cloned();
                let before = current.as_ref().map_or(0, cost::row_bytes);
                let Some(object) = object.filter(|_| guard.admits(current.as_ref())) else {
                    usage.refused(before, before);
                    return Ok(Err(current));
                };
                let row = change.apply(current, &object);
                write_row(connection, journal.path(), id, &row)?;
                usage.wrote(before, cost::row_bytes(&row));
                Ok(Ok(row))
            })?;
            outcome.map_err(|current| WriteError::Refused(current.map(Box::new)))
        })
        .await
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn change_row(&self, object: &Object, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        self.change(object.id(), Some(object.clone()), guard, change).await
    }

    async fn change_row_by_id(&self, id: ObjectId, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        self.change(id, None, guard, change).await
    }

    async fn rows(&self, ids: &[ObjectId]) -> Result<Vec<Option<Row>>, StoreError> {
        let ids = ids.to_vec();
        let rows = self
            .run(move |journal| {
                journal.read(|connection| {
                    ids.into_iter().map(|id| read_row(connection, journal.path(), id)).collect::<Result<Vec<_>, _>>()
                })
            })
            .await?;
        for batch in rows.chunks(cost::MAX_BATCH_KEYS) {
            self.usage.read(batch.iter().map(|row| row.as_ref().map_or(0, cost::row_bytes)));
        }
        Ok(rows)
    }

    async fn pages(&self, names: &[PageName]) -> Result<Vec<Option<Page>>, StoreError> {
        let requested = names.to_vec();
        let pages = self
            .run(move |journal| {
                journal.read(|connection| {
                    requested
                        .iter()
                        .map(|name| read_page(connection, journal.path(), name))
                        .collect::<Result<Vec<_>, _>>()
                })
            })
            .await?;
        for (names, pages) in names.chunks(cost::MAX_BATCH_KEYS).zip(pages.chunks(cost::MAX_BATCH_KEYS)) {
            let sizes = names.iter().zip(pages);
            self.usage.read(sizes.map(|(name, page)| page.as_ref().map_or(0, |page| cost::page_bytes(name, page))));
        }
        Ok(pages)
    }

    async fn write_page(&self, name: &PageName, current: Option<Version>, page: &Page) -> Result<(), WriteError<Page>> {
        let after = cost::page_bytes(name, page);
        let (version, full, expires, entries) = (page.version, page.full, page.expires, page.encode());
        let (name, usage) = (name.clone(), Arc::clone(&self.usage));
        self.run(move |journal| {
            let outcome = journal.write(|connection| {
                let found = read_page(connection, journal.path(), &name)?;
                let before = found.as_ref().map_or(0, |page| cost::page_bytes(&name, page));
                let version_found = found.as_ref().map(|page| page.version);
                if version_found != current {
                    usage.refused(before, after);
                    return Ok(Err(found));
                }
                let sql =
                    "INSERT OR REPLACE INTO pages (name, version, full, expires, entries) VALUES (?1, ?2, ?3, ?4, ?5)";
                connection
                    .prepare_cached(sql)
                    .and_then(|mut put| put.execute(params![name.0, version.0.cast_signed(), full, expires, entries]))
                    .map_err(|error| store_error(journal.path(), error))?;
                usage.wrote(before, after);
                Ok(Ok(()))
            })?;
            outcome.map_err(|found| WriteError::Refused(found.map(Box::new)))
        })
        .await
    }
}

const COLUMNS: &str = "bucket, key, etag, status, token, until, cursor, seen, delivered, duplicate, filtered, oversize, \
                       reason, expires, quarantined_at, accepted, acknowledged";

fn read_row(connection: &Connection, path: &Path, id: ObjectId) -> Result<Option<Row>, StoreError> {
    let stored = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM rows WHERE id = ?1"))
        .and_then(|mut get| get.query_row([&id.0[..]], stored_row).optional())
        .map_err(|error| store_error(path, error))?;
    stored.map(StoredRow::row).transpose()
}

/// A row as read from SQLite. Its status and its acknowledged ordinals are not parsed yet.
struct StoredRow {
    row: Row,
    status: String,
    acknowledged: Option<Vec<u8>>,
}

impl StoredRow {
    fn row(self) -> Result<Row, StoreError> {
        let Self { row, status, acknowledged } = self;
        let status = Status::parse(&status).ok_or_else(|| {
            StoreError::Unreadable(format!("the ledger's row of {} has an unknown status: {status:?}", row.object))
        })?;
        let acknowledged = match acknowledged {
            None => OrdinalSet::default(),
            Some(bytes) => OrdinalSet::decode(&bytes).map_err(|error| {
                StoreError::Unreadable(format!("cannot read the ledger's row of {}: {error}", row.object))
            })?,
        };
        Ok(Row { status, acknowledged, ..row })
    }
}

fn stored_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredRow> {
    let count = |column| row.get::<_, Option<i64>>(column).map(|count| count.map(i64::cast_unsigned));
    let counts = match count(7)? {
        None => None,
        Some(seen) => Some(Counts {
            seen,
            delivered: count(8)?.unwrap_or_default(),
            duplicate: count(9)?.unwrap_or_default(),
            filtered: count(10)?.unwrap_or_default(),
            oversize: count(11)?.unwrap_or_default(),
        }),
    };
    let parsed = Row {
        object: Object { bucket: row.get(0)?, key: row.get(1)?, etag: row.get(2)? },
        status: Status::Open,
        token: row.get::<_, Option<[u8; 16]>>(4)?.map(|token| Token(u128::from_be_bytes(token))),
        until: row.get(5)?,
        cursor: row.get(6)?,
        acknowledged: OrdinalSet::default(),
        counts,
        reason: row.get(12)?,
        quarantined_at: row.get(14)?,
        accepted: row.get(15)?,
        expires: row.get(13)?,
    };
    Ok(StoredRow { row: parsed, status: row.get(3)?, acknowledged: row.get(16)? })
}

fn write_row(connection: &Connection, path: &Path, id: ObjectId, row: &Row) -> Result<(), StoreError> {
    let count = |of: fn(&Counts) -> u64| row.counts.as_ref().map(|counts| of(counts).cast_signed());
    let sql = format!(
        "INSERT OR REPLACE INTO rows (id, {COLUMNS}) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)"
    );
    connection
        .prepare_cached(&sql)
        .and_then(|mut put| {
            put.execute(params![
                &id.0[..],
                row.object.bucket,
                row.object.key,
                row.object.etag,
                row.status.as_str(),
                row.token.map(|token| token.0.to_be_bytes()),
                row.until,
                row.cursor,
                count(|counts| counts.seen),
                count(|counts| counts.delivered),
                count(|counts| counts.duplicate),
                count(|counts| counts.filtered),
                count(|counts| counts.oversize),
                row.reason,
                row.expires,
                row.quarantined_at,
                row.accepted,
                Some(&row.acknowledged).filter(|set| !set.is_empty()).map(OrdinalSet::encode),
            ])
        })
        .map(|_| ())
        .map_err(|error| store_error(path, error))
}

fn read_page(connection: &Connection, path: &Path, name: &PageName) -> Result<Option<Page>, StoreError> {
    let stored = connection
        .prepare_cached("SELECT version, full, expires, entries FROM pages WHERE name = ?1")
        .and_then(|mut get| {
            get.query_row([&name.0], |row| {
                Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?, row.get::<_, Vec<u8>>(3)?))
            })
            .optional()
        })
        .map_err(|error| store_error(path, error))?;
    stored.map(|stored| page_of(name, stored)).transpose()
}

/// Columns version, full, expires and entries of a page.
type StoredPage = (i64, bool, Seconds, Vec<u8>);

fn page_of(name: &PageName, (version, full, expires, entries): StoredPage) -> Result<Page, StoreError> {
    Page::decode(Version(version.cast_unsigned()), full, expires, &entries)
        .map_err(|error| StoreError::Unreadable(format!("cannot read the ledger's page {name}: {error}")))
}
