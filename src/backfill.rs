//! Backfill: what is in the bucket and not in the ledger is handed in.
//!
//! ```text
//! discover ─▶ unit ─▶ keys ─▶ reconcile ─▶ dispatch
//!  folders    queue   listing   ledger      second ingest queue
//! ```
//!
//! [`crate::sync`] walks and reconciles with the same rooms, and ingests in its own process what is missing.
//!
//! Reconcile, don't replay: there is no marker of how far a run came, because a marker would pass what is delivered
//! late under an earlier name. Every run lists its days whole, and the ledger says what is missing. Days are a stretch
//! of keys ([`Span::stretch`]), so a region without news costs one request, however many days are asked for.
//!
//! Who drives it: on AWS a [`worker`] of a queue of [`task`]s, which notes in [`record`]s how far each [`run`] is.
//!
//! # What a crash costs
//!
//! Discovery and units hold nothing that is not in a message. A worker that dies leaves its unit's message to come back
//! with the cursor it was sent with; what it handed in since then is handed in again, and found leased or done. A
//! worker that runs out of time returns the rest of its unit, to be sent *before* the old message is acknowledged. In
//! neither case is an object left out: the cursor moves only past keys whose objects were accepted or need nothing.
//!
//! # What the ledger forgets
//!
//! A done row expires ([`Ledger::retention_start`]). Beyond that time "done and forgotten" and "never seen" look the
//! same: such an object is handed in, and its events are delivered again if their pages are gone too. Losing nothing
//! comes first. How many there were stands in [`Counts::forgotten`], so that a dry run over old days can warn of it; a
//! run within the ledger's memory has none.
//!
//! A record of *closed days* would tell the two apart. Its design, for whoever needs it: one item for a bucket and a
//! region's folder, with the set of days of which every object was seen done in one walk, never expiring. A day may be
//! closed only when it is older than the look-back and younger than the memory, since from outside the memory nothing
//! proves it. A run would leave closed days out of its span unless told to open them, so a file put into a closed day
//! by hand, or replicated late, would no longer be found. That is a promise given up, and the item is a third kind in
//! the store. As long as the span of a scheduled run lies within the memory, as the defaults do (3 days, 90 days), it
//! buys nothing, so it is not there.

pub mod budget;
pub mod call;
pub mod dispatch;
pub mod estimate;
pub mod record;
pub mod run;
pub mod tally;
pub mod task;
pub mod worker;

pub use run::{Request, Run, RunId};
pub use task::Task;

use crate::ledger::store::StoreError;
use crate::ledger::{Ledger, ObjectState};
use crate::listing::keys::{Keys, Origin};
use crate::listing::reconcile::{KeyState, ListedKey, reconcile};
use crate::listing::unit::Act;
use crate::listing::{Counts, ListingError, Unit};
use crate::object::ObjectRef;
use crate::source::{Pages, Source};
use async_trait::async_trait;
use futures_util::future::join;

use std::sync::Arc;
use tokio::time::Instant;

/// Where objects are handed in to be ingested: a queue, or a worker in this process.
#[async_trait]
pub trait Dispatcher: Send + Sync + std::fmt::Debug {
    /// Takes objects, in their order, and begins nothing new after `stop`.
    async fn submit(&self, objects: &[ObjectRef], stop: Instant) -> Submitted;
}

/// What became of objects that were handed in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Submitted {
    /// How many of them, from the first on, are safe: they come to be ingested whatever happens to this process.
    pub accepted: usize,
    /// In how many messages.
    pub messages: u64,
    /// Why not all.
    pub error: Option<DispatchError>,
}

/// Why something was not handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DispatchError {
    /// It would have gone after the time to stop.
    OutOfTime,
    /// It was not accepted.
    Failed(String),
}

/// The parts of a worker.
#[derive(Debug, Clone)]
pub struct Backfill {
    /// Where objects lie.
    pub source: Arc<dyn Source>,
    /// What has been delivered.
    pub ledger: Ledger,
}

/// What became of an attempt at a unit.
#[derive(Debug)]
pub struct UnitReport {
    /// What it saw and did.
    pub counts: Counts,
    /// How it ended.
    pub end: UnitEnd,
}

/// How an attempt at a unit ends.
#[derive(Debug)]
pub enum UnitEnd {
    /// All of it is worked off.
    Done,
    /// Time is up; this is left.
    OutOfTime(Unit),
    /// Something did not answer, or must be repaired. The message should come back by itself, so that one that always
    /// fails ends among the dead letters; what was handed in is then handed in once more.
    Failed {
        /// What is left, for a caller that would rather go on from here.
        left: Unit,
        /// What happened.
        error: BackfillError,
    },
}

/// Why an attempt at a unit fails.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// The bucket could not be listed.
    #[error(transparent)]
    Listing(#[from] ListingError),
    /// The ledger did not answer.
    #[error(transparent)]
    Ledger(#[from] StoreError),
    /// Objects were not accepted.
    #[error("missing objects could not be handed in: {0}")]
    Dispatch(String),
}

/// Why the way ends before its end.
enum UnitAbort {
    OutOfTime,
    BackfillError(BackfillError),
}

impl<E: Into<BackfillError>> From<E> for UnitAbort {
    fn from(error: E) -> Self {
        Self::BackfillError(error.into())
    }
}

impl Backfill {
    /// Works on a unit until it is done or `stop` comes; begins no page after that.
    pub async fn run(&self, mut unit: Unit, intake: &dyn Dispatcher, stop: Instant) -> UnitReport {
        let mut counts = Counts::default();
        let mut keys = Keys::new(&*self.source, &unit);
        let worked = self.work(&mut unit, &mut keys, intake, stop, &mut counts).await;
        counts.list_requests += keys.requests;
        Self::ended(unit, counts, worked)
    }

    /// Works on a unit whose objects are known without listing, by an inventory. They come in no order, so there is no
    /// cursor: what is left of it is all of it, and what was handed in is then found leased or done.
    pub async fn run_over(
        &self,
        mut pages: Pages,
        mut unit: Unit,
        intake: &dyn Dispatcher,
        stop: Instant,
    ) -> UnitReport {
        let mut counts = Counts::default();
        let worked = self.work(&mut unit, &mut pages, intake, stop, &mut counts).await;
        unit.after = None;
        Self::ended(unit, counts, worked)
    }

    fn ended(unit: Unit, counts: Counts, worked: Result<(), UnitAbort>) -> UnitReport {
        let end = match worked {
            Ok(()) => UnitEnd::Done,
            Err(UnitAbort::OutOfTime) => UnitEnd::OutOfTime(unit),
            Err(UnitAbort::BackfillError(error)) => UnitEnd::Failed { left: unit, error },
        };
        UnitReport { counts, end }
    }

    async fn work(
        &self,
        unit: &mut Unit,
        origin: &mut dyn Origin,
        intake: &dyn Dispatcher,
        stop: Instant,
        counts: &mut Counts,
    ) -> Result<(), UnitAbort> {
        check_deadline(stop)?;
        let mut page = origin.next().await?;
        while let Some(listed) = page {
            check_deadline(stop)?;
            // The next page is on its way while this one is held against the ledger.
            let (seen, next) = join(reconcile(&self.ledger, unit, listed), origin.next()).await;
            let mut seen = seen?;
            counts.ledger_reads += seen.iter().filter(|seen| matches!(seen.state, KeyState::Log { .. })).count() as u64;
            self.finish(unit, &mut seen, intake, stop, counts).await?;
            page = next?;
        }
        Ok(())
    }

    /// Hands in what of a page must be, and moves the cursor past all that is worked off.
    async fn finish(
        &self,
        unit: &mut Unit,
        seen: &mut [ListedKey],
        intake: &dyn Dispatcher,
        stop: Instant,
        counts: &mut Counts,
    ) -> Result<(), UnitAbort> {
        if unit.act == Act::Enqueue {
            self.open_quarantined(unit, seen).await?;
        }
        let (at, picked): (Vec<usize>, Vec<ObjectRef>) = seen
            .iter()
            .enumerate()
            .filter(|(_, seen)| seen.is_picked(unit.pick))
            .map(|(index, seen)| (index, seen.at.clone()))
            .unzip();
        let handed = match unit.act {
            Act::Enqueue if !picked.is_empty() => intake.submit(&picked, stop).await,
            Act::Enqueue | Act::Count => Submitted { accepted: picked.len(), ..Submitted::default() },
        };
        let accepted = handed.accepted.min(picked.len());
        let passed = at.get(accepted).copied().unwrap_or(seen.len());
        seen[..passed].iter().for_each(|seen| seen.count(counts));
        counts.sent += accepted as u64;
        counts.bytes += picked[..accepted].iter().filter_map(|object| object.size).sum::<u64>();
        counts.messages += handed.messages;
        if let Some(last) = seen[..passed].last() {
            unit.after = Some(last.at.key.clone());
        }
        match handed.error {
            None if accepted == picked.len() => Ok(()),
            None => {
                Err(BackfillError::Dispatch(format!("{accepted} of {} were taken, without a reason", picked.len()))
                    .into())
            }
            Some(DispatchError::OutOfTime) => Err(UnitAbort::OutOfTime),
            Some(DispatchError::Failed(reason)) => Err(BackfillError::Dispatch(reason).into()),
        }
    }

    /// Opens quarantined objects that are to be handed in, or their worker would find them quarantined still.
    async fn open_quarantined(&self, unit: &Unit, seen: &mut [ListedKey]) -> Result<(), UnitAbort> {
        for seen in seen {
            let KeyState::Log { state: ObjectState::Quarantined, old } = seen.state else { continue };
            let Some(object) = seen.at.object().filter(|_| seen.is_picked(unit.pick)) else { continue };
            if !self.ledger.retry(&object).await? {
                // Done since, or somebody is at work on it.
                seen.state = KeyState::Log { state: ObjectState::Leased { until: self.ledger.now() }, old };
            }
        }
        Ok(())
    }
}

fn check_deadline(stop: Instant) -> Result<(), UnitAbort> {
    if Instant::now() < stop { Ok(()) } else { Err(UnitAbort::OutOfTime) }
}
