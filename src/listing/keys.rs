//! Keys: a unit's keys, a page at a time.
//!
//! # What a listing that changes promises
//!
//! S3 lists in the order of the keys' bytes, and the token of a page stands for a *key*, not for a number of entries.
//! An object that exists during the whole walk is therefore listed exactly once, whatever is written or deleted around
//! it: a key that vanishes shifts nothing. An object put during the walk is listed if its key lies ahead; behind, the
//! next run finds it, because it begins at the first day of its span again and never where the last one ended. Going on
//! from a cursor is the same: it asks for the keys after the last one that is *worked off*, and not for a page by its
//! number.
//!
//! All of this rests on the order, so the order is checked. A source that lists otherwise (S3's directory buckets do)
//! is refused rather than half read.

use super::ListingError;
use super::unit::Unit;
use crate::object::ObjectRef;
use crate::source::{Listing, Pages, Source};
use async_trait::async_trait;

/// Where a unit's objects come from, a page at a time.
#[async_trait]
pub(crate) trait Origin: Send {
    /// The next page; none at the end.
    async fn next(&mut self) -> Result<Option<Vec<ObjectRef>>, ListingError>;
}

/// Given by somebody who knows them, in any order.
#[async_trait]
impl Origin for Pages {
    async fn next(&mut self) -> Result<Option<Vec<ObjectRef>>, ListingError> {
        Ok(self.recv().await.transpose()?)
    }
}

/// A walk over a unit's keys.
#[derive(Debug)]
pub(crate) struct Keys<'s> {
    source: &'s dyn Source,
    bucket: String,
    prefix: String,
    /// Only keys after this one: where the unit begins, then the last key listed.
    after: Option<String>,
    /// Only keys before this.
    end: Option<String>,
    token: Option<String>,
    finished: bool,
    /// List requests made.
    pub(crate) requests: u64,
}

impl<'s> Keys<'s> {
    pub(crate) fn new(source: &'s dyn Source, unit: &Unit) -> Self {
        let (after, end) = unit.key_range();
        let (bucket, prefix) = (unit.bucket.clone(), unit.prefix.clone());
        Self { source, bucket, prefix, after, end, token: None, finished: false, requests: 0 }
    }
}

#[async_trait]
impl Origin for Keys<'_> {
    async fn next(&mut self) -> Result<Option<Vec<ObjectRef>>, ListingError> {
        while !self.finished {
            let ask = Listing {
                bucket: &self.bucket,
                prefix: &self.prefix,
                delimiter: None,
                token: self.token.as_deref(),
                // With a token it says nothing new to S3; to a source whose tokens are weaker it does.
                start_after: self.after.as_deref(),
            };
            self.requests += 1;
            let page = self.source.list(&ask).await?;
            let mut objects = page.objects;
            for object in &objects {
                if self.after.as_ref().is_some_and(|after| object.key <= *after) {
                    return Err(ListingError::Order {
                        bucket: self.bucket.clone(),
                        found: object.key.clone(),
                        after: self.after.take().unwrap_or_default(),
                    });
                }
                self.after = Some(object.key.clone());
            }
            if let Some(end) = &self.end {
                let listed = objects.len();
                objects.retain(|object| object.key < *end);
                self.finished = objects.len() < listed;
            }
            self.finished |= page.next.is_none();
            self.token = page.next;
            if !objects.is_empty() {
                return Ok(Some(objects));
            }
        }
        Ok(None)
    }
}
