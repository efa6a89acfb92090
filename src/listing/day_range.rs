//! Day range: a range of delivery days.

use jiff::ToSpan;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// Default number of days to look back.
///
/// CloudTrail delivers within minutes, and notifications stay in their queue for at most 8 days, with an alarm. The
/// days before today are needed for files that were delivered while the stack was not deployed, and for files whose
/// notification S3 never sent.
pub const LOOK_BACK: u32 = 3;

/// A range of delivery days in UTC, including both ends. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "DayRangeText", into = "DayRangeText")]
pub struct DayRange {
    from: Date,
    to: Date,
}

/// An error for an invalid day range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DayRangeError {
    /// The last day is before the first day.
    #[error("since must not be after until ({from} is after {to})")]
    Backwards {
        /// The first day.
        from: Date,
        /// The last day.
        to: Date,
    },
    /// The text is not a valid day.
    #[error("expected a day as YYYY-MM-DD, found {found:?}")]
    InvalidDate {
        /// What was found.
        found: String,
    },
    /// The day range starts before the year 2000.
    #[error("expected days from the year 2000 on, found {0}")]
    TooEarly(Date),
}

impl DayRange {
    /// Creates a day range from its first and its last day.
    ///
    /// # Errors
    /// Fails if the last day is before the first day, or the first day is before the year 2000.
    pub fn new(from: Date, to: Date) -> Result<Self, DayRangeError> {
        if to < from {
            return Err(DayRangeError::Backwards { from, to });
        }
        // Keys are compared as text, which is the order of the days only if every year has four digits.
        if from.year() < 2000 {
            return Err(DayRangeError::TooEarly(from));
        }
        Ok(Self { from, to })
    }

    /// Returns the day range of `today` and the `days` days before it.
    pub fn looking_back(today: Date, days: u32) -> Self {
        let days = i64::from(days).min(i64::from(i16::MAX));
        let from = today.checked_sub(days.days()).unwrap_or(Date::MIN).max(EARLIEST);
        Self { from, to: today.max(from) }
    }

    /// Parses a day range from two days in the form `YYYY-MM-DD`.
    ///
    /// # Errors
    /// Fails if one of them is not a day, and in the cases of [`DayRange::new`].
    pub fn parse(from: &str, to: &str) -> Result<Self, DayRangeError> {
        let day = |text: &str| text.parse().map_err(|_| DayRangeError::InvalidDate { found: text.to_owned() });
        Self::new(day(from)?, day(to)?)
    }

    /// Returns the first day.
    pub fn from(self) -> Date {
        self.from
    }

    /// Returns the last day.
    pub fn to(self) -> Date {
        self.to
    }

    /// Returns whether the day range contains `day`.
    pub(crate) fn contains(self, day: Date) -> bool {
        self.from <= day && day <= self.to
    }

    /// Returns the days in order.
    pub fn days(self) -> impl Iterator<Item = Date> {
        std::iter::successors(Some(self.from), |day| day.tomorrow().ok()).take_while(move |day| *day <= self.to)
    }

    /// Splits off the first `days` days (at least one). Returns them and the days after them, if there are any.
    pub(crate) fn split_first(self, days: u32) -> (Self, Option<Self>) {
        let more_days = (i64::from(days.max(1)) - 1).min(i64::from(i16::MAX));
        let to = self.from.checked_add(more_days.days()).unwrap_or(Date::MAX).min(self.to);
        let later = to.tomorrow().ok().filter(|next| *next <= self.to).map(|from| Self { from, to: self.to });
        (Self { from: self.from, to }, later)
    }

    /// Returns the range of the keys of these days under `folder`, which must end in a slash: the keys after the first
    /// text and before the second one. The second is `None` if no later day exists.
    ///
    /// The keys of consecutive days are contiguous, because `YYYY/MM/DD` sorts like the days. One listing therefore
    /// covers all of them, and days without objects cost no requests.
    pub fn key_range(self, folder: &str) -> (String, Option<String>) {
        let day_folder = |day: Date| format!("{folder}{:04}/{:02}/{:02}", day.year(), day.month(), day.day());
        (day_folder(self.from), self.to.tomorrow().ok().map(day_folder))
    }
}

/// No S3 bucket contains objects from before this day.
const EARLIEST: Date = jiff::civil::date(2000, 1, 1);

impl std::fmt::Display for DayRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.from == self.to { write!(f, "{}", self.from) } else { write!(f, "{} to {}", self.from, self.to) }
    }
}

/// The serialized form of a day range.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DayRangeText {
    from: String,
    to: String,
}

impl TryFrom<DayRangeText> for DayRange {
    type Error = DayRangeError;

    fn try_from(text: DayRangeText) -> Result<Self, DayRangeError> {
        Self::parse(&text.from, &text.to)
    }
}

impl From<DayRange> for DayRangeText {
    fn from(day_range: DayRange) -> Self {
        Self { from: day_range.from.to_string(), to: day_range.to.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn day_ranges() -> impl Strategy<Value = DayRange> {
        (0i64..300_000, 0i64..800).prop_map(|(start, length)| {
            let from = EARLIEST.checked_add(start.days()).unwrap();
            DayRange::new(from, from.checked_add(length.days()).unwrap()).unwrap()
        })
    }

    proptest! {
        #[test]
        fn split_covers_each_day_once_within_the_length(day_range in day_ranges(), days in 0u32..50) {
            let (mut split, mut rest) = (Vec::new(), Some(day_range));
            while let Some(day_range) = rest {
                let (first, later) = day_range.split_first(days);
                split.push(first);
                rest = later;
            }
            prop_assert!(split.iter().all(|piece| piece.days().count() <= days.max(1) as usize));
            let rejoined: Vec<Date> = split.into_iter().flat_map(DayRange::days).collect();
            prop_assert_eq!(rejoined, day_range.days().collect::<Vec<_>>());
        }

        #[test]
        fn key_range_matches_the_days_of_the_day_range(day_range in day_ranges(), offset in -40i64..900) {
            let folder = "p/AWSLogs/111122223333/CloudTrail/eu-west-1/";
            let Ok(day) = day_range.from().checked_add(offset.days()) else { return Ok(()) };
            let (year, month, date) = (day.year(), day.month(), day.day());
            let (after, end) = day_range.key_range(folder);
            for name in ["", "0", "~", "111122223333_CloudTrail_eu-west-1_20261101T0000Z_a.json.gz"] {
                let key = format!("{folder}{year:04}/{month:02}/{date:02}/{name}");
                let inside = key > after && end.as_ref().is_none_or(|end| key < *end);
                prop_assert_eq!(inside, day_range.contains(day), "{}", key);
            }
        }

        #[test]
        fn serialization_round_trips(day_range in day_ranges()) {
            let text = serde_json::to_string(&day_range).unwrap();
            prop_assert_eq!(serde_json::from_str::<DayRange>(&text).unwrap(), day_range);
        }
    }

    #[test]
    fn looking_back_includes_today_and_the_days_before() {
        let day_range = DayRange::looking_back(jiff::civil::date(2026, 3, 2), LOOK_BACK);
        assert_eq!(day_range.to_string(), "2026-02-27 to 2026-03-02");
        assert_eq!(DayRange::looking_back(Date::MIN, u32::MAX).from(), EARLIEST);
    }

    #[test]
    fn invalid_day_range_is_rejected_with_a_fix() {
        let error_text = |from, to| DayRange::parse(from, to).unwrap_err().to_string();
        assert_eq!(
            error_text("2026-11-02", "2026-11-01"),
            "since must not be after until (2026-11-02 is after 2026-11-01)"
        );
        assert_eq!(error_text("yesterday", "2026-11-01"), r#"expected a day as YYYY-MM-DD, found "yesterday""#);
        assert_eq!(error_text("0999-01-01", "2026-11-01"), "expected days from the year 2000 on, found 0999-01-01");
        let backwards = r#"{"from":"2026-11-02","to":"2026-11-01"}"#;
        assert!(serde_json::from_str::<DayRange>(backwards).unwrap_err().to_string().contains("must not be after"));
    }
}
