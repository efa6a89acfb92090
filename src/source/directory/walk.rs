//! Lists a folder in the order of its keys.

use super::{ListPage, SourceError, UnlistedEntry, etag, io_error, not_utf8, outside_folder};
use crate::object::ObjectRef;
use std::fs::{DirEntry, Metadata};
use std::io;
use std::path::Path;

/// The maximum number of entries of a page, as in S3.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>
pub(super) const PAGE_ENTRIES: usize = 1000;

struct DirectoryWalk<'a> {
    root: &'a Path,
    bucket: &'a str,
    prefix: &'a str,
    after: &'a str,
    delimited: bool,
    page: ListPage,
    /// The last entry of the page, which is the token of the next page.
    last_key: String,
}

/// Returns one page of the keys under `prefix` and after `after`, in the order of their bytes.
pub(super) fn list(
    root: &Path,
    bucket: &str,
    prefix: &str,
    after: &str,
    delimited: bool,
) -> Result<ListPage, SourceError> {
    // A missing root folder is an error. If it counted as empty, `sync --watch` would report success.
    std::fs::metadata(root).map_err(|error| io_error(root, &error))?;
    let mut walk =
        DirectoryWalk { root, bucket, prefix, after, delimited, page: ListPage::default(), last_key: String::new() };
    // All keys under the prefix are in the folder that ends at its last slash.
    let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
    if !folder.split('/').any(|part| matches!(part, "." | "..")) && !folder.starts_with('/') {
        walk.add_folder(folder)?;
    }
    Ok(walk.page)
}

impl DirectoryWalk<'_> {
    /// Adds the entries of a folder. Returns whether the page can hold more entries.
    fn add_folder(&mut self, folder: &str) -> Result<bool, SourceError> {
        let path = self.root.join(folder);
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            // The prefix matches no folder, or the folder was removed during the listing.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(true);
            }
            // Without the root, nothing can be listed.
            Err(error) if folder.is_empty() => return Err(io_error(&path, &error)),
            Err(error) => {
                let reason = io_error(&path, &error).to_string();
                self.page.unlisted.push(UnlistedEntry { key: format!("{folder}/"), reason, is_folder: true });
                return Ok(true);
            }
        };
        let mut keys = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| io_error(&path, &error))?;
            let found = match entry.file_name().into_string() {
                Ok(name) => self.kind(&entry).map(|kind| kind.map(|kind| (name, kind))),
                Err(_) => {
                    let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                    Err(Unlistable { reason: not_utf8(&entry.path()), is_folder })
                }
            };
            let found = found.unwrap_or_else(|Unlistable { reason, is_folder }| {
                let name = entry.file_name().to_string_lossy().into_owned();
                let key = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                self.page.unlisted.push(UnlistedEntry { key, reason: reason.to_string(), is_folder });
                None
            });
            if let Some((name, kind)) = found {
                // Folders sort with a trailing slash, as their keys do: "a.gz" comes before "a/b".
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
            if !self.add_entry(key, kind)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn add_entry(&mut self, key: String, kind: EntryKind) -> Result<bool, SourceError> {
        match kind {
            EntryKind::Folder if self.delimited && key.len() > self.prefix.len() => {
                // The prefix was already listed if the token equals it or is inside it.
                if !key.starts_with(self.prefix) || &*key <= self.after || self.after.starts_with(&key) {
                    return Ok(true);
                }
                self.add_to_page(&key, |page| page.prefixes.push(key.clone()))
            }
            EntryKind::Folder => {
                let matches_prefix = key.starts_with(self.prefix) || self.prefix.starts_with(&key);
                // All keys of the folder precede the token, unless the token is inside the folder.
                let already_listed = &*key <= self.after && !self.after.starts_with(&key);
                if !matches_prefix || already_listed {
                    return Ok(true);
                }
                self.add_folder(key.trim_end_matches('/'))
            }
            EntryKind::File(_) if !key.starts_with(self.prefix) || &*key <= self.after => Ok(true),
            EntryKind::File(entry_metadata) => {
                let object =
                    ObjectRef::new(self.bucket, &*key).with_version(&etag(&entry_metadata), entry_metadata.len());
                self.add_to_page(&key, |page| page.objects.push(object))
            }
        }
    }

    /// Adds one entry to the page. If the page is full, sets the token of the next page and returns false.
    fn add_to_page(&mut self, key: &str, add: impl FnOnce(&mut ListPage)) -> Result<bool, SourceError> {
        if self.page.objects.len() + self.page.prefixes.len() == PAGE_ENTRIES {
            self.page.next = Some(std::mem::take(&mut self.last_key));
            return Ok(false);
        }
        add(&mut self.page);
        key.clone_into(&mut self.last_key);
        Ok(true)
    }

    /// Returns the kind of an entry, or nothing if it was removed during the listing.
    fn kind(&self, entry: &DirEntry) -> Result<Option<EntryKind>, Unlistable> {
        let path = entry.path();
        let file = |reason| Unlistable { reason, is_folder: false };
        let entry_metadata = match entry.metadata() {
            Ok(entry_metadata) => entry_metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                return Err(Unlistable { reason: io_error(&path, &error), is_folder });
            }
        };
        if entry_metadata.is_dir() {
            return Ok(Some(EntryKind::Folder));
        }
        if entry_metadata.is_file() {
            return Ok(Some(EntryKind::File(entry_metadata)));
        }
        if !entry_metadata.is_symlink() {
            return Err(file(SourceError::Denied(format!(
                "{} is neither a file nor a folder: move it out of the source folder",
                path.display()
            ))));
        }
        let real = path.canonicalize().map_err(|error| {
            file(SourceError::Denied(format!("{} is a broken symbolic link: {error}", path.display())))
        })?;
        let target = std::fs::metadata(&real).map_err(|error| file(io_error(&path, &error)))?;
        match target.is_file() {
            true if real.starts_with(self.root) => Ok(Some(EntryKind::File(target))),
            true => Err(file(outside_folder(&path, &real))),
            false => {
                let (kind, advice) = match target.is_dir() {
                    true => ("a folder and is not followed", "if it contains logs, add it as a source"),
                    false => ("neither a file nor a folder", "remove the link, or replace it by the file"),
                };
                let (path, real) = (path.display(), real.display());
                let reason =
                    SourceError::Denied(format!("{path} is a symbolic link to {real}, which is {kind}: {advice}"));
                Err(Unlistable { reason, is_folder: target.is_dir() })
            }
        }
    }
}

/// Why an entry cannot be listed.
struct Unlistable {
    reason: SourceError,
    is_folder: bool,
}

enum EntryKind {
    Folder,
    File(Metadata),
}
