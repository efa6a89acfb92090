//! Record: what is noted of a run, so that somebody can ask how far it is. One trait, one adapter a file.
//!
//! A run is noted when it begins, each of its sources when its discovery ends, and each unit when an attempt at it
//! ends. Nothing is counted up in place, so no message that comes twice can count twice: a record has a name of its own
//! ([`RunPart::name`]) and is replaced whole. A unit that goes on from a cursor carries what the attempts before it
//! worked off in its message, so each record of it is the sum of one chain of attempts, whichever chain that is.
//!
//! # The race that remains
//!
//! A worker can die between sending the rest of its unit and acknowledging what it had. Then two chains run over the
//! same unit. The first that is done stays ([`RunRecords::save`]), and it is complete by itself: what the other did is
//! not added. What a worker handed in before it died, and could not note, is counted by the attempt after it, as handed
//! in again or as leased or done. The records thus may say less than was sent; they never say that something was looked
//! at that was not.

#[cfg(feature = "dynamodb")]
pub mod dynamodb;
mod progress;

pub use progress::{AccountProgress, RunProgress, Stage};

use super::run::{Run, RunId, SourceRoot};
use crate::listing::Counts;
use crate::listing::discover::Shape;
use crate::listing::folder_level::names;
use crate::listing::unit::Unit;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Where runs are noted.
#[async_trait]
pub trait RunRecords: Send + Sync + std::fmt::Debug {
    /// Notes that a run begins, and returns it as it stands: of two runs of one name the first stays, so that a start
    /// that comes twice is one run over the same days, midnight or not.
    ///
    /// # Errors
    /// The store's. The run may or may not be noted.
    async fn start(&self, run: &Run) -> Result<Run, RecordError>;

    /// Notes how a part of a run ended, in place of what was noted of it before, unless that was [`PartOutcome::Done`].
    ///
    /// # Errors
    /// The store's. The part may or may not be noted.
    async fn save(&self, run: &RunId, part: &RunPart) -> Result<(), RecordError>;

    /// A run by its name.
    ///
    /// # Errors
    /// The store's.
    async fn run(&self, id: &RunId) -> Result<Option<Run>, RecordError>;

    /// The parts noted of a run, in no order. What was noted within the last second may be missing.
    ///
    /// # Errors
    /// The store's.
    async fn parts(&self, id: &RunId) -> Result<Vec<RunPart>, RecordError>;

    /// The last runs, the newest first, at most `most`. What was begun within the last second may be missing.
    ///
    /// # Errors
    /// The store's.
    async fn runs(&self, most: usize) -> Result<Vec<Run>, RecordError>;
}

/// Why something was not noted or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It did not answer: the request may or may not have taken effect.
    #[error("{0}")]
    Unavailable(String),
    /// Permission denied: says which.
    #[error("{0}")]
    Denied(String),
    /// What is stored cannot be read: another program's table, or a newer version's.
    #[error("{0}")]
    Unreadable(String),
}

/// A part of a run that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunPart {
    /// A source was made into units.
    Discovered(DiscoveryRecord),
    /// A unit was worked.
    Worked(Box<UnitRecord>),
}

/// What discovery made of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveryRecord {
    /// The source.
    pub root: SourceRoot,
    /// How it ended.
    pub outcome: PartOutcome,
    /// What the source turned out to be.
    pub shape: Shape,
    /// How many units it made for each account; for the empty name, where a folder says no account. Beyond
    /// [`ACCOUNTS_NOTED`] accounts, the others' are under [`OTHERS`].
    pub units: BTreeMap<String, u64>,
    /// List requests, each of up to 1,000 entries.
    pub list_requests: u64,
}

/// Accounts that a record of a discovery names: with their numbers they must fit an item of 400 KB.
pub const ACCOUNTS_NOTED: usize = 10_000;

/// The name under which the accounts beyond [`ACCOUNTS_NOTED`] are counted.
pub const OTHERS: &str = "others";

/// What the attempts at a unit did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitRecord {
    /// The source under which the unit was found.
    pub root: SourceRoot,
    /// The unit, from the cursor on that the last attempt reached.
    pub unit: Unit,
    /// How the last attempt ended.
    pub outcome: PartOutcome,
    /// What one chain of attempts did, from the unit's beginning to the cursor.
    pub counts: Counts,
}

/// How a part ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartOutcome {
    /// All of it is worked off.
    Done,
    /// Time ran out; the rest of the unit is queued as a separate message.
    #[serde(rename = "put-back")]
    Requeued,
    /// It failed, for this reason, and comes back until it is among the dead letters.
    Failed(String),
}

impl RunPart {
    /// What tells it from the other parts of its run, however often it ends: for a unit its source, folder and first
    /// day, not its cursor.
    pub fn name(&self) -> String {
        let (kind, parts) = match self {
            Self::Discovered(found) => ("d", vec![found.root.to_string()]),
            Self::Worked(worked) => {
                let Unit { bucket, prefix, span, .. } = &worked.unit;
                ("u", vec![worked.root.to_string(), bucket.clone(), prefix.clone(), span.from().to_string()])
            }
        };
        // Folders may be a kilobyte long, which is more than an index takes. No name holds a line break but in S3 keys,
        // where a difference in the bucket or the day would have to be made up for by one.
        let hash = Sha256::digest(parts.join("\n").as_bytes());
        let hex: String = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{kind}#{hex}")
    }

    /// How it ended.
    pub fn outcome(&self) -> &PartOutcome {
        match self {
            Self::Discovered(found) => &found.outcome,
            Self::Worked(worked) => &worked.outcome,
        }
    }
}

impl UnitRecord {
    /// The account it belongs to; empty where its folder says none.
    pub fn account(&self) -> &str {
        account(&self.unit)
    }
}

impl DiscoveryRecord {
    /// Of a source from which nothing is known yet.
    pub fn of(root: SourceRoot) -> Self {
        let (shape, units) = (Shape::Unknown, BTreeMap::new());
        Self { root, outcome: PartOutcome::Requeued, shape, units, list_requests: 0 }
    }

    /// Counts a unit.
    pub fn add(&mut self, unit: &Unit) {
        let account = account(unit);
        let known = self.units.contains_key(account) || self.units.len() < ACCOUNTS_NOTED;
        *self.units.entry(if known { account } else { OTHERS }.to_owned()).or_default() += 1;
    }
}

fn account(unit: &Unit) -> &str {
    names(&unit.prefix)[0].unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::folder_level::Filters;
    use crate::listing::span::Span;
    use crate::listing::unit::{Act, Layout, Pick};

    fn unit(prefix: &str, from: &str) -> Unit {
        Unit {
            bucket: "logs".to_owned(),
            prefix: prefix.to_owned(),
            layout: Layout::Days,
            span: Span::parse(from, "2026-11-20").unwrap(),
            filters: Filters::default(),
            pick: Pick::default(),
            act: Act::default(),
            after: None,
        }
    }

    fn worked(root: &str, unit: Unit) -> RunPart {
        let root = SourceRoot::parse(root).unwrap();
        RunPart::Worked(Box::new(UnitRecord { root, unit, outcome: PartOutcome::Done, counts: Counts::default() }))
    }

    #[test]
    fn a_part_keeps_its_name_over_its_attempts_and_shares_it_with_no_other() {
        let first = worked("s3://logs", unit("a/", "2026-11-01"));
        let later = Unit { after: Some("a/2026".to_owned()), ..unit("a/", "2026-11-01") };
        assert_eq!(first.name(), worked("s3://logs", later).name());
        let others = [
            worked("s3://logs", unit("b/", "2026-11-01")),
            worked("s3://logs", unit("a/", "2026-11-02")),
            worked("s3://logs/a/", unit("a/", "2026-11-01")),
            RunPart::Discovered(DiscoveryRecord::of(SourceRoot::parse("s3://logs").unwrap())),
            RunPart::Discovered(DiscoveryRecord::of(SourceRoot::parse("s3://logs/a").unwrap())),
        ];
        let mut names: Vec<String> = others.iter().map(RunPart::name).chain([first.name()]).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 6);
    }

    #[test]
    fn a_discovery_counts_units_by_account_and_those_beyond_the_bound_together() {
        let mut found = DiscoveryRecord::of(SourceRoot::parse("s3://logs").unwrap());
        let mut add = |prefix: &str| found.add(&unit(prefix, "2026-11-01"));
        add("copied/");
        for number in 0..ACCOUNTS_NOTED + 1 {
            add(&format!("AWSLogs/{number:012}/CloudTrail/eu-west-1/"));
        }
        add("AWSLogs/000000000000/CloudTrail/us-east-1/");
        assert_eq!((found.units[""], found.units["000000000000"], found.units[OTHERS]), (1, 2, 2));
        assert_eq!(found.units.values().sum::<u64>(), 10_003);
        let item = serde_json::to_string(&RunPart::Discovered(found.clone())).unwrap();
        assert!(item.len() < 350_000, "{}", item.len());
        assert_eq!(serde_json::from_str::<RunPart>(&item).unwrap(), RunPart::Discovered(found));
    }
}
