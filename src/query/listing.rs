//! Lists the files that a scan reads.

use super::layout::{ScanLayout, is_lines, is_log};
use super::partition_pruning::PartitionPruning;
use super::report::ScanReport;
use super::{QueryControl, QueryError};
use crate::listing::discover::{Discovery, DiscoveryItem};
use crate::listing::folder_level::KeyClass;
use crate::listing::keys::{KeyListing, ObjectPages};
use crate::listing::pages::ListingPages;
use crate::listing::reconcile::classify_object;
use crate::listing::unit::Unit;
use crate::object::ObjectRef;
use crate::source::{Source, SourceError};
use crate::sync::ObjectSelection;
use jiff::civil::Date;
use std::sync::Arc;
use tokio::sync::mpsc::Sender;

/// The number of concurrent listings of a bucket.
const LISTINGS: usize = 16;

/// The day before CloudTrail's first delivery. A span that starts on this day or earlier contains every log, so all folders
/// are listed, also those outside of CloudTrail's layout.
const BEFORE_FIRST_DELIVERY: Date = jiff::civil::date(2013, 11, 1);

/// Lists files and sends them.
#[derive(Debug)]
pub(super) struct FileListing<'a> {
    pub(super) source: &'a Arc<dyn Source>,
    pub(super) bucket: &'a str,
    pub(super) prefix: &'a str,
    pub(super) layout: &'a ScanLayout,
    pub(super) pruning: &'a PartitionPruning,
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
        while let Some(folder) = folders.pop() {
            let mut subfolders = Vec::new();
            let mut pages = ListingPages::new(&**self.source, self.bucket, &folder, Some('/'));
            loop {
                if self.is_stopped() {
                    report.stopped = true;
                    return Ok(());
                }
                let Some(page) = pages.next().await? else { break };
                for entry in page.unlisted {
                    report.skip(&entry.key, entry.reason);
                }
                for subfolder in page.prefixes {
                    let name = subfolder.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
                    // Hidden folders contain the ledger and the state of a sync.
                    if name.starts_with('.') {
                        continue;
                    }
                    match self.pruning.admits_folder(name) {
                        true => subfolders.push(subfolder),
                        false => report.excluded += 1,
                    }
                }
                for object in page.objects {
                    if is_log(&object.key) {
                        report.skip(
                            &object.key,
                            "a CloudTrail log in a folder of JSON Lines files is not read: query its folder",
                        );
                    } else if !is_lines(&object.key) {
                        report.other_files += 1;
                    } else if !self.send(object, files).await {
                        return Ok(());
                    }
                }
            }
            folders.extend(subfolders.into_iter().rev());
        }
        Ok(())
    }

    async fn objects(&self, files: &Sender<ObjectRef>, report: &mut ScanReport) -> Result<(), QueryError> {
        let (since, until) = self.pruning.arrival();
        let since = since.filter(|day| *day > BEFORE_FIRST_DELIVERY);
        let selection = ObjectSelection { since, until, ..ObjectSelection::default() };
        let request = selection.discovery_request(self.bucket, self.prefix, LISTINGS);
        let request = request.map_err(|error| SourceError::Unavailable(error.to_string()))?;
        let mut discovery = Discovery::new(Arc::clone(self.source), request);
        'items: while let Some(item) = discovery.next_item().await? {
            match item {
                DiscoveryItem::Objects(unit, objects) => {
                    if !self.page(&unit, objects, files, report).await {
                        break;
                    }
                }
                DiscoveryItem::Unit(unit) => {
                    let mut keys = KeyListing::new(&**self.source, &unit);
                    while let Some(objects) = keys.next().await? {
                        if !self.page(&unit, objects, files, report).await {
                            break 'items;
                        }
                    }
                }
            }
        }
        let found = discovery.progress();
        for entry in &found.denied {
            report.skip(&entry.key, entry.reason.clone());
        }
        (report.unvisited, report.unvisited_folders) = (found.unvisited_count, found.unvisited.clone());
        Ok(())
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
                KeyClass::NotALog => report.other_files += 1,
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

/// Returns whether a file is in a hidden folder.
fn is_hidden(key: &str) -> bool {
    key.split('/').any(|name| name.starts_with('.'))
}
