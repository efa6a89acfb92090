//! Record: the stored progress of a run. One trait, with one file per adapter.
//!
//! A record is saved when a run starts, when the discovery of a source or of a part of it ends, and when an attempt at a
//! unit ends.
//! Records are not incremented in place, so a message that is received twice is not counted twice: each record has a
//! name of its own ([`RunPart::name`]) and is replaced as a whole. A unit that resumes from a cursor carries the counts
//! of its earlier attempts in its message, so each of its records is the sum of one chain of attempts.
//!
//! # Known race
//!
//! A worker can crash after it sent the rest of its unit and before it acknowledged its message. Then two chains of
//! attempts process the same unit. The first one that finishes is kept ([`RunRecords::save`]) and is complete by
//! itself; the counts of the other chain are not added. Objects that a worker enqueued before it crashed are counted by
//! the next attempt, as enqueued again, leased or done. So the records may report fewer objects than were enqueued, but
//! they never report a key as processed that was not.

#[cfg(feature = "dynamodb")]
pub mod dynamodb;
mod progress;

pub use progress::{AccountProgress, RunProgress, Stage};

use super::run::{Run, RunId, SourceRoot};
use crate::listing::ListingCounts;
use crate::listing::discover::{DetectedLayout, DiscoveryProgress, DiscoveryRest};
use crate::listing::folder_level::names;
use crate::listing::unit::Unit;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Stores the progress of runs.
#[async_trait]
pub trait RunRecords: Send + Sync + std::fmt::Debug {
    /// Saves a new run and returns the stored run. If the ID already exists, the first run is kept, so that a repeated
    /// start returns the same run over the same days, even after midnight.
    ///
    /// # Errors
    /// Fails with the store's error. The run may or may not be saved.
    async fn start(&self, run: &Run) -> Result<Run, RecordError>;

    /// Saves the record of a part. Replaces the part's earlier record unless that one is [`PartOutcome::Done`].
    ///
    /// # Errors
    /// Fails with the store's error. The part may or may not be saved.
    async fn save(&self, run: &RunId, part: &RunPart) -> Result<(), RecordError>;

    /// Returns the run with this ID.
    ///
    /// # Errors
    /// Fails with the store's error.
    async fn run(&self, id: &RunId) -> Result<Option<Run>, RecordError>;

    /// Returns the saved parts of a run, in no particular order. Parts saved within the last second may be missing.
    ///
    /// # Errors
    /// Fails with the store's error.
    async fn parts(&self, id: &RunId) -> Result<Vec<RunPart>, RecordError>;

    /// Returns the latest runs, newest first, at most `most`. Runs started within the last second may be missing.
    ///
    /// # Errors
    /// Fails with the store's error.
    async fn runs(&self, most: usize) -> Result<Vec<Run>, RecordError>;
}

/// An error of saving or reading a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The store did not respond. The request may or may not have taken effect.
    #[error("{0}")]
    Unavailable(String),
    /// A permission is missing; names it.
    #[error("{0}")]
    Denied(String),
    /// The stored data cannot be read: it was written by another program or a newer version.
    #[error("{0}")]
    Unreadable(String),
}

/// A part of a run: the discovery of a source, or a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunPart {
    /// The discovery of a source.
    Discovered(Box<DiscoveryRecord>),
    /// A unit.
    Worked(Box<UnitRecord>),
}

/// The record of the discovery of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveryRecord {
    /// The source.
    pub root: SourceRoot,
    /// How the discovery ended.
    pub outcome: PartOutcome,
    /// The detected layout.
    pub shape: DetectedLayout,
    /// Number of units per account. The empty name is used for folders without an account. After [`MAX_RECORDED_ACCOUNTS`]
    /// accounts, the units of further accounts are counted under [`OTHERS`].
    pub units: BTreeMap<String, u64>,
    /// List requests, each for up to 1,000 entries.
    pub list_requests: u64,
    /// The name of the part of the source, if this record continues another one ([`part_name`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// The names of the parts that continue this one. The source is discovered when all of them are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub continued_by: Vec<String>,
    /// Number of folders that were not listed.
    #[serde(default)]
    pub unvisited: u64,
    /// The first of their names, at most [`MAX_RECORDED_FOLDERS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unvisited_names: Vec<String>,
    /// Number of folders whose listing was denied. A part that continues this one lists them again.
    #[serde(default)]
    pub denied: u64,
    /// The first of their names, at most [`MAX_RECORDED_FOLDERS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied_names: Vec<String>,
}

/// Maximum number of unvisited folders, and of denied ones, that a discovery record names.
pub const MAX_RECORDED_FOLDERS: usize = 10;

/// Returns the name of the part of a source that consists of these folders.
pub fn part_name(rest: &DiscoveryRest) -> String {
    // Strings, numbers and days always serialize to JSON.
    hash(&serde_json::to_string(rest).unwrap_or_default())
}

/// Maximum number of accounts in a discovery record. The record must fit into a DynamoDB item of 400 KB.
pub const MAX_RECORDED_ACCOUNTS: usize = 10_000;

/// The name under which the accounts beyond [`MAX_RECORDED_ACCOUNTS`] are counted.
pub const OTHERS: &str = "others";

/// The record of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitRecord {
    /// The source in which the unit was found.
    pub root: SourceRoot,
    /// The unit, with the cursor that the last attempt reached.
    pub unit: Unit,
    /// How the last attempt ended.
    pub outcome: PartOutcome,
    /// The counts of one chain of attempts, from the start of the unit to the cursor.
    pub counts: ListingCounts,
}

/// How a part ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartOutcome {
    /// The whole part is processed.
    Done,
    /// Time ran out; the rest of the unit is queued as a separate message.
    Requeued,
    /// The attempt failed for this reason. It is retried until the message is in the dead-letter queue.
    Failed(String),
}

impl RunPart {
    /// Returns a name that is unique in the run and the same for all attempts. For a unit it depends on the source,
    /// folder and first day, not on the cursor.
    pub fn name(&self) -> String {
        let (kind, parts) = match self {
            Self::Discovered(found) => {
                ("d", [Some(found.root.to_string()), found.part.clone()].into_iter().flatten().collect())
            }
            Self::Worked(worked) => {
                let Unit { bucket, prefix, day_range, .. } = &worked.unit;
                ("u", vec![worked.root.to_string(), bucket.clone(), prefix.clone(), day_range.from().to_string()])
            }
        };
        // Hashed, because folder names can be up to a kilobyte long, which exceeds the limit of an index key. Line
        // breaks separate the fields; only the prefix could contain one.
        format!("{kind}#{}", hash(&parts.join("\n")))
    }

    /// Returns how the part ended.
    pub fn outcome(&self) -> &PartOutcome {
        match self {
            Self::Discovered(found) => &found.outcome,
            Self::Worked(worked) => &worked.outcome,
        }
    }
}

fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes())[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl UnitRecord {
    /// Returns the account of the unit, or an empty string if its folder does not contain one.
    pub(crate) fn account(&self) -> &str {
        account(&self.unit)
    }
}

impl DiscoveryRecord {
    /// Creates the record of a source that is not discovered yet.
    pub fn of(root: SourceRoot) -> Self {
        Self::of_part(root, None)
    }

    /// Creates the record of a part of a source that is not discovered yet.
    pub fn of_part(root: SourceRoot, part: Option<String>) -> Self {
        let (shape, units) = (DetectedLayout::Unknown, BTreeMap::new());
        Self {
            root,
            outcome: PartOutcome::Requeued,
            shape,
            units,
            list_requests: 0,
            part,
            continued_by: Vec::new(),
            unvisited: 0,
            unvisited_names: Vec::new(),
            denied: 0,
            denied_names: Vec::new(),
        }
    }

    /// Copies the layout, the list requests, and the unvisited and denied folders from the progress of discovery.
    pub(crate) fn update(&mut self, progress: &DiscoveryProgress) {
        self.shape = progress.shape;
        self.list_requests = progress.requests;
        self.unvisited = progress.unvisited_count;
        self.unvisited_names = progress.unvisited.iter().take(MAX_RECORDED_FOLDERS).cloned().collect();
        self.denied = progress.denied.len() as u64;
        self.denied_names = progress.denied.iter().take(MAX_RECORDED_FOLDERS).map(|entry| entry.key.clone()).collect();
    }

    /// Adds a unit.
    pub fn add(&mut self, unit: &Unit) {
        let account = account(unit);
        let known = self.units.contains_key(account) || self.units.len() < MAX_RECORDED_ACCOUNTS;
        *self.units.entry(if known { account } else { OTHERS }.to_owned()).or_default() += 1;
    }
}

fn account(unit: &Unit) -> &str {
    names(&unit.prefix)[0].unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::day_range::DayRange;
    use crate::listing::folder_level::Filters;
    use crate::listing::unit::{BackfillMode, Layout, StateSelection};

    fn unit(prefix: &str, from: &str) -> Unit {
        Unit {
            bucket: "logs".to_owned(),
            prefix: prefix.to_owned(),
            layout: Layout::Days,
            day_range: DayRange::parse(from, "2026-11-20").unwrap(),
            filters: Filters::default(),
            states: StateSelection::default(),
            mode: BackfillMode::default(),
            after: None,
        }
    }

    fn worked(root: &str, unit: Unit) -> RunPart {
        let root = SourceRoot::parse(root).unwrap();
        RunPart::Worked(Box::new(UnitRecord {
            root,
            unit,
            outcome: PartOutcome::Done,
            counts: ListingCounts::default(),
        }))
    }

    #[test]
    fn part_name_is_stable_and_unique() {
        let first = worked("s3://logs", unit("a/", "2026-11-01"));
        let later = Unit { after: Some("a/2026".to_owned()), ..unit("a/", "2026-11-01") };
        assert_eq!(first.name(), worked("s3://logs", later).name());
        let others = [
            worked("s3://logs", unit("b/", "2026-11-01")),
            worked("s3://logs", unit("a/", "2026-11-02")),
            worked("s3://logs/a/", unit("a/", "2026-11-01")),
            RunPart::Discovered(Box::new(DiscoveryRecord::of(SourceRoot::parse("s3://logs").unwrap()))),
            RunPart::Discovered(Box::new(DiscoveryRecord::of(SourceRoot::parse("s3://logs/a").unwrap()))),
        ];
        let mut names: Vec<String> = others.iter().map(RunPart::name).chain([first.name()]).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 6);
    }

    #[test]
    fn discovery_counts_units_by_account_up_to_the_limit() {
        let mut found = DiscoveryRecord::of(SourceRoot::parse("s3://logs").unwrap());
        let mut add = |prefix: &str| found.add(&unit(prefix, "2026-11-01"));
        add("copied/");
        for number in 0..MAX_RECORDED_ACCOUNTS + 1 {
            add(&format!("AWSLogs/{number:012}/CloudTrail/eu-west-1/"));
        }
        add("AWSLogs/000000000000/CloudTrail/us-east-1/");
        assert_eq!((found.units[""], found.units["000000000000"], found.units[OTHERS]), (1, 2, 2));
        assert_eq!(found.units.values().sum::<u64>(), 10_003);
        let item = serde_json::to_string(&RunPart::Discovered(Box::new(found.clone()))).unwrap();
        assert!(item.len() < 350_000, "{}", item.len());
        assert_eq!(serde_json::from_str::<RunPart>(&item).unwrap(), RunPart::Discovered(Box::new(found)));
    }
}
