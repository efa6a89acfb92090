//! Help: what a worker does about events that others own. Owners never move; a stalled owner's deliveries are finished
//! under its own lease, and marked.

use crate::event::Place;
use crate::ledger::model::page::{Owner, PageName, Version};
use crate::ledger::model::row::{Change, Guard, Row, Seconds, Token};
use crate::ledger::protocol::lookup::{Found, Sought};
use crate::ledger::protocol::{Foreign, Known};
use crate::ledger::store::{StoreError, WriteError};
use crate::ledger::{Ledger, Stop};
use crate::object::ObjectId;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Attempts to mark one page, as in `claim.rs`.
const ATTEMPTS: u32 = 64;

/// A stalled object's lease, taken to finish its deliveries.
#[derive(Debug)]
pub struct Help {
    owner: ObjectId,
    token: Token,
    row: Row,
}

/// Whether a stalled object could be leased.
#[derive(Debug)]
pub enum Helping {
    /// Deliver in its stead.
    Granted(Box<Help>),
    /// It is no longer stalled: look again.
    Moved,
}

impl Ledger {
    /// Of the events that others own, those that are not proven delivered. The pages must have been viewed before this
    /// reads their owners' rows: in the other order an owner could settle, expire and be forgotten in between.
    pub async fn unproven(&self, foreign: Vec<Foreign>) -> Result<Vec<(Foreign, Row)>, Stop> {
        let owners: BTreeSet<_> = foreign.iter().map(|event| event.owner).collect();
        let owners: Vec<_> = owners.into_iter().collect();
        let rows = self.store.rows(&owners).await?;
        let rows: HashMap<_, _> = owners.into_iter().zip(rows).collect();
        let open = foreign.into_iter().filter_map(|event| {
            // A row is deleted only after done: an owner without a row has delivered.
            let row = rows.get(&event.owner)?.as_ref()?;
            (!row.proves(event.theirs)).then(|| (event, row.clone()))
        });
        Ok(open.collect())
    }

    /// Views the pages of these events again: those that still are another's.
    ///
    /// # Errors
    /// [`Stop::Gone`] where an entry is no longer there: then everything is claimed again.
    pub async fn review(&self, events: &[Foreign], known: &[Known], places: &[Place]) -> Result<Vec<Foreign>, Stop> {
        let found = self.find_again(events.iter().map(|event| event.ordinal), known, places).await?;
        let foreign = events.iter().map(|event| {
            let (_, entry) = found.entries.get(&event.ordinal).ok_or(Stop::Gone)?;
            Ok(match entry.owner {
                Owner::Object(owner) => Some(Foreign { ordinal: event.ordinal, owner, theirs: entry.ordinal }),
                Owner::Delivered => None,
            })
        });
        foreign.filter_map(Result::transpose).collect()
    }

    /// Leases a stalled object's row, so that nobody else delivers for it meanwhile.
    pub async fn help(&self, owner: ObjectId, until: Seconds) -> Result<Helping, Stop> {
        let token = Token::fresh();
        let guard = Guard::Helpable { now: self.now(), token };
        match self.store.change_row_by_id(owner, guard, &Change::Lease { token, until }).await {
            Ok(row) => Ok(Helping::Granted(Box::new(Help { owner, token, row }))),
            Err(WriteError::Refused(_)) => Ok(Helping::Moved),
            Err(WriteError::Store(error)) => Err(error.into()),
        }
    }

    /// Of these events, those that the helped object still has to deliver, as the pages stand now.
    ///
    /// # Errors
    /// [`Stop::Gone`] where an entry is gone or another's.
    pub async fn owed(
        &self,
        help: &Help,
        events: &[Foreign],
        known: &[Known],
        places: &[Place],
    ) -> Result<Vec<u32>, Stop> {
        let now = self.review(events, known, places).await?;
        if now.iter().any(|event| event.owner != help.owner) {
            return Err(Stop::Gone);
        }
        Ok(now.iter().filter(|event| !help.row.proves(event.theirs)).map(|event| event.ordinal).collect())
    }

    /// Marks events as delivered in their owner's stead.
    ///
    /// # Errors
    /// [`Stop::Gone`] where an entry is gone or another's.
    pub async fn mark(&self, help: &Help, ordinals: &[u32], known: &[Known], places: &[Place]) -> Result<(), Stop> {
        let mut left: Vec<u32> = ordinals.to_vec();
        for _ in 0..ATTEMPTS {
            let mut found = self.find_again(left.iter().copied(), known, places).await?;
            let mut by_page: BTreeMap<PageName, Vec<u32>> = BTreeMap::new();
            for &ordinal in &left {
                let (name, entry) = found.entries.get(&ordinal).ok_or(Stop::Gone)?;
                match entry.owner {
                    Owner::Delivered => {}
                    Owner::Object(owner) if owner == help.owner => {
                        by_page.entry(name.clone()).or_default().push(ordinal);
                    }
                    Owner::Object(_) => return Err(Stop::Gone),
                }
            }
            left.clear();
            for (name, ordinals) in by_page {
                if !self.mark_page(&mut found, &name, &ordinals, known).await? {
                    left.extend(ordinals);
                }
            }
            if left.is_empty() {
                return Ok(());
            }
        }
        Err(Stop::Contended(format!("a page of {} events", left.len()), ATTEMPTS))
    }

    /// Gives a helped object's lease back. Its cursor is left as it is: it says what the owner delivered.
    pub async fn leave(&self, help: &Help) -> Result<(), Stop> {
        self.release_row(help.owner, help.token).await
    }

    /// False where another wrote to the page meanwhile.
    async fn mark_page(
        &self,
        found: &mut Found,
        name: &PageName,
        ordinals: &[u32],
        known: &[Known],
    ) -> Result<bool, Stop> {
        let mut page = found.pages.remove(name).ok_or(Stop::Gone)?;
        let stands = page.version;
        for &ordinal in ordinals {
            let entry = page.entries.get_mut(&known[ordinal as usize].id).ok_or(Stop::Gone)?;
            entry.owner = Owner::Delivered;
            entry.ordinal = None;
        }
        page.version = Version::fresh();
        page.expires = page.expires.max(self.now() + self.keep);
        match self.store.write_page(name, Some(stands), &page).await {
            Ok(()) => Ok(true),
            Err(WriteError::Refused(_) | WriteError::Store(StoreError::Unknown(_))) => Ok(false),
            Err(WriteError::Store(error)) => Err(error.into()),
        }
    }

    async fn find_again(
        &self,
        ordinals: impl Iterator<Item = u32>,
        known: &[Known],
        places: &[Place],
    ) -> Result<Found, StoreError> {
        let mut sought: BTreeMap<PageName, Vec<Sought>> = BTreeMap::new();
        for ordinal in ordinals {
            let event = &known[ordinal as usize];
            let root = PageName::root(&places[event.place as usize], event.id);
            sought.entry(root).or_default().push(Sought::new(ordinal, event, places));
        }
        self.find(sought).await
    }
}
