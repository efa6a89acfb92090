//! Forget: what is noted of an object is taken back, so that it is worked on once more.
//!
//! A row is never deleted for it: to every other object a row that is missing was done, and would prove what nobody
//! delivered.

use crate::ledger::Ledger;
use crate::ledger::model::row::{Change, Guard, Row, Status};
use crate::ledger::store::{StoreError, WriteError};
use crate::object::{Object, ObjectId};

/// What became of a wish to have an object worked on once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReopenOutcome {
    /// It is open, from its first event on: the next worker that meets it delivers all it owns.
    Reopened(Row),
    /// Somebody is at work on it until this row's lease ends: nothing is changed.
    Leased(Row),
    /// It is in a state that this does not change.
    NotApplicable(Row),
    /// The ledger has no row of it.
    NotFound,
}

impl Ledger {
    /// Takes back what is noted of an object, whatever its state: what it owns is delivered again. Not under a live lease,
    /// whose worker would go on as if nothing had happened.
    ///
    /// What other objects own, or delivered in its stead, is not delivered again: forget the owner for that.
    ///
    /// # Errors
    /// The store's. The outcome is then unknown, and a repeat finds out.
    pub async fn forget(&self, id: ObjectId) -> Result<ReopenOutcome, StoreError> {
        self.reopen_by_id(id, Guard::Unleased { now: self.now() }).await
    }

    /// Opens a quarantined object again, from its first event: what of it was delivered before it was set aside is
    /// delivered again, unless another object owns it. An object that is done, half done, or under a live lease stays as
    /// it is.
    ///
    /// # Errors
    /// The store's. The outcome is then unknown, and a repeat finds out.
    pub async fn reopen_quarantined(&self, id: ObjectId) -> Result<ReopenOutcome, StoreError> {
        self.reopen_by_id(id, Guard::Quarantined { now: self.now() }).await
    }

    /// As [`Ledger::reopen_quarantined`]; says whether the object waits for a worker now.
    ///
    /// # Errors
    /// The store's.
    pub async fn retry(&self, object: &Object) -> Result<bool, StoreError> {
        Ok(matches!(self.reopen_quarantined(object.id()).await?, ReopenOutcome::Reopened(_)))
    }

    async fn reopen_by_id(&self, id: ObjectId, guard: Guard) -> Result<ReopenOutcome, StoreError> {
        match self.store.change_row_by_id(id, guard, &Change::Forget).await {
            Ok(row) => Ok(ReopenOutcome::Reopened(row)),
            Err(WriteError::Refused(None)) => Ok(ReopenOutcome::NotFound),
            Err(WriteError::Refused(Some(row))) if row.leased(self.now()) => Ok(ReopenOutcome::Leased(*row)),
            // Opened by somebody else, or by this very write when its reply was lost.
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
    async fn retry_opens_what_is_set_aside_and_nothing_else() {
        let fixture = Fixture::new();
        let ledger = &fixture.ledger;
        ledger.quarantine(&fixture.lease("bad").await, "corrupt").await.unwrap();
        ledger.complete(&fixture.lease("done").await, Counts::default()).await.unwrap();
        fixture.lease("leased").await;
        let mut started = fixture.lease("begun").await;
        ledger.advance(&mut started, 7).await.unwrap();
        ledger.release(&started).await.unwrap();
        assert!(ledger.retry(&object("bad")).await.unwrap());
        assert!(ledger.retry(&object("bad")).await.unwrap(), "a repeat after a lost reply");
        assert!(!ledger.retry(&object("done")).await.unwrap());
        assert!(!ledger.retry(&object("leased")).await.unwrap());
        assert!(!ledger.retry(&object("absent")).await.unwrap());
        ledger.retry(&object("begun")).await.unwrap();
        assert_eq!(fixture.lease("begun").await.cursor, 7, "what is delivered of an open object stays noted");
        let states = ledger.states(&["bad", "done"].map(object)).await.unwrap();
        assert_eq!(states, [ObjectState::Unfinished, ObjectState::Done]);
        fixture.lease("bad").await;
    }

    #[tokio::test]
    async fn what_is_forgotten_begins_anew_in_every_state_but_under_a_lease() {
        let fixture = Fixture::new();
        let ledger = &fixture.ledger;
        ledger.quarantine(&fixture.lease("bad").await, "corrupt").await.unwrap();
        ledger.complete(&fixture.lease("done").await, Counts::default()).await.unwrap();
        let mut settled = fixture.lease("settled").await;
        ledger.settle(&mut settled).await.unwrap();
        ledger.release(&settled).await.unwrap();
        let mut started = fixture.lease("begun").await;
        ledger.advance(&mut started, 3).await.unwrap();
        assert!(
            matches!(ledger.forget(object("begun").id()).await.unwrap(), ReopenOutcome::Leased(row) if row.cursor == 3)
        );
        fixture.now.store(2_001, Ordering::SeqCst);
        for key in ["bad", "done", "settled", "begun"] {
            let outcome = ledger.forget(object(key).id()).await.unwrap();
            let blank = Change::Release.apply(None, &object(key));
            assert_eq!(outcome, ReopenOutcome::Reopened(blank), "{key}");
        }
        assert_eq!(ledger.forget(object("absent").id()).await.unwrap(), ReopenOutcome::NotFound);
    }

    #[tokio::test]
    async fn a_late_repeat_of_the_last_note_does_not_undo_it() {
        let fixture = Fixture::new();
        let ledger = &fixture.ledger;
        let (done, bad) = (fixture.lease("done").await, fixture.lease("bad").await);
        ledger.complete(&done, Counts::default()).await.unwrap();
        ledger.quarantine(&bad, "corrupt").await.unwrap();
        ledger.forget(done.id).await.unwrap();
        ledger.retry(&bad.object).await.unwrap();
        // The replies were lost, and both workers ask again.
        assert!(matches!(ledger.complete(&done, Counts::default()).await, Err(LedgerError::LeaseLost)));
        assert!(matches!(ledger.quarantine(&bad, "corrupt").await, Err(LedgerError::LeaseLost)));
        let states = ledger.states(&["done", "bad"].map(object)).await.unwrap();
        assert_eq!(states, [ObjectState::Unfinished, ObjectState::Unfinished]);
    }
}
