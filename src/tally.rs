//! Tally: what became of many objects, in numbers that add up. Pure.

use crate::ingest::{Deferred, Outcome, IngestReport};
use serde::Serialize;
use std::collections::BTreeMap;

/// What became of many objects. An object's events are counted when it is done, not before: a number here is never
/// ahead of the write it describes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Objects whose events are all delivered, by this run.
    pub objects: u64,
    /// Objects that were done before.
    pub already: u64,
    /// Objects that are no logs, by kind.
    pub skipped: BTreeMap<String, u64>,
    /// Notices that name no object to read, by kind.
    pub ignored: BTreeMap<String, u64>,
    /// Objects set aside by this run, by kind of reason.
    pub quarantined: BTreeMap<String, u64>,
    /// Objects met that were set aside before.
    pub quarantined_before: u64,
    /// Objects that must come back though nothing failed.
    pub later: u64,
    /// Objects that failed and must come back.
    pub failed: u64,
    /// Messages that were not understood.
    pub not_understood: u64,
    /// What was done with the objects done.
    #[serde(flatten)]
    pub done: IngestReport,
}

impl Tally {
    /// Counts one object's outcome.
    pub fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Done(report) => {
                self.objects += 1;
                self.done.merge(report);
            }
            Outcome::AlreadyDone => self.already += 1,
            Outcome::Skipped(kind) => *self.skipped.entry((*kind).to_owned()).or_default() += 1,
            Outcome::Quarantined(aside) if aside.before => self.quarantined_before += 1,
            Outcome::Quarantined(aside) => *self.quarantined.entry(aside.kind.clone()).or_default() += 1,
            Outcome::Deferred(Deferred::Leased { .. } | Deferred::OwnerInProgress { .. } | Deferred::OutOfTime) => self.later += 1,
            Outcome::Failed(_) => self.failed += 1,
        }
    }

    /// Counts a notice that names no object to read.
    pub fn ignore(&mut self, kind: &str) {
        *self.ignored.entry(kind.to_owned()).or_default() += 1;
    }

    /// Adds what another tally counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, others) in [
            (&mut self.skipped, &other.skipped),
            (&mut self.ignored, &other.ignored),
            (&mut self.quarantined, &other.quarantined),
        ] {
            for (kind, count) in others {
                *mine.entry(kind.clone()).or_default() += count;
            }
        }
        macro_rules! sum {
            ($($field:ident)*) => { $(self.$field += other.$field;)* };
        }
        sum!(objects already quarantined_before later failed not_understood);
        self.done.merge(&other.done);
    }

    /// Objects set aside by this run.
    pub fn quarantined_by_this_run(&self) -> u64 {
        self.quarantined.values().sum()
    }
}
