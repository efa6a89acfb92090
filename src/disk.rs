//! Durability: the syncs that make files, and the entries of folders, survive a crash of the machine.
//!
//! Every sync of the JSON Lines sink goes through [`Disk`], so that a test can record which bytes and which entries are
//! durable, and can remove the others.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Makes changes durable.
pub(crate) trait Disk: Send + Sync + std::fmt::Debug {
    /// Makes the content and the length of a file durable. Its entry in its folder is not included.
    fn sync_file(&self, file: &File, _path: &Path) -> io::Result<()> {
        file.sync_all()
    }

    /// Returns the space of the file system that contains a folder. `None` if it is not known: the operating system or the
    /// file system does not report it.
    fn space(&self, path: &Path) -> io::Result<Option<Space>> {
        space(path)
    }

    /// Makes the entries of a folder durable: new, renamed and removed files and folders.
    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

/// The space of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    /// What this user can still write.
    pub(crate) free: u64,
    /// The size of the file system.
    pub(crate) total: u64,
}

#[cfg(unix)]
fn space(path: &Path) -> io::Result<Option<Space>> {
    let found = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    // A file system without a size, for example some network file systems, reports no free space either.
    Ok((found.f_blocks > 0).then(|| Space { free: bytes(found.f_bavail), total: bytes(found.f_blocks) }))
}

#[cfg(not(unix))]
fn space(_: &Path) -> io::Result<Option<Space>> {
    Ok(None)
}

/// Returns the folder at which the file system of a folder is mounted, as far as it is known.
pub(crate) fn mount_point(folder: &Path) -> PathBuf {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let device = device(&folder);
    let of_same_device = folder.ancestors().take_while(|ancestor| self::device(ancestor) == device);
    of_same_device.last().unwrap_or(&folder).to_owned()
}

#[cfg(unix)]
fn device(folder: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(folder).ok().map(|found| found.dev())
}

#[cfg(not(unix))]
fn device(_: &Path) -> Option<u64> {
    None
}

/// The disk of the operating system.
#[derive(Debug)]
pub(crate) struct SystemDisk;

impl Disk for SystemDisk {}

/// Creates a folder and its missing parents, and makes its entry and theirs durable. The entry of an existing folder is
/// synced too: a killed process may have created it without syncing it.
pub(crate) fn create_folder(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let absolute = std::path::absolute(path)?;
    let existing = absolute.ancestors().find(|folder| folder.is_dir()).map(Path::to_owned);
    std::fs::create_dir_all(&absolute)?;
    let mut unsynced: Vec<PathBuf> = absolute.ancestors().skip(1).map(Path::to_owned).collect();
    // From the existing folder's parent downwards, so that an entry is durable before the entries below it.
    if let Some(parent) = existing.as_deref().and_then(Path::parent) {
        unsynced.retain(|folder| folder.starts_with(parent));
    }
    unsynced.iter().rev().try_for_each(|folder| match disk.sync_folder(folder) {
        // A parent that cannot be opened was not created here. Its owner must make it durable.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        outcome => outcome,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Debug, Default)]
    struct Recorder(Mutex<Vec<PathBuf>>);

    impl Disk for Recorder {
        fn sync_folder(&self, path: &Path) -> io::Result<()> {
            self.0.lock().unwrap().push(path.to_owned());
            Ok(())
        }
    }

    #[test]
    fn entry_of_every_created_folder_is_synced() {
        let home = tempfile::tempdir().unwrap();
        let synced = |path: &Path| {
            let recorder = Recorder::default();
            create_folder(&recorder, path).unwrap();
            recorder.0.into_inner().unwrap()
        };
        let parent = home.path().parent().unwrap().to_owned();
        let created = ["", "a", "a/b"].map(|folder| home.path().join(folder));
        let created = [vec![parent], created.to_vec()].concat();
        assert_eq!(
            synced(&home.path().join("a/b/c")),
            created.iter().map(|path| path.components().collect::<PathBuf>()).collect::<Vec<_>>()
        );
        assert_eq!(synced(&home.path().join("a/b/c")), [home.path().join("a/b")], "the folder exists");
    }
}
