//! Tables that another module owns in the ledger's file, for example those of a sink. That module defines and reads
//! them. The journal only creates them and includes their writes in its transaction.

use super::{Journal, store_error};
use crate::ledger::store::StoreError;
use rusqlite::{Connection, OptionalExtension};

/// The tables of one module.
#[derive(Debug)]
pub(crate) struct Schema {
    /// The name under which the ledger's table `meta` records the version.
    pub(crate) name: &'static str,
    /// SQL that upgrades the tables from version *n*, which is its index, to *n* + 1. The first entry creates them.
    pub(crate) upgrades: &'static [&'static str],
}

impl Journal {
    /// Creates or upgrades the tables of `schema`, and commits.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if a newer program wrote the tables; errors of SQLite.
    pub(crate) fn register(&self, schema: &Schema) -> Result<(), StoreError> {
        let found = self.schema_version(schema)?;
        let Some(missing) = schema.upgrades.get(found..).filter(|missing| !missing.is_empty()) else {
            return Ok(());
        };
        self.commit(|connection| {
            missing.iter().try_for_each(|upgrade| connection.execute_batch(upgrade))?;
            let version = schema.upgrades.len().to_string();
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", [schema.name, &version]).map(drop)
        })
    }

    /// Returns the version of the tables of `schema`, or 0 if they do not exist.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if a newer program wrote the tables; errors of SQLite.
    pub(crate) fn schema_version(&self, schema: &Schema) -> Result<usize, StoreError> {
        let version =
            self.read(|connection| version(connection, schema.name).map_err(|error| store_error(self.path(), error)))?;
        match version.as_deref().map_or(Ok(0), str::parse) {
            Ok(version) if version <= schema.upgrades.len() => Ok(version),
            _ => Err(StoreError::Unreadable(format!(
                "the tables `{}` in the ledger {} have version {}, but this program reads up to version {}; use the \
                 version of trailhose that wrote them",
                schema.name,
                self.path().display(),
                version.unwrap_or_default(),
                schema.upgrades.len()
            ))),
        }
    }
}

fn version(connection: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0)).optional()
}
