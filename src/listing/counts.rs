//! Counts: the numbers of objects and requests of a backfill.

use serde::{Deserialize, Serialize};

/// The counts of one attempt at a unit, or the sum of several.
///
/// Keys are counted when the cursor passes them. Each attempt resumes where the previous one stopped, so the counts of
/// all attempts add up to the unit: `listed = not_logs + excluded + done + leased + quarantined + archived +
/// kms + missing + unfinished`. Keys are counted again if an attempt starts from an older cursor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListingCounts {
    /// Keys listed.
    pub listed: u64,
    /// Keys that are not logs: digests, folder markers, other files.
    pub not_logs: u64,
    /// Logs in a flat folder whose account, kind, region or day the selection excludes.
    pub excluded: u64,
    /// Objects whose events are all delivered.
    pub done: u64,
    /// Objects that a worker is processing.
    pub leased: u64,
    /// Objects that are quarantined for any other reason than the following two.
    pub quarantined: u64,
    /// Objects that are archived and not done. They are reopened when they are restored.
    pub archived: u64,
    /// Objects that are quarantined because their KMS key cannot be used. They are reopened when it can be used again.
    pub kms: u64,
    /// Objects whose current version has no ledger row.
    pub missing: u64,
    /// Missing objects that are older than the ledger's retention. Their rows may have expired, so ingesting them may
    /// deliver their events again.
    pub past_retention: u64,
    /// Objects that a worker started and did not finish.
    pub unfinished: u64,
    /// Objects enqueued; in a dry run, objects that would have been enqueued.
    pub sent: u64,
    /// Stored bytes of the `sent` objects.
    pub bytes: u64,
    /// Messages in which the objects were enqueued.
    pub messages: u64,
    /// List requests, each for up to 1,000 keys.
    pub list_requests: u64,
    /// Ledger rows read.
    pub ledger_reads: u64,
    /// GET requests that tested whether a KMS key can be used again.
    pub key_probes: u64,
}

impl ListingCounts {
    /// Returns the number of objects that matched the selection, in any state. Files that are not logs do not match.
    pub fn matched(&self) -> u64 {
        let Self { done, leased, quarantined, archived, kms, missing, unfinished, .. } = self;
        done + leased + quarantined + archived + kms + missing + unfinished
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.listed += other.listed;
        self.not_logs += other.not_logs;
        self.excluded += other.excluded;
        self.done += other.done;
        self.leased += other.leased;
        self.quarantined += other.quarantined;
        self.archived += other.archived;
        self.kms += other.kms;
        self.missing += other.missing;
        self.past_retention += other.past_retention;
        self.unfinished += other.unfinished;
        self.sent += other.sent;
        self.bytes += other.bytes;
        self.messages += other.messages;
        self.list_requests += other.list_requests;
        self.ledger_reads += other.ledger_reads;
        self.key_probes += other.key_probes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_of_the_selection_matches_in_any_state() {
        let states: [fn(&mut ListingCounts) -> &mut u64; 7] = [
            |counts| &mut counts.done,
            |counts| &mut counts.leased,
            |counts| &mut counts.quarantined,
            |counts| &mut counts.archived,
            |counts| &mut counts.kms,
            |counts| &mut counts.missing,
            |counts| &mut counts.unfinished,
        ];
        for state in states {
            let mut counts = ListingCounts { listed: 5, not_logs: 2, excluded: 2, ..ListingCounts::default() };
            *state(&mut counts) = 1;
            assert_eq!(counts.matched(), 1, "{counts:?}");
        }
    }
}
