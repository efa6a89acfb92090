//! Sources in which no object matched the selection.
//!
//! A misspelled region or prefix would otherwise look like a successful run. An object matches if it is a log and is
//! selected; its outcome does not matter, so an object that is already done matches.

use super::plan::PlannedSource;
use crate::args::Location;
use crate::text::{counted, one_line, reasons};
use std::collections::BTreeMap;
use trailhose::sync::{Completion, SyncReport};

/// A source without a matching object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EmptySource {
    /// The source, as the user named it.
    pub(crate) source: String,
    /// What was found instead.
    reason: String,
}

impl EmptySource {
    /// Returns the source if its run completed and no object matched.
    pub(super) fn of(planned: &PlannedSource, all_files: bool, report: &SyncReport) -> Option<Self> {
        if report.completion != Completion::Complete || report.tally.matched() > 0 {
            return None;
        }
        let is_selective = planned.since.is_some() || planned.until.is_some() || !planned.filters.is_all();
        let found = Found {
            skipped: &report.tally.skipped,
            excluded: report.excluded,
            excluded_folders: report.excluded_folders,
            unvisited: report.unvisited,
            can_read_all_files: !all_files && !is_selective,
            has_days: planned.since.is_some() || planned.until.is_some(),
        };
        Some(Self { source: planned.location.to_string(), reason: found.reason(&planned.location) })
    }

    /// Returns the warning as one line.
    pub(crate) fn warning(&self) -> String {
        warning(&self.source, &self.reason)
    }
}

/// Returns the warning about a source without a matching object.
pub(crate) fn warning(source: &str, reason: &str) -> String {
    one_line(&format!("warning: no object of {source} matched: {reason}. Use --allow-empty if this is expected"))
}

/// What was found in a source instead of matching objects.
pub(crate) struct Found<'a> {
    /// Files that are not logs, by kind.
    pub(crate) skipped: &'a BTreeMap<String, u64>,
    pub(crate) excluded: u64,
    pub(crate) excluded_folders: u64,
    pub(crate) unvisited: u64,
    /// Whether `--all-files` is available and not yet set.
    pub(crate) can_read_all_files: bool,
    /// Whether days are selected.
    pub(crate) has_days: bool,
}

impl Found<'_> {
    /// Describes what was found and what to check.
    pub(crate) fn reason(&self, location: &Location) -> String {
        let mut parts = Vec::new();
        if !self.skipped.is_empty() {
            let files: u64 = self.skipped.values().sum();
            let read = match self.skipped.contains_key("elsewhere") && self.can_read_all_files {
                true => "; use --all-files to read files with any name",
                false => "",
            };
            parts.push(format!("{} not a log ({}){read}", subject(files, "file"), reasons(self.skipped)));
        }
        if self.excluded + self.excluded_folders > 0 {
            let excluded = [(self.excluded, "object"), (self.excluded_folders, "folder")];
            let excluded =
                excluded.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| counted(count, what));
            parts.push(format!(
                "the selection excludes {}; check --since, --until, --account, --region and --kind",
                excluded.collect::<Vec<_>>().join(" and ")
            ));
        }
        if self.unvisited > 0 {
            parts.push(format!("{} unvisited", subject(self.unvisited, "folder")));
        }
        if parts.is_empty() {
            parts.push(match (self.has_days, location) {
                (true, _) => "it contains no object of the selected days; check the days and the prefix".to_owned(),
                (false, Location::S3 { key, .. }) if key.is_empty() => "the bucket is empty".to_owned(),
                (false, Location::S3 { .. }) => "nothing is stored under this prefix; check its spelling".to_owned(),
                (false, Location::Path(_)) => "the folder is empty".to_owned(),
            });
        }
        parts.join("; ")
    }
}

fn subject(count: u64, noun: &str) -> String {
    format!("{} {}", counted(count, noun), if count == 1 { "is" } else { "are" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(skipped: &[(&str, u64)], excluded: (u64, u64), has_days: bool, at: &str) -> String {
        let skipped: BTreeMap<String, u64> = skipped.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect();
        let found = Found {
            skipped: &skipped,
            excluded: excluded.0,
            excluded_folders: excluded.1,
            unvisited: 0,
            can_read_all_files: !has_days,
            has_days,
        };
        found.reason(&crate::args::value::location(at).unwrap())
    }

    #[test]
    fn reason_names_what_was_found_instead() {
        assert_eq!(reason(&[], (0, 0), false, "s3://b"), "the bucket is empty");
        assert_eq!(reason(&[], (0, 0), false, "s3://b/p"), "nothing is stored under this prefix; check its spelling");
        assert_eq!(reason(&[], (0, 0), false, "in"), "the folder is empty");
        assert!(reason(&[], (0, 0), true, "in").starts_with("it contains no object of the selected days"));
        let selected = reason(&[("digest", 1)], (1, 2), true, "in");
        assert!(
            selected
                .starts_with("1 file is not a log (1 digest file); the selection excludes 1 object and 2 folders; ")
        );
        assert!(reason(&[("elsewhere", 3)], (0, 0), false, "in").contains("3 files are not a log"));
        assert!(reason(&[("elsewhere", 3)], (0, 0), false, "in").contains("--all-files"));
        assert!(!reason(&[("other_extension", 3)], (0, 0), false, "in").contains("--all-files"));
    }
}
