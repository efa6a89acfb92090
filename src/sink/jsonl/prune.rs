//! Prune: deletes the files of past days, so that the folder does not grow without a limit.
//!
//! The ledger keeps the events of pruned files, so that no copy of them is delivered later. It marks them as released
//! (`rebuild.rs`), so that no rebuild delivers them and no comparison misses them. The steps:
//!
//! 1. One transaction removes the files from the record of committed files, and marks their events and their segments.
//! 2. The files are deleted, and their folders are synced.
//! 3. One transaction removes the segments of these files that every follower has passed.
//!
//! If the process is killed between two steps, the next prune continues: the marked segments name the files.

use super::checkpoint::Destination;
use super::files::CommittedFile;
use super::segments::{CommittedSegments, Removal};
use super::{Jsonl, SinkError, sink_error};
use crate::ledger::store::sqlite::{CommitMode, store_error};
use jiff::civil::Date;
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::path::PathBuf;

/// The files of past days, at the time of the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrunePlan {
    /// The number of files.
    pub files: u64,
    /// Their committed size in bytes.
    pub bytes: u64,
    /// The number of events in them, without those of files that an earlier version of this program wrote.
    pub events: u64,
    /// Their days: the first and the last one.
    pub days: Option<(Date, Date)>,
    /// Files whose events have no valid time. They belong to no day and are never pruned.
    pub undated_files: u64,
    /// The committed size of these files in bytes.
    pub undated_bytes: u64,
    /// Files of an interrupted prune that may still exist.
    pub interrupted_files: u64,
    /// The numbers of the files.
    numbers: BTreeSet<i64>,
    /// The last segment that was committed before the plan.
    last_segment: i64,
}

/// What a follower has not read of the files of a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnreadPart {
    /// The number of segments.
    pub segments: u64,
    /// The number of events, without those of segments whose count is unknown.
    pub events: u64,
}

/// The position of a follower in the segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadPosition {
    /// The last segment with events that it read.
    pub segment: i64,
    /// The number of events of this segment that it read. `None` if it read all of them.
    pub lines: Option<u64>,
}

impl ReadPosition {
    /// Returns the ID of the segment up to which it read all segments completely.
    fn complete(self) -> i64 {
        if self.lines.is_some() { self.segment - 1 } else { self.segment }
    }
}

/// The result of a prune.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrunedFiles {
    /// Files that are no longer in the record.
    pub files: u64,
    /// Events of these files.
    pub events: u64,
    /// Deleted files, including those of an interrupted prune.
    pub deleted: u64,
    /// Files that could not be deleted, and why. The next prune tries again.
    pub not_deleted: Vec<(PathBuf, String)>,
}

impl CommittedSegments {
    /// Returns the committed files of the days before `before`. A day is the date of the events (UTC).
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn plan_prune(&self, before: Date) -> Result<PrunePlan, SinkError> {
        // This is read first, so that a file with a segment that is committed later is not pruned.
        let mut plan = PrunePlan { last_segment: self.last_id()?, ..PrunePlan::default() };
        self.destination.tables.each_file(&self.destination.id, |file| match day(&file) {
            None => {
                plan.undated_files += 1;
                plan.undated_bytes += file.length;
            }
            Some(day) if day < before => {
                plan.files += 1;
                plan.bytes += file.length;
                plan.events += file.checks.map_or(0, |checks| checks.lines);
                let (first, last) = plan.days.unwrap_or((day, day));
                plan.days = Some((first.min(day), last.max(day)));
                plan.numbers.insert(file.number);
            }
            Some(_) => {}
        })?;
        plan.interrupted_files = self.destination.pruned_paths()?.into_values().map(|names| names.len() as u64).sum();
        Ok(plan)
    }

    /// Returns the day of the newest events in the committed files. Events without a valid time belong to no day.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn newest_day(&self) -> Result<Option<Date>, SinkError> {
        let mut newest: Option<Date> = None;
        self.destination.tables.each_file(&self.destination.id, |file| newest = newest.max(day(&file)))?;
        Ok(newest)
    }

    /// Removes the files from a plan that a follower at this position has not read completely. The sizes of the plan are not
    /// changed.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn keep_unread(&self, plan: &mut PrunePlan, position: ReadPosition) -> Result<(), SinkError> {
        self.read(|connection| {
            let mut statement = connection.prepare("SELECT DISTINCT file FROM segments WHERE id > ?1")?;
            let mut rows = statement.query([position.complete()])?;
            while let Some(row) = rows.next()? {
                plan.numbers.remove(&row.get::<_, i64>(0)?);
            }
            Ok(())
        })?;
        plan.files = plan.numbers.len() as u64;
        Ok(())
    }

    /// Returns what a follower at this position has not read of the files of a plan.
    ///
    /// # Errors
    /// Errors of SQLite.
    pub fn unread(&self, plan: &PrunePlan, position: ReadPosition) -> Result<UnreadPart, SinkError> {
        let sql = "SELECT file, count(*), coalesce(sum(lines), 0), coalesce(sum(id = ?2), 0) FROM segments
             WHERE id > ?1 GROUP BY file";
        let mut unread = UnreadPart::default();
        self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query([position.complete(), position.segment])?;
            while let Some(row) = rows.next()? {
                if plan.numbers.contains(&row.get::<_, i64>(0)?) {
                    let partly_read = if row.get::<_, bool>(3)? { position.lines.unwrap_or(0) } else { 0 };
                    unread.segments += row.get::<_, i64>(1)?.cast_unsigned();
                    unread.events += row.get::<_, i64>(2)?.cast_unsigned().saturating_sub(partly_read);
                }
            }
            Ok(unread)
        })
    }
}

impl Jsonl {
    /// Deletes the files of a plan. A file that received events after the plan is kept. `positions` are the positions of
    /// all followers: the segments of a pruned file are forgotten when no follower needs them.
    ///
    /// # Errors
    /// Returns an error, and changes nothing, if the ledger cannot be changed, or if it delivered to several folders.
    pub async fn prune(&self, plan: PrunePlan, positions: Vec<ReadPosition>) -> Result<PrunedFiles, SinkError> {
        self.change(move |destination| destination.prune(&plan, &positions)).await
    }
}

impl Destination {
    fn prune(&self, plan: &PrunePlan, positions: &[ReadPosition]) -> Result<PrunedFiles, SinkError> {
        let changed = self.files_with_segments_after(plan.last_segment)?;
        let (removed, others): (Vec<_>, Vec<_>) = self
            .files()?
            .into_iter()
            .partition(|file| plan.numbers.contains(&file.number) && !changed.contains(&file.number));
        let mut pruned = PrunedFiles { files: removed.len() as u64, ..PrunedFiles::default() };
        if !removed.is_empty() {
            self.release_events(&removed, &others, Removal::Pruned)?;
            // Not the number of released events: after a reset, an event can be in the files more than once.
            pruned.events = removed.iter().filter_map(|file| file.checks).map(|checks| checks.lines).sum();
        }
        self.at_point("pruned");
        for (partition, names) in self.pruned_paths()? {
            self.delete_files(&partition, &names, &mut pruned);
        }
        self.at_point("deleted");
        if pruned.not_deleted.is_empty() {
            self.forget_segments(positions)?;
        }
        Ok(pruned)
    }

    /// Deletes files of a partition, and the folders that are then empty.
    fn delete_files(&self, partition: &str, names: &[String], pruned: &mut PrunedFiles) {
        let folder = self.root.join(partition);
        let mut deleted = 0;
        for name in names {
            let path = folder.join(name);
            match std::fs::remove_file(&path) {
                Ok(()) => deleted += 1,
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(error) => pruned.not_deleted.push((path, error.to_string())),
            }
        }
        if deleted == 0 {
            return;
        }
        pruned.deleted += deleted;
        // The names of the files are forgotten after this, so their removal must be durable.
        if let Err(error) = self.disk.sync_folder(&folder) {
            pruned.not_deleted.push((folder.clone(), format!("cannot be synced: {error}")));
        }
        // A folder that is not empty stays.
        let folders = folder.ancestors().take_while(|folder| *folder != self.root);
        let _ = folders.map(std::fs::remove_dir).find(Result::is_err);
    }

    /// Returns the names of the pruned files whose segments are not forgotten yet, by partition.
    fn pruned_paths(&self) -> Result<BTreeMap<String, Vec<String>>, SinkError> {
        let sql = "SELECT partition, name FROM segment_files WHERE folder = ?1 AND removed = ?2";
        self.read(|connection| {
            let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query([&*self.id, Removal::Pruned.as_str()])?;
            while let Some(row) = rows.next()? {
                found.entry(row.get(0)?).or_default().push(row.get(1)?);
            }
            Ok(found)
        })
    }

    fn files_with_segments_after(&self, segment: i64) -> Result<HashSet<i64>, SinkError> {
        let sql = "SELECT DISTINCT file FROM segments WHERE id > ?1";
        self.read(|connection| connection.prepare(sql)?.query_map([segment], |row| row.get(0))?.collect())
    }

    /// Removes the segments of pruned and of rebuilt files that every follower has passed. The last segment that a
    /// follower read remains, because it shows that the position belongs to this record.
    fn forget_segments(&self, positions: &[ReadPosition]) -> Result<(), SinkError> {
        let passed = positions.iter().map(|position| position.complete()).min().unwrap_or(i64::MAX);
        let forgotten = "SELECT number FROM segment_files WHERE folder = ?1 AND removed IN ('pruned', 'rebuilt')";
        let committed = self.journal.commit(|connection| {
            let needed: HashSet<i64> = positions.iter().map(|position| position.segment).collect();
            let mut find =
                connection.prepare(&format!("SELECT id FROM segments WHERE id <= ?2 AND file IN ({forgotten})"))?;
            let found = find.query_map(params![self.id, passed], |row| row.get(0))?;
            let found: Vec<i64> = found.collect::<rusqlite::Result<_>>()?;
            let mut forget = connection.prepare("DELETE FROM segments WHERE id = ?1")?;
            for id in found.iter().filter(|id| !needed.contains(id)) {
                forget.execute([id])?;
            }
            let sql = format!(
                "DELETE FROM segment_files WHERE number IN ({forgotten}) AND number NOT IN (SELECT file FROM segments)"
            );
            connection.execute(&sql, [&self.id]).map(drop)
        });
        committed.map_err(sink_error)
    }

    /// Marks the events of files as released, and removes the files from the record. Returns the number of events.
    pub(super) fn release_events(
        &self,
        removed: &[CommittedFile],
        others: &[CommittedFile],
        removal: Removal,
    ) -> Result<u64, SinkError> {
        if self.journal.mode() != CommitMode::Grouped {
            // The events are in a ledger that is stored elsewhere, and no rebuild is possible.
            self.delete_records(removed, removal)?;
            return Ok(removed.iter().filter_map(|file| file.checks).map(|checks| checks.lines).sum());
        }
        self.without_files(removed, others, removal, |owners, others| {
            let mut events = 0;
            for prefix in others.page_prefixes() {
                events += owners.release(&prefix, |page, id| others.lacks(page, *id)).map_err(sink_error)?;
            }
            Ok(events)
        })
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, SinkError> {
        let result =
            self.journal.read(|connection| read(connection).map_err(|error| store_error(self.journal.path(), error)));
        result.map_err(sink_error)
    }
}

/// Returns the day of a file's events. Events without a valid time belong to no day.
fn day(file: &CommittedFile) -> Option<Date> {
    file.partition.rsplit_once("/date=")?.1.parse().ok()
}
