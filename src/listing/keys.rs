//! Keys: lists the keys of a unit, one page at a time.
//!
//! # Guarantees when the bucket changes during the listing
//!
//! S3 lists in the byte order of the keys, and a page's token denotes a *key*, not a number of entries. An object that
//! exists during the whole listing is therefore listed exactly once, regardless of writes and deletions around it. An
//! object that is added during the listing is listed if its key is after the current position. Otherwise the next run
//! finds it, because each run starts at the first of its days and not where the previous run ended. Resuming from a
//! cursor has the same property: it lists the keys after the last one that is *completely processed*.
//!
//! All of this depends on the order, so the order is checked. A source that lists in another order (S3's directory
//! buckets) is rejected instead of being read incompletely.

use super::ListingError;
use super::unit::Unit;
use crate::object::ObjectRef;
use crate::source::{ListPage, Listing, Pages, Source, SourceError, UnlistedEntry};
use async_trait::async_trait;
use std::collections::BTreeSet;

/// A source of a unit's objects, one page at a time.
#[async_trait]
pub(crate) trait ObjectPages: Send {
    /// Returns the next page, or `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<ObjectRef>>, ListingError>;
}

/// Pages of objects that are known without listing, in any order.
#[async_trait]
impl ObjectPages for Pages {
    async fn next(&mut self) -> Result<Option<Vec<ObjectRef>>, ListingError> {
        Ok(self.recv().await.transpose()?)
    }
}

/// A listing of a unit's keys.
#[derive(Debug)]
pub(crate) struct KeyListing<'s> {
    source: &'s dyn Source,
    bucket: String,
    prefix: String,
    /// Only keys after this one are returned: the unit's start.
    after: Option<String>,
    /// The last key listed.
    last: Option<String>,
    /// Only keys before this one are listed.
    end: Option<String>,
    token: Option<String>,
    finished: bool,
    /// List requests made.
    pub(crate) requests: u64,
    /// The prefix without which nothing can be listed, if entries that cannot be listed do not end the listing.
    required: Option<String>,
    unlisted: BTreeSet<UnlistedEntry>,
}

impl<'s> KeyListing<'s> {
    pub(crate) fn new(source: &'s dyn Source, unit: &Unit) -> Self {
        let (after, end) = unit.key_range();
        let (bucket, prefix) = (unit.bucket.clone(), unit.prefix.clone());
        Self {
            source,
            bucket,
            prefix,
            after,
            last: None,
            end,
            token: None,
            finished: false,
            requests: 0,
            required: None,
            unlisted: BTreeSet::new(),
        }
    }

    /// Collects the entries that cannot be listed, instead of ending with the first of them. If the whole prefix `required`
    /// cannot be listed, the listing fails.
    pub(crate) fn collecting_unlisted(self, required: &str) -> Self {
        Self { required: Some(required.trim_end_matches('/').to_owned()), ..self }
    }

    /// Returns the entries that could not be listed so far, each once, although several pages of a folder name them.
    pub(crate) fn unlisted(&self) -> impl Iterator<Item = &UnlistedEntry> {
        self.unlisted.iter()
    }

    fn complete(&mut self, page: Result<ListPage, SourceError>) -> Result<ListPage, SourceError> {
        let Some(required) = &self.required else { return page?.complete() };
        match page {
            Ok(mut page) => {
                self.unlisted.extend(page.unlisted.drain(..));
                Ok(page)
            }
            Err(SourceError::Denied(reason)) if self.prefix.trim_end_matches('/') != required => {
                self.unlisted.insert(UnlistedEntry { key: self.prefix.clone(), reason, is_folder: true });
                Ok(ListPage::default())
            }
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl ObjectPages for KeyListing<'_> {
    async fn next(&mut self) -> Result<Option<Vec<ObjectRef>>, ListingError> {
        while !self.finished {
            let request = Listing {
                bucket: &self.bucket,
                prefix: &self.prefix,
                delimiter: None,
                token: self.token.as_deref(),
                // Redundant for S3 when a token is given, but needed by sources whose tokens are less precise.
                start_after: self.last.as_deref().max(self.after.as_deref()),
            };
            self.requests += 1;
            let page = self.source.list(&request).await;
            let page = self.complete(page)?;
            let mut objects = page.objects;
            for object in &objects {
                if self.last.as_ref().is_some_and(|last| object.key <= *last) {
                    return Err(ListingError::Order {
                        bucket: self.bucket.clone(),
                        found: object.key.clone(),
                        after: self.last.take().unwrap_or_default(),
                    });
                }
                self.last = Some(object.key.clone());
            }
            // Some services that are compatible with S3 ignore the start and list the whole prefix.
            objects.retain(|object| self.after.as_ref().is_none_or(|after| object.key > *after));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::DayRange;
    use crate::listing::discover::DiscoveryRequest;
    use crate::object::Object;
    use crate::source::{ListPage, SourceError};

    /// A source that lists these keys and ignores the start of the listing.
    #[derive(Debug)]
    struct FixedKeys(&'static [&'static str]);

    #[async_trait]
    impl Source for FixedKeys {
        async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
            Err(SourceError::Missing(at.to_string()))
        }

        async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
            Err(SourceError::Missing(object.to_string()))
        }

        async fn list(&self, request: &Listing<'_>) -> Result<ListPage, SourceError> {
            let objects = self.0.iter().map(|key| ObjectRef::new(request.bucket, *key)).collect();
            Ok(ListPage { objects, ..ListPage::default() })
        }
    }

    fn unit() -> Unit {
        let range = DayRange::parse("2026-11-01", "2026-11-20").unwrap();
        DiscoveryRequest::new("b", "", range).flat_unit()
    }

    #[tokio::test]
    async fn key_that_is_listed_twice_is_an_error() {
        let listed = KeyListing::new(&FixedKeys(&["a", "a"]), &unit()).next().await;
        assert!(matches!(listed, Err(ListingError::Order { .. })), "{listed:?}");
    }

    /// Otherwise, a unit that continues after each invocation would process the first keys of its folder every time.
    #[tokio::test]
    async fn keys_before_the_start_are_ignored() {
        let unit = Unit { after: Some("b".to_owned()), ..unit() };
        let listed = KeyListing::new(&FixedKeys(&["a", "b", "c"]), &unit).next().await.unwrap().unwrap();
        assert_eq!(listed, [ObjectRef::new("b", "c")]);
    }
}
