//! Span: the days that are looked at.

use jiff::ToSpan;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// How far back is looked where nobody says otherwise.
///
/// CloudTrail delivers within minutes, and the notifications of a day wait in their queue for at most 14 days, alarmed.
/// What the days before today are for is the file that was delivered while the stack did not stand, and the one whose
/// notification S3 never sent.
pub const LOOK_BACK: u32 = 3;

/// Days of delivery, both ends included, UTC. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "SpanText", into = "SpanText")]
pub struct Span {
    from: Date,
    to: Date,
}

/// A span that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// It ends before it starts.
    #[error("the span ends ({to}) before it starts ({from}): exchange the two")]
    Backwards {
        /// The first day asked for.
        from: Date,
        /// The last day asked for.
        to: Date,
    },
    /// Not a day.
    #[error("expected a day as YYYY-MM-DD, found {found:?}")]
    InvalidDate {
        /// What was found.
        found: String,
    },
    /// Before there was an AWS.
    #[error("expected days from the year 2000 on, found {0}")]
    TooEarly(Date),
}

impl Span {
    /// From one day to another.
    ///
    /// # Errors
    /// If it ends before it starts, or starts before there was an AWS.
    pub fn new(from: Date, to: Date) -> Result<Self, SpanError> {
        if to < from {
            return Err(SpanError::Backwards { from, to });
        }
        // Keys are compared as text: that is the order of days only as long as every year has four digits.
        if from.year() < 2000 {
            return Err(SpanError::TooEarly(from));
        }
        Ok(Self { from, to })
    }

    /// The last `days` days before `today`, and today.
    pub fn looking_back(today: Date, days: u32) -> Self {
        let days = i64::from(days).min(i64::from(i16::MAX));
        let from = today.checked_sub(days.days()).unwrap_or(Date::MIN).max(EARLIEST);
        Self { from, to: today.max(from) }
    }

    /// From two days as people and messages write them, `YYYY-MM-DD`.
    ///
    /// # Errors
    /// As [`Span::new`]; or one of them is no day.
    pub fn parse(from: &str, to: &str) -> Result<Self, SpanError> {
        let day = |text: &str| text.parse().map_err(|_| SpanError::InvalidDate { found: text.to_owned() });
        Self::new(day(from)?, day(to)?)
    }

    /// The first day.
    pub fn from(self) -> Date {
        self.from
    }

    /// The last day.
    pub fn to(self) -> Date {
        self.to
    }

    /// Whether the day is one of these.
    pub fn contains(self, day: Date) -> bool {
        self.from <= day && day <= self.to
    }

    /// Every day, in order.
    pub fn days(self) -> impl Iterator<Item = Date> {
        std::iter::successors(Some(self.from), |day| day.tomorrow().ok()).take_while(move |day| *day <= self.to)
    }

    /// The same days in pieces of at most `days` each (at least one), in order.
    pub fn split(self, days: u32) -> impl Iterator<Item = Self> {
        let beyond = (i64::from(days.max(1)) - 1).min(i64::from(i16::MAX));
        let piece = move |from: Date| {
            let to = from.checked_add(beyond.days()).unwrap_or(Date::MAX).min(self.to);
            Self { from, to }
        };
        std::iter::successors(Some(piece(self.from)), move |last| {
            last.to.tomorrow().ok().filter(|next| *next <= self.to).map(piece)
        })
    }

    /// Where these days lie among the keys under `folder`, which ends in a slash: behind the first text, before the
    /// second, if any day comes after.
    ///
    /// A folder's days are one stretch of its keys, because `YYYY/MM/DD` sorts as days do. One listing therefore walks
    /// through all of them; days that hold nothing cost nothing.
    pub fn key_range(self, folder: &str) -> (String, Option<String>) {
        let before = |day: Date| format!("{folder}{:04}/{:02}/{:02}", day.year(), day.month(), day.day());
        (before(self.from), self.to.tomorrow().ok().map(before))
    }
}

/// Nothing lies in an S3 bucket from before this.
const EARLIEST: Date = jiff::civil::date(2000, 1, 1);

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.from == self.to { write!(f, "{}", self.from) } else { write!(f, "{} to {}", self.from, self.to) }
    }
}

/// As it stands in messages.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpanText {
    from: String,
    to: String,
}

impl TryFrom<SpanText> for Span {
    type Error = SpanError;

    fn try_from(text: SpanText) -> Result<Self, SpanError> {
        Self::parse(&text.from, &text.to)
    }
}

impl From<Span> for SpanText {
    fn from(span: Span) -> Self {
        Self { from: span.from.to_string(), to: span.to.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spans() -> impl Strategy<Value = Span> {
        (0i64..300_000, 0i64..800).prop_map(|(start, length)| {
            let from = EARLIEST.checked_add(start.days()).unwrap();
            Span::new(from, from.checked_add(length.days()).unwrap()).unwrap()
        })
    }

    proptest! {
        #[test]
        fn the_pieces_of_a_span_are_its_days_each_once_and_none_is_longer_than_asked(span in spans(), days in 0u32..50) {
            let split: Vec<Span> = span.split(days).collect();
            prop_assert!(split.iter().all(|piece| piece.days().count() <= days.max(1) as usize));
            let rejoined: Vec<Date> = split.into_iter().flat_map(Span::days).collect();
            prop_assert_eq!(rejoined, span.days().collect::<Vec<_>>());
        }

        #[test]
        fn a_key_lies_in_the_stretch_exactly_if_its_day_is_in_the_span(span in spans(), offset in -40i64..900) {
            let folder = "p/AWSLogs/111122223333/CloudTrail/eu-west-1/";
            let Ok(day) = span.from().checked_add(offset.days()) else { return Ok(()) };
            let (year, month, date) = (day.year(), day.month(), day.day());
            let (after, end) = span.key_range(folder);
            for name in ["", "0", "~", "111122223333_CloudTrail_eu-west-1_20261101T0000Z_a.json.gz"] {
                let key = format!("{folder}{year:04}/{month:02}/{date:02}/{name}");
                let inside = key > after && end.as_ref().is_none_or(|end| key < *end);
                prop_assert_eq!(inside, span.contains(day), "{}", key);
            }
        }

        #[test]
        fn what_is_written_is_read_back_the_same(span in spans()) {
            let text = serde_json::to_string(&span).unwrap();
            prop_assert_eq!(serde_json::from_str::<Span>(&text).unwrap(), span);
        }
    }

    #[test]
    fn the_default_looks_at_today_and_the_days_before() {
        let span = Span::looking_back(jiff::civil::date(2026, 3, 2), LOOK_BACK);
        assert_eq!(span.to_string(), "2026-02-27 to 2026-03-02");
        assert_eq!(Span::looking_back(Date::MIN, u32::MAX).from(), EARLIEST);
    }

    #[test]
    fn a_span_that_cannot_be_is_refused_with_what_to_do() {
        let said = |from, to| Span::parse(from, to).unwrap_err().to_string();
        assert_eq!(
            said("2026-11-02", "2026-11-01"),
            "the span ends (2026-11-01) before it starts (2026-11-02): exchange the two"
        );
        assert_eq!(said("yesterday", "2026-11-01"), r#"expected a day as YYYY-MM-DD, found "yesterday""#);
        assert_eq!(said("0999-01-01", "2026-11-01"), "expected days from the year 2000 on, found 0999-01-01");
        let backwards = r#"{"from":"2026-11-02","to":"2026-11-01"}"#;
        assert!(serde_json::from_str::<Span>(backwards).unwrap_err().to_string().contains("exchange the two"));
    }
}
