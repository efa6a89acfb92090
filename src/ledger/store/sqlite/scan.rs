//! The file, read piece by piece. What is committed and what is not yet are read alike.

use super::{COLUMNS, Sqlite, failure, page_of, stored_row};
use crate::ledger::inspect::scan::{Mark, Over, Piece, Size, Survey};
use crate::ledger::model::page::PageName;
use crate::ledger::store::StoreError;
use async_trait::async_trait;
use rusqlite::{Connection, params};
use std::path::Path;

#[async_trait]
impl Survey for Sqlite {
    async fn size(&self) -> Result<Size, StoreError> {
        const SIZE: &str = "SELECT (SELECT count(*) FROM rows) + (SELECT count(*) FROM pages),
             (SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()),
             (SELECT count(*) FROM rows WHERE status = 'quarantined')";
        self.run(|journal| {
            journal.read(|connection| {
                let number = |row: &rusqlite::Row<'_>, at| row.get::<_, i64>(at).map(i64::cast_unsigned);
                let size = |row: &rusqlite::Row<'_>| {
                    let (items, bytes, aside) = (number(row, 0)?, number(row, 1)?, number(row, 2)?);
                    Ok(Size { items, bytes, quarantined: Some(aside), age: 0 })
                };
                connection.query_row(SIZE, [], size).map_err(|error| failure(journal.path(), error))
            })
        })
        .await
    }

    async fn walk(&self, over: &Over, after: Option<&Mark>, at_most: u32) -> Result<Piece, StoreError> {
        let (over, after) = (over.clone(), after.map(|Mark(mark)| mark.clone()));
        self.run(move |journal| {
            journal.read(|connection| {
                let reader = Reader { connection, path: journal.path(), at_most: at_most.max(1) };
                match over {
                    Over::Quarantined => reader.rows("status = 'quarantined'", after.as_deref()),
                    Over::Versions(objects) => reader.versions(&objects),
                    Over::Pages => reader.pages(after.as_deref().unwrap_or_default()),
                    // Rows first, then pages: a mark says where it is by what it begins with.
                    Over::All => match after.as_deref().and_then(|mark| mark.strip_prefix(PAGES)) {
                        Some(name) => reader.pages_behind(name),
                        None => reader.rows("true", after.as_deref()).map(|piece| Piece {
                            next: Some(piece.next.unwrap_or_else(|| Mark(PAGES.to_owned()))),
                            ..piece
                        }),
                    },
                }
            })
        })
        .await
    }
}

/// What a mark among the pages begins with; no row's does.
const PAGES: &str = "p#";

struct Reader<'a> {
    connection: &'a Connection,
    path: &'a Path,
    at_most: u32,
}

impl Reader<'_> {
    fn failed(&self, error: rusqlite::Error) -> StoreError {
        failure(self.path, error)
    }

    fn rows(&self, condition: &str, after: Option<&str>) -> Result<Piece, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM rows WHERE {condition} AND id > unhex(?1) ORDER BY id LIMIT ?2");
        let mut piece = Piece::default();
        let mut statement = self.connection.prepare_cached(&sql).map_err(|error| self.failed(error))?;
        let found = statement
            .query_map(params![after.unwrap_or_default(), self.at_most], stored_row)
            .map_err(|error| self.failed(error))?;
        for row in found {
            piece.rows.push(row.map_err(|error| self.failed(error))?.row()?);
        }
        if piece.rows.len() == self.at_most as usize {
            piece.next = piece.rows.last().map(|row| Mark(row.object.id().to_string()));
        }
        Ok(piece)
    }

    fn versions(&self, objects: &[(String, String)]) -> Result<Piece, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM rows WHERE key = ?2 AND bucket = ?1 ORDER BY id");
        let mut statement = self.connection.prepare_cached(&sql).map_err(|error| self.failed(error))?;
        let mut piece = Piece::default();
        for (bucket, key) in objects {
            for row in statement.query_map([bucket, key], stored_row).map_err(|error| self.failed(error))? {
                piece.rows.push(row.map_err(|error| self.failed(error))?.row()?);
            }
        }
        Ok(piece)
    }

    fn pages_behind(&self, name: &str) -> Result<Piece, StoreError> {
        let piece = self.pages(name)?;
        Ok(Piece { next: piece.next.map(|Mark(name)| Mark(format!("{PAGES}{name}"))), ..piece })
    }

    fn pages(&self, after: &str) -> Result<Piece, StoreError> {
        const SQL: &str =
            "SELECT name, version, full, expires, entries FROM pages WHERE name > ?1 ORDER BY name LIMIT ?2";
        let mut statement = self.connection.prepare_cached(SQL).map_err(|error| self.failed(error))?;
        let found = statement
            .query_map(params![after, self.at_most], |row| {
                Ok((PageName(row.get(0)?), (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
            })
            .map_err(|error| self.failed(error))?;
        let mut piece = Piece::default();
        for page in found {
            let (name, stored) = page.map_err(|error| self.failed(error))?;
            let page = page_of(&name, stored)?;
            piece.pages.push((name, page));
        }
        if piece.pages.len() == self.at_most as usize {
            piece.next = piece.pages.last().map(|(name, _)| Mark(name.0.clone()));
        }
        Ok(piece)
    }
}
