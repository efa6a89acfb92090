//! The events as a table: its columns, and the conditions of a statement that a scan can use.

use super::rows::{EventRows, ReadContext};
use crate::plan::{Column, EventOrder, Plan, PlanOutput, Predicate, QueryField, Scope, TimeSpan, ValueTest};
use crate::query::{EVENT_COLUMN, ScanRequest};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rusqlite::types::Value;
use std::sync::atomic::{AtomicU32, Ordering};
use trailhose_virtual_table::{Constraint, Operator, ReadOnlyTable, Rows, TableColumn, TableRequest};

/// The maximum number of reads of the events by one statement.
const MAX_READS: u32 = 16;

/// The length of the time span without `--since` and without a condition.
const DEFAULT_SPAN: SignedDuration = SignedDuration::from_hours(24);

/// The error that ends the rows early if the statement must stop.
pub(super) const STOPPED: &str = "stopped";

/// Which events a statement can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlSpan {
    /// The events of this span.
    Given(TimeSpan),
    /// The events until this time. The conditions on `eventTime` determine the start. Without such a condition, it is 24 hours
    /// earlier.
    Until(Timestamp),
}

/// The events as a table of SQLite.
#[derive(Debug)]
pub(super) struct EventsTable {
    context: ReadContext,
    span: SqlSpan,
    arrived_until: Option<Date>,
    started: AtomicU32,
}

/// Returns the columns: those of a plan, and the event's own bytes, which `SELECT *` leaves out.
pub(super) fn columns() -> Vec<TableColumn> {
    let columns = Column::ALL.iter().map(|column| TableColumn { name: column.name(), hidden: false });
    columns.chain([TableColumn { name: EVENT_COLUMN.to_owned(), hidden: true }]).collect()
}

impl EventsTable {
    /// Creates the table.
    pub(super) fn new(context: ReadContext, span: SqlSpan, arrived_until: Option<Date>) -> Self {
        Self { context, span, arrived_until, started: AtomicU32::new(0) }
    }
}

impl ReadOnlyTable for EventsTable {
    fn columns(&self) -> Vec<TableColumn> {
        columns()
    }

    fn scan(&self, request: &TableRequest) -> Result<Box<dyn Rows>, String> {
        if self.started.fetch_add(1, Ordering::Relaxed) >= MAX_READS {
            return Err(format!(
                "it reads the events more than {MAX_READS} times, for example once for each row of a join or a subquery: \
                 read them once, with WITH e AS MATERIALIZED (SELECT … FROM events WHERE …)"
            ));
        }
        let used: Vec<Column> =
            Column::ALL.iter().zip(&request.used).filter_map(|(column, used)| used.then_some(*column)).collect();
        let Some((span, plan)) = plan(&request.constraints, used, self.span)? else { return Ok(Box::new(NoRows)) };
        let files = ScanRequest::of_plan(&plan, self.arrived_until);
        Ok(Box::new(EventRows::start(self.context.clone(), &plan, span, files, &request.used)))
    }
}

/// No rows, because no event can fulfill all conditions.
struct NoRows;

impl Rows for NoRows {
    fn advance(&mut self) -> Result<bool, String> {
        Ok(false)
    }

    fn value(&self, _: usize) -> Option<&str> {
        None
    }
}

/// Returns a plan that selects at least the events that fulfill these conditions, and its span, or `None` if no event does.
fn plan(constraints: &[Constraint], used: Vec<Column>, span: SqlSpan) -> Result<Option<(TimeSpan, Plan)>, String> {
    let mut predicates = Vec::new();
    let (mut since, mut until) = (None, None);
    for constraint in constraints {
        let Some(&column) = Column::ALL.get(constraint.column) else { continue };
        let Some(values) = texts(column, constraint)? else { continue };
        if column == Column::EventTime {
            let (first, last) = times(constraint.operator, &values);
            since = since.max(first);
            until = match (until, last) {
                (Some(until), Some(last)) => Some(std::cmp::min::<Timestamp>(until, last)),
                (until, last) => until.or(last),
            };
        }
        predicates.extend(test(constraint.operator, values).map(|test| Predicate::Field(column.into(), test)));
    }
    let Some(span) = narrowed(span, since, until)? else { return Ok(None) };
    // In a plan without columns, a row is the event's own bytes. Only the column `event` needs them.
    let used = if used.is_empty() { vec![Column::EventId] } else { used };
    let columns = used.into_iter().map(QueryField::Column).collect();
    let output = PlanOutput::Events { columns, order: EventOrder::AsRead };
    let plan = Plan::new(Scope::Time(span), Predicate::All(predicates), output, None);
    plan.map(|plan| Some((span, plan))).map_err(|error| error.to_string())
}

/// Returns the values of a condition, or `None` if the scan cannot use it.
///
/// # Errors
/// A column is compared with a number. The statement would find no event, because all columns are texts.
fn texts(column: Column, constraint: &Constraint) -> Result<Option<Vec<String>>, String> {
    let mut texts = Vec::with_capacity(constraint.values.len());
    for value in &constraint.values {
        match value {
            Value::Text(text) => texts.push(text.clone()),
            Value::Integer(number) => {
                return Err(format!(
                    "{} is a text and is compared with the number {number}: write the value in single quotes{}",
                    column.name(),
                    if matches!(number, 0 | 1) { ", such as 'true' or 'false'" } else { "" }
                ));
            }
            Value::Null | Value::Real(_) | Value::Blob(_) => return Ok(None),
        }
    }
    // SQL compares objects and arrays as JSON texts. In a plan, they have no value that can be compared.
    let is_json = texts.iter().any(|text| text.starts_with(['{', '[']));
    Ok((!texts.is_empty() && !is_json).then_some(texts))
}

/// Returns a test for a condition. Every text that fulfills the condition passes the test, and other texts may pass it too.
fn test(operator: Operator, mut values: Vec<String>) -> Option<ValueTest> {
    match operator {
        Operator::Equal => Some(ValueTest::Equals(values)),
        Operator::Glob => {
            let pattern = values.pop()?;
            let literal = pattern.split(['*', '?', '[']).next()?;
            (!literal.is_empty()).then(|| ValueTest::Prefix(vec![literal.to_owned()]))
        }
        Operator::Less | Operator::AtMost | Operator::Greater | Operator::AtLeast => None,
    }
}

/// Returns the start and the end of the time in which an event can fulfill a condition on `eventTime`. `None` if the
/// condition does not limit it.
///
/// The condition compares texts, and the text of an event can have an offset from UTC of less than a day. So only the day of
/// a value is used, with one day more at each end.
fn times(operator: Operator, values: &[String]) -> (Option<Timestamp>, Option<Timestamp>) {
    let day = |value: &String| value.get(..10)?.parse::<Date>().ok();
    let days: Option<Vec<Date>> = values.iter().map(day).collect();
    let Some((first, last)) = days.and_then(|days| Some((*days.iter().min()?, *days.iter().max()?))) else {
        return (None, None);
    };
    let start = |day: Date| day.to_zoned(TimeZone::UTC).ok().map(|start| start.timestamp());
    let since = first.yesterday().ok().and_then(start);
    let until = last.tomorrow().and_then(Date::tomorrow).ok().and_then(start);
    match operator {
        Operator::Equal => (since, until),
        Operator::Greater | Operator::AtLeast => (since, None),
        Operator::Less | Operator::AtMost => (None, until),
        Operator::Glob => (None, None),
    }
}

/// Returns the part of a span that the conditions on `eventTime` allow, or `None` if it is empty.
fn narrowed(span: SqlSpan, since: Option<Timestamp>, until: Option<Timestamp>) -> Result<Option<TimeSpan>, String> {
    let (first, last) = match span {
        SqlSpan::Given(span) => (span.since().max(since.unwrap_or(span.since())), span.until()),
        SqlSpan::Until(now) => match (since, until) {
            (Some(since), _) => (since, now),
            (None, Some(until)) if until < now => {
                return Err(
                    "the condition on eventTime has an upper limit only, and the last 24 hours, which are read by default, \
                     are after it: add eventTime >= '…', or use --since"
                        .into(),
                );
            }
            (None, _) => (now.checked_sub(DEFAULT_SPAN).map_err(|error| error.to_string())?, now),
        },
    };
    Ok(TimeSpan::new(first, until.map_or(last, |until| until.min(last))).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn constraint(column: Column, operator: Operator, values: &[&str]) -> Constraint {
        let column = Column::ALL.iter().position(|known| *known == column).unwrap();
        Constraint { column, operator, values: values.iter().map(|text| Value::Text((*text).to_owned())).collect() }
    }

    const NOW: &str = "2026-11-27T12:00:00Z";

    fn planned(constraints: &[Constraint]) -> Result<Option<Plan>, String> {
        let found = plan(constraints, Vec::new(), SqlSpan::Until(at(NOW)))?;
        Ok(found.map(|(_, plan)| plan))
    }

    #[test]
    fn conditions_become_the_predicate_and_the_span() {
        let found = planned(&[
            constraint(Column::EventName, Operator::Equal, &["DeleteBucket", "PutBucketPolicy"]),
            constraint(Column::UserIdentityArn, Operator::Glob, &["arn:aws:iam::1*"]),
            constraint(Column::ErrorCode, Operator::Greater, &["A"]),
            constraint(Column::EventTime, Operator::AtLeast, &["2026-11-10T05:00:00Z"]),
            constraint(Column::EventTime, Operator::Less, &["2026-11-12"]),
        ]);
        let found = found.unwrap().unwrap();
        let equals = ValueTest::Equals(vec!["DeleteBucket".into(), "PutBucketPolicy".into()]);
        let prefix = ValueTest::Prefix(vec!["arn:aws:iam::1".into()]);
        let expected = Predicate::All(vec![
            Predicate::Field(Column::EventName.into(), equals),
            Predicate::Field(Column::UserIdentityArn.into(), prefix),
        ]);
        assert_eq!(found.predicate(), &expected);
        let span = TimeSpan::new(at("2026-11-09T00:00:00Z"), at("2026-11-14T00:00:00Z")).unwrap();
        assert_eq!(found.scope(), &Scope::Time(span));
    }

    #[test]
    fn conditions_that_a_plan_cannot_express_are_left_to_sqlite() {
        let json = constraint(Column::RequestParameters, Operator::Equal, &["{}"]);
        let glob = constraint(Column::EventName, Operator::Glob, &["*Bucket"]);
        let null = Constraint { values: vec![Value::Null], ..constraint(Column::EventName, Operator::Equal, &[]) };
        let found = planned(&[json, glob, null]).unwrap().unwrap();
        assert_eq!(found.predicate(), &Predicate::All(Vec::new()));
        let span = TimeSpan::new(at("2026-11-26T12:00:00Z"), at(NOW)).unwrap();
        assert_eq!(found.scope(), &Scope::Time(span), "the default is 24 hours");
    }

    #[test]
    fn contradictory_conditions_need_no_scan() {
        let late = constraint(Column::EventTime, Operator::Greater, &["2026-11-20"]);
        let early = constraint(Column::EventTime, Operator::Less, &["2026-11-10"]);
        assert_eq!(planned(&[late, early]), Ok(None));
    }

    #[test]
    fn conditions_that_find_nothing_by_mistake_are_errors() {
        let early = constraint(Column::EventTime, Operator::Less, &["2026-11-10"]);
        assert!(planned(&[early]).unwrap_err().contains("an upper limit only"));
        let number = |column, number| Constraint {
            values: vec![Value::Integer(number)],
            ..constraint(column, Operator::Equal, &[])
        };
        let error = planned(&[number(Column::ReadOnly, 1)]).unwrap_err();
        assert!(error.contains("readOnly is a text") && error.contains("'true'"), "{error}");
        let error = planned(&[number(Column::RecipientAccountId, 111_122_223_333)]).unwrap_err();
        assert!(error.contains("111122223333: write the value in single quotes"), "{error}");
    }
}
