//! Reconcile: what of a page is in the bucket and not in the ledger.

use super::counts::Counts;
use super::folder_level::{Sort, sort};
use super::unit::{Layout, Pick, Unit};
use crate::ledger::store::StoreError;
use crate::ledger::{Ledger, State};
use crate::object::{Object, ObjectRef};
use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};

/// A listed key and what is to be done about it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) at: ObjectRef,
    pub(crate) verdict: Verdict,
}

/// What is known of a listed key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    NoLog,
    NotAsked,
    /// What the ledger says of it, and whether it is older than the ledger's memory.
    Log {
        state: State,
        old: bool,
    },
}

impl Seen {
    /// Whether it is handed in: every object that is not done or quarantined and not under a live lease, and on request
    /// the quarantined.
    pub(crate) fn is_picked(&self, pick: Pick) -> bool {
        match self.verdict {
            Verdict::Log { state: State::Absent | State::Unfinished, .. } => true,
            Verdict::Log { state: State::Quarantined, .. } => pick == Pick::UnfinishedAndQuarantined,
            _ => false,
        }
    }

    /// Counts it, once it is worked off.
    pub(crate) fn count(&self, counts: &mut Counts) {
        counts.listed += 1;
        match self.verdict {
            Verdict::NoLog => counts.no_logs += 1,
            Verdict::NotAsked => counts.not_asked += 1,
            Verdict::Log { state: State::Absent, old } => {
                counts.missing += 1;
                counts.forgotten += u64::from(old);
            }
            Verdict::Log { state: State::Unfinished, .. } => counts.unfinished += 1,
            Verdict::Log { state: State::Leased { .. }, .. } => counts.leased += 1,
            Verdict::Log { state: State::Done, .. } => counts.done += 1,
            Verdict::Log { state: State::Quarantined, .. } => counts.quarantined += 1,
        }
    }
}

/// Holds a page against the ledger.
///
/// The view is stale as soon as it is read, and need not be more: an object that is finished meanwhile is handed in and
/// found done, at the price of one write; one that is found done, is done.
pub(crate) async fn reconcile(ledger: &Ledger, unit: &Unit, page: Vec<ObjectRef>) -> Result<Vec<Seen>, StoreError> {
    let memory = memory_begins(ledger);
    let sorts: Vec<Sort> = page.iter().map(|at| wanted(at, unit)).collect();
    let asked: Vec<Object> = page
        .iter()
        .zip(&sorts)
        .filter(|(_, sort)| matches!(sort, Sort::Wanted(_)))
        .filter_map(|(at, _)| at.object())
        .collect();
    let mut states = ledger.states(&asked).await?.into_iter();
    let judge = |(at, sort): (ObjectRef, Sort)| {
        let verdict = match sort {
            Sort::NoLog => Verdict::NoLog,
            Sort::NotAsked => Verdict::NotAsked,
            Sort::Wanted(day) => {
                // Listed without an ETag, it cannot be looked up: it is handed in, and ingestion asks for its version.
                let state = at.etag.as_ref().and_then(|_| states.next()).unwrap_or(State::Absent);
                Verdict::Log { state, old: day.is_some_and(|day| day < memory) }
            }
        };
        Seen { at, verdict }
    };
    Ok(page.into_iter().zip(sorts).map(judge).collect())
}

fn wanted(at: &ObjectRef, unit: &Unit) -> Sort {
    match (sort(&at.key, &unit.filters), unit.layout) {
        // Nothing but its name says when it was delivered.
        (Sort::Wanted(Some(day)), Layout::Flat) if !unit.span.contains(day) => Sort::NotAsked,
        (sort, _) => sort,
    }
}

/// Rows of objects delivered before this day may have expired.
fn memory_begins(ledger: &Ledger) -> Date {
    let since = Timestamp::from_second(ledger.remembers_since()).unwrap_or(Timestamp::UNIX_EPOCH);
    since.to_zoned(TimeZone::UTC).date()
}
