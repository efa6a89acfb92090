//! Lists the files that a scan reads.

use super::layout::{ScanLayout, is_lake_file, is_lines, is_log, is_other};
use super::partition_pruning::PartitionPruning;
use super::record::RecordedFiles;
use super::report::ScanReport;
use super::{QueryControl, QueryError};
use crate::listing::discover::{DetectedLayout, Discovery, DiscoveryItem};
use crate::listing::folder_level::KeyClass;
use crate::listing::keys::{KeyListing, ObjectPages};
use crate::listing::pages::ListingPages;
use crate::listing::reconcile::classify_object;
use crate::listing::unit::Unit;
use crate::object::ObjectRef;
use crate::sink::jsonl::CommittedSegments;
use crate::source::{Source, SourceError, UnlistedEntry};
use crate::sync::ObjectSelection;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::mpsc::Sender;

/// The number of concurrent listings of a bucket.
const LISTINGS: usize = 16;

/// Lists files and sends them.
#[derive(Debug)]
pub(super) struct FileListing<'a> {
    pub(super) source: &'a Arc<dyn Source>,
    pub(super) bucket: &'a str,
    pub(super) prefix: &'a str,
    pub(super) layout: &'a ScanLayout,
    pub(super) pruning: &'a PartitionPruning,
    /// The record of the folder. Only committed files are read.
    pub(super) record: Option<&'a Arc<CommittedSegments>>,
    pub(super) control: &'a QueryControl,
}

impl FileListing<'_> {
    /// Sends every file that can contain events of the plan. Returns what is not read. Ends early if the receiver is dropped.
    pub(super) async fn run(&self, files: &Sender<ObjectRef>) -> Result<ScanReport, QueryError> {
        let mut report = ScanReport::default();
        match self.layout {
            ScanLayout::Lines(prefix) => self.lines(prefix, files, &mut report).await?,
            ScanLayout::CloudTrail => self.objects(files, &mut report).await?,
        }
        Ok(report)
    }

    fn is_stopped(&self) -> bool {
        *self.control.halt.borrow()
    }

    async fn lines(&self, prefix: &str, files: &Sender<ObjectRef>, report: &mut ScanReport) -> Result<(), QueryError> {
        let mut folders = vec![prefix.to_owned()];
        let mut has_arrival_days = false;
        let mut recorded = match self.record {
            Some(segments) => Some(RecordedFiles::read(segments).await?),
            None => None,
        };
        let mut all_unlisted = BTreeSet::new();
        while let Some(folder) = folders.pop() {
            let mut subfolders = Vec::new();
            let mut pages = ListingPages::new(&**self.source, self.bucket, &folder, Some('/'));
            // A set, because each page of a folder contains the same entries.
            let mut unlisted = BTreeSet::new();
            loop {
                if self.is_stopped() {
                    report.stopped = true;
                    return Ok(());
                }
                let page = match pages.next().await {
                    Ok(Some(page)) => page,
                    Ok(None) => break,
                    Err(SourceError::Denied(reason)) if folder != prefix => {
                        unlisted.insert(UnlistedEntry { key: folder.clone(), reason, is_folder: true });
                        break;
                    }
                    Err(error) => return Err(error.into()),
                };
                unlisted.extend(page.unlisted);
                for subfolder in page.prefixes {
                    let name = subfolder.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
                    // Hidden folders contain the ledger and the state of a sync.
                    if name.starts_with('.') {
                        continue;
                    }
                    has_arrival_days |= name.starts_with("dt=");
                    match self.pruning.admits_folder(name) {
                        true => subfolders.push(subfolder),
                        false => report.excluded += 1,
                    }
                }
                for object in page.objects {
                    if is_log(&object.key) && !is_lake_file(&object.key) {
                        report.skip(
                            &object.key,
                            "a CloudTrail log in a folder of JSON Lines files is not read: query its folder",
                        );
                    } else if !is_lines(&object.key) {
                        if is_other(&object.key) {
                            report.other(&object.key);
                        }
                    } else {
                        let object = match &mut recorded {
                            Some(recorded) => recorded.committed(object),
                            None => Some(object),
                        };
                        if let Some(object) = object
                            && !self.send(object, files).await
                        {
                            return Ok(());
                        }
                    }
                }
            }
            all_unlisted.extend(unlisted.iter().map(|entry| entry.key.clone()));
            unlisted.iter().for_each(|entry| report.skip(&entry.key, entry.reason.clone()));
            folders.extend(subfolders.into_iter().rev());
        }
        if let Some(recorded) = recorded {
            for object in recorded.finish(self.pruning, &all_unlisted, report).await? {
                if !self.send(object, files).await {
                    return Ok(());
                }
            }
        }
        report.arrival_ignored = self.pruning.arrival().1.is_some() && !has_arrival_days;
        Ok(())
    }

    async fn objects(&self, files: &Sender<ObjectRef>, report: &mut ScanReport) -> Result<(), QueryError> {
        let (since, until) = self.pruning.arrival();
        let since = since.filter(|_| !self.pruning.is_all_time());
        let selection = ObjectSelection { since, until, ..ObjectSelection::default() };
        let request = selection.discovery_request(self.bucket, self.prefix, LISTINGS);
        let request = request.map_err(|error| SourceError::Unavailable(error.to_string()))?;
        let mut discovery = Discovery::new(Arc::clone(self.source), request);
        let mut has_objects = false;
        'items: while let Some(item) = discovery.next_item().await? {
            match item {
                DiscoveryItem::Objects(unit, objects) => {
                    has_objects = true;
                    if !self.page(&unit, objects, files, report).await {
                        break;
                    }
                }
                DiscoveryItem::Unit(unit) => {
                    let mut keys = KeyListing::new(&**self.source, &unit).collecting_unlisted(self.prefix);
                    while let Some(objects) = keys.next().await? {
                        has_objects = true;
                        if !self.page(&unit, objects, files, report).await {
                            break 'items;
                        }
                    }
                    keys.unlisted().for_each(|entry| report.skip(&entry.key, entry.reason.clone()));
                }
            }
        }
        let found = discovery.progress();
        for entry in &found.denied {
            report.skip(&entry.key, entry.reason.clone());
        }
        let name = |folder: &String| if folder.is_empty() { self.root_name() } else { folder.clone() };
        report.unvisited = found.unvisited_count;
        report.unvisited_folders = found.unvisited.iter().map(name).collect();
        if found.shape == DetectedLayout::Empty && found.denied.is_empty() && !has_objects {
            report.empty_source = Some(self.emptiness());
        }
        Ok(())
    }

    /// Returns the name of the folder or bucket.
    fn root_name(&self) -> String {
        match self.bucket.strip_prefix("file://") {
            Some(folder) => folder.to_owned(),
            None => format!("s3://{}", self.bucket),
        }
    }

    /// Returns why there is no file in an empty source.
    fn emptiness(&self) -> String {
        let root = self.root_name();
        match (self.bucket.starts_with("file://"), self.prefix.is_empty()) {
            (true, _) => format!("the folder {root} is empty"),
            (false, true) => format!("the bucket {root} is empty"),
            (false, false) => format!("nothing is stored under {root}/{}: check its spelling", self.prefix),
        }
    }

    /// Sends the logs of a page. Returns whether to continue.
    async fn page(
        &self,
        unit: &Unit,
        objects: Vec<ObjectRef>,
        files: &Sender<ObjectRef>,
        report: &mut ScanReport,
    ) -> bool {
        for object in objects {
            match classify_object(&object, unit) {
                KeyClass::NotALog if is_lines(&object.key) && !is_hidden(&object.key) => {
                    report.skip(&object.key, "a JSON Lines file next to CloudTrail logs is not read: query its folder");
                }
                KeyClass::NotALog if is_other(&object.key) && !is_state(&object.key) => report.other(&object.key),
                KeyClass::NotALog => {}
                KeyClass::Excluded => report.excluded += 1,
                KeyClass::Selected(_) if self.is_stopped() => {
                    report.stopped = true;
                    return false;
                }
                KeyClass::Selected(_) => {
                    if !self.send(object, files).await {
                        return false;
                    }
                }
            }
        }
        true
    }

    async fn send(&self, object: ObjectRef, files: &Sender<ObjectRef>) -> bool {
        use std::sync::atomic::Ordering::Relaxed;
        self.control.progress.found_files.fetch_add(1, Relaxed);
        self.control.progress.found_bytes.fetch_add(object.size.unwrap_or(0), Relaxed);
        files.send(object).await.is_ok()
    }
}

/// Returns whether a file is part of the state of a sync.
fn is_state(key: &str) -> bool {
    key.split('/').any(|name| name == ".trailhose")
}

/// Returns whether a file is in a hidden folder.
fn is_hidden(key: &str) -> bool {
    key.split('/').any(|name| name.starts_with('.'))
}
