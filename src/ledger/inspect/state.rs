//! State: how far many objects are, without taking a lease on any.

use crate::ledger::Ledger;
use crate::ledger::model::row::{Row, Seconds, Status};
use crate::ledger::store::StoreError;
use crate::object::{Object, ObjectId};
use futures_util::{StreamExt, stream};

/// Rows asked for at once: what one `BatchGetItem` may name.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
const ROWS_AT_ONCE: usize = 100;

/// What the ledger says of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectState {
    /// Nothing: nobody has begun it, or it is done and forgotten. A replaced key is such an object too.
    Absent,
    /// Begun, not done, and nobody is at work on it.
    Unfinished,
    /// Somebody is at work on it until this time.
    Leased {
        /// When that lease ends.
        until: Seconds,
    },
    /// Every event of it is delivered.
    Done,
    /// Set aside.
    Quarantined,
}

impl Ledger {
    /// What is known of these objects, in their order. Strongly consistent, and only a view: what is acted upon must be
    /// leased.
    pub async fn states(&self, objects: &[Object]) -> Result<Vec<ObjectState>, StoreError> {
        let ids: Vec<ObjectId> = objects.iter().map(Object::id).collect();
        let asked: Vec<_> = ids.chunks(ROWS_AT_ONCE).map(|ids| self.store.rows(ids)).collect();
        let mut answers = stream::iter(asked).buffered(self.concurrency);
        let mut states = Vec::with_capacity(ids.len());
        while let Some(rows) = answers.next().await {
            let now = self.now();
            states.extend(rows?.into_iter().map(|row| state(row.as_ref(), now)));
        }
        if states.len() != objects.len() {
            let (asked, found) = (objects.len(), states.len());
            return Err(StoreError::Unreadable(format!("asked for {asked} rows, the store answered for {found}")));
        }
        Ok(states)
    }

    /// Since when this ledger remembers what is done: a done row may be gone once it is older.
    pub fn retention_start(&self) -> Seconds {
        self.now() - self.retention
    }
}

fn state(row: Option<&Row>, now: Seconds) -> ObjectState {
    match row {
        None => ObjectState::Absent,
        Some(Row { status: Status::Done, .. }) => ObjectState::Done,
        Some(row) if row.leased(now) => ObjectState::Leased { until: row.until },
        Some(Row { status: Status::Quarantined, .. }) => ObjectState::Quarantined,
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
    async fn every_state_is_told_in_the_order_of_the_question() {
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
        // More than one batch, so that an answer out of order would show.
        let asked: Vec<Object> = (0..250).map(object).collect();
        let known = |settled| {
            [
                ObjectState::Done,
                ObjectState::Quarantined,
                ObjectState::Leased { until: 2_000 },
                settled,
                ObjectState::Unfinished,
            ]
        };
        let states = ledger.states(&asked).await.unwrap();
        assert_eq!(states[..5], known(ObjectState::Leased { until: 1_500 }));
        assert!(states.len() == 250 && states[5..].iter().all(|state| *state == ObjectState::Absent));
        now.store(1_501, Ordering::SeqCst);
        assert_eq!(ledger.states(&asked).await.unwrap()[..5], known(ObjectState::Unfinished));
    }

    #[tokio::test]
    async fn a_replaced_key_is_an_object_nobody_has_begun() {
        let ledger = Ledger::new(Arc::new(Memory::default()), Arc::new(|| 1_000), 90 * 86_400);
        let Ok(LeaseOutcome::Granted(lease)) = ledger.lease(&object(0), 2_000).await else { panic!("not granted") };
        ledger.complete(&lease, Counts::default()).await.unwrap();
        let replaced = Object { etag: "other".to_owned(), ..object(0) };
        assert_eq!(ledger.states(&[object(0), replaced]).await.unwrap(), [ObjectState::Done, ObjectState::Absent]);
    }
}
