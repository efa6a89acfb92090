//! Inventory: an S3 Inventory report in place of a listing, for buckets whose listing takes hours.
//!
//! ```text
//! manifest ─▶ files ─▶ rows ─▶ pages of objects, as a listing gives them
//!  checked    checked   latest versions only
//! ```
//!
//! A report is checked whole before its first object is given out: the manifest, the MD5 of every file, every row. Its
//! files lie in no order and may be larger than memory; they are kept in temporary files and read a thousand rows at a
//! time.
//!
//! A report is as old as it says. What was put since is not in it; what was deleted or replaced since is found gone
//! when it is fetched.
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
use row::{Row, RowKind};
use std::fs::File;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Objects of a page: as many as a listing's has.
const PAGE: usize = 1000;

/// Pages that may lie ready.
const PAGES_AHEAD: usize = 2;

/// A report that is checked.
#[derive(Debug)]
pub struct Inventory {
    manifest: Manifest,
    files: Vec<(String, File)>,
    /// What is in it.
    pub contents: ReportContents,
}

/// What is in a report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReportContents {
    /// Objects, each in its latest version.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Older versions and delete markers, which are left out.
    pub excluded: u64,
}

/// Why a report cannot be used. Nothing of it was given out.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// A file of it cannot be had.
    #[error("inventory: {0}")]
    ReportStore(#[from] SourceError),
    /// A file of it is not what it should be.
    #[error("inventory: {at}: {what}")]
    Invalid {
        /// Which.
        at: String,
        /// What was expected and found, and what to do.
        what: String,
    },
}

impl InventoryError {
    fn at(at: &str, what: impl Into<String>) -> Self {
        Self::Invalid { at: at.to_owned(), what: what.into() }
    }
}

impl Inventory {
    /// Fetches and checks the report of `bucket` whose manifest is `key` in the depot. Reads every file twice: once
    /// here, once for its pages.
    ///
    /// # Errors
    /// A file is missing or not the one that the manifest means; the report is another bucket's, or lacks a column; a
    /// row cannot be understood.
    pub async fn open(store: &dyn ReportStore, key: &str, bucket: &str) -> Result<Self, InventoryError> {
        let at = store.name(key);
        let text = store.read(key).await?.ok_or_else(|| SourceError::Missing(at.clone()))?;
        checksum(store, key, &text).await?;
        let manifest = Manifest::parse(&text).map_err(|what| InventoryError::at(&at, what))?;
        if manifest.source_bucket != bucket {
            let what = format!(
                "expected a report of the bucket {bucket}, found one of {}: name that bucket's manifest",
                manifest.source_bucket
            );
            return Err(InventoryError::at(&at, what));
        }
        let mut inventory = Self { manifest, files: Vec::new(), contents: ReportContents::default() };
        for number in 0..inventory.manifest.files.len() {
            inventory.fetch(store, number).await?;
        }
        Ok(inventory)
    }

    /// When S3 began to write it, in seconds since 1970, if the manifest says so.
    pub fn created(&self) -> Option<i64> {
        self.manifest.created
    }

    /// Fetches one file, and checks all of it.
    async fn fetch(&mut self, store: &dyn ReportStore, number: usize) -> Result<(), InventoryError> {
        let wanted = &self.manifest.files[number];
        let at = store.data_name(&self.manifest, &wanted.key);
        let DownloadedFile { file, md5, bytes } = store.download(&self.manifest, &wanted.key).await?;
        if md5 != wanted.md5 {
            let what = format!(
                "expected MD5 {} as the manifest says, found {md5} in {bytes} bytes: it was damaged or replaced; fetch it \
                 again, or take a newer report",
                wanted.md5
            );
            return Err(InventoryError::at(&at, what));
        }
        let (manifest, name) = (self.manifest.clone(), at.clone());
        let checked = tokio::task::spawn_blocking(move || {
            let mut contents = ReportContents::default();
            let read = for_each_row(&manifest, &file, &mut |verdict| {
                match verdict {
                    RowKind::Object(at) => {
                        contents.objects += 1;
                        contents.bytes += at.size.unwrap_or(0);
                    }
                    RowKind::Excluded => contents.excluded += 1,
                }
                true
            });
            read.map(|()| (contents, file))
        });
        let checked =
            checked.await.map_err(|error| InventoryError::at(&name, format!("the check broke off: {error}")))?;
        let (contents, file) = checked.map_err(|what| InventoryError::at(&name, what))?;
        self.contents.objects += contents.objects;
        self.contents.bytes += contents.bytes;
        self.contents.excluded += contents.excluded;
        self.files.push((at, file));
        Ok(())
    }

    /// Its objects that lie in `folder`, with or without its last slash (empty: all), a page at a time, no further
    /// ahead than they are wanted.
    pub fn pages(self, folder: &str) -> Pages {
        let (send, pages) = mpsc::channel(PAGES_AHEAD);
        // `logs` is not `logs2/`.
        let prefix = match folder {
            "" => String::new(),
            folder => format!("{}/", folder.trim_end_matches('/')),
        };
        let manifest = Arc::new(self.manifest);
        tokio::task::spawn_blocking(move || {
            let mut page: Vec<ObjectRef> = Vec::with_capacity(PAGE);
            for (at, file) in &self.files {
                let mut heard = true;
                let read = for_each_row(&manifest, file, &mut |verdict| {
                    if let RowKind::Object(at) = verdict
                        && at.key.starts_with(&prefix)
                    {
                        page.push(at);
                        if page.len() == PAGE {
                            let full = std::mem::replace(&mut page, Vec::with_capacity(PAGE));
                            heard = send.blocking_send(Ok(full)).is_ok();
                        }
                    }
                    heard
                });
                if let Err(what) = read {
                    // Checked when it was fetched: it was changed since.
                    let _ = send.blocking_send(Err(SourceError::Unavailable(format!("inventory: {at}: {what}"))));
                    return;
                }
                if !heard {
                    return;
                }
            }
            if !page.is_empty() {
                // Nobody listens: then nobody wants it either.
                let _ = send.blocking_send(Ok(page));
            }
        });
        pages
    }
}

/// Tells `visit` of every row, until it returns false.
fn for_each_row(manifest: &Manifest, file: &File, visit: &mut dyn FnMut(RowKind) -> bool) -> Result<(), String> {
    let mut number = 0u64;
    let mut judge = |row: Row<'_>| {
        number += 1;
        let verdict = row.judge(&manifest.source_bucket).map_err(|what| format!("row {number}: {what}"))?;
        Ok(visit(verdict))
    };
    match &manifest.format {
        Format::Csv(columns) => csv::read(file, columns, &mut judge),
        #[cfg(feature = "parquet")]
        Format::Parquet => parquet::read(file, &mut judge),
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => {
            Err("this build of trailhose does not read Parquet: build it with --features parquet".to_owned())
        }
    }
}

/// Holds the manifest against the checksum that lies beside it, if one does: a copied report may lack it.
async fn checksum(store: &dyn ReportStore, key: &str, text: &[u8]) -> Result<(), InventoryError> {
    let beside = format!("{}.checksum", key.strip_suffix(".json").unwrap_or(key));
    let Some(wanted) = store.read(&beside).await? else { return Ok(()) };
    let (wanted, found) = (String::from_utf8_lossy(&wanted).trim().to_ascii_lowercase(), hex(&Md5::digest(text)));
    match wanted == found {
        true => Ok(()),
        false => {
            let what = format!(
                "expected MD5 {wanted} as {} says, found {found}: it was damaged or replaced; fetch both again",
                store.name(&beside)
            );
            Err(InventoryError::at(&store.name(key), what))
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
