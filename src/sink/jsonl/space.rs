//! The limit of free disk space. Work stops after a checkpoint, before the disk is full, so that nothing is rolled back.

use super::SinkError;
use crate::disk::{Disk, Space, mount_point};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The default limit is at most this many bytes: 1 GiB.
const DEFAULT_BYTES: u64 = 1 << 30;

/// The default limit is at most the file system divided by this: 5 %.
const DEFAULT_PART: u64 = 20;

/// How many bytes must be free before work is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MinFree {
    /// 1 GiB, or 5 % of the file system if that is less.
    #[default]
    Default,
    /// This many bytes. 0 switches the limit off.
    Bytes(u64),
}

impl MinFree {
    pub(super) fn bytes(self, total: u64) -> u64 {
        match self {
            Self::Default => DEFAULT_BYTES.min(total / DEFAULT_PART),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// Compares the free space of the file systems with the limit, once per checkpoint.
#[derive(Debug)]
pub(super) struct SpaceCheck {
    min_free: MinFree,
    /// A folder in each file system that grows: the destination's and the ledger's.
    folders: Vec<PathBuf>,
    disk: Arc<dyn Disk>,
    /// The number of checkpoints at the last check that found enough space, plus 1. 0 before.
    checked: AtomicU64,
}

impl SpaceCheck {
    pub(super) fn new(min_free: MinFree, destination: &Path, ledger: &Path, disk: Arc<dyn Disk>) -> Self {
        let ledger = ledger.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut folders = vec![destination.to_owned()];
        if mount_point(ledger) != mount_point(destination) {
            folders.push(ledger.to_owned());
        }
        Self { min_free, folders, disk, checked: AtomicU64::new(0) }
    }

    /// Returns an error if less than the limit is free. `checkpoints` is the number of checkpoints so far: the space is
    /// read once for each, and at every call while it is below the limit.
    pub(super) fn check(&self, checkpoints: u64) -> Result<(), SinkError> {
        if self.min_free == MinFree::Bytes(0) || self.checked.load(Ordering::Relaxed) == checkpoints + 1 {
            return Ok(());
        }
        for folder in &self.folders {
            match self.disk.space(folder) {
                Ok(Some(Space { free, total })) if free < self.min_free.bytes(total) => {
                    return Err(too_little(folder, free, self.min_free.bytes(total)));
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!("cannot read the free space of {}, so it is not limited: {error}", folder.display());
                }
            }
        }
        self.checked.store(checkpoints + 1, Ordering::Relaxed);
        Ok(())
    }
}

fn too_little(folder: &Path, free: u64, limit: u64) -> SinkError {
    SinkError::LowSpace(format!(
        "the file system {} with {} has {} free, and {} must be free. Everything delivered so far is saved. Free space, \
         delete files of past days with `trailhose prune`, or lower the limit with --min-free",
        mount_point(folder).display(),
        folder.display(),
        megabytes(free),
        megabytes(limit)
    ))
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MiB ({bytes} bytes)", bytes as f64 / f64::from(1 << 20))
}
