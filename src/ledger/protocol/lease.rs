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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::model::page::{Page, PageName, Version};
    use crate::ledger::model::row::CURSOR_END;
    use crate::ledger::store::memory::Memory;
    use crate::ledger::store::{Store, StoreError};
    use async_trait::async_trait;
    use std::sync::Arc;

    /// A store that deletes a row between the refusal of a write and its reply.
    #[derive(Debug)]
    struct DeletesRefusedRows(Memory);

    #[async_trait]
    impl Store for DeletesRefusedRows {
        async fn change_row(&self, object: &Object, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
            self.0.change_row(object, guard, change).await.map_err(|error| match error {
                WriteError::Refused(_) => WriteError::Refused(None),
                error => error,
            })
        }

        async fn change_row_by_id(&self, id: ObjectId, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
            self.0.change_row_by_id(id, guard, change).await
        }

        async fn rows(&self, ids: &[ObjectId]) -> Result<Vec<Option<Row>>, StoreError> {
            self.0.rows(ids).await
        }

        async fn pages(&self, names: &[PageName]) -> Result<Vec<Option<Page>>, StoreError> {
            self.0.pages(names).await
        }

        async fn write_page(
            &self,
            name: &PageName,
            current: Option<Version>,
            page: &Page,
        ) -> Result<(), WriteError<Page>> {
            self.0.write_page(name, current, page).await
        }
    }

    async fn leased(store: impl Store + 'static) -> (Ledger, Lease) {
        let ledger = Ledger::new(Arc::new(store), Arc::new(|| 1_000), 90 * 86_400);
        let object = Object { bucket: "b".to_owned(), key: "k".to_owned(), etag: "e".to_owned() };
        match ledger.lease(&object, 2_000).await.unwrap() {
            LeaseOutcome::Granted(lease) => (ledger, lease),
            other => panic!("not granted: {other:?}"),
        }
    }

    /// Only rows of done objects are deleted. If the object counted as leased, its message would wait for nothing.
    #[tokio::test]
    async fn object_whose_row_expires_during_the_request_is_done() {
        let (ledger, lease) = leased(DeletesRefusedRows(Memory::default())).await;
        ledger.complete(&lease, Counts::default()).await.unwrap();
        let outcome = ledger.lease(&lease.object, 2_000).await.unwrap();
        assert!(matches!(outcome, LeaseOutcome::Done), "{outcome:?}");
    }

    /// Otherwise, the row would grow with each call that is acknowledged in part.
    #[tokio::test]
    async fn acknowledged_ordinals_before_the_cursor_are_removed() {
        let (ledger, mut lease) = leased(Memory::default()).await;
        ledger.acknowledge(&mut lease, 1, [(2, 3), (5, 6)]).await.unwrap();
        ledger.acknowledge(&mut lease, 4, [(8, 9)]).await.unwrap();
        let mut kept = OrdinalSet::default();
        kept.insert(5, 6);
        kept.insert(8, 9);
        assert_eq!(lease.progress, DeliveryProgress { cursor: 4, acknowledged: kept.clone() });
        let rows = ledger.store.rows(&[lease.id]).await.unwrap();
        assert_eq!(rows[0].as_ref().map(|row| &row.acknowledged), Some(&kept));
    }

    /// The reply to the first request was lost.
    #[tokio::test]
    async fn repeated_settlement_succeeds() {
        let (ledger, lease) = leased(Memory::default()).await;
        ledger.settle(&mut lease.clone()).await.unwrap();
        let mut repeated = lease;
        ledger.settle(&mut repeated).await.unwrap();
        assert_eq!(repeated.progress.cursor, CURSOR_END);
    }
}
