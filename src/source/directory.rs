//! A folder as a source. Each file is an object, and its path relative to the folder is the key.
//!
//! A file's version is its size and its modification time in nanoseconds. A file that is replaced by another of the same
//! size and with the same modification time is therefore not detected as changed. The change time and the inode number
//! are not used: they also change when files are copied, restored or renamed, so whole folders would be read again. The
//! folder itself may be a symbolic link. A symbolic link in it is read like a file if its target is a file inside the
//! folder. Every other symbolic link, an entry that is neither a file nor a folder, and an entry that cannot be read are
//! returned as [`UnlistedEntry`].

mod walk;

use super::{ByteRange, ListPage, Listing, Source, SourceError, UnlistedEntry};
use crate::object::{Object, ObjectRef};
use async_trait::async_trait;
use std::fs::Metadata;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

/// A source that reads the files of a folder.
#[derive(Debug, Clone)]
pub struct Directory {
    root: Arc<Path>,
    bucket: Arc<str>,
    /// The folder of the last file that was read, and its canonical path. The next file is most likely in the same
    /// folder, and resolving a path takes a system call for each of its components.
    last_folder: Arc<Mutex<(PathBuf, PathBuf)>>,
}

impl Directory {
    /// Opens the folder at `path`.
    ///
    /// # Errors
    /// Returns an error if the folder does not exist or its path is not UTF-8.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let root = path.canonicalize().map_err(|error| io_error(path, &error))?;
        if !root.is_dir() {
            let kind = if root.is_file() { "a file" } else { "a device or a pipe" };
            return Err(SourceError::Unavailable(format!(
                "{} is {kind}, expected a folder of objects",
                path.display()
            )));
        }
        let Some(name) = root.to_str() else { return Err(not_utf8(&root)) };
        let bucket = format!("file://{name}").into();
        Ok(Self { root: root.into(), bucket, last_folder: Arc::default() })
    }

    /// Returns the bucket name of the folder: `file://` followed by the absolute path.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    fn check_bucket(&self, bucket: &str) -> Result<(), SourceError> {
        match bucket == &*self.bucket {
            true => Ok(()),
            false => {
                Err(SourceError::Unavailable(format!("cannot read from {bucket}: this source is {}", self.bucket)))
            }
        }
    }

    /// Returns the path and metadata of a key's file.
    ///
    /// # Errors
    /// Returns an error if the file is outside the folder, because a key can come from an untrusted message.
    fn locate(&self, key: &str) -> Result<(PathBuf, Metadata), SourceError> {
        let path = self.root.join(key);
        let is_valid = !key.is_empty()
            && Path::new(key).components().all(|component| matches!(component, Component::Normal(_)))
            && !key.split('/').any(|name| name.is_empty() || name == ".");
        let (Some(folder), Some(name), true) = (path.parent(), path.file_name(), is_valid) else {
            return Err(SourceError::Unavailable(format!(
                "{key:?} is not a valid key of a file in {}",
                self.root.display()
            )));
        };
        let mut real = self.folder(folder).map_err(|error| io_error(&path, &error))?.join(name);
        let mut metadata = std::fs::symlink_metadata(&real).map_err(|error| io_error(&path, &error))?;
        if metadata.is_symlink() {
            real = real.canonicalize().map_err(|error| io_error(&path, &error))?;
            metadata = std::fs::metadata(&real).map_err(|error| io_error(&path, &error))?;
        }
        if !real.starts_with(&self.root) {
            return Err(outside_folder(&path, &real));
        }
        match metadata.is_file() {
            true => Ok((real, metadata)),
            false => Err(SourceError::Missing(path.display().to_string())),
        }
    }

    /// Returns the canonical path of a folder, from the cache if possible.
    fn folder(&self, path: &Path) -> io::Result<PathBuf> {
        let mut last_folder = self.last_folder.lock().unwrap_or_else(PoisonError::into_inner);
        if last_folder.0 != path {
            *last_folder = (path.to_owned(), path.canonicalize()?);
        }
        Ok(last_folder.1.clone())
    }

    fn read_range(&self, object: &Object, from: u64, max_bytes: usize) -> Result<ByteRange, SourceError> {
        let changed = || SourceError::Changed(object.to_string(), object.etag.clone());
        let (path, _) = self.locate(&object.key)?;
        let failed = |error| io_error(&path, &error);
        let mut file = std::fs::File::open(&path).map_err(failed)?;
        let before = file.metadata().map_err(failed)?;
        if etag(&before) != object.etag {
            return Err(changed());
        }
        let size = before.len();
        let expected = size.saturating_sub(from).min(max_bytes as u64);
        let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or_default());
        if from > 0 {
            file.seek(SeekFrom::Start(from)).map_err(failed)?;
        }
        (&file).take(max_bytes as u64).read_to_end(&mut bytes).map_err(failed)?;
        // If the file was written during the read, the bytes may mix two versions.
        let after = file.metadata().map_err(failed)?;
        match etag(&after) == object.etag && bytes.len() as u64 == expected {
            true => Ok(ByteRange { bytes, size }),
            false => Err(changed()),
        }
    }

    /// Runs a listing, which can take long, on a thread for blocking work. Files are read on the calling thread
    /// instead: moving a read to another thread costs more than the read, and the caller then decompresses the file,
    /// which occupies its thread just as long.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let root = Arc::clone(&self.root);
        let outcome = tokio::task::spawn_blocking(move || work(&root)).await;
        outcome.unwrap_or_else(|error| {
            Err(SourceError::Unavailable(format!("the listing task ended unexpectedly: {error}")))
        })
    }
}

#[async_trait]
impl Source for Directory {
    async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
        self.check_bucket(&at.bucket)?;
        let (_, metadata) = self.locate(&at.key)?;
        Ok(ObjectRef { etag: None, size: None, ..at.clone() }.with_version(&etag(&metadata), metadata.len()))
    }

    async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
        self.check_bucket(&object.bucket)?;
        Ok(self.read_range(object, 0, usize::MAX)?.bytes)
    }

    async fn fetch_start(&self, object: &Object, max_bytes: usize) -> Result<ByteRange, SourceError> {
        self.fetch_range(object, 0, max_bytes).await
    }

    async fn fetch_range(&self, object: &Object, from: u64, max_bytes: usize) -> Result<ByteRange, SourceError> {
        self.check_bucket(&object.bucket)?;
        self.read_range(object, from, max_bytes)
    }

    async fn list(&self, request: &Listing<'_>) -> Result<ListPage, SourceError> {
        self.check_bucket(request.bucket)?;
        let after = request.token.max(request.start_after).unwrap_or_default().to_owned();
        let (prefix, delimiter) = (request.prefix.to_owned(), request.delimiter);
        if let Some(other) = delimiter.filter(|&delimiter| delimiter != '/') {
            return Err(SourceError::Unavailable(format!(
                "invalid delimiter {other:?}: a folder can only be listed by '/'"
            )));
        }
        let bucket = Arc::clone(&self.bucket);
        self.blocking(move |root| walk::list(root, &bucket, &prefix, &after, delimiter.is_some())).await
    }
}

/// Returns the version of a file: its size and its modification time in nanoseconds, both in hexadecimal.
fn etag(metadata: &Metadata) -> String {
    let written = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!("{:x}-{:x}", metadata.len(), written.map_or(0, |since| since.as_nanos()))
}

fn outside_folder(path: &Path, real: &Path) -> SourceError {
    SourceError::Denied(format!(
        "{} is a symbolic link to {}, outside the folder: copy the file, or add its folder as a source",
        path.display(),
        real.display()
    ))
}

fn not_utf8(path: &Path) -> SourceError {
    SourceError::Unavailable(format!(
        "{} has a name that is not UTF-8: rename the file or folder",
        path.to_string_lossy()
    ))
}

fn io_error(path: &Path, error: &io::Error) -> SourceError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => SourceError::Missing(path.display().to_string()),
        io::ErrorKind::PermissionDenied => SourceError::Denied(format!("no permission to read {}", path.display())),
        _ => SourceError::Unavailable(format!("cannot read {}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests;
