//! A report that was copied to a local folder.

use super::{DownloadedFile, Md5Counter, ReportStore};
use crate::listing::inventory::Manifest;
use crate::source::SourceError;
use async_trait::async_trait;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The folder that contains `manifest.json`.
#[derive(Debug, Clone)]
pub struct FolderReportStore(PathBuf);

impl FolderReportStore {
    /// Creates a store whose keys are file names in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Finds a data file of the report. S3 stores it at its key, so in a copy of the bucket or of a part of it, the
    /// file is under one of the manifest's parent folders. In a copy of the report alone, it is in `../data/` or next
    /// to the manifest.
    fn find(&self, key: &str) -> Option<PathBuf> {
        let name = Path::new(key).file_name()?;
        let folder_path = self.0.canonicalize().ok()?;
        let copies =
            [folder_path.join("../data").join(name), folder_path.join("data").join(name), folder_path.join(name)];
        folder_path.ancestors().map(|folder| folder.join(key)).chain(copies).find(|path| path.is_file())
    }
}

#[async_trait]
impl ReportStore for FolderReportStore {
    fn name(&self, key: &str) -> String {
        self.0.join(key).display().to_string()
    }

    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, SourceError> {
        match std::fs::read(self.0.join(key)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SourceError::Unavailable(format!("{}: {error}", self.name(key)))),
        }
    }

    fn data_name(&self, _manifest: &Manifest, key: &str) -> String {
        self.find(key).map_or_else(|| key.to_owned(), |path| path.display().to_string())
    }

    async fn download(&self, manifest: &Manifest, key: &str) -> Result<DownloadedFile, SourceError> {
        let Some(path) = self.find(key) else {
            let folder = self.0.display();
            return Err(SourceError::Missing(format!(
                "{key}, a file of the report of {} (searched in the parent folders of {folder}, in ../data and next to the \
                 manifest; copy the folder_path report),",
                manifest.source_bucket
            )));
        };
        let summed = tokio::task::spawn_blocking(move || {
            let read_error = |error| SourceError::Unavailable(format!("{}: {error}", path.display()));
            let mut file = File::open(&path).map_err(read_error)?;
            let (mut sum, mut buffer) = (Md5Counter::default(), vec![0; 1 << 16]);
            loop {
                match file.read(&mut buffer).map_err(read_error)? {
                    0 => return Ok(sum.finish(file)),
                    bytes => sum.add(&buffer[..bytes]),
                }
            }
        });
        summed.await.unwrap_or_else(|error| Err(SourceError::Unavailable(format!("{key}: reading failed: {error}"))))
    }
}
