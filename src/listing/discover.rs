//! Discover: finds the units of a bucket. Folders are listed down to the region; days are not: see
//! [`DayRange::key_range`].
//!
//! Discovery searches for `AWSLogs/` in the prefix and in the folders up to two levels below it (`search`). From each
//! `AWSLogs/`, it walks the organization folder if there is one, accounts, kinds and regions. A folder is classified by
//! its name alone (`FolderLevel::of`), so a layout with or without an organization folder, several organizations, and a
//! prefix that itself contains `AWSLogs` need no special case. A prefix may also name a folder further down: an
//! organization, an account or a region. If there is no `AWSLogs/`, the prefix becomes one flat unit.
//!
//! A scheduled backfill needs only CloudTrail's folders. A single process that delivers a whole bucket needs every key
//! in it, each once. The caller chooses with [`Coverage`]. Each folder that is not listed is counted and named
//! ([`DiscoveryProgress::unvisited`]).
//!
//! A folder whose listing is denied does not end the discovery. It never counts as empty: it is named, and the caller
//! decides what happens ([`DiscoveryProgress::denied`], [`Discovery::take_denied`]).
//!
//! A discovery that does not fit into one invocation is continued by others: see [`Discovery::take_rest`].

mod denied;
mod rest;
mod search;

use super::day_range::DayRange;
use super::folder_level::{Filters, FolderLevel, KeyClass, classify};
use super::unit::{BackfillMode, Layout, StateSelection, Unit};
use crate::object::ObjectRef;
use crate::source::{ListPage, Listing, Source, SourceError, UnlistedEntry};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
pub use rest::DiscoveryRest;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Maximum number of days of one unit. A year is split into twelve units, which twelve workers process in parallel at
/// the cost of twelve more requests.
pub const DAYS_PER_UNIT: u32 = 31;

/// Which folders under the prefix are walked, and how they are split into units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Coverage {
    /// The requested days of CloudTrail's folders, in units of at most [`DAYS_PER_UNIT`] days: for several workers.
    #[default]
    Days,
    /// The same days, with one unit per region: for a single process, because one listing costs less than several.
    Regions,
    /// Every key, each once: whole regions, digests, and folders outside CloudTrail's layout. No folder is excluded;
    /// the filters are applied to each key.
    Everything,
}

/// Describes which units to discover.
#[derive(Debug, Clone)]
pub struct DiscoveryRequest {
    /// Bucket name, or `file://` and the absolute path of a folder.
    pub bucket: String,
    /// The prefix before `AWSLogs/`, with or without its final slash; or any folder below.
    pub prefix: String,
    /// The days to include.
    pub day_range: DayRange,
    /// The accounts, kinds and regions to include.
    pub filters: Filters,
    /// Which objects are selected for ingestion.
    pub states: StateSelection,
    /// What is done with the selected objects.
    pub mode: BackfillMode,
    /// Number of concurrent listings.
    pub concurrency: usize,
    /// Which folders are walked.
    pub coverage: Coverage,
    /// Whether the objects directly in region, year and month folders are returned too, with [`Coverage::Regions`].
    /// CloudTrail writes none. They are outside of the keys of the days, so up to five list requests per region find them.
    pub includes_loose_logs: bool,
}

impl DiscoveryRequest {
    /// Returns one unit with everything that is selected, for objects that are known without discovery.
    pub fn flat_unit(&self) -> Unit {
        Unit {
            bucket: self.bucket.clone(),
            prefix: String::new(),
            layout: Layout::Flat,
            day_range: self.day_range,
            filters: self.filters.clone(),
            states: self.states,
            mode: self.mode,
            after: None,
        }
    }

    /// Creates a request for everything under a prefix in these days.
    pub fn new(bucket: impl Into<String>, prefix: impl Into<String>, day_range: DayRange) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: prefix.into(),
            day_range,
            filters: Filters::default(),
            states: StateSelection::default(),
            mode: BackfillMode::default(),
            concurrency: 16,
            coverage: Coverage::default(),
            includes_loose_logs: false,
        }
    }
}

/// The progress of a discovery, and what it found in addition to the units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiscoveryProgress {
    /// List requests made.
    pub requests: u64,
    /// Folders found and not yet listed.
    pub waiting: usize,
    /// Account folders found. An account with folders in several places is counted once for each folder.
    pub accounts: u64,
    /// Regions found: one for each account and kind.
    pub regions: u64,
    /// Folders that the filters excluded.
    pub excluded: u64,
    /// Folders that were searched for `AWSLogs/`, each with one list request.
    pub searched: u64,
    /// Names of the first folders that are not listed because they are outside CloudTrail's layout, or that directly
    /// contain objects that are not listed. Each can be configured as a separate source.
    pub unvisited: Vec<String>,
    /// Number of these folders. A folder that is not listed is counted once, regardless of its subfolders.
    pub unvisited_count: u64,
    /// What could not be listed, although its folder is in the bucket: mostly folders whose listing is denied.
    pub denied: Vec<UnlistedEntry>,
    /// The detected layout.
    pub shape: DetectedLayout,
}

/// The layout found under a prefix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DetectedLayout {
    /// Not yet known.
    #[default]
    Unknown,
    /// CloudTrail's layout.
    CloudTrail,
    /// No known layout: listed key by key.
    Flat,
    /// No keys at all. The prefix may be misspelled.
    Empty,
}

/// Maximum number of names in [`DiscoveryProgress::unvisited`].
const MAX_UNVISITED_NAMES: usize = 20;

/// Called after every listed page, for a progress bar.
pub(crate) type ProgressCallback = Arc<dyn Fn(&DiscoveryProgress) + Send + Sync>;

/// A discovery in progress. The caller pulls units one at a time, so that folders are not listed faster than their
/// units are used and the units of ten thousand accounts are never in memory together.
pub struct Discovery {
    source: Arc<dyn Source>,
    request: DiscoveryRequest,
    progress_callback: Option<ProgressCallback>,
    progress: DiscoveryProgress,
    /// The requested prefix with its final slash; empty for the whole bucket.
    prefix: String,
    /// Pages still to be listed.
    folders: Vec<FolderPage>,
    /// Pages that are being listed, by the number of their request.
    listing: BTreeMap<u64, FolderPage>,
    started_requests: u64,
    in_flight: FuturesUnordered<BoxFuture<'static, Listed>>,
    ready: VecDeque<DiscoveryItem>,
    search: search::SearchState,
    /// The pages that contain the entries of [`DiscoveryProgress::denied`].
    denied: Vec<FolderPage>,
    /// Layout folders that directly contain selected logs. Each is reported once.
    with_direct_logs: BTreeSet<String>,
    started: bool,
}

/// A result of discovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiscoveryItem {
    /// A unit to be listed.
    Unit(Unit),
    /// Objects directly in a walked folder, already listed, with the flat unit that selects among them: all of them with
    /// [`Coverage::Everything`], and those that are not logs, or that no unit lists, with [`Coverage::Regions`].
    Objects(Unit, Vec<ObjectRef>),
}

/// One page of one folder.
#[derive(Debug, Clone)]
struct FolderPage {
    folder: String,
    token: Option<String>,
    role: FolderRole,
}

impl FolderPage {
    fn first(folder: String, role: FolderRole) -> Self {
        Self { folder, token: None, role }
    }
}

/// What the entries of a listed folder are used for.
#[derive(Debug, Clone)]
enum FolderRole {
    /// A folder of the layout: its subfolders are classified by their names.
    Layout,
    /// A folder outside of the layout that may contain `AWSLogs/`.
    Searched,
    /// The possible folder `AWSLogs/` of a searched folder, with the first page of the searched folder.
    Candidate { above: String, page: ListPage },
    /// A folder above `AWSLogs/`: its other subfolders are outside CloudTrail's layout.
    AboveLayout,
    /// Only its objects are used: its subfolders are already walked.
    Objects,
    /// A region, year or month folder: only the objects that are outside of the keys of the days are used.
    Loose {
        /// The folder of the region.
        region: String,
    },
}

/// The number of a request and its result.
type Listed = (u64, Result<ListPage, SourceError>);

impl Discovery {
    /// Creates a discovery over `source`.
    pub fn new(source: Arc<dyn Source>, request: DiscoveryRequest) -> Self {
        let requested_prefix = request.prefix.as_str();
        let prefix = if requested_prefix.is_empty() || requested_prefix.ends_with('/') {
            requested_prefix.to_owned()
        } else {
            format!("{requested_prefix}/")
        };
        Self {
            source,
            request,
            progress_callback: None,
            progress: DiscoveryProgress::default(),
            prefix,
            folders: Vec::new(),
            listing: BTreeMap::new(),
            started_requests: 0,
            in_flight: FuturesUnordered::new(),
            ready: VecDeque::new(),
            search: search::SearchState::default(),
            denied: Vec::new(),
            with_direct_logs: BTreeSet::new(),
            started: false,
        }
    }

    /// Calls `progress_callback` after every listed page.
    pub fn with_progress_callback(self, progress_callback: ProgressCallback) -> Self {
        Self { progress_callback: Some(progress_callback), ..self }
    }

    /// Returns the progress so far.
    pub fn progress(&self) -> &DiscoveryProgress {
        &self.progress
    }

    /// Returns the next unit, or `None` at the end. Drops the objects outside units, so use [`Discovery::next_item`] with
    /// every coverage except [`Coverage::Days`].
    ///
    /// # Errors
    /// The same as [`Discovery::next_item`].
    pub async fn next(&mut self) -> Result<Option<Unit>, SourceError> {
        loop {
            match self.next_item().await? {
                Some(DiscoveryItem::Unit(unit)) => return Ok(Some(unit)),
                Some(DiscoveryItem::Objects(..)) => {}
                None => return Ok(None),
            }
        }
    }

    /// Returns the next unit or the next objects outside units, or `None` at the end. If the future is dropped, nothing
    /// is lost: the next call continues.
    ///
    /// # Errors
    /// Fails if a folder cannot be listed, except if only the listing of this folder is denied. The units returned so far
    /// remain valid. The discovery cannot continue, because the rest of that folder would be missing silently.
    pub async fn next_item(&mut self) -> Result<Option<DiscoveryItem>, SourceError> {
        if !self.started {
            self.start().await?;
            self.started = true;
        }
        loop {
            if let Some(item) = self.pop_ready() {
                return Ok(Some(item));
            }
            while self.in_flight.len() < self.request.concurrency.max(1)
                && let Some(step) = self.folders.pop()
            {
                self.start_listing(step);
            }
            match self.in_flight.next().await {
                Some((number, page)) => {
                    self.progress.requests += 1;
                    match (self.listing.remove(&number), page) {
                        (Some(step), Ok(page)) => self.process_page(step, page),
                        (Some(step), Err(SourceError::Denied(reason))) if step.folder != self.prefix => {
                            self.process_denied(step, reason);
                        }
                        (_, Err(error)) => return Err(error),
                        (None, Ok(_)) => {}
                    }
                    self.progress.waiting = self.folders.len() + self.in_flight.len();
                    if let Some(progress_callback) = &self.progress_callback {
                        progress_callback(&self.progress);
                    }
                }
                None if self.end_search() => {}
                None => return Ok(None),
            }
        }
    }

    fn start_listing(&mut self, step: FolderPage) {
        let number = self.started_requests;
        self.started_requests += 1;
        let (source, bucket) = (Arc::clone(&self.source), self.request.bucket.clone());
        let (folder, token) = (step.folder.clone(), step.token.clone());
        self.in_flight
            .push(Box::pin(async move { (number, list(&*source, &bucket, &folder, token.as_deref()).await) }));
        self.listing.insert(number, step);
    }

    /// Returns the next result. Splits a unit of many days only when it is returned, so that the units of a page of
    /// regions are not in memory together.
    fn pop_ready(&mut self) -> Option<DiscoveryItem> {
        match self.ready.pop_front()? {
            DiscoveryItem::Unit(unit) if unit.layout == Layout::Days && self.request.coverage == Coverage::Days => {
                let (day_range, later) = unit.day_range.split_first(DAYS_PER_UNIT);
                if let Some(later) = later {
                    self.ready.push_front(DiscoveryItem::Unit(Unit { day_range: later, ..unit.clone() }));
                }
                Some(DiscoveryItem::Unit(Unit { day_range, ..unit }))
            }
            item => Some(item),
        }
    }

    fn process_page(&mut self, step: FolderPage, mut page: ListPage) {
        let Some(step) = self.process_unlisted(step, &mut page) else { return };
        match step.role {
            FolderRole::Layout => self.process_layout(step.folder, page),
            FolderRole::Searched => self.process_searched(step.folder, page),
            FolderRole::Candidate { above, page: above_page } => {
                self.process_candidate(step.folder, page, above, above_page);
            }
            FolderRole::AboveLayout => self.process_above_layout(step.folder, page),
            FolderRole::Objects => {
                self.push_next_page(&step.folder, page.next, FolderRole::Objects);
                self.push_objects(step.folder, page.objects);
            }
            FolderRole::Loose { region } => self.process_loose(step.folder, page, region),
        }
    }

    fn process_layout(&mut self, folder: String, page: ListPage) {
        self.push_next_page(&folder, page.next, FolderRole::Layout);
        let may_contain_others = FolderLevel::of(&folder) == Some(FolderLevel::Logs);
        for subfolder in page.prefixes {
            match FolderLevel::of(&subfolder) {
                Some(level) => self.enter_folder(subfolder, level),
                // Folders inside an account's folder belong to other services and contain no trail.
                None if may_contain_others => self.search_or_skip(subfolder),
                None => self.skip_folder(subfolder),
            }
        }
        self.push_objects(folder, page.objects);
    }

    fn push_next_page(&mut self, folder: &str, token: Option<String>, role: FolderRole) {
        if token.is_some() {
            self.folders.push(FolderPage { folder: folder.to_owned(), token, role });
        }
    }

    /// Descends into a folder of the layout, or creates the units of a region.
    fn enter_folder(&mut self, folder: String, level: FolderLevel) {
        if !self.is_selected(&folder) {
            self.progress.excluded += 1;
            return;
        }
        match level {
            FolderLevel::Account => self.progress.accounts += 1,
            FolderLevel::Region => self.progress.regions += 1,
            FolderLevel::Logs | FolderLevel::Kind => {}
        }
        if level != FolderLevel::Region {
            self.folders.push(FolderPage::first(folder, FolderRole::Layout));
            return;
        }
        match self.request.coverage {
            Coverage::Everything => self.push_unit(folder, Layout::Flat),
            Coverage::Regions | Coverage::Days => {
                if self.request.coverage == Coverage::Regions && self.request.includes_loose_logs {
                    let role = FolderRole::Loose { region: folder.clone() };
                    self.folders.push(FolderPage::first(folder.clone(), role));
                }
                self.push_unit(folder, Layout::Days);
            }
        }
    }

    /// Handles a page of a region, year or month folder: returns the objects directly in it that the unit of the region
    /// does not list.
    fn process_loose(&mut self, folder: String, page: ListPage, region: String) {
        let (first, end) = self.request.day_range.key_range(&region);
        // A folder that contains no end of the range is listed completely by the unit, or has other days.
        let is_cut = |subfolder: &str| {
            first.starts_with(subfolder) || end.as_ref().is_some_and(|end| end.starts_with(subfolder))
        };
        for subfolder in page.prefixes {
            if is_cut(&subfolder) {
                self.folders.push(FolderPage::first(subfolder, FolderRole::Loose { region: region.clone() }));
            }
        }
        let is_in_unit = |key: &str| key > first.as_str() && end.as_ref().is_none_or(|end| key < end.as_str());
        let loose: Vec<_> = page.objects.into_iter().filter(|object| !is_in_unit(&object.key)).collect();
        if !loose.is_empty() {
            let unit = self.unit(folder.clone(), Layout::Flat);
            self.ready.push_back(DiscoveryItem::Objects(unit, loose));
        }
        self.push_next_page(&folder, page.next, FolderRole::Loose { region });
    }

    fn is_selected(&self, folder: &str) -> bool {
        self.request.coverage == Coverage::Everything || self.request.filters.admit_folder(folder)
    }

    fn push_unit(&mut self, folder: String, layout: Layout) {
        self.ready.push_back(DiscoveryItem::Unit(self.unit(folder, layout)));
    }

    /// Handles objects that are directly in a walked folder: returns them, or reports the folder as unvisited if the
    /// selection contains one of them.
    fn push_objects(&mut self, folder: String, objects: Vec<ObjectRef>) {
        if self.request.coverage == Coverage::Everything {
            if !objects.is_empty() {
                let unit = self.unit(folder, Layout::Flat);
                self.ready.push_back(DiscoveryItem::Objects(unit, objects));
            }
            return;
        }
        let class = |object: &ObjectRef| classify(&object.key, &self.request.filters);
        let is_selected = |object: &ObjectRef| match class(object) {
            KeyClass::Selected(day) => day.is_none_or(|day| self.request.day_range.contains(day)),
            KeyClass::Excluded | KeyClass::NotALog => false,
        };
        if self.request.coverage == Coverage::Regions {
            // A single process names the objects that are not logs. A backfill does not enqueue them.
            let not_logs: Vec<_> =
                objects.iter().filter(|object| class(object) == KeyClass::NotALog).cloned().collect();
            if !not_logs.is_empty() {
                let unit = self.unit(folder.clone(), Layout::Flat);
                self.ready.push_back(DiscoveryItem::Objects(unit, not_logs));
            }
        }
        if objects.iter().any(is_selected) && self.with_direct_logs.insert(folder.clone()) {
            self.skip_folder(folder);
        }
    }

    /// Handles a folder outside CloudTrail's layout: creates a flat unit, or records it as unvisited.
    fn skip_folder(&mut self, folder: String) {
        if self.request.coverage == Coverage::Everything {
            return self.push_unit(folder, Layout::Flat);
        }
        self.progress.unvisited_count += 1;
        if self.progress.unvisited.len() < MAX_UNVISITED_NAMES {
            self.progress.unvisited.push(folder);
        }
    }

    fn unit(&self, prefix: String, layout: Layout) -> Unit {
        Unit {
            bucket: self.request.bucket.clone(),
            prefix,
            layout,
            day_range: self.request.day_range,
            filters: match layout {
                Layout::Days => Filters::default(),
                Layout::Flat => self.request.filters.clone(),
            },
            states: self.request.states,
            mode: self.request.mode,
            after: None,
        }
    }
}

async fn list(source: &dyn Source, bucket: &str, folder: &str, token: Option<&str>) -> Result<ListPage, SourceError> {
    source.list(&Listing { bucket, prefix: folder, delimiter: Some('/'), token, start_after: None }).await
}

impl std::fmt::Debug for Discovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Discovery")
            .field("request", &self.request)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}
