//! What a scan read, and what it did not read.

use serde::Serialize;
use std::time::Duration;

/// The maximum number of files and folders that are named because they were not read completely. Further ones are counted.
const MAX_NAMED: usize = 20;

/// The maximum number of files of one kind that are named although they are no reason for an incomplete result.
const MAX_OTHER_NAMES: usize = 5;

/// What a scan read, and what it did not read.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ScanReport {
    /// Files or objects that were read.
    pub files: u64,
    /// The stored bytes of these files.
    pub bytes: u64,
    /// Events in these files, including those that the prefilter excluded.
    pub events: u64,
    /// Events that the plan selects.
    pub selected: u64,
    /// Folders and files that partition pruning excluded.
    pub excluded: u64,
    /// Events that are in no time span, because they have no valid `eventTime`. Events that the prefilter excluded are not
    /// counted.
    pub without_time: u64,
    /// Copies of selected events in further objects. They do not count as selected.
    pub copies: u64,
    /// Whether there were too many selected events to recognize all of their copies. Copies then count as events.
    pub may_count_copies: bool,
    /// Lines that are not events. Lines that the prefilter excluded are not counted.
    pub invalid_lines: u64,
    /// Files and folders that were not read, or not completely.
    pub skipped_files: u64,
    /// The first of these files and folders, and the first files with invalid lines, with the reasons.
    pub skipped: Vec<SkippedFile>,
    /// Folders of a bucket that were not searched, because they are outside of CloudTrail's layout.
    pub unvisited: u64,
    /// The first of these folders.
    pub unvisited_folders: Vec<String>,
    /// Files that are not logs and not JSON Lines.
    pub other_files: u64,
    /// The first of these files.
    pub other_names: Vec<String>,
    /// Files that the record of a folder of `trailhose sync` does not contain. They are not read.
    pub foreign_files: u64,
    /// The first of these files.
    pub foreign_names: Vec<String>,
    /// Files with bytes after their committed length. These bytes are not read.
    pub longer_files: u64,
    /// The first of these files.
    pub longer_names: Vec<String>,
    /// Why there is no file, if the source is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty_source: Option<String>,
    /// Whether the latest day of arrival had no effect, because no folder contains a day of arrival.
    pub arrival_ignored: bool,
    /// Whether the scan was stopped before its end.
    pub stopped: bool,
    /// The list price in us-east-1 of a query that a service ran, in dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dollars: Option<f64>,
    /// Whether the index was used instead of a scan.
    pub used_index: bool,
    /// The duration.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub duration: Duration,
}

/// A file or folder that was not read completely.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkippedFile {
    /// Its name.
    pub name: String,
    /// What was not read, and why.
    pub reason: String,
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn add_names(names: &mut Vec<String>, more: impl IntoIterator<Item = String>) {
    let left = MAX_OTHER_NAMES.saturating_sub(names.len());
    names.extend(more.into_iter().take(left));
}

impl ScanReport {
    /// Returns whether everything was read that the plan needs.
    pub fn is_complete(&self) -> bool {
        self.skipped_files == 0 && self.invalid_lines == 0 && !self.stopped
    }

    /// Counts a file or folder that was not read completely, and names it.
    pub(super) fn skip(&mut self, name: &str, reason: impl Into<String>) {
        self.skipped_files += 1;
        self.name(name, reason.into());
    }

    /// Counts lines of a file that are not events, and names the file.
    pub(super) fn invalid(&mut self, name: &str, lines: u64, reason: &str) {
        self.invalid_lines += lines;
        self.name(
            name,
            match lines {
                1 => format!("1 line is not an event: it is {reason}"),
                lines => format!("{lines} lines are not events: each is {reason}"),
            },
        );
    }

    /// Counts a file that is neither a log nor JSON Lines, and names it.
    pub(super) fn other(&mut self, name: &str) {
        self.other_files += 1;
        add_names(&mut self.other_names, [name.to_owned()]);
    }

    /// Counts a file that the record of the folder does not contain, and names it.
    pub(super) fn foreign(&mut self, name: &str) {
        self.foreign_files += 1;
        add_names(&mut self.foreign_names, [name.to_owned()]);
    }

    /// Counts a file with bytes after its committed length, and names it.
    pub(super) fn longer(&mut self, name: &str) {
        self.longer_files += 1;
        add_names(&mut self.longer_names, [name.to_owned()]);
    }

    fn name(&mut self, name: &str, reason: String) {
        if self.skipped.len() < MAX_NAMED {
            self.skipped.push(SkippedFile { name: name.to_owned(), reason });
        }
    }

    /// Adds what another thread read.
    pub(super) fn merge(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.events += other.events;
        self.selected += other.selected;
        self.excluded += other.excluded;
        self.without_time += other.without_time;
        self.copies += other.copies;
        self.may_count_copies |= other.may_count_copies;
        self.invalid_lines += other.invalid_lines;
        self.skipped_files += other.skipped_files;
        self.unvisited += other.unvisited;
        self.unvisited_folders.extend(other.unvisited_folders);
        self.other_files += other.other_files;
        add_names(&mut self.other_names, other.other_names);
        self.foreign_files += other.foreign_files;
        add_names(&mut self.foreign_names, other.foreign_names);
        self.longer_files += other.longer_files;
        add_names(&mut self.longer_names, other.longer_names);
        self.empty_source = self.empty_source.take().or(other.empty_source);
        self.arrival_ignored |= other.arrival_ignored;
        self.stopped |= other.stopped;
        self.used_index |= other.used_index;
        let left = MAX_NAMED.saturating_sub(self.skipped.len());
        self.skipped.extend(other.skipped.into_iter().take(left));
    }
}
