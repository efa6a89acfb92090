//! Listing a folder in the order of its keys.

use super::{ListPage, SourceError, etag, io_error, not_text, outside};
use crate::object::ObjectRef;
use std::fs::{DirEntry, Metadata};
use std::io;
use std::path::Path;

/// Entries of one page, as S3 has it.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>
pub(super) const PAGE_ENTRIES: usize = 1000;

/// The folder in which this program keeps its own state.
const STATE_FOLDER: &str = ".trailhose";

struct Walk<'a> {
    root: &'a Path,
    bucket: &'a str,
    prefix: &'a str,
    after: &'a str,
    rolled_up: bool,
    page: ListPage,
    last: String,
}

/// One page of the keys under `prefix` and after `after`, in the order of their bytes.
pub(super) fn list(
    root: &Path,
    bucket: &str,
    prefix: &str,
    after: &str,
    rolled_up: bool,
) -> Result<ListPage, SourceError> {
    // A folder that is gone is no empty one: taken for that, whoever looks again and again would be told that all is well.
    std::fs::metadata(root).map_err(|error| io_error(root, &error))?;
    let mut walk = Walk { root, bucket, prefix, after, rolled_up, page: ListPage::default(), last: String::new() };
    // Everything under the prefix lies in the folder that its last slash names.
    let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
    if !folder.split('/').any(|part| matches!(part, "." | "..")) && !folder.starts_with('/') {
        walk.folder(folder)?;
    }
    Ok(walk.page)
}

impl Walk<'_> {
    /// Takes what lies in a folder, and says whether the page has room for more.
    fn folder(&mut self, folder: &str) -> Result<bool, SourceError> {
        let path = self.root.join(folder);
        let found = match std::fs::read_dir(&path) {
            Ok(found) => found,
            // A prefix that nothing lies under; or taken away while we looked.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(true);
            }
            Err(error) => return Err(io_error(&path, &error)),
        };
        let mut keys = Vec::new();
        for entry in found {
            let entry = entry.map_err(|error| io_error(&path, &error))?;
            if let Some(kind) = self.kind(&entry)? {
                let Ok(name) = entry.file_name().into_string() else { return Err(not_text(&entry.path())) };
                // A folder sorts as its keys do, with the slash: "a.gz" comes before "a/b".
                let slash = if matches!(kind, EntryKind::Folder) { "/" } else { "" };
                let key = match folder {
                    "" => format!("{name}{slash}"),
                    _ => format!("{folder}/{name}{slash}"),
                };
                keys.push((key, kind));
            }
        }
        keys.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for (key, kind) in keys {
            if !self.take(key, kind)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn take(&mut self, key: String, kind: EntryKind) -> Result<bool, SourceError> {
        match kind {
            EntryKind::Folder if self.rolled_up && key.len() > self.prefix.len() => {
                // A prefix is passed once the token is it, or lies in it.
                if !key.starts_with(self.prefix) || &*key <= self.after || self.after.starts_with(&key) {
                    return Ok(true);
                }
                self.put(&key, |page| page.prefixes.push(key.clone()))
            }
            EntryKind::Folder => {
                let wanted = key.starts_with(self.prefix) || self.prefix.starts_with(&key);
                // Every key in it lies before the token, unless the token lies in it.
                let passed = &*key <= self.after && !self.after.starts_with(&key);
                if !wanted || passed {
                    return Ok(true);
                }
                self.folder(key.trim_end_matches('/'))
            }
            EntryKind::File(_) if !key.starts_with(self.prefix) || &*key <= self.after => Ok(true),
            EntryKind::File(found) => {
                let object = ObjectRef::new(self.bucket, &*key).with_version(&etag(&found), found.len());
                self.put(&key, |page| page.objects.push(object))
            }
        }
    }

    /// Puts one entry on the page, or where that is full notes that there is another page.
    fn put(&mut self, key: &str, put: impl FnOnce(&mut ListPage)) -> Result<bool, SourceError> {
        if self.page.objects.len() + self.page.prefixes.len() == PAGE_ENTRIES {
            self.page.next = Some(std::mem::take(&mut self.last));
            return Ok(false);
        }
        put(&mut self.page);
        key.clone_into(&mut self.last);
        Ok(true)
    }

    /// What an entry is; nothing if it is ours or was taken away meanwhile.
    fn kind(&self, entry: &DirEntry) -> Result<Option<EntryKind>, SourceError> {
        let path = entry.path();
        let found = match entry.metadata() {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(&path, &error)),
        };
        if found.is_dir() {
            return Ok((entry.file_name() != STATE_FOLDER).then_some(EntryKind::Folder));
        }
        if found.is_file() {
            return Ok(Some(EntryKind::File(found)));
        }
        if !found.is_symlink() {
            return Err(SourceError::Unavailable(format!("{} is neither a file nor a folder", path.display())));
        }
        let real = path.canonicalize().map_err(|error| {
            SourceError::Unavailable(format!("{} is a symbolic link that leads nowhere: {error}", path.display()))
        })?;
        let behind = std::fs::metadata(&real).map_err(|error| io_error(&path, &error))?;
        match behind.is_file() {
            true if real.starts_with(self.root) => Ok(Some(EntryKind::File(behind))),
            true => Err(outside(&path, &real)),
            false => Err(SourceError::Unavailable(format!(
                "{} is a symbolic link to a folder, which is not followed: name {} as a source",
                path.display(),
                real.display()
            ))),
        }
    }
}

enum EntryKind {
    Folder,
    File(Metadata),
}
