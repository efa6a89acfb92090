//! The layout of a folder or bucket: JSON Lines files or CloudTrail's objects.

use crate::object::key::{NotALog, Recognized, recognize};
use crate::source::{ListPage, Listing, Source, SourceError};
use jiff::civil::Date;

/// How the events of a folder or bucket are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScanLayout {
    /// JSON Lines files, plain or compressed, below this prefix: a folder of `trailhose sync`, a lake, or any other folder.
    Lines(String),
    /// CloudTrail's own objects. The same event can be in several of them.
    CloudTrail,
}

/// The maximum number of folders directly below the prefix that are listed to find the layout.
const MAX_SUBFOLDERS: usize = 32;

/// The maximum number of folders further below that are listed.
const MAX_NESTED: usize = 32;

impl ScanLayout {
    /// Finds the layout below a prefix. Lists one page of the prefix, of its subfolders except partitions, and, if no file was
    /// found in them, of folders further below. A folder with CloudTrail's logs has CloudTrail's layout, even if there are JSON
    /// Lines files next to the logs. The listing of the files counts what this layout does not read.
    ///
    /// # Errors
    /// The folder or bucket cannot be listed. A folder below the prefix that must not be listed cannot change the result. The
    /// listing of the files names it.
    pub async fn find(source: &dyn Source, bucket: &str, prefix: &str) -> Result<Self, SourceError> {
        let root = if prefix.is_empty() || prefix.ends_with('/') { prefix.to_owned() } else { format!("{prefix}/") };
        let list = |prefix: String| async move {
            let request = Listing { bucket, prefix: &prefix, delimiter: Some('/'), token: None, start_after: None };
            source.list(&request).await
        };
        let list_below = async |prefix: String| match list(prefix).await {
            Err(SourceError::Denied(_)) => Ok(ListPage::default()),
            listed => listed,
        };
        let page = list(root.clone()).await?;
        if page.prefixes.iter().any(|folder| folder_name(folder) == ".trailhose") {
            return Ok(Self::Lines(root));
        }
        if has_logs(&page) {
            return Ok(Self::CloudTrail);
        }
        let is_root_lines = has_lines(&page);
        // Below `AWSLogs/`, subfolders cannot change the result.
        let is_in_layout = root.split('/').any(|name| name == LOGS_FOLDER);
        if is_in_layout {
            return Ok(if is_root_lines { Self::Lines(root) } else { Self::CloudTrail });
        }
        let events = format!("{root}events/");
        let (mut has_lake, mut has_nested_lines, mut nested) = (false, false, Vec::new());
        for folder in subfolders(&page).take(MAX_SUBFOLDERS) {
            let page = list_below(folder.to_owned()).await?;
            if has_logs(&page) {
                return Ok(Self::CloudTrail);
            }
            // The bucket of a lake contains the events below this folder, next to the folder of the oversize events.
            has_lake |= *folder == events && page.prefixes.iter().any(|folder| is_partition(folder));
            has_nested_lines |= has_lines(&page);
            nested.extend(subfolders(&page).cloned());
        }
        if is_root_lines {
            return Ok(Self::Lines(root));
        }
        if has_lake {
            return Ok(Self::Lines(events));
        }
        // Depth first: the first file decides.
        nested.reverse();
        let mut listed = 0;
        while !has_nested_lines
            && listed < MAX_NESTED
            && let Some(folder) = nested.pop()
        {
            let page = list_below(folder).await?;
            if has_logs(&page) {
                return Ok(Self::CloudTrail);
            }
            has_nested_lines = has_lines(&page);
            nested.extend(subfolders(&page).rev().cloned());
            listed += 1;
        }
        Ok(if has_nested_lines { Self::Lines(root) } else { Self::CloudTrail })
    }
}

/// The folder in which CloudTrail's layout starts.
const LOGS_FOLDER: &str = "AWSLogs";

fn folder_name(folder: &str) -> &str {
    folder.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// Returns whether a folder is a partition of a folder of `trailhose sync` or of a lake.
fn is_partition(folder: &str) -> bool {
    ["account=", "region=", "date=", "dt="].iter().any(|start| folder_name(folder).starts_with(start))
}

/// Returns the folders that can contain the start of another layout.
fn subfolders(page: &ListPage) -> impl DoubleEndedIterator<Item = &String> {
    page.prefixes.iter().filter(|folder| !is_partition(folder) && !folder_name(folder).starts_with('.'))
}

fn has_lines(page: &ListPage) -> bool {
    page.prefixes.iter().any(|folder| is_partition(folder)) || page.objects.iter().any(|object| is_lines(&object.key))
}

fn has_logs(page: &ListPage) -> bool {
    page.prefixes.iter().any(|folder| folder_name(folder) == LOGS_FOLDER)
        || page.objects.iter().any(|object| is_log(&object.key))
}

/// Returns whether the folders and the file name of a key are those of one of CloudTrail's logs.
pub(super) fn is_log(key: &str) -> bool {
    matches!(recognize(key), Recognized::Log { .. } | Recognized::NotALog(NotALog::UnknownKind))
}

/// Returns whether a file is read as JSON Lines: by the extension of its name, or because it is in a lake.
pub(super) fn is_lines(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key);
    [".jsonl", ".jsonl.gz", ".jsonl.zst"].iter().any(|extension| name.ends_with(extension)) || is_lake_file(key)
}

/// Returns whether a file is in a folder of a lake (`dt=YYYY-MM-DD`). Queries and the compaction read every file of such a
/// folder, because the extension is a setting of the stream. The content decides how a file is decoded.
pub(super) fn is_lake_file(key: &str) -> bool {
    let mut folders = key.split('/').rev().skip(1);
    folders.any(|name| name.strip_prefix("dt=").is_some_and(|day| day.parse::<Date>().is_ok()))
}

/// Returns whether a file is neither a log nor JSON Lines, and no part of CloudTrail's layout without events.
pub(super) fn is_other(key: &str) -> bool {
    !matches!(recognize(key), Recognized::Digest | Recognized::NotALog(NotALog::FolderMarker))
}

#[cfg(test)]
mod tests;
