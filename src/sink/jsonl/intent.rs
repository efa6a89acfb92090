//! The mark: what a checkpoint is about to touch, written before it touches anything.

use super::SinkError;
use super::file::{io_error, replace};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Intent {
    /// The ledger's ID.
    pub(super) ledger: String,
    /// This destination's ID.
    pub(super) folder: String,
    /// The checkpoint that was begun last.
    pub(super) checkpoint: i64,
    /// The files it touches, relative to the destination.
    pub(super) files: Vec<String>,
}

impl Intent {
    /// The mark at `path`, if there is one. It must be the mark of `ledger`.
    pub(super) fn read(path: &Path, ledger: &str) -> Result<Option<Self>, SinkError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("read", path, &error)),
        };
        match serde_json::from_slice::<Self>(&bytes) {
            Ok(intent) if intent.ledger == ledger => Ok(Some(intent)),
            Ok(intent) => Err(SinkError::Unavailable(format!(
                "{} belongs to the ledger {}, not to {ledger}: deliver to another folder",
                path.display(),
                intent.ledger
            ))),
            Err(error) => Err(SinkError::Unavailable(format!(
                "{} says which files the last checkpoint touched and cannot be read: {error}. Restore it, or deliver to \
                 another folder",
                path.display()
            ))),
        }
    }

    /// Puts this mark in place of the one at `path`, durably.
    pub(super) fn write(&self, path: &Path) -> Result<(), SinkError> {
        let bytes = serde_json::to_vec(self).map_err(io::Error::from);
        bytes.and_then(|bytes| replace(path, &bytes)).map_err(|error| io_error("write", path, &error))
    }
}

/// The partition and the name in a path of the mark, if it is one that the ledger whose names begin with `stem` gives:
/// nothing else is cut or removed, whatever a mark says.
pub(super) fn split_path<'a>(relative: &'a str, stem: &str) -> Option<(&'a str, &'a str)> {
    let folders = ["account=", "region=", "date=", stem];
    let ours = relative.split('/').count() == folders.len()
        && relative.split('/').zip(folders).all(|(part, start)| part.starts_with(start))
        && !relative.contains('\\');
    relative.rsplit_once('/').filter(|_| ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_ledgers_names_are_taken_from_a_mark() {
        let fine = "account=1/region=eu/date=2026-01-01/abc-00000001.jsonl";
        assert_eq!(split_path(fine, "abc-"), Some(("account=1/region=eu/date=2026-01-01", "abc-00000001.jsonl")));
        for bad in [
            "account=1/region=eu/date=2026-01-01/other-00000001.jsonl",
            "account=1/../date=2026-01-01/abc-00000001.jsonl",
            "account=1/region=eu/date=x/y/abc-00000001.jsonl",
            "/account=1/region=eu/abc-1",
            "abc-1",
        ] {
            assert_eq!(split_path(bad, "abc-"), None, "{bad}");
        }
    }
}
