//! SQL of Athena for the tables that `template.yaml` creates.

use super::literal::{json_path, quoted};
use super::{FieldSql, RenderError, SqlDialect, SqlStatement, bounds, render};
use crate::plan::{Column, Plan, PlanOutput, Predicate, QueryField, TimeSpan};
use jiff::civil::Date;

/// Maximum number of characters of a statement. Athena accepts 262,144 bytes, and a character has at most four.
/// <https://docs.aws.amazon.com/athena/latest/ug/service-limits.html>
const MAX_CHARS: usize = 262_144 / 4;

/// The tables of a lake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AthenaTables {
    /// The database.
    pub database: String,
    /// The table of events.
    pub events: String,
    /// The table of the events' bytes, for plans that return the bytes or search a text anywhere in an event.
    pub lines: String,
    /// Whether all plans use the table of the events' bytes.
    pub only_lines: bool,
    /// The table of compacted events, which is partitioned by event day and also contains the events' bytes. Used instead of
    /// the other tables if it is set.
    pub by_day: Option<String>,
}

impl AthenaTables {
    /// Returns the tables of a database with the names that `template.yaml` gives them.
    pub fn of_database(database: impl Into<String>) -> Self {
        let (events, lines) = ("events".into(), "lines".into());
        Self { database: database.into(), events, lines, only_lines: false, by_day: None }
    }

    /// Renders a plan. Without `arrived_until`, the day of arrival is bounded only from below, because a backfill delivers
    /// old events today.
    ///
    /// # Errors
    /// A value contains a control character, or the statement is too long.
    pub fn statement(&self, plan: &Plan, arrived_until: Option<Date>) -> Result<SqlStatement, RenderError> {
        let needs_bytes = matches!(plan.output(), PlanOutput::Events { columns, .. } if columns.is_empty());
        let needs_lines = self.only_lines || needs_bytes || searches_anywhere(plan.predicate());
        let reads_lines = needs_lines && self.by_day.is_none();
        render(plan, &AthenaDialect { tables: self, reads_lines, arrived_until })
    }
}

fn searches_anywhere(predicate: &Predicate) -> bool {
    match predicate {
        Predicate::All(inner) | Predicate::Any(inner) => inner.iter().any(searches_anywhere),
        Predicate::Not(inner) => searches_anywhere(inner),
        Predicate::Anywhere(_) => true,
        Predicate::Field(..) => false,
    }
}

struct AthenaDialect<'a> {
    tables: &'a AthenaTables,
    /// Whether the statement reads the table of the events' bytes.
    reads_lines: bool,
    arrived_until: Option<Date>,
}

impl SqlDialect for AthenaDialect<'_> {
    fn max_chars(&self) -> usize {
        MAX_CHARS
    }

    fn table(&self) -> String {
        let table = match &self.tables.by_day {
            Some(table) => table,
            None if self.reads_lines => &self.tables.lines,
            None => &self.tables.events,
        };
        format!("{}.{}", quoted(&self.tables.database), quoted(table))
    }

    fn event(&self) -> String {
        "line".to_owned()
    }

    fn field(&self, field: &QueryField) -> FieldSql {
        match field {
            QueryField::Column(column) if self.reads_lines => FieldSql::at("line", &json_path(column.path(), &[])),
            QueryField::Path(path) if self.reads_lines => {
                FieldSql::at("line", &json_path(&[path.root().name()], path.steps()))
            }
            QueryField::Path(path) => FieldSql::at(&path.root().name().to_lowercase(), &json_path(&[], path.steps())),
            // The column contains the JSON text.
            QueryField::Column(
                column @ (Column::RequestParameters
                | Column::ResponseElements
                | Column::AdditionalEventData
                | Column::Resources),
            ) => {
                let name = column.name().to_lowercase();
                FieldSql { value: format!("json_extract_scalar({name}, '$')"), ..FieldSql::plain(name) }
            }
            QueryField::Column(column) => FieldSql::plain(column.name().to_lowercase()),
        }
    }

    fn time_text(&self) -> String {
        self.field(&Column::EventTime.into()).value
    }

    fn time_order(&self) -> String {
        self.time_text()
    }

    fn time_bounds(&self, span: TimeSpan) -> Vec<String> {
        let [since, until] = bounds(span);
        let time = self.time_text();
        let mut conditions = Vec::new();
        if self.tables.by_day.is_some() {
            conditions.push(format!("day >= '{}'", since.date()));
            conditions.push(format!("day <= '{}'", until.date()));
        } else {
            // No event arrives before it happens.
            conditions.push(format!("dt >= '{}'", since.date()));
            conditions.extend(self.arrived_until.map(|day| format!("dt <= '{day}'")));
        }
        // `eventTime` ends with Z and a bound does not, so the bound 10:00:00 sorts before 10:00:00Z and 10:00:00.5Z.
        conditions.push(format!("{time} >= '{since}'"));
        conditions.push(format!("{time} < '{until}'"));
        conditions
    }

    fn alias(&self, _: usize, name: &str) -> String {
        name.to_owned()
    }
}
