//! Read-only tables in SQLite whose rows come from Rust code, behind safe traits.
//!
//! This package exists because the library of trailhose forbids `unsafe`, and `rusqlite` requires `unsafe impl` for the two
//! traits of a virtual table. It contains nothing else.
#![warn(missing_docs, missing_debug_implementations, unreachable_pub, rust_2018_idioms)]

mod module;

pub use module::register;
pub use rusqlite;

use rusqlite::types::Value;

/// Maximum number of columns: SQLite reports which of the first 63 columns a statement uses.
pub const MAX_COLUMNS: usize = 63;

/// A table that SQLite can read.
pub trait ReadOnlyTable: Send + Sync + 'static {
    /// Returns the columns, at most [`MAX_COLUMNS`].
    fn columns(&self) -> Vec<TableColumn>;

    /// Starts a scan. A statement scans the table once for each place where it names the table. An inner table of a join is
    /// scanned once for each row of the outer tables.
    ///
    /// # Errors
    /// A message that becomes the error of the statement.
    fn scan(&self, request: &TableRequest) -> Result<Box<dyn Rows>, String>;
}

/// A column of a [`ReadOnlyTable`]. Its values are texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumn {
    /// The name. It can contain every character except NUL.
    pub name: String,
    /// Whether `SELECT *` leaves the column out.
    pub hidden: bool,
}

/// What a statement needs from one scan of a table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TableRequest {
    /// For each column, whether the statement reads it. The value of another column is never requested.
    pub used: Vec<bool>,
    /// Conditions that the statement's rows fulfill. SQLite tests each row again, so a table may ignore conditions.
    pub constraints: Vec<Constraint>,
}

/// A condition on a column. Texts are compared byte by byte.
#[derive(Debug, Clone, PartialEq)]
pub struct Constraint {
    /// Index of the column.
    pub column: usize,
    /// How the column is compared.
    pub operator: Operator,
    /// The values that the column is compared with, before SQLite converts them to text: one value, or for
    /// [`Operator::Equal`] any number of alternatives.
    pub values: Vec<Value>,
}

/// How a column is compared with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `=` or `IN`
    Equal,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `GLOB` with the pattern as value
    Glob,
}

/// The rows of one scan.
pub trait Rows {
    /// Moves to the next row; the first call moves to the first row. Returns `false` after the last row.
    ///
    /// # Errors
    /// A message that becomes the error of the statement.
    fn advance(&mut self) -> Result<bool, String>;

    /// Returns the value of a used column in the current row, or `None` for `NULL`.
    fn value(&self, column: usize) -> Option<&str>;
}
