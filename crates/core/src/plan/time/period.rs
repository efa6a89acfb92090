//! Parses the ends of a span: a date, a weekday, a month, a time of day, `3 days ago`.

use super::Parser;
use super::calendar::{CalendarUnit, Period};
use crate::plan::PlanError;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time, Weekday};

const NUMBERS: [&str; 12] =
    ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

impl Parser<'_> {
    /// Parses a part of the calendar or a moment.
    pub(super) fn period(&mut self) -> Result<Option<Period>, PlanError> {
        self.accept(&["the"]);
        if self.accept(&["now"]).is_some() {
            return Ok(Some(Period::moment(self.calendar.now)));
        }
        for rule in [Self::moment, Self::ago, Self::part_of_today, Self::unit, Self::clock_of_a_day] {
            if let Some(period) = self.attempt(rule)? {
                return Ok(Some(period));
            }
        }
        if let Some(day) = self.attempt(Self::day)? {
            let time = self.attempt(|parser| {
                parser.accept(&["at"]);
                Ok(parser.clock())
            })?;
            return match time {
                Some(time) => self.calendar.moment(day, time).map(Period::moment).map(Some),
                None => self.calendar.day(day).map(Some),
            };
        }
        self.attempt(Self::month_or_year)
    }

    /// Parses an RFC 3339 time. Without a time zone, it is UTC.
    fn moment(&mut self) -> Result<Option<Period>, PlanError> {
        let Some(word) = self.next().filter(|word| word.len() > 10) else { return Ok(None) };
        let time: Option<Timestamp> = word.parse().ok();
        match (time, word.parse::<DateTime>()) {
            (Some(time), _) => Ok(Some(Period::moment(time))),
            (None, Ok(time)) => self.calendar.moment(time.date(), time.time()).map(Period::moment).map(Some),
            (None, Err(_)) => Ok(None),
        }
    }

    /// Parses `3 days ago`, which is that day, and `2 hours ago`, which is a moment.
    fn ago(&mut self) -> Result<Option<Period>, PlanError> {
        let Some((number, unit)) = self.duration() else { return Ok(None) };
        if self.accept(&["ago"]).is_none() {
            return Ok(None);
        }
        let moment = Period::moment(self.calendar.before_now(number, unit)?);
        let days = match unit {
            CalendarUnit::Second | CalendarUnit::Minute | CalendarUnit::Hour => return Ok(Some(moment)),
            CalendarUnit::Day => 1,
            CalendarUnit::Week => 7,
            CalendarUnit::Month => 30,
            CalendarUnit::Year => 365,
        };
        let day = self.calendar.day(self.calendar.days_ago(number.saturating_mul(days))?)?;
        Ok(Some(Period { is_span: unit == CalendarUnit::Day, ..day }))
    }

    /// Parses `this morning`, which is the first half of today, and `this afternoon`.
    fn part_of_today(&mut self) -> Result<Option<Period>, PlanError> {
        let today = self.calendar.today;
        let (from, to) = if self.accept_all(&["this", "morning"]) {
            (self.calendar.moment(today, Time::midnight())?, self.calendar.moment(today, Time::constant(12, 0, 0, 0))?)
        } else if self.accept_all(&["this", "afternoon"]) {
            (self.calendar.moment(today, Time::constant(12, 0, 0, 0))?, self.calendar.day(today)?.end)
        } else {
            return Ok(None);
        };
        Ok(Some(Period::span(from, to)))
    }

    /// Parses `this week`, `last month`, `weekend` and `start of the month`.
    fn unit(&mut self) -> Result<Option<Period>, PlanError> {
        if self.accept(&["start", "beginning"]).is_some() {
            if self.accept(&["of"]).is_none() {
                return Ok(None);
            }
            self.accept(&["the", "this"]);
            let Some(unit) = self.next().and_then(CalendarUnit::from_word) else { return Ok(None) };
            return self.calendar.unit(unit, 0).map(|period| Some(Period::moment(period.start)));
        }
        let which = self.accept(&["this", "last", "previous", "current"]);
        if self.accept(&["weekend"]).is_some() {
            return self.calendar.weekend().map(Some);
        }
        let offset = match which {
            Some("this" | "current") => 0,
            Some(_) => -1,
            None => return Ok(None),
        };
        match self.next().and_then(CalendarUnit::from_word) {
            Some(unit @ (CalendarUnit::Day | CalendarUnit::Week | CalendarUnit::Month | CalendarUnit::Year)) => {
                self.calendar.unit(unit, offset).map(Some)
            }
            Some(CalendarUnit::Second | CalendarUnit::Minute | CalendarUnit::Hour) | None => Ok(None),
        }
    }

    /// Parses `10:00 yesterday`, `9am on Monday`, and `10:00`, which is today.
    fn clock_of_a_day(&mut self) -> Result<Option<Period>, PlanError> {
        let Some(time) = self.clock() else { return Ok(None) };
        let day = self.attempt(Self::day_after_on)?;
        self.calendar.moment(day.unwrap_or(self.calendar.today), time).map(Period::moment).map(Some)
    }

    /// Parses a day, with or without `on` before it.
    pub(super) fn day_after_on(&mut self) -> Result<Option<Date>, PlanError> {
        self.accept(&["on"]);
        self.day()
    }

    /// Parses a day: a date, `yesterday` or a weekday.
    pub(super) fn day(&mut self) -> Result<Option<Date>, PlanError> {
        self.accept(&["the"]);
        if self.accept(&["today"]).is_some() {
            return Ok(Some(self.calendar.today));
        }
        if self.accept(&["yesterday"]).is_some() {
            return self.calendar.days_ago(1).map(Some);
        }
        if self.accept_all(&["day", "before", "yesterday"]) {
            return self.calendar.days_ago(2).map(Some);
        }
        if let Some(date) = self.peek().and_then(numeric_date) {
            self.at += 1;
            return Ok(Some(date));
        }
        let is_last = self.accept(&["last", "past", "previous"]).is_some();
        if let Some(weekday) = self.peek().and_then(weekday) {
            self.at += 1;
            return self.calendar.recent_weekday(weekday, is_last).map(Some);
        }
        if is_last {
            return Ok(None);
        }
        let (month, day) = match self.next() {
            Some(word) if month(word).is_some() => (month(word), self.next().and_then(day_of_month)),
            Some(word) => {
                let day = day_of_month(word);
                self.accept(&["of"]);
                (self.next().and_then(month), day)
            }
            None => (None, None),
        };
        let (Some(month), Some(day)) = (month, day) else { return Ok(None) };
        let year = self.year();
        let date = self.calendar.date(month, day, year);
        date.map(Some).ok_or_else(|| {
            let name = MONTHS.get(usize::from(month.unsigned_abs()) - 1).unwrap_or(&"");
            PlanError::new(format!("{name} has no day {day} in that year"))
        })
    }

    /// Parses `November`, `November 2026`, `2026-11` and `2026`.
    fn month_or_year(&mut self) -> Result<Option<Period>, PlanError> {
        if let Some(year) = self.year() {
            return self.calendar.year(year).map(Some);
        }
        let Some(word) = self.next() else { return Ok(None) };
        if let Some(month) = month(word) {
            let year = self.year();
            return self.calendar.month(month, year).map(Some);
        }
        let Some((year, number)) = word.split_once('-').filter(|(year, number)| year.len() == 4 && number.len() == 2)
        else {
            return Ok(None);
        };
        match (year.parse(), number.parse()) {
            (Ok(year), Ok(number)) if (1..=12).contains(&number) => self.calendar.month(number, Some(year)).map(Some),
            _ => Ok(None),
        }
    }

    /// Consumes a year of four digits.
    fn year(&mut self) -> Option<i16> {
        let year =
            self.peek().filter(|word| word.len() == 4)?.parse().ok().filter(|year| (2000..2100).contains(year))?;
        self.at += 1;
        Some(year)
    }

    /// Consumes a time of day: `10:00`, `9am`, `noon`, also with `utc` after it.
    pub(super) fn clock(&mut self) -> Option<Time> {
        let start = self.at;
        let found = self.next().and_then(|word| match word {
            "midnight" => Some(Time::midnight()),
            "noon" | "midday" => Some(Time::constant(12, 0, 0, 0)),
            _ => match word.strip_suffix("am").or_else(|| word.strip_suffix("pm")) {
                Some(hour) => twelve_hours(hour, word.ends_with("pm")),
                None if word.contains(':') => word.trim_end_matches('z').parse().ok(),
                None => {
                    let is_afternoon = self.accept(&["am", "pm"])? == "pm";
                    twelve_hours(word, is_afternoon)
                }
            },
        });
        if found.is_none() {
            self.at = start;
            return None;
        }
        self.accept(&["utc", "gmt"]);
        found
    }

    /// Consumes a number and a unit: `7 days`, `7d`, `an hour`.
    pub(super) fn duration(&mut self) -> Option<(i64, CalendarUnit)> {
        let start = self.at;
        let found = self.next().and_then(|word| {
            let digits = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
            let (number, unit) = word.split_at(digits);
            let number = match number {
                "" => return number_word(word).zip(self.next().and_then(CalendarUnit::from_word)),
                number => number.parse().ok().filter(|number| *number > 0)?,
            };
            let unit = if unit.is_empty() { self.next()? } else { unit.trim_start_matches('-') };
            Some((number, CalendarUnit::from_word(unit)?))
        });
        if found.is_none() {
            self.at = start;
        }
        found
    }
}

fn number_word(word: &str) -> Option<i64> {
    if matches!(word, "a" | "an") {
        return Some(1);
    }
    let index = NUMBERS.iter().position(|number| *number == word)?;
    i64::try_from(index + 1).ok()
}

/// Parses `9` or `9:30` on a clock of twelve hours.
fn twelve_hours(text: &str, is_afternoon: bool) -> Option<Time> {
    let (hour, minute) = text.split_once(':').unwrap_or((text, "0"));
    let hour: i8 = hour.parse().ok().filter(|hour| (1..=12).contains(hour))?;
    Time::new(hour % 12 + if is_afternoon { 12 } else { 0 }, minute.parse().ok()?, 0, 0).ok()
}

/// Parses `2026-11-03` or `2026/11/03`.
fn numeric_date(word: &str) -> Option<Date> {
    let word = word.replace('/', "-");
    let shape: Vec<usize> = word.split('-').map(str::len).collect();
    (shape == [4, 2, 2]).then(|| word.parse().ok()).flatten()
}

/// Parses a name of a weekday or its first three letters.
fn weekday(word: &str) -> Option<Weekday> {
    let found = WEEKDAYS.iter().find(|(name, _)| *name == word || (word.len() == 3 && name.starts_with(word)));
    found.map(|(_, weekday)| *weekday)
}

/// Parses a name of a month, its first three letters, or `sept`.
fn month(word: &str) -> Option<i8> {
    let is_short = word.len() == 3 || word == "sept";
    let index = MONTHS.iter().position(|name| *name == word || (is_short && name.starts_with(word)))?;
    i8::try_from(index + 1).ok()
}

/// Parses `3` or `3rd`.
fn day_of_month(word: &str) -> Option<i8> {
    let digits = ["st", "nd", "rd", "th"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
    digits.parse().ok().filter(|day| (1..=31).contains(day))
}
