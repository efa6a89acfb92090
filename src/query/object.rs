//! Reads CloudTrail's own objects.

use super::scan::{FileStop, ScanThread, ScanVisitor};
use crate::decode::{DecodeError, DecodeLimits, DecodeStatus, EventReader};
use crate::object::ObjectRef;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The bytes of an object that are requested at once.
const CHUNK_BYTES: usize = 8 << 20;

/// Reads an object in chunks.
pub(super) fn read<V: ScanVisitor>(thread: &mut ScanThread<'_, V>, at: &ObjectRef) -> Result<(), FileStop> {
    let shared = thread.shared;
    let source = Arc::clone(&shared.source);
    let failed = |error: crate::source::SourceError| FileStop::File(error.to_string());
    let object = match at.object() {
        Some(object) => object,
        None => {
            let found = shared.runtime.block_on(source.stat(at)).map_err(failed)?;
            found.object().ok_or_else(|| FileStop::File("has no ETag".into()))?
        }
    };
    let mut from = 0;
    let mut next = |report_bytes: &mut u64| {
        let range = shared.runtime.block_on(source.fetch_range(&object, from, CHUNK_BYTES)).map_err(failed)?;
        from += range.bytes.len() as u64;
        *report_bytes += range.bytes.len() as u64;
        shared.progress.read_bytes.fetch_add(range.bytes.len() as u64, Ordering::Relaxed);
        Ok::<_, FileStop>(range)
    };
    let first = next(&mut thread.report.bytes)?;
    let mut reader =
        EventReader::in_chunks(first.bytes, first.size, DecodeLimits::default()).noting(shared.fields.clone());
    let invalid = |error: DecodeError| FileStop::File(error.to_string());
    loop {
        match reader.advance().map_err(invalid)? {
            DecodeStatus::Ready => {
                let Some(event) = reader.event().map_err(invalid)? else { continue };
                thread.count(1);
                if shared.prefilter.as_ref().is_none_or(|prefilter| prefilter.admits(event.line)) {
                    thread.visit_event(&event)?;
                }
            }
            DecodeStatus::NeedsInput => {
                if thread.is_stopped() {
                    return Err(FileStop::Scan);
                }
                let chunk = next(&mut thread.report.bytes)?.bytes;
                if chunk.is_empty() {
                    return Err(FileStop::File("ends before its last event".into()));
                }
                reader.feed(chunk);
            }
            DecodeStatus::End => return Ok(()),
        }
    }
}
