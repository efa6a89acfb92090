//! Ingest: one object, start to end.
//!
//! ```text
//! lease ─▶ fetch ─▶ decode ─▶ claim ─▶ pack ─▶ deliver ─▶ settle ─▶ complete
//! ```
//!
//! This room knows the order and why it is that order; what each step is, the rooms beside it know.

mod contents;
mod deliver;
mod outcome;
mod stored;

pub use outcome::{Deferred, IngestError, IngestReport, Outcome, Quarantined};

use crate::decode;
use crate::event::filter::Filter;
use crate::ledger::model::row::Seconds;
use crate::ledger::{Claim, Claims, ForeignClaim, HelpOutcome, Lease, LeaseOutcome, Ledger, LedgerError};
use crate::object::key::{NotALog, Recognized, recognize};
use crate::object::{Object, ObjectRef};
use crate::sink::Sink;
use crate::source::{Source, SourceError};
use contents::Contents;
use deliver::Delivery;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A lease lasts this long beyond the moment at which its worker is stopped: room for clocks that differ.
pub const LEASE_MARGIN: Seconds = 60;

/// How often a worker looks again at owners that changed under its eyes before it hands the object back.
const MAX_CLAIM_ROUNDS: u32 = 8;

/// What [`Ingest::max_buffered_bytes`] is where nothing else is wanted. A file of 50,000 events, as a very busy account
/// may have, takes 8.6 MB as it is stored; what is larger is rare, and may be far larger.
pub const MAX_BUFFERED_BYTES: usize = 10 << 20;

/// What [`Ingest::chunk_bytes`] is where nothing else is wanted.
pub const CHUNK_BYTES: usize = 4 << 20;

/// The parts, and the settings of the way.
#[derive(Debug, Clone)]
pub struct Ingest {
    /// Where objects lie.
    pub source: Arc<dyn Source>,
    /// What has been delivered.
    pub ledger: Ledger,
    /// Where events go.
    pub sink: Arc<dyn Sink>,
    /// What an object may hold.
    pub limits: decode::DecodeLimits,
    /// Which events are noise.
    pub filter: Filter,
    /// Bytes of one object that are kept in memory: decompressed, or a larger object is inflated twice; as stored, or
    /// it is fetched twice too.
    pub max_buffered_bytes: usize,
    /// Bytes of each piece in which an object is fetched that is not kept, at least 2.
    pub chunk_bytes: usize,
    /// Which objects are read though their names are not those of CloudTrail logs.
    pub key_policy: KeyPolicy,
}

/// Which objects are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyPolicy {
    /// CloudTrail logs by their names.
    #[default]
    CloudTrailLogs,
    /// All but digests, whatever their names.
    AnyKey,
}

/// Until when a worker may work.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    /// No new call is begun after this.
    pub stop: Instant,
    /// The process is stopped by then: the end of the invocation.
    pub end: Instant,
}

impl Deadline {
    /// A worker that is stopped after `whole`, and begins nothing new in the last tenth of it, but at most 10 s.
    pub fn within(whole: Duration) -> Self {
        let now = Instant::now();
        Self { stop: now + whole - (whole / 10).min(Duration::from_secs(10)), end: now + whole }
    }
}

/// Why the way ends before its end.
enum IngestAbort {
    Quarantine(String, String),
    Deferred(Deferred),
    Failed(IngestError),
    /// A ledger entry that was relied on is gone: claim again.
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
    /// Brings one object's events to the sink, or says why not yet.
    pub async fn object(&self, at: &ObjectRef, deadline: Deadline) -> Outcome {
        match recognize(&at.key) {
            Recognized::Log { .. } => {}
            Recognized::Digest => return Outcome::Skipped("digest"),
            // Something new of CloudTrail's: read, and set aside if it is no log; never passed over.
            Recognized::NotALog(NotALog::UnknownKind) => {}
            Recognized::NotALog(_) if self.key_policy == KeyPolicy::AnyKey => {}
            Recognized::NotALog(foreign) => return Outcome::Skipped(foreign.name()),
        }
        match self.leased(at, deadline).await {
            Ok(outcome) | Err(outcome) => outcome,
        }
    }

    async fn leased(&self, at: &ObjectRef, deadline: Deadline) -> Result<Outcome, Outcome> {
        let object = self.identify(at).await?;
        let left = deadline.end.saturating_duration_since(Instant::now()).as_secs();
        let until = self.ledger.now() + Seconds::try_from(left).unwrap_or(Seconds::MAX / 2) + LEASE_MARGIN;
        let leasing = self.ledger.lease(&object, until).await.map_err(|stop| Outcome::Failed(stop.into()))?;
        let mut lease = match leasing {
            LeaseOutcome::Granted(lease) => lease,
            LeaseOutcome::Done => return Ok(Outcome::AlreadyDone),
            LeaseOutcome::Leased { until } => return Ok(Outcome::Deferred(Deferred::Leased { until })),
            LeaseOutcome::Quarantined(reason) => return Ok(Outcome::Quarantined(Quarantined::from_stored(&reason))),
        };
        let end = match self.work(&mut lease, at.size, deadline).await {
            Ok(report) => return Ok(Outcome::Done(report)),
            Err(end) => end,
        };
        let outcome = match end {
            IngestAbort::Quarantine(kind, reason) => {
                let set_aside = self.ledger.quarantine(&lease, &format!("{kind}: {reason}")).await;
                return Ok(match set_aside {
                    Ok(()) => Outcome::Quarantined(Quarantined { kind, reason, before: false }),
                    Err(stop) => Outcome::Failed(stop.into()),
                });
            }
            IngestAbort::Deferred(later) => Outcome::Deferred(later),
            IngestAbort::Failed(IngestError::Ledger(LedgerError::LeaseLost)) => {
                return Ok(Outcome::Failed(LedgerError::LeaseLost.into()));
            }
            IngestAbort::Failed(failure) => Outcome::Failed(failure),
            IngestAbort::ClaimAgain => Outcome::Failed(LedgerError::Gone.into()),
        };
        // Given back, so that the next attempt need not wait; if that fails too, the lease ends by itself.
        if let Err(error) = self.ledger.release(&lease).await {
            tracing::warn!(object = %lease.object, %error, "the lease could not be given back and ends by itself");
        }
        Ok(outcome)
    }

    /// Which version this is. Only CloudTrail's own notifications do not say.
    async fn identify(&self, at: &ObjectRef) -> Result<Object, Outcome> {
        if let Some(object) = at.object() {
            return Ok(object);
        }
        match self.source.stat(at).await {
            Ok(found) => found.object().ok_or_else(|| {
                Outcome::Failed(SourceError::Unavailable(format!("{at} was found without an ETag")).into())
            }),
            Err(SourceError::Missing(_)) => {
                let object = Object { bucket: at.bucket.clone(), key: at.key.clone(), etag: "unknown".to_owned() };
                Ok(object)
            }
            Err(error) => Err(Outcome::Failed(error.into())),
        }
    }

    async fn work(
        &self,
        lease: &mut Lease,
        size_hint: Option<u64>,
        deadline: Deadline,
    ) -> Result<IngestReport, IngestAbort> {
        let contents = Contents::read(self, &lease.object, size_hint, deadline.stop).await?;
        let mut delivery = Delivery::new(self, &contents, deadline);
        for _ in 0..MAX_CLAIM_ROUNDS {
            match self.deliver_claimed(lease, &contents, &mut delivery).await {
                Err(IngestAbort::ClaimAgain) => {}
                Ok(()) => return Ok(delivery.report()),
                Err(end) => return Err(end),
            }
        }
        Err(IngestAbort::ClaimAgain)
    }

    /// Claim, deliver, check, settle, help, complete: from fresh claims each time.
    async fn deliver_claimed(
        &self,
        lease: &mut Lease,
        contents: &Contents<'_>,
        delivery: &mut Delivery<'_>,
    ) -> Result<(), IngestAbort> {
        let numbered = delivery.needs_several_calls();
        let claims = self.ledger.claim(lease, &contents.events, &contents.scopes, numbered).await?;
        delivery.count(&claims);
        let span = delivery.deliver_mine(lease, &claims).await?;
        let open = self.unproven(claims.foreign).await?;
        if open.is_empty() {
            self.ledger.complete(lease, delivery.counts()).await?;
            span.commit();
            return Ok(());
        }
        self.ledger.settle(lease).await?;
        span.commit();
        self.prove(lease, contents, delivery, open).await?;
        self.ledger.complete(lease, delivery.counts()).await?;
        Ok(())
    }

    /// Waits for, or finishes, what others owe of this object's events.
    async fn prove(
        &self,
        lease: &Lease,
        contents: &Contents<'_>,
        delivery: &mut Delivery<'_>,
        mut open: Vec<ForeignClaim>,
    ) -> Result<(), IngestAbort> {
        for _ in 0..MAX_CLAIM_ROUNDS {
            // Pages before rows: see `Ledger::unproven`.
            open = self.ledger.review(&open, &contents.events, &contents.scopes).await?;
            let owed = self.ledger.unproven(open).await?;
            let Some((first, row)) = owed.first() else { return Ok(()) };
            if row.leased(self.ledger.now()) {
                return Err(IngestAbort::Deferred(Deferred::OwnerInProgress { until: row.until }));
            }
            let owner = first.owner;
            let events: Vec<_> = owed.iter().map(|(event, _)| *event).filter(|event| event.owner == owner).collect();
            open = owed.into_iter().map(|(event, _)| event).collect();
            let HelpOutcome::Granted(help) = self.ledger.help(owner, lease.until).await? else { continue };
            let helped = async {
                let owed = self.ledger.owed(&help, &events, &contents.events, &contents.scopes).await?;
                delivery.deliver_for(&help, &lease.object, &owed).await
            };
            let helped = helped.await;
            // Given back also after a failure: its owner may be waiting.
            let left = self.ledger.release_help(&help).await;
            helped?;
            left?;
        }
        Err(IngestAbort::ClaimAgain)
    }

    async fn unproven(&self, foreign: Vec<ForeignClaim>) -> Result<Vec<ForeignClaim>, IngestAbort> {
        Ok(self.ledger.unproven(foreign).await?.into_iter().map(|(event, _)| event).collect())
    }
}

impl Quarantined {
    /// One that an earlier attempt set aside, from the reason in its row.
    fn from_stored(stored: &str) -> Self {
        let (kind, reason) = stored.split_once(": ").unwrap_or(("unknown", stored));
        Self { kind: kind.to_owned(), reason: reason.to_owned(), before: true }
    }
}

impl Claims {
    /// Whether the event at this index is this object's to deliver.
    fn mine(&self, ordinal: u32) -> bool {
        self.results[ordinal as usize] == Claim::Mine
    }
}
