//! Days, weeks, months and years relative to a given time, in UTC.

use crate::plan::PlanError;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};

/// The given time and its day.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calendar {
    pub(super) now: Timestamp,
    pub(super) today: Date,
}

/// A part of the calendar, or a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) start: Timestamp,
    /// The first moment after the period. Equals `start` for a moment.
    pub(super) end: Timestamp,
    /// Whether the period can be a whole span. A moment and `2 weeks ago` can only be the start or the end of one.
    pub(super) is_span: bool,
}

/// A unit of time, in ascending order of length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CalendarUnit {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Period {
    pub(super) fn span(start: Timestamp, end: Timestamp) -> Self {
        Self { start, end, is_span: true }
    }

    pub(super) fn moment(time: Timestamp) -> Self {
        Self { start: time, end: time, is_span: false }
    }
}

impl CalendarUnit {
    pub(super) fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "s" | "sec" | "secs" | "second" | "seconds" => Self::Second,
            "m" | "min" | "mins" | "minute" | "minutes" => Self::Minute,
            "h" | "hr" | "hrs" | "hour" | "hours" => Self::Hour,
            "d" | "day" | "days" => Self::Day,
            "w" | "wk" | "wks" | "week" | "weeks" => Self::Week,
            "mo" | "month" | "months" => Self::Month,
            "y" | "yr" | "yrs" | "year" | "years" => Self::Year,
            _ => return None,
        })
    }

    /// Returns the length in seconds. A month has 30 days and a year 365.
    fn seconds(self) -> i64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Week => 7 * 86_400,
            Self::Month => 30 * 86_400,
            Self::Year => 365 * 86_400,
        }
    }
}

impl Calendar {
    /// The first year of `all time`: the year in which CloudTrail started.
    const FIRST_YEAR: i16 = 2013;

    pub(super) fn new(now: Timestamp) -> Self {
        Self { now, today: now.to_zoned(TimeZone::UTC).date() }
    }

    /// Returns the time that is a number of units before now.
    pub(super) fn before_now(self, number: i64, unit: CalendarUnit) -> Result<Timestamp, PlanError> {
        let seconds = number.checked_mul(unit.seconds()).ok_or_else(too_long_ago)?;
        self.now.checked_sub(SignedDuration::from_secs(seconds)).map_err(|_| too_long_ago())
    }

    pub(super) fn first_event(self) -> Result<Timestamp, PlanError> {
        self.moment(Date::new(Self::FIRST_YEAR, 1, 1).map_err(out_of_range)?, Time::midnight())
    }

    pub(super) fn moment(self, date: Date, time: Time) -> Result<Timestamp, PlanError> {
        TimeZone::UTC.to_timestamp(date.to_datetime(time)).map_err(out_of_range)
    }

    pub(super) fn day(self, date: Date) -> Result<Period, PlanError> {
        self.days(date, date.tomorrow().map_err(out_of_range)?)
    }

    /// Returns the days from `first` to the one before `end`.
    fn days(self, first: Date, end: Date) -> Result<Period, PlanError> {
        Ok(Period::span(self.moment(first, Time::midnight())?, self.moment(end, Time::midnight())?))
    }

    pub(super) fn days_ago(self, number: i64) -> Result<Date, PlanError> {
        let span = Span::new().try_days(number).map_err(|_| too_long_ago())?;
        self.today.checked_sub(span).map_err(|_| too_long_ago())
    }

    /// Returns the day, week, month or year that contains now, moved by `offset` units. For a shorter unit, it is the day.
    pub(super) fn unit(self, unit: CalendarUnit, offset: i64) -> Result<Period, PlanError> {
        let (first, length) = match unit {
            CalendarUnit::Second | CalendarUnit::Minute | CalendarUnit::Hour | CalendarUnit::Day => {
                (self.today, Span::new().days(1))
            }
            CalendarUnit::Week => {
                let since_monday = self.today.weekday().to_monday_zero_offset();
                (self.days_ago(i64::from(since_monday))?, Span::new().weeks(1))
            }
            CalendarUnit::Month => (self.today.first_of_month(), Span::new().months(1)),
            CalendarUnit::Year => (self.today.first_of_year(), Span::new().years(1)),
        };
        let offset = length.checked_mul(offset).map_err(out_of_range)?;
        let first = first.checked_add(offset).map_err(out_of_range)?;
        self.days(first, first.checked_add(length).map_err(out_of_range)?)
    }

    /// Returns the most recent Saturday and Sunday that have started.
    pub(super) fn weekend(self) -> Result<Period, PlanError> {
        let saturday = self.recent_weekday(Weekday::Saturday, false)?;
        self.days(saturday, saturday.checked_add(Span::new().days(2)).map_err(out_of_range)?)
    }

    /// Returns the most recent day that is this weekday. With `before_today`, today does not count.
    pub(super) fn recent_weekday(self, weekday: Weekday, before_today: bool) -> Result<Date, PlanError> {
        let mut days = i64::from(weekday.until(self.today.weekday()));
        if days == 0 && before_today {
            days = 7;
        }
        self.days_ago(days)
    }

    /// Returns a month. Without a year, it is the most recent one that has started.
    pub(super) fn month(self, month: i8, year: Option<i16>) -> Result<Period, PlanError> {
        let this_year = self.today.year();
        let year = year.unwrap_or(if month > self.today.month() { this_year - 1 } else { this_year });
        let first = Date::new(year, month, 1).map_err(out_of_range)?;
        self.days(first, first.checked_add(Span::new().months(1)).map_err(out_of_range)?)
    }

    /// Returns all days of a year.
    pub(super) fn year(self, year: i16) -> Result<Period, PlanError> {
        let first = Date::new(year, 1, 1).map_err(out_of_range)?;
        self.days(first, first.checked_add(Span::new().years(1)).map_err(out_of_range)?)
    }

    /// Returns a day of a month. Without a year, it is the most recent one that has started. `None` if no such day exists.
    pub(super) fn date(self, month: i8, day: i8, year: Option<i16>) -> Option<Date> {
        if let Some(year) = year {
            return Date::new(year, month, day).ok();
        }
        // February 29 is at most eight years ago.
        let years = (0..=8).filter_map(|ago| self.today.year().checked_sub(ago));
        years.filter_map(|year| Date::new(year, month, day).ok()).find(|date| *date <= self.today)
    }
}

fn too_long_ago() -> PlanError {
    PlanError::new("a time is too long ago: use a smaller number")
}

fn out_of_range(_: jiff::Error) -> PlanError {
    PlanError::new("a time is outside the supported years, which end with 9999")
}
