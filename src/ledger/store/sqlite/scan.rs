//! Scans the file in batches. Includes writes that are not committed yet.

use super::{COLUMNS, Sqlite, page_of, store_error, stored_row};
use crate::ledger::inspect::scan::{LedgerScan, LedgerSize, ScanBatch, ScanFilter, ScanToken};
use crate::ledger::model::page::PageName;
use crate::ledger::store::StoreError;
use async_trait::async_trait;
use rusqlite::{Connection, params};
use std::path::Path;

#[async_trait]
impl LedgerScan for Sqlite {
    async fn size(&self) -> Result<LedgerSize, StoreError> {
        const SIZE: &str = "SELECT (SELECT count(*) FROM rows) + (SELECT count(*) FROM pages),
             (SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()),
             (SELECT count(*) FROM rows WHERE status = 'quarantined')";
        self.run(|journal| {
            journal.read(|connection| {
                let number = |row: &rusqlite::Row<'_>, at| row.get::<_, i64>(at).map(i64::cast_unsigned);
                let size = |row: &rusqlite::Row<'_>| {
                    let (items, bytes, quarantined) = (number(row, 0)?, number(row, 1)?, number(row, 2)?);
                    Ok(LedgerSize { items, bytes, quarantined: Some(quarantined), age: 0 })
                };
                connection.query_row(SIZE, [], size).map_err(|error| store_error(journal.path(), error))
            })
        })
        .await
    }

    async fn scan(&self, filter: &ScanFilter, after: Option<&ScanToken>, limit: u32) -> Result<ScanBatch, StoreError> {
        let (filter, after) = (filter.clone(), after.map(|ScanToken(token)| token.clone()));
        self.run(move |journal| {
            journal.read(|connection| {
                let reader = ScanReader { connection, path: journal.path(), limit: limit.max(1) };
                match filter {
                    ScanFilter::Quarantined => reader.rows("status = 'quarantined'", after.as_deref()),
                    ScanFilter::Versions(objects) => reader.versions(&objects),
                    ScanFilter::Pages => reader.pages(after.as_deref().unwrap_or_default()),
                    // Rows first, then pages. A token with the prefix continues among the pages.
                    ScanFilter::All => match after.as_deref().and_then(|token| token.strip_prefix(PAGES)) {
                        Some(name) => reader.pages_after_rows(name),
                        None => reader.rows("true", after.as_deref()).map(|batch| ScanBatch {
                            next: Some(batch.next.unwrap_or_else(|| ScanToken(PAGES.to_owned()))),
                            ..batch
                        }),
                    },
                }
            })
        })
        .await
    }
}

/// Prefix of the tokens with which a scan of all items continues among the pages. The token of a row is hexadecimal, so
/// it cannot have this prefix.
const PAGES: &str = "p#";

struct ScanReader<'a> {
    connection: &'a Connection,
    path: &'a Path,
    limit: u32,
}

impl ScanReader<'_> {
    fn failed(&self, error: rusqlite::Error) -> StoreError {
        store_error(self.path, error)
    }

    fn rows(&self, condition: &str, after: Option<&str>) -> Result<ScanBatch, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM rows WHERE {condition} AND id > unhex(?1) ORDER BY id LIMIT ?2");
        let mut batch = ScanBatch::default();
        let mut statement = self.connection.prepare_cached(&sql).map_err(|error| self.failed(error))?;
        let found = statement
            .query_map(params![after.unwrap_or_default(), self.limit], stored_row)
            .map_err(|error| self.failed(error))?;
        for row in found {
            batch.rows.push(row.map_err(|error| self.failed(error))?.row()?);
        }
        if batch.rows.len() == self.limit as usize {
            batch.next = batch.rows.last().map(|row| ScanToken(row.object.id().to_string()));
        }
        Ok(batch)
    }

    fn versions(&self, objects: &[(String, String)]) -> Result<ScanBatch, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM rows WHERE key = ?2 AND bucket = ?1 ORDER BY id");
        let mut statement = self.connection.prepare_cached(&sql).map_err(|error| self.failed(error))?;
        let mut batch = ScanBatch::default();
        for (bucket, key) in objects {
            for row in statement.query_map([bucket, key], stored_row).map_err(|error| self.failed(error))? {
                batch.rows.push(row.map_err(|error| self.failed(error))?.row()?);
            }
        }
        Ok(batch)
    }

    fn pages_after_rows(&self, name: &str) -> Result<ScanBatch, StoreError> {
        let batch = self.pages(name)?;
        Ok(ScanBatch { next: batch.next.map(|ScanToken(name)| ScanToken(format!("{PAGES}{name}"))), ..batch })
    }

    fn pages(&self, after: &str) -> Result<ScanBatch, StoreError> {
        const SQL: &str =
            "SELECT name, version, full, expires, entries FROM pages WHERE name > ?1 ORDER BY name LIMIT ?2";
        let mut statement = self.connection.prepare_cached(SQL).map_err(|error| self.failed(error))?;
        let found = statement
            .query_map(params![after, self.limit], |row| {
                Ok((PageName(row.get(0)?), (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
            })
            .map_err(|error| self.failed(error))?;
        let mut batch = ScanBatch::default();
        for page in found {
            let (name, stored) = page.map_err(|error| self.failed(error))?;
            let page = page_of(&name, stored)?;
            batch.pages.push((name, page));
        }
        if batch.pages.len() == self.limit as usize {
            batch.next = batch.pages.last().map(|(name, _)| ScanToken(name.0.clone()));
        }
        Ok(batch)
    }
}
