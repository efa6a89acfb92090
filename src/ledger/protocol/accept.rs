//! Accept: a person accepts that an object stays quarantined, or withdraws the acceptance.
//!
//! Acceptance is a mark on the quarantined row. It changes neither what is delivered nor what helpers may do. It is
//! lost when the object is reopened.

use crate::ledger::Ledger;
use crate::ledger::model::row::{Change, Guard, Row, Status};
use crate::ledger::store::{StoreError, WriteError};
use crate::object::ObjectId;

/// Result of accepting a quarantined object, or of withdrawing the acceptance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AcceptOutcome {
    /// The acceptance was recorded or withdrawn. Contains the changed row.
    Changed(Row),
    /// A helper holds the lease until this row's `until`. Nothing was changed.
    Leased(Row),
    /// The object is not quarantined. Nothing was changed.
    NotQuarantined(Row),
    /// The ledger has no row for this object.
    NotFound,
}

impl Ledger {
    /// Records why a person accepts that a quarantined object stays undelivered. An earlier reason is replaced.
    ///
    /// # Errors
    /// Errors of the store. The result is then unknown; repeat the call.
    pub async fn accept(&self, id: ObjectId, reason: &str) -> Result<AcceptOutcome, StoreError> {
        self.change_acceptance(id, &Change::Accept { reason: reason.to_owned() }).await
    }

    /// Withdraws [`Ledger::accept`]. The object stays quarantined.
    ///
    /// # Errors
    /// Errors of the store. The result is then unknown; repeat the call.
    pub async fn withdraw_acceptance(&self, id: ObjectId) -> Result<AcceptOutcome, StoreError> {
        self.change_acceptance(id, &Change::WithdrawAcceptance).await
    }

    async fn change_acceptance(&self, id: ObjectId, change: &Change) -> Result<AcceptOutcome, StoreError> {
        match self.store.change_row_by_id(id, Guard::Quarantined { now: self.now() }, change).await {
            Ok(row) => Ok(AcceptOutcome::Changed(row)),
            Err(WriteError::Refused(None)) => Ok(AcceptOutcome::NotFound),
            Err(WriteError::Refused(Some(row))) if row.status == Status::Quarantined => Ok(AcceptOutcome::Leased(*row)),
            Err(WriteError::Refused(Some(row))) => Ok(AcceptOutcome::NotQuarantined(*row)),
            Err(WriteError::Store(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::model::quarantine::QuarantineKind;
    use crate::ledger::model::row::Counts;
    use crate::ledger::store::memory::Memory;
    use crate::ledger::{Lease, LeaseOutcome, ObjectState};
    use crate::object::Object;
    use std::sync::Arc;

    fn object(key: &str) -> Object {
        Object { bucket: "b".to_owned(), key: key.to_owned(), etag: "e".to_owned() }
    }

    async fn lease(ledger: &Ledger, key: &str) -> Lease {
        match ledger.lease(&object(key), 2_000).await {
            Ok(LeaseOutcome::Granted(lease)) => lease,
            other => panic!("not granted: {other:?}"),
        }
    }

    #[tokio::test]
    async fn acceptance_is_a_reversible_mark_that_reopening_removes() {
        let ledger = Ledger::new(Arc::new(Memory::default()), Arc::new(|| 1_000), 90 * 86_400);
        ledger.quarantine(&lease(&ledger, "bad").await, "gzip: corrupt").await.unwrap();
        ledger.complete(&lease(&ledger, "done").await, Counts::default()).await.unwrap();
        let id = object("bad").id();
        let states = async || ledger.states(&[object("bad")]).await.unwrap();

        let AcceptOutcome::Changed(row) = ledger.accept(id, "lost in 2024").await.unwrap() else { panic!() };
        assert_eq!((row.status, row.accepted.as_deref()), (Status::Quarantined, Some("lost in 2024")));
        assert_eq!((row.quarantined_at, row.reason.as_deref()), (Some(1_000), Some("gzip: corrupt")));
        assert_eq!(states().await, [ObjectState::QuarantineAccepted]);
        let refused = ledger.lease(&object("bad"), 2_000).await.unwrap();
        assert!(matches!(refused, LeaseOutcome::Quarantined { accepted: Some(_), .. }), "{refused:?}");

        let AcceptOutcome::Changed(row) = ledger.withdraw_acceptance(id).await.unwrap() else { panic!() };
        assert_eq!((row.status, row.accepted), (Status::Quarantined, None));
        assert_eq!(states().await, [ObjectState::Quarantined(QuarantineKind::Other)]);

        ledger.accept(id, "again").await.unwrap();
        assert!(ledger.retry(&object("bad")).await.unwrap());
        ledger.quarantine(&lease(&ledger, "bad").await, "gzip: corrupt").await.unwrap();
        assert_eq!(
            states().await,
            [ObjectState::Quarantined(QuarantineKind::Other)],
            "a new quarantine is not accepted"
        );

        let done = ledger.accept(object("done").id(), "x").await.unwrap();
        assert!(matches!(done, AcceptOutcome::NotQuarantined(row) if row.accepted.is_none()));
        assert_eq!(ledger.accept(object("absent").id(), "x").await.unwrap(), AcceptOutcome::NotFound);
    }

    #[tokio::test]
    async fn row_under_the_lease_of_a_helper_is_not_changed() {
        let ledger = Ledger::new(Arc::new(Memory::default()), Arc::new(|| 1_000), 90 * 86_400);
        ledger.quarantine(&lease(&ledger, "bad").await, "gzip: corrupt").await.unwrap();
        ledger.help(object("bad").id(), 2_000).await.unwrap();
        let outcome = ledger.accept(object("bad").id(), "x").await.unwrap();
        assert!(matches!(outcome, AcceptOutcome::Leased(row) if row.until == 2_000 && row.accepted.is_none()));
    }
}
