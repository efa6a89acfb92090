//! Reads an object of a lake and evaluates its events: JSON Lines with or without gzip, or one oversize event.

use crate::detect::findings_in::{EventLocation, findings_in};
use crate::finding::DetectionFinding;
use crate::object::{Object, ObjectRef};
use crate::source::Source;
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use trailhose_rules::RuleSet;

/// Maximum size of a stored object, in bytes. Firehose writes at most 128 MiB before compression
/// (<https://docs.aws.amazon.com/firehose/latest/APIReference/API_BufferingHints.html>).
const MAX_OBJECT_BYTES: usize = 160 << 20;

/// Maximum length of a line in bytes: the decoder's limit for a value.
const MAX_LINE_BYTES: u64 = 16 << 20;

/// Maximum size of an object after decompression, in bytes. A larger object counts as a decompression bomb.
const MAX_DECOMPRESSED_BYTES: u64 = 2 << 30;

/// The number of findings after which they are recorded.
const BATCH: usize = 500;

/// What was read of an object.
#[derive(Debug, Default)]
pub(super) struct ReadLines {
    /// Events that were evaluated.
    pub(super) events: u64,
    /// Lines that are not events.
    pub(super) invalid_lines: u64,
}

/// Returns the bytes of an object as stored.
pub(super) async fn fetch(source: &dyn Source, at: &ObjectRef) -> Result<Vec<u8>, String> {
    let known = match at.object() {
        Some(object) => Some(object),
        None => source.stat(at).await.map_err(|error| error.to_string())?.object(),
    };
    let object: Object = known.ok_or_else(|| "the object has no ETag".to_owned())?;
    let range = source.fetch_start(&object, MAX_OBJECT_BYTES).await.map_err(|error| error.to_string())?;
    match range.size > MAX_OBJECT_BYTES as u64 {
        true => Err(format!("it has {} bytes, the maximum is {MAX_OBJECT_BYTES}", range.size)),
        false => Ok(range.bytes),
    }
}

/// Evaluates the events of an object on another thread. Returns the findings in batches, and then what was read.
pub(super) fn findings(
    stored: Vec<u8>,
    file: String,
    rules: Arc<RuleSet>,
) -> (mpsc::Receiver<Vec<DetectionFinding>>, JoinHandle<Result<ReadLines, String>>) {
    let (sender, batches) = mpsc::channel(2);
    let read = move || {
        let input = stored.as_slice();
        match input {
            [0x1f, 0x8b, ..] => evaluate(flate2::read::MultiGzDecoder::new(input), &file, &rules, &sender),
            _ => evaluate(input, &file, &rules, &sender),
        }
    };
    (batches, tokio::task::spawn_blocking(read))
}

fn evaluate(
    input: impl Read,
    file: &str,
    rules: &RuleSet,
    sender: &mpsc::Sender<Vec<DetectionFinding>>,
) -> Result<ReadLines, String> {
    let mut input = BufReader::with_capacity(256 << 10, input);
    let (mut read, mut line, mut found, mut offset) = (ReadLines::default(), Vec::new(), Vec::new(), 0);
    // The receiver is dropped only if recording failed. The caller then reports that error instead of this one.
    let send = |found: Vec<DetectionFinding>| sender.blocking_send(found).map_err(|_| "not recorded".to_owned());
    loop {
        line.clear();
        let length = (&mut input).take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line);
        let length = length.map_err(|error| format!("it cannot be decompressed after {offset} bytes: {error}"))? as u64;
        if length == 0 {
            break;
        }
        if length > MAX_LINE_BYTES {
            return Err(format!("the line at offset {offset} has more than {MAX_LINE_BYTES} bytes"));
        }
        let event = line.strip_suffix(b"\n").unwrap_or(&line);
        if !event.is_empty() {
            match findings_in(rules, event, &EventLocation { file, member: 0, offset }) {
                Some(findings) => {
                    read.events += 1;
                    found.extend(findings);
                }
                None => read.invalid_lines += 1,
            }
        }
        offset += length;
        if offset > MAX_DECOMPRESSED_BYTES {
            return Err(format!("it has more than {MAX_DECOMPRESSED_BYTES} bytes after decompression"));
        }
        if found.len() >= BATCH {
            send(std::mem::take(&mut found))?;
        }
    }
    if !found.is_empty() {
        send(found)?;
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const RULE: &str = "title: T\nid: a\nlevel: high\nlogsource:\n    product: aws\n    service: cloudtrail\ndetection:\n    \
                        selection:\n        eventName: StopLogging\n    condition: selection\n";

    fn rules() -> Arc<RuleSet> {
        Arc::new(RuleSet::load([("a.yml".to_owned(), RULE.as_bytes().to_vec())]).rules)
    }

    async fn read(stored: Vec<u8>) -> (Vec<DetectionFinding>, Result<ReadLines, String>) {
        let (mut batches, reader) = findings(stored, "s3://lake/events/a".into(), rules());
        let mut found = Vec::new();
        while let Some(batch) = batches.recv().await {
            assert!(batch.len() <= BATCH);
            found.extend(batch);
        }
        (found, reader.await.unwrap())
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn id(number: u32) -> String {
        format!("00000000-0000-4000-8000-{number:012}")
    }

    fn event(number: u32) -> String {
        let id = id(number);
        format!("{{\"eventID\":\"{id}\",\"eventName\":\"StopLogging\",\"eventTime\":\"2026-11-20T10:00:00Z\"}}")
    }

    #[tokio::test]
    async fn lines_of_all_members_are_evaluated_and_others_are_counted() {
        let first = format!("{}\n\nno event\n{{\"eventName\":\"Other\"}}\n", event(1));
        let stored = [gzip(&first), gzip(&event(2))].concat();
        let (found, read) = self::read(stored).await;
        let read = read.unwrap();
        assert_eq!((read.events, read.invalid_lines), (3, 1));
        let places: Vec<_> = found.iter().map(|found| (found.event.id.clone(), found.event.offset)).collect();
        assert_eq!(places, [(id(1), 0), (id(2), first.len() as u64)]);
        assert_eq!((&*found[0].event.file, found[0].event.length), ("s3://lake/events/a", event(1).len() as u64));
        let (found, _) = self::read(event(3).into_bytes()).await;
        assert_eq!(found.len(), 1, "an oversize event is stored without gzip");
    }

    #[tokio::test]
    async fn truncated_object_is_an_error_and_many_findings_are_several_batches() {
        let lines: String = (0..1_200).map(|id| event(id) + "\n").collect();
        let (found, read) = self::read(gzip(&lines)).await;
        assert_eq!((found.len(), read.unwrap().events), (1_200, 1_200));
        let mut stored = gzip(&lines);
        stored.truncate(stored.len() - 9);
        let (_, read) = self::read(stored).await;
        assert!(read.unwrap_err().contains("cannot be decompressed"));
    }
}
