//! Tally: the counts of one invocation of the backfill function.

use crate::listing::ListingCounts;

/// The counts of one invocation. A unit's objects are counted when its attempt ends, also when it fails.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackfillTally {
    /// Runs started.
    pub runs: u64,
    /// Sources whose discovery ended, or is continued by further tasks.
    pub discovered: u64,
    /// Tasks sent that continue a discovery.
    pub continued: u64,
    /// Folders that discovery did not list.
    pub unvisited: u64,
    /// Folders that discovery could not list because the listing is denied.
    pub denied: u64,
    /// Sources without units.
    pub empty: u64,
    /// Units found.
    pub units: u64,
    /// Units that are completely processed.
    pub done: u64,
    /// Units requeued with a cursor.
    pub requeued: u64,
    /// Units requeued with a delay because other units use the budget.
    pub awaiting_budget: u64,
    /// Tasks that failed and are retried.
    pub failed: u64,
    /// Invalid messages.
    pub invalid_messages: u64,
    /// The counts of the attempts at units, and the list requests of discoveries.
    pub counts: ListingCounts,
}

impl BackfillTally {
    /// Adds the counts of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.runs += other.runs;
        self.discovered += other.discovered;
        self.continued += other.continued;
        self.unvisited += other.unvisited;
        self.denied += other.denied;
        self.empty += other.empty;
        self.units += other.units;
        self.done += other.done;
        self.requeued += other.requeued;
        self.awaiting_budget += other.awaiting_budget;
        self.failed += other.failed;
        self.invalid_messages += other.invalid_messages;
        self.counts.merge(&other.counts);
    }
}
