//! Recognizes CloudTrail log files, including files that were moved, renamed or decompressed.

use super::file::{ParsedName, account_and_kind, strip_extension_of_any_case};
use super::{FileCompression, KeyFolders, Kind};
use jiff::civil::Date;

/// The classification of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Recognized<'k> {
    /// A log file, which contains events.
    Log {
        /// The kind of the file. Never [`Kind::Digest`].
        kind: Kind,
        /// The account ID of the events.
        account: &'k str,
        /// The region of the events.
        region: &'k str,
        /// The day of the delivery in UTC.
        date: Date,
    },
    /// A digest, which is used for verification and contains no events.
    Digest,
    /// Not a CloudTrail file, or a file of an unknown kind.
    NotALog(NotALog),
}

/// The reason why a key is not a known CloudTrail file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotALog {
    /// The key ends in a slash. The S3 console creates such objects for folders.
    FolderMarker,
    /// The key ends neither in `.json.gz` nor in `.json`, in any case.
    OtherExtension,
    /// The folders or the file name have CloudTrail's form, but the kind is unknown: CloudTrail may have introduced a new
    /// kind. Such an object is read like a log and counted.
    UnknownKind,
    /// Neither the folders nor the file name follow the grammar.
    Elsewhere,
}

impl NotALog {
    /// Returns the stable name of the reason for metrics.
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
            Self::FolderMarker => "it is a folder marker",
            Self::OtherExtension => "its name ends neither in .json.gz nor in .json",
            Self::UnknownKind => {
                "it is a CloudTrail file of an unknown kind; a newer version of trailhose may support it"
            }
            Self::Elsewhere => {
                "its name is not a CloudTrail file name and it is not in …AWSLogs/ACCOUNT/KIND/REGION/YYYY/MM/DD/"
            }
        })
    }
}

/// Classifies a key. The case of the extension is ignored.
///
/// A file name that follows the grammar decides in any folder, because CloudTrail wrote the name and it moves with the
/// file. For any other name that ends in `.json.gz` or `.json`, the folders decide if they follow the grammar. If both
/// follow the grammar and differ, the file was moved, and the name decides.
pub fn recognize(key: &str) -> Recognized<'_> {
    let name = key.rsplit('/').next().unwrap_or(key);
    if name.is_empty() {
        return Recognized::NotALog(NotALog::FolderMarker);
    }
    let Some(stem) = strip_extension_of_any_case(name) else {
        return Recognized::NotALog(NotALog::OtherExtension);
    };
    // The bytes decide about the compression, because the extension can be wrong. A digest that was decompressed is a
    // digest.
    let parsed = ParsedName::of_stem(stem, FileCompression::Gzip);
    if let Some(ParsedName { account, kind, region, date, .. }) = parsed {
        return classified(kind, account, region, date);
    }
    let kind_in_name = account_and_kind(stem).map(|(_, kind, _)| kind);
    // A file whose name starts like a digest is a digest, in any folder. If it were read as a log, it would be
    // quarantined because it has no `Records`.
    if kind_in_name == Some(Kind::Digest.as_str()) {
        return Recognized::Digest;
    }
    match (KeyFolders::parse(key), kind_in_name) {
        (Some(folder), _) => match Kind::parse(folder.kind) {
            Some(kind) => classified(kind, folder.account, folder.region, folder.date),
            None => Recognized::NotALog(NotALog::UnknownKind),
        },
        (None, Some(kind)) if Kind::parse(kind).is_none() => Recognized::NotALog(NotALog::UnknownKind),
        (None, _) => Recognized::NotALog(NotALog::Elsewhere),
    }
}

fn classified<'k>(kind: Kind, account: &'k str, region: &'k str, date: Date) -> Recognized<'k> {
    if kind.is_log() { Recognized::Log { kind, account, region, date } } else { Recognized::Digest }
}
