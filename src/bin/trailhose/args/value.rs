//! Values as people write them, on the command line and in `trailhose.toml` alike.

use clap::ValueEnum;
use jiff::civil::Date;
use jiff::{Span, Timestamp, tz::TimeZone};
use std::path::PathBuf;
use std::time::Duration;
use trailhose::object::key::Kind;

/// The settings file that is read if no other is named.
pub(crate) const SETTINGS_FILE: &str = "trailhose.toml";

/// Where objects lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Path(PathBuf),
    S3 { bucket: String, key: String },
}

/// Where events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dest {
    Folder(PathBuf),
    Firehose(String),
}

/// Where the ledger is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LedgerAt {
    File(PathBuf),
    DynamoDb(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compress {
    None,
    Gzip,
    Zstd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lines {
    Packed,
    OnePerRecord,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::S3 { bucket, key } if key.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
        }
    }
}

impl std::fmt::Display for Dest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Firehose(stream) => write!(f, "firehose://{stream}"),
        }
    }
}

impl std::fmt::Display for LedgerAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::DynamoDb(table) => write!(f, "dynamodb://{table}"),
        }
    }
}

/// `scheme://rest`, or a path. A path that holds `://` can be given with `./` before it.
fn scheme(text: &str) -> Option<(&str, &str)> {
    text.split_once("://").filter(|(scheme, _)| !scheme.contains(['/', '.']))
}

pub(crate) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("expected a path, found nothing".into()) } else { Ok(text.into()) }
}

pub(crate) fn place(text: &str) -> Result<Place, String> {
    match scheme(text) {
        None => path(text).map(Place::Path),
        Some(("s3", rest)) => match rest.split_once('/').unwrap_or((rest, "")) {
            ("", _) => Err("no bucket is named; expected s3://bucket[/prefix]".into()),
            (bucket, key) => Ok(Place::S3 { bucket: bucket.into(), key: key.into() }),
        },
        Some((other, _)) => Err(format!("unknown scheme {other}://; expected a path or s3://bucket[/prefix]")),
    }
}

pub(crate) fn dest(text: &str) -> Result<Dest, String> {
    match scheme(text) {
        None => path(text).map(Dest::Folder),
        Some(("firehose", "")) => Err("no stream is named; expected firehose://stream".into()),
        Some(("firehose", stream)) => Ok(Dest::Firehose(stream.into())),
        Some((other, _)) => Err(format!("unknown scheme {other}://; expected a folder or firehose://stream")),
    }
}

pub(crate) fn ledger(text: &str) -> Result<LedgerAt, String> {
    match scheme(text) {
        None => path(text).map(LedgerAt::File),
        Some(("dynamodb", "")) => Err("no table is named; expected dynamodb://table".into()),
        Some(("dynamodb", table)) => Ok(LedgerAt::DynamoDb(table.into())),
        Some((other, _)) => Err(format!("unknown scheme {other}://; expected a file or dynamodb://table")),
    }
}

/// A date, or a number of days or weeks before today (UTC).
pub(crate) fn day(text: &str) -> Result<Date, String> {
    day_before(Timestamp::now().to_zoned(TimeZone::UTC).date(), text)
}

fn day_before(today: Date, text: &str) -> Result<Date, String> {
    let expected = || format!("{text:?} is no day; expected a date as 2026-11-01, or days or weeks ago as 7d or 2w");
    let ago = |number: &str, unit: i32| {
        let number: i32 = number.parse().ok().filter(|&number| number >= 0)?;
        today.checked_sub(Span::new().try_days(number.checked_mul(unit)?).ok()?).ok()
    };
    let relative = text.strip_suffix('d').map(|n| ago(n, 1)).or_else(|| text.strip_suffix('w').map(|n| ago(n, 7)));
    let date = match relative {
        Some(date) => date,
        None => (text.len() == "2026-11-01".len()).then(|| text.parse().ok()).flatten(),
    };
    date.ok_or_else(expected)
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let seconds = seconds.filter(|seconds| (Duration::from_millis(10)..=Duration::from_secs(3600)).contains(seconds));
    seconds.ok_or_else(|| format!("{text:?} is no time; expected seconds from 0.01 to 3600"))
}

/// How long to pause between two rounds: whole seconds, minutes or hours.
pub(crate) fn pause(text: &str) -> Result<Duration, String> {
    let unit = |unit: char| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3600),
        _ => None,
    };
    let seconds = text.char_indices().next_back().and_then(|(at, last)| {
        let number: u64 = text[..at].parse().ok()?;
        number.checked_mul(unit(last)?)
    });
    seconds
        .filter(|seconds| (1..=86_400).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| format!("{text:?} is no pause; expected 1s to 24h, as 30s, 5m or 1h"))
}

pub(crate) fn account(text: &str) -> Result<String, String> {
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is no account; expected its 12 digits"))
}

pub(crate) fn kind(text: &str) -> Result<Kind, String> {
    let wanted = text.to_ascii_lowercase();
    let named = |kind: Kind| {
        let name = kind.as_str().to_ascii_lowercase();
        name == wanted || name.strip_prefix("cloudtrail-") == Some(&wanted)
    };
    match Kind::ALL.into_iter().find(|&kind| named(kind)) {
        Some(Kind::Digest) => Err("digests hold no events; they are for verification".into()),
        Some(kind) => Ok(kind),
        None => Err(format!("{text:?} is no kind; expected CloudTrail, Insight, NetworkActivity or Aggregated")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn a_day_is_a_date_or_so_long_ago() {
        let today = date(2026, 11, 21);
        for (text, day) in
            [("2026-11-01", date(2026, 11, 1)), ("0d", today), ("7d", date(2026, 11, 14)), ("2w", date(2026, 11, 7))]
        {
            assert_eq!(day_before(today, text), Ok(day), "{text}");
        }
        for text in ["", "d", "-1d", "7", "7h", "2026-13-01", "20261101", "2026-11-01T00:00", "99999999999w"] {
            assert!(day_before(today, text).unwrap_err().contains("expected a date"), "{text}");
        }
    }

    #[test]
    fn a_place_is_a_path_unless_it_names_a_scheme() {
        let s3 = |bucket: &str, key: &str| Place::S3 { bucket: bucket.into(), key: key.into() };
        assert_eq!(place("s3://b"), Ok(s3("b", "")));
        assert_eq!(place("s3://b/p/q/"), Ok(s3("b", "p/q/")));
        assert_eq!(place("./gs://b"), Ok(Place::Path("./gs://b".into())));
        assert!(place("gs://b").unwrap_err().contains("unknown scheme gs://"));
        assert!(dest("s3://b").unwrap_err().contains("firehose://stream"));
        for empty in ["s3://", "s3:///k", ""] {
            assert!(place(empty).is_err(), "{empty}");
        }
    }

    #[test]
    fn a_pause_has_a_unit_and_is_neither_nothing_nor_days() {
        for (text, seconds) in [("30s", 30), ("5m", 300), ("1h", 3600), ("24h", 86_400)] {
            assert_eq!(pause(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "s", "5", "-5m", "0s", "1.5h", "25h", "1d", "99999999999999999999h", "5µ"] {
            assert!(pause(text).unwrap_err().contains("as 30s, 5m or 1h"), "{text}");
        }
    }

    #[test]
    fn a_kind_is_named_in_full_or_by_its_last_word() {
        assert_eq!(kind("CloudTrail"), Ok(Kind::CloudTrail));
        assert_eq!(kind("insight"), Ok(Kind::Insight));
        assert_eq!(kind("CloudTrail-NetworkActivity"), Ok(Kind::NetworkActivity));
        assert!(kind("Digest").unwrap_err().contains("verification"));
        assert!(kind("trail").is_err());
    }
}
