//! Reset: resets an object's row, so that the object is processed again.
//!
//! The row is not deleted. Other objects treat a missing owner row as done, so a deleted row would prove the delivery
//! of events that were never delivered.

use crate::ledger::Ledger;
use crate::ledger::model::row::{Change, Guard, Row, Status};
use crate::ledger::store::{StoreError, WriteError};
use crate::object::{Object, ObjectId};

/// Result of reopening an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReopenOutcome {
    /// The row is open with cursor 0. The next worker that leases the object delivers all events that the object
    /// owns.
    Reopened(Row),
    /// A worker holds the lease until this row's `until`. Nothing was changed.
    Leased(Row),
    /// The operation does not apply to the state of this row. Nothing was changed.
    NotApplicable(Row),
    /// The ledger has no row for this object.
    NotFound,
}

impl Ledger {
    /// Resets an object's row in any state, so that all events it owns are delivered again. Refused while a lease is
    /// live, because its worker would continue with outdated state.
    ///
    /// Events that other objects own, and events that helpers delivered, are not delivered again. To deliver the events
    /// of another owner again, reset that owner.
    ///
    /// # Errors
    /// Errors of the store. The result is then unknown; repeat the call to find out.
    pub async fn reset(&self, id: ObjectId) -> Result<ReopenOutcome, StoreError> {
        self.reopen_by_id(id, Guard::Unleased { now: self.now() }).await
    }

    /// Reopens a quarantined object from its first event. Events that it owns and that were delivered before the
    /// quarantine are delivered again. An object that is done, open, settled or leased is not changed.
    ///
    /// # Errors
    /// Errors of the store. The result is then unknown; repeat the call to find out.
    pub async fn reopen_quarantined(&self, id: ObjectId) -> Result<ReopenOutcome, StoreError> {
        self.reopen_by_id(id, Guard::Quarantined { now: self.now() }).await
    }

    /// Calls [`Ledger::reopen_quarantined`] and returns whether the object is now open.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn retry(&self, object: &Object) -> Result<bool, StoreError> {
        Ok(matches!(self.reopen_quarantined(object.id()).await?, ReopenOutcome::Reopened(_)))
    }

    async fn reopen_by_id(&self, id: ObjectId, guard: Guard) -> Result<ReopenOutcome, StoreError> {
        match self.store.change_row_by_id(id, guard, &Change::Reset).await {
            Ok(row) => Ok(ReopenOutcome::Reopened(row)),
            Err(WriteError::Refused(None)) => Ok(ReopenOutcome::NotFound),
            Err(WriteError::Refused(Some(row))) if row.leased(self.now()) => Ok(ReopenOutcome::Leased(*row)),
            // Another worker reopened the row, or this write did and its reply was lost.
            Err(WriteError::Refused(Some(row))) if row.status == Status::Open => Ok(ReopenOutcome::Reopened(*row)),
            Err(WriteError::Refused(Some(row))) => Ok(ReopenOutcome::NotApplicable(*row)),
            Err(WriteError::Store(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::model::row::Counts;
    use crate::ledger::store::memory::Memory;
    use crate::ledger::{Lease, LeaseOutcome, LedgerError, ObjectState};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    struct Fixture {
        ledger: Ledger,
        now: Arc<AtomicI64>,
    }

    impl Fixture {
        fn new() -> Self {
            let now = Arc::new(AtomicI64::new(1_000));
            let clock = Arc::clone(&now);
            let clock = Arc::new(move || clock.load(Ordering::SeqCst));
            Self { ledger: Ledger::new(Arc::new(Memory::default()), clock, 90 * 86_400), now }
        }

        async fn lease(&self, key: &str) -> Lease {
            match self.ledger.lease(&object(key), 2_000).await {
                Ok(LeaseOutcome::Granted(lease)) => lease,
                other => panic!("not granted: {other:?}"),
            }
        }
    }

    fn object(key: &str) -> Object {
        Object { bucket: "b".to_owned(), key: key.to_owned(), etag: "e".to_owned() }
    }

    #[tokio::test]
    async fn retry_reopens_only_quarantined_objects() {
        let fixture = Fixture::new();
        let ledger = &fixture.ledger;
        ledger.quarantine(&fixture.lease("bad").await, "corrupt").await.unwrap();
        ledger.complete(&fixture.lease("done").await, Counts::default()).await.unwrap();
        fixture.lease("leased").await;
        let mut started = fixture.lease("started").await;
        ledger.advance(&mut started, 7).await.unwrap();
        ledger.release(&started).await.unwrap();
        assert!(ledger.retry(&object("bad")).await.unwrap());
        assert!(ledger.retry(&object("bad")).await.unwrap(), "a repeat after a lost reply");
        assert!(!ledger.retry(&object("done")).await.unwrap());
        assert!(!ledger.retry(&object("leased")).await.unwrap());
        assert!(!ledger.retry(&object("absent")).await.unwrap());
        ledger.retry(&object("started")).await.unwrap();
        assert_eq!(fixture.lease("started").await.progress.cursor, 7, "an open object keeps its cursor");
        let states = ledger.states(&["bad", "done"].map(object)).await.unwrap();
        assert_eq!(states, [ObjectState::Unfinished, ObjectState::Done]);
        fixture.lease("bad").await;
    }

    #[tokio::test]
    async fn reset_covers_every_state_except_under_a_live_lease() {
        let fixture = Fixture::new();
        let ledger = &fixture.ledger;
        ledger.quarantine(&fixture.lease("bad").await, "corrupt").await.unwrap();
        ledger.complete(&fixture.lease("done").await, Counts::default()).await.unwrap();
        let mut settled = fixture.lease("settled").await;
        ledger.settle(&mut settled).await.unwrap();
        ledger.release(&settled).await.unwrap();
        let mut started = fixture.lease("started").await;
        ledger.advance(&mut started, 3).await.unwrap();
        let outcome = ledger.reset(object("started").id()).await.unwrap();
        assert!(matches!(outcome, ReopenOutcome::Leased(row) if row.cursor == 3));
        fixture.now.store(2_001, Ordering::SeqCst);
        for key in ["bad", "done", "settled", "started"] {
            let outcome = ledger.reset(object(key).id()).await.unwrap();
            let blank = Change::Release.apply(None, &object(key));
            assert_eq!(outcome, ReopenOutcome::Reopened(blank), "{key}");
        }
        assert_eq!(ledger.reset(object("absent").id()).await.unwrap(), ReopenOutcome::NotFound);
    }

    #[tokio::test]
    async fn late_repeat_of_the_last_write_does_not_undo_a_reset() {
        let fixture = Fixture::new();
        let ledger = &fixture.ledger;
        let (done, bad) = (fixture.lease("done").await, fixture.lease("bad").await);
        ledger.complete(&done, Counts::default()).await.unwrap();
        ledger.quarantine(&bad, "corrupt").await.unwrap();
        ledger.reset(done.id).await.unwrap();
        ledger.retry(&bad.object).await.unwrap();
        // The replies were lost, and both workers repeat their last request.
        assert!(matches!(ledger.complete(&done, Counts::default()).await, Err(LedgerError::LeaseLost)));
        assert!(matches!(ledger.quarantine(&bad, "corrupt").await, Err(LedgerError::LeaseLost)));
        let states = ledger.states(&["done", "bad"].map(object)).await.unwrap();
        assert_eq!(states, [ObjectState::Unfinished, ObjectState::Unfinished]);
    }
}
