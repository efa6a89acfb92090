//! Which objects of a bucket are CloudTrail's logs, forgiving what people do to buckets.

use super::file::{ParsedName, account_and_kind, strip_extension};
use super::{KeyFolders, Kind};
use jiff::civil::Date;

/// What a key is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Recognized<'k> {
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
    NotALog(NotALog),
}

/// Why a key is none of CloudTrail's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotALog {
    /// It ends in a slash: a console's stand-in for a folder.
    FolderMarker,
    /// It ends neither in `.json.gz` nor in `.json`.
    OtherExtension,
    /// Its place or name is CloudTrail's, but of a kind that is not known here. Worth an alarm: AWS may have begun to
    /// write something new.
    UnknownKind,
    /// Neither its folders nor its name are CloudTrail's.
    Elsewhere,
}

impl NotALog {
    /// The stable name of the reason, as it stands in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::FolderMarker => "folder_marker",
            Self::OtherExtension => "other_extension",
            Self::UnknownKind => "unknown_kind",
            Self::Elsewhere => "elsewhere",
        }
    }
}

impl std::fmt::Display for NotALog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::FolderMarker => "it marks a folder",
            Self::OtherExtension => "its name ends neither in .json.gz nor in .json",
            Self::UnknownKind => "it is of a kind of CloudTrail files that is not known here; a newer version may know it",
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
pub fn recognize(key: &str) -> Recognized<'_> {
    let name = key.rsplit('/').next().unwrap_or(key);
    if name.is_empty() {
        return Recognized::NotALog(NotALog::FolderMarker);
    }
    let Some((stem, _)) = strip_extension(name) else {
        return Recognized::NotALog(NotALog::OtherExtension);
    };
    if let Some(ParsedName { account, kind, region, date, .. }) = ParsedName::parse(name) {
        return placed(kind, account, region, date);
    }
    let named = account_and_kind(stem).map(|(_, kind, _)| kind);
    // A digest by the start of its name is one wherever it lies and however its name goes on: read as a log, it would
    // be quarantined for having no `Records`.
    if named == Some(Kind::Digest.as_str()) {
        return Recognized::Digest;
    }
    match (KeyFolders::parse(key), named) {
        (Some(folder), _) => match Kind::parse(folder.kind) {
            Some(kind) => placed(kind, folder.account, folder.region, folder.date),
            None => Recognized::NotALog(NotALog::UnknownKind),
        },
        (None, Some(kind)) if Kind::parse(kind).is_none() => Recognized::NotALog(NotALog::UnknownKind),
        (None, _) => Recognized::NotALog(NotALog::Elsewhere),
    }
}

fn placed<'k>(kind: Kind, account: &'k str, region: &'k str, date: Date) -> Recognized<'k> {
    if kind.is_log() { Recognized::Log { kind, account, region, date } } else { Recognized::Digest }
}
