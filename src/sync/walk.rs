//! The walk: discovery, listing and reconciliation, which advance only as fast as ingestion consumes their results.
//!
//! A walk uses the same folders, units and ledger requests as a backfill on AWS. Missing objects go to the workers of
//! this process instead of a queue.

use super::selection::ObjectSelection;
use crate::backoff::{Backoff, Pace};
use crate::ledger::Ledger;
use crate::ledger::store::StoreError;
use crate::listing::discover::{Discovery, DiscoveryItem, DiscoveryProgress};
use crate::listing::keys::{KeyListing, ObjectPages};
use crate::listing::reconcile::{ListedKey, reconcile};
use crate::listing::reopen::{KeyProbes, reopen};
use crate::listing::{ListingError, Unit};
use crate::object::{Object, ObjectRef};
use crate::source::{ByteRange, ListPage, Listing, Pages, Source, SourceError, UnlistedEntry};
use async_trait::async_trait;
use futures_util::future::join;
use futures_util::{TryStreamExt, stream};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::Sender;

/// The maximum number of attempts at one page or one ledger request. The walk ends after the last failure, because
/// continuing would skip objects.
const ATTEMPTS: u32 = 5;

/// A walk over a source.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) source: Arc<dyn Source>,
    pub(super) ledger: Ledger,
    pub(super) bucket: String,
    pub(super) prefix: String,
    /// The pages of objects if they are known in advance. They replace discovery and listings.
    pub(super) pages: Option<Pages>,
    pub(super) selection: ObjectSelection,
    /// The maximum number of concurrent listings.
    pub(super) listings: usize,
    /// The delays between attempts.
    pub(super) pace: Pace,
    /// What this walk found out about KMS keys.
    pub(super) probes: KeyProbes,
}

/// A message of a walk to its receiver.
#[derive(Debug)]
pub(super) enum WalkStep {
    /// Keys, each with its state in the ledger.
    Page(Vec<ListedKey>),
    /// Every folder was walked, except the unlisted entries. Contains the progress of discovery.
    End(DiscoveryProgress, Vec<UnlistedEntry>),
}

/// The progress of discovery, and what could not be listed.
type Walked = (DiscoveryProgress, Vec<UnlistedEntry>);

/// Why a walk ended before the end of the listing.
#[derive(Debug)]
pub(super) struct WalkFailure {
    pub(super) reason: String,
    /// Whether the ledger failed, and not the listing.
    pub(super) concerns_ledger: bool,
}

/// Reasons for stopping a walk early.
enum WalkAbort {
    Listing(ListingError),
    Ledger(StoreError),
    /// The receiver was dropped.
    Dropped,
}

impl From<ListingError> for WalkAbort {
    fn from(error: ListingError) -> Self {
        Self::Listing(error)
    }
}

impl From<SourceError> for WalkAbort {
    fn from(error: SourceError) -> Self {
        Self::Listing(error.into())
    }
}

impl From<StoreError> for WalkAbort {
    fn from(error: StoreError) -> Self {
        Self::Ledger(error)
    }
}

impl Walk {
    /// Sends all pages, and then either the end or the error that stopped the walk.
    pub(super) async fn run(mut self, steps: Sender<Result<WalkStep, WalkFailure>>) {
        let pages = self.pages.take();
        let result = match pages {
            Some(mut pages) => self.walk_known(&mut pages, &steps).await,
            None => self.walk(&steps).await,
        };
        let last = match result {
            Ok((progress, unlisted)) => Ok(WalkStep::End(progress, unlisted)),
            Err(WalkAbort::Dropped) => return,
            Err(WalkAbort::Listing(error)) => {
                Err(WalkFailure { reason: format!("listing failed: {error}"), concerns_ledger: false })
            }
            Err(WalkAbort::Ledger(error)) => {
                Err(WalkFailure { reason: format!("ledger: {error}"), concerns_ledger: true })
            }
        };
        // Sending fails only if the receiver was dropped, and then the result is not needed.
        let _ = steps.send(last).await;
    }

    async fn walk(&self, steps: &Sender<Result<WalkStep, WalkFailure>>) -> Result<Walked, WalkAbort> {
        let request = self.selection.discovery_request(&self.bucket, &self.prefix, self.listings);
        let request = request.map_err(|error| SourceError::Unavailable(error.to_string()))?;
        let tolerant = Arc::new(TolerantSource {
            inner: Arc::clone(&self.source),
            pace: self.pace,
            root: self.prefix.trim_end_matches('/').to_owned(),
            unlisted: Mutex::default(),
        });
        let source: Arc<dyn Source> = tolerant.clone();
        let mut discovery = Discovery::new(Arc::clone(&source), request);
        stream::try_unfold(&mut discovery, async |discovery| {
            let item = discovery.next_item().await.map_err(WalkAbort::from)?;
            Ok::<_, WalkAbort>(item.map(|item| (item, discovery)))
        })
        .try_for_each_concurrent(self.listings, |item| self.walk_item(&*source, item, steps))
        .await?;
        let mut unlisted = std::mem::take(&mut *tolerant.unlisted());
        unlisted.extend(discovery.progress().denied.iter().cloned());
        let unlisted = unlisted.into_iter().filter(|entry| !self.selection.is_excluded(&entry.key)).collect();
        Ok((discovery.progress().clone(), unlisted))
    }

    async fn walk_item(
        &self,
        source: &dyn Source,
        item: DiscoveryItem,
        steps: &Sender<Result<WalkStep, WalkFailure>>,
    ) -> Result<(), WalkAbort> {
        let unit = match item {
            DiscoveryItem::Objects(unit, objects) => return self.reconcile_page(&unit, objects, steps).await,
            DiscoveryItem::Unit(unit) => unit,
        };
        self.walk_unit(&unit, &mut KeyListing::new(source, &unit), steps).await
    }

    /// Walks pages that are known without listing as one unit.
    async fn walk_known(
        &self,
        pages: &mut Pages,
        steps: &Sender<Result<WalkStep, WalkFailure>>,
    ) -> Result<Walked, WalkAbort> {
        let request = self.selection.discovery_request(&self.bucket, &self.prefix, 1);
        let request = request.map_err(|error| SourceError::Unavailable(error.to_string()))?;
        self.walk_unit(&request.flat_unit(), pages, steps).await?;
        Ok((DiscoveryProgress::default(), Vec::new()))
    }

    async fn walk_unit(
        &self,
        unit: &Unit,
        pages: &mut dyn ObjectPages,
        steps: &Sender<Result<WalkStep, WalkFailure>>,
    ) -> Result<(), WalkAbort> {
        let mut page = pages.next().await?;
        while let Some(listed) = page {
            // The next page is fetched while this page is reconciled and sent.
            let (sent, next) = join(self.reconcile_page(unit, listed, steps), pages.next()).await;
            sent?;
            page = next?;
        }
        Ok(())
    }

    async fn reconcile_page(
        &self,
        unit: &Unit,
        mut listed: Vec<ObjectRef>,
        steps: &Sender<Result<WalkStep, WalkFailure>>,
    ) -> Result<(), WalkAbort> {
        listed.retain(|at| !self.selection.is_excluded(&at.key));
        let mut backoff = Backoff::new(self.pace, fastrand::f64);
        let mut attempt = 1;
        let reconciled = loop {
            match self.reconcile(unit, listed.clone()).await {
                Err(StoreError::Unknown(error)) if attempt < ATTEMPTS => {
                    tracing::debug!(%unit, ?error, attempt, "the ledger request failed and is retried");
                    tokio::time::sleep(backoff.wait()).await;
                    attempt += 1;
                }
                result => break result?,
            }
        };
        steps.send(Ok(WalkStep::Page(reconciled))).await.map_err(|_| WalkAbort::Dropped)
    }
}

impl Walk {
    /// Looks up a page in the ledger, and reopens the quarantined objects whose cause is gone.
    async fn reconcile(&self, unit: &Unit, listed: Vec<ObjectRef>) -> Result<Vec<ListedKey>, StoreError> {
        let mut page = reconcile(&self.ledger, unit, listed).await?;
        reopen(&*self.source, &self.ledger, &self.probes, &mut page, false).await?;
        Ok(page)
    }
}

/// A source that retries listings after transient failures. If a unit contains a denied folder, the folder is recorded, and
/// the rest of the unit is listed. Discovery records the folders that it must not list itself.
#[derive(Debug)]
struct TolerantSource {
    inner: Arc<dyn Source>,
    pace: Pace,
    /// The prefix of the walk, without its final slash. If it is denied, nothing can be listed.
    root: String,
    /// What units could not be listed. A set, because pages of one folder name the same entries.
    unlisted: Mutex<BTreeSet<UnlistedEntry>>,
}

impl TolerantSource {
    fn unlisted(&self) -> MutexGuard<'_, BTreeSet<UnlistedEntry>> {
        self.unlisted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Source for TolerantSource {
    async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
        self.inner.stat(at).await
    }

    async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
        self.inner.fetch(object).await
    }

    async fn fetch_start(&self, object: &Object, max_bytes: usize) -> Result<ByteRange, SourceError> {
        self.inner.fetch_start(object, max_bytes).await
    }

    async fn fetch_range(&self, object: &Object, from: u64, max_bytes: usize) -> Result<ByteRange, SourceError> {
        self.inner.fetch_range(object, from, max_bytes).await
    }

    async fn list(&self, ask: &Listing<'_>) -> Result<ListPage, SourceError> {
        let mut backoff = Backoff::new(self.pace, fastrand::f64);
        let mut attempt = 1;
        let is_unit = ask.delimiter.is_none();
        loop {
            match self.inner.list(ask).await {
                Err(SourceError::Unavailable(error) | SourceError::Unreachable(error)) if attempt < ATTEMPTS => {
                    tracing::debug!(
                        bucket = ask.bucket,
                        prefix = ask.prefix,
                        error,
                        attempt,
                        "listing failed and is retried"
                    );
                    tokio::time::sleep(backoff.wait()).await;
                    attempt += 1;
                }
                Err(SourceError::Denied(reason)) if is_unit && ask.prefix.trim_end_matches('/') != self.root => {
                    let key = ask.prefix.to_owned();
                    self.unlisted().insert(UnlistedEntry { key, reason, is_folder: true });
                    return Ok(ListPage::default());
                }
                Ok(mut page) if is_unit => {
                    self.unlisted().extend(page.unlisted.drain(..));
                    return Ok(page);
                }
                result => return result,
            }
        }
    }
}
