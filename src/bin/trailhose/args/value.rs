//! Argument values that the command line and `trailhose.toml` share, and their parsers.

use clap::ValueEnum;
use jiff::civil::Date;
use jiff::{Span, Timestamp, tz::TimeZone};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use trailhose::aws::split_location;
use trailhose::object::key::Kind;
use trailhose::object::region;
use trailhose::suggest::did_you_mean;

/// Name of the default settings file.
pub(crate) const SETTINGS_FILE: &str = "trailhose.toml";

/// Location of objects: a path, or a bucket with a prefix or key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    Path(PathBuf),
    S3 { bucket: String, key: String },
}

/// Destination of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dest {
    Folder(PathBuf),
    Firehose(String),
}

/// Location of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LedgerLocation {
    File(PathBuf),
    DynamoDb(String),
}

/// Compression of JSON Lines files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompressMode {
    None,
    Gzip,
    Zstd,
}

/// Number of events in a Firehose record: many, or one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EventsPerRecord {
    Many,
    One,
}

/// The destination of a sync on the command line.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum SyncDest {
    /// A folder or a stream.
    Events(Dest),
    /// The URL of a webhook.
    Url(String),
}

impl std::fmt::Debug for SyncDest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Events(dest) => dest.fmt(f),
            Self::Url(_) => f.write_str("Url"),
        }
    }
}

impl std::fmt::Display for Location {
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

impl std::fmt::Display for LedgerLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::DynamoDb(table) => write!(f, "dynamodb://{table}"),
        }
    }
}

/// Splits `scheme://rest`; returns `None` for a path. A path that contains `://` can be written with a leading `./`.
fn scheme(text: &str) -> Option<(&str, &str)> {
    text.split_once("://").filter(|(scheme, _)| !scheme.contains(['/', '.']))
}

pub(crate) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("expected a path, found an empty string".into()) } else { Ok(text.into()) }
}

pub(crate) fn location(text: &str) -> Result<Location, String> {
    match scheme(text) {
        None if text.starts_with("arn:") => bucket_and_key(text),
        None => path(text).map(Location::Path),
        Some(("s3", rest)) => bucket_and_key(rest),
        Some((other, _)) => Err(format!("unknown scheme {other}://; expected a path or s3://bucket[/prefix]")),
    }
}

fn bucket_and_key(text: &str) -> Result<Location, String> {
    split_location(text).map(|(bucket, key)| Location::S3 { bucket: bucket.into(), key: key.into() })
}

pub(crate) fn dest(text: &str) -> Result<Dest, String> {
    match scheme(text) {
        None => path(text).map(Dest::Folder),
        Some(("firehose", "")) => Err("the stream name is missing; expected firehose://stream".into()),
        Some(("firehose", stream)) => Ok(Dest::Firehose(stream.into())),
        Some((other, _)) => Err(format!("unknown scheme {other}://; expected a folder or firehose://stream")),
    }
}

/// Parses the destination of a sync: a folder, a stream, or the URL of a webhook.
pub(crate) fn sync_dest(text: &str) -> Result<SyncDest, String> {
    match scheme(text) {
        // The URL can contain a secret, so no message quotes it.
        Some(("https" | "http", _)) => Ok(SyncDest::Url(text.to_owned())),
        Some((other, _)) if other != "firehose" => {
            Err(format!("unknown scheme {other}://; expected a folder, firehose://stream or https://host/path"))
        }
        _ => dest(text).map(SyncDest::Events),
    }
}

/// Checks the name of a bucket, or the ARN of an access point.
pub(crate) fn bucket(name: &str) -> Result<String, String> {
    // Only the ARN of an access point is itself the bucket of a request.
    let is_access_point = name.starts_with("arn:") && split_location(name) == Ok((name, ""));
    if !is_access_point && (name.is_empty() || name.contains(['/', ':'])) {
        return Err("expected a bucket name or the ARN of an access point; use prefix for the rest".into());
    }
    Ok(name.to_owned())
}

/// Checks the ID of a source.
pub(crate) fn source_id(text: &str) -> Result<String, String> {
    trailhose::source::check_source_id(text).map(|()| text.to_owned())
}

/// Parses an address with a port.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let text = text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    text.parse().map_err(|_| "expected an address and a port, for example 127.0.0.1:8080 or [::]:8080".to_owned())
}

pub(crate) fn ledger(text: &str) -> Result<LedgerLocation, String> {
    match scheme(text) {
        None => path(text).map(LedgerLocation::File),
        Some(("dynamodb", "")) => Err("the table name is missing; expected dynamodb://table".into()),
        Some(("dynamodb", table)) => Ok(LedgerLocation::DynamoDb(table.into())),
        Some((other, _)) => Err(format!("unknown scheme {other}://; expected a file or dynamodb://table")),
    }
}

/// Parses a date, or a number of days or weeks before today (UTC).
pub(crate) fn day(text: &str) -> Result<Date, String> {
    day_before(Timestamp::now().to_zoned(TimeZone::UTC).date(), text)
}

/// Parses a size in bytes: `500MB`, `1GiB`, or a number of bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let expected = || format!("invalid size {text:?}: use a number with a unit, for example 500MB or 1GiB, or 0");
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(expected()),
    };
    let number: u64 = digits.trim_end().parse().map_err(|_| expected())?;
    number.checked_mul(unit).ok_or_else(expected)
}

/// Parses an age such as `90d` or `12w`, and returns the day that long ago.
pub(crate) fn age(text: &str) -> Result<Date, String> {
    match text.ends_with(['d', 'w']) {
        true => day(text),
        false => Err(format!("invalid age {text:?}: use 90d or 12w")),
    }
}

fn day_before(today: Date, text: &str) -> Result<Date, String> {
    let expected = || format!("invalid date {text:?}: use YYYY-MM-DD, 7d or 2w");
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

/// Parses a point in time: an RFC 3339 time, a day (its start, UTC), or a time before now such as `90m`, `12h` or `7d`.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    let invalid = || {
        format!(
            "invalid time {text:?}: expected 2026-11-01T10:00:00Z, a day such as 2026-11-01, or 90m, 12h or 7d before now"
        )
    };
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(day) = text.parse::<Date>() {
        return day.to_zoned(TimeZone::UTC).map(|start| start.timestamp()).map_err(|_| invalid());
    }
    let (count, seconds) = match text.split_at_checked(text.len().saturating_sub(1)) {
        Some((count, "m")) => (count, 60),
        Some((count, "h")) => (count, 3_600),
        Some((count, "d")) => (count, 86_400),
        _ => return Err(invalid()),
    };
    let count: i64 = count.parse::<u32>().map_err(|_| invalid())?.into();
    Timestamp::now().checked_sub(jiff::SignedDuration::from_secs(count * seconds)).map_err(|_| invalid())
}

/// Parses the end of a time span like [`time`]. A day includes its last second.
pub(crate) fn time_end(text: &str) -> Result<Timestamp, String> {
    match text.parse::<Date>().ok().and_then(|day| day.tomorrow().ok()) {
        Some(next) => next.to_zoned(TimeZone::UTC).map(|end| end.timestamp()).map_err(|error| error.to_string()),
        None => time(text),
    }
}

/// Parses a number of seconds from 0.01 to 3600.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let seconds = seconds.filter(|seconds| (Duration::from_millis(10)..=Duration::from_secs(3600)).contains(seconds));
    seconds.ok_or_else(|| format!("invalid interval {text:?}: expected seconds from 0.01 to 3600"))
}

/// Parses the interval between two rounds: whole seconds, minutes or hours.
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
        .ok_or_else(|| format!("invalid interval {text:?}: expected 1s to 24h, for example 30s, 5m or 1h"))
}

/// Returns a parser of whole numbers in this range. Its error contains the range. A range up to `u64::MAX` has no upper
/// limit.
pub(crate) fn whole<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| match (range.start(), range.end()) {
            (0, &u64::MAX) => "expected a whole number".to_owned(),
            (from, &u64::MAX) => format!("expected a whole number of at least {from}"),
            (from, to) => format!("expected a whole number from {from} to {to}"),
        })
    }
}

/// Checks the ARN of an IAM role.
pub(crate) fn role_arn(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    match parts[..] {
        ["arn", partition, "iam", "", account, role]
            if !partition.is_empty() && account.len() == 12 && role.starts_with("role/") =>
        {
            Ok(text.to_owned())
        }
        _ => Err(format!("invalid role {text:?}: expected arn:aws:iam::111122223333:role/NAME")),
    }
}

/// Checks the URL of an endpoint.
pub(crate) fn endpoint_url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").or(text.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.starts_with('/') => Ok(text.to_owned()),
        _ => Err(format!("invalid endpoint {text:?}: expected https://HOST or http://HOST:PORT")),
    }
}

/// Checks an account ID.
pub(crate) fn account(text: &str) -> Result<String, String> {
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    Err(format!("invalid account {text:?}: expected 12 digits"))
}

/// Checks the name of a region.
pub(crate) fn region(text: &str) -> Result<String, String> {
    region::check(text).map(|()| text.to_owned())
}

/// Parses a log kind, in full or without its `CloudTrail-` prefix, ignoring case.
pub(crate) fn kind(text: &str) -> Result<Kind, String> {
    let name = text.to_ascii_lowercase();
    let matches = |kind: Kind| {
        let full = kind.as_str().to_ascii_lowercase();
        full == name || full.strip_prefix("cloudtrail-") == Some(&name)
    };
    match Kind::ALL.into_iter().find(|&kind| matches(kind)) {
        Some(Kind::Digest) => Err("digest files contain no events; they are for verification".into()),
        Some(kind) => Ok(kind),
        None => {
            let names = Kind::ALL.into_iter().filter(|kind| kind.is_log()).map(Kind::as_str);
            let short = names.map(|name| name.strip_prefix("CloudTrail-").unwrap_or(name));
            let hint = did_you_mean(text, short);
            Err(format!("unknown kind {text:?}: expected CloudTrail, Insight, NetworkActivity or Aggregated{hint}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn day_is_a_date_or_relative_to_today() {
        let today = date(2026, 11, 21);
        for (text, day) in
            [("2026-11-01", date(2026, 11, 1)), ("0d", today), ("7d", date(2026, 11, 14)), ("2w", date(2026, 11, 7))]
        {
            assert_eq!(day_before(today, text), Ok(day), "{text}");
        }
        for text in ["", "d", "-1d", "7", "7h", "2026-13-01", "20261101", "2026-11-01T00:00", "99999999999w"] {
            assert!(day_before(today, text).unwrap_err().contains("use YYYY-MM-DD"), "{text}");
        }
    }

    #[test]
    fn size_is_a_number_with_a_unit() {
        for (text, bytes) in [("0", 0), ("12", 12), ("500MB", 500_000_000), ("1GiB", 1 << 30), ("3 kib", 3 << 10)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "GiB", "-1", "1.5GiB", "1G", "5%", "99999999999TiB"] {
            assert!(size(text).unwrap_err().contains("use a number with a unit"), "{text}");
        }
    }

    #[test]
    fn location_without_scheme_is_a_path() {
        let s3 = |bucket: &str, key: &str| Location::S3 { bucket: bucket.into(), key: key.into() };
        assert_eq!(location("s3://b"), Ok(s3("b", "")));
        assert_eq!(location("s3://b/p/q/"), Ok(s3("b", "p/q/")));
        let point = "arn:aws:s3:eu-west-1:111122223333:accesspoint/logs";
        assert_eq!(location(&format!("s3://{point}/p/q")), Ok(s3(point, "p/q")));
        assert_eq!(location(point), Ok(s3(point, "")));
        assert_eq!(location("./gs://b"), Ok(Location::Path("./gs://b".into())));
        assert!(location("gs://b").unwrap_err().contains("unknown scheme gs://"));
        assert!(dest("s3://b").unwrap_err().contains("firehose://stream"));
        for empty in ["s3://", "s3:///k", ""] {
            assert!(location(empty).is_err(), "{empty}");
        }
    }

    #[test]
    fn time_is_absolute_a_day_or_before_now() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(time("2026-11-01T10:00:00Z"), Ok(at("2026-11-01T10:00:00Z")));
        assert_eq!(time("2026-11-01"), Ok(at("2026-11-01T00:00:00Z")));
        assert_eq!(time_end("2026-11-01"), Ok(at("2026-11-02T00:00:00Z")));
        assert_eq!(time_end("2026-11-01T10:00:00Z"), Ok(at("2026-11-01T10:00:00Z")));
        let ago = Timestamp::now().as_second() - time("2h").unwrap().as_second();
        assert!((7_199..7_210).contains(&ago), "{ago}");
        for text in ["", "h", "5", "-5m", "1.5h", "yesterday", "99999999999d", "5µ", "4294967295d"] {
            assert!(time(text).unwrap_err().contains("before now"), "{text}");
        }
    }

    #[test]
    fn interval_has_a_unit_and_is_at_most_24_hours() {
        for (text, seconds) in [("30s", 30), ("5m", 300), ("1h", 3600), ("24h", 86_400)] {
            assert_eq!(pause(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "s", "5", "-5m", "0s", "1.5h", "25h", "1d", "99999999999999999999h", "5µ"] {
            assert!(pause(text).unwrap_err().contains("for example 30s, 5m or 1h"), "{text}");
        }
    }

    #[test]
    fn number_outside_its_range_is_explained() {
        assert_eq!(whole::<u32>(1..=9)("9"), Ok(9));
        for text in ["0", "10", "1.5", "-1", "many", "99999999999999999999"] {
            assert_eq!(whole::<u32>(1..=9)(text).unwrap_err(), "expected a whole number from 1 to 9", "{text}");
        }
        assert_eq!(whole::<u64>(1..=u64::MAX)("0").unwrap_err(), "expected a whole number of at least 1");
        assert_eq!(whole::<u64>(0..=u64::MAX)("x").unwrap_err(), "expected a whole number");
    }

    #[test]
    fn roles_and_endpoints_are_checked() {
        let role = "arn:aws-cn:iam::111122223333:role/path/reader";
        assert_eq!(role_arn(role), Ok(role.into()));
        for text in [
            "",
            "reader",
            "arn:aws:iam::1:role/r",
            "arn:aws:iam::111122223333:user/u",
            "arn:aws:sts::111122223333:role/r",
        ] {
            assert!(role_arn(text).unwrap_err().contains("role/NAME"), "{text}");
        }
        assert_eq!(endpoint_url("http://localhost:9000"), Ok("http://localhost:9000".into()));
        for text in ["", "localhost:9000", "https://", "ftp://host", "https:///x"] {
            assert!(endpoint_url(text).unwrap_err().contains("https://HOST"), "{text}");
        }
    }

    #[test]
    fn kind_prefix_is_optional() {
        assert_eq!(kind("CloudTrail"), Ok(Kind::CloudTrail));
        assert_eq!(kind("insight"), Ok(Kind::Insight));
        assert_eq!(kind("CloudTrail-NetworkActivity"), Ok(Kind::NetworkActivity));
        assert!(kind("Digest").unwrap_err().contains("verification"));
        assert!(kind("trail").unwrap_err().ends_with("NetworkActivity or Aggregated"));
        assert!(kind("insigth").unwrap_err().ends_with("did you mean Insight?"));
    }
}
