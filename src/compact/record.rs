//! The record of an arrived day: which files of the lake are in which Parquet files.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// The version of the format.
const FORMAT: u32 = 1;

/// The folder of the records. Athena, Spark and Trino ignore names that start with `_`.
const FOLDER: &str = "_compacted";

/// The files of a day of arrival that were compacted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DayRecord {
    format: u32,
    /// The arrived day, as in the name of the record.
    arrived: String,
    /// The batches, oldest first. A file that arrives after a day was compacted is in a later batch.
    pub(super) batches: Vec<CompactedBatch>,
}

/// Files of the lake that were rewritten together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CompactedBatch {
    /// A random ID of the run that owns the batch. The keys of its Parquet files contain the ID of the run that wrote them.
    #[serde(default)]
    pub(super) id: String,
    pub(super) state: BatchState,
    pub(super) inputs: Vec<InputFile>,
    pub(super) outputs: Vec<OutputFile>,
    /// The keys of the files of interrupted runs, which are removed before the batch is complete. Then the list is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) replaced: Vec<String>,
}

/// Whether the files of a batch are complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum BatchState {
    /// Some of its files may be published. They are removed if the compaction is repeated.
    Publishing,
    /// All of its files are published.
    Complete,
}

/// A file of the lake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InputFile {
    pub(super) key: String,
    pub(super) etag: String,
}

/// A Parquet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OutputFile {
    /// Its key below the destination.
    pub(super) key: String,
    pub(super) events: u64,
    pub(super) bytes: u64,
}

/// Returns a new ID of a batch.
pub(super) fn new_id() -> String {
    format!("{:016x}", fastrand::u64(..))
}

impl DayRecord {
    /// Creates the record of a day without compacted files.
    pub(super) fn new(arrived: Date) -> Self {
        Self { format: FORMAT, arrived: arrived.to_string(), batches: Vec::new() }
    }

    /// Returns the key of the record of a day.
    pub(super) fn key(arrived: Date) -> String {
        format!("{FOLDER}/dt={arrived}.json")
    }

    /// Reads a record.
    ///
    /// # Errors
    /// The reason why it is not the record of this day.
    pub(super) fn parse(bytes: &[u8], arrived: Date) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match record {
            Self { format: FORMAT, arrived: ref day, .. } if *day == arrived.to_string() => Ok(record),
            Self { format: FORMAT, arrived: day, .. } => Err(format!("it is the record of {day}")),
            Self { format, .. } => {
                Err(format!("it has the format {format}, but this version reads format {FORMAT}: update trailhose"))
            }
        }
    }

    /// Returns the bytes to store.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Returns the key of a new file. Two runs never write the same key, because it contains the ID of the batch.
    pub(super) fn output_key(&self, day: Date, id: &str, number: usize) -> String {
        format!("day={day}/{}-{id}-{number:05}.parquet", self.arrived)
    }

    /// Returns whether a run owns a batch.
    pub(super) fn has_batch(&self, id: &str) -> bool {
        self.batches.iter().any(|batch| batch.id == id)
    }

    /// Returns whether a batch contains this version of a file.
    pub(super) fn contains(&self, file: &InputFile) -> bool {
        self.batches.iter().any(|batch| batch.inputs.contains(file))
    }

    /// Returns whether a batch contains another version of a file.
    pub(super) fn contains_other_version(&self, file: &InputFile) -> bool {
        self.batches
            .iter()
            .flat_map(|batch| &batch.inputs)
            .any(|known| known.key == file.key && known.etag != file.etag)
    }
}
