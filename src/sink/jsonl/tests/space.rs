//! Tests of the limit of free disk space.

use super::*;
use crate::disk::{Disk, Space};
use std::io;

/// A disk with this much free space, of 100 GiB.
#[derive(Debug)]
struct LimitedDisk(AtomicU64);

impl Disk for LimitedDisk {
    fn space(&self, _: &Path) -> io::Result<Option<Space>> {
        Ok(Some(Space { free: self.0.load(Ordering::SeqCst), total: 100 << 30 }))
    }
}

async fn open_limited(root: &Path, min_free: MinFree, free: u64) -> (Sqlite, Jsonl, Arc<LimitedDisk>) {
    let (ledger, disk) = (ledger(root), Arc::new(LimitedDisk(AtomicU64::new(free))));
    let options = Options { min_free, ..options(Compression::None) };
    let sink = Jsonl::open(root, options, Arc::clone(ledger.journal()), disk.clone()).await.unwrap();
    (ledger, sink, disk)
}

#[tokio::test]
async fn work_stops_after_the_checkpoint_that_finds_too_little_space() {
    let root = tempfile::tempdir().unwrap();
    let (ledger, sink, disk) = open_limited(root.path(), MinFree::Bytes(1 << 20), 2 << 20).await;
    ingest(&ledger, &sink, 1, &[("1", "a")]).await;
    disk.0.store((1 << 20) - 1, Ordering::SeqCst);
    // The space was checked for this checkpoint. What is started is also finished and saved.
    ingest(&ledger, &sink, 2, &[("1", "b")]).await;
    sink.flush().await.unwrap();
    let error = sink.begin().await.unwrap_err();
    assert!(matches!(error, SinkError::LowSpace(_)), "{error}");
    let text = error.to_string();
    for part in [root.path().to_str().unwrap(), "1048575 bytes", "1048576 bytes", "trailhose prune", "--min-free"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(lines(root.path()), ["a", "b"].map(|line| (line.to_owned(), 1)).into());
    // Space was freed: the same sink continues.
    disk.0.store(1 << 20, Ordering::SeqCst);
    ingest(&ledger, &sink, 3, &[("1", "c")]).await;
    sink.flush().await.unwrap();
    assert_eq!(lines(root.path()).len(), 3);
}

#[tokio::test]
async fn default_limit_is_1_gib_or_5_percent() {
    let root = tempfile::tempdir().unwrap();
    let (_ledger, sink, disk) = open_limited(root.path(), MinFree::Default, (1 << 30) - 1).await;
    assert!(matches!(sink.begin().await, Err(SinkError::LowSpace(_))));
    disk.0.store(1 << 30, Ordering::SeqCst);
    sink.begin().await.unwrap().commit();
    drop((_ledger, sink));
    let (_ledger, sink, _) = open_limited(root.path(), MinFree::Bytes(0), 0).await;
    sink.begin().await.unwrap().commit();
    assert_eq!(MinFree::Default.bytes(1 << 30), (1 << 30) / 20);
}
