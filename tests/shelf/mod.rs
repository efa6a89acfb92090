//! A bucket in memory that lists as S3 does: by key, in small pages, with tokens that stand for keys.

#![allow(dead_code)] // Each test file uses its part.

use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::Mutex;
use trailhose::object::{Object, ObjectRef};
use trailhose::source::{ListPage, Listing, Source, SourceError};

pub const BUCKET: &str = "logs";

/// What happens before a page is listed: given the number of the request, it may change the keys.
pub type Before = Box<dyn Fn(usize, &mut BTreeMap<String, String>) + Send + Sync>;

/// Keys with their ETags.
#[derive(Default)]
pub struct Shelf {
    pub keys: Mutex<BTreeMap<String, String>>,
    /// Entries a page.
    pub page: usize,
    /// What was listed: prefix and start.
    pub requests: Mutex<Vec<String>>,
    pub before: Option<Before>,
    /// The request that fails.
    pub failing: Option<usize>,
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shelf").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl Shelf {
    pub fn holding<S: Into<String>>(keys: impl IntoIterator<Item = S>) -> Self {
        let keys = keys.into_iter().map(|key| (key.into(), "e1".to_owned())).collect();
        Self { keys: Mutex::new(keys), page: 1000, ..Self::default() }
    }

    pub fn put(&self, key: &str, etag: &str) {
        self.keys.lock().unwrap().insert(key.to_owned(), etag.to_owned());
    }

    pub fn requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

#[async_trait]
impl Source for Shelf {
    async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
        Err(SourceError::Missing(at.to_string()))
    }

    async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
        Err(SourceError::Missing(object.to_string()))
    }

    async fn list(&self, ask: &Listing<'_>) -> Result<ListPage, SourceError> {
        // Give other requests of the same walk their turn, as a network does.
        tokio::task::yield_now().await;
        let number = {
            let mut requests = self.requests.lock().unwrap();
            requests.push(ask.prefix.to_owned());
            requests.len() - 1
        };
        if self.failing == Some(number) {
            return Err(SourceError::Unavailable("SlowDown".to_owned()));
        }
        let mut keys = self.keys.lock().unwrap();
        if let Some(before) = &self.before {
            before(number, &mut keys);
        }
        // As S3 does, the token counts and the start does not, once there is one.
        let after = ask.token.or(ask.start_after).unwrap_or("").to_owned();
        let mut page = ListPage::default();
        let mut last = None;
        for (key, etag) in keys.iter().filter(|(key, _)| key.starts_with(ask.prefix) && key.as_str() > after.as_str()) {
            let rest = &key[ask.prefix.len()..];
            let folder =
                ask.delimiter.and_then(|delimiter| rest.find(delimiter)).map(|at| &key[..=ask.prefix.len() + at]);
            // What was rolled up on the page before is not named again.
            if folder.is_some_and(|folder| {
                after.starts_with(folder) || page.prefixes.last().is_some_and(|last| last == folder)
            }) {
                last = Some(key.clone());
                continue;
            }
            if page.objects.len() + page.prefixes.len() == self.page {
                page.next = last;
                return Ok(page);
            }
            match folder {
                Some(folder) => page.prefixes.push(folder.to_owned()),
                None => page.objects.push(ObjectRef::new(ask.bucket, key).with_version(etag, 100)),
            }
            last = Some(key.clone());
        }
        Ok(page)
    }
}

/// A log's key.
pub fn log(above: &str, account: &str, kind: &str, region: &str, date: &str, name: &str) -> String {
    let (day, stamp) = (date.replace('-', "/"), date.replace('-', ""));
    format!(
        "{above}AWSLogs/{account}/{kind}/{region}/{day}/{}_{kind}_{region}_{stamp}T0000Z_{name}.json.gz",
        &account[account.len() - 12..]
    )
}
