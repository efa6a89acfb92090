//! The tokens of the API. Only their SHA-256 is stored.

use super::{StateDatabase, StateError};
use rusqlite::{Row, params};

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenScope {
    /// Read everything, and run queries over the delivered files.
    Read,
    /// Add, remove and run sources; change findings; retry alerts.
    Write,
    /// Run queries with Athena, which AWS bills.
    Athena,
}

impl TokenScope {
    /// All scopes.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Athena];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Athena => "athena",
        }
    }

    /// Parses the result of [`TokenScope::name`].
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// A token as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Its name.
    pub name: String,
    /// The SHA-256 of the token, in hexadecimal digits.
    pub hash: String,
    /// What it allows.
    pub scopes: Vec<TokenScope>,
    /// Whether rate limits do not apply to it.
    pub is_unlimited: bool,
    /// When it was created, in seconds since 1970.
    pub created: i64,
    /// When it was revoked, in seconds since 1970. A revoked token is refused.
    pub revoked: Option<i64>,
}

impl StateDatabase {
    /// Durably adds a token. Returns false if the name is used, also by a revoked token.
    ///
    /// # Errors
    /// [`StateError::Full`] if the disk is full; other errors of SQLite.
    pub fn add_token(&self, token: &ApiToken) -> Result<bool, StateError> {
        let ApiToken { name, hash, scopes, is_unlimited, created, revoked } = token;
        let scopes: Vec<&str> = scopes.iter().map(|scope| scope.name()).collect();
        self.write(|transaction| {
            let sql = "INSERT OR IGNORE INTO tokens VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let values = params![name, hash, scopes.join(","), is_unlimited, created, revoked];
            transaction.prepare_cached(sql)?.execute(values).map(|rows| rows > 0)
        })
    }

    /// Durably revokes a token. Returns false if there is no valid token with this name. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn revoke_token(&self, name: &str, now: i64) -> Result<bool, StateError> {
        self.write(|transaction| {
            let sql = "UPDATE tokens SET revoked = ?2 WHERE name = ?1 AND revoked IS NULL";
            transaction.prepare_cached(sql)?.execute(params![name, now]).map(|rows| rows > 0)
        })
    }

    /// Returns all tokens, also revoked ones, in the order of their names.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn tokens(&self) -> Result<Vec<ApiToken>, StateError> {
        let sql = "SELECT name, hash, scopes, is_unlimited, created, revoked FROM tokens ORDER BY name";
        let rows = self.connection().prepare_cached(sql).and_then(|mut found| {
            let token = |row: &Row<'_>| {
                let scopes: String = row.get(2)?;
                Ok(ApiToken {
                    name: row.get(0)?,
                    hash: row.get(1)?,
                    scopes: scopes.split(',').filter_map(TokenScope::parse).collect(),
                    is_unlimited: row.get(3)?,
                    created: row.get(4)?,
                    revoked: row.get(5)?,
                })
            };
            found.query_map([], token)?.collect()
        });
        rows.map_err(|error| self.failed(error))
    }
}
