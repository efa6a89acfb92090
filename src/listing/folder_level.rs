//! Folder level: classifies a folder of CloudTrail's layout by its name alone.
//!
//! Each check completes the folder's name to a sample key and applies the key grammar. So there is only one grammar,
//! and the free prefix before `AWSLogs/` may contain slashes or even `AWSLogs`.

use crate::object::key::{Kind, NotALog, Recognized, recognize};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

// The parts of a sample key.
const ACCOUNT: &str = "000000000000/";
const KIND: &str = "CloudTrail/";
const REGION: &str = "us-east-1/";
const FILE: &str = "2000/01/01/-.json";

/// The level of a folder in CloudTrail's layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum FolderLevel {
    /// `…AWSLogs/` or `…AWSLogs/o-organization/`: contains accounts and organizations.
    Logs,
    /// `…/ACCOUNT/`: contains kinds.
    Account,
    /// `…/ACCOUNT/KIND/`: contains regions.
    Kind,
    /// `…/ACCOUNT/KIND/REGION/`: contains days.
    Region,
}

impl FolderLevel {
    /// Returns the level of `folder`, which must end in a slash, or `None` if it is not in CloudTrail's layout.
    pub(crate) fn of(folder: &str) -> Option<Self> {
        let is_valid = |rest: &[&str]| match recognize(&format!("{folder}{}", rest.concat())) {
            Recognized::Log { .. } | Recognized::Digest | Recognized::NotALog(NotALog::UnknownKind) => true,
            Recognized::NotALog(_) => false,
        };
        let levels = [
            (Self::Region, &[FILE] as &[_]),
            (Self::Kind, &[REGION, FILE]),
            (Self::Account, &[KIND, REGION, FILE]),
            (Self::Logs, &[ACCOUNT, KIND, REGION, FILE]),
        ];
        levels.into_iter().find(|(_, rest)| is_valid(rest)).map(|(level, _)| level)
    }
}

/// Returns the account, kind and region of a folder, as far as its level contains them.
pub(crate) fn names(folder: &str) -> [Option<&str>; 3] {
    let depth = match FolderLevel::of(folder) {
        None | Some(FolderLevel::Logs) => 0,
        Some(FolderLevel::Account) => 1,
        Some(FolderLevel::Kind) => 2,
        Some(FolderLevel::Region) => 3,
    };
    let mut names = [None; 3];
    let parts = folder.trim_end_matches('/').rsplit('/');
    for (name, part) in names[..depth].iter_mut().rev().zip(parts) {
        *name = Some(part);
    }
    names
}

/// Which accounts, kinds and regions are included. An empty set includes all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filters {
    /// Account IDs, 12 digits each.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub accounts: BTreeSet<String>,
    /// Kinds, as their folders are named: `CloudTrail`, `CloudTrail-Insight`, …
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub kinds: BTreeSet<String>,
    /// Regions.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub regions: BTreeSet<String>,
}

impl Filters {
    /// Returns whether nothing is excluded.
    pub fn is_all(&self) -> bool {
        self.accounts.is_empty() && self.kinds.is_empty() && self.regions.is_empty()
    }

    /// Returns whether `folder` may contain included objects. Digest folders are never included: they contain no
    /// events.
    pub(crate) fn admit_folder(&self, folder: &str) -> bool {
        let [account, kind, region] = names(folder);
        let includes = |set: &BTreeSet<String>, name: Option<&str>| name.is_none_or(|name| admits(set, name));
        includes(&self.accounts, account)
            && includes(&self.kinds, kind)
            && includes(&self.regions, region)
            && kind != Some(Kind::Digest.as_str())
    }

    /// Returns whether a file of this account, kind and region is included.
    pub(crate) fn admit(&self, account: &str, kind: Kind, region: &str) -> bool {
        admits(&self.accounts, account) && admits(&self.kinds, kind.as_str()) && admits(&self.regions, region)
    }
}

fn admits(set: &BTreeSet<String>, name: &str) -> bool {
    set.is_empty() || set.contains(name)
}

/// The class of a listed key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyClass {
    /// A selected log, with its delivery day if the key contains it.
    Selected(Option<Date>),
    /// A log that the filters exclude.
    Excluded,
    /// A key that is not a log.
    NotALog,
}

/// Classifies a key in the same way as ingestion.
pub(crate) fn classify(key: &str, filters: &Filters) -> KeyClass {
    match recognize(key) {
        Recognized::Log { kind, account, region, date } => match filters.admit(account, kind, region) {
            true => KeyClass::Selected(Some(date)),
            false => KeyClass::Excluded,
        },
        // A kind of CloudTrail file that is not known yet is selected, as it is when a notification announces it:
        // ingestion reads the file.
        Recognized::NotALog(NotALog::UnknownKind) => match filters.is_all() {
            true => KeyClass::Selected(None),
            false => KeyClass::Excluded,
        },
        Recognized::Digest | Recognized::NotALog(_) => KeyClass::NotALog,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_level_is_recognized_under_any_prefix(
            prefix in "([a-zA-Z0-9=.-]{1,9}/|AWSLogs/|o-abc123/){0,4}",
            organization in "(o-[a-z0-9]{10}/)?",
            account in "[0-9]{12}",
            kind in "CloudTrail(-Insight|-NetworkActivity|-Aggregated|-Digest|-SomethingNew)?",
            region in "[a-z]{2}-(gov-|iso-)?[a-z]{4,9}-[1-9]",
        ) {
            let logs = format!("{prefix}AWSLogs/{organization}");
            prop_assert_eq!(FolderLevel::of(&logs), Some(FolderLevel::Logs));
            prop_assert_eq!(FolderLevel::of(&format!("{logs}{account}/")), Some(FolderLevel::Account));
            prop_assert_eq!(FolderLevel::of(&format!("{logs}{account}/{kind}/")), Some(FolderLevel::Kind));
            let folder = format!("{logs}{account}/{kind}/{region}/");
            prop_assert_eq!(FolderLevel::of(&folder), Some(FolderLevel::Region));
            prop_assert_eq!(names(&folder), [Some(account.as_str()), Some(kind.as_str()), Some(region.as_str())]);
            prop_assert_eq!(names(&logs), [None; 3]);
        }
    }

    #[test]
    fn other_folders_have_no_level() {
        for folder in [
            "",
            "logs/",
            "AWSLogs",
            "my-AWSLogs/",
            "AWSLogs/archive/",
            "AWSLogs/o-abc/o-def/",
            "AWSLogs/111122223333/vpcflowlogs/",
            "AWSLogs/111122223333/Config/eu-west-1/",
            "AWSLogs/111122223333/CloudTrail/somewhere/",
            "AWSLogs/11112222333/",
            "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/",
        ] {
            assert_eq!(FolderLevel::of(folder), None, "{folder}");
        }
    }

    #[test]
    fn filters_exclude_a_folder_at_the_first_level_that_decides() {
        let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let filters = Filters { accounts: set(&["111122223333"]), regions: set(&["eu-west-1"]), ..Filters::default() };
        assert!(filters.admit_folder("AWSLogs/"));
        assert!(filters.admit_folder("AWSLogs/111122223333/"));
        assert!(!filters.admit_folder("AWSLogs/444455556666/"));
        assert!(filters.admit_folder("AWSLogs/111122223333/CloudTrail-Insight/"));
        assert!(!filters.admit_folder("AWSLogs/111122223333/CloudTrail/us-east-1/"));
        assert!(!Filters::default().admit_folder("AWSLogs/111122223333/CloudTrail-Digest/"));
    }
}
