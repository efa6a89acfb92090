//! Tally: what became of many objects, in numbers that add up. Pure.

use crate::ingest::{Later, Outcome, Report};
use crate::ledger::row::Counts;
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
    /// Events of the objects done. *seen = delivered + duplicate + filtered + oversize*, always.
    pub seen: u64,
    /// Events delivered.
    pub delivered: u64,
    /// Events not delivered because they were before, or stand twice in their object.
    pub duplicate: u64,
    /// Events that the filter dropped.
    pub filtered: u64,
    /// Events set aside for their length, a pointer delivered in their place.
    pub oversize: u64,
    /// Of the duplicates, those whose first copy stands in the same object.
    pub repeats: u64,
    /// Events that share an ID with another of different content.
    pub conflicts: u64,
    /// Events delivered in the stead of a stalled owner.
    pub helped: u64,
    /// Calls to the sink.
    pub calls: u64,
    /// Bytes of the objects done, as stored.
    pub stored_bytes: u64,
    /// Bytes of the objects done, decompressed.
    pub json_bytes: u64,
    /// Bytes given to the sink.
    pub sent_bytes: u64,
    /// `eventTime` of the newest event of the objects done, in seconds since 1970.
    pub newest: Option<i64>,
}

impl Tally {
    /// Counts one object's outcome.
    pub fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Done(report) => self.add_report(report),
            Outcome::Already => self.already += 1,
            Outcome::Skipped(kind) => *self.skipped.entry((*kind).to_owned()).or_default() += 1,
            Outcome::Quarantined(aside) if aside.before => self.quarantined_before += 1,
            Outcome::Quarantined(aside) => *self.quarantined.entry(aside.kind.clone()).or_default() += 1,
            Outcome::Later(Later::Leased { .. } | Later::OwnerAtWork { .. } | Later::OutOfTime) => self.later += 1,
            Outcome::Failed(_) => self.failed += 1,
        }
    }

    /// Counts a notice that names no object to read.
    pub fn ignore(&mut self, kind: &str) {
        *self.ignored.entry(kind.to_owned()).or_default() += 1;
    }

    fn add_report(&mut self, report: &Report) {
        let Counts { seen, delivered, duplicate, filtered, oversize } = report.counts;
        self.objects += 1;
        self.seen += seen;
        self.delivered += delivered;
        self.duplicate += duplicate;
        self.filtered += filtered;
        self.oversize += oversize;
        self.repeats += report.repeats;
        self.conflicts += report.conflicts;
        self.helped += report.helped;
        self.calls += report.calls;
        self.stored_bytes += report.stored_bytes;
        self.json_bytes += report.json_bytes;
        self.sent_bytes += report.sent_bytes;
        self.newest = self.newest.max(report.newest);
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
        sum!(objects already quarantined_before later failed not_understood seen delivered duplicate filtered oversize);
        sum!(repeats conflicts helped calls stored_bytes json_bytes sent_bytes);
        self.newest = self.newest.max(other.newest);
    }

    /// Objects set aside by this run.
    pub fn set_aside(&self) -> u64 {
        self.quarantined.values().sum()
    }
}
