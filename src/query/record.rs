//! The record of the files that `trailhose sync` committed to a folder. A query reads exactly the committed bytes.
//!
//! A sync can commit more files during the listing. So the record is read before the listing, and again after it: first the
//! intent, then the record. A file that is in neither was not written by the ledger of this folder.

use super::QueryError;
use super::partition_pruning::PartitionPruning;
use super::report::ScanReport;
use crate::object::ObjectRef;
use crate::sink::jsonl::CommittedSegments;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Compares listed files with the record.
#[derive(Debug)]
pub(super) struct RecordedFiles {
    segments: Arc<CommittedSegments>,
    /// The committed lengths of the files that are not listed yet, by their paths.
    expected: HashMap<String, u64>,
    /// Listed files that the record did not contain before the listing.
    unknown: Vec<ObjectRef>,
    /// Listed files that were longer than committed, and their lengths.
    longer: Vec<(String, u64)>,
}

impl RecordedFiles {
    /// Reads the record.
    pub(super) async fn read(segments: &Arc<CommittedSegments>) -> Result<Self, QueryError> {
        let expected = lengths(segments).await?.1;
        Ok(Self { segments: Arc::clone(segments), expected, unknown: Vec::new(), longer: Vec::new() })
    }

    /// Returns a listed file with its committed length as its size, or `None` if the record does not contain it.
    pub(super) fn committed(&mut self, object: ObjectRef) -> Option<ObjectRef> {
        match self.expected.remove(&object.key) {
            Some(length) => {
                let found = object.size.unwrap_or(length);
                if found > length {
                    self.longer.push((object.key.clone(), found));
                }
                Some(ObjectRef { size: Some(length), ..object })
            }
            None => {
                self.unknown.push(object);
                None
            }
        }
    }

    /// Compares the listing with the present record. Counts and names missing files, files that the record does not contain,
    /// and files that are longer than committed. `unlisted` contains the paths that could not be listed. Returns the files that
    /// a sync committed during the listing.
    pub(super) async fn finish(
        mut self,
        pruning: &PartitionPruning,
        unlisted: &BTreeSet<String>,
        report: &mut ScanReport,
    ) -> Result<Vec<ObjectRef>, QueryError> {
        let (uncommitted, present) = lengths(&self.segments).await?;
        let root = self.segments.root();
        let name = |path: &str| root.join(path).display().to_string();
        let mut missing: Vec<(&String, &u64)> = self.expected.iter().collect();
        // A file that was pruned or released during the listing is no longer in the record.
        missing
            .retain(|(path, _)| present.contains_key(*path) && pruning.admits_path(path) && !is_below(path, unlisted));
        missing.sort_unstable();
        for (path, length) in missing {
            report.skip(
                &name(path),
                format!(
                    "is missing, and {length} bytes of it are committed: `trailhose sync --rebuild` delivers them again"
                ),
            );
        }
        self.longer.retain(|(path, found)| {
            present.get(path).is_some_and(|length| found > length) && !uncommitted.contains(path)
        });
        self.longer.iter().for_each(|(path, _)| report.longer(&name(path)));
        let mut committed = Vec::new();
        for object in self.unknown {
            match present.get(&object.key) {
                Some(&length) => committed.push(ObjectRef { size: Some(length), ..object }),
                None if uncommitted.contains(&object.key) => {}
                None => report.foreign(&name(&object.key)),
            }
        }
        Ok(committed)
    }
}

/// Returns whether a path, or a folder that contains it, could not be listed.
fn is_below(path: &str, unlisted: &BTreeSet<String>) -> bool {
    unlisted.iter().any(|entry| path == entry || (entry.ends_with('/') && path.starts_with(entry.as_str())))
}

/// Returns the files that are not committed yet, and the committed lengths, in the order in which they must be read.
async fn lengths(segments: &Arc<CommittedSegments>) -> Result<(BTreeSet<String>, HashMap<String, u64>), QueryError> {
    let segments = Arc::clone(segments);
    let read = tokio::task::spawn_blocking(move || segments.file_lengths()).await;
    let read = read.map_err(|error| QueryError::Thread(error.to_string()))?;
    read.map_err(|error| QueryError::Record(error.to_string()))
}
