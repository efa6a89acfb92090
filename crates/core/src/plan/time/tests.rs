use super::*;
use proptest::prelude::*;

/// A Friday.
const NOW: &str = "2026-11-27T15:30:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn parse(text: &str) -> String {
    match TimeSpan::parse(text, now()) {
        Ok(span) => format!("{} {}", short(span.since()), short(span.until())),
        Err(error) => error.to_string(),
    }
}

/// Returns the date, and the time if it is not midnight.
fn short(time: Timestamp) -> String {
    let text = time.to_string();
    text.strip_suffix("T00:00:00Z").unwrap_or(text.trim_end_matches(":00Z")).to_owned()
}

#[test]
fn spans_are_parsed() {
    for (text, expected) in [
        ("last 7 days", "2026-11-20T15:30 2026-11-27T15:30"),
        ("in the last 24 hours", "2026-11-26T15:30 2026-11-27T15:30"),
        ("past month", "2026-10-28T15:30 2026-11-27T15:30"),
        ("the last month", "2026-10-28T15:30 2026-11-27T15:30"),
        ("last month", "2026-10-01 2026-11-01"),
        ("last week", "2026-11-16 2026-11-23"),
        ("in the last week", "2026-11-20T15:30 2026-11-27T15:30"),
        ("the previous month", "2026-10-01 2026-11-01"),
        ("last two weeks", "2026-11-13T15:30 2026-11-27T15:30"),
        ("last hour", "2026-11-27T14:30 2026-11-27T15:30"),
        ("within 90 minutes", "2026-11-27T14:00 2026-11-27T15:30"),
        ("12h", "2026-11-27T03:30 2026-11-27T15:30"),
        ("90m", "2026-11-27T14:00 2026-11-27T15:30"),
        ("last 7d", "2026-11-20T15:30 2026-11-27T15:30"),
        ("7 days", "2026-11-20T15:30 2026-11-27T15:30"),
        ("today", "2026-11-27 2026-11-28"),
        ("Yesterday", "2026-11-26 2026-11-27"),
        ("the day before yesterday", "2026-11-25 2026-11-26"),
        ("3 days ago", "2026-11-24 2026-11-25"),
        ("this week", "2026-11-23 2026-11-30"),
        ("this month", "2026-11-01 2026-12-01"),
        ("last year", "2025-01-01 2026-01-01"),
        ("over the weekend", "2026-11-21 2026-11-23"),
        ("this morning", "2026-11-27 2026-11-27T12:00"),
        ("on 2026-11-03", "2026-11-03 2026-11-04"),
        ("on November 3rd", "2026-11-03 2026-11-04"),
        ("on 3 December", "2025-12-03 2025-12-04"),
        ("the 3rd of Nov. 2024", "2024-11-03 2024-11-04"),
        ("on Friday", "2026-11-27 2026-11-28"),
        ("last Friday", "2026-11-20 2026-11-21"),
        ("november", "2026-11-01 2026-12-01"),
        ("in November", "2026-11-01 2026-12-01"),
        ("in december", "2025-12-01 2026-01-01"),
        ("in November 2025", "2025-11-01 2025-12-01"),
        ("2026-10", "2026-10-01 2026-11-01"),
        ("in 2025", "2025-01-01 2026-01-01"),
        ("between 2026-11-01 and 2026-11-07", "2026-11-01 2026-11-08"),
        ("2026-11-01..2026-11-07", "2026-11-01 2026-11-08"),
        ("from Nov 1 to Nov 7", "2026-11-01 2026-11-08"),
        ("since 2026-11-01 and before 2026-11-07", "2026-11-01 2026-11-07"),
        ("from Monday until yesterday", "2026-11-23 2026-11-27"),
        ("between 2026-11-03T10:00:00+01:00 and 2026-11-03 12:00", "2026-11-03T09:00 2026-11-03T12:00"),
        ("since Monday", "2026-11-23 2026-11-27T15:30"),
        ("since 2 hours ago", "2026-11-27T13:30 2026-11-27T15:30"),
        ("since 3 weeks ago", "2026-11-06 2026-11-27T15:30"),
        ("since last month", "2026-10-01 2026-11-27T15:30"),
        ("since the beginning of the month", "2026-11-01 2026-11-27T15:30"),
        ("after 2026-11-03", "2026-11-04 2026-11-27T15:30"),
        ("after 18:00 yesterday", "2026-11-26T18:00 2026-11-27T15:30"),
        ("from 2026-11-03 onwards", "2026-11-03 2026-11-27T15:30"),
        ("between 9am and 5 pm yesterday", "2026-11-26T09:00 2026-11-26T17:00"),
        ("yesterday between 10:00 and 12:30 UTC", "2026-11-26T10:00 2026-11-26T12:30"),
        ("all time", "2013-01-01 2026-11-27T15:30"),
    ] {
        assert_eq!(parse(text), expected, "{text}");
    }
}

#[test]
fn other_texts_are_rejected_with_the_reason() {
    for (text, expected) in [
        ("", "is not a time"),
        ("last few days", "is not a time"),
        ("last 0 days", "is not a time"),
        ("11/03/2026", "is not a time"),
        ("2 weeks ago", "is not a time"),
        ("yesterday 10:00 CET", "is not a time"),
        ("2026-11-03T12:00:00Z", "is not a time"),
        ("since 2026-12-24", "is in the future"),
        ("on 2026-12-24", "is in the future"),
        ("between 2026-11-07 and 2026-11-01", "the time span is empty"),
        ("before 2026-11-07", "needs a start"),
        ("on November 31", "november has no day 31"),
        ("last 9999999999999 years", "too long ago"),
        ("last 99999999999999999999 days", "is not a time"),
        ("99999999999 days ago", "too long ago"),
    ] {
        let error = parse(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn ends_of_a_span_are_parsed() {
    for (text, start, end) in [
        ("2026-11-03", "2026-11-03", "2026-11-04"),
        ("7d", "2026-11-20T15:30", "2026-11-20T15:30"),
        ("12 hours ago", "2026-11-27T03:30", "2026-11-27T03:30"),
        ("2026-11-03T12:00:00Z", "2026-11-03T12:00", "2026-11-03T12:00"),
        ("now", "2026-11-27T15:30", "2026-11-27T15:30"),
        ("yesterday 10:00", "2026-11-26T10:00", "2026-11-26T10:00"),
    ] {
        assert_eq!(parse_start(text, now()).map(short), Ok(start.into()), "{text}");
        assert_eq!(parse_end(text, now()).map(short), Ok(end.into()), "{text}");
    }
    assert!(parse_start("2026-12-01", now()).is_err());
    assert!(parse_end("nonsense", now()).is_err());
}

#[test]
fn expression_ends_where_the_next_word_is_not_part_of_it() {
    let words = ["in", "the", "last", "7", "days", "by", "alice"];
    assert_eq!(TimeSpan::parse_prefix(&words, now()).unwrap().unwrap().0, 5);
    assert_eq!(TimeSpan::parse_prefix(&["in", "account", "111122223333"], now()), Ok(None));
    assert_eq!(TimeSpan::parse_prefix(&["last", "login"], now()), Ok(None));
    assert_eq!(TimeSpan::parse_prefix(&["april", "did"], now()), Ok(None));
}

fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "last",
        "past",
        "the",
        "7",
        "days",
        "week",
        "month",
        "between",
        "and",
        "2026-11-01",
        "since",
        "until",
        "from",
        "to",
        "on",
        "monday",
        "november",
        "3rd",
        "2026",
        "..",
        "10:00",
        "9am",
        "yesterday",
        "ago",
        "12h",
        "99999999999",
        "this",
        "before",
        "year",
        "31",
        "february",
        "at",
        "of",
        "weekend",
        "9999-12-31",
        "0000-01-01",
    ]);
    prop::collection::vec(word, 0..8).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn any_words_give_a_span_or_an_error(text in words(), seconds in -200_000_000_000_i64..200_000_000_000) {
        let now = Timestamp::from_second(seconds).unwrap();
        if let Ok(span) = TimeSpan::parse(&text, now) {
            prop_assert!(span.since() <= now, "{text}");
        }
        let _ = (parse_start(&text, now), parse_end(&text, now));
    }

    #[test]
    fn any_text_gives_a_span_or_an_error(text in "\\PC{0,60}") {
        let _ = TimeSpan::parse(&text, now());
    }
}
