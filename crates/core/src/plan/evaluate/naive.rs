//! A simple evaluator over trees of values: the reference for the tests.

use super::QueryRow;
use crate::plan::{
    Aggregate, Column, EventOrder, GroupColumn, Groups, PathStep, Plan, PlanOutput, Predicate, QueryField, Scope,
    ServiceField, ValueTest,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// Returns the rows of a plan and the number of selected events.
pub(super) fn run(plan: &Plan, events: &[Value]) -> (Vec<QueryRow>, usize) {
    let mut selected: Vec<&Value> = events.iter().filter(|event| selects(plan, event)).collect();
    let number = selected.len();
    let mut rows = match plan.output() {
        PlanOutput::Events { columns, order } => {
            let by_time = |event: &&Value| {
                let time = time(event).map_or(i128::MAX, |time| match order {
                    EventOrder::Newest => -time.as_nanosecond(),
                    EventOrder::Oldest | EventOrder::AsRead => time.as_nanosecond(),
                });
                let id = text(&Column::EventId.into(), event);
                let row: QueryRow = columns.iter().map(|field| column(field, event)).collect();
                (time, id.is_none(), id, row)
            };
            if *order != EventOrder::AsRead {
                selected.sort_by_key(by_time);
            }
            selected.iter().map(|event| columns.iter().map(|field| column(field, event)).collect()).collect()
        }
        PlanOutput::Groups(groups) => group(groups, &selected),
    };
    rows.truncate(plan.limit().map_or(usize::MAX, |limit| limit as usize));
    (rows, number)
}

fn time(event: &Value) -> Option<Timestamp> {
    let text = event.get("eventTime")?.as_str()?;
    text.parse().or_else(|_| format!("{text}Z").parse()).ok()
}

fn selects(plan: &Plan, event: &Value) -> bool {
    let is_in_scope = match plan.scope() {
        Scope::Time(span) => time(event).is_some_and(|time| span.contains(time)),
        Scope::EventId(id) => text(&Column::EventId.into(), event).as_ref() == Some(id),
    };
    is_in_scope && holds(plan.predicate(), event)
}

/// Returns the value at the path of a field that is not computed.
fn find<'v>(field: &QueryField, event: &'v Value) -> Option<&'v Value> {
    match field {
        QueryField::Column(column) => column.path().iter().try_fold(event, |value, name| value.get(name)),
        QueryField::Path(path) => {
            path.steps().iter().try_fold(event.get(path.root().name())?, |value, step| match step {
                PathStep::Name(name) => value.get(name),
                PathStep::Index(index) => value.as_array()?.get(*index),
            })
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn text(field: &QueryField, event: &Value) -> Option<String> {
    let utc = |event| time(event).map(|time| time.to_zoned(TimeZone::UTC));
    match field {
        QueryField::Column(Column::Day) => utc(event).map(|time| time.strftime("%Y-%m-%d").to_string()),
        QueryField::Column(Column::Hour) => utc(event).map(|time| time.strftime("%Y-%m-%dT%H").to_string()),
        QueryField::Column(Column::Principal) => ["arn", "invokedBy", "principalId", "type"]
            .iter()
            .find_map(|name| scalar(event.get("userIdentity")?.get(name)?)),
        _ => scalar(find(field, event)?),
    }
}

fn column(field: &QueryField, event: &Value) -> Option<String> {
    text(field, event).or_else(|| match find(field, event)? {
        value @ (Value::Array(_) | Value::Object(_)) => Some(value.to_string()),
        _ => None,
    })
}

fn holds(predicate: &Predicate, event: &Value) -> bool {
    match predicate {
        Predicate::All(inner) => inner.iter().all(|predicate| holds(predicate, event)),
        Predicate::Any(inner) => inner.iter().any(|predicate| holds(predicate, event)),
        Predicate::Not(inner) => !holds(inner, event),
        Predicate::Anywhere(text) => contains(event, text),
        Predicate::Field(field, test) => {
            let value = text(field, event);
            let any = |values: &[String], test: fn(&str, &str) -> bool| {
                value.as_ref().is_some_and(|value| values.iter().any(|known| test(value, known)))
            };
            match test {
                ValueTest::Equals(values) => any(values, |value, known| value == known),
                ValueTest::Prefix(values) => any(values, |value, known| value.starts_with(known)),
                ValueTest::Suffix(values) => any(values, |value, known| value.ends_with(known)),
                ValueTest::Contains(values) => {
                    any(values, |value, known| value.to_ascii_lowercase().contains(&known.to_ascii_lowercase()))
                }
                ValueTest::Cidr(networks) => value
                    .and_then(|value| value.parse().ok())
                    .is_some_and(|address| networks.iter().any(|network| network.contains(address))),
                ValueTest::Null => column(field, event).is_none(),
                ValueTest::SameAs(other) => value.is_some() && value == self::text(other, event),
            }
        }
    }
}

fn contains(value: &Value, text: &str) -> bool {
    match value {
        Value::Array(values) => values.iter().any(|value| contains(value, text)),
        Value::Object(members) => members.values().any(|value| contains(value, text)),
        _ => scalar(value).is_some_and(|value| value.contains(text)),
    }
}

/// Returns the distinct values of a column.
fn values(field: &QueryField, events: &[&Value]) -> BTreeSet<String> {
    events.iter().filter_map(|event| column(field, event)).collect()
}

fn group(groups: &Groups, events: &[&Value]) -> Vec<QueryRow> {
    let mut found: BTreeMap<QueryRow, Vec<&Value>> = BTreeMap::new();
    if groups.by.is_empty() {
        found.insert(Vec::new(), Vec::new());
    }
    for event in events {
        found.entry(groups.by.iter().map(|field| column(field, event)).collect()).or_default().push(event);
    }
    let mut rows: Vec<(QueryRow, QueryRow)> = found
        .into_iter()
        .map(|(key, events)| {
            let aggregates = groups.aggregates.iter().map(|aggregate| match aggregate {
                Aggregate::Count => Some(events.len().to_string()),
                Aggregate::CountDistinct(field) => Some(values(field, &events).len().to_string()),
                Aggregate::Min(field) => values(field, &events).first().cloned(),
                Aggregate::Max(field) => values(field, &events).last().cloned(),
            });
            (key, aggregates.collect())
        })
        .collect();
    rows.retain(|(_, aggregates)| {
        groups.having.iter().all(|having| {
            let number = aggregates[having.aggregate].as_ref().unwrap().parse().unwrap();
            having.is.holds(number, having.value)
        })
    });
    let missing_last = |left: &Option<String>, right: &Option<String>, descending: bool| match (left, right) {
        (Some(left), Some(right)) if descending => right.cmp(left),
        (Some(left), Some(right)) => left.cmp(right),
        _ => left.is_none().cmp(&right.is_none()),
    };
    rows.sort_by(|(left, left_aggregates), (right, right_aggregates)| {
        for order in &groups.order {
            let compared = match order.by {
                GroupColumn::Field(index) => missing_last(&left[index], &right[index], order.descending),
                GroupColumn::Aggregate(index) => {
                    let (left, right) = (&left_aggregates[index], &right_aggregates[index]);
                    match groups.aggregates[index] {
                        Aggregate::Min(_) | Aggregate::Max(_) => missing_last(left, right, order.descending),
                        Aggregate::Count | Aggregate::CountDistinct(_) => {
                            let number = |text: &Option<String>| text.as_ref().unwrap().parse::<u64>().unwrap();
                            let compared = number(left).cmp(&number(right));
                            if order.descending { compared.reverse() } else { compared }
                        }
                    }
                }
            };
            if compared.is_ne() {
                return compared;
            }
        }
        let pairs = left.iter().zip(right);
        pairs.fold(Ordering::Equal, |so_far, (left, right)| so_far.then(missing_last(left, right, false)))
    });
    rows.into_iter().map(|(key, aggregates)| [key, aggregates].concat()).collect()
}

/// The service fields of the generated events.
pub(super) const SERVICE_FIELDS: [ServiceField; 2] = [ServiceField::RequestParameters, ServiceField::ResponseElements];
