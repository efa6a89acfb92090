//! Which objects of a bucket are CloudTrail's logs, forgiving what people do to buckets.

use super::file::{Name, account_and_kind, strip_extension};
use super::{Folder, Kind};
use jiff::civil::Date;

/// What a key is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Recognised<'k> {
    /// A file of events, to be read.
    Log {
        /// What it holds; never [`Kind::Digest`].
        kind: Kind,
        /// The account whose events these are.
        account: &'k str,
        /// The region whose events these are.
        region: &'k str,
        /// The day of its delivery, UTC.
        date: Date,
    },
    /// A digest, for verification; it holds no events.
    Digest,
    /// None of CloudTrail's.
    Foreign(Foreign),
}

/// Why a key is none of CloudTrail's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Foreign {
    /// It ends in a slash: a console's stand-in for a folder.
    Marker,
    /// It ends neither in `.json.gz` nor in `.json`.
    Extension,
    /// Its place or name is CloudTrail's, but of a kind that is not known here. Worth an alarm: AWS may have begun to
    /// write something new.
    Kind,
    /// Neither its folders nor its name are CloudTrail's.
    Elsewhere,
}

impl Foreign {
    /// The stable name of the reason, as it stands in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Marker => "folder_marker",
            Self::Extension => "other_extension",
            Self::Kind => "unknown_kind",
            Self::Elsewhere => "elsewhere",
        }
    }
}

impl std::fmt::Display for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Marker => "it marks a folder",
            Self::Extension => "its name ends neither in .json.gz nor in .json",
            Self::Kind => "it is of a kind of CloudTrail files that is not known here; a newer version may know it",
            Self::Elsewhere => {
                "neither is its name that of a CloudTrail file nor does it lie in …AWSLogs/ACCOUNT/KIND/REGION/YYYY/MM/DD/"
            }
        })
    }
}

/// What to take a key for.
///
/// A name that follows the grammar is believed first, in whatever folder: it was written by AWS and goes where the file
/// goes. Any other name ending in `.json.gz` or `.json` is believed to be what its folders say, if these follow the
/// grammar. Where both follow it and differ, somebody moved the file, and the name counts.
pub fn recognise(key: &str) -> Recognised<'_> {
    let name = key.rsplit('/').next().unwrap_or(key);
    if name.is_empty() {
        return Recognised::Foreign(Foreign::Marker);
    }
    let Some((stem, _)) = strip_extension(name) else {
        return Recognised::Foreign(Foreign::Extension);
    };
    if let Some(Name { account, kind, region, date, .. }) = Name::parse(name) {
        return placed(kind, account, region, date);
    }
    let named = account_and_kind(stem).map(|(_, kind, _)| kind);
    // A digest by the start of its name is one wherever it lies and however its name goes on: read as a log, it would
    // be quarantined for having no `Records`.
    if named == Some(Kind::Digest.as_str()) {
        return Recognised::Digest;
    }
    match (Folder::parse(key), named) {
        (Some(folder), _) => match Kind::parse(folder.kind) {
            Some(kind) => placed(kind, folder.account, folder.region, folder.date),
            None => Recognised::Foreign(Foreign::Kind),
        },
        (None, Some(kind)) if Kind::parse(kind).is_none() => Recognised::Foreign(Foreign::Kind),
        (None, _) => Recognised::Foreign(Foreign::Elsewhere),
    }
}

fn placed<'k>(kind: Kind, account: &'k str, region: &'k str, date: Date) -> Recognised<'k> {
    if kind.is_log() { Recognised::Log { kind, account, region, date } } else { Recognised::Digest }
}
