//! A report that was copied to this machine.

use super::{DownloadedFile, Md5Counter, ReportStore};
use crate::listing::inventory::Manifest;
use crate::source::SourceError;
use async_trait::async_trait;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The folder in which `manifest.json` lies.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// Keys are file names in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Where a file of the report is. S3 puts it at its key, so a copy of the bucket, or of a part of it, has it under
    /// one of the folders that the manifest lies in; a copy of the report alone has it in `../data/`, or beside the
    /// manifest.
    fn find(&self, key: &str) -> Option<PathBuf> {
        let name = Path::new(key).file_name()?;
        let whole = self.0.canonicalize().ok()?;
        let copies = [whole.join("../data").join(name), whole.join("data").join(name), whole.join(name)];
        whole.ancestors().map(|folder| folder.join(key)).chain(copies).find(|path| path.is_file())
    }
}

#[async_trait]
impl ReportStore for Folder {
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
                "{key}, a file of the report of {} (looked for under the folders of {folder}, in ../data and beside the \
                 manifest; copy the report whole),",
                manifest.source_bucket
            )));
        };
        let summed = tokio::task::spawn_blocking(move || {
            let broken = |error| SourceError::Unavailable(format!("{}: {error}", path.display()));
            let mut file = File::open(&path).map_err(broken)?;
            let (mut sum, mut buffer) = (Md5Counter::default(), vec![0; 1 << 16]);
            loop {
                match file.read(&mut buffer).map_err(broken)? {
                    0 => return Ok(sum.of(file)),
                    bytes => sum.add(&buffer[..bytes]),
                }
            }
        });
        summed.await.unwrap_or_else(|error| Err(SourceError::Unavailable(format!("{key}: reading broke off: {error}"))))
    }
}
