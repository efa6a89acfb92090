//! A bucket in memory that lists like S3: in key order, in small pages, with continuation tokens.

#![allow(dead_code)] // Each test file uses its part.

use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::Mutex;
use trailhose::object::{ArchiveState, Object, ObjectRef};
use trailhose::source::{ListPage, Listing, Source, SourceError};

pub const BUCKET: &str = "logs";

/// Runs before a page is listed, with the number of the request; may change the keys.
pub type Before = Box<dyn Fn(usize, &mut BTreeMap<String, String>) + Send + Sync>;

/// Keys with their ETags, and the listings of them.
#[derive(Default)]
pub struct MemorySource {
    pub keys: Mutex<BTreeMap<String, String>>,
    /// Entries per page.
    pub page: usize,
    /// Prefixes of the listings.
    pub requests: Mutex<Vec<String>>,
    pub before: Option<Before>,
    /// The number of the request that fails.
    pub failing: Option<usize>,
    /// Prefixes whose listing is denied.
    pub denied: Mutex<Vec<&'static str>>,
    /// Archive states by key, for keys that are not readable.
    pub archive: Mutex<BTreeMap<String, ArchiveState>>,
    /// Whether the KMS key of all objects can be used. `None` if there is no content at all.
    pub kms_key: Mutex<Option<bool>>,
    /// Keys of the fetched objects.
    pub fetched: Mutex<Vec<String>>,
}

impl std::fmt::Debug for MemorySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemorySource").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl MemorySource {
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
impl Source for MemorySource {
    async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
        Err(SourceError::Missing(at.to_string()))
    }

    async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
        self.fetched.lock().unwrap().push(object.key.clone());
        match *self.kms_key.lock().unwrap() {
            None => Err(SourceError::Missing(object.to_string())),
            Some(false) => Err(SourceError::KmsKey("the key is disabled".to_owned())),
            Some(true) => Ok(vec![0]),
        }
    }

    async fn list(&self, ask: &Listing<'_>) -> Result<ListPage, SourceError> {
        // Lets other requests of the same discovery run, as a network would.
        tokio::task::yield_now().await;
        let number = {
            let mut requests = self.requests.lock().unwrap();
            requests.push(ask.prefix.to_owned());
            requests.len() - 1
        };
        if self.failing == Some(number) {
            return Err(SourceError::Unavailable("SlowDown".to_owned()));
        }
        if self.denied.lock().unwrap().contains(&ask.prefix) {
            return Err(SourceError::Denied(format!("access denied to list {}: allow s3:ListBucket", ask.prefix)));
        }
        let mut keys = self.keys.lock().unwrap();
        if let Some(before) = &self.before {
            before(number, &mut keys);
        }
        // In S3 a token overrides `start-after`.
        let after = ask.token.or(ask.start_after).unwrap_or("").to_owned();
        let mut page = ListPage::default();
        let mut last = None;
        for (key, etag) in keys.iter().filter(|(key, _)| key.starts_with(ask.prefix) && key.as_str() > after.as_str()) {
            let rest = &key[ask.prefix.len()..];
            let folder =
                ask.delimiter.and_then(|delimiter| rest.find(delimiter)).map(|at| &key[..=ask.prefix.len() + at]);
            // A common prefix of the previous page is not repeated.
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
                None => {
                    let archive = self.archive.lock().unwrap().get(key).copied().unwrap_or(ArchiveState::Readable);
                    let object = ObjectRef::new(ask.bucket, key).with_version(etag, 100);
                    page.objects.push(ObjectRef { archive, ..object });
                }
            }
            last = Some(key.clone());
        }
        Ok(page)
    }
}

/// Returns the key of a log.
pub fn log(above: &str, account: &str, kind: &str, region: &str, date: &str, name: &str) -> String {
    let (day, stamp) = (date.replace('-', "/"), date.replace('-', ""));
    format!(
        "{above}AWSLogs/{account}/{kind}/{region}/{day}/{}_{kind}_{region}_{stamp}T0000Z_{name}.json.gz",
        &account[account.len() - 12..]
    )
}
