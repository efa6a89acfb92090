//! Retry: a quarantined object is worked on once more.

use super::Ledger;
use super::row::{Change, Guard, Token};
use super::store::{StoreError, WriteError};
use crate::object::Object;

impl Ledger {
    /// Opens a quarantined object again, from its first event: what of it was delivered before it was set aside is
    /// delivered again, unless another object owns it. An object that is done, or under a live lease, stays as it is.
    /// Says whether the object is open now.
    pub async fn retry(&self, object: &Object) -> Result<bool, StoreError> {
        let guard = Guard::Helpable { now: self.now(), token: Token::fresh() };
        match self.store.change_row_by_id(object.id(), guard, &Change::Reopen).await {
            Ok(_) => Ok(true),
            Err(WriteError::Refused(_)) => Ok(false),
            Err(WriteError::Store(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::Memory;
    use super::super::row::Counts;
    use super::super::{Leasing, State};
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn only_what_nobody_works_on_and_is_not_done_is_opened_again() {
        let ledger = Ledger::new(Arc::new(Memory::default()), Arc::new(|| 1_000), 90 * 86_400);
        let object = |key: &str| Object { bucket: "b".to_owned(), key: key.to_owned(), etag: "e".to_owned() };
        let lease = async |key: &str| match ledger.lease(&object(key), 2_000).await {
            Ok(Leasing::Granted(lease)) => lease,
            other => panic!("not granted: {other:?}"),
        };
        ledger.quarantine(&lease("bad").await, "corrupt").await.unwrap();
        ledger.complete(&lease("done").await, Counts::default()).await.unwrap();
        lease("leased").await;
        assert!(ledger.retry(&object("bad")).await.unwrap());
        assert!(!ledger.retry(&object("done")).await.unwrap());
        assert!(!ledger.retry(&object("leased")).await.unwrap());
        assert!(!ledger.retry(&object("absent")).await.unwrap());
        let states = ledger.states(&["bad", "done"].map(object)).await.unwrap();
        assert_eq!(states, [State::Unfinished, State::Done]);
        lease("bad").await;
    }
}
