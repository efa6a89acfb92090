//! Inventory: reads an S3 Inventory report instead of listing the bucket, for buckets whose listing takes hours.
//!
//! ```text
//! manifest ─▶ files ─▶ rows ─▶ pages of objects, as from a listing
//!  checked    checked   latest versions only
//! ```
//!
//! The whole report is verified before its first object is returned: the manifest, the MD5 of every file, and every
//! row. The files are in no order and may be larger than memory; files from S3 are stored in temporary files, and every
//! file is read a thousand rows at a time.
//!
//! A report describes the bucket at the time of its creation. It does not contain objects that were added later.
//! Objects that were deleted or replaced later are detected when they are fetched.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory.html>

mod csv;
mod manifest;
#[cfg(feature = "parquet")]
mod parquet;
pub mod report_store;
mod row;

pub use manifest::{Format, Manifest};

use crate::object::ObjectRef;
use crate::source::{Pages, SourceError};
use md5::{Digest, Md5};
use report_store::{DownloadedFile, ReportStore};
use row::{InventoryRow, RowKind};
use std::fs::File;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Objects per page, the same number as in a listing.
const PAGE_OBJECTS: usize = 1000;

/// Maximum number of pages buffered ahead.
const PAGES_AHEAD: usize = 2;

/// A verified report.
#[derive(Debug)]
pub struct Inventory {
    manifest: Manifest,
    files: Vec<(String, File)>,
    /// The counts of its rows.
    pub counts: RowCounts,
}

/// The counts of a report's rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Objects in their latest version.
    pub objects: u64,
    /// Total size of the objects in bytes.
    pub bytes: u64,
    /// Older versions and delete markers, which are excluded.
    pub excluded: u64,
}

/// An error of a report that cannot be used. None of its objects were returned.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// A file of the report cannot be read.
    #[error("inventory: {0}")]
    ReportStore(#[from] SourceError),
    /// A file of the report is invalid.
    #[error("inventory: {at}: {what}")]
    Invalid {
        /// The file.
        at: String,
        /// What was expected, what was found, and how to fix it.
        what: String,
    },
}

impl InventoryError {
    fn invalid(at: &str, what: impl Into<String>) -> Self {
        Self::Invalid { at: at.to_owned(), what: what.into() }
    }
}

impl Inventory {
    /// Downloads and verifies the report of `bucket` whose manifest is `key` in the store. Reads every file twice: once
    /// here and once for its pages.
    ///
    /// # Errors
    /// Fails if a file is missing or differs from the manifest, if the report describes another bucket or lacks a
    /// column, or if a row is invalid.
    pub async fn open(store: &dyn ReportStore, key: &str, bucket: &str) -> Result<Self, InventoryError> {
        let at = store.name(key);
        let text = store.read(key).await?.ok_or_else(|| SourceError::Missing(at.clone()))?;
        verify_checksum(store, key, &text).await?;
        let manifest = Manifest::parse(&text).map_err(|what| InventoryError::invalid(&at, what))?;
        if manifest.source_bucket != bucket {
            let what = format!(
                "expected a report of the bucket {bucket}, found one of {}: use the manifest of bucket {bucket}",
                manifest.source_bucket
            );
            return Err(InventoryError::invalid(&at, what));
        }
        let mut inventory = Self { manifest, files: Vec::new(), counts: RowCounts::default() };
        for number in 0..inventory.manifest.files.len() {
            inventory.fetch(store, number).await?;
        }
        Ok(inventory)
    }

    /// Returns the time at which S3 started to write the report, in seconds since 1970, if the manifest contains it.
    pub fn created(&self) -> Option<i64> {
        self.manifest.created
    }

    /// Downloads one file and verifies all of its rows.
    async fn fetch(&mut self, store: &dyn ReportStore, number: usize) -> Result<(), InventoryError> {
        let expected = &self.manifest.files[number];
        let at = store.data_name(&self.manifest, &expected.key);
        let DownloadedFile { file, md5, bytes } = store.download(&self.manifest, &expected.key).await?;
        if md5 != expected.md5 {
            let what = format!(
                "expected MD5 {} from the manifest, found {md5} in {bytes} bytes: the file was damaged or replaced; \
                 download it again, or use a newer report",
                expected.md5
            );
            return Err(InventoryError::invalid(&at, what));
        }
        let (manifest, name) = (self.manifest.clone(), at.clone());
        let checked = tokio::task::spawn_blocking(move || {
            let mut counts = RowCounts::default();
            let read = for_each_row(&manifest, &file, &mut |row| {
                match row {
                    RowKind::Object(at) => {
                        counts.objects += 1;
                        counts.bytes += at.size.unwrap_or(0);
                    }
                    RowKind::Excluded => counts.excluded += 1,
                }
                true
            });
            read.map(|()| (counts, file))
        });
        let checked =
            checked.await.map_err(|error| InventoryError::invalid(&name, format!("verification failed: {error}")))?;
        let (counts, file) = checked.map_err(|what| InventoryError::invalid(&name, what))?;
        self.counts.objects += counts.objects;
        self.counts.bytes += counts.bytes;
        self.counts.excluded += counts.excluded;
        self.files.push((at, file));
        Ok(())
    }

    /// Returns the objects in `folder`, one page at a time. `folder` may have a final slash; if it is empty, all
    /// objects are returned. Reads at most `PAGES_AHEAD` pages ahead.
    pub fn pages(self, folder: &str) -> Pages {
        let (send, pages) = mpsc::channel(PAGES_AHEAD);
        // With the slash, `logs` does not match `logs2/`.
        let prefix = match folder {
            "" => String::new(),
            folder => format!("{}/", folder.trim_end_matches('/')),
        };
        let manifest = Arc::new(self.manifest);
        tokio::task::spawn_blocking(move || {
            let mut page: Vec<ObjectRef> = Vec::with_capacity(PAGE_OBJECTS);
            for (at, file) in &self.files {
                let mut receiver_open = true;
                let read = for_each_row(&manifest, file, &mut |row| {
                    if let RowKind::Object(at) = row
                        && at.key.starts_with(&prefix)
                    {
                        page.push(at);
                        if page.len() == PAGE_OBJECTS {
                            let full = std::mem::replace(&mut page, Vec::with_capacity(PAGE_OBJECTS));
                            receiver_open = send.blocking_send(Ok(full)).is_ok();
                        }
                    }
                    receiver_open
                });
                if let Err(what) = read {
                    // The file was valid when it was downloaded, so it was changed since then.
                    let _ = send.blocking_send(Err(SourceError::Unavailable(format!("inventory: {at}: {what}"))));
                    return;
                }
                if !receiver_open {
                    return;
                }
            }
            if !page.is_empty() {
                // Sending fails only if the receiver was dropped; then the page is not needed.
                let _ = send.blocking_send(Ok(page));
            }
        });
        pages
    }
}

/// Calls `visit` with every row until it returns false.
fn for_each_row(manifest: &Manifest, file: &File, visit: &mut dyn FnMut(RowKind) -> bool) -> Result<(), String> {
    let mut number = 0u64;
    let mut visit_row = |row: InventoryRow<'_>| {
        number += 1;
        let kind = row.kind(&manifest.source_bucket).map_err(|what| format!("row {number}: {what}"))?;
        Ok(visit(kind))
    };
    match &manifest.format {
        Format::Csv(columns) => csv::read(file, columns, &mut visit_row),
        #[cfg(feature = "parquet")]
        Format::Parquet => parquet::read(file, &mut visit_row),
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => {
            Err("this build of trailhose does not read Parquet: build it with --features parquet".to_owned())
        }
    }
}

/// Compares the manifest with the checksum file next to it, if there is one. A copied report may lack it.
async fn verify_checksum(store: &dyn ReportStore, key: &str, text: &[u8]) -> Result<(), InventoryError> {
    let beside = format!("{}.checksum", key.strip_suffix(".json").unwrap_or(key));
    let Some(expected) = store.read(&beside).await? else { return Ok(()) };
    let (expected, found) = (String::from_utf8_lossy(&expected).trim().to_ascii_lowercase(), hex(&Md5::digest(text)));
    match expected == found {
        true => Ok(()),
        false => {
            let what = format!(
                "expected MD5 {expected} from {}, found {found}: the manifest was damaged or replaced; download both again",
                store.name(&beside)
            );
            Err(InventoryError::invalid(&store.name(key), what))
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
