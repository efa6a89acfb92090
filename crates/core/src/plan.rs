//! The query plan: which events a query selects and what it computes from them.
//!
//! Options of the command line, questions and language models produce a plan. A query engine runs it, or renders it as
//! SQL. A plan cannot express a write or an unknown field, and it has a time span unless it looks up one event ID.
//!
//! # Values
//! All engines compare the values of a field as follows, so that they return the same rows:
//! - A text is compared after its escapes are decoded. A number or a boolean is compared by its JSON text.
//! - A missing field, `null`, and a path with a step that does not exist in the event have no value.
//! - An object or an array has no value for a comparison. [`ValueTest::Null`] does not match it. In a column, in a
//!   group and in an aggregate, its value is its JSON text without the white space between the tokens.
//! - On duplicate keys the last value wins.
//! - A comparison with a field without a value is false, and its negation is true. There is no third truth value.

pub mod evaluate;
mod field;
mod form;
mod predicate;
mod restate;
pub mod sql;
mod time;

pub use field::{Column, Path, PathStep, QueryField, ServiceField};
pub use predicate::{MAX_PREDICATE_DEPTH, Network, Predicate, ValueTest};
pub use time::{parse_end, parse_start};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A query over CloudTrail events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "form::PlanForm", into = "form::PlanForm")]
pub struct Plan {
    scope: Scope,
    predicate: Predicate,
    output: PlanOutput,
    limit: Option<u64>,
}

/// Which events a plan examines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The events whose `eventTime` is in this span. An event without a valid `eventTime` is in no span; engines count
    /// these events.
    Time(TimeSpan),
    /// The event with this `eventID`, of any time. Without an index, an engine has to read everything.
    EventId(String),
}

/// A time span: `since` ≤ `eventTime` < `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeSpan {
    since: Timestamp,
    until: Timestamp,
}

/// What a plan computes from the selected events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanOutput {
    /// One row per event.
    Events {
        /// The columns of a row. Without columns, a row is the event's own bytes.
        columns: Vec<QueryField>,
        /// The order of the rows.
        order: EventOrder,
    },
    /// One row per distinct combination of values: the values, then the aggregates. Without fields, one row.
    Groups(Groups),
}

/// The order of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventOrder {
    /// The newest `eventTime` first. Events of the same time are in ascending order of their IDs, events without ID last.
    Newest,
    /// The oldest `eventTime` first. Events of the same time are in ascending order of their IDs, events without ID last.
    Oldest,
    /// The order in which the engine reads them. The other orders need a limit, because sorting keeps rows in memory.
    AsRead,
}

/// Groups of events and their aggregates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    /// The fields whose values define a group. A missing value is a value of its own.
    pub by: Vec<QueryField>,
    /// At least one aggregate.
    pub aggregates: Vec<Aggregate>,
    /// Only groups that fulfill all of these are returned.
    pub having: Vec<Having>,
    /// The order of the rows: the first key, then the second, and so on. A missing value is last, also in descending order.
    /// Rows with equal keys are in ascending order of `by`.
    pub order: Vec<SortKey>,
}

/// A value that is computed from the events of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// The number of events.
    Count,
    /// The number of distinct values of a field. Events without a value do not count.
    CountDistinct(QueryField),
    /// The smallest value of a field in the order of its bytes, so also the earliest `eventTime`.
    Min(QueryField),
    /// The largest value of a field in the order of its bytes, so also the latest `eventTime`.
    Max(QueryField),
}

/// A condition on a numeric aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Having {
    /// Index in [`Groups::aggregates`] of [`Aggregate::Count`] or [`Aggregate::CountDistinct`].
    pub aggregate: usize,
    /// How the aggregate is compared.
    pub is: Comparison,
    /// The number that it is compared with.
    pub value: u64,
}

/// How two numbers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

/// A column that the rows of groups are sorted by, and the direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SortKey {
    /// The column.
    pub by: GroupColumn,
    /// Whether the largest value is first.
    #[serde(default)]
    pub descending: bool,
}

/// A column of the rows of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupColumn {
    /// Index in [`Groups::by`].
    Field(usize),
    /// Index in [`Groups::aggregates`].
    Aggregate(usize),
}

/// Why a plan is invalid. The message says what is wrong and what is valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlanError(String);

impl PlanError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl TimeSpan {
    /// Creates a span.
    ///
    /// # Errors
    /// `since` is not before `until`.
    pub fn new(since: Timestamp, until: Timestamp) -> Result<Self, PlanError> {
        if since >= until {
            return Err(PlanError(format!("the time span is empty: its start {since} is not before its end {until}")));
        }
        Ok(Self { since, until })
    }

    /// Returns the first time in the span.
    pub fn since(self) -> Timestamp {
        self.since
    }

    /// Returns the first time after the span.
    pub fn until(self) -> Timestamp {
        self.until
    }

    /// Returns whether a time is in the span.
    pub fn contains(self, time: Timestamp) -> bool {
        self.since <= time && time < self.until
    }
}

impl Plan {
    /// Creates a plan.
    ///
    /// # Errors
    /// An event ID that is not a UUID, a predicate that is too large or nested too deeply, an invalid value of a test, groups
    /// without an aggregate, an index that does not exist, a limit of 0, or an order by time without a limit.
    pub fn new(scope: Scope, predicate: Predicate, output: PlanOutput, limit: Option<u64>) -> Result<Self, PlanError> {
        if let Scope::EventId(id) = &scope
            && (id.len() != 36 || uuid::Uuid::try_parse(id).is_err())
        {
            return Err(PlanError(format!(
                "{id:?} is not an event ID: expected a UUID such as 3270e016-59a1-4448-8dd1-d27a4796502d"
            )));
        }
        predicate.check()?;
        match &output {
            PlanOutput::Events { order: EventOrder::AsRead, .. } => {}
            PlanOutput::Events { .. } if limit.is_none() => {
                return Err(PlanError("events that are sorted by time need a limit".into()));
            }
            PlanOutput::Events { .. } => {}
            PlanOutput::Groups(groups) => groups.check()?,
        }
        if limit == Some(0) {
            return Err(PlanError("the limit is 0: expected at least 1".into()));
        }
        Ok(Self { scope, predicate, output, limit })
    }

    /// Returns which events the plan examines.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Returns the predicate that an event must fulfill.
    pub fn predicate(&self) -> &Predicate {
        &self.predicate
    }

    /// Returns what the plan computes.
    pub fn output(&self) -> &PlanOutput {
        &self.output
    }

    /// Returns the maximum number of rows.
    pub fn limit(&self) -> Option<u64> {
        self.limit
    }
}

impl Groups {
    fn check(&self) -> Result<(), PlanError> {
        if self.aggregates.is_empty() {
            return Err(PlanError("groups without an aggregate: expected at least one, such as count".into()));
        }
        for having in &self.having {
            match self.aggregates.get(having.aggregate) {
                Some(Aggregate::Count | Aggregate::CountDistinct(_)) => {}
                Some(_) => return Err(PlanError("only count and count_distinct can be compared with a number".into())),
                None => return Err(no_such("aggregate", having.aggregate, self.aggregates.len())),
            }
        }
        for order in &self.order {
            match order.by {
                GroupColumn::Field(index) if index >= self.by.len() => {
                    return Err(no_such("field", index, self.by.len()));
                }
                GroupColumn::Aggregate(index) if index >= self.aggregates.len() => {
                    return Err(no_such("aggregate", index, self.aggregates.len()));
                }
                GroupColumn::Field(_) | GroupColumn::Aggregate(_) => {}
            }
        }
        Ok(())
    }
}

fn no_such(what: &str, index: usize, number: usize) -> PlanError {
    PlanError(format!("{what} {index} does not exist: there are {number}, numbered from 0"))
}

impl Comparison {
    /// Compares two numbers.
    pub fn holds(self, left: u64, right: u64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::Greater => left > right,
            Self::AtLeast => left >= right,
        }
    }
}

#[cfg(test)]
mod tests;
