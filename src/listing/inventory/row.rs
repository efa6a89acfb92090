//! Row: one version of one object, as a report has it. Pure.

use crate::object::ObjectRef;

/// What a row says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Row<'a> {
    pub(super) bucket: &'a [u8],
    /// Decoded.
    pub(super) key: &'a [u8],
    pub(super) etag: Option<&'a [u8]>,
    pub(super) size: Option<u64>,
    /// Where the report is of all versions.
    pub(super) latest: Option<bool>,
    /// Where the report is of all versions.
    pub(super) delete_marker: Option<bool>,
}

/// What a row is good for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RowKind {
    /// An object, in the version that a listing would show.
    Object(ObjectRef),
    /// An older version, or a mark that there is none.
    Excluded,
}

impl Row<'_> {
    /// What it is good for, in a report of `bucket`.
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
