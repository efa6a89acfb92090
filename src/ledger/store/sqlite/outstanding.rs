//! Outstanding events: events of missing files that a rebuild lets the next runs deliver again. The table `outstanding`
//! records each of them until the ledger proves that it is delivered, or until a person accepts that it stays
//! undelivered. The record of the missing files is gone by then, so nothing else would show that these events are missing.

use super::ownership::Owners;
use super::store_error;
use crate::event::EventId;
use crate::ledger::model::page::PageName;
use crate::ledger::store::StoreError;
use crate::object::{Object, ObjectId};
use rusqlite::{Connection, params};
use std::collections::{BTreeSet, HashMap, HashSet};

/// SQL that creates the table. `page` is the name of an event's root page, and `owner` the object that owned the event
/// when its file was found to be missing, if it is known.
pub(super) const TABLE: &str = "CREATE TABLE outstanding (
    page TEXT NOT NULL, event BLOB NOT NULL, owner BLOB, PRIMARY KEY (page, event)
 ) WITHOUT ROWID;";

/// The events that a rebuild must deliver again and that are not delivered yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outstanding {
    /// Their number.
    pub events: u64,
    /// The objects that owned them when their files were found to be missing, in the order of their IDs.
    pub objects: Vec<Object>,
}

/// Outstanding events of one root page, with their owners.
type OutstandingEvents = HashMap<EventId, Option<ObjectId>>;

impl Owners<'_> {
    /// Records that an event must be delivered again. An event that is already recorded keeps its owner.
    pub(super) fn put_outstanding(
        &self,
        page: &PageName,
        id: EventId,
        owner: Option<ObjectId>,
    ) -> Result<(), StoreError> {
        let sql = "INSERT OR IGNORE INTO outstanding (page, event, owner) VALUES (?1, ?2, ?3)";
        self.write(|connection| {
            let owner = owner.map(|ObjectId(id)| id);
            connection.prepare_cached(sql)?.execute(params![page.root_part(), id.0, owner]).map(drop)
        })
    }

    /// Returns the outstanding events. With `remove`, the records of delivered events are removed.
    pub(crate) fn outstanding(&mut self, remove: bool) -> Result<Outstanding, StoreError> {
        let (mut events, mut owners) = (0, BTreeSet::new());
        self.each_outstanding_page(|this, page, mut left| {
            let delivered = this.delivered_of(page, &left)?;
            if remove {
                delivered.iter().try_for_each(|id| this.remove_outstanding(page, *id))?;
            }
            left.retain(|id, _| !delivered.contains(id));
            events += left.len() as u64;
            owners.extend(left.into_values().flatten());
            Ok(())
        })?;
        let mut objects = Vec::new();
        for id in owners {
            objects.extend(self.row(id)?.map(|row| row.object));
        }
        Ok(Outstanding { events, objects })
    }

    /// Removes the outstanding events of these owners from their pages, so that any object that contains such an event
    /// can claim and deliver it. Returns the number of these events.
    pub(super) fn disown_outstanding(&mut self, gone: &HashSet<ObjectId>) -> Result<u64, StoreError> {
        let mut events = 0;
        self.each_outstanding_page(|this, page, mut left| {
            left.retain(|_, owner| owner.is_some_and(|owner| gone.contains(&owner)));
            let delivered = this.delivered_of(page, &left)?;
            left.retain(|id, _| !delivered.contains(id));
            this.each_page(&page.0, |_, name, content| {
                let before = content.entries.len();
                if name.root_part() == page.0 {
                    content.entries.retain(|id, _| !left.contains_key(id));
                }
                events += (before - content.entries.len()) as u64;
                Ok(content.entries.len() < before)
            })
        })?;
        Ok(events)
    }

    /// Removes the records of all outstanding events, which stay undelivered. Returns their number.
    pub(crate) fn accept_outstanding(&mut self) -> Result<u64, StoreError> {
        let events = self.outstanding(true)?.events;
        if events > 0 {
            self.write(|connection| connection.execute("DELETE FROM outstanding", []).map(drop))?;
        }
        Ok(events)
    }

    /// Passes the outstanding events of each root page to `each`.
    fn each_outstanding_page(
        &mut self,
        mut each: impl FnMut(&mut Self, &PageName, OutstandingEvents) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if !self.has_outstanding_table()? {
            return Ok(());
        }
        let mut after = String::new();
        loop {
            let page = self.read_sql(|connection| {
                let sql = "SELECT min(page) FROM outstanding WHERE page > ?1";
                connection.prepare_cached(sql)?.query_row([&after], |row| row.get::<_, Option<String>>(0))
            })?;
            let Some(page) = page else { return Ok(()) };
            let events = self.read_sql(|connection| {
                let mut statement =
                    connection.prepare_cached("SELECT event, owner FROM outstanding WHERE page = ?1")?;
                let events = statement.query_map([&page], |row| {
                    let owner: Option<[u8; 16]> = row.get(1)?;
                    Ok((EventId(row.get(0)?), owner.map(ObjectId)))
                })?;
                events.collect::<rusqlite::Result<OutstandingEvents>>()
            })?;
            let name = PageName(page);
            each(self, &name, events)?;
            after = name.0;
        }
    }

    /// Returns which of these events of a root page are proven delivered.
    fn delivered_of(&mut self, page: &PageName, events: &OutstandingEvents) -> Result<HashSet<EventId>, StoreError> {
        let mut delivered = HashSet::new();
        // The names of the page's overflow pages start with its name.
        self.each_page(&page.0, |this, name, content| {
            for (id, entry) in &content.entries {
                if name.root_part() == page.0 && events.contains_key(id) && this.is_delivered(entry)? {
                    delivered.insert(*id);
                }
            }
            Ok(false)
        })?;
        Ok(delivered)
    }

    fn remove_outstanding(&self, page: &PageName, id: EventId) -> Result<(), StoreError> {
        let sql = "DELETE FROM outstanding WHERE page = ?1 AND event = ?2";
        self.write(|connection| connection.prepare_cached(sql)?.execute(params![page.0, id.0]).map(drop))
    }

    fn read_sql<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let path = self.journal.path();
        self.journal.read(|connection| read(connection).map_err(|error| store_error(path, error)))
    }

    fn write<T>(&self, write: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let path = self.journal.path();
        self.journal.write(|connection| write(connection).map_err(|error| store_error(path, error)))
    }
}
