//! Compares the files of a destination completely with their ledger: every byte, and every event.

use super::check::FaultyFile;
use super::checkpoint::Destination;
use super::file_events::FileEvents;
use super::foreign::ForeignFiles;
use super::page_group::PageGroup;
use super::rebuild::PresentEvents;
use super::{SinkError, blocking, sink_error};
use crate::event::EventId;
use crate::ledger::store::sqlite::{Journal, Outstanding, Owners, store_error};
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The result of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// Committed files.
    pub files: u64,
    /// Distinct events in the files.
    pub events: u64,
    /// The committed files with a fault.
    pub faulty: Vec<FaultyFile>,
    /// Repeated events in the files, counted without the first one.
    pub repeated: u64,
    /// Events that the ledger proves to be delivered and that are in no file.
    pub missing: u64,
    /// Events in the files that are not in the ledger.
    pub unknown: u64,
    /// Events of removed files that a rebuild did not deliver again yet.
    pub outstanding: Outstanding,
    /// Files in the folder that the ledger did not write. They do not count as a difference.
    pub foreign: ForeignFiles,
    /// Files in the folder that other ledgers wrote. They do not count as a difference, and their events are not compared.
    pub of_other_ledgers: ForeignFiles,
    /// Whether the events were compared. They are not if the ledger is stored elsewhere or delivered to several
    /// folders.
    pub compared: bool,
}

impl Verification {
    /// Returns whether no difference was found.
    pub fn is_intact(&self) -> bool {
        self.faulty.is_empty() && self.repeated + self.missing + self.unknown + self.outstanding.events == 0
    }
}

/// Compares the committed files below `destination` with `ledger`, an SQLite file. If the ledger is stored elsewhere,
/// `ledger` is the sink's own state, `.trailhose/files.db`, and `compare_events` is false. Another process may deliver
/// meanwhile. What it commits after the start is not compared.
///
/// # Errors
/// Returns an error if the ledger cannot be read, or did not deliver to this folder.
pub async fn verify(destination: &Path, ledger: &Path, compare_events: bool) -> Result<Verification, SinkError> {
    let (destination, ledger): (PathBuf, PathBuf) = (destination.to_owned(), ledger.to_owned());
    blocking(move || {
        let journal = Arc::new(Journal::open_read_only(&ledger).map_err(sink_error)?);
        // Every read sees the same checkpoint.
        let snapshot = journal
            .read(|connection| connection.execute_batch("BEGIN").map_err(|error| store_error(journal.path(), error)));
        snapshot.map_err(sink_error)?;
        Destination::open_read_only(&destination, journal)?.verify(compare_events)
    })
    .await
}

impl Destination {
    fn verify(&self, compare_events: bool) -> Result<Verification, SinkError> {
        let files = self.files()?;
        let mut found = Verification { files: files.len() as u64, ..Verification::default() };
        found.compared = compare_events && !self.tables.has_other_folders(&self.id)?;
        let mut owners = Owners::read(&self.journal).map_err(sink_error)?;
        if compare_events {
            found.outstanding = owners.outstanding(false).map_err(sink_error)?;
        }
        let mut faults = Vec::new();
        let partitions: BTreeSet<&String> = files.iter().map(|file| &file.partition).collect();
        let mut groups: BTreeSet<PageGroup> = BTreeSet::new();
        partitions.iter().for_each(|partition| groups.extend(PageGroup::of_partition(partition)));
        for file in &files {
            if let Err(fault) = super::check::read_lines(&self.root, file, |_| {}) {
                faults.push(super::check::faulty(&self.root, file, fault));
            }
        }
        // One group at a time: the events of a group are in memory.
        for group in groups.into_iter().filter(|_| found.compared) {
            // The loop above has found these faults.
            let mut ignored = Vec::new();
            let only_group = BTreeSet::from([group.clone()]);
            let events = PresentEvents::read(&owners, only_group, &self.root, &files, &mut ignored)?;
            let Some(present) = events.0.get(&group) else { continue };
            let (mut known, mut missing) = (0, 0);
            let compared = owners.each_page(&group.page_prefix(), |owners, page, content| {
                if PageGroup::of_page(page) != group {
                    return Ok(false);
                }
                for (id, entry) in &content.entries {
                    match present.contains(page, *id) {
                        true => known += 1,
                        false => missing += u64::from(owners.is_expected_in_a_file(entry)?),
                    }
                }
                Ok(false)
            });
            compared.map_err(sink_error)?;
            let not_known = present.len().saturating_sub(known);
            let repeats = match not_known {
                0 => 0,
                _ => present.repeats_without_id(&known_events(&mut owners, &group, present)?),
            };
            found.events += present.len() - repeats;
            found.repeated += present.repeats + repeats;
            found.missing += missing;
            found.unknown += not_known.saturating_sub(repeats);
        }
        let mut unrecorded = self.unrecorded(&files)?;
        for file in &files {
            let fault = unrecorded.longer.remove(&file.path());
            faults.extend(fault.map(|fault| super::check::faulty(&self.root, file, fault)));
        }
        found.foreign = unrecorded.foreign;
        found.of_other_ledgers = unrecorded.of_other_ledgers;
        let mut seen = HashSet::new();
        faults.retain(|faulty| seen.insert(faulty.path.clone()));
        found.faulty = faults;
        Ok(found)
    }
}

/// Returns the events of the files that the ledger contains.
fn known_events(
    owners: &mut Owners<'_>,
    group: &PageGroup,
    present: &FileEvents,
) -> Result<HashSet<EventId>, SinkError> {
    let mut known = HashSet::new();
    let read = owners.each_page(&group.page_prefix(), |_, page, content| {
        if PageGroup::of_page(page) == *group {
            known.extend(content.entries.keys().filter(|id| present.contains(page, **id)));
        }
        Ok(false)
    });
    read.map_err(sink_error)?;
    Ok(known)
}
