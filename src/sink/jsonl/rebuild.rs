//! Rebuild and release: what happens to the events of files that a user removed or moved.
//!
//! The ledger records which events are delivered, but not in which file an event is. An event was in a missing file if
//! the ledger proves that it is delivered, and none of the present files that could contain it (`page_group.rs`)
//! contains it. *Rebuild* resets the objects that own these events; the next sync delivers these events again. Until
//! then they are *outstanding*: the ledger records them, because the files are no longer expected. *Release* marks these
//! events, so that no rebuild delivers them again. Each of the two is one SQLite transaction: after a kill, the ledger
//! contains either the whole change or nothing of it.

use super::check::{FaultyFile, FileFault};
use super::checkpoint::Destination;
use super::file_events::FileEvents;
use super::files::CommittedFile;
use super::page_group::PageGroup;
use super::segments::Removal;
use super::{Jsonl, SinkError, blocking, sink_error};
use crate::event::EventId;
use crate::ledger::model::page::PageName;
use crate::ledger::store::StoreError;
use crate::ledger::store::sqlite::{CommitMode, Outstanding, Owners};
use crate::object::{Object, ObjectId};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The result of a rebuild.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rebuild {
    /// Missing files. They are no longer expected.
    pub files: u64,
    /// Events of these files, and outstanding events whose owner is gone. The next sync delivers them again.
    pub events: u64,
    /// Events among them whose owner is gone, or not recorded, for example because a helper delivered them. If there is
    /// such an event, every object that delivered events is read again.
    pub unknown: u64,
    /// The objects that are read again.
    pub objects: Vec<Object>,
}

/// The result of a release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReleasedFiles {
    /// Released files.
    pub files: u64,
    /// Events of these files.
    pub events: u64,
}

impl Jsonl {
    /// Lets the next sync deliver the events of missing files again. `gone` are objects that cannot deliver the events
    /// that are outstanding since an earlier rebuild: any other object that contains them delivers them. Does nothing if
    /// no committed file is missing and no object is gone.
    ///
    /// # Errors
    /// Returns an error, and changes nothing, if a committed file is damaged, or if the ledger is not SQLite or
    /// delivered to several folders.
    pub async fn rebuild(&self, gone: HashSet<ObjectId>) -> Result<Rebuild, SinkError> {
        self.change(move |destination| destination.rebuild(&gone)).await
    }

    /// Releases files that were moved away or deleted on purpose. They are no longer expected, and no rebuild delivers
    /// their events again. A file is identified by the last four parts of its path, the three folders and the file
    /// name, so it may have been moved.
    ///
    /// # Errors
    /// Returns an error, and changes nothing, if a file is not a committed file of this destination, or if another file
    /// that could contain the same events is missing or damaged.
    pub async fn release(&self, files: Vec<PathBuf>) -> Result<ReleasedFiles, SinkError> {
        self.change(move |destination| destination.release(&files)).await
    }

    /// Returns the events that rebuilds let the next syncs deliver and that are not delivered yet.
    ///
    /// # Errors
    /// Errors of the ledger.
    pub async fn outstanding(&self) -> Result<Outstanding, SinkError> {
        self.change(|destination| destination.with_owners(|owners| owners.outstanding(true))).await
    }

    /// Records that all outstanding events stay undelivered: they are no longer expected. An object that owns such an
    /// event and is found later still delivers it. Returns the number of these events.
    ///
    /// # Errors
    /// Errors of the ledger.
    pub async fn accept_outstanding(&self) -> Result<u64, SinkError> {
        self.change(|destination| destination.with_owners(|owners| owners.accept_outstanding())).await
    }

    pub(super) async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Destination) -> Result<T, SinkError> + Send + 'static,
    ) -> Result<T, SinkError> {
        let guard = Arc::clone(&self.state.gate).write_owned().await;
        let state = Arc::clone(&self.state);
        blocking(move || {
            let _guard = guard;
            // Commit the ledger writes so far together with their lines.
            state.write()?;
            change(&state.destination).inspect_err(|error| state.invalidate(&error.to_string()))
        })
        .await
    }
}

impl Destination {
    fn rebuild(&self, gone: &HashSet<ObjectId>) -> Result<Rebuild, SinkError> {
        if self.journal.mode() != CommitMode::Grouped {
            return Err(SinkError::Unavailable(
                "missing files can only be rebuilt with a ledger in SQLite: another ledger does not keep the events of \
                 every file"
                    .into(),
            ));
        }
        let check = self.check_files()?;
        let (missing, damaged): (Vec<_>, Vec<_>) =
            check.faulty.into_iter().partition(|faulty| faulty.fault == FileFault::Missing);
        fail_if_damaged(&damaged)?;
        if missing.is_empty() && gone.is_empty() {
            // A folder that was lost completely is a new folder. Its missing files are recorded for the lost one.
            return if check.files == 0 { self.fail_with_other_folders() } else { Ok(()) }.map(|()| Rebuild::default());
        }
        let missing: BTreeSet<PathBuf> = missing.into_iter().map(|faulty| faulty.path).collect();
        let files = self.files()?;
        let (missing, present): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|file| missing.contains(&self.root.join(file.path())));
        self.without_files(&missing, &present, Removal::Rebuilt, |owners, present| {
            let prefixes = present.page_prefixes();
            let reopened =
                owners.deliver_again(&prefixes, |page, id| present.lacks(page, *id), gone).map_err(sink_error)?;
            let (files, events, unknown) = (missing.len() as u64, reopened.events, reopened.unknown);
            Ok(Rebuild { files, events, unknown, objects: reopened.objects })
        })
    }

    /// Runs `change` for the events of a ledger in SQLite, and commits. Another ledger has no outstanding events.
    fn with_owners<T: Default>(
        &self,
        change: impl FnOnce(&mut Owners<'_>) -> Result<T, StoreError>,
    ) -> Result<T, SinkError> {
        if self.journal.mode() != CommitMode::Grouped {
            return Ok(T::default());
        }
        let changed = Owners::read(&self.journal).and_then(|mut owners| change(&mut owners));
        let changed = changed.map_err(sink_error)?;
        self.journal.commit(|_| Ok(())).map_err(sink_error)?;
        Ok(changed)
    }

    fn release(&self, released: &[PathBuf]) -> Result<ReleasedFiles, SinkError> {
        let mut names: BTreeSet<String> = BTreeSet::new();
        for path in released {
            names.insert(relative_name(path).ok_or_else(|| self.not_committed(path))?);
        }
        let (released_files, others): (Vec<_>, Vec<_>) =
            self.files()?.into_iter().partition(|file| names.contains(&file.path()));
        for path in released {
            let name = relative_name(path);
            if !released_files.iter().any(|file| Some(file.path()) == name) {
                return Err(self.not_committed(path));
            }
        }
        let events = self.release_events(&released_files, &others, Removal::Released)?;
        Ok(ReleasedFiles { files: released_files.len() as u64, events })
    }

    fn not_committed(&self, path: &Path) -> SinkError {
        SinkError::Unavailable(format!(
            "{} is not a committed file of {}: expected account=…/region=…/date=…/NAME as it was in this folder",
            path.display(),
            self.root.display()
        ))
    }

    pub(super) fn files(&self) -> Result<Vec<CommittedFile>, SinkError> {
        let mut files = Vec::new();
        self.tables.each_file(&self.id, |file| files.push(file))?;
        Ok(files)
    }

    /// Runs `change` for the events that were in the files `removed`, and deletes the records of these files, in one
    /// SQLite transaction.
    pub(super) fn without_files<T>(
        &self,
        removed: &[CommittedFile],
        present: &[CommittedFile],
        removal: Removal,
        change: impl FnOnce(&mut Owners<'_>, &PresentEvents) -> Result<T, SinkError>,
    ) -> Result<T, SinkError> {
        self.fail_with_other_folders()?;
        let mut owners = Owners::open(&self.journal).map_err(sink_error)?;
        let groups = removed.iter().flat_map(|file| PageGroup::of_partition(&file.partition)).collect();
        let mut faults = Vec::new();
        let events = PresentEvents::read(&owners, groups, &self.root, present, &mut faults)?;
        fail_if_damaged(&faults)?;
        let result = change(&mut owners, &events)?;
        self.delete_records(removed, removal)?;
        Ok(result)
    }

    /// Returns an error if the ledger has files in another folder.
    fn fail_with_other_folders(&self) -> Result<(), SinkError> {
        if self.tables.has_other_folders(&self.id)? {
            return Err(SinkError::Unavailable(format!(
                "the ledger {} delivered to several folders, so it is unknown which events were in the files of {}",
                self.journal.path().display(),
                self.root.display()
            )));
        }
        Ok(())
    }

    /// Deletes the records of files, except that their segments remain, and commits.
    pub(super) fn delete_records(&self, files: &[CommittedFile], removal: Removal) -> Result<(), SinkError> {
        let committed = self.journal.commit(|connection| {
            files.iter().try_for_each(|file| {
                file.remove(connection, &self.id)?;
                removal.put(connection, file)
            })
        });
        committed.map_err(sink_error)
    }
}

/// The events of the present files, for the groups of pages whose events can be in removed files.
#[derive(Debug)]
pub(super) struct PresentEvents(pub(super) BTreeMap<PageGroup, FileEvents>);

impl PresentEvents {
    /// Reads the files that can contain events of these groups.
    pub(super) fn read(
        owners: &Owners<'_>,
        groups: BTreeSet<PageGroup>,
        root: &Path,
        files: &[CommittedFile],
        faults: &mut Vec<FaultyFile>,
    ) -> Result<Self, SinkError> {
        // Events without an account or region can be in any file of their date. Almost every event has both, so these
        // files are read only if the ledger has pages of such events.
        let mut used = BTreeSet::new();
        let each = owners.each_page_name(|page| {
            let group = PageGroup::of_page(&page);
            if groups.contains(&group) {
                used.insert(group);
            }
        });
        each.map_err(sink_error)?;
        let events = used.into_iter().map(|group| {
            let of_group = files.iter().filter(|file| group.contains(&file.partition));
            (group.clone(), FileEvents::read(group.clone(), root, of_group, faults))
        });
        Ok(Self(events.collect()))
    }

    /// Returns prefixes of page names. The name of each page of the groups starts with exactly one of them.
    pub(super) fn page_prefixes(&self) -> Vec<String> {
        let prefixes: BTreeSet<String> = self.0.keys().map(PageGroup::page_prefix).collect();
        match prefixes.contains("") {
            true => vec![String::new()],
            false => prefixes.into_iter().collect(),
        }
    }

    /// Returns whether an event belongs to one of the groups and is missing: none of the files contains it.
    pub(super) fn lacks(&self, page: &PageName, id: EventId) -> bool {
        self.0.get(&PageGroup::of_page(page)).is_some_and(|present| !present.contains(page, id))
    }
}

/// Returns the last four parts of a path.
fn relative_name(path: &Path) -> Option<String> {
    let parts: Vec<_> = path.iter().map(|part| part.to_str()).collect::<Option<_>>()?;
    let [.., account, region, date, name] = parts[..] else { return None };
    Some([account, region, date, name].join("/"))
}

fn fail_if_damaged(faults: &[FaultyFile]) -> Result<(), SinkError> {
    let Some(first) = faults.first() else { return Ok(()) };
    let more = match faults.len() {
        1 => String::new(),
        count => format!(" (and {} more with a fault)", count - 1),
    };
    let advice = match first.fault {
        FileFault::Missing => "restore it, release it too, or deliver its events again with `trailhose sync --rebuild`",
        FileFault::Shorter { .. } | FileFault::Longer { .. } | FileFault::Damaged(_) => {
            "restore it, or move it away and deliver its events again with `trailhose sync --rebuild`"
        }
    };
    Err(SinkError::Unavailable(format!("{} {}{more}: {advice}", first.path.display(), first.fault)))
}
