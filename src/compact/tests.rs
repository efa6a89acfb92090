use super::*;
use crate::source::directory::Directory;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;

const DAY: Date = jiff::civil::date(2026, 3, 1);

/// Objects with their versions, as in a bucket.
type Objects = Arc<Mutex<BTreeMap<String, (Vec<u8>, u64)>>>;

/// The request at which a run waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Never,
    AfterPublish,
    AfterRemove,
}

/// A bucket that stops a run once after a request, until the test continues it.
#[derive(Debug)]
struct TestBucket {
    objects: Objects,
    stop: Stop,
    is_stopped: Arc<Semaphore>,
    continues: Arc<Semaphore>,
    has_stopped: AtomicBool,
    /// Whether each write reports a conflict although it succeeded, as if the reply was lost.
    loses_replies: bool,
}

impl TestBucket {
    fn new(objects: &Objects, stop: Stop) -> Self {
        Self {
            objects: Arc::clone(objects),
            stop,
            is_stopped: Arc::new(Semaphore::new(0)),
            continues: Arc::new(Semaphore::new(0)),
            has_stopped: AtomicBool::new(false),
            loses_replies: false,
        }
    }

    async fn reached(&self, stop: Stop) {
        if self.stop == stop && !self.has_stopped.swap(true, Ordering::SeqCst) {
            self.is_stopped.add_permits(1);
            self.continues.acquire().await.unwrap().forget();
        }
    }
}

#[async_trait]
impl CompactDestination for TestBucket {
    async fn read_record(&self, key: &str) -> Result<Option<StoredRecord>, CompactError> {
        let objects = self.objects.lock().unwrap();
        Ok(objects.get(key).map(|(bytes, version)| StoredRecord { bytes: bytes.clone(), version: version.to_string() }))
    }

    async fn write_record(&self, key: &str, bytes: Vec<u8>, replaces: Option<&str>) -> Result<String, CompactError> {
        let mut objects = self.objects.lock().unwrap();
        let version = objects.get(key).map(|(_, version)| version.to_string());
        if version.as_deref() != replaces {
            return Err(CompactError::Conflict(key.to_owned()));
        }
        let next = version.map_or(1, |version| version.parse::<u64>().unwrap() + 1);
        objects.insert(key.to_owned(), (bytes, next));
        if self.loses_replies { Err(CompactError::Conflict(key.to_owned())) } else { Ok(next.to_string()) }
    }

    async fn publish(&self, key: &str, file: &Path) -> Result<(), CompactError> {
        let bytes = std::fs::read(file).unwrap();
        self.objects.lock().unwrap().insert(key.to_owned(), (bytes, 1));
        self.reached(Stop::AfterPublish).await;
        Ok(())
    }

    async fn length(&self, key: &str) -> Result<Option<u64>, CompactError> {
        Ok(self.objects.lock().unwrap().get(key).map(|(bytes, _)| bytes.len() as u64))
    }

    async fn remove(&self, key: &str) -> Result<(), CompactError> {
        self.objects.lock().unwrap().remove(key);
        self.reached(Stop::AfterRemove).await;
        Ok(())
    }
}

/// Writes a lake with 100 events of two days that arrived on one day.
fn lake() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("events/dt={DAY}/one.jsonl.gz"));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for number in 0..100 {
        let day = 1 + number % 2;
        writeln!(
            encoder,
            r#"{{"eventTime":"2026-02-0{day}T00:00:00Z","eventID":"{number:08}-0000-4000-8000-000000000000"}}"#
        )
        .unwrap();
    }
    std::fs::write(path, encoder.finish().unwrap()).unwrap();
    folder
}

async fn compact(lake: &Path, bucket: TestBucket) -> Result<CompactedDay, CompactError> {
    let source = Arc::new(Directory::open(lake).unwrap());
    let name = source.bucket().to_owned();
    let scan = QueryScan::open(source.clone(), &name, "", Some(lake.to_owned()), 1).await.unwrap();
    let crate::query::ScanLayout::Lines(events) = scan.layout().clone() else { panic!("not a lake") };
    let compaction = LakeCompaction::new(source, &name, &events, scan, Box::new(bucket));
    compaction.compact(DAY, false, &QueryControl::default()).await
}

/// Fails unless the bucket contains exactly the files of the complete record, with 100 events.
fn assert_complete(objects: &Objects) {
    let objects = objects.lock().unwrap();
    let record = DayRecord::parse(&objects[&DayRecord::key(DAY)].0, DAY).unwrap();
    assert!(record.batches.iter().all(|batch| batch.state == BatchState::Complete), "{record:?}");
    let mut outputs: Vec<&OutputFile> = record.batches.iter().flat_map(|batch| &batch.outputs).collect();
    outputs.sort_by_key(|output| &output.key);
    let files: Vec<&String> = objects.keys().filter(|key| key.ends_with(".parquet")).collect();
    assert_eq!(outputs.iter().map(|output| &output.key).collect::<Vec<_>>(), files);
    assert_eq!(outputs.iter().map(|output| output.events).sum::<u64>(), 100);
}

/// The second run removes the files of the first one, which is between two files, and waits. Then the first run ends.
#[tokio::test]
async fn run_that_was_taken_over_does_not_complete_the_record() {
    let (lake, objects) = (lake(), Objects::default());
    let [first, second] = [Stop::AfterPublish, Stop::AfterRemove].map(|stop| TestBucket::new(&objects, stop));
    let handles = |bucket: &TestBucket| (Arc::clone(&bucket.is_stopped), Arc::clone(&bucket.continues));
    let ((first_stopped, continue_first), (second_stopped, continue_second)) = (handles(&first), handles(&second));
    let folder = lake.path().to_owned();
    let first = tokio::spawn(async move { compact(&folder, first).await });
    first_stopped.acquire().await.unwrap().forget();
    let folder = lake.path().to_owned();
    let second = tokio::spawn(async move { compact(&folder, second).await });
    second_stopped.acquire().await.unwrap().forget();
    continue_first.add_permits(1);
    let first = first.await.unwrap();
    continue_second.add_permits(1);
    let second = second.await.unwrap();
    assert!(matches!(first, Err(CompactError::Conflict(_))), "{first:?}");
    let second = second.unwrap();
    assert_eq!((second.events, second.parquet_files, second.removed_files), (100, 2, 2));
    assert_complete(&objects);
}

/// The first run was taken over, and ends only after the second one.
#[tokio::test]
async fn files_of_a_run_that_was_taken_over_are_removed() {
    let (lake, objects) = (lake(), Objects::default());
    let bucket = TestBucket::new(&objects, Stop::AfterPublish);
    let (is_stopped, continues) = (Arc::clone(&bucket.is_stopped), Arc::clone(&bucket.continues));
    let folder = lake.path().to_owned();
    let first = tokio::spawn(async move { compact(&folder, bucket).await });
    is_stopped.acquire().await.unwrap().forget();
    assert_eq!(compact(lake.path(), TestBucket::new(&objects, Stop::Never)).await.unwrap().events, 100);
    continues.add_permits(1);
    let first = first.await.unwrap();
    assert!(matches!(first, Err(CompactError::Conflict(_))), "{first:?}");
    assert_complete(&objects);
    let again = compact(lake.path(), TestBucket::new(&objects, Stop::Never)).await.unwrap();
    assert_eq!((again.files, again.earlier_files), (0, 1));
}

/// The first run publishes a file after the second one has removed its files, and is killed.
#[tokio::test]
async fn late_file_of_a_killed_run_is_removed() {
    for stop in [Stop::AfterRemove, Stop::AfterPublish] {
        let (lake, objects) = (lake(), Objects::default());
        let keys = |ending: &str| {
            let objects = objects.lock().unwrap();
            objects.keys().filter(|key| key.ends_with(ending)).cloned().collect::<Vec<_>>()
        };
        let mut runs = Vec::new();
        for stop in [Stop::AfterPublish, stop] {
            let bucket = TestBucket::new(&objects, stop);
            let (is_stopped, continues) = (Arc::clone(&bucket.is_stopped), Arc::clone(&bucket.continues));
            let folder = lake.path().to_owned();
            let published = keys(".parquet");
            runs.push((tokio::spawn(async move { compact(&folder, bucket).await }), continues, published));
            is_stopped.acquire().await.unwrap().forget();
        }
        let (second, continues, published) = runs.pop().unwrap();
        runs[0].0.abort();
        objects.lock().unwrap().insert(published[0].clone(), (Vec::new(), 1));
        if stop == Stop::AfterRemove {
            continues.add_permits(1);
            second.await.unwrap().unwrap();
        } else {
            second.abort();
            compact(lake.path(), TestBucket::new(&objects, Stop::Never)).await.unwrap();
        }
        assert_complete(&objects);
    }
}

#[tokio::test]
async fn lost_reply_to_a_write_of_the_record_is_not_a_conflict() {
    let (lake, objects) = (lake(), Objects::default());
    let bucket = TestBucket { loses_replies: true, ..TestBucket::new(&objects, Stop::Never) };
    assert_eq!(compact(lake.path(), bucket).await.unwrap().parquet_files, 2);
    assert_complete(&objects);
}
