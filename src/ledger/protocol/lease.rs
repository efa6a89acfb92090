//! Lease: the exclusive right to process an object until a given time, and every write under it.

use crate::ledger::model::row::{Change, Counts, Guard, Row, Seconds, Status, Token};
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
    /// Every owned event with an ordinal below this is delivered.
    pub cursor: u32,
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
        /// Why a person accepted this, if so.
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
                let lease = Lease { object: object.clone(), id: object.id(), token, until, cursor: row.cursor };
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
        self.write_under_lease(lease.id, lease.token, &Change::Advance(cursor)).await?;
        lease.cursor = cursor;
        Ok(())
    }

    /// Resets the cursor to the first event, before an event below it is claimed again.
    pub(crate) async fn reset_cursor(&self, lease: &mut Lease) -> Result<(), LedgerError> {
        self.write_under_lease(lease.id, lease.token, &Change::ResetCursor).await?;
        lease.cursor = 0;
        Ok(())
    }

    /// Records that all events this object owns are delivered.
    pub async fn settle(&self, lease: &mut Lease) -> Result<(), LedgerError> {
        lease.cursor = self.write_under_lease(lease.id, lease.token, &Change::Settle).await?.cursor;
        Ok(())
    }

    /// Records that every event of the object is delivered. Ends the lease.
    pub async fn complete(&self, lease: &Lease, counts: Counts) -> Result<(), LedgerError> {
        let change = Change::Complete { counts, expires: self.now() + self.retention };
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

    async fn write_under_lease(&self, id: ObjectId, token: Token, change: &Change) -> Result<Row, LedgerError> {
        match self.store.change_row_by_id(id, Guard::Held(token), change).await {
            Ok(row) => Ok(row),
            Err(WriteError::Refused(_)) => Err(LedgerError::LeaseLost),
            Err(WriteError::Store(error)) => Err(error.into()),
        }
    }
}
