//! Sources: where objects are read from. Each adapter has a file of its own.

#[cfg(feature = "cli")]
pub mod directory;
#[cfg(feature = "cli")]
pub mod metered;
pub mod s3;

use crate::ledger::model::quarantine::QuarantineKind;
use crate::object::{Object, ObjectRef};
use async_trait::async_trait;

/// A collection of objects: S3 buckets or a folder.
#[async_trait]
pub trait Source: Send + Sync + std::fmt::Debug {
    /// Returns the reference with the ETag and the size of the object's current version.
    ///
    /// # Errors
    /// Returns [`SourceError::Missing`] if the object does not exist.
    async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError>;

    /// Returns the stored bytes of exactly this version (`If-Match`).
    ///
    /// # Errors
    /// Returns [`SourceError::Changed`] if the key was overwritten, and never the bytes of another version.
    async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError>;

    /// Returns at most the first `max_bytes` bytes of exactly this version, with the request of [`Source::fetch`]. Used
    /// for objects whose announced size is small, with a limit because the announced size can be wrong or forged. The
    /// default implementation reads the whole object.
    ///
    /// # Errors
    /// Returns the same errors as [`Source::fetch`].
    async fn fetch_start(&self, object: &Object, max_bytes: usize) -> Result<ByteRange, SourceError> {
        Ok(ByteRange::from_whole(self.fetch(object).await?, max_bytes))
    }

    /// Returns at most `max_bytes` bytes of exactly this version, starting at byte offset `from`. Past the end of the
    /// object the range is empty, because an object may be shorter than its notification says. The default
    /// implementation reads the whole object.
    ///
    /// # Errors
    /// Returns the same errors as [`Source::fetch`].
    async fn fetch_range(&self, object: &Object, from: u64, max_bytes: usize) -> Result<ByteRange, SourceError> {
        Ok(ByteRange::from_slice(&self.fetch(object).await?, from, max_bytes))
    }

    /// Returns one page of keys in the order of their UTF-8 bytes. With a delimiter, the keys below the next delimiter
    /// are grouped into common prefixes.
    ///
    /// # Errors
    /// Returns [`SourceError::NoBucket`] if the bucket does not exist.
    async fn list(&self, request: &Listing<'_>) -> Result<ListPage, SourceError>;
}

/// A range of an object's bytes, as returned by [`Source::fetch_start`] and [`Source::fetch_range`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ByteRange {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The size of the whole object in bytes.
    pub size: u64,
}

impl ByteRange {
    /// Keeps at most the first `max_bytes` bytes of `whole`.
    pub(crate) fn from_whole(mut whole: Vec<u8>, max_bytes: usize) -> Self {
        let size = whole.len() as u64;
        whole.truncate(max_bytes);
        Self { bytes: whole, size }
    }

    /// Copies at most `max_bytes` bytes of `whole`, starting at byte offset `from`.
    pub(crate) fn from_slice(whole: &[u8], from: u64, max_bytes: usize) -> Self {
        let start = usize::try_from(from).unwrap_or(usize::MAX).min(whole.len());
        let end = start.saturating_add(max_bytes).min(whole.len());
        Self { bytes: whole[start..end].to_vec(), size: whole.len() as u64 }
    }
}

/// Checks the ID of a source.
///
/// # Errors
/// What was expected.
pub fn check_source_id(text: &str) -> Result<(), String> {
    let is_first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_valid = (1..=64).contains(&text.len())
        && text.bytes().next().is_some_and(is_first)
        && text.bytes().all(|byte| is_first(byte) || b"._-".contains(&byte));
    match is_valid {
        true => Ok(()),
        false => Err("expected 1 to 64 lower-case letters, digits, '.', '_' or '-', first a letter or digit".into()),
    }
}

/// A request for one page of a listing.
#[derive(Debug, Clone, Copy)]
pub struct Listing<'a> {
    /// The bucket, as in [`ObjectRef::bucket`].
    pub bucket: &'a str,
    /// The prefix of the keys to list.
    pub prefix: &'a str,
    /// The delimiter after which keys are grouped into common prefixes.
    pub delimiter: Option<char>,
    /// The token of the previous page, from [`ListPage::next`].
    pub token: Option<&'a str>,
    /// The key after which the listing starts.
    pub start_after: Option<&'a str>,
}

/// One page of a listing: at most 1,000 entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListPage {
    /// The objects, each with its ETag and size.
    pub objects: Vec<ObjectRef>,
    /// The common prefixes, each ending with the delimiter.
    pub prefixes: Vec<String>,
    /// The token of the next page, if there is one.
    pub next: Option<String>,
    /// Entries that could not be listed. The others are complete. Only a folder source returns them; a listing of a
    /// bucket fails instead.
    pub unlisted: Vec<UnlistedEntry>,
}

impl ListPage {
    /// Returns the page if every entry could be listed.
    ///
    /// # Errors
    /// Returns the reason of the first unlisted entry.
    pub(crate) fn complete(self) -> Result<Self, SourceError> {
        match self.unlisted.first() {
            Some(entry) => Err(SourceError::Denied(entry.reason.clone())),
            None => Ok(self),
        }
    }
}

/// A file or folder that could not be listed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnlistedEntry {
    /// Its key. Bytes that are not UTF-8 are replaced.
    pub key: String,
    /// Why it could not be listed, and what to do.
    pub reason: String,
    /// Whether it can contain any number of objects.
    pub is_folder: bool,
}

/// The pages of a listing, in order. An error is the last item.
pub type Pages = tokio::sync::mpsc::Receiver<Result<Vec<ObjectRef>, SourceError>>;

/// The reason why a source request failed. [`SourceError::quarantine_kind`] determines whether the object is
/// quarantined or retried.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The object does not exist (404).
    #[error("{0} does not exist")]
    Missing(String),
    /// The bucket does not exist. This says nothing about any single object.
    #[error("bucket {0} does not exist: check its name, the region and the account")]
    NoBucket(String),
    /// The key contains another version (412).
    #[error("{0} was overwritten: its ETag is no longer {1}")]
    Changed(String, String),
    /// Access was denied. The text names the missing permission.
    #[error("{0}")]
    Denied(String),
    /// The object is archived. It cannot be read until it is restored.
    #[error("{0}")]
    Archived(String),
    /// The KMS key that encrypts the object is disabled, pending deletion or deleted. The object cannot be read until
    /// the key is enabled again.
    #[error("{0}")]
    KmsKey(String),
    /// The source rejects every request of this process: its credentials are missing, invalid or expired, or the bucket
    /// is in another region. This says nothing about any single object.
    #[error("{0}")]
    Unusable(String),
    /// The source did not answer or throttled the request. A later attempt may succeed. If every request fails in this
    /// way, the source cannot be reached.
    #[error("{0}")]
    Unreachable(String),
    /// Any other error, such as an invalid response or an internal error. A later attempt may succeed.
    #[error("{0}")]
    Unavailable(String),
}

impl SourceError {
    /// Returns the kind of quarantine for an object that cannot be read with this error, or `None` if the object is
    /// retried.
    pub fn quarantine_kind(&self) -> Option<&'static str> {
        match self {
            // Quarantined so that the loss is visible: the object was announced and never ingested.
            Self::Missing(_) => Some("missing"),
            Self::Changed(..) => Some("changed"),
            Self::Archived(_) => Some(QuarantineKind::ARCHIVED),
            Self::KmsKey(_) => Some(QuarantineKind::KMS),
            Self::NoBucket(_) | Self::Denied(_) | Self::Unusable(_) | Self::Unreachable(_) | Self::Unavailable(_) => {
                None
            }
        }
    }

    /// Returns whether the error concerns the whole source: other requests fail in the same way.
    pub fn concerns_source(&self) -> bool {
        matches!(self, Self::NoBucket(_) | Self::Unusable(_))
    }

    /// Returns whether a later attempt at the same request may succeed without a change by the user.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Unavailable(_) | Self::Missing(_) | Self::Changed(..))
    }
}
