//! Time expressions such as `last 7 days`, `yesterday` and `between 2026-11-01 and 2026-11-07`, in UTC.
//!
//! Options, questions and language models give times in this form. The caller passes the current time.
//!
//! # Rules
//! - `last 7 days` and `7d` end now. `past week` and `the last week` are the last 7 days, `past month` and `the last month`
//!   the last 30 days.
//! - `last week` and `last month` without `the` are the previous week and month of the calendar. A week starts on Monday.
//! - The last day of `between … and …`, `from … to …` and `until …` is included. `before` excludes its day, and `after`
//!   starts on the next day.
//! - A weekday, a month or a date without a year is the most recent one that has started.
//! - A span that starts in the future is an error.

mod calendar;
mod period;
#[cfg(test)]
mod tests;

use super::{PlanError, TimeSpan};
use calendar::{Calendar, CalendarUnit, Period};
use jiff::Timestamp;

/// Words that can introduce a span. Some forms need one, such as `in November` and `within 12 hours`.
const PREPOSITIONS: [&str; 11] =
    ["in", "during", "over", "within", "for", "on", "from", "throughout", "across", "of", "at"];

/// The words of an expression and the position of the next one.
struct Parser<'w> {
    words: &'w [&'w str],
    at: usize,
    calendar: Calendar,
}

impl TimeSpan {
    /// Parses a whole text, such as `last 7 days`.
    ///
    /// # Errors
    /// Words that are not a time expression, an empty span, or a span in the future.
    pub fn parse(text: &str, now: Timestamp) -> Result<Self, PlanError> {
        let words = split(text);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if let Some((length, span)) = Self::parse_prefix(&words, now)?
            && length == words.len()
        {
            return Ok(span);
        }
        let mut parser = Parser::new(&words, now);
        if let Some((number, unit)) = parser.duration()
            && parser.is_at_end()
        {
            return Self::new(parser.calendar.before_now(number, unit)?, now);
        }
        parser.at = 0;
        if let Some(period) = parser.period()?.filter(|period| period.is_span)
            && parser.is_at_end()
        {
            check_start(text, period.start, now)?;
            return Self::new(period.start, period.end);
        }
        Err(not_a_time(text, "last 7 days, yesterday, 12h, 2026-11-03, since Monday, 2026-11-01..2026-11-07"))
    }

    /// Parses a time expression at the start of these words, and returns the number of its words. The words are in lower case
    /// and without punctuation around them.
    ///
    /// # Errors
    /// A time expression without a start, of an empty span, or of a span in the future.
    pub fn parse_prefix(words: &[&str], now: Timestamp) -> Result<Option<(usize, Self)>, PlanError> {
        let mut parser = Parser::new(words, now);
        let Some(Period { start, end, .. }) = parser.span()? else { return Ok(None) };
        let text = words.get(..parser.at).unwrap_or_default().join(" ");
        check_start(&text, start, now)?;
        let span = Self::new(start, end).map_err(|error| PlanError::new(format!("{text:?}: {error}")))?;
        Ok(Some((parser.at, span)))
    }
}

/// Parses the start of a span: `2026-11-03`, `yesterday`, `7d`, `Monday` or an RFC 3339 time. For a day, returns its first
/// moment.
///
/// # Errors
/// Words that are not a time, or a time in the future.
pub fn parse_start(text: &str, now: Timestamp) -> Result<Timestamp, PlanError> {
    let start = whole_period(text, now)?.start;
    check_start(text, start, now)?;
    Ok(start)
}

/// Parses the end of a span, in the forms of [`parse_start`]. For a day, returns the first moment after it, so that the day is
/// included.
///
/// # Errors
/// Words that are not a time.
pub fn parse_end(text: &str, now: Timestamp) -> Result<Timestamp, PlanError> {
    Ok(whole_period(text, now)?.end)
}

fn whole_period(text: &str, now: Timestamp) -> Result<Period, PlanError> {
    let words = split(text);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut parser = Parser::new(&words, now);
    if let Some(period) = parser.period()?
        && parser.is_at_end()
    {
        return Ok(period);
    }
    parser.at = 0;
    if let Some((number, unit)) = parser.duration()
        && parser.is_at_end()
    {
        return Ok(Period::moment(parser.calendar.before_now(number, unit)?));
    }
    Err(not_a_time(text, "2026-11-03, 2026-11-03T12:00:00Z, yesterday, Monday, 7d, 12h"))
}

fn check_start(text: &str, start: Timestamp, now: Timestamp) -> Result<(), PlanError> {
    if start > now {
        return Err(PlanError::new(format!("{text:?} is in the future: it starts at {start}, and it is now {now}")));
    }
    Ok(())
}

fn not_a_time(text: &str, examples: &str) -> PlanError {
    PlanError::new(format!("{text:?} is not a time: expected for example {examples}; all times are UTC"))
}

/// Splits a text into words in lower case, without punctuation around them. `A..B` becomes `A`, `..`, `B`.
fn split(text: &str) -> Vec<String> {
    let text = text.replace("..", " .. ").to_lowercase();
    let words = text.split_whitespace();
    let words = words.map(|word| if word == ".." { word } else { word.trim_matches(['.', ',', ';', '?', '!']) });
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

impl<'w> Parser<'w> {
    fn new(words: &'w [&'w str], now: Timestamp) -> Self {
        Self { words, at: 0, calendar: Calendar::new(now) }
    }

    fn peek(&self) -> Option<&'w str> {
        self.words.get(self.at).copied()
    }

    fn next(&mut self) -> Option<&'w str> {
        let word = self.peek()?;
        self.at += 1;
        Some(word)
    }

    fn is_at_end(&self) -> bool {
        self.at == self.words.len()
    }

    /// Consumes the next word if it is one of these.
    fn accept(&mut self, words: &[&str]) -> Option<&'w str> {
        self.peek().filter(|word| words.contains(word)).inspect(|_| self.at += 1)
    }

    /// Consumes these words if all of them are next.
    fn accept_all(&mut self, words: &[&str]) -> bool {
        let found = self.words.get(self.at..).is_some_and(|rest| rest.starts_with(words));
        self.at += if found { words.len() } else { 0 };
        found
    }

    /// Consumes what `parse` recognizes, or nothing.
    fn attempt<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<Option<T>, PlanError>,
    ) -> Result<Option<T>, PlanError> {
        let start = self.at;
        let found = parse(self)?;
        if found.is_none() {
            self.at = start;
        }
        Ok(found)
    }

    /// Parses a time span.
    fn span(&mut self) -> Result<Option<Period>, PlanError> {
        for rule in [Self::hours_of_a_day, Self::two_ends, Self::one_end, Self::relative, Self::named] {
            if let Some(span) = self.attempt(rule)? {
                return Ok(Some(span));
            }
        }
        Ok(None)
    }

    /// Parses hours such as `between 9am and 5pm yesterday` and `yesterday between 10:00 and 12:00`. The default day is today.
    fn hours_of_a_day(&mut self) -> Result<Option<Period>, PlanError> {
        let mut day = self.attempt(Self::day_after_on)?;
        let joins: &[&str] = match self.accept(&["between", "from"]) {
            Some("between") => &["and"],
            Some(_) => &["to", "until", "till"],
            None => return Ok(None),
        };
        let Some(first) = self.clock() else { return Ok(None) };
        if self.accept(joins).is_none() {
            return Ok(None);
        }
        let Some(last) = self.clock() else { return Ok(None) };
        if day.is_none() {
            day = self.attempt(Self::day_after_on)?;
        }
        let day = day.unwrap_or(self.calendar.today);
        Ok(Some(Period::span(self.calendar.moment(day, first)?, self.calendar.moment(day, last)?)))
    }

    /// Parses `between A and B`, `from A to B`, `since A until B` and `A..B`.
    fn two_ends(&mut self) -> Result<Option<Period>, PlanError> {
        let introduction = self.accept(&["between", "from", "since", "after", "starting"]);
        let Some(first) = self.attempt(Self::period)? else { return Ok(None) };
        let joins: &[&str] = match introduction {
            Some("between") => &["and"],
            Some(_) => {
                self.attempt(|parser| {
                    let joined = parser.accept(&["and"]).is_some();
                    let ends = ["until", "till", "through", "before"];
                    Ok((joined && parser.peek().is_some_and(|word| ends.contains(&word))).then_some(()))
                })?;
                &["to", "until", "till", "through", "before"]
            }
            None => &["..", "to", "until", "till", "through"],
        };
        let Some(join) = self.accept(joins) else { return Ok(None) };
        let Some(last) = self.attempt(Self::period)? else { return Ok(None) };
        let start = if introduction == Some("after") { first.end } else { first.start };
        Ok(Some(Period::span(start, if join == "before" { last.start } else { last.end })))
    }

    /// Parses `since A`, `after A` and `from A onwards`. `until A` alone is an error.
    fn one_end(&mut self) -> Result<Option<Period>, PlanError> {
        let Some(introduction) = self.accept(&["since", "after", "starting", "from", "until", "till", "before"]) else {
            return Ok(None);
        };
        if introduction == "starting" {
            self.accept(&["from", "on", "at"]);
        }
        let Some(period) = self.attempt(Self::period)? else { return Ok(None) };
        match introduction {
            "from" if self.accept(&["onwards", "onward"]).is_none() => return Ok(None),
            "until" | "till" | "before" => {
                return Err(PlanError::new(format!(
                    "a time with {introduction:?} needs a start: expected for example \"since 2026-11-01 {introduction} \
                     2026-11-07\""
                )));
            }
            _ => {}
        }
        let start = if introduction == "after" { period.end } else { period.start };
        Ok(Some(Period::span(start, self.calendar.now)))
    }

    /// Parses spans relative to now, such as `last 7 days`, `past month`, `within 12 hours` and `12h`.
    fn relative(&mut self) -> Result<Option<Period>, PlanError> {
        let preposition = self.accept(&PREPOSITIONS);
        let has_article = self.accept(&["the"]).is_some();
        let calendar = self.calendar;
        if let Some(which) = self.accept(&["last", "past", "previous"]) {
            if let Some((number, unit)) = self.duration() {
                return Ok(Some(Period::span(calendar.before_now(number, unit)?, calendar.now)));
            }
            let Some(unit) = self.next().and_then(CalendarUnit::from_word) else { return Ok(None) };
            let is_rolling = unit <= CalendarUnit::Hour
                || which == "past"
                || (which == "last" && (has_article || unit == CalendarUnit::Day));
            if is_rolling {
                return Ok(Some(Period::span(calendar.before_now(1, unit)?, calendar.now)));
            }
            return calendar.unit(unit, -1).map(Some);
        }
        let start = self.at;
        if let Some((number, unit)) = self.duration()
            && (preposition == Some("within") || self.at == start + 1)
            && self.accept(&["ago"]).is_none()
        {
            return Ok(Some(Period::span(calendar.before_now(number, unit)?, calendar.now)));
        }
        Ok(None)
    }

    /// Parses spans with a name, such as `today`, `on Monday`, `in November` and `all time`.
    fn named(&mut self) -> Result<Option<Period>, PlanError> {
        let preposition = self.accept(&PREPOSITIONS);
        if self.accept_all(&["all", "time"]) || (preposition.is_none() && self.accept(&["ever"]).is_some()) {
            return Ok(Some(Period::span(self.calendar.first_event()?, self.calendar.now)));
        }
        let start = self.at;
        let period = self.attempt(Self::period)?.filter(|period| period.is_span);
        // A name of a month or a weekday may be another word or a person's name, so alone it needs a preposition.
        let words = self.words.get(start..self.at).unwrap_or_default();
        let is_ambiguous = matches!(words, [word] if !word.contains('-') && !matches!(*word, "today" | "yesterday"));
        Ok(period.filter(|_| preposition.is_some() || !is_ambiguous))
    }
}
