//! Checkpoints: write and sync the buffered lines, then commit the file lengths and the ledger's writes together.
//!
//! 1. Write the *intent file* in the destination. It names the number of this checkpoint and the files it will change.
//! 2. Append to each file and sync it.
//! 3. Commit one transaction with all ledger writes since the last checkpoint, the file lengths and the number.
//!
//! If the process is killed before step 3, the intent is one checkpoint ahead of the ledger. The next start truncates
//! the files named in the intent to their committed lengths, removes those without a committed length, and changes no
//! other file. If the intent is further ahead, the ledger is older than the folder, for example restored from a backup.
//! Then nothing is truncated, and the error asks for a decision by a person.

use super::buffer::Lines;
use super::file::{self, append, io_error, remove, sync_folder, truncate};
use super::intent::{self, Intent};
use super::{Options, SinkError, sink_error};
use crate::ledger::store::sqlite::{Journal, store_error};
use rusqlite::OptionalExtension;
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
    root: PathBuf,
    id: String,
    pub(super) journal: Arc<Journal>,
    options: Options,
    #[cfg(all(test, feature = "zstd"))]
    pub(super) probe: super::tests::CheckpointProbe,
}

/// The lines to append to one file.
struct PendingAppend<'a> {
    partition: &'a str,
    name: String,
    /// The number in the name of a new file, or 0 for an existing file.
    number: i64,
    /// The committed length in bytes, or 0 for a new file.
    start: u64,
    /// The uncompressed size of the file after the append.
    content: u64,
    lines: Vec<&'a [u8]>,
}

impl PendingAppend<'_> {
    fn path(&self) -> String {
        format!("{}/{}", self.partition, self.name)
    }
}

/// The last file of a partition, with its committed length and its uncompressed size in bytes.
struct OpenFile {
    name: String,
    length: u64,
    content: u64,
}

impl Destination {
    /// Opens a destination and restores it to its last checkpoint.
    pub(super) fn open(root: &Path, journal: Arc<Journal>, options: Options) -> Result<Self, SinkError> {
        let own = root.join(STATE_FOLDER);
        std::fs::create_dir_all(&own).map_err(|error| io_error("create", &own, &error))?;
        let root = root.canonicalize().map_err(|error| io_error("open", root, &error))?;
        let mut destination = Self {
            root,
            id: String::new(),
            journal,
            options,
            #[cfg(all(test, feature = "zstd"))]
            probe: super::tests::CheckpointProbe::default(),
        };
        match Intent::read(&destination.intent_path(), destination.journal.id())? {
            Some(intent) => {
                destination.id.clone_from(&intent.folder);
                destination.recover(&intent)?;
            }
            None => destination.initialize()?,
        }
        Ok(destination)
    }

    /// Initializes a destination that this ledger has not written to.
    fn initialize(&mut self) -> Result<(), SinkError> {
        self.id = format!("{:032x}", uuid::Uuid::new_v4().as_u128());
        let others: i64 = self.query("SELECT count(*) FROM folders WHERE checkpoints > 0", [])?;
        if others > 0 {
            tracing::warn!(
                destination = %self.root.display(), ledger = %self.journal.path().display(),
                "this ledger delivered to another folder before; those events are not delivered again to this folder"
            );
        }
        self.write_intent(0, Vec::new())?;
        self.commit(0, &[])
    }

    /// Undoes a checkpoint that was not committed.
    fn recover(&self, intent: &Intent) -> Result<(), SinkError> {
        let recorded: Option<i64> = self.checkpoints()?;
        let committed = recorded.unwrap_or(0);
        if intent.checkpoint < committed
            || intent.checkpoint > committed + 1
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
            let open_file = self.open_file(partition)?.filter(|open_file| open_file.name == name);
            match open_file {
                _ if !interrupted => {}
                Some(open_file) => match truncate(&path, open_file.length) {
                    // The file was removed after the crash, so nothing of the interrupted checkpoint remains.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    outcome => outcome.map_err(|error| io_error("truncate", &path, &error))?,
                },
                None => remove(&path)?,
            }
        }
        Ok(())
    }

    /// Writes `lines` to their files and commits them together with the pending writes of the journal.
    pub(super) fn checkpoint(&self, lines: &Lines) -> Result<(), SinkError> {
        let last_file: i64 = self.query("SELECT coalesce(max(last_file), 0) FROM folders", [])?;
        let appends = self.plan(lines, last_file)?;
        let number = self.checkpoints()?.unwrap_or(0);
        if appends.is_empty() {
            return self.commit(number, &[]);
        }
        self.write_intent(number + 1, appends.iter().map(PendingAppend::path).collect())?;
        self.at_point("intent_written");
        let lengths = self.write(&appends)?;
        self.at_point("files_written");
        let rows: Vec<_> = appends.iter().zip(lengths).collect();
        self.commit(number + 1, &rows)?;
        self.at_point("committed");
        Ok(())
    }

    /// Assigns the lines to files: first to each partition's last file until it is full, then to new files.
    fn plan<'a>(&self, lines: &'a Lines, mut last_file: i64) -> Result<Vec<PendingAppend<'a>>, SinkError> {
        let mut appends = Vec::new();
        for (partition, blocks) in lines {
            let existing = |open_file: OpenFile| {
                let OpenFile { name, length: start, content } = open_file;
                PendingAppend { partition, name, number: 0, start, content, lines: Vec::new() }
            };
            let mut pending = self.appendable_file(partition)?.map(existing);
            for block in blocks {
                let mut rest = &block[..];
                while !rest.is_empty() {
                    let content = pending.as_ref().map_or(0, |pending| pending.content);
                    let taken = self.fitting_bytes(rest, content);
                    if taken == 0 {
                        appends.extend(pending.take());
                        continue;
                    }
                    let pending = pending.get_or_insert_with(|| {
                        last_file += 1;
                        let name =
                            format!("{}{last_file:08}.{}", self.file_prefix(), self.options.compression.extension());
                        PendingAppend { partition, name, number: last_file, start: 0, content: 0, lines: Vec::new() }
                    });
                    let (now, later) = rest.split_at(taken);
                    pending.content += now.len() as u64;
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

    /// Returns how many bytes of complete lines fit into a file with `content` uncompressed bytes. Returns 0 for a full
    /// file, and at least one line for a new file.
    fn fitting_bytes(&self, lines: &[u8], content: u64) -> usize {
        let remaining = usize::try_from(self.options.file_bytes.saturating_sub(content)).unwrap_or(usize::MAX);
        if lines.len() <= remaining {
            return lines.len();
        }
        match lines[..remaining].iter().rposition(|&byte| byte == b'\n') {
            Some(at) => at + 1,
            None if content > 0 => 0,
            None => lines.iter().position(|&byte| byte == b'\n').map_or(lines.len(), |at| at + 1),
        }
    }

    /// Returns the partition's last file if it has its committed length and the configured compression.
    fn appendable_file(&self, partition: &str) -> Result<Option<OpenFile>, SinkError> {
        let Some(open_file) = self.open_file(partition)? else { return Ok(None) };
        let path = self.root.join(partition).join(&open_file.name);
        let found = match std::fs::symlink_metadata(&path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::info!(file = %path.display(), "file was removed; continuing in a new file");
                return Ok(None);
            }
            Err(error) => return Err(io_error("read the length of", &path, &error)),
        };
        if found < open_file.length {
            return Err(SinkError::Unavailable(format!(
                "{} {}",
                path.display(),
                file::truncated_message(found, open_file.length)
            )));
        }
        if found > open_file.length {
            tracing::warn!(file = %path.display(), "another program appended to the file; continuing in a new file");
            return Ok(None);
        }
        let extension = self.options.compression.extension();
        let same = open_file.name.split_once('.').is_some_and(|(_, found)| found == extension);
        Ok(Some(open_file).filter(|_| same))
    }

    /// Appends to all files and syncs them, several concurrently. Returns the new lengths in bytes.
    fn write(&self, appends: &[PendingAppend<'_>]) -> Result<Vec<u64>, SinkError> {
        let new_partitions: BTreeSet<&str> =
            appends.iter().filter(|pending| pending.start == 0).map(|pending| pending.partition).collect();
        for partition in &new_partitions {
            let path = self.root.join(partition);
            std::fs::create_dir_all(&path).map_err(|error| io_error("create", &path, &error))?;
        }
        let next = AtomicUsize::new(0);
        let written = Mutex::new(vec![0; appends.len()]);
        let write = || {
            while let Some((at, pending)) =
                Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, appends.get(at)?)))
            {
                let path = self.root.join(pending.path());
                let length = append(&path, pending.start, &pending.lines, self.options.compression)
                    .map_err(|error| io_error("write", &path, &error))?;
                written.lock().unwrap_or_else(PoisonError::into_inner)[at] = length;
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
            sync_folder(&path).map_err(|error| io_error("sync", &path, &error))?;
        }
        Ok(written.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn commit(&self, number: i64, written: &[(&PendingAppend<'_>, u64)]) -> Result<(), SinkError> {
        let last = written.iter().map(|(pending, _)| pending.number).max().unwrap_or(0);
        let committed = self.journal.commit(|connection| {
            let mut put = connection.prepare_cached(
                "INSERT OR REPLACE INTO files (folder, partition, name, length, content) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            for (pending, length) in written {
                put.execute(rusqlite::params![
                    self.id,
                    pending.partition,
                    pending.name,
                    length.cast_signed(),
                    pending.content.cast_signed()
                ])?;
            }
            connection
                .prepare_cached(
                    "INSERT INTO folders (id, checkpoints, last_file) VALUES (?1, ?2, ?3)
                     ON CONFLICT (id) DO UPDATE SET checkpoints = ?2, last_file = max(last_file, ?3)",
                )?
                .execute(rusqlite::params![self.id, number, last])?;
            Ok(())
        });
        committed.map_err(sink_error)
    }

    fn open_file(&self, partition: &str) -> Result<Option<OpenFile>, SinkError> {
        let sql = "SELECT name, length, content FROM files WHERE folder = ?1 AND partition = ?2";
        self.optional(sql, [&self.id, partition], |row| {
            Ok(OpenFile {
                name: row.get(0)?,
                length: row.get::<_, i64>(1)?.cast_unsigned(),
                content: row.get::<_, i64>(2)?.cast_unsigned(),
            })
        })
    }

    fn checkpoints(&self) -> Result<Option<i64>, SinkError> {
        self.optional("SELECT checkpoints FROM folders WHERE id = ?1", [&self.id], |row| row.get(0))
    }

    fn query(&self, sql: &str, with: impl rusqlite::Params) -> Result<i64, SinkError> {
        self.optional(sql, with, |row| row.get(0)).map(Option::unwrap_or_default)
    }

    fn optional<T>(
        &self,
        sql: &str,
        with: impl rusqlite::Params,
        get: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, SinkError> {
        let found = self.journal.read(|connection| {
            let found = connection.prepare_cached(sql).and_then(|mut ask| ask.query_row(with, get).optional());
            found.map_err(|error| store_error(self.journal.path(), error))
        });
        found.map_err(sink_error)
    }

    /// Returns the start of this ledger's file names. Two ledgers never share a file.
    fn file_prefix(&self) -> String {
        format!("{}-", &self.journal.id()[..12])
    }

    fn intent_path(&self) -> PathBuf {
        self.root.join(STATE_FOLDER).join(format!("{}.json", &self.journal.id()[..12]))
    }

    fn write_intent(&self, checkpoint: i64, files: Vec<String>) -> Result<(), SinkError> {
        let (ledger, folder) = (self.journal.id().to_owned(), self.id.clone());
        Intent { ledger, folder, checkpoint, files }.write(&self.intent_path())
    }

    /// Tells a test that the disk is in a state that a killed process could leave.
    fn at_point(&self, _moment: &'static str) {
        #[cfg(all(test, feature = "zstd"))]
        self.probe.at_point(_moment);
    }
}
