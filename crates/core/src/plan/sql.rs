//! Renders a plan as SQL of Trino, for Athena and CloudTrail Lake.
//!
//! The SQL compares and groups values as the [module `plan`](super) specifies, so that all engines return the same rows.
//! SQL has a third truth value: a comparison with `NULL` and its negation are both neither true nor false. So negations are
//! moved down to the comparisons, and a negated comparison is also true if a value is missing.
//!
//! Values are literals that are checked and escaped. The remaining differences from an evaluation of the events' bytes are
//! listed in `docs/lake.md`.

mod athena;
mod cloudtrail_lake;
mod literal;

pub use athena::AthenaTables;
pub use cloudtrail_lake::EventDataStore;

use super::evaluate::EVENT_COLUMN;
use super::{
    Aggregate, Column, Comparison, EventOrder, GroupColumn, Groups, Network, Plan, PlanOutput, Predicate, QueryField,
    Scope, TimeSpan, ValueTest,
};
use literal::{anywhere_pattern, ipv4_pattern, like_condition, quoted, text_literal};
use std::fmt::Write as _;

/// Where a statement reads from, and how it names fields.
trait SqlDialect {
    /// Returns the maximum number of characters of a statement.
    fn max_chars(&self) -> usize;
    /// Returns the table.
    fn table(&self) -> String;
    /// Returns the expression of the event's own bytes.
    fn event(&self) -> String;
    /// Returns the expressions of a field that is not computed.
    fn field(&self, field: &QueryField) -> FieldSql;
    /// Returns the expression of `eventTime` as text, such as `2026-02-28T12:00:00Z`.
    fn time_text(&self) -> String;
    /// Returns the expression that events are sorted by.
    fn time_order(&self) -> String;
    /// Returns the conditions for the events of a span.
    fn time_bounds(&self, span: TimeSpan) -> Vec<String>;
    /// Returns the name in the result of the column with this number, from 0.
    fn alias(&self, number: usize, name: &str) -> String;
}

/// The expressions of a field.
#[derive(Debug, Clone)]
struct FieldSql {
    /// The value as it is compared. `NULL` for an object or an array.
    value: String,
    /// The value as a column or a group: the JSON text of an object or an array.
    column: String,
    /// Whether the field is missing or `null`, and the opposite. Never `NULL`.
    is_null: String,
    is_not_null: String,
}

impl FieldSql {
    /// Returns the expressions of a field that contains no object and no array.
    fn plain(value: String) -> Self {
        let (is_null, is_not_null) = (format!("{value} IS NULL"), format!("{value} IS NOT NULL"));
        Self { column: value.clone(), value, is_null, is_not_null }
    }

    /// Returns the expressions of the value at a path of a JSON document.
    fn at(document: &str, path: &str) -> Self {
        let path = text_literal_of_path(path);
        let value = format!("json_extract_scalar({document}, {path})");
        // For a field with the JSON value null, `json_extract` may return JSON null or NULL.
        let json = format!("json_format(json_extract({document}, {path}))");
        Self {
            column: format!("coalesce({value}, nullif({json}, 'null'))"),
            is_null: format!("coalesce({json}, 'null') = 'null'"),
            is_not_null: format!("coalesce({json}, 'null') <> 'null'"),
            value,
        }
    }
}

/// Returns a path as a literal. [`Path`](super::Path) rejects control characters, so the literal is always valid.
fn text_literal_of_path(path: &str) -> String {
    format!("'{}'", path.replace('\'', "''"))
}

/// A rendered statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlStatement {
    /// The statement.
    pub sql: String,
    /// The names of the columns in the service's result, in their order.
    pub aliases: Vec<String>,
    /// The names of the columns in the plan, in the same order.
    pub columns: Vec<String>,
    /// The plan's limit. The statement requests one row more than the limit. If it returns this row, there are more rows.
    pub limit: Option<u64>,
}

/// Why a plan cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A text contains a control character.
    #[error("the value {0:?} contains a control character, which cannot be part of a query")]
    ControlCharacter(String),
    /// The statement is too long.
    #[error("the query has {chars} characters, and the service accepts at most {max}: use fewer or shorter values")]
    TooLong {
        /// The number of characters.
        chars: usize,
        /// The maximum.
        max: usize,
    },
}

fn render(plan: &Plan, dialect: &dyn SqlDialect) -> Result<SqlStatement, RenderError> {
    let renderer = Renderer { dialect };
    let mut conditions = match plan.scope() {
        Scope::Time(span) => dialect.time_bounds(*span),
        Scope::EventId(id) => {
            let id = Predicate::equals(Column::EventId, id.clone());
            vec![renderer.predicate(&id, false)?]
        }
    };
    conditions.extend(renderer.conditions(plan.predicate())?);
    let (columns, expressions, tail) = match plan.output() {
        PlanOutput::Events { columns, order } => {
            let (names, expressions) = match columns.is_empty() {
                true => (vec![EVENT_COLUMN.to_owned()], vec![dialect.event()]),
                false => (
                    columns.iter().map(ToString::to_string).collect(),
                    columns.iter().map(|field| renderer.field(field).column).collect(),
                ),
            };
            (names, expressions, renderer.event_order(*order))
        }
        PlanOutput::Groups(groups) => {
            let (names, expressions) = renderer.group_columns(groups);
            (names, expressions, renderer.group_tail(groups))
        }
    };
    let aliases: Vec<_> = columns.iter().enumerate().map(|(number, name)| dialect.alias(number, name)).collect();
    let selected: Vec<_> = expressions
        .iter()
        .zip(&aliases)
        .map(|(expression, name)| format!("{expression} AS {}", quoted(name)))
        .collect();
    let mut sql = format!("SELECT {}\nFROM {}", selected.join(",\n    "), dialect.table());
    for (number, condition) in conditions.iter().enumerate() {
        let keyword = if number == 0 { "WHERE" } else { "  AND" };
        let _ = write!(sql, "\n{keyword} {condition}");
    }
    sql.push_str(&tail);
    if let Some(limit) = plan.limit() {
        let _ = write!(sql, "\nLIMIT {}", limit.saturating_add(1));
    }
    let chars = sql.chars().count();
    if chars > dialect.max_chars() {
        return Err(RenderError::TooLong { chars, max: dialect.max_chars() });
    }
    Ok(SqlStatement { sql, aliases, columns, limit: plan.limit() })
}

struct Renderer<'a> {
    dialect: &'a dyn SqlDialect,
}

impl Renderer<'_> {
    fn field(&self, field: &QueryField) -> FieldSql {
        match field {
            QueryField::Column(Column::Principal) => {
                let parts = Column::PRINCIPAL_PARTS.map(|column| self.dialect.field(&column.into()).value);
                FieldSql::plain(format!("coalesce({})", parts.join(", ")))
            }
            QueryField::Column(Column::Day) => FieldSql::plain(format!("substr({}, 1, 10)", self.dialect.time_text())),
            QueryField::Column(Column::Hour) => FieldSql::plain(format!("substr({}, 1, 13)", self.dialect.time_text())),
            QueryField::Column(Column::EventTime) => FieldSql::plain(self.dialect.time_text()),
            field => self.dialect.field(field),
        }
    }

    /// Returns the conditions that a predicate consists of.
    fn conditions(&self, predicate: &Predicate) -> Result<Vec<String>, RenderError> {
        match predicate {
            Predicate::All(inner) => {
                let inner: Result<Vec<_>, _> = inner.iter().map(|predicate| self.conditions(predicate)).collect();
                Ok(inner?.concat())
            }
            other => Ok(vec![self.predicate(other, false)?]),
        }
    }

    /// Returns a predicate or its negation as an operand of `AND`.
    fn predicate(&self, predicate: &Predicate, negated: bool) -> Result<String, RenderError> {
        match predicate {
            Predicate::All(inner) => self.joined(inner, negated, !negated),
            Predicate::Any(inner) => self.joined(inner, negated, negated),
            Predicate::Not(inner) => self.predicate(inner, !negated),
            Predicate::Anywhere(text) => {
                let not = if negated { "NOT " } else { "" };
                Ok(format!("{not}regexp_like({}, {})", self.dialect.event(), text_literal(&anywhere_pattern(text))?))
            }
            Predicate::Field(field, test) => self.test(&self.field(field), test, negated),
        }
    }

    fn joined(&self, inner: &[Predicate], negated: bool, all: bool) -> Result<String, RenderError> {
        let parts: Result<Vec<_>, _> = inner.iter().map(|predicate| self.predicate(predicate, negated)).collect();
        let mut parts = parts?;
        Ok(match parts.len() {
            0 => if all { "TRUE" } else { "FALSE" }.to_owned(),
            1 => parts.remove(0),
            _ => format!("({})", parts.join(if all { " AND " } else { " OR " })),
        })
    }

    fn test(&self, field: &FieldSql, test: &ValueTest, negated: bool) -> Result<String, RenderError> {
        let value = &field.value;
        let any = |conditions: Vec<String>| match conditions.len() {
            1 => conditions.concat(),
            _ => format!("({})", conditions.join(" OR ")),
        };
        let like = |texts: &[String], before: &str, after: &str| {
            let like = |text: &String| like_condition(value, before, text, after);
            Ok(any(texts.iter().map(like).collect::<Result<_, RenderError>>()?))
        };
        let condition = match test {
            ValueTest::Null => return Ok(if negated { &field.is_not_null } else { &field.is_null }.clone()),
            ValueTest::SameAs(other) => {
                let other = self.field(other).value;
                return Ok(match negated {
                    false => format!("{value} = {other}"),
                    true => format!("({value} IS NULL OR {other} IS NULL OR {value} <> {other})"),
                });
            }
            ValueTest::Equals(values) => {
                let values: Vec<_> = values.iter().map(|text| text_literal(text)).collect::<Result<_, _>>()?;
                let (is, in_list) = if negated { ("<>", "NOT IN") } else { ("=", "IN") };
                let condition = match values.as_slice() {
                    [one] => format!("{value} {is} {one}"),
                    many => format!("{value} {in_list} ({})", many.join(", ")),
                };
                return Ok(match negated {
                    false => condition,
                    true => format!("({value} IS NULL OR {condition})"),
                });
            }
            ValueTest::Prefix(values) => like(values, "", "%")?,
            ValueTest::Suffix(values) => like(values, "%", "")?,
            ValueTest::Contains(values) => {
                let contains = |text: &String| {
                    let lower = text.to_ascii_lowercase();
                    // `lower` also changes letters that are not ASCII. Two of them become ASCII letters; docs/lake.md lists
                    // this difference.
                    let value = match text.is_ascii() {
                        true => format!("lower({value})"),
                        false => {
                            format!("translate({value}, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')")
                        }
                    };
                    like_condition(&value, "%", &lower, "%")
                };
                any(values.iter().map(contains).collect::<Result<_, RenderError>>()?)
            }
            ValueTest::Cidr(networks) => any(networks.iter().map(|network| in_network(value, *network)).collect()),
        };
        Ok(match negated {
            false => condition,
            true => format!("({value} IS NULL OR NOT ({condition}))"),
        })
    }

    fn event_order(&self, order: EventOrder) -> String {
        let id = self.dialect.field(&Column::EventId.into()).value;
        let direction = match order {
            EventOrder::AsRead => return String::new(),
            EventOrder::Newest => "DESC",
            EventOrder::Oldest => "ASC",
        };
        format!("\nORDER BY {} {direction} NULLS LAST, {id} ASC NULLS LAST", self.dialect.time_order())
    }

    fn group_columns(&self, groups: &Groups) -> (Vec<String>, Vec<String>) {
        let by = groups.by.iter().map(|field| (field.to_string(), self.field(field).column));
        let aggregates = groups.aggregates.iter().map(|aggregate| (aggregate.column_name(), self.aggregate(aggregate)));
        by.chain(aggregates).unzip()
    }

    fn aggregate(&self, aggregate: &Aggregate) -> String {
        match aggregate {
            Aggregate::Count => "count(*)".to_owned(),
            Aggregate::CountDistinct(field) => format!("count(DISTINCT {})", self.field(field).column),
            Aggregate::Min(field) => format!("min({})", self.field(field).column),
            Aggregate::Max(field) => format!("max({})", self.field(field).column),
        }
    }

    /// Returns `GROUP BY`, `HAVING` and `ORDER BY`. Columns are named by their number, from 1.
    fn group_tail(&self, groups: &Groups) -> String {
        let mut tail = String::new();
        let by = groups.by.len();
        if by > 0 {
            let numbers: Vec<_> = (1..=by).map(|number| number.to_string()).collect();
            let _ = write!(tail, "\nGROUP BY {}", numbers.join(", "));
        }
        for (number, having) in groups.having.iter().enumerate() {
            let keyword = if number == 0 { "\nHAVING" } else { " AND" };
            let aggregate = self.aggregate(&groups.aggregates[having.aggregate]);
            let _ = write!(tail, "{keyword} {aggregate} {} {}", operator(having.is), having.value);
        }
        let mut order: Vec<_> = groups
            .order
            .iter()
            .map(|order| {
                let number = match order.by {
                    GroupColumn::Field(index) => index + 1,
                    GroupColumn::Aggregate(index) => by + index + 1,
                };
                format!("{number} {} NULLS LAST", if order.descending { "DESC" } else { "ASC" })
            })
            .collect();
        order.extend((1..=by).map(|number| format!("{number} ASC NULLS LAST")));
        if !order.is_empty() {
            let _ = write!(tail, "\nORDER BY {}", order.join(", "));
        }
        tail
    }
}

fn operator(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "=",
        Comparison::Less => "<",
        Comparison::AtMost => "<=",
        Comparison::Greater => ">",
        Comparison::AtLeast => ">=",
    }
}

fn in_network(value: &str, network: Network) -> String {
    match ipv4_pattern(network) {
        Some(pattern) => format!("regexp_like({value}, '{pattern}')"),
        // An IPv6 address has many spellings, so it is parsed. Trino parses IPv4 addresses as IPv6 addresses too; `:` excludes
        // them.
        None => format!(
            "(strpos({value}, ':') > 0 AND coalesce(contains('{}/{}', try_cast({value} AS ipaddress)), FALSE))",
            network.first(),
            network.prefix_length()
        ),
    }
}

/// Returns the start and the end of a span in UTC, rounded up to whole seconds. CloudTrail's times are whole seconds.
fn bounds(span: TimeSpan) -> [jiff::civil::DateTime; 2] {
    [span.since(), span.until()].map(|time| {
        let seconds = time.as_second() + i64::from(time.subsec_nanosecond() > 0);
        let whole = jiff::Timestamp::from_second(seconds).unwrap_or(time);
        jiff::tz::Offset::UTC.to_datetime(whole)
    })
}

#[cfg(test)]
mod tests;
