//! Rest: the folders that a discovery has not listed yet, in a form that a message can contain.

use super::{Coverage, DetectedLayout, Discovery, DiscoveryItem, DiscoveryRequest, FolderPage, FolderRole};
use crate::listing::day_range::DayRange;
use crate::listing::unit::{Layout, Unit};
use crate::source::Source;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The folders that a discovery has not listed yet. Another worker continues with them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiscoveryRest {
    /// Number of folders searched for `AWSLogs/` so far, which counts against the limit.
    searched: usize,
    folders: Vec<RestFolder>,
}

/// A folder that is not completely listed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum RestFolder {
    /// A folder of the layout, from the page with this token on.
    Layout {
        folder: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
    },
    /// A folder to be searched for `AWSLogs/`.
    Search { folder: String },
    /// A region's folder whose units for these days are not returned yet.
    Region { folder: String, day_range: DayRange },
}

impl Discovery {
    /// Takes everything that is not listed yet, so that others can continue. The discovery then ends. The order of the
    /// folders has no meaning, so the rest can be split.
    ///
    /// Returns `None` while the layout is unknown, because only all searched folders together show whether the bucket
    /// has one. The search cannot be continued by others, but it lists at most 1,000 folders. Also returns `None` if
    /// the coverage is not [`Coverage::Days`].
    pub fn take_rest(&mut self) -> Option<DiscoveryRest> {
        if self.progress.shape != DetectedLayout::CloudTrail || self.request.coverage != Coverage::Days {
            return None;
        }
        self.process_unwalked();
        self.in_flight.clear();
        let listing = std::mem::take(&mut self.listing).into_values();
        let denied = std::mem::take(&mut self.denied);
        let pages = std::mem::take(&mut self.folders).into_iter().chain(listing).chain(denied);
        let mut rest = self.rest_of(pages);
        rest.folders.extend(self.ready.drain(..).filter_map(RestFolder::of_item));
        Some(rest)
    }

    /// Returns the rest that consists of these pages, in an order that depends only on the pages.
    pub(super) fn rest_of(&self, pages: impl Iterator<Item = FolderPage>) -> DiscoveryRest {
        let mut folders: Vec<RestFolder> = pages.filter_map(RestFolder::of_page).collect();
        folders.sort_unstable();
        folders.dedup();
        DiscoveryRest { searched: self.search.folders, folders }
    }

    /// Continues a discovery with folders that were taken from it.
    pub fn resume(source: Arc<dyn Source>, request: DiscoveryRequest, rest: DiscoveryRest) -> Self {
        let mut discovery = Self::new(source, request);
        discovery.started = true;
        discovery.progress.shape = DetectedLayout::CloudTrail;
        discovery.search.folders = rest.searched;
        for folder in rest.folders {
            match folder {
                RestFolder::Layout { folder, token } => {
                    discovery.folders.push(FolderPage { folder, token, role: FolderRole::Layout });
                }
                RestFolder::Search { folder } => {
                    discovery.folders.push(FolderPage::first(folder, FolderRole::Searched));
                }
                RestFolder::Region { folder, day_range } => {
                    let unit = discovery.unit(folder, Layout::Days);
                    discovery.ready.push_back(DiscoveryItem::Unit(Unit { day_range, ..unit }));
                }
            }
        }
        discovery
    }
}

impl DiscoveryRest {
    /// Returns whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.folders.is_empty()
    }

    /// Splits the rest into parts of at most `max_bytes` bytes as JSON, each with at least one folder.
    pub fn split(self, max_bytes: usize) -> Vec<Self> {
        let mut parts: Vec<(usize, Self)> = Vec::new();
        for folder in self.folders {
            let bytes = serde_json::to_string(&folder).map_or(0, |text| text.len() + 1);
            match parts.last_mut() {
                Some((size, part)) if *size + bytes <= max_bytes => {
                    *size += bytes;
                    part.folders.push(folder);
                }
                _ => parts.push((bytes, Self { searched: self.searched, folders: vec![folder] })),
            }
        }
        parts.into_iter().map(|(_, part)| part).collect()
    }
}

impl RestFolder {
    fn of_page(page: FolderPage) -> Option<Self> {
        let FolderPage { folder, token, role } = page;
        match role {
            FolderRole::Layout => Some(Self::Layout { folder, token }),
            FolderRole::Searched => Some(Self::Search { folder }),
            // The folder above is listed a second time, which is cheaper than sending its page.
            FolderRole::Candidate { above, .. } => Some(Self::Search { folder: above }),
            // Only with another coverage.
            FolderRole::AboveLayout | FolderRole::Objects | FolderRole::Loose { .. } => None,
        }
    }

    fn of_item(item: DiscoveryItem) -> Option<Self> {
        match item {
            DiscoveryItem::Unit(Unit { prefix, day_range, .. }) => Some(Self::Region { folder: prefix, day_range }),
            // Only with `Coverage::Everything`.
            DiscoveryItem::Objects(..) => None,
        }
    }
}
