//! Lease: the exclusive right to process an object until a given time, and every write under it.

use crate::ledger::model::ordinals::OrdinalSet;
use crate::ledger::model::row::{Change, Counts, Guard, Row, Seconds, Status, Token};
use crate::ledger::protocol::page_locks::Tick;
use crate::ledger::store::WriteError;
use crate::ledger::{Ledger, LedgerError};
use crate::object::{Object, ObjectId};

/// Lease on an object.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The leased object.
    pub object: Object,
    /// ID of the object in the ledger.
    pub id: ObjectId,
    /// Token that every write under this lease presents.
    pub token: Token,
    /// End of the lease.
    pub until: Seconds,
    /// Which owned events are delivered, as the row states it.
    pub progress: DeliveryProgress,
    /// When the lease was granted. An older view of a page is not used.
    pub(super) granted: Tick,
    /// The latest expiry of the pages that contain events of the object, as the last claim read or wrote them.
    pub(super) pages_expire: Seconds,
}

/// The part of an object's owned events that is delivered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeliveryProgress {
    /// Every owned event with an ordinal below this is delivered.
    pub cursor: u32,
    /// Ordinals at or after the cursor whose events are delivered.
    pub acknowledged: OrdinalSet,
}

impl DeliveryProgress {
    /// Returns whether the event with this ordinal, if the object owns it, is delivered.
    pub fn delivered(&self, ordinal: u32) -> bool {
        ordinal < self.cursor || self.acknowledged.contains(ordinal)
    }
}

/// Result of a lease request.
#[derive(Debug)]
pub enum LeaseOutcome {
    /// The lease is granted.
    Granted(Lease),
    /// Every event of the object is delivered.
    Done,
    /// The object is quarantined.
    Quarantined {
        /// The reason.
        reason: String,
        /// Why a person accepted the quarantine, if so.
        accepted: Option<String>,
    },
    /// Another worker holds the lease.
    Leased {
        /// End of that lease.
        until: Seconds,
    },
}

impl Ledger {
    /// Leases `object` until `until`. `until` must be later than the time at which this process is stopped: a lease
    /// that ended earlier would let two workers deliver at once.
    pub async fn lease(&self, object: &Object, until: Seconds) -> Result<LeaseOutcome, LedgerError> {
        let token = Token::fresh();
        let guard = Guard::Leasable { now: self.now(), token };
        match self.store.change_row(object, guard, &Change::Lease { token, until }).await {
            Ok(row) => {
                let progress = DeliveryProgress { cursor: row.cursor, acknowledged: row.acknowledged };
                let (object, id, granted) = (object.clone(), object.id(), self.page_locks.tick());
                let lease = Lease { object, id, token, until, progress, granted, pages_expire: 0 };
                Ok(LeaseOutcome::Granted(lease))
            }
            Err(WriteError::Refused(Some(row))) => Ok(match row.status {
                Status::Done => LeaseOutcome::Done,
                Status::Quarantined => {
                    LeaseOutcome::Quarantined { reason: row.reason.unwrap_or_default(), accepted: row.accepted }
                }
                Status::Open | Status::Settled => LeaseOutcome::Leased { until: row.until },
            }),
            // The row was deleted between refusal and reply, so it was done.
            Err(WriteError::Refused(None)) => Ok(LeaseOutcome::Done),
            Err(WriteError::Store(error)) => Err(error.into()),
        }
    }

    /// Records that every owned event below `cursor` is delivered.
    pub async fn advance(&self, lease: &mut Lease, cursor: u32) -> Result<(), LedgerError> {
        let acknowledged = lease.progress.acknowledged.at_or_after(cursor);
        // Acknowledged ordinals after the cursor remain only if the calls are packed differently than before.
        let change = match acknowledged.is_empty() {
            true => Change::Advance(cursor),
            false => Change::Acknowledge { cursor, acknowledged: acknowledged.clone() },
        };
        self.write_progress(lease, &change).await?;
        lease.progress = DeliveryProgress { cursor, acknowledged };
        Ok(())
    }

    /// Records a call that was acknowledged in part: every owned event below `cursor`, and the events with these
    /// ordinals, are delivered. A later attempt sends only the rest of the call.
    ///
    /// The size of the set is limited: if *n* records of the call were not acknowledged, it has at most *n* + 1 ranges.
    pub async fn acknowledge(
        &self,
        lease: &mut Lease,
        cursor: u32,
        ranges: impl IntoIterator<Item = (u32, u32)>,
    ) -> Result<(), LedgerError> {
        let mut acknowledged = lease.progress.acknowledged.clone();
        ranges.into_iter().for_each(|(first, end)| acknowledged.insert(first, end));
        let acknowledged = acknowledged.at_or_after(cursor);
        let change = Change::Acknowledge { cursor, acknowledged: acknowledged.clone() };
        self.write_progress(lease, &change).await?;
        lease.progress = DeliveryProgress { cursor, acknowledged };
        Ok(())
    }

    /// Resets the cursor to the first event and removes the acknowledged ordinals, before an event that they state as
    /// delivered is claimed again. The lease continues with a new token.
    pub(crate) async fn reset_cursor(&self, lease: &mut Lease) -> Result<(), LedgerError> {
        let token = Token::fresh();
        let reset =
            self.store.change_row_by_id(lease.id, Guard::Held(lease.token), &Change::ResetCursor { token }).await;
        match reset {
            Ok(_) => {}
            // A repeat of this request after a lost reply: the first one took effect.
            Err(WriteError::Refused(Some(row))) if row.token == Some(token) => {}
            Err(WriteError::Refused(_)) => return Err(LedgerError::LeaseLost),
            Err(WriteError::Store(error)) => return Err(error.into()),
        }
        lease.token = token;
        lease.progress = DeliveryProgress::default();
        Ok(())
    }

    /// Records that all events this object owns are delivered.
    pub async fn settle(&self, lease: &mut Lease) -> Result<(), LedgerError> {
        let row = self.write_progress(lease, &Change::Settle).await?;
        lease.progress = DeliveryProgress { cursor: row.cursor, acknowledged: row.acknowledged };
        Ok(())
    }

    /// Records that every event of the object is delivered. Ends the lease.
    pub async fn complete(&self, lease: &Lease, counts: Counts) -> Result<(), LedgerError> {
        let change = Change::Complete { counts, expires: self.row_expiry(lease.pages_expire) };
        self.write_under_lease(lease.id, lease.token, &change).await.map(drop)
    }

    /// Quarantines the object with `reason`. Ends the lease.
    pub async fn quarantine(&self, lease: &Lease, reason: &str) -> Result<(), LedgerError> {
        let change = Change::Quarantine { reason: reason.to_owned(), at: self.now() };
        self.write_under_lease(lease.id, lease.token, &change).await.map(drop)
    }

    /// Ends the lease, so that the next worker can start immediately.
    pub async fn release(&self, lease: &Lease) -> Result<(), LedgerError> {
        self.release_row(lease.id, lease.token).await
    }

    pub(crate) async fn release_row(&self, id: ObjectId, token: Token) -> Result<(), LedgerError> {
        match self.write_under_lease(id, token, &Change::Release).await {
            // A repeat after a lost reply finds no token: the lease is already released.
            Err(LedgerError::LeaseLost) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Writes a change that records progress, which only an open row admits.
    async fn write_progress(&self, lease: &Lease, change: &Change) -> Result<Row, LedgerError> {
        match self.store.change_row_by_id(lease.id, Guard::HeldOpen(lease.token), change).await {
            Ok(row) => Ok(row),
            // The row is settled already, by an earlier attempt or by this request, whose reply was lost.
            Err(WriteError::Refused(Some(row)))
                if row.token == Some(lease.token) && row.status == Status::Settled && *change == Change::Settle =>
            {
                Ok(*row)
            }
            Err(WriteError::Refused(_)) => Err(LedgerError::LeaseLost),
            Err(WriteError::Store(error)) => Err(error.into()),
        }
    }

    async fn write_under_lease(&self, id: ObjectId, token: Token, change: &Change) -> Result<Row, LedgerError> {
        match self.store.change_row_by_id(id, Guard::Held(token), change).await {
            Ok(row) => Ok(row),
            Err(WriteError::Refused(_)) => Err(LedgerError::LeaseLost),
            Err(WriteError::Store(error)) => Err(error.into()),
        }
    }
}
