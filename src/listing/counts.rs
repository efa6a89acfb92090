//! Counts: what a backfill saw and did.

use serde::{Deserialize, Serialize};

/// Of one attempt at a unit, or of many added up.
///
/// Keys are counted when the cursor passes them, so that the attempts at a unit, each going on where the one before
/// stopped, add up to the unit: `listed = no_logs + not_asked + done + leased + quarantined + missing + unfinished`.
/// What is begun from an old cursor again is counted again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Keys.
    pub listed: u64,
    /// Keys that are no logs: digests, folder markers, files of others.
    pub no_logs: u64,
    /// Logs of other accounts, kinds, regions or days, in a flat folder.
    pub not_asked: u64,
    /// Objects of which every event is delivered.
    pub done: u64,
    /// Objects that somebody is at work on.
    pub leased: u64,
    /// Objects that are set aside.
    pub quarantined: u64,
    /// Objects that the ledger does not know in this version.
    pub missing: u64,
    /// Of these, objects delivered to the bucket before the ledger's memory begins: they may be done and forgotten, and
    /// handing them in may repeat their events.
    pub forgotten: u64,
    /// Objects that somebody left half done.
    pub unfinished: u64,
    /// Objects handed in, or that would have been.
    pub sent: u64,
    /// Their stored bytes.
    pub bytes: u64,
    /// Messages in which they were handed in.
    pub messages: u64,
    /// List requests, each of up to 1,000 keys.
    pub list_requests: u64,
    /// Ledger rows read.
    pub ledger_reads: u64,
}

impl Counts {
    /// Adds another's.
    pub fn merge(&mut self, other: &Self) {
        self.listed += other.listed;
        self.no_logs += other.no_logs;
        self.not_asked += other.not_asked;
        self.done += other.done;
        self.leased += other.leased;
        self.quarantined += other.quarantined;
        self.missing += other.missing;
        self.forgotten += other.forgotten;
        self.unfinished += other.unfinished;
        self.sent += other.sent;
        self.bytes += other.bytes;
        self.messages += other.messages;
        self.list_requests += other.list_requests;
        self.ledger_reads += other.ledger_reads;
    }
}
