//! Depot: where a report lies. One trait, one adapter a file.

pub mod folder;
pub mod s3;

use super::{Manifest, hex};
use crate::source::SourceError;
use async_trait::async_trait;
use md5::{Digest, Md5};
use std::fs::File;

/// Where a report lies: a bucket, a folder.
#[async_trait]
pub trait ReportStore: Send + Sync + std::fmt::Debug {
    /// A small file's name, for a person.
    fn name(&self, key: &str) -> String;

    /// A small file, whole; none if there is none.
    ///
    /// # Errors
    /// It cannot be read.
    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, SourceError>;

    /// The name of a file of the report, for a person.
    fn data_name(&self, manifest: &Manifest, key: &str) -> String;

    /// A file of the report, kept on this machine until it is dropped, however large it is.
    ///
    /// # Errors
    /// It is missing, cannot be read, or there is no room for it.
    async fn download(&self, manifest: &Manifest, key: &str) -> Result<DownloadedFile, SourceError>;
}

/// A file that is kept.
#[derive(Debug)]
pub struct DownloadedFile {
    /// It, open for reading.
    pub file: File,
    /// Of its content: 32 hexadecimal digits.
    pub md5: String,
    /// Its length.
    pub bytes: u64,
}

/// Counts and digests what passes.
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

    fn of(self, file: File) -> DownloadedFile {
        DownloadedFile { file, md5: hex(&self.md5.finalize()), bytes: self.bytes }
    }
}
