//! Changes the owners of many events, for a sink whose files were removed.
//!
//! If the files of some events were removed, the row of their owner is reset, and the owner delivers these events
//! again. It must not repeat its other events. In the entries of the other events, the owner is therefore replaced by
//! its *alias*: the ID of an object that has no row. A missing row proves that the object was done, so an event of an
//! alias is proven delivered. The table `former_owners` maps an alias to its owner, so that a later change can replace
//! the alias by the owner again.

use super::outstanding;
use super::schema::Schema;
use super::{Journal, store_error};
use super::{page_of, read_row, write_row};
use crate::event::EventId;
use crate::ledger::model::page::{Entry, Owner, Page, PageName, Version};
use crate::ledger::model::row::{Change, Row};
use crate::ledger::store::StoreError;
use crate::object::{Object, ObjectId};
use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};

const SCHEMA: Schema = Schema {
    name: "owners",
    upgrades: &[
        "CREATE TABLE former_owners (
        alias BLOB PRIMARY KEY, object BLOB, released INTEGER NOT NULL
     ) WITHOUT ROWID;",
        outstanding::TABLE,
    ],
};

/// Pages in one batch of a scan.
const BATCH_PAGES: u32 = 256;

/// Maximum number of rows in memory.
const MAX_ROWS: usize = 1 << 16;

/// The owner of an event. An alias is replaced by its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TrueOwner {
    Object(ObjectId),
    /// The ledger does not record the owner: the event is marked as delivered, or the owner has no row.
    Unknown,
    /// The file of the event was released: it is never delivered again.
    Released,
}

/// Reads and changes owners in the open transaction of a journal. The caller commits it or invalidates the journal.
#[derive(Debug)]
pub(crate) struct Owners<'a> {
    pub(super) journal: &'a Journal,
    rows: HashMap<ObjectId, Option<Row>>,
    /// For each alias, its owner if it is known, and whether the files of the alias's events were released.
    former: HashMap<ObjectId, (Option<ObjectId>, bool)>,
}

/// The result of [`Owners::deliver_again`].
#[derive(Debug, Default)]
pub(crate) struct Reopened {
    /// Objects that own events of missing files, or all objects if the owner of one such event is unknown.
    pub(crate) objects: Vec<Object>,
    /// Events that are delivered again.
    pub(crate) events: u64,
    /// Events among them whose owner is unknown or gone.
    pub(crate) unknown: u64,
}

impl<'a> Owners<'a> {
    /// Reads the aliases and creates their table.
    pub(crate) fn open(journal: &'a Journal) -> Result<Self, StoreError> {
        journal.register(&SCHEMA)?;
        Self::read(journal)
    }

    /// Returns whether the table of outstanding events exists.
    pub(super) fn has_outstanding_table(&self) -> Result<bool, StoreError> {
        Ok(self.journal.schema_version(&SCHEMA)? >= SCHEMA.upgrades.len())
    }

    /// Reads the aliases without creating their table, for a journal that is not changed.
    pub(crate) fn read(journal: &'a Journal) -> Result<Self, StoreError> {
        let mut former = HashMap::new();
        if journal.schema_version(&SCHEMA)? > 0 {
            let sql = "SELECT alias, object, released FROM former_owners";
            journal.read(|connection| {
                let failed = |error| store_error(journal.path(), error);
                let mut statement = connection.prepare(sql).map_err(failed)?;
                let rows = statement.query_map([], |row| {
                    Ok((ObjectId(row.get(0)?), row.get::<_, Option<[u8; 16]>>(1)?.map(ObjectId), row.get(2)?))
                });
                for row in rows.map_err(failed)? {
                    let (alias, object, released) = row.map_err(failed)?;
                    former.insert(alias, (object, released));
                }
                Ok(())
            })?;
        }
        Ok(Self { journal, rows: HashMap::new(), former })
    }

    /// Passes every page whose name starts with `prefix` to `each`, in the order of the names, and writes the pages for
    /// which it returns true.
    pub(crate) fn each_page(
        &mut self,
        prefix: &str,
        mut each: impl FnMut(&mut Self, &PageName, &mut Page) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let batch = self.journal.read(|connection| batch(connection, self.journal, prefix, after.as_ref()))?;
            for (name, mut page) in batch.iter().cloned() {
                if each(self, &name, &mut page)? {
                    page.version = Version::fresh();
                    self.journal.write(|connection| put_page(connection, self.journal, &name, &page))?;
                }
            }
            match batch.into_iter().next_back() {
                Some((last, _)) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    /// Passes the name of every page to `each`.
    pub(crate) fn each_page_name(&self, mut each: impl FnMut(PageName)) -> Result<(), StoreError> {
        self.journal.read(|connection| {
            let failed = |error| store_error(self.journal.path(), error);
            let mut statement = connection.prepare_cached("SELECT name FROM pages").map_err(failed)?;
            let mut names = statement.query_map([], |row| row.get(0)).map_err(failed)?;
            names.try_for_each(|name| name.map(|name| each(PageName(name)))).map_err(failed)
        })
    }

    /// Returns whether an event should be in a file: the ledger proves that it is delivered, and its file was not
    /// released.
    pub(crate) fn is_expected_in_a_file(&mut self, entry: &Entry) -> Result<bool, StoreError> {
        let Owner::Object(id) = entry.owner else { return Ok(true) };
        Ok(match self.former.get(&id) {
            Some((_, released)) => !released,
            None => self.row(id)?.is_none_or(|row| row.proves(entry.ordinal)),
        })
    }

    /// Returns whether the ledger proves that an event is delivered, in a file or before its file was released.
    pub(super) fn is_delivered(&mut self, entry: &Entry) -> Result<bool, StoreError> {
        let is_released = match entry.owner {
            Owner::Object(id) => self.former.get(&id).is_some_and(|(_, released)| *released),
            Owner::Delivered => false,
        };
        Ok(is_released || self.is_expected_in_a_file(entry)?)
    }

    pub(super) fn row(&mut self, id: ObjectId) -> Result<Option<Row>, StoreError> {
        if let Some(row) = self.rows.get(&id) {
            return Ok(row.clone());
        }
        let row = self.journal.read(|connection| read_row(connection, self.journal.path(), id))?;
        if self.rows.len() >= MAX_ROWS {
            self.rows.clear();
        }
        self.rows.insert(id, row.clone());
        Ok(row)
    }

    fn true_owner(&mut self, entry: &Entry) -> Result<TrueOwner, StoreError> {
        let Owner::Object(id) = entry.owner else { return Ok(TrueOwner::Unknown) };
        Ok(match self.former.get(&id).copied() {
            Some((_, true)) => TrueOwner::Released,
            Some((Some(object), false)) => TrueOwner::Object(object),
            Some((None, false)) => TrueOwner::Unknown,
            None if self.row(id)?.is_some() => TrueOwner::Object(id),
            None => TrueOwner::Unknown,
        })
    }

    /// Returns an alias of an object, and records it. Each object has two: one for events whose file was released, and
    /// one for other delivered events. `object` is `None` if the owner is unknown.
    fn alias(&mut self, object: Option<ObjectId>, released: bool) -> Result<Owner, StoreError> {
        let kind: &[u8] = if released { b"released" } else { b"delivered" };
        let hash = Sha256::new().chain_update(kind).chain_update(object.map_or([0; 16], |ObjectId(id)| id)).finalize();
        let mut alias = ObjectId([0; 16]);
        alias.0.copy_from_slice(&hash[..16]);
        if self.former.insert(alias, (object, released)).is_none() {
            let sql = "INSERT INTO former_owners (alias, object, released) VALUES (?1, ?2, ?3)";
            self.journal.write(|connection| {
                let inserted = connection.execute(sql, params![alias.0, object.map(|ObjectId(id)| id), released]);
                inserted.map(drop).map_err(|error| store_error(self.journal.path(), error))
            })?;
        }
        Ok(Owner::Object(alias))
    }

    /// Marks events as released: they count as delivered, and no file contains them. Returns their number. Only pages
    /// whose names start with `pages` are changed. `released` returns whether none of the files that remain contains an
    /// event.
    pub(crate) fn release(
        &mut self,
        pages: &str,
        released: impl Fn(&PageName, &EventId) -> bool,
    ) -> Result<u64, StoreError> {
        let mut events = 0;
        self.each_page(pages, |owners, name, page| {
            let mut changed = false;
            for (id, entry) in &mut page.entries {
                if !released(name, id) || !owners.is_expected_in_a_file(entry)? {
                    continue;
                }
                let object = match owners.true_owner(entry)? {
                    TrueOwner::Object(object) => Some(object),
                    TrueOwner::Unknown | TrueOwner::Released => None,
                };
                entry.owner = owners.alias(object, true)?;
                (changed, events) = (true, events + 1);
            }
            Ok(changed)
        })?;
        Ok(events)
    }

    /// Resets the objects that own missing events, so that they deliver these events again and no other event. A
    /// missing event whose owner is unknown becomes unclaimed, and every object that delivered events is reset, so that
    /// one that contains the event claims it. The names of all pages with missing events start with one of `prefixes`.
    /// `missing` returns whether none of the present files contains an event. Records each of these events as outstanding.
    ///
    /// The objects in `gone` cannot deliver events that are outstanding since an earlier rebuild. These events become
    /// unclaimed too.
    pub(crate) fn deliver_again(
        &mut self,
        prefixes: &[String],
        missing: impl Fn(&PageName, &EventId) -> bool,
        gone: &HashSet<ObjectId>,
    ) -> Result<Reopened, StoreError> {
        let disowned = self.disown_outstanding(gone)?;
        let mut reopened = Reopened { events: disowned, unknown: disowned, ..Reopened::default() };
        let mut owners_of_missing = HashSet::new();
        for prefix in prefixes {
            self.each_page(prefix, |owners, name, page| {
                for (id, entry) in &page.entries {
                    if !missing(name, id) || !owners.is_expected_in_a_file(entry)? {
                        continue;
                    }
                    reopened.events += 1;
                    let object = match owners.true_owner(entry)? {
                        TrueOwner::Object(object) => Some(object),
                        TrueOwner::Unknown | TrueOwner::Released => None,
                    };
                    reopened.unknown += u64::from(object.is_none());
                    owners_of_missing.extend(object);
                    owners.put_outstanding(name, *id, object)?;
                }
                Ok(false)
            })?;
        }
        if reopened.events == 0 {
            return Ok(reopened);
        }
        if reopened.unknown > 0 {
            owners_of_missing.extend(self.objects_with_deliveries()?);
        }
        self.each_page("", |owners, name, page| {
            let mut changed = false;
            let mut unclaimed = HashSet::new();
            for (id, entry) in &mut page.entries {
                let (owner, is_expected) = (owners.true_owner(entry)?, owners.is_expected_in_a_file(entry)?);
                let is_missing =
                    is_expected && missing(name, id) && prefixes.iter().any(|prefix| name.0.starts_with(prefix));
                let new = match owner {
                    TrueOwner::Unknown if is_missing => {
                        unclaimed.insert(*id);
                        continue;
                    }
                    TrueOwner::Object(object) if is_missing => Owner::Object(object),
                    TrueOwner::Object(object) if is_expected && owners_of_missing.contains(&object) => {
                        owners.alias(Some(object), false)?
                    }
                    _ => continue,
                };
                changed |= entry.owner != new;
                entry.owner = new;
            }
            changed |= !unclaimed.is_empty();
            page.entries.retain(|id, _| !unclaimed.contains(id));
            Ok(changed)
        })?;
        for id in owners_of_missing {
            reopened.objects.extend(self.reset(id)?);
        }
        Ok(reopened)
    }

    /// Returns the objects that delivered events, according to their rows.
    fn objects_with_deliveries(&self) -> Result<Vec<ObjectId>, StoreError> {
        let sql = "SELECT id FROM rows WHERE cursor > 0";
        self.journal.read(|connection| {
            let failed = |error| store_error(self.journal.path(), error);
            let mut statement = connection.prepare(sql).map_err(failed)?;
            let ids = statement.query_map([], |row| Ok(ObjectId(row.get(0)?))).map_err(failed)?;
            ids.collect::<Result<_, _>>().map_err(failed)
        })
    }

    /// Resets the row of an object, and returns the object.
    fn reset(&self, id: ObjectId) -> Result<Option<Object>, StoreError> {
        self.journal.write(|connection| {
            let Some(row) = read_row(connection, self.journal.path(), id)? else { return Ok(None) };
            let object = row.object.clone();
            let row = Change::Reset.apply(Some(row), &object);
            write_row(connection, self.journal.path(), id, &row)?;
            Ok(Some(object))
        })
    }
}

fn batch(
    connection: &Connection,
    journal: &Journal,
    prefix: &str,
    after: Option<&PageName>,
) -> Result<Vec<(PageName, Page)>, StoreError> {
    let failed = |error| store_error(journal.path(), error);
    let sql = "SELECT name, version, full, expires, entries FROM pages
         WHERE name >= ?1 AND name < ?2 AND name > ?3 ORDER BY name LIMIT ?4";
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let end = format!("{prefix}{}", char::MAX);
    let after = after.map_or("", |name| name.0.as_str());
    let rows = statement.query_map(params![prefix, end, after, BATCH_PAGES], |row| {
        Ok((PageName(row.get(0)?), (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
    });
    let rows = rows.map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    rows.into_iter().map(|(name, stored)| page_of(&name, stored).map(|page| (name, page))).collect()
}

fn put_page(connection: &Connection, journal: &Journal, name: &PageName, page: &Page) -> Result<(), StoreError> {
    let sql = "UPDATE pages SET version = ?2, entries = ?3 WHERE name = ?1";
    connection
        .prepare_cached(sql)
        .and_then(|mut put| put.execute(params![name.0, page.version.0.cast_signed(), page.encode()]))
        .map(drop)
        .map_err(|error| store_error(journal.path(), error))
}
