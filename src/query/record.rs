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
use std::path::Path;
use std::sync::Arc;

/// The files that are not committed yet, and the committed lengths.
type RecordedLengths = (BTreeSet<String>, HashMap<String, u64>);

/// Compares listed files with the record.
#[derive(Debug)]
pub(super) struct RecordedFiles {
    segments: Arc<CommittedSegments>,
    listed: ListedFiles,
}

/// The listed files, compared with the record before the listing.
#[derive(Debug, Default)]
struct ListedFiles {
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
        let listed = ListedFiles { expected: lengths(segments).await?.1, ..ListedFiles::default() };
        Ok(Self { segments: Arc::clone(segments), listed })
    }

    /// Returns a listed file with its committed length as its size, or `None` if the record does not contain it.
    pub(super) fn committed(&mut self, object: ObjectRef) -> Option<ObjectRef> {
        self.listed.add(object)
    }

    /// Compares the listing with the present record. Counts and names missing files, files that the record does not contain,
    /// and files that are longer than committed. `unlisted` contains the paths that could not be listed. Returns the files that
    /// a sync committed during the listing.
    pub(super) async fn finish(
        self,
        pruning: &PartitionPruning,
        unlisted: &BTreeSet<String>,
        report: &mut ScanReport,
    ) -> Result<Vec<ObjectRef>, QueryError> {
        let present = lengths(&self.segments).await?;
        let is_searched = |path: &str| pruning.admits_path(path) && !is_below(path, unlisted);
        Ok(self.listed.compare(self.segments.root(), present, &is_searched, report))
    }
}

impl ListedFiles {
    fn add(&mut self, object: ObjectRef) -> Option<ObjectRef> {
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

    fn compare(
        mut self,
        root: &Path,
        (uncommitted, present): RecordedLengths,
        is_searched: &dyn Fn(&str) -> bool,
        report: &mut ScanReport,
    ) -> Vec<ObjectRef> {
        let name = |path: &str| root.join(path).display().to_string();
        let mut missing: Vec<(&String, &u64)> = self.expected.iter().collect();
        // A file that was pruned or released during the listing is no longer in the record.
        missing.retain(|(path, _)| present.contains_key(*path) && is_searched(path));
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
        committed
    }
}

/// Returns whether a path, or a folder that contains it, could not be listed.
fn is_below(path: &str, unlisted: &BTreeSet<String>) -> bool {
    unlisted.iter().any(|entry| path == entry || (entry.ends_with('/') && path.starts_with(entry.as_str())))
}

/// Returns the files that are not committed yet, and the committed lengths, in the order in which they must be read.
async fn lengths(segments: &Arc<CommittedSegments>) -> Result<RecordedLengths, QueryError> {
    let segments = Arc::clone(segments);
    let read = tokio::task::spawn_blocking(move || segments.file_lengths()).await;
    let read = read.map_err(|error| QueryError::Thread(error.to_string()))?;
    read.map_err(|error| QueryError::Record(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(files: &[(&str, u64)]) -> HashMap<String, u64> {
        files.iter().map(|(path, length)| ((*path).to_owned(), *length)).collect()
    }

    fn file(path: &str, size: u64) -> ObjectRef {
        ObjectRef::new("file:///x", path).with_version("e", size)
    }

    /// A sync commits during the listing: a new file, and more bytes of a file. Another checkpoint is in progress.
    #[test]
    fn what_a_sync_writes_during_the_listing_is_neither_foreign_nor_missing() {
        let before = lengths(&[("grown", 5), ("growing", 5), ("pruned", 5), ("missing", 5), ("longer", 5)]);
        let mut listed = ListedFiles { expected: before, ..ListedFiles::default() };
        let sizes: Vec<_> = [("grown", 9), ("growing", 9), ("longer", 9), ("new", 3), ("newer", 3), ("foreign", 3)]
            .into_iter()
            .map(|(path, size)| listed.add(file(path, size)).map(|object| object.size.unwrap()))
            .collect();
        assert_eq!(sizes, [Some(5), Some(5), Some(5), None, None, None]);
        let present = lengths(&[("grown", 9), ("growing", 5), ("missing", 5), ("longer", 5), ("new", 2)]);
        let uncommitted = ["growing", "newer"].map(str::to_owned).into();
        let mut report = ScanReport::default();
        let committed = listed.compare(Path::new("/x"), (uncommitted, present), &|_| true, &mut report);
        assert_eq!(committed, [ObjectRef { size: Some(2), ..file("new", 3) }]);
        assert_eq!((report.foreign_files, report.foreign_names), (1, vec!["/x/foreign".to_owned()]));
        assert_eq!((report.longer_files, report.longer_names), (1, vec!["/x/longer".to_owned()]));
        assert_eq!((report.skipped_files, &*report.skipped[0].name), (1, "/x/missing"));
    }
}
