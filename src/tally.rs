//! Counts of the outcomes of many objects.

use crate::ingest::{Deferred, IngestReport, Outcome};
use crate::ledger::model::quarantine::QuarantineKind;
use serde::Serialize;
use std::collections::BTreeMap;

/// Counts of the outcomes of many objects. The events of an object are counted only when it is done, so the counts
/// contain no event whose delivery the ledger does not record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Objects completed by this run.
    pub objects: u64,
    /// Objects that an earlier run completed.
    pub already_done: u64,
    /// Objects that are not CloudTrail logs, by kind.
    pub skipped: BTreeMap<String, u64>,
    /// Notifications that contain no object to read, by kind.
    pub ignored: BTreeMap<String, u64>,
    /// Objects quarantined by this run, by kind of reason.
    pub quarantined: BTreeMap<String, u64>,
    /// Objects that an earlier run quarantined, without those of `waiting_before` and the accepted ones.
    pub quarantined_before: u64,
    /// Objects that an earlier run quarantined as archived or because their KMS key cannot be used, by kind. Discovery
    /// reopens them when the cause is gone.
    pub waiting_before: BTreeMap<String, u64>,
    /// Objects whose quarantine a person accepted, without those of `waiting_before`.
    pub quarantined_accepted: u64,
    /// Deferred objects, which are retried although nothing failed.
    pub deferred: u64,
    /// Objects that failed and are retried.
    pub failed: u64,
    /// Messages of an unknown form.
    pub invalid_messages: u64,
    /// The totals of the objects completed by this run.
    #[serde(flatten)]
    pub done: IngestReport,
}

impl Tally {
    /// Counts the outcome of one object.
    pub(crate) fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Done(report) => {
                self.objects += 1;
                self.done.merge(report);
            }
            Outcome::AlreadyDone => self.already_done += 1,
            Outcome::Skipped(kind) => *self.skipped.entry((*kind).to_owned()).or_default() += 1,
            Outcome::Quarantined(quarantined)
                if quarantined.by_earlier_attempt && quarantined.is_reopened_by_discovery() =>
            {
                *self.waiting_before.entry(quarantined.kind.clone()).or_default() += 1;
            }
            Outcome::Quarantined(quarantined) if quarantined.accepted.is_some() => self.quarantined_accepted += 1,
            Outcome::Quarantined(quarantined) if quarantined.by_earlier_attempt => self.quarantined_before += 1,
            Outcome::Quarantined(quarantined) => *self.quarantined.entry(quarantined.kind.clone()).or_default() += 1,
            Outcome::Deferred(Deferred::Leased { .. } | Deferred::OwnerInProgress { .. } | Deferred::OutOfTime) => {
                self.deferred += 1
            }
            Outcome::Failed(_) => self.failed += 1,
        }
    }

    /// Counts a notification that contains no object to read.
    pub(crate) fn ignore(&mut self, kind: &str) {
        *self.ignored.entry(kind.to_owned()).or_default() += 1;
    }

    /// Adds the counts of another tally.
    pub fn merge(&mut self, other: &Self) {
        for (own, other_counts) in [
            (&mut self.skipped, &other.skipped),
            (&mut self.ignored, &other.ignored),
            (&mut self.waiting_before, &other.waiting_before),
            (&mut self.quarantined, &other.quarantined),
        ] {
            for (kind, count) in other_counts {
                *own.entry(kind.clone()).or_default() += count;
            }
        }
        macro_rules! sum {
            ($($field:ident)*) => { $(self.$field += other.$field;)* };
        }
        sum!(objects already_done quarantined_before quarantined_accepted deferred failed invalid_messages);
        self.done.merge(&other.done);
    }

    /// Returns the number of objects that matched the selection, with any outcome. Files that are not logs do not
    /// match.
    pub fn matched(&self) -> u64 {
        let quarantined = self.quarantined_by_this_run()
            + self.quarantined_before
            + self.quarantined_accepted
            + self.waiting_before.values().sum::<u64>();
        self.objects + self.already_done + quarantined + self.deferred + self.failed
    }

    /// Returns the number of objects of this kind that are quarantined, by this run or an earlier one, and that
    /// discovery reopens.
    pub fn waiting(&self, kind: &str) -> u64 {
        [&self.quarantined, &self.waiting_before].iter().filter_map(|counts| counts.get(kind)).sum()
    }

    /// Returns the number of quarantined objects, by this run or an earlier one, that stay quarantined until a person
    /// retries them.
    pub fn quarantined_until_retried(&self) -> u64 {
        let waiting = |kind: &str| [QuarantineKind::ARCHIVED, QuarantineKind::KMS].contains(&kind);
        let own = self.quarantined.iter().filter(|(kind, _)| !waiting(kind)).map(|(_, count)| count);
        self.quarantined_before + own.sum::<u64>()
    }

    /// Returns the number of objects quarantined by this run.
    pub fn quarantined_by_this_run(&self) -> u64 {
        self.quarantined.values().sum()
    }
}
