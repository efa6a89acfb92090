//! The selection of the objects of a source.

use crate::listing::day_range::{DayRange, DayRangeError};
use crate::listing::discover::{Coverage, DiscoveryRequest};
use crate::listing::folder_level::Filters;
use jiff::ToSpan;
use jiff::civil::{Date, date};

/// The earliest day: no bucket contains older logs.
const EARLIEST: Date = date(2000, 1, 1);

/// Selects objects of a source. The default selects all objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectSelection {
    /// Selects objects that were delivered on this day (UTC) or later.
    pub since: Option<Date>,
    /// Selects objects that were delivered on this day (UTC) or earlier.
    pub until: Option<Date>,
    /// Selects objects of these accounts, kinds and regions.
    pub filters: Filters,
    /// Excludes keys with this prefix. It is the destination's prefix if the destination is within the source.
    pub exclude: Option<String>,
    /// Whether this is the selection of a round of a watch after the first, which does not look for logs outside of
    /// CloudTrail's day folders.
    pub is_look_back: bool,
}

impl ObjectSelection {
    /// Returns this selection, limited to objects that were delivered at most `days` days before `today`. It always
    /// contains at least one day.
    #[must_use]
    pub fn looking_back(&self, today: Date, days: u32) -> Self {
        let first_day = today.saturating_sub(i64::from(days).min(i64::from(i16::MAX)).days());
        let since = self.since.unwrap_or(EARLIEST).max(first_day);
        let since = self.until.map_or(since, |until| since.min(until));
        Self { since: Some(since), is_look_back: true, ..self.clone() }
    }

    /// Returns whether the selection has a condition on keys. Without a condition, every key is selected.
    pub(crate) fn selects(&self) -> bool {
        self.since.is_some() || self.until.is_some() || !self.filters.is_all()
    }

    /// Returns whether this key is excluded. This is checked before all other conditions.
    pub(super) fn is_excluded(&self, key: &str) -> bool {
        self.exclude.as_ref().is_some_and(|exclude| key.starts_with(exclude))
    }

    /// Returns the request to discovery.
    pub(crate) fn discovery_request(
        &self,
        bucket: &str,
        prefix: &str,
        concurrency: usize,
    ) -> Result<DiscoveryRequest, DayRangeError> {
        let day_range = DayRange::new(self.since.unwrap_or(EARLIEST).max(EARLIEST), self.until.unwrap_or(Date::MAX))?;
        let coverage = if self.selects() { Coverage::Regions } else { Coverage::Everything };
        Ok(DiscoveryRequest {
            filters: self.filters.clone(),
            concurrency,
            coverage,
            includes_loose_logs: !self.is_look_back,
            ..DiscoveryRequest::new(bucket, prefix, day_range)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_walks_everything_and_a_selection_limits_days_and_folders() {
        let all = ObjectSelection::default().discovery_request("b", "p", 4).unwrap();
        assert_eq!(
            (all.coverage, all.day_range.from(), all.day_range.to()),
            (Coverage::Everything, EARLIEST, Date::MAX)
        );
        let since = ObjectSelection { since: Some(date(2026, 11, 1)), ..ObjectSelection::default() }
            .discovery_request("b", "p", 4)
            .unwrap();
        assert_eq!(
            (since.coverage, since.day_range.from(), since.day_range.to()),
            (Coverage::Regions, date(2026, 11, 1), Date::MAX)
        );
        let backwards = ObjectSelection {
            since: Some(date(2026, 11, 2)),
            until: Some(date(2026, 11, 1)),
            ..ObjectSelection::default()
        };
        assert!(backwards.discovery_request("b", "p", 4).is_err());
    }

    #[test]
    fn looking_back_never_widens_the_selection() {
        let today = date(2026, 11, 21);
        let select = |since, until| {
            ObjectSelection { since, until, ..ObjectSelection::default() }.looking_back(today, 3).since.unwrap()
        };
        assert_eq!(select(None, None), date(2026, 11, 18));
        assert_eq!(select(Some(date(2026, 11, 20)), None), date(2026, 11, 20));
        assert_eq!(select(Some(date(2026, 1, 1)), None), date(2026, 11, 18));
        assert_eq!(
            select(None, Some(date(2026, 5, 1))),
            date(2026, 5, 1),
            "a day range in the past keeps its last day"
        );
    }

    #[test]
    fn destination_within_the_source_is_excluded() {
        let select = ObjectSelection { exclude: Some("out/".into()), ..ObjectSelection::default() };
        assert!(select.is_excluded("out/a.json") && !select.is_excluded("outer/a.json"));
        assert!(!select.selects());
    }
}
