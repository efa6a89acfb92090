//! `trailhose.toml`: several sources, one ledger, one destination, in one file.
//!
//! ```toml
//! dest = "./events"                         # a folder, or "firehose://stream"
//! ledger = "dynamodb://trailhose"           # or an SQLite file [default: DEST/.trailhose/ledger.db]
//! look_back = 3                             # days that `sync --watch` looks at again
//!
//! [backfill]
//! queue = "https://sqs.eu-west-1.amazonaws.com/111122223333/trailhose-backfill"
//!
//! [[source]]
//! bucket = "my-trail-bucket"                # or: folder = "./bucket"
//! prefix = "logs"
//! accounts = ["111122223333"]
//! ```
//!
//! Relative paths begin at the file's own folder. What an option of the command line says counts more. An error names
//! the file and the line, and nothing is begun.

mod read;
#[cfg(test)]
mod tests;

use crate::args::value::SETTINGS_FILE;
use crate::args::{Compress, Dest, LedgerAt, Lines, Place};
use jiff::civil::Date;
use std::path::{Path, PathBuf};
use std::time::Duration;
use trailhose::event::filter::Filter;
use trailhose::object::key::Kind;

/// What the file says. What it does not say is nothing, or an empty list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The file.
    pub(crate) path: PathBuf,
    /// Where events go.
    pub(crate) dest: Option<Dest>,
    /// What has been delivered, for all sources.
    pub(crate) ledger: Option<LedgerAt>,
    /// Days for which a DynamoDB ledger remembers.
    pub(crate) ledger_days: Option<u32>,
    /// Days before today that are looked at again.
    pub(crate) look_back: Option<u32>,
    /// First day of delivery, UTC, for all sources that do not say otherwise.
    pub(crate) since: Option<Date>,
    /// Last day of delivery, UTC, for all sources that do not say otherwise.
    pub(crate) until: Option<Date>,
    /// Events that are dropped.
    pub(crate) filter: Option<Filter>,
    /// How JSON Lines files are compressed.
    pub(crate) compress: Option<Compress>,
    /// How a Firehose stream takes events.
    pub(crate) destination: Option<Lines>,
    /// Where events longer than a Firehose record are kept: `s3://bucket[/prefix]`.
    pub(crate) oversize: Option<String>,
    /// Objects at once.
    pub(crate) jobs: Option<usize>,
    /// After what time JSON Lines files and ledger are made durable together.
    pub(crate) checkpoint: Option<Duration>,
    /// Decompressed bytes at which an object is taken for a decompression bomb.
    pub(crate) max_object_bytes: Option<u64>,
    /// What of the deployed stack a backfill needs.
    pub(crate) backfill: Option<Backfill>,
    /// At least one.
    pub(crate) sources: Vec<Source>,
}

/// `[backfill]`: where `trailhose backfill` hands its work in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backfill {
    /// URL of the stack's backfill queue (its output `BackfillQueueUrl`).
    pub(crate) queue: Option<String>,
}

/// `[[source]]`: one bucket or folder, and what of it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// The bucket with its prefix, or the folder.
    pub(crate) place: Place,
    /// The bucket's region, where it is not the configured one.
    pub(crate) bucket_region: Option<String>,
    /// Only these accounts; all, if there is none.
    pub(crate) accounts: Vec<String>,
    /// Only these regions; all, if there is none.
    pub(crate) regions: Vec<String>,
    /// Only these kinds; all, if there is none.
    pub(crate) kinds: Vec<Kind>,
    /// First day of delivery, UTC.
    pub(crate) since: Option<Date>,
    /// Last day of delivery, UTC.
    pub(crate) until: Option<Date>,
    /// What `trailhose init` found out about the source.
    pub(crate) facts: Facts,
}

/// What is known of a source's trail. Nothing is selected by it: it says which permissions and wiring the source needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// ARNs of the trails that write to it.
    pub(crate) trails: Vec<String>,
    /// The organisation whose trail it is: `o-…`.
    pub(crate) organization: Option<String>,
    /// ARN of the key that encrypts its objects.
    pub(crate) kms_key: Option<String>,
    /// ARN of the topic on which CloudTrail announces them.
    pub(crate) sns_topic: Option<String>,
}

impl Settings {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or cannot be meant: one line with the file and the line.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                format!("{} does not exist: name another --config, or write one with trailhose init", path.display())
            }
            _ => format!("{} cannot be read: {error}", path.display()),
        })?;
        Self::parse(path, &text)
    }

    /// The file at `config`, or else `./trailhose.toml`, if there is one.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub(crate) fn find(config: Option<&Path>) -> Result<Option<Self>, String> {
        match config {
            Some(path) => Self::read(path).map(Some),
            None if Path::new(SETTINGS_FILE).exists() => Self::read(Path::new(SETTINGS_FILE)).map(Some),
            None => Ok(None),
        }
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, String> {
        read::settings(path, text)
    }
}
