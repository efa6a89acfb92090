//! Tally: what one invocation of the backfill did, in numbers.

use crate::listing::Counts;

/// What one invocation did. A unit's objects are counted when its attempt ends, whichever way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackfillTally {
    /// Runs begun.
    pub runs: u64,
    /// Sources made into units.
    pub discovered: u64,
    /// Sources in which there was nothing to look at.
    pub empty: u64,
    /// Units made of them.
    pub units: u64,
    /// Units worked off.
    pub done: u64,
    /// Units that went back to the queue with a cursor.
    pub requeued: u64,
    /// Tasks that failed and come back.
    pub failed: u64,
    /// Messages that were not understood.
    pub not_understood: u64,
    /// What the attempts at units saw and did, and the list requests of discoveries.
    pub counts: Counts,
}

impl BackfillTally {
    /// Adds what another counted.
    pub fn merge(&mut self, other: &Self) {
        self.runs += other.runs;
        self.discovered += other.discovered;
        self.empty += other.empty;
        self.units += other.units;
        self.done += other.done;
        self.requeued += other.requeued;
        self.failed += other.failed;
        self.not_understood += other.not_understood;
        self.counts.merge(&other.counts);
    }
}
