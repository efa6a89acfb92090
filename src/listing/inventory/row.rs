//! Row: one version of an object in a report. Pure.

use crate::object::ObjectRef;

/// The fields of a report row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct InventoryRow<'a> {
    pub(super) bucket: &'a [u8],
    /// The decoded key.
    pub(super) key: &'a [u8],
    pub(super) etag: Option<&'a [u8]>,
    pub(super) size: Option<u64>,
    /// Only in a report of all versions.
    pub(super) latest: Option<bool>,
    /// Only in a report of all versions.
    pub(super) delete_marker: Option<bool>,
}

/// The kind of a report row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RowKind {
    /// An object in the version that a listing returns.
    Object(ObjectRef),
    /// An older version or a delete marker.
    Excluded,
}

impl InventoryRow<'_> {
    /// Classifies the row of a report of `bucket`.
    ///
    /// # Errors
    /// Fails if the row describes another bucket or lacks a required value.
    pub(super) fn judge(&self, bucket: &str) -> Result<RowKind, String> {
        if self.bucket != bucket.as_bytes() {
            let found = String::from_utf8_lossy(self.bucket);
            return Err(format!("expected an object of the bucket {bucket}, found one of {found:?}"));
        }
        if self.latest == Some(false) || self.delete_marker == Some(true) {
            return Ok(RowKind::Excluded);
        }
        let Ok(key) = std::str::from_utf8(self.key) else {
            return Err(format!("expected a key in UTF-8, found {:?}", String::from_utf8_lossy(self.key)));
        };
        let text = self.etag.and_then(|etag| std::str::from_utf8(etag).ok());
        match (text.map(|etag| etag.trim_matches('"')).filter(|etag| !etag.is_empty()), self.size) {
            (Some(etag), Some(size)) if !key.is_empty() => {
                Ok(RowKind::Object(ObjectRef::new(bucket, key).with_version(etag, size)))
            }
            (None, _) => Err(format!("expected an ETag of {key:?}, found none")),
            (_, None) => Err(format!("expected the size of {key:?}, found none")),
            _ => Err("expected a key, found none".to_owned()),
        }
    }
}
