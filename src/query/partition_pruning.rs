//! Partition pruning: folders and files whose names show that they contain no event of a plan are not read.
//!
//! | name | rule |
//! |---|---|
//! | `date=YYYY-MM-DD` of `trailhose sync` | the day of `eventTime`: only the days of the span, and `unknown` |
//! | `account=…`, `region=…` of `trailhose sync` | only the values that the predicate requires |
//! | `dt=YYYY-MM-DD` of the lake | the day of arrival: no event arrives before it happens, so only the days from the start of the span on |
//! | `YYYY/MM/DD` of CloudTrail's keys | the day of delivery: as for the lake |
//!
//! An event can arrive much later than it happens, so arrival and delivery have no upper limit, unless the user sets one.
//! The clocks of AWS services differ: an arrival up to one hour before the event is still found.

use crate::plan::{Column, Plan, Predicate, QueryField, Scope, TimeSpan, ValueTest};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// The maximum difference between clocks. An arrival can be recorded this much before the time of the event.
const CLOCK_ALLOWANCE: SignedDuration = SignedDuration::from_hours(1);

/// The day before CloudTrail's first delivery. A span that starts on this day or earlier contains every log, so all folders
/// are listed, also those outside of CloudTrail's layout.
const BEFORE_FIRST_DELIVERY: Date = jiff::civil::date(2013, 11, 1);

/// Decides which folders and files are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionPruning {
    /// The first and the last day of the span.
    event_days: Option<(Date, Date)>,
    /// The earliest day of arrival.
    arrived_since: Option<Date>,
    /// The latest day of arrival, if the user set it.
    arrived_until: Option<Date>,
    accounts: Option<Vec<String>>,
    regions: Option<Vec<String>>,
}

impl PartitionPruning {
    /// Returns the pruning for a plan.
    pub fn of_plan(plan: &Plan) -> Self {
        let span = match plan.scope() {
            Scope::Time(span) => Some(*span),
            Scope::EventId(_) => None,
        };
        let required = |column| required_values(plan.predicate(), column).filter(|values| are_folder_names(values));
        Self {
            accounts: required(Column::RecipientAccountId),
            regions: required(Column::AwsRegion),
            ..Self::of_span(span)
        }
    }

    /// Returns the pruning for a time span. `None` is every time.
    pub fn of_span(span: Option<TimeSpan>) -> Self {
        let day = |time: Timestamp| time.to_zoned(TimeZone::UTC).date();
        let Some(span) = span else { return Self::default() };
        let last = span.until().checked_sub(SignedDuration::from_nanos(1)).unwrap_or(span.until());
        let arrival = span.since().checked_sub(CLOCK_ALLOWANCE).unwrap_or(Timestamp::MIN);
        Self { event_days: Some((day(span.since()), day(last))), arrived_since: Some(day(arrival)), ..Self::default() }
    }

    /// Excludes events that arrived or were delivered after this day. The result is complete only if no event of the span
    /// arrived later. Only the user can know this.
    #[must_use]
    pub fn arrived_until(self, day: Option<Date>) -> Self {
        Self { arrived_until: day, ..self }
    }

    /// Returns the first and the last day of arrival or delivery.
    pub(super) fn arrival(&self) -> (Option<Date>, Option<Date>) {
        (self.arrived_since, self.arrived_until)
    }

    /// Returns whether every log is read, also those in folders outside of CloudTrail's layout.
    pub fn is_all_time(&self) -> bool {
        self.arrived_since.is_none_or(|day| day <= BEFORE_FIRST_DELIVERY)
    }

    /// Returns whether a file of this path can contain events of the plan, by the names of its folders.
    pub(super) fn admits_path(&self, path: &str) -> bool {
        path.split('/').rev().skip(1).all(|name| self.admits_folder(name))
    }

    /// Returns whether a folder of this name, without a slash, can contain events of the plan.
    pub(super) fn admits_folder(&self, name: &str) -> bool {
        let Some((key, value)) = name.split_once('=') else { return true };
        match key {
            "date" => match (self.event_days, value.parse::<Date>()) {
                (Some((first, last)), Ok(day)) => first <= day && day <= last,
                _ => true,
            },
            "dt" => match value.parse::<Date>() {
                Ok(day) => {
                    self.arrived_since.is_none_or(|since| since <= day)
                        && self.arrived_until.is_none_or(|until| day <= until)
                }
                Err(_) => true,
            },
            "account" => admits_value(self.accounts.as_deref(), value),
            "region" => admits_value(self.regions.as_deref(), value),
            _ => true,
        }
    }
}

fn admits_value(required: Option<&[String]>, value: &str) -> bool {
    required.is_none_or(|required| required.iter().any(|known| known == value))
}

/// Returns the values that the predicate permits in this column, or `None` if it permits every value.
pub(super) fn required_values(predicate: &Predicate, column: Column) -> Option<Vec<String>> {
    match predicate {
        Predicate::Field(QueryField::Column(found), ValueTest::Equals(values)) if *found == column => {
            Some(values.clone())
        }
        Predicate::All(inner) => inner.iter().find_map(|inner| required_values(inner, column)),
        Predicate::Any(inner) if !inner.is_empty() => {
            let parts: Option<Vec<_>> = inner.iter().map(|inner| required_values(inner, column)).collect();
            parts.map(|parts| parts.concat())
        }
        _ => None,
    }
}

/// Returns whether these values are also the names of their folders. `trailhose sync` writes other values in another form, and
/// does not use a boolean as an account or a region.
fn are_folder_names(values: &[String]) -> bool {
    let is_plain = |value: &String| {
        let is_valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=48).contains(&value.len())
            && value.bytes().all(is_valid)
            && !matches!(value.as_str(), "unknown" | "true" | "false")
    };
    values.iter().all(is_plain)
}

#[cfg(test)]
mod tests;
