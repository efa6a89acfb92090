//! Walk: discovery, listing and reconcile, no further ahead of ingestion than they are wanted.
//!
//! The same folders, units and questions to the ledger as in a backfill on AWS; what is missing goes to this process's
//! own workers instead of a queue.

use super::select::Select;
use crate::backoff::{Backoff, Pace};
use crate::ledger::Ledger;
use crate::ledger::store::StoreError;
use crate::listing::discover::{Discovery, DiscoveryItem, DiscoveryProgress};
use crate::listing::keys::{Keys, Origin};
use crate::listing::reconcile::{ListedKey, reconcile};
use crate::listing::{ListingError, Unit};
use crate::object::{Object, ObjectRef};
use crate::source::{ByteRange, ListPage, Listing, Pages, Source, SourceError};
use async_trait::async_trait;
use futures_util::future::join;
use futures_util::{TryStreamExt, stream};
use std::sync::Arc;
use tokio::sync::mpsc::Sender;

/// Attempts at one page, and at one question to the ledger. What stays away ends the walk: to go on behind it would
/// leave a hole.
const ATTEMPTS: u32 = 5;

/// A walk over a source.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) source: Arc<dyn Source>,
    pub(super) ledger: Ledger,
    pub(super) bucket: String,
    pub(super) prefix: String,
    /// Where they are known, what discovery and listings would give.
    pub(super) pages: Option<Pages>,
    pub(super) select: Select,
    /// Listings at once.
    pub(super) listings: usize,
    /// Waits between attempts.
    pub(super) pace: Pace,
}

/// What a walk sends.
#[derive(Debug)]
pub(super) enum WalkStep {
    /// Keys, each with what the ledger says of it.
    Page(Vec<ListedKey>),
    /// Every folder is walked; this was beside the way.
    End(DiscoveryProgress),
}

/// Why a walk stops before its end.
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
    /// Sends page after page, and last of all the end, or the trouble that came before it.
    pub(super) async fn run(mut self, steps: Sender<Result<WalkStep, String>>) {
        let pages = self.pages.take();
        let walked = match pages {
            Some(mut pages) => self.walk_known(&mut pages, &steps).await,
            None => self.walk(&steps).await,
        };
        let last = match walked {
            Ok(progress) => Ok(WalkStep::End(progress)),
            Err(WalkAbort::Dropped) => return,
            Err(WalkAbort::Listing(error)) => Err(format!("listing failed: {error}")),
            Err(WalkAbort::Ledger(error)) => Err(format!("ledger: {error}")),
        };
        // Sending fails only if the receiver was dropped; then the end is of no interest.
        let _ = steps.send(last).await;
    }

    async fn walk(&self, steps: &Sender<Result<WalkStep, String>>) -> Result<DiscoveryProgress, WalkAbort> {
        let ask = self.select.ask(&self.bucket, &self.prefix, self.listings);
        let ask = ask.map_err(|error| SourceError::Unavailable(error.to_string()))?;
        let source: Arc<dyn Source> = Arc::new(RetryingSource { inner: Arc::clone(&self.source), pace: self.pace });
        let mut discovery = Discovery::new(Arc::clone(&source), ask);
        stream::try_unfold(&mut discovery, async |discovery| {
            let found = discovery.next_item().await.map_err(WalkAbort::from)?;
            Ok::<_, WalkAbort>(found.map(|found| (found, discovery)))
        })
        .try_for_each_concurrent(self.listings, |found| self.work(&*source, found, steps))
        .await?;
        Ok(discovery.progress().clone())
    }

    async fn work(
        &self,
        source: &dyn Source,
        found: DiscoveryItem,
        steps: &Sender<Result<WalkStep, String>>,
    ) -> Result<(), WalkAbort> {
        let unit = match found {
            DiscoveryItem::Objects(unit, objects) => return self.reconcile_page(&unit, objects, steps).await,
            DiscoveryItem::Unit(unit) => unit,
        };
        self.walk_unit(&unit, &mut Keys::new(source, &unit), steps).await
    }

    /// The pages of somebody who knows the objects without listing, as one unit.
    async fn walk_known(
        &self,
        pages: &mut Pages,
        steps: &Sender<Result<WalkStep, String>>,
    ) -> Result<DiscoveryProgress, WalkAbort> {
        let ask = self.select.ask(&self.bucket, &self.prefix, 1);
        let ask = ask.map_err(|error| SourceError::Unavailable(error.to_string()))?;
        self.walk_unit(&ask.flat_unit(), pages, steps).await?;
        Ok(DiscoveryProgress::default())
    }

    async fn walk_unit(
        &self,
        unit: &Unit,
        origin: &mut dyn Origin,
        steps: &Sender<Result<WalkStep, String>>,
    ) -> Result<(), WalkAbort> {
        let mut page = origin.next().await?;
        while let Some(listed) = page {
            // The next page is on its way while this one is held against the ledger and waits for its turn.
            let (handed, next) = join(self.reconcile_page(unit, listed, steps), origin.next()).await;
            handed?;
            page = next?;
        }
        Ok(())
    }

    async fn reconcile_page(
        &self,
        unit: &Unit,
        mut listed: Vec<ObjectRef>,
        steps: &Sender<Result<WalkStep, String>>,
    ) -> Result<(), WalkAbort> {
        listed.retain(|at| !self.select.is_excluded(&at.key));
        let mut backoff = Backoff::new(self.pace, fastrand::f64);
        let mut attempt = 1;
        let seen = loop {
            match reconcile(&self.ledger, unit, listed.clone()).await {
                Err(StoreError::Unknown(error)) if attempt < ATTEMPTS => {
                    tracing::debug!(%unit, ?error, attempt, "asking the ledger again");
                    tokio::time::sleep(backoff.wait()).await;
                    attempt += 1;
                }
                seen => break seen?,
            }
        };
        steps.send(Ok(WalkStep::Page(seen))).await.map_err(|_| WalkAbort::Dropped)
    }
}

/// A source whose listings are asked for again when they fail for a passing reason.
#[derive(Debug)]
struct RetryingSource {
    inner: Arc<dyn Source>,
    pace: Pace,
}

#[async_trait]
impl Source for RetryingSource {
    async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
        self.inner.stat(at).await
    }

    async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
        self.inner.fetch(object).await
    }

    async fn fetch_range(&self, object: &Object, from: u64, max_bytes: usize) -> Result<ByteRange, SourceError> {
        self.inner.fetch_range(object, from, max_bytes).await
    }

    async fn list(&self, ask: &Listing<'_>) -> Result<ListPage, SourceError> {
        let mut backoff = Backoff::new(self.pace, fastrand::f64);
        let mut attempt = 1;
        loop {
            match self.inner.list(ask).await {
                Err(SourceError::Unavailable(error)) if attempt < ATTEMPTS => {
                    tracing::debug!(bucket = ask.bucket, prefix = ask.prefix, error, attempt, "listing again");
                    tokio::time::sleep(backoff.wait()).await;
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }
}
