//! The intent file: the files that a checkpoint is about to change. It is written before the first change.

use super::SinkError;
use super::file::{io_error, replace};
use crate::disk::Disk;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// The content of the intent file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Intent {
    /// The ledger's ID.
    pub(super) ledger: String,
    /// This destination's ID.
    pub(super) folder: String,
    /// The number of the last checkpoint that was started.
    pub(super) checkpoint: i64,
    /// The files that the checkpoint changes, relative to the destination.
    pub(super) files: Vec<String>,
    /// Whether the checkpoint is known to be committed. See [`mark_committed`].
    #[serde(skip)]
    pub(super) committed: bool,
}

/// Follows the intent in its file after the checkpoint was committed.
const COMMITTED: &[u8] = b"\ncommitted\n";

impl Intent {
    /// Reads the intent at `path`, if the file exists.
    ///
    /// # Errors
    /// Returns an error if the file is unreadable or belongs to another ledger than `ledger`.
    pub(super) fn read(path: &Path, ledger: &str) -> Result<Option<Self>, SinkError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("read", path, &error)),
        };
        let (bytes, committed) = match bytes.strip_suffix(COMMITTED) {
            Some(intent) => (intent, true),
            None => (&bytes[..], false),
        };
        match serde_json::from_slice::<Self>(bytes) {
            Ok(intent) if intent.ledger == ledger => Ok(Some(Self { committed, ..intent })),
            Ok(intent) => Err(SinkError::Unavailable(format!(
                "{} belongs to ledger {}, not to ledger {ledger}: use another destination folder",
                path.display(),
                intent.ledger
            ))),
            Err(error) => Err(SinkError::Unavailable(format!(
                "{} lists the files of the last checkpoint and is invalid: {error}. Restore it, or use another \
                 destination folder",
                path.display()
            ))),
        }
    }

    /// Durably replaces the intent at `path`.
    pub(super) fn write(&self, disk: &dyn Disk, path: &Path) -> Result<(), SinkError> {
        let bytes = serde_json::to_vec(self).map_err(io::Error::from);
        bytes.and_then(|bytes| replace(disk, path, &bytes)).map_err(|error| io_error("write", path, &error))
    }
}

/// Records in the intent at `path` that its checkpoint is committed. So a ledger that is one checkpoint older, restored
/// from a backup, is distinguished from an interrupted checkpoint.
///
/// The record is not synced, and a failure is ignored: without it, nothing is wrong unless the ledger is replaced too.
pub(super) fn mark_committed(path: &Path) {
    let file = std::fs::OpenOptions::new().append(true).open(path);
    let _ = file.and_then(|mut file| std::io::Write::write_all(&mut file, COMMITTED));
}

/// Splits a path of the intent into partition and file name. Returns `None` if a ledger whose file names start with
/// `file_prefix` cannot have created the path, so that an invalid intent never causes other files to be truncated or
/// removed.
pub(super) fn split_path<'a>(relative: &'a str, file_prefix: &str) -> Option<(&'a str, &'a str)> {
    let folders = ["account=", "region=", "date=", file_prefix];
    let is_own = relative.split('/').count() == folders.len()
        && relative.split('/').zip(folders).all(|(part, start)| part.starts_with(start))
        && !relative.contains('\\');
    relative.rsplit_once('/').filter(|_| is_own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_ledger_are_accepted() {
        let valid = "account=1/region=eu/date=2026-01-01/abc-00000001.jsonl";
        assert_eq!(split_path(valid, "abc-"), Some(("account=1/region=eu/date=2026-01-01", "abc-00000001.jsonl")));
        for invalid in [
            "account=1/region=eu/date=2026-01-01/other-00000001.jsonl",
            "account=1/../date=2026-01-01/abc-00000001.jsonl",
            "account=1/region=eu/date=x/y/abc-00000001.jsonl",
            "/account=1/region=eu/abc-1",
            "abc-1",
        ] {
            assert_eq!(split_path(invalid, "abc-"), None, "{invalid}");
        }
    }
}
