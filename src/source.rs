//! Source: where objects lie. One trait, one adapter a file.

#[cfg(feature = "cli")]
pub mod directory;
#[cfg(feature = "cli")]
pub mod metered;
pub mod s3;

use crate::object::{Object, ObjectRef};
use async_trait::async_trait;

/// Where objects lie: an S3 bucket, a folder.
#[async_trait]
pub trait Source: Send + Sync + std::fmt::Debug {
    /// Which version of the object lies there now: the reference with its ETag and size.
    async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError>;

    /// The object's bytes as stored, of exactly this version (`If-Match`): an overwritten key is
    /// [`SourceError::Changed`], never another version's bytes under this one's name.
    async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError>;

    /// Some of the object's bytes, of exactly this version: at most `max_bytes` of them, from byte `from` on. An object may have
    /// fewer bytes than whoever announced it said: behind its end there are none. Adapters that cannot do better read all
    /// of it.
    async fn fetch_range(&self, object: &Object, from: u64, max_bytes: usize) -> Result<ByteRange, SourceError> {
        Ok(ByteRange::from_slice(&self.fetch(object).await?, from, max_bytes))
    }

    /// One page of the keys under `prefix`, in the order of their UTF-8 bytes; with a `delimiter`, the keys below the
    /// next one are rolled up into common prefixes. `after` is the token of the page before.
    async fn list(&self, ask: &Listing<'_>) -> Result<ListPage, SourceError>;
}

/// Some of an object's bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ByteRange {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// How many the whole object has.
    pub size: u64,
}

impl ByteRange {
    /// At most so many bytes of `whole`, from byte `from` on.
    pub fn from_slice(whole: &[u8], from: u64, max_bytes: usize) -> Self {
        let start = usize::try_from(from).unwrap_or(usize::MAX).min(whole.len());
        let end = start.saturating_add(max_bytes).min(whole.len());
        Self { bytes: whole[start..end].to_vec(), size: whole.len() as u64 }
    }
}

/// What to list.
#[derive(Debug, Clone, Copy)]
pub struct Listing<'a> {
    /// The bucket, as in [`ObjectRef::bucket`].
    pub bucket: &'a str,
    /// Only keys that start with this.
    pub prefix: &'a str,
    /// Roll up what lies below the next `/`.
    pub delimiter: Option<char>,
    /// Token of the page before, from [`ListPage::next`].
    pub token: Option<&'a str>,
    /// Only keys after this one.
    pub start_after: Option<&'a str>,
}

/// One page of a listing: at most 1,000 entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListPage {
    /// The objects, each with ETag and size.
    pub objects: Vec<ObjectRef>,
    /// Prefixes under which more lies, each ending with the delimiter.
    pub prefixes: Vec<String>,
    /// Token of the next page, if there is one.
    pub next: Option<String>,
}

/// Pages of objects, one after the other, and last of all the error that ended them early. What a listing gives, whoever
/// gives it.
pub type Pages = tokio::sync::mpsc::Receiver<Result<Vec<ObjectRef>, SourceError>>;

/// Why a source did not answer. Which of these is a loss, and which only a delay, is decided in `ingest.rs`.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The object is gone (404).
    #[error("{0} does not exist")]
    Missing(String),
    /// The bucket is gone, or was never there: no statement about any of its objects.
    #[error("bucket {0} does not exist; look at its name, and at the region and the account this runs in")]
    NoBucket(String),
    /// The key holds another version now (412).
    #[error("{0} was overwritten: its ETag is no longer {1}")]
    Changed(String, String),
    /// Permission denied: says which.
    #[error("{0}")]
    Denied(String),
    /// Anything else: network, throttling, 5xx. Comes back later.
    #[error("{0}")]
    Unavailable(String),
}
