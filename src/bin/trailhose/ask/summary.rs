//! The summary of events: who, where, which errors, the first and the last, for each service and event name.

use crate::text::counted;
use indicatif::HumanCount;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use trailhose::query::QueryRow;

/// The columns of the summary.
pub(super) const COLUMNS: [&str; 9] =
    ["event", "count", "principals", "accounts", "regions", "addresses", "errors", "first", "last"];

/// Maximum number of distinct values that are remembered for each column of the summary, so that memory is bounded.
const MAX_VALUES: usize = 1_000;

/// Maximum number of pairs of service and event name in the summary.
const MAX_NAMES: usize = 5_000;

/// Collects the summary.
#[derive(Debug, Default)]
pub(super) struct AnswerSummary {
    names: BTreeMap<(String, String), EventSummary>,
    totals: Totals,
}

/// The events of one service and name.
#[derive(Debug, Default, Serialize)]
pub(super) struct EventSummary {
    event_source: String,
    event_name: String,
    count: u64,
    principals: Values,
    accounts: Values,
    regions: Values,
    addresses: Values,
    errors: Values,
    first: Option<String>,
    last: Option<String>,
}

/// All events.
#[derive(Debug, Default, Serialize)]
pub(super) struct Totals {
    events: u64,
    principals: Values,
    accounts: Values,
    regions: Values,
    addresses: Values,
    /// Events with an error.
    failed: u64,
    /// Events of services and names that the summary does not have, because there are too many.
    not_summarized: u64,
    first: Option<String>,
    last: Option<String>,
}

/// Distinct values, at most 1,000 of them.
#[derive(Debug, Default, Serialize)]
pub(super) struct Values {
    values: BTreeSet<String>,
    /// Whether there are more.
    is_incomplete: bool,
}

impl Values {
    fn add(&mut self, value: Option<&String>) {
        let Some(value) = value.filter(|value| !self.values.contains(*value)) else { return };
        if self.values.len() < MAX_VALUES {
            self.values.insert(value.clone());
        } else {
            self.is_incomplete = true;
        }
    }

    fn counted(&self, singular: &str, plural: &str) -> String {
        let at_least = if self.is_incomplete { "at least " } else { "" };
        let count = self.values.len() as u64;
        format!("{at_least}{} {}", HumanCount(count), if count == 1 { singular } else { plural })
    }

    /// Returns the value if it is the only one, and otherwise the number of values.
    fn cell(&self) -> Option<String> {
        match self.values.len() {
            0 => None,
            1 => self.values.first().cloned(),
            length if self.is_incomplete => Some(format!("≥ {length}")),
            length => Some(length.to_string()),
        }
    }
}

impl AnswerSummary {
    /// Adds an event. The values are those of [`super::COLUMNS`].
    pub(super) fn add(&mut self, row: &QueryRow) {
        let value = |index: usize| row.get(index).and_then(Option::as_ref);
        let (time, error) = (value(0), value(7));
        let totals = &mut self.totals;
        totals.events += 1;
        totals.failed += u64::from(error.is_some());
        totals.principals.add(value(3));
        totals.accounts.add(value(4));
        totals.regions.add(value(5));
        totals.addresses.add(value(6));
        extend(&mut totals.first, &mut totals.last, time);
        let key = (value(1).cloned().unwrap_or_default(), value(2).cloned().unwrap_or_default());
        if self.names.len() >= MAX_NAMES && !self.names.contains_key(&key) {
            totals.not_summarized += 1;
            return;
        }
        let entry = self.names.entry(key).or_default();
        entry.count += 1;
        entry.principals.add(value(3));
        entry.accounts.add(value(4));
        entry.regions.add(value(5));
        entry.addresses.add(value(6));
        entry.errors.add(error);
        extend(&mut entry.first, &mut entry.last, time);
    }

    /// Returns the totals, and the events by service and name, the most frequent first.
    pub(super) fn finish(self) -> (Totals, Vec<EventSummary>) {
        let names = self.names.into_iter();
        let mut names: Vec<EventSummary> = names
            .map(|((event_source, event_name), entry)| EventSummary { event_source, event_name, ..entry })
            .collect();
        names.sort_by_key(|entry| std::cmp::Reverse(entry.count));
        (self.totals, names)
    }
}

fn extend(first: &mut Option<String>, last: &mut Option<String>, time: Option<&String>) {
    let Some(time) = time else { return };
    if first.as_ref().is_none_or(|first| time < first) {
        *first = Some(time.clone());
    }
    if last.as_ref().is_none_or(|last| time > last) {
        *last = Some(time.clone());
    }
}

/// Maximum number of event names in the summary for people. The others are only in JSON.
const MAX_ROWS: usize = 20;

/// Returns the rows of the summary for people.
pub(super) fn rows(summary: &[EventSummary]) -> Vec<QueryRow> {
    let mut rows: Vec<QueryRow> = summary.iter().take(MAX_ROWS).map(EventSummary::row).collect();
    if let Some(rest) = summary.get(MAX_ROWS..).filter(|rest| !rest.is_empty()) {
        let mut row: QueryRow = vec![None; COLUMNS.len()];
        let count: u64 = rest.iter().map(|entry| entry.count).sum();
        row[0] = Some(format!("{} other event names", rest.len()));
        row[1] = Some(count.to_string());
        rows.push(row);
    }
    rows
}

impl EventSummary {
    fn row(&self) -> QueryRow {
        let source = self.event_source.strip_suffix(".amazonaws.com").unwrap_or(&self.event_source);
        vec![
            Some(format!("{source}:{}", self.event_name)),
            Some(self.count.to_string()),
            self.principals.cell(),
            self.accounts.cell(),
            self.regions.cell(),
            self.addresses.cell(),
            self.errors.cell(),
            self.first.clone(),
            self.last.clone(),
        ]
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", counted(self.events, "event"))?;
        if let (Some(first), Some(last)) = (&self.first, &self.last) {
            write!(f, " from {first} to {last}")?;
        }
        write!(
            f,
            ": {}, {}, {}, {}; {} failed",
            self.principals.counted("principal", "principals"),
            self.accounts.counted("account", "accounts"),
            self.regions.counted("region", "regions"),
            self.addresses.counted("source address", "source addresses"),
            self.failed
        )?;
        match self.not_summarized {
            0 => Ok(()),
            more => write!(f, "; the summary does not contain {} with further event names", counted(more, "event")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(time: &str, name: &str, principal: &str, error: Option<&str>) -> QueryRow {
        let some = |text: &str| Some(text.to_owned());
        vec![
            some(time),
            some("s3.amazonaws.com"),
            some(name),
            some(principal),
            some("111122223333"),
            some("eu-west-1"),
            None,
            error.map(str::to_owned),
            None,
        ]
    }

    #[test]
    fn events_are_summarized_by_service_and_name() {
        let mut summary = AnswerSummary::default();
        summary.add(&event("2026-11-02", "GetObject", "alice", None));
        summary.add(&event("2026-11-01", "GetObject", "bob", Some("AccessDenied")));
        summary.add(&event("2026-11-03", "PutObject", "alice", None));
        let (totals, names) = summary.finish();
        assert_eq!(
            totals.to_string(),
            "3 events from 2026-11-01 to 2026-11-03: 2 principals, 1 account, 1 region, 0 source addresses; 1 failed"
        );
        let rows = rows(&names);
        let row: Vec<&str> = rows[0].iter().map(|value| value.as_deref().unwrap_or("-")).collect();
        let expected =
            ["s3:GetObject", "2", "2", "111122223333", "eu-west-1", "-", "AccessDenied", "2026-11-01", "2026-11-02"];
        assert_eq!(row, expected);
        assert_eq!(rows.len(), 2);
    }

    #[test]
    fn number_of_values_and_event_names_is_bounded() {
        let mut summary = AnswerSummary::default();
        for number in 0..MAX_NAMES + 10 {
            summary.add(&event("2026-11-01", &format!("E{number}"), &format!("p{number}"), None));
        }
        let (totals, names) = summary.finish();
        assert_eq!((names.len(), totals.not_summarized), (MAX_NAMES, 10));
        assert!(totals.to_string().contains("at least 1,000 principals"), "{totals}");
        assert_eq!(rows(&names).len(), MAX_ROWS + 1);
    }
}
