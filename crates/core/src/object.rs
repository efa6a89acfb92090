//! An object: one version of one S3 object, named by bucket, key and ETag.

pub mod key;

use sha2::{Digest, Sha256};

/// What a notification or a listing says about an object: where it lies, and as far as known which version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectRef {
    /// Bucket name, or `file://` and the absolute path of a folder.
    pub bucket: String,
    /// Key as S3 stores it: decoded, no leading slash added or removed.
    pub key: String,
    /// ETag without quotes. CloudTrail's own notifications do not carry one; the source is asked then.
    pub etag: Option<String>,
    /// Size in bytes, as stored (compressed).
    pub size: Option<u64>,
}

impl ObjectRef {
    /// A reference to whatever version of `key` lies in `bucket` now.
    pub fn new(bucket: impl Into<String>, key: impl Into<String>) -> Self {
        Self { bucket: bucket.into(), key: key.into(), etag: None, size: None }
    }

    /// The same reference with its version, quotes around the ETag removed.
    pub fn with_version(mut self, etag: &str, size: u64) -> Self {
        self.etag = Some(etag.trim_matches('"').to_owned());
        self.size = Some(size);
        self
    }

    /// The object this reference names, once its ETag is known.
    pub fn object(&self) -> Option<Object> {
        Some(Object { bucket: self.bucket.clone(), key: self.key.clone(), etag: self.etag.clone()? })
    }
}

impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        location(f, &self.bucket, &self.key)
    }
}

/// One version of one S3 object. The ledger's unit: a replaced key is another object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Object {
    /// Bucket name, or `file://` and the absolute path of a folder.
    pub bucket: String,
    /// Key as S3 stores it.
    pub key: String,
    /// ETag without quotes.
    pub etag: String,
}

impl Object {
    /// The name under which the ledger knows this object: the first 128 bits of SHA-256 over its three parts, each
    /// preceded by its length so that no two objects can spell the same input.
    pub fn id(&self) -> ObjectId {
        let mut hash = Sha256::new();
        for part in [&self.bucket, &self.key, &self.etag] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let full: [u8; 32] = hash.finalize().into();
        let mut id = [0; 16];
        id.copy_from_slice(&full[..16]);
        ObjectId(id)
    }
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        location(f, &self.bucket, &self.key)
    }
}

fn location(f: &mut std::fmt::Formatter<'_>, bucket: &str, key: &str) -> std::fmt::Result {
    match bucket.strip_prefix("file://") {
        Some(folder) => write!(f, "{folder}/{key}"),
        None => write!(f, "s3://{bucket}/{key}"),
    }
}

/// An object's name in the ledger: 128 bits, see [`Object::id`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId(pub [u8; 16]);

impl std::fmt::Display for ObjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ObjectId({self})")
    }
}
