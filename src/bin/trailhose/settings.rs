//! `trailhose.toml`: settings for several sources, one ledger and one destination.
//!
//! ```toml
//! dest = "./events"                         # a folder, or "firehose://stream"
//! ledger = "dynamodb://trailhose"           # or an SQLite file [default: DEST/.trailhose/ledger.db]
//! look_back = 3                             # days before the newest log that `sync --watch` scans again
//!
//! [backfill]
//! queue = "https://sqs.eu-west-1.amazonaws.com/111122223333/trailhose-backfill"
//!
//! [detect]                                  # see docs/alerts.md
//! rules = "./rules"
//!
//! [[forward]]                               # see docs/forward.md
//! name = "siem"
//! url = "https://collector.example.com/cloudtrail"
//!
//! [[source]]
//! bucket = "my-trail-bucket"                # or: folder = "./bucket"
//! prefix = "logs"
//! accounts = ["111122223333"]
//! ```
//!
//! Relative paths are resolved against the folder of the file. Command-line options take precedence. An error names the
//! file and the line, and nothing is started.

#[cfg(feature = "detect")]
pub(crate) mod detect;
#[cfg(feature = "forward")]
pub(crate) mod forward;
mod read;
#[cfg(feature = "serve")]
pub(crate) mod serve;
#[cfg(test)]
mod tests;

use crate::args::value::SETTINGS_FILE;
use crate::args::{CompressMode, Dest, EventsPerRecord, LedgerLocation, Location};
use jiff::civil::Date;
use std::path::{Path, PathBuf};
use std::time::Duration;
use trailhose::aws::BucketAccess;
use trailhose::event::filter::Filter;
use trailhose::object::key::Kind;

/// The settings of a file. A missing setting is `None` or an empty list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Path of the file.
    pub(crate) path: PathBuf,
    /// Destination of events.
    pub(crate) dest: Option<Dest>,
    /// Ledger of all sources.
    pub(crate) ledger: Option<LedgerLocation>,
    /// Retention of a DynamoDB ledger in days.
    pub(crate) ledger_days: Option<u32>,
    /// Days before the newest listed log that later rounds of `sync --watch` scan again.
    pub(crate) look_back: Option<u32>,
    /// Default of the first day of delivery, UTC.
    pub(crate) since: Option<Date>,
    /// Default of the last day of delivery, UTC.
    pub(crate) until: Option<Date>,
    /// Rules for events to drop.
    pub(crate) filter: Option<Filter>,
    /// File with rules for events to keep or drop. Never set together with `filter`.
    pub(crate) filter_file: Option<PathBuf>,
    /// The line of `filter_file`, from 1. 0 if it is not set.
    pub(crate) filter_file_line: usize,
    /// Compression of JSON Lines files.
    pub(crate) compress: Option<CompressMode>,
    /// Number of events in a Firehose record.
    pub(crate) events_per_record: Option<EventsPerRecord>,
    /// Location for oversize events: `s3://bucket[/prefix]`.
    pub(crate) oversize: Option<String>,
    /// Number of objects processed concurrently.
    pub(crate) jobs: Option<usize>,
    /// Checkpoint interval.
    pub(crate) checkpoint: Option<Duration>,
    /// Maximum decompressed size of an object in bytes.
    pub(crate) max_object_bytes: Option<u64>,
    /// Free bytes on the disk below which `sync` starts nothing.
    pub(crate) min_free: Option<u64>,
    /// Days for which delivered files are kept.
    pub(crate) keep_days: Option<u32>,
    /// Settings of `trailhose backfill`.
    pub(crate) backfill: Option<BackfillSettings>,
    /// Rules and destinations of alerts.
    #[cfg(feature = "detect")]
    pub(crate) detect: Option<detect::DetectSettings>,
    /// Destinations that delivered events are sent to.
    #[cfg(feature = "forward")]
    pub(crate) forwards: Vec<trailhose::forward::ForwardConfig>,
    /// The server.
    #[cfg(feature = "serve")]
    pub(crate) serve: Option<serve::ServeTableSettings>,
    /// Sources; at least one, except with `[serve]`, whose API can add sources.
    pub(crate) sources: Vec<SourceSettings>,
}

/// `[backfill]`: the queue of the deployed stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackfillSettings {
    /// URL of the stack's backfill queue (its output `BackfillQueueUrl`).
    pub(crate) queue: Option<String>,
}

/// `[[source]]`: one bucket or folder, and the selection of its objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceSettings {
    /// Its ID in the API of `trailhose serve`.
    pub(crate) id: Option<String>,
    /// The time between two runs of `trailhose serve`.
    pub(crate) interval: Option<Duration>,
    /// Bucket and prefix, or folder.
    pub(crate) location: Location,
    /// How the bucket is accessed.
    pub(crate) access: BucketAccess,
    /// Accounts to read; empty for all.
    pub(crate) accounts: Vec<String>,
    /// Regions to read; empty for all.
    pub(crate) regions: Vec<String>,
    /// Kinds to read; empty for all.
    pub(crate) kinds: Vec<Kind>,
    /// First day of delivery, UTC.
    pub(crate) since: Option<Date>,
    /// Last day of delivery, UTC.
    pub(crate) until: Option<Date>,
    /// Whether it is expected that no object matches.
    pub(crate) allow_empty: bool,
    /// Information that `trailhose init` found about the source.
    pub(crate) trail: TrailInfo,
}

/// Information about the trail of a source: which permissions and notifications it needs. It does not filter objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TrailInfo {
    /// ARNs of the trails that write to the source.
    pub(crate) trails: Vec<String>,
    /// ID of the organization of the trail: `o-…`.
    pub(crate) organization: Option<String>,
    /// ARN of the key that encrypts the objects.
    pub(crate) kms_key: Option<String>,
    /// ARN of the topic on which CloudTrail announces new objects.
    pub(crate) sns_topic: Option<String>,
}

impl Settings {
    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read or is invalid. The message is one line with the path and the line number.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                format!("{} does not exist: use another --config, or create it with `trailhose init`", path.display())
            }
            _ => format!("{} cannot be read: {error}", path.display()),
        })?;
        Self::parse(path, &text)
    }

    /// Reads the file at `config`, or `./trailhose.toml` if it exists.
    ///
    /// # Errors
    /// See [`Settings::read`].
    pub(crate) fn find(config: Option<&Path>) -> Result<Option<Self>, String> {
        match config {
            Some(path) => Self::read(path).map(Some),
            None if Path::new(SETTINGS_FILE).exists() => Self::read(Path::new(SETTINGS_FILE)).map(Some),
            None => Ok(None),
        }
    }

    /// Returns the names of the followers that these settings configure.
    pub(crate) fn follower_names(&self) -> Vec<String> {
        #[cfg(feature = "forward")]
        let forwards = self.forwards.iter().map(|forward| trailhose::forward::follower_name(&forward.name));
        #[cfg(not(feature = "forward"))]
        let forwards = std::iter::empty();
        #[cfg(feature = "detect")]
        let detection = self.detect.is_some().then(|| trailhose::detect::FOLLOWER.to_owned());
        #[cfg(not(feature = "detect"))]
        let detection = None;
        forwards.chain(detection).collect()
    }

    /// Parses the text of a settings file.
    ///
    /// # Errors
    /// See [`Settings::read`].
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, String> {
        read::settings(path, text)
    }
}
