//! The parts of a question that were understood so far, and the plan that they become.

use super::noun::parameter;
use crate::plan::{
    Aggregate, Column, Comparison, EventOrder, GroupColumn, Groups, Having, Plan, PlanError, PlanOutput, Predicate,
    QueryField, Scope, ServiceField, SortKey, TimeSpan, ValueTest,
};
use jiff::{SignedDuration, Timestamp};

/// Rows of a list, if the question names no number.
const LIST_LIMIT: u64 = 100;

/// Rows of `top` and `most`, if the question names no number.
const TOP_LIMIT: u64 = 10;

/// Hours of the time span, if the question names none.
const DEFAULT_HOURS: i64 = 24;

/// A part of a plan. An event must fulfill all `conditions`, no negated clause of `events`, and one entry of each other list
/// before `conditions` that is not empty.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    pub(super) span: Option<TimeSpan>,
    pub(super) event_id: Option<String>,
    pub(super) services: Vec<String>,
    pub(super) events: Vec<EventClause>,
    pub(super) principals: Vec<Predicate>,
    pub(super) addresses: Vec<Predicate>,
    pub(super) access_keys: Vec<String>,
    pub(super) accounts: Vec<String>,
    pub(super) callers: Vec<String>,
    pub(super) regions: Vec<String>,
    pub(super) tls_versions: Vec<String>,
    pub(super) errors: Vec<ErrorKind>,
    pub(super) has_mfa: Option<bool>,
    /// `from the console`, or not from it.
    pub(super) from_console: Option<bool>,
    /// All of these restrict the events.
    pub(super) conditions: Vec<Predicate>,
    pub(super) by: Vec<QueryField>,
    /// Sets of fields of `by`. In each event, one of a set names the resource.
    pub(super) alternatives: Vec<Vec<QueryField>>,
    pub(super) count_distinct: Option<QueryField>,
    pub(super) counts: bool,
    /// `the last` without a number.
    pub(super) is_single: bool,
    /// `by whom`: the groups are by principal too.
    pub(super) shows_principal: bool,
    /// `last time` or `first time`.
    pub(super) time_of: Option<EventOrder>,
    pub(super) has_top: bool,
    pub(super) having: Option<(Comparison, u64)>,
    pub(super) limit: Option<u64>,
    pub(super) order: Option<EventOrder>,
    /// The words for resources that the question asks for, if no parameter is known that names them.
    pub(super) unnamed: Option<String>,
    /// What the answer does not show, in one sentence.
    pub(super) note: Option<String>,
}

/// Events by name, and what else must be true of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventClause {
    pub(super) names: Vec<String>,
    pub(super) prefixes: Vec<String>,
    /// Prefixes of event sources, if the names are not unique.
    pub(super) sources: Vec<String>,
    pub(super) conditions: Vec<Predicate>,
    pub(super) is_negated: bool,
}

/// How a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ErrorKind {
    Failed,
    Denied,
    Throttled,
    Code(String),
    Successful,
}

impl Draft {
    /// Whether these are sign-ins to the console, whose result has a field of its own.
    fn is_login(&self) -> bool {
        !self.events.is_empty() && self.events.iter().all(|clause| clause.names == ["ConsoleLogin"])
    }

    /// Whether these are events that only the console makes.
    fn is_console_only(&self) -> bool {
        let is_of_console =
            |name: &String| matches!(name.as_str(), "ConsoleLogin" | "SwitchRole" | "ExitRole" | "RenewRole");
        !self.events.is_empty()
            && self.events.iter().all(|clause| !clause.is_negated && clause.names.iter().all(is_of_console))
    }

    /// Whether nothing restricts the events or the output.
    pub(super) fn is_empty(&self) -> bool {
        self.span.is_none()
            && self.event_id.is_none()
            && self.predicates().is_empty()
            && self.by.is_empty()
            && !self.counts
    }

    fn predicates(&self) -> Vec<Predicate> {
        let mut all = Vec::new();
        let clauses: Vec<Predicate> =
            self.events.iter().filter(|it| !it.is_negated).map(EventClause::predicate).collect();
        all.extend(any(clauses));
        all.extend(self.events.iter().filter(|it| it.is_negated).map(|it| it.predicate().negated()));
        let sources: Vec<String> = self.services.iter().map(|source| format!("{source}.amazonaws.com")).collect();
        all.extend(equals(Column::EventSource, sources));
        all.extend(any(self.principals.clone()));
        all.extend(any(self.addresses.clone()));
        all.extend(equals(Column::UserIdentityAccessKeyId, self.access_keys.clone()));
        all.extend(equals(Column::RecipientAccountId, self.accounts.clone()));
        all.extend(equals(Column::UserIdentityAccountId, self.callers.clone()));
        all.extend(equals(Column::AwsRegion, self.regions.clone()));
        all.extend(equals(Column::TlsVersion, self.tls_versions.clone()));
        all.extend(any(self.errors.iter().map(|kind| self.error(kind)).collect()));
        all.extend(self.has_mfa.map(|has_mfa| {
            if self.is_login() {
                let used = parameter(ServiceField::AdditionalEventData, "MFAUsed");
                Predicate::equals(used, if has_mfa { "Yes" } else { "No" })
            } else {
                Predicate::equals(Column::MfaAuthenticated, if has_mfa { "true" } else { "false" })
            }
        }));
        if let Some(is_wanted) = self.from_console.filter(|is_wanted| !(*is_wanted && self.is_console_only())) {
            let console = Predicate::equals(Column::SessionCredentialFromConsole, "true");
            all.push(if is_wanted { console } else { console.negated() });
        }
        all.extend(self.conditions.iter().cloned());
        // `All` within `All` is flattened.
        all.into_iter()
            .flat_map(|predicate| match predicate {
                Predicate::All(inner) => inner,
                other => vec![other],
            })
            .collect()
    }

    fn error(&self, kind: &ErrorKind) -> Predicate {
        let code = |test| Predicate::Field(Column::ErrorCode.into(), test);
        let contains = |parts: &[&str]| code(ValueTest::Contains(parts.iter().map(|&part| part.to_owned()).collect()));
        let login = |result| Predicate::equals(parameter(ServiceField::ResponseElements, "ConsoleLogin"), result);
        match kind {
            ErrorKind::Failed if self.is_login() => login("Failure"),
            ErrorKind::Successful if self.is_login() => login("Success"),
            ErrorKind::Failed => code(ValueTest::Null).negated(),
            ErrorKind::Successful => code(ValueTest::Null),
            ErrorKind::Denied => contains(&["AccessDenied", "UnauthorizedOperation"]),
            ErrorKind::Throttled => contains(&["Throttl", "RequestLimitExceeded", "TooManyRequests", "SlowDown"]),
            ErrorKind::Code(text) => Predicate::equals(Column::ErrorCode, text),
        }
    }

    /// Groups the events by these fields. In each event, one of them names the resource.
    pub(super) fn group_by_one_of(&mut self, fields: Vec<QueryField>) {
        if !fields.is_empty() {
            self.by.extend(fields.iter().cloned());
            self.alternatives.push(fields);
        }
    }

    /// Builds the plan.
    pub(super) fn plan(&self, now: Timestamp) -> Result<Plan, PlanError> {
        let scope = match (&self.event_id, self.span) {
            (Some(id), None) => Scope::EventId(id.clone()),
            (_, Some(span)) => Scope::Time(span),
            (None, None) => {
                let since = now.checked_sub(SignedDuration::from_hours(DEFAULT_HOURS));
                Scope::Time(TimeSpan::new(since.map_err(|_| PlanError::new("the current time is out of range"))?, now)?)
            }
        };
        let mut predicates = self.predicates();
        if let (Some(id), Scope::Time(_)) = (&self.event_id, &scope) {
            predicates.insert(0, Predicate::equals(Column::EventId, id));
        }
        let predicate = match predicates.len() {
            1 => predicates.remove(0),
            _ => Predicate::All(predicates),
        };
        if self.is_single && self.is_login() && self.time_of.is_none() {
            // A question for the last sign-in asks for its time.
            let times = Self { time_of: self.order, limit: None, is_single: false, ..self.clone() };
            return times.plan(now);
        }
        let has_groups =
            !self.by.is_empty() || self.counts || self.time_of.is_some() || self.having.is_some() || self.has_top;
        if has_groups {
            return Plan::new(scope, predicate, PlanOutput::Groups(self.groups()), self.group_limit());
        }
        let order = self.order.unwrap_or(EventOrder::Newest);
        let limit = self.limit.unwrap_or(LIST_LIMIT);
        Plan::new(scope, predicate, PlanOutput::Events { columns: Vec::new(), order }, Some(limit))
    }

    fn group_limit(&self) -> Option<u64> {
        self.limit.or_else(|| self.has_top.then_some(TOP_LIMIT))
    }

    fn groups(&self) -> Groups {
        let mut by = self.by.clone();
        if by.is_empty() && (self.having.is_some() || self.has_top) {
            by.push(Column::Principal.into());
        }
        if self.shows_principal && !by.is_empty() && !by.contains(&Column::Principal.into()) {
            by.push(Column::Principal.into());
        }
        let aggregate = match (&self.time_of, &self.count_distinct) {
            (Some(EventOrder::Oldest), _) => Aggregate::Min(Column::EventTime.into()),
            (Some(_), _) => Aggregate::Max(Column::EventTime.into()),
            (None, Some(field)) => Aggregate::CountDistinct(field.clone()),
            (None, None) => Aggregate::Count,
        };
        let having = self.having.map(|(is, value)| Having { aggregate: 0, is, value }).into_iter().collect();
        let is_in_order_of_time =
            by.iter().any(|field| matches!(field, QueryField::Column(Column::Day | Column::Hour)));
        let order = match by.is_empty() {
            true => Vec::new(),
            false if is_in_order_of_time => {
                (0..by.len()).map(|index| SortKey { by: GroupColumn::Field(index), descending: false }).collect()
            }
            false => vec![SortKey { by: GroupColumn::Aggregate(0), descending: true }],
        };
        Groups { by, aggregates: vec![aggregate], having, order }
    }
}

impl EventClause {
    pub(super) fn names(names: Vec<String>) -> Self {
        Self { names, prefixes: Vec::new(), sources: Vec::new(), conditions: Vec::new(), is_negated: false }
    }

    fn predicate(&self) -> Predicate {
        let mut all = Vec::new();
        let mut names: Vec<Predicate> = equals(Column::EventName, self.names.clone()).into_iter().collect();
        if !self.prefixes.is_empty() {
            names.push(Predicate::Field(Column::EventName.into(), ValueTest::Prefix(self.prefixes.clone())));
        }
        all.extend(any(names));
        let sources: Vec<String> = self.sources.iter().map(|source| format!("{source}.amazonaws.com")).collect();
        all.extend(equals(Column::EventSource, sources));
        all.extend(self.conditions.iter().cloned());
        match all.len() {
            1 => all.remove(0),
            _ => Predicate::All(all),
        }
    }
}

/// The predicate that a field has one of these values. `None` without values.
pub(super) fn equals(field: impl Into<QueryField>, values: Vec<String>) -> Option<Predicate> {
    (!values.is_empty()).then(|| Predicate::Field(field.into(), ValueTest::Equals(values)))
}

/// At least one of the predicates. `None` without predicates.
pub(super) fn any(mut predicates: Vec<Predicate>) -> Option<Predicate> {
    match predicates.len() {
        0 => None,
        1 => predicates.pop(),
        _ => Some(Predicate::Any(predicates)),
    }
}
