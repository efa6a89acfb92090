//! The layout of a folder or bucket: JSON Lines files or CloudTrail's objects.

use crate::source::{Listing, Source, SourceError};

/// How the events of a folder or bucket are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScanLayout {
    /// JSON Lines files, plain or compressed, below this prefix: a folder of `trailhose sync`, a lake, or any other folder.
    Lines(String),
    /// CloudTrail's own objects. The same event can be in several of them.
    CloudTrail,
}

impl ScanLayout {
    /// Finds the layout below a prefix, with at most two listings.
    ///
    /// # Errors
    /// The folder or bucket cannot be listed.
    pub async fn find(source: &dyn Source, bucket: &str, prefix: &str) -> Result<Self, SourceError> {
        let folder = if prefix.is_empty() || prefix.ends_with('/') { prefix.to_owned() } else { format!("{prefix}/") };
        let list = |prefix: String| async move {
            let request = Listing { bucket, prefix: &prefix, delimiter: Some('/'), token: None, start_after: None };
            source.list(&request).await
        };
        let page = list(folder.clone()).await?;
        let is_partition = |name: &String| {
            let name = name.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            name == ".trailhose" || ["account=", "region=", "date=", "dt="].iter().any(|start| name.starts_with(start))
        };
        if page.prefixes.iter().any(is_partition) || page.objects.iter().any(|object| is_lines(&object.key)) {
            return Ok(Self::Lines(folder));
        }
        // The bucket of a lake contains the events below this folder, next to the folder of the oversize events.
        let events = format!("{folder}events/");
        if page.prefixes.contains(&events) && list(events.clone()).await?.prefixes.iter().any(is_partition) {
            return Ok(Self::Lines(events));
        }
        Ok(Self::CloudTrail)
    }
}

/// Returns whether a file of this name contains JSON Lines.
pub(super) fn is_lines(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key);
    [".jsonl", ".jsonl.gz", ".jsonl.zst"].iter().any(|extension| name.ends_with(extension))
}
