//! The virtual table module that SQLite calls.

use crate::{Constraint, MAX_COLUMNS, Operator, ReadOnlyTable, Rows, TableRequest};
use rusqlite::ffi::{sqlite3_vtab, sqlite3_vtab_cursor};
use rusqlite::types::Value;
use rusqlite::vtab::{
    Context, CreateVTab, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConnection, VTabCursor, VTabKind,
};
use rusqlite::{Connection, Error, Result};
use std::borrow::Cow;
use std::ffi::{CStr, CString, c_int};
use std::sync::Arc;

/// The cost of a scan for SQLite's planner. It must be the same with and without constraints: with a lower cost, SQLite would
/// scan the table once for each alternative of an `OR` and remove duplicates by row number, which the rows do not have.
const SCAN_COST: f64 = 1e9;

/// The number of rows of a scan without constraints, for SQLite's planner.
const SCAN_ROWS: i64 = 1_000_000;

/// Why SQLite gets no row numbers. Two scans can return the rows in different orders, so a number would name different rows.
const NO_ROWID: &str = "the rows of this table have no rowid, which RIGHT JOIN, FULL JOIN and the column rowid need: swap the \
     tables and use LEFT JOIN, or read the rows once with WITH e AS MATERIALIZED (SELECT ... FROM the table), and use e";

/// Registers a table with a connection. Statements can name it without `CREATE VIRTUAL TABLE`.
///
/// # Errors
/// Too many columns, or an error of SQLite.
pub fn register(connection: &Connection, name: &str, table: Arc<dyn ReadOnlyTable>) -> Result<()> {
    const MODULE: Module<'static, ScannedTable> = Module::eponymous_only_module();
    let columns = table.columns().len();
    if columns > MAX_COLUMNS {
        return Err(Error::ModuleError(format!("{columns} columns: expected at most {MAX_COLUMNS}")));
    }
    connection.create_module(name, &MODULE, Some(table))
}

/// A [`ReadOnlyTable`] as SQLite sees it.
#[repr(C)]
struct ScannedTable {
    /// SQLite requires this field to be the first one.
    base: sqlite3_vtab,
    table: Arc<dyn ReadOnlyTable>,
    columns: usize,
}

/// One scan as SQLite sees it.
#[repr(C)]
struct ScanCursor {
    /// SQLite requires this field to be the first one.
    base: sqlite3_vtab_cursor,
    table: Arc<dyn ReadOnlyTable>,
    columns: usize,
    rows: Option<Box<dyn Rows>>,
}

// SAFETY: the struct is `repr(C)`, and its first field is SQLite's base struct. This is what the trait requires.
#[allow(unsafe_code)]
unsafe impl VTab<'_> for ScannedTable {
    type Aux = Arc<dyn ReadOnlyTable>;
    type Cursor = ScanCursor;

    fn connect(
        _: &mut VTabConnection,
        table: Option<&Self::Aux>,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: &[&[u8]],
    ) -> Result<(Cow<'static, CStr>, Self)> {
        let table = Arc::clone(table.ok_or_else(|| module_error("the table is missing"))?);
        let columns = table.columns();
        let declared: Vec<String> = columns
            .iter()
            .map(|column| {
                let name = column.name.replace('"', "\"\"");
                format!("\"{name}\" TEXT{}", if column.hidden { " HIDDEN" } else { "" })
            })
            .collect();
        let statement = CString::new(format!("CREATE TABLE t({})", declared.join(", ")))
            .map_err(|_| module_error("the name of a column contains a NUL byte"))?;
        let columns = columns.len();
        Ok((Cow::Owned(statement), Self { base: sqlite3_vtab::default(), table, columns }))
    }

    fn best_index(&self, info: &mut IndexInfo) -> Result<bool> {
        let accepted: Vec<(usize, AcceptedConstraint)> = info
            .constraints()
            .enumerate()
            .filter(|(_, constraint)| constraint.is_usable())
            .filter_map(|(index, constraint)| {
                let column = usize::try_from(constraint.column()).ok()?;
                Some((index, AcceptedConstraint { column, operator: operator(constraint.operator())?, list: false }))
            })
            .collect();
        let mut plan = ScanPlan { used: info.col_used(), accepted: Vec::with_capacity(accepted.len()) };
        for (index, mut constraint) in accepted {
            // With other collations, SQLite compares texts differently from Rust.
            if constraint.operator != Operator::Glob && info.collation(index)? != "BINARY" {
                continue;
            }
            if info.is_in_constraint(index)? {
                // All values at once, instead of one scan for each value.
                constraint.list = info.set_in_constraint(index, true)?;
            }
            plan.accepted.push(constraint);
            let argument = c_int::try_from(plan.accepted.len()).map_err(|_| module_error("too many conditions"))?;
            info.constraint_usage(index).set_argv_index(argument);
        }
        info.set_idx_str(&plan.to_text());
        info.set_estimated_cost(SCAN_COST);
        info.set_estimated_rows(plan.accepted.iter().fold(SCAN_ROWS, |rows, _| (rows / 10).max(1)));
        Ok(true)
    }

    fn open(&mut self) -> Result<ScanCursor> {
        Ok(ScanCursor {
            base: sqlite3_vtab_cursor::default(),
            table: Arc::clone(&self.table),
            columns: self.columns,
            rows: None,
        })
    }
}

impl CreateVTab<'_> for ScannedTable {
    const KIND: VTabKind = VTabKind::EponymousOnly;
}

// SAFETY: the struct is `repr(C)`, and its first field is SQLite's base struct. This is what the trait requires.
#[allow(unsafe_code)]
unsafe impl VTabCursor for ScanCursor {
    fn filter(&mut self, _: c_int, plan: Option<&str>, arguments: &Filters<'_>) -> Result<()> {
        let plan = plan.and_then(ScanPlan::from_text).ok_or_else(|| module_error("the plan of the scan is invalid"))?;
        let mut request = TableRequest { used: plan.used_columns(self.columns), constraints: Vec::new() };
        for (index, accepted) in plan.accepted.iter().enumerate() {
            let values =
                if accepted.list { list_values(arguments, index)? } else { vec![arguments.get::<Value>(index)?] };
            request.constraints.push(Constraint { column: accepted.column, operator: accepted.operator, values });
        }
        // The previous scan of this cursor ends before the next one starts.
        self.rows = None;
        self.rows = Some(self.table.scan(&request).map_err(Error::ModuleError)?);
        self.next()
    }

    fn next(&mut self) -> Result<()> {
        if let Some(rows) = &mut self.rows
            && !rows.advance().map_err(Error::ModuleError)?
        {
            self.rows = None;
        }
        Ok(())
    }

    fn eof(&self) -> bool {
        self.rows.is_none()
    }

    fn column(&self, context: &mut Context, column: c_int) -> Result<()> {
        let column = usize::try_from(column).map_err(|_| module_error("a column has a negative number"))?;
        context.set_result(self.rows.as_ref().and_then(|rows| rows.value(column)))
    }

    fn rowid(&self) -> Result<i64> {
        Err(module_error(NO_ROWID))
    }
}

/// What [`VTab::best_index`] decided, as the text that SQLite passes to [`VTabCursor::filter`].
#[derive(Debug, PartialEq, Eq)]
struct ScanPlan {
    /// One bit for each column. The last bit is for the last column and all after it.
    used: u64,
    /// The constraints whose values are the arguments of the scan.
    accepted: Vec<AcceptedConstraint>,
}

#[derive(Debug, PartialEq, Eq)]
struct AcceptedConstraint {
    column: usize,
    operator: Operator,
    /// Whether the argument is the list of an `IN`.
    list: bool,
}

impl ScanPlan {
    fn used_columns(&self, columns: usize) -> Vec<bool> {
        (0..columns).map(|column| self.used >> column & 1 == 1).collect()
    }

    fn to_text(&self) -> String {
        let mut text = self.used.to_string();
        for AcceptedConstraint { column, operator, list } in &self.accepted {
            let list = u8::from(*list);
            text.push_str(&format!(" {column},{},{list}", operator_name(*operator)));
        }
        text
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let used = words.next()?.parse().ok()?;
        let accepted = words.map(|word| {
            let mut parts = word.split(',');
            let column = parts.next()?.parse().ok()?;
            let name = parts.next()?;
            let operator = OPERATORS.into_iter().find(|operator| operator_name(*operator) == name)?;
            Some(AcceptedConstraint { column, operator, list: parts.next()? == "1" })
        });
        Some(Self { used, accepted: accepted.collect::<Option<_>>()? })
    }
}

const OPERATORS: [Operator; 6] =
    [Operator::Equal, Operator::Less, Operator::AtMost, Operator::Greater, Operator::AtLeast, Operator::Glob];

fn operator_name(operator: Operator) -> &'static str {
    match operator {
        Operator::Equal => "eq",
        Operator::Less => "lt",
        Operator::AtMost => "le",
        Operator::Greater => "gt",
        Operator::AtLeast => "ge",
        Operator::Glob => "glob",
    }
}

fn operator(operator: IndexConstraintOp) -> Option<Operator> {
    match operator {
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ => Some(Operator::Equal),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LT => Some(Operator::Less),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_LE => Some(Operator::AtMost),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GT => Some(Operator::Greater),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GE => Some(Operator::AtLeast),
        IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_GLOB => Some(Operator::Glob),
        _ => None,
    }
}

fn list_values(arguments: &Filters<'_>, index: usize) -> Result<Vec<Value>> {
    use rusqlite::fallible_iterator::FallibleIterator as _;
    let mut list = arguments.in_values(index)?;
    let mut values = Vec::new();
    while let Some(value) = list.next()? {
        values.push(Value::try_from(value)?);
    }
    Ok(values)
}

fn module_error(message: &str) -> Error {
    Error::ModuleError(message.to_owned())
}

#[cfg(test)]
mod tests;
