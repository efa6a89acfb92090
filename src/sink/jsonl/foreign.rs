//! Finds what this ledger did not write in a destination: bytes after the committed length of a file, and other files.
//!
//! Another process may deliver meanwhile. So the folder is examined first, then the intent, and then the present record of
//! the files, not the snapshot of the comparison. The intent names what a checkpoint writes until it is committed.

use super::SinkError;
use super::check::FileFault;
use super::checkpoint::{Destination, STATE_FOLDER};
use super::file::io_error;
use super::files::{CommittedFile, FileTables};
use super::intent::Intent;
use super::sink_error;
use crate::ledger::store::sqlite::Journal;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Maximum number of foreign files that are named.
const MAX_NAMED: usize = 5;

/// Files in a destination that its ledger did not write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForeignFiles {
    /// Their number.
    pub count: u64,
    /// The first of them.
    pub names: Vec<PathBuf>,
}

/// What a folder contains that is not committed.
#[derive(Debug, Default)]
pub(super) struct Unrecorded {
    /// The faults of committed files that are longer than committed, by their paths.
    pub(super) longer: BTreeMap<String, FileFault>,
    pub(super) foreign: ForeignFiles,
    pub(super) of_other_ledgers: ForeignFiles,
}

impl Destination {
    /// Returns what the folder contains in addition to the committed bytes of `files`.
    pub(super) fn unrecorded(&self, files: &[CommittedFile]) -> Result<Unrecorded, SinkError> {
        let mut lengths = HashMap::new();
        self.each_length(&self.root, &mut |path, length| {
            lengths.insert(path, length);
        })?;
        let intent = Intent::read(&self.intent_path(), self.journal.id())?;
        let journal = Arc::new(Journal::open_read_only(self.journal.path()).map_err(sink_error)?);
        let tables = FileTables(journal);
        let committed = tables.checkpoints(&self.id)?.unwrap_or(0);
        let mut expected: HashMap<String, u64> = files.iter().map(|file| (file.path(), file.length)).collect();
        tables.each_file(&self.id, |file| {
            expected.insert(file.path(), file.length);
        })?;
        // Files of a checkpoint that is in progress, or that was interrupted: the next sync removes what is not committed.
        let uncommitted =
            intent.filter(|intent| intent.checkpoint > committed).map_or(Vec::new(), |intent| intent.files);
        let other_ledgers = self.prefixes_of_other_ledgers()?;
        let mut found = Unrecorded::default();
        let (mut foreign, mut of_other_ledgers) = (Vec::new(), Vec::new());
        for (path, length) in lengths {
            if uncommitted.contains(&path) {
                continue;
            }
            match expected.get(&path) {
                Some(&committed) if length > committed => {
                    found.longer.insert(path, FileFault::Longer { found: length, committed });
                }
                Some(_) => {}
                None => {
                    let name = path.rsplit('/').next().unwrap_or_default();
                    match other_ledgers.iter().any(|prefix| name.starts_with(prefix)) {
                        true => of_other_ledgers.push(path),
                        false => foreign.push(path),
                    }
                }
            }
        }
        let of = |mut paths: Vec<String>| {
            paths.sort_unstable();
            ForeignFiles {
                count: paths.len() as u64,
                names: paths.iter().take(MAX_NAMED).map(|path| self.root.join(path)).collect(),
            }
        };
        found.foreign = of(foreign);
        found.of_other_ledgers = of(of_other_ledgers);
        Ok(found)
    }

    /// Passes the path of each entry below `folder` that is not a folder, relative to the destination, and its length.
    fn each_length(&self, folder: &Path, each: &mut dyn FnMut(String, u64)) -> Result<(), SinkError> {
        let failed = |error| io_error("list", folder, &error);
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            if path == self.root.join(STATE_FOLDER) {
                continue;
            }
            // An entry that was removed meanwhile is not in the folder.
            let Ok(found) = entry.metadata() else { continue };
            if found.is_dir() {
                self.each_length(&path, each)?;
                continue;
            }
            let relative = path.strip_prefix(&self.root).unwrap_or(&path);
            each(relative.to_string_lossy().into_owned(), found.len());
        }
        Ok(())
    }

    /// Returns the starts of the file names of other ledgers that deliver to this folder.
    fn prefixes_of_other_ledgers(&self) -> Result<Vec<String>, SinkError> {
        let folder = self.root.join(STATE_FOLDER);
        let failed = |error| io_error("list", &folder, &error);
        let mut prefixes = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".json"));
            prefixes.extend(id.map(|id| format!("{id}-")).filter(|prefix| *prefix != self.file_prefix()));
        }
        Ok(prefixes)
    }
}
