//! Row: one version of an object in a report.

use crate::object::{ArchiveState, ObjectRef};

/// The fields of a report row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct InventoryRow<'a> {
    pub(super) bucket: &'a [u8],
    /// The decoded key.
    pub(super) key: &'a [u8],
    pub(super) etag: Option<&'a [u8]>,
    pub(super) size: Option<u64>,
    /// Only in a report with this optional field.
    pub(super) storage_class: Option<&'a [u8]>,
    /// Only in a report with this optional field. Empty for other storage classes than Intelligent-Tiering.
    pub(super) access_tier: Option<&'a [u8]>,
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
    /// Returns whether the object is archived. A report does not show whether an archived object is restored.
    fn archive_state(&self) -> ArchiveState {
        let text = |field: Option<&[u8]>| String::from_utf8_lossy(field.unwrap_or_default()).into_owned();
        match text(self.access_tier).as_str() {
            "ARCHIVE" | "DEEP_ARCHIVE" => ArchiveState::Archived,
            "FREQUENT" | "INFREQUENT" | "ARCHIVE_INSTANT_ACCESS" => ArchiveState::Readable,
            _ => ArchiveState::of_storage_class(&text(self.storage_class), false),
        }
    }

    /// Classifies the row of a report of `bucket`.
    ///
    /// # Errors
    /// Fails if the row describes another bucket or lacks a required value.
    pub(super) fn kind(&self, bucket: &str) -> Result<RowKind, String> {
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
                let object = ObjectRef::new(bucket, key).with_version(etag, size);
                Ok(RowKind::Object(ObjectRef { archive: self.archive_state(), ..object }))
            }
            (None, _) => Err(format!("expected an ETag of {key:?}, found none")),
            (_, None) => Err(format!("expected the size of {key:?}, found none")),
            _ => Err("expected a key, found none".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_class_and_access_tier_show_whether_an_object_is_archived() {
        for (class, tier, expected) in [
            (Some("GLACIER"), Some(""), ArchiveState::Archived),
            (Some("DEEP_ARCHIVE"), None, ArchiveState::Archived),
            (Some("GLACIER_IR"), None, ArchiveState::Readable),
            (Some("STANDARD"), None, ArchiveState::Readable),
            (Some("INTELLIGENT_TIERING"), None, ArchiveState::Unknown),
            (Some("INTELLIGENT_TIERING"), Some("ARCHIVE"), ArchiveState::Archived),
            (Some("INTELLIGENT_TIERING"), Some("FREQUENT"), ArchiveState::Readable),
            (None, None, ArchiveState::Unknown),
        ] {
            let row = InventoryRow {
                bucket: b"logs",
                key: b"k",
                etag: Some(b"e"),
                size: Some(1),
                storage_class: class.map(str::as_bytes),
                access_tier: tier.map(str::as_bytes),
                ..InventoryRow::default()
            };
            let RowKind::Object(at) = row.kind("logs").unwrap() else { panic!("excluded") };
            assert_eq!(at.archive, expected, "{class:?} {tier:?}");
        }
    }
}
