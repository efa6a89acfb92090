//! The CloudTrail key grammar. Pure.
//!
//! ```text
//! [prefix/]AWSLogs/[o-organisation/]ACCOUNT/KIND/REGION/YYYY/MM/DD/FILE
//!
//! FILE  ACCOUNT_KIND_REGION_YYYYMMDDTHHmmZ_SUFFIX.json.gz
//!       ACCOUNT_CloudTrail-Digest_REGION_TRAIL_HOMEREGION_YYYYMMDDTHHmmssZ[_backfill].json.gz
//! ```
//!
//! The date is that of the *delivery*: a file may hold events from any time before it.
//!
//! A key is read from its end, because the prefix is free: it may hold slashes, and even `AWSLogs`. [`LogKey`] is the
//! whole grammar and nothing else. [`recognize`] is what ingestion asks, and forgives more: buckets are copied by hand,
//! into other folders, ungzipped, and renamed.
//!
//! <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-find-log-files.html>

mod file;
mod recognize;
#[cfg(test)]
mod tests;

pub use file::{FileCompression, FileName};
pub use recognize::{NotALog, Recognized, recognize};

use jiff::civil::Date;

/// What CloudTrail writes: one folder for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Management and data events.
    CloudTrail,
    /// Insight events.
    Insight,
    /// Network activity events of VPC endpoints.
    NetworkActivity,
    /// Five-minute summaries of data events.
    Aggregated,
    /// Digests: signed lists of log files, which prove that none is missing or changed. No events.
    Digest,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::CloudTrail, Self::Insight, Self::NetworkActivity, Self::Aggregated, Self::Digest];

    /// The name of its folder.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CloudTrail => "CloudTrail",
            Self::Insight => "CloudTrail-Insight",
            Self::NetworkActivity => "CloudTrail-NetworkActivity",
            Self::Aggregated => "CloudTrail-Aggregated",
            Self::Digest => "CloudTrail-Digest",
        }
    }

    /// The kind whose folder has this name, spelled exactly so.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Whether its files hold events.
    pub fn is_log(self) -> bool {
        self != Self::Digest
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A key that follows the whole grammar: its folder and its file's name agree.
///
/// [`parse`](Self::parse) and [`Display`](std::fmt::Display) are exact inverses: what is parsed renders to the same
/// bytes, and what could have been parsed is parsed back the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogKey {
    /// What precedes `AWSLogs/`: empty, or ending in a slash.
    pub prefix: String,
    /// The organisation, `o-…`, for an organisation's trail.
    pub organization: Option<String>,
    /// The account whose events these are: 12 digits.
    pub account: String,
    /// What the file holds.
    pub kind: Kind,
    /// The region whose events these are.
    pub region: String,
    /// The day of the delivery, UTC; for a digest the day on which its hour ends.
    pub date: Date,
    /// What the file's name says beyond that.
    pub file: FileName,
}

impl LogKey {
    /// The key's parts, or nothing if it does not follow the grammar to the letter.
    pub fn parse(key: &str) -> Option<Self> {
        let folder = KeyFolders::parse(key)?;
        let name = file::ParsedName::parse(folder.name)?;
        let agree = folder.account == name.account
            && folder.kind == name.kind.as_str()
            && folder.region == name.region
            && folder.date == name.date;
        agree.then(|| Self {
            prefix: folder.prefix.to_owned(),
            organization: folder.organization.map(str::to_owned),
            account: folder.account.to_owned(),
            kind: name.kind,
            region: folder.region.to_owned(),
            date: folder.date,
            file: name.file,
        })
    }
}

impl std::fmt::Display for LogKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { prefix, organization, account, kind, region, date, file } = self;
        write!(f, "{prefix}AWSLogs/")?;
        if let Some(organization) = organization {
            write!(f, "{organization}/")?;
        }
        let (year, month, day) = (date.year(), date.month(), date.day());
        write!(f, "{account}/{kind}/{region}/{year:04}/{month:02}/{day:02}/")?;
        write!(f, "{account}_{kind}_{region}_")?;
        file.write(f, *date)
    }
}

/// The folders of a key that follow the grammar, whatever lies in them. The kind is only known to be one of
/// CloudTrail's.
#[derive(Debug, Clone, Copy)]
struct KeyFolders<'k> {
    prefix: &'k str,
    organization: Option<&'k str>,
    account: &'k str,
    kind: &'k str,
    region: &'k str,
    date: Date,
    name: &'k str,
}

impl<'k> KeyFolders<'k> {
    fn parse(key: &'k str) -> Option<Self> {
        let mut parts = key.rsplitn(8, '/');
        let mut next = || parts.next();
        let (name, day, month, year) = (next()?, next()?, next()?, next()?);
        let (region, kind, account, above) = (next()?, next()?, next()?, next()?);
        // `above` is all the rest: `[prefix/]AWSLogs` with or without the organisation.
        let (above, organization) = match above.rsplit_once('/') {
            Some((above, last)) if is_organization(last) => (above, Some(last)),
            _ => (above, None),
        };
        let prefix = above.strip_suffix("AWSLogs")?;
        let whole = prefix.is_empty() || prefix.ends_with('/');
        let cloudtrail = kind == "CloudTrail" || kind.starts_with("CloudTrail-");
        if !whole || !cloudtrail || !is_account(account) || !is_region(region) {
            return None;
        }
        let date = Date::new(number(year, 4)?, number(month, 2)?.try_into().ok()?, number(day, 2)?.try_into().ok()?);
        Some(Self { prefix, organization, account, kind, region, date: date.ok()?, name })
    }
}

/// 12 digits.
fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `o-` and letters and digits. AWS writes 10 to 32 of them; no length is checked, because nothing else is meant.
fn is_organization(text: &str) -> bool {
    let plain = |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    text.strip_prefix("o-").is_some_and(plain)
}

/// `us-east-1`, and whatever region AWS opens next: words in lower case and a number, joined by hyphens.
fn is_region(text: &str) -> bool {
    let Some((words, last)) = text.rsplit_once('-') else { return false };
    let word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    words.split('-').all(word) && !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit())
}

/// A number of exactly so many digits, at most four.
fn number(text: &str, digits: usize) -> Option<i16> {
    let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}
