//! Writes the events of one arrived day into temporary Parquet files, one or more for each event day.

use super::CompactError;
use super::columns::{self, COLUMNS, DISTINCT, EventColumns};
use crate::index::IndexedFields;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The maximum number of bytes that are buffered for all event days together, because a backfill delivers events of many
/// days on one day. Above it, the largest buffer is written as a row group.
const BUFFERED_BYTES: usize = 256 << 20;

/// The size of a row group before compression, in bytes. Readers read it as a whole.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// The size of a file in bytes, after which a new one is started. Athena and Spark read files of this size well.
const FILE_BYTES: u64 = 512 << 20;

/// The maximum number of files that are open at once. Processes can open 1,024 files by default.
const OPEN_FILES: usize = 256;

/// The memory of a value besides its bytes, as an estimate.
const VALUE_OVERHEAD: usize = 48;

/// A digest of a set of lines that does not depend on their order: the sum of their SHA-256 hashes, modulo 2^128.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LinesDigest(u128);

impl LinesDigest {
    /// Adds a line.
    pub(super) fn add(&mut self, line: &[u8]) {
        let hash = Sha256::digest(line);
        let mut start = [0; 16];
        start.copy_from_slice(&hash[..16]);
        self.0 = self.0.wrapping_add(u128::from_le_bytes(start));
    }
}

/// A finished temporary file.
#[derive(Debug)]
pub(super) struct FinishedFile {
    /// Its path.
    pub(super) path: PathBuf,
    /// The day of its events.
    pub(super) day: Date,
    /// The number of its events.
    pub(super) events: u64,
    /// Its size in bytes.
    pub(super) bytes: u64,
    /// The digest of its lines.
    pub(super) digest: LinesDigest,
}

/// The files of one arrived day.
pub(super) struct DayFiles {
    folder: PathBuf,
    properties: WriterPropertiesPtr,
    days: BTreeMap<Date, DayFile>,
    /// The bytes of the rows that are not written.
    buffered: usize,
    /// The number of files so far.
    created: u32,
    finished: Vec<FinishedFile>,
    limits: FileLimits,
}

/// Limits of memory and files.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileLimits {
    pub(super) buffered: usize,
    pub(super) row_group: usize,
    pub(super) file: u64,
    pub(super) open_files: usize,
}

impl Default for FileLimits {
    fn default() -> Self {
        Self { buffered: BUFFERED_BYTES, row_group: ROW_GROUP_BYTES, file: FILE_BYTES, open_files: OPEN_FILES }
    }
}

/// The current file of an event day.
#[derive(Default)]
struct DayFile {
    rows: RowBuffer,
    writer: Option<SerializedFileWriter<File>>,
    path: PathBuf,
    events: u64,
    digest: LinesDigest,
}

/// The rows of the next row group, one list for each column.
struct RowBuffer {
    values: Vec<Vec<ByteArray>>,
    levels: Vec<Vec<i16>>,
    rows: u64,
    bytes: usize,
}

impl Default for RowBuffer {
    fn default() -> Self {
        Self { values: vec![Vec::new(); COLUMNS], levels: vec![Vec::new(); COLUMNS], rows: 0, bytes: 0 }
    }
}

/// Where an event was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoredUnder {
    /// Under the day of its event time.
    EventDay,
    /// Under the day of arrival, because it has no valid event time.
    ArrivedDay,
}

impl DayFiles {
    /// Prepares to write files into a folder. Writes nothing yet.
    pub(super) fn new(folder: &Path, limits: FileLimits) -> Result<Self, CompactError> {
        let level = ZstdLevel::try_new(3).map_err(CompactError::parquet)?;
        let mut properties = WriterProperties::builder().set_compression(Compression::ZSTD(level));
        for name in DISTINCT {
            properties = properties.set_column_dictionary_enabled(ColumnPath::from(name), false);
        }
        Ok(Self {
            folder: folder.to_owned(),
            properties: Arc::new(properties.build()),
            days: BTreeMap::new(),
            buffered: 0,
            created: 0,
            finished: Vec::new(),
            limits,
        })
    }

    /// Adds an event. `line` is UTF-8, and `columns` are its columns.
    pub(super) fn add(
        &mut self,
        columns: &EventColumns,
        line: &[u8],
        arrived: Date,
    ) -> Result<StoredUnder, CompactError> {
        let event_day = event_day(columns, line);
        let file = self.days.entry(event_day.unwrap_or(arrived)).or_default();
        let before = file.rows.bytes;
        file.rows.add(columns, line);
        file.digest.add(line);
        file.events += 1;
        self.buffered += file.rows.bytes - before;
        if file.rows.bytes >= self.limits.row_group {
            self.flush(event_day.unwrap_or(arrived))?;
        } else if self.buffered > self.limits.buffered {
            let largest = self.days.iter().max_by_key(|(_, file)| file.rows.bytes).map(|(day, _)| *day);
            largest.map_or(Ok(()), |day| self.flush(day))?;
        }
        Ok(if event_day.is_some() { StoredUnder::EventDay } else { StoredUnder::ArrivedDay })
    }

    /// Writes the buffered rows of a day as a row group, and finishes its file if it is large enough or too many are open.
    fn flush(&mut self, day: Date) -> Result<(), CompactError> {
        let Some(file) = self.days.get_mut(&day) else { return Ok(()) };
        let rows = std::mem::take(&mut file.rows);
        self.buffered -= rows.bytes;
        if rows.rows == 0 {
            return Ok(());
        }
        let writer = match &mut file.writer {
            Some(writer) => writer,
            none => {
                self.created += 1;
                file.path = self.folder.join(format!("{}.parquet", self.created));
                let created = File::create_new(&file.path);
                let created = created.map_err(|error| CompactError::temporary(&self.folder, &error))?;
                let writer = SerializedFileWriter::new(created, columns::schema()?, Arc::clone(&self.properties));
                none.insert(writer.map_err(CompactError::parquet)?)
            }
        };
        rows.write(writer)?;
        let is_full = writer.bytes_written() as u64 >= self.limits.file;
        if is_full || self.days.values().filter(|file| file.writer.is_some()).count() > self.limits.open_files {
            self.close(day)?;
        }
        Ok(())
    }

    /// Finishes the file of a day. All its rows must have been written.
    fn close(&mut self, day: Date) -> Result<(), CompactError> {
        let Some(file) = self.days.remove(&day) else { return Ok(()) };
        let Some(writer) = file.writer else { return Ok(()) };
        writer.close().map_err(CompactError::parquet)?;
        let metadata = std::fs::metadata(&file.path);
        let bytes = metadata.map_err(|error| CompactError::temporary(&self.folder, &error))?.len();
        self.finished.push(FinishedFile { path: file.path, day, events: file.events, bytes, digest: file.digest });
        Ok(())
    }

    /// Finishes all files and returns them, ordered by day.
    pub(super) fn finish(mut self) -> Result<Vec<FinishedFile>, CompactError> {
        while let Some(day) = self.days.keys().next().copied() {
            self.flush(day)?;
            self.close(day)?;
        }
        self.finished.sort_by_key(|file| file.day);
        Ok(self.finished)
    }
}

/// Returns the day of an event in UTC: that of `eventTime`, or of the start of the window of an aggregated event.
fn event_day(columns: &EventColumns, line: &[u8]) -> Option<Date> {
    let day = |time: &str| time.parse::<Timestamp>().ok().map(|time| TimeZone::UTC.to_datetime(time).date());
    columns.time().and_then(day).or_else(|| IndexedFields::read(line).time.as_deref().and_then(day))
}

impl RowBuffer {
    fn add(&mut self, columns: &EventColumns, line: &[u8]) {
        for (column, value) in columns.values().iter().enumerate() {
            self.levels[column].push(value.level);
            if let Some(text) = &value.text {
                self.bytes += text.len() + VALUE_OVERHEAD;
                self.values[column].push(ByteArray::from(text.as_str()));
            }
        }
        self.values[COLUMNS - 1].push(ByteArray::from(line.to_vec()));
        self.bytes += line.len() + VALUE_OVERHEAD + 2 * COLUMNS;
        self.rows += 1;
    }

    fn write(&self, file: &mut SerializedFileWriter<File>) -> Result<(), CompactError> {
        let mut group = file.next_row_group().map_err(CompactError::parquet)?;
        let mut column = 0;
        while let Some(mut writer) = group.next_column().map_err(CompactError::parquet)? {
            let ColumnWriter::ByteArrayColumnWriter(typed) = writer.untyped() else {
                return Err(CompactError::Parquet("a column does not contain texts".into()));
            };
            // The bytes of the event are required, so they have no levels.
            let levels = (column < COLUMNS - 1).then_some(&*self.levels[column]);
            typed.write_batch(&self.values[column], levels, None).map_err(CompactError::parquet)?;
            writer.close().map_err(CompactError::parquet)?;
            column += 1;
        }
        group.close().map(drop).map_err(CompactError::parquet)
    }
}
