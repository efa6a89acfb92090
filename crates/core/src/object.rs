//! An object is one version of an S3 object, identified by bucket, key and ETag.

pub mod key;
pub mod region;

use sha2::{Digest, Sha256};

/// A reference to an object from a notification or a listing: its location and, if known, its version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectRef {
    /// The bucket name, or `file://` and the absolute path of a folder.
    pub bucket: String,
    /// The key as stored in S3: decoded, with no leading slash added or removed.
    pub key: String,
    /// The ETag without quotes. CloudTrail's own notifications contain no ETag; it is then read from the source.
    pub etag: Option<String>,
    /// The stored (compressed) size in bytes.
    pub size: Option<u64>,
    /// Whether the object is archived, if a listing or a report contains this.
    pub archive: ArchiveState,
}

/// Whether an object is archived and must be restored before it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ArchiveState {
    /// It is known only after an attempt to read the object.
    #[default]
    Unknown,
    /// The object can be read: its storage class is not an archive, or it is restored.
    Readable,
    /// The object is archived, and there is no restored copy.
    Archived,
}

impl ArchiveState {
    /// Returns the state of an object with this storage class, as S3 spells it. An object of Glacier Flexible Retrieval
    /// or Deep Archive keeps its class when it is restored. In Intelligent-Tiering, the class does not show whether the
    /// object is in an archive tier.
    pub fn of_storage_class(class: &str, is_restored: bool) -> Self {
        match class {
            "GLACIER" | "DEEP_ARCHIVE" if !is_restored => Self::Archived,
            "STANDARD" | "STANDARD_IA" | "ONEZONE_IA" | "REDUCED_REDUNDANCY" | "GLACIER_IR" | "GLACIER"
            | "DEEP_ARCHIVE" => Self::Readable,
            _ => Self::Unknown,
        }
    }
}

impl ObjectRef {
    /// Creates a reference to the current version of `key` in `bucket`.
    pub fn new(bucket: impl Into<String>, key: impl Into<String>) -> Self {
        Self { bucket: bucket.into(), key: key.into(), etag: None, size: None, archive: ArchiveState::Unknown }
    }

    /// Returns the reference with this version. Quotes around the ETag are removed.
    pub fn with_version(mut self, etag: &str, size: u64) -> Self {
        self.etag = Some(etag.trim_matches('"').to_owned());
        self.size = Some(size);
        self
    }

    /// Returns the referenced object, or `None` if the ETag is unknown.
    pub fn object(&self) -> Option<Object> {
        Some(Object { bucket: self.bucket.clone(), key: self.key.clone(), etag: self.etag.clone()? })
    }
}

impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        location(f, &self.bucket, &self.key)
    }
}

/// One version of an S3 object. If a key is overwritten, the new version is another object in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Object {
    /// The bucket name, or `file://` and the absolute path of a folder.
    pub bucket: String,
    /// The key as stored in S3.
    pub key: String,
    /// The ETag without quotes.
    pub etag: String,
}

impl Object {
    /// Returns the ID of this object in the ledger: the first 128 bits of a SHA-256 hash of bucket, key and ETag. Each
    /// is preceded by its length, so that no two objects have the same hash input.
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

/// The 128-bit ID of an object in the ledger, see [`Object::id`].
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restored_and_instant_classes_are_readable() {
        let of = ArchiveState::of_storage_class;
        for class in ["GLACIER", "DEEP_ARCHIVE"] {
            assert_eq!(
                (of(class, false), of(class, true)),
                (ArchiveState::Archived, ArchiveState::Readable),
                "{class}"
            );
        }
        for class in ["STANDARD", "STANDARD_IA", "GLACIER_IR"] {
            assert_eq!(of(class, false), ArchiveState::Readable, "{class}");
        }
        for class in ["INTELLIGENT_TIERING", "", "A_NEW_CLASS"] {
            assert_eq!(of(class, false), ArchiveState::Unknown, "{class}");
        }
    }
}
