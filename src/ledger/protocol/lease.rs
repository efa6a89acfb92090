//! Lease: the right to work on an object until a time, and every note a worker writes under it.

use crate::ledger::model::row::{Change, Counts, Guard, Row, Seconds, Status, Token};
use crate::ledger::store::WriteError;
use crate::ledger::{Ledger, LedgerError};
use crate::object::{Object, ObjectId};

/// The right to work on an object.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The object.
    pub object: Object,
    /// Its name in the ledger.
    pub id: ObjectId,
    /// Presented with every write.
    pub token: Token,
    /// Until when.
    pub until: Seconds,
    /// Every owned event with an ordinal below this is delivered.
    pub cursor: u32,
}

/// Whether a lease was granted.
#[derive(Debug)]
pub enum LeaseOutcome {
    /// Work on.
    Granted(Lease),
    /// Every event of the object is delivered.
    Done,
    /// The object is set aside, for this reason.
    Quarantined(String),
    /// Another worker's, until this time.
    Leased {
        /// When that lease ends.
        until: Seconds,
    },
}

impl Ledger {
    /// Leases `object` until `until`, which must lie behind the moment at which this process is stopped: a lease that
    /// ended earlier would let two workers deliver at once.
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
                Status::Quarantined => LeaseOutcome::Quarantined(row.reason.unwrap_or_default()),
                Status::Open | Status::Settled => LeaseOutcome::Leased { until: row.until },
            }),
            // Deleted between refusal and answer: it was done.
            Err(WriteError::Refused(None)) => Ok(LeaseOutcome::Done),
            Err(WriteError::Store(error)) => Err(error.into()),
        }
    }

    /// Notes that every owned event below `cursor` is delivered.
    pub async fn advance(&self, lease: &mut Lease, cursor: u32) -> Result<(), LedgerError> {
        self.note(lease.id, lease.token, &Change::Advance(cursor)).await?;
        lease.cursor = cursor;
        Ok(())
    }

    /// Takes the cursor back to the first event, before an event below it is claimed anew.
    pub(crate) async fn reopen(&self, lease: &mut Lease) -> Result<(), LedgerError> {
        self.note(lease.id, lease.token, &Change::Reopen).await?;
        lease.cursor = 0;
        Ok(())
    }

    /// Notes that all this object owns is delivered.
    pub async fn settle(&self, lease: &mut Lease) -> Result<(), LedgerError> {
        lease.cursor = self.note(lease.id, lease.token, &Change::Settle).await?.cursor;
        Ok(())
    }

    /// Notes that every event of the object is delivered. Ends the lease.
    pub async fn complete(&self, lease: &Lease, counts: Counts) -> Result<(), LedgerError> {
        let change = Change::Complete { counts, expires: self.now() + self.retention };
        self.note(lease.id, lease.token, &change).await.map(drop)
    }

    /// Sets the object aside. Ends the lease.
    pub async fn quarantine(&self, lease: &Lease, reason: &str) -> Result<(), LedgerError> {
        self.note(lease.id, lease.token, &Change::Quarantine { reason: reason.to_owned() }).await.map(drop)
    }

    /// Ends the lease, so that the next worker need not wait for its end.
    pub async fn release(&self, lease: &Lease) -> Result<(), LedgerError> {
        self.release_row(lease.id, lease.token).await
    }

    pub(crate) async fn release_row(&self, id: ObjectId, token: Token) -> Result<(), LedgerError> {
        match self.note(id, token, &Change::Release).await {
            // A repeat after a lost reply finds the token gone: released is released.
            Err(LedgerError::LeaseLost) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn note(&self, id: ObjectId, token: Token, change: &Change) -> Result<Row, LedgerError> {
        match self.store.change_row_by_id(id, Guard::Held(token), change).await {
            Ok(row) => Ok(row),
            Err(WriteError::Refused(_)) => Err(LedgerError::LeaseLost),
            Err(WriteError::Store(error)) => Err(error.into()),
        }
    }
}
