//! Tests of the sink with the disk states that a killed process leaves.

mod durability;
mod isolation;
mod prune;
mod rebuild;
mod segments;
mod space;

use std::sync::{Mutex, PoisonError};

type ProbeCallback = Box<dyn FnMut(&'static str) + Send>;

/// Calls a test function at each point of a checkpoint.
#[derive(Default)]
pub(super) struct CheckpointProbe(Mutex<Option<ProbeCallback>>);

impl CheckpointProbe {
    pub(super) fn at_point(&self, moment: &'static str) {
        if let Some(callback) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            callback(moment);
        }
    }

    fn set(&self, callback: impl FnMut(&'static str) + Send + 'static) {
        *self.0.lock().unwrap() = Some(Box::new(callback));
    }
}

impl std::fmt::Debug for CheckpointProbe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Probe")
    }
}

use super::*;
use crate::event::EventScope;
use crate::ledger::model::row::{Change, Counts, Guard, Status, Token};
use crate::ledger::store::Store;
use crate::object::Object;
use crate::pack::PackedLine;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

const ALL: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

fn distant_deadline() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Returns options with which only a flush or a full buffer makes a checkpoint.
fn options(compression: Compression) -> Options {
    Options { compression, checkpoint_every: Duration::from_secs(3600), ..Options::default() }
}

fn scope(account: &str) -> EventScope {
    EventScope { account: account.into(), region: "eu-west-1".into(), minute: Some(28_000_000) }
}

fn call(lines: &[(&str, &str)]) -> SinkCall {
    let mut call = SinkCall::default();
    let mut scopes = Vec::new();
    for (at, (account, line)) in lines.iter().enumerate() {
        call.body.extend_from_slice(line.as_bytes());
        call.body.push(b'\n');
        call.lines.push(PackedLine { end: call.body.len(), ordinal: at as u32, scope: at as u32 });
        scopes.push(scope(account));
    }
    call.records.push(call.body.len());
    call.scopes = Arc::new(scopes);
    call
}

fn object(number: u32) -> Object {
    Object { bucket: "logs".into(), key: format!("k/{number}"), etag: "e".into() }
}

fn ledger(root: &Path) -> Sqlite {
    Sqlite::open(&root.join(".trailhose/ledger.db"), CommitMode::Grouped).unwrap()
}

async fn open(root: &Path, options: Options) -> (Sqlite, Jsonl) {
    let ledger = ledger(root);
    let sink = Jsonl::with_ledger(root, options, &ledger).await.unwrap();
    (ledger, sink)
}

/// Ingests one object as the protocol does: lease it, then deliver and record it in one transaction.
async fn ingest(ledger: &Sqlite, sink: &Jsonl, number: u32, lines: &[(&str, &str)]) {
    let (object, token) = (object(number), Token::fresh());
    let lease = Change::Lease { token, until: 10 };
    ledger.change_row(&object, Guard::Leasable { now: 5, token }, &lease).await.unwrap();
    let transaction = sink.begin().await.unwrap();
    sink.deliver(&call(lines), distant_deadline()).await.unwrap();
    let done = Change::Complete { counts: Counts::default(), expires: i64::MAX };
    ledger.change_row(&object, Guard::Held(token), &done).await.unwrap();
    transaction.commit();
}

fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true if entry.file_name() != STATE_FOLDER => folders.push(entry.path()),
                true => {}
                false => found.push(entry.path()),
            }
        }
    }
    found.sort();
    found
}

fn content(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap();
    let mut text = String::new();
    match path.extension().unwrap().to_str().unwrap() {
        "gz" => drop(flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap()),
        "zst" => text = String::from_utf8(zstd::stream::decode_all(&bytes[..]).unwrap()).unwrap(),
        _ => text = String::from_utf8(bytes).unwrap(),
    }
    text
}

/// Returns every line of the files with its number of occurrences.
fn lines(root: &Path) -> BTreeMap<String, u32> {
    let mut lines = BTreeMap::new();
    for file in files(root) {
        let text = content(&file);
        assert!(text.is_empty() || text.ends_with('\n'), "{} ends with an incomplete line", file.display());
        text.lines().for_each(|line| *lines.entry(line.to_owned()).or_default() += 1);
    }
    lines
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

/// Opens the state that a killed process left. Checks that the files contain each line of the done objects exactly once
/// and no other line. Returns the number of done objects.
async fn exactly_once(root: &Path, options: Options, objects: &BTreeMap<u32, Vec<String>>) -> usize {
    exactly_once_in(ledger(root), root, options, objects).await
}

/// [`exactly_once`] with a ledger that is stored outside of the destination.
async fn exactly_once_in(ledger: Sqlite, root: &Path, options: Options, objects: &BTreeMap<u32, Vec<String>>) -> usize {
    let sink = Jsonl::with_ledger(root, options, &ledger).await.unwrap();
    let mut expected = BTreeMap::new();
    let mut done = 0;
    for (number, lines) in objects {
        let row = ledger.rows(&[object(*number).id()]).await.unwrap().remove(0);
        if row.is_some_and(|row| row.status == Status::Done) {
            done += 1;
            lines.iter().for_each(|line| *expected.entry(line.clone()).or_default() += 1);
        }
    }
    assert_eq!(lines(root), expected);
    drop(sink);
    // The ledger can be stored outside of the folder.
    let committed = segments::check_with(root, ledger.journal().path());
    assert_eq!(
        committed.iter().map(|(_, events)| events.len()).sum::<usize>(),
        expected.values().sum::<u32>() as usize
    );
    done
}

#[tokio::test]
async fn flushed_lines_are_in_their_partition() {
    for compression in ALL {
        let root = tempfile::tempdir().unwrap();
        let (ledger, sink) = open(root.path(), options(compression)).await;
        ingest(&ledger, &sink, 1, &[("1", "a"), ("2", "b"), ("1", "c")]).await;
        sink.flush().await.unwrap();
        ingest(&ledger, &sink, 2, &[("1", "d")]).await;
        sink.flush().await.unwrap();
        let files = files(root.path());
        assert_eq!(files.len(), 2, "{files:?}");
        assert_eq!(files.iter().map(|file| content(file)).collect::<Vec<_>>(), ["a\nc\nd\n", "b\n"]);
        let partition = files[0].parent().unwrap().strip_prefix(root.path()).unwrap();
        assert_eq!(partition, Path::new("account=1/region=eu-west-1/date=2023-03-28"));
    }
}

#[tokio::test]
async fn work_without_a_checkpoint_is_neither_delivered_nor_recorded() {
    let root = tempfile::tempdir().unwrap();
    let (ledger, sink) = open(root.path(), options(Compression::None)).await;
    ingest(&ledger, &sink, 1, &[("1", "a")]).await;
    sink.flush().await.unwrap();
    ingest(&ledger, &sink, 2, &[("1", "b")]).await;
    drop((ledger, sink));
    let (ledger, _sink) = open(root.path(), options(Compression::None)).await;
    assert_eq!(lines(root.path()), [("a".to_owned(), 1)].into());
    let rows = ledger.rows(&[object(1).id(), object(2).id()]).await.unwrap();
    assert!(rows[0].is_some() && rows[1].is_none(), "{rows:?}");
}

/// Simulates a kill at every point of every checkpoint, with partial writes of random length.
#[tokio::test]
async fn kill_at_any_point_leaves_each_event_delivered_and_recorded_or_neither() {
    for (seed, compression) in ALL.into_iter().enumerate() {
        let options = Options { file_bytes: 200, ..options(compression) };
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("live");
        let mut objects = BTreeMap::new();
        let (ledger, sink) = open(&root, options.clone()).await;
        let kills = Arc::new(Mutex::new(Vec::new()));
        {
            let (kills, live, home) = (Arc::clone(&kills), root.clone(), home.path().to_owned());
            sink.state.destination.probe.set(move |moment| {
                let mut kills = kills.lock().unwrap();
                let to = home.join(format!("kill-{}-{moment}", kills.len()));
                copy(&live, &to);
                kills.push((moment, to));
            });
        }
        let mut random = fastrand::Rng::with_seed(seed as u64);
        for number in 0..40 {
            let texts: Vec<String> = (0..random.u32(1..5))
                .map(|line| format!("{number}-{line}-{}", "x".repeat(random.usize(0..90))))
                .collect();
            let call_lines: Vec<(&str, &str)> =
                texts.iter().map(|text| (["1", "2", "3"][random.usize(0..3)], &text[..])).collect();
            ingest(&ledger, &sink, number, &call_lines).await;
            objects.insert(number, texts);
            if random.u32(0..4) == 0 {
                sink.flush().await.unwrap();
            }
        }
        drop((ledger, sink));
        let kills = std::mem::take(&mut *kills.lock().unwrap());
        assert!(kills.len() > 9, "{}", kills.len());
        let mut done = 0;
        for (at, (moment, killed)) in kills.iter().enumerate() {
            // Between the intent and the last sync, a file may contain any part of the appended bytes.
            if let Some((_, written)) = kills.get(at + 1).filter(|_| *moment == "intent_written") {
                for file in files(written) {
                    let partial = killed.join(file.strip_prefix(written).unwrap());
                    let old_length = std::fs::metadata(&partial).map_or(0, |found| found.len() as usize);
                    let bytes = std::fs::read(&file).unwrap();
                    std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
                    if old_length < bytes.len() && random.bool() {
                        std::fs::write(&partial, &bytes[..random.usize(old_length..=bytes.len())]).unwrap();
                    }
                }
            }
            let now = exactly_once(killed, options.clone(), &objects).await;
            assert!(now >= done, "{moment}: {now} objects done, but {done} were done before");
            done = now;
            // A second kill right after the recovery leaves the same state.
            assert_eq!(exactly_once(killed, options.clone(), &objects).await, done);
        }
        assert!(done > 10, "{done}");
    }
}

#[tokio::test]
async fn killed_run_resumes_in_the_same_files() {
    let home = tempfile::tempdir().unwrap();
    let (live, killed) = (home.path().join("live"), home.path().join("killed"));
    let (ledger, sink) = open(&live, options(Compression::Gzip)).await;
    ingest(&ledger, &sink, 1, &[("1", "a")]).await;
    sink.flush().await.unwrap();
    let (from, to) = (live.clone(), killed.clone());
    sink.state.destination.probe.set(move |moment| {
        if moment == "files_written" {
            copy(&from, &to);
        }
    });
    ingest(&ledger, &sink, 2, &[("1", "b"), ("2", "c")]).await;
    sink.flush().await.unwrap();
    let (ledger, sink) = open(&killed, options(Compression::Gzip)).await;
    assert_eq!(lines(&killed), [("a".to_owned(), 1)].into());
    ingest(&ledger, &sink, 2, &[("1", "b"), ("2", "c")]).await;
    sink.flush().await.unwrap();
    assert_eq!(lines(&killed), ["a", "b", "c"].map(|line| (line.to_owned(), 1)).into());
    assert_eq!(files(&killed).len(), 2);
}

#[tokio::test]
async fn aborted_transaction_discards_everything_since_the_last_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let (ledger, sink) = open(root.path(), options(Compression::None)).await;
    ingest(&ledger, &sink, 1, &[("1", "a")]).await;
    sink.flush().await.unwrap();
    ingest(&ledger, &sink, 2, &[("1", "b")]).await;
    let transaction = sink.begin().await.unwrap();
    sink.deliver(&call(&[("1", "c")]), distant_deadline()).await.unwrap();
    drop(transaction);
    for error in [
        sink.flush().await.unwrap_err().to_string(),
        sink.deliver(&call(&[("1", "c")]), distant_deadline()).await.unwrap_err().to_string(),
        sink.begin().await.unwrap_err().to_string(),
        ledger.rows(&[object(1).id()]).await.unwrap_err().to_string(),
    ] {
        assert!(error.contains("aborted before the ledger recorded it"), "{error}");
    }
    drop((ledger, sink));
    let objects = [(1, vec!["a".to_owned()]), (2, vec!["b".to_owned()])].into();
    assert_eq!(exactly_once(root.path(), options(Compression::None), &objects).await, 1);
}

/// A panic at any point of a checkpoint, also after the files are written.
#[tokio::test]
async fn panic_in_a_checkpoint_rolls_back_its_ledger_writes() {
    for point in ["intent_written", "files_written"] {
        let root = tempfile::tempdir().unwrap();
        let (ledger, sink) = open(root.path(), options(Compression::None)).await;
        ingest(&ledger, &sink, 1, &[("1", "a")]).await;
        sink.flush().await.unwrap();
        ingest(&ledger, &sink, 2, &[("1", "b")]).await;
        sink.state.destination.probe.set(move |moment| assert_ne!(moment, point));
        let panicked = sink.flush().await.unwrap_err().to_string();
        assert!(panicked.contains("ended unexpectedly"), "{panicked}");
        for error in [
            sink.flush().await.unwrap_err().to_string(),
            sink.begin().await.unwrap_err().to_string(),
            ledger.rows(&[object(1).id()]).await.unwrap_err().to_string(),
        ] {
            assert!(error.contains("a checkpoint ended unexpectedly"), "{error}");
        }
        assert_eq!(sink.checkpoints(), Some(1));
        drop((ledger, sink));
        let objects = [(1, vec!["a".to_owned()]), (2, vec!["b".to_owned()])].into();
        assert_eq!(exactly_once(root.path(), options(Compression::None), &objects).await, 1);
    }
}

#[tokio::test]
async fn failed_checkpoint_commits_no_ledger_write() {
    let root = tempfile::tempdir().unwrap();
    let (ledger, sink) = open(root.path(), options(Compression::None)).await;
    // A file has the name of the partition's folder.
    std::fs::write(root.path().join("account=2"), "in the way").unwrap();
    ingest(&ledger, &sink, 1, &[("1", "a"), ("2", "b")]).await;
    let error = sink.flush().await.unwrap_err().to_string();
    assert!(error.contains("account=2"), "{error}");
    assert!(sink.flush().await.is_err());
    drop((ledger, sink));
    std::fs::remove_file(root.path().join("account=2")).unwrap();
    let objects = [(1, vec!["a".to_owned(), "b".to_owned()])].into();
    assert_eq!(exactly_once(root.path(), options(Compression::None), &objects).await, 0);
}

#[tokio::test]
async fn checkpoint_waits_for_the_ledger_write_of_a_delivery() {
    let root = tempfile::tempdir().unwrap();
    let (_ledger, sink) = open(root.path(), options(Compression::None)).await;
    let sink = Arc::new(sink);
    let transaction = sink.begin().await.unwrap();
    sink.deliver(&call(&[("1", "a")]), distant_deadline()).await.unwrap();
    let flushing = tokio::spawn({
        let sink = Arc::clone(&sink);
        async move { sink.flush().await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!flushing.is_finished() && files(root.path()).is_empty());
    transaction.commit();
    flushing.await.unwrap().unwrap();
    assert_eq!(files(root.path()).len(), 1);
}

#[tokio::test]
async fn buffer_exceeds_its_limit_by_at_most_one_call() {
    let root = tempfile::tempdir().unwrap();
    let (ledger, sink) = open(root.path(), Options { checkpoint_bytes: 1000, ..options(Compression::Zstd) }).await;
    let long = "x".repeat(300);
    for number in 0..50 {
        ingest(&ledger, &sink, number, &[("1", &long)]).await;
        assert!(sink.state.buffer().bytes <= 1000 + 301);
    }
}

#[tokio::test]
async fn checkpoint_is_made_after_its_interval() {
    let root = tempfile::tempdir().unwrap();
    let (ledger, sink) =
        open(root.path(), Options { checkpoint_every: Duration::from_millis(20), ..Options::default() }).await;
    ingest(&ledger, &sink, 1, &[("1", "a")]).await;
    let start = Instant::now();
    while files(root.path()).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn new_file_starts_at_the_size_limit_and_never_splits_a_line() {
    // Lines that share a block of memory, and lines that each fill one.
    for size in [1, 10_000] {
        let root = tempfile::tempdir().unwrap();
        let (ledger, sink) = open(root.path(), Options { file_bytes: 100 * size, ..options(Compression::None) }).await;
        let long = |n: u64| "x".repeat((if n == 7 { 250 } else { 20 } * size) as usize);
        let texts: Vec<String> = (0..30).map(|n| format!("{n:02}{}", long(n))).collect();
        for (number, some) in texts.chunks(7).enumerate() {
            let call_lines: Vec<_> = some.iter().map(|text| ("1", &text[..])).collect();
            ingest(&ledger, &sink, number as u32, &call_lines).await;
            sink.flush().await.unwrap();
        }
        let files = files(root.path());
        let all: String = files.iter().map(|file| content(file)).collect();
        assert!(all.lines().eq(&texts), "lines are complete and in order across all files");
        let long = files.iter().filter(|file| std::fs::metadata(file).unwrap().len() > 100 * size).count();
        assert_eq!(long, 1, "only the file of the oversize line exceeds the limit");
        assert!(files.len() < 13, "{}", files.len());
    }
}
