//! Report store: the location of a report. One trait, with one file per adapter.

pub mod folder;
pub mod s3;

use super::{Manifest, hex};
use crate::source::SourceError;
use async_trait::async_trait;
use md5::{Digest, Md5};
use std::fs::File;

/// The location of a report: a bucket or a folder.
#[async_trait]
pub trait ReportStore: Send + Sync + std::fmt::Debug {
    /// Returns the display name of a small file.
    fn name(&self, key: &str) -> String;

    /// Returns the content of a small file, or `None` if it does not exist.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, SourceError>;

    /// Returns the display name of a data file of the report.
    fn data_name(&self, manifest: &Manifest, key: &str) -> String;

    /// Returns a data file of the report on local disk. A file from S3 is downloaded, and the copy is deleted when the
    /// result is dropped. A file in a folder is used in place.
    ///
    /// # Errors
    /// Fails if the file is missing or cannot be read, or if there is not enough disk space.
    async fn download(&self, manifest: &Manifest, key: &str) -> Result<DownloadedFile, SourceError>;
}

/// A data file on local disk.
#[derive(Debug)]
pub struct DownloadedFile {
    /// The file, open for reading.
    pub file: File,
    /// The MD5 of its content, as 32 hexadecimal digits.
    pub md5: String,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Computes the length and MD5 of a stream of bytes.
#[derive(Default)]
struct Md5Counter {
    md5: Md5,
    bytes: u64,
}

impl Md5Counter {
    fn add(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    fn finish(self, file: File) -> DownloadedFile {
        DownloadedFile { file, md5: hex(&self.md5.finalize()), bytes: self.bytes }
    }
}
