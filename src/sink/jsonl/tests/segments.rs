//! Segments: they are contiguous, cover the committed bytes of every file, and name the position of each event.

use super::*;

/// Returns every segment with its events, in commit order. Checks that the segments of each file follow each other
/// without a gap, contain all committed bytes, and that each event can be read alone at its position.
pub(super) fn check_with(root: &Path, ledger: &Path) -> Vec<(Segment, Vec<String>)> {
    let committed = CommittedSegments::open(root, ledger).unwrap();
    let segments = committed.after(0, u32::MAX).unwrap();
    assert!(segments.iter().map(|segment| segment.checkpoint).is_sorted(), "segments are in commit order");
    assert!(segments.last().is_none_or(|last| last.id == committed.last_id().unwrap()), "{segments:?}");
    let mut lengths: BTreeMap<String, u64> = BTreeMap::new();
    let mut found = Vec::new();
    for segment in segments {
        let length = lengths.entry(segment.path.clone()).or_default();
        assert_eq!(segment.start, *length, "{segment:?}");
        *length += segment.length;
        let mut reader = SegmentReader::open(&committed, &segment).unwrap();
        let mut events = Vec::new();
        while let Some((position, event)) = reader.next_event().unwrap() {
            let alone = read_event(&root.join(&segment.path), position).unwrap();
            assert!(alone == event, "{position:?} in {}", segment.path);
            assert!(position.member >= segment.start && position.member < segment.start + segment.length);
            events.push(String::from_utf8(alone).unwrap());
        }
        assert!(segment.events.is_none_or(|count| count == events.len() as u64), "{segment:?}");
        found.push((segment, events));
    }
    for file in files(root) {
        let path = file.strip_prefix(root).unwrap().to_str().unwrap();
        assert_eq!(lengths.remove(path), Some(std::fs::metadata(&file).unwrap().len()), "{path}");
    }
    assert!(lengths.is_empty(), "segments of files that do not exist: {lengths:?}");
    found
}

/// Every event of a folder, with its position.
fn positions(root: &Path) -> Vec<((PathBuf, EventPosition), String)> {
    let committed = CommittedSegments::open(root, &root.join(".trailhose/ledger.db")).unwrap();
    let mut found = Vec::new();
    for segment in committed.after(0, u32::MAX).unwrap() {
        let mut reader = SegmentReader::open(&committed, &segment).unwrap();
        while let Some((position, event)) = reader.next_event().unwrap() {
            found.push(((root.join(&segment.path), position), String::from_utf8(event.to_vec()).unwrap()));
        }
    }
    found
}

#[tokio::test]
async fn scattered_events_are_returned_in_the_requested_order_and_fail_alone() {
    for compression in ALL {
        let root = tempfile::tempdir().unwrap();
        let (ledger, sink) = open(root.path(), options(compression)).await;
        // Events of the same member, of several members of a file, and of several files.
        for (object, events) in [(1, [("1", "a"), ("2", "b"), ("1", "c")]), (2, [("1", "d"), ("1", "e"), ("2", "f")])] {
            ingest(&ledger, &sink, object, &events).await;
            sink.flush().await.unwrap();
        }
        let mut wanted = positions(root.path());
        assert_eq!(wanted.len(), 6, "{wanted:?}");
        // Newest first, one of them twice.
        wanted.reverse();
        wanted.push(wanted[0].clone());
        let mut requests: Vec<_> = wanted.iter().map(|(request, _)| request.clone()).collect();
        let read: Vec<_> = read_scattered_events(&requests).into_iter().map(Result::unwrap).collect();
        let expected: Vec<_> = wanted.iter().map(|(_, event)| event.clone().into_bytes()).collect();
        assert_eq!(read, expected, "{compression:?}");
        // A wrong length, and a missing file.
        requests[1].1.length += 1;
        requests[2].0 = root.path().join("missing.jsonl");
        for (index, event) in read_scattered_events(&requests).into_iter().enumerate() {
            match (index, event) {
                (1 | 2, Err(_)) => {}
                (1 | 2, Ok(event)) => panic!("event {index} was read: {event:?}"),
                (_, event) => assert_eq!(event.unwrap(), expected[index], "{compression:?}"),
            }
        }
    }
    assert!(read_scattered_events(&[]).is_empty());
}

/// [`check_with`] for a folder that contains its ledger.
pub(super) fn check(root: &Path) -> Vec<(Segment, Vec<String>)> {
    check_with(root, &root.join(".trailhose/ledger.db"))
}

#[tokio::test]
async fn each_checkpoint_commits_one_segment_per_file() {
    for compression in ALL {
        let root = tempfile::tempdir().unwrap();
        let (ledger, sink) = open(root.path(), options(compression)).await;
        ingest(&ledger, &sink, 1, &[("1", "a"), ("2", "b"), ("1", "c")]).await;
        sink.flush().await.unwrap();
        ingest(&ledger, &sink, 2, &[("1", "d")]).await;
        sink.flush().await.unwrap();
        let found = check(root.path());
        let events: Vec<_> = found.iter().map(|(segment, events)| (segment.checkpoint, events.join(","))).collect();
        assert_eq!(events, [(1, "a,c".to_owned()), (1, "b".to_owned()), (2, "d".to_owned())]);
        let contents: Vec<_> = found.iter().map(|(segment, _)| segment.content).collect();
        assert_eq!(contents, [4, 2, 2]);
        let committed = CommittedSegments::open(root.path(), &root.path().join(".trailhose/ledger.db")).unwrap();
        let backlog = committed.backlog(found[0].0.id).unwrap();
        assert_eq!((backlog.segments, backlog.events, backlog.content), (2, 2, 4));
        assert!(backlog.oldest > 1_700_000_000, "{backlog:?}");
    }
}

/// A reader of one event must not have to decompress more than about 1 MiB.
#[tokio::test]
async fn large_segment_consists_of_members_of_at_most_1_mib() {
    for compression in ALL {
        let root = tempfile::tempdir().unwrap();
        let (ledger, sink) = open(root.path(), options(compression)).await;
        let mut random = fastrand::Rng::with_seed(3);
        let texts: Vec<String> = (0..40).map(|_| (0..100_000).map(|_| random.alphanumeric()).collect()).collect();
        let lines: Vec<(&str, &str)> = texts.iter().map(|text| ("1", &text[..])).collect();
        ingest(&ledger, &sink, 1, &lines).await;
        sink.flush().await.unwrap();
        let found = check(root.path());
        assert_eq!((found.len(), found[0].1.len()), (1, 40));
        let committed = CommittedSegments::open(root.path(), &root.path().join(".trailhose/ledger.db")).unwrap();
        let mut reader = SegmentReader::open(&committed, &found[0].0).unwrap();
        let mut members: BTreeMap<u64, u32> = BTreeMap::new();
        while let Some((position, _)) = reader.next_event().unwrap() {
            let end = members.entry(position.member).or_default();
            *end = position.offset + position.length + 1;
        }
        assert!(members.len() >= 4, "{members:?}");
        assert!(members.values().all(|&end| end <= 1024 * 1024), "{members:?}");
    }
}

#[tokio::test]
async fn fault_of_a_segment_is_named() {
    let root = tempfile::tempdir().unwrap();
    let (ledger, sink) = open(root.path(), options(Compression::Gzip)).await;
    ingest(&ledger, &sink, 1, &[("1", "a")]).await;
    sink.flush().await.unwrap();
    let (segment, _) = check(root.path()).remove(0);
    let committed = CommittedSegments::open(root.path(), &root.path().join(".trailhose/ledger.db")).unwrap();
    let path = root.path().join(&segment.path);
    let bytes = std::fs::read(&path).unwrap();
    let fault = || SegmentReader::open(&committed, &segment).map(drop).unwrap_err();
    let mut changed = bytes.clone();
    changed[4] ^= 1;
    std::fs::write(&path, &changed).unwrap();
    assert!(fault().to_string().contains("was changed"), "{}", fault());
    std::fs::write(&path, &bytes[..3]).unwrap();
    assert_eq!(fault(), FileFault::Shorter { found: 3, committed: bytes.len() as u64 });
    std::fs::remove_file(&path).unwrap();
    assert_eq!(fault(), FileFault::Missing);
}

/// Consumers must learn why a file is gone: whether its events come again, or not.
#[tokio::test]
async fn segments_of_removed_files_remain_with_the_reason() {
    let root = tempfile::tempdir().unwrap();
    let (ledger, sink) = open(root.path(), options(Compression::None)).await;
    ingest(&ledger, &sink, 1, &[("1", "a"), ("2", "b")]).await;
    sink.flush().await.unwrap();
    let removed = files(root.path()).remove(0);
    sink.release(vec![removed]).await.unwrap();
    let committed = CommittedSegments::open(root.path(), &root.path().join(".trailhose/ledger.db")).unwrap();
    let removals: Vec<_> = committed.after(0, 9).unwrap().into_iter().map(|segment| segment.removed).collect();
    assert_eq!(removals, [Some(Removal::Released), None]);
}
