//! The name of a CloudTrail file, without its folders.

use super::{Kind, is_account, is_region, number};
use jiff::civil::{Date, Time};

/// The parts of a file name that are not also in the folders (account, kind, region and day).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FileName {
    /// A log file.
    Log {
        /// The minute of the delivery in UTC.
        time: Time,
        /// The unique suffix. CloudTrail uses 16 letters and digits without meaning or order. Never empty.
        suffix: String,
        /// The compression according to the extension.
        compression: FileCompression,
    },
    /// A digest.
    Digest {
        /// The name of the trail.
        trail: String,
        /// The home region of the trail.
        home_region: String,
        /// The end of the hour that the digest covers, in UTC.
        time: Time,
        /// Whether CloudTrail wrote the digest later, for an hour that it had missed.
        backfill: bool,
    },
}

/// The compression according to a file's extension. The bytes may differ, so the decoder checks the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileCompression {
    /// `.json.gz`, the extension that CloudTrail uses.
    Gzip,
    /// `.json`, the extension of a decompressed file.
    None,
}

impl FileCompression {
    fn extension(self) -> &'static str {
        match self {
            Self::Gzip => ".json.gz",
            Self::None => ".json",
        }
    }
}

/// Returns the name without its extension, and the compression. `None` if the extension is not `.json.gz` or `.json`.
pub(super) fn strip_extension(name: &str) -> Option<(&str, FileCompression)> {
    let strip = |compression: FileCompression| Some((name.strip_suffix(compression.extension())?, compression));
    strip(FileCompression::Gzip).or_else(|| strip(FileCompression::None))
}

/// Like [`strip_extension`], but ignores the case of the extension: file systems and archive programs change it.
pub(super) fn strip_extension_of_any_case(name: &str) -> Option<&str> {
    [FileCompression::Gzip, FileCompression::None].into_iter().find_map(|compression| {
        let (stem, extension) = name.split_at_checked(name.len().checked_sub(compression.extension().len())?)?;
        extension.eq_ignore_ascii_case(compression.extension()).then_some(stem)
    })
}

/// Returns the account, the kind and the rest of a name. The names of all kinds start with the account and the kind.
pub(super) fn account_and_kind(stem: &str) -> Option<(&str, &str, &str)> {
    let (account, rest) = stem.split_once('_')?;
    let (kind, rest) = rest.split_once('_')?;
    let cloudtrail = kind == "CloudTrail" || kind.starts_with("CloudTrail-");
    (is_account(account) && cloudtrail).then_some((account, kind, rest))
}

/// A file name that follows the grammar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ParsedName<'k> {
    pub(super) account: &'k str,
    pub(super) kind: Kind,
    pub(super) region: &'k str,
    pub(super) date: Date,
    pub(super) file: FileName,
}

impl<'k> ParsedName<'k> {
    /// Parses a name whose extension is spelled as CloudTrail spells it.
    pub(super) fn parse(name: &'k str) -> Option<Self> {
        let (stem, compression) = strip_extension(name)?;
        Self::of_stem(stem, compression)
    }

    /// Parses a name without its extension.
    pub(super) fn of_stem(stem: &'k str, compression: FileCompression) -> Option<Self> {
        let (account, kind, rest) = account_and_kind(stem)?;
        let kind = Kind::parse(kind)?;
        let (region, rest) = rest.split_once('_')?;
        let (date, file) = if kind.is_log() { log(rest, compression) } else { digest(rest, compression) }?;
        is_region(region).then_some(Self { account, kind, region, date, file })
    }
}

/// Parses `YYYYMMDDTHHmmZ_SUFFIX`.
fn log(text: &str, compression: FileCompression) -> Option<(Date, FileName)> {
    let (stamp, suffix) = text.split_once('_')?;
    let (date, time) = stamp.strip_suffix('Z')?.split_once('T')?;
    let (hour, minute) = (time.get(..2)?, time.get(2..)?);
    let time = clock(hour, minute, "00")?;
    let plain = !suffix.is_empty() && !suffix.contains('/');
    plain
        .then(|| FileName::Log { time, suffix: suffix.to_owned(), compression })
        .zip(day(date))
        .map(|(file, date)| (date, file))
}

/// Parses `TRAIL_HOMEREGION_YYYYMMDDTHHmmssZ[_backfill]` from its end, because a trail name may contain underscores.
fn digest(text: &str, compression: FileCompression) -> Option<(Date, FileName)> {
    let (text, backfill) = match text.strip_suffix("_backfill") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (text, stamp) = text.rsplit_once('_')?;
    let (trail, home_region) = text.rsplit_once('_')?;
    let (date, time) = stamp.strip_suffix('Z')?.split_once('T')?;
    let time = clock(time.get(..2)?, time.get(2..4)?, time.get(4..)?)?;
    let plain =
        !trail.is_empty() && !trail.contains('/') && is_region(home_region) && compression == FileCompression::Gzip;
    let (trail, home_region) = (trail.to_owned(), home_region.to_owned());
    plain.then_some((day(date)?, FileName::Digest { trail, home_region, time, backfill }))
}

/// Parses `YYYYMMDD`.
fn day(text: &str) -> Option<Date> {
    let (year, month, day) = (text.get(..4)?, text.get(4..6)?, text.get(6..)?);
    Date::new(number(year, 4)?, number(month, 2)?.try_into().ok()?, number(day, 2)?.try_into().ok()?).ok()
}

fn clock(hour: &str, minute: &str, second: &str) -> Option<Time> {
    let part = |text| number(text, 2)?.try_into().ok();
    Time::new(part(hour)?, part(minute)?, part(second)?, 0).ok()
}

impl FileName {
    /// Writes the rest of the name, after the region.
    pub(super) fn write(&self, f: &mut std::fmt::Formatter<'_>, date: Date) -> std::fmt::Result {
        let (year, month, day) = (date.year(), date.month(), date.day());
        match self {
            Self::Log { time, suffix, compression } => {
                let (hour, minute) = (time.hour(), time.minute());
                write!(f, "{year:04}{month:02}{day:02}T{hour:02}{minute:02}Z_{suffix}{}", compression.extension())
            }
            Self::Digest { trail, home_region, time, backfill } => {
                let (hour, minute, second) = (time.hour(), time.minute(), time.second());
                write!(f, "{trail}_{home_region}_{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")?;
                f.write_str(if *backfill { "_backfill.json.gz" } else { ".json.gz" })
            }
        }
    }
}
