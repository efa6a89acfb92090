//! Place: what a folder of a bucket is in CloudTrail's layout, told from its name alone.
//!
//! A folder is what a key in it would say. Each question below completes the folder with a stand-in for the rest and
//! asks the key grammar, so that there is one grammar, and the free part before `AWSLogs/` may hold slashes or even
//! `AWSLogs`.

use crate::object::key::{Kind, NotALog, Recognized, recognize};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

const ACCOUNT: &str = "000000000000/";
const KIND: &str = "CloudTrail/";
const REGION: &str = "us-east-1/";
const FILE: &str = "2000/01/01/-.json";

/// How deep in the layout a folder lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FolderLevel {
    /// `…AWSLogs/` or `…AWSLogs/o-organization/`: accounts and organisations lie here.
    Logs,
    /// `…/ACCOUNT/`: kinds lie here.
    Account,
    /// `…/ACCOUNT/KIND/`: regions lie here.
    Kind,
    /// `…/ACCOUNT/KIND/REGION/`: days lie here.
    Region,
}

impl FolderLevel {
    /// What `folder`, which ends in a slash, is; nothing if it is none of CloudTrail's.
    pub fn of(folder: &str) -> Option<Self> {
        let is = |rest: &[&str]| match recognize(&format!("{folder}{}", rest.concat())) {
            Recognized::Log { .. } | Recognized::Digest | Recognized::NotALog(NotALog::UnknownKind) => true,
            Recognized::NotALog(_) => false,
        };
        let places = [
            (Self::Region, &[FILE] as &[_]),
            (Self::Kind, &[REGION, FILE]),
            (Self::Account, &[KIND, REGION, FILE]),
            (Self::Logs, &[ACCOUNT, KIND, REGION, FILE]),
        ];
        places.into_iter().find(|(_, rest)| is(rest)).map(|(place, _)| place)
    }
}

/// The account, kind and region of a folder, as far as its place says them.
pub fn names(folder: &str) -> [Option<&str>; 3] {
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

/// Which accounts, kinds and regions are looked at. An empty set is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filters {
    /// Accounts: 12 digits each.
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
    /// Whether nothing is left out.
    pub fn is_all(&self) -> bool {
        self.accounts.is_empty() && self.kinds.is_empty() && self.regions.is_empty()
    }

    /// Whether something that is asked for may lie in `folder`. Digests are never asked for: they hold no events.
    pub fn admit_folder(&self, folder: &str) -> bool {
        let [account, kind, region] = names(folder);
        let asked = |set: &BTreeSet<String>, name: Option<&str>| name.is_none_or(|name| admits(set, name));
        asked(&self.accounts, account)
            && asked(&self.kinds, kind)
            && asked(&self.regions, region)
            && kind != Some(Kind::Digest.as_str())
    }

    /// Whether a file of these is asked for.
    pub fn admit(&self, account: &str, kind: Kind, region: &str) -> bool {
        admits(&self.accounts, account) && admits(&self.kinds, kind.as_str()) && admits(&self.regions, region)
    }
}

fn admits(set: &BTreeSet<String>, name: &str) -> bool {
    set.is_empty() || set.contains(name)
}

/// What a listed key is to the backfill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyClass {
    /// To be delivered, if it was not; its day of delivery, where it is known.
    Selected(Option<Date>),
    /// A log that was not asked for.
    Excluded,
    /// No log.
    NotALog,
}

/// Sorts a key as ingestion would.
pub(crate) fn classify(key: &str, filters: &Filters) -> KeyClass {
    match recognize(key) {
        Recognized::Log { kind, account, region, date } => match filters.admit(account, kind, region) {
            true => KeyClass::Selected(Some(date)),
            false => KeyClass::Excluded,
        },
        // Something new of CloudTrail's is handed in, as a notification of it would be: ingestion looks into it.
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
        fn every_folder_of_the_layout_is_known_whatever_precedes_it(
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
    fn a_folder_of_others_is_none_of_cloudtrails() {
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
    fn a_filter_prunes_as_early_as_the_folder_tells() {
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
