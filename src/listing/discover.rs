//! Discover: which units a bucket holds. Folders are asked for, days are not: see [`Span::key_range`].
//!
//! From the prefix the walk goes through `AWSLogs/`, an organisation where there is one, accounts, kinds and regions.
//! What a folder is, its name says ([`FolderLevel::of`]), so both layouts, several organisations and a prefix that
//! itself contains `AWSLogs` need no case of their own. A prefix may also name a folder further down: an organisation,
//! an account, a region.
//!
//! Where there is no `AWSLogs/` under the prefix, it is looked for a few folders deeper (`search`); where there is none
//! either, the prefix becomes one flat unit.
//!
//! A scheduled backfill wants CloudTrail's own folders and nothing else; a single process that is told to deliver a
//! bucket wants every key in it, each once. How much is walked is the asker's to say ([`Coverage`]).

mod search;

use super::folder_level::{Filters, FolderLevel};
use super::span::Span;
use super::unit::{Act, Layout, Pick, Unit};
use crate::object::ObjectRef;
use crate::source::{ListPage, Listing, Source, SourceError};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

/// The longest span of one unit: a year is worked on by twelve workers at once, and costs twelve requests more.
pub const DAYS_PER_UNIT: u32 = 31;

/// How much of what lies under the prefix is walked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Coverage {
    /// The days asked for of CloudTrail's folders, in units of at most [`DAYS_PER_UNIT`] days: for several workers.
    #[default]
    Days,
    /// The same days, each region in one unit: for a single process, which one listing costs less than many.
    Regions,
    /// Every key, each once: regions whole, digests, and what is none of CloudTrail's. Folders are not left out; what
    /// is asked for is asked of each key.
    Everything,
}

/// What to look for.
#[derive(Debug, Clone)]
pub struct DiscoveryRequest {
    /// Bucket name, or `file://` and the absolute path of a folder.
    pub bucket: String,
    /// What precedes `AWSLogs/`, with or without its last slash; or any folder below.
    pub prefix: String,
    /// The days.
    pub span: Span,
    /// Accounts, kinds and regions.
    pub filters: Filters,
    /// Which objects are handed in.
    pub pick: Pick,
    /// What is done with them.
    pub act: Act,
    /// Listings under way at once.
    pub concurrency: usize,
    /// How much is walked.
    pub coverage: Coverage,
}

impl DiscoveryRequest {
    /// One unit with everything that is selected, for objects that are known without discovery.
    pub fn flat_unit(&self) -> Unit {
        Unit {
            bucket: self.bucket.clone(),
            prefix: String::new(),
            layout: Layout::Flat,
            span: self.span,
            filters: self.filters.clone(),
            pick: self.pick,
            act: self.act,
            after: None,
        }
    }

    /// Everything under a prefix, in these days.
    pub fn new(bucket: impl Into<String>, prefix: impl Into<String>, span: Span) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: prefix.into(),
            span,
            filters: Filters::default(),
            pick: Pick::default(),
            act: Act::default(),
            concurrency: 16,
            coverage: Coverage::default(),
        }
    }
}

/// How far discovery is, and what it found beside the units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiscoveryProgress {
    /// List requests made.
    pub requests: u64,
    /// Folders known and not yet listed.
    pub waiting: usize,
    /// Accounts found, each counted once a layout.
    pub accounts: u64,
    /// Regions found: one for each account and kind.
    pub regions: u64,
    /// Folders that the filters left out.
    pub not_asked: u64,
    /// Folders that are none of CloudTrail's, by name, up to a few; a source of its own can be made of each.
    pub unvisited: Vec<String>,
    /// How many there were.
    pub unvisited_count: u64,
    /// What the bucket turned out to be.
    pub shape: Shape,
}

/// What lies under a prefix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Not yet known.
    #[default]
    Unknown,
    /// CloudTrail's layout.
    CloudTrail,
    /// No layout that is known: listed key by key.
    Flat,
    /// Nothing at all. Of an old source, this is worth an alarm: the prefix may be misspelled.
    Empty,
}

/// Names of folders passed over that are kept.
const MAX_UNVISITED_NAMES: usize = 20;

/// Told of every step, for a progress bar.
pub type ProgressCallback = Arc<dyn Fn(&DiscoveryProgress) + Send + Sync>;

/// A walk under way. Units are asked for one at a time, so that nothing is listed faster than it is used, and the units
/// of ten thousand accounts are never held together.
pub struct Discovery {
    source: Arc<dyn Source>,
    ask: DiscoveryRequest,
    watch: Option<ProgressCallback>,
    progress: DiscoveryProgress,
    /// To be listed.
    folders: Vec<FolderPage>,
    in_flight: FuturesUnordered<BoxFuture<'static, Listed>>,
    ready: VecDeque<DiscoveryItem>,
    started: bool,
}

/// What a walk finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiscoveryItem {
    /// A unit, to be listed.
    Unit(Unit),
    /// Objects that lie beside the folders of the walk, listed already, with the flat unit they are judged by. Only
    /// where [`Coverage::Everything`] is asked for.
    Objects(Unit, Vec<ObjectRef>),
}

/// One page of one folder.
struct FolderPage {
    folder: String,
    token: Option<String>,
    role: FolderRole,
}

/// What a page is looked at for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FolderRole {
    /// A folder of the layout: what lies in it is told by its name.
    Layout,
    /// A folder above `AWSLogs/`: its other folders are none of CloudTrail's.
    AboveLayout,
    /// Objects only: the folders in it are walked already.
    Objects,
}

type Listed = (FolderPage, Result<ListPage, SourceError>);

impl Discovery {
    /// A walk over `source`.
    pub fn new(source: Arc<dyn Source>, ask: DiscoveryRequest) -> Self {
        Self {
            source,
            ask,
            watch: None,
            progress: DiscoveryProgress::default(),
            folders: Vec::new(),
            in_flight: FuturesUnordered::new(),
            ready: VecDeque::new(),
            started: false,
        }
    }

    /// The same walk, telling `watch` of every step.
    pub fn with_progress_callback(self, watch: ProgressCallback) -> Self {
        Self { watch: Some(watch), ..self }
    }

    /// How far it is.
    pub fn progress(&self) -> &DiscoveryProgress {
        &self.progress
    }

    /// The next unit; none at the end. For [`Coverage::Everything`] ask [`Discovery::next_item`].
    ///
    /// # Errors
    /// As [`Discovery::next_item`].
    pub async fn next(&mut self) -> Result<Option<Unit>, SourceError> {
        loop {
            match self.next_item().await? {
                Some(DiscoveryItem::Unit(unit)) => return Ok(Some(unit)),
                Some(DiscoveryItem::Objects(..)) => {}
                None => return Ok(None),
            }
        }
    }

    /// The next unit, or objects that belong to none; nothing at the end.
    ///
    /// # Errors
    /// A folder could not be listed. The units already given stand; the walk cannot go on, for the rest of that folder
    /// would be missing in silence.
    pub async fn next_item(&mut self) -> Result<Option<DiscoveryItem>, SourceError> {
        if !self.started {
            self.locate_layout().await?;
            self.started = true;
        }
        loop {
            if let Some(found) = self.ready.pop_front() {
                return Ok(Some(found));
            }
            while self.in_flight.len() < self.ask.concurrency.max(1)
                && let Some(step) = self.folders.pop()
            {
                self.in_flight.push(Box::pin(list(Arc::clone(&self.source), self.ask.bucket.clone(), step)));
            }
            let Some((step, page)) = self.in_flight.next().await else { return Ok(None) };
            self.progress.requests += 1;
            self.process_page(&step, page?);
            self.progress.waiting = self.folders.len() + self.in_flight.len();
            if let Some(watch) = &self.watch {
                watch(&self.progress);
            }
        }
    }

    fn process_page(&mut self, step: &FolderPage, page: ListPage) {
        if let Some(token) = page.next {
            self.folders.push(FolderPage { folder: step.folder.clone(), token: Some(token), role: step.role });
        }
        self.push_objects(&step.folder, page.objects);
        for folder in page.prefixes {
            match step.role {
                FolderRole::Objects => {}
                FolderRole::AboveLayout if folder.strip_prefix(&step.folder) == Some("AWSLogs/") => {}
                FolderRole::AboveLayout => self.skip_folder(folder),
                FolderRole::Layout => match FolderLevel::of(&folder) {
                    None => self.skip_folder(folder),
                    Some(place) => self.enter_folder(folder, place),
                },
            }
        }
    }

    /// A folder of the layout.
    fn enter_folder(&mut self, folder: String, place: FolderLevel) {
        if !self.is_selected(&folder) {
            self.progress.not_asked += 1;
            return;
        }
        match place {
            FolderLevel::Account => self.progress.accounts += 1,
            FolderLevel::Region => self.progress.regions += 1,
            FolderLevel::Logs | FolderLevel::Kind => {}
        }
        if place != FolderLevel::Region {
            self.folders.push(FolderPage { folder, token: None, role: FolderRole::Layout });
            return;
        }
        match self.ask.coverage {
            Coverage::Everything => self.push_unit(folder, Layout::Flat),
            Coverage::Regions => self.push_unit(folder, Layout::Days),
            Coverage::Days => {
                let whole = self.unit(folder, Layout::Days);
                let split = whole.span.split(DAYS_PER_UNIT);
                self.ready.extend(split.map(|span| DiscoveryItem::Unit(Unit { span, ..whole.clone() })));
            }
        }
    }

    fn is_selected(&self, folder: &str) -> bool {
        self.ask.coverage == Coverage::Everything || self.ask.filters.admit_folder(folder)
    }

    fn push_unit(&mut self, folder: String, layout: Layout) {
        self.ready.push_back(DiscoveryItem::Unit(self.unit(folder, layout)));
    }

    /// Objects beside the folders of the walk.
    fn push_objects(&mut self, folder: &str, objects: Vec<ObjectRef>) {
        if self.ask.coverage == Coverage::Everything && !objects.is_empty() {
            let unit = self.unit(folder.to_owned(), Layout::Flat);
            self.ready.push_back(DiscoveryItem::Objects(unit, objects));
        }
    }

    /// A folder that is none of CloudTrail's.
    fn skip_folder(&mut self, folder: String) {
        if self.ask.coverage == Coverage::Everything {
            return self.push_unit(folder, Layout::Flat);
        }
        self.progress.unvisited_count += 1;
        if self.progress.unvisited.len() < MAX_UNVISITED_NAMES {
            self.progress.unvisited.push(folder);
        }
    }

    fn unit(&self, prefix: String, layout: Layout) -> Unit {
        Unit {
            bucket: self.ask.bucket.clone(),
            prefix,
            layout,
            span: self.ask.span,
            filters: match layout {
                Layout::Days => Filters::default(),
                Layout::Flat => self.ask.filters.clone(),
            },
            pick: self.ask.pick,
            act: self.ask.act,
            after: None,
        }
    }
}

async fn list(source: Arc<dyn Source>, bucket: String, step: FolderPage) -> Listed {
    let token = step.token.as_deref();
    let ask = Listing { bucket: &bucket, prefix: &step.folder, delimiter: Some('/'), token, start_after: None };
    let page = source.list(&ask).await;
    (step, page)
}

impl std::fmt::Debug for Discovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Discovery").field("ask", &self.ask).field("progress", &self.progress).finish_non_exhaustive()
    }
}
