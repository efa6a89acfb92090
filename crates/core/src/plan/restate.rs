//! A plan as plain sentences: every predicate, the time span, groups, order and limit.
//!
//! Users read the sentences to check that a plan is what they asked for, so plans with different results have different
//! sentences.

use super::{
    Aggregate, Column, Comparison, EventOrder, GroupColumn, Groups, Plan, PlanOutput, Predicate, QueryField, Scope,
    SortKey, TimeSpan, ValueTest,
};
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use std::fmt;

impl Plan {
    /// Returns the plan as one or two English sentences. Values are quoted as in JSON, and times are UTC.
    pub fn restate(&self) -> String {
        let mut events = match &self.scope {
            Scope::Time(span) => format!("events {span}"),
            Scope::EventId(id) => format!("events of any time with the event ID {id}"),
        };
        if self.predicate != Predicate::always() {
            events.push_str(&format!(" where {}", Clause(&self.predicate)));
        }
        match &self.output {
            PlanOutput::Events { columns, order } => {
                let mut text = match (order, self.limit) {
                    (EventOrder::Newest, Some(limit)) => format!("The newest {limit} {events}"),
                    (EventOrder::Oldest, Some(limit)) => format!("The oldest {limit} {events}"),
                    (EventOrder::Newest, None) => format!("All {events}, newest first"),
                    (EventOrder::Oldest, None) => format!("All {events}, oldest first"),
                    (EventOrder::AsRead, Some(limit)) => format!("Any {limit} {events}"),
                    (EventOrder::AsRead, None) => format!("All {events}"),
                };
                match order {
                    EventOrder::Newest if self.limit.is_some() => text.push_str(", newest first"),
                    EventOrder::Oldest if self.limit.is_some() => text.push_str(", oldest first"),
                    EventOrder::Newest | EventOrder::Oldest | EventOrder::AsRead => {}
                }
                text.push('.');
                if !columns.is_empty() {
                    text.push_str(&format!(" Columns: {}.", list(columns)));
                }
                text
            }
            PlanOutput::Groups(groups) => {
                let mut text =
                    format!("{} of the {events}", capitalized(&list(groups.aggregates.iter().map(AggregateText))));
                if !groups.by.is_empty() {
                    text.push_str(&format!(", for each {}", list(&groups.by)));
                }
                text.push('.');
                if let Some(rows) = self.rows(groups) {
                    text.push_str(&format!(" {rows}."));
                }
                text
            }
        }
    }

    /// Returns a sentence about the rows: which groups, in which order, and how many. `None` for all groups in the order of
    /// their values.
    fn rows(&self, groups: &Groups) -> Option<String> {
        let mut parts = Vec::new();
        if !groups.having.is_empty() {
            let conditions = groups.having.iter().map(|having| {
                let aggregate = groups.aggregates.get(having.aggregate).map(|it| AggregateText(it).to_string());
                format!("{} is {} {}", aggregate.unwrap_or_default(), comparison_text(having.is), having.value)
            });
            let conditions: Vec<String> = conditions.collect();
            parts.push(format!("only rows where {}", conditions.join(" and ")));
        }
        if !groups.order.is_empty() {
            let keys: Vec<String> = groups.order.iter().map(|order| sort_key_text(groups, *order)).collect();
            parts.push(format!("ordered by {}", keys.join(", then by ")));
        }
        parts.extend(self.limit.map(|limit| format!("at most {limit} rows")));
        (!parts.is_empty()).then(|| capitalized(&parts.join(", ")))
    }
}

fn sort_key_text(groups: &Groups, order: SortKey) -> String {
    let name = match order.by {
        GroupColumn::Field(index) => groups.by.get(index).map(QueryField::to_string),
        GroupColumn::Aggregate(index) => groups.aggregates.get(index).map(|it| AggregateText(it).to_string()),
    };
    format!("{} ({})", name.unwrap_or_default(), if order.descending { "largest first" } else { "smallest first" })
}

fn comparison_text(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "equal to",
        Comparison::Less => "less than",
        Comparison::AtMost => "at most",
        Comparison::Greater => "more than",
        Comparison::AtLeast => "at least",
    }
}

fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match items.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => items.concat(),
    }
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default()
}

/// `on 2026-11-03 (UTC)`, `from 2026-11-01 through 2026-11-07 (UTC)`, or both times.
impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = |time: Timestamp| {
            let time = time.to_zoned(TimeZone::UTC);
            (time.time() == Time::midnight()).then(|| time.date())
        };
        if let (Some(first), Some(end)) = (days(self.since()), days(self.until()))
            && let Ok(last) = end.checked_sub(Span::new().days(1))
        {
            return match first == last {
                true => write!(f, "on {first} (UTC)"),
                false => write!(f, "from {first} through {last} (UTC)"),
            };
        }
        write!(f, "from {} until {}", self.since(), self.until())
    }
}

/// An aggregate in words.
struct AggregateText<'p>(&'p Aggregate);

impl fmt::Display for AggregateText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Aggregate::Count => f.write_str("number"),
            Aggregate::CountDistinct(field) => write!(f, "number of different values of {field}"),
            Aggregate::Min(QueryField::Column(Column::EventTime)) => f.write_str("earliest eventTime"),
            Aggregate::Max(QueryField::Column(Column::EventTime)) => f.write_str("latest eventTime"),
            Aggregate::Min(field) => write!(f, "smallest {field}"),
            Aggregate::Max(field) => write!(f, "largest {field}"),
        }
    }
}

fn one_of(values: &[String]) -> &'static str {
    if values.len() == 1 { "" } else { "one of " }
}

/// A predicate in words.
struct Clause<'p>(&'p Predicate);

impl Clause<'_> {
    /// Writes the inner predicates. Those that are `All` or `Any` are in parentheses.
    fn write_inner(f: &mut fmt::Formatter<'_>, inner: &[Predicate], separator: &str) -> fmt::Result {
        for (index, predicate) in inner.iter().enumerate() {
            if index > 0 {
                f.write_str(separator)?;
            }
            match predicate {
                Predicate::All(_) | Predicate::Any(_) => write!(f, "({})", Clause(predicate))?,
                Predicate::Not(_) | Predicate::Field(..) | Predicate::Anywhere(_) => {
                    write!(f, "{}", Clause(predicate))?
                }
            }
        }
        Ok(())
    }

    fn write_test(f: &mut fmt::Formatter<'_>, field: &QueryField, test: &ValueTest, is_negated: bool) -> fmt::Result {
        let (is, verb) = if is_negated { ("is not", "does not ") } else { ("is", "") };
        let s = if is_negated { "" } else { "s" };
        match test {
            ValueTest::Equals(values) => write!(f, "{field} {is} {}{}", one_of(values), Quoted(values)),
            ValueTest::Prefix(values) => write!(f, "{field} {verb}start{s} with {}{}", one_of(values), Quoted(values)),
            ValueTest::Suffix(values) => write!(f, "{field} {verb}end{s} with {}{}", one_of(values), Quoted(values)),
            ValueTest::Contains(values) => {
                write!(f, "{field} {verb}contain{s} {}{} in upper or lower case", one_of(values), Quoted(values))
            }
            ValueTest::Cidr(networks) => {
                let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
                write!(f, "{field} {is} an address in {}", networks.join(" or "))
            }
            ValueTest::Null => write!(f, "{field} is {}", if is_negated { "present" } else { "missing" }),
            ValueTest::SameAs(other) => write!(f, "{field} {is} the same as {other}"),
        }
    }
}

impl fmt::Display for Clause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Predicate::All(inner) if inner.is_empty() => f.write_str("no condition is required"),
            Predicate::Any(inner) if inner.is_empty() => f.write_str("no condition can hold"),
            Predicate::All(inner) => Self::write_inner(f, inner, " and "),
            Predicate::Any(inner) => Self::write_inner(f, inner, " or "),
            Predicate::Not(inner) => match &**inner {
                Predicate::Field(field, test) => Self::write_test(f, field, test, true),
                Predicate::Anywhere(text) => write!(f, "{text:?} does not occur in the event"),
                other => write!(f, "not ({})", Clause(other)),
            },
            Predicate::Field(field, test) => Self::write_test(f, field, test, false),
            Predicate::Anywhere(text) => write!(f, "{text:?} occurs in the event"),
        }
    }
}

/// Values in quotation marks, separated by commas.
struct Quoted<'p>(&'p [String]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, value) in self.0.iter().enumerate() {
            write!(f, "{}{value:?}", if index > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
