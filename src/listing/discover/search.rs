//! Search: finds the folders in which CloudTrail's layout starts.

use super::{Coverage, DetectedLayout, Discovery, FolderPage, FolderRole};
use crate::listing::folder_level::FolderLevel;
use crate::listing::unit::Layout;
use crate::source::{ListPage, SourceError};
use std::collections::VecDeque;

/// How many folders deep to search for `AWSLogs/`. Covers several trails in one bucket whose prefixes contain a slash.
const DEPTH: usize = 2;

/// Maximum number of folders to search. A bucket with more folders above `AWSLogs/` is also used for other data, and
/// the trail's prefix must be given.
const FOLDERS: usize = 200;

/// A searched folder whose content the walk does not reach.
enum UnwalkedFolder {
    /// Neither its subfolders nor its objects are walked.
    Whole(String),
    /// Its subfolders are walked; the objects directly in it are not.
    Objects(String),
}

impl Discovery {
    /// Finds the folders from which to walk, or detects that there is no layout.
    pub(super) async fn locate_layout(&mut self) -> Result<(), SourceError> {
        let spelled = self.ask.prefix.as_str();
        let prefix =
            if spelled.is_empty() || spelled.ends_with('/') { spelled.to_owned() } else { format!("{spelled}/") };
        if let Some(place) = FolderLevel::of(&prefix) {
            // The prefix is already inside `AWSLogs/`. If a trail's own prefix ends in `AWSLogs`, the walk finds
            // another `AWSLogs/` in it and enters that too.
            return self.start_inside_layout(prefix, place).await;
        }
        let mut unwalked = Vec::new();
        let mut folders = VecDeque::from([(prefix.clone(), 0)]);
        let mut anything = false;
        let mut looked = 0;
        while let Some((folder, depth)) = folders.pop_front() {
            let logs = format!("{folder}AWSLogs/");
            let page = self.page(&logs).await?;
            let found = page.next.is_some() || !page.prefixes.is_empty();
            if found {
                self.progress.shape = DetectedLayout::CloudTrail;
                // The walk continues from this page instead of listing it again.
                self.process_page(&FolderPage { folder: logs.clone(), token: None, role: FolderRole::Layout }, page);
                if self.ask.coverage == Coverage::Everything {
                    self.folders.push(FolderPage { folder, token: None, role: FolderRole::AboveLayout });
                }
                continue;
            }
            let page = self.page(&folder).await?;
            anything |= !page.objects.is_empty() || !page.prefixes.is_empty();
            let deeper = page.next.is_none() && looked + page.prefixes.len() <= FOLDERS && depth < DEPTH;
            if !deeper {
                unwalked.push(UnwalkedFolder::Whole(folder));
                continue;
            }
            if !page.objects.is_empty() {
                unwalked.push(UnwalkedFolder::Objects(folder));
            }
            looked += page.prefixes.len();
            folders.extend(page.prefixes.into_iter().map(|folder| (folder, depth + 1)));
        }
        match self.progress.shape {
            DetectedLayout::CloudTrail => unwalked.into_iter().for_each(|folder| self.process_unwalked(folder)),
            _ if anything => {
                self.progress.shape = DetectedLayout::Flat;
                self.push_unit(prefix, Layout::Flat);
            }
            _ => {
                self.progress.shape = DetectedLayout::Empty;
                // There is no folder of that name, but the prefix may match the start of key names. A backfill treats
                // it as misspelled.
                if self.ask.coverage != Coverage::Days && prefix != self.ask.prefix {
                    self.push_unit(self.ask.prefix.clone(), Layout::Flat);
                }
            }
        }
        Ok(())
    }

    fn process_unwalked(&mut self, folder: UnwalkedFolder) {
        match folder {
            UnwalkedFolder::Objects(folder) if self.ask.coverage == Coverage::Everything => {
                self.folders.push(FolderPage { folder, token: None, role: FolderRole::Objects });
            }
            UnwalkedFolder::Objects(folder) | UnwalkedFolder::Whole(folder) => self.skip_folder(folder),
        }
    }

    async fn start_inside_layout(&mut self, prefix: String, place: FolderLevel) -> Result<(), SourceError> {
        let page = self.page(&prefix).await?;
        if page.next.is_none() && page.prefixes.is_empty() && page.objects.is_empty() {
            self.progress.shape = DetectedLayout::Empty;
            return Ok(());
        }
        self.progress.shape = DetectedLayout::CloudTrail;
        match place {
            FolderLevel::Region => self.enter_folder(prefix, place),
            _ if self.is_selected(&prefix) => {
                self.process_page(&FolderPage { folder: prefix, token: None, role: FolderRole::Layout }, page)
            }
            _ => self.progress.excluded += 1,
        }
        Ok(())
    }

    async fn page(&mut self, folder: &str) -> Result<ListPage, SourceError> {
        let step = FolderPage { folder: folder.to_owned(), token: None, role: FolderRole::Layout };
        let (_, page) = super::list(self.source.clone(), self.ask.bucket.clone(), step).await;
        self.progress.requests += 1;
        page
    }
}
