//! Denied folders: what a discovery does with a folder that it must not list.

use super::rest::DiscoveryRest;
use super::{DetectedLayout, Discovery, FolderPage, FolderRole};
use crate::source::{ListPage, UnlistedEntry};

impl Discovery {
    /// Handles a folder whose listing is denied. It is recorded and not treated as empty; the other folders are walked.
    pub(super) fn process_denied(&mut self, step: FolderPage, reason: String) {
        let key = step.folder.clone();
        self.progress.denied.push(UnlistedEntry { key, reason, is_folder: true });
        self.add_denied_page(step);
    }

    /// Records the entries of a page that cannot be listed. Returns the page's folder if the other entries can be used.
    /// Only a source that is a folder has such entries.
    pub(super) fn process_unlisted(&mut self, step: FolderPage, page: &mut ListPage) -> Option<FolderPage> {
        let unlisted = std::mem::take(&mut page.unlisted);
        if unlisted.is_empty() {
            return Some(step);
        }
        let is_whole = unlisted.iter().any(|entry| entry.is_folder && entry.key == step.folder);
        self.progress.denied.extend(unlisted);
        if is_whole {
            self.add_denied_page(step);
            return None;
        }
        let role = match &step.role {
            FolderRole::Candidate { .. } => FolderRole::Layout,
            role => role.clone(),
        };
        self.denied.push(FolderPage { folder: step.folder.clone(), token: step.token.clone(), role });
        Some(step)
    }

    fn add_denied_page(&mut self, step: FolderPage) {
        match step.role {
            // By its name it is a layout. So the folders next to it are searched, and the bucket is not walked key by key.
            FolderRole::Candidate { above, page } => {
                self.progress.shape = DetectedLayout::CloudTrail;
                self.process_above_layout(above, page);
                self.denied.push(FolderPage::first(step.folder, FolderRole::Layout));
            }
            role => self.denied.push(FolderPage { role, ..step }),
        }
    }

    /// Forgets the denied folders, because a unit lists the whole prefix.
    pub(super) fn clear_denied(&mut self) {
        self.denied.clear();
        self.progress.denied.clear();
    }

    /// Takes the folders that could not be listed, so that others can try again. `None` if there are none. The names in
    /// [`super::DiscoveryProgress::denied`] stay.
    pub fn take_denied(&mut self) -> Option<DiscoveryRest> {
        let pages = std::mem::take(&mut self.denied);
        Some(self.rest_of(pages.into_iter())).filter(|rest| !rest.is_empty())
    }
}
