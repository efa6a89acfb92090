//! Reopen: handles listed objects that cannot be read for a cause outside of the object: it is archived, or its KMS key
//! cannot be used.
//!
//! Such objects are quarantined, so that they are named and not fetched again. When the listing shows that the cause is
//! gone, the object is reopened with [`Ledger::reopen_quarantined`], which is refused under a live lease. The listing
//! shows whether an object is archived. It does not show the state of a key, so one GET request of one byte decides for
//! all objects of the same account, region and key.

use super::reconcile::{ListedKey, is_archived};
use crate::ledger::model::quarantine::QuarantineKind;
use crate::ledger::store::StoreError;
use crate::ledger::{LeaseOutcome, Ledger, LedgerError, ObjectState, ReopenOutcome};
use crate::object::key::{Recognized, recognize};
use crate::object::{ArchiveState, Object, ObjectRef};
use crate::source::{Source, SourceError};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;

/// Maximum number of concurrent ledger requests for one page.
const CONCURRENCY: usize = 16;

/// Duration in seconds of the lease under which an archived object is quarantined. The quarantine is the only write
/// under the lease, and it is refused after another worker has taken over.
const LEASE_SECONDS: i64 = 60;

/// The objects that one KMS key encrypts, according to their names and quarantine reasons.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct KeyGroup {
    account: String,
    region: String,
    /// Hash of the key's name.
    key: u64,
}

/// What one pass over a source found out about KMS keys.
#[derive(Debug, Default)]
pub(crate) struct KeyProbes {
    /// For each group, whether its key can be used.
    usable: Mutex<HashMap<KeyGroup, Arc<OnceCell<bool>>>>,
    requests: AtomicU64,
}

impl KeyProbes {
    /// Returns the number of GET requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Returns whether the key of a quarantined object can be used. The first object of a group decides for the group.
    /// An object that was deleted or replaced is reopened and decides nothing.
    async fn is_usable(&self, source: &dyn Source, object: &Object, key: u64) -> bool {
        let (account, region) = match recognize(&object.key) {
            Recognized::Log { account, region, .. } => (account, region),
            Recognized::Digest | Recognized::NotALog(_) => ("", ""),
        };
        let group = KeyGroup { account: account.to_owned(), region: region.to_owned(), key };
        let cell = {
            let mut usable = self.usable.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(usable.entry(group).or_default())
        };
        let probe = async || {
            self.requests.fetch_add(1, Ordering::Relaxed);
            match source.fetch_range(object, 0, 1).await {
                Ok(_) => Ok(true),
                Err(SourceError::Missing(_) | SourceError::Changed(..)) => Err(()),
                Err(SourceError::KmsKey(_)) => Ok(false),
                Err(error) => {
                    tracing::warn!(%object, %error, "cannot determine whether the object's KMS key can be used; it stays quarantined");
                    Ok(false)
                }
            }
        };
        cell.get_or_try_init(probe).await.copied().unwrap_or(true)
    }
}

/// Reopens the quarantined objects of a page whose cause is gone. With `dry_run`, nothing is written and no key is
/// tested: only the states of restored objects are changed in the page.
pub(crate) async fn reopen(
    source: &dyn Source,
    ledger: &Ledger,
    probes: &KeyProbes,
    page: &mut [ListedKey],
    dry_run: bool,
) -> Result<(), StoreError> {
    let changes = page.iter_mut().filter_map(|listed| Some((listed.at.object()?, listed))).map(
        async |(object, listed)| -> Result<(), StoreError> {
            let cause_is_gone = match listed.log_state() {
                // If the listing does not show whether the object is archived, it is reopened: the next attempt to read
                // it decides.
                Some(ObjectState::Quarantined(QuarantineKind::Archived)) => listed.at.archive != ArchiveState::Archived,
                Some(ObjectState::Quarantined(QuarantineKind::Kms { key })) => {
                    !dry_run
                        && listed.at.archive != ArchiveState::Archived
                        && probes.is_usable(source, &object, key).await
                }
                _ => false,
            };
            if cause_is_gone {
                let new = if dry_run { ObjectState::Unfinished } else { reopen_object(ledger, &object).await? };
                listed.set_log_state(new);
            }
            Ok(())
        },
    );
    // Collected first, because most objects of a page need no request.
    let changes: Vec<_> = changes.collect();
    stream::iter(changes).buffer_unordered(CONCURRENCY).try_collect::<()>().await
}

async fn reopen_object(ledger: &Ledger, object: &Object) -> Result<ObjectState, StoreError> {
    Ok(match ledger.reopen_quarantined(object.id()).await? {
        ReopenOutcome::Reopened(_) => ObjectState::Unfinished,
        // Another worker holds a lease, or it finished the object in the meantime.
        ReopenOutcome::Leased(row) | ReopenOutcome::NotApplicable(row) => ObjectState::Leased { until: row.until },
        ReopenOutcome::NotFound => ObjectState::Absent,
    })
}

/// Quarantines the archived objects of a page that have no row or are unfinished. They are not fetched.
pub(crate) async fn quarantine_archived(ledger: &Ledger, page: &mut [ListedKey]) -> Result<(), StoreError> {
    let archived = page.iter_mut().filter_map(|listed| {
        let state = listed.log_state().filter(|&state| is_archived(&listed.at, state))?;
        Some((listed.at.object()?, listed, state))
    });
    let changes: Vec<_> = archived
        .map(async |(object, listed, _)| -> Result<(), StoreError> {
            let new = match quarantine(ledger, &object, &archived_reason(&listed.at)).await {
                Ok(new) => new,
                Err(LedgerError::Store(error)) => return Err(error),
                // Another worker took over.
                Err(_) => ObjectState::Leased { until: ledger.now() },
            };
            listed.set_log_state(new);
            Ok(())
        })
        .collect();
    stream::iter(changes).buffer_unordered(CONCURRENCY).try_collect::<()>().await
}

async fn quarantine(ledger: &Ledger, object: &Object, text: &str) -> Result<ObjectState, LedgerError> {
    Ok(match ledger.lease(object, ledger.now() + LEASE_SECONDS).await? {
        LeaseOutcome::Granted(lease) => {
            ledger.quarantine(&lease, &format!("{}: {text}", QuarantineKind::ARCHIVED)).await?;
            ObjectState::Quarantined(QuarantineKind::Archived)
        }
        LeaseOutcome::Done => ObjectState::Done,
        LeaseOutcome::Quarantined { reason, .. } => ObjectState::Quarantined(QuarantineKind::of(&reason)),
        LeaseOutcome::Leased { until } => ObjectState::Leased { until },
    })
}

/// Returns the text of the reason for an object that is listed as archived.
pub(crate) fn archived_reason(at: &ObjectRef) -> String {
    format!("{at} is archived: restore it, then run a sync or backfill that covers it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::HelpOutcome;
    use crate::ledger::store::memory::Memory;
    use crate::listing::reconcile::KeyState;
    use crate::source::{ListPage, Listing};
    use async_trait::async_trait;

    /// A source that rejects every request, because the test must not send any.
    #[derive(Debug)]
    struct Unrequested;

    #[async_trait]
    impl Source for Unrequested {
        async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
            Err(SourceError::Unavailable(format!("{at} was requested")))
        }

        async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
            Err(SourceError::Unavailable(format!("{object} was requested")))
        }

        async fn list(&self, request: &Listing<'_>) -> Result<ListPage, SourceError> {
            Err(SourceError::Unavailable(format!("{} was listed", request.prefix)))
        }
    }

    #[tokio::test]
    async fn object_under_a_live_lease_is_not_reopened() {
        let ledger = Ledger::new(Arc::new(Memory::default()), Arc::new(|| 1_000), 90 * 86_400);
        let at = ObjectRef::new("logs", "k").with_version("e", 1);
        let object = at.object().unwrap();
        let quarantined = quarantine(&ledger, &object, "restore it").await.unwrap();
        assert_eq!(quarantined, ObjectState::Quarantined(QuarantineKind::Archived));
        // The page was looked up before a helper leased the row to deliver the object's events on its behalf.
        let at = ObjectRef { archive: ArchiveState::Readable, ..at };
        let state = KeyState::Log { state: quarantined, day: None, past_retention: false };
        let HelpOutcome::Granted(help) = ledger.help(object.id(), 2_000).await.unwrap() else { panic!("not granted") };
        let mut page = [ListedKey { at, state }];
        let probes = KeyProbes::default();
        reopen(&Unrequested, &ledger, &probes, &mut page, false).await.unwrap();
        assert_eq!(page[0].log_state(), Some(ObjectState::Leased { until: 2_000 }));
        ledger.release_help(&help).await.unwrap();
        assert_eq!(ledger.states(std::slice::from_ref(&object)).await.unwrap(), [quarantined]);
        page[0].set_log_state(quarantined);
        reopen(&Unrequested, &ledger, &probes, &mut page, false).await.unwrap();
        assert_eq!(ledger.states(&[object]).await.unwrap(), [ObjectState::Unfinished]);
    }

    /// A source whose objects can be read, except a deleted one.
    #[derive(Debug)]
    struct WithDeletedObject(&'static str);

    #[async_trait]
    impl Source for WithDeletedObject {
        async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
            Ok(at.clone())
        }

        async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
            match object.key == self.0 {
                true => Err(SourceError::Missing(object.to_string())),
                false => Ok(vec![0]),
            }
        }

        async fn list(&self, _: &Listing<'_>) -> Result<ListPage, SourceError> {
            Ok(ListPage::default())
        }
    }

    /// Quarantines an object because of its KMS key, and returns it as it is listed.
    async fn quarantined_for_its_key(ledger: &Ledger, key: &str, archive: ArchiveState) -> ListedKey {
        let at = ObjectRef { archive, ..ObjectRef::new("logs", key).with_version("e", 1) };
        let LeaseOutcome::Granted(lease) = ledger.lease(&at.object().unwrap(), 2_000).await.unwrap() else {
            panic!("not granted")
        };
        let reason = "kms: the key arn:aws:kms:eu-west-1:111122223333:key/1 is disabled";
        ledger.quarantine(&lease, reason).await.unwrap();
        let state = ObjectState::Quarantined(QuarantineKind::of(reason));
        ListedKey { at, state: KeyState::Log { state, day: None, past_retention: false } }
    }

    fn ledger() -> Ledger {
        Ledger::new(Arc::new(Memory::default()), Arc::new(|| 1_000), 90 * 86_400)
    }

    #[tokio::test]
    async fn archived_object_is_not_reopened_although_its_key_can_be_used() {
        let (ledger, probes) = (ledger(), KeyProbes::default());
        let mut page = [quarantined_for_its_key(&ledger, "k", ArchiveState::Archived).await];
        let before = page[0].log_state();
        reopen(&WithDeletedObject("none"), &ledger, &probes, &mut page, false).await.unwrap();
        assert_eq!((page[0].log_state(), probes.requests()), (before, 0));
    }

    #[tokio::test]
    async fn deleted_object_does_not_decide_whether_the_key_of_others_can_be_used() {
        let (ledger, probes) = (ledger(), KeyProbes::default());
        for key in ["deleted", "present"] {
            let mut page = [quarantined_for_its_key(&ledger, key, ArchiveState::Readable).await];
            reopen(&WithDeletedObject("deleted"), &ledger, &probes, &mut page, false).await.unwrap();
            assert_eq!(page[0].log_state(), Some(ObjectState::Unfinished), "{key}");
        }
        assert_eq!(probes.requests(), 2);
    }
}
