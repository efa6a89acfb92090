//! Reads the states of many objects, without taking a lease.

use crate::ledger::Ledger;
use crate::ledger::model::quarantine::QuarantineKind;
use crate::ledger::model::row::{Row, Seconds, Status};
use crate::ledger::store::StoreError;
use crate::object::{Object, ObjectId};
use futures_util::{StreamExt, stream};

/// The maximum number of rows in one request, from `BatchGetItem`.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
const MAX_ROWS_PER_REQUEST: usize = 100;

/// State of an object in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectState {
    /// No row: the object was never started, or it was done and its row expired. If a key is overwritten, its new
    /// version is such an object.
    Absent,
    /// Started, not done, and not leased.
    Unfinished,
    /// A worker holds a lease on the object.
    Leased {
        /// End of that lease.
        until: Seconds,
    },
    /// Every event of the object is delivered.
    Done,
    /// Excluded from processing, for a reason of this kind.
    Quarantined(QuarantineKind),
    /// Quarantined for a reason that only a person can judge, and a person accepted this. Not reopened together with
    /// other quarantined objects.
    QuarantineAccepted,
}

impl Ledger {
    /// Returns the states of these objects, in their order. Strongly consistent, but only a snapshot: lease an object
    /// before acting on it.
    pub async fn states(&self, objects: &[Object]) -> Result<Vec<ObjectState>, StoreError> {
        let ids: Vec<ObjectId> = objects.iter().map(Object::id).collect();
        let requests: Vec<_> = ids.chunks(MAX_ROWS_PER_REQUEST).map(|ids| self.store.rows(ids)).collect();
        let mut answers = stream::iter(requests).buffered(self.concurrency);
        let mut states = Vec::with_capacity(ids.len());
        while let Some(rows) = answers.next().await {
            let now = self.now();
            states.extend(rows?.into_iter().map(|row| state(row.as_ref(), now)));
        }
        if states.len() != objects.len() {
            let (requested, returned) = (objects.len(), states.len());
            return Err(StoreError::Unreadable(format!(
                "requested {requested} rows, but the store returned {returned}"
            )));
        }
        Ok(states)
    }

    /// Returns the start of the retention. The ledger still has the row of every object that was completed after this
    /// time. Rows of objects that were completed earlier may be deleted.
    pub fn retention_start(&self) -> Seconds {
        self.now() - self.retention
    }
}

fn state(row: Option<&Row>, now: Seconds) -> ObjectState {
    match row {
        None => ObjectState::Absent,
        Some(Row { status: Status::Done, .. }) => ObjectState::Done,
        Some(row) if row.leased(now) => ObjectState::Leased { until: row.until },
        Some(Row { status: Status::Quarantined, reason, accepted, .. }) => {
            match QuarantineKind::of(reason.as_deref().unwrap_or_default()) {
                QuarantineKind::Other if accepted.is_some() => ObjectState::QuarantineAccepted,
                kind => ObjectState::Quarantined(kind),
            }
        }
        Some(Row { status: Status::Open | Status::Settled, .. }) => ObjectState::Unfinished,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::model::row::Counts;
    use crate::ledger::store::memory::Memory;
    use crate::ledger::{LeaseOutcome, Ledger};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    fn object(number: usize) -> Object {
        Object { bucket: "logs".to_owned(), key: format!("key-{number}"), etag: "e".to_owned() }
    }

    #[tokio::test]
    async fn states_are_returned_in_request_order() {
        let now = Arc::new(AtomicI64::new(1_000));
        let clock = Arc::clone(&now);
        let ledger =
            Ledger::new(Arc::new(Memory::default()), Arc::new(move || clock.load(Ordering::SeqCst)), 90 * 86_400);
        let lease = async |number, until| match ledger.lease(&object(number), until).await {
            Ok(LeaseOutcome::Granted(lease)) => lease,
            other => panic!("not granted: {other:?}"),
        };
        ledger.complete(&lease(0, 2_000).await, Counts::default()).await.unwrap();
        ledger.quarantine(&lease(1, 2_000).await, "bad").await.unwrap();
        lease(2, 2_000).await;
        let mut settled = lease(3, 1_500).await;
        ledger.settle(&mut settled).await.unwrap();
        ledger.release(&lease(4, 2_000).await).await.unwrap();
        // Request more than one batch, so that results in the wrong order are detected.
        let requested: Vec<Object> = (0..250).map(object).collect();
        let expected = |settled| {
            [
                ObjectState::Done,
                ObjectState::Quarantined(QuarantineKind::Other),
                ObjectState::Leased { until: 2_000 },
                settled,
                ObjectState::Unfinished,
            ]
        };
        let states = ledger.states(&requested).await.unwrap();
        assert_eq!(states[..5], expected(ObjectState::Leased { until: 1_500 }));
        assert!(states.len() == 250 && states[5..].iter().all(|state| *state == ObjectState::Absent));
        now.store(1_501, Ordering::SeqCst);
        assert_eq!(ledger.states(&requested).await.unwrap()[..5], expected(ObjectState::Unfinished));
    }

    #[tokio::test]
    async fn replaced_key_is_absent() {
        let ledger = Ledger::new(Arc::new(Memory::default()), Arc::new(|| 1_000), 90 * 86_400);
        let Ok(LeaseOutcome::Granted(lease)) = ledger.lease(&object(0), 2_000).await else { panic!("not granted") };
        ledger.complete(&lease, Counts::default()).await.unwrap();
        let replaced = Object { etag: "other".to_owned(), ..object(0) };
        assert_eq!(ledger.states(&[object(0), replaced]).await.unwrap(), [ObjectState::Done, ObjectState::Absent]);
    }
}
