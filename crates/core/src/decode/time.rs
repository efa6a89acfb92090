//! Parses the time of an event.

use std::borrow::Cow;

/// Digits of a fraction of a second that `jiff` parses.
const FRACTION_DIGITS: usize = 9;

/// Returns the seconds since 1970 of an RFC 3339 time, or `None` if the text is not a time. A time without an offset,
/// such as `2026-11-01 00:00:00.000` in a table export, is in UTC, as all times of CloudTrail are. The format
/// `2023-07-10T12:34:56Z`, which nearly all events have, is parsed without a calendar library. `jiff` parses all
/// others.
pub fn seconds(text: &[u8]) -> Option<i64> {
    parse_plain(text).or_else(|| {
        let time = parse_other(text)?;
        Some(time.as_second() - i64::from(time.subsec_nanosecond() < 0))
    })
}

/// Returns the time of such a text with its fraction of a second.
#[cfg(feature = "query")]
pub(crate) fn timestamp(text: &[u8]) -> Option<jiff::Timestamp> {
    match parse_plain(text) {
        Some(seconds) => jiff::Timestamp::from_second(seconds).ok(),
        None => parse_other(text),
    }
}

#[cold]
fn parse_other(text: &[u8]) -> Option<jiff::Timestamp> {
    let text = limit_fraction(std::str::from_utf8(text).ok()?);
    text.parse().or_else(|_| format!("{text}Z").parse()).ok()
}

/// Removes the digits of a fraction that `jiff` does not parse. RFC 3339 permits any number of digits.
fn limit_fraction(text: &str) -> Cow<'_, str> {
    let Some(start) = text.find('.').map(|at| at + 1) else { return text.into() };
    let digits = text[start..].bytes().take_while(u8::is_ascii_digit).count();
    match digits > FRACTION_DIGITS {
        true => [&text[..start + FRACTION_DIGITS], &text[start + digits..]].concat().into(),
        false => text.into(),
    }
}

fn parse_plain(text: &[u8]) -> Option<i64> {
    let text: &[u8; 20] = text.try_into().ok()?;
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')];
    if separators.iter().any(|&(at, separator)| text[at] != separator) {
        return None;
    }
    let number = |from: usize, to: usize| {
        text[from..to]
            .iter()
            .try_fold(0i64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    // The library handles leap seconds and years before 1970.
    if !(1970..=9999).contains(&year)
        || !(1..=12).contains(&month)
        || !(1..=days_of_month(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    // Days from 1970-01-01, years counted from March: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn days_of_month(year: i64, month: i64) -> i64 {
    let is_leap_year = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(is_leap_year),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fast_path_agrees_with_library(seconds in 0i64..253_402_207_200) {
            let text = jiff::Timestamp::from_second(seconds).unwrap().to_string();
            prop_assert_eq!(parse_plain(text.as_bytes()), Some(seconds));
        }

        #[test]
        fn fast_path_accepts_only_days_that_exist(year in 1970i16..=9999, month in 1i8..=12, day in 0i8..=32) {
            let text = format!("{year:04}-{month:02}-{day:02}T12:34:56Z");
            let exists = jiff::civil::Date::new(year, month, day).is_ok();
            prop_assert_eq!(parse_plain(text.as_bytes()).is_some(), exists, "{}", text);
        }
    }

    #[test]
    fn every_valid_time_is_parsed() {
        assert_eq!(seconds(b"9999-12-31T23:59:59Z"), Some(253_402_300_799), "the last second");
        assert_eq!(seconds(b"2024-02-29T00:00:00Z"), Some(1_709_164_800));
        for fraction in ["1", "123456789", "123456789012", "9999999999999"] {
            for (zone, offset) in [("Z", 0), ("+02:00", 7_200), ("", 0)] {
                let text = format!("2023-07-10T12:34:56.{fraction}{zone}");
                assert_eq!(seconds(text.as_bytes()), Some(1_688_992_496 - offset), "{text}");
            }
        }
    }

    #[test]
    fn times_before_1970_and_fractions_round_down() {
        assert_eq!(seconds(b"1969-12-31T23:59:59.5Z"), Some(-1));
        assert_eq!(seconds(b"2023-07-10T12:34:56.999Z"), seconds(b"2023-07-10T12:34:56Z"));
        assert_eq!(seconds(b"2023-07-10T14:34:56+02:00"), seconds(b"2023-07-10T12:34:56Z"));
        assert_eq!(seconds(b"2023-07-10 12:34:56.000"), seconds(b"2023-07-10T12:34:56Z"), "without an offset: UTC");
        assert_eq!(seconds(b"2023-07-10T12:34:56"), seconds(b"2023-07-10T12:34:56Z"));
        for odd in [
            "",
            "2023-07-10T12:34:56[Asia/Tokyo]",
            "yesterday",
            "2023-02-30T00:00:00Z",
            "2023-07-10",
            "2023-07-10T24:00:00Z",
            "2023-07-10T12:34:56.Z",
            "2023-02-29T00:00:00Z",
            "0000-00-00T00:00:00Z",
        ] {
            assert_eq!(seconds(odd.as_bytes()), None, "{odd}");
        }
    }
}
