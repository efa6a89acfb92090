//! A checkpoint: lines onto the disk, then their files' lengths and the ledger's writes in one commit.
//!
//! 1. The *mark*, a small file in the destination, names this checkpoint's number and the files it will touch.
//! 2. Each file is appended to and synced.
//! 3. The transaction commits: every ledger write since the last checkpoint, the files' lengths, the number.
//!
//! A process killed before 3 leaves a mark one ahead of the ledger. The next start cuts exactly the files the mark names
//! to the lengths the ledger knows, removes those it does not know, and nothing else. A mark further ahead means that the
//! ledger is older than the folder, restored from a backup perhaps: then nothing is cut, a person has to say.

use super::buffer::Lines;
use super::file::{self, append, io_error, remove, sync_folder, truncate};
use super::intent::{self, Intent};
use super::{Options, SinkError, sink_error};
use crate::ledger::store::sqlite::{Journal, failure};
use rusqlite::OptionalExtension;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The destination's own folder: the marks and, where the ledger lies elsewhere, the sink's state.
pub(super) const STATE_FOLDER: &str = ".trailhose";

/// Files written at a time. Syncs that wait together are answered by the disk together.
const WRITERS: usize = 8;

/// A destination folder and the journal that knows its lengths.
#[derive(Debug)]
pub(super) struct Destination {
    root: PathBuf,
    id: String,
    pub(super) journal: Arc<Journal>,
    options: Options,
    #[cfg(test)]
    pub(super) probe: super::tests::CheckpointProbe,
}

/// Some lines for one file.
struct FileAppend<'a> {
    partition: &'a str,
    name: String,
    /// The number in a new file's name, else 0.
    number: i64,
    /// Committed length; 0 for a file that does not exist yet.
    start: u64,
    /// Uncompressed bytes in the file once this piece is in it.
    content: u64,
    lines: Vec<&'a [u8]>,
}

impl FileAppend<'_> {
    fn path(&self) -> String {
        format!("{}/{}", self.partition, self.name)
    }
}

/// The file of a partition that may be appended to.
struct OpenFile {
    name: String,
    length: u64,
    content: u64,
}

impl Destination {
    /// Opens a destination and brings it back to its last checkpoint.
    pub(super) fn open(root: &Path, journal: Arc<Journal>, options: Options) -> Result<Self, SinkError> {
        let own = root.join(STATE_FOLDER);
        std::fs::create_dir_all(&own).map_err(|error| io_error("create", &own, &error))?;
        let root = root.canonicalize().map_err(|error| io_error("open", root, &error))?;
        let mut folder = Self {
            root,
            id: String::new(),
            journal,
            options,
            #[cfg(test)]
            probe: super::tests::CheckpointProbe::default(),
        };
        match Intent::read(&folder.intent(), folder.journal.id())? {
            Some(intent) => {
                folder.id.clone_from(&intent.folder);
                folder.recover(&intent)?;
            }
            None => folder.initialize()?,
        }
        Ok(folder)
    }

    /// A destination this ledger never wrote to.
    fn initialize(&mut self) -> Result<(), SinkError> {
        self.id = format!("{:032x}", uuid::Uuid::new_v4().as_u128());
        let others: i64 = self.query("SELECT count(*) FROM folders WHERE checkpoints > 0", [])?;
        if others > 0 {
            tracing::warn!(
                folder = %self.root.display(), ledger = %self.journal.path().display(),
                "this ledger delivered to another folder before: what it delivered there does not come again here"
            );
        }
        self.write_mark(0, Vec::new())?;
        self.commit(0, &[])
    }

    /// Takes back what a checkpoint that did not commit left behind.
    fn recover(&self, intent: &Intent) -> Result<(), SinkError> {
        let known: Option<i64> = self.checkpoints()?;
        let committed = known.unwrap_or(0);
        if intent.checkpoint < committed
            || intent.checkpoint > committed + 1
            || (known.is_none() && intent.checkpoint != 0)
        {
            return Err(SinkError::Unavailable(format!(
                "the folder {} saw checkpoint {} and its ledger {} knows of {committed}: one of them was restored or copied \
                 without the other. Nothing was touched: put the two back together, or give the folder a new ledger",
                self.root.display(),
                intent.checkpoint,
                self.journal.path().display()
            )));
        }
        if known.is_none() {
            return self.commit(0, &[]);
        }
        let interrupted = intent.checkpoint > committed;
        for relative in &intent.files {
            let (partition, name) = intent::split_path(relative, &self.stem()).ok_or_else(|| {
                let intent = self.intent();
                SinkError::Unavailable(format!(
                    "{} names {relative:?}, which is no file of this ledger's",
                    intent.display()
                ))
            })?;
            let path = self.root.join(relative);
            let open_file = self.open_file(partition)?.filter(|open_file| open_file.name == name);
            match open_file {
                _ if !interrupted => {}
                Some(open_file) => match truncate(&path, open_file.length) {
                    // Taken away by a person since: nothing of the interrupted checkpoint is left in it.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    outcome => outcome.map_err(|error| io_error("cut", &path, &error))?,
                },
                None => remove(&path)?,
            }
        }
        Ok(())
    }

    /// Writes `lines` to their files and commits them together with everything in the journal.
    pub(super) fn checkpoint(&self, lines: &Lines) -> Result<(), SinkError> {
        let last_file: i64 = self.query("SELECT coalesce(max(last_file), 0) FROM folders", [])?;
        let appends = self.plan(lines, last_file)?;
        let number = self.checkpoints()?.unwrap_or(0);
        if appends.is_empty() {
            return self.commit(number, &[]);
        }
        self.write_mark(number + 1, appends.iter().map(FileAppend::path).collect())?;
        self.reached("marked");
        let lengths = self.write(&appends)?;
        self.reached("written");
        let rows: Vec<_> = appends.iter().zip(lengths).collect();
        self.commit(number + 1, &rows)?;
        self.reached("committed");
        Ok(())
    }

    /// Divides the lines among files: on into each partition's last file while it has room, then into new ones.
    fn plan<'a>(&self, lines: &'a Lines, mut last_file: i64) -> Result<Vec<FileAppend<'a>>, SinkError> {
        let mut appends = Vec::new();
        for (partition, blocks) in lines {
            let existing = |open_file: OpenFile| {
                let OpenFile { name, length: start, content } = open_file;
                FileAppend { partition, name, number: 0, start, content, lines: Vec::new() }
            };
            let mut append_job = self.appendable_file(partition)?.map(existing);
            for block in blocks {
                let mut rest = &block[..];
                while !rest.is_empty() {
                    let content = append_job.as_ref().map_or(0, |append_job| append_job.content);
                    let taken = self.fitting_bytes(rest, content);
                    if taken == 0 {
                        appends.extend(append_job.take());
                        continue;
                    }
                    let append_job = append_job.get_or_insert_with(|| {
                        last_file += 1;
                        let name = format!("{}{last_file:08}.{}", self.stem(), self.options.compression.extension());
                        FileAppend { partition, name, number: last_file, start: 0, content: 0, lines: Vec::new() }
                    });
                    let (now, later) = rest.split_at(taken);
                    append_job.content += now.len() as u64;
                    append_job.lines.push(now);
                    rest = later;
                }
            }
            appends.extend(append_job);
        }
        // A file that is full is left as it is.
        appends.retain(|append_job| !append_job.lines.is_empty());
        Ok(appends)
    }

    /// How many bytes of whole lines still go into a file that holds `content`: none if it is full, at least one line if
    /// it is new.
    fn fitting_bytes(&self, lines: &[u8], content: u64) -> usize {
        let room = usize::try_from(self.options.file_bytes.saturating_sub(content)).unwrap_or(usize::MAX);
        if lines.len() <= room {
            return lines.len();
        }
        match lines[..room].iter().rposition(|&byte| byte == b'\n') {
            Some(at) => at + 1,
            None if content > 0 => 0,
            None => lines.iter().position(|&byte| byte == b'\n').map_or(lines.len(), |at| at + 1),
        }
    }

    /// The partition's last file, if it can be appended to: as long as committed and of the same compression.
    fn appendable_file(&self, partition: &str) -> Result<Option<OpenFile>, SinkError> {
        let Some(open_file) = self.open_file(partition)? else { return Ok(None) };
        let path = self.root.join(partition).join(&open_file.name);
        let found = match std::fs::symlink_metadata(&path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::info!(file = %path.display(), "was taken away, going on in a new file");
                return Ok(None);
            }
            Err(error) => return Err(io_error("look at", &path, &error)),
        };
        if found < open_file.length {
            return Err(SinkError::Unavailable(format!(
                "{} {}",
                path.display(),
                file::truncated_message(found, open_file.length)
            )));
        }
        if found > open_file.length {
            tracing::warn!(file = %path.display(), "somebody else appended to it, going on in a new file");
            return Ok(None);
        }
        let extension = self.options.compression.extension();
        let same = open_file.name.split_once('.').is_some_and(|(_, found)| found == extension);
        Ok(Some(open_file).filter(|_| same))
    }

    /// Appends all pieces and syncs them, several at a time. Returns the files' lengths.
    fn write(&self, appends: &[FileAppend<'_>]) -> Result<Vec<u64>, SinkError> {
        let fresh: BTreeSet<&str> =
            appends.iter().filter(|append_job| append_job.start == 0).map(|append_job| append_job.partition).collect();
        for partition in &fresh {
            let path = self.root.join(partition);
            std::fs::create_dir_all(&path).map_err(|error| io_error("create", &path, &error))?;
        }
        let next = AtomicUsize::new(0);
        let written = Mutex::new(vec![0; appends.len()]);
        let write = || {
            while let Some((at, append_job)) =
                Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, appends.get(at)?)))
            {
                let path = self.root.join(append_job.path());
                let length = append(&path, append_job.start, &append_job.lines, self.options.compression)
                    .map_err(|error| io_error("write", &path, &error))?;
                written.lock().unwrap_or_else(PoisonError::into_inner)[at] = length;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let writers: Vec<_> = (1..WRITERS.min(appends.len())).map(|_| scope.spawn(write)).collect();
            let mut outcome = write();
            for writer in writers {
                let ended = writer.join();
                outcome =
                    outcome.and(ended.unwrap_or_else(|_| {
                        Err(SinkError::Unavailable("a writer of JSON Lines files panicked".into()))
                    }));
            }
            outcome
        })?;
        // The names of new files and of the folders on the way to them: of every one, as a folder that is there already
        // may stem from a checkpoint that was killed before it came to this line.
        let folders: BTreeSet<&Path> = fresh.iter().flat_map(|partition| Path::new(partition).ancestors()).collect();
        for folder in folders {
            let path = self.root.join(folder);
            sync_folder(&path).map_err(|error| io_error("sync", &path, &error))?;
        }
        Ok(written.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn commit(&self, number: i64, written: &[(&FileAppend<'_>, u64)]) -> Result<(), SinkError> {
        let last = written.iter().map(|(append_job, _)| append_job.number).max().unwrap_or(0);
        let committed = self.journal.commit(|connection| {
            let mut put = connection.prepare_cached(
                "INSERT OR REPLACE INTO files (folder, partition, name, length, content) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            for (append_job, length) in written {
                put.execute(rusqlite::params![
                    self.id,
                    append_job.partition,
                    append_job.name,
                    length.cast_signed(),
                    append_job.content.cast_signed()
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
            found.map_err(|error| failure(self.journal.path(), error))
        });
        found.map_err(sink_error)
    }

    /// What this ledger's file names begin with: no two ledgers share a file.
    fn stem(&self) -> String {
        format!("{}-", &self.journal.id()[..12])
    }

    fn intent(&self) -> PathBuf {
        self.root.join(STATE_FOLDER).join(format!("{}.json", &self.journal.id()[..12]))
    }

    fn write_mark(&self, checkpoint: i64, files: Vec<String>) -> Result<(), SinkError> {
        let (ledger, folder) = (self.journal.id().to_owned(), self.id.clone());
        Intent { ledger, folder, checkpoint, files }.write(&self.intent())
    }

    /// A moment at which a test looks at the disk as a killed process would leave it.
    fn reached(&self, _moment: &'static str) {
        #[cfg(test)]
        self.probe.reached(_moment);
    }
}
