//! Help: how a worker handles events that other objects own. Ownership never moves to the helper. A helper leases a
//! stalled owner's row, delivers the owner's remaining events and marks them as delivered.

use crate::backoff::Backoff;
use crate::event::EventScope;
use crate::ledger::model::page::{Entry, Owner, PageName, Version};
use crate::ledger::model::row::{Change, Guard, Row, Seconds, Token};
use crate::ledger::protocol::claim::MAX_WRITE_ATTEMPTS;
use crate::ledger::protocol::lookup::{EventLookup, EventLookupResult};
use crate::ledger::protocol::{EventMeta, ForeignClaim, Lease};
use crate::ledger::store::{StoreError, WriteError};
use crate::ledger::{Ledger, LedgerError};
use crate::object::ObjectId;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Lease on a stalled object, taken to finish its deliveries.
#[derive(Debug)]
pub struct Help {
    owner: ObjectId,
    token: Token,
    row: Row,
}

/// Result of leasing a stalled object.
#[derive(Debug)]
pub enum HelpOutcome {
    /// The lease is granted: deliver on behalf of the owner.
    Granted(Box<Help>),
    /// The object is no longer stalled: check its state again.
    NotStalled,
}

impl Ledger {
    /// Returns those events of other objects that are not proven delivered, with the rows of their owners. The caller
    /// reads the pages first, and this method then reads the owners' rows. In the opposite order, an object could start
    /// or be reset after its row was read, and then claim an event before the page is read. The outdated row, absent or
    /// *done*, would count as proof that this event is delivered.
    pub async fn unproven(&self, foreign: Vec<ForeignClaim>) -> Result<Vec<(ForeignClaim, Row)>, LedgerError> {
        let owners: BTreeSet<_> = foreign.iter().map(|event| event.owner).collect();
        let owners: Vec<_> = owners.into_iter().collect();
        let rows = self.store.rows(&owners).await?;
        let rows: HashMap<_, _> = owners.into_iter().zip(rows).collect();
        let unproven = foreign.into_iter().filter_map(|event| {
            // A row is deleted only after it is done, so an owner without a row has delivered.
            let row = rows.get(&event.owner)?.as_ref()?;
            (!row.proves(event.owner_ordinal)).then(|| (event, row.clone()))
        });
        Ok(unproven.collect())
    }

    /// Reads the pages of these events again and returns the events that another object still owns.
    ///
    /// # Errors
    /// [`LedgerError::Gone`] if an entry no longer exists. Then everything must be claimed again.
    pub async fn reread_foreign(
        &self,
        foreign: &[ForeignClaim],
        events: &[EventMeta],
        scopes: &[EventScope],
    ) -> Result<Vec<ForeignClaim>, LedgerError> {
        let found = self.find_again(foreign.iter().map(|event| event.ordinal), events, scopes).await?;
        let foreign = foreign.iter().map(|event| {
            let (_, entry) = found.entries.get(&event.ordinal).ok_or(LedgerError::Gone)?;
            Ok(match entry.owner {
                Owner::Object(owner) => {
                    Some(ForeignClaim { ordinal: event.ordinal, owner, owner_ordinal: entry.ordinal })
                }
                Owner::Delivered => None,
            })
        });
        foreign.filter_map(Result::transpose).collect()
    }

    /// Leases a stalled object's row, so that no other worker delivers for it at the same time.
    pub async fn help(&self, owner: ObjectId, until: Seconds) -> Result<HelpOutcome, LedgerError> {
        let token = Token::fresh();
        let guard = Guard::Helpable { now: self.now(), token };
        match self.store.change_row_by_id(owner, guard, &Change::Lease { token, until }).await {
            Ok(row) => Ok(HelpOutcome::Granted(Box::new(Help { owner, token, row }))),
            Err(WriteError::Refused(_)) => Ok(HelpOutcome::NotStalled),
            Err(WriteError::Store(error)) => Err(error.into()),
        }
    }

    /// Returns the ordinals of those events that the helped object must still deliver, according to the current
    /// pages and to the row as it was leased.
    ///
    /// # Errors
    /// [`LedgerError::Gone`] if an entry no longer exists or has another owner.
    pub async fn undelivered(
        &self,
        help: &Help,
        foreign: &[ForeignClaim],
        events: &[EventMeta],
        scopes: &[EventScope],
    ) -> Result<Vec<u32>, LedgerError> {
        let current = self.reread_foreign(foreign, events, scopes).await?;
        if current.iter().any(|event| event.owner != help.owner) {
            return Err(LedgerError::Gone);
        }
        Ok(current.iter().filter(|event| !help.row.proves(event.owner_ordinal)).map(|event| event.ordinal).collect())
    }

    /// Marks events as delivered on behalf of their owner.
    ///
    /// # Errors
    /// [`LedgerError::Gone`] if an entry no longer exists or has another owner. [`LedgerError::Contended`] if a page
    /// changed on every attempt.
    pub async fn mark_delivered(
        &self,
        help: &Help,
        ordinals: &[u32],
        events: &[EventMeta],
        scopes: &[EventScope],
    ) -> Result<(), LedgerError> {
        let set_delivered = |entry: &mut Entry, _| *entry = Entry { owner: Owner::Delivered, ordinal: None, ..*entry };
        self.change_entries(help.owner, ordinals, events, scopes, set_delivered).await
    }

    /// Adds the ordinals to the entries of these events, which the leased object owns. The entries of an object that
    /// needs only one call have no ordinals. If that call was acknowledged in part, a helper needs the ordinals to
    /// recognize the acknowledged events.
    ///
    /// # Errors
    /// The errors of [`Ledger::mark_delivered`].
    pub async fn record_ordinals(
        &self,
        lease: &Lease,
        ordinals: &[u32],
        events: &[EventMeta],
        scopes: &[EventScope],
    ) -> Result<(), LedgerError> {
        let set_ordinal = |entry: &mut Entry, ordinal| entry.ordinal = Some(ordinal);
        self.change_entries(lease.id, ordinals, events, scopes, set_ordinal).await
    }

    /// Changes the entries of events that `owner` owns. Entries that are marked as delivered are not changed. A page is
    /// written only if one of its entries differs.
    async fn change_entries(
        &self,
        owner: ObjectId,
        ordinals: &[u32],
        events: &[EventMeta],
        scopes: &[EventScope],
        change: impl Fn(&mut Entry, u32) + Copy + Send,
    ) -> Result<(), LedgerError> {
        let mut remaining: Vec<u32> = ordinals.to_vec();
        let mut backoff = self.write_pace.map(|pace| Backoff::new(pace, fastrand::f64));
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let mut found = self.find_again(remaining.iter().copied(), events, scopes).await?;
            let mut by_page: BTreeMap<PageName, Vec<u32>> = BTreeMap::new();
            for &ordinal in &remaining {
                let (name, entry) = found.entries.get(&ordinal).ok_or(LedgerError::Gone)?;
                match entry.owner {
                    Owner::Delivered => {}
                    Owner::Object(current) if current == owner => {
                        let mut changed = *entry;
                        change(&mut changed, ordinal);
                        if changed != *entry {
                            by_page.entry(name.clone()).or_default().push(ordinal);
                        }
                    }
                    Owner::Object(_) => return Err(LedgerError::Gone),
                }
            }
            remaining.clear();
            for (name, ordinals) in by_page {
                if !self.change_page(&mut found, &name, &ordinals, events, change).await? {
                    remaining.extend(ordinals);
                }
            }
            if remaining.is_empty() {
                return Ok(());
            }
            if let Some(backoff) = &mut backoff {
                tokio::time::sleep(backoff.wait()).await;
            }
        }
        Err(LedgerError::Contended(format!("pages of {} events", remaining.len()), MAX_WRITE_ATTEMPTS))
    }

    /// Releases a helped object's lease. The cursor and the acknowledged ordinals stay, because they state only what
    /// the owner delivered itself.
    pub async fn release_help(&self, help: &Help) -> Result<(), LedgerError> {
        self.release_row(help.owner, help.token).await
    }

    /// Changes the entries of these events in one page. Returns false if another worker changed the page.
    async fn change_page(
        &self,
        found: &mut EventLookupResult,
        name: &PageName,
        ordinals: &[u32],
        events: &[EventMeta],
        change: impl Fn(&mut Entry, u32) + Send,
    ) -> Result<bool, LedgerError> {
        let mut page = found.pages.remove(name).ok_or(LedgerError::Gone)?;
        let current = page.version;
        for &ordinal in ordinals {
            let entry = page.entries.get_mut(&events[ordinal as usize].id).ok_or(LedgerError::Gone)?;
            change(entry, ordinal);
        }
        page.version = Version::fresh();
        if page.expires - self.now() < self.retention {
            self.extend(&mut page).await?;
        }
        match self.store.write_page(name, Some(current), &page).await {
            Ok(()) => Ok(true),
            Err(WriteError::Refused(_) | WriteError::Store(StoreError::Unknown(_))) => Ok(false),
            Err(WriteError::Store(error)) => Err(error.into()),
        }
    }

    async fn find_again(
        &self,
        ordinals: impl Iterator<Item = u32>,
        events: &[EventMeta],
        scopes: &[EventScope],
    ) -> Result<EventLookupResult, StoreError> {
        let mut lookups: BTreeMap<PageName, Vec<EventLookup>> = BTreeMap::new();
        for ordinal in ordinals {
            let event = &events[ordinal as usize];
            let root = PageName::root(&scopes[event.scope as usize], event.id);
            lookups.entry(root).or_default().push(EventLookup::new(ordinal, event, scopes));
        }
        self.find(lookups).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventId;
    use crate::ledger::store::memory::Memory;
    use crate::ledger::{LeaseOutcome, PAGE_SLACK};
    use crate::object::Object;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    const RETENTION: Seconds = 90 * 86_400;

    async fn lease(ledger: &Ledger, key: &str) -> Lease {
        let object = Object { bucket: "b".to_owned(), key: key.to_owned(), etag: "e".to_owned() };
        match ledger.lease(&object, ledger.now() + 60).await.unwrap() {
            LeaseOutcome::Granted(lease) => lease,
            other => panic!("not granted: {other:?}"),
        }
    }

    /// The mark is the only proof of the delivery, so it is kept as long as a done row.
    #[tokio::test]
    async fn mark_of_a_helper_is_kept_for_the_whole_retention() {
        let now = Arc::new(AtomicI64::new(1_000));
        let clock = Arc::clone(&now);
        let ledger =
            Ledger::new(Arc::new(Memory::default()), Arc::new(move || clock.load(Ordering::SeqCst)), RETENTION);
        let events = [EventMeta { id: EventId([7; 16]), scope: 0, fingerprint: 0, filtered: false }];
        let scopes = [EventScope { minute: Some(1), ..EventScope::default() }];
        let owner = lease(&ledger, "owner").await;
        ledger.claim(&mut owner.clone(), &events, &scopes, false).await.unwrap();
        // The owner stopped. Less than the retention is left when another object with this event arrives.
        let later = 1_000 + PAGE_SLACK + 3_600;
        now.store(later, Ordering::SeqCst);
        let claims = ledger.claim(&mut lease(&ledger, "copy").await, &events, &scopes, false).await.unwrap();
        let HelpOutcome::Granted(help) = ledger.help(owner.id, later + 60).await.unwrap() else {
            panic!("not granted")
        };
        let ordinals = ledger.undelivered(&help, &claims.foreign, &events, &scopes).await.unwrap();
        ledger.mark_delivered(&help, &ordinals, &events, &scopes).await.unwrap();
        let found = ledger.find_again([0].into_iter(), &events, &scopes).await.unwrap();
        let page = found.pages.values().next().unwrap();
        assert_eq!(page.entries[&events[0].id].owner, Owner::Delivered);
        assert!(page.expires >= later + RETENTION, "{} is left", page.expires - later);
    }
}
