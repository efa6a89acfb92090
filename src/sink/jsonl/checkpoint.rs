//! Checkpoints: write and sync the buffered lines, then commit the file lengths and the ledger's writes together.
//!
//! 1. Write the *intent file* in the destination. It names the number of this checkpoint and the files it will change.
//! 2. Append to each file and sync it.
//! 3. Commit one transaction with all ledger writes since the last checkpoint, the file lengths and the number
//!    (`files.rs`), and what was added to each file (`segments.rs`).
//!
//! If the process is killed before step 3, the intent is one checkpoint ahead of the ledger. The next start truncates
//! the files named in the intent to their committed lengths, removes those without a committed length, and changes no
//! other file. If the intent is further ahead, the ledger is older than the folder, for example restored from a backup.
//! Then nothing is truncated, and the error asks for a decision by a person.

use super::buffer::PartitionLines;
use super::file::{self, Appended, append, io_error, remove, truncate};
use super::files::{self, CommittedFile, FileChecks, FileTables, SCHEMA};
use super::intent::{self, Intent};
use super::segments::NewSegment;
use super::{Options, SinkError, sink_error};
use crate::disk::{Disk, SystemDisk, create_folder};
use crate::ledger::store::sqlite::Journal;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The folder in the destination for the intent files and, if the ledger is stored elsewhere, the sink's state.
pub(super) const STATE_FOLDER: &str = ".trailhose";

/// The maximum number of files written concurrently. The disk combines concurrent syncs.
const MAX_WRITERS: usize = 8;

/// A destination folder and the journal with the committed lengths of its files.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) root: PathBuf,
    /// The ID of this folder in the sink's tables.
    pub(super) id: String,
    pub(super) journal: Arc<Journal>,
    pub(super) tables: FileTables,
    options: Options,
    pub(super) disk: Arc<dyn Disk>,
    #[cfg(all(test, feature = "zstd"))]
    pub(super) probe: super::tests::CheckpointProbe,
}

/// The lines to append to one file.
struct PendingAppend<'a> {
    /// The file as committed, with a length of 0 if it is new. Its `content_bytes` already include `lines`.
    file: CommittedFile,
    lines: Vec<&'a [u8]>,
}

impl PendingAppend<'_> {
    /// Returns what a completed append added to the file.
    fn segment(&self, appended: Appended) -> NewSegment {
        let lines: u64 =
            self.lines.iter().map(|lines| lines.iter().filter(|&&byte| byte == b'\n').count() as u64).sum();
        let checks = match (self.file.length, self.file.checks) {
            (0, _) => Some(FileChecks { lines, crc: appended.crc.clone().finalize() }),
            (length, Some(before)) => {
                let mut crc = crc32fast::Hasher::new_with_initial_len(before.crc, length);
                crc.combine(&appended.crc);
                Some(FileChecks { lines: before.lines + lines, crc: crc.finalize() })
            }
            (_, None) => None,
        };
        NewSegment {
            start: self.file.length,
            content: self.lines.iter().map(|lines| lines.len() as u64).sum(),
            checks: Some(FileChecks { lines, crc: appended.crc.finalize() }),
            file: CommittedFile { length: appended.length, checks, ..self.file.clone() },
        }
    }
}

impl Destination {
    /// Opens a destination and restores it to its last checkpoint.
    pub(super) fn open(
        root: &Path,
        journal: Arc<Journal>,
        options: Options,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, SinkError> {
        for folder in [root, &root.join(STATE_FOLDER)] {
            create_folder(&*disk, folder).map_err(|error| io_error("create", folder, &error))?;
        }
        let root = root.canonicalize().map_err(|error| io_error("open", root, &error))?;
        journal.register(&SCHEMA).map_err(sink_error)?;
        let mut destination = Self {
            root,
            id: String::new(),
            tables: FileTables(Arc::clone(&journal)),
            journal,
            options,
            disk,
            #[cfg(all(test, feature = "zstd"))]
            probe: super::tests::CheckpointProbe::default(),
        };
        match Intent::read(&destination.intent_path(), destination.journal.id())? {
            Some(intent) => {
                destination.id.clone_from(&intent.folder);
                destination.recover(&intent)?;
                destination.record_older_files()?;
            }
            None => destination.initialize()?,
        }
        Ok(destination)
    }

    /// Opens a destination without changing it, for a check of its files.
    pub(super) fn open_read_only(root: &Path, journal: Arc<Journal>) -> Result<Self, SinkError> {
        let root = root.canonicalize().map_err(|error| io_error("open", root, &error))?;
        let mut destination = Self {
            root,
            id: String::new(),
            tables: FileTables(Arc::clone(&journal)),
            journal,
            options: Options::default(),
            disk: Arc::new(SystemDisk),
            #[cfg(all(test, feature = "zstd"))]
            probe: super::tests::CheckpointProbe::default(),
        };
        let (folder, ledger) = (destination.root.display(), destination.journal.path().display());
        let Some(intent) = Intent::read(&destination.intent_path(), destination.journal.id())? else {
            return Err(SinkError::Unavailable(format!(
                "the ledger {ledger} has not delivered to the folder {folder}: name the folder and the ledger that belong \
                 together"
            )));
        };
        let is_current = destination.journal.schema_version(&SCHEMA).map_err(sink_error)? == SCHEMA.upgrades.len();
        if !is_current || !destination.tables.is_complete(&intent.folder)? {
            return Err(SinkError::Unavailable(format!(
                "the ledger {ledger} was written by an earlier version of trailhose, which did not record every file: run \
                 `trailhose sync` once, which records them"
            )));
        }
        destination.id = intent.folder;
        Ok(destination)
    }

    /// Initializes a destination that this ledger has not written to.
    fn initialize(&mut self) -> Result<(), SinkError> {
        self.id = format!("{:032x}", uuid::Uuid::new_v4().as_u128());
        if let Some(file) =
            self.tables.files_of_other_folders(&self.id)?.into_iter().find(|file| self.root.join(file).is_file())
        {
            return Err(SinkError::Unavailable(format!(
                "{} is missing, which identifies this folder, but the folder contains {file}, which the ledger {} records. \
                 Nothing was changed: restore the file from a backup, or deliver to an empty folder",
                self.intent_path().display(),
                self.journal.path().display()
            )));
        }
        if self.tables.has_delivered()? {
            tracing::warn!(
                destination = %self.root.display(), ledger = %self.journal.path().display(),
                "this ledger delivered to another folder before; those events are not delivered again to this folder"
            );
        } else if self.has_delivered_files()? {
            tracing::warn!(
                "{} already contains delivered files, but the ledger {} is new: it records none of their events, so all \
                 events are delivered again, to new files. If this is not intended, stop, and pass the ledger that delivered \
                 them with --ledger, or restore it from a backup",
                self.root.display(),
                self.journal.path().display()
            );
        }
        self.write_intent(0, Vec::new())?;
        self.commit(0, &[])
    }

    /// Returns whether the folder contains a partition, which another ledger or an earlier state of this one created.
    fn has_delivered_files(&self) -> Result<bool, SinkError> {
        let failed = |error| io_error("list", &self.root, &error);
        for entry in std::fs::read_dir(&self.root).map_err(failed)? {
            if entry.map_err(failed)?.file_name().as_encoded_bytes().starts_with(b"account=") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Undoes a checkpoint that was not committed. Fails without changes if folder and ledger do not match.
    fn recover(&self, intent: &Intent) -> Result<(), SinkError> {
        let recorded = self.tables.checkpoints(&self.id)?;
        let committed = recorded.unwrap_or(0);
        if intent.checkpoint < committed
            || intent.checkpoint > committed + 1
            || (intent.committed && intent.checkpoint > committed)
            || (recorded.is_none() && intent.checkpoint != 0)
        {
            return Err(SinkError::Unavailable(format!(
                "folder {} is at checkpoint {} and its ledger {} is at checkpoint {committed}: one of them was restored or \
                 copied without the other. Nothing was changed: restore both from the same time, or use a new ledger \
                 and an empty folder",
                self.root.display(),
                intent.checkpoint,
                self.journal.path().display()
            )));
        }
        if recorded.is_none() {
            return self.commit(0, &[]);
        }
        let interrupted = intent.checkpoint > committed;
        for relative in &intent.files {
            let (partition, name) = intent::split_path(relative, &self.file_prefix()).ok_or_else(|| {
                let path = self.intent_path();
                SinkError::Unavailable(format!(
                    "{} names {relative:?}, which is not a file of this ledger: use another destination folder",
                    path.display()
                ))
            })?;
            let path = self.root.join(relative);
            match self.tables.file(&self.id, partition, name)? {
                _ if !interrupted => {}
                Some(committed) => match truncate(&*self.disk, &path, committed.length) {
                    // The file was removed after the crash, so nothing of the interrupted checkpoint remains.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    outcome => outcome.map_err(|error| io_error("truncate", &path, &error))?,
                },
                None => remove(&*self.disk, &path)?,
            }
        }
        Ok(())
    }

    /// Writes `lines` to their files and commits them together with the pending writes of the journal.
    pub(super) fn checkpoint(&self, lines: &PartitionLines) -> Result<(), SinkError> {
        let appends = self.plan(lines, self.tables.last_number()?)?;
        let number = self.tables.checkpoints(&self.id)?.unwrap_or(0);
        if appends.is_empty() {
            return self.commit(number, &[]);
        }
        self.write_intent(number + 1, appends.iter().map(|pending| pending.file.path()).collect())?;
        self.at_point("intent_written");
        let written = self.write(&appends)?;
        self.at_point("files_written");
        let written: Vec<_> =
            appends.iter().zip(written).map(|(pending, appended)| pending.segment(appended)).collect();
        self.commit(number + 1, &written)?;
        self.at_point("committed");
        intent::mark_committed(&self.intent_path());
        Ok(())
    }

    /// Assigns the lines to files: first to each partition's last file until it is full, then to new files.
    fn plan<'a>(&self, lines: &'a PartitionLines, mut last_number: i64) -> Result<Vec<PendingAppend<'a>>, SinkError> {
        let mut appends = Vec::new();
        for (partition, blocks) in lines {
            let existing = self.appendable_file(partition)?;
            let mut pending = existing.map(|file| PendingAppend { file, lines: Vec::new() });
            for block in blocks {
                let mut rest = &block[..];
                while !rest.is_empty() {
                    let content_bytes = pending.as_ref().map_or(0, |pending| pending.file.content_bytes);
                    let taken = self.fitting_bytes(rest, content_bytes);
                    if taken == 0 {
                        appends.extend(pending.take());
                        continue;
                    }
                    let pending = pending.get_or_insert_with(|| {
                        last_number += 1;
                        PendingAppend { file: self.new_file(partition, last_number), lines: Vec::new() }
                    });
                    let (now, later) = rest.split_at(taken);
                    pending.file.content_bytes += now.len() as u64;
                    pending.lines.push(now);
                    rest = later;
                }
            }
            appends.extend(pending);
        }
        // A full file gets no lines and is not opened.
        appends.retain(|pending| !pending.lines.is_empty());
        Ok(appends)
    }

    fn new_file(&self, partition: &str, number: i64) -> CommittedFile {
        let name = format!("{}{number:08}.{}", self.file_prefix(), self.options.compression.extension());
        CommittedFile { partition: partition.to_owned(), number, name, length: 0, content_bytes: 0, checks: None }
    }

    /// Returns how many bytes of complete lines fit into a file that has `content_bytes` uncompressed bytes. Returns 0
    /// for a full file, and at least one line for a new file.
    fn fitting_bytes(&self, lines: &[u8], content_bytes: u64) -> usize {
        let remaining = usize::try_from(self.options.file_bytes.saturating_sub(content_bytes)).unwrap_or(usize::MAX);
        if lines.len() <= remaining {
            return lines.len();
        }
        match lines[..remaining].iter().rposition(|&byte| byte == b'\n') {
            Some(at) => at + 1,
            None if content_bytes > 0 => 0,
            None => lines.iter().position(|&byte| byte == b'\n').map_or(lines.len(), |at| at + 1),
        }
    }

    /// Returns the partition's last file if it has its committed length and the configured compression. Fails if the
    /// file is shorter.
    fn appendable_file(&self, partition: &str) -> Result<Option<CommittedFile>, SinkError> {
        let Some(last_file) = self.tables.last_file(&self.id, partition)? else { return Ok(None) };
        let path = self.root.join(partition).join(&last_file.name);
        let found = match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {
                return Err(io_error("append to", &path, &io::ErrorKind::IsADirectory.into()));
            }
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::info!(file = %path.display(), "file was removed; continuing in a new file");
                return Ok(None);
            }
            Err(error) => return Err(io_error("read the length of", &path, &error)),
        };
        if found < last_file.length {
            return Err(SinkError::Unavailable(format!(
                "{} {}",
                path.display(),
                file::truncated_message(found, last_file.length)
            )));
        }
        if found > last_file.length {
            tracing::warn!(file = %path.display(), "another program appended to the file; continuing in a new file");
            return Ok(None);
        }
        let extension = self.options.compression.extension();
        let same = last_file.name.split_once('.').is_some_and(|(_, found)| found == extension);
        Ok(Some(last_file).filter(|_| same))
    }

    /// Appends to all files and syncs them, several concurrently.
    fn write(&self, appends: &[PendingAppend<'_>]) -> Result<Vec<Appended>, SinkError> {
        let new_files = appends.iter().filter(|pending| pending.file.length == 0);
        let new_partitions: BTreeSet<&str> = new_files.map(|pending| &*pending.file.partition).collect();
        for partition in &new_partitions {
            let path = self.root.join(partition);
            std::fs::create_dir_all(&path).map_err(|error| io_error("create", &path, &error))?;
        }
        let next = AtomicUsize::new(0);
        let written = Mutex::new(vec![Appended::default(); appends.len()]);
        let write = || {
            while let Some((at, pending)) =
                Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, appends.get(at)?)))
            {
                let path = self.root.join(pending.file.path());
                let (start, compression) = (pending.file.length, self.options.compression);
                let appended = append(&*self.disk, &path, start, &pending.lines, compression)
                    .map_err(|error| io_error("write", &path, &error))?;
                written.lock().unwrap_or_else(PoisonError::into_inner)[at] = appended;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let writers: Vec<_> = (1..MAX_WRITERS.min(appends.len())).map(|_| scope.spawn(write)).collect();
            let mut outcome = write();
            for writer in writers {
                let ended = writer.join();
                outcome = outcome.and(ended.unwrap_or_else(|_| {
                    Err(SinkError::Unavailable("a thread that writes JSON Lines files panicked".into()))
                }));
            }
            outcome
        })?;
        // Sync the folders of new files and all their parents. An existing folder may not be durable yet, because an
        // earlier checkpoint may have been killed before it reached this line.
        let folders: BTreeSet<&Path> =
            new_partitions.iter().flat_map(|partition| Path::new(partition).ancestors()).collect();
        for folder in folders {
            let path = self.root.join(folder);
            self.disk.sync_folder(&path).map_err(|error| io_error("sync", &path, &error))?;
        }
        Ok(written.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Commits the files and their segments together with the pending writes of the journal.
    fn commit(&self, number: i64, written: &[NewSegment]) -> Result<(), SinkError> {
        let last_number = written.iter().map(|segment| segment.file.number).max().unwrap_or(0);
        let committed = self.journal.commit(|connection| {
            for segment in written {
                segment.file.put(connection, &self.id)?;
                segment.put(connection, &self.id, number)?;
            }
            files::put_checkpoint(connection, &self.id, number, last_number)
        });
        committed.map_err(sink_error)
    }

    /// Returns the start of this ledger's file names. Two ledgers never share a file.
    pub(super) fn file_prefix(&self) -> String {
        format!("{}-", &self.journal.id()[..12])
    }

    pub(super) fn intent_path(&self) -> PathBuf {
        self.root.join(STATE_FOLDER).join(format!("{}.json", &self.journal.id()[..12]))
    }

    fn write_intent(&self, checkpoint: i64, files: Vec<String>) -> Result<(), SinkError> {
        let (ledger, folder) = (self.journal.id().to_owned(), self.id.clone());
        Intent { ledger, folder, checkpoint, files, committed: false }.write(&*self.disk, &self.intent_path())
    }

    /// Tells a test that the disk is in a state that a killed process could leave.
    pub(super) fn at_point(&self, _moment: &'static str) {
        #[cfg(all(test, feature = "zstd"))]
        self.probe.at_point(_moment);
    }
}
