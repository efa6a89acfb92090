//! Ingest: processes one object from lease to completion.
//!
//! ```text
//! lease ─▶ fetch ─▶ decode ─▶ claim ─▶ pack ─▶ deliver ─▶ settle ─▶ help ─▶ complete
//! ```
//!
//! This module orchestrates the steps. The submodules implement them.

mod contents;
mod deliver;
mod outcome;
mod stored;
mod time_limit;

pub use outcome::{Deferred, IngestError, IngestReport, Outcome, Quarantined};

use crate::decode;
use crate::event::filter::Filter;
use crate::ledger::model::quarantine::QuarantineKind;
use crate::ledger::model::row::{Row, Seconds};
use crate::ledger::{Claim, Claims, ForeignClaim, HelpOutcome, Lease, LeaseOutcome, Ledger, LedgerError};
use crate::listing::reopen::archived_reason;
use crate::object::key::{NotALog, Recognized, recognize};
use crate::object::{ArchiveState, Object, ObjectId, ObjectRef};
use crate::sink::{Sink, Transaction};
use crate::source::{Source, SourceError};
use contents::Contents;
use deliver::ObjectDelivery;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Number of seconds that a lease lasts after its worker is stopped. Allows for clock differences.
pub const LEASE_MARGIN: Seconds = 60;

/// Maximum number of times that one attempt claims the object's events. It claims them again if ledger entries that it
/// relied on disappeared. After the last time, the object is returned for a later attempt.
const MAX_CLAIMS: u32 = 8;

/// Maximum number of successive rounds in which no owner is helped although none is in progress, because the owners'
/// rows change at the same time. After that, the object is returned for a later attempt. Rounds that help an owner are
/// not limited.
const MAX_ROUNDS_WITHOUT_HELP: u32 = 8;

/// Default of [`Ingest::max_buffered_bytes`]. A file of 50,000 events from a very busy account is 8.6 MB compressed.
/// Larger files are rare and can be much larger.
pub const MAX_BUFFERED_BYTES: usize = 10 << 20;

/// Default of [`Ingest::chunk_bytes`].
pub const CHUNK_BYTES: usize = 4 << 20;

/// The components and settings of ingestion.
#[derive(Debug, Clone)]
pub struct Ingest {
    /// Where objects are read from.
    pub source: Arc<dyn Source>,
    /// Records what has been delivered.
    pub ledger: Ledger,
    /// Where events are delivered to.
    pub sink: Arc<dyn Sink>,
    /// The limits of an object's content.
    pub limits: decode::DecodeLimits,
    /// Which events are dropped.
    pub filter: Filter,
    /// Maximum number of bytes of one object that are buffered in memory. If the decompressed lines exceed it, the
    /// object is decompressed twice. If the stored object exceeds it, the object is also fetched twice, in chunks.
    pub max_buffered_bytes: usize,
    /// Size in bytes of the range requests for objects that are not buffered. At least 2.
    pub chunk_bytes: usize,
    /// Which keys are ingested.
    pub key_policy: KeyPolicy,
}

/// Which keys are ingested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyPolicy {
    /// Keys that name CloudTrail logs.
    #[default]
    CloudTrailLogs,
    /// All keys except digests.
    AnyKey,
}

/// The time limits of a worker.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    /// No new call to the sink is started after this time, and a call is not retried after it. The time until `end` is
    /// reserved for the ledger writes that record what was delivered.
    pub stop: Instant,
    /// The time at which the process is stopped: the end of the invocation.
    pub end: Instant,
}

impl Deadline {
    /// Creates the deadline of a worker that is stopped after `whole`. It starts nothing new in the last tenth of that
    /// time, or in the last 10 s if that is shorter.
    pub fn within(whole: Duration) -> Self {
        let now = Instant::now();
        Self { stop: now + whole - (whole / 10).min(Duration::from_secs(10)), end: now + whole }
    }
}

/// Reasons for ending an attempt early.
enum IngestAbort {
    Quarantine {
        kind: String,
        reason: String,
    },
    Deferred(Deferred),
    Failed(IngestError),
    /// A ledger entry that the attempt relied on no longer exists: claim again.
    ClaimAgain,
}

impl<E: Into<IngestError>> From<E> for IngestAbort {
    fn from(error: E) -> Self {
        match error.into() {
            IngestError::Ledger(LedgerError::Gone) => Self::ClaimAgain,
            failure => Self::Failed(failure),
        }
    }
}

impl Ingest {
    /// Delivers one object's events to the sink, and returns its outcome.
    pub async fn object(&self, at: &ObjectRef, deadline: Deadline) -> Outcome {
        match recognize(&at.key) {
            Recognized::Log { .. } => {}
            Recognized::Digest => return Outcome::Skipped("digest"),
            // An unknown kind of CloudTrail file is read, and quarantined if it is not a log. It is never skipped.
            Recognized::NotALog(NotALog::UnknownKind) => {}
            Recognized::NotALog(_) if self.key_policy == KeyPolicy::AnyKey => {}
            Recognized::NotALog(foreign) => return Outcome::Skipped(foreign.name()),
        }
        let (Ok(mut outcome) | Err(mut outcome)) = self.process(at, deadline).await;
        if let Outcome::Done(report) = &mut outcome {
            report.unknown_kinds = u64::from(recognize(&at.key) == Recognized::NotALog(NotALog::UnknownKind));
        }
        outcome
    }

    /// Leases the object and processes it under the lease. Then the ledger records the result, or the lease is
    /// released.
    async fn process(&self, at: &ObjectRef, deadline: Deadline) -> Result<Outcome, Outcome> {
        let (object, size) = self.identify(at, deadline.stop).await?;
        let left = deadline.end.saturating_duration_since(Instant::now()).as_secs();
        let until = self.ledger.now() + Seconds::try_from(left).unwrap_or(Seconds::MAX / 2) + LEASE_MARGIN;
        let leasing = self.ledger.lease(&object, until).await.map_err(|error| Outcome::Failed(error.into()))?;
        let mut lease = match leasing {
            LeaseOutcome::Granted(lease) => lease,
            LeaseOutcome::Done => return Ok(Outcome::AlreadyDone),
            LeaseOutcome::Leased { until } => return Ok(Outcome::Deferred(Deferred::Leased { until })),
            LeaseOutcome::Quarantined { reason, accepted } => {
                return Ok(Outcome::Quarantined(Quarantined { accepted, ..Quarantined::from_stored(&reason) }));
            }
        };
        let processed = match at.archive {
            // A request would be refused and billed.
            ArchiveState::Archived => {
                let (kind, reason) = (QuarantineKind::ARCHIVED.to_owned(), archived_reason(at));
                Err(IngestAbort::Quarantine { kind, reason })
            }
            ArchiveState::Readable | ArchiveState::Unknown => self.process_leased(&mut lease, size, deadline).await,
        };
        let abort = match processed {
            Ok(report) => return Ok(Outcome::Done(report)),
            Err(abort) => abort,
        };
        let outcome = match abort {
            IngestAbort::Quarantine { kind, reason } => {
                let stored = self.ledger.quarantine(&lease, &format!("{kind}: {reason}")).await;
                return Ok(match stored {
                    Ok(()) => {
                        Outcome::Quarantined(Quarantined { kind, reason, by_earlier_attempt: false, accepted: None })
                    }
                    Err(error) => Outcome::Failed(error.into()),
                });
            }
            IngestAbort::Deferred(deferred) => Outcome::Deferred(deferred),
            IngestAbort::Failed(IngestError::Ledger(LedgerError::LeaseLost)) => {
                return Ok(Outcome::Failed(LedgerError::LeaseLost.into()));
            }
            IngestAbort::Failed(failure) => Outcome::Failed(failure),
            IngestAbort::ClaimAgain => Outcome::Failed(LedgerError::Gone.into()),
        };
        // Release the lease so that the next attempt does not have to wait. If this fails too, the lease expires by
        // itself.
        if let Err(error) = self.ledger.release(&lease).await {
            tracing::warn!(object = %lease.object, %error, "could not release the lease; it expires by itself");
        }
        Ok(outcome)
    }

    /// Determines the object's version and its size in bytes, if known. Only CloudTrail's own notifications do not
    /// contain the version.
    ///
    /// If the version is not announced and the object does not exist, the attempt fails and is retried: the object may
    /// still appear, and without an ETag it cannot be quarantined, because rows are identified by the version.
    async fn identify(&self, at: &ObjectRef, stop: Instant) -> Result<(Object, Option<u64>), Outcome> {
        if let Some(object) = at.object() {
            return Ok((object, at.size));
        }
        let failed = |error: SourceError| Outcome::Failed(error.into());
        let found = match time_limit::apply(at, stop, self.source.stat(at)).await {
            Err(deferred) => return Err(Outcome::Deferred(deferred)),
            Ok(found) => found.map_err(failed)?,
        };
        match found.object() {
            Some(object) => Ok((object, found.size)),
            None => Err(failed(SourceError::Unavailable(format!("{at} was found without an ETag")))),
        }
    }

    /// Reads, claims and delivers the leased object.
    async fn process_leased(
        &self,
        lease: &mut Lease,
        size_hint: Option<u64>,
        deadline: Deadline,
    ) -> Result<IngestReport, IngestAbort> {
        let contents = Contents::read(self, &lease.object, size_hint, deadline.stop).await?;
        let mut delivery = ObjectDelivery::new(self, &contents, deadline);
        for _ in 0..MAX_CLAIMS {
            match self.deliver_claimed(lease, &contents, &mut delivery).await {
                Err(IngestAbort::ClaimAgain) => {}
                Ok(()) => return Ok(delivery.report()),
                Err(abort) => return Err(abort),
            }
        }
        Err(IngestAbort::ClaimAgain)
    }

    /// Claims, delivers, checks, settles, helps and completes, starting with new claims.
    async fn deliver_claimed(
        &self,
        lease: &mut Lease,
        contents: &Contents<'_>,
        delivery: &mut ObjectDelivery<'_>,
    ) -> Result<(), IngestAbort> {
        let numbered = delivery.needs_several_calls();
        let claims = self.ledger.claim(lease, &contents.events, &contents.scopes, numbered).await?;
        delivery.set_claims(&claims);
        let transaction = delivery.deliver_own(lease, &claims).await?;
        let unproven = self.unproven(claims.foreign).await?;
        if unproven.is_empty() {
            return self.complete(lease, delivery, transaction).await;
        }
        self.ledger.settle(lease).await?;
        transaction.commit();
        self.prove(lease, contents, delivery, unproven).await?;
        let transaction = self.sink.begin().await?;
        self.complete(lease, delivery, transaction).await
    }

    /// Completes the object. `transaction` contains the object's last delivery if the ledger does not record it yet.
    async fn complete(
        &self,
        lease: &Lease,
        delivery: &mut ObjectDelivery<'_>,
        transaction: Transaction,
    ) -> Result<(), IngestAbort> {
        self.ledger.complete(lease, delivery.counts()).await?;
        delivery.completed_in(transaction.checkpoint());
        transaction.commit();
        Ok(())
    }

    /// Verifies the delivery of the events that other objects own. Helps all stalled owners first, and then defers if
    /// an owner is in progress.
    ///
    /// When help is finished, all events of that owner are proven delivered, so each round that helps leaves fewer
    /// owners.
    async fn prove(
        &self,
        lease: &Lease,
        contents: &Contents<'_>,
        delivery: &mut ObjectDelivery<'_>,
        mut foreign: Vec<ForeignClaim>,
    ) -> Result<(), IngestAbort> {
        let mut rounds_without_help = 0;
        loop {
            // Pages before rows: see `Ledger::unproven`.
            foreign = self.ledger.reread_foreign(&foreign, &contents.events, &contents.scopes).await?;
            let unproven = self.ledger.unproven(foreign).await?;
            if unproven.is_empty() {
                return Ok(());
            }
            foreign = unproven.iter().map(|(event, _)| *event).collect();
            let mut by_owner: BTreeMap<ObjectId, (Row, Vec<ForeignClaim>)> = BTreeMap::new();
            for (event, row) in unproven {
                by_owner.entry(event.owner).or_insert_with(|| (row, Vec::new())).1.push(event);
            }
            let (mut in_progress, mut helped) = (None, false);
            for (owner, (row, events)) in by_owner {
                if row.leased(self.ledger.now()) {
                    in_progress = in_progress.max(Some(row.until));
                } else {
                    helped |= self.help(owner, &events, lease, contents, delivery).await?;
                }
            }
            if let Some(until) = in_progress.filter(|_| !helped) {
                return Err(IngestAbort::Deferred(Deferred::OwnerInProgress { until }));
            }
            rounds_without_help = if helped { 0 } else { rounds_without_help + 1 };
            if rounds_without_help == MAX_ROUNDS_WITHOUT_HELP {
                return Err(IngestAbort::Failed(LedgerError::OwnersChanged(MAX_ROUNDS_WITHOUT_HELP).into()));
            }
        }
    }

    /// Delivers these events on behalf of their stalled owner. Returns false if the owner is no longer stalled.
    async fn help(
        &self,
        owner: ObjectId,
        events: &[ForeignClaim],
        lease: &Lease,
        contents: &Contents<'_>,
        delivery: &mut ObjectDelivery<'_>,
    ) -> Result<bool, IngestAbort> {
        if Instant::now() >= delivery.deadline().stop {
            return Err(IngestAbort::Deferred(Deferred::OutOfTime));
        }
        let HelpOutcome::Granted(help) = self.ledger.help(owner, lease.until).await? else { return Ok(false) };
        let delivered = async {
            let ordinals = self.ledger.undelivered(&help, events, &contents.events, &contents.scopes).await?;
            delivery.deliver_for_owner(&help, &lease.object, &ordinals).await
        };
        let delivered = delivered.await;
        // Release the lease after a failure too, because another worker may be waiting for it.
        let released = self.ledger.release_help(&help).await;
        delivered?;
        released?;
        Ok(true)
    }

    async fn unproven(&self, foreign: Vec<ForeignClaim>) -> Result<Vec<ForeignClaim>, IngestAbort> {
        Ok(self.ledger.unproven(foreign).await?.into_iter().map(|(event, _)| event).collect())
    }
}

impl Quarantined {
    /// Parses the reason that an earlier attempt stored in the ledger row.
    fn from_stored(stored: &str) -> Self {
        let (kind, reason) = stored.split_once(": ").unwrap_or(("unknown", stored));
        Self { kind: kind.to_owned(), reason: reason.to_owned(), by_earlier_attempt: true, accepted: None }
    }
}

impl Claims {
    /// Returns whether this object owns the event at this index.
    fn mine(&self, ordinal: u32) -> bool {
        self.results[ordinal as usize] == Claim::Mine
    }
}
