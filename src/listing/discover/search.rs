//! Search: finds the folders in which CloudTrail's layout starts.
//!
//! A trail writes to `PREFIX/AWSLogs/`, and one bucket may contain several trails. So the siblings of an `AWSLogs/`
//! are searched too. With [`Coverage::Everything`] they are not searched but listed key by key.

use super::{Coverage, DetectedLayout, Discovery, FolderPage, FolderRole};
use crate::listing::folder_level::FolderLevel;
use crate::listing::unit::Layout;
use crate::source::{ListPage, SourceError};

/// How many folders deep to search for `AWSLogs/`. Covers several trails in one bucket whose prefixes contain a slash.
const MAX_SEARCH_DEPTH: usize = 2;

/// Maximum number of folders to search, each with one list request. If a folder contains more subfolders than may still
/// be searched, none of them is searched: the bucket is also used for other data, and the trail's prefix must be given.
const MAX_FOLDERS: usize = 1000;

/// The state of the search.
#[derive(Debug, Default)]
pub(super) struct SearchState {
    /// Number of folders to search so far, including those still to be listed.
    pub(super) folders: usize,
    /// Whether there is any key under the prefix.
    found_any_key: bool,
    /// Searched folders without `AWSLogs/`. They are handled at the end of the search, when the layout is known.
    unwalked: Vec<UnwalkedFolder>,
    ended: bool,
}

/// A searched folder whose content the walk does not reach.
#[derive(Debug)]
enum UnwalkedFolder {
    /// Neither its subfolders nor its objects are walked.
    Whole(String),
    /// Its subfolders are searched; the objects directly in it are not walked.
    Objects(String),
}

impl Discovery {
    /// Starts at the prefix.
    pub(super) async fn start(&mut self) -> Result<(), SourceError> {
        let prefix = self.prefix.clone();
        match FolderLevel::of(&prefix) {
            // The prefix is already inside `AWSLogs/`. If a trail's own prefix ends in `AWSLogs`, the walk finds
            // another `AWSLogs/` in it and enters that too.
            Some(level) => self.start_inside_layout(prefix, level).await,
            None => {
                self.folders.push(FolderPage::first(prefix, FolderRole::Searched));
                Ok(())
            }
        }
    }

    async fn start_inside_layout(&mut self, prefix: String, level: FolderLevel) -> Result<(), SourceError> {
        let mut page = super::list(&*self.source, &self.request.bucket, &prefix, None).await?;
        self.progress.requests += 1;
        let step = FolderPage::first(prefix.clone(), FolderRole::Layout);
        if self.process_unlisted(step, &mut page).is_none() {
            self.progress.shape = DetectedLayout::CloudTrail;
            return Ok(());
        }
        if page.next.is_none() && page.prefixes.is_empty() && page.objects.is_empty() {
            self.progress.shape = DetectedLayout::Empty;
            return Ok(());
        }
        self.progress.shape = DetectedLayout::CloudTrail;
        match level {
            FolderLevel::Region => self.enter_folder(prefix, level),
            // The walk continues from this page instead of listing it again.
            _ if self.is_selected(&prefix) => self.process_layout(prefix, page),
            _ => self.progress.excluded += 1,
        }
        Ok(())
    }

    /// Handles the first page of a searched folder. Searched folders are not listed further.
    pub(super) fn process_searched(&mut self, folder: String, page: ListPage) {
        self.progress.searched += 1;
        self.search.found_any_key |= !page.objects.is_empty() || !page.prefixes.is_empty();
        let logs = format!("{folder}AWSLogs/");
        if page.prefixes.contains(&logs) || (page.next.is_some() && last_entry(&page) < logs.as_str()) {
            self.folders.push(FolderPage::first(logs, FolderRole::Candidate { above: folder, page }));
        } else {
            self.process_without_layout(folder, page);
        }
    }

    /// Handles the first page of a possible `AWSLogs/`: it is a layout if it contains folders.
    pub(super) fn process_candidate(&mut self, logs: String, page: ListPage, above: String, above_page: ListPage) {
        if page.next.is_none() && page.prefixes.is_empty() {
            return self.process_without_layout(above, above_page);
        }
        self.progress.shape = DetectedLayout::CloudTrail;
        self.process_layout(logs, page);
        self.process_above_layout(above, above_page);
    }

    fn process_without_layout(&mut self, folder: String, page: ListPage) {
        let is_leaf = page.prefixes.is_empty();
        let is_deep = self.depth(&folder) >= MAX_SEARCH_DEPTH;
        if page.next.is_some() || (!is_leaf && (is_deep || !self.reserve(page.prefixes.len()))) {
            self.search.unwalked.push(UnwalkedFolder::Whole(folder));
            return;
        }
        // An object with the folder's own name is a marker without content. Only a complete listing contains it.
        let is_content = |key: &str| self.request.coverage == Coverage::Everything || key != folder;
        if page.objects.iter().any(|object| is_content(&object.key)) {
            self.search.unwalked.push(UnwalkedFolder::Objects(folder));
        }
        self.push_searched(page.prefixes);
    }

    /// Handles a page of a folder that contains a walked `AWSLogs/`.
    pub(super) fn process_above_layout(&mut self, folder: String, page: ListPage) {
        let logs = format!("{folder}AWSLogs/");
        let siblings: Vec<String> = page.prefixes.into_iter().filter(|sibling| *sibling != logs).collect();
        if self.request.coverage == Coverage::Everything {
            self.push_next_page(&folder, page.next, FolderRole::AboveLayout);
            self.push_objects(folder, page.objects);
            return siblings.into_iter().for_each(|sibling| self.push_unit(sibling, Layout::Flat));
        }
        let is_complete = page.next.is_none();
        if is_complete && self.depth(&folder) < MAX_SEARCH_DEPTH && self.reserve(siblings.len()) {
            self.push_searched(siblings);
        } else {
            siblings.into_iter().for_each(|sibling| self.skip_folder(sibling));
        }
        match is_complete {
            true => self.push_objects(folder, page.objects),
            // The entries of its further pages are not listed. They are reported as one unvisited folder.
            false => self.skip_folder(folder),
        }
    }

    /// Searches a folder within an `AWSLogs/`, or records it as unvisited.
    pub(super) fn search_or_skip(&mut self, folder: String) {
        if self.request.coverage != Coverage::Everything && self.depth(&folder) <= MAX_SEARCH_DEPTH && self.reserve(1) {
            self.push_searched(vec![folder]);
        } else {
            self.skip_folder(folder);
        }
    }

    fn push_searched(&mut self, folders: Vec<String>) {
        self.folders.extend(folders.into_iter().map(|folder| FolderPage::first(folder, FolderRole::Searched)));
    }

    /// Returns whether this many more folders may be searched, and counts them if so.
    fn reserve(&mut self, folders: usize) -> bool {
        let is_within = self.search.folders.saturating_add(folders) <= MAX_FOLDERS;
        self.search.folders += if is_within { folders } else { 0 };
        is_within
    }

    /// Returns how many folders `folder` is below the prefix.
    fn depth(&self, folder: &str) -> usize {
        folder.strip_prefix(&self.prefix).unwrap_or(folder).matches('/').count()
    }

    /// Handles the folders without `AWSLogs/` when every folder is listed. Returns whether further
    /// folders must be listed or units are ready.
    pub(super) fn end_search(&mut self) -> bool {
        if std::mem::replace(&mut self.search.ended, true) {
            return false;
        }
        match self.progress.shape {
            DetectedLayout::CloudTrail => self.process_unwalked(),
            DetectedLayout::Unknown if self.search.found_any_key => {
                self.progress.shape = DetectedLayout::Flat;
                self.clear_denied();
                self.push_unit(self.prefix.clone(), Layout::Flat);
            }
            DetectedLayout::Unknown => {
                self.progress.shape = DetectedLayout::Empty;
                // There is no folder of that name, but the prefix may match the start of key names. A backfill treats
                // it as misspelled.
                if self.request.coverage != Coverage::Days && self.prefix != self.request.prefix {
                    self.push_unit(self.request.prefix.clone(), Layout::Flat);
                }
            }
            DetectedLayout::Flat | DetectedLayout::Empty => {}
        }
        !self.ready.is_empty() || !self.folders.is_empty()
    }

    pub(super) fn process_unwalked(&mut self) {
        for folder in std::mem::take(&mut self.search.unwalked) {
            match folder {
                UnwalkedFolder::Objects(folder) if self.request.coverage == Coverage::Everything => {
                    self.folders.push(FolderPage::first(folder, FolderRole::Objects));
                }
                UnwalkedFolder::Objects(folder) | UnwalkedFolder::Whole(folder) => self.skip_folder(folder),
            }
        }
    }
}

/// Returns the last entry of a page in the order of the listing.
fn last_entry(page: &ListPage) -> &str {
    let object = page.objects.last().map_or("", |object| object.key.as_str());
    page.prefixes.last().map_or("", String::as_str).max(object)
}
