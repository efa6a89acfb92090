//! A folder as a bucket: each file an object, its path below the folder the key.
//!
//! A file's version is its size and the nanosecond it was last written, so a file that is replaced by another of the same
//! length within the file system's clock tick is taken for the same. Symbolic links: the folder itself and a file in it
//! may be one, as long as the file they lead to lies in the folder; links to folders are an error, not a gap. `.trailhose`
//! folders, where this program keeps its own state, are left out.

mod walk;

use super::{ByteRange, ListPage, Listing, Source, SourceError};
use crate::object::{Object, ObjectRef};
use async_trait::async_trait;
use std::fs::Metadata;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

/// Objects in a folder.
#[derive(Debug, Clone)]
pub struct Directory {
    root: Arc<Path>,
    bucket: Arc<str>,
    /// The folder of the file that was read last, and where it really lies: the next one most likely lies there too, and to
    /// resolve a folder takes a system call for each part of its path.
    last: Arc<Mutex<(PathBuf, PathBuf)>>,
}

impl Directory {
    /// Opens the folder at `path`.
    ///
    /// # Errors
    /// There is no such folder, or its name is not UTF-8.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let root = path.canonicalize().map_err(|error| io_error(path, &error))?;
        if !root.is_dir() {
            return Err(SourceError::Unavailable(format!(
                "{} is a file, expected a folder of objects",
                path.display()
            )));
        }
        let Some(name) = root.to_str() else { return Err(not_text(&root)) };
        let bucket = format!("file://{name}").into();
        Ok(Self { root: root.into(), bucket, last: Arc::default() })
    }

    /// The folder's name as a bucket: `file://` and its absolute path.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    fn check_bucket(&self, bucket: &str) -> Result<(), SourceError> {
        match bucket == &*self.bucket {
            true => Ok(()),
            false => Err(SourceError::Unavailable(format!("asked for {bucket}, this source is {}", self.bucket))),
        }
    }

    /// The file of a key, which must lie in the folder: a key may come from a message that anybody wrote.
    fn locate(&self, key: &str) -> Result<(PathBuf, Metadata), SourceError> {
        let path = self.root.join(key);
        let plain = !key.is_empty()
            && Path::new(key).components().all(|read_range| matches!(read_range, Component::Normal(_)))
            && !key.split('/').any(|read_range| read_range.is_empty() || read_range == ".");
        let (Some(folder), Some(name), true) = (path.parent(), path.file_name(), plain) else {
            return Err(SourceError::Unavailable(format!("{key:?} is no key of a file in {}", self.root.display())));
        };
        let mut real = self.folder(folder).map_err(|error| io_error(&path, &error))?.join(name);
        let mut found = std::fs::symlink_metadata(&real).map_err(|error| io_error(&path, &error))?;
        if found.is_symlink() {
            real = real.canonicalize().map_err(|error| io_error(&path, &error))?;
            found = std::fs::metadata(&real).map_err(|error| io_error(&path, &error))?;
        }
        if !real.starts_with(&self.root) {
            return Err(outside(&path, &real));
        }
        match found.is_file() {
            true => Ok((real, found)),
            false => Err(SourceError::Missing(path.display().to_string())),
        }
    }

    /// Where a folder really lies.
    fn folder(&self, path: &Path) -> io::Result<PathBuf> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != path {
            *last = (path.to_owned(), path.canonicalize()?);
        }
        Ok(last.1.clone())
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
        let wanted = size.saturating_sub(from).min(max_bytes as u64);
        let mut bytes = Vec::with_capacity(usize::try_from(wanted).unwrap_or_default());
        if from > 0 {
            file.seek(SeekFrom::Start(from)).map_err(failed)?;
        }
        (&file).take(max_bytes as u64).read_to_end(&mut bytes).map_err(failed)?;
        // Written to while it was read: what was read may be half of one version and half of another.
        let after = file.metadata().map_err(failed)?;
        match etag(&after) == object.etag && bytes.len() as u64 == wanted {
            true => Ok(ByteRange { bytes, size }),
            false => Err(changed()),
        }
    }

    /// For a listing, which may be long. A file is read where it is wanted: handing it to another thread and back costs
    /// more than reading it, and who reads it inflates it next, which keeps the thread as busy.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let root = Arc::clone(&self.root);
        let outcome = tokio::task::spawn_blocking(move || work(&root)).await;
        outcome.unwrap_or_else(|error| Err(SourceError::Unavailable(format!("reading files broke off: {error}"))))
    }
}

#[async_trait]
impl Source for Directory {
    async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
        self.check_bucket(&at.bucket)?;
        let (_, found) = self.locate(&at.key)?;
        Ok(ObjectRef { etag: None, size: None, ..at.clone() }.with_version(&etag(&found), found.len()))
    }

    async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
        self.check_bucket(&object.bucket)?;
        Ok(self.read_range(object, 0, usize::MAX)?.bytes)
    }

    async fn fetch_range(&self, object: &Object, from: u64, max_bytes: usize) -> Result<ByteRange, SourceError> {
        self.check_bucket(&object.bucket)?;
        self.read_range(object, from, max_bytes)
    }

    async fn list(&self, ask: &Listing<'_>) -> Result<ListPage, SourceError> {
        self.check_bucket(ask.bucket)?;
        let after = ask.token.max(ask.start_after).unwrap_or_default().to_owned();
        let (prefix, delimiter) = (ask.prefix.to_owned(), ask.delimiter);
        if let Some(other) = delimiter.filter(|&delimiter| delimiter != '/') {
            return Err(SourceError::Unavailable(format!("a folder is divided by '/', not by {other:?}")));
        }
        let bucket = Arc::clone(&self.bucket);
        self.blocking(move |root| walk::list(root, &bucket, &prefix, &after, delimiter.is_some())).await
    }
}

/// The version of a file: its size and when it was last written, both in hexadecimal.
fn etag(found: &Metadata) -> String {
    let written = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!("{:x}-{:x}", found.len(), written.map_or(0, |since| since.as_nanos()))
}

fn outside(path: &Path, real: &Path) -> SourceError {
    SourceError::Denied(format!(
        "{} is a symbolic link to {}, outside the folder: copy the file, or name its folder as a source",
        path.display(),
        real.display()
    ))
}

fn not_text(path: &Path) -> SourceError {
    SourceError::Unavailable(format!("{} has a name that is not UTF-8: rename it", path.to_string_lossy()))
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
