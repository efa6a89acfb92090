//! The grammar of CloudTrail keys.
//!
//! ```text
//! [prefix/]AWSLogs/[o-organization/]ACCOUNT/KIND/REGION/YYYY/MM/DD/FILE
//!
//! FILE  ACCOUNT_KIND_REGION_YYYYMMDDTHHmmZ_SUFFIX.json.gz
//!       ACCOUNT_CloudTrail-Digest_REGION_TRAIL_HOMEREGION_YYYYMMDDTHHmmssZ[_backfill].json.gz
//! ```
//!
//! The date is the date of the *delivery*. A file may contain events from any earlier time.
//!
//! A key is parsed from its end, because the prefix may contain slashes and even `AWSLogs`. [`LogKey`] accepts exactly
//! the grammar. Ingestion uses [`recognize`], which also accepts files that were copied into other folders,
//! decompressed or renamed.
//!
//! <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-find-log-files.html>

mod file;
mod recognize;
#[cfg(test)]
mod tests;

pub use file::{FileCompression, FileName};
pub use recognize::{NotALog, Recognized, recognize};

use jiff::civil::Date;

/// The kind of a CloudTrail file. Each kind has its own folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Management and data events.
    CloudTrail,
    /// Insight events.
    Insight,
    /// Network activity events of VPC endpoints.
    NetworkActivity,
    /// Aggregated events: five-minute summaries of data events.
    Aggregated,
    /// Digests: signed lists of log files that prove that no file is missing or changed. They contain no events.
    Digest,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::CloudTrail, Self::Insight, Self::NetworkActivity, Self::Aggregated, Self::Digest];

    /// Returns the name of the kind's folder.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CloudTrail => "CloudTrail",
            Self::Insight => "CloudTrail-Insight",
            Self::NetworkActivity => "CloudTrail-NetworkActivity",
            Self::Aggregated => "CloudTrail-Aggregated",
            Self::Digest => "CloudTrail-Digest",
        }
    }

    /// Returns the kind whose folder has exactly this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Returns whether files of this kind contain events.
    pub fn is_log(self) -> bool {
        self != Self::Digest
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A key that follows the grammar and whose folders agree with its file name.
///
/// [`parse`](Self::parse) and [`Display`](std::fmt::Display) are exact inverses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogKey {
    /// The prefix before `AWSLogs/`: empty, or ending in a slash.
    pub prefix: String,
    /// The organization ID, `o-…`, if the file belongs to an organization trail.
    pub organization: Option<String>,
    /// The account ID of the events: 12 digits.
    pub account: String,
    /// The kind of the file.
    pub kind: Kind,
    /// The region of the events.
    pub region: String,
    /// The day of the delivery in UTC. For a digest, the day on which the hour that it covers ends.
    pub date: Date,
    /// The rest of the file name.
    pub file: FileName,
}

impl LogKey {
    /// Parses a key. Returns `None` if the key does not follow the grammar exactly.
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

/// The folders of a key, if they follow the grammar, and the unchecked file name. `kind` starts with `CloudTrail`, but
/// may be unknown.
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
        // `above` is the rest: `[prefix/]AWSLogs` with or without the organization.
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

/// Returns whether the text has 12 digits.
fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns whether the text is `o-` followed by lower-case letters and digits. AWS uses 10 to 32 of them. The length is
/// not checked, because no other folder has this form.
fn is_organization(text: &str) -> bool {
    let plain = |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    text.strip_prefix("o-").is_some_and(plain)
}

/// Returns whether the text has the form of a region, such as `us-east-1`: lower-case words and a number, joined by
/// hyphens. New regions need no change.
fn is_region(text: &str) -> bool {
    let Some((words, last)) = text.rsplit_once('-') else { return false };
    let word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    words.split('-').all(word) && !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit())
}

/// Parses a number of exactly `digits` digits, at most four.
fn number(text: &str, digits: usize) -> Option<i16> {
    let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}
