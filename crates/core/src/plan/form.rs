//! The JSON form of a plan. Unknown names are errors.
//!
//! ```json
//! {
//!   "time": {"since": "2026-02-01T00:00:00Z", "until": "2026-03-01T00:00:00Z"},
//!   "where": {"all": [
//!     {"field": "eventName", "equals": ["DeleteBucket"]},
//!     {"not": {"field": "errorCode", "null": true}},
//!     {"anywhere": "reports-prod"}
//!   ]},
//!   "groups": {
//!     "by": ["principal"],
//!     "aggregates": ["count", {"max": "eventTime"}],
//!     "having": [{"aggregate": 0, "is": "greater", "value": 5}],
//!     "order": [{"by": {"aggregate": 0}, "descending": true}]
//!   },
//!   "limit": 10
//! }
//! ```
//!
//! `event_id` instead of `time` looks up one event. `events` with `columns` and `order` instead of `groups` lists events.

use super::{
    Aggregate, EventOrder, Groups, Having, MAX_PREDICATE_DEPTH, Network, Plan, PlanError, PlanOutput, Predicate,
    QueryField, Scope, SortKey, TimeSpan, ValueTest,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<TimeForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    predicate: Option<PredicateForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    events: Option<EventsForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    groups: Option<GroupsForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TimeForm {
    since: String,
    until: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsForm {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    columns: Vec<QueryField>,
    order: EventOrder,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupsForm {
    by: Vec<QueryField>,
    aggregates: Vec<Aggregate>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    having: Vec<Having>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    order: Vec<SortKey>,
}

/// A predicate. Exactly one of `all`, `any`, `not`, `anywhere` and `field` is present, and with `field` exactly one test.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PredicateForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    all: Option<Vec<PredicateForm>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    any: Option<Vec<PredicateForm>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not: Option<Box<PredicateForm>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    anywhere: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    field: Option<QueryField>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    equals: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    suffix: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contains: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cidr: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    null: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    same_as: Option<QueryField>,
}

impl TryFrom<PlanForm> for Plan {
    type Error = PlanError;

    fn try_from(form: PlanForm) -> Result<Self, PlanError> {
        let scope = match (form.time, form.event_id) {
            (Some(time), None) => Scope::Time(TimeSpan::new(parse_time(&time.since)?, parse_time(&time.until)?)?),
            (None, Some(id)) => Scope::EventId(id),
            (Some(_), Some(_)) => return Err(PlanError::new("a plan has time or event_id, not both")),
            (None, None) => return Err(PlanError::new("a plan needs time with since and until, or event_id")),
        };
        let predicate = form.predicate.map_or(Ok(Predicate::always()), |form| form.predicate(0))?;
        let output = match (form.events, form.groups) {
            (Some(events), None) => PlanOutput::Events { columns: events.columns, order: events.order },
            (None, Some(GroupsForm { by, aggregates, having, order })) => {
                PlanOutput::Groups(Groups { by, aggregates, having, order })
            }
            (Some(_), Some(_)) => return Err(PlanError::new("a plan has events or groups, not both")),
            (None, None) => return Err(PlanError::new("a plan needs events or groups")),
        };
        Self::new(scope, predicate, output, form.limit)
    }
}

fn parse_time(text: &str) -> Result<Timestamp, PlanError> {
    let expected = "expected a time such as 2026-02-01T00:00:00Z";
    text.parse().map_err(|error| PlanError::new(format!("{text:?} is not a time: {error}; {expected}")))
}

impl From<Plan> for PlanForm {
    fn from(plan: Plan) -> Self {
        let (time, event_id) = match plan.scope {
            Scope::Time(span) => {
                (Some(TimeForm { since: span.since().to_string(), until: span.until().to_string() }), None)
            }
            Scope::EventId(id) => (None, Some(id)),
        };
        let (events, groups) = match plan.output {
            PlanOutput::Events { columns, order } => (Some(EventsForm { columns, order }), None),
            PlanOutput::Groups(Groups { by, aggregates, having, order }) => {
                (None, Some(GroupsForm { by, aggregates, having, order }))
            }
        };
        let predicate = (plan.predicate != Predicate::always()).then(|| plan.predicate.into());
        Self { time, event_id, predicate, events, groups, limit: plan.limit }
    }
}

impl PredicateForm {
    fn predicate(self, depth: usize) -> Result<Predicate, PlanError> {
        if depth > MAX_PREDICATE_DEPTH {
            return Err(PlanError::new(format!("predicates are nested more than {MAX_PREDICATE_DEPTH} deep")));
        }
        let several = |forms: Vec<Self>| -> Result<Vec<Predicate>, PlanError> {
            forms.into_iter().map(|form| form.predicate(depth + 1)).collect()
        };
        let mut found = Vec::new();
        if let Some(all) = self.all {
            found.push(Predicate::All(several(all)?));
        }
        if let Some(any) = self.any {
            found.push(Predicate::Any(several(any)?));
        }
        if let Some(not) = self.not {
            found.push(Predicate::Not(Box::new(not.predicate(depth + 1)?)));
        }
        if let Some(text) = self.anywhere {
            found.push(Predicate::Anywhere(text));
        }
        let mut tests = Vec::new();
        tests.extend(self.equals.map(ValueTest::Equals));
        tests.extend(self.prefix.map(ValueTest::Prefix));
        tests.extend(self.suffix.map(ValueTest::Suffix));
        tests.extend(self.contains.map(ValueTest::Contains));
        if let Some(networks) = self.cidr {
            let networks: Result<Vec<Network>, _> = networks.iter().map(|network| network.parse()).collect();
            tests.push(ValueTest::Cidr(networks?));
        }
        match self.null {
            Some(true) => tests.push(ValueTest::Null),
            Some(false) => return Err(PlanError::new("\"null\": false is not a test: use not around \"null\": true")),
            None => {}
        }
        tests.extend(self.same_as.map(ValueTest::SameAs));
        match (self.field, tests.len()) {
            (Some(field), 1) => found.extend(tests.pop().map(|test| Predicate::Field(field, test))),
            (Some(field), number) => {
                return Err(PlanError::new(format!("the predicate of {field} has {number} tests: expected one")));
            }
            (None, 0) => {}
            (None, _) => return Err(PlanError::new("a test has no field: add \"field\" to it")),
        }
        match (found.pop(), found.is_empty()) {
            (Some(predicate), true) => Ok(predicate),
            _ => Err(PlanError::new("a predicate is exactly one of all, any, not, anywhere and field with a test")),
        }
    }
}

impl From<Predicate> for PredicateForm {
    fn from(predicate: Predicate) -> Self {
        let several = |predicates: Vec<Predicate>| Some(predicates.into_iter().map(Self::from).collect());
        match predicate {
            Predicate::All(all) => Self { all: several(all), ..Self::default() },
            Predicate::Any(any) => Self { any: several(any), ..Self::default() },
            Predicate::Not(not) => Self { not: Some(Box::new(Self::from(*not))), ..Self::default() },
            Predicate::Anywhere(text) => Self { anywhere: Some(text), ..Self::default() },
            Predicate::Field(field, test) => {
                let form = Self { field: Some(field), ..Self::default() };
                match test {
                    ValueTest::Equals(values) => Self { equals: Some(values), ..form },
                    ValueTest::Prefix(values) => Self { prefix: Some(values), ..form },
                    ValueTest::Suffix(values) => Self { suffix: Some(values), ..form },
                    ValueTest::Contains(values) => Self { contains: Some(values), ..form },
                    ValueTest::Cidr(networks) => {
                        Self { cidr: Some(networks.iter().map(Network::to_string).collect()), ..form }
                    }
                    ValueTest::Null => Self { null: Some(true), ..form },
                    ValueTest::SameAs(other) => Self { same_as: Some(other), ..form },
                }
            }
        }
    }
}
