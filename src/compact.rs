//! Compaction of a lake: rewrites the events that arrived on a day as Parquet files by event day.
//!
//! ```text
//! events/dt=ARRIVED/*.gz ─▶ read ─▶ temporary Parquet files by event day ─▶ read back and compare ─▶ publish ─▶ record
//! ```
//!
//! The JSON Lines files of the lake remain: the Parquet files are a second copy for queries. An arrived day is read
//! completely or not at all. Its Parquet files are read back and compared with the events before they are published.
//! The record of the day lists the files before they are published and is completed afterwards, so an interrupted
//! compaction is repeated without duplicates. The next run takes over the record before it removes the files of an
//! interrupted one, so a run that is still in progress cannot complete a record whose files were removed. Files that arrive
//! later are compacted in a batch of their own.

mod columns;
mod day_files;
mod destination;
mod read;
mod record;
mod verify;

pub use destination::{BucketDestination, CompactDestination, FolderDestination, StoredRecord};

use crate::listing::pages::ListingPages;
use crate::query::{QueryControl, QueryError, QueryScan, ScanReport};
use crate::source::{Source, SourceError};
use day_files::{DayFiles, FileLimits, FinishedFile};
use jiff::civil::Date;
use record::{BatchState, CompactedBatch, DayRecord, InputFile, OutputFile, new_id};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Why a day is not compacted.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// The lake cannot be listed.
    #[error("cannot list the lake: {0}")]
    Listing(#[from] SourceError),
    /// The files of the lake cannot be read.
    #[error(transparent)]
    Scan(#[from] QueryError),
    /// Some events cannot be read. The report names the files.
    #[error("not all events can be read, so nothing of this day is compacted")]
    Unreadable(Box<ScanReport>),
    /// A file was replaced after it was compacted.
    #[error(
        "{0} was replaced after it was compacted: delete the Parquet files of this day and its record {1}, and run the \
         command again"
    )]
    Replaced(String, String),
    /// Files of an interrupted run were deleted before their events were in a Parquet file.
    #[error(
        "{first} is missing ({count} in total): a run that was interrupted had not written all of their events. Its Parquet \
         files are kept. Restore the files; or, to give up their other events, delete the record {record}, after moving the \
         Parquet files whose names start with {arrived} away, and run the command again"
    )]
    MissingInputs {
        /// The key of the first file.
        first: String,
        /// The number of missing files.
        count: usize,
        /// The day on which the files arrived.
        arrived: Date,
        /// The record of the day.
        record: String,
    },
    /// The record of the day cannot be understood.
    #[error("the record {0} is invalid: {1}")]
    Record(String, String),
    /// Another process compacts the same day.
    #[error("{0} was changed by another process: run only one compaction at a time")]
    Conflict(String),
    /// A temporary file cannot be written or read.
    #[error("cannot write or read the temporary file {0}: {1}")]
    Temporary(String, String),
    /// The Parquet files do not contain the events.
    #[error("the Parquet file of {day} differs from the events in {reason}; nothing was published")]
    Differs {
        /// The event day of the file, or the day of arrival if the number of all events differs.
        day: Date,
        /// The first difference.
        reason: String,
    },
    /// A thread of the scan did not end. Nothing was published.
    #[error("a thread that reads files did not end; nothing was published: run the command again")]
    Unfinished,
    /// A Parquet file cannot be written or read.
    #[error("cannot write or read a Parquet file: {0}")]
    Parquet(String),
    /// The destination cannot be read or written.
    #[error("{0}")]
    Destination(String),
    /// The compaction was interrupted. Nothing of this day is published.
    #[error("interrupted")]
    Interrupted,
}

impl CompactError {
    fn parquet(error: parquet::errors::ParquetError) -> Self {
        Self::Parquet(error.to_string())
    }

    fn temporary(path: &Path, error: &std::io::Error) -> Self {
        Self::Temporary(path.display().to_string(), error.to_string())
    }
}

/// What was done for an arrived day.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct CompactedDay {
    /// The files of the lake that are compacted now.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// The files that were compacted before.
    pub earlier_files: u64,
    /// The events of the files that are compacted now.
    pub events: u64,
    /// The events without a valid event time. They are stored under the day of arrival.
    pub without_time: u64,
    /// Lines that are not JSON objects. They are stored under the day of arrival, without other columns.
    pub not_objects: u64,
    /// The Parquet files.
    pub parquet_files: u64,
    /// Their size in bytes.
    pub parquet_bytes: u64,
    /// The event days of the Parquet files.
    pub event_days: u64,
    /// Files of an interrupted compaction that were removed.
    pub removed_files: u64,
}

/// Compacts the days of a lake.
#[derive(Debug)]
pub struct LakeCompaction {
    source: Arc<dyn Source>,
    bucket: String,
    /// The folder of the partitions `dt=DAY`, with a final slash.
    events: String,
    scan: QueryScan,
    destination: Box<dyn CompactDestination>,
    limits: FileLimits,
}

impl LakeCompaction {
    /// Creates a compaction. `events` is the folder of the partitions `dt=DAY`, and `scan` is a scan of the same source.
    pub fn new(
        source: Arc<dyn Source>,
        bucket: &str,
        events: &str,
        scan: QueryScan,
        destination: Box<dyn CompactDestination>,
    ) -> Self {
        let (bucket, events) = (bucket.to_owned(), events.to_owned());
        Self { source, bucket, events, scan, destination, limits: FileLimits::default() }
    }

    /// Returns the arrived days of the lake up to a day, oldest first.
    ///
    /// # Errors
    /// The lake cannot be listed.
    pub async fn arrived_days(&self, since: Option<Date>, until: Date) -> Result<Vec<Date>, CompactError> {
        let mut days = Vec::new();
        let mut pages = ListingPages::new(&*self.source, &self.bucket, &self.events, Some('/'));
        while let Some(page) = pages.next().await? {
            let page = page.complete()?;
            let names = page.prefixes.iter().filter_map(|prefix| prefix.trim_end_matches('/').rsplit('/').next());
            days.extend(names.filter_map(|name| name.strip_prefix("dt=")?.parse::<Date>().ok()));
        }
        days.retain(|day| *day <= until && since.is_none_or(|since| *day >= since));
        days.sort_unstable();
        Ok(days)
    }

    /// Compacts the files of an arrived day that are not compacted yet. With `dry_run`, it only counts them.
    ///
    /// # Errors
    /// See [`CompactError`]. Nothing of the new files is published, or the next run removes what is published and compacts
    /// them again.
    pub async fn compact(
        &self,
        arrived: Date,
        dry_run: bool,
        control: &QueryControl,
    ) -> Result<CompactedDay, CompactError> {
        let mut done = CompactedDay::default();
        let id = new_id();
        let start = self.start(arrived, &id, dry_run, &mut done).await?;
        let files = self.new_files(arrived, &start.record, &mut done).await?;
        if files.is_empty() || dry_run {
            return Ok(done);
        }
        let folder = tempfile::tempdir().map_err(|error| CompactError::temporary(&std::env::temp_dir(), &error))?;
        let inputs =
            files.iter().filter_map(|file| Some(InputFile { key: file.key.clone(), etag: file.etag.clone()? }));
        let inputs = inputs.collect();
        let written = DayFiles::new(folder.path(), self.limits)?;
        let (written, report) = read::run(&self.scan, files, written, arrived, control).await?;
        if report.scanned.stopped {
            return Err(CompactError::Interrupted);
        }
        if !report.scanned.is_complete() {
            return Err(CompactError::Unreadable(Box::new(report.scanned)));
        }
        let written = written.finish()?;
        let events: u64 = written.iter().map(|file| file.events).sum();
        if events != report.scanned.events {
            let reason = format!("the number of events: {events} instead of {}", report.scanned.events);
            return Err(CompactError::Differs { day: arrived, reason });
        }
        let written = verified(written).await?;
        done.events = events;
        (done.without_time, done.not_objects) = (report.without_time, report.not_objects);
        let outputs = (1..).zip(&written).map(|(number, file)| OutputFile {
            key: start.record.output_key(file.day, &id, number),
            events: file.events,
            bytes: file.bytes,
        });
        let (outputs, state, replaced) = (outputs.collect(), BatchState::Publishing, start.replaced);
        let batch = CompactedBatch { id, state, inputs, outputs, replaced };
        let start = (start.record, start.version);
        self.publish(arrived, &written, batch, start, &mut done).await?;
        Ok(done)
    }

    /// Reads the record of a day. Takes over an interrupted batch for the run with this ID, and removes its files, unless they
    /// are the only copy of the events.
    async fn start(
        &self,
        arrived: Date,
        id: &str,
        dry_run: bool,
        done: &mut CompactedDay,
    ) -> Result<RecordStart, CompactError> {
        let (mut record, mut version) = self.record(arrived).await?;
        // Only the last batch can be incomplete.
        let interrupted = record.batches.last_mut().filter(|batch| batch.state == BatchState::Publishing);
        let Some(batch) = interrupted else { return Ok(RecordStart { record, version, replaced: Vec::new() }) };
        let missing = self.missing_inputs(arrived, batch).await?;
        if let Some(first) = missing.first() {
            if !self.is_published(batch).await? {
                let (first, count, record) = (first.clone(), missing.len(), DayRecord::key(arrived));
                return Err(CompactError::MissingInputs { first, count, arrived, record });
            }
            // The ID stays, so the run that wrote the batch, if it is still in progress, does not remove these files.
            batch.state = BatchState::Complete;
            let replaced = std::mem::take(&mut batch.replaced);
            if !dry_run {
                self.remove(&replaced).await?;
                done.removed_files = replaced.len() as u64;
                version = Some(self.write_record(arrived, &record, version.as_deref()).await?);
            }
            return Ok(RecordStart { record, version, replaced: Vec::new() });
        }
        let mut replaced = std::mem::take(&mut batch.replaced);
        replaced.extend(batch.outputs.iter().map(|output| output.key.clone()));
        replaced.sort_unstable();
        replaced.dedup();
        if !dry_run {
            // The run that wrote the batch may still be in progress. Without its ID, it cannot complete the record, so its
            // files can be removed.
            id.clone_into(&mut batch.id);
            batch.replaced.clone_from(&replaced);
            version = Some(self.write_record(arrived, &record, version.as_deref()).await?);
            self.remove(&replaced).await?;
            done.removed_files = replaced.len() as u64;
        }
        record.batches.pop();
        Ok(RecordStart { record, version, replaced })
    }

    /// Returns the keys of the files of a batch that are not in the lake any more, for example because they expired.
    async fn missing_inputs(&self, arrived: Date, batch: &CompactedBatch) -> Result<Vec<String>, CompactError> {
        let mut missing: BTreeSet<&str> = batch.inputs.iter().map(|input| input.key.as_str()).collect();
        let prefix = format!("{}dt={arrived}/", self.events);
        let mut pages = ListingPages::new(&*self.source, &self.bucket, &prefix, None);
        while let Some(page) = pages.next().await? {
            for object in page.complete()?.objects {
                missing.remove(object.key.as_str());
            }
        }
        Ok(missing.into_iter().map(str::to_owned).collect())
    }

    /// Returns whether every Parquet file of a batch exists with its length.
    async fn is_published(&self, batch: &CompactedBatch) -> Result<bool, CompactError> {
        for output in &batch.outputs {
            if self.destination.length(&output.key).await? != Some(output.bytes) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn remove(&self, keys: &[String]) -> Result<(), CompactError> {
        for key in keys {
            self.destination.remove(key).await?;
        }
        Ok(())
    }

    /// Writes the record of a day if its version is still `replaces`. Returns the new version.
    async fn write_record(
        &self,
        arrived: Date,
        record: &DayRecord,
        replaces: Option<&str>,
    ) -> Result<String, CompactError> {
        let (key, bytes) = (DayRecord::key(arrived), record.to_bytes());
        let conflict = match self.destination.write_record(&key, bytes.clone(), replaces).await {
            Err(conflict @ CompactError::Conflict(_)) => conflict,
            written => return written,
        };
        // If the reply to a write is lost, its repetition is a conflict with itself. The bytes contain a random ID.
        match self.destination.read_record(&key).await? {
            Some(stored) if stored.bytes == bytes => Ok(stored.version),
            _ => Err(conflict),
        }
    }

    /// Returns the record of a day, with its version.
    async fn record(&self, arrived: Date) -> Result<(DayRecord, Option<String>), CompactError> {
        let key = DayRecord::key(arrived);
        match self.destination.read_record(&key).await? {
            Some(stored) => match DayRecord::parse(&stored.bytes, arrived) {
                Ok(record) => Ok((record, Some(stored.version))),
                Err(reason) => Err(CompactError::Record(key, reason)),
            },
            None => Ok((DayRecord::new(arrived), None)),
        }
    }

    /// Lists the files of a day that are in no complete batch: every file of the folder, as queries read it (`is_lake_file` of
    /// their layout).
    async fn new_files(
        &self,
        arrived: Date,
        record: &DayRecord,
        done: &mut CompactedDay,
    ) -> Result<Vec<crate::object::ObjectRef>, CompactError> {
        let prefix = format!("{}dt={arrived}/", self.events);
        let mut files = Vec::new();
        let mut pages = ListingPages::new(&*self.source, &self.bucket, &prefix, None);
        while let Some(page) = pages.next().await? {
            for object in page.complete()?.objects {
                let etag = match &object.etag {
                    Some(etag) => etag.clone(),
                    None => self.source.stat(&object).await?.etag.unwrap_or_default(),
                };
                let file = InputFile { key: object.key.clone(), etag: etag.clone() };
                if record.contains(&file) {
                    done.earlier_files += 1;
                } else if record.contains_other_version(&file) {
                    return Err(CompactError::Replaced(object.to_string(), DayRecord::key(arrived)));
                } else {
                    done.files += 1;
                    done.bytes += object.size.unwrap_or(0);
                    files.push(crate::object::ObjectRef { etag: Some(etag), ..object });
                }
            }
        }
        Ok(files)
    }

    /// Records the files, publishes them, and completes the record. Removes the files of the interrupted batch again, because
    /// its run may have published some after it lost the record.
    async fn publish(
        &self,
        arrived: Date,
        written: &[FinishedFile],
        batch: CompactedBatch,
        (mut record, version): (DayRecord, Option<String>),
        done: &mut CompactedDay,
    ) -> Result<(), CompactError> {
        let (id, outputs, replaced) = (batch.id.clone(), batch.outputs.clone(), batch.replaced.clone());
        record.batches.push(batch);
        let version = self.write_record(arrived, &record, version.as_deref()).await?;
        for (file, output) in written.iter().zip(&outputs) {
            self.destination.publish(&output.key, &file.path).await?;
            done.parquet_files += 1;
            done.parquet_bytes += file.bytes;
        }
        done.event_days = written.chunk_by(|one, next| one.day == next.day).count() as u64;
        self.remove(&replaced).await?;
        if let Some(batch) = record.batches.last_mut() {
            batch.state = BatchState::Complete;
            batch.replaced.clear();
        }
        let completed = self.write_record(arrived, &record, Some(&version)).await;
        if let Err(CompactError::Conflict(_)) = completed
            && !self.record(arrived).await?.0.has_batch(&id)
        {
            // Another run took over the record, and may have removed these files before they were published.
            let keys: Vec<String> = outputs.into_iter().map(|output| output.key).collect();
            self.remove(&keys).await?;
        }
        completed.map(drop)
    }
}

/// The record of a day when a run starts.
struct RecordStart {
    /// The record without an interrupted batch.
    record: DayRecord,
    version: Option<String>,
    /// The keys of the files of the interrupted batch.
    replaced: Vec<String>,
}

/// Reads files back and compares them with the events, on a thread for blocking work.
async fn verified(files: Vec<FinishedFile>) -> Result<Vec<FinishedFile>, CompactError> {
    let check = move || files.iter().try_for_each(verify::verify).map(|()| files);
    let checked = tokio::task::spawn_blocking(check).await;
    checked.map_err(|error| CompactError::Parquet(error.to_string()))?
}

/// Returns the statement that creates an Athena table over the Parquet files at a location.
pub fn create_table_statement(database: &str, location: &str) -> String {
    let location = location.trim_end_matches('/');
    format!(
        "CREATE EXTERNAL TABLE IF NOT EXISTS `{database}`.`events_by_day` (\n{}\n)\nPARTITIONED BY (`day` string)\nSTORED AS \
         PARQUET\nLOCATION '{location}/'\nTBLPROPERTIES (\n  'projection.enabled' = 'true',\n  'projection.day.type' = \
         'date',\n  'projection.day.format' = 'yyyy-MM-dd',\n  'projection.day.range' = '2013-11-01,NOW+1DAYS',\n  \
         'storage.location.template' = '{location}/day=${{day}}/'\n)",
        columns::definitions()
    )
}

#[cfg(test)]
mod tests;
