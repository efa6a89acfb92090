//! Backfill: enqueues the objects that are in the bucket and not in the ledger.
//!
//! ```text
//! discover ─▶ unit ─▶ keys ─▶ reconcile ─▶ dispatch
//!  folders    queue   listing   ledger      second ingest queue
//! ```
//!
//! [`crate::sync`] uses the same discovery and reconciliation, and ingests the missing objects in its own process.
//!
//! The backfill reconciles and does not replay. There is no marker of a run's position, because a marker would skip
//! files that are delivered late under earlier keys. Every run lists all of its days, and the ledger shows which
//! objects are missing. The days are a contiguous range of keys ([`crate::listing::DayRange::key_range`]), so a region
//! without new files costs one request, regardless of the number of days.
//!
//! On AWS, a [`worker`] processes a queue of [`task`]s and saves the progress of each [`run`] in [`record`]s.
//!
//! # What a crash costs
//!
//! All state of discovery and units is in messages. If a worker crashes, its unit's message is received again with the
//! original cursor; the objects that were enqueued since then are enqueued again and found leased or done. If a worker
//! runs out of time, the rest of its unit is enqueued *before* the old message is acknowledged. No object is lost in
//! either case: the cursor moves only past keys whose objects were accepted or need no work.
//!
//! # Expired rows
//!
//! Rows of done objects expire ([`Ledger::retention_start`]). After that, an object that was done cannot be
//! distinguished from an object that was never seen. Such an object is enqueued, and its events are delivered again if
//! their pages expired too, because losing no event has priority. [`ListingCounts::past_retention`] counts these objects, so that a
//! dry run over old days can warn about them. A run within the ledger's retention has none.
//!
//! A list of *completed days* would distinguish the two cases, but the ledger does not keep one: files that are added
//! to a completed day manually or by late replication would no longer be found. It would bring no benefit while a
//! scheduled run's day range is within the retention, as it is by default (3 days and 90 days).

pub mod budget;
pub mod dispatch;
pub mod estimate;
pub mod payload;
pub mod record;
pub mod run;
pub mod tally;
pub mod task;
pub mod worker;

pub use run::{Request, Run, RunId};
pub use task::Task;

use crate::ledger::store::StoreError;
use crate::ledger::{Ledger, ObjectState};
use crate::listing::keys::{KeyListing, ObjectPages};
use crate::listing::reconcile::{KeyState, ListedKey, reconcile};
use crate::listing::reopen::{KeyProbes, quarantine_archived, reopen};
use crate::listing::unit::BackfillMode;
use crate::listing::{ListingCounts, ListingError, Unit};
use crate::object::ObjectRef;
use crate::source::{Pages, Source};
use async_trait::async_trait;
use futures_util::future::join;

use std::sync::Arc;
use tokio::time::Instant;

/// Accepts objects for ingestion.
#[async_trait]
pub trait Dispatcher: Send + Sync + std::fmt::Debug {
    /// Submits objects in order. Starts no new request after `stop`.
    async fn submit(&self, objects: &[ObjectRef], stop: Instant) -> Submitted;
}

/// The result of submitting objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Submitted {
    /// Number of objects, counted from the first, that are durably accepted: they are ingested even if this process
    /// crashes.
    pub accepted: usize,
    /// Number of messages sent.
    pub messages: u64,
    /// Why not all objects were accepted.
    pub error: Option<DispatchError>,
}

/// Why objects or tasks were not enqueued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DispatchError {
    /// There was no time left to send them.
    OutOfTime,
    /// Other batches use the budget until after the deadline.
    BudgetUsed {
        /// When the next batch may be sent.
        until: Instant,
    },
    /// The queue did not accept them, for this reason.
    Failed(String),
}

/// Processes units: lists the objects of a unit and enqueues those that are not done.
#[derive(Debug, Clone)]
pub struct UnitProcessor {
    /// Where objects are listed.
    pub source: Arc<dyn Source>,
    /// Records what has been delivered.
    pub ledger: Ledger,
}

/// The result of an attempt at a unit.
#[derive(Debug)]
pub struct UnitReport {
    /// The counts of the attempt.
    pub counts: ListingCounts,
    /// How the attempt ended.
    pub end: UnitEnd,
}

/// How an attempt at a unit ends.
#[derive(Debug)]
pub enum UnitEnd {
    /// The whole unit is processed.
    Done,
    /// Time ran out; contains the rest of the unit.
    OutOfTime(Unit),
    /// Other units use the budget until after the deadline. Not a failure.
    AwaitingBudget {
        /// The rest of the unit.
        left: Unit,
        /// When the next batch may be sent.
        until: Instant,
    },
    /// The attempt failed. The message must not be acknowledged, so that a unit that always fails ends in the
    /// dead-letter queue. Objects that were already enqueued are then enqueued again.
    Failed {
        /// The rest of the unit, for a caller that continues from here.
        left: Unit,
        /// The error.
        error: BackfillError,
    },
}

/// An error of an attempt at a unit.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// The bucket could not be listed.
    #[error(transparent)]
    Listing(#[from] ListingError),
    /// The ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] StoreError),
    /// Objects were not accepted for ingestion.
    #[error("missing objects could not be enqueued: {0}")]
    Dispatch(String),
}

/// Reasons for ending an attempt early.
enum UnitAbort {
    OutOfTime,
    BudgetUsed { until: Instant },
    BackfillError(BackfillError),
}

impl<E: Into<BackfillError>> From<E> for UnitAbort {
    fn from(error: E) -> Self {
        Self::BackfillError(error.into())
    }
}

impl UnitProcessor {
    /// Processes a unit until it is done or `stop` has passed. Starts no page after `stop`.
    pub async fn run(&self, mut unit: Unit, dispatcher: &dyn Dispatcher, stop: Instant) -> UnitReport {
        let mut counts = ListingCounts::default();
        let mut keys = KeyListing::new(&*self.source, &unit);
        let worked = self.process_pages(&mut unit, &mut keys, dispatcher, stop, &mut counts).await;
        counts.list_requests += keys.requests;
        Self::report(unit, counts, worked)
    }

    /// Processes a unit whose objects are known from an inventory report instead of a listing. The objects are in no
    /// particular order, so there is no cursor: after an early end, the whole unit is left, and objects that were
    /// already enqueued are found leased or done.
    pub async fn run_over_pages(
        &self,
        mut pages: Pages,
        mut unit: Unit,
        dispatcher: &dyn Dispatcher,
        stop: Instant,
    ) -> UnitReport {
        let mut counts = ListingCounts::default();
        let worked = self.process_pages(&mut unit, &mut pages, dispatcher, stop, &mut counts).await;
        unit.after = None;
        Self::report(unit, counts, worked)
    }

    fn report(unit: Unit, counts: ListingCounts, worked: Result<(), UnitAbort>) -> UnitReport {
        let end = match worked {
            Ok(()) => UnitEnd::Done,
            Err(UnitAbort::OutOfTime) => UnitEnd::OutOfTime(unit),
            Err(UnitAbort::BudgetUsed { until }) => UnitEnd::AwaitingBudget { left: unit, until },
            Err(UnitAbort::BackfillError(error)) => UnitEnd::Failed { left: unit, error },
        };
        UnitReport { counts, end }
    }

    async fn process_pages(
        &self,
        unit: &mut Unit,
        pages: &mut dyn ObjectPages,
        dispatcher: &dyn Dispatcher,
        stop: Instant,
        counts: &mut ListingCounts,
    ) -> Result<(), UnitAbort> {
        check_deadline(stop)?;
        let probes = KeyProbes::default();
        let mut page = pages.next().await?;
        while let Some(listed) = page {
            check_deadline(stop)?;
            // The next page is listed while this one is looked up in the ledger.
            let (seen, next) = join(reconcile(&self.ledger, unit, listed), pages.next()).await;
            let mut seen = seen?;
            let dry_run = unit.mode == BackfillMode::Count;
            reopen(&*self.source, &self.ledger, &probes, &mut seen, dry_run).await?;
            counts.key_probes = probes.requests();
            counts.ledger_reads += seen.iter().filter(|seen| matches!(seen.state, KeyState::Log { .. })).count() as u64;
            self.enqueue_page(unit, &mut seen, dispatcher, stop, counts).await?;
            page = next?;
        }
        Ok(())
    }

    /// Enqueues the selected objects of a page, and moves the cursor past all keys that are completely processed.
    async fn enqueue_page(
        &self,
        unit: &mut Unit,
        seen: &mut [ListedKey],
        dispatcher: &dyn Dispatcher,
        stop: Instant,
        counts: &mut ListingCounts,
    ) -> Result<(), UnitAbort> {
        if unit.mode == BackfillMode::Enqueue {
            quarantine_archived(&self.ledger, seen).await?;
            self.reopen_selected(unit, seen).await?;
        }
        let (at, selected): (Vec<usize>, Vec<ObjectRef>) = seen
            .iter()
            .enumerate()
            .filter(|(_, seen)| seen.is_selected(unit.states))
            .map(|(index, seen)| (index, seen.at.clone()))
            .unzip();
        let submitted = match unit.mode {
            BackfillMode::Enqueue if !selected.is_empty() => dispatcher.submit(&selected, stop).await,
            BackfillMode::Enqueue | BackfillMode::Count => {
                Submitted { accepted: selected.len(), ..Submitted::default() }
            }
        };
        let accepted = submitted.accepted.min(selected.len());
        let passed = at.get(accepted).copied().unwrap_or(seen.len());
        seen[..passed].iter().for_each(|seen| seen.count(counts));
        counts.sent += accepted as u64;
        counts.bytes += selected[..accepted].iter().filter_map(|object| object.size).sum::<u64>();
        counts.messages += submitted.messages;
        if let Some(last) = seen[..passed].last() {
            unit.after = Some(last.at.key.clone());
        }
        match submitted.error {
            None if accepted == selected.len() => Ok(()),
            None => Err(BackfillError::Dispatch(format!(
                "{accepted} of {} objects were accepted, without a reason",
                selected.len()
            ))
            .into()),
            Some(DispatchError::OutOfTime) => Err(UnitAbort::OutOfTime),
            Some(DispatchError::BudgetUsed { until }) => Err(UnitAbort::BudgetUsed { until }),
            Some(DispatchError::Failed(reason)) => Err(BackfillError::Dispatch(reason).into()),
        }
    }

    /// Reopens selected objects that are quarantined. Otherwise ingestion would find them quarantined.
    async fn reopen_selected(&self, unit: &Unit, seen: &mut [ListedKey]) -> Result<(), UnitAbort> {
        for seen in seen {
            let KeyState::Log { state: ObjectState::Quarantined(_), day, past_retention } = seen.state else {
                continue;
            };
            let Some(object) = seen.at.object().filter(|_| seen.is_selected(unit.states)) else { continue };
            if !self.ledger.retry(&object).await? {
                // The object was finished in the meantime, or another worker is processing it.
                seen.state =
                    KeyState::Log { state: ObjectState::Leased { until: self.ledger.now() }, day, past_retention };
            }
        }
        Ok(())
    }
}

fn check_deadline(stop: Instant) -> Result<(), UnitAbort> {
    if Instant::now() < stop { Ok(()) } else { Err(UnitAbort::OutOfTime) }
}
